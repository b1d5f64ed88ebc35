"""``fluxtrapolation ensemble``: a run that averages finished runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fluxtrapolation.cli.console import emit_json, emit_path
from fluxtrapolation.cli.options import JsonFlag, outside_stores


class Weights(StrEnum):
    equal = "equal"
    inverse_mse = "inverse-mse"


def ensemble(
    runs: Annotated[list[Path], typer.Argument(help="Run folders, two or more.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the run folders.", show_default=False, callback=outside_stores)
    ],
    name: Annotated[str, typer.Option("--name", help="What the ensemble is called in tables.")] = "ensemble",
    weights: Annotated[
        Weights, typer.Option("--weights", help="equal, or inverse-mse: by the mean validation RMSE of each member.")
    ] = Weights.equal,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace another ensemble of that name.")] = False,
    json: JsonFlag = False,
) -> None:
    """Average the predictions of finished runs of one scenario, target and store.

    Writes a run folder {scenario}_{target}_{name} like those of 'train': evaluate, report, rank and predict take it.
    Its members stay where they are and are needed for 'predict'.
    """
    from fluxtrapolation.runs import RunFolder, make_ensemble

    path = make_ensemble(runs, out=out, name=name, weights=weights.value, overwrite=overwrite)
    if json:
        members = [member.model_dump() for member in RunFolder(path).state().members]
        emit_json({"path": str(path), "members": members})
    else:
        emit_path(path)
