"""The evaluation by brute force: plain loops over rows, written from the specification and from nothing else.

Slow and simple on purpose. ``None`` is a missing value; means are exact fractions.
"""

from __future__ import annotations

import math
from collections import defaultdict
from datetime import date, datetime, timedelta
from fractions import Fraction
from typing import Any, NamedTuple

SCALES = ("hourly", "daily", "weekly", "monthly", "seasonal", "anom", "iav", "site-mean")
MULTI_YEAR = ("seasonal", "anom", "iav")


class Row(NamedTuple):
    site: str
    time: datetime
    domain: str
    true: float | None
    pred: float
    qc: int = 1


class Limits(NamedTuple):
    hours: int = 12
    week: int = 4
    month: int = 15
    year: int = 183
    season_years: int = 2
    iav_years: int = 2


PUBLISHED = Limits()
METRICS = (
    *("mse", "rmse", "mae", "nse", "r2_score", "bias", "relative_mae", "relative_bias"),
    *("centred_rmse", "correlation", "variability_ratio", "variance_ratio", "mean_ratio", "kge", "willmott_d"),
    *("q05_error", "q95_error", "median_absolute_error", "q90_absolute_error"),
)
Number = float | Fraction
Pair = tuple[Number | None, Number | None]


def mean(values: list[Number | None]) -> Fraction | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    if all(isinstance(value, float) for value in known):
        return Fraction(math.fsum(known)) / len(known)
    return sum(map(Fraction, known), Fraction(0)) / len(known)


def score(
    rows: list[Row], *, measured: bool = False, limits: Limits = PUBLISHED
) -> dict[tuple[str, str], dict[str, Any]]:
    """Metrics per (scale, domain); the multi-year scales by site."""
    per_day: dict[tuple[str, date], int] = defaultdict(int)
    for row in rows:
        per_day[row.domain, row.time.date()] += 1
    is_daily = max(per_day.values()) == 1
    by_domain: dict[str, list[Row]] = defaultdict(list)
    by_site: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        by_domain[row.domain].append(row)
        by_site[row.site].append(row)
    out: dict[tuple[str, str], dict[str, Any]] = {}
    days: dict[tuple[bool, str], dict[date, Pair]] = {}
    for scale in SCALES:
        groups = by_site if scale in MULTI_YEAR else by_domain
        for name, members in groups.items():
            key = (scale in MULTI_YEAR, name)
            if key not in days:
                days[key] = day_means(members, is_daily=is_daily, measured=measured, limits=limits)
            pairs = entries(scale, members, days[key], measured=measured, limits=limits)
            if pairs is None:
                continue
            if measured:
                pairs = [pair for pair in pairs if pair[0] is not None and pair[1] is not None]
            out[scale, name] = {"n_samples": len(pairs), **metrics(pairs)}
    return out


def entries(
    scale: str, rows: list[Row], days: dict[date, Pair], *, measured: bool, limits: Limits
) -> list[Pair] | None:
    """The pairs of one scale and group; None where the group has no row at that scale."""
    if scale == "hourly":
        return [usable(row, measured) for row in rows]
    if scale == "daily":
        return list(days.values())
    valid = {day: pair for day, pair in days.items() if pair[0] is not None}
    if scale == "weekly":
        return blocks(days, lambda day: day - timedelta(days=day.weekday()), limits.week, measured)
    if scale == "monthly":
        return blocks(days, lambda day: (day.year, day.month), limits.month, measured)
    if scale == "anom":
        cycle = season(valid, measured, limits)
        found = []
        for day, (true, pred) in days.items():
            mean_true, mean_pred = cycle.get(day.timetuple().tm_yday, (None, None))
            found.append((minus(true, mean_true), minus(pred, mean_pred)))
        return found
    if not valid and not measured:
        return None
    if scale == "seasonal":
        return list(season(valid, measured, limits).values())
    return years(scale, valid, measured, limits)


def usable(row: Row, measured: bool) -> Pair:
    if measured and (row.qc != 1 or row.true is None):
        return None, None
    return row.true, row.pred


def minus(value: Number | None, centre: Number | None) -> Number | None:
    return None if value is None or centre is None else value - centre


def day_means(rows: list[Row], *, is_daily: bool, measured: bool, limits: Limits) -> dict[date, Pair]:
    grouped: dict[date, list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row.time.date()].append(row)
    out: dict[date, Pair] = {}
    for day in sorted(grouped):
        pairs = [usable(row, measured) for row in grouped[day]]
        true, pred = mean([pair[0] for pair in pairs]), mean([pair[1] for pair in pairs])
        count = sum(pair[0] is not None for pair in pairs) if measured else len(pairs)
        if not is_daily and count < limits.hours:
            true = None
        out[day] = (true, None if measured and true is None else pred)
    return out


