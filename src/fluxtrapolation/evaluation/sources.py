"""Where the rows of predictions come from: a frame in memory, a query, a Parquet file, a CSV file.

Each source gives its rows in pieces, in the order of the table, and holds a few pieces in memory, never the file. Only
the columns asked for are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, cast

import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.intake import readable

CSV_CHUNK: Final = 8 * 2**20
"""Bytes of a CSV file that are read at a time."""
NULLS: Final = ("", "NA", "NaN", "nan", "null", "None")
"""What a CSV file may write for a missing value."""

_COMPRESSED: Final = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"\x78\x01", b"\x78\x9c", b"\x78\xda")
"""First bytes of gzip, zstd and zlib."""

T = TypeVar("T")


class Source(Protocol):
    """Rows to be read, once or more often."""

    @property
    def schema(self) -> pl.Schema:
        """Names and types of the columns."""

    def collect(self) -> pl.DataFrame:
        """All rows."""

    def count(self) -> int:
        """Number of rows."""

    def pieces(self, columns: list[str], rows: int) -> Iterator[pl.DataFrame]:
        """The columns in pieces of about ``rows`` rows, in the order of the table."""


@dataclass(frozen=True)
class FrameSource:
    """A frame in memory."""

    frame: pl.DataFrame

    @property
    def schema(self) -> pl.Schema:
        """Names and types of the columns."""
        return self.frame.schema

    def collect(self) -> pl.DataFrame:
        """All rows."""
        return self.frame

    def count(self) -> int:
        """Number of rows."""
        return self.frame.height

    def pieces(self, columns: list[str], rows: int) -> Iterator[pl.DataFrame]:
        """Slices of the frame."""
        yield from self.frame.select(columns).iter_slices(rows)


@dataclass(frozen=True)
class QuerySource:
    """Any query of polars; it runs once for every pass over the rows."""

    query: pl.LazyFrame

    @property
    def schema(self) -> pl.Schema:
        """Names and types of the columns."""
        return self.query.collect_schema()

    def collect(self) -> pl.DataFrame:
        """All rows."""
        return self.query.collect()

    def count(self) -> int:
        """Number of rows."""
        return int(self.query.select(pl.len()).collect().item())

    def pieces(self, columns: list[str], rows: int) -> Iterator[pl.DataFrame]:
        """Batches of the query's result."""
        if hasattr(self.query, "collect_batches"):
            yield from self.query.select(columns).collect_batches(chunk_size=rows, maintain_order=True)
        else:
            yield from self.query.select(columns).collect().iter_slices(rows)


@dataclass(frozen=True)
class ParquetSource:
    """A Parquet file, and what is done to its columns.

    It is read by slices: that keeps one slice in memory, where the batches of a streaming query run ahead by several
    row groups of whatever size the file has.
    """

    file: Path
    query: pl.LazyFrame

    @property
    def schema(self) -> pl.Schema:
        """Names and types of the columns."""
        return self.query.collect_schema()

    def collect(self) -> pl.DataFrame:
        """All rows."""
        with _reading(self.file, "Parquet"):
            return self.query.collect()

    def count(self) -> int:
        """Number of rows, from the metadata."""
        with _reading(self.file, "Parquet"):
            return int(self.query.select(pl.len()).collect().item())

    def pieces(self, columns: list[str], rows: int) -> Iterator[pl.DataFrame]:
        """Slices of the file."""
        wanted = self.query.select(columns)
        with _reading(self.file, "Parquet"):
            for first in range(0, self.count(), rows):
                yield wanted.slice(first, rows).collect()


