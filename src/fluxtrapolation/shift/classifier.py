"""The domain classifier: how well boosted trees tell test rows from train rows, by row and by site."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import add
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from fluxtrapolation.shift.boosting import ITERATIONS, domain_classifier
from fluxtrapolation.shift.covariate_pool import Bools, Float32, Ints, Pool, seeded, side_by_side
from fluxtrapolation.shift.covariate_scores import (
    Reliability,
    auc_of_ranks,
    average_ranks,
    balanced_accuracy,
    binomial_p_value,
    rank_auc,
    row_p_value,
)
from fluxtrapolation.shift.estimate import Estimate
from fluxtrapolation.shift.permute import MIN_UNITS, exchange, exchanged, p_value

TEST_ROWS: Final = 10_000
"""Rows on which each refit of the permutation test by site looks, the same number from each unit."""
TEST_ITERATIONS: Final = 30
"""Boosting iterations of each of these refits."""
IMPORTANCE_ROWS: Final = 10_000
"""Held-out rows among which a covariate is permuted for its importance."""

IMPORTANCE_SCHEMA: Final = {
    "covariate": pl.String,
    "auc_drop": pl.Float64,
    "sd": pl.Float64,
    "repeats": pl.Int64,
    "reason": pl.String,
}

_ROW, _SITE, _TEST = 1, 2, 3

ROW_NOTE: Final = (
    "unit: row; median over repeats. Anti-conservative: rows of one tower are not independent, so this p-value is "
    "small even where towers were dealt by chance. Read the one by site"
)


@dataclass(frozen=True, slots=True)
class ClassifierShift:
    """How well a classifier tells test from train, on rows it has not seen.

    Attributes
    ----------
    split : {'row', 'site'}
        What was dealt into halves: rows, or towers with all their rows (and years).
    auc : Estimate
        0.5: not told apart; 1: each row told. Does not depend on the ratio of train to test rows.
    balanced_accuracy : Estimate
        Mean of the shares of train and of test rows told rightly at probability 0.5 by an unweighted classifier. It
        depends on the ratio: where test rows are few, few are called test, and it stays near 0.5 at a high AUC.
    brier, calibration_error : Estimate
        Mean squared error of the probabilities, and their mean distance from the observed shares.
    p_value : float or None
        Permutation p-value; its unit and limits stand in ``p_note``. None with the reason in ``p_note``.
    binomial_p : float or None
        By row only: that as many rows are told rightly at the rate of the larger side. Anti-conservative as well.
    test_share : float
        Share of test rows; ``test_share * (1 - test_share)`` is the Brier score of knowing nothing else.
    statistic, exchanged : float or None
        By site: the AUC of the permutation test (its own smaller classifier) and the mean under exchanged labels.
    reason : str or None
        Why nothing could be estimated.
    """

    split: Literal["row", "site"]
    auc: Estimate
    balanced_accuracy: Estimate
    brier: Estimate
    calibration_error: Estimate
    test_share: float
    p_value: float | None = None
    p_note: str = ""
    binomial_p: float | None = None
    statistic: float | None = None
    exchanged: float | None = None
    reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Means as plain numbers, spreads beside them under ``<name>_sd``; None where ``reason`` tells why."""
        told: dict[str, Any] = {"split": self.split}
        for name in ("auc", "balanced_accuracy", "brier", "calibration_error"):
            estimate: Estimate = getattr(self, name)
            told |= {name: estimate.mean, f"{name}_sd": estimate.sd}
        told |= {
            "repeats": self.auc.n,
            "p_value": self.p_value,
            "p_note": self.p_note,
            "test_share": self.test_share,
            "reason": self.reason,
        }
        if self.split == "row":
            return told | {"binomial_p": self.binomial_p}
        return told | {"permutation_auc": self.statistic, "exchanged_auc": self.exchanged}


@dataclass(frozen=True, slots=True)
class Fitted:
    """What one estimator gives: its summary, its reliability, and (by site) the importance of covariates."""

    shift: ClassifierShift
    reliability: Reliability | None
    importance: pl.DataFrame | None = None


@dataclass(frozen=True, slots=True)
class _Repeat:
    auc: float
    balanced: float
    reliability: Reliability
    p_row: float | None = None
    p_binomial: float | None = None
    drops: tuple[float, ...] = ()


