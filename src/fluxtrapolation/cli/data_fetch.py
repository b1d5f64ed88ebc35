"""``fluxtrapolation data fetch``: the published files, verified, into a store."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxtrapolation.cli.console import SiteProgress, emit_json, emit_path, emit_table, say
from fluxtrapolation.cli.options import JsonFlag
from fluxtrapolation.cli.site_lists import SitesOption, site_list
from fluxtrapolation.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fluxtrapolation.data.fetch import FetchResult
    from fluxtrapolation.data.fetch.towers import Plan
    from fluxtrapolation.data.store import Store


def fetch(
    out: Annotated[
        Path,
        typer.Option("--out", help="Folder of the store to write; with --no-import, of the files.", show_default=False),
    ],
    sites: SitesOption = None,
    registry: Annotated[
        str | None,
        typer.Option("--registry", metavar="FILE|URL", help="What there is to fetch. Default: the published files."),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="TEMPLATE", help="Address with {site} in it, instead of a registry."),
    ] = None,
    zarr: Annotated[
        str | None,
        typer.Option(
            "--zarr", metavar="URL", help="Read this FLUXNET2015 Zarr store over HTTP instead. 'public': the open one."
        ),
    ] = None,
    files: Annotated[
        Path | None,
        typer.Option("--files", help="Folder of the downloaded files. Default: OUT.files, beside OUT."),
    ] = None,
    no_import: Annotated[bool, typer.Option("--no-import", help="Only download; --out is the files' folder.")] = False,
    jobs: Annotated[int, typer.Option("--jobs", min=1, max=16, help="Downloads at once.")] = 4,
    retries: Annotated[
        int, typer.Option("--retries", min=0, help="Further attempts at an address that brings nothing new.")
    ] = 4,
    connect_timeout: Annotated[
        float, typer.Option("--connect-timeout", min=0.1, help="Seconds to wait for a connection.")
    ] = 15.0,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Seconds without a byte, then the connection is tried anew.")
    ] = 30.0,
    lock: Annotated[
        Path | None,
        typer.Option("--lock", help="Lock file with the hash of every file. Default: fetch.lock.json with the files."),
    ] = None,
    locked: Annotated[bool, typer.Option("--locked", help="Take only files that the lock file knows.")] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Fetch again what is there, and pin what the publisher gives now.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Contact nothing: check and import what is there already.")
    ] = False,
    sites_table: Annotated[
        Path | None, typer.Option("--sites-table", help="Table of towers for the import; as in 'data import'.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the store that is there, once the new one is finished.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the jitter between attempts.")] = 0,
    json: JsonFlag = False,
) -> None:
    """Fetch the published tower files, check them, and read them into a store.

    An interrupted download goes on where it stopped when the same command is given again. A file that fails stops no
    other: the table at the end says what failed and why. Exit code 0: all done. 1: some failed. 2: bad usage.
    """
    from fluxtrapolation.data.fetch import Limits, fetch_files
    from fluxtrapolation.data.fetch.towers import downloads_of, need_tables, plan_fetch

    names = site_list(sites)
    if zarr is not None:
        given = {"--registry": registry, "--url": url, "--files": files, "--lock": lock}
        _need_alone(given, {"--no-import": no_import, "--locked": locked, "--update": update, "--offline": offline})
        _stream(zarr, out, names, sites_table, overwrite=overwrite, json=json)
        return
    if no_import and (files is not None or overwrite or sites_table is not None):
        raise DataError("With --no-import nothing is read: leave out --files, --sites-table and --overwrite.")
    limits = Limits(connect_s=connect_timeout, read_s=timeout, retries=retries)
    folder = out if no_import else files or downloads_of(out)
    if no_import and (out / "manifest.json").exists():
        raise DataError(f"{out} is a store. With --no-import, --out is the folder for the files: choose another.")
    plan = plan_fetch(folder, registry=registry, url=url, sites=names, offline=offline, locked=locked, limits=limits)
    if not no_import:
        need_tables(plan)
    if registry is None and url is None and plan.registry.note:
        say(f"note: {plan.registry.note}")
    with SiteProgress("fetching") as progress:
        results = fetch_files(
            plan.files,
            folder,
            jobs=jobs,
            lock=lock,
            locked=locked,
            offline=offline,
            update=update,
            distinct=True,
            limits=limits,
            seed=seed,
            progress=progress,
        )
    _tell_fetched(results)
    store = None if no_import else _import(plan, results, out, sites_table, overwrite=overwrite)
    _finish(results, store, folder=folder, json=json)


def _import(
    plan: Plan, results: Sequence[FetchResult], out: Path, sites_table: Path | None, *, overwrite: bool
) -> Store | None:
    from fluxtrapolation.data.fetch.towers import import_fetched
    from fluxtrapolation.data.importers.outcome import TowersNotReadWarning

    with SiteProgress("importing") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", TowersNotReadWarning)  # in the table, every one
        return import_fetched(plan, results, out, sites_table=sites_table, overwrite=overwrite, progress=progress)


def _finish(results: Sequence[FetchResult], store: Store | None, *, folder: Path, json: bool) -> None:
    """Say what failed, answer, and leave with the exit code."""
    from fluxtrapolation.data.fetch.towers import not_imported

    unread = not_imported(store, results)
    failed = [one for one in results if not one.done]
    if json:
        emit_json(_facts(results, store, unread, folder))
    else:
        rows: list[tuple[str, str, str]] = [
            (one.file.name, one.cause or "", _with_place(one.reason or "", one.rejected)) for one in failed
        ]
        rows += [(f"{site}.csv", "not imported", reason) for site, reason in unread.items()]
        if rows:
            emit_table(["file", "failed", "why"], rows, title=f"{len(rows)} of {len(results)} files failed")
            say("The same command tries these again and leaves the others as they are.")
        if store is not None:
            say(f"{len(store.site_ids)} towers in the store; their files and the lock file lie in {folder}.")
        if store is not None or any(one.done for one in results):
            emit_path(store.path if store is not None else folder)
    if failed or unread:
        raise typer.Exit(1)


def _with_place(reason: str, rejected: Path | None) -> str:
    return reason if rejected is None else f"{reason} [kept as {rejected}]"


def _tell_fetched(results: Sequence[FetchResult]) -> None:
    for one in results:
        if one.note is not None and one.done:
            say(f"note: {one.file.name}: {one.note}")
    count = {status: sum(one.status == status for one in results) for status in ("downloaded", "resumed", "held")}
    parts = [
        f"{count['downloaded']} downloaded",
        *([f"{count['resumed']} resumed"] if count["resumed"] else []),
        *([f"{count['held']} there already"] if count["held"] else []),
    ]
    received = sum(one.received for one in results)
    say(f"{len(results)} files: {', '.join(parts)}; {received / 1e6:,.1f} MB received.")


def _facts(results: Sequence[FetchResult], store: Store | None, unread: dict[str, str], folder: Path) -> dict[str, Any]:
    return {
        "path": None if store is None else str(store.path),
        "folder": str(folder),
        "files": len(results),
        "done": sum(one.done for one in results),
        "failed": sum(not one.done for one in results),
        "received": sum(one.received for one in results),
        "not_imported": unread,
        "sites": [] if store is None else list(store.site_ids),
        "results": [one.facts() for one in results],
    }


def _stream(
    address: str, out: Path, sites: list[str] | None, sites_table: Path | None, *, overwrite: bool, json: bool
) -> None:
    """Read a Zarr store over HTTP: the importer of ``data import`` does it, chunk by chunk."""
    from fluxtrapolation.data.fetch.names import check_address
    from fluxtrapolation.data.fetch.towers import PUBLIC_ZARR
    from fluxtrapolation.data.importers import import_towers
    from fluxtrapolation.data.importers.outcome import TowersNotReadWarning

    source = PUBLIC_ZARR if address == "public" else address
    try:
        check_address(source)
    except ValueError as error:
        raise DataError(f"--zarr: {error}. A store on disk is read with 'data import'.") from None
    with SiteProgress("importing") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", TowersNotReadWarning)
        store = import_towers(
            source,
            out,
            format="fluxnet2015-zarr",
            sites=sites,
            sites_table=sites_table,
            overwrite=overwrite,
            progress=progress,
        )
    failures = store.manifest.failures
    if json:
        emit_json({**store.info(), "not_imported": failures})
    else:
        if failures:
            rows = [(site, "not imported", reason) for site, reason in failures.items()]
            emit_table(["tower", "failed", "why"], rows, title=f"{len(rows)} towers failed")
        say(f"{len(store.site_ids)} towers in the store.")
        emit_path(store.path)
    if failures:
        raise typer.Exit(1)


def _need_alone(values: Mapping[str, object], flags: Mapping[str, bool]) -> None:
    """Raise if an option of downloads is given with ``--zarr``."""
    given = [name for name, value in values.items() if value is not None] + [name for name, on in flags.items() if on]
    if given:
        raise DataError(
            f"{', '.join(given)} and --zarr do not go together: a Zarr store is read over HTTP chunk by chunk, not as "
            "files. Leave out one of them."
        )
