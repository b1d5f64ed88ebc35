"""The benchmark's own files: one ``{site}.csv`` per tower (BENCHMARK, section 1), in and out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from fluxtrapolation import __version__
from fluxtrapolation.data.importers.csv_export import export_benchmark_csv
from fluxtrapolation.data.importers.csv_fetched import fetched_facts
from fluxtrapolation.data.importers.csv_folder import open_folder
from fluxtrapolation.data.importers.csv_problem import CsvFileError, Problem, problem_table, problems_of
from fluxtrapolation.data.importers.csv_sources import SOURCES_NAME, Sources
from fluxtrapolation.data.importers.csv_tower import UNSTATED
from fluxtrapolation.data.importers.outcome import tell_failures, tell_held, tell_lags, tell_twins
from fluxtrapolation.data.importers.pool import Progress, work_through
from fluxtrapolation.data.jobs import default_jobs
from fluxtrapolation.data.manifest import Source, utc_now
from fluxtrapolation.data.reading import reading
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError
from fluxtrapolation.files import sha256_of

if TYPE_CHECKING:
    from fluxtrapolation.data.fetch.lock import Pin

__all__ = ["check_benchmark_csv", "export_benchmark_csv", "import_benchmark_csv"]
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
    plan = open_folder(folder, sites=sites, sites_table=sites_table)
    if not plan.headers:
        raise CsvFileError(plan.problems)
    targets, covariates, left_out = plan.held()
    writer = StoreWriter(
        out,
        targets=targets,
        covariates=covariates,
        source=_source(folder, plan.told, plan.fetched, sites_table=sites_table),
        overwrite=overwrite,
    )
    writer.forget_failures()
    reader = plan.reader(targets, covariates, left_out)
    failures = _by_site(plan.problems)
    with closing(writer):
        todo = [site for site in plan.headers if not _already_there(writer, site, plan.files[site])]

        def one(site: str) -> None:
            tower = reader.read(plan.files[site], site)
            # Checked by the reader, with more to say than the writer has.
            writer.add(tower.record, tower.frame, notes=tower.notes, source_sha256=tower.sha256, check=False)

        failures |= work_through(todo, one, total=len(plan.files), workers=jobs or default_jobs(), progress=progress)
        if not writer.done:
            writer.discard()
            raise DataError("\n".join(failures[site] for site in sorted(failures)))
        for site, reason in sorted(failures.items()):
            kept = " The store keeps what was read from it earlier." if site in writer.done else ""
            writer.fail(site, reason + kept)
        store = writer.finish()
    plan.tell_columns(targets, covariates, left_out)
    tell_held(len(plan.headers) - len(todo), "their files have not changed")
    tell_lags(reader.lags)
    tell_twins(store)
    tell_failures(failures, len(plan.files))
    return store


def check_benchmark_csv(
    source: str | Path,
    *,
    sites: Sequence[str] | None = None,
    sites_table: str | Path | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> pl.DataFrame:
    """Read and check a folder of ``{site}.csv`` files without writing anything.

    Parameters
    ----------
    source, sites, sites_table, jobs, progress
        As in :func:`import_benchmark_csv`.

    Returns
    -------
    polars.DataFrame
        One row for each problem of each tower: ``site_id``, ``level`` (``error``: the tower would not be imported;
        ``note``), ``what``, ``count``, ``example``, ``fix``. No row: all is well.

    Raises
    ------
    DataError
        If the folder is missing or holds no CSV file.
    """
    plan = open_folder(Path(source), sites=sites, sites_table=sites_table)
    found = list(plan.problems)
    if plan.headers:
        targets, covariates, left_out = plan.held()
        reader = plan.reader(targets, covariates, left_out)

        def one(site: str) -> Sequence[Problem]:
            try:
                return reader.read(plan.files[site], site).remarks
            except DataError as error:
                return problems_of(error, site)

        done = len(plan.files) - len(plan.headers)
        with ThreadPoolExecutor(jobs or default_jobs()) as pool:
            for site, problems in zip(plan.headers, pool.map(one, plan.headers), strict=True):
                found += problems
                done += 1
                if progress is not None:
                    progress(site, done, len(plan.files))
        plan.tell_columns(targets, covariates, left_out)
    return problem_table(found)


def _source(
    folder: Path, told: Sources | None, fetched: Mapping[str, Pin], *, sites_table: str | Path | None
) -> Source:
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
    options |= fetched_facts(fetched)
    licences = [one.licence for one in origins] or [fetched[site].licence for site in sorted(fetched)]
    return Source(
        name=joined([one.name for one in origins]) or UNSTATED,
        kind="benchmark-csv",
        location=str(folder.resolve()),
        licence=joined(licences),
        citation=joined([one.citation for one in origins]) if origins else FORMAT_ORIGIN,
        doi=joined([one.doi for one in origins]),
        options=options,
        retrieved=utc_now(),
        package_version=__version__,
    )


def _already_there(writer: StoreWriter, site: str, path: Path) -> bool:
    """Whether the store holds the site as its file is now; a store of before hashes were kept is believed."""
    entry = writer.manifest.sites.get(site)
    if entry is None:
        return False
    with reading(path):
        return entry.source_sha256 in (None, sha256_of(path))


def _by_site(problems: Sequence[Problem]) -> dict[str, str]:
    """The reasons of each site, one a line."""
    reasons: dict[str, str] = {}
    for problem in problems:
        reasons[problem.site] = "\n".join(filter(None, (reasons.get(problem.site), str(problem))))
    return reasons
