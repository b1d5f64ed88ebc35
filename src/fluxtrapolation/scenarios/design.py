"""New scenarios by rule, for any store. A rule is applied once and its result is pinned in a file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from fluxtrapolation import __version__
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import ScenarioError, did_you_mean
from fluxtrapolation.scenarios.design_options import Choice, DesignOptions, check_options, rows_word
from fluxtrapolation.scenarios.design_rules import at_random, by_biome, by_cluster, by_continent_rule, on_axis
from fluxtrapolation.scenarios.design_years import by_years
from fluxtrapolation.scenarios.neighbours import (
    NEIGHBOUR_CORRELATION,
    NEIGHBOUR_KM,
    Excluded,
    closest_pair,
    places_of,
    too_near,
)
from fluxtrapolation.scenarios.scenario import NAME_PATTERN, Scenario

_RULES: Mapping[str, Callable[[Store, DesignOptions], Choice]] = {
    "random": at_random,
    "temperature": partial(on_axis, rule="temperature"),
    "aridity": partial(on_axis, rule="aridity"),
    "latitude": partial(on_axis, rule="latitude"),
    "biome": by_biome,
    "continent": by_continent_rule,
    "cluster": by_cluster,
}


def rule_names() -> tuple[str, ...]:
    """Names of the rules."""
    return ("years", *_RULES)


def design(store: Store, rule: str, *, name: str, options: DesignOptions | None = None) -> Scenario:
    """Make a scenario for ``store`` by a rule.

    Rules
    -----
    years
        Train, validation and test are calendar years (local standard time) of the same towers. Listed are the towers
        with measured hours in the train years, so the test is new years and never new towers.
    random
        ``n_test`` and ``n_validation`` towers drawn without replacement.
    temperature
        The ``n_test`` warmest (or coldest) towers by mean air temperature over their hours in the store.
    aridity
        The driest (or wettest) by de Martonne's index; towers without precipitation, or too cold for the index, stay in
        train and are listed in ``made_from``.
    latitude
        The towers furthest from (or nearest to) the equator.
    biome, continent
        Whole IGBP classes, or continents by coordinates: those named, or drawn until the number of towers is as near to
        ``n_test`` as whole groups come.
    cluster
        Whole k-means clusters of climate, from one that is drawn to those next to it.

    Validation towers are drawn from the rest, or chosen by the same rule. Towers without a single measured hour are
    never held out. Train towers too near to a held-out one are left out where that is asked for.

    Raises
    ------
    ScenarioError
        If the rule is unknown, its options are missing or do not belong to it, or the store has too few towers.
    """
    check_rule(rule)
    check_name(name)
    given = options or DesignOptions()
    check_options(rule, given)
    if rule == "years":
        return by_years(store, name, given, made_from=partial(_made_from, store, "years"), source=_source(store))
    return held_out(store, name, rule, _RULES[rule](store, given), given)


def design_draws(
    store: Store, rule: str, *, name: str, draws: int, options: DesignOptions | None = None
) -> list[Scenario]:
    """Draw a rule several times: ``name-1``, ``name-2``, ... with the seeds ``seed``, ``seed + 1``, ...

    Raises
    ------
    ScenarioError
        As :func:`design`; and if two draws are the same, because nothing in the rule is drawn.
    """
    if draws < 1:
        raise ScenarioError(f"--draws must be at least 1 (given {draws}).")
    given = options or DesignOptions()
    made = [
        design(store, rule, name=f"{name}-{i + 1}", options=replace(given, seed=given.seed + i)) for i in range(draws)
    ]
    seen: dict[object, str] = {}
    for one in made:
        key = (one.train, one.validation, one.test, one.sites)
        if key in seen:
            raise ScenarioError(
                f"The draws {seen[key]} and {one.name} hold the same towers: "
                + (
                    "so few ways to draw there are. Ask for fewer --draws."
                    if rule in ("random", "biome", "continent", "cluster") and not (given.classes or given.continents)
                    else f"the test of '{rule}' is not drawn, nor is its validation. Draw the validation "
                    "(--validation random), or use the rule random."
                )
            )
        seen[key] = one.name
    return made


def check_rule(rule: str) -> None:
    """Refuse an unknown rule."""
    if rule not in rule_names():
        raise ScenarioError(
            f"There is no rule {rule!r}.{did_you_mean(rule, rule_names())} Known: {', '.join(rule_names())}."
        )


def check_name(name: str) -> None:
    """Refuse what cannot be the name of a scenario."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise ScenarioError(
            f"{name!r} cannot be the name of a scenario: it becomes part of folder names. "
            "Use letters, digits, '.', '_' and '-' (--name, or another name for the file)."
        )


