"""The benchmark's own files: one ``{site}.csv`` per tower (BENCHMARK, section 1), in and out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import polars as pl

from fluxtrapolation import __version__
from fluxtrapolation.data.importers.csv_sources import SOURCES_NAME, Sources, read_sources, write_sources
from fluxtrapolation.data.importers.csv_table import TIME_FORMAT, read_header
from fluxtrapolation.data.importers.csv_tower import UNSTATED, TowerReader
from fluxtrapolation.data.importers.outcome import named, tell_failures, tell_held, tell_lags
from fluxtrapolation.data.manifest import Source, utc_now
from fluxtrapolation.data.reading import reading
from fluxtrapolation.data.sites import load_sites, merge_facts, read_sites_table
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError, FluxtrapolationError, FluxtrapolationWarning, examples
from fluxtrapolation.files import atomic_path, sha256_of
from fluxtrapolation.schema import COVARIATES, QC, TARGETS, TIME, pft_column

Progress = Callable[[str, int, int], None]
FORMAT_ORIGIN: Final = (
    "Source not stated: cite the providers of the data. File format: Fries, Nelson, Jung, Reichstein, Peters (2026). "
    "FLUXtrapolation: A benchmark on extrapolating ecosystem fluxes. arXiv 2605.19812."
)


def import_benchmark_csv(
    source: str | Path,
    out: str | Path,
    *,
    sites: Sequence[str] | None = None,
    sites_table: str | Path | None = None,
    overwrite: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Store:
    """Read a folder of ``{site}.csv`` files into a store.

    Parameters
    ----------
    source : path
        Folder with one file per tower; the file's name is the site id.
    out : path
        Folder of the store.
    sites : sequence of str, optional
        Only these towers.
    sites_table : path, optional
        Coordinates, IGBP and names; wins over ``tower_lat``, ``tower_lon`` and the ``PFT_*`` columns of a file. The
        packaged table does not: it only fills what a file leaves open.
    overwrite : bool
        Replace the store that is there, once the new one is finished.
    jobs : int, optional
        Files read at once; defaults to the number of cores, at most 4.
    progress : callable, optional
        Called with (site, done, total).

    Returns
    -------
    Store
        With every readable tower. Towers that could not be read stand in ``manifest.failures`` with the reason.

    Raises
    ------
    DataError
        If the folder is missing, holds no CSV file, or no tower could be read.

    Warns
    -----
    FluxtrapolationWarning
        If towers failed, were there already, or have a clock that disagrees with the sun; if columns are left out.

    Notes
    -----
    ``SOURCES.json``, which ``data export`` writes beside the files, gives sources, licences and clocks. Without it the
    source is not known; the offset from UTC is then estimated.
    """
    folder = Path(source)
    files = _site_files(folder, sites)
    told = read_sources(folder)
    given = {} if sites_table is None else read_sites_table(sites_table)
    headers, failures = _headers(files)
    if not headers:
        raise DataError("\n".join(failures.values()))
    targets, covariates, left_out = _held(headers)
    writer = StoreWriter(
        out,
        targets=targets,
        covariates=covariates,
        source=_source(folder, told, sites_table=sites_table),
        overwrite=overwrite,
    )
    writer.forget_failures()
    reader = TowerReader(headers, targets, covariates, left_out, given, merge_facts(given, load_sites()), told)
    with closing(writer):
        todo = [site for site, path in files.items() if site in headers and not _already_there(writer, site, path)]
        failures |= _read_all(reader, writer, files, todo, jobs=jobs, progress=progress)
        if not writer.done:
            writer.discard()
            raise DataError("\n".join(failures.values()))
        for site, reason in failures.items():
            kept = " The store keeps what was read from it earlier." if site in writer.done else ""
            writer.fail(site, reason + kept)
        store = writer.finish()
    tell_held(len(headers) - len(todo), "their files have not changed")
    tell_lags(reader.lags)
    tell_failures(failures, len(files))
    return store


def export_benchmark_csv(
    store: Store, out: str | Path, *, sites: Sequence[str] | None = None, progress: Progress | None = None
) -> Path:
    """Write a store as benchmark files, one ``{site}.csv`` per tower; reading them back gives equal values.

    Columns: ``time``, covariates, targets, ``PFT_*`` (True/False) for the classes of the store, ``year``, ``qc_mask``,
    ``tower_lat``, ``tower_lon``. A missing target is an empty field. ``SOURCES.json`` beside them keeps what the
    columns do not say: sources, licences, names, clocks.
    """
    folder = Path(out)
    names = store.site_ids if sites is None else tuple(dict.fromkeys(sites))
    if not names:
        raise DataError("No site was asked for. Leave the sites out to export all.")
    store.need_sites(names)
    write_sources(folder, store.manifest.sources, (store.record(site) for site in names))
    flags = [pft_column(name) for name in store.igbp_classes]
    for done, (record, frame) in enumerate(store.iter_sites(names), start=1):
        table = frame.with_columns(
            *(pl.lit(str(flag == pft_column(record.igbp))).alias(flag) for flag in flags),
            pl.col(TIME).dt.year().alias("year"),
            pl.lit(record.lat).alias("tower_lat"),
            pl.lit(record.lon).alias("tower_lon"),
        ).select(TIME, *store.covariates, *store.targets, *flags, "year", QC, "tower_lat", "tower_lon")
        with atomic_path(folder / f"{record.site_id}.csv") as temporary:
            table.write_csv(temporary, datetime_format=TIME_FORMAT)
        if progress is not None:
            progress(record.site_id, done, len(names))
    return folder


def _site_files(folder: Path, sites: Sequence[str] | None) -> dict[str, Path]:
    with reading(folder):
        if not folder.exists():
            raise DataError(f"There is no folder {folder}. Check the path.")
        if not folder.is_dir():
            raise DataError(f"{folder} is a file; give the folder that holds one {{site}}.csv per tower.")
        files = {path.stem: path for path in sorted(folder.glob("*.csv"))}
    if not files:
        raise DataError(f"{folder} holds no .csv file. Give the folder with one {{site}}.csv per tower.")
    if sites is None:
        return files
    if not sites:
        raise DataError("No site was asked for. Leave the sites out to import all.")
    missing = [site for site in sites if site not in files]
    if missing:
        raise DataError(f"{folder} has no file for {len(missing)} of the sites asked for: {examples(missing)}.")
    return {site: files[site] for site in sites}


def _headers(files: Mapping[str, Path]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Column names of every readable file, and why the others are not."""
    headers: dict[str, list[str]] = {}
    failures: dict[str, str] = {}
    for site, path in files.items():
        try:
            headers[site] = read_header(path)
        except DataError as error:
            failures[site] = named(site, str(error))
    return headers, failures


