"""Checks at the border: what a site's table must satisfy before it enters a store.

Every problem of a table is collected, so that one error names them all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.errors import DataError, UnitError, did_you_mean, examples
from fluxtrapolation.schema import IGBP, QC, SITE_ID_RULE, TARGETS, TIME, VARIABLES, is_site_id

MIN_HOURS_FOR_VPD = 100
"""Hours from which the unit of VPD is judged."""
SMALL_ROWS: Final = 480
"""Rows from which :func:`too_small` judges."""
_SHINES: Final = 100.0
"""W m-2 of potential radiation: without it a record lies in the polar night, and its radiation says nothing."""
_SPRING_AND_AUTUMN: Final = (3, 4, 9, 10, 11)


@dataclass(frozen=True, slots=True)
class Least:
    """The smallest 99th percentile of a variable's size that is believed, its unit, and what else it may be in."""

    value: float
    unit: str
    likely: str
    fix: str


_CARBON: Final = Least(
    0.05, "umol m-2 s-1", "mmol m-2 s-1", "multiply it by 1000 (from mmol m-2 s-1) or 1e6 (from mol m-2 s-1)"
)
_LIGHT: Final = Least(5.0, "W m-2", "kW m-2", "multiply it by 1000 (from kW m-2)")
LEAST: Final[Mapping[str, Least]] = {
    "GPP": _CARBON,
    "NEE": _CARBON,
    "LE": Least(1.0, "W m-2", "kW m-2", "multiply it by 1000 (from kW m-2)"),
    "ET": Least(0.002, "mm h-1", "kg m-2 s-1", "multiply it by 3600 (from kg m-2 s-1)"),
    "SW_IN": _LIGHT,
    "SW_IN_POT_hourly": _LIGHT,
}
"""Over the 14,951 stretches of 480 hours of 120 FLUXNET2015 towers, the least 99th percentile is 0.07 for GPP (GL-ZaF)
and 0.057 for NEE (GL-ZaH; but for a year of zeros at US-PFa); over whole records 0.8 and 0.6 (SJ-Blv). A forest in mmol
has 0.02 to 0.05. SW_IN falls below 5 in the polar night only.
"""
HALF_A_YEAR: Final = 4380
"""Rows from which potential radiation itself is judged: then the sun rises."""


def too_small(
    name: str, values: NDArray[Any], *, potential: NDArray[Any] | None = None, least_rows: int = SMALL_ROWS
) -> tuple[Least, float, int] | None:
    """Limit, 99th percentile and count of values a thousand times too small for their unit; None where they are not.

    Parameters
    ----------
    name : str
        Of :data:`LEAST`; others are never too small.
    values : ndarray, shape (n,)
        NaN where missing.
    potential : ndarray, shape (n,), optional
        Potential radiation of the same rows. SW_IN is not judged where no sun shines.
    least_rows : int
        Values from which it is judged.
    """
    if name not in LEAST:
        return None
    held = np.abs(values[np.isfinite(values)])
    if held.size < least_rows or (name == "SW_IN" and not _sun_shines(potential)):
        return None
    if name == "SW_IN_POT_hourly" and held.size < HALF_A_YEAR:
        return None
    high = float(np.quantile(held, 0.99))
    if not 0.0 < high < LEAST[name].value or np.ptp(held) == 0.0:
        return None  # zeros, or one value all along (packed zeros of US-PFa): a constant, not a unit
    return LEAST[name], high, held.size


def _sun_shines(potential: NDArray[Any] | None) -> bool:
    return potential is None or not np.isfinite(potential).any() or bool(np.nanquantile(potential, 0.99) > _SHINES)


@dataclass(frozen=True, slots=True)
class SummerTime:
    """Jumps of a clock with summer time, the first, the row before the first lost hour; whether hours repeat."""

    jumps: int
    first: np.datetime64
    before_lost: np.datetime64
    repeats: bool


def summer_time(time: NDArray[np.datetime64], step_min: int = 60) -> SummerTime | None:
    """Whether rows carry a clock with summer time, in the order in which they stand.

    Such a clock leaves one hour out on a Sunday in spring and repeats one on a Sunday in autumn. Where the repeated
    hours were removed, only the missing ones are left: one single hour a year, always on such a Sunday.

    Parameters
    ----------
    time : ndarray of datetime64, shape (n,)
    step_min : int
        Minutes of a row.
    """
    minutes = time.astype("datetime64[m]")
    step = np.diff(minutes).astype(np.int64)
    # A repeated hour stands after the first one (back by an hour less a step), or its rows stand twice.
    back, forth = np.isin(step, (0, -60, step_min - 60)), step == 60 + step_min
    at = 1 + np.flatnonzero(back | forth)
    if not at.size or at.size > 400:
        return None
    sunday = (minutes.astype("datetime64[D]").astype(np.int64) + 3) % 7 == 6
    month = minutes.astype("datetime64[M]").astype(np.int64) % 12 + 1
    hour = minutes.astype("datetime64[h]").astype(np.int64) % 24
    fitting = at[sunday[at] & np.isin(month[at], _SPRING_AND_AUTUMN) & (hour[at] <= 4)]
    lost = fitting[forth[fitting - 1]]
    repeats = fitting.size > lost.size
    if fitting.size < 0.8 * at.size or not lost.size or not (repeats or lost.size >= 2):
        return None
    return SummerTime(int(fitting.size), time[fitting[0]], minutes[lost[0] - 1], repeats)


