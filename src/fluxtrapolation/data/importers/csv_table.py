"""The rows of a benchmark CSV file as times and numbers, and what its constant columns say of the tower.

The quick way lets polars read the numbers at once. Whatever it stumbles over is read again as text, to say which
value of which column stands where.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from fluxtrapolation.data.checks import flag_problem
from fluxtrapolation.data.importers.csv_header import HEAD, Header, need_no_nul, parse_header, read_bytes, refuse
from fluxtrapolation.data.importers.csv_problem import CsvFileError, Problem
from fluxtrapolation.schema import PFT_PREFIX, QC, TIME

TIME_FORMAT: Final = "%Y-%m-%d %H:%M:%S"
PLACES: Final = ("tower_lat", "tower_lon")
_NULLS: Final = ["", "NaN", "nan", "NA", "NAN", "N/A", "null"]
_TRUE: Final = ("true", "1", "1.0", "t", "yes", "y")
_FALSE: Final = ("false", "0", "0.0", "f", "no", "n", "")
_PLAIN_FLAGS: Final = {"0": 0.0, "1": 1.0, "0.0": 0.0, "1.0": 1.0}
_ZONE: Final = r"(?:[+-]\d{2}:?\d{2}|Z| ?UTC)$"


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a file are read: numbers, and those that are the same in every row."""

    numbers: tuple[str, ...]
    flags: tuple[str, ...]
    places: tuple[str, ...]
    labels: tuple[str, ...] = ()
    """Text that tells whose file it is (``site_id``)."""

    @property
    def all(self) -> tuple[str, ...]:
        return (TIME, *self.numbers, *self.flags, *self.places, *self.labels)


def read_rows(path: Path, columns: Columns) -> tuple[pl.DataFrame, str, Problem | None]:
    """The rows of a file, its sha256, and what is odd about its end.

    Returns
    -------
    frame : DataFrame
        ``time`` as datetime, numbers and places as float64 (missing: null), flags and labels as text.
    sha256 : str
    problem : Problem or None
        A note if the last line does not end: a value that lost its last digits is still a number.

    Raises
    ------
    CsvFileError
        With everything that is not readable: cut or ragged rows, times, numbers, flags.
    """
    content = read_bytes(path)
    header = parse_header(content[:HEAD], path)
    lost = [name for name in columns.all if name not in header.names]
    if lost:
        raise refuse(path, "changed while it was read", "Import again.", example=f"{lost[0]} is gone")
    if b"\0" in content:
        raise need_no_nul(content, path)
    body, skip = _rows_of(content, header, path)
    quick = _read_quick(body, skip, header, columns)
    if quick is not None:
        frame = _with_time(quick, site=path.stem)
    else:
        rows = _regular_lines(content, header, path)
        frame = _parse(_read_text(rows, header, columns, path), columns, site=path.stem)
    flags = flag_problem(frame, where=f"Site {path.stem}")
    if flags is not None:
        raise CsvFileError([Problem.from_text(f"{flags} Correct the file.", path.stem)])
    return frame, hashlib.sha256(content).hexdigest(), _unended(content, path)


def _unended(content: bytes, path: Path) -> Problem | None:
    """A note if the file stops without a line break: perhaps inside its last value."""
    if content.endswith((b"\n", b"\r")):
        return None
    last = content[content.rfind(b"\n") + 1 :]
    return Problem(
        path.stem,
        "the last line does not end with a line break: if the file was cut off inside its last value, that is wrong",
        "Compare its size with the original.",
        example=f"it ends in {str(last[-24:], errors='replace')!r}",
        count=1,
        level="note",
    )


def _rows_of(content: bytes, header: Header, path: Path) -> tuple[bytes, int]:
    """The bytes to read and the lines to skip; nothing is copied where the file ends as it should."""
    end = len(content)
    while end > header.begin and content[end - 1] in b" \t\r\n":
        end -= 1
    if end <= header.begin:
        raise refuse(path, "has a header but no rows", "Fetch it again.", count=0)
    begin = content.rfind(b"\n", 0, end) + 1
    fields, wanted = content.count(b",", begin, end) + 1, len(header.names)
    if fields < wanted and b'"' not in content[begin:end]:
        raise refuse(
            path,
            "was cut off: the file ends in the middle of a row",
            "Fetch it again.",
            example=f"the last has {fields} of {wanted} fields",
        )
    body = content if len(content) - end <= 2 else content[: end + 1]
    return body, header.lines


