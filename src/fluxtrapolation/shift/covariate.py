"""Shift of P(X): how far the covariates of test are from those of train, by row and by site."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

import polars as pl

from fluxtrapolation.errors import DataError
from fluxtrapolation.scenarios import Split
from fluxtrapolation.shift import classifier
from fluxtrapolation.shift.boosting import DEPTH, ITERATIONS, domain_classifier
from fluxtrapolation.shift.classifier import ClassifierShift, Fitted
from fluxtrapolation.shift.covariate_pool import Pool
from fluxtrapolation.shift.covariate_scores import BINS, Reliability
from fluxtrapolation.shift.distances import PERMUTATIONS, distance_table
from fluxtrapolation.shift.sampling import MAX_ROWS, Protocol, choose_rows
from fluxtrapolation.shift.univariate import histogram_table, univariate_table

CALIBRATION_SCHEMA: Final = {
    "split": pl.String,
    "bin": pl.Int64,
    "low": pl.Float64,
    "high": pl.Float64,
    "predicted": pl.Float64,
    "observed": pl.Float64,
    "n": pl.Int64,
}


@dataclass(frozen=True, eq=False)
class CovariateShift:
    """The shift of P(X) of one scenario; see ``docs/shift-px.md`` for every number.

    Attributes
    ----------
    by_row : ClassifierShift
        The published protocol: rows are dealt into halves.
    by_site : ClassifierShift
        Towers are dealt into halves. Where ``by_row`` is high and this is not, the classifier knew the towers, and
        towers were told, not train and test.
    importance : DataFrame
        ``covariate, auc_drop, sd, repeats, reason``: AUC by site lost when a covariate is exchanged between held-out
        rows.
    calibration : DataFrame
        ``split, bin, low, high, predicted, observed, n``: reliability over all repeats; bins without rows left out.
    distances : DataFrame
        ``measure, value, exchanged, p_value, unit, note``.
    univariate, histograms : DataFrame
    record : dict
        How all this was made.
    """

    by_row: ClassifierShift
    by_site: ClassifierShift
    importance: pl.DataFrame
    calibration: pl.DataFrame
    distances: pl.DataFrame
    univariate: pl.DataFrame
    histograms: pl.DataFrame
    record: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: numbers, words, None with a reason; never NaN. Histograms are left to their table."""
        return {
            "by_row": self.by_row.to_dict(),
            "by_site": self.by_site.to_dict(),
            "importance": self.importance.to_dicts(),
            "calibration": self.calibration.to_dicts(),
            "distances": self.distances.to_dicts(),
            "univariate": self.univariate.to_dicts(),
            "record": self.record,
        }


def covariate(
    split: Split,
    *,
    repeats: int = 10,
    max_rows: int | None = MAX_ROWS,
    permutations: int = 99,
    seed: int = 0,
    protocol: Protocol = "paper",
) -> CovariateShift:
    """Measure the shift of P(X) between train and test of a split.

    Parameters
    ----------
    split : Split
    repeats : int, default 10
        Random halvings, by row and by site.
    max_rows : int or None
        Train and test rows together, drawn so that each tower keeps its share; None for all rows.
    permutations : int, default 99
        Exchanges of labels for the p-values of the classifiers (by site each is a refit). The distances, which are
        cheaper, take 999, or this number if it is larger.
    seed : int
    protocol : {'paper', 'measured'}
        Whether gap-filled test hours count. Train never holds them, so under ``paper`` the filter itself is a shift.

    Returns
    -------
    CovariateShift

    Raises
    ------
    DataError
        If ``repeats``, ``permutations`` or ``seed`` make no sense, a covariate has holes, or none varies.
    ScenarioError
        If train or test has no row.
    ModelError
        If scikit-learn is not installed.
    """
    for name, value, least in (("repeats", repeats, 1), ("permutations", permutations, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise DataError(f"{name} must be a whole number of at least {least}, not {value!r}.")
    domain_classifier(seed=0)  # scikit-learn absent: told before the work, not amid it
    clock = _Clock()
    rows = choose_rows(split, max_rows=max_rows, seed=seed, protocol=protocol)
    pool = Pool.of(rows)
    clock.lap("rows")
    row_wise = classifier.by_row(pool, repeats=repeats, permutations=permutations, seed=seed)
    clock.lap("by_row")
    site_wise = classifier.by_site(pool, repeats=repeats, permutations=permutations, seed=seed)
    clock.lap("by_site")
    distances, how = distance_table(pool, seed=seed, permutations=max(PERMUTATIONS, permutations))
    clock.lap("distances")
    univariate, histograms = univariate_table(pool), histogram_table(pool)
    clock.lap("univariate")
    record = rows.record | {
        "scenario": split.scenario.name,
        "unit": pool.kind,
        "train_towers": pool.towers_of(test=False),
        "test_towers": pool.towers_of(test=True),
        "train_units": int((~pool.unit_test).sum()),
        "test_units": int(pool.unit_test.sum()),
        "constant_covariates": list(pool.constant),
        "repeats": repeats,
        "permutations": permutations,
        "classifier": {"kind": "histogram gradient boosting", "iterations": ITERATIONS, "depth": DEPTH},
        "permutation_classifier": {"rows": classifier.TEST_ROWS, "iterations": classifier.TEST_ITERATIONS},
        "importance_rows": classifier.IMPORTANCE_ROWS,
        "distances": how,
        "seconds": clock.seconds,
    }
    return CovariateShift(
        by_row=row_wise.shift,
        by_site=site_wise.shift,
        importance=site_wise.importance if site_wise.importance is not None else _no_importance(pool, site_wise),
        calibration=_calibration({"row": row_wise.reliability, "site": site_wise.reliability}),
        distances=distances,
        univariate=univariate,
        histograms=histograms,
        record=record,
    )


def _no_importance(pool: Pool, fitted: Fitted) -> pl.DataFrame:
    """A row per covariate that says why there is no number."""
    names = [c.name for c in pool.covariates]
    return pl.DataFrame(
        [(name, None, None, 0, fitted.shift.reason) for name in names],
        schema=classifier.IMPORTANCE_SCHEMA,
        orient="row",
    )


def _calibration(found: dict[str, Reliability | None]) -> pl.DataFrame:
    """Bins of both splits that hold rows; ``n`` counts the rows of all repeats."""
    told: list[tuple[Any, ...]] = []
    for split, sums in found.items():
        if sums is None:
            continue
        for i, n in enumerate(sums.n.tolist()):
            if n:
                shares = float(sums.predicted[i]) / n, float(sums.observed[i]) / n
                told.append((split, i, i / BINS, (i + 1) / BINS, *shares, n))
    return pl.DataFrame(told, schema=CALIBRATION_SCHEMA, orient="row")


class _Clock:
    """Seconds of each piece of the work."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.seconds[name] = round(now - self._last, 3)
        self._last = now
