"""What the workers of a cluster do: they read a split by its path, run a trial, or predict the test rows."""

from __future__ import annotations

import os
import signal
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fluxtrapolation import __version__
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import FluxtrapolationWarning, RunError
from fluxtrapolation.runs.cells import spec_of_run
from fluxtrapolation.runs.finish import PredictFacts, predict_test
from fluxtrapolation.runs.folder import RunConfig, RunFolder, Trial
from fluxtrapolation.runs.trial import SearchFacts, SearchRows, TrialTask, run_trial, split_notes
from fluxtrapolation.scenarios import Split, load_scenario, make_split
from fluxtrapolation.scenarios.scenario import PartName

QUIET: Final = __name__
"""What Dask imports in a worker of ours as it starts; see :func:`dask_setup`."""
SHARED: Final = "Workers must see the store and the run folders under the same path (a shared file system)."


@dataclass(frozen=True)
class Place:
    """What a worker must know to find the rows and the folder of a cell."""

    store: str
    folder: str
    config: RunConfig
    sequences: bool
    strict: bool
    jobs: int

    @property
    def rows(self) -> tuple[str, str, str, bool, bool]:
        """Cells of which this is equal are trained on the same rows."""
        return self.config.store_hash, self.config.scenario_hash, self.config.target, self.sequences, self.strict


_held: tuple[tuple[str, str, str, bool, bool], SearchRows] | None = None
_reading = threading.Lock()


def dask_setup(worker: Any) -> None:  # noqa: ARG001 (Dask gives it)
    """Called by Dask in each worker of this machine: Ctrl-C is for the process that started them, which ends them."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _open_place(place: Place) -> RunFolder:
    folder = RunFolder(place.folder)
    if not folder.exists():
        raise RunError(f"The run folder {place.folder} is not visible from the worker. {SHARED}")
    return folder


def _read(place: Place, parts: Sequence[PartName]) -> Split:
    store = Store(place.store)
    if store.data_hash != place.config.store_hash:
        raise RunError(f"The worker finds another store at {place.store} than the run was started with. {SHARED}")
    with warnings.catch_warnings():
        # What the split warns of stands in its notes, which the worker hands back.
        warnings.simplefilter("ignore", FluxtrapolationWarning)
        return make_split(
            store,
            load_scenario(Path(place.folder) / "scenario.yaml"),
            target=place.config.target,
            sequences=place.sequences,
            parts=parts,
            strict=place.strict,
            jobs=place.jobs or None,
        )


def work_on_trial(place: Place, task: TrialTask) -> tuple[Trial, SearchFacts]:
    """Run one trial on a worker; the rows of the last cell are kept for the next trial."""
    folder, rows = _open_place(place), _search_rows(place)
    return run_trial(folder, spec_of_run(place.config), task, rows), rows.facts


def _search_rows(place: Place) -> SearchRows:
    """Train and validation rows of a cell: those held, if they are its own."""
    global _held
    with _reading:
        if _held is None or _held[0] != place.rows:
            _held = None  # the old arrays go before the new ones come
            _held = (place.rows, SearchRows(_read(place, ("train", "validation"))))
        return _held[1]


def work_on_test(place: Place, chosen: dict[str, int], need_facts: bool) -> tuple[PredictFacts, SearchFacts | None]:
    """Predict the test rows of a cell whose search has ended, on a worker.

    Where the search had ended before an interruption, nobody knows its rows any more: they are read again.
    """
    folder = _open_place(place)
    split = _read(place, ("test",))
    tested = predict_test(folder, place.config, chosen, split.test, split_notes(split))
    if not need_facts:
        return tested, None
    del split
    return tested, _search_rows(place).facts


def look_around(paths: list[str]) -> dict[str, Any]:
    """What a worker sees: which of the paths it lacks, its cores, its version of the package."""
    return {
        "lacks": [path for path in paths if not Path(path).exists()],
        "cores": os.cpu_count() or 1,
        "version": __version__,
    }
