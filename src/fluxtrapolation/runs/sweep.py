"""Sweeps: models x scenarios x targets x seeds from one file, planned before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import RunError, did_you_mean
from fluxtrapolation.models import model_spec
from fluxtrapolation.runs.cells import Cell, TrainOptions
from fluxtrapolation.runs.folder import RunFolder, Trial, find_runs
from fluxtrapolation.runs.search import Search
from fluxtrapolation.scenarios import load_scenario, most_rows

RATES: Final = {
    "constant": 2e7,
    "lr": 3e6,
    "ridge": 3e6,
    "robust-lr": 3e5,
    "xgb": 5e4,
    "xgb-conservative": 5e4,
    "xgb-balanced": 5e4,
    "lightgbm": 1e5,
    "catboost": 3e4,
    "maxrm-mse": 3e3,
    "maxrm-regret": 2e3,
}
"""Train rows per second of one configuration where the folder of runs holds no trial of the model: rough, 2 cores."""
RATE_DEEP: Final = 3e3
RATE_OTHER: Final = 2e4


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelEntry(_Strict):
    """A model of a sweep, with what differs for it; null: as the sweep says, or else the profile."""

    name: str
    configurations: int | None = Field(default=None, ge=1)
    max_rows: int | None = Field(default=None, ge=1)
    time_limit: float | None = Field(default=None, gt=0)
    max_time: float | None = Field(default=None, gt=0)


class SweepPlan(_Strict):
    """The content of a sweep file. Paths are as one would type them where the command is run.

    Attributes
    ----------
    store : str
    scenarios, targets : tuple of str
        As for ``train``.
    models : tuple of str or ModelEntry
        Names, or mappings with ``name`` and any of ``configurations, max_rows, time_limit, max_time``.
    profile : {'paper', 'quick', 'tpe'}
    seeds : tuple of int
        With several, each has a folder ``seed-N`` of runs, and a report.
    configurations, max_rows, time_limit, max_time : optional
        For all models that do not say otherwise.
    out : str
        Folder of the run folders.
    report : str, optional
        Folder of the report; null: none is made.
    """

    store: str
    scenarios: tuple[str, ...] = Field(min_length=1)
    targets: tuple[str, ...] = Field(min_length=1)
    models: tuple[str | ModelEntry, ...] = Field(min_length=1)
    profile: Literal["paper", "quick", "tpe"] = "paper"
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    configurations: int | None = Field(default=None, ge=1)
    max_rows: int | None = Field(default=None, ge=1)
    time_limit: float | None = Field(default=None, gt=0)
    max_time: float | None = Field(default=None, gt=0)
    out: str
    report: str | None = None

    @field_validator("scenarios", "targets", "models", "seeds", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: Any) -> Any:
        return value if isinstance(value, list | tuple) else [value]

    def places(self) -> list[tuple[int, Path, Path | None]]:
        """Seed, folder of runs and folder of the report."""
        out, report = Path(self.out), Path(self.report) if self.report else None
        if len(self.seeds) == 1:
            return [(self.seeds[0], out, report)]
        return [(seed, out / f"seed-{seed}", report / f"seed-{seed}" if report else None) for seed in self.seeds]


def read_plan(path: str | Path) -> SweepPlan:
    """Read a sweep file.

    Raises
    ------
    RunError
        If it is not there, no YAML, or malformed: with every problem, and the nearest known key.
    """
    file = Path(path)
    if not file.is_file():
        raise RunError(f"There is no sweep file {file}.")
    try:
        body = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{file} cannot be read ({error}).") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise RunError(f"{file}{where} is not YAML: {getattr(error, 'problem', None) or error}.") from None
    if not isinstance(body, dict):
        raise RunError(f"{file} is no sweep: it must be a mapping with {', '.join(_needed())}.")
    try:
        return SweepPlan.model_validate(body)
    except ValidationError as error:
        raise RunError(f"{file} is malformed:\n" + "\n".join(_problems(error))) from None


def _needed() -> list[str]:
    return [name for name, field in SweepPlan.model_fields.items() if field.is_required()]


def _problems(error: ValidationError) -> list[str]:
    """Each problem once, in words; a model that is neither name nor mapping gives two by pydantic's count."""
    found: dict[str, None] = {}
    for one in error.errors():
        words = [str(word) for word in one["loc"] if word not in ("str", "ModelEntry")]
        if one["loc"][-1] == "str":
            continue
        where = ".".join(words)
        if one["type"] == "extra_forbidden":
            known = ModelEntry.model_fields if words[0] == "models" else SweepPlan.model_fields
            found[f"  {where} is unknown.{did_you_mean(words[-1], known)} Known: {', '.join(known)}."] = None
        elif one["type"] == "missing":
            found[f"  {where} is missing."] = None
        else:
            found[f"  {where}: {one['msg']}"] = None
    return list(found)