def blocks(days: dict[date, Pair], key: Any, least: int, measured: bool) -> list[Pair]:
    grouped: dict[Any, list[Pair]] = defaultdict(list)
    for day, pair in days.items():
        grouped[key(day)].append(pair)
    out: list[Pair] = []
    for pairs in grouped.values():
        valid = [pair for pair in pairs if pair[0] is not None]
        true = mean([pair[0] for pair in valid]) if len(valid) >= least else None
        pred = mean([pair[1] for pair in (valid if measured else pairs)])
        out.append((true, None if measured and true is None else pred))
    return out


def season(valid: dict[date, Pair], measured: bool, limits: Limits) -> dict[int, Pair]:
    grouped: dict[int, list[Pair]] = defaultdict(list)
    for day, pair in valid.items():
        grouped[day.timetuple().tm_yday].append(pair)
    out: dict[int, Pair] = {}
    for number, pairs in grouped.items():
        true = mean([pair[0] for pair in pairs]) if len(pairs) >= limits.season_years else None
        pred = mean([pair[1] for pair in pairs])
        out[number] = (true, None if measured and true is None else pred)
    return out


def years(scale: str, valid: dict[date, Pair], measured: bool, limits: Limits) -> list[Pair]:
    grouped: dict[int, list[Pair]] = defaultdict(list)
    for day, pair in valid.items():
        grouped[day.year].append(pair)
    means = []
    for pairs in grouped.values():
        long_enough = len(pairs) >= limits.year
        true, pred = mean([pair[0] for pair in pairs]), mean([pair[1] for pair in pairs])
        if measured and not long_enough:
            continue
        if scale == "iav" and not long_enough:
            true = None
        means.append((true, pred))
    if scale == "site-mean":
        return [(mean([pair[0] for pair in means]), mean([pair[1] for pair in means]))] if means else []
    if measured and len(means) < limits.iav_years:
        return []
    centre = mean([pair[0] for pair in means]), mean([pair[1] for pair in means])
    return [(minus(true, centre[0]), minus(pred, centre[1])) for true, pred in means]


def metrics(pairs: list[Pair]) -> dict[str, float | None]:
    both = [(true, pred) for true, pred in pairs if true is not None and pred is not None]
    out: dict[str, float | None] = dict.fromkeys(METRICS)
    if not both:
        return out
    n = len(both)
    trues, preds = [true for true, _ in both], [pred for _, pred in both]
    mean_true, mean_pred = mean(trues), mean(preds)
    error = [float(true - pred) for true, pred in both]
    from_true, from_pred = [float(true - mean_true) for true in trues], [float(pred - mean_pred) for pred in preds]
    squares = math.fsum(one**2 for one in error)
    out["mse"] = squares / n
    out["rmse"] = math.sqrt(squares / n)
    out["mae"] = math.fsum(map(abs, error)) / n
    out["bias"] = math.fsum(error) / n
    spread_true, spread_pred = math.fsum(one**2 for one in from_true), math.fsum(one**2 for one in from_pred)
    flat_true = math.sqrt(spread_true / n) <= 1e-9 * max(map(abs, trues))
    flat_pred = math.sqrt(spread_pred / n) <= 1e-9 * max(map(abs, preds))
    if not flat_true:
        out["nse"] = 1 - squares / spread_true
    if n >= 2 and not flat_true and not flat_pred:
        product = math.fsum(one * other for one, other in zip(from_true, from_pred, strict=True))
        out["r2_score"] = product**2 / (spread_true * spread_pred)
    if abs(mean_true) > 1e-9 * float(sum(map(abs, trues))) / n:
        out["relative_mae"] = out["mae"] / float(mean_true)
        out["relative_bias"] = out["bias"] / float(mean_true)
        out["mean_ratio"] = float(mean_pred / mean_true)
    if n >= 2:
        centre = mean(error)
        out["centred_rmse"] = math.sqrt(math.fsum(float(one - centre) ** 2 for one in error) / n)
    if not flat_true:
        out["variance_ratio"] = spread_pred / spread_true
        out["variability_ratio"] = math.sqrt(spread_pred / spread_true)
        reach = math.fsum((abs(float(pred - mean_true)) + abs(float(true - mean_true))) ** 2 for true, pred in both)
        out["willmott_d"] = 1 - squares / reach
        if n >= 2 and not flat_pred:
            out["correlation"] = product / math.sqrt(spread_true * spread_pred)
    if out["correlation"] is not None and out["mean_ratio"] is not None:
        parts = (out["correlation"], out["variability_ratio"], out["mean_ratio"])
        out["kge"] = 1 - math.sqrt(math.fsum((part - 1) ** 2 for part in parts))
    out["q05_error"] = float(quantile(trues, 5) - quantile(preds, 5))
    out["q95_error"] = float(quantile(trues, 95) - quantile(preds, 95))
    out["median_absolute_error"] = float(quantile([abs(one) for one in error], 50))
    out["q90_absolute_error"] = float(quantile([abs(one) for one in error], 90))
    return out


def quantile(values: list[Number], percent: int) -> Fraction:
    """Linear interpolation between the order statistics around percent / 100 * (n - 1)."""
    ordered = sorted(map(Fraction, values))
    place = Fraction(percent, 100) * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
