"""``fluxtrapolation report``: one page from run folders."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from fluxtrapolation.cli.console import SiteProgress, emit_json, emit_path
from fluxtrapolation.cli.options import JsonFlag, Protocol, ProtocolOption, outside_stores
from fluxtrapolation.schema import SELECTIONS

TITLE: Final = "Extrapolating ecosystem fluxes"


class Selection(StrEnum):
    mean = "mean"
    max = "max"
    discrepancy = "discrepancy"
    all = "all"


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, or folders of them.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the report.", show_default=False, callback=outside_stores)
    ],
    title: Annotated[str, typer.Option("--title", help="Heading of the page.")] = TITLE,
    protocol: ProtocolOption = Protocol.paper,
    selection: Annotated[
        Selection, typer.Option("--selection", help="By which validation summary the configurations were chosen.")
    ] = Selection.mean,
    baseline: Annotated[
        str | None, typer.Option("--baseline", help="Model of skill 0. Default: lr, where it is among the runs.")
    ] = None,
    store: Annotated[
        Path | None,
        typer.Option("--store", help="Store of the runs, for the maps. Default: where it was when they ran."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Evaluate all runs and write one self-contained page, with the scores and tables beside it.

    The page needs no network: board with intervals and ranks, error distributions, site means, maps of towers and
    errors, seasonal cycles of the best and the worst tower, costs, failures, and how to read and repeat every number.
    """
    chosen = SELECTIONS if selection is Selection.all else (selection.value,)
    page, rows = make_report(
        runs, out, title=title, protocol=protocol.value, selections=chosen, baseline=baseline, store=store
    )
    if json:
        emit_json({"path": str(page), "scores": str(out / "scores.parquet"), "rows": rows})
    else:
        emit_path(page)


def make_report(
    runs: Sequence[Path],
    out: Path,
    *,
    title: str = TITLE,
    protocol: Literal["paper", "measured"] = "paper",
    selections: Sequence[str] = ("mean",),
    baseline: str | None = None,
    store: Path | None = None,
) -> tuple[Path, int]:
    """Write the report of run folders, with scores and tables beside it: the page, and the rows of scores.

    Raises
    ------
    FluxtrapolationError
        If no run is complete, or there are no runs of the baseline.
    """
    from fluxtrapolation.errors import EvaluationError, did_you_mean
    from fluxtrapolation.evaluation import pivot, write_table
    from fluxtrapolation.plots.report import write_report
    from fluxtrapolation.runs.gather import gather

    with SiteProgress("evaluating") as progress:
        found = gather(runs, selections=selections, protocol=protocol, store=store, progress=progress)
    models = set(found.scores.frame["model"].to_list())
    if baseline is not None and baseline not in models:
        raise EvaluationError(
            f"There are no runs of the baseline {baseline!r}.{did_you_mean(baseline, models)} "
            f"There are: {', '.join(sorted(models))}."
        )
    against = baseline or "lr"
    shown = against if against in models else None
    tables = {
        f"{target}_{summary}.csv": pivot(found.scores, target=target, summary=summary, baseline=shown)
        for target in found.scores.frame["target"].unique().sort().to_list()
        for summary in ("median", "q90")
    }
    # Only now that every table could be made is anything written.
    found.scores.write(out / "scores.parquet")
    for name, wide in tables.items():
        write_table(wide, out / name)
    page = write_report(
        out,
        title=title,
        scores=found.scores,
        split_sites=found.split_sites if found.split_sites.height else None,
        seasonal=found.seasonal,
        site_means=found.site_means,
        runs=found.runs,
        meta=found.meta,
        baseline=against,
    )
    return page, len(found.scores)
