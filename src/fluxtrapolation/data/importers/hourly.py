"""From a tower's native steps to hours of local standard time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.errors import DataError

STEP_MIN = 30
"""Minutes between two stamps of the FLUXNET2015 Zarr time axis."""


@dataclass(frozen=True, slots=True)
class Packed:
    """One variable of one tower as stored: physical = stored * scale + offset.

    ``valid`` marks stored values that are not missing.
    """

    stored: NDArray[Any]
    scale: float
    offset: float
    valid: NDArray[np.bool_]

    def part(self, index: slice) -> Packed:
        """The same variable over some steps."""
        return Packed(self.stored[index], self.scale, self.offset, self.valid[index])


@dataclass(frozen=True, slots=True)
class Hours:
    """A tower's hours.

    Attributes
    ----------
    time : ndarray of datetime64[m], shape (n,)
        START of each hour, local standard time, without gaps.
    values : mapping of str to ndarray of float32, shape (n,)
        Mean of the hour's native steps; NaN where one is missing.
    flags_low : ndarray of bool, shape (n,)
        Whether every native step of the hour has a quality flag below the limit.
    """

    time: NDArray[np.datetime64]
    values: Mapping[str, NDArray[np.float32]]
    flags_low: NDArray[np.bool_]


def recorded_span(variables: Sequence[Packed]) -> tuple[int, int] | None:
    """First and last step at which any variable has a value, or None."""
    spans = [
        (int(v.valid.argmax()), v.valid.size - 1 - int(v.valid[::-1].argmax())) for v in variables if v.valid.any()
    ]
    return (min(a for a, _ in spans), max(b for _, b in spans)) if spans else None


def repeated_pairs(variables: Sequence[Packed], span: tuple[int, int]) -> float:
    """Share of half-hour pairs, counted from the first step, that hold the same stored value twice.

    About 1 at a natively hourly tower stretched to half hours, below 0.5 elsewhere (0.41 at most over 111 towers).
    """
    equal = pairs = 0
    first, last = span
    end = first + (last + 1 - first) // 2 * 2
    for variable in variables:
        valid = variable.valid[first:end].reshape(-1, 2).all(axis=1)
        stored = variable.stored[first:end].reshape(-1, 2)[valid]
        equal += int((stored[:, 0] == stored[:, 1]).sum())
        pairs += int(valid.sum())
    return equal / pairs if pairs else 0.0


def to_hours(
    variables: Mapping[str, Packed],
    flag: Packed,
    *,
    flag_limit: float,
    first_end: np.datetime64,
    span: tuple[int, int],
    native_step_min: int,
) -> Hours:
    """Average native steps to hours of the local clock.

    Half-hour towers: hour h is the mean of the END stamps h:30 and h+1:00. Hourly towers were stretched to half hours,
    each record standing at its END stamp and again 30 minutes later; every second step from the first is taken.

    Parameters
    ----------
    variables : mapping of str to Packed, each of shape (steps,)
    flag : Packed
        Quality flag of the flux; ``flag_limit`` is exclusive.
    first_end : datetime64
        END stamp of step 0 on the local standard clock.
    span : tuple of int
        First and last step of the tower's record.
    native_step_min : {30, 60}

    Returns
    -------
    Hours

    Raises
    ------
    DataError
        If hourly records do not end on full hours, or stamps do not lie on half hours.
    """
    first, last = span
    half_hours = (first_end.astype("datetime64[m]").astype(np.int64), STEP_MIN)
    if half_hours[0] % STEP_MIN:
        raise DataError(f"its local stamps do not lie on half hours (first: {first_end}). Check utc_offset_store_h.")
    # END stamps counted in half hours since 1970; the step before an END stamp belongs to the hour of its START.
    end = int(half_hours[0] // STEP_MIN) + first
    if native_step_min == 60:
        if end % 2:
            stamp = first_end + np.timedelta64(STEP_MIN * first, "m")
            raise DataError(f"its hourly records end at half hours (first: {stamp}). Check utc_offset_store_h.")
        index, before, after, per_hour = slice(first, last + 1, 2), 0, 0, 1
        hour = end // 2 - 1
    else:
        start = end - 1
        before = start % 2
        after = (last + 1 - first + before) % 2
        index, per_hour = slice(first, last + 1), 2
        hour = start // 2

    def steps(values: NDArray[Any]) -> list[NDArray[Any]]:
        """The first and, at half-hour towers, the second native step of every hour; zero outside the record."""
        part = values[index]
        if before or after:
            part = np.concatenate([np.zeros(before, part.dtype), part, np.zeros(after, part.dtype)])
        return [part[position::per_hour] for position in range(per_hour)]

    def in_all(marks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return np.asarray(np.logical_and.reduce(steps(marks)))

    def hourly(variable: Packed) -> NDArray[np.float32]:
        # The mean of whole numbers first, then scale and offset, all in double: no step is rounded twice.
        total = sum(part.astype(np.float64) for part in steps(variable.stored))
        values = total * (variable.scale / per_hour) + variable.offset
        return np.where(in_all(variable.valid), values, np.nan).astype(np.float32)

    values = {name: hourly(variable) for name, variable in variables.items()}
    low = flag.valid & (flag.stored * flag.scale + flag.offset < flag_limit)
    flags_low = in_all(low)
    time = np.datetime64(hour * 60, "m") + np.arange(flags_low.size) * np.timedelta64(60, "m")
    return Hours(time=time, values=values, flags_low=flags_low)
