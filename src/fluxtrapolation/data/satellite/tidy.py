"""Tidy tables of composites, CSV or Parquet: site, date, variable, value (and days, unit where they are known)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

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
from fluxtrapolation.data.satellite.spool import Spool
from fluxtrapolation.errors import DataError, MissingColumnError, did_you_mean
from fluxtrapolation.schema import SITE, TIME, canonical_column

_NEEDED: Final = (SITE, DATE, VARIABLE, VALUE)
_ORDER: Final = (SITE, DATE, VARIABLE, VALUE, DAYS)
"""Columns in which something may be misspelt, in the order in which they are told."""
_BEGIN: Final = 4096
"""Bytes that tell an empty file and a web page."""
_PIECE: Final = 4 << 20
"""Bytes of text that are read at a time."""
_LONGEST_ROW: Final = 4 * _PIECE
"""Bytes within which a row must end."""
_PIECE_ROWS: Final = 100_000


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
    spool = Spool()
    known: dict[str, str] = {}
    sites: set[str] = set()
    unused: set[str] = set()
    tally = _Tally(path)
    columns: Sequence[str] = ()
    with _regular(path):
        for piece in map(partial(_typed, path=path), _pieces(path)):
            tally.add(piece)
            columns = piece.columns
            good = piece.filter(pl.col(SITE).is_not_null(), pl.col(VARIABLE).is_not_null())
            for name in good[VARIABLE].unique():
                covariate = covariate_of(name)
                if covariate is None:
                    unused.add(name)
                else:
                    known[name] = covariate
            sites.update(good[SITE].unique())
            spool.add(good.filter(pl.col(VARIABLE).is_in(list(known)), pl.col(DATE).is_not_null()))
    tally.judge()
    stated = period is not None or DAYS in columns

    def read(site: str) -> Mapping[str, pl.DataFrame]:
        found: dict[str, pl.DataFrame] = {}
        rows = spool.site(site).select(DATE, VALUE, VARIABLE, UNIT, *([DAYS] if DAYS in columns else []))
        for (name, *_), part in rows.partition_by(VARIABLE, as_dict=True, include_key=False).items():
            where = f"{path.name}, site {site}, {name}"
            covariate = known[str(name)]
            if covariate in found:
                raise DataError(f"{where}: {covariate} stands in the file under two names. Keep one.")
            units = part[UNIT].drop_nulls().unique().to_list()
            if len(units) > 1:
                raise DataError(f"{where}: its unit changes ({', '.join(sorted(units))}). Use one.")
            clean = composites(part.drop(UNIT), period, where=where)
            found[covariate] = in_schema_units(clean, covariate, units[0] if units else None, where=where)
        return found

    held = tuple(sorted(set(known.values())))
    return SatelliteFile(
        path=path,
        read=read,
        sites=tuple(sorted(sites)),
        covariates=held,
        unused=tuple(sorted(unused)),
        period_stated=stated,
    )


def _pieces(path: Path) -> Iterator[pl.DataFrame]:
    """The columns used, some :data:`_PIECE` bytes at a time: as text, or of a Parquet file with the types it has."""
    with reading(path):
        need_file(path)
        with path.open("rb") as handle:
            begin = handle.read(_BEGIN).lstrip(b"\xef\xbb\xbf \t\r\n")
    if not begin:
        raise DataError(f"{path} is empty. Fetch it again.")
    if path.suffix.casefold() in (".parquet", ".pq"):
        table = pl.scan_parquet(path, glob=False)
        chosen = _columns(table.collect_schema(), path)
        count = table.select(pl.len()).collect().item()
        for first in range(0, max(count, 1), _PIECE_ROWS):
            yield table.slice(first, _PIECE_ROWS).select(chosen).collect()
        return
    if begin[:1] == b"<":
        raise DataError(f"{path} is a web page (HTML), not a table. Fetch it again.")
    chosen = []
    for piece in _text_pieces(path):
        text = pl.read_csv(piece, infer_schema=False, null_values=["", "NaN", "nan", "NA"])
        chosen = chosen or _columns(text.schema, path)
        yield text.select(chosen)


def _text_pieces(path: Path) -> Iterator[bytes]:
    """A text in pieces of whole rows, each under the header. A line's end between quotes is none of a row.

    Raises
    ------
    DataError
        If a row has no end, so that the memory would have to hold the rest of the table.
    """
    with reading(path), path.open("rb") as handle:
        header = handle.readline()
        rest = b""
        lines = 1
        while block := handle.read(_PIECE):
            rest += block
            cut = _end_of_rows(rest)
            if not cut and len(rest) > _LONGEST_ROW:
                raise DataError(
                    f"{path}: the row that begins in line {lines + 1} does not end within {_LONGEST_ROW >> 20} MB, as "
                    "where a quotation mark is never closed. Remove the mark, or fetch the table again."
                )
            if cut:
                yield header + rest[:cut]
                lines += rest.count(b"\n", 0, cut)
                rest = rest[cut:]
        if rest or lines == 1:
            yield header + rest


def _end_of_rows(text: bytes) -> int:
    """Where the last whole row of a text ends, which begins with one; 0 if none does."""
    cut = text.rfind(b"\n") + 1
    inside = text.count(b'"', 0, cut) % 2
    while cut and inside:
        before = text.rfind(b"\n", 0, cut - 1) + 1
        inside ^= text.count(b'"', before, cut) % 2  # each mark is counted once, however many lines there are
        cut = before
    return cut


@contextmanager
def _regular(path: Path) -> Iterator[None]:
    """Turn what polars finds wrong with a table into a DataError."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{path} is not a regular table ({str(error).splitlines()[0]}). Fetch it again.") from None


def _columns(columns: Iterable[str], path: Path) -> list[pl.Expr]:
    """The columns used, under their names here."""
    columns = list(columns)
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
    return [pl.col(found[name]).alias(name) for name in (*_NEEDED, DAYS, UNIT) if name in found]


def _typed(piece: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Dates, numbers and names; ``bad X`` marks rows whose X is none, ``said X`` keeps what stood there."""
    schema = piece.schema
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
    if UNIT in schema:
        typed[UNIT] = pl.col(UNIT).cast(pl.String)
    marks = {f"bad {name}": expression for name, expression in bad.items()}
    return piece.select(**typed, **marks, **{f"said {name}": pl.col(name) for name in bad})


class _Tally:
    """Counts the rows of a table that cannot be used, and keeps the first of each kind."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self.bad: dict[str, int] = {}
        self.first: dict[str, tuple[int, Any]] = {}

    def add(self, piece: pl.DataFrame) -> None:
        """Count those of a piece from :func:`_typed`."""
        for name in _ORDER:
            if f"bad {name}" in piece.columns and (mark := piece[f"bad {name}"]).any():
                row = int(mark.arg_max() or 0)
                self.first.setdefault(name, (self.rows + row, piece[f"said {name}"][row]))
                self.bad[name] = self.bad.get(name, 0) + int(mark.sum())
        self.rows += piece.height

    def judge(self) -> None:
        """Raise a DataError that tells the first value that is none."""
        if not self.rows:
            raise DataError(f"{self.path} has a header but no rows. Fetch it again.")
        for name in _ORDER:
            if name in self.bad:
                row, said = self.first[name]
                fix = "Write dates as 2018-06-01." if name == DATE else "Correct the table."
                raise DataError(
                    f"{self.path}: {self.bad[name]:,} of {self.rows:,} rows have no usable {name} "
                    f"(first: {said!r} in row {row + 2}). {fix}"
                )
