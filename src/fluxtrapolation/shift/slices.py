"""The mean flux along one covariate, in train and in test, raw and at equal other covariates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.errors import DataError
from fluxtrapolation.scenarios import Split
from fluxtrapolation.schema import PFT_PREFIX
from fluxtrapolation.shift.boosting import domain_classifier
from fluxtrapolation.shift.conditional_roles import Towers
from fluxtrapolation.shift.conditional_run import MIN_ESS, MIN_KEPT
from fluxtrapolation.shift.conditional_weights import MARGINALS, Marginal, effective, importance, supported
from fluxtrapolation.shift.covariate_pool import side_by_side
from fluxtrapolation.shift.sampling import Protocol, Rows, choose_rows

Float64 = NDArray[np.float64]

SLICE_ROWS: Final = 60_000
BINS: Final = 12
FOLDS: Final = 5
MIN_BIN_TOWERS: Final = 3
"""A bin with fewer towers has no standard error."""

SCHEMA: Final = {
    "covariate": pl.String,
    "bin": pl.Int64,
    "label": pl.String,
    "low": pl.Float64,
    "high": pl.Float64,
    "x": pl.Float64,
    "side": pl.String,
    "kind": pl.String,
    "mean": pl.Float64,
    "se": pl.Float64,
    "n": pl.Int64,
    "n_sites": pl.Int64,
    "reason": pl.String,
}


@dataclass(frozen=True, eq=False)
class Slices:
    """Mean flux along each covariate.

    Attributes
    ----------
    table : polars.DataFrame
        covariate, bin, label (of a plant functional type, else null), low, high (edges of the bin), x (its middle in
        the rows of both parts), side (train, test), kind (raw, reweighted), mean (unit of the target), se (by tower),
        n, n_sites, reason (why there is no mean or no se).
    record : dict
        Rows, folds, and of the weights: effective rows and shares kept.
    """

    table: pl.DataFrame
    record: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"table": self.table.to_dicts(), "record": self.record}


def slices(
    data: Split | Rows,
    *,
    marginal: Marginal = "shared",
    bins: int = BINS,
    max_rows: int | None = SLICE_ROWS,
    seed: int = 0,
    protocol: Protocol = "paper",
) -> Slices:
    """E[y | x_k] of train and of test in common quantile bins of each covariate.

    ``raw`` is the mean of the rows in the bin. It differs between the parts also where P(Y|X) is the same, because
    other covariates differ at the same x_k. ``reweighted`` gives both parts the same covariates: weights from the odds
    of ``p = P(test|x)`` on all covariates (:func:`importance`), cut at their 99th percentile, normalised within each
    bin. Within a bin the factor that belongs to x_k itself cancels, so that what is moved is the distribution of the
    other covariates at that x_k. Only rows in common support count (train: p > 0.1, test: p < 0.9). ``p`` comes from
    classifiers cross-fitted by tower: no row is weighed by a classifier that saw its tower.

    The marginal is by default the one that both parts share, whose weights have a bound. With a few dozen towers the
    classifier is too sure of itself, and weights onto train's own marginal, which have none, can put the curves further
    apart than they were (``docs/shift-pyx.md`` has the numbers); ``marginal='train'`` or ``'test'`` are there to ask
    for.

    Standard errors are by tower: with ``S`` and ``W`` of each tower the sum of weighted targets and weights in the bin,
    ``se^2 = n / (n - 1) * sum (S - mean W)^2 / (sum W)^2``. They do not cover the weights, which are estimated too. A
    bin with fewer than 3 towers has a mean but no standard error. Plant functional types count as one covariate ``PFT``
    with a bin per type.

    Parameters
    ----------
    data : Split or Rows
        Rows from :func:`choose_rows` with ``need_target`` are taken as they are.
    marginal : {'shared', 'train', 'test'}
    bins, max_rows, seed, protocol

    Raises
    ------
    DataError
        If ``bins`` is below 2, the marginal does not exist, or rows without a target are given.
    """
    if bins < 2:
        raise DataError(f"bins must be at least 2, not {bins}.")
    if marginal not in MARGINALS:
        raise DataError(f"There is no marginal {marginal!r}. Known: {', '.join(MARGINALS)}.")
    rows = data
    if isinstance(rows, Split):
        rows = choose_rows(rows, max_rows=max_rows, seed=seed, protocol=protocol, need_target=True)
    if not np.isfinite(rows.test.y).all():
        raise DataError("Slices need rows that all have the target: choose_rows(split, need_target=True).")
    towers = Towers.of(rows)
    p = _crossfitted(rows, towers, seed)
    sides, record = _sides(rows, towers, p, marginal)
    found: list[dict[str, Any]] = []
    for covariate, assigned, described in _binned(rows, bins):
        for (side, kind), chosen in sides.items():
            for index, about in enumerate(described):
                told = _mean(chosen, assigned[side] == index, str(record["refused"] or ""))
                found.append({"covariate": covariate, "bin": index, **about, "side": side, "kind": kind, **told})
    return Slices(pl.DataFrame(found, schema=SCHEMA), rows.record | record)


@dataclass(frozen=True, eq=False)
class _Curve:
    """The rows of one side with their weights; None where the weights are refused."""

    y: Float64
    tower: NDArray[np.int64]
    weight: Float64 | None


def _crossfitted(rows: Rows, towers: Towers, seed: int) -> dict[str, tuple[Float64, Float64]] | str:
    """Of every row P(test|x) by a classifier that did not see its tower, and its prior; or why there is none."""
    generator = np.random.default_rng([seed, 5])
    fold = np.full(len(towers.names), -1)
    # Dealt within each group, so that every fold holds out some of both parts.
    train, test = np.unique(towers.train), np.unique(towers.test)
    both = np.intersect1d(train, test)
    for group in (both, np.setdiff1d(train, both), np.setdiff1d(test, both)):
        fold[generator.permutation(group)] = np.arange(len(group)) % FOLDS
    if min(len(train), len(test)) < FOLDS:
        few = f"{len(train)} train and {len(test)} test towers"
        return f"{few}; weights cross-fitted by tower need at least {FOLDS} of each"
    X = {"train": rows.train.X, "test": rows.test.X}
    folds = {"train": fold[towers.train], "test": fold[towers.test]}
    tasks = [_Fold(X, {side: at == i for side, at in folds.items()}, seed + i) for i in range(FOLDS)]
    p = {side: (np.empty(len(values)), np.empty(len(values))) for side, values in X.items()}
    for task, (found, prior) in zip(tasks, side_by_side(_held_out, tasks, rows=sum(map(len, X.values()))), strict=True):
        for side, held in task.held.items():
            p[side][0][held], p[side][1][held] = found[side], prior
    return p


@dataclass(frozen=True, eq=False)
class _Fold:
    X: dict[str, NDArray[np.float32]]
    held: dict[str, NDArray[np.bool_]]
    seed: int


def _held_out(task: _Fold) -> tuple[dict[str, Float64], float]:
    """P(test|x) of the rows held out, by side, and the share of test rows that the classifier saw."""
    seen = {side: ~held for side, held in task.held.items()}
    inputs = np.concatenate([values[seen[side]] for side, values in task.X.items()])
    is_test = np.repeat([False, True], [int(seen["train"].sum()), int(seen["test"].sum())])
    classifier = domain_classifier(seed=task.seed).fit(inputs, is_test)
    # Trees refuse to predict for no row at all.
    found = {
        side: classifier.predict_proba(values[task.held[side]])[:, 1] if task.held[side].any() else np.empty(0)
        for side, values in task.X.items()
    }
    return found, float(is_test.mean())


def _sides(
    rows: Rows, towers: Towers, found: dict[str, tuple[Float64, Float64]] | str, marginal: Marginal
) -> tuple[dict[tuple[str, str], _Curve], dict[str, Any]]:
    made: dict[tuple[str, str], _Curve] = {}
    record: dict[str, Any] = {
        "folds": FOLDS,
        "marginal": marginal,
        "refused": found if isinstance(found, str) else None,
    }
    for side, part, codes in (("train", rows.train, towers.train), ("test", rows.test, towers.test)):
        y = part.y.astype(np.float64)
        made[side, "raw"] = _Curve(y, codes, np.ones(len(y)))
        weight = None
        if not isinstance(found, str):
            p, prior = found[side]
            inside = supported(p, "train" if side == "train" else "test")
            weight = np.zeros(len(y))
            weight[inside] = importance(
                p[inside], side="train" if side == "train" else "test", marginal=marginal, prior=prior[inside]
            )
            kept, ess = float(inside.mean()), effective(weight)
            record |= {f"kept_{side}": kept, f"ess_{side}": ess}
            if kept < MIN_KEPT or ess < MIN_ESS:
                record["refused"] = (
                    f"too little overlap: {kept:.1%} of the {side} rows lie in common support and the weights leave "
                    f"{ess:.0f} effective rows (needed: {MIN_KEPT:.0%} and {MIN_ESS:.0f})"
                )
        made[side, "reweighted"] = _Curve(y, codes, weight)
    if record["refused"]:
        for side in ("train", "test"):
            curve = made[side, "reweighted"]
            made[side, "reweighted"] = _Curve(curve.y, curve.tower, None)
    return made, record


def _binned(rows: Rows, bins: int) -> list[tuple[str, dict[str, NDArray[np.int64]], list[dict[str, Any]]]]:
    """Of each covariate: its name, the bin of every row of each side, and what the bins are."""
    names = rows.train.feature_names
    made = []
    for k, name in enumerate(names):
        if name.startswith(PFT_PREFIX):
            continue
        values = {"train": rows.train.X[:, k].astype(np.float64), "test": rows.test.X[:, k].astype(np.float64)}
        # Quantiles of the mixture that counts both parts alike, so that the larger part does not set the bins alone.
        steps = np.linspace(0, 1, 201)
        pooled = np.concatenate([np.quantile(v, steps) for v in values.values()])
        edges = np.unique(np.quantile(pooled, np.linspace(0, 1, bins + 1)))
        inner = edges[1:-1]
        assigned = {side: np.searchsorted(inner, v, side="right") for side, v in values.items()}
        everything, at = np.concatenate(list(values.values())), np.concatenate(list(assigned.values()))
        count = len(inner) + 1
        n = np.bincount(at, minlength=count)
        x = np.bincount(at, everything, minlength=count) / np.maximum(n, 1)
        # One value only (a constant covariate) makes a bin without width.
        low = edges[:-1] if len(edges) > 1 else edges
        high = edges[1:] if len(edges) > 1 else edges
        about = [
            {"label": None, "low": float(low[i]), "high": float(high[i]), "x": float(x[i]) if n[i] else float(low[i])}
            for i in range(count)
        ]
        made.append((name, assigned, about))
    types = [k for k, name in enumerate(names) if name.startswith(PFT_PREFIX)]
    if types:
        made.append(_plant_types(rows, types))
    return made


def _plant_types(rows: Rows, types: list[int]) -> tuple[str, dict[str, NDArray[np.int64]], list[dict[str, Any]]]:
    names = [rows.train.feature_names[k].removeprefix(PFT_PREFIX) for k in types]
    assigned = {}
    for side, part in (("train", rows.train), ("test", rows.test)):
        onehot = part.X[:, types]
        assigned[side] = np.where(onehot.any(axis=1), onehot.argmax(axis=1), len(types))
    if any((codes == len(types)).any() for codes in assigned.values()):
        names.append("other")
    about = [{"label": name, "low": None, "high": None, "x": float(i)} for i, name in enumerate(names)]
    return "PFT", assigned, about


def _mean(curve: _Curve, here: NDArray[np.bool_], refused: str) -> dict[str, Any]:
    """Weighted mean of the rows in a bin, with its standard error by tower."""
    if curve.weight is None:
        return {"mean": None, "se": None, "n": 0, "n_sites": 0, "reason": refused}
    here = here & (curve.weight > 0)
    n = int(here.sum())
    if n == 0:
        return {"mean": None, "se": None, "n": 0, "n_sites": 0, "reason": "no row in this bin"}
    weight, y = curve.weight[here], curve.y[here]
    mean = float(np.average(y, weights=weight))
    towers, code = np.unique(curve.tower[here], return_inverse=True)
    count = len(towers)
    told: dict[str, Any] = {"mean": mean, "se": None, "n": n, "n_sites": count, "reason": None}
    if count < MIN_BIN_TOWERS:
        told["reason"] = f"{count} tower{'s' if count > 1 else ''} in this bin; a standard error needs {MIN_BIN_TOWERS}"
        return told
    off = np.bincount(code, weight * (y - mean))
    told["se"] = math.sqrt(count / (count - 1) * float(off @ off)) / float(weight.sum())
    return told
