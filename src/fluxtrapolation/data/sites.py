"""Facts on towers: the packaged site table, and tables that a user brings along (``--sites-table``)."""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Final

from fluxtrapolation.data.reading import near_name, reading
from fluxtrapolation.errors import DataError, FluxtrapolationWarning, MissingColumnError, did_you_mean, examples
from fluxtrapolation.schema import IGBP, SITE, SITE_ID_RULE, canonical_column, is_site_id

REQUIRED: Final = ("site_id", "lat", "lon", "igbp")
OPTIONAL: Final = (
    "name",
    "mat_c",
    "map_mm",
    "network",
    "in_benchmark_lists",
    "native_step_min",
    "utc_offset_store_h",
    "true_utc_offset_h",
    "time_flag",
)
_PACKAGED_ONLY: Final = ("mat_source", "source_repo")
_EMPTY: Final = frozenset({"", "na", "nan", "null", "none"})
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "lat": (-90.0, 90.0),
    "lon": (-180.0, 180.0),
    "mat_c": (-60.0, 50.0),
    "map_mm": (0.0, 20000.0),
    "utc_offset_store_h": (-14.0, 14.0),
    "true_utc_offset_h": (-14.0, 14.0),
}


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """What is known of one tower before any of its data are read.

    Attributes
    ----------
    site_id, name : str
    lat, lon : float
        Degrees north and east.
    igbp : str
        IGBP class of the schema.
    mat_c, map_mm : float or None
        Mean annual air temperature, degC, and precipitation, mm.
    network : str or None
        As the source writes it.
    in_benchmark : bool
        Whether the published lists of the benchmark name the tower.
    native_step_min : int or None
        30 or 60: step of the tower's own record.
    utc_offset_store_h : float or None
        Offset used by the FLUXNET2015 Zarr store: local standard time = its time + this.
    true_utc_offset_h : float or None
        Local standard time minus true UTC, hours.
    time_flag : str or None
        A known peculiarity of the tower's time axis.
    """

    site_id: str
    name: str | None
    lat: float
    lon: float
    igbp: str
    mat_c: float | None = None
    map_mm: float | None = None
    network: str | None = None
    in_benchmark: bool = False
    native_step_min: int | None = None
    utc_offset_store_h: float | None = None
    true_utc_offset_h: float | None = None
    time_flag: str | None = None


@cache
def load_sites() -> Mapping[str, SiteFacts]:
    """The packaged table, read once: site id to facts. Its sources stand in ``resources/SOURCES.md``."""
    text = (resources.files("fluxtrapolation.data") / "resources" / "sites.csv").read_text(encoding="utf-8")
    rows = list(csv.reader(io.StringIO(text)))
    return _parse(rows[0], rows[1:], where="the packaged site table")


def read_sites_table(path: str | Path) -> dict[str, SiteFacts]:
    """Read a user's site table, CSV or Parquet.

    Parameters
    ----------
    path : path-like
        Columns ``site_id, lat, lon, igbp``, and optionally ``name, mat_c, map_mm, network, in_benchmark_lists,
        native_step_min, utc_offset_store_h, true_utc_offset_h, time_flag``. Empty cells and NA mean not known.

    Returns
    -------
    dict of str to SiteFacts

    Raises
    ------
    MissingColumnError
        If a required column is not there.
    DataError
        If the file is missing, empty, not a table, or rows are wrong; the message names every wrong row's number.

    Warns
    -----
    FluxtrapolationWarning
        Once, naming the columns that are not used.
    """
    path = Path(path)
    with reading(path):
        if not path.is_file():
            raise DataError(
                f"There is no sites table at {path}.{near_name(path)} Check the path given to --sites-table."
            )
    header, rows = _read_parquet(path) if path.suffix.casefold() in (".parquet", ".pq") else _read_csv(path)
    return _parse(header, rows, where=str(path))


def merge_facts(table: Mapping[str, SiteFacts], base: Mapping[str, SiteFacts]) -> dict[str, SiteFacts]:
    """Facts of ``table`` over those of ``base``: what a row of ``table`` leaves empty is taken from ``base``."""
    merged = dict(base)
    for site, facts in table.items():
        held = base.get(site)
        if held is not None:
            gaps = {f.name: getattr(held, f.name) for f in fields(facts) if getattr(facts, f.name) is None}
            gaps["in_benchmark"] = facts.in_benchmark or held.in_benchmark
            facts = replace(facts, **gaps)
        merged[site] = facts
    return merged


def _read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    with reading(path):
        content = path.read_bytes()
    if not content.strip():
        raise DataError(f"{path} is empty. A sites table needs the columns {', '.join(REQUIRED)}.")
    if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        raise DataError(f"{path} is a web page, not a table: it begins with '<'. Download the file itself.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a CSV file in UTF-8 (byte {error.start}). Save it as CSV UTF-8.") from None
    separator = max((",", ";", "\t"), key=text.partition("\n")[0].count)
    try:
        rows = list(csv.reader(io.StringIO(text), delimiter=separator))
    except csv.Error as error:
        raise DataError(f"{path} is not a readable CSV table ({error}). Save it as CSV UTF-8.") from None
    return rows[0], rows[1:]


