"""Covariate by covariate: how far apart train and test are, and their histograms."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import polars as pl

from fluxtrapolation.schema import PFT_PREFIX
from fluxtrapolation.shift.covariate_pool import PFT, Bools, Covariate, Float64, Pool, covariate_groups

HISTOGRAM_BINS: Final = 40
HISTOGRAM_TAIL: Final = 0.001
"""Share of train and test together that lies beyond each end of a histogram."""
RANGE: Final = (0.01, 0.99)
"""Quantiles of train outside which a test row counts as outside."""

SCHEMA: Final = {
    "covariate": pl.String,
    "unit": pl.String,
    "train_mean": pl.Float64,
    "test_mean": pl.Float64,
    "train_sd": pl.Float64,
    "test_sd": pl.Float64,
    "smd": pl.Float64,
    "ks": pl.Float64,
    "wasserstein": pl.Float64,
    "outside": pl.Float64,
    "total_variation": pl.Float64,
    "note": pl.String,
}
HISTOGRAM_SCHEMA: Final = {
    "covariate": pl.String,
    "label": pl.String,
    "low": pl.Float64,
    "high": pl.Float64,
    "train": pl.Float64,
    "test": pl.Float64,
}


def univariate_table(pool: Pool) -> pl.DataFrame:
    """One row per covariate, over all rows of the pool.

    Columns: ``covariate, unit, train_mean, test_mean, train_sd, test_sd`` (in ``unit``); ``smd`` (test mean minus
    train mean over the root of the mean variance); ``ks`` (0 to 1); ``wasserstein`` (in ``unit``); ``outside`` (share
    of test rows outside the 1st to 99th percentile of train); ``total_variation`` (PFT only: half the sum of the
    differences between class shares, 0 to 1); ``note`` (why a cell is null).
    """
    told = []
    for covariate in covariate_groups(pool.feature_names):
        row = _classes(pool, covariate) if covariate.name == PFT else _numeric(pool, covariate)
        told.append(dict.fromkeys(SCHEMA) | {"covariate": covariate.name, "unit": covariate.unit} | row)
    return pl.DataFrame(told, schema=SCHEMA)


def _numeric(pool: Pool, covariate: Covariate) -> dict[str, Any]:
    values = pool.X[:, covariate.columns[0]].astype(np.float64)
    train, test = np.sort(values[~pool.test]), np.sort(values[pool.test])
    means, sds = (float(train.mean()), float(test.mean())), (float(train.std()), float(test.std()))
    ks, wasserstein = sorted_distances(train, test)
    low, high = np.quantile(train, RANGE)
    spread = float(np.sqrt((sds[0] ** 2 + sds[1] ** 2) / 2))
    note = None
    if covariate.name in pool.constant:
        note = "constant: left out of classifier-free distances and importance"
    if spread == 0:
        note = f"{note or 'constant on either side'}; no smd, its standard deviation is 0"
    return {
        "train_mean": means[0],
        "test_mean": means[1],
        "train_sd": sds[0],
        "test_sd": sds[1],
        "smd": (means[1] - means[0]) / spread if spread > 0 else None,
        "ks": ks,
        "wasserstein": wasserstein,
        "outside": float(((test < low) | (test > high)).mean()),
        "note": note,
    }


def _classes(pool: Pool, covariate: Covariate) -> dict[str, Any]:
    train, test = class_shares(pool.X, pool.test, covariate)
    note = "classes: total variation instead of means and distances; outside is the share of test rows whose class "
    return {
        "outside": float(test[train == 0].sum()),
        "total_variation": float(np.abs(train - test).sum() / 2),
        "note": note + "train lacks" + ("; constant" if covariate.name in pool.constant else ""),
    }


def class_shares(X: Any, test: Bools, covariate: Covariate) -> tuple[Float64, Float64]:
    """Shares of the classes in train and in test, in the order of the columns; a class without a column comes last."""
    classes = X[:, list(covariate.columns)]
    # Counted, not one minus the sum of the shares: what rounding leaves of that would pass for rows.
    other = ~(classes != 0).any(axis=1)
    shares = [np.append(classes[side].mean(axis=0, dtype=np.float64), other[side].mean()) for side in (~test, test)]
    return shares[0], shares[1]


def sorted_distances(train: Float64, test: Float64) -> tuple[float, float]:
    """Kolmogorov-Smirnov and Wasserstein-1 distance of two sorted samples, exact."""
    both = np.concatenate([train, test])
    both.sort(kind="stable")
    apart = np.abs(
        np.searchsorted(train, both, side="right") / len(train) - np.searchsorted(test, both, side="right") / len(test)
    )
    return float(apart.max()), float(apart[:-1] @ np.diff(both))


def histogram_table(pool: Pool) -> pl.DataFrame:
    """Densities of train and test over common edges.

    Columns: ``covariate, label, low, high, train, test``. Density times width is the share of a side's rows; the edges
    leave out the outer thousandths of train and test together. PFT: bins of width 1 with the class in ``label``. A
    constant covariate has no histogram.
    """
    told: list[tuple[Any, ...]] = []
    for covariate in pool.covariates:
        if covariate.name == PFT:
            names = [pool.feature_names[i].removeprefix(PFT_PREFIX) for i in covariate.columns] + ["other"]
            shares = zip(names, *class_shares(pool.X, pool.test, covariate), strict=True)
            kept = [(name, float(a), float(b)) for name, a, b in shares if a + b > 1e-6]
            told += [(PFT, name, i - 0.5, i + 0.5, a, b) for i, (name, a, b) in enumerate(kept)]
            continue
        values = pool.X[:, covariate.columns[0]].astype(np.float64)
        low, high = np.quantile(values, [HISTOGRAM_TAIL, 1 - HISTOGRAM_TAIL])
        if low == high:
            low, high = values.min(), values.max()
        edges = np.linspace(low, high, HISTOGRAM_BINS + 1)
        densities = []
        for side in (~pool.test, pool.test):
            counts, _ = np.histogram(values[side], edges)
            densities.append(counts / (np.count_nonzero(side) * np.diff(edges)))
        told += [
            (covariate.name, None, *cells)
            for cells in zip(edges[:-1].tolist(), edges[1:].tolist(), *(d.tolist() for d in densities), strict=True)
        ]
    return pl.DataFrame(told, schema=HISTOGRAM_SCHEMA, orient="row")