def check_site_id(text: str) -> str:
    """Return ``text`` if it can name a site.

    Raises
    ------
    DataError
        If it has other characters, begins with a dot, or is empty or too long.
    """
    if not is_site_id(text):
        raise DataError(f"{text!r} is no usable site id: an id has {SITE_ID_RULE}. Rename the site.")
    return text


def saturation_vapour_pressure(ta: np.ndarray) -> np.ndarray:
    """Saturation vapour pressure over water, hPa, at ``ta`` degC (Magnus form of Alduchov and Eskridge 1996)."""
    return np.asarray(6.1094 * np.exp(17.625 * ta / (ta + 243.04)))


def unit_problem(frame: pl.DataFrame, *, where: str) -> str | None:
    """Say which unit is wrong and how to convert, or None.

    ``TA`` is in kelvin when its median lies above 150. ``VPD`` is judged by the 99th percentile of VPD over the
    saturation pressure at TA: below 0.12 it is in kPa, above 5 in Pa. A cold humid tower with a true maximum of
    5.4 hPa (SJ-Blv) passes, because its saturation pressure is as low.
    """
    for name in ("TA", "LST_Day", "LST_Night"):
        if name in frame.columns:
            values = frame[name].drop_nulls().drop_nans()
            middle = values.median()
            if isinstance(middle, float | int) and middle > 150.0:
                return (
                    f"{where}: {name} looks like kelvin (median {middle:.1f}); the schema wants degC. "
                    f"Subtract 273.15 from {name} and import again."
                )
    if "TA" in frame.columns and "VPD" in frame.columns:
        pair = frame.select("TA", "VPD").drop_nulls().drop_nans()
        ta = pair["TA"].to_numpy().astype(np.float64)
        inside = np.abs(ta) < 100.0
        if inside.sum() >= MIN_HOURS_FOR_VPD:
            ratio = np.quantile(pair["VPD"].to_numpy()[inside] / saturation_vapour_pressure(ta[inside]), 0.99)
            if ratio < 0.12:
                return (
                    f"{where}: VPD looks like kPa (99th percentile of VPD over saturation pressure {ratio:.3f}, "
                    "expected 0.12 to 5); the schema wants hPa. Multiply VPD by 10 and import again."
                )
            if ratio > 5.0:
                return (
                    f"{where}: VPD looks like Pa (99th percentile of VPD over saturation pressure {ratio:.1f}, "
                    "expected 0.12 to 5); the schema wants hPa. Divide VPD by 100 and import again."
                )
    return None


def range_problems(frame: pl.DataFrame, columns: Iterable[str], *, where: str) -> list[str]:
    """List the columns with values outside the schema's physical range, with counts and the first example."""
    problems = []
    for name in columns:
        variable = VARIABLES[name]
        column = pl.col(name)
        # NaN is greater than everything to polars; it is told as missing, not here.
        outside = column.is_not_nan() & ((column < variable.low) | (column > variable.high))
        bad = frame.filter(outside.fill_null(False))
        if bad.height:
            problems.append(
                f"{where}: {bad.height:,} of {frame.height:,} values of {name} lie outside "
                f"{variable.low:g} to {variable.high:g} {variable.unit} "
                f"(first: {bad[name][0]:g} at {bad[TIME][0]}). {_range_fix(bad[name][0])}"
            )
    return problems


def _range_fix(value: float) -> str:
    if value == -9999.0:
        return "-9999 marks missing values in FLUXNET: leave the field empty."
    return "Correct or remove those rows."


def missing_problems(frame: pl.DataFrame, covariates: Iterable[str], *, where: str) -> list[str]:
    """List covariates with missing values: they must be complete."""
    problems = []
    for name in covariates:
        bad = frame.filter(pl.col(name).is_null() | pl.col(name).is_nan())
        if bad.height:
            problems.append(
                f"{where}: covariate {name} is missing in {bad.height:,} of {frame.height:,} hours "
                f"(first: {bad[TIME][0]}). Covariates must be complete: fill or drop those hours."
            )
    return problems


def time_problem(frame: pl.DataFrame, *, where: str, step: str = "hour") -> str | None:
    """Say how the time column is unordered, repeated or off the hour, or None."""
    time = frame[TIME]
    if time.null_count():
        return f"{where}: {time.null_count():,} rows have no time. Remove them or repair the time column."
    if step == "hour":
        off = frame.filter(pl.col(TIME) != pl.col(TIME).dt.truncate("1h"))
        if off.height:
            return (
                f"{where}: {off.height:,} of {frame.height:,} times are not full hours (first: {off[TIME][0]}). "
                "Give one row per hour, stamped with its start."
            )
    step_h = time.diff().dt.total_seconds()
    repeated = int((step_h == 0).sum())
    backward = int((step_h < 0).sum())
    if repeated or backward:
        if frame[TIME].n_unique() < frame.height:
            twice = frame.filter(pl.col(TIME).is_duplicated())
            return (
                f"{where}: {frame.height - frame[TIME].n_unique():,} hours appear more than once "
                f"(first: {twice[TIME].sort()[0]}). Keep one row per hour."
            )
        position = int((step_h < 0).arg_max() or 0)
        return (
            f"{where}: time runs backwards at {backward:,} places "
            f"(first: {time[position - 1]} is followed by {time[position]}). Sort the rows by time."
        )
    return None


