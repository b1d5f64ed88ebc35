"""Whole days that stand twice: the same 24 values of a column in two parts, at any towers and dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import combinations
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.data.store import Store
from fluxtrapolation.scenarios.scenario import PART_NAMES, PartName, YearSplit
from fluxtrapolation.schema import QC, TARGETS, TIME

DISTINCT: Final = 12
"""A day counts if at least so many of its 24 values differ: constant fillings and polar nights tell nothing."""
_COLUMNS: Final = ("TA", "VPD", "SW_IN")
"""Covariates that are measured by the hour. Satellite values stand for days, and potential radiation follows from the
place."""
_DECIMALS: Final = {"ET": 6}
_ORIGIN: Final = date(1970, 1, 1)

DAYS_SCHEMA: Final[dict[str, Any]] = {
    "site_a": pl.String,
    "part_a": pl.String,
    "site_b": pl.String,
    "part_b": pl.String,
    "column": pl.String,
    "days": pl.Int64,
    "same_date": pl.Boolean,
    "unmeasured": pl.Float64,
    "example_a": pl.String,
    "example_b": pl.String,
}


@dataclass(frozen=True)
class _Days:
    """Days of all towers for one column: hash of the 24 values, tower, part, day since 1970, whether measured."""

    key: NDArray[np.uint64]
    site: NDArray[np.int32]
    part: NDArray[np.int8]
    day: NDArray[np.int64]
    measured: NDArray[np.bool_]


def copied_days(
    store: Store, parts: Mapping[PartName, Sequence[str]], years: YearSplit | None, record: dict[str, Any]
) -> pl.DataFrame:
    """Find whole days that stand in two parts, most first.

    Parameters
    ----------
    store : Store
    parts : mapping
        Towers of each part.
    years : YearSplit or None
        Years of each part, under a scenario by years.
    record : dict
        Is told what could not be looked at.
    """
    if store.resolution != "hourly":
        record["not_looked_at"].append("copied days: the store has one value a day")
        return pl.DataFrame(schema=DAYS_SCHEMA)
    columns = [*store.targets, *(name for name in _COLUMNS if name in store.covariates)]
    sites = sorted({site for listed in parts.values() for site in listed})
    gathered: dict[str, list[_Days]] = {name: [] for name in columns}
    for code, site in enumerate(sites):
        frame = store.read_site(site, [TIME, QC, *columns])
        time = frame[TIME].to_numpy().astype("datetime64[h]").astype(np.int64)
        if not len(time):
            continue
        first, last = time[0] // 24, time[-1] // 24
        measured = _grid(frame[QC].to_numpy().astype(np.float64), time, first, last)
        day = np.arange(first, last + 1)
        part = _part_of_days(site, day, parts, years)
        for name in columns:
            values = _grid(frame[name].to_numpy().astype(np.float64), time, first, last)
            key, telling = _hashes(values, _DECIMALS.get(name, 4))
            use = telling & (part >= 0)
            whole = np.all(measured[use] == 1, axis=1)
            gathered[name].append(_Days(key[use], np.full(use.sum(), code, np.int32), part[use], day[use], whole))
    rows = [row for name, found in gathered.items() if found for row in _pairs(name, found, sites)]
    rows.sort(key=lambda row: (row[4] not in TARGETS, -row[5], row[0], row[2]))
    return pl.DataFrame(rows, schema=DAYS_SCHEMA, orient="row")


def _grid(values: NDArray[np.float64], time: NDArray[np.int64], first: int, last: int) -> NDArray[np.float64]:
    """Values on whole days, shape (days, 24); NaN where the tower has no row."""
    table = np.full((last - first + 1) * 24, np.nan)
    table[time - first * 24] = values
    return table.reshape(-1, 24)


def _part_of_days(
    site: str, day: NDArray[np.int64], parts: Mapping[PartName, Sequence[str]], years: YearSplit | None
) -> NDArray[np.int8]:
    """Which part each day of a tower belongs to, as a number; -1 for none."""
    part = np.full(len(day), -1, np.int8)
    year = day.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
    for number, name in enumerate(PART_NAMES):
        if site not in parts[name]:
            continue
        mine = np.ones(len(day), np.bool_)
        if years is not None:
            span = getattr(years, name)
            mine = (year >= (span.first or -9999)) & (year <= (span.last or 9999))
        part[mine] = number
    return part


def _hashes(values: NDArray[np.float64], decimals: int) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
    """A 64-bit hash of each day's rounded values, and which days are complete and varied enough to tell."""
    complete: NDArray[np.bool_] = np.all(np.isfinite(values), axis=1)
    scaled: NDArray[np.float64] = np.where(complete[:, None], values, 0.0) * float(10**decimals)
    rounded: NDArray[np.int64] = np.rint(scaled).astype(np.int64)
    ordered = np.sort(rounded, axis=1)
    varied = (np.diff(ordered, axis=1) > 0).sum(axis=1) >= DISTINCT - 1
    with np.errstate(over="ignore"):
        mixed = rounded.astype(np.uint64)
        key: NDArray[np.uint64] = np.zeros(len(values), np.uint64)
        for hour in range(24):
            key = (key ^ mixed[:, hour]) * np.uint64(0x9E3779B97F4A7C15)
            key ^= key >> np.uint64(29)
    return key, complete & varied


