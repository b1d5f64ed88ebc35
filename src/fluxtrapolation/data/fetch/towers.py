"""From a registry to a store: download the tower files, import them, write down where they came from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from fluxtrapolation import __version__
from fluxtrapolation.data.fetch.files import FetchFile, FetchResult, Limits
from fluxtrapolation.data.fetch.pool import Progress, fetch_files
from fluxtrapolation.data.fetch.registry import PACKAGED, Registry, from_template, parse_registry, read_registry
from fluxtrapolation.data.folder import FolderLock, writing
from fluxtrapolation.data.importers.benchmark_csv import import_benchmark_csv
from fluxtrapolation.data.importers.csv_sources import write_sources
from fluxtrapolation.data.manifest import FETCHED, Manifest, Source, read_manifest, utc_now, write_manifest
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, examples

PUBLIC_ZARR: Final = "https://excited-co2.github.io/zarr-fluxnet2015/fluxnet.zarr"
"""FLUXNET2015, 204 towers, half-hourly: the public rehost that ``data fetch --zarr public`` reads."""
MOST_REGISTRY: Final = 8 << 20
"""Bytes of a registry that is fetched; 1,000 towers with sizes and hashes need 0.2 MB."""
_NOTE: Final = "fetched "


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be fetched, and where to."""

    registry: Registry
    files: tuple[FetchFile, ...]
    folder: Path


def downloads_of(out: str | Path) -> Path:
    """The folder of downloads that belongs to a store: beside it, ``towers.files`` for ``towers``."""
    store = Path(out)
    return store.parent / f"{store.resolve().name}.files"


def plan_fetch(
    folder: str | Path,
    *,
    registry: Registry | str | Path | None = None,
    url: str | None = None,
    sites: Sequence[str] | None = None,
    offline: bool = False,
    locked: bool = False,
    limits: Limits | None = None,
) -> Plan:
    """Find out what is to be fetched.

    Parameters
    ----------
    folder : path
        Where the files will lie. A registry given by address is kept there as well, so that ``offline`` has it.
    registry : Registry, path or address, optional
        The published benchmark files by default.
    url : str, optional
        Address with ``{site}`` in it, instead of a registry; then ``sites`` must be given.
    sites : sequence of str, optional
        Only these towers.
    offline, locked, limits
        As for :func:`fetch_files`; they concern a registry given by address.

    Raises
    ------
    DataError
        If the registry cannot be used or does not list a site, or the request contradicts itself.
    """
    place = Path(folder)
    if url is not None:
        if registry is not None:
            raise DataError("--registry and --url both say where the files lie. Give one of them.")
        if not sites:
            raise DataError(
                "--url says where the files lie, not which there are: name the towers with --sites DE-Tha,FI-Hyy."
            )
        made = from_template(url, tuple(dict.fromkeys(sites)))
    elif registry is None:
        made = read_registry(PACKAGED)
    elif isinstance(registry, Registry):
        made = registry
    elif str(registry).startswith(("http://", "https://")):
        made = _by_address(str(registry), place, offline=offline, locked=locked, limits=limits)
    else:
        made = read_registry(registry)
    return Plan(made, tuple(made.order(sites)), place)


def _by_address(address: str, folder: Path, *, offline: bool, locked: bool, limits: Limits | None) -> Registry:
    name = f"registry-{hashlib.sha256(address.encode()).hexdigest()[:8]}.yaml"

    def usable(path: Path, _: FetchFile) -> str | None:
        try:
            parse_registry(path.read_bytes(), "it")
        except DataError as error:
            return str(error)
        return None

    frozen = offline or (locked and (folder / "registry" / name).exists())
    (result,) = fetch_files(
        [FetchFile(name, (address,))],
        folder / "registry",
        offline=frozen,
        update=not frozen,
        limits=replace(limits or Limits(), most_bytes=MOST_REGISTRY),
        check=usable,
    )
    if result.path is None:
        raise DataError(f"The registry cannot be had: {result.reason}. Check the address, or give a file.")
    return read_registry(result.path)