def _held(headers: Mapping[str, list[str]]) -> tuple[list[str], list[str], dict[str, str]]:
    """Targets and covariates of the store: those that most files hold. Third, those left out, with how many hold them.

    A file that lacks one of the store's columns fails by itself.
    """
    counts = {name: sum(name in names for names in headers.values()) for name in (*TARGETS, *COVARIATES)}
    taken = {name for name, count in counts.items() if count > len(headers) / 2}
    left_out = {
        name: f"{count} of {len(headers)} files" for name, count in counts.items() if count and name not in taken
    }
    listed = examples((f"{name} (in {count})" for name, count in left_out.items()), 12)
    for kind, known in (("target", TARGETS), ("covariate", COVARIATES)):
        if not taken.intersection(known):
            raise DataError(
                f"No {kind} ({examples(known, 4)}) is in more than half of the files{f': {listed}' if listed else ''}. "
                "Are these benchmark files?"
            )
    if left_out:
        warnings.warn(
            f"Columns that no more than half of the files have are left out: {listed}.",
            FluxtrapolationWarning,
            stacklevel=3,
        )
    return [n for n in TARGETS if n in taken], [n for n in COVARIATES if n in taken], left_out


def _source(folder: Path, told: Sources | None, *, sites_table: str | Path | None) -> Source:
    origins = () if told is None else told.sources

    def joined(values: Sequence[str | None]) -> str | None:
        return "; ".join(dict.fromkeys(value for value in values if value)) or None

    options: dict[str, Any] = {
        "time": "taken as it is; utc_offset_h estimated from SW_IN_POT_hourly",
        "sites_table_sha256": None if sites_table is None else sha256_of(Path(sites_table)),
    }
    if told is not None:
        options["time"] = f"taken as it is; utc_offset_h after {SOURCES_NAME}, checked against SW_IN_POT_hourly"
        options["sources_sha256"] = sha256_of(folder / SOURCES_NAME)
    return Source(
        name=joined([one.name for one in origins]) or UNSTATED,
        kind="benchmark-csv",
        location=str(folder.resolve()),
        licence=joined([one.licence for one in origins]),
        citation=joined([one.citation for one in origins]) if origins else FORMAT_ORIGIN,
        doi=joined([one.doi for one in origins]),
        options=options,
        retrieved=utc_now(),
        package_version=__version__,
    )


def _already_there(writer: StoreWriter, site: str, path: Path) -> bool:
    """Whether the store holds the site as its file is now; a store of before hashes were kept is believed."""
    entry = writer.manifest.sites.get(site)
    if entry is None or site in writer.manifest.failures:
        return False
    with reading(path):
        return entry.source_sha256 in (None, sha256_of(path))


def _read_all(
    reader: TowerReader,
    writer: StoreWriter,
    files: Mapping[str, Path],
    todo: Sequence[str],
    *,
    jobs: int | None,
    progress: Progress | None,
) -> dict[str, str]:
    """Read and write the sites of ``todo``, a few at a time; returns the failed ones with their reasons."""
    failures: dict[str, str] = {}

    def one(site: str) -> None:
        try:
            record, frame, notes, sha256 = reader.read(files[site], site)
            writer.add(record, frame, notes=notes, source_sha256=sha256)
        except FluxtrapolationError as error:
            if isinstance(error.__cause__, OSError):
                raise  # the disk, not the tower: nothing more can be written
            failures[site] = named(site, str(error))

    done = len(reader.headers) - len(todo)
    with ThreadPoolExecutor(jobs or min(os.cpu_count() or 1, 4)) as pool:
        for site, _ in zip(todo, pool.map(one, todo), strict=True):
            done += 1
            if progress is not None:
                progress(site, done, len(files))
    return failures
