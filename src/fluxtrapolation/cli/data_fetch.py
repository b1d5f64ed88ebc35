"""``fluxtrapolation data fetch``: the published files, verified, into a store."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxtrapolation.cli.console import SiteProgress, emit_json, emit_path, emit_table, say
from fluxtrapolation.cli.options import DONE_IN_PART, JsonFlag, Partitioning, QcRule
from fluxtrapolation.cli.site_lists import SitesOption, site_list
from fluxtrapolation.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fluxtrapolation.data.fetch import FetchReport, FetchResult


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
    qc: Annotated[
        QcRule | None, typer.Option("--qc", help="With --zarr: the flags of qc_mask 1, as in 'data import'.")
    ] = None,
    gpp: Annotated[
        Partitioning | None, typer.Option("--gpp", help="With --zarr: night-time or day-time partitioning.")
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
    other: the table at the end says what failed and why. Exit code 0: all done. 2: some failed, or
    bad usage.
    """
    from fluxtrapolation.data.fetch import Limits
    from fluxtrapolation.data.fetch.errand import prepare
    from fluxtrapolation.data.importers.outcome import TowersNotReadWarning

    names = site_list(sites)
    if zarr is not None:
        given = {"--registry": registry, "--url": url, "--files": files, "--lock": lock}
        _need_alone(given, {"--no-import": no_import, "--locked": locked, "--update": update, "--offline": offline})
        choices = {"qc": qc, "gpp": gpp}
        chosen = {name: choice.value for name, choice in choices.items() if choice is not None}
        _stream(zarr, out, names, sites_table, chosen, overwrite=overwrite, json=json)
        return
    if qc is not None or gpp is not None:
        raise DataError(
            "--qc and --gpp are for --zarr: published benchmark files hold a ready qc_mask and one GPP. Leave them out."
        )
    errand = prepare(
        out,
        registry=registry,
        url=url,
        sites=names,
        folder=files,
        no_import=no_import,
        jobs=jobs,
        lock=lock,
        locked=locked,
        offline=offline,
        update=update,
        limits=Limits(connect_s=connect_timeout, read_s=timeout, retries=retries),
        seed=seed,
        sites_table=sites_table,
        overwrite=overwrite,
    )
    if registry is None and url is None and errand.plan.registry.note:
        say(f"note: {errand.plan.registry.note}")
    with SiteProgress("fetching") as progress:
        results = errand.download(progress)
    _tell_fetched(results)
    with SiteProgress("importing") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", TowersNotReadWarning)  # in the table, every one
        report = errand.read(results, progress)
    _finish(report, json=json)


def _finish(report: FetchReport, *, json: bool) -> None:
    """Say what failed, answer, and leave with the exit code."""
    results, store, folder = report.results, report.store, report.folder
    failed = [one for one in results if not one.done]
    if json:
        emit_json(_facts(report))
    else:
        rows: list[tuple[str, str, str]] = [
            (one.file.name, one.cause or "", _with_place(one.reason or "", one.rejected)) for one in failed
        ]
        rows += [(f"{site}.csv", "not imported", reason) for site, reason in report.not_imported.items()]
        if rows:
            emit_table(["file", "failed", "why"], rows, title=f"{len(rows)} of {len(results)} files failed")
            say("The same command tries these again and leaves the others as they are.")
        if store is not None:
            say(f"{len(store.site_ids)} towers in the store; their files and the lock file lie in {folder}.")
        if store is not None or any(one.done for one in results):
            emit_path(store.path if store is not None else folder)
    if failed or report.not_imported:
        raise typer.Exit(DONE_IN_PART)


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


def _facts(report: FetchReport) -> dict[str, Any]:
    results, store = report.results, report.store
    return {
        "path": None if store is None else str(store.path),
        "folder": str(report.folder),
        "files": len(results),
        "done": sum(one.done for one in results),
        "failed": sum(not one.done for one in results),
        "received": sum(one.received for one in results),
        "not_imported": report.not_imported,
        "sites": [] if store is None else list(store.site_ids),
        "results": [one.facts() for one in results],
    }


def _stream(
    address: str,
    out: Path,
    sites: list[str] | None,
    sites_table: Path | None,
    choices: dict[str, Any],
    *,
    overwrite: bool,
    json: bool,
) -> None:
    """Read a Zarr store over HTTP: the importer of ``data import`` does it, chunk by chunk, with these ``choices``."""
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
            **choices,
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
        raise typer.Exit(DONE_IN_PART)


def _need_alone(values: Mapping[str, object], flags: Mapping[str, bool]) -> None:
    """Raise if an option of downloads is given with ``--zarr``."""
    given = [name for name, value in values.items() if value is not None] + [name for name, on in flags.items() if on]
    if given:
        raise DataError(
            f"{', '.join(given)} and --zarr do not go together: a Zarr store is read over HTTP chunk by chunk, not as "
            "files. Leave out one of them."
        )
