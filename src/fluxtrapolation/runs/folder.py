"""The run folder: configuration, hashes, versions, every trial, the chosen models and their predictions."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fluxtrapolation.data.folder import LOCK_NAME, FileLock, writing
from fluxtrapolation.errors import DataError, RunError
from fluxtrapolation.files import write_bytes_atomic

RUN_NAME = "run.json"
_OWN = (RUN_NAME, "scenario.yaml", "trials", "models", LOCK_NAME)
_LIBRARIES = (
    "fluxtrapolation",
    "numpy",
    "polars",
    "scikit-learn",
    "xgboost",
    "xgboost-cpu",
    "lightgbm",
    "catboost",
    "torch",
    "optuna",
    "distributed",
)
_ADDED = ("model_source", "model_sha256", "max_time", "members", "weights")
"""Entries of a configuration that came later: where they are null they do not count, so older hashes stay."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RunConfig(_Strict):
    """Everything that shapes a run. Two runs with the same hash give the same numbers.

    ``model_source`` and ``model_sha256`` say where a model that is not registered comes from, and the hash of its
    file. ``max_time`` is the budget of the search in seconds: with it, and with ``time_limit``, how much is tried
    depends on the machine too. ``members`` and ``weights`` are those of an ensemble of runs.
    """

    scenario: str
    scenario_hash: str
    domain_kind: Literal["site", "site-year"]
    target: str
    model: str
    profile: str
    n_configurations: int
    max_rows: int | None
    seed: int
    time_limit: float | None = None
    store_hash: str
    resolution: str
    feature_names: tuple[str, ...]
    package_version: str
    model_source: str | None = None
    model_sha256: str | None = None
    max_time: float | None = None
    members: tuple[str, ...] | None = None
    weights: str | None = None

    @property
    def sha256(self) -> str:
        held = self.model_dump(mode="json")
        for name in _ADDED:
            if held[name] is None:
                del held[name]
        if self.model_sha256 is not None:
            del held["model_source"]  # the file may be moved: its content counts
        return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


class Trial(_Strict):
    """One configuration: what was tried, what it cost and how it did on each validation domain.

    ``validation_rmse`` is the RMSE of each validation domain in the target's unit; ``strategies`` are its summaries:
    mean, max, and discrepancy (max minus min). All are null in a failed trial, whose ``error`` says why.
    ``train_rows`` are the rows whose error counts, after the limit, and ``train_sites`` the towers they come from.
    Where the model itself takes fewer than it is given (it says so in ``report["rows"]``), ``train_rows`` are those it
    took, and ``rows_given`` those it was given; otherwise ``rows_given`` is null.
    ``report`` and ``notes`` are the model's own words on the fit; ``peak_memory_mb`` is the process's most resident
    memory during the trial (10^6 bytes, the arrays of the split included), where the system tells it.
    ``asked`` is the draw as optuna made it, in the profile tpe, to go on from.
    """

    number: int
    params: dict[str, Any]
    status: Literal["ok", "failed"]
    error: str | None = None
    fit_seconds: float
    predict_seconds: float = 0.0
    train_rows: int
    rows_given: int | None = None
    train_sites: int | None = None
    peak_memory_mb: float | None = None
    report: dict[str, Any] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    validation_rmse: dict[str, float] = Field(default_factory=dict)
    strategies: dict[str, float] = Field(default_factory=dict)
    asked: dict[str, Any] | None = None

    @property
    def seconds(self) -> float:
        return self.fit_seconds + self.predict_seconds


def row_limit(config: RunConfig, trial: Trial | None) -> int | None:
    """The limit on train rows that rows of scores state: the run's, or the model's own where that was lower."""
    return trial.train_rows if trial is not None and trial.rows_given is not None else config.max_rows


class Rows(_Strict):
    """How many rows and domains each part had; ``train_available`` counts before the row limit."""

    train: int
    train_available: int
    validation: int
    test: int = 0
    train_sites: int
    validation_domains: int
    test_domains: int = 0


class Member(_Strict):
    """A run that an ensemble averages: its folder relative to the ensemble's, its hashes, its weight by selection.

    ``predictions`` is the sha256 of each predictions file that was averaged, by selection.
    """

    path: str
    model: str
    config_hash: str
    weights: dict[str, float]
    predictions: dict[str, str]


class RunState(_Strict):
    """The content of ``run.json``."""

    format: Literal["fluxtrapolation-run"] = "fluxtrapolation-run"
    version: int = 1
    status: Literal["running", "complete", "failed"] = "running"
    config: RunConfig
    config_hash: str
    store: str
    scenario_file: str = "scenario.yaml"
    rows: Rows | None = None
    selection: dict[str, int] = Field(default_factory=dict)
    seconds: dict[str, float] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    error: str | None = None
    members: tuple[Member, ...] = ()
    environment: dict[str, str] = Field(default_factory=dict)


