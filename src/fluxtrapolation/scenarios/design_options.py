"""What the rules of design are asked for, what a rule answers, and the checks that all rules share."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import ScenarioError, did_you_mean

Validation = Literal["random", "same-rule"]
Moves = Literal["train", "test"]

EXTREMES: Final[Mapping[str, tuple[str, str]]] = {
    "temperature": ("warm", "cold"),
    "aridity": ("dry", "wet"),
    "latitude": ("poleward", "equatorward"),
}
"""Both ends of each axis; the first is what is held out unless asked otherwise, and what ``high`` means."""


@dataclass(frozen=True)
class DesignOptions:
    """What a rule needs: numbers of held-out towers and a seed, or the years of each part.

    Attributes
    ----------
    n_test, n_validation : int
        Held-out towers. Rules that hold out whole groups come as near to them as whole groups can.
    seed : int
        Seed of every draw.
    train_years, validation_years, test_years : str or None
        For the rule ``years``: ``2008``, ``:2007``, ``2009:`` or ``2009:2012``.
    validation : {'random', 'same-rule'}
        Validation towers drawn from all that are left, or chosen by the rule of the test: the next towers on the axis,
        the next groups.
    extreme : str or None
        Which end of the axis is the test: ``warm`` or ``cold``, ``dry`` or ``wet``, ``poleward`` or ``equatorward``; or
        ``high`` or ``low`` temperature, aridity or distance from the equator. Default: the first of each.
    classes, continents : tuple of str
        The groups to hold out, for ``biome`` and ``continent``; drawn if none is named.
    clusters : int or None
        Number of clusters, for ``cluster``; by default as many as give clusters of half the size of the test.
    min_distance : float or None
        Train towers nearer than this to a held-out tower are left out, km.
    exclude_neighbours : bool
        Leave out train towers that are neighbours of a held-out one (see :func:`.neighbours.too_near`).
    """

    n_test: int = 40
    n_validation: int = 20
    seed: int = 1
    train_years: str | None = None
    validation_years: str | None = None
    test_years: str | None = None
    validation: Validation = "random"
    extreme: str | None = None
    classes: tuple[str, ...] = ()
    continents: tuple[str, ...] = ()
    clusters: int | None = None
    min_distance: float | None = None
    exclude_neighbours: bool = False


@dataclass(frozen=True)
class Choice:
    """The answer of a rule.

    Attributes
    ----------
    test : list of str
    text : str
        The rule in words, up to the validation.
    following : callable
        ``(n) -> list of str``: the towers that the rule would hold out next.
    facts : dict
        What the rule found, for the file.
    left_in_train : dict
        Towers that the rule cannot place, by reason; they stay in train.
    """

    test: list[str]
    text: str
    following: Callable[[int], list[str]]
    facts: dict[str, Any] = field(default_factory=dict)
    left_in_train: dict[str, list[str]] = field(default_factory=dict)


_FOR: Final[Mapping[str, tuple[str, ...]]] = {
    "extreme": tuple(EXTREMES),
    "classes": ("biome",),
    "continents": ("continent",),
    "clusters": ("cluster",),
}


def check_options(rule: str, options: DesignOptions) -> None:
    """Refuse options that do not belong to the rule or cannot be.

    Raises
    ------
    ScenarioError
        Naming the option.
    """
    if options.seed < 0:
        raise ScenarioError(f"The seed must not be negative ({options.seed}).")
    if options.validation not in ("random", "same-rule"):
        raise ScenarioError(
            f"The validation is chosen 'random' or by 'same-rule', not {options.validation!r}."
            f"{did_you_mean(options.validation, ('random', 'same-rule'))}"
        )
    for name, rules in _FOR.items():
        if getattr(options, name) and rule not in rules:
            raise ScenarioError(f"--{name} is for the rule {' or '.join(rules)}, not for '{rule}'. Leave it out.")
    far = options.min_distance
    if far is not None and not (math.isfinite(far) and far > 0):
        raise ScenarioError(f"--min-distance must be a positive number of km, not {far:g}.")
    if rule == "years" and (far is not None or options.exclude_neighbours):
        raise ScenarioError(
            "The rule 'years' has the same towers in every part: no distance can be kept between them. Leave "
            "--min-distance and --exclude-neighbours out."
        )
    if options.clusters is not None and options.clusters < 3:
        raise ScenarioError(
            f"--clusters must be at least 3 (given {options.clusters}): one each for test, validation and train."
        )


def rows_word(store: Store) -> str:
    """What a row of the store is."""
    return "days" if store.resolution == "daily" else "hours"


def eligible_towers(store: Store, n_test: int, n_validation: int) -> list[str]:
    """Towers that may be held out: those with a measured row.

    Raises
    ------
    ScenarioError
        If the numbers asked for would leave none of them to train on.
    """
    if n_test < 1 or n_validation < 1:
        raise ScenarioError(f"--n-test and --n-validation must be at least 1 (given {n_test} and {n_validation}).")
    eligible = [site for site in store.site_ids if store.record(site).measured_hours > 0]
    if n_test + n_validation >= len(eligible):
        raise ScenarioError(
            f"{n_test} test and {n_validation} validation towers leave none of the store's "
            f"{len(eligible)} towers with measured {rows_word(store)} for training. Choose smaller --n-test and "
            "--n-validation."
        )
    return eligible


def end_of(rule: str, options: DesignOptions) -> str:
    """Which end of a rule's axis is the test, as one of :data:`EXTREMES`.

    Raises
    ------
    ScenarioError
        If ``extreme`` is no end of this axis.
    """
    ends = EXTREMES[rule]
    if options.extreme is None:
        return ends[0]
    words = {**dict(zip(ends, ends, strict=True)), "high": ends[0], "low": ends[1]}
    if options.extreme.casefold() not in words:
        raise ScenarioError(
            f"--extreme of the rule '{rule}' is {ends[0]} or {ends[1]}, not {options.extreme!r}."
            f"{did_you_mean(options.extreme, words)}"
        )
    return words[options.extreme.casefold()]


def nearest_groups(sizes: Mapping[str, int], order: Sequence[str], wanted: int, *, keep: int) -> list[str]:
    """Whole groups whose sizes add up to nearly ``wanted``.

    Groups are taken in ``order``, each if it brings the total nearer to ``wanted`` and leaves at least ``keep`` members
    in the others. Where the first look takes none (all are too big), the group nearest in size is taken.

    Returns
    -------
    list of str
        Names in the order taken; empty if not even the smallest group leaves ``keep`` members.
    """
    everyone = sum(sizes[name] for name in order)
    chosen: list[str] = []
    total = 0
    for name in order:
        after = total + sizes[name]
        if abs(after - wanted) < abs(total - wanted) and everyone - after >= keep:
            chosen.append(name)
            total = after
    if not chosen:
        possible = [name for name in order if everyone - sizes[name] >= keep]
        chosen = sorted(possible, key=lambda name: abs(sizes[name] - wanted))[:1]
    return chosen
