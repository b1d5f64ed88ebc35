"""Composites: values of whole local calendar days, such as MODIS gives them, in one shape for every file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from fluxtrapolation.errors import DataError
from fluxtrapolation.schema import COVARIATES, SOLAR_COVARIATES, VARIABLES, canonical_column

DATE: Final = "date"
VARIABLE: Final = "variable"
VALUE: Final = "value"
DAYS: Final = "days"
UNIT: Final = "unit"

SATELLITE: Final = tuple(
    name for name in COVARIATES if name not in SOLAR_COVARIATES and name not in ("TA", "VPD", "SW_IN")
)
"""Covariates that satellites give: land surface temperature and vegetation indices."""

SCHEMA: Final[dict[str, Any]] = {DATE: pl.Date, VALUE: pl.Float64, DAYS: pl.Int32}
KELVIN: Final = 273.15
_KELVIN_FROM: Final = 150.0
_PERIODS: Final = (1, 4, 8, 16, 30)


@dataclass(frozen=True, slots=True)
class SatelliteFile:
    """A file of composites, not yet read in full.

    Attributes
    ----------
    path : Path
    read : callable
        From a site id to its composites: covariate to table (:data:`SCHEMA`), finite values only. A variable without a
        single value gives a table without rows.
    sites : tuple of str
        Whose values it has.
    covariates : tuple of str
        What it has at some site, values or not.
    unused : tuple of str
        Variables that are no covariates.
    period_stated : bool
        Whether the length of the periods was stated (by the file or the user), not guessed from the dates.
    licence, citation : str or None
        What the file says of itself.
    """

    path: Path
    read: Callable[[str], Mapping[str, pl.DataFrame]]
    sites: tuple[str, ...]
    covariates: tuple[str, ...]
    unused: tuple[str, ...] = ()
    period_stated: bool = False
    licence: str | None = None
    citation: str | None = None


def covariate_of(name: str) -> str | None:
    """The satellite covariate a variable's name stands for, or None.

    ``LST_TERRA_Day`` and ``LST_TERRA_Night`` are LST_Day and LST_Night. A plain ``NDWI`` is another index than
    NDWI_SWIR2 and stands for nothing.
    """
    if name.strip().casefold() == "ndwi":
        return None
    known = canonical_column(name)
    return known if known in SATELLITE else None


def in_schema_units(frame: pl.DataFrame, covariate: str, unit: str | None, *, where: str) -> pl.DataFrame:
    """Composites in the unit of the schema: kelvin to degC, by the unit stated or else by the median.

    Parameters
    ----------
    frame : DataFrame
        :data:`SCHEMA`.
    covariate : str
    unit : str or None
        As the file says.
    where : str
        File and site, for messages.

    Raises
    ------
    DataError
        If values are impossible in that unit.
    """
    if not frame.height:
        return frame
    values = frame[VALUE]
    middle = values.median()
    said = (unit or "").strip().strip("[]").casefold()
    kelvin = said in ("k", "kelvin") or (said in ("", "-", "1") and isinstance(middle, float) and middle > _KELVIN_FROM)
    if covariate.startswith("LST") and kelvin:
        frame = frame.with_columns(pl.col(VALUE) - KELVIN)
    variable = VARIABLES[covariate]
    bad = frame.filter((pl.col(VALUE) < variable.low) | (pl.col(VALUE) > variable.high))
    if bad.height:
        integers = isinstance(middle, float) and abs(middle) > 100.0 and variable.unit == "1"
        fix = (
            "These look like integers times 10000, as MODIS stores them: divide by 10000."
            if integers
            else "Correct those values, or leave them empty."
        )
        raise DataError(
            f"{where}: {bad.height:,} of {frame.height:,} values of {covariate} lie outside {variable.low:g} to "
            f"{variable.high:g} {variable.unit} (first: {bad[VALUE][0]:g} on {bad[DATE][0]}). {fix}"
        )
    return frame


def period_days(dates: pl.Series, *, where: str) -> int:
    """Length of the composite period in days, guessed from the most frequent step between dates.

    Raises
    ------
    DataError
        If there is one date only, or the steps are not those of daily, 4-, 8-, 16-day or monthly composites.
    """
    steps = dates.unique().sort().diff().dt.total_days().drop_nulls()
    if len(dates) and not len(steps):
        raise DataError(
            f"{where}: one date ({dates[0]}) does not tell the length of the composite period. "
            f"Say it with --period DAYS, or in a column '{DAYS}'."
        )
    if not len(steps):
        return 1  # nothing to speak for
    mode = int(steps.mode().sort()[0])
    if mode in _PERIODS:
        return mode
    if mode in (28, 29, 31):
        return 30
    raise DataError(
        f"{where}: the dates are mostly {mode} days apart, so the length of the composite period is not plain. "
        f"Say it with --period DAYS, or in a column '{DAYS}'."
    )


def composites(frame: pl.DataFrame, period: int | None, *, where: str) -> pl.DataFrame:
    """Sorted composites with the length of their period; missing values dropped.

    Raises
    ------
    DataError
        If a date appears twice or the period is not plain.
    """
    twice = frame.filter(pl.col(DATE).is_duplicated())
    if twice.height:
        raise DataError(
            f"{where}: {twice.height:,} values share a date with another (first: {twice[DATE].sort()[0]}). "
            "Keep one value a date."
        )
    if DAYS not in frame.columns:
        # The step is that of the file's dates, missing values included.
        days = period if period is not None else period_days(frame[DATE], where=where)
        frame = frame.with_columns(pl.lit(days, pl.Int32).alias(DAYS))
    wrong = frame.filter(pl.col(DAYS).is_null() | (pl.col(DAYS) < 1))
    if wrong.height:
        raise DataError(f"{where}: {wrong.height:,} periods are not at least one day long (on {wrong[DATE][0]}).")
    kept = frame.filter(pl.col(VALUE).is_not_null() & pl.col(VALUE).is_not_nan())
    return kept.sort(DATE).select(pl.col(name).cast(kind) for name, kind in SCHEMA.items())


def no_site(path: Path) -> DataError:
    """The error of a file that does not say whose values it has."""
    return DataError(f"{path} does not say which site it belongs to. Give it the global attribute site_ID.")
