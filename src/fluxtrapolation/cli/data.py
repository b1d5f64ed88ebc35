"""``fluxtrapolation data``: make, read, check and export stores."""

from __future__ import annotations

import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxtrapolation.cli.console import SiteProgress, emit_json, emit_path, say
from fluxtrapolation.cli.data_check import check
from fluxtrapolation.cli.data_cite import cite
from fluxtrapolation.cli.data_combine import merge, subset
from fluxtrapolation.cli.data_covariates import covariates
from fluxtrapolation.cli.data_diff import diff
from fluxtrapolation.cli.data_fetch import fetch
from fluxtrapolation.cli.data_info import info
from fluxtrapolation.cli.options import DONE_IN_PART, JsonFlag, Partitioning, QcRule, outside_stores
from fluxtrapolation.errors import DataError

if TYPE_CHECKING:
    from fluxtrapolation.data.store import Store

app = typer.Typer(no_args_is_help=True, help="Towers into a store: simulate, import, inspect, verify, export.")


class ImportFormat(StrEnum):
    auto = "auto"
    benchmark_csv = "benchmark-csv"
    fluxnet = "fluxnet"
    fluxnet2015_zarr = "fluxnet2015-zarr"


class ExportFormat(StrEnum):
    benchmark_csv = "benchmark-csv"


class Evapotranspiration(StrEnum):
    mds = "mds"
    corr = "corr"
    none = "none"


class LatentHeat(StrEnum):
    constant = "2.45"
    temperature = "temperature"


class Resolution(StrEnum):
    hourly = "hourly"
    daily = "daily"


class WorldProfile(StrEnum):
    small = "small"
    published = "published"


Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the store that is there, once the new one is finished.")
]
Jobs = Annotated[int | None, typer.Option("--jobs", min=1, help="Sites worked on at once. Default: all cores.")]
StorePath = Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)]


@app.command()
def synth(
    out: Annotated[Path, typer.Option("--out", help="Folder of the store to write.", show_default=False)],
    sites: Annotated[
        int | None, typer.Option("--sites", min=1, help="Number of towers. Default: the profile's.")
    ] = None,
    years: Annotated[
        str | None, typer.Option("--years", help="Years, both ends included.", metavar="2015:2022")
    ] = None,
    profile: Annotated[
        WorldProfile,
        typer.Option("--profile", help="small: 60 towers. published: the benchmark's 207 towers and spans."),
    ] = WorldProfile.small,
    seed: Annotated[int, typer.Option("--seed", help="Seed of every random draw.")] = 1,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
    json: JsonFlag = False,
) -> None:
    """Simulate a world of towers, offline.

    Weather, vegetation and fluxes follow a documented process model with unobserved soil moisture and site traits, so
    that both P(X) and P(Y|X) shift between towers and years. The values are synthetic; see docs/synthetic.md.
    """
    from fluxtrapolation.data.synthetic import write_world

    span = _years(years)
    with SiteProgress("simulating") as progress:
        store = write_world(
            out,
            profile=profile.value,
            sites=sites,
            years=span,
            seed=seed,
            overwrite=overwrite,
            jobs=jobs,
            progress=progress,
        )
    _tell(store, json=json)


