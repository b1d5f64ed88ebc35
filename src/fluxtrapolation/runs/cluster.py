"""Trials on the workers of a Dask cluster: processes of this machine, of a scheduler that runs, or of Slurm.

The unit of work is a trial. A worker gets paths and parameters, never arrays: it reads the split itself, keeps the last
one it read, fits, and saves the model into the run folder. This process proposes, writes the records, drops beaten
models and tells how it goes on; so what is on disk is the same as after a run without a cluster.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from fluxtrapolation import __version__
from fluxtrapolation.errors import FluxtrapolationError, RunError, examples
from fluxtrapolation.runs.cells import Cell, CellResult, TrainListener, groups_of
from fluxtrapolation.runs.finish import complete
from fluxtrapolation.runs.folder import RunState, Trial
from fluxtrapolation.runs.search import Search
from fluxtrapolation.runs.trial import SearchFacts, TrialTask
from fluxtrapolation.runs.worker import QUIET, SHARED, Place, look_around, work_on_test, work_on_trial

Client = Any
Future = Any
"""Those of distributed, whose types are not fully written down."""
_ANSWER_S = 20.0
_WAIT_FOR_WORKERS_S = 60.0
_RETRIES: Final = 1
"""How often a trial whose worker died is tried again, where the scheduler is ours."""
_DIED: Final = "died each time it was tried: it was killed, or the machine ran out of memory"


@dataclass(frozen=True)
class ClusterOptions:
    """Where trials run.

    Attributes
    ----------
    address : str
        ``local`` (processes of this machine), ``tcp://HOST:PORT`` (a scheduler that runs) or ``slurm``.
    workers : int, optional
        How many; of a scheduler that runs, how many to wait for. Default: for ``local`` cores / ``jobs``, or where
        ``jobs`` is 0 one for each core, at most 4; otherwise 1.
    """

    address: str
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.address not in ("local", "slurm") and "://" not in self.address:
            raise RunError(
                f"--cluster {self.address} is no cluster. Say local, slurm, or the address of a Dask scheduler such as "
                "tcp://host:8786."
            )


def run_on_cluster(cells: Sequence[Cell], options: ClusterOptions, listener: TrainListener) -> list[CellResult]:
    """Train cells on a cluster; see :func:`fluxtrapolation.runs.train`.

    Raises
    ------
    RunError
        If the cluster cannot be had, or its workers do not see the store or the run folders.
    """
    results = {cell: cell.already_complete() for cell in cells if cell.is_complete()}
    for result in results.values():
        listener.cell_ended(result)
    todo = [cell for cell in cells if cell not in results]
    if todo:
        with _client(options, todo[0].options.jobs) as client:
            jobs = _check_workers(client, todo, options)
            results |= _Run(client, todo, jobs, listener, len(results), len(cells)).all()
    return [results[cell] for cell in cells]


@contextmanager
def _client(options: ClusterOptions, jobs: int) -> Iterator[Client]:
    """A client of the cluster asked for; what was started for it ends with it."""
    distributed = _distributed()
    with ExitStack() as stack:
        if options.address == "local":
            cores = os.cpu_count() or 1
            workers = options.workers or (max(cores // jobs, 1) if jobs else min(cores, 4))
            made = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs=50,  # a worker that dies is told by the trial's record
                memory_limit=0,
                scheduler_kwargs={"allowed_failures": _RETRIES},
                preload=[QUIET],
                env={"OMP_NUM_THREADS": str(jobs or max(cores // workers, 1))},
            )
            address: Any = stack.enter_context(made)
        elif options.address == "slurm":
            address = stack.enter_context(_slurm(options.workers or 1, jobs or 1))
        else:
            address = options.address
        try:
            client = stack.enter_context(distributed.Client(address, timeout=_ANSWER_S))
        except OSError as error:
            raise RunError(f"No Dask scheduler answers at {options.address} ({error}).") from None
        yield client


def _distributed() -> Any:
    try:
        return import_module("distributed")
    except ModuleNotFoundError:
        raise RunError(
            "--cluster needs dask.distributed, which is not installed: pip install 'fluxtrapolation[cluster]'."
        ) from None


def _slurm(workers: int, jobs: int) -> Any:
    """Workers as Slurm jobs; queue, memory and time limit come from dask-jobqueue's own configuration."""
    try:
        jobqueue = import_module("dask_jobqueue")
    except ModuleNotFoundError:
        raise RunError(
            "--cluster slurm needs dask-jobqueue, which is not installed: pip install dask-jobqueue. Or start a "
            "scheduler and workers yourself and give its address: --cluster tcp://HOST:PORT."
        ) from None
    try:
        cluster: Any = jobqueue.SLURMCluster(
            cores=1,  # one trial at a time in each job
            processes=1,
            job_cpu=jobs,
            job_script_prologue=[f"export OMP_NUM_THREADS={jobs}"],
            scheduler_options={"allowed_failures": _RETRIES},
        )
    except ValueError as error:  # how it says that memory or cores are not given
        raise RunError(
            f"dask-jobqueue lacks a setting ({error}). Give memory, queue and walltime in ~/.config/dask/jobqueue.yaml."
        ) from None
    cluster.scale(jobs=workers)
    return cluster