@dataclass(frozen=True)
class CsvSource:
    """A CSV file that is too large to be held in memory.

    Parameters
    ----------
    file : Path
    header : bytes
        The first line, its end included.
    names : mapping
        Column in the file for every column that is given.
    kinds : mapping
        Type of every column, by its name in the file.
    """

    file: Path
    header: bytes
    names: Mapping[str, str]
    kinds: Mapping[str, Any]

    @property
    def schema(self) -> pl.Schema:
        """Names and types of the columns."""
        return pl.Schema({name: self.kinds[own] for name, own in self.names.items()})

    def collect(self) -> pl.DataFrame:
        """All rows."""
        return pl.concat(list(self.pieces(list(self.names), 2**20)))

    def count(self) -> int:
        """Number of rows."""
        with _reading(self.file, "CSV"):
            return int(pl.scan_csv(self.file, glob=False).select(pl.len()).collect().item())

    def pieces(self, columns: list[str], rows: int) -> Iterator[pl.DataFrame]:
        """Pieces of exactly ``rows`` rows but for the last, so that scores equal those of the same table elsewhere."""
        own = [self.names[name] for name in columns]
        back = dict(zip(own, columns, strict=True))
        with self.file.open("rb") as handle, _reading(self.file, "CSV"):
            handle.seek(len(self.header))
            chunks = whole_lines(handle.read, CSV_CHUNK, str(self.file))
            yield from even(
                (read_csv(self.header + chunk, own, self.kinds).rename(back).select(columns) for chunk in chunks), rows
            )


def read_csv(source: Path | bytes, columns: list[str], kinds: Mapping[str, Any]) -> pl.DataFrame:
    """Columns of a CSV table, of a file or of its text."""
    return pl.read_csv(source, columns=columns, schema_overrides=dict(kinds), null_values=list(NULLS), glob=False)


def whole_lines(read: Callable[[int], bytes], size: int, where: str) -> Iterator[bytes]:
    """Chunks of about ``size`` bytes that end where a line ends, and not within quotes.

    Raises
    ------
    EvaluationError
        When a quotation mark is not closed within many chunks.
    """
    rest = b""
    while chunk := read(size):
        text = rest + chunk
        cut = text.rfind(b"\n") + 1
        if text.count(b'"', 0, cut) % 2:
            # The last line end is within quotes; the one before their opening is not, unless quotes are unusual.
            cut = text.rfind(b"\n", 0, text.rfind(b'"', 0, cut)) + 1
            if text.count(b'"', 0, cut) % 2:
                cut = 0
        if cut:
            yield text[:cut]
        rest = text[cut:]
        if len(rest) > 8 * size:
            raise EvaluationError(
                f"{where} cannot be read as a CSV table of predictions: a quotation mark is not closed, or a line is "
                f"longer than {len(rest):,} bytes. Write the table again, or as Parquet."
            )
    if rest.strip():
        yield rest


def even(pieces: Iterable[pl.DataFrame], rows: int) -> Iterator[pl.DataFrame]:
    """The same rows in pieces of ``rows`` rows; the last one may be shorter."""
    held: list[pl.DataFrame] = []
    height = 0
    for piece in pieces:
        held.append(piece)
        height += piece.height
        if height < rows:
            continue
        joined = pl.concat(held)
        whole = height // rows * rows
        yield from joined.head(whole).iter_slices(rows)
        held, height = [joined.tail(height - whole)], height - whole
    if height:
        yield pl.concat(held)


def is_compressed(start: bytes) -> bool:
    """Whether a file is gzip, zstd or zlib, by its first bytes."""
    return start.startswith(_COMPRESSED)


def one_ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; the next one is made by another thread while the last one is used."""
    end = object()
    with ThreadPoolExecutor(max_workers=1) as worker:
        waiting = worker.submit(next, items, end)
        while (item := waiting.result()) is not end:
            waiting = worker.submit(next, items, end)
            yield cast(T, item)


@contextmanager
def _reading(file: Path, kind: str) -> Iterator[None]:
    """Say which file cannot be read, and why."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        raise EvaluationError(unreadable(file, kind, error)) from error


def unreadable(file: Path, kind: str, error: Exception) -> str:
    """What to say of a file that cannot be read."""
    lines = str(error).splitlines()
    reason = readable(lines[0] if lines else type(error).__name__, limit=200)
    if kind == "CSV":
        return f"{file} cannot be read as a CSV table of predictions: {reason}"
    return f"{file} is not a Parquet file that can be read ({reason})."
