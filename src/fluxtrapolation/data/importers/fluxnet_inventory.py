"""What lies in a folder or archive of FLUXNET files, and which file of each site is read."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fluxtrapolation.data.importers.fluxnet_bif import read_bif
from fluxtrapolation.data.importers.fluxnet_csv import DataFile
from fluxtrapolation.data.importers.fluxnet_leftovers import REASON, Leftovers, kept_by_fetch, packed_hint
from fluxtrapolation.data.importers.fluxnet_names import (
    EXAMPLE,
    FluxnetName,
    Resolution,
    parse_name,
    table_site,
    version_rule,
)
from fluxtrapolation.data.importers.fluxnet_zip import list_members
from fluxtrapolation.data.reading import near_name, reading
from fluxtrapolation.errors import DataError, did_you_mean, examples

MAX_DEPTH: Final = 6
"""Folders below the source that are looked into."""
NETWORK: Final = "*"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A file of fluxes of one site."""

    name: FluxnetName
    file: DataFile


@dataclass(slots=True)
class Inventory:
    """All that was found.

    Attributes
    ----------
    files : dict of str to list of Candidate
        By site, hourly and daily ones.
    tables : dict of str to list of DataFile
        Metadata tables (BIF) by site, ``*`` for those of a whole network.
    broken : dict of str to str
        Archives that cannot be read, by site or file name.
    leftovers : Leftovers
        What is passed over.
    """

    source: Path
    files: dict[str, list[Candidate]] = field(default_factory=dict)
    tables: dict[str, list[DataFile]] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)
    leftovers: Leftovers = field(default_factory=Leftovers)
    companions: dict[str, list[Path]] = field(default_factory=dict)
    """Loose FLUXNET files by the week, month or year, or of other contents: usual beside the others, and not read."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The file that is read of one site, its metadata tables, and what was passed over."""

    site: str
    name: FluxnetName
    file: DataFile
    tables: tuple[DataFile, ...]
    passed_over: tuple[str, ...]


def looks_like_fluxnet(path: Path) -> bool:
    """Whether a file, or anything in a folder, is named as FLUXNET archives are."""
    if not path.is_dir():
        name = parse_name(path.name)
        if name is None and path.suffix.casefold() == ".zip":
            return any(parse_name(member.filename) is not None for member in list_members(path))
        return name is not None
    return any(parse_name(file.name) is not None for file in _walk(path, Leftovers()))


def take_stock(source: str | Path, known: Collection[str] = ()) -> Inventory:
    """List the FLUXNET files of a folder, an archive, or the one file that is given.

    Parameters
    ----------
    source : path-like
    known : collection of str
        Sites of which facts are known. A file whose name spells one of them in other capitals (``flx_de-tha_...``) is
        that site's; so it is where the archive's own BIF table spells the site.

    Raises
    ------
    DataError
        If nothing is there, or nothing is a FLUXNET file.
    """
    path = Path(source)
    stock = Inventory(path)
    with reading(path):
        if not path.exists():
            raise DataError(f"{path} does not exist.{near_name(path)} Check the path.")
        files = _walk(path, stock.leftovers) if path.is_dir() else [path, *_tables_beside(path)]
    for file in files:
        _take(file, stock)
    _spell_sites(stock, known)
    for site, companions in sorted(stock.companions.items()):
        if not {site.casefold()} & {one.casefold() for one in (*stock.files, *stock.broken)}:
            for file in companions:
                stock.leftovers.add("alone", file)
    if not stock.files:
        if stock.broken:
            raise DataError("\n".join(stock.broken[key] for key in sorted(stock.broken)))
        raise DataError(
            f"{path} holds no half-hourly, hourly or daily FLUXNET file ({len(files)} files were looked at)."
            f"{packed_hint(_packed_below(path))} "
            f"Names are as {EXAMPLE}, FULLSET, SUBSET or FLUXMET, with HH, HR or DD, loose or in a zip archive."
        )
    return stock