def by_row(pool: Pool, *, repeats: int, permutations: int, seed: int) -> Fitted:
    """The published protocol: rows in random halves, one fits, the other is told.

    Parameters
    ----------
    pool : Pool
    repeats : int
        Random halvings, each stratified by side.
    permutations : int
        Exchanges of the labels of the held-out half.
    seed : int
    """
    few = min(int(pool.test.sum()), int((~pool.test).sum()))
    if few < 2:
        return _nothing(pool, "row", f"one side has {few} row; halves need at least 2")

    found = side_by_side(
        partial(_row_repeat, pool, permutations, seed), range(repeats), rows=len(pool), each=pool.fit_bytes
    )
    shift = replace(
        _summary(pool, "row", found),
        p_value=float(np.median([r.p_row for r in found if r.p_row is not None])),
        binomial_p=float(np.median([r.p_binomial for r in found if r.p_binomial is not None])),
        p_note=ROW_NOTE,
    )
    return Fitted(shift, reduce(add, [r.reliability for r in found]))


def by_site(
    pool: Pool,
    *,
    repeats: int,
    permutations: int,
    seed: int,
    test_rows: int = TEST_ROWS,
    test_iterations: int = TEST_ITERATIONS,
) -> Fitted:
    """Towers, not rows, in random halves: no tower is known to the classifier that is asked about it.

    Parameters
    ----------
    pool : Pool
    repeats : int
        Random halvings of the towers, stratified by side; a tower goes with all its years to one half.
    permutations : int
        Refits under labels exchanged between units, for the p-value.
    seed : int
    test_rows, test_iterations : int
        Size of the classifier of the permutation test.
    """
    sides = [pool.towers_of(test=side) for side in (False, True)]
    if min(sides) < MIN_UNITS:
        why = f"{sides[0]} towers have train rows and {sides[1]} have test rows; at least {MIN_UNITS} a side are needed"
        return _nothing(pool, "site", why)

    found = side_by_side(partial(_site_repeat, pool, seed), range(repeats), rows=len(pool), each=pool.fit_bytes)
    shift = _summary(pool, "site", found)
    shift = _site_test(pool, shift, permutations, seed, test_rows, test_iterations)
    drops = np.array([r.drops for r in found])
    sds = drops.std(axis=0, ddof=1).tolist() if repeats > 1 else [None] * drops.shape[1]
    names = [c.name for c in pool.covariates]
    importance = pl.DataFrame(
        [(*row, repeats, None) for row in zip(names, drops.mean(axis=0).tolist(), sds, strict=True)],
        schema=IMPORTANCE_SCHEMA,
        orient="row",
    ).sort("auc_drop", descending=True)
    return Fitted(shift, reduce(add, [r.reliability for r in found]), importance)


