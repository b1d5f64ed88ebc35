"""Towers worked through a few at a time: one that fails stops no other, a full disk stops all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed

from fluxtrapolation.data.importers.outcome import named
from fluxtrapolation.errors import FluxtrapolationError

Progress = Callable[[str, int, int], None]


def work_through(
    sites: Sequence[str], run: Callable[[str], None], *, total: int, workers: int, progress: Progress | None
) -> dict[str, str]:
    """Do ``run`` for every site.

    Parameters
    ----------
    sites : sequence of str
        What is left to do.
    run : callable
        Reads and writes one tower; an error of the package's says why it cannot be done.
    total : int
        Towers in all, those done earlier among them; for ``progress``.
    workers : int
        Towers worked on at once.
    progress : callable, optional
        Called with (site, towers finished, towers in all).

    Returns
    -------
    dict of str to str
        The failed sites, and why.

    Raises
    ------
    FluxtrapolationError
        If the disk refuses, not the tower: nothing more can be written then.
    """
    failed: dict[str, str] = {}
    done = total - len(sites)
    pool = ThreadPoolExecutor(max_workers=max(1, workers), thread_name_prefix="import")
    try:
        futures: dict[Future[None], str] = {pool.submit(run, site): site for site in sites}
        for future in as_completed(futures):
            site = futures[future]
            try:
                future.result()
            except FluxtrapolationError as error:
                if isinstance(error.__cause__, OSError):
                    raise
                failed[site] = named(site, str(error))
            done += 1
            if progress is not None:
                progress(site, done, total)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return failed
