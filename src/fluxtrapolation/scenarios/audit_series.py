"""Series of two towers compared at the hours they share, and a sketch that finds which pairs to compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.data.store import Store
from fluxtrapolation.scenarios.neighbours import (
    correlation,
    distance_matrix,
    less_climate,
    places_of,
    weather_covariates,
)
from fluxtrapolation.schema import TIME

Float64 = NDArray[np.float64]

SUSPECT_CORRELATION: Final = 0.9
"""Daily flux anomalies that correlate this much make a pair suspect, however far apart it is."""
SUSPECT_DAYS: Final = 30
_OTHER_DAY: Final = 24 * 7
"""Rows by which one series is moved to see how often values are the same by chance."""
SAME: Final = 1e-5
"""Values that differ by less than this, relative to the standard deviation or the value, whichever is greater, are the
same: single precision and rounding in a text file, and no more."""

SERIES_SCHEMA: Final[dict[str, Any]] = {
    "site_a": pl.String,
    "part_a": pl.String,
    "site_b": pl.String,
    "part_b": pl.String,
    "distance_km": pl.Float64,
    "column": pl.String,
    "shared": pl.Int64,
    "correlation": pl.Float64,
    "identical": pl.Float64,
    "identical_hours": pl.Int64,
    "by_chance": pl.Float64,
}


def series_columns(store: Store) -> list[str]:
    """Columns worth comparing: fluxes, and covariates that are not geometry."""
    return [*store.targets, *weather_covariates(store)]


def suspects(store: Store, part_of: Mapping[str, str]) -> list[tuple[str, str]]:
    """Pairs of towers of different parts, at any distance, whose daily fluxes vary together too well.

    The sketch holds one mean per tower and day, less the mean of the tower's month: a few MB for 200 towers.
    """
    sites = sorted(part_of)
    found: set[tuple[str, str]] = set()
    parts = np.array([part_of[site] for site in sites])
    across = np.triu(parts[:, None] != parts[None, :], 1)
    for target in store.targets:
        table = _daily(store, sites, target)
        there = np.isfinite(table).astype(np.float64)
        filled = np.nan_to_num(table)
        n = there @ there.T
        sum_x, sum_xx, sum_xy = filled @ there.T, (filled**2) @ there.T, filled @ filled.T
        with np.errstate(invalid="ignore", divide="ignore"):
            covariance = sum_xy - sum_x * sum_x.T / n
            spread = np.sqrt((sum_xx - sum_x**2 / n) * (sum_xx - sum_x**2 / n).T)
            r = covariance / spread
        close = across & (n >= SUSPECT_DAYS) & (np.nan_to_num(r) >= SUSPECT_CORRELATION)
        found |= {(sites[i], sites[j]) for i, j in zip(*np.nonzero(close), strict=True)}
    return sorted(found)


def _daily(store: Store, sites: Sequence[str], column: str) -> Float64:
    """Daily anomalies, shape (towers, days of the store); NaN where a tower has none."""
    series = []
    for site in sites:
        frame = store.read_site(site, [TIME, column]).drop_nulls()
        daily = frame.group_by(pl.col(TIME).dt.date().alias("day")).agg(pl.col(column).cast(pl.Float64).mean())
        day = daily["day"].cast(pl.Int32).to_numpy().astype(np.int64)
        month = daily["day"].dt.month().cast(pl.Int64).to_numpy()
        series.append((day, less_climate(daily[column].to_numpy(), month)))
    first = min((int(day.min()) for day, _ in series if len(day)), default=0)
    last = max((int(day.max()) for day, _ in series if len(day)), default=0)
    table = np.full((len(sites), last - first + 1), np.nan)
    for row, (day, values) in zip(table, series, strict=True):
        row[day - first] = values
    return table


def compare_pairs(store: Store, pairs: Sequence[tuple[str, str]], part_of: Mapping[str, str]) -> pl.DataFrame:
    """Compare towers pair by pair at the hours they share: a row for each pair and column.

    Hours are matched in local standard time; where the offsets of two towers differ, also in UTC, and the match under
    which the fluxes agree better is told.
    """
    columns = series_columns(store)

    @lru_cache(maxsize=16)
    def read(site: str) -> pl.DataFrame:
        return store.read_site(site, [TIME, *columns])

    rows = []
    for a, b in sorted(pairs, key=sorted):
        km = float(distance_matrix(places_of(store, [a]), places_of(store, [b]))[0, 0])
        shift = store.record(b).utc_offset_h - store.record(a).utc_offset_h
        compared = [_compare(read(a), read(b), columns, hours) for hours in dict.fromkeys((0.0, shift))]
        best = max(compared, key=lambda told: max((line[2] or 0.0 for line in told), default=0.0))
        rows += [(a, part_of[a], b, part_of[b], km, *line) for line in best]
    return pl.DataFrame(rows, schema=SERIES_SCHEMA, orient="row")


def _compare(
    one: pl.DataFrame, other: pl.DataFrame, columns: Sequence[str], shift: float
) -> list[tuple[str, int, float | None, float, int, float]]:
    """column, shared, correlation, identical, identical_hours, by_chance; the other's clock is ``shift`` h ahead."""
    if shift:
        other = other.with_columns(pl.col(TIME) - pl.duration(minutes=round(60 * shift)))
    both = one.join(other, on=TIME, how="inner", suffix="_other")
    told = []
    for name in columns:
        x, y = (both[column].to_numpy().astype(np.float64) for column in (name, f"{name}_other"))
        there = np.isfinite(x) & np.isfinite(y)
        share, hours = _identical(x, y)
        # Rounded values fall together by chance: as often as those of the same hour on another day.
        chance, _ = _identical(x, np.roll(y, _OTHER_DAY))
        told.append((name, int(there.sum()), correlation(x[there], y[there]), share, hours, chance))
    return told


def _identical(x: Float64, y: Float64) -> tuple[float, int]:
    """Share and number of rows with the same value.

    Rows where both are zero do not count: nights have no radiation, deserts no GPP.
    """
    there = np.isfinite(x) & np.isfinite(y) & ((x != 0) | (y != 0))
    if not there.any():
        return 0.0, 0
    x, y = x[there], y[there]
    same = np.abs(x - y) <= SAME * np.maximum(x.std(), np.abs(x))
    return float(same.mean()), int(same.sum())
