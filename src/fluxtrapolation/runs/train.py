"""Training: cells of scenario x target x model, each a resumable run folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fluxtrapolation import __version__
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import FluxtrapolationError, RunError, did_you_mean
from fluxtrapolation.evaluation.predictions import Identity, Predictions
from fluxtrapolation.models import FluxModel, ModelSpec, model_spec
from fluxtrapolation.runs.folder import Rows, RunConfig, RunFolder, RunState, Trial
from fluxtrapolation.runs.search import PROFILES, search
from fluxtrapolation.scenarios import Part, Scenario, Split, load_scenario, make_split
from fluxtrapolation.schema import SELECTIONS


class TrainListener(Protocol):
    """Hears how training goes on."""

    def cell_started(self, name: str, done: int, total: int) -> None: ...
    def trial_ended(self, name: str, trial: Trial, total: int) -> None: ...
    def cell_ended(self, result: CellResult) -> None: ...


@dataclass(frozen=True)
class CellResult:
    """How one cell ended: its folder, state, and why it failed, if it did."""

    scenario: str
    target: str
    model: str
    path: Path
    status: str
    seconds: float
    error: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario,
            "target": self.target,
            "model": self.model,
            "path": str(self.path),
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "error": self.error,
        }


@dataclass(frozen=True)
class TrainOptions:
    """Options shared by all cells; see :func:`train`."""

    profile: str = "paper"
    n_configurations: int | None = None
    max_rows: int | None = None
    seed: int = 0
    jobs: int = 0
    time_limit: float | None = None
    overwrite: bool = False
    strict: bool = False


def train(
    store: Store | str | Path,
    *,
    scenarios: Sequence[str | Path | Scenario],
    targets: Sequence[str],
    models: Sequence[str],
    out: str | Path,
    options: TrainOptions | None = None,
    listener: TrainListener | None = None,
) -> list[CellResult]:
    """Search, select and predict for every cell of scenarios x targets x models.

    Each cell is a run folder ``out/{scenario}_{target}_{model}``; one that is complete is left alone, one that was
    interrupted goes on where it stopped. A cell that fails is recorded and the others go on.

    Parameters
    ----------
    store : Store or path
    scenarios, targets, models : sequences
    out : path
        Folder of the run folders.
    options : TrainOptions
        ``profile`` paper (10 configurations, all train rows) or quick (2, at most 300,000 rows, stratified by site);
        ``n_configurations`` and ``max_rows`` override it; ``seed`` of every draw; ``jobs`` threads (0: all cores);
        ``time_limit`` seconds per fit.

    Returns
    -------
    list of CellResult

    Raises
    ------
    FluxtrapolationError
        If a name is unknown or the store lacks a target, before anything is trained.
    """
    opts = options or TrainOptions()
    if opts.profile not in PROFILES:
        raise RunError(
            f"There is no profile {opts.profile!r}.{did_you_mean(opts.profile, PROFILES)} Known: {', '.join(PROFILES)}."
        )
    opened = Store.of(store)
    pinned = [load_scenario(scenario) for scenario in scenarios]
    specs = [model_spec(name) for name in dict.fromkeys(models)]
    for spec in specs:
        if spec.needs.sequences:
            raise RunError(f"The model {spec.name} needs windows; training sequence models is not built yet.")
        spec.load_class()
    for target in targets:
        opened.need_target(target)
    groups = [
        [_Cell(opened, scenario, target, spec, Path(out), opts) for spec in specs]
        for scenario in pinned
        for target in dict.fromkeys(targets)
    ]
    _check_beforehand(opened, pinned, groups, opts)
    results: list[CellResult] = []
    for cells in groups:
        results += _train_together(cells, listener, len(results), sum(map(len, groups)))
    return results


def _check_beforehand(
    store: Store, scenarios: list[Scenario], groups: list[list[_Cell]], options: TrainOptions
) -> None:
    """Refuse what cannot work before the first model is trained."""
    if not 0 <= options.seed < 2**32:
        raise RunError(f"The seed must not be negative and must fit 32 bits ({options.seed}).")
    if options.time_limit is not None and not options.time_limit > 0:
        raise RunError(f"The time limit must be a positive number of seconds, not {options.time_limit:g}.")
    names = [scenario.name for scenario in scenarios]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise RunError(f"The scenario name {twice[0]!r} is given {names.count(twice[0])} times. Give each once.")
    for scenario in scenarios:
        scenario.apply(store.site_ids, strict=options.strict)
    for cell in (cell for cells in groups for cell in cells):
        cell.folder.check(cell.config, overwrite=options.overwrite)


class _Cell:
    """One scenario, target and model."""

    def __init__(
        self, store: Store, scenario: Scenario, target: str, spec: ModelSpec, out: Path, options: TrainOptions
    ) -> None:
        self.store, self.scenario, self.target, self.spec, self.options = store, scenario, target, spec, options
        profile = PROFILES[options.profile]
        self.folder = RunFolder(out / f"{scenario.name}_{target}_{spec.name}")
        self.config = RunConfig(
            scenario=scenario.name,
            scenario_hash=scenario.sha256,
            domain_kind=scenario.domain,
            target=target,
            model=spec.name,
            profile=options.profile,
            n_configurations=(options.n_configurations or profile.n_configurations) if spec.space is not None else 1,
            max_rows=options.max_rows if options.max_rows is not None else profile.max_rows,
            seed=options.seed,
            time_limit=options.time_limit,
            store_hash=store.data_hash,
            resolution=store.resolution,
            feature_names=store.features,
            package_version=__version__,
        )

    def is_complete(self) -> bool:
        """Whether the run is done and everything it made is still there."""
        if self.options.overwrite or not self.folder.exists():
            return False
        state = self.folder.state()
        files = [self.folder.predictions_file(name) for name in state.selection]
        files += [self.folder.model_folder(number) / "model.json" for number in state.selection.values()]
        return state.status == "complete" and all(file.is_file() for file in files)

    def open(self) -> RunState:
        where = str(self.store.path.resolve())
        state = self.folder.open(self.config, store=where, overwrite=self.options.overwrite)
        if state.status != "running":
            state = state.model_copy(update={"status": "running", "error": None})
            self.folder.write_state(state)
        self.scenario.write(self.folder.path / "scenario.yaml")
        return state

    def result(self, status: str, seconds: float, error: str | None = None) -> CellResult:
        return CellResult(self.scenario.name, self.target, self.spec.name, self.folder.path, status, seconds, error)


def _train_together(cells: list[_Cell], listener: TrainListener | None, done: int, total: int) -> list[CellResult]:
    """Cells of one scenario and target share their arrays."""
    results = {cell: cell.result("already complete", 0.0) for cell in cells if cell.is_complete()}
    todo = [cell for cell in cells if cell not in results]
    if todo:
        try:
            split = _split(todo[0], ("train", "validation"))
        except FluxtrapolationError as error:
            # No rows to train on: told for every cell, and no folder is made.
            results |= {cell: cell.result("failed", 0.0, str(error)) for cell in todo}
        else:
            results |= _search_and_predict(todo, split, listener, done + len(results), total)
    for cell in cells:
        if listener is not None:
            listener.cell_ended(results[cell])
    return [results[cell] for cell in cells]


def _search_and_predict(
    cells: list[_Cell], split: Split, listener: TrainListener | None, done: int, total: int
) -> dict[_Cell, CellResult]:
    """Search every cell; the test part is read only after every search has ended."""
    results: dict[_Cell, CellResult] = {}
    found: list[tuple[_Cell, RunState, dict[str, int], Rows, float]] = []
    limited = {limit: _limited(split.train, limit, cells[0]) for limit in {cell.config.max_rows for cell in cells}}
    available, validation = len(split.train), split.validation
    notes = _notes(split)
    del split
    for cell in cells:
        if listener is not None:
            listener.cell_started(cell.folder.name, done + len(results) + len(found), total)
        begin = time.perf_counter()
        state, part = cell.open(), limited[cell.config.max_rows]
        try:
            chosen = search(
                cell.folder,
                cell.spec,
                train=part,
                validation=validation,
                n_configurations=cell.config.n_configurations,
                seed=cell.config.seed,
                n_jobs=cell.options.jobs,
                time_limit=cell.config.time_limit,
                report=_reporter(listener, cell),
            )
        except FluxtrapolationError as error:
            results[cell] = _failed(cell, state, str(error), time.perf_counter() - begin)
            continue
        rows = Rows(
            train=len(part),
            train_available=available,
            validation=len(validation),
            train_sites=len(part.sites),
            validation_domains=len(validation.domains),
        )
        found.append((cell, state, chosen, rows, time.perf_counter() - begin))
    del limited, validation
    if found:
        try:
            test = _split(found[0][0], ("test",))
        except FluxtrapolationError as error:
            return results | {cell: _failed(cell, state, str(error), spent) for cell, state, _, _, spent in found}
        for cell, state, chosen, rows, spent in found:
            results[cell] = _finish(cell, state, chosen, rows, test.test, spent, [*notes, *_notes(test)])
    return results


def _notes(split: Split) -> list[str]:
    """What the scenario lists and the store cannot give."""
    notes = [f"the store lacks {len(split.absent)} listed sites: {', '.join(split.absent)}"] if split.absent else []
    return notes + [
        f"{len(sites)} {part} towers have no usable hours: {', '.join(sites)}"
        for part, sites in split.without_rows.items()
        if sites
    ]


def _split(cell: _Cell, parts: Any) -> Split:
    return make_split(
        cell.store,
        cell.scenario,
        target=cell.target,
        parts=parts,
        strict=cell.options.strict,
        jobs=cell.options.jobs or None,
    )


def _limited(part: Part, max_rows: int | None, cell: _Cell) -> Part:
    return part if max_rows is None else part.subsample(max_rows, seed=cell.config.seed)


def _reporter(listener: TrainListener | None, cell: _Cell) -> Any:
    if listener is None:
        return None
    return lambda trial, total: listener.trial_ended(cell.folder.name, trial, total)


def _failed(cell: _Cell, state: RunState, reason: str, seconds: float) -> CellResult:
    cell.folder.write_state(state.model_copy(update={"status": "failed", "error": reason}))
    return cell.result("failed", seconds, reason)


def _finish(
    cell: _Cell,
    state: RunState,
    chosen: dict[str, int],
    rows: Rows,
    test: Part,
    search_seconds: float,
    notes: list[str],
) -> CellResult:
    begin = time.perf_counter()
    by_trial = {}
    for number in sorted(set(chosen.values())):
        model = load_model(cell.folder, number)
        by_trial[number] = model.predict(test.X)
    predicted = time.perf_counter()
    trials = cell.folder.trials()
    for strategy in SELECTIONS:
        write_predictions(
            cell.folder.predictions_file(strategy),
            test,
            by_trial[chosen[strategy]],
            config=cell.config,
            selection=strategy,
            params=trials[chosen[strategy]].params,
        )
    failed = [trial for trial in trials.values() if trial.status == "failed"]
    notes = list(dict.fromkeys(notes))
    notes += [f"configuration {trial.number} failed: {trial.error}" for trial in failed]
    seconds = {
        "search": search_seconds,
        "predict": predicted - begin,
        "write": time.perf_counter() - predicted,
    }
    cell.folder.write_state(
        state.model_copy(
            update={
                "status": "complete",
                "error": None,
                "rows": rows.model_copy(update={"test": len(test), "test_domains": len(test.domains)}),
                "selection": chosen,
                "seconds": seconds,
                "notes": tuple(notes),
            }
        )
    )
    return cell.result("complete", sum(seconds.values()))


def load_model(folder: RunFolder, number: int) -> FluxModel:
    """Load the model of one trial of a run."""
    spec = model_spec(folder.state().config.model)
    return spec.load_class().load(folder.model_folder(number))


def write_predictions(
    path: Path, part: Part, y_pred: Any, *, config: RunConfig, selection: str, params: dict[str, Any]
) -> Path:
    """Write predictions for a part with their identity."""
    identity = Identity(
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
        config=params,
        max_rows=config.max_rows,
        domain_kind=config.domain_kind,
    )
    return Predictions(part.to_frame(y_pred), identity).write(path)
