"""Does the dissimilarity index tell where a model errs? By bins of the index, by tower, inside against outside.

Rows of one tower are not independent, so every interval draws towers anew and every p-value permutes towers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.schema import SITE
from fluxtrapolation.shift.covariate_pool import seeded
from fluxtrapolation.shift.permute import p_value

Float64 = NDArray[np.float64]
Bools = NDArray[np.bool_]

LEVEL: Final = 0.9
"""Of the intervals over towers."""
SIDE_HOURS: Final = 168
"""Hours a tower needs inside (or outside) the area of applicability for an error there: a week's worth."""
LEAST_TOWERS: Final = 5
CLOCK: Final = 12 * 24
"""Months times hours of day."""
WORST: Final = 0.1
"""Share of towers that count as the worst."""

CURVE: Final = {
    "model": pl.String,
    "low": pl.Float64,
    "high": pl.Float64,
    "index": pl.Float64,
    "rmse": pl.Float64,
    "rmse_low": pl.Float64,
    "rmse_high": pl.Float64,
    "rmse_clock": pl.Float64,
    "n": pl.Int64,
    "n_sites": pl.Int64,
}
TOWERS: Final = {
    "model": pl.String,
    SITE: pl.String,
    "n": pl.Int64,
    "rmse": pl.Float64,
    "n_inside": pl.Int64,
    "rmse_inside": pl.Float64,
    "n_outside": pl.Int64,
    "rmse_outside": pl.Float64,
    "rmse_same_clock": pl.Float64,
    "rmse_outside_same_clock": pl.Float64,
}
SUMMARY: Final = {
    "model": pl.String,
    "measure": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "unit": pl.String,
    "n": pl.Int64,
    "reason": pl.String,
}


@dataclass(frozen=True, eq=False)
class Errors:
    """Squared errors of one model on the test rows that have an observation.

    Attributes
    ----------
    model : str
    squared, index : ndarray of float64, shape (n,)
    tower : ndarray of int, shape (n,)
        Index into ``towers``.
    towers : tuple of str
        All test towers; those without an observation have no rows here.
    outside : ndarray of bool, shape (n,)
        Outside the area of applicability.
    clock : ndarray of int, shape (n,)
        Month and hour of day, ``24 month + hour`` from 0 to 287. Fluxes, and so errors, are small at night and in
        winter, when the index is small too: without the clock, day against night would pass for skill of the index.
    """

    model: str
    squared: Float64
    index: Float64
    tower: NDArray[Any]
    towers: tuple[str, ...]
    outside: Bools
    clock: NDArray[Any]

    def sums(self, rows: Bools | None = None) -> tuple[Float64, NDArray[np.int64]]:
        """Sum of squared errors, and rows, of each tower."""
        codes = self.tower if rows is None else self.tower[rows]
        squared = self.squared if rows is None else self.squared[rows]
        width = len(self.towers)
        return (
            np.bincount(codes, squared, minlength=width).astype(np.float64),
            np.bincount(codes, minlength=width).astype(np.int64),
        )

    @property
    def cell(self) -> NDArray[np.int64]:
        """Tower, month and hour of day of each row, as one number."""
        return np.asarray(self.tower.astype(np.int64) * CLOCK + self.clock)


