"""``fluxtrapolation train``, ``predict`` and ``models``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fluxtrapolation.cli.console import emit_json, emit_path, emit_table
from fluxtrapolation.cli.options import DONE_IN_PART, JsonFlag, outside_stores
from fluxtrapolation.cli.training import (
    ClusterOption,
    JobsOption,
    TrainProgress,
    WorkersOption,
    chosen_cluster,
    tell_failures,
)


class ProfileName(StrEnum):
    paper = "paper"
    quick = "quick"
    tpe = "tpe"


def train(
    store: Annotated[Path, typer.Option("--store", help="Folder of the store.", show_default=False)],
    scenario: Annotated[
        list[str],
        typer.Option("--scenario", help="Name or scenario file; may be given more than once.", show_default=False),
    ],
    target: Annotated[
        list[str], typer.Option("--target", help="GPP, NEE or ET; may be given more than once.", show_default=False)
    ],
    model: Annotated[
        list[str],
        typer.Option(
            "--model",
            help="See 'fluxtrapolation models'; or path/to/file.py:Class, or the import path of a scikit-learn "
            "regressor; may be given more than once.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the run folders.", show_default=False, callback=outside_stores)
    ],
    profile: Annotated[
        ProfileName,
        typer.Option(
            "--profile",
            help="paper: 10 configurations at random, all rows. quick: 2, at most 300,000 train rows. "
            "tpe: 20, proposed from those tried, all rows.",
        ),
    ] = ProfileName.paper,
    configurations: Annotated[
        int | None, typer.Option("--configurations", min=1, help="Configurations to try. Default: the profile's.")
    ] = None,
    max_rows: Annotated[
        int | None, typer.Option("--max-rows", min=1, help="At most so many train rows, stratified by site.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw.")] = 0,
    jobs: JobsOption = 0,
    time_limit: Annotated[float | None, typer.Option("--time-limit", help="Seconds for one fit, at most.")] = None,
    max_time: Annotated[
        float | None,
        typer.Option("--max-time", help="Seconds for the search of one run: no configuration is begun after it."),
    ] = None,
    cluster: ClusterOption = None,
    workers: WorkersOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse if the store lacks a listed site.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew, whatever run is there. Leave it out to go on.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Search configurations, select by validation, and predict the test part.

    Every combination of the given scenarios, targets and models is a run folder {scenario}_{target}_{model} under --out
    with its configuration, hashes, versions, timings, the validation scores of every configuration, the chosen models
    and predictions-mean.parquet, -max and -discrepancy (one per selection strategy). Given again, the same command goes
    on where it stopped.
    """
    from fluxtrapolation.runs import TrainOptions
    from fluxtrapolation.runs import train as run

    with TrainProgress() as progress:
        results = run(
            store,
            scenarios=list(dict.fromkeys(scenario)),
            targets=_names(target),
            models=_names(model),
            out=out,
            options=TrainOptions(
                profile=profile.value,
                n_configurations=configurations,
                max_rows=max_rows,
                seed=seed,
                jobs=jobs,
                time_limit=time_limit,
                max_time=max_time,
                overwrite=overwrite,
                strict=strict,
            ),
            listener=progress,
            cluster=chosen_cluster(cluster, workers),
        )
    tell_failures(results, progress.failed)
    failed = [result for result in results if result.error]
    if json:
        emit_json({"runs": [result.to_dict() for result in results], "failed": len(failed)})
    else:
        emit_path(results[0].path if len(results) == 1 else out)
    if failed:
        raise typer.Exit(DONE_IN_PART)


def _names(given: list[str]) -> list[str]:
    """Names given one by one or joined by commas, each once."""
    return list(dict.fromkeys(name.strip() for text in given for name in text.split(",") if name.strip()))


def predict(
    run: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    store: Annotated[Path, typer.Option("--store", help="Folder of the store.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option("--out", help="Predictions to write (.parquet).", show_default=False, callback=outside_stores),
    ],
    selection: Annotated[str, typer.Option("--selection", help="mean, max or discrepancy.")] = "mean",
    part: Annotated[str, typer.Option("--part", help="test, validation or train.")] = "test",
    trust_model: Annotated[
        bool,
        typer.Option("--trust-model", help="Run the code of a model that is not registered (the run names its file)."),
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Apply a finished run to a store, the one it was trained on or another."""
    from fluxtrapolation.runs import predict_run

    path = predict_run(run, store=store, out=out, selection=selection, part=part, trust_model=trust_model)
    if json:
        emit_json({"path": str(path), "run": str(run), "selection": selection, "part": part})
    else:
        emit_path(path)


def models(json: JsonFlag = False) -> None:
    """List the registered models with their search spaces."""
    from fluxtrapolation.models import registry

    found = registry()
    if json:
        emit_json(
            [
                {
                    "name": spec.name,
                    "summary": spec.summary,
                    "space": spec.space_text,
                    "source": spec.source,
                    "extra": spec.needs.extra,
                }
                for spec in found.values()
            ]
        )
        return
    emit_table(["model", "what it is", "search space"], [(s.name, s.summary, s.space_text) for s in found.values()])
