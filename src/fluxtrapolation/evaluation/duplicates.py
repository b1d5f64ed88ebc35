"""Counts the (site, time) pairs that a table holds more than once."""

from __future__ import annotations

import warnings

import numpy as np

from fluxtrapolation.errors import FluxtrapolationWarning
from fluxtrapolation.evaluation.blocks import Labels
from fluxtrapolation.evaluation.predictions import Predictions
from fluxtrapolation.evaluation.statistics import Integers, run_lengths, run_starts
from fluxtrapolation.schema import SITE, TIME


class _Repeats:
    """What is there more than once: how many rows too many, how many pairs, and the first by site and time."""

    def __init__(self) -> None:
        self.extra = self.pairs = 0
        self.first: tuple[str, int] | None = None

    def count(self, sites: Integers, times: Integers, names: list[str | None]) -> None:
        order = np.lexsort((times, sites))
        sites, times = sites[order], times[order]
        starts = run_starts(sites, times)
        lengths = run_lengths(starts, len(sites))
        again = starts[lengths > 1]
        if len(again) == 0:
            return
        self.extra += int((lengths - 1).sum())
        self.pairs += len(again)
        # Sorted by site and time, so that the first row of every site is its earliest.
        for row in again[run_starts(sites[again])]:
            one = str(names[sites[row]]), int(times[row])
            self.first = one if self.first is None else min(self.first, one)


def warn_of_duplicates(table: Predictions, *, contiguous: bool) -> None:
    """Warn of (site, time) pairs that are there more than once, with their number and one of them.

    Parameters
    ----------
    table : Predictions
    contiguous : bool
        Whether the rows of every site stand together: then few sites are held in memory at a time.

    Warns
    -----
    FluxtrapolationWarning
    """
    labels, found = Labels(), _Repeats()
    held_sites, held_times = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for piece in table.batches([SITE, TIME]):
        sites, times = labels.codes(piece[SITE]), piece[TIME].to_physical().to_numpy()
        if contiguous and len(sites):
            # All but the last site are complete.
            cut = len(sites) - int(np.argmax(sites[::-1] != sites[-1])) if sites[0] != sites[-1] else 0
            if cut:
                closed = np.concatenate([*held_sites, sites[:cut]]), np.concatenate([*held_times, times[:cut]])
                found.count(*closed, labels.names)
                held_sites, held_times, sites, times = [], [], sites[cut:], times[cut:]
        held_sites.append(sites)
        held_times.append(times)
    found.count(np.concatenate(held_sites), np.concatenate(held_times), labels.names)
    if found.first is None:
        return
    site, time = found.first[0], np.datetime64(found.first[1], "us").astype(object)
    warnings.warn(
        f"{table.where}: {found.extra} rows repeat a (site, time) pair, {found.pairs} pairs in all, such as ({site}, "
        f"{time}). Each row counts. Drop the repeats if they are a mistake.",
        FluxtrapolationWarning,
        stacklevel=4,
    )
