"""BIF tables (BADM interchange format): what the archive itself says of a tower.

A long table ``SITE_ID, GROUP_ID, VARIABLE_GROUP, VARIABLE, DATAVALUE``; the rows of one GROUP_ID belong together. Where
a fact is given several times, the group with the latest ``*_DATE_START`` counts, else the last one.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from fluxtrapolation.data.importers.fluxnet_csv import DataFile
from fluxtrapolation.data.reading import plain_text
from fluxtrapolation.errors import DataError, examples
from fluxtrapolation.schema import IGBP

HEADER: Final = ("SITE_ID", "GROUP_ID", "VARIABLE_GROUP", "VARIABLE", "DATAVALUE")
MAX_BYTES: Final = 256 << 20
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "LOCATION_LAT": (-90.0, 90.0),
    "LOCATION_LONG": (-180.0, 180.0),
    "UTC_OFFSET": (-12.0, 14.0),
    "MAT": (-60.0, 50.0),
    "MAP": (0.0, 20000.0),
}
_WANTED: Final = (*_RANGES, "IGBP", "SITE_NAME", "DOI", "DOI_DATAPRODUCT")

_SHOWN: Final = ("SITE_NAME", "DOI")
"""Variables whose text is kept as it is written."""

Groups = dict[str, dict[str, str]]
"""Variables and values by GROUP_ID, in the order of the table."""


@dataclass(frozen=True, slots=True)
class BifFacts:
    """Facts of one tower; None where the table does not say.

    ``utc_offset_h`` is local standard time minus UTC; ``problems`` names values that cannot be used.
    """

    site_id: str
    file: str
    name: str | None = None
    lat: float | None = None
    lon: float | None = None
    igbp: str | None = None
    utc_offset_h: float | None = None
    mat_c: float | None = None
    map_mm: float | None = None
    doi: str | None = None
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class BifShelf:
    """Metadata tables, each parsed once."""

    read: dict[DataFile, dict[str, Groups]] = field(default_factory=dict)

    def facts(self, site: str, tables: Sequence[DataFile], own: bool) -> tuple[BifFacts | None, list[str]]:
        """What the first table that knows the site says, and notes on tables that could not be used.

        Parameters
        ----------
        site : str
        tables : sequence of DataFile
        own : bool
            Whether these tables carry the name of this site, so that they must be about it.

        Raises
        ------
        DataError
            If a table of the site's name is about another site.
        """
        notes: list[str] = []
        for table in tables:
            if table.name.casefold().endswith((".xlsx", ".xls")):
                notes.append(f"{table.name} is not read: it is an Excel file. Save it as CSV beside the others")
                continue
            try:
                groups = self._groups(table)
            except DataError as error:
                notes.append(f"not used: {error}")
                continue
            if site in groups:
                return bif_facts(site, table.name, groups[site]), notes
            if own and groups:
                raise DataError(
                    f"the site id of its metadata does not match: {table.name} is about {examples(sorted(groups))}. "
                    "One of the two is misnamed; fetch the archive again."
                )
        return None, notes

    def _groups(self, table: DataFile) -> dict[str, Groups]:
        held = self.read.get(table)
        if held is None:
            held = self.read[table] = read_bif(table)
        return held


def read_bif(table: DataFile) -> dict[str, Groups]:
    """The wanted variables of a BIF table by site and group.

    Raises
    ------
    DataError
        If the file cannot be read or is no such table.
    """
    with table.open() as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise DataError(f"{table.name} has more than {MAX_BYTES >> 20} MB; a BIF table has a few.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # names of sites and people, saved by a spreadsheet
    try:
        rows = csv.reader(io.StringIO(text))
        header = [plain_text(name).upper() for name in next(rows, [])]
        missing = [name for name in HEADER if name not in header]
        if missing:
            raise DataError(
                f"{table.name} is no BIF table: it has no column {missing[0]} (it has {examples(header, 5)}). "
                f"The columns are {', '.join(HEADER)}."
            )
        at = {name: header.index(name) for name in HEADER}
        sites: dict[str, Groups] = {}
        for row in rows:
            if len(row) < len(header):
                continue
            variable = row[at["VARIABLE"]].strip().upper()
            if variable in _WANTED or variable.endswith("_DATE_START"):
                groups = sites.setdefault(plain_text(row[at["SITE_ID"]]), {})
                groups.setdefault(row[at["GROUP_ID"]], {})[variable] = row[at["DATAVALUE"]].strip()
    except csv.Error as error:
        raise DataError(f"{table.name} is not a readable CSV table ({error}).") from None
    return sites


def bif_facts(site: str, file: str, groups: Groups) -> BifFacts:
    """The facts of one site out of its groups; text without control characters, which is told where any were."""
    problems: list[str] = []
    for variable in _SHOWN:
        given = [group.get(variable, "") for group in groups.values()]
        if any(plain_text(text) != " ".join(text.split()) for text in given):
            problems.append(f"{file}: {variable} holds control characters, left out here")
    groups = {key: {name: plain_text(value) for name, value in group.items()} for key, group in groups.items()}

    def text(variable: str, dated: str) -> str | None:
        held = [(group.get(dated, ""), group[variable]) for group in groups.values() if group.get(variable)]
        # max returns the first of equals; the last is wanted
        return max(reversed(held), key=lambda pair: pair[0])[1] if held else None

    def number(variable: str, dated: str = "") -> float | None:
        value = text(variable, dated)
        if value is None or value in ("-9999", "NA"):
            return None
        low, high = _RANGES[variable]
        found = re.fullmatch(r"(?:UTC\s*|GMT\s*)?([+-]?\d+(?:\.\d+)?)", value, re.IGNORECASE)
        if found is None or not low <= float(found[1]) <= high:
            problems.append(f"{file}: {variable} is {value!r}, not a number from {low:g} to {high:g}; not used")
            return None
        return float(found[1])

    igbp = text("IGBP", "IGBP_DATE_START")
    if igbp is not None and igbp.upper() not in IGBP:
        problems.append(f"{file}: IGBP is {igbp!r}, none of the classes {', '.join(IGBP)}; not used")
        igbp = None
    lat = number("LOCATION_LAT", "LOCATION_DATE_START")
    lon = number("LOCATION_LONG", "LOCATION_DATE_START")
    return BifFacts(
        site_id=site,
        file=file,
        name=text("SITE_NAME", ""),
        lat=lat if lon is not None else None,
        lon=lon if lat is not None else None,
        igbp=None if igbp is None else igbp.upper(),
        utc_offset_h=number("UTC_OFFSET", "UTC_OFFSET_DATE_START"),
        mat_c=number("MAT"),
        map_mm=number("MAP"),
        doi=_doi(groups),
        problems=tuple(problems),
    )


def _doi(groups: Groups) -> str | None:
    """The DOI of the FLUXNET product where it is told apart from others, else the first."""
    given = [(group.get("DOI_DATAPRODUCT", ""), group["DOI"]) for group in groups.values() if group.get("DOI")]
    if not given:
        return None
    product = [doi for kind, doi in given if "FLUXNET" in kind.upper()]
    return re.sub(r"^(https?://)?(dx\.)?doi\.org/", "", (product or [given[0][1]])[0])
