"""``fluxtrapolation sweep``: train everything that one file lists, then report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxtrapolation.cli.console import emit_json, emit_path, emit_table, err, say
from fluxtrapolation.cli.options import DONE_IN_PART, JsonFlag
from fluxtrapolation.cli.training import (
    ClusterOption,
    JobsOption,
    TrainProgress,
    WorkersOption,
    chosen_cluster,
    duration,
    tell_failures,
)

if TYPE_CHECKING:
    from fluxtrapolation.runs.sweep import Planned, SweepPlan


def sweep(
    plan: Annotated[Path, typer.Argument(help="Sweep file (YAML); see examples/sweep.yaml.", show_default=False)],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    jobs: JobsOption = 0,
    cluster: ClusterOption = None,
    workers: WorkersOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse if the store lacks a listed site.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew, whatever runs are there. Leave it out to go on.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Train models x scenarios x targets (x seeds) as one file says, then write the report.

    The plan is printed first: every run, what is done already, and the estimated time. What is done stays; given again,
    the same command goes on where it stopped. Paths in the file are as one would type them here.
    """
    from fluxtrapolation.runs.cells import check_beforehand
    from fluxtrapolation.runs.sweep import planned, read_plan, sweep_cells
    from fluxtrapolation.runs.train import train_cells

    read = read_plan(plan)
    cells = sweep_cells(read, jobs=jobs, overwrite=overwrite, strict=strict)
    check_beforehand(cells, busy=not dry_run)
    rows = planned(cells)
    if dry_run:
        if json:
            emit_json({"plan": [row.to_dict() for row in rows], "seconds": round(sum(row.seconds for row in rows), 1)})
        else:
            _table(rows, len(read.seeds) > 1)
            say(_summary(rows))
        return
    if not json:
        _tell(rows, len(read.seeds) > 1)
    say(_summary(rows))
    with TrainProgress() as progress:
        results = train_cells(cells, listener=progress, cluster=chosen_cluster(cluster, workers))
    tell_failures(results, progress.failed)
    failed = [result for result in results if result.error]
    pages = _reports(read) if len(failed) < len(results) else []
    if json:
        emit_json(
            {
                "plan": [row.to_dict() for row in rows],
                "runs": [result.to_dict() for result in results],
                "failed": len(failed),
                "reports": [str(page) for page in pages],
            }
        )
    elif pages:
        for page in pages:
            emit_path(page)
    else:
        emit_path(read.out)
    if failed:
        raise typer.Exit(DONE_IN_PART)


def _reports(plan: SweepPlan) -> list[Path]:
    """The report of each seed's runs."""
    from fluxtrapolation.cli.report import make_report

    pages = []
    for _, out, report in plan.places():
        if report is not None:
            say(f"report of {out}")
            pages.append(make_report([out], report, store=Path(plan.store))[0])
    return pages


def _rows(rows: Sequence[Planned], seeds: bool) -> tuple[list[str], list[list[Any]]]:
    columns = ["scenario", "target", "model", *(["seed"] if seeds else []), "configurations", "train rows", "state"]
    cells = []
    for row in rows:
        config = row.cell.config
        state = row.status + (f" ({row.done} of {row.total} done)" if row.status == "to continue" else "")
        time = "-" if row.status == "done" else f"{duration(row.seconds)}{'' if row.measured else ' (rough)'}"
        names = [config.scenario, config.target, config.model, *([config.seed] if seeds else [])]
        cells.append([*names, row.total, row.rows, state, time])
    return [*columns, "time"], cells


def _table(rows: Sequence[Planned], seeds: bool) -> None:
    columns, cells = _rows(rows, seeds)
    emit_table(columns, cells)


def _tell(rows: Sequence[Planned], seeds: bool) -> None:
    """The same table on standard error, before the work begins."""
    from rich.table import Table

    columns, cells = _rows(rows, seeds)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name, first in zip(columns, cells[0], strict=True):
        table.add_column(name, justify="right" if isinstance(first, int) else "left")
    for cell in cells:
        table.add_row(*(f"{one:,}" if isinstance(one, int) else str(one) for one in cell))
    err.print(table)


def _summary(rows: Sequence[Planned]) -> str:
    """The total in words."""
    left = [row for row in rows if row.status != "done"]
    if not left:
        return f"All {len(rows)} runs are done."
    seconds = sum(row.seconds for row in left)
    rough = sum(not row.measured for row in left)
    warning = f" For {rough} of them nothing is measured yet: rough defaults, often wrong several times over."
    return (
        f"{len(rows)} runs, {len(rows) - len(left)} done; about {duration(seconds)} of fitting on one worker, without "
        f"reading and predicting.{warning if rough else ''}"
    )
