"""``fluxtrapolation train``, ``predict`` and ``models``."""

from __future__ import annotations

import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fluxtrapolation.cli.console import emit_json, emit_path, emit_table, err, say
from fluxtrapolation.cli.options import DONE_IN_PART, JsonFlag, outside_stores

if TYPE_CHECKING:
    from fluxtrapolation.runs import CellResult, Trial


class ProfileName(StrEnum):
    paper = "paper"
    quick = "quick"


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
        typer.Option("--model", help="See 'fluxtrapolation models'; may be given more than once.", show_default=False),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the run folders.", show_default=False, callback=outside_stores)
    ],
    profile: Annotated[
        ProfileName,
        typer.Option("--profile", help="paper: 10 configurations, all rows. quick: 2, at most 300,000 train rows."),
    ] = ProfileName.paper,
    configurations: Annotated[
        int | None, typer.Option("--configurations", min=1, help="Configurations to try. Default: the profile's.")
    ] = None,
    max_rows: Annotated[
        int | None, typer.Option("--max-rows", min=1, help="At most so many train rows, stratified by site.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw.")] = 0,
    jobs: Annotated[int, typer.Option("--jobs", min=0, help="Threads; 0 means all cores.")] = 0,
    time_limit: Annotated[float | None, typer.Option("--time-limit", help="Seconds for one fit, at most.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse if the store lacks a listed site.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace runs of another configuration.")] = False,
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
            overwrite=overwrite,
            strict=strict,
        ),
        listener=_Told(),
    )
    failed = [result for result in results if result.error]
    if failed:
        say(f"{len(failed)} of {len(results)} runs failed:")
        for result in failed:
            say(f"  {result.path.name}: {result.error}")
    if json:
        emit_json({"runs": [result.to_dict() for result in results], "failed": len(failed)})
    else:
        emit_path(results[0].path if len(results) == 1 else out)
    if failed:
        raise typer.Exit(DONE_IN_PART)


def _names(given: list[str]) -> list[str]:
    """Names given one by one or joined by commas, each once."""
    return list(dict.fromkeys(name.strip() for text in given for name in text.split(",") if name.strip()))


class _Told:
    """Tells on standard error how training goes on: one line per trial, one per run."""

    def __init__(self) -> None:
        self._begin = time.monotonic()

    def cell_started(self, name: str, done: int, total: int) -> None:
        if done:
            elapsed = time.monotonic() - self._begin
            left = f", about {elapsed / done * (total - done):,.0f} s left"
        else:
            left = ""
        err.print(f"[{done + 1}/{total}] {name}{left}", markup=False, soft_wrap=True)

    def trial_ended(self, name: str, trial: Trial, total: int) -> None:  # noqa: ARG002
        if trial.status == "failed":
            say(f"  configuration {trial.number + 1}/{total} failed: {trial.error}")
            return
        speed = trial.train_rows / max(trial.fit_seconds, 1e-9)
        scores = ", ".join(f"{key} {value:.4g}" for key, value in trial.strategies.items())
        say(
            f"  configuration {trial.number + 1}/{total}: validation RMSE {scores}; "
            f"{trial.train_rows:,} rows in {trial.fit_seconds:.1f} s ({speed:,.0f} rows/s)"
        )

    def cell_ended(self, result: CellResult) -> None:
        say(f"  {result.path.name}: {result.status}" + (f" in {result.seconds:.1f} s" if result.seconds else ""))


def predict(
    run: Annotated[Path, typer.Argument(help="Run folder.", show_default=False)],
    store: Annotated[Path, typer.Option("--store", help="Folder of the store.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option("--out", help="Predictions to write (.parquet).", show_default=False, callback=outside_stores),
    ],
    selection: Annotated[str, typer.Option("--selection", help="mean, max or discrepancy.")] = "mean",
    part: Annotated[str, typer.Option("--part", help="test, validation or train.")] = "test",
    json: JsonFlag = False,
) -> None:
    """Apply a finished run to a store, the one it was trained on or another."""
    from fluxtrapolation.runs import predict_run

    path = predict_run(run, store=store, out=out, selection=selection, part=part)
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
