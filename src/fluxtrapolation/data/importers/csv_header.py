"""The beginning of a benchmark CSV file: is it text, is it a table, which columns has it?"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fluxtrapolation.data.checks import check_site_id
from fluxtrapolation.data.importers.csv_problem import CsvFileError, Problem
from fluxtrapolation.data.reading import is_pipe, reading
from fluxtrapolation.errors import did_you_mean, examples
from fluxtrapolation.schema import QC, TIME, canonical_column

BOM: Final = b"\xef\xbb\xbf"
HEAD: Final = 1 << 16
"""Bytes within which the header must end."""
_AGAIN: Final = "Fetch it again."
_SAVE: Final = "Save it as 'CSV UTF-8' with commas and decimal points."


@dataclass(frozen=True, slots=True)
class Header:
    """Columns of a file.

    Attributes
    ----------
    names : tuple of str
        In the schema's spelling, where it knows them.
    lines : int
        Lines before the first row, empty ones included.
    begin : int
        Byte at which the rows begin.
    """

    names: tuple[str, ...]
    lines: int
    begin: int


def refuse(path: Path, what: str, fix: str, *, example: str = "", count: int | None = None) -> CsvFileError:
    """The error of a file that is no table; the caller raises it."""
    return CsvFileError([Problem(path.stem, f"{path.name} {what}", fix, example=example, count=count)])


def read_header(path: Path) -> Header:
    """Read the header of a file.

    Raises
    ------
    DataError
        If the file cannot be read, is no such table, or its name is no site id.
    """
    check_site_id(path.stem)
    return parse_header(read_bytes(path, HEAD), path)


def read_bytes(path: Path, limit: int = -1) -> bytes:
    """The content of a file, or its first ``limit`` bytes; a file that changes meanwhile is refused.

    Raises
    ------
    DataError
        If the file is none, may not be read, or was written to while it was read.
    """
    try:
        if is_pipe(path):
            raise refuse(path, "is no file but a pipe or device", "Give a file.")
    except OSError as error:
        if path.is_symlink() and error.errno in (errno.ENOENT, errno.ELOOP):
            circle = "in a circle" if error.errno == errno.ELOOP else "to nothing"
            raise refuse(path, f"cannot be read: it is a link that leads {circle}", "Put the file there.") from None
    with reading(path), path.open("rb") as handle:
        before = _state(path)
        content = handle.read(limit)
        if limit < 0 and (_state(path) != before or len(content) != before[0]):
            raise refuse(
                path,
                "changed while it was read",
                "Wait until the download or synchronisation has finished, then import again.",
                example=f"{before[0]:,} bytes before, {_state(path)[0]:,} after",
            )
    return content


def _state(path: Path) -> tuple[int, int, int]:
    now = path.stat()
    return now.st_size, now.st_mtime_ns, now.st_ino


def parse_header(start: bytes, path: Path) -> Header:
    """Columns from the first bytes of a file. Empty lines before the header do no harm."""
    _need_text(start, path)
    begin = len(start) - len(start.removeprefix(BOM).lstrip())
    if begin == len(start):
        raise refuse(path, "is empty", _AGAIN)
    if start[begin : begin + 1] == b"<":
        raise refuse(path, "is a web page (HTML), not a table", _AGAIN)
    end = start.find(b"\n", begin)
    if end < 0 and len(start) >= HEAD:
        raise refuse(path, f"has a first line of more than {HEAD:,} characters, which is no header", _AGAIN)
    content = start[begin : end if end >= 0 else None].rstrip(b"\r\n")
    if b"\r" in content:
        raise refuse(path, "ends its lines as old Macintosh files do (CR only)", _SAVE)
    try:
        line = content.decode()
    except UnicodeDecodeError as error:
        raise refuse(
            path,
            "is not text in UTF-8 (Latin-1, perhaps)",
            _SAVE,
            example=f"byte {error.start + begin} of its header, in {content[max(0, error.start - 8) : error.end]!r}",
        ) from None
    stop = end + 1 if end >= 0 else len(start)
    return Header(tuple(_names(line, path)), start[:stop].count(b"\n"), stop)


def _need_text(start: bytes, path: Path) -> None:
    """Refuse what is not text with one byte per letter."""
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or (len(start) > 8 and start[1:8:2] == b"\0\0\0\0"):
        raise refuse(path, "is text in UTF-16 (Excel calls it 'Unicode text'), not UTF-8", _SAVE)
    if start[:2] == b"PK":
        raise refuse(path, "is a ZIP archive or Excel workbook, not a table", "Unpack it, or save it as 'CSV UTF-8'.")
    if start[:2] == b"\x1f\x8b":
        raise refuse(path, "is compressed (gzip)", "Unpack it.")
    if b"\0" in start:
        raise need_no_nul(start, path)


def need_no_nul(content: bytes, path: Path) -> CsvFileError:
    """The error of a file with NUL bytes, as an interrupted copy or a failing disk leaves them."""
    at, count = content.find(b"\0"), content.count(b"\0")
    line = content.count(b"\n", 0, at) + 1
    return refuse(
        path,
        f"is damaged: {count:,} NUL bytes stand in it, as after an interrupted copy",
        _AGAIN,
        example=f"first: line {line:,}, byte {at:,}",
        count=count,
    )


def _names(line: str, path: Path) -> list[str]:
    for separator, spoken in ((";", "';'"), ("\t", "tabs")):
        if line.count(separator) > line.count(","):
            raise refuse(path, f"separates its fields by {spoken}", _SAVE.replace("Save it as 'CSV UTF-8'", "Save it"))
    raw = [name.strip().strip('"').strip() for name in line.split(",")]
    names = [canonical_column(name) for name in raw]
    needed = [name for name in (TIME, QC) if name not in names]
    if needed:
        _need_header(raw, path)
        raise refuse(
            path,
            f"has no column {needed[0]}",
            f"{did_you_mean(needed[0], raw)} Benchmark files have time, qc_mask, targets and covariates.".strip(),
            example=f"it has {examples(raw, 5)}",
        )
    twice = [index for index, name in enumerate(names) if name in names[:index]]
    if twice:
        name = names[twice[0]]
        both = [raw[index] for index, other in enumerate(names) if other == name]
        raise refuse(
            path,
            f"has the column {name} twice",
            "Keep one of them.",
            example=f"as {' and '.join(both)}" if len(set(both)) > 1 else "",
            count=len(twice),
        )
    return names


def _need_header(raw: list[str], path: Path) -> None:
    """Refuse a first line that is already a row."""

    def is_number(text: str) -> bool:
        try:
            float(text)
        except ValueError:
            return False
        return True

    if sum(is_number(name) for name in raw) > len(raw) / 2:
        raise refuse(
            path,
            "has no header: its first line is a row of numbers",
            "Add the line of column names.",
            example=f"it begins with {examples(raw, 3)}",
        )
