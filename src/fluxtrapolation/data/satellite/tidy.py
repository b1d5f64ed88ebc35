"""Tidy tables of composites, CSV or Parquet: site, date, variable, value (and days, unit where they are known)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import polars as pl

from fluxtrapolation.data.reading import reading
from fluxtrapolation.data.satellite.composites import (
    DATE,
    DAYS,
    UNIT,
    VALUE,
    VARIABLE,
    SatelliteFile,
    composites,
    covariate_of,
    in_schema_units,
)
from fluxtrapolation.errors import DataError, MissingColumnError, did_you_mean
from fluxtrapolation.schema import SITE, TIME, canonical_column

_NEEDED: Final = (SITE, DATE, VARIABLE, VALUE)


def open_tidy(path: Path, *, period: int | None) -> SatelliteFile:
    """Open a table with the columns ``site`` (or site_id), ``date``, ``variable``, ``value``.

    Parameters
    ----------
    path : Path
        CSV, or Parquet by its ending (.parquet, .pq). Optional columns: ``days``, the length of the composite period
        that begins on ``date``; ``unit``, such as K.
    period : int or None
        Length of the periods where there is no column ``days``; by default the step of the dates.

    Raises
    ------
    DataError
        If it is no such table; the message names the first value that is wrong.
    """
    frame = _columns(_table(path), path)
    if not frame.height:
        raise DataError(f"{path} has a header but no rows. Fetch it again.")
    frame = _typed(frame, path)
    names = frame[VARIABLE].unique().to_list()
    known = {name: covariate for name in names if (covariate := covariate_of(name)) is not None}
    unused = tuple(sorted(name for name in names if name not in known))
    sites = frame[SITE].unique().to_list()
    frame = frame.filter(pl.col(VARIABLE).is_in(list(known))).with_columns(pl.col(VARIABLE).cast(pl.Categorical))
    parts = {str(key[0]): part for key, part in frame.partition_by(SITE, as_dict=True, include_key=False).items()}

    def read(site: str) -> Mapping[str, pl.DataFrame]:
        if site not in parts:
            return {}
        found: dict[str, pl.DataFrame] = {}
        for (name, *_), part in parts[site].partition_by(VARIABLE, as_dict=True, include_key=False).items():
            where = f"{path.name}, site {site}, {name}"
            covariate = known[str(name)]
            if covariate in found:
                raise DataError(f"{where}: {covariate} stands in the file under two names. Keep one.")
            units = part[UNIT].drop_nulls().unique().to_list() if UNIT in part.columns else []
            if len(units) > 1:
                raise DataError(f"{where}: its unit changes ({', '.join(sorted(units))}). Use one.")
            clean = composites(part.drop(UNIT, strict=False), period, where=where)
            found[covariate] = in_schema_units(clean, covariate, units[0] if units else None, where=where)
        return found

    held = tuple(dict.fromkeys(known.values()))
    return SatelliteFile(path=path, read=read, sites=tuple(sorted(sites)), covariates=held, unused=unused)


def _table(path: Path) -> pl.DataFrame:
    with reading(path):
        content = path.read_bytes()
    if not content.strip():
        raise DataError(f"{path} is empty. Fetch it again.")
    try:
        if path.suffix.casefold() in (".parquet", ".pq"):
            return pl.read_parquet(content)
        if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
            raise DataError(f"{path} is a web page (HTML), not a table. Fetch it again.")
        return pl.read_csv(content, infer_schema=False, null_values=["", "NaN", "nan", "NA"])
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} is not a regular table ({str(error).splitlines()[0]}). Fetch it again.") from None


def _columns(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    """The columns used, under their names here."""
    found: dict[str, str] = {}
    for written in frame.columns:
        folded = written.strip().casefold()
        name = canonical_column(written)
        name = DATE if name == TIME else SITE if name == SITE else folded
        if name in found:
            raise DataError(f"{path}: the columns {found[name]} and {written} both mean {name}. Keep one.")
        found[name] = written
    missing = [name for name in _NEEDED if name not in found]
    if missing:
        raise MissingColumnError(
            f"{path} has no column {missing[0]} ({len(missing)} are missing in all; it has "
            f"{', '.join(frame.columns[:6])}).{did_you_mean(missing[0], frame.columns)} "
            "A tidy table has site, date, variable, value."
        )
    return frame.select(pl.col(found[name]).alias(name) for name in (*_NEEDED, DAYS, UNIT) if name in found)


def _typed(frame: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Dates and numbers; a DataError tells the first value that is none."""
    text = frame
    wanted = {VALUE: pl.Float64(), **({DAYS: pl.Int32()} if DAYS in frame.columns else {})}
    columns = [pl.col(name).cast(kind, strict=False) for name, kind in wanted.items()]
    if frame.schema[DATE] == pl.String:
        columns.append(pl.col(DATE).str.strip_chars().str.to_date("%Y-%m-%d", strict=False))
    elif frame.schema[DATE].is_temporal():
        columns.append(pl.col(DATE).cast(pl.Date))
    else:
        raise DataError(f"{path}: date is of type {frame.schema[DATE]}. Write dates as 2018-06-01.")
    frame = frame.with_columns(*columns, pl.col(SITE, VARIABLE).cast(pl.String).str.strip_chars())
    frame = frame.with_columns(pl.col(VALUE).fill_nan(None))
    for name, optional in ((SITE, False), (DATE, False), (VARIABLE, False), (VALUE, True), (DAYS, False)):
        if name not in frame.columns:
            continue
        given = text[name].is_not_null() if optional else pl.repeat(True, frame.height, eager=True)
        if optional and text.schema[name].is_float():
            given &= text[name].is_not_nan()
        bad = given & frame[name].is_null()
        if bad.any():
            row = int(bad.arg_max() or 0)
            fix = "Write dates as 2018-06-01." if name == DATE else "Correct the table."
            raise DataError(
                f"{path}: {int(bad.sum()):,} of {frame.height:,} rows have no usable {name} "
                f"(first: {text[name][row]!r} in row {row + 2}). {fix}"
            )
    return frame
