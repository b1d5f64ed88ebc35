"""One FLUXNET file, on disk or in an archive, as a few columns of numbers: read in blocks, never as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import IO, Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.data.importers.fluxnet_zip import open_member
from fluxtrapolation.data.reading import need_file, reading
from fluxtrapolation.errors import DataError, MissingColumnError, did_you_mean, examples

BLOCK_BYTES: Final = 8 << 20
MAX_LINE_BYTES: Final = 1 << 20
"""A line of 267 columns has 2 KB; one of a megabyte is no line of a FLUXNET file."""
MAX_COLUMNS: Final = 5_000
MAX_ROWS: Final = 3_600_000
"""Two hundred years of half hours have 3.5 million rows; a small archive can unpack to far more."""
MISSING_TEXT: Final = ["NA", "N/A", "NULL", "null", "None", "nan", "-nan", "."]
"""Beside blanks and NaN. The numbers that mean missing are told in :func:`without_sentinels`."""
COMMA, NEWLINE = b",\n"
AGAIN: Final = "Fetch the file again."
_NOT_UTF8: Final = (b"\xff\xfe", b"\xfe\xff")
_TIMES: Final = ("TIMESTAMP_START", "TIMESTAMP_END", "TIMESTAMP")

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DataFile:
    """A CSV file: on disk, or a member of a zip archive."""

    path: Path
    member: str | None = None

    @property
    def name(self) -> str:
        """The file's own name."""
        return (self.member or str(self.path)).replace("\\", "/").rsplit("/", 1)[-1]

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The bytes of the file.

        Raises
        ------
        DataError
            If it cannot be read, or the archive is damaged.
        """
        if self.member is not None:
            with open_member(self.path, self.member) as stream:
                yield stream
            return
        with reading(self.path):
            need_file(self.path)
            with self.path.open("rb") as stream:
                yield stream


@dataclass(frozen=True, slots=True)
class Columns:
    """What was read of a file.

    Attributes
    ----------
    times : mapping of str to ndarray of int64, shape (n,)
        Timestamps as the numbers that stand there, such as 200501010030.
    values : mapping of str to ndarray of float64, shape (n,)
        NaN where missing.
    rows, size : int
        Rows, and bytes unpacked.
    """

    times: Mapping[str, NDArray[np.int64]]
    values: Mapping[str, Floats]
    rows: int
    size: int


def read_header(file: DataFile) -> list[str]:
    """Column names in capitals.

    Raises
    ------
    DataError
        If the file cannot be read or is no such table.
    """
    with file.open() as stream:
        start = stream.read(MAX_LINE_BYTES + 4)
    return _header(start, file)[0]


def _header(start: bytes, file: DataFile) -> tuple[list[str], int]:
    """Column names, and where the rows begin."""
    if start.startswith(_NOT_UTF8) or b"\0" in start[:64]:
        raise DataError(f"{file.name} is not in UTF-8 but in UTF-16, or no text at all. Save it as CSV UTF-8.")
    begin = len(start) - len(start.removeprefix(b"\xef\xbb\xbf").lstrip())
    if begin == len(start):
        raise DataError(f"{file.name} is empty. {AGAIN}")
    if start[begin : begin + 1] == b"<":
        raise DataError(f"{file.name} is a web page (HTML), not a table. {AGAIN}")
    end = start.find(b"\n", begin)
    if end < 0 and len(start) > MAX_LINE_BYTES:
        raise DataError(f"{file.name}: its first line has more than 1 MB, so it is no FLUXNET table. {AGAIN}")
    try:
        line = start[begin : end if end >= 0 else None].decode().strip()
    except UnicodeDecodeError:
        raise DataError(f"{file.name} is not text in UTF-8. Is it a CSV file?") from None
    for separator, spoken in ((";", "';'"), ("\t", "tabs")):
        if line.count(separator) > line.count(","):
            raise DataError(
                f"{file.name} separates its fields by {spoken}; a spreadsheet has saved it again, decimal commas "
                "included. Use the original file, with commas and decimal points."
            )
    names = [name.strip().strip('"').upper() for name in line.split(",")]
    if len(names) > MAX_COLUMNS:
        raise DataError(f"{file.name} has {len(names):,} columns; a FLUXNET file has some 270. {AGAIN}")
    return names, end + 1 if end >= 0 else len(start)


def read_columns(file: DataFile, *, needed: Sequence[str], optional: Sequence[str] = ()) -> Columns:
    """Read some columns of a file.

    Parameters
    ----------
    file : DataFile
    needed, optional : sequence of str
        Columns that must be there, and such as may be. ``TIMESTAMP*`` are read as whole numbers.

    Raises
    ------
    MissingColumnError
        If a needed column is not there.
    DataError
        If the file cannot be read, was cut off, or holds something else than numbers.
    """
    parts: list[pl.DataFrame] = []
    size = rows = 0
    for block, reader in _blocks(file, needed, optional):
        frame = reader.parse(block, first_line=rows + 2)
        parts.append(frame)
        rows += frame.height
        size += len(block)
        if rows > MAX_ROWS:
            raise DataError(
                f"{file.name} has more than {MAX_ROWS:,} rows; two centuries of half hours have fewer. {AGAIN}"
            )
    if not rows:
        raise DataError(f"{file.name} has a header but no rows. {AGAIN}")
    table = pl.concat(parts, rechunk=True)
    times = {name: table[name].to_numpy() for name in table.columns if name in _TIMES}
    for name in table.columns:
        endless = table[name].is_infinite() if name not in _TIMES else None
        if endless is not None and endless.any():
            line = 2 + int(endless.arg_max() or 0)
            raise DataError(
                f"{file.name}: {int(endless.sum()):,} of {rows:,} values of {name} are infinite, the first in line "
                f"{line:,}. Missing values are -9999 or empty. {AGAIN}"
            )
    values = {name: without_sentinels(table[name].to_numpy()) for name in table.columns if name not in _TIMES}
    return Columns(times, values, rows, size)


def holds_value(file: DataFile, column: str, *, stop: Event | None = None) -> bool:
    """Whether a column is there and holds any value; ends at the first one, or unfinished when ``stop`` is set."""
    if column not in read_header(file):
        return False
    for block, reader in _blocks(file, (column,), ()):
        values = without_sentinels(reader.parse(block, first_line=2)[column].to_numpy())
        if np.isfinite(values).any():
            return True
        if stop is not None and stop.is_set():
            break
    return False


def without_sentinels(values: NDArray[Any]) -> Floats:
    """NaN for -9999, -9999.0, -9999.9, -9999.99 (all from -10000 to -9990) and for -6999, used by older files."""
    given = values.astype(np.float64, copy=True)
    with np.errstate(invalid="ignore"):
        given[((given >= -10000.0) & (given <= -9990.0)) | (given == -6999.0)] = np.nan
    return given


@dataclass(frozen=True, slots=True)
class _Reader:
    """How the rows of one file are cut."""

    file: DataFile
    names: list[str]
    taken: dict[str, int]
    """Position of every column that is read."""

    def parse(self, block: bytes, *, first_line: int) -> pl.DataFrame:
        """The columns of whole lines; ``first_line`` is the number of the block's first line in the file."""
        self._check_shape(block, first_line)
        keys = {f"c{index}": name for name, index in self.taken.items()}
        kinds = {f"c{i}": pl.String for i in range(len(self.names))}
        numbers = {key: pl.Int64 if name in _TIMES else pl.Float64 for key, name in keys.items()}
        try:
            frame = pl.read_csv(
                block,
                has_header=False,
                schema={**kinds, **numbers},
                columns=[*self.taken.values()],
                null_values=MISSING_TEXT,
            )
        except pl.exceptions.PolarsError:
            frame = self._parse_slowly(block, kinds, keys, first_line)
        frame = frame.rename(keys)
        for name in self.taken:
            if name in _TIMES and frame[name].null_count():
                line = first_line + int(frame[name].is_null().arg_max() or 0)
                raise DataError(f"{self.file.name}: line {line:,} has no {name}. {AGAIN}")
        return frame

    def _parse_slowly(
        self, block: bytes, kinds: Mapping[str, Any], keys: Mapping[str, str], first_line: int
    ) -> pl.DataFrame:
        """Text first, blanks around it removed; an error names the first value that is no number."""
        try:
            text = pl.read_csv(block, has_header=False, schema=dict(kinds), columns=[*self.taken.values()])
        except pl.exceptions.PolarsError as error:
            raise DataError(
                f"{self.file.name} is not a regular table ({_shown(str(error).splitlines()[0], 120)}). {AGAIN}"
            ) from None
        clean = text.with_columns(pl.all().str.strip_chars(' \t\r"'))
        clean = clean.with_columns(
            pl.when(pl.all().is_in(["", *MISSING_TEXT])).then(None).otherwise(pl.all()).name.keep()
        )
        parsed = clean.with_columns(
            pl.col(key).cast(pl.Int64 if name in _TIMES else pl.Float64, strict=False) for key, name in keys.items()
        )
        for key, name in keys.items():
            lost = clean[key].is_not_null() & parsed[key].is_null()
            if lost.any():
                row = int(lost.arg_max() or 0)
                raise DataError(
                    f"{self.file.name}: {int(lost.sum()):,} values of {name} in {len(lost):,} lines are not numbers "
                    f"(first: {_shown(clean[key][row])} in line {first_line + row:,}). {_number_fix(clean[key][row])}"
                )
        return parsed

    def _check_shape(self, block: bytes, first_line: int) -> None:
        """Every line has as many fields as the header; told with the first that has not."""
        commas = len(self.names) - 1
        if _is_regular(block, commas):
            return
        lines = block.split(b"\n")[:-1]
        for number, line in enumerate(lines, start=first_line):
            fields = line.count(b",") + 1
            if fields == len(self.names):
                continue
            if not line.strip():
                problem = "is empty"
            elif b'"' in line:
                problem = "holds a comma between quotation marks (decimal commas?)"
            else:
                problem = f"has {fields} of {len(self.names)} fields"
                if line is lines[-1] and fields < len(self.names):
                    problem += ", the file or a download ends in the middle of it"
            raise DataError(f"{self.file.name}: line {number:,} {problem}. {AGAIN}")