def conform(frame: pl.DataFrame, schema: Mapping[str, Any], *, site: str) -> pl.DataFrame:
    """The columns of ``schema`` in its dtypes and order, refused where the cast would change what they say.

    Raises
    ------
    DataError
        If a column is missing or of another kind, ``time`` carries a time zone, or ``qc_mask`` is not exactly 0 or 1.
    """
    missing = [name for name in schema if name not in frame.columns]
    if missing:
        raise DataError(f"Site {site}: column {missing[0]} is missing ({len(missing)} in all). Add it.")
    time = frame.schema[TIME]
    if not isinstance(time, pl.Datetime | pl.Date):
        raise DataError(f"Site {site}: {TIME} is of type {time}, not a date and time. Convert it.")
    if isinstance(time, pl.Datetime) and time.time_zone is not None:
        raise DataError(
            f"Site {site}: {TIME} is in the zone {time.time_zone}; the store wants local standard time without a zone. "
            "Convert it and drop the zone (polars: dt.replace_time_zone(None))."
        )
    flags = flag_problem(frame, where=f"Site {site}")
    if flags is not None:
        raise DataError(flags)
    try:
        return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    except pl.exceptions.PolarsError as error:
        raise DataError(f"Site {site}: not all columns are numbers ({str(error).splitlines()[0]}).") from None


def flag_problem(frame: pl.DataFrame, *, where: str) -> str | None:
    """Say which values of ``qc_mask`` are not exactly 0 or 1 (or false and true), or None."""
    kind = frame.schema[QC]
    if not (kind.is_numeric() or kind == pl.Boolean):
        return f"{where}: {QC} is of type {kind}, neither 0 nor 1. Convert it."
    flag = pl.col(QC)
    clean = flag.is_not_null() if kind == pl.Boolean else ((flag == 0) | (flag == 1)).fill_null(False)
    bad = frame.select(TIME, QC).filter(~clean)
    if not bad.height:
        return None
    return f"{where}: {bad.height:,} values of {QC} are neither 0 nor 1 (first: {bad[QC][0]} at {bad[TIME][0]})."


def check_frame(
    frame: pl.DataFrame, *, site: str, targets: Sequence[str], covariates: Sequence[str], step: str = "hour"
) -> None:
    """Raise one error naming every problem of a site's table.

    Raises
    ------
    UnitError
        When a unit is wrong; the message gives the conversion.
    DataError
        When the time axis is unordered, hours repeat, covariates are missing or values are impossible.
    """
    where = f"Site {site}"
    if frame.height == 0:
        raise DataError(f"{where}: the table has no rows. Leave the site out or give its hours.")
    unit = unit_problem(frame, where=where)
    if unit is not None:
        raise UnitError(unit)
    problems: list[str] = []
    time = time_problem(frame, where=where, step=step)
    if time is not None:
        problems.append(time)
    problems += missing_problems(frame, covariates, where=where)
    problems += range_problems(frame, [*covariates, *targets], where=where)
    if problems:
        raise DataError("\n".join(problems))


def check_site_facts(site: str, lat: float | None, lon: float | None, igbp: str | None) -> None:
    """Raise if a site has no valid coordinates or an unknown IGBP class."""
    if lat is None or lon is None or not (np.isfinite(lat) and np.isfinite(lon)):
        raise DataError(
            f"Site {site} has no coordinates. Add its lat and lon to the sites table (--sites-table) and import again."
        )
    if not (-90.0 <= lat <= 90.0 and -180.0 <= lon <= 180.0):
        raise DataError(f"Site {site}: latitude {lat}, longitude {lon} is not on the globe. Correct the sites table.")
    if igbp is None or igbp not in IGBP:
        raise DataError(
            f"Site {site} has the unknown IGBP class {igbp!r}.{did_you_mean(str(igbp), IGBP)} "
            f"Known classes: {', '.join(IGBP)}."
        )


def need_target(target: str, held: Sequence[str]) -> None:
    """Raise unless ``target`` is one of the targets a store holds."""
    from fluxtrapolation.errors import MissingColumnError

    if target in held:
        return
    if not held:
        raise MissingColumnError(f"This store has no {target}: it holds no target at all, only covariates.")
    if target not in TARGETS:
        raise MissingColumnError(
            f"Unknown target {target!r}.{did_you_mean(target, TARGETS)} This store holds: {', '.join(held)}."
        )
    raise MissingColumnError(f"This store has no {target}. It holds: {examples(held, 9)}. Choose one of these.")
