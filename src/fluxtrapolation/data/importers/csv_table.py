"""One benchmark CSV file: its header, its rows as numbers, and what its constant columns say of the tower."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import polars as pl

from fluxtrapolation.data.checks import check_site_facts, check_site_id, flag_problem
from fluxtrapolation.data.reading import reading
from fluxtrapolation.errors import DataError, examples
from fluxtrapolation.schema import IGBP, PFT_PREFIX, QC, TIME, canonical_column

TIME_FORMAT: Final = "%Y-%m-%d %H:%M:%S"
_BOM: Final = b"\xef\xbb\xbf"
_HEAD: Final = 1 << 16
_TRUE: Final = ("true", "1", "1.0", "t", "yes")
_FALSE: Final = ("false", "0", "0.0", "f", "no", "")


def read_header(path: Path) -> list[str]:
    """Column names of a file, in the schema's spelling.

    Raises
    ------
    DataError
        If the file cannot be read, is no such table, or its name is no site id.
    """
    check_site_id(path.stem)
    with reading(path), path.open("rb") as handle:
        start = handle.read(_HEAD)
    return _header(start, path)[0]


def _header(start: bytes, path: Path) -> tuple[list[str], int]:
    """Column names, and where the rows begin. Empty lines before the header do no harm."""
    where = f"Site {path.stem}: {path.name}"
    begin = len(start) - len(start.removeprefix(_BOM).lstrip())
    if begin == len(start):
        raise DataError(f"{where} is empty. Fetch it again.")
    if start[begin : begin + 1] == b"<":
        raise DataError(f"{where} is a web page (HTML), not a table. Fetch it again.")
    end = start.find(b"\n", begin)
    try:
        line = start[begin : end if end >= 0 else None].decode()
    except UnicodeDecodeError:
        raise DataError(f"{where} is not text in UTF-8. Is it a CSV file?") from None
    for separator, spoken in ((";", "';'"), ("\t", "tabs")):
        if line.count(separator) > line.count(","):
            raise DataError(f"{where} separates its fields by {spoken}. Save it with commas and decimal points.")
    names = [canonical_column(name.strip().strip('"')) for name in line.split(",")]
    needed = [name for name in (TIME, QC) if name not in names]
    if needed:
        raise DataError(
            f"{where} has no column {needed[0]} (it has {examples(names, 5)}). "
            "Benchmark files have time, qc_mask, targets and covariates."
        )
    if len(set(names)) < len(names):
        twice = [name for name in names if names.count(name) > 1]
        raise DataError(f"{where} has the column {twice[0]} twice. Keep one of them.")
    return names, end + 1 if end >= 0 else len(start)


def read_rows(path: Path, columns: list[str]) -> tuple[pl.DataFrame, str]:
    """The rows of a file as text, and the sha256 of the file.

    Parameters
    ----------
    path : Path
    columns : list of str
        Those to keep, in the schema's spelling.

    Raises
    ------
    DataError
        If the file has no rows, was cut off, or is not a regular table.
    """
    where = f"Site {path.stem}: {path.name}"
    with reading(path):
        content = path.read_bytes()
    names, begin = _header(content[:_HEAD], path)
    rows = content[begin:].rstrip()
    if not rows:
        raise DataError(f"{where} has a header but no rows. Fetch it again.")
    last = rows[rows.rfind(b"\n") + 1 :]
    fields = last.count(b",") + 1
    if fields < len(names) and b'"' not in last:
        raise DataError(
            f"{where}: the file ends in the middle of a row (the last has {fields} of {len(names)} fields). "
            "Fetch it again."
        )
    try:
        frame = pl.read_csv(
            rows,
            has_header=False,
            new_columns=names,
            infer_schema=False,
            null_values=["", "NaN", "nan", "NA"],
            truncate_ragged_lines=False,
        ).select(columns)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{where} is not a regular table ({str(error).splitlines()[0]}). Fetch it again.") from None
    return frame, hashlib.sha256(content).hexdigest()


def parse(frame: pl.DataFrame, numbers: list[str], places: list[str], *, site: str) -> pl.DataFrame:
    """Text to times and numbers; a DataError tells the first value that is neither."""
    time = frame[TIME].str.to_datetime(TIME_FORMAT, strict=False, time_unit="us")
    if time.null_count():
        bad = frame.filter(time.is_null())[TIME]
        raise DataError(
            f"Site {site}: {len(bad):,} of {frame.height:,} times cannot be read (first: {bad[0]!r}). "
            "Write them as 2018-06-01 13:00:00."
        )
    out = frame.with_columns(
        pl.col([n for n in numbers if n != QC] + places).str.strip_chars().cast(pl.Float64, strict=False),
        # "1", "1.0" and "True" all mean measured
        pl.col(QC)
        .str.strip_chars()
        .str.to_lowercase()
        .replace({"true": "1", "false": "0"})
        .cast(pl.Float64, strict=False),
        time.alias(TIME),
    )
    for name in [*numbers, *places]:
        lost = frame[name].is_not_null() & out[name].is_null()
        if lost.any():
            row = int(lost.arg_max() or 0)
            raise DataError(
                f"Site {site}: {int(lost.sum()):,} values of {name} are not numbers "
                f"(first: {frame[name][row]!r} at {out[TIME][row]}). Correct the file."
            )
    flags = flag_problem(out, where=f"Site {site}")
    if flags is not None:
        raise DataError(f"{flags} Correct the file.")
    return out


def place_in_file(frame: pl.DataFrame, flags: list[str], *, site: str) -> tuple[float | None, float | None, str | None]:
    """Latitude, longitude and IGBP class as the file's constant columns say, None where it does not say.

    Raises
    ------
    DataError
        If one of them changes within the file, or several classes are marked.
    """
    return _constant(frame, "tower_lat", site), _constant(frame, "tower_lon", site), _igbp(frame, flags, site)


def _constant(frame: pl.DataFrame, name: str, site: str) -> float | None:
    if name not in frame.columns:
        return None
    values = frame[name].drop_nulls().unique(maintain_order=True)
    if len(values) > 1:
        raise DataError(
            f"Site {site}: {name} changes within the file ({values[0]:g}, then {values[1]:g}; {len(values)} values). "
            "A tower has one place: correct the file, or give its place with --sites-table."
        )
    return float(values[0]) if len(values) else None


def _igbp(frame: pl.DataFrame, flags: list[str], site: str) -> str | None:
    """The one class whose column is true; columns may be constant, and their booleans spelled in any way."""
    found = []
    for flag in flags:
        text = frame[flag].fill_null("").str.strip_chars().str.to_lowercase().unique()
        unknown = [value for value in text if value not in (*_TRUE, *_FALSE)]
        if unknown:
            raise DataError(f"Site {site}: column {flag} holds {unknown[0]!r}, which is neither true nor false.")
        values = {value in _TRUE for value in text}
        if values == {True, False}:
            raise DataError(f"Site {site}: column {flag} changes within the file. A tower has one IGBP class.")
        if values == {True}:
            found.append(flag.removeprefix(PFT_PREFIX))
    if len(found) > 1:
        raise DataError(f"Site {site}: {len(found)} IGBP classes are marked ({', '.join(found)}). A tower has one.")
    if found and found[0] not in IGBP:
        check_site_facts(site, 0.0, 0.0, found[0])
    return found[0] if found else None
