"""Training: cells of scenario x target x model, each a resumable run folder."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import FluxtrapolationError
from fluxtrapolation.models import model_spec
from fluxtrapolation.runs.cells import (
    Cell,
    CellResult,
    TrainListener,
    TrainOptions,
    check_beforehand,
    groups_of,
)
from fluxtrapolation.runs.cluster import ClusterOptions, run_on_cluster
from fluxtrapolation.runs.finish import complete, predict_test
from fluxtrapolation.runs.folder import RunState
from fluxtrapolation.runs.search import Search
from fluxtrapolation.runs.trial import SearchFacts, SearchRows, run_trial, split_notes
from fluxtrapolation.scenarios import Scenario, Split, load_scenario, make_split
from fluxtrapolation.scenarios.scenario import PartName


def train(
    store: Store | str | Path,
    *,
    scenarios: Sequence[str | Path | Scenario],
    targets: Sequence[str],
    models: Sequence[str],
    out: str | Path,
    options: TrainOptions | None = None,
    listener: TrainListener | None = None,
    cluster: ClusterOptions | None = None,
) -> list[CellResult]:
    """Search, select and predict for every cell of scenarios x targets x models.

    Each cell is a run folder ``out/{scenario}_{target}_{model}``; one that is complete is left alone, one that was
    interrupted goes on where it stopped. A cell that fails is recorded and the others go on.

    Parameters
    ----------
    store : Store or path
    scenarios, targets, models : sequences
        Models are registered names, ``path/to/file.py:Name`` or import paths of regressors.
    out : path
        Folder of the run folders.
    options : TrainOptions
        ``profile`` paper (10 configurations, all train rows), quick (2, at most 300,000 rows, stratified by site) or
        tpe (20, all rows, proposed by TPE); ``n_configurations`` and ``max_rows`` override it; ``seed`` of every draw;
        ``jobs`` threads (0: all cores); ``time_limit`` seconds per fit; ``max_time`` seconds for the search of a cell,
        after which no trial starts and within which every fit must end.
    listener : TrainListener, optional
        Hears how it goes on.
    cluster : ClusterOptions, optional
        Run the trials on the workers of a Dask cluster instead of one after another here.

    Returns
    -------
    list of CellResult

    Raises
    ------
    FluxtrapolationError
        If a name is unknown, the store lacks a target, or another process works on one of the runs, before anything is
        trained.
    """
    opts = options or TrainOptions()
    opts.check()
    opened = Store.of(store)
    pinned = [load_scenario(scenario) for scenario in scenarios]
    specs = [model_spec(name) for name in dict.fromkeys(models)]
    cells = [
        Cell(opened, scenario, target, spec, Path(out), opts)
        for scenario in pinned
        for target in dict.fromkeys(targets)
        for spec in specs
    ]
    return train_cells(cells, listener=listener, cluster=cluster)


def train_cells(
    cells: Sequence[Cell], *, listener: TrainListener | None = None, cluster: ClusterOptions | None = None
) -> list[CellResult]:
    """Train cells of any scenarios, targets, models and options; see :func:`train`.

    Returns
    -------
    list of CellResult
        In the order of the cells.
    """
    check_beforehand(cells)
    told = listener or Silent()
    if cluster is not None:
        return run_on_cluster(cells, cluster, told)
    results: dict[Cell, CellResult] = {}
    for group in groups_of(cells):
        results |= _Group(group, told, len(results), len(cells)).train()
    return [results[cell] for cell in cells]


class Silent:
    """A listener that says nothing."""

    def cell_started(self, name: str, done: int, total: int) -> None: ...
    def search_started(self, name: str, trials: object, total: int) -> None: ...
    def trial_ended(self, name: str, trial: object, total: int) -> None: ...
    def cell_ended(self, result: CellResult) -> None: ...


@dataclass(frozen=True)
class _Found:
    """A search that has ended well."""

    state: RunState
    search: Search
    facts: SearchFacts
    seconds: float


class _Group:
    """Cells of one scenario and target that share their arrays, trained one after another in this process."""

    def __init__(self, cells: list[Cell], listener: TrainListener, done: int, total: int) -> None:
        self.cells, self.listener, self.done, self.total = cells, listener, done, total

    def train(self) -> dict[Cell, CellResult]:
        """Search every cell, then predict; the test part is read only after every search has ended."""
        results = {cell: cell.already_complete() for cell in self.cells if cell.is_complete()}
        for result in results.values():
            self.listener.cell_ended(result)
        todo = [cell for cell in self.cells if cell not in results]
        with ExitStack() as stack:
            for cell in todo:
                stack.callback(cell.close)
            found = self._search(todo, results)
            if found:
                self._predict(found, results)
        return results

    def _ended(self, results: dict[Cell, CellResult], cell: Cell, result: CellResult) -> None:
        results[cell] = result
        cell.close()
        self.listener.cell_ended(result)

    def _search(self, todo: list[Cell], results: dict[Cell, CellResult]) -> dict[Cell, _Found]:
        found: dict[Cell, _Found] = {}
        if not todo:
            return found
        try:
            rows = SearchRows(
                _read(todo[0], ("train", "validation")),
                limits=[(cell.config.max_rows, cell.config.seed) for cell in todo],
            )
        except FluxtrapolationError as error:
            # No rows to train on: told for every cell, and no folder is made.
            for cell in todo:
                self._ended(results, cell, cell.result("failed", 0.0, str(error)))
            return found
        for cell in todo:
            self.listener.cell_started(cell.label, self.done + len(results) + len(found), self.total)
            begin = time.perf_counter()
            try:
                state = cell.open()
            except FluxtrapolationError as error:  # the folder is not ours to write in
                self._ended(results, cell, cell.result("failed", 0.0, str(error)))
                continue
            try:
                search = self._search_cell(cell, rows)
                search.best()  # raises where every configuration failed
            except FluxtrapolationError as error:
                self._ended(results, cell, cell.failed(state, str(error), time.perf_counter() - begin))
                continue
            found[cell] = _Found(state, search, rows.facts, search.spent + time.perf_counter() - begin)
        return found

    def _search_cell(self, cell: Cell, rows: SearchRows) -> Search:
        search = Search(cell.folder, cell.spec, cell.config, jobs=cell.options.jobs)
        self.listener.search_started(cell.label, search.kept, search.total)
        while (task := search.next_task()) is not None:
            trial = run_trial(cell.folder, cell.spec, task, rows)
            search.record(trial)
            self.listener.trial_ended(cell.label, trial, search.total)
        return search

    def _predict(self, found: dict[Cell, _Found], results: dict[Cell, CellResult]) -> None:
        try:
            split = _read(next(iter(found)), ("test",))
        except FluxtrapolationError as error:
            for cell, one in found.items():
                self._ended(results, cell, cell.failed(one.state, str(error), one.seconds))
            return
        for cell, one in found.items():
            try:
                tested = predict_test(cell.folder, cell.config, one.search.best(), split.test, split_notes(split))
                result = complete(cell, one.state, one.search, one.facts, tested, one.seconds)
            except FluxtrapolationError as error:
                result = cell.failed(one.state, str(error), one.seconds)
            self._ended(results, cell, result)


def _read(cell: Cell, parts: Sequence[PartName]) -> Split:
    return make_split(
        cell.store,
        cell.scenario,
        target=cell.target,
        sequences=cell.spec.needs.sequences,
        parts=parts,
        strict=cell.options.strict,
        jobs=cell.options.jobs or None,
    )
