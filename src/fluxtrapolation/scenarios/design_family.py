"""Families of scenarios whose difficulty rises step by step along one axis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import ScenarioError, did_you_mean
from fluxtrapolation.scenarios.design import check_name, pinned
from fluxtrapolation.scenarios.design_axes import AXES, Axis, axis_of
from fluxtrapolation.scenarios.design_options import Choice, DesignOptions, Moves, check_options, eligible_towers
from fluxtrapolation.scenarios.scenario import Scenario

SHARE: Final = 0.5
"""Share of the towers that are not in the test which each member of a family uses for train and validation."""


def design_family(
    store: Store,
    rule: str,
    *,
    name: str,
    members: int,
    moves: Moves = "train",
    options: DesignOptions | None = None,
) -> list[Scenario]:
    """Scenarios ``name-1`` (easiest) to ``name-k`` (hardest) along the axis of a rule, for a curve of error on shift.

    All have the same numbers of test, validation and train towers. Towers are ordered along the axis. With ``moves``

    train
        The test is the ``n_test`` most extreme towers in every member: the same towers. Train and validation are a
        window over half of the other towers; the first window lies next to the test, the last at the other end of the
        axis, the others evenly between. So errors are compared on the same towers, and only the distance to train
        grows.
    test
        Train and validation are the half of the other towers at the far end in every member: the same towers. The test
        is a window of ``n_test`` towers, first next to train, last at the extreme.

    Within the window the validation towers are drawn, at the same ranks in every member; with the validation by the
    same rule they are the ranks nearest to the test. So train moves tower by tower, and the gap on the axis between the
    mean train and the mean test tower cannot shrink from one member to the next. It is pinned as ``gap``.

    Raises
    ------
    ScenarioError
        If the rule has no axis, the family has more members than there are windows, or distances are asked for.
    """
    check_name(f"{name}-1")
    given = options or DesignOptions()
    _check(rule, members, moves, given)
    eligible = eligible_towers(store, given.n_test, given.n_validation)
    axis = axis_of(store, rule, replace(given, validation="random"), eligible)
    others = len(axis.order) - given.n_test
    window = int(np.ceil(SHARE * others))
    steps = others - window
    if window <= given.n_validation or members > steps + 1:
        raise ScenarioError(
            f"The family is too large: {len(axis.order)} towers on the axis less {given.n_test} of the test leave "
            f"windows of {window} towers at {steps + 1} places, for {members} members with {given.n_validation} "
            "validation towers each. Ask for fewer members (--family) or smaller --n-test and --n-validation."
        )
    ranks = _validation_ranks(window, given)
    return [
        _member(
            store, rule, axis, given, moves, _Step(name, i, members, round(i * steps / (members - 1)), ranks), window
        )
        for i in range(members)
    ]


@dataclass(frozen=True)
class _Step:
    """One member: its number, how many ranks its window has moved, and the ranks of validation in the window."""

    family: str
    number: int
    members: int
    moved: int
    ranks: tuple[int, ...]


def _check(rule: str, members: int, moves: str, options: DesignOptions) -> None:
    if rule not in AXES:
        raise ScenarioError(
            f"A family needs an axis; the rule {rule!r} has none.{did_you_mean(rule, AXES)} With one: "
            f"{', '.join(AXES)}."
        )
    check_options(rule, options)
    if members < 2:
        raise ScenarioError(f"A family has at least 2 members (--family {members}).")
    if moves not in ("train", "test"):
        raise ScenarioError(f"What moves along a family is train or test, not {moves!r}.")
    if options.min_distance is not None or options.exclude_neighbours:
        raise ScenarioError(
            "A family keeps the number of train towers; leaving out near ones would change it from member to member. "
            "Leave --min-distance and --exclude-neighbours out."
        )


def _validation_ranks(window: int, options: DesignOptions) -> tuple[int, ...]:
    """Ranks of the validation towers in a window; the last rank is the one nearest to the test."""
    if options.validation == "same-rule":
        return tuple(range(window - options.n_validation, window))
    drawn = np.random.default_rng([options.seed, 2]).permutation(window)[: options.n_validation]
    return tuple(sorted(drawn.tolist()))


def _member(
    store: Store, rule: str, axis: Axis, options: DesignOptions, moves: Moves, step: _Step, window: int
) -> Scenario:
    towers = axis.order[::-1]  # the extreme last
    others = len(towers) - options.n_test
    if moves == "train":
        start = others - window - step.moved
        pool, test = towers[start : start + window], towers[others:]
    else:
        start = window + step.moved
        pool, test = towers[:window], towers[start : start + options.n_test]
    validation = [pool[rank] for rank in step.ranks]
    train = [site for site in pool if site not in set(validation)]

    def mean(sites: Sequence[str]) -> float:
        return float(np.mean([axis.value[site] for site in sites]))

    gap = axis.sign * (mean(test) - mean(train))
    still = "test" if moves == "train" else "train"
    drawn = f"drawn (seed {options.seed})" if options.validation == "random" else "those nearest to the test"
    text = (
        f"{rule}, member {step.number + 1} of {step.members} of a family of rising difficulty: towers ordered by "
        f"{axis.what}; {still} is at its end of the axis in all members, {moves} has moved {step.moved} towers away "
        f"from it; {len(test)} test towers ({axis.extreme} end), {len(train)} train and {len(validation)} validation "
        f"towers from a window of {window}, the latter {drawn}; mean of test less mean of train {mean(test):.2f} - "
        f"{mean(train):.2f} {axis.unit}; one domain is a tower"
    )
    facts: dict[str, Any] = {
        "family": {"name": step.family, "member": step.number + 1, "members": step.members, "moves": moves},
        "extreme": axis.extreme,
        "gap": {"towards_extreme": round(gap, 6), "test": mean(test), "train": mean(train), "unit": axis.unit},
        **axis.facts,
    }
    if axis.left_in_train:
        facts["not_on_axis"] = axis.left_in_train
    name = f"{step.family}-{step.number + 1}"
    choice = Choice(test, text, axis.next_towers, facts)
    return pinned(store, name, rule, text, (train, validation, test), choice, options)
