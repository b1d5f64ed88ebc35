"""Cells: one scenario, target and model with its options, and the run folder that belongs to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from fluxtrapolation import __version__
from fluxtrapolation.data.folder import FileLock
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import RunError
from fluxtrapolation.models import FluxModel, ModelSpec, registry
from fluxtrapolation.models.foreign import file_of, resolve_model
from fluxtrapolation.models.registry import registered
from fluxtrapolation.runs.folder import RunConfig, RunFolder, RunState, Trial
from fluxtrapolation.runs.proposals import profile_of
from fluxtrapolation.scenarios import Scenario


class TrainListener(Protocol):
    """Hears how training goes on."""

    def cell_started(self, name: str, done: int, total: int) -> None: ...
    def search_started(self, name: str, trials: Sequence[Trial], total: int) -> None:
        """The trials on record from before, and how many there will be."""

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
    failed_configurations: int = 0

    @property
    def label(self) -> str:
        return _label(self.path)

    def to_dict(self) -> dict[str, Any]:
        return {
            "scenario": self.scenario,
            "target": self.target,
            "model": self.model,
            "path": str(self.path),
            "status": self.status,
            "seconds": round(self.seconds, 3),
            "error": self.error,
            "failed_configurations": self.failed_configurations,
        }


@dataclass(frozen=True)
class TrainOptions:
    """How cells are trained; see :func:`fluxtrapolation.runs.train`."""

    profile: str = "paper"
    n_configurations: int | None = None
    max_rows: int | None = None
    seed: int = 0
    jobs: int = 0
    time_limit: float | None = None
    max_time: float | None = None
    overwrite: bool = False
    strict: bool = False

    def check(self) -> None:
        """Refuse values that cannot work.

        Raises
        ------
        RunError
        """
        profile_of(self.profile)
        if not 0 <= self.seed < 2**32:
            raise RunError(f"The seed must not be negative and must fit 32 bits ({self.seed}).")
        for name, seconds in (("time limit", self.time_limit), ("time for a search", self.max_time)):
            if seconds is not None and not seconds > 0:
                raise RunError(f"The {name} must be a positive number of seconds, not {seconds:g}.")
        for name, number in (("number of configurations", self.n_configurations), ("row limit", self.max_rows)):
            if number is not None and number < 1:
                raise RunError(f"The {name} must be at least 1, not {number}.")


class Cell:
    """One scenario, target and model, with its options and its run folder."""

    def __init__(
        self, store: Store, scenario: Scenario, target: str, spec: ModelSpec, out: Path, options: TrainOptions
    ) -> None:
        self.store, self.scenario, self.target, self.spec, self.options = store, scenario, target, spec, options
        profile = profile_of(options.profile)
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
            model_source=spec.origin,
            model_sha256=spec.sha256,
            max_time=options.max_time,
        )
        self._lock: FileLock | None = None

    @property
    def group(self) -> tuple[str, str, bool]:
        """Cells of one group are trained on the same arrays: rows, or hours for sequence models."""
        return self.scenario.name, self.target, self.spec.needs.sequences

    @property
    def label(self) -> str:
        """What the cell is called in messages."""
        return _label(self.folder.path)

    def is_complete(self) -> bool:
        """Whether the run is done and everything it made is still there."""
        if self.options.overwrite or not self.folder.exists():
            return False
        state = self.folder.state()
        files = [self.folder.predictions_file(name) for name in state.selection]
        files += [self.folder.model_folder(number) / "model.json" for number in state.selection.values()]
        return state.status == "complete" and all(file.is_file() for file in files)

    def open(self) -> RunState:
        """Lock the folder, and start its run or continue it.

        Raises
        ------
        RunError
            If another process is working on it.
        """
        self._lock = self.folder.lock()
        where = str(self.store.path.resolve())
        state = self.folder.open(self.config, store=where, overwrite=self.options.overwrite)
        state = state.model_copy(update={"status": "running", "error": None})
        self.folder.write_state(state)
        self.folder.clear_leftovers()
        self.scenario.write(self.folder.path / "scenario.yaml")
        return state

    def close(self) -> None:
        """Let the folder go; does nothing where it is not held."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def result(self, status: str, seconds: float, error: str | None = None, *, failed: int = 0) -> CellResult:
        return CellResult(
            self.scenario.name, self.target, self.spec.name, self.folder.path, status, seconds, error, failed
        )

    def already_complete(self) -> CellResult:
        return self.result("already complete", 0.0, failed=self._failed_configurations())

    def _failed_configurations(self) -> int:
        try:
            return sum(trial.status == "failed" for trial in self.folder.trials().values())
        except RunError:  # a damaged record is told where it is needed
            return 0

    def failed(self, state: RunState, reason: str, seconds: float) -> CellResult:
        """Write down why the run failed."""
        self.folder.write_state(state.model_copy(update={"status": "failed", "error": reason}))
        return self.result("failed", seconds, reason, failed=self._failed_configurations())