def _is_regular(block: bytes, commas: int) -> bool:
    """Whether each line has this many commas. By numpy, ten times faster than by lines, and other threads go on."""
    text = np.frombuffer(block, dtype=np.uint8)
    comma, newline = np.flatnonzero(text == COMMA), np.flatnonzero(text == NEWLINE)
    if commas == 0 or comma.size != commas * newline.size:
        return False
    last, first = comma[commas - 1 :: commas], comma[::commas]
    return bool((last < newline).all() and (first[1:] > newline[:-1]).all())


def _shown(text: str, most: int = 24) -> str:
    """The start of a field as Python writes it, and how long it is where it was cut."""
    return repr(text) if len(text) <= most else f"{text[:most]!r}... of {len(text):,} characters"


def _number_fix(text: str) -> str:
    if "\0" in text:
        return f"NUL bytes stand where a disk or a download lost a part of the file. {AGAIN}"
    if "," in text:
        return "Write decimal points, not commas."
    if "e+" in text.casefold():
        return "A spreadsheet has rounded it: use the original file."
    return AGAIN


def _blocks(file: DataFile, needed: Sequence[str], optional: Sequence[str]) -> Iterator[tuple[bytes, _Reader]]:
    """Whole lines of a file, some megabytes at a time, and how to read them."""
    with file.open() as stream:
        rest = stream.read(MAX_LINE_BYTES + 4)
        names, begin = _header(rest, file)
        reader = _Reader(file, names, _positions(file, names, needed, optional))
        rest = rest[begin:]
        while chunk := stream.read(BLOCK_BYTES):
            rest += chunk
            # empty lines stay behind: at the end of the file they mean nothing
            cut = rest.find(b"\n", len(rest[: rest.rfind(b"\n") + 1].rstrip())) + 1
            if cut and rest[:cut].strip():
                yield rest[:cut], reader
                rest = rest[cut:]
            if len(rest) > BLOCK_BYTES:
                raise DataError(f"{file.name} holds a line of more than {BLOCK_BYTES >> 20} MB. {AGAIN}")
        rest = rest.rstrip()
        if rest:
            yield rest + b"\n", reader


def _positions(file: DataFile, names: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> dict[str, int]:
    missing = [name for name in needed if name not in names]
    if missing:
        raise MissingColumnError(
            f"{file.name} lacks {len(missing)} of the columns needed: {examples(missing, 5)}."
            f"{did_you_mean(missing[0], names)} It has {len(names)}: {examples(names, 5)}. "
            "A FULLSET, SUBSET or FLUXMET file holds them."
        )
    wanted = [*needed, *(name for name in optional if name in names)]
    twice = [name for name in wanted if names.count(name) > 1]
    if twice:
        raise DataError(f"{file.name} has the column {twice[0]} {names.count(twice[0])} times. {AGAIN}")
    return {name: names.index(name) for name in wanted}