def _pairs(name: str, found: Sequence[_Days], sites: Sequence[str]) -> list[tuple[Any, ...]]:
    """Pairs of (tower, part) that hold the same days of a column."""
    days = _Days(*(np.concatenate([getattr(one, field) for one in found]) for field in _Days.__dataclass_fields__))
    order = np.lexsort((days.day, days.site, days.key))
    key = days.key[order]
    ends = np.flatnonzero(np.r_[key[1:] != key[:-1], True]) + 1
    starts = np.r_[0, ends[:-1]]
    pairs: dict[tuple[int, int, int, int], list[tuple[int, int, bool]]] = {}
    for a, b in zip(starts[ends - starts > 1].tolist(), ends[ends - starts > 1].tolist(), strict=True):
        # One day per tower and part is enough to tell that the others hold it too.
        groups: dict[tuple[int, int], list[int]] = {}
        for i in order[a:b].tolist():
            groups.setdefault((int(days.site[i]), int(days.part[i])), []).append(i)
        for one, two in combinations(sorted(groups), 2):
            if one[1] == two[1]:
                continue
            held_out, other = (one, two) if one[1] > two[1] else (two, one)
            mine, theirs = _nearest_in_time(days.day, groups[held_out], groups[other])
            whole = bool(days.measured[mine] and days.measured[theirs])
            pairs.setdefault((*held_out, *other), []).append((mine, theirs, whole))
    rows = []
    for (site, part, other_site, other_part), hits in pairs.items():
        for same in (True, False):
            mine_ = [hit for hit in hits if (days.day[hit[0]] == days.day[hit[1]]) == same]
            if mine_:
                i, j, _ = mine_[0]
                rows.append(
                    (
                        *(sites[site], PART_NAMES[part], sites[other_site], PART_NAMES[other_part], name, len(mine_)),
                        *(same, float(np.mean([not whole for *_, whole in mine_]))),
                        *(_date(days.day[i]), _date(days.day[j])),
                    )
                )
    return rows


def _nearest_in_time(day: NDArray[np.int64], mine: list[int], theirs: list[int]) -> tuple[int, int]:
    gap = np.abs(day[mine][:, None] - day[theirs][None, :])
    i, j = np.unravel_index(int(gap.argmin()), gap.shape)
    return mine[int(i)], theirs[int(j)]


def _date(day: int) -> str:
    return (_ORIGIN + timedelta(days=int(day))).isoformat()
