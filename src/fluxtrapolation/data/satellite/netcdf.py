"""FluxnetEO-style NetCDF: one file a site, one variable an index, days since some day."""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.data.checks import check_site_id
from fluxtrapolation.data.reading import need_file, reading
from fluxtrapolation.data.satellite.composites import (
    DATE,
    VALUE,
    SatelliteFile,
    composites,
    covariate_of,
    in_schema_units,
    no_site,
)
from fluxtrapolation.errors import DataError

_T = TypeVar("_T")
_Variable = tuple[NDArray[Any], Mapping[str, Any]]
_SINCE: Final = re.compile(
    r"^\s*(day|hour|minute|second)s?\s+since\s+(\d{1,4}-\d{1,2}-\d{1,2})(?:[ T](\d{2}):?(\d{2}))?"
)
_SECONDS: Final = {"day": 86400.0, "hour": 3600.0, "minute": 60.0, "second": 1.0}
_CALENDAR: Final = (np.datetime64("0001-01-01", "D"), np.datetime64("9999-12-31", "D"))
_MOST_SECONDS: Final = 10_000 * 366 * 86400.0
_MOST_DAYS: Final = 100_000
"""More than 270 years of days; no satellite is so old."""
_MOST_CHUNK: Final = 1 << 24
"""Values stored in one piece: HDF5 takes the memory of a whole piece to read one value."""
_ORIGINAL: Final = re.compile(r"\s*0\s*:\s*original value")
"""How FluxnetEO 1.0 begins the description of its gap-fill flags; 1 and more are ways of filling."""
_CALENDARS: Final = ("standard", "gregorian", "proleptic_gregorian")


def open_netcdf(path: Path, *, period: int | None, only_observed: bool = False) -> SatelliteFile:
    """Open a NetCDF-4 file of one site.

    Parameters
    ----------
    path : Path
    period : int or None
        Length of the composite periods in days; by default the step of the dates.
    only_observed : bool
        Take only values whose flag of FluxnetEO (``EVI_gapfilltype``, ``LST_gapfilltype_TERRA_Day``) is 0, "original
        value"; the file must describe its flags so.

    Raises
    ------
    DataError
        If it is no NetCDF-4 file, has no time axis or no site, lacks flags that are needed, or the library for it is
        not installed.
    """
    names, attributes = _with_file(path, lambda opened: (list(opened.variables), dict(opened.attrs)))
    site = _text_of(attributes, "site_ID", "site_id", "site")
    if not site:
        raise no_site(path)
    check_site_id(site)
    time = next((name for name in names if name.casefold() == "time"), None)
    if time is None:
        raise DataError(f"{path} has no variable 'time'. Is it a time series of one site?")
    chosen = _chosen(names)
    flags = _flags(path, chosen, names) if only_observed else {}

    def read(asked: str) -> Mapping[str, pl.DataFrame]:
        return _read(path, site, time, chosen, flags, period) if asked == site else {}

    return SatelliteFile(
        path=path,
        read=read,
        sites=(site,),
        covariates=tuple(chosen),
        period_stated=period is not None,
        licence=_text_of(attributes, "license", "licence"),
        citation=_text_of(attributes, "reference", "references"),
    )


def _read(
    path: Path, site: str, time: str, chosen: Mapping[str, str], flags: Mapping[str, str], period: int | None
) -> dict[str, pl.DataFrame]:
    """The composites of a file, in the units of the schema."""

    def content(opened: Any) -> dict[str, _Variable]:
        held = {time: _checked(opened.variables[time], None, f"{path.name}, {time}")}
        length = held[time][0].size
        for name in (*chosen.values(), *flags.values()):
            held[name] = _checked(opened.variables[name], length, f"{path.name}, site {site}, {name}")
        return held

    held = _with_file(path, content)
    dates = _dates(held[time], path)
    found: dict[str, pl.DataFrame] = {}
    for covariate, name in chosen.items():
        values, facts = held[name]
        where = f"{path.name}, site {site}, {name}"
        series = _one_series(values, facts, where)
        if covariate in flags:
            marks, said = held[flags[covariate]]
            if not _ORIGINAL.match(_text(said.get("description")) or ""):
                raise DataError(
                    f"{where}: the description of its flags, {flags[covariate]}, does not say that 0 is an original "
                    "value. Join it without --only-observed, or look what its flags mean."
                )
            series[marks.reshape(-1) != 0] = np.nan
        frame = composites(pl.DataFrame({DATE: dates, VALUE: series}), period, where=where)
        unit = _text_of(facts, "unit", "units")
        found[covariate] = in_schema_units(frame, covariate, unit, where=where)
    return found


def _with_file(path: Path, use: Callable[[Any], _T]) -> _T:
    """Open a file, use it, close it; whatever goes wrong is a DataError."""
    try:
        import h5netcdf
    except ImportError:
        raise DataError(
            "The library that reads NetCDF is not installed. Run: pip install 'fluxtrapolation[satellite]'."
        ) from None
    with reading(path):
        need_file(path)
        with path.open("rb") as handle:
            magic = handle.read(8)
    if magic[:3] == b"CDF":
        raise DataError(f"{path} is NetCDF-3 (classic). Convert it: nccopy -k nc4 IN.nc OUT.nc.")
    if magic != b"\x89HDF\r\n\x1a\n":
        raise DataError(f"{path} is no NetCDF-4 file (it begins with {magic!r}). Fetch it again.")
    try:
        with h5netcdf.File(path, "r") as opened:
            return use(opened)
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, IndexError, MemoryError) as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path} cannot be read as NetCDF-4 ({said}). Fetch it again.") from None