def environment() -> dict[str, str]:
    """Versions of the libraries that shape the numbers, and the platform."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class RunFolder:
    """One run on disk.

    Parameters
    ----------
    path : path-like
        ``runs/{scenario}_{target}_{model}``.

    Files
    -----
    ``run.json`` (state), ``scenario.yaml`` (the pinned scenario), ``trials/000.json`` (one per configuration, written
    when it ends), ``models/000/`` (models some strategy has chosen), ``predictions-{strategy}.parquet``; ``.lock``
    while a process works on it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @property
    def name(self) -> str:
        return self.path.name

    def exists(self) -> bool:
        return (self.path / RUN_NAME).is_file()

    def state(self) -> RunState:
        """Read ``run.json``.

        Raises
        ------
        RunError
            If the folder is no run, or the file is malformed.
        """
        file = self.path / RUN_NAME
        if not file.is_file():
            raise RunError(f"{self.path} is not a run: it has no {RUN_NAME}. Make one with 'fluxtrapolation train'.")
        try:
            return RunState.model_validate_json(file.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            raise RunError(
                f"{file} is malformed: {error.error_count()} problems, first at "
                f"{'.'.join(map(str, first['loc'])) or 'the file'}: {first['msg']}. Train again with --overwrite."
            ) from None

    def write_state(self, state: RunState) -> None:
        write_bytes_atomic(self.path / RUN_NAME, state.model_dump_json(indent=1).encode())

    def check(self, config: RunConfig, *, overwrite: bool) -> None:
        """Raise unless the run of this configuration can be started, continued or replaced here.

        Raises
        ------
        RunError
            If the folder holds a run of another configuration, or files that are no run's.
        """
        if self.exists() and not overwrite:
            held = self.state()
            if held.config_hash != config.sha256:
                raise RunError(
                    f"{self.path} holds a run of another configuration ({_changes(held.config, config)}). "
                    "Choose another --out, or replace it with --overwrite."
                )
        elif self.path.exists() and (not self.path.is_dir() or any(not _is_ours(item) for item in self.path.iterdir())):
            raise RunError(f"{self.path} is in the way: it holds files that are no run's. Choose another --out.")

    def open(self, config: RunConfig, *, store: str, overwrite: bool) -> RunState:
        """Start the run, or continue one of the same configuration; see :meth:`check`."""
        self.check(config, overwrite=overwrite)
        if self.exists() and not overwrite:
            state = self.state()
            return state.model_copy(update={"config": config})  # the same run; a model's file may have been moved
        if self.path.exists():
            self._empty()
        state = RunState(config=config, config_hash=config.sha256, store=store, environment=environment())
        self.write_state(state)
        return state

    def _empty(self) -> None:
        """Remove everything but the lock, which this process may hold."""
        for item in self.path.iterdir():
            if item.is_dir():
                shutil.rmtree(item)
            elif item.name != LOCK_NAME:
                item.unlink()

    def lock(self) -> FileLock:
        """Take the folder for this process, until it is released or the process ends (even by kill -9).

        Raises
        ------
        RunError
            If another process has it.
        """
        lock = FileLock(self.path / LOCK_NAME, self._busy())
        with writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except DataError:
                raise RunError(self._busy()) from None
        return lock

    def clear_leftovers(self) -> None:
        """Remove what a killed process had half written; only under the lock."""
        for path in sorted(self.path.rglob(".*.tmp"), reverse=True):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """:meth:`lock` for a block of code."""
        lock = self.lock()
        try:
            yield
        finally:
            lock.release()

    def _busy(self) -> str:
        return (
            f"Another process is working on the run {self.path}. Wait until it has ended (the same command then goes "
            "on where it stopped), or choose another --out."
        )

    def refuse_if_busy(self) -> None:
        """Raise now if another process has the folder, before work is done in vain; see :meth:`lock`."""
        if (self.path / LOCK_NAME).exists():
            self.lock().release()

    def trials(self) -> dict[int, Trial]:
        """The finished trials by number."""
        found = {}
        for file in sorted((self.path / "trials").glob("[0-9]*.json")):
            try:
                trial = Trial.model_validate_json(file.read_bytes())
            except ValidationError:
                raise RunError(f"{file} is damaged. Delete it and train again: the trial is then repeated.") from None
            found[trial.number] = trial
        return found

    def write_trial(self, trial: Trial) -> None:
        write_bytes_atomic(self.path / "trials" / f"{trial.number:03d}.json", trial.model_dump_json(indent=1).encode())

    def model_folder(self, number: int) -> Path:
        return self.path / "models" / f"{number:03d}"

    def predictions_file(self, strategy: str) -> Path:
        return self.path / f"predictions-{strategy}.parquet"


def _changes(there: RunConfig, now: RunConfig) -> str:
    """What differs between two configurations, in words; at most two differences."""
    if there.model == now.model and there.model_sha256 and now.model_sha256 and there.model_sha256 != now.model_sha256:
        return f"the file of the model, {now.model_source}, has changed since"
    old, new = there.model_dump(), now.model_dump()
    changed = [f"{key} {old[key]!r} there, {new[key]!r} now" for key in old if old[key] != new[key]]
    return "; ".join(text if len(text) < 100 else text[:97] + "..." for text in changed[:2])


def _is_ours(item: Path) -> bool:
    """Whether something in a run folder is a run's: left by an interrupted start or removal."""
    return item.name in _OWN or item.name.startswith("predictions-") or item.name.endswith(".tmp")


def find_runs(path: str | Path) -> list[RunFolder]:
    """Every run in a folder (or the folder itself), in order of name.

    Raises
    ------
    RunError
        If there is none.
    """
    root = Path(path)
    if (root / RUN_NAME).is_file():
        return [RunFolder(root)]
    found = [RunFolder(file.parent) for file in sorted(root.glob(f"**/{RUN_NAME}"))]
    if not found:
        reason = "holds no runs" if root.is_dir() else "does not exist"
        raise RunError(f"{root} {reason}. Make runs with 'fluxtrapolation train --out {root}'.")
    return found