def curve(errors: Errors, *, bins: int, draws: int, seed: int) -> pl.DataFrame:
    """RMSE by bins of the index that hold the same number of rows; the interval draws towers anew.

    ``rmse_clock`` is the RMSE that the bin's rows would have, were each as wrong as its tower is on average in that
    month at that hour of day: what the index tells beyond tower and clock is the difference of ``rmse`` from it.
    Towers that have no row in a bin say nothing there: an interval over few of them (``n_sites``) is narrow for that
    reason alone.
    """
    n = len(errors.index)
    if n == 0:
        return pl.DataFrame(schema=CURVE)
    order = np.argsort(errors.index, kind="stable")
    cuts = np.linspace(0, n, min(bins, n) + 1).round().astype(np.int64)
    times = seeded(seed, 81).multinomial(
        len(errors.towers), np.full(len(errors.towers), 1 / len(errors.towers)), size=draws
    )
    cell = errors.cell
    expected = (np.bincount(cell, errors.squared) / np.maximum(np.bincount(cell), 1))[cell]
    rows = []
    for a, b in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        inside = order[a:b]
        picked = np.zeros(n, dtype=np.bool_)
        picked[inside] = True
        squared, count = errors.sums(picked)
        low, high = _ratio_interval(squared, count, times)
        index = errors.index[inside]
        rows.append(
            {
                "model": errors.model,
                "low": float(index[0]),
                "high": float(index[-1]),
                "index": float(np.median(index)),
                "rmse": float(np.sqrt(squared.sum() / count.sum())),
                "rmse_low": low,
                "rmse_high": high,
                "rmse_clock": float(np.sqrt(expected[inside].mean())),
                "n": int(count.sum()),
                "n_sites": int((count > 0).sum()),
            }
        )
    return pl.DataFrame(rows, schema=CURVE)


def _ratio_interval(squared: Float64, count: NDArray[np.int64], times: NDArray[Any]) -> tuple[float | None, ...]:
    """Percentile interval of the pooled RMSE over draws of towers; None for fewer than two towers."""
    if (count > 0).sum() < 2:
        return None, None
    rows = times @ count
    some = rows > 0
    drawn = np.sqrt((times[some] @ squared) / rows[some])
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def tower_curve(by_tower: pl.DataFrame, model: str, *, bins: int) -> pl.DataFrame:
    """Median RMSE by bins of the towers' median index that hold the same number of towers."""
    there = by_tower.filter(pl.col("rmse").is_not_null()).sort("index_median", SITE)
    cuts = np.linspace(0, there.height, min(bins, there.height) + 1).round().astype(int)
    rows = []
    for a, b in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True):
        part = there[a:b]
        index, rmse = part["index_median"].to_numpy(), part["rmse"].to_numpy()
        rows.append(
            {
                "model": model,
                "low": float(index[0]),
                "high": float(index[-1]),
                "index": float(np.median(index)),
                "rmse": float(np.median(rmse)),
                "rmse_low": float(rmse.min()),
                "rmse_high": float(rmse.max()),
                "rmse_clock": None,
                "n": int(part["n"].sum()),
                "n_sites": part.height,
            }
        )
    return pl.DataFrame(rows, schema=CURVE)


def tower_errors(errors: Errors) -> pl.DataFrame:
    """Errors by tower: model, site_id, n, rmse, n_inside, rmse_inside, n_outside, rmse_outside, rmse_same_clock.

    Null where there are too few rows. ``rmse_same_clock`` is the RMSE of the rows inside, weighted so that they have
    the months and hours of day of the rows outside; compare ``rmse_outside_same_clock``, of those rows outside whose
    month and hour some row inside has.
    """
    found: dict[str, Any] = {"model": [errors.model] * len(errors.towers), SITE: list(errors.towers)}
    for side, rows in (("", None), ("_inside", ~errors.outside), ("_outside", errors.outside)):
        squared, count = errors.sums(rows)
        least = 1 if side == "" else SIDE_HOURS
        found[f"n{side}"] = count
        found[f"rmse{side}"] = [
            math.sqrt(s / n) if n >= least else None for s, n in zip(squared.tolist(), count.tolist(), strict=True)
        ]
    found["rmse_same_clock"], found["rmse_outside_same_clock"] = _same_clock(errors)
    return pl.DataFrame(found, schema=TOWERS)


def _same_clock(errors: Errors) -> tuple[list[float | None], list[float | None]]:
    """RMSE inside at the months and hours of the rows outside, and of those rows outside; by tower."""
    width = len(errors.towers)
    size, cell = width * CLOCK, errors.cell
    near, far = ~errors.outside, errors.outside
    count_in = np.bincount(cell[near], minlength=size)
    count_out = np.bincount(cell[far], minlength=size) * (count_in > 0)
    mean_in = np.bincount(cell[near], errors.squared[near], minlength=size) / np.maximum(count_in, 1)
    total_out = np.bincount(cell[far], errors.squared[far], minlength=size) * (count_in > 0)
    n = count_out.reshape(width, CLOCK).sum(axis=1)
    inside = (mean_in * count_out).reshape(width, CLOCK).sum(axis=1)
    outside = total_out.reshape(width, CLOCK).sum(axis=1)
    kept = [(a, b, m) if m >= SIDE_HOURS else None for a, b, m in zip(inside, outside, n, strict=True)]
    return (
        [None if one is None else math.sqrt(one[0] / one[2]) for one in kept],
        [None if one is None else math.sqrt(one[1] / one[2]) for one in kept],
    )