def _check_workers(client: Client, cells: Sequence[Cell], options: ClusterOptions) -> int:
    """Wait for the workers, see that they find what they need, and return the threads of each trial."""
    wanted = options.workers or 1
    wait = None if options.address == "slurm" else _WAIT_FOR_WORKERS_S
    try:
        client.wait_for_workers(1 if options.address == "slurm" else wanted, timeout=wait)
    except TimeoutError:
        raise RunError(
            f"The scheduler at {options.address} has {len(client.nthreads())} workers after {wait:.0f} s; "
            f"{wanted} are wanted. Start some: dask worker {client.scheduler.address} --nthreads 1"
        ) from None
    outs = sorted({cell.folder.path.parent.resolve() for cell in cells})
    for out in outs:
        out.mkdir(parents=True, exist_ok=True)
    # A file made just now: a folder of the same name on another machine is not enough.
    tokens = [out / f".visible-{uuid.uuid4().hex}.tmp" for out in outs]
    try:
        for token in tokens:
            token.touch()
        paths = [*(str(token) for token in tokens), *{str(cell.store.path.resolve()) for cell in cells}]
        try:
            seen = client.run(look_around, paths)
        except (ImportError, AttributeError) as error:
            raise RunError(
                f"The workers cannot run fluxtrapolation ({error}). Install version {__version__} there."
            ) from None
    finally:
        for token in tokens:
            token.unlink(missing_ok=True)
    for worker, facts in seen.items():
        if facts["lacks"]:
            lacks = sorted({str(Path(path).parent) if path.endswith(".tmp") else path for path in facts["lacks"]})
            raise RunError(f"The worker {worker} does not see {examples(lacks)}. {SHARED}")
        if facts["version"] != __version__:
            raise RunError(f"The worker {worker} has fluxtrapolation {facts['version']}; this is {__version__}.")
    if cells[0].options.jobs:
        return cells[0].options.jobs
    # Several workers of one machine share its cores.
    slots: dict[str, int] = {}
    for worker, threads in client.nthreads().items():
        slots[_host(worker)] = slots.get(_host(worker), 0) + threads
    return min(max(int(facts["cores"]) // slots.get(_host(worker), 1), 1) for worker, facts in seen.items())


def _host(address: str) -> str:
    return address.rpartition(":")[0]


@dataclass(eq=False)
class _Under:
    """A cell under way."""

    cell: Cell
    state: RunState
    search: Search
    place: Place
    begin: float
    facts: SearchFacts | None = None
    in_flight: int = 0
    predicting: bool = False
    search_seconds: float = 0.0


class _Run:
    """Keeps every worker busy: trials of the cells in their order, several cells at once if need be."""

    def __init__(
        self, client: Client, cells: list[Cell], jobs: int, listener: TrainListener, done: int, total: int
    ) -> None:
        self.client, self.jobs, self.listener, self.done, self.total = client, jobs, listener, done, total
        self.waiting = [cell for group in groups_of(cells) for cell in group]
        self.under: list[_Under] = []
        self.results: dict[Cell, CellResult] = {}
        self.flying: dict[Future, tuple[_Under, TrialTask | None]] = {}

    def all(self) -> dict[Cell, CellResult]:
        try:
            ended = _distributed().as_completed()
            for future in self._fill():
                ended.add(future)
            for future in ended:
                one, task = self.flying.pop(future)
                one.in_flight -= 1
                if one.cell not in self.results:  # else it failed meanwhile
                    self._take(future, one, task)
                future.release()
                for new in self._fill():
                    ended.add(new)
        finally:
            for future in self.flying:
                future.cancel()
            for one in self.under:
                one.cell.close()
        return self.results

    def _fill(self) -> list[Future]:
        """Submit work until every worker has some."""
        new: list[Future] = []
        slots = max(sum(self.client.nthreads().values()), 1)
        while len(self.flying) < slots:
            work = self._next()
            if work is None:
                break
            one, task = work
            if task is None:
                best = one.search.best()
                future = self.client.submit(work_on_test, one.place, best, one.facts is None, pure=False)
            else:
                future = self.client.submit(work_on_trial, one.place, task, pure=False)
            one.in_flight += 1
            self.flying[future] = (one, task)
            new.append(future)
        return new

    def _next(self) -> tuple[_Under, TrialTask | None] | None:
        """The next piece of work: a trial, or (without a task) the test rows of a search that has ended."""
        while True:
            for one in list(self.under):
                if one.predicting:
                    continue
                task = one.search.next_task()
                if task is not None:
                    return one, task
                if one.search.is_done and one.in_flight == 0 and self._searched(one):
                    one.predicting = True
                    return one, None
            if not self.waiting:
                return None
            self._start(self.waiting.pop(0))

    def _start(self, cell: Cell) -> None:
        self.listener.cell_started(cell.label, self.done + len(self.results) + len(self.under), self.total)
        try:
            state = cell.open()
        except FluxtrapolationError as error:  # the folder is not ours to write in
            cell.close()
            self.results[cell] = cell.result("failed", 0.0, str(error))
            self.listener.cell_ended(self.results[cell])
            return
        at_once = max(sum(self.client.nthreads().values()), 1)
        search = Search(cell.folder, cell.spec, cell.config, jobs=self.jobs, at_once=at_once)
        place = Place(
            store=str(cell.store.path.resolve()),
            folder=str(cell.folder.path.resolve()),
            config=cell.config,
            sequences=cell.spec.needs.sequences,
            strict=cell.options.strict,
            jobs=self.jobs,
        )
        self.under.append(_Under(cell, state, search, place, time.perf_counter()))
        self.listener.search_started(cell.label, search.kept, search.total)

    def _searched(self, one: _Under) -> bool:
        """Whether a search that has ended found anything; if not, the cell has failed."""
        one.search_seconds = one.search.spent + time.perf_counter() - one.begin
        try:
            one.search.best()
        except FluxtrapolationError as error:
            self._end(one, one.cell.failed(one.state, str(error), one.search_seconds))
            return False
        return True

    def _take(self, future: Future, one: _Under, task: TrialTask | None) -> None:
        """What came of a trial, or of the predictions."""
        killed = _distributed().KilledWorker
        error = future.exception() if future.status == "error" else None
        if future.status not in ("finished", "error"):
            raise RunError(
                f"The cluster let go of work it had taken ({future.status}). What is finished is kept; run the same "
                "command again."
            )
        if isinstance(error, killed) and task is not None:
            self._record(one, _lost(task))
        elif error is not None:
            reason = str(error) if isinstance(error, FluxtrapolationError) else f"{type(error).__name__}: {error}"
            if isinstance(error, killed):
                reason = f"the worker that predicted the test rows {_DIED}"
            self._end(one, one.cell.failed(one.state, reason, time.perf_counter() - one.begin))
        elif task is not None:
            trial, one.facts = future.result()
            self._record(one, trial)
        else:
            tested, searched = future.result()
            facts = one.facts or searched
            assert facts is not None  # one of the two: see work_on_test
            self._end(one, complete(one.cell, one.state, one.search, facts, tested, one.search_seconds))

    def _record(self, one: _Under, trial: Trial) -> None:
        one.search.record(trial)
        self.listener.trial_ended(one.cell.label, trial, one.search.total)

    def _end(self, one: _Under, result: CellResult) -> None:
        self.results[one.cell] = result
        self.under.remove(one)
        one.cell.close()
        self.listener.cell_ended(result)


def _lost(task: TrialTask) -> Trial:
    """The record of a trial whose worker died."""
    return Trial(
        number=task.number,
        params=task.proposal.params,
        asked=task.proposal.asked,
        status="failed",
        error=f"the worker {_DIED}",
        fit_seconds=0.0,
        train_rows=0,
    )
