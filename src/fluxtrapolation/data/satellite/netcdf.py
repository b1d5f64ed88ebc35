"""FluxnetEO-style NetCDF: one file a site, one variable an index, days since some day."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.data.checks import check_site_id
from fluxtrapolation.data.reading import reading
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
_CALENDARS: Final = ("standard", "gregorian", "proleptic_gregorian")


def open_netcdf(path: Path, *, period: int | None) -> SatelliteFile:
    """Open a NetCDF-4 file of one site.

    Parameters
    ----------
    path : Path
    period : int or None
        Length of the composite periods in days; by default the step of the dates.

    Raises
    ------
    DataError
        If it is no NetCDF-4 file, has no time axis or no site, or the library for it is not installed.
    """
    names, attributes = _with_file(path, lambda opened: (list(opened.variables), dict(opened.attrs)))
    site = _text(attributes.get("site_ID") or attributes.get("site_id") or attributes.get("site"))
    if not site:
        raise no_site(path)
    check_site_id(site)
    time = next((name for name in names if name.casefold() == "time"), None)
    if time is None:
        raise DataError(f"{path} has no variable 'time'. Is it a time series of one site?")
    chosen = _chosen(names)

    def read(asked: str) -> Mapping[str, pl.DataFrame]:
        return _read(path, site, time, chosen, period) if asked == site else {}

    return SatelliteFile(
        path=path,
        read=read,
        sites=(site,),
        covariates=tuple(chosen),
        licence=_text(attributes.get("license") or attributes.get("licence")),
        citation=_text(attributes.get("reference") or attributes.get("references")),
    )


def _read(path: Path, site: str, time: str, chosen: Mapping[str, str], period: int | None) -> dict[str, pl.DataFrame]:
    """The composites of a file, in the units of the schema."""

    def content(opened: Any) -> dict[str, _Variable]:
        names = (time, *chosen.values())
        return {name: (np.asarray(opened.variables[name][...]), dict(opened.variables[name].attrs)) for name in names}

    held = _with_file(path, content)
    dates = _dates(held[time], path)
    found: dict[str, pl.DataFrame] = {}
    for covariate, name in chosen.items():
        values, facts = held[name]
        where = f"{path.name}, site {site}, {name}"
        series = _one_series(values, facts, len(dates), where)
        frame = composites(pl.DataFrame({DATE: dates, VALUE: series}), period, where=where)
        unit = _text(facts.get("unit") or facts.get("units"))
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
    with reading(path), path.open("rb") as handle:
        magic = handle.read(8)
    if magic[:3] == b"CDF":
        raise DataError(f"{path} is NetCDF-3 (classic). Convert it: nccopy -k nc4 IN.nc OUT.nc.")
    if magic != b"\x89HDF\r\n\x1a\n":
        raise DataError(f"{path} is no NetCDF-4 file (it begins with {magic!r}). Fetch it again.")
    try:
        with h5netcdf.File(path, "r") as opened:
            return use(opened)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise DataError(f"{path} cannot be read as NetCDF-4 ({str(error).splitlines()[0]}). Fetch it again.") from None


def _chosen(variables: Iterable[str]) -> dict[str, str]:
    """Covariate to the variable that gives it; the schema's own name wins over another."""
    chosen: dict[str, str] = {}
    for name in variables:
        covariate = covariate_of(name)
        if covariate is not None and (covariate not in chosen or name == covariate):
            chosen[covariate] = name
    return chosen


def _one_series(values: NDArray[Any], facts: Mapping[str, Any], length: int, where: str) -> NDArray[np.float64]:
    if values.size != length:
        raise DataError(
            f"{where}: it has the shape {values.shape} where {length} days are expected. Give one value a day and site."
        )
    series = values.reshape(-1).astype(np.float64)
    for key in ("_FillValue", "missing_value"):
        if key in facts:
            series[values.reshape(-1) == np.asarray(facts[key]).reshape(-1)[0]] = np.nan
    scale, offset = (
        float(np.asarray(facts.get(key, d)).reshape(-1)[0]) for key, d in (("scale_factor", 1), ("add_offset", 0))
    )
    if (scale, offset) != (1.0, 0.0):
        series = series * scale + offset
    return series


def _dates(variable: _Variable, path: Path) -> NDArray[np.datetime64]:
    """Local calendar days of the time axis."""
    values, facts = variable
    units, calendar = _text(facts.get("units")) or "", (_text(facts.get("calendar")) or "standard").casefold()
    found = _SINCE.match(units)
    if found is None or calendar not in _CALENDARS:
        raise DataError(
            f"{path}: time is counted in {units or 'no units'!r}, calendar {calendar}, which is not understood. "
            "It must be 'days since 1970-01-01' or alike, in the standard calendar."
        )
    if not np.isfinite(values.astype(np.float64)).all():
        raise DataError(f"{path}: {int((~np.isfinite(values)).sum()):,} of {values.size:,} times are missing.")
    year, month, day = (int(part) for part in found[2].split("-"))
    origin = np.datetime64(f"{year:04d}-{month:02d}-{day:02d}", "s")
    start = origin + np.timedelta64(int(found[3] or 0) * 60 + int(found[4] or 0), "m")
    seconds = np.rint(values.astype(np.float64) * _SECONDS[found[1]]).astype("timedelta64[s]")
    return np.asarray((start + seconds).astype("datetime64[D]"))


def _text(value: Any) -> str | None:
    """An attribute as text; FluxnetEO has bytes among them."""
    if value is None:
        return None
    plain = np.asarray(value).reshape(-1)[0] if np.asarray(value).size else None
    if plain is None:
        return None
    return plain.decode(errors="replace") if isinstance(plain, bytes) else str(plain)