def summarise(model: str, by_tower: pl.DataFrame, *, draws: int, seed: int) -> pl.DataFrame:
    """The measures of one model.

    Parameters
    ----------
    model : str
    by_tower : pl.DataFrame
        ``index_median``, ``rmse``, ``rmse_inside``, ``rmse_outside`` of each test tower.
    draws : int
        Permutations, and draws of towers.
    seed : int

    Returns
    -------
    pl.DataFrame
        model, measure, value, low, high, p_value, unit, n, reason. ``spearman``: rank correlation of a tower's median
        index with its RMSE. ``auc_worst``: chance that a tower among the worst tenth by RMSE (at least one) has a
        larger median index than another; 0.5 says nothing. ``rmse_inside_median`` to ``rmse_outside_q90``: over
        towers. ``rmse_outside_minus_inside``: median over the towers that have both; ``..._same_clock``: at the same
        months and hours of day, so that it is not day against night.
    """
    there = by_tower.filter(pl.col("rmse").is_not_null())
    index, rmse = there["index_median"].to_numpy(), there["rmse"].to_numpy()
    rows = [_spearman(index, rmse, draws, seed), _worst(index, rmse, draws, seed)]
    for side in ("inside", "outside"):
        values = there[f"rmse_{side}"].drop_nulls().to_numpy()
        rows += _spread(side, values, draws, seed)
    for measure, near, far in (
        ("rmse_outside_minus_inside", "rmse_inside", "rmse_outside"),
        ("rmse_outside_minus_inside_same_clock", "rmse_same_clock", "rmse_outside_same_clock"),
    ):
        both = there.select(pl.col(far) - pl.col(near)).to_series().drop_nulls().to_numpy()
        rows.append(_difference(measure, both, draws, seed))
    return pl.DataFrame([{"model": model, "unit": "tower"} | row for row in rows], schema=SUMMARY)


def _none(measure: str, n: int, reason: str) -> dict[str, Any]:
    return {"measure": measure, "value": None, "low": None, "high": None, "p_value": None, "n": n, "reason": reason}


def _limits(drawn: Sequence[float]) -> dict[str, float | None]:
    kept = [value for value in drawn if math.isfinite(value)]
    if len(kept) < len(drawn) / 2:
        return {"low": None, "high": None}
    low, high = np.quantile(kept, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"low": float(low), "high": float(high)}


def _spearman(index: Float64, rmse: Float64, draws: int, seed: int) -> dict[str, Any]:
    n = len(index)
    if n < LEAST_TOWERS:
        return _none("spearman", n, f"{n} towers with observations; a rank correlation needs {LEAST_TOWERS}")
    if np.ptp(index) == 0 or np.ptp(rmse) == 0:
        return _none("spearman", n, "all towers have the same index or the same error")
    observed = rank_correlation(index, rmse)
    rng = seeded(seed, 82)
    first, second = _centred_ranks(index), _centred_ranks(rmse)
    null = np.abs(rng.permuted(np.tile(second, (draws, 1)), axis=1) @ first)
    rows = rng.integers(0, n, (draws, n))
    drawn = np.einsum("ij,ij->i", _centred_ranks(index[rows]), _centred_ranks(rmse[rows])).tolist()
    return {
        "measure": "spearman",
        "value": observed,
        "p_value": p_value(abs(observed), null),
        "n": n,
        "reason": None,
        **_limits(drawn),
    }


