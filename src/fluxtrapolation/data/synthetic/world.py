"""Writing a synthetic world to disk as a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from pathlib import Path
from typing import Final

from fluxtrapolation import __version__
from fluxtrapolation.data.jobs import default_jobs
from fluxtrapolation.data.manifest import Source, utc_now
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.synthetic.plan import PlannedSite, Profile, plan_world
from fluxtrapolation.data.synthetic.simulate import LICENCE, hours_of_years, simulate_site
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError
from fluxtrapolation.schema import COVARIATES, TARGETS

SIMULATOR_VERSION: Final = 1
"""Raised whenever the same seed gives other numbers, so that a world is never continued by another simulator."""

NOTE: Final = (
    "All values are synthetic. Id, coordinates, class and mean climate may be those of a real tower; "
    "no number comes from its measurements."
)


def world_source(profile: str, sites: int, years: tuple[int, int], seed: int) -> Source:
    """What the manifest says of a synthetic world: every option that shapes it, and that nothing in it is measured."""
    return Source(
        name="fluxtrapolation synthetic world (simulated values, not measurements)",
        kind="synthetic",
        location=f"synthetic:{profile}",
        licence=LICENCE,
        citation="Simulated by fluxtrapolation; method and sources in docs/synthetic.md.",
        options={
            "profile": profile,
            "sites": sites,
            "years": list(years),
            "seed": seed,
            "simulator_version": SIMULATOR_VERSION,
            "note": NOTE,
        },
        retrieved=utc_now(),
        package_version=__version__,
    )


def write_world(
    out: str | Path,
    *,
    profile: Profile = "small",
    sites: int | None = None,
    years: tuple[int, int] | None = None,
    seed: int = 1,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
    jobs: int | None = None,
) -> Store:
    """Simulate a world of towers and write it as a store.

    A tower's series depends on the seed, its id and its years only: not on the number of towers, nor on ``jobs``.
    Interrupted at any moment, the same call continues where it stopped.

    Parameters
    ----------
    out : path-like
        Folder of the store.
    profile : {'small', 'published'}
        60 towers, or the 207 of the benchmark's shape; 2015 to 2022.
    sites, years, seed
        See :func:`~fluxtrapolation.data.synthetic.plan.plan_world` and
        :func:`~fluxtrapolation.data.synthetic.simulate.simulate_site`.
    overwrite : bool, default False
        Replace a store made with other options.
    progress : callable, optional
        Called as ``progress(site_id, done, total)`` after each tower, in the calling thread.
    jobs : int, optional
        Towers simulated at once (threads); default: the processors, at most 4. Memory grows by about 40 MB each.

    Returns
    -------
    Store

    Raises
    ------
    DataError
        If the options make no world, the folder holds something else, or the disk is full.
    """
    planned = plan_world(profile, sites=sites, years=years)
    if seed < 0:
        raise DataError(f"The seed {seed} is negative. Give --seed 0 or more.")
    if jobs is not None and jobs < 1:
        raise DataError(f"{jobs} jobs cannot do the work. Give --jobs 1 or more.")
    whole = (min(t.first_year for t in planned), max(t.last_year for t in planned)) if years is None else years
    source = world_source(profile, len(planned), whole, seed)
    return write_planned(out, planned, source=source, seed=seed, overwrite=overwrite, progress=progress, jobs=jobs)


def write_planned(
    out: str | Path,
    planned: Sequence[PlannedSite],
    *,
    source: Source,
    seed: int = 1,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
    jobs: int | None = None,
) -> Store:
    """Simulate any towers and write them as a store; parameters, result and errors as :func:`write_world`.

    Parameters
    ----------
    planned : sequence of PlannedSite
        Towers with their years.
    source : Source
        What the manifest says; see :func:`world_source`. A store of another source is not continued.
    """
    writer = StoreWriter(out, targets=TARGETS, covariates=COVARIATES, source=source, overwrite=overwrite)
    with closing(writer):
        return _simulate(writer, planned, seed=seed, progress=progress, jobs=jobs)


def _simulate(
    writer: StoreWriter,
    planned: Sequence[PlannedSite],
    *,
    seed: int,
    progress: Callable[[str, int, int], None] | None,
    jobs: int | None,
) -> Store:
    todo = [tower for tower in planned if tower.facts.site_id not in writer.done]
    if not todo and writer.complete:
        return Store(writer.path)

    def make(tower: PlannedSite) -> str:
        simulated = simulate_site(tower.facts, hours_of_years(tower.first_year, tower.last_year), seed=seed)
        # The tests prove what check=True would check again for every tower.
        writer.add(simulated.record(), simulated.frame, check=False)
        return tower.facts.site_id

    finished = len(planned) - len(todo)
    pool = ThreadPoolExecutor(jobs or default_jobs(), thread_name_prefix="tower")
    try:
        waiting: set[Future[str]] = {pool.submit(make, tower) for tower in todo}
        while waiting:
            ready, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in ready:
                site = future.result()
                finished += 1
                if progress is not None:
                    progress(site, finished, len(planned))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return writer.finish()
