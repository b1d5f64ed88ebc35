"""Timestamps of FLUXNET files as moments, checked: readable, ascending, once each, in even steps."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.data.checks import summer_time
from fluxtrapolation.errors import DataError

FIRST_YEAR: Final = 1950
LAST_YEAR: Final = 2100

_STANDARD: Final = "FLUXNET files are in local standard time all year round; this file was changed."
_SUMMER: Final = (
    " One hour of a day repeats, and an hour is missing after {before}: this looks like summer time. " + _STANDARD
)

Times = NDArray[np.datetime64]


def moments(stamps: NDArray[np.int64], *, name: str, daily: bool = False) -> Times:
    """Numbers such as 200501010030, or 20050101 in daily files, as minutes.

    Raises
    ------
    DataError
        If one of them is no such number; told with line, count and example.
    """
    short = stamps * 10_000 if daily else stamps
    year, month = short // 10**8, short // 10**6 % 100
    day, hour, minute = short // 10**4 % 100, short // 100 % 100, short % 100
    good = (
        (year >= FIRST_YEAR)
        & (year <= LAST_YEAR)
        & (month >= 1)
        & (month <= 12)
        & (day >= 1)
        & (hour < 24)
        & (minute < 60)
    )
    months = (np.where(good, year - 1970, 0) * 12 + np.where(good, month - 1, 0)).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + np.where(good, day - 1, 0)
    good &= days.astype("datetime64[M]") == months
    if not good.all():
        first = int(np.argmin(good))
        wanted = "20050131" if daily else "200501310030"
        raise DataError(
            f"{int((~good).sum()):,} of {stamps.size:,} values of {name} are no times (first: {stamps[first]} in line "
            f"{first + 2:,}). They are written as {wanted}. Fetch the file again."
        )
    return np.asarray(days.astype("datetime64[m]") + (hour * 60 + minute))


def native_step(start: Times, end: Times | None) -> int:
    """Minutes of a native step, 30 or 60, from START and END or from the distances of rows.

    Raises
    ------
    DataError
        If it is neither, changes within the file, or START and END stand in each other's place.
    """
    minute = np.timedelta64(1, "m")
    if end is not None:
        width = ((end - start) / minute).astype(np.int64)
        kinds, counts = np.unique(width, return_counts=True)
        if kinds.size == 1 and kinds[0] in (30, 60):
            return int(kinds[0])
        usual = int(kinds[np.argmax(counts)])
        first = int(np.argmax(width != (usual if usual in (30, 60) else 30)))
        swapped = " TIMESTAMP_START and TIMESTAMP_END stand in each other's column." if usual in (-30, -60) else ""
        raise DataError(
            f"{int((width != usual).sum()) if not swapped else width.size:,} of {width.size:,} rows do not last 30 or "
            f"60 minutes as one (first: {_said(start[first])} to {_said(end[first])}, {width[first]} min in line "
            f"{first + 2:,}).{swapped} Fetch the file again."
        )
    steps = ((start[1:] - start[:-1]) / minute).astype(np.int64)
    usual = int(np.median(steps)) if steps.size else 0
    if usual not in (30, 60):
        raise DataError(f"its rows are {usual} minutes apart, neither 30 nor 60. Half-hourly or hourly files are read.")
    return usual


def check_order(start: Times, step: int, *, unit: str) -> str | None:
    """Refuse rows that repeat, run backwards or lie off the grid; returns a note on rows that are not there.

    Parameters
    ----------
    start : ndarray of datetime64[m], shape (n,)
    step : int
        Minutes.
    unit : str
        What a row is, such as ``half hours``.

    Raises
    ------
    DataError
    """
    distance = ((start[1:] - start[:-1]) / np.timedelta64(1, "m")).astype(np.int64)
    ordered, counts = np.unique(start, return_counts=True)
    gaps = np.flatnonzero(np.diff(ordered) > np.timedelta64(step, "m"))
    summer = summer_time(start, step)
    if ordered.size < start.size:
        first = ordered[np.argmax(counts > 1)]
        raise DataError(
            f"{start.size - ordered.size:,} {unit} appear more than once (first: {_said(first)})."
            f"{'' if summer is None else _SUMMER.format(before=_said(summer.before_lost))} Fetch the file again."
        )
    if (distance < 0).any():
        at = int(np.argmax(distance < 0))
        raise DataError(
            f"time runs backwards at {int((distance < 0).sum()):,} places (first: {_said(start[at])} is followed by "
            f"{_said(start[at + 1])} in line {at + 3:,}). Sort the rows by time, or fetch the file again."
        )
    if summer is not None:
        raise DataError(
            f"{summer.jumps:,} single hours are missing, always in the night of a Sunday in spring or autumn (first: "
            f"after {_said(summer.before_lost)}): this looks like summer time with the repeated hours removed. "
            f"{_STANDARD}"
        )
    off = ((start - start[0]) / np.timedelta64(1, "m")).astype(np.int64) % step != 0
    if off.any():
        raise DataError(
            f"{int(off.sum()):,} of {start.size:,} rows do not begin at a full step of {step} minutes after the first "
            f"(first: {_said(start[int(np.argmax(off))])}). Fetch the file again."
        )
    absent = int((start[-1] - start[0]) / np.timedelta64(step, "m")) + 1 - start.size
    if not absent:
        return None
    return f"{absent:,} {unit} are not in the file (first: {_said(ordered[gaps[0]] + np.timedelta64(step, 'm'))})"


def _said(moment: np.datetime64) -> str:
    return str(moment.astype("datetime64[m]")).replace("T", " ")


def coverage_note(first: np.datetime64, last: np.datetime64, years: tuple[int, int] | None) -> str | None:
    """Say that the rows end before, or begin after, the years of the file's name; a cut-off download does."""
    if years is None:
        return None
    held = tuple(int(str(moment.astype("datetime64[Y]"))) for moment in (first, last))
    ends_early = held[1] < years[1] or (held[1] == years[1] and str(last.astype("datetime64[D]"))[5:] != "12-31")
    if held[0] == years[0] and not ends_early:
        return None
    return (
        f"the file's name promises {years[0]} to {years[1]}, its rows go from {_said(first)} to {_said(last)}: cut off?"
    )