def _read_parquet(path: Path) -> tuple[list[str], list[list[str]]]:
    import polars as pl

    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty. A sites table needs the columns {', '.join(REQUIRED)}.")
    try:
        frame = pl.read_parquet(path, glob=False)
        text = frame.select(pl.all().cast(pl.String).fill_null(""))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{path} cannot be read as Parquet ({str(error).splitlines()[0]}). Give a flat table of one row per site."
        ) from None
    return text.columns, [list(row) for row in text.rows()]


def _columns(header: Sequence[str], *, where: str) -> dict[str, int]:
    known = (*REQUIRED, *OPTIONAL)
    position: dict[str, int] = {}
    unused = []
    for index, written in enumerate(header):
        folded = written.strip().casefold()
        name = SITE if canonical_column(folded) == SITE else folded
        if name in known and name in position:
            raise DataError(f"{where}: the column {name} appears twice. Keep one.")
        if name in known:
            position[name] = index
        elif name not in _PACKAGED_ONLY:
            unused.append(written.strip())
    missing = [name for name in REQUIRED if name not in position]
    if missing:
        raise MissingColumnError(
            f"{where}: {len(missing)} required column{'s are' if len(missing) > 1 else ' is'} missing: "
            f"{', '.join(missing)}.{did_you_mean(missing[0], unused)} It has: {', '.join(header)}. "
            f"A sites table needs {', '.join(REQUIRED)}."
        )
    if unused:
        warnings.warn(
            f"{where}: {len(unused)} columns are not used: {examples(unused, 5)}. "
            f"Known columns: {', '.join((*REQUIRED, *OPTIONAL))}.",
            FluxtrapolationWarning,
            stacklevel=4,
        )
    return position


def _parse(header: Sequence[str], rows: Sequence[Sequence[str]], *, where: str) -> dict[str, SiteFacts]:
    position = _columns(header, where=where)
    sites: dict[str, SiteFacts] = {}
    first_row: dict[str, int] = {}
    problems: list[str] = []
    for number, row in enumerate(rows, start=2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            problems.append(f"row {number}: {len(row)} cells, the header has {len(header)}")
            continue
        cells = {name: row[index].strip() for name, index in position.items()}
        try:
            facts = _facts(cells)
        except ValueError as error:
            problems.append(f"row {number} ({cells[SITE] or 'no id'}): {error}")
            continue
        if facts.site_id in sites:
            problems.append(f"row {number}: site {facts.site_id} stands in row {first_row[facts.site_id]} already")
            continue
        sites[facts.site_id] = facts
        first_row[facts.site_id] = number
    if problems:
        listed = "; ".join(problems[:5]) + (f"; and {len(problems) - 5} more" if len(problems) > 5 else "")
        raise DataError(f"{where}: {len(problems)} of {len(rows)} rows cannot be used: {listed}. Correct these rows.")
    if not sites:
        raise DataError(f"{where} has a header but no sites. Add one row per site.")
    return sites


def _facts(cells: Mapping[str, str]) -> SiteFacts:
    """One row; a ValueError says what is wrong with it."""

    def text(name: str) -> str | None:
        value = cells.get(name, "")
        return None if value.casefold() in _EMPTY else value

    def number(name: str) -> float | None:
        value = text(name)
        if value is None:
            return None
        try:
            parsed = float(value)
        except ValueError:
            raise ValueError(f"{name} is {value!r}, not a number") from None
        low, high = _RANGES.get(name, (-math.inf, math.inf))
        if not (math.isfinite(parsed) and low <= parsed <= high):
            raise ValueError(f"{name} is {value}, outside {low:g} to {high:g}")
        return parsed

    site, igbp, lat, lon = text(SITE), text("igbp"), number("lat"), number("lon")
    if site is None:
        raise ValueError("the site has no usable id")
    if not is_site_id(site):
        raise ValueError(f"{site!r} is no usable id (ids have {SITE_ID_RULE})")
    if lat is None or lon is None:
        raise ValueError("the site has no coordinates")
    if igbp is None or igbp not in IGBP:
        hint = did_you_mean(igbp or "", IGBP)
        raise ValueError(f"unknown IGBP class {igbp!r}.{hint} Known: {', '.join(IGBP)}")
    step = number("native_step_min")
    if step not in (None, 30.0, 60.0):
        raise ValueError(f"native_step_min is {step:g}, neither 30 nor 60")
    listed = number("in_benchmark_lists")
    return SiteFacts(
        site_id=site,
        name=text("name"),
        lat=lat,
        lon=lon,
        igbp=igbp,
        mat_c=number("mat_c"),
        map_mm=number("map_mm"),
        network=text("network"),
        in_benchmark=bool(listed),
        native_step_min=None if step is None else int(step),
        utc_offset_store_h=number("utc_offset_store_h"),
        true_utc_offset_h=number("true_utc_offset_h"),
        time_flag=text("time_flag"),
    )
