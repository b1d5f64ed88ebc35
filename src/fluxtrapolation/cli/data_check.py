"""``fluxtrapolation data check``: what is wrong with a folder of benchmark files, all towers at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fluxtrapolation.cli.console import SiteProgress, emit_json, emit_path, emit_table, say
from fluxtrapolation.cli.options import JsonFlag, outside_stores


def check(
    source: Annotated[
        Path, typer.Argument(help="Folder that holds one {site}.csv per tower.", metavar="FOLDER", show_default=False)
    ],
    sites_table: Annotated[
        Path | None,
        typer.Option("--sites-table", help="CSV or Parquet with site_id, lat, lon, igbp. Default: the packaged table."),
    ] = None,
    sites: Annotated[str | None, typer.Option("--sites", metavar="A,B", help="Only these towers.")] = None,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Files read at once. Default: all cores.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the table to this CSV file as well.", callback=outside_stores)
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Check benchmark CSV files without importing them: one table of everything that is wrong, for all towers.

    Exit code 1 if a tower has an error, that is, would not be imported.
    """
    from fluxtrapolation.cli.data import _site_list
    from fluxtrapolation.data.importers.benchmark_csv import check_benchmark_csv
    from fluxtrapolation.files import atomic_path

    with SiteProgress("checking") as progress:
        table = check_benchmark_csv(
            source, sites=_site_list(sites), sites_table=sites_table, jobs=jobs, progress=progress
        )
    errors = table.filter(table["level"] == "error")["site_id"].n_unique()
    if out is not None:
        with atomic_path(out) as temporary:
            table.write_csv(temporary)
    if json:
        emit_json({"path": str(source), "towers_with_errors": errors, "problems": table.to_dicts()})
    elif table.height:
        emit_table(["site", "level", "what", "count", "example", "fix"], table.rows())
    if errors:
        say(f"{errors} towers have errors and would not be imported ({table.height} rows in all).")
    elif not json:
        say(f"All towers can be imported{f' ({table.height} notes)' if table.height else ''}.")
    if out is not None and not json:
        emit_path(out)
    if errors:
        raise typer.Exit(1)
