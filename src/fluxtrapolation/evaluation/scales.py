"""The eight temporal scales, from the table of days.

Every function gives one value pair (T, P) per entry of its scale: T observed, P predicted, NaN where missing. Under the
protocol ``paper`` T alone is subject to the thresholds; under ``measured`` T and P are used or dropped together.
Source of the rules: the published benchmark (arXiv 2605.19812) and its reference results.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.days import Days, year_of
from fluxtrapolation.evaluation.statistics import Floats, Integers, Shift, run_lengths, run_mean, run_starts, run_sum

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Thresholds:
    """How much must be there for an average to count. The defaults are the published ones.

    Parameters
    ----------
    hours_per_day : int
        Rows (``paper``) or measured hours (``measured``) of a valid day.
    days_per_week, days_per_month, days_per_year : int
        Valid days of a week, a month, and a year of the inter-annual variability.
    years_per_season : int
        Valid years of a day of the year.
    years_per_site : int
        Valid years of a site at iav; ``measured`` only.
    """

    hours_per_day: int = 12
    days_per_week: int = 4
    days_per_month: int = 15
    days_per_year: int = 183
    years_per_season: int = 2
    years_per_site: int = 2

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise EvaluationError(f"The threshold {name} is {value!r}; it must be a whole number of at least 1.")

    def short(self) -> str:
        """All thresholds in one word, for the columns of the scores: ``12h-4d-15d-183d-2y-2y``."""
        return "-".join(f"{value}{name[0]}" for name, value in asdict(self).items())


PUBLISHED_THRESHOLDS: Final = Thresholds()


@dataclass(frozen=True)
class Daily:
    """Valid and other days, sorted by group and day.

    Parameters
    ----------
    starts : ndarray
        Shape (K,), first row of every group (a domain or a site).
    group, day, year : ndarray
        Shape (n,), number of the group, days since 1970-01-01, calendar year.
    true, pred : ndarray
        Shape (n,), shifted daily means.
    shift : Shift
        Shape (K,).
    hours : ndarray
        Shape (K,), hours with an observation.
    paired : bool
        Whether T and P are dropped together (protocol ``measured``).
    """

    starts: Integers
    group: Integers
    day: Integers
    year: Integers
    true: Floats
    pred: Floats
    shift: Shift
    hours: Floats
    paired: bool

    @property
    def valid(self) -> Flags:
        """Days with an observed mean, shape (n,)."""
        return np.isfinite(self.true)

    def valid_days(self) -> Floats:
        """Number of valid days of every group."""
        return run_sum(self.valid, self.starts)

    def valid_years(self) -> Floats:
        """Number of years with a valid day, of every group."""
        has = self.valid
        starts = run_starts(self.group[has], self.year[has])
        return np.bincount(self.group[has][starts], minlength=len(self.starts)).astype(np.float64)


@dataclass(frozen=True)
class Entries:
    """The value pairs of one scale, sorted by group, each of shape (n,).

    Parameters
    ----------
    true, pred : ndarray
        Shifted values, NaN where missing.
    group : ndarray
        Number of the group.
    step : ndarray
        Where in time: the day (daily, anom), the first day of the week, month or year (weekly, monthly, iav) as days
        since 1970-01-01, the day of the year from 1 to 366 (seasonal), 0 (site-mean).
    """

    true: Floats
    pred: Floats
    group: Integers
    step: Integers


def is_daily(days: Days, group: Integers) -> bool:
    """Whether no (domain, date) of the whole table has more than one row."""
    order = np.lexsort((days.day, group))
    starts = run_starts(group[order], days.day[order])
    return bool(run_sum(days.rows[order], starts).max() <= 1)


def daily_table(days: Days, group: Integers, count: int, shift: Shift, *, paired: bool, least: int) -> Daily:
    """Daily means of every group.

    Parameters
    ----------
    days : Days
    group : ndarray
        Shape (D,), the group of every row of ``days``, 0 to ``count`` - 1; every group has a row.
    count : int
    shift : Shift
        Per site number.
    paired : bool
        Whether ``least`` asks for pairs (``measured``) or for rows (``paper``), and P is dropped with T.
    least : int
        Rows or measured hours of a valid day.
    """
    order = np.lexsort((days.day, group))
    group, day, site = group[order], days.day[order], days.site[order]
    starts = run_starts(group, day)
    first_site = site[run_starts(group)]
    of_group = shift.take(first_site)
    # A group of several sites takes the constant of its first; the others' sums are moved there.
    move_true = shift.true[site] - of_group.true[group]
    move_pred = shift.pred[site] - of_group.pred[group]
    n_true, n_pred = days.n_true[order], days.n_pred[order]
    rows = run_sum(n_true if paired else days.rows[order], starts)
    true = _ratio(run_sum(days.sum_true[order] + n_true * move_true, starts), run_sum(n_true, starts))
    pred = _ratio(run_sum(days.sum_pred[order] + n_pred * move_pred, starts), run_sum(n_pred, starts))
    true[rows < least] = np.nan
    if paired:
        pred[np.isnan(true)] = np.nan
    group, day = group[starts], day[starts]
    hours = np.bincount(group, run_sum(n_true, starts), minlength=count).astype(np.float64)
    return Daily(run_starts(group), group, day, year_of(day), true, pred, of_group, hours, paired)


def _ratio(total: Floats, n: Floats) -> Floats:
    out = np.full(len(total), np.nan)
    np.divide(total, n, out=out, where=n > 0)
    return out


def daily(d: Daily, _: Thresholds) -> Entries:
    """Daily means; T is missing on days that are not valid."""
    return Entries(d.true, d.pred, d.group, d.day)


def _blocks(d: Daily, first_day: Integers, least: int) -> Entries:
    """Means of days over blocks of the calendar: T over valid days, P over all days that have one."""
    starts = run_starts(d.group, first_day)
    true = run_mean(d.true, starts, least=least)
    pred = run_mean(d.pred, starts)
    pred = np.where(np.isnan(true), np.nan, pred) if d.paired else pred
    return Entries(true, pred, d.group[starts], first_day[starts])


def weekly(d: Daily, t: Thresholds) -> Entries:
    """ISO weeks, Monday to Sunday, of at least 4 valid days; 1970-01-01 was a Thursday."""
    return _blocks(d, (d.day + 3) // 7 * 7 - 3, t.days_per_week)


def monthly(d: Daily, t: Thresholds) -> Entries:
    """Calendar months of at least 15 valid days."""
    month = d.day.astype("datetime64[D]").astype("datetime64[M]")
    return _blocks(d, month.astype("datetime64[D]").astype(np.int64), t.days_per_month)


def _seasons(d: Daily, t: Thresholds) -> tuple[Integers, Integers, Floats, Floats]:
    """Group, day of the year, T and P of the mean seasonal cycle over valid days."""
    has = d.valid
    season = d.day[has] - _new_year(d.year[has]) + 1
    order = np.lexsort((d.year[has], season, d.group[has]))
    group, season = d.group[has][order], season[order]
    starts = run_starts(group, season)
    true = run_mean(d.true[has][order], starts, least=t.years_per_season)
    pred = run_mean(d.pred[has][order], starts)
    if d.paired:
        pred = np.where(np.isnan(true), np.nan, pred)
    return group[starts], season[starts], true, pred


def seasonal(d: Daily, t: Thresholds) -> Entries:
    """Mean seasonal cycle: per day of the year (1 to 366) the mean over at least 2 valid years."""
    group, season, true, pred = _seasons(d, t)
    return Entries(true, pred, group, season)


def anom(d: Daily, t: Thresholds) -> Entries:
    """Daily anomalies: every day minus the mean seasonal cycle of its site."""
    group, season, true, pred = _seasons(d, t)
    wanted = d.group * 367 + d.day - _new_year(d.year) + 1
    key = group * 367 + season
    if len(key) == 0:
        missing = np.full(len(d.day), np.nan)
        return Entries(missing, missing, d.group, d.day)
    row = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
    found = key[row] == wanted
    true = d.true - np.where(found, true[row], np.nan)
    pred = d.pred - np.where(found, pred[row], np.nan)
    return Entries(true, np.where(np.isnan(true), np.nan, pred) if d.paired else pred, d.group, d.day)


def _new_year(year: Integers) -> Integers:
    """First of January of calendar years, as days since 1970-01-01."""
    return (year - 1970).astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64)


def _years(d: Daily, least: int) -> tuple[Integers, Integers, Floats, Floats]:
    """Group, year, T and P of the yearly means over valid days; T is missing with fewer than ``least`` of them."""
    has = d.valid
    group, year = d.group[has], d.year[has]
    starts = run_starts(group, year)
    true = run_mean(d.true[has], starts, least=least)
    pred = run_mean(d.pred[has], starts)
    if d.paired:
        pred = np.where(np.isnan(true), np.nan, pred)
    return group[starts], year[starts], true, pred


def iav(d: Daily, t: Thresholds) -> Entries:
    """Inter-annual variability: yearly means minus the mean of the site's years.

    ``paper`` centres T on years of at least 183 valid days and P on all years; ``measured`` centres both on the same
    years and needs two of them.
    """
    group, year, true, pred = _years(d, t.days_per_year)
    starts = run_starts(group)
    years = run_lengths(starts, len(group))
    true = true - np.repeat(run_mean(true, starts), years)
    pred = pred - np.repeat(run_mean(pred, starts), years)
    if d.paired:
        short = np.repeat(run_sum(np.isfinite(true), starts) < t.years_per_site, years)
        true, pred = np.where(short, np.nan, true), np.where(short, np.nan, pred)
    return Entries(true, pred, group, _new_year(year))


def site_mean(d: Daily, t: Thresholds) -> Entries:
    """Mean of the domain: the unweighted mean of its yearly means (``measured``: of the years valid at iav)."""
    group, _, true, pred = _years(d, t.days_per_year if d.paired else 1)
    starts = run_starts(group)
    return Entries(run_mean(true, starts), run_mean(pred, starts), group[starts], np.zeros(len(starts), np.int64))


AGGREGATED: Final[dict[str, tuple[Callable[[Daily, Thresholds], Entries], bool]]] = {
    "daily": (daily, False),
    "weekly": (weekly, False),
    "monthly": (monthly, False),
    "seasonal": (seasonal, True),
    "anom": (anom, True),
    "iav": (iav, True),
    "site-mean": (site_mean, False),
}
"""Every scale above the hour: its function, and whether it always groups by site."""

ANOMALIES: Final = ("anom", "iav")
"""Scales whose values are differences, so that no constant is left to put back."""


def why_empty(scale: str, d: Daily, t: Thresholds, groups: Integers) -> list[str]:
    """For each of the given groups the reason why ``scale`` has no observed value for it."""
    if len(groups) == 0:
        return []
    days, years = d.valid_days(), d.valid_years()
    group, _, true, _ = _years(d, t.days_per_year)
    long_years = np.bincount(group[np.isfinite(true)], minlength=len(d.starts))
    out = []
    for one in groups:
        if d.hours[one] == 0:
            out.append("no_observations")
        elif days[one] == 0:
            out.append("too_few_hours")
        elif scale in ("seasonal", "anom"):
            out.append("single_year" if years[one] == 1 else "too_few_years")
        elif scale == "iav" and long_years[one] > 0:
            out.append("single_year" if long_years[one] == 1 else "too_few_years")
        else:
            out.append("too_few_days")
    return out
