"""The end of a run: predictions for every test row by the chosen models, and the last state of its folder."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fluxtrapolation import __version__
from fluxtrapolation.evaluation.predictions import Identity, Predictions
from fluxtrapolation.models import FluxModel, SequenceModel
from fluxtrapolation.runs.cells import Cell, CellResult, load_model
from fluxtrapolation.runs.folder import Rows, RunConfig, RunFolder, RunState, Trial, row_limit
from fluxtrapolation.runs.search import Search
from fluxtrapolation.runs.trial import SearchFacts
from fluxtrapolation.scenarios import Part
from fluxtrapolation.schema import SELECTIONS


@dataclass(frozen=True)
class PredictFacts:
    """What the run folder says of the test rows."""

    rows: int
    domains: int
    notes: tuple[str, ...]
    predict_seconds: float
    write_seconds: float


def predict_rows(model: FluxModel, part: Part) -> Any:
    """Predictions for every row of a part, whether the model reads rows or windows."""
    given: Any = part if isinstance(model, SequenceModel) else part.X
    return model.predict(given)


def counted(part: Part, predicted: Any) -> tuple[Part, Any]:
    """The rows that every kind of model has: in train and validation a split for sequences holds other hours too."""
    if part.mask is None or part.mask.all():
        return part, predicted
    return part.take(part.mask), np.asarray(predicted)[part.mask]


def predict_test(
    folder: RunFolder, config: RunConfig, chosen: Mapping[str, int], test: Part, notes: Iterable[str]
) -> PredictFacts:
    """Predict every test row with the model of each strategy and write the predictions into the run folder."""
    begin = time.perf_counter()
    trials = folder.trials()
    by_trial = {
        number: predict_rows(load_model(folder, number, config), test) for number in sorted(set(chosen.values()))
    }
    predicted = time.perf_counter()
    for strategy in SELECTIONS:
        write_predictions(
            folder.predictions_file(strategy),
            test,
            by_trial[chosen[strategy]],
            config=config,
            selection=strategy,
            trial=trials[chosen[strategy]],
        )
    return PredictFacts(
        rows=len(test),
        domains=len(test.domains),
        notes=tuple(notes),
        predict_seconds=predicted - begin,
        write_seconds=time.perf_counter() - predicted,
    )


def complete(
    cell: Cell, state: RunState, search: Search, searched: SearchFacts, tested: PredictFacts, search_seconds: float
) -> CellResult:
    """Write the last state of a run, with all a reader must know."""
    chosen = search.best()
    taken = [search.trials[number] for number in sorted(set(chosen.values()))]
    first = search.trials[chosen["mean"]]
    notes = [*searched.notes, *tested.notes, *search.notes(), *(note for trial in taken for note in trial.notes)]
    seconds = {"search": search_seconds, "predict": tested.predict_seconds, "write": tested.write_seconds}
    rows = Rows(
        train=first.train_rows,
        train_available=searched.train_available,
        validation=searched.validation,
        test=tested.rows,
        train_sites=first.train_sites if first.train_sites is not None else searched.train_sites,
        validation_domains=searched.validation_domains,
        test_domains=tested.domains,
    )
    cell.folder.clear_leftovers()  # of workers that died
    cell.folder.write_state(
        state.model_copy(
            update={
                "status": "complete",
                "error": None,
                "rows": rows,
                "selection": chosen,
                "seconds": seconds,
                "notes": tuple(dict.fromkeys(notes)),
            }
        )
    )
    failed = sum(trial.status == "failed" for trial in search.trials.values())
    return cell.result("complete", sum(seconds.values()), failed=failed)


def write_predictions(path: Path, part: Part, y_pred: Any, *, config: RunConfig, selection: str, trial: Trial) -> Path:
    """Write predictions for a part with their identity."""
    return Predictions(part.to_frame(y_pred), identity_of(config, selection, trial)).write(path)


def identity_of(config: RunConfig, selection: str, trial: Trial) -> Identity:
    """Who made the predictions of a run: its configuration, and the trial that was chosen."""
    return Identity(
        scenario=config.scenario,
        target=config.target,
        model=config.model,
        selection=selection,
        seed=config.seed,
        profile=config.profile,
        resolution=config.resolution,
        package_version=__version__,
        store_hash=config.store_hash,
        scenario_hash=config.scenario_hash,
        config=trial.params,
        max_rows=row_limit(config, trial),
        domain_kind=config.domain_kind,
    )