def _packed_below(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    return sorted(file for file in path.rglob("*") if file.name[0] != ".")


def _spell_sites(stock: Inventory, known: Collection[str]) -> None:
    """Put files under the site's own spelling where names carry other capitals: file systems and tools change them."""
    exact = set(known)
    folded: dict[str, list[str]] = {}
    for site in known:
        folded.setdefault(site.casefold(), []).append(site)
    for site in sorted({*stock.files, *stock.tables, *stock.broken} - {NETWORK, *exact}):
        meant = folded.get(site.casefold(), []) or _spelt_by_tables(site, stock)
        if len(meant) != 1 or meant[0] == site:
            continue
        if site in stock.files:
            stock.files.setdefault(meant[0], []).extend(stock.files.pop(site))
        if site in stock.tables:
            stock.tables.setdefault(meant[0], []).extend(stock.tables.pop(site))
        if site in stock.broken:
            stock.broken.setdefault(meant[0], stock.broken.pop(site))


def _spelt_by_tables(site: str, stock: Inventory) -> list[str]:
    """The site in the capitals of its own BIF tables."""
    found: set[str] = set()
    for table in stock.tables.get(site, ()):
        try:
            found |= {one for one in read_bif(table) if one.casefold() == site.casefold()}
        except DataError:
            continue  # told when the tower is read
    return sorted(found)


def _tables_beside(file: Path) -> list[Path]:
    """Metadata tables in the folder of a single file."""
    return sorted(path for path in file.parent.glob("*.csv") if path != file and table_site(path.name) is not None)


def _walk(folder: Path, leftovers: Leftovers) -> list[Path]:
    """CSV files and archives below a folder, in order; links to folders are not followed. Hidden ones do not count.

    Nor does what ``data fetch`` keeps beside its files; what it rejected is never read.
    """
    found: list[Path] = []

    def closed(error: OSError) -> None:
        leftovers.add("closed", Path(error.filename))

    for place, folders, names in os.walk(folder, onerror=closed):
        here = Path(place)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in [name for name in folders if (here / name).is_symlink()]:
            leftovers.add("link", here / name)
        if len(here.relative_to(folder).parts) >= MAX_DEPTH:
            for name in folders:
                if not (here / name).is_symlink():
                    leftovers.add("deep", here / name)
            folders.clear()
        there = frozenset(names)
        for name in sorted(name for name in names if name[0] != "." and not kept_by_fetch(name, there)):
            if f"{name}{REASON}" in there:
                leftovers.add("rejected", here / name)
            elif name.casefold().endswith((".csv", ".zip", ".xlsx", ".xls")):
                found.append(here / name)
            else:
                leftovers.add_file(here / name)
    return found


def _take(path: Path, stock: Inventory) -> None:
    """Add one file to the stock; an archive that cannot be read is kept with the reason."""
    if path.suffix.casefold() != ".zip":
        _add(DataFile(path), stock)
        return
    name = parse_name(path.name)
    try:
        members = [m.filename for m in list_members(path)]
    except DataError as error:
        stock.broken[path.name if name is None else name.site] = str(error)
        return
    sites = {own.site for member in members if (own := parse_name(member)) is not None}
    if name is not None and sites and {site.casefold() for site in sites} != {name.site.casefold()}:
        other = next(site for site in sorted(sites) if site.casefold() != name.site.casefold())
        stock.broken[name.site] = (
            f"{path.name} is named after {name.site} and holds files of {other}. Which is right? Rename the archive."
        )
        return
    taken = [_add(DataFile(path, member), stock) for member in members]
    if any(taken):
        return
    if name is None:
        stock.leftovers.add_file(path)
    else:
        stock.broken[name.site] = (
            f"{path.name} holds no half-hourly, hourly or daily file of fluxes; it holds {examples(members)}. "
            "Fetch the FULLSET archive."
        )


def _add(file: DataFile, stock: Inventory) -> bool:
    """Take a file of fluxes or a metadata table; says whether it was one of fluxes."""
    name = parse_name(file.name)
    if name is not None and name.resolution is not None:
        stock.files.setdefault(name.site, []).append(Candidate(name, file))
        return True
    site = table_site(file.name)
    if site is not None:
        stock.tables.setdefault(site, []).append(file)
    elif file.member is None and name is not None:
        stock.companions.setdefault(name.site, []).append(file.path)
    elif file.member is None:
        stock.leftovers.add_file(file.path)
    return False


def resolution_of(stock: Inventory, asked: Resolution | None) -> Resolution:
    """The resolution to read: as asked, else hourly where any site has hourly files."""
    if asked is not None:
        return asked
    every = {candidate.name.resolution for files in stock.files.values() for candidate in files}
    return "hourly" if "hourly" in every else "daily"


def choose(
    stock: Inventory, resolution: Resolution, sites: Sequence[str] | None
) -> tuple[dict[str, Choice], dict[str, str]]:
    """The file to read of each site, and why others have none.

    Raises
    ------
    DataError
        If a site that was asked for is not there, or no site has a file of this resolution.
    """
    known = sorted({*stock.files, *stock.broken})
    if sites is not None:
        if not sites:
            raise DataError("No site was asked for. Leave --sites out to import all.")
        missing = [site for site in sites if site not in known]
        if missing:
            raise DataError(
                f"{len(missing)} of the {len(sites)} sites asked for are not in {stock.source}: {examples(missing)}."
                f"{did_you_mean(missing[0], known)} It holds {len(known)} sites, e.g. {examples(known)}."
            )
    chosen: dict[str, Choice] = {}
    failures: dict[str, str] = {}
    for site in known if sites is None else sorted(set(sites)):
        fitting = [c for c in stock.files.get(site, []) if c.name.resolution == resolution]
        if fitting:
            chosen[site] = _newest(site, fitting, stock.tables)
        elif site in stock.broken:
            failures[site] = stock.broken[site]
        else:
            failures[site] = _no_such_file(stock.files[site], resolution)
    return chosen, failures


def _newest(site: str, fitting: Sequence[Candidate], tables: Mapping[str, Sequence[DataFile]]) -> Choice:
    # Of two equal ones the loose file: it need not be unpacked.
    order = sorted(fitting, key=lambda c: (c.name.newness, c.file.member is None, str(c.file.path)), reverse=True)
    best = order[0]
    own = sorted(tables.get(site, ()), key=lambda t: (t.path != best.file.path, t.path.parent != best.file.path.parent))
    return Choice(
        site=site,
        name=best.name,
        file=best.file,
        tables=(*own, *tables.get(NETWORK, ())),
        passed_over=tuple(candidate.file.name for candidate in order[1:]),
    )


def _no_such_file(there: Sequence[Candidate], resolution: Resolution) -> str:
    if resolution == "hourly":
        return (
            f"it has only a daily file ({there[0].file.name}), and the others are read by the hour. "
            "Import it into a daily store with --resolution daily."
        )
    return (
        f"it has no daily file (DD), only {there[0].file.name}. Import it by the hour with --resolution hourly, or "
        "fetch its DD file."
    )


def passed_over_note(choice: Choice) -> str | None:
    """Say which files of a site were not read, or None."""
    if not choice.passed_over:
        return None
    return (
        f"{len(choice.passed_over) + 1} files of this site: the newest was read ({choice.file.name}), not "
        f"{examples(choice.passed_over)} (newest is: {version_rule()})"
    )
