"""The table of days of some sites, and what else is kept of their rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fluxtrapolation.evaluation.statistics import Floats, Integers, Moments, Shift, run_starts, run_sum


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

    def take(self, rows: npt.NDArray[Any]) -> Days:
        """The entries at ``rows``."""
        return Days(*(getattr(self, name)[rows] for name in Days.__dataclass_fields__))

    def added_up(self) -> Days:
        """The same table sorted by site, part and day, with equal days added up."""
        table = self
        change = np.stack([np.diff(table.site), np.diff(table.part), np.diff(table.day)])
        first = np.take_along_axis(change, (change != 0).argmax(axis=0)[None], axis=0)[0]
        if (first > 0).all():
            return table
        order = np.lexsort((table.day, table.part, table.site))
        table = table.take(order)
        starts = run_starts(table.site, table.part, table.day)
        sums = [run_sum(getattr(table, name), starts) for name in ("rows", "n_true", "n_pred", "sum_true", "sum_pred")]
        return Days(table.site[starts], table.part[starts], table.day[starts], *sums)


@dataclass(frozen=True)
class HourlyRows:
    """The rows themselves, in runs of one (site, part); kept only for metrics that need the pairs.

    Parameters
    ----------
    site, part, length : ndarray
        Shape (R,), of every run.
    true, pred : ndarray
        Shape (n,), in the target's unit.
    """

    site: Integers
    part: Integers
    length: Integers
    true: Floats
    pred: Floats

    @staticmethod
    def join(pieces: list[HourlyRows]) -> HourlyRows:
        """One table of several."""
        names = HourlyRows.__dataclass_fields__
        return HourlyRows(*(np.concatenate([getattr(one, name) for one in pieces]) for name in names))

    def split(self, site: int) -> tuple[HourlyRows, HourlyRows]:
        """The rows of the sites before ``site``, and the others; the sites must ascend."""
        run = int(np.searchsorted(self.site, site))
        row = int(self.length[:run].sum())
        before = HourlyRows(self.site[:run], self.part[:run], self.length[:run], self.true[:row], self.pred[:row])
        return before, HourlyRows(self.site[run:], self.part[run:], self.length[run:], self.true[row:], self.pred[row:])


@dataclass(frozen=True)
class Gathered:
    """What the rows of some sites add up to.

    Parameters
    ----------
    first : int
        Number of the first of these sites; below they count from 0.
    days : Days
    hourly : Moments
        Per (site, part).
    site, part : ndarray
        Of each entry of ``hourly``.
    shift : Shift
        Per site.
    rows : HourlyRows, optional
        Only where they were to be kept.
    """

    first: int
    days: Days
    hourly: Moments
    site: Integers
    part: Integers
    shift: Shift
    rows: HourlyRows | None = None


def year_of(day: npt.NDArray[np.integer]) -> Integers:
    """Calendar year of days since 1970-01-01."""
    return day.astype("datetime64[D]").astype("datetime64[Y]").astype(np.int64) + 1970