def import_fetched(
    plan: Plan,
    results: Sequence[FetchResult],
    out: str | Path,
    *,
    sites_table: str | Path | None = None,
    jobs: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Store | None:
    """Read the fetched files into a store with the benchmark importer, and write down where they came from.

    Returns
    -------
    Store or None
        None if no file is there.

    Raises
    ------
    DataError
        If the files are no CSV files, none can be read, or ``out`` holds another store.
    """
    need_tables(plan)
    sites = [one.file.site for one in results if one.done and one.file.site is not None]
    if not sites:
        return None
    write_sources(plan.folder, _origins(plan), ())
    store = import_benchmark_csv(
        plan.folder,
        out,
        sites=sites,
        sites_table=sites_table,
        jobs=jobs,
        overwrite=overwrite,
        progress=progress,
    )
    return _with_provenance(store, plan, results)


def need_tables(plan: Plan) -> None:
    """Raise unless all files are CSV files, which the importer reads."""
    other = [file.name for file in plan.files if not file.name.lower().endswith(".csv")]
    if other:
        raise DataError(
            f"{len(other)} of {len(plan.files)} files are no CSV files and cannot be imported by 'data fetch': "
            f"{examples(other)}. Fetch them with --no-import, then read the folder with 'data import'."
        )


def _origins(plan: Plan) -> list[Source]:
    """What to cite, for ``SOURCES.json``: of all files of the registry, so that it does not depend on the choice."""
    registry = plan.registry
    told = dict.fromkeys(
        (file.licence or registry.licence, file.citation or registry.citation, file.doi or registry.doi)
        for file in registry.files
    )
    return [
        Source(
            name=registry.name,
            kind="benchmark-csv",
            location=str(plan.folder),
            licence=licence,
            citation=citation,
            doi=doi,
            retrieved=utc_now(),
            package_version=__version__,
        )
        for licence, citation, doi in told
    ]


def _with_provenance(store: Store, plan: Plan, results: Sequence[FetchResult]) -> Store:
    """Write into the manifest where, when and with which hash the files were fetched."""
    folder = store.path.resolve()
    lock = FolderLock(folder)
    with writing(folder):
        lock.acquire()
    try:
        manifest, _ = read_manifest(folder)
        told = _told(manifest, plan, results)
        if told == manifest:
            return store
        write_manifest(folder, told)
    finally:
        lock.release()
    return Store(store.path)


def _told(manifest: Manifest, plan: Plan, results: Sequence[FetchResult]) -> Manifest:
    entries = dict(manifest.sites)
    for one in results:
        entry = entries.get(one.file.site or "")
        if entry is None or one.retrieved is None or entry.source_sha256 != one.sha256:
            continue  # not in the store, or the store keeps what it read from an earlier file
        note = f"{_NOTE}{one.retrieved:%Y-%m-%dT%H:%M:%SZ} from {one.url} (sha256 {one.sha256})"
        kept = tuple(text for text in entry.notes if not text.startswith(_NOTE))
        entries[entry.record.site_id] = entry.model_copy(update={"notes": (*kept, note)})
    times = sorted(
        text.split(" ", 2)[1] for entry in entries.values() for text in entry.notes if text.startswith(_NOTE)
    )
    hosts = sorted({urlsplit(one.url).hostname or "" for one in results if one.url} | _earlier_hosts(manifest))
    facts: dict[str, Any] = {
        f"{FETCHED}registry": plan.registry.name,
        f"{FETCHED}from": ", ".join(hosts),
        f"{FETCHED}first": times[0] if times else None,
        f"{FETCHED}last": times[-1] if times else None,
    }
    sources = tuple(
        source.model_copy(update={"options": {**source.options, **facts}}) if source.kind == "benchmark-csv" else source
        for source in manifest.sources
    )
    return manifest.model_copy(update={"sites": entries, "sources": sources})


def _earlier_hosts(manifest: Manifest) -> set[str]:
    told = (str(source.options.get(f"{FETCHED}from") or "") for source in manifest.sources)
    return {host for text in told for host in text.split(", ") if host}


def not_imported(store: Store | None, results: Sequence[FetchResult]) -> dict[str, str]:
    """Sites whose file was fetched but could not be read, with the reason."""
    if store is None:
        return {}
    fetched = {one.file.site for one in results if one.done}
    return {site: reason for site, reason in store.manifest.failures.items() if site in fetched}
