"""Import of FLUXNET archives: zip files or folders of half-hourly, hourly or daily CSV files, of every hub."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Final

from fluxtrapolation.data.importers.fluxnet_bif import BifShelf
from fluxtrapolation.data.importers.fluxnet_columns import LE, METEO, Options
from fluxtrapolation.data.importers.fluxnet_csv import holds_value
from fluxtrapolation.data.importers.fluxnet_daily import DAILY_SOLAR, read_daily_tower
from fluxtrapolation.data.importers.fluxnet_inventory import (
    Choice,
    choose,
    passed_over_note,
    resolution_of,
    take_stock,
)
from fluxtrapolation.data.importers.fluxnet_names import Resolution, table_site
from fluxtrapolation.data.importers.fluxnet_place import Place, find_place, is_placed
from fluxtrapolation.data.importers.fluxnet_tower import licence_of, network_of, read_tower
from fluxtrapolation.data.importers.outcome import named, tell_failures, tell_held, tell_lags, tell_twins
from fluxtrapolation.data.importers.pool import Progress, work_through
from fluxtrapolation.data.importers.rows import FLUXNET2015_DOI, FLUXNET2015_REFERENCE
from fluxtrapolation.data.jobs import default_jobs
from fluxtrapolation.data.reading import need_file, reading
from fluxtrapolation.data.sites import SiteFacts, load_sites, read_sites_table
from fluxtrapolation.errors import DataError, FluxtrapolationError, FluxtrapolationWarning, examples
from fluxtrapolation.files import sha256_of
from fluxtrapolation.schema import SOLAR_COVARIATES

if TYPE_CHECKING:
    from fluxtrapolation.data.manifest import Source
    from fluxtrapolation.data.store import Store
    from fluxtrapolation.data.writer import StoreWriter

CITATION: Final = f"{FLUXNET2015_REFERENCE} Cite each tower's own DOI as well."
MAX_JOBS: Final = 4
SAID: Final = 5
"""Reasons that are listed where no tower could be read."""


def import_fluxnet(
    source: str | Path,
    out: str | Path,
    *,
    options: Options | None = None,
    resolution: Resolution | None = None,
    sites: Sequence[str] | None = None,
    sites_table: str | Path | None = None,
    overwrite: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Store:
    """Make a store from FLUXNET archives.

    Parameters
    ----------
    source : path-like
        A folder (searched with its sub-folders) of zip archives and CSV files, one archive, or one CSV file. Nothing is
        unpacked to disk.
    out : path-like
        Folder of the store. Interrupted imports continue when called again with the same options.
    options : Options, optional
        Quality, partitioning, ET; see there.
    resolution : {'hourly', 'daily'}, optional
        By default hourly, or daily where there are only daily files.
    sites : sequence of str, optional
        Only these towers.
    sites_table : path-like, optional
        Coordinates, IGBP and offsets; wins over the archive's BIF table, which wins over the packaged table.
    overwrite : bool
        Replace the store that is there, once the new one is finished.
    jobs : int, optional
        Towers worked on at once; at most 4 by default.
    progress : callable, optional
        Called with (site, towers finished, towers in all).

    Returns
    -------
    Store
        Hourly rows are those in which TA, VPD and SW_IN are known; fluxes are null where a native step misses. ET
        is held if any tower has it. A tower that fails stands in ``manifest.failures`` with the reason.

    Raises
    ------
    DataError
        If nothing is there, or no tower can be read.

    Warns
    -----
    FluxtrapolationWarning
        If towers failed, were there already, came in several versions, lack ET, or have a clock off the sun; if two
        towers hold the same values; if files were passed over.
    """
    from fluxtrapolation.data.writer import StoreWriter

    chosen_options = options or Options()
    given = {} if sites_table is None else read_sites_table(sites_table)
    packaged = load_sites()
    stock = take_stock(source, {*given, *packaged})
    kind = resolution_of(stock, resolution)
    chosen_options.check(kind)
    chosen, failures = choose(stock, kind, sites)
    failures = {site: named(site, reason) for site, reason in failures.items()}
    if not chosen:
        raise DataError(_reasons(failures))
    workers = max(1, jobs if jobs is not None else default_jobs(MAX_JOBS))
    with_et = _any_et(chosen, chosen_options, workers)
    if with_et and not overwrite:
        _need_et(Path(out))
    writer = StoreWriter(
        out,
        targets=("GPP", "NEE", "ET") if with_et else ("GPP", "NEE"),
        covariates=(*METEO, *(SOLAR_COVARIATES if kind == "hourly" else DAILY_SOLAR)),
        source=_source(stock.source, chosen, chosen_options, kind, with_et=with_et, sites_table=sites_table),
        resolution=kind,
        overwrite=overwrite,
    )
    writer.forget_failures()
    work = _Work(chosen_options, kind, with_et, given, packaged, writer)
    total = len(chosen) + len(failures)
    with closing(writer):
        todo = [site for site, choice in chosen.items() if not work.is_there(choice)]
        failures |= work_through(
            todo, lambda site: work.run(chosen[site]), total=total, workers=workers, progress=progress
        )
        if not writer.done:
            writer.discard()
            raise DataError(_reasons(failures))
        for site, reason in failures.items():
            kept = " The store keeps what was read from it earlier." if site in writer.done else ""
            writer.fail(site, reason + kept)
        store = writer.finish()
    stock.leftovers.tell(stock.source)
    tell_held(len(chosen) - len(todo), "their files have not changed")
    _tell_versions(chosen)
    _tell_without_et(work.without_et, len(chosen))
    tell_lags(work.lags)
    tell_twins(store)
    tell_failures(failures, total)
    return store


@dataclass(frozen=True, slots=True)
class _Work:
    """The work on one tower, from its file to the store; what was seen on the way."""

    options: Options
    resolution: Resolution
    with_et: bool
    given: Mapping[str, SiteFacts]
    packaged: Mapping[str, SiteFacts]
    writer: StoreWriter
    shelf: BifShelf = field(default_factory=BifShelf)
    hashes: dict[Path, str] = field(default_factory=dict)
    lags: dict[str, float] = field(default_factory=dict)
    without_et: list[str] = field(default_factory=list)

    def run(self, choice: Choice) -> None:
        """Read and write one tower; a DataError says why it cannot be done."""
        site = choice.site
        place, hints = self.place_of(choice)
        read = read_tower if self.resolution == "hourly" else read_daily_tower
        tower = read(choice, place, self.options, with_et=self.with_et)
        said = passed_over_note(choice)
        notes = [f"read from {choice.file.name}", *([] if said is None else [said]), *hints, *tower.notes]
        hashed = self.hash_of(choice)
        self.writer.add(tower.record, tower.frame, notes=notes, source_sha256=hashed, doi=place.doi)
        if tower.lag_min is not None:
            self.lags[site] = tower.lag_min
        if self.with_et and tower.frame["ET"].is_nan().all():
            self.without_et.append(site)

    def place_of(self, choice: Choice) -> tuple[Place, list[str]]:
        """Where the tower stands, after its own tables before those of a whole network; notes on tables not used."""
        site = choice.site
        own = [table for table in choice.tables if table_site(table.name) != "*"]
        bif, hints = self.shelf.facts(site, own, own=True)
        if bif is None:
            shared = [table for table in choice.tables if table not in own]
            bif, more = self.shelf.facts(site, shared, own=False)
            hints += more
        given, packaged = self.given.get(site), self.packaged.get(site)
        return find_place(site, given=given, bif=bif, packaged=packaged, hints=tuple(hints)), hints

    def is_there(self, choice: Choice) -> bool:
        """Whether the store holds the tower as its file is now, and as the tables of a whole network place it now."""
        entry = self.writer.manifest.sites.get(choice.site)
        if entry is None:
            return False
        try:
            if entry.source_sha256 != self.hash_of(choice):
                return False
            place, _ = self.place_of(choice)
            return is_placed(entry, place, network_of(choice, place))
        except DataError:
            return False  # told when it is read

    def hash_of(self, choice: Choice) -> str:
        """The sha256 of the file or archive; of all hashes, where the tower's metadata lie elsewhere."""
        tables = [table.path for table in choice.tables if table_site(table.name) != "*"]
        paths = list(dict.fromkeys([choice.file.path, *tables]))
        for path in paths:
            if path not in self.hashes:
                with reading(path):
                    need_file(path)
                    self.hashes[path] = sha256_of(path)
        if len(paths) == 1:
            return self.hashes[paths[0]]
        return hashlib.sha256("".join(self.hashes[path] for path in paths).encode()).hexdigest()