def held_out(store: Store, name: str, rule: str, choice: Choice, options: DesignOptions) -> Scenario:
    """The scenario of a choice: validation chosen, near train towers left out, sizes counted."""
    validation, words = _validation(store, choice, options)
    taken = {*choice.test, *validation}
    train = [site for site in store.site_ids if site not in taken]
    text = choice.text.replace("{validation}", words)
    if rule == "random" and options.validation == "same-rule":
        text += "; validation drawn by the same rule"
    return pinned(
        store, name, rule, f"{text}; one domain is a tower", (train, validation, choice.test), choice, options
    )


def pinned(
    store: Store,
    name: str,
    rule: str,
    text: str,
    parts: tuple[Sequence[str], Sequence[str], Sequence[str]],
    choice: Choice,
    options: DesignOptions,
) -> Scenario:
    """Write down train, validation and test towers, less the train towers too near to the others."""
    train, validation, test = parts
    far = options.min_distance
    excluded: list[Excluded] = []
    if far is not None or options.exclude_neighbours:
        excluded = too_near(store, train, [*test, *validation], min_distance=far, neighbours=options.exclude_neighbours)
        text += f"; {_exclusion(options)} left out of train ({len(excluded)})"
    lost = {one.site_id for one in excluded}
    kept = [site for site in train if site not in lost]
    if not any(store.record(site).measured_hours for site in kept):
        raise ScenarioError(
            f"Leaving out {_exclusion(options)} takes all {len(train)} train towers away (for example "
            f"{excluded[0].words()}). Choose a smaller --min-distance, or hold out fewer towers."
            if excluded
            else f"No tower with measured {rows_word(store)} is left for train. Hold out fewer towers."
        )
    never = [site for site in store.site_ids if store.record(site).measured_hours == 0]
    extra: dict[str, Any] = dict(choice.facts)
    if options.validation != "random":
        extra["validation"] = options.validation
    if never:
        extra["never_held_out"] = never
    if choice.left_in_train:
        extra["left_in_train"] = choice.left_in_train
    if far is not None:
        extra["min_distance_km"] = float(far)
    if options.exclude_neighbours:
        extra["neighbours"] = {"km": NEIGHBOUR_KM, "correlation": NEIGHBOUR_CORRELATION}
    if far is not None or options.exclude_neighbours:
        extra["excluded"] = [one.words() for one in excluded]
    near = closest_pair(places_of(store, kept), places_of(store, test))
    if near is not None:
        extra["closest"] = {"train": near[0], "test": near[1], "km": round(near[2], 3)}
    asked = {} if options.classes or options.continents else {"n_test": options.n_test}
    return Scenario(
        name=name,
        kind="sites",
        domain="site",
        rule=text,
        source=_source(store),
        train=tuple(kept),
        validation=tuple(sorted(validation)),
        test=tuple(sorted(test)),
        made_from=_made_from(
            store,
            rule,
            **asked,
            n_validation=options.n_validation,
            seed=options.seed,
            **extra,
            sizes={
                part: _size(store, sites)
                for part, sites in zip(("train", "validation", "test"), (kept, validation, test), strict=True)
            },
        ),
    )


def _validation(store: Store, choice: Choice, options: DesignOptions) -> tuple[list[str], str]:
    test = set(choice.test)
    if options.validation == "same-rule":
        found = choice.following(options.n_validation)
        return found, f"the {len(found)} validation towers are the next by the same rule"
    rest = [site for site in store.site_ids if site not in test and store.record(site).measured_hours > 0]
    # A stream of its own: the validation towers do not depend on how the test towers were found.
    generator = np.random.default_rng([options.seed, 2])
    drawn: list[str] = generator.permutation(rest)[: options.n_validation].tolist()
    return drawn, f"{options.n_validation} validation towers drawn from the rest (seed {options.seed})"


def _exclusion(options: DesignOptions) -> str:
    told = []
    if options.min_distance is not None:
        told.append(f"towers nearer than {options.min_distance:g} km to a held-out one")
    if options.exclude_neighbours:
        told.append(
            f"neighbours of a held-out one (within {NEIGHBOUR_KM:g} km, weather correlating at least "
            f"{NEIGHBOUR_CORRELATION:g})"
        )
    return " and ".join(told)


def _size(store: Store, sites: Sequence[str]) -> dict[str, int]:
    records = [store.record(site) for site in sites]
    return {
        "towers": len(records),
        rows_word(store): sum(record.hours for record in records),
        "measured": sum(record.measured_hours for record in records),
    }


def _made_from(store: Store, rule: str, **options: Any) -> dict[str, Any]:
    return {
        "rule": rule,
        "store_hash": store.data_hash,
        "store": ", ".join(source.name for source in store.manifest.sources),
        "package_version": __version__,
        **options,
    }


def _source(store: Store) -> str:
    return f"designed by fluxtrapolation {__version__} for the store of {len(store.site_ids)} towers described below"
