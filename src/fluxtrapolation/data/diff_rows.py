"""What differs between two tables of one tower: rows that came or went, values, flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl

from fluxtrapolation.schema import QC, TIME


@dataclass(frozen=True, slots=True)
class ColumnChange:
    """Values of one column that differ at times which both tables have.

    Attributes
    ----------
    column : str
    compared, changed : int
        Times that both tables have, and those of them where the values differ.
    appeared, vanished : int
        Of the changed: missing before and there now; there before and missing now.
    largest, median : float or None
        Absolute change where both have a value and it differs, in the unit of the column; None where there is no such
        time.
    first : datetime
        The first changed time, local standard time.
    """

    column: str
    compared: int
    changed: int
    appeared: int
    vanished: int
    largest: float | None
    median: float | None
    first: datetime


@dataclass(frozen=True, slots=True)
class FlagChange:
    """Times whose ``qc_mask`` differs: how many became measured, how many filled, and the first of them."""

    compared: int
    to_measured: int
    to_filled: int
    first: datetime


@dataclass(frozen=True, slots=True)
class RowChanges:
    """All that differs between two tables of one tower."""

    added: int
    removed: int
    first_added: datetime | None
    first_removed: datetime | None
    columns: tuple[ColumnChange, ...]
    flags: FlagChange | None

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.columns or self.flags)


def compare_rows(a: pl.DataFrame, b: pl.DataFrame, columns: Sequence[str], *, tolerance: float = 0.0) -> RowChanges:
    """Compare two tables of one tower.

    Parameters
    ----------
    a, b : polars.DataFrame
        ``time``, ``qc_mask`` and ``columns``, sorted by unique times.
    columns : sequence of str
        Columns whose values are compared.
    tolerance : float, default 0
        Absolute changes up to this count as none, in the unit of each column. Missing against there is always a change.
    """
    added = b.select(TIME).join(a.select(TIME), on=TIME, how="anti").sort(TIME)[TIME]
    removed = a.select(TIME).join(b.select(TIME), on=TIME, how="anti").sort(TIME)[TIME]
    if added.len() or removed.len():
        a = a.join(b.select(TIME), on=TIME, how="semi").sort(TIME)
        b = b.join(a.select(TIME), on=TIME, how="semi").sort(TIME)
    changes = [_column_change(a[TIME], name, a[name], b[name], tolerance) for name in columns]
    return RowChanges(
        added=added.len(),
        removed=removed.len(),
        first_added=added[0] if added.len() else None,
        first_removed=removed[0] if removed.len() else None,
        columns=tuple(change for change in changes if change is not None),
        flags=_flag_change(a[TIME], a[QC], b[QC]),
    )


def _column_change(time: pl.Series, name: str, a: pl.Series, b: pl.Series, tolerance: float) -> ColumnChange | None:
    x, y = (series.cast(pl.Float64).to_numpy() for series in (a, b))  # null becomes NaN: missing either way
    lost_x, lost_y = np.isnan(x), np.isnan(y)
    size = np.abs(y - x)
    moved = size > tolerance  # never where one is missing: NaN compares false
    changed = moved | (lost_x ^ lost_y)
    if not changed.any():
        return None
    sizes = size[moved]
    return ColumnChange(
        column=name,
        compared=len(x),
        changed=int(changed.sum()),
        appeared=int((lost_x & ~lost_y).sum()),
        vanished=int((lost_y & ~lost_x).sum()),
        largest=float(sizes.max()) if len(sizes) else None,
        median=float(np.median(sizes)) if len(sizes) else None,
        first=time[int(changed.argmax())],
    )


def _flag_change(time: pl.Series, a: pl.Series, b: pl.Series) -> FlagChange | None:
    before, after = (series.to_numpy() == 1 for series in (a, b))
    changed = before != after
    if not changed.any():
        return None
    return FlagChange(
        compared=len(before),
        to_measured=int((after & ~before).sum()),
        to_filled=int((before & ~after).sum()),
        first=time[int(changed.argmax())],
    )