def _read(
    body: bytes, skip: int, header: Header, columns: Columns, numbers: Sequence[str], nulls: list[str]
) -> pl.DataFrame:
    """The wanted columns, those of ``numbers`` as float64, the others as text. The rest is not looked at."""
    # Names that cannot clash, whatever the file calls its other columns.
    place = {name: f"{index}" for index, name in enumerate(header.names)}
    schema: dict[str, Any] = {at: pl.Float64 if name in numbers else pl.String for name, at in place.items()}
    return (
        pl.scan_csv(
            body,
            has_header=False,
            skip_rows=skip,
            schema=schema,
            null_values=nulls,
            encoding="utf8-lossy",
        )
        .select(pl.col(place[name]).alias(name) for name in columns.all)
        .collect()
    )


def _read_quick(body: bytes, skip: int, header: Header, columns: Columns) -> pl.DataFrame | None:
    """Numbers at once; None where a value is none, a flag is spelled otherwise, or a row is not regular."""
    numbers = [name for name in (*columns.numbers, *columns.places) if name != QC]
    try:
        # Every further word for a missing value costs time; files that use one are read the slow way.
        frame = _read(body, skip, header, columns, numbers, ["NA"]).with_columns(pl.col(numbers).fill_nan(None))
    except pl.exceptions.PolarsError:
        return None
    # Rows with too few fields are filled by polars, and empty lines become rows: then the commas do not add up.
    commas = body.count(b",") - (body.count(b",", 0, header.begin) if skip else 0)
    spellings = frame[QC].unique()
    if commas != frame.height * (len(header.names) - 1) or not spellings.is_in(list(_PLAIN_FLAGS)).all():
        return None
    return frame.with_columns(pl.col(QC).replace_strict(_PLAIN_FLAGS, return_dtype=pl.Float64))


def _read_text(body: bytes, header: Header, columns: Columns, path: Path) -> pl.DataFrame:
    """Everything as text, from rows that are known to be regular."""
    try:
        return _read(body, 0, header, columns, (), _NULLS)
    except pl.exceptions.PolarsError as error:
        raise refuse(
            path,
            "is not a regular table",
            "Save it as 'CSV UTF-8', or fetch it again.",
            example=str(error).splitlines()[0],
        ) from None


def _regular_lines(content: bytes, header: Header, path: Path) -> bytes:
    """The rows without empty lines, each with the header's number of fields.

    Raises
    ------
    CsvFileError
        If rows have more or fewer.
    """
    wanted = len(header.names)
    rows, wrong = [], []
    for number, line in enumerate(content[header.begin :].splitlines(), start=header.lines + 1):
        if not line.strip():
            continue
        rows.append(line)
        fields = line.count(b",") + 1
        if b'"' in line:
            fields = len(next(csv.reader([line.decode(errors="replace")])))
        if fields != wanted:
            wrong.append((number, fields, line))
    if wrong:
        number, fields, line = wrong[0]
        more = fields > wanted
        comma = "Decimal commas or thousands separators? Write 12.5, not 12,5." if more else "Fetch it again."
        raise refuse(
            path,
            f"is not a regular table: {len(wrong):,} of {len(rows):,} rows have "
            f"{'more' if more else 'fewer'} fields than the header",
            comma,
            example=f"first: line {number:,} has {fields} of {wanted}: {str(line[:60], errors='replace')!r}",
            count=len(wrong),
        )
    return b"\n".join(rows) + b"\n"


def _with_time(frame: pl.DataFrame, *, site: str) -> pl.DataFrame:
    problem, time = _time(frame[TIME], site)
    if problem is not None:
        raise CsvFileError([problem])
    return frame.with_columns(time.alias(TIME))


def _time(text: pl.Series, site: str) -> tuple[Problem | None, pl.Series]:
    """Stamps as datetimes, and what is wrong with those that are none."""
    time = text.str.to_datetime(TIME_FORMAT, strict=False, time_unit="us")
    lost = time.null_count()
    if not lost:
        first, last = time.dt.year().min(), time.dt.year().max()
        if isinstance(first, int) and isinstance(last, int) and (first < 1950 or last > 2100):
            return Problem(
                site,
                "times lie outside the years 1950 to 2100",
                "Correct the time column.",
                example=f"years {first} to {last}",
            ), time
        return None, time
    bad = text.filter(time.is_null())
    first = bad[0]
    fix = "Write them as 2018-06-01 13:00:00."
    what = f"{lost:,} of {len(text):,} times cannot be read"
    zoned = int(bad.str.contains(_ZONE).sum())
    if zoned:
        what = f"{zoned:,} of {len(text):,} times carry a time zone"
        fix = "Convert them to local standard time and write them without a zone, as 2018-06-01 13:00:00."
        first = bad.filter(bad.str.contains(_ZONE))[0]
    elif lost < len(text):
        what += ": formats are mixed or stamps damaged"
    return Problem(site, what, fix, example=f"first: {first!r}", count=zoned or lost), time


