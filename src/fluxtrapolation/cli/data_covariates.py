"""``fluxtrapolation data covariates``: join satellite covariates to a store, into a new one."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fluxtrapolation.cli.console import SiteProgress, emit_json, emit_path, emit_table, say
from fluxtrapolation.cli.options import JsonFlag


class Interpolation(StrEnum):
    causal = "causal"
    linear = "linear"
    period = "period"


class LackingRule(StrEnum):
    keep = "keep"
    drop_sites = "drop-sites"
    drop_covariates = "drop-covariates"


def covariates(
    store: Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)],
    files: Annotated[
        list[str],
        typer.Option(
            "--from",
            help="NetCDF as of FluxnetEO, tidy CSV or Parquet (site, date, variable, value), or a folder. Repeatable.",
            metavar="FILE",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder of the new store.", show_default=False)],
    interpolate: Annotated[
        Interpolation,
        typer.Option(
            "--interpolate",
            help="causal: last value whose period had ended. linear: between the centres of periods. "
            "period: each value through its own period.",
        ),
    ] = Interpolation.causal,
    max_gap: Annotated[
        float, typer.Option("--max-gap", help="Days over which a value is carried; longer gaps are never filled.")
    ] = 32.0,
    period: Annotated[
        int | None,
        typer.Option(
            "--period",
            min=1,
            help="Days of a composite. Default: column days, or a guess from the dates. Needed for mixed products.",
        ),
    ] = None,
    only: Annotated[
        str | None, typer.Option("--covariates", metavar="A,B", help="Only these. Default: all that the files have.")
    ] = None,
    lacking: Annotated[
        LackingRule, typer.Option("--lacking", help="Towers with gaps: keep them with an empty column, or drop.")
    ] = LackingRule.keep,
    only_observed: Annotated[
        bool,
        typer.Option(
            "--only-observed",
            help="Of FluxnetEO files only values flagged as original, none that the product filled.",
        ),
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Exchange covariates that the store holds.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="Name of the product, for the provenance record.")] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Licence of the files, if they do not say.")] = None,
    citation: Annotated[str | None, typer.Option("--citation", help="What to cite, if the files do not say.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Sites worked on at once.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the store at --out, once the new one is finished.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Join satellite covariates to the towers of a store. The result is a new store.

    Dates are local calendar days of the tower. A tower with a gap longer than --max-gap lacks that covariate; a table
    tells where and why.
    """
    from fluxtrapolation.data.satellite import join_covariates

    chosen = None if only is None else [word.strip() for word in only.split(",") if word.strip()]
    with SiteProgress("joining") as progress:
        made = join_covariates(
            store,
            files,
            out,
            interpolate=interpolate.value,
            max_gap=max_gap,
            period=period,
            covariates=chosen,
            lacking=lacking.value,
            only_observed=only_observed,
            replace=replace,
            name=name,
            licence=licence,
            citation=citation,
            overwrite=overwrite,
            jobs=jobs,
            progress=progress,
        )
    if json:
        emit_json({**made.store.info(), "report": made.report.to_dicts()})
        return
    rows = made.lacking.select("site_id", "covariate", "missing_hours", "longest_gap_days", "reason").rows()
    if rows:
        emit_table(["site", "lacks", "hours", "longest gap (days)", "reason"], rows)
    say(
        f"{made.report.height - len(rows)} of {made.report.height} series joined; the new store has "
        f"{len(made.store.site_ids)} towers and {', '.join(made.store.covariates)}"
    )
    emit_path(made.store.path)