@app.command("import")
def import_(
    source: Annotated[str, typer.Argument(help="Folder, file or URL.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="Folder of the store to write.", show_default=False)],
    format: Annotated[ImportFormat, typer.Option("--format", help="What SOURCE is.")] = ImportFormat.auto,
    sites_table: Annotated[
        Path | None,
        typer.Option(
            "--sites-table",
            help="CSV or Parquet with site_id, lat, lon, igbp (and more, see docs). Default: the packaged table.",
        ),
    ] = None,
    sites: Annotated[str | None, typer.Option("--sites", metavar="A,B", help="Only these towers.")] = None,
    qc: Annotated[
        QcRule,
        typer.Option("--qc", help="qc_mask is 1 where all native steps are measured, or measured or well filled."),
    ] = QcRule.good,
    gpp: Annotated[Partitioning, typer.Option("--gpp", help="Night-time or day-time partitioning.")] = Partitioning.nt,
    et: Annotated[
        Evapotranspiration,
        typer.Option(
            "--et", help="FLUXNET archives: ET from LE_F_MDS, from LE_CORR (energy balance closed), or no ET."
        ),
    ] = Evapotranspiration.mds,
    latent_heat: Annotated[
        LatentHeat, typer.Option("--latent-heat", help="FLUXNET archives: 2.45 MJ kg-1, or 2.501 - 0.002361 TA.")
    ] = LatentHeat.constant,
    resolution: Annotated[
        Resolution | None,
        typer.Option(
            "--resolution",
            help="FLUXNET archives: read HH and HR files, or DD files. Default: hourly where any tower has it.",
        ),
    ] = None,
    qc_fraction: Annotated[
        float | None,
        typer.Option(
            "--qc-fraction",
            min=0.0,
            max=1.0,
            help="Daily FLUXNET files: least share of good half hours in a day with qc_mask 1. Default: 0.5.",
        ),
    ] = None,
    jobs: Jobs = None,
    overwrite: Overwrite = False,
    json: JsonFlag = False,
) -> None:
    """Read towers into a store.

    An interrupted import goes on where it stopped when the same command is given again. A tower that cannot be read
    does not stop the others: it is told at the end, with the reason, and the exit code is then 2.
    """
    from fluxtrapolation.data.importers import import_towers
    from fluxtrapolation.data.importers.outcome import TowersNotReadWarning

    chosen = _site_list(sites)
    with SiteProgress("importing") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", TowersNotReadWarning)  # told below, every one
        store = import_towers(
            source,
            out,
            format=format.value,
            sites=chosen,
            sites_table=sites_table,
            qc=qc.value,
            gpp=gpp.value,
            et=et.value,
            latent_heat=latent_heat.value,
            resolution=None if resolution is None else resolution.value,
            qc_fraction=qc_fraction,
            jobs=jobs,
            overwrite=overwrite,
            progress=progress,
        )
    failures = store.manifest.failures
    for reason in failures.values():
        say(f"error: {reason}")
    if failures:
        total = len({*failures, *store.site_ids})
        say(f"{len(failures)} of {total} towers could not be read; the store holds {len(store.site_ids)}.")
    _tell(store, json=json)
    if failures:
        raise typer.Exit(DONE_IN_PART)


@app.command()
def verify(store: StorePath, json: JsonFlag = False) -> None:
    """Check every file of a store against its sha256. Exit code 1 if anything has changed."""
    from fluxtrapolation.data.store import Store

    opened = Store(store)
    problems = opened.verify()
    if json:
        emit_json({"path": str(store), "files": len(opened.site_ids) + 2, "intact": not problems, "problems": problems})
    elif problems:
        for problem in problems:
            say(problem)
        say(f"{len(problems)} problems. Import those towers again, or restore the files from a copy.")
    else:
        say(f"{len(opened.site_ids)} towers, all files intact.")
    if problems:
        raise typer.Exit(1)


@app.command()
def export(
    store: StorePath,
    out: Annotated[
        Path, typer.Option("--out", help="Folder to write into.", show_default=False, callback=outside_stores)
    ],
    format: Annotated[ExportFormat, typer.Option("--format", help="File format.")] = ExportFormat.benchmark_csv,
    sites: Annotated[str | None, typer.Option("--sites", metavar="A,B", help="Only these towers.")] = None,
    jobs: Jobs = None,
    json: JsonFlag = False,
) -> None:
    """Write a store in another format, such as the benchmark's own CSV files."""
    from fluxtrapolation.data.importers.benchmark_csv import export_benchmark_csv
    from fluxtrapolation.data.store import Store

    opened = Store(store)
    names = _site_list(sites)
    with SiteProgress("writing") as progress:
        folder = export_benchmark_csv(opened, out, sites=names, jobs=jobs, progress=progress)
    if json:
        emit_json({"path": str(folder), "format": format.value, "sites": len(names or opened.site_ids)})
    else:
        emit_path(folder)


def _site_list(text: str | None) -> list[str] | None:
    """Site ids between commas; None is all of them."""
    if text is None:
        return None
    names = [site.strip() for site in text.split(",") if site.strip()]
    if not names:
        raise DataError("--sites names no tower. Write ids as DE-Tha,AU-Tum, or leave --sites out for all.")
    return names


def _years(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, _, last = text.partition(":")
    try:
        return int(first), int(last or first)
    except ValueError:
        raise DataError(f"Cannot read the years {text!r}. Write them as 2015:2022.") from None


def _tell(store: Store, *, json: bool) -> None:
    facts: dict[str, Any] = store.info()
    if json:
        emit_json(facts)
        return
    rows = "days" if facts["resolution"] == "daily" else "hours"
    say(
        f"{facts['sites']} towers, {facts['rows']:,} {rows} ({facts['measured']:,} measured), "
        f"targets {', '.join(facts['targets'])}, {facts['bytes'] / 1e6:,.0f} MB"
    )
    if facts["notes"]:
        say(
            f"{len(facts['notes'])} towers carry notes on what was inferred or left out: 'data info --json' lists them."
        )
    emit_path(store.path)


app.command("info")(info)
app.command("cite")(cite)
app.command("diff")(diff)
app.command("subset")(subset)
app.command("merge")(merge)


app.command("fetch")(fetch)
app.command("check")(check)
app.command("covariates")(covariates)