def _worst(index: Float64, rmse: Float64, draws: int, seed: int) -> dict[str, Any]:
    n = len(index)
    if n < 2 * LEAST_TOWERS:
        return _none("auc_worst", n, f"{n} towers with observations; a worst tenth needs {2 * LEAST_TOWERS}")
    if np.ptp(index) == 0:
        return _none("auc_worst", n, "all towers have the same index")
    count = math.ceil(WORST * n)
    worst = np.zeros(n, dtype=np.bool_)
    worst[np.argsort(-rmse, kind="stable")[:count]] = True
    observed = float(auc(index, worst))
    rng = seeded(seed, 83)
    null = np.abs(auc(index, rng.permuted(np.tile(worst, (draws, 1)), axis=1)) - 0.5)
    # Worst and other towers are drawn apart, so that every draw has both.
    bad, rest = np.flatnonzero(worst), np.flatnonzero(~worst)
    picked = np.hstack([rng.choice(bad, (draws, count)), rng.choice(rest, (draws, n - count))])
    drawn = np.asarray(auc(index[picked], worst[picked])).tolist()
    found = {"measure": "auc_worst", "value": observed, "p_value": p_value(abs(observed - 0.5), null), "n": n}
    note = None if count > 1 else "one tower is the worst tenth: the interval tells of the others only"
    return found | {"reason": note} | _limits(drawn)


def _spread(side: str, values: Float64, draws: int, seed: int) -> list[dict[str, Any]]:
    n = len(values)
    names = [f"rmse_{side}_median", f"rmse_{side}_q90"]
    if n == 0:
        return [_none(name, 0, f"no tower has {SIDE_HOURS} scored hours {side} the area") for name in names]
    rng = seeded(seed, 84, len(side))
    picked = values[rng.integers(0, n, (draws, n))]
    found = []
    for name, share in zip(names, (0.5, 0.9), strict=True):
        limits = _limits(np.quantile(picked, share, axis=1).tolist()) if n > 1 else {"low": None, "high": None}
        value = float(np.quantile(values, share))
        reason = None if n > 1 else "one tower: no interval"
        found.append({"measure": name, "value": value, "p_value": None, "n": n, "reason": reason} | limits)
    return found


def _difference(measure: str, values: Float64, draws: int, seed: int) -> dict[str, Any]:
    """Median over towers of RMSE outside minus inside.

    The p-value flips the sign of each tower's difference and asks how often their mean is as far from zero.
    """
    n = len(values)
    if n < LEAST_TOWERS:
        return _none(measure, n, f"{n} towers have {SIDE_HOURS} scored hours on both sides; {LEAST_TOWERS} are needed")
    observed = float(np.median(values))
    rng = seeded(seed, 85)
    signs = rng.choice([-1.0, 1.0], (draws, n))
    null = np.abs(signs @ values) / n
    drawn = np.median(values[rng.integers(0, n, (draws, n))], axis=1)
    p = p_value(abs(float(values.mean())), null)
    return {"measure": measure, "value": observed, "p_value": p, "n": n, "reason": None} | _limits(drawn.tolist())


def rank_correlation(one: Float64, two: Float64) -> float:
    """Spearman's rank correlation, ties by mean ranks; NaN if one side is constant."""
    return float(_centred_ranks(one) @ _centred_ranks(two))


def _centred_ranks(values: Float64) -> Float64:
    """Ranks along the last axis, of unit length around zero, so that a product is a correlation."""
    from scipy.stats import rankdata

    ranks = rankdata(values, axis=-1)
    ranks = ranks - ranks.mean(axis=-1, keepdims=True)
    length = np.sqrt(np.square(ranks).sum(axis=-1, keepdims=True))
    return np.asarray(np.where(length > 0, ranks / np.where(length > 0, length, 1.0), np.nan))


def auc(score: Float64, positive: Bools) -> Float64 | np.float64:
    """Chance that a positive has a larger score than a negative, ties half (Mann and Whitney's U over its maximum).

    Along the last axis of ``positive``; ``score`` has its shape or one row of it.
    """
    from scipy.stats import rankdata

    ranks = rankdata(score, axis=-1)
    n = positive.sum(axis=-1)
    above = (ranks * positive).sum(axis=-1) - n * (n + 1) / 2
    found: Float64 | np.float64 = above / (n * (positive.shape[-1] - n))
    return found
