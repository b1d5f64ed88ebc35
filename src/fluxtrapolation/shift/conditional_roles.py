"""Who does what in a measure of P(Y|X): domain classifier, regressor, evaluation; by row or by tower."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.shift.sampling import Rows

Unit = Literal["row", "site"]
FitOn = Literal["train", "test"]
Indices = NDArray[np.int64]

MIN_TOWERS: Final = 4
"""Towers that each role needs when towers are dealt: 12 on the side in thirds, 8 on the side in halves."""


@dataclass(frozen=True, eq=False)
class Roles:
    """Row indices of one repeat.

    ``home`` is the part the regressor is fitted on (train rows for ``fit_on='train'``), ``away`` the other one.

    Attributes
    ----------
    home_classifier, home_fit, home_evaluation : ndarray of int
        The thirds A, B, C of the home part.
    away_classifier, away_evaluation : ndarray of int
        The halves D, E of the away part.
    """

    home_classifier: Indices
    home_fit: Indices
    home_evaluation: Indices
    away_classifier: Indices
    away_evaluation: Indices


@dataclass(frozen=True, eq=False)
class Towers:
    """The towers of both parts under one numbering.

    Attributes
    ----------
    names : tuple of str
    train, test : ndarray of int
        Tower of every train row and test row, as an index into ``names``.
    """

    names: tuple[str, ...]
    train: Indices
    test: Indices

    @classmethod
    def of(cls, rows: Rows) -> Towers:
        names = tuple(sorted({*rows.train.sites, *rows.test.sites}))
        at = {name: i for i, name in enumerate(names)}
        codes = [
            np.asarray([at[name] for name in part.sites], dtype=np.int64)[part.site_codes]
            for part in (rows.train, rows.test)
        ]
        return cls(names, codes[0], codes[1])

    def sides(self, fit_on: FitOn) -> tuple[Indices, Indices]:
        """Home and away."""
        return (self.train, self.test) if fit_on == "train" else (self.test, self.train)


def too_few_towers(towers: Towers, fit_on: FitOn, paired: bool) -> str | None:
    """Why towers cannot be dealt, or None."""
    home, away = (set(np.unique(side).tolist()) for side in towers.sides(fit_on))
    if paired:
        both = len(home & away)
        if both < 3 * MIN_TOWERS:
            return f"{both} towers stand in both parts; thirds of towers need at least {3 * MIN_TOWERS}"
        return None
    names = ("train", "test") if fit_on == "train" else ("test", "train")
    for name, n, need, word in ((names[0], len(home), 3, "thirds"), (names[1], len(away), 2, "halves")):
        if n < need * MIN_TOWERS:
            return f"the {name} part has {n} towers; {word} of towers need at least {need * MIN_TOWERS}"
    return None


def deal(
    towers: Towers, *, unit: Unit, fit_on: FitOn, paired: bool, repeats: int, generator: np.random.Generator
) -> Iterator[Roles]:
    """The roles of each repeat.

    By row, each repeat draws thirds and halves anew (BENCHMARK, section 5). By tower, a draw of thirds serves three
    repeats, its roles rotated, and a draw of halves serves two, swapped: every tower is then evaluated equally often,
    to one, and always by a regressor that has not seen it. Where towers stand in both parts (``paired``), a tower keeps
    one role in both: A trains the classifier with its rows of both parts, B fits, C is evaluated in both.
    """
    home, away = towers.sides(fit_on)
    if unit == "row":
        for _ in range(repeats):
            thirds_of_rows = np.array_split(generator.permutation(len(home)), 3)
            yield Roles(*thirds_of_rows, *np.array_split(generator.permutation(len(away)), 2))
        return
    thirds = halves = None
    there = np.unique(np.concatenate([home, away])) if paired else np.unique(home)
    for i in range(repeats):
        if thirds is None or i % 3 == 0:
            thirds = _groups(there, 3, len(towers.names), generator)
        third = np.where(thirds < 0, -1, (thirds + i) % 3)
        if paired:
            both = np.isin(np.arange(len(towers.names)), np.intersect1d(home, away))
            judged = (third == 2) & both
            a, b, c, d, e = (third == 0, home), (third == 1, home), (judged, home), (third == 0, away), (judged, away)
        else:
            if halves is None or i % 2 == 0:
                halves = _groups(np.unique(away), 2, len(towers.names), generator)
            half = np.where(halves < 0, -1, (halves + i) % 2)
            a, b, c = (third == 0, home), (third == 1, home), (third == 2, home)
            d, e = (half == 0, away), (half == 1, away)
        yield Roles(*(np.flatnonzero(chosen[side]) for chosen, side in (a, b, c, d, e)))


def _groups(there: Indices, n: int, size: int, generator: np.random.Generator) -> Indices:
    """A random group of near equal size for each tower that is there, -1 for the others."""
    group = np.full(size, -1, dtype=np.int64)
    group[generator.permutation(there)] = np.arange(len(there)) % n
    return group