def _any_et(chosen: Mapping[str, Choice], options: Options, workers: int) -> bool:
    """Whether any tower has LE: the search ends at the first value, mostly in the first block of the first file.

    Where every value misses, files are read to their end: a few at a time.
    """
    if options.et == "none":
        return False
    column, found = LE[options.et], Event()

    def holds(choice: Choice) -> None:
        try:
            if not found.is_set() and holds_value(choice.file, column, stop=found):
                found.set()
        except FluxtrapolationError:
            return  # told when the tower is read

    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="look")
    try:
        for future in as_completed([pool.submit(holds, choice) for choice in chosen.values()]):
            future.result()
            if found.is_set():
                break
    finally:
        found_any = found.is_set()
        found.set()  # an interrupt ends the search as well
        pool.shutdown(wait=True, cancel_futures=True)
    return found_any


def _need_et(out: Path) -> None:
    """Refuse to add towers with LE to a store that was made without: all towers of a store have the same columns."""
    from fluxtrapolation.data.manifest import MANIFEST_NAME, read_manifest

    if not (out / MANIFEST_NAME).exists():
        return
    held, _ = read_manifest(out)
    if held.sites and held.sources[0].kind == "fluxnet" and "ET" not in held.targets:
        raise DataError(
            f"{out} holds {len(held.sites)} sites without ET, and now some towers have LE. Use --et none to add them "
            "without ET, or --overwrite to read all towers again with it."
        )


