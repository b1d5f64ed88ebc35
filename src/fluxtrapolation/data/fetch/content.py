"""Is it the file that was asked for? A look at what came, before it is accepted: quick, and not the importer's work."""

from __future__ import annotations

import html
import re
import zipfile
from pathlib import Path
from typing import Final

from fluxtrapolation.data.fetch.files import FetchFile
from fluxtrapolation.data.sites import load_sites
from fluxtrapolation.schema import SITE, TIME, canonical_column

_BOM: Final = b"\xef\xbb\xbf"
_PIECE: Final = 1 << 16
_SITE_COLUMNS: Final = (SITE, "site")
_FLUXNET_ID: Final = re.compile(r"[A-Z]{2}-[A-Za-z0-9]{3}")
NEAR_DEGREES: Final = 0.5
"""Tower and file may disagree by that much; packed coordinates and moved masts do, by up to about 0.1."""


def check_content(path: Path, file: FetchFile) -> str | None:
    """Return why a file is not what its name says, None if nothing speaks against it.

    A file of any kind must not be empty or a web page. A CSV file must be a whole table with a column ``time``, of the
    right tower. A ZIP file must have its table of contents, which stands at the end.
    """
    with path.open("rb") as handle:
        head = handle.read(_PIECE)
        size = handle.seek(0, 2)
        handle.seek(max(0, size - _PIECE))
        tail = handle.read()
    start = head.removeprefix(_BOM).lstrip()
    kind = file.name.rpartition(".")[2].lower()
    if not start:
        return "the file is empty"
    if start[:1] == b"<" and kind not in ("html", "htm", "xml"):
        return f"it is a web page (HTML{_title(start)}), not the file"
    if kind == "csv":
        return _check_table(start, tail, file)
    if kind == "zip" and not zipfile.is_zipfile(path):
        return "it is no ZIP archive, or its end is missing"
    return None


def _title(page: bytes) -> str:
    """The title of a page for the message: it mostly says what went wrong there."""
    found = re.search(rb"<title[^>]*>(.*?)</title>", page, re.IGNORECASE | re.DOTALL)
    if found is None:
        return ""
    words = " ".join(html.unescape(found[1].decode("utf-8", "replace")).split())
    return f", titled '{words[:80]}'" if words else ""


def _check_table(start: bytes, tail: bytes, file: FetchFile) -> str | None:
    first, _, rest = start.partition(b"\n")
    try:
        names = [canonical_column(name) for name in _fields(first)]
    except UnicodeDecodeError:
        return "it is not text in UTF-8"
    if len(names) < 2 or TIME not in names:
        return f"it is no table with a column time (it begins with {first[:60].decode('utf-8', 'replace').strip()!r})"
    if not rest.strip():
        return "it has a header but no rows"
    if not tail.endswith(b"\n"):
        return "it ends in the middle of a row: the last line has no end"
    last = tail.rstrip().rpartition(b"\n")[2]
    if b'"' not in last and last.count(b",") + 1 != len(names):
        return f"it ends in the middle of a row: the last has {last.count(b',') + 1} of {len(names)} fields"
    row = dict(zip(names, _fields(rest.lstrip().partition(b"\n")[0], "replace"), strict=False))
    return _wrong_site(row, file.site)


def _fields(line: bytes, errors: str = "strict") -> list[str]:
    return [field.strip().strip('"') for field in line.decode("utf-8", errors).split(",")]


def _wrong_site(row: dict[str, str], site: str | None) -> str | None:
    """Compare what the first row says of the tower with the tower that was asked for."""
    if site is None:
        return None
    said = next((row[name] for name in _SITE_COLUMNS if row.get(name)), site)
    if said != site and _FLUXNET_ID.fullmatch(said):  # else it is a name, such as Hainich
        return f"it is another tower's: its rows say {said}"
    known = load_sites().get(site)
    try:
        lat, lon = float(row["tower_lat"]), float(row["tower_lon"])
    except (KeyError, ValueError):
        return None
    if known is None or known.lat is None or known.lon is None:
        return None
    east = abs((lon - known.lon + 180.0) % 360.0 - 180.0)
    if abs(lat - known.lat) > NEAR_DEGREES or east > NEAR_DEGREES:
        return f"it is another tower's: it says {lat:g}, {lon:g}, and {site} stands at {known.lat:g}, {known.lon:g}"
    return None
