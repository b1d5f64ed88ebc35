"""Permutation tests whose unit is a tower, or a year within a tower; never a row.

Hours of one tower share its climate, its canopy and its instruments. Labels exchanged between rows would call that
likeness a shift. Here whole units exchange their labels.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluxtrapolation.shift.covariate_pool import Bools, Pool, UnitKind

MIN_UNITS: Final = 4
"""Units a side below which no p-value is given."""
FILTER: Final = "Under protocol paper only train rows are filtered by quality; the p-value sees that as a shift too"


@dataclass(frozen=True, slots=True)
class Exchange:
    """What may exchange its label, and how often.

    Attributes
    ----------
    kind : {'tower', 'tower-year'}
    train, test : int
        Units that can exchange. In a scenario by years: tower-years of towers with years on both sides.
    fixed : int
        Units that cannot: tower-years of a tower with one side only.
    towers : int
        Towers that hold them.
    log10_distinct : float
        Decimal logarithm of the number of distinct permutations.
    reason : str or None
        Why there is no test.
    """

    kind: UnitKind
    train: int
    test: int
    fixed: int
    towers: int
    log10_distinct: float
    reason: str | None

    @property
    def smallest_p(self) -> float:
        """The smallest p-value that all distinct permutations could give; never below 2.2e-308."""
        return max(float(10.0**-self.log10_distinct), sys.float_info.min)

    def note(self) -> str:
        """In words: the unit, the number of permutations, and what the test does not see."""
        many = (
            f"{round(10**self.log10_distinct):,} distinct permutations"
            if self.log10_distinct < 6
            else "more than a million distinct permutations"
        )
        if self.kind == "tower":
            return (
                f"unit: tower; {self.train} train and {self.test} test towers exchange their labels ({many}). {FILTER}"
            )
        return (
            f"unit: tower-year; {self.train} train and {self.test} test years exchange their labels within "
            f"{self.towers} towers ({many}); {self.fixed} years of towers with one side only stay as they are. Low "
            f"power: a tower has few years. Anti-conservative where towers share the weather of a year. {FILTER}"
        )

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "unit": self.kind,
            "train": self.train,
            "test": self.test,
            "fixed": self.fixed,
            "towers": self.towers,
            "log10_distinct": self.log10_distinct,
            "smallest_p": self.smallest_p,
            "reason": self.reason,
        }


def exchange(pool: Pool) -> Exchange:
    """Count the units that may exchange their labels, or say why too few do."""
    within = pool.unit_tower if pool.kind == "tower-year" else np.zeros(len(pool.units), np.int64)
    n = np.bincount(within)
    n_test = np.bincount(within, weights=pool.unit_test).astype(np.int64)
    free = (n_test > 0) & (n_test < n)
    test, total = int(n_test[free].sum()), int(n[free].sum())
    log10 = sum(_log10_choose(a, b) for a, b in zip(n[free].tolist(), n_test[free].tolist(), strict=True))
    train = total - test
    reason = None
    if min(train, test) < MIN_UNITS:
        units = "towers" if pool.kind == "tower" else "years of towers with years on both sides"
        reason = (
            f"no p-value: {train} train and {test} test {units} can exchange their labels, and at least {MIN_UNITS} a "
            "side are needed"
        )
    towers = int(free.sum()) if pool.kind == "tower-year" else len(pool.towers)
    return Exchange(pool.kind, train, test, len(pool.units) - total, towers, log10, reason)


def exchanged(pool: Pool, draws: int, rng: np.random.Generator) -> Bools:
    """Labels of the units under ``draws`` random permutations, shape (draws, units).

    Towers exchange with one another; tower-years with the other years of their tower.
    """
    units = len(pool.units)
    if pool.kind == "tower":
        return rng.permuted(np.broadcast_to(pool.unit_test, (draws, units)), axis=1)
    # Sorted by (tower, chance) the units of each tower are shuffled among its own places.
    places = np.argsort(pool.unit_tower, kind="stable")
    labels = np.empty((draws, units), np.bool_)
    for row in labels:
        shuffled = np.lexsort((rng.random(units), pool.unit_tower))
        row[places] = pool.unit_test[shuffled]
    return labels


def p_value(observed: float, null: ArrayLike) -> float:
    """Share of permutations at least as large, the observed one counted: (1 + #) / (1 + B).

    Never zero, and never too small however few the draws (Phipson and Smyth 2010, arXiv:1603.05766).
    """
    drawn: NDArray[np.float64] = np.asarray(null, np.float64)
    # Permutations that give the observed labels back must count as ties, whatever the order of a sum did to them.
    slack = 1e-12 * max(1.0, abs(observed))
    return float((1 + np.count_nonzero(drawn >= observed - slack)) / (1 + len(drawn)))


def _log10_choose(n: int, k: int) -> float:
    return (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)) / math.log(10)
