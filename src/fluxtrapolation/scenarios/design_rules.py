"""The rules that hold out whole towers: which towers are the test, and which would be next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import numpy as np

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import ScenarioError, did_you_mean, examples
from fluxtrapolation.scenarios.design_axes import axis_of, clusters_wanted
from fluxtrapolation.scenarios.design_climate import climate, k_means
from fluxtrapolation.scenarios.design_options import Choice, DesignOptions, eligible_towers, nearest_groups
from fluxtrapolation.scenarios.design_options import rows_word as _rows
from fluxtrapolation.scenarios.design_regions import CONTINENTS, by_continent
from fluxtrapolation.schema import IGBP, ordered_igbp


def at_random(store: Store, options: DesignOptions) -> Choice:
    """Towers drawn without replacement."""
    eligible = eligible_towers(store, options.n_test, options.n_validation)
    order = np.random.default_rng([options.seed, 1]).permutation(eligible).tolist()
    test = order[: options.n_test]
    text = (
        f"random: {options.n_test} test and {options.n_validation} validation towers drawn from the "
        f"{len(eligible)} towers with measured {_rows(store)} (seed {options.seed})"
    )
    return Choice(test, text, lambda n: order[options.n_test : options.n_test + n])


_ENDS: Final[Mapping[str, tuple[str, str]]] = {
    "warm": ("warmest", "coldest"),
    "cold": ("coldest", "warmest"),
    "dry": ("driest", "wettest"),
    "wet": ("wettest", "driest"),
    "poleward": ("most poleward", "most equatorward"),
    "equatorward": ("most equatorward", "most poleward"),
}
_FORMAT: Final = {"temperature": "{:.1f} degC", "aridity": "{:.1f} mm/degC", "latitude": "{:.1f} degrees"}


def on_axis(store: Store, options: DesignOptions, *, rule: str) -> Choice:
    """The most extreme towers of an axis."""
    eligible = eligible_towers(store, options.n_test, options.n_validation)
    axis = axis_of(store, rule, options, eligible)
    test = axis.order[: options.n_test]
    most, least = _ENDS[axis.extreme]
    border = _FORMAT[rule].format(axis.value[test[-1]])
    text = (
        f"{rule}: the {options.n_test} {most} towers by {axis.what} are the test ({least} of them {border}); "
        "{validation}"
    )
    # The warmest towers were the first rule; its files say nothing of what was not asked.
    facts = {"extreme": axis.extreme} if (rule, axis.extreme) != ("temperature", "warm") else {}
    following = partial(axis.next_towers, after=options.n_test)
    return Choice(test, text, following, facts | axis.facts, axis.left_in_train)


def by_biome(store: Store, options: DesignOptions) -> Choice:
    """Whole IGBP classes."""
    eligible = _held_out_may_be(store, options, named=bool(options.classes))
    groups: dict[str, list[str]] = {}
    for site in eligible:
        groups.setdefault(store.record(site).igbp, []).append(site)
    groups = {name: groups[name] for name in ordered_igbp(groups)}
    named = tuple(word.upper() for word in options.classes)
    return _whole_groups("biome", "IGBP classes", groups, named, IGBP, options)


def by_continent_rule(store: Store, options: DesignOptions) -> Choice:
    """Whole continents, by coordinates."""
    eligible = _held_out_may_be(store, options, named=bool(options.continents))
    records = [store.record(site) for site in eligible]
    groups, nowhere = by_continent({r.site_id: (r.lat, r.lon) for r in records})
    named = tuple("-".join(word.casefold().split()).replace("_", "-") for word in options.continents)
    choice = _whole_groups("continent", "continents", groups, named, CONTINENTS, options)
    return Choice(
        choice.test, choice.text, choice.following, choice.facts, {"on_no_continent": nowhere} if nowhere else {}
    )


def by_cluster(store: Store, options: DesignOptions) -> Choice:
    """Whole clusters of climate: one that is drawn and, if it is too small, those nearest to it."""
    eligible = eligible_towers(store, options.n_test, options.n_validation)
    found = climate(store, eligible)
    labels, centres = k_means(found.values, clusters_wanted(options, len(found.sites)), seed=options.seed)
    drawn = int(np.random.default_rng([options.seed, 1]).integers(len(centres)))
    far = ((centres - centres[drawn]) ** 2).sum(axis=1)
    order = [f"cluster-{j + 1}" for j in np.argsort(far, kind="stable").tolist()]
    groups: dict[str, list[str]] = {name: [] for name in order}
    for site, label in zip(found.sites, labels.tolist(), strict=True):
        groups[f"cluster-{label + 1}"].append(site)
    chosen, following = _take(groups, order, options, "cluster")
    text = (
        f"cluster: whole clusters of climate nearest to {options.n_test} towers, of {len(centres)} by k-means on "
        f"{len(found.columns)} standardised means and seasonal amplitudes, from one drawn (seed {options.seed}) to the "
        "clusters next to it; {validation}"
    )
    facts = {"clusters": len(centres), "held_out": {name: groups[name] for name in chosen}, "climate": found.columns}
    left = {"without_climate": found.without} if found.without else {}
    return Choice(_members(groups, chosen), text, following, facts, left)


def _held_out_may_be(store: Store, options: DesignOptions, *, named: bool) -> list[str]:
    """Eligible towers; where groups are named, their sizes decide and ``n_test`` says nothing."""
    return eligible_towers(store, 1 if named else options.n_test, options.n_validation)


def _members(groups: Mapping[str, Sequence[str]], names: Sequence[str]) -> list[str]:
    return [site for name in names for site in groups[name]]


def _whole_groups(
    rule: str,
    what: str,
    groups: Mapping[str, list[str]],
    named: Sequence[str],
    known: Sequence[str] | Mapping[str, Any],
    options: DesignOptions,
) -> Choice:
    """Test by named groups, or by groups drawn until the size is as near as whole groups come."""
    for name in named:
        if name not in known:
            raise ScenarioError(
                f"There is no {_one(what)} {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}."
            )
        if name not in groups:
            raise ScenarioError(
                f"No tower of the store with measured rows is of the {_one(what)} {name}. There are: "
                f"{', '.join(f'{key} ({len(sites)})' for key, sites in groups.items())}."
            )
    order = np.random.default_rng([options.seed, 1]).permutation(sorted(groups)).tolist()
    chosen, following = _take(groups, order, options, rule, named=tuple(dict.fromkeys(named)))
    shown = ", ".join(f"{name} ({len(groups[name])})" for name in chosen)
    how = "" if named else f", drawn (seed {options.seed}) to come near {options.n_test} towers"
    text = f"{rule}: all towers of the {what} {shown} are the test{how}; {{validation}}"
    return Choice(_members(groups, chosen), text, following, {"held_out": list(chosen)})


def _one(plural: str) -> str:
    return "IGBP class" if plural == "IGBP classes" else plural[:-1]


def _take(
    groups: Mapping[str, list[str]],
    order: Sequence[str],
    options: DesignOptions,
    rule: str,
    named: Sequence[str] = (),
) -> tuple[list[str], Callable[[int], list[str]]]:
    """Groups of the test, and what gives the towers of the next groups."""
    sizes = {name: len(sites) for name, sites in groups.items()}
    chosen = list(named) or nearest_groups(sizes, order, options.n_test, keep=options.n_validation + 1)
    rest = [name for name in order if name not in set(chosen)]
    left = sum(sizes[name] for name in rest)
    if not chosen or left <= options.n_validation:
        shown = ", ".join(f"{name} ({size})" for name, size in sizes.items())
        raise ScenarioError(
            f"Whole groups cannot be held out by the rule '{rule}': outside of {examples(chosen) or 'any group'} there "
            f"are {left} towers, too few for {options.n_validation} of validation and train. Groups: {shown}. Choose a "
            "smaller --n-validation, other groups, or another rule."
        )

    def following(n: int) -> list[str]:
        found = nearest_groups(sizes, rest, n, keep=1)
        if not found:
            raise ScenarioError(
                f"No group is left for the validation of '{rule}' by the same rule: outside of the test there is only "
                f"{examples(rest)}. Use --validation random."
            )
        return _members(groups, found)

    return chosen, following