def _parse(frame: pl.DataFrame, columns: Columns, *, site: str) -> pl.DataFrame:
    """Text to times and numbers; every column with values that are neither is told."""
    problem, time = _time(frame[TIME], site)
    problems = [] if problem is None else [problem]
    numbers = [*(name for name in columns.numbers if name != QC), *columns.places]
    out = frame.with_columns(
        pl.col(numbers).str.strip_chars().cast(pl.Float64, strict=False),
        # "1", "1.0", "True" and "yes" all mean measured
        pl.col(QC)
        .str.strip_chars()
        .str.to_lowercase()
        .replace({**dict.fromkeys(_TRUE, "1"), **dict.fromkeys(_FALSE[:-1], "0")})
        .cast(pl.Float64, strict=False),
        time.alias(TIME),
    )
    for name in [*numbers, QC]:
        lost = frame[name].is_not_null() & (frame[name].str.strip_chars() != "") & out[name].is_null()
        if lost.any():
            row = int(lost.arg_max() or 0)
            comma = "," in str(frame[name][row])
            problems.append(
                Problem(
                    site,
                    f"{int(lost.sum()):,} values of {name} are not numbers",
                    "Write a decimal point: 12.5, not 12,5." if comma else "Correct the file.",
                    example=f"first: {frame[name][row]!r} at {frame[TIME][row]}",
                    count=int(lost.sum()),
                )
            )
    if problems:
        raise CsvFileError(problems)
    return out


def place_in_file(
    frame: pl.DataFrame, flags: Sequence[str], *, site: str
) -> tuple[float | None, float | None, str | None]:
    """Latitude, longitude and IGBP class as the file's constant columns say, None where it does not say.

    Raises
    ------
    CsvFileError
        If one of them changes within the file, or several classes are marked.
    """
    problems: list[Problem] = []
    lat, lon = (_constant(frame, name, site, problems) for name in PLACES)
    igbp = _igbp(frame, flags, site, problems)
    if problems:
        raise CsvFileError(problems)
    return lat, lon, igbp


def _constant(frame: pl.DataFrame, name: str, site: str, problems: list[Problem]) -> float | None:
    if name not in frame.columns:
        return None
    values = frame[name].drop_nulls().unique(maintain_order=True)
    if len(values) > 1:
        problems.append(
            Problem(
                site,
                f"{name} changes within the file",
                "A tower has one place: correct the file, or give its place with --sites-table.",
                example=f"{values[0]:g}, then {values[1]:g}; {len(values)} values",
                count=len(values),
            )
        )
    return float(values[0]) if len(values) else None


def _spellings(frame: pl.DataFrame, names: Iterable[str]) -> dict[str, list[str]]:
    """The different values of text columns, in lower case; one pass tells which are constant."""
    columns = list(names)
    if not columns or not frame.height:
        return {}
    same = frame.select(pl.col(name).eq_missing(pl.col(name).first()).all() for name in columns).row(0)
    found = {}
    for name, constant in zip(columns, same, strict=True):
        values = frame[name].head(1) if constant else frame[name].unique(maintain_order=True)
        found[name] = list(dict.fromkeys((value or "").strip().lower() for value in values))
    return found


def _igbp(frame: pl.DataFrame, flags: Sequence[str], site: str, problems: list[Problem]) -> str | None:
    """The one class whose column is true; columns may be constant, and their booleans spelled in any way."""
    marked = []
    for flag, text in _spellings(frame, flags).items():
        unknown = [value for value in text if value not in (*_TRUE, *_FALSE)]
        if unknown:
            problems.append(
                Problem(
                    site, f"column {flag} holds {unknown[0]!r}, which is neither true nor false", "Write True or False."
                )
            )
            continue
        values = {value in _TRUE for value in text}
        if values == {True, False}:
            problems.append(
                Problem(site, f"column {flag} changes within the file", "A tower has one IGBP class: correct the file.")
            )
        if values == {True}:
            marked.append(flag.removeprefix(PFT_PREFIX))
    if len(marked) > 1:
        problems.append(
            Problem(
                site,
                f"{len(marked)} IGBP classes are marked",
                "A tower has one: correct the file, or give it with --sites-table.",
                example=", ".join(marked),
                count=len(marked),
            )
        )
    return marked[0] if marked else None


def site_in_file(frame: pl.DataFrame, columns: Columns, *, site: str) -> Problem | None:
    """Say whether a column of site ids contradicts the name of the file, or None."""
    for label in columns.labels:
        values = frame[label].drop_nulls().str.strip_chars().unique(maintain_order=True)
        other = [value for value in values if value.casefold() not in (site.casefold(), "")]
        if other:
            return Problem(
                site,
                f"the file's name says {site}, its column {label} says {other[0]}",
                "Give the file the name of its tower, or fetch the right one.",
                count=len(other),
            )
    return None
