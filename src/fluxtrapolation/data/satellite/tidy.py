"""Tidy tables of composites, CSV or Parquet: site, date, variable, value (and days, unit where they are known)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import polars as pl

from fluxtrapolation.data.reading import need_file, reading
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
_BEGIN: Final = 4096
"""Bytes that tell an empty file and a web page."""


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
    frame = _typed(_columns(_scan(path), path), path)
    if not frame.height:
        raise DataError(f"{path} has a header but no rows. Fetch it again.")
    names = [str(name) for name in frame[VARIABLE].unique()]
    known = {name: covariate for name in names if (covariate := covariate_of(name)) is not None}
    unused = tuple(sorted(name for name in names if name not in known))
    sites = [str(site) for site in frame[SITE].unique()]
    stated = period is not None or DAYS in frame.columns
    if unused:
        frame = frame.filter(pl.col(VARIABLE).is_in(list(known)))
    parts = {str(key[0]): part for key, part in frame.partition_by(SITE, as_dict=True, include_key=False).items()}
    del frame

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

    held = tuple(sorted(set(known.values())))
    return SatelliteFile(
        path=path, read=read, sites=tuple(sorted(sites)), covariates=held, unused=unused, period_stated=stated
    )


def _scan(path: Path) -> pl.LazyFrame:
    """The table as text, not yet read; of a Parquet file, with the types it has."""
    with reading(path):
        need_file(path)
        with path.open("rb") as handle:
            begin = handle.read(_BEGIN).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not begin:
        raise DataError(f"{path} is empty. Fetch it again.")
    if path.suffix.casefold() in (".parquet", ".pq"):
        return pl.scan_parquet(path, glob=False)
    if begin[:1] == b"<":
        raise DataError(f"{path} is a web page (HTML), not a table. Fetch it again.")
    return pl.scan_csv(path, infer_schema=False, null_values=["", "NaN", "nan", "NA"], glob=False)


@contextmanager
def _regular(path: Path) -> Iterator[None]:
    """Turn what polars finds wrong with a table into a DataError."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} is not a regular table ({str(error).splitlines()[0]}). Fetch it again.") from None


def _columns(table: pl.LazyFrame, path: Path) -> pl.LazyFrame:
    """The columns used, under their names here."""
    with _regular(path):
        columns = table.collect_schema().names()
    found: dict[str, str] = {}
    for written in columns:
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
            f"{', '.join(columns[:6])}).{did_you_mean(missing[0], columns)} "
            "A tidy table has site, date, variable, value."
        )
    return table.select(pl.col(found[name]).alias(name) for name in (*_NEEDED, DAYS, UNIT) if name in found)


def _typed(table: pl.LazyFrame, path: Path) -> pl.DataFrame:
    """Dates and numbers, names as categories; a DataError tells the first value that is none.

    The text passes through in pieces: the table as a whole is held only in these types, some 30 bytes a row.
    """
    schema = table.collect_schema()
    typed: dict[str, pl.Expr] = {VALUE: pl.col(VALUE).cast(pl.Float64, strict=False).fill_nan(None)}
    if DAYS in schema:
        typed[DAYS] = pl.col(DAYS).cast(pl.Int32, strict=False)
    if schema[DATE] == pl.String:
        typed[DATE] = pl.col(DATE).str.strip_chars().str.to_date("%Y-%m-%d", strict=False)
    elif schema[DATE].is_temporal():
        typed[DATE] = pl.col(DATE).cast(pl.Date)
    else:
        raise DataError(f"{path}: date is of type {schema[DATE]}. Write dates as 2018-06-01.")
    for name in (SITE, VARIABLE):
        typed[name] = pl.col(name).cast(pl.String).str.strip_chars()
    bad = {name: expression.is_null() for name, expression in typed.items()}
    # A value may be missing, not misspelt.
    given = pl.col(VALUE).is_not_null()
    bad[VALUE] &= given & pl.col(VALUE).is_not_nan() if schema[VALUE].is_float() else given
    for name in (SITE, VARIABLE, UNIT):
        if name in schema:
            typed[name] = typed.get(name, pl.col(name).cast(pl.String)).cast(pl.Categorical)
    marks = {f"bad {name}": expression for name, expression in bad.items()}
    with _regular(path):
        frame = table.select(**typed, **marks).collect(engine="streaming")
        for name in (SITE, DATE, VARIABLE, VALUE, DAYS):
            if name in bad and (mark := frame[f"bad {name}"]).any():
                row = int(mark.arg_max() or 0)
                said = table.select(name).slice(row, 1).collect().item()
                fix = "Write dates as 2018-06-01." if name == DATE else "Correct the table."
                raise DataError(
                    f"{path}: {int(mark.sum()):,} of {frame.height:,} rows have no usable {name} "
                    f"(first: {said!r} in row {row + 2}). {fix}"
                )
    return frame.drop(marks)
