"""``data fetch``, from the command line and from Python: what is asked for, the downloads, the import."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fluxtrapolation.data.fetch.files import FetchResult, Limits
from fluxtrapolation.data.fetch.pool import JOBS, Progress, fetch_files
from fluxtrapolation.data.fetch.registry import Registry
from fluxtrapolation.data.fetch.towers import (
    Plan,
    downloads_of,
    import_fetched,
    need_tables,
    not_imported,
    plan_fetch,
)
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError
from fluxtrapolation.files import need_outside_stores


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What came of it.

    Attributes
    ----------
    folder : Path
        Where the files lie, with their lock file.
    results : list of FetchResult
    store : Store or None
        None if nothing could be imported, or was to be.
    not_imported : dict
        Fetched, but not readable as a tower: site to reason.
    """

    folder: Path
    results: list[FetchResult]
    store: Store | None
    not_imported: dict[str, str]

    @property
    def failed(self) -> dict[str, str]:
        """Every file that did not reach the store, and why."""
        lost = {one.file.site or one.file.name: one.reason or "" for one in self.results if not one.done}
        return {**lost, **self.not_imported}


@dataclass(frozen=True, slots=True)
class Errand:
    """What is to be fetched, and how: made by :func:`prepare`, carried out step by step.

    Attributes
    ----------
    out : Path
        Folder of the store.
    plan : Plan
        Which files, and the folder they go to.
    no_import : bool
        Whether downloading is all.
    """

    out: Path
    plan: Plan
    no_import: bool
    jobs: int
    lock: str | Path | None
    locked: bool
    offline: bool
    update: bool
    limits: Limits | None
    seed: int
    sites_table: str | Path | None
    overwrite: bool

    def download(self, progress: Progress | None = None) -> list[FetchResult]:
        """Fetch the files; see :func:`fetch_files`."""
        return fetch_files(
            self.plan.files,
            self.plan.folder,
            jobs=self.jobs,
            lock=self.lock,
            locked=self.locked,
            offline=self.offline,
            update=self.update,
            distinct=True,
            limits=self.limits,
            seed=self.seed,
            progress=progress,
        )

    def read(self, results: Sequence[FetchResult], progress: Progress | None = None) -> FetchReport:
        """Read what was fetched into the store, unless downloading was all; see :func:`import_fetched`."""
        store = None
        if not self.no_import:
            store = import_fetched(
                self.plan,
                results,
                self.out,
                sites_table=self.sites_table,
                overwrite=self.overwrite,
                progress=progress,
            )
        return FetchReport(self.plan.folder, list(results), store, not_imported(store, results))


def prepare(
    out: str | Path,
    *,
    registry: Registry | str | Path | None = None,
    url: str | None = None,
    sites: Sequence[str] | None = None,
    folder: str | Path | None = None,
    no_import: bool = False,
    jobs: int = JOBS,
    lock: str | Path | None = None,
    locked: bool = False,
    offline: bool = False,
    update: bool = False,
    limits: Limits | None = None,
    seed: int = 0,
    sites_table: str | Path | None = None,
    overwrite: bool = False,
) -> Errand:
    """Judge a request and find out what is to be fetched; parameters and errors as of :func:`fetch_towers`.

    Nothing is fetched but a registry that is given by address.
    """
    place = Path(out)
    if no_import and (folder is not None or overwrite or sites_table is not None):
        raise DataError("With --no-import nothing is read: leave out --files, --sites-table and --overwrite.")
    if no_import and (place / "manifest.json").exists():
        raise DataError(f"{out} is a store. With --no-import, --out is the folder for the files: choose another.")
    where = place if no_import else downloads_of(place) if folder is None else Path(folder)
    need_outside_stores(where)
    if lock is not None:
        need_outside_stores(Path(lock))
    plan = plan_fetch(where, registry=registry, url=url, sites=sites, offline=offline, locked=locked, limits=limits)
    if not no_import:
        need_tables(plan)
    return Errand(
        out=place,
        plan=plan,
        no_import=no_import,
        jobs=jobs,
        lock=lock,
        locked=locked,
        offline=offline,
        update=update,
        limits=limits,
        seed=seed,
        sites_table=sites_table,
        overwrite=overwrite,
    )


def fetch_towers(
    out: str | Path,
    *,
    registry: Registry | str | Path | None = None,
    url: str | None = None,
    sites: Sequence[str] | None = None,
    folder: str | Path | None = None,
    no_import: bool = False,
    jobs: int = JOBS,
    lock: str | Path | None = None,
    locked: bool = False,
    offline: bool = False,
    update: bool = False,
    limits: Limits | None = None,
    seed: int = 0,
    sites_table: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> FetchReport:
    """Fetch tower files and read them into a store: ``data fetch`` from Python.

    Parameters
    ----------
    out : path
        Folder of the store; with ``no_import`` of the files.
    registry, url, sites
        What to fetch; see :func:`plan_fetch`.
    folder : path, optional
        Folder of the downloaded files; ``towers.files`` beside ``towers`` by default.
    no_import : bool, default False
        Only download; for archives, which ``data import`` reads.
    jobs, lock, locked, offline, update, limits, seed, progress
        See :func:`fetch_files`.
    sites_table, overwrite
        See :func:`import_benchmark_csv`.

    Returns
    -------
    FetchReport
        With the store, and the reason of every tower that is not in it.

    Raises
    ------
    DataError
        If the request cannot be understood, the disk is full, or no fetched file can be read.
    """
    errand = prepare(
        out,
        registry=registry,
        url=url,
        sites=sites,
        folder=folder,
        no_import=no_import,
        jobs=jobs,
        lock=lock,
        locked=locked,
        offline=offline,
        update=update,
        limits=limits,
        seed=seed,
        sites_table=sites_table,
        overwrite=overwrite,
    )
    return errand.read(errand.download(progress), progress)
