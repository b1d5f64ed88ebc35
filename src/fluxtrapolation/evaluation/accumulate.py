"""One pass over the rows: hourly statistics per domain and the table of days, from which all other scales follow.

Rows come in pieces of any size and order. What is kept between pieces is additive: per (site, domain, day) the counts
and sums, per (site, domain) the hourly moments. Where the rows of every site stand together, a site can be taken out
when its rows have ended: memory then follows the days of a few sites, else the days of all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.blocks import Block
from fluxtrapolation.evaluation.days import Days, Gathered, HourlyRows, year_of
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


@dataclass
class _Held:
    """Pieces that are not added up yet; sites by their number in the table."""

    days: list[Days]
    moments: list[Moments]
    site: list[Integers]
    part: list[Integers]
    rows: list[HourlyRows]

    def split(self, site: int) -> _Held:
        """Take out what belongs to the sites before ``site``; what belongs to others stays."""
        before = _Held([], [], [], [], [])
        after = _Held([], [], [], [], [])
        days = Days.join(self.days)
        closed = days.site < site
        before.days, after.days = [days.take(closed)], [days.take(~closed)]
        for one, sites, part in zip(self.moments, self.site, self.part, strict=True):
            closed = sites < site
            for side, chosen in ((before, closed), (after, ~closed)):
                if chosen.any():
                    side.moments.append(one.take(chosen))
                    side.site.append(sites[chosen])
                    side.part.append(part[chosen])
        for rows in self.rows:
            first, second = rows.split(site)
            before.rows.append(first)
            after.rows.append(second)
        after.rows = [one for one in after.rows if len(one.site)]
        self.days, self.moments, self.site, self.part, self.rows = (
            after.days,
            after.moments,
            after.site,
            after.part,
            after.rows,
        )
        return before


class Accumulator:
    """Takes blocks of rows, gives the table of days and the hourly moments.

    Parameters
    ----------
    yearly : bool
        Whether a domain is a site-year; ``part`` is then the year. Ignored for blocks with labels.
    keep_rows : bool
        Whether the rows themselves are to be kept too, until their site is taken.
    """

    def __init__(self, *, yearly: bool, keep_rows: bool = False) -> None:
        self._yearly, self._keep_rows = yearly, keep_rows
        self._held = _Held([], [], [], [], [])
        self._first = self._first_label = 0
        self._labelled = False
        self._last_site = -1
        self._last_time: dict[int, int] = {}
        self._shift = np.full((2, 0), np.nan)
        self._largest = np.zeros((2, 0))
        self.rows = 0
        self.pending = 0
        """Rows of the table of days that are held."""
        self.in_order = True
        """Whether the times of every site have only increased so far: then no (site, time) is there twice."""
        self.in_runs = True
        """Whether the rows of every site have stood together so far, sites numbered in their order."""

    def add(self, block: Block) -> bool:
        """Add a block of rows; False, and nothing is added, where it holds a site or label that was taken already."""
        n = len(block.site)
        if n == 0:
            return True
        starts = run_starts(block.site)
        sites = block.site[starts]
        if sites.min() < self._first or (block.label is not None and block.label.min() < self._first_label):
            return False
        self.rows += n
        self._labelled = block.label is not None
        self.in_runs &= bool(sites[0] >= self._last_site and (np.diff(sites) > 0).all())
        self._last_site = int(sites[-1])
        self._check_order(block, starts)
        day_starts, day_part, part_starts = self._runs(block)
        if not self.in_order or len(part_starts) * 50 > n:
            part = np.zeros(n, np.int64) if block.label is None else block.label
            block = block.take(np.lexsort((block.time, part, block.site)))
            day_starts, day_part, part_starts = self._runs(block)
        self._choose_shift(block)
        # One constant per site, laid out over its rows.
        of_run = self._shift[:, block.site[part_starts] - self._first]
        lengths = np.diff(part_starts, append=n)
        true, pred = (np.repeat(one, lengths) for one in of_run)
        np.subtract(block.true, true, out=true)
        np.subtract(block.pred, pred, out=pred)
        self._add_days(block, true, pred, day_starts, day_part)
        site, part = block.site[part_starts], day_part[np.searchsorted(day_starts, part_starts)]
        nothing = np.zeros(len(site))
        shift = Shift(of_run[0], of_run[1], nothing, nothing)
        self._held.moments.append(moments(true, pred, part_starts, shift, error=block.true - block.pred))
        self._held.site.append(site)
        self._held.part.append(part)
        if self._keep_rows:
            self._held.rows.append(HourlyRows(site, part, lengths, block.true, block.pred))
        return True

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

    def _check_order(self, block: Block, starts: Integers) -> None:
        forward = np.diff(block.time) > 0
        forward[starts[1:] - 1] = True
        ends = np.append(starts[1:], len(block.site)) - 1
        for site, first, last in zip(
            block.site[starts].tolist(), block.time[starts].tolist(), block.time[ends].tolist(), strict=True
        ):
            if self._last_time.get(site, -(2**63)) >= first:
                self.in_order = False
            self._last_time[site] = last
        self.in_order &= bool(forward.all())

    def _choose_shift(self, block: Block) -> None:
        """Fix the constant of every site seen for the first time: a typical value, exactly the one of a constant."""
        more = int(block.site.max()) + 1 - self._first - self._shift.shape[1]
        if more > 0:
            self._shift = np.concatenate([self._shift, np.full((2, more), np.nan)], axis=1)
            self._largest = np.concatenate([self._largest, np.zeros((2, more))], axis=1)
        starts = run_starts(block.site)
        ends = np.append(starts[1:], len(block.site))
        for site, first, last in zip(block.site[starts] - self._first, starts, ends, strict=True):
            for side, values in enumerate((block.true, block.pred)):
                if np.isnan(self._shift[side, site]):
                    self._shift[side, site] = _typical(values[first:last])

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
        self._held.days.append(Days(site, part, day, rows, n_true, n_pred, *sums))
        for values, largest in zip((true, pred), self._largest, strict=True):
            np.maximum.at(largest, site - self._first, np.maximum.reduceat(np.abs(values), starts))
        self.pending += len(starts)
        if self.pending > COMPACT_ABOVE:
            self._held.days = [Days.join(self._held.days).added_up()]
            self.pending = len(self._held.days[0].day)

    def take_closed(self) -> Gathered | None:
        """Take out all sites but the last one, whose rows may go on.

        Returns
        -------
        Gathered or None
            None where no site can be taken: there is only one, or the rows of sites or labels do not stand together.
        """
        site = self._last_site
        if not self.in_runs or site <= self._first:
            return None
        if self._labelled:
            days = Days.join(self._held.days)
            closed, still = days.part[days.site < site], days.part[days.site >= site]
            if closed.max() >= still.min():
                self.in_runs = False
                return None
            self._first_label = int(closed.max()) + 1
        count = site - self._first
        taken = self._add_up(self._held.split(site), self._first, count)
        self._first = site
        self._shift, self._largest = self._shift[:, count:], self._largest[:, count:]
        self._last_time = {site: self._last_time[site]}
        self.pending = sum(len(one.day) for one in self._held.days)
        return taken

    def finish(self) -> Gathered:
        """Everything that was not taken, added up.

        Raises
        ------
        EvaluationError
            When no row was added.
        """
        if not self.rows:
            raise EvaluationError("There are no predictions to evaluate: the table has no rows.")
        return self._add_up(self._held, self._first, self._shift.shape[1])

    def _add_up(self, held: _Held, first: int, count: int) -> Gathered:
        true, pred = np.nan_to_num(self._shift[:, :count])
        floor_true, floor_pred = ROUNDING * self._largest[:, :count]
        shift = Shift(true, pred, floor_true, floor_pred)
        width = int(max(one.max() for one in held.part)) + 1
        sites = [one - first for one in held.site]
        groups = [site * width + part for site, part in zip(sites, held.part, strict=True)]
        parts = [
            replace(one, shift_true=shift.true[site], shift_pred=shift.pred[site])
            for one, site in zip(held.moments, sites, strict=True)
        ]
        key, hourly = merge(parts, groups)
        days = Days.join(held.days)
        days = replace(days, site=days.site - first).added_up()
        rows = None
        if self._keep_rows:
            rows = HourlyRows.join(held.rows)
            rows = replace(rows, site=rows.site - first)
        return Gathered(first, days, hourly, key // width, key % width, shift, rows)


def _typical(values: Floats) -> float:
    """The middle one of about a hundred finite values; NaN where none is finite."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return float("nan")
    sample = np.sort(finite[:: max(1, len(finite) // _SAMPLE)])
    return float(sample[len(sample) // 2])