def sweep_cells(plan: SweepPlan, *, jobs: int = 0, overwrite: bool = False, strict: bool = False) -> list[Cell]:
    """The cells of a sweep: seeds x scenarios x targets x models.

    Raises
    ------
    FluxtrapolationError
        If the store is not there, or a scenario or model is unknown.
    """
    store = Store(plan.store)
    scenarios = [load_scenario(name) for name in plan.scenarios]
    entries = [ModelEntry(name=one) if isinstance(one, str) else one for one in plan.models]
    specs = [model_spec(entry.name) for entry in entries]
    base = TrainOptions(
        profile=plan.profile,
        n_configurations=plan.configurations,
        max_rows=plan.max_rows,
        time_limit=plan.time_limit,
        max_time=plan.max_time,
        jobs=jobs,
        overwrite=overwrite,
        strict=strict,
    )
    cells = []
    for seed, out, _ in plan.places():
        options = [
            replace(
                base,
                seed=seed,
                n_configurations=entry.configurations or base.n_configurations,
                max_rows=entry.max_rows or base.max_rows,
                time_limit=entry.time_limit or base.time_limit,
                max_time=entry.max_time or base.max_time,
            )
            for entry in entries
        ]
        cells += [
            Cell(store, scenario, target, spec, out, chosen)
            for scenario in scenarios
            for target in plan.targets
            for spec, chosen in zip(specs, options, strict=True)
        ]
    return cells


CellStatus = Literal["done", "to continue", "to do"]
STATUSES: Final = get_args(CellStatus)


@dataclass(frozen=True)
class Planned:
    """A cell before it is trained: what is on record, and how long the rest may take.

    Attributes
    ----------
    done, total : int
        Configurations on record, and all.
    rows : int
        Train rows, at most.
    seconds : float
        Estimated time of the configurations that are left, without reading and predicting; 0 where all is done.
    measured : bool
        Whether the estimate rests on trials of this model in the folder of runs, not on a rough default.
    """

    cell: Cell
    status: CellStatus
    done: int
    total: int
    rows: int
    seconds: float
    measured: bool

    def to_dict(self) -> dict[str, Any]:
        config = self.cell.config
        return {
            "scenario": config.scenario,
            "target": config.target,
            "model": config.model,
            "seed": config.seed,
            "path": str(self.cell.folder.path),
            "status": self.status,
            "configurations": self.total,
            "configurations_done": self.done,
            "train_rows": self.rows,
            "seconds": round(self.seconds, 1),
            "measured": self.measured,
        }


def planned(cells: Sequence[Cell]) -> list[Planned]:
    """What a sweep has to do, without doing it."""
    rates = measured_rates({cell.folder.path.parent for cell in cells})
    rows: dict[tuple[str, str], int] = {}
    found = []
    for cell in cells:
        key = (cell.scenario.sha256, str(cell.store.path))
        if key not in rows:
            rows[key] = most_rows(cell.store, cell.scenario, "train")
        n = min(rows[key], cell.config.max_rows or rows[key])
        total = cell.config.n_configurations
        fresh = cell.options.overwrite or not cell.folder.exists()
        kept = 0 if fresh else len(Search(cell.folder, cell.spec, cell.config, jobs=1).kept)
        status: CellStatus = "done" if cell.is_complete() else "to continue" if kept else "to do"
        rate = rates.get(cell.spec.name)
        seconds = 0.0 if status == "done" else _seconds(cell, n, total - kept, rate or default_rate(cell))
        found.append(Planned(cell, status, kept, total, n, seconds, rate is not None))
    return found


def _seconds(cell: Cell, rows: int, left: int, rate: float) -> float:
    """Estimated time of the configurations that are left, within the budget."""
    one = min(rows / rate, cell.config.time_limit or float("inf"))
    return min(left * one, cell.config.max_time or float("inf"))


def default_rate(cell: Cell) -> float:
    """Train rows per second where nothing is known; see :data:`RATES`."""
    deep = cell.spec.needs.sequences or cell.spec.needs.extra == "deep"
    return RATES.get(cell.spec.name, RATE_DEEP if deep else RATE_OTHER)


def measured_rates(places: Iterable[Path]) -> dict[str, float]:
    """Train rows per second of each model, over all its trials in folders of runs."""
    trials: dict[str, list[Trial]] = {}
    for place in places:
        folders: list[RunFolder] = []
        if place.is_dir():
            try:
                folders = find_runs(place)
            except RunError:
                continue  # none yet
        for folder in folders:
            try:
                trials.setdefault(folder.state().config.model, []).extend(folder.trials().values())
            except RunError:
                continue  # a run of somebody else's that cannot be read: no reason not to plan
    found = {}
    for model, all_of_it in trials.items():
        good = [trial for trial in all_of_it if trial.status == "ok" and trial.train_rows and trial.seconds > 0]
        if good:
            found[model] = sum(trial.train_rows for trial in good) / sum(trial.seconds for trial in good)
    return found