def _site_test(
    pool: Pool, shift: ClassifierShift, permutations: int, seed: int, test_rows: int, test_iterations: int
) -> ClassifierShift:
    """Permutation p-value of the AUC by site: all is refitted under each exchange, the observed labels likewise."""
    able = exchange(pool)
    if able.reason is not None:
        return replace(shift, p_note=able.reason)
    rng = seeded(seed, _TEST)
    rows = pool.balanced(test_rows, least=4, rng=rng)
    labels = np.concatenate([pool.unit_test[None], exchanged(pool, permutations, rng)])
    trial = _Trial(
        pool.X[rows],
        pool.unit[rows],
        pool.tower[rows],
        pool.unit_tower,
        len(pool.towers),
        labels,
        seed,
        test_iterations,
    )
    found = side_by_side(trial.auc, range(len(labels)), rows=len(rows) * len(labels) // 10)
    note = (
        f"{able.note()}. {permutations} refits of a smaller classifier ({len(rows):,} rows, the same number from each "
        f"unit; {test_iterations} iterations of {ITERATIONS}; halves of towers told each by the other)"
    )
    return replace(
        shift,
        p_value=p_value(found[0], found[1:]),
        p_note=note,
        statistic=found[0],
        exchanged=float(np.mean(found[1:])),
    )


@dataclass(frozen=True, eq=False)
class _Trial:
    """What a refit under exchanged labels needs."""

    X: Float32
    unit: Ints
    tower: Ints
    unit_tower: Ints
    towers: int
    labels: Bools
    seed: int
    iterations: int

    def auc(self, i: int) -> float:
        """Mean of the AUCs of either half of the towers, told by a classifier of the other, under labels ``i``."""
        test = self.labels[i][self.unit]
        half = tower_half(self.unit_tower, self.labels[i], self.towers, seeded(self.seed, _TEST, i))[self.tower]
        told = []
        for fit in (half, ~half):
            model = domain_classifier(seed=i, iterations=self.iterations)
            model.fit(self.X[fit], test[fit].astype(np.int8))
            told.append(rank_auc(model.predict_proba(self.X[~fit])[:, 1], test[~fit]))
        return float(np.mean(told))


def _row_repeat(pool: Pool, permutations: int, seed: int, i: int) -> _Repeat:
    rng = seeded(seed, _ROW, i)
    fit = np.zeros(len(pool), np.bool_)
    for side in (~pool.test, pool.test):
        rows = rng.permutation(np.flatnonzero(side))
        fit[rows[: len(rows) // 2]] = True
    model = domain_classifier(seed=i).fit(pool.X[fit], pool.test[fit].astype(np.int8))
    probability, test = model.predict_proba(pool.X[~fit])[:, 1], pool.test[~fit]
    ranks = average_ranks(probability)
    return _Repeat(
        auc_of_ranks(ranks, test),
        balanced_accuracy(probability, test),
        Reliability.of(probability, test),
        row_p_value(ranks, test, permutations, rng),
        binomial_p_value(probability, test),
    )


def _site_repeat(pool: Pool, seed: int, i: int) -> _Repeat:
    rng = seeded(seed, _SITE, i)
    fit = tower_half(pool.unit_tower, pool.unit_test, len(pool.towers), rng)[pool.tower]
    held = np.flatnonzero(~fit)
    model = domain_classifier(seed=i).fit(pool.X[fit], pool.test[fit].astype(np.int8))
    probability = model.predict_proba(pool.X[held])[:, 1]
    test = pool.test[held]
    return _Repeat(
        rank_auc(probability, test),
        balanced_accuracy(probability, test),
        Reliability.of(probability, test),
        drops=_drops(pool, model, held, rng),
    )


def tower_half(unit_tower: Ints, unit_test: Bools, towers: int, rng: np.random.Generator) -> Bools:
    """Which towers are in the first half, shape (towers,): half of those with train, with test, with both kinds of
    rows under these labels; chance decides where the odd one goes."""
    has = [np.bincount(unit_tower[unit_test == side], minlength=towers) > 0 for side in (False, True)]
    kind = has[0].astype(np.int64) + 2 * has[1]
    first = np.zeros(towers, np.bool_)
    for value in (1, 2, 3):
        alike = rng.permutation(np.flatnonzero(kind == value))
        first[alike[: (len(alike) + int(rng.integers(2))) // 2]] = True
    return first


def _drops(pool: Pool, model: Any, held: Ints, rng: np.random.Generator) -> tuple[float, ...]:
    """AUC lost when a covariate is exchanged between held-out rows; PFT's columns move together."""
    if len(held) > IMPORTANCE_ROWS:
        held = _thinned(pool.test, held, rng)
    X, test = pool.X[held].copy(), pool.test[held]
    whole = rank_auc(model.predict_proba(X)[:, 1], test)
    lost = []
    for covariate in pool.covariates:
        columns = list(covariate.columns)
        kept = X[:, columns].copy()
        X[:, columns] = kept[rng.permutation(len(held))]
        lost.append(whole - rank_auc(model.predict_proba(X)[:, 1], test))
        X[:, columns] = kept
    return tuple(lost)


def _thinned(test: Bools, held: Ints, rng: np.random.Generator) -> Ints:
    """IMPORTANCE_ROWS of the held-out rows; both sides in their ratio, and at least one of each."""
    share = IMPORTANCE_ROWS / len(held)
    kept = []
    for side in (False, True):
        rows = held[test[held] == side]
        kept.append(rng.choice(rows, size=max(1, round(share * len(rows))), replace=False, shuffle=False))
    return np.concatenate(kept)


def _summary(pool: Pool, split: Literal["row", "site"], found: list[_Repeat]) -> ClassifierShift:
    return ClassifierShift(
        split=split,
        auc=Estimate.over([r.auc for r in found]),
        balanced_accuracy=Estimate.over([r.balanced for r in found]),
        brier=Estimate.over([r.reliability.brier for r in found]),
        calibration_error=Estimate.over([r.reliability.calibration_error for r in found]),
        test_share=float(pool.test.mean()),
    )


def _nothing(pool: Pool, split: Literal["row", "site"], reason: str) -> Fitted:
    cannot = Estimate.cannot(reason)
    shift = ClassifierShift(
        split, cannot, cannot, cannot, cannot, float(pool.test.mean()), p_note=f"no p-value: {reason}", reason=reason
    )
    return Fitted(shift, None)
