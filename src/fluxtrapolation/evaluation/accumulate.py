"""One pass over the rows: hourly statistics per domain and the table of days, from which all other scales follow.

Rows come in pieces of any size and order. What is kept between pieces is additive: per (site, domain, day) the counts
and sums, per (site, domain) the hourly moments. Memory follows the number of days, not of rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.statistics import (
    ROUNDING,
    Floats,
    Integers,
    Moments,
    Shift,
    merge,
    moments,
    run_starts,
    run_sum,
)

COMPACT_ABOVE = 2_097_152
"""Pending day rows above which equal days are added up early; reached only by unsorted tables."""
_SAMPLE = 101


class Labels:
    """Numbers for names, given in the order in which the names are first seen."""

    def __init__(self) -> None:
        self.names: list[str | None] = []
        self._number: dict[str | None, int] = {}

    def codes(self, column: pl.Series) -> Integers:
        """Number of each entry, shape (n,); a null has a number too."""
        runs = column.rle()
        if len(runs) * 8 < len(column):
            names, lengths = runs.struct.field("value"), runs.struct.field("len").to_numpy()
            return np.repeat(self._look_up(names), lengths)
        distinct = column.unique(maintain_order=True).cast(pl.String)
        numbers = pl.Series(self._look_up(distinct), dtype=pl.Int64)
        return column.cast(pl.String).replace_strict(distinct, numbers, return_dtype=pl.Int64).to_numpy()

    def _look_up(self, names: pl.Series) -> Integers:
        found = np.empty(len(names), np.int64)
        for row, name in enumerate(names.to_list()):
            number = self._number.get(name)
            if number is None:
                number = self._number[name] = len(self.names)
                self.names.append(name)
            found[row] = number
        return found


@dataclass(frozen=True)
class Block:
    """A piece of the table as arrays of shape (n,).

    ``site`` and ``label`` are numbers of :class:`Labels`; ``day`` is days since 1970-01-01, ``time`` microseconds.
    ``true`` and ``pred`` hold NaN where missing. ``label`` is None where the domain follows from site and day.
    """

    site: Integers
    label: Integers | None
    day: npt.NDArray[np.int32]
    time: Integers
    true: Floats
    pred: Floats

    def take(self, rows: Integers) -> Block:
        """The rows at ``rows``."""
        label = None if self.label is None else self.label[rows]
        return Block(self.site[rows], label, self.day[rows], self.time[rows], self.true[rows], self.pred[rows])


@dataclass(frozen=True)
class Days:
    """Counts and sums per (site, part, day), shape (D,). ``part`` is 0, the year, or the number of a label.

    Sums are of shifted values. ``rows`` counts all rows, ``n_true`` and ``n_pred`` the finite values.
    """

    site: Integers
    part: Integers
    day: Integers
    rows: Floats
    n_true: Floats
    n_pred: Floats
    sum_true: Floats
    sum_pred: Floats

    @staticmethod
    def join(pieces: list[Days]) -> Days:
        """One table of several."""
        return Days(*(np.concatenate([getattr(one, name) for one in pieces]) for name in Days.__dataclass_fields__))

    def added_up(self) -> Days:
        """The same table sorted by site, part and day, with equal days added up."""
        table = self
        change = np.stack([np.diff(table.site), np.diff(table.part), np.diff(table.day)])
        first = np.take_along_axis(change, (change != 0).argmax(axis=0)[None], axis=0)[0]
        if (first > 0).all():
            return table
        order = np.lexsort((table.day, table.part, table.site))
        table = Days(*(getattr(table, name)[order] for name in Days.__dataclass_fields__))
        starts = run_starts(table.site, table.part, table.day)
        sums = [run_sum(getattr(table, name), starts) for name in ("rows", "n_true", "n_pred", "sum_true", "sum_pred")]
        return Days(table.site[starts], table.part[starts], table.day[starts], *sums)


class Accumulator:
    """Takes blocks of rows, gives the table of days and the hourly moments.

    Parameters
    ----------
    yearly : bool
        Whether a domain is a site-year; ``part`` is then the year. Ignored for blocks with labels.
    """

    def __init__(self, *, yearly: bool) -> None:
        self._yearly = yearly
        self._days: list[Days] = []
        self._pending = 0
        self._moments: list[Moments] = []
        self._moment_site: list[Integers] = []
        self._moment_part: list[Integers] = []
        self._last_time: dict[int, int] = {}
        self._shift_true = np.zeros(0)
        self._shift_pred = np.zeros(0)
        self._largest_true = np.zeros(0)
        self._largest_pred = np.zeros(0)
        self.rows = 0
        self.in_order = True
        """Whether the times of every site have only increased so far: then no (site, time) is there twice."""

    def add(self, block: Block) -> None:
        """Add a block of rows."""
        n = len(block.site)
        if n == 0:
            return
        self.rows += n
        self._check_order(block)
        day_starts, day_part, part_starts = self._runs(block)
        if not self.in_order or len(part_starts) * 50 > n:
            part = np.zeros(n, np.int64) if block.label is None else block.label
            block = block.take(np.lexsort((block.time, part, block.site)))
            day_starts, day_part, part_starts = self._runs(block)
        self._choose_shift(block)
        true = block.true - self._shift_true[block.site]
        pred = block.pred - self._shift_pred[block.site]
        self._add_days(block, true, pred, day_starts, day_part)
        site = block.site[part_starts]
        nothing = np.zeros(len(site))
        shift = Shift(self._shift_true[site], self._shift_pred[site], nothing, nothing)
        self._moments.append(moments(true, pred, part_starts, shift, error=block.true - block.pred))
        self._moment_site.append(site)
        self._moment_part.append(day_part[np.searchsorted(day_starts, part_starts)])

    def _runs(self, block: Block) -> tuple[Integers, Integers, Integers]:
        """First rows of the (site, part, day) runs, their parts, and first rows of the (site, part) runs."""
        keys: list[npt.NDArray[np.generic]] = [block.site, block.day]
        if block.label is not None:
            keys.append(block.label)
        starts = run_starts(*keys)
        if block.label is not None:
            part = block.label[starts]
        elif self._yearly:
            part = year_of(block.day[starts])
        else:
            part = np.zeros(len(starts), np.int64)
        return starts, part, starts[run_starts(block.site[starts], part)]

    def _check_order(self, block: Block) -> None:
        starts = run_starts(block.site)
        forward = np.diff(block.time) > 0
        forward[starts[1:] - 1] = True
        ends = np.append(starts[1:], len(block.site)) - 1
        for site, first, last in zip(block.site[starts], block.time[starts], block.time[ends], strict=True):
            if self._last_time.get(site, -(2**63)) >= first:
                self.in_order = False
            self._last_time[site] = last
        self.in_order &= bool(forward.all())

    def _choose_shift(self, block: Block) -> None:
        """Fix the constant of every site seen for the first time: a typical value, exactly the one of a constant."""
        more = int(block.site.max()) + 1 - len(self._shift_true)
        if more > 0:
            self._shift_true = np.append(self._shift_true, np.full(more, np.nan))
            self._shift_pred = np.append(self._shift_pred, np.full(more, np.nan))
            self._largest_true = np.append(self._largest_true, np.zeros(more))
            self._largest_pred = np.append(self._largest_pred, np.zeros(more))
        starts = run_starts(block.site)
        ends = np.append(starts[1:], len(block.site))
        for site, first, last in zip(block.site[starts], starts, ends, strict=True):
            for values, shift in ((block.true, self._shift_true), (block.pred, self._shift_pred)):
                if np.isnan(shift[site]):
                    shift[site] = _typical(values[first:last])

    def _add_days(self, block: Block, true: Floats, pred: Floats, starts: Integers, part: Integers) -> None:
        site = block.site[starts]
        has_true, has_pred = np.isfinite(true), np.isfinite(pred)
        rows = np.diff(starts, append=len(true)).astype(np.float64)
        n_true = rows if has_true.all() else run_sum(has_true, starts)
        n_pred = rows if has_pred.all() else run_sum(has_pred, starts)
        true = true if n_true is rows else np.where(has_true, true, 0.0)
        pred = pred if n_pred is rows else np.where(has_pred, pred, 0.0)
        sums = run_sum(true, starts), run_sum(pred, starts)
        day = block.day[starts].astype(np.int64)
        self._days.append(Days(site, part, day, rows, n_true, n_pred, *sums))
        for values, largest in ((true, self._largest_true), (pred, self._largest_pred)):
            np.maximum.at(largest, site, np.maximum.reduceat(np.abs(values), starts))
        self._pending += len(starts)
        if self._pending > COMPACT_ABOVE:
            self._days = [Days.join(self._days).added_up()]
            self._pending = len(self._days[0].day)

    def finish(self) -> tuple[Days, Moments, Integers, Integers, Shift]:
        """Everything added up.

        Returns
        -------
        days : Days
        hourly : Moments
            Per (site, part).
        site, part : ndarray
            Of each entry of ``hourly``.
        shift : Shift
            Per site number.

        Raises
        ------
        EvaluationError
            When no row was added.
        """
        if not self._days:
            raise EvaluationError("There are no predictions to evaluate: the table has no rows.")
        shift = Shift(
            np.nan_to_num(self._shift_true),
            np.nan_to_num(self._shift_pred),
            ROUNDING * self._largest_true,
            ROUNDING * self._largest_pred,
        )
        width = int(max(one.max() for one in self._moment_part)) + 1
        groups = [one_site * width + one for one_site, one in zip(self._moment_site, self._moment_part, strict=True)]
        parts = [
            replace(one, shift_true=shift.true[where], shift_pred=shift.pred[where])
            for one, where in zip(self._moments, self._moment_site, strict=True)
        ]
        key, hourly = merge(parts, groups)
        return Days.join(self._days).added_up(), hourly, key // width, key % width, shift


def _typical(values: Floats) -> float:
    """The middle one of about a hundred finite values; NaN where none is finite."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return float("nan")
    sample = np.sort(finite[:: max(1, len(finite) // _SAMPLE)])
    return float(sample[len(sample) // 2])


def year_of(day: npt.NDArray[np.integer]) -> Integers:
    """Calendar year of days since 1970-01-01."""
    return day.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