def _source(
    path: Path,
    chosen: Mapping[str, Choice],
    options: Options,
    resolution: Resolution,
    *,
    with_et: bool,
    sites_table: str | Path | None,
) -> Source:
    from fluxtrapolation import __version__
    from fluxtrapolation.data.manifest import Source, utc_now

    facts = options.as_facts(resolution, with_et=with_et)
    licences = {licence_of(choice.name) for choice in chosen.values()}
    described = any(choice.name.is_fluxnet2015 for choice in chosen.values())
    return Source(
        name=", ".join(sorted({choice.name.product for choice in chosen.values()})),
        kind="fluxnet",
        location=str(path.resolve()),
        licence=licences.pop() if len(licences) == 1 else None,  # else each tower's record says its own
        citation=CITATION if described else None,
        doi=FLUXNET2015_DOI if described else None,
        options={**facts, "sites_table_sha256": None if sites_table is None else sha256_of(Path(sites_table))},
        retrieved=utc_now(),
        package_version=__version__,
    )


def _reasons(failures: Mapping[str, str]) -> str:
    listed = [reason for _, reason in sorted(failures.items())]
    more = f"\n... and {len(listed) - SAID} more towers." if len(listed) > SAID else ""
    return "None of the towers could be imported.\n" + "\n".join(listed[:SAID]) + more


def _tell_versions(chosen: Mapping[str, Choice]) -> None:
    several = [f"{site} ({choice.file.name})" for site, choice in sorted(chosen.items()) if choice.passed_over]
    if several:
        warnings.warn(
            f"{len(several)} {'site has' if len(several) == 1 else 'sites have'} several files; the newest was read: "
            f"{examples(several)}. The notes of each site name the others.",
            FluxtrapolationWarning,
            stacklevel=3,
        )


def _tell_without_et(sites: Sequence[str], total: int) -> None:
    if sites:
        warnings.warn(
            f"{len(sites)} of {total} towers have no ET: {examples(sorted(sites))}. Models train on rows that have all "
            "targets of the store, so these towers only test. Import with --et none to train GPP and NEE on them.",
            FluxtrapolationWarning,
            stacklevel=3,
        )
