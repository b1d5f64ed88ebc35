"""From composites to hours: causally, linearly, or each value through its own period."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.data.satellite.composites import DATE, DAYS, VALUE

Method = Literal["causal", "linear", "period"]
METHODS: Final[tuple[str, ...]] = get_args(Method)

_HALF_DAY: Final = np.timedelta64(12 * 3600, "s")
_DAY: Final = np.timedelta64(86400, "s")
Times = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class Hourly:
    """Composites at the hours of a tower.

    Attributes
    ----------
    values : ndarray of float64, shape (n,)
        NaN where no value is near enough.
    missing : int
        Number of NaN.
    first_missing : datetime64 or None
    longest_gap_days : float
        Longest time between two composites that the hours need, or before the first or after the last of them.
    """

    values: NDArray[np.float64]
    missing: int
    first_missing: np.datetime64 | None
    longest_gap_days: float


def to_hours(frame: pl.DataFrame, time: Times, *, method: Method, max_gap: float) -> Hourly:
    """Values of composites at given hours.

    Parameters
    ----------
    frame : DataFrame
        ``date`` (first local calendar day of the period), ``days`` (its length), ``value``; ascending, finite.
    time : ndarray of datetime64, shape (n,)
        START of each hour, local standard time, ascending.
    method : {'causal', 'linear', 'period'}
        ``causal``: the last value whose period had ended when the hour began; what a model could have known.
        ``linear``: on the straight line between the centres of neighbouring periods; before the first centre and after
        the last the value is held to the border of its own period.
        ``period``: each value through its own period and on, until the next period begins.
    max_gap : float
        Days. ``causal`` and ``period``: greatest age of a value, from the end (or start) of its period. ``linear``:
        greatest distance of two centres that are joined.

    Returns
    -------
    Hourly

    Notes
    -----
    Original values come back exactly: at the first hour after their period (causal), at its centre (linear), at its
    first hour (period).
    """
    stamps = time.astype("datetime64[s]")
    start = frame[DATE].to_numpy().astype("datetime64[s]")
    days = frame[DAYS].to_numpy().astype(np.int64)
    values = frame[VALUE].to_numpy()
    limit = np.timedelta64(round(max_gap * 86400), "s")
    if method == "linear":
        found = _linear(start, days, values, stamps, limit)
        nodes = np.asarray(start + days * _HALF_DAY, dtype="datetime64[s]")
    else:
        nodes = np.asarray(start + days * _DAY if method == "causal" else start, dtype="datetime64[s]")
        found = _held(nodes, values, stamps, limit)
    lost = np.isnan(found)
    return Hourly(
        values=found,
        missing=int(lost.sum()),
        first_missing=stamps[int(lost.argmax())] if lost.any() else None,
        longest_gap_days=_longest_gap(nodes, stamps),
    )


def _held(known: Times, values: NDArray[np.float64], stamps: Times, limit: np.timedelta64) -> NDArray[np.float64]:
    """The value known last, unless it is older than the limit."""
    # Periods may overlap at the turn of the year; they were begun, and so end, in the order of their dates.
    order = np.argsort(known, kind="stable")
    known, values = known[order], values[order]
    at = np.searchsorted(known, stamps, side="right") - 1
    found = np.where(at >= 0, values[at], np.nan)
    if len(known):
        found[(at >= 0) & (stamps - known[at] > limit)] = np.nan
    return np.asarray(found)


def _linear(
    start: Times, days: NDArray[np.int64], values: NDArray[np.float64], stamps: Times, limit: np.timedelta64
) -> NDArray[np.float64]:
    centre = start + days * _HALF_DAY
    right = np.searchsorted(centre, stamps, side="left")
    left = np.clip(right - 1, 0, None)
    right = np.clip(right, 0, len(centre) - 1)
    span = (centre[right] - centre[left]).astype(np.float64)
    share = np.divide((stamps - centre[left]).astype(np.float64), span, out=np.zeros(len(stamps)), where=span > 0)
    found = values[left] + share * (values[right] - values[left])
    found[centre[right] - centre[left] > limit] = np.nan
    exact = centre[right] == stamps
    found[exact] = values[right][exact]
    # Within half a period of a value, its own period speaks for it, whatever is missing beyond.
    before, after = stamps < centre[0], stamps > centre[-1]
    found[before] = np.where(stamps[before] >= start[0], values[0], np.nan)
    found[after] = np.where(stamps[after] < start[-1] + days[-1] * _DAY, values[-1], np.nan)
    return np.asarray(found)


def _longest_gap(nodes: Times, stamps: Times) -> float:
    """Days: the longest stretch without a composite that touches the hours, their ends included."""
    if not len(stamps):
        return 0.0
    begin, end = stamps[0], stamps[-1]
    inside = nodes[(nodes > begin) & (nodes <= end)]
    earlier = nodes[nodes <= begin]
    marks = np.concatenate([earlier[-1:] if len(earlier) else [begin], inside, [end]])
    return float(np.diff(marks.astype("datetime64[s]")).max().astype(np.float64) / 86400.0)