def _label(path: Path) -> str:
    """The name of a run folder; where a sweep has several seeds, with that of its seed."""
    return f"{path.parent.name}/{path.name}" if path.parent.name.startswith("seed-") else path.name


def check_beforehand(cells: Sequence[Cell], *, busy: bool = True) -> None:
    """Refuse what cannot work before the first model is trained.

    Parameters
    ----------
    cells : sequence of Cell
    busy : bool
        Refuse folders that another process is working on; False for a mere look.

    Raises
    ------
    FluxtrapolationError
        On options that cannot work, a library that is not installed, a name that stands for two runs, a target that
        the store lacks, a folder that holds another run, or one that another process is working on.
    """
    places: dict[Path, list[Cell]] = {}
    for cell in cells:
        cell.options.check()
        places.setdefault(cell.folder.path, []).append(cell)
    for path, (first, *more) in places.items():
        if more:
            same = more[0].spec is first.spec and more[0].options is first.options
            what = f"scenario name {first.scenario.name!r}" if same else f"model name {first.spec.name!r}"
            raise RunError(f"The {what} is given {1 + len(more)} times, for one folder, {path}. Give each once.")
    for spec in {cell.spec.name: cell.spec for cell in cells}.values():
        spec.load_class()
    for store, target in {(cell.store, cell.target): None for cell in cells}:
        store.need_target(target)
    for cell in {(cell.scenario.name, cell.options.strict): cell for cell in cells}.values():
        cell.scenario.apply(cell.store.site_ids, strict=cell.options.strict)
    for cell in cells:
        cell.folder.check(cell.config, overwrite=cell.options.overwrite)
        if busy:
            cell.folder.refuse_if_busy()


def groups_of(cells: Iterable[Cell]) -> list[list[Cell]]:
    """Cells that share arrays, in order of appearance."""
    found: dict[tuple[str, str, bool], list[Cell]] = {}
    for cell in cells:
        found.setdefault(cell.group, []).append(cell)
    return list(found.values())


def names_code(config: RunConfig) -> bool:
    """Whether the model of a run is found by what ``run.json`` says, not by a name among the registered ones.

    Loading such a model imports a file or package, and runs its code.
    """
    return config.model_source is not None and (config.model_sha256 is not None or config.model not in registry())


def spec_of_run(config: RunConfig) -> ModelSpec:
    """Find the model of a run again: a registered one by name, another where it came from.

    Only for a configuration that is the user's own, or that they trust (see :func:`names_code`).

    Raises
    ------
    ModelError
        If it is not there any more, or its file has changed since; nothing of a changed file is executed.
    RunError
        If a file is named without its hash.
    """
    if config.model_source is None or not names_code(config):
        return registered(config.model)
    if (file_of(config.model_source) is None) != (config.model_sha256 is None):
        raise RunError(
            f"The run says that its model {config.model} comes from {config.model_source}, and its hash is "
            f"{config.model_sha256}. A file has a hash, a package none: the run is not used."
        )
    return resolve_model(config.model_source, sha256=config.model_sha256)


def load_model(folder: RunFolder, number: int, config: RunConfig | None = None) -> FluxModel:
    """Load the model of one trial of a run."""
    spec = spec_of_run(config or folder.state().config)
    return spec.load_class().load(folder.model_folder(number))