def _checked(variable: Any, length: int | None, where: str) -> _Variable:
    """Read a variable, but only after its type and its size: a small file can declare more values than memory holds."""
    kind = np.dtype(variable.dtype).kind
    if kind not in "iuf":
        raise DataError(f"{where}: its values are no numbers (type {variable.dtype}). Fetch the file again.")
    shape = tuple(int(size) for size in variable.shape)
    count = math.prod(shape)
    if length is None and count > _MOST_DAYS:
        raise DataError(f"{where}: {count:,} times are declared, more than {_MOST_DAYS:,} days. Give one value a day.")
    if length is not None and count != length:
        raise DataError(
            f"{where}: it has the shape {shape} where {length} days are expected. Give one value a day and site."
        )
    if math.prod(variable.chunks or ()) > _MOST_CHUNK:
        raise DataError(f"{where}: it is stored in pieces of {variable.chunks} values, which is too large to read.")
    return np.asarray(variable[...]), dict(variable.attrs)


def _chosen(variables: Iterable[str]) -> dict[str, str]:
    """Covariate to the variable that gives it; the schema's own name wins over another."""
    chosen: dict[str, str] = {}
    for name in variables:
        covariate = covariate_of(name)
        if covariate is not None and (covariate not in chosen or name == covariate):
            chosen[covariate] = name
    return chosen


def _flags(path: Path, chosen: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """Covariate to the variable with its gap-fill flags, as FluxnetEO names them."""
    found: dict[str, str] = {}
    for covariate, name in chosen.items():
        flag = name.replace("LST_", "LST_gapfilltype_", 1) if name.startswith("LST_") else f"{name}_gapfilltype"
        if flag not in names:
            raise DataError(
                f"{path} has no variable {flag}, so it does not tell which values of {name} are observed. Join it "
                "without --only-observed."
            )
        found[covariate] = flag
    return found


def _one_series(values: NDArray[Any], facts: Mapping[str, Any], where: str) -> NDArray[np.float64]:
    """One value a day: missing values NaN, scale and offset applied."""
    series = values.reshape(-1).astype(np.float64)
    fills = np.concatenate([_numbers(facts, key, where) for key in ("_FillValue", "missing_value")])
    series[np.isin(series, fills)] = np.nan
    scale, offset = _numbers(facts, "scale_factor", where), _numbers(facts, "add_offset", where)
    if scale.size and scale[0] != 1.0:
        series = series * scale[0]
    if offset.size and offset[0] != 0.0:
        series = series + offset[0]
    return series


def _numbers(facts: Mapping[str, Any], key: str, where: str) -> NDArray[np.float64]:
    """The numbers of an attribute; none where there is no such attribute."""
    if key not in facts:
        return np.empty(0)
    try:
        return np.asarray(facts[key]).reshape(-1).astype(np.float64)
    except (TypeError, ValueError):
        raise DataError(
            f"{where}: its attribute {key} is {_text(facts[key])!r}, which is no number. Fetch the file again."
        ) from None


def _dates(variable: _Variable, path: Path) -> NDArray[np.datetime64]:
    """Local calendar days of the time axis."""
    values, facts = variable
    values = values.reshape(-1).astype(np.float64)
    units, calendar = _text(facts.get("units")) or "", (_text(facts.get("calendar")) or "standard").casefold()
    found = _SINCE.match(units)
    if found is None or calendar not in _CALENDARS:
        raise DataError(
            f"{path}: time is counted in {units or 'no units'!r}, calendar {calendar}, which is not understood. "
            "It must be 'days since 1970-01-01' or alike, in the standard calendar."
        )
    year, month, day = (int(part) for part in found[2].split("-"))
    try:
        origin = np.datetime64(dt.datetime(year, month, day, int(found[3] or 0), int(found[4] or 0)), "s")
    except ValueError as error:
        raise DataError(f"{path}: time is counted in {units!r}, which is no date ({error}). Fetch it again.") from None
    seconds = np.rint(values * _SECONDS[found[1]])
    # Missing are also fill values such as 9.97e36: whatever leads out of the calendar.
    missing = ~(np.abs(seconds) < _MOST_SECONDS)
    dates = (origin + np.where(missing, 0.0, seconds).astype("timedelta64[s]")).astype("datetime64[D]")
    missing |= (dates < _CALENDAR[0]) | (dates > _CALENDAR[1])
    if missing.any():
        raise DataError(f"{path}: {int(missing.sum()):,} of {missing.size:,} times are missing or out of the calendar.")
    return np.asarray(dates)


def _text_of(facts: Mapping[str, Any], *keys: str) -> str | None:
    """The first attribute among these that says something."""
    return next((text for key in keys if (text := _text(facts.get(key)))), None)


def _text(value: Any) -> str | None:
    """An attribute as text; FluxnetEO has bytes among them."""
    if value is None:
        return None
    plain = np.asarray(value).reshape(-1)[0] if np.asarray(value).size else None
    if plain is None:
        return None
    return plain.decode(errors="replace") if isinstance(plain, bytes) else str(plain)
