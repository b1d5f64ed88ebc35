"""One pass over the rows of a table, in which sites are finished as soon as their rows have ended.

Where the rows of every site stand together, which is how every file of ours is written, memory holds a few dozen sites
whatever their number. A site that comes back after it was finished, or a label that does, starts the pass anew, with
everything gathered first; the result is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from fluxtrapolation.evaluation.accumulate import Accumulator
from fluxtrapolation.evaluation.days import Gathered
from fluxtrapolation.evaluation.duplicates import warn_of_duplicates
from fluxtrapolation.evaluation.layout import Layout
from fluxtrapolation.evaluation.pool import Pool
from fluxtrapolation.evaluation.predictions import Predictions
from fluxtrapolation.evaluation.reader import Reader, fill_labels
from fluxtrapolation.evaluation.scales import Thresholds
from fluxtrapolation.schema import SITE

FINISH_ABOVE: Final = 49_152
"""Rows of the table of days above which sites are finished: a few dozen sites of some years, so that what one batch
costs besides its rows is not felt."""

T = TypeVar("T")


@dataclass(frozen=True)
class How:
    """How a table is to be evaluated.

    Parameters
    ----------
    layout : Layout
    thresholds : Thresholds
    measured : bool
        Protocol ``measured``: measured hours only, values used or dropped in pairs.
    allow_missing : bool
        Leave out hours without a prediction.
    resolution : str, optional
        What the identity says; ``daily``: every row is a day.
    keep_rows : bool
        Whether the hours of a site are needed until it is finished.
    """

    layout: Layout
    thresholds: Thresholds
    measured: bool
    allow_missing: bool
    resolution: str | None = None
    keep_rows: bool = False


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """What a pass gave: the result for every batch of sites, and facts about the table."""

    parts: list[T]
    rows_are_days: bool
    rows: int
    left_out: int


class _Results(Generic[T]):
    """Results of batches of sites.

    Whether the rows are days already is a property of the whole table: it is known to be wrong once some day has more
    than one row, and to be right only at the end. Until then batches are worked out both ways.
    """

    def __init__(self, use: Callable[[Pool, bool], T], resolution: str | None) -> None:
        self._use = use
        self._as_days: list[T] = []
        self._as_hours: list[T] = []
        self._known = True if resolution == "daily" else None

    def add(self, pool: Pool) -> None:
        """Work out a batch."""
        if self._known is None and pool.several_rows_a_day:
            self._known, self._as_days = False, []
        if self._known is not False:
            self._as_days.append(self._use(pool, True))
        if self._known is not True:
            self._as_hours.append(self._use(pool, False))

    @property
    def rows_are_days(self) -> bool:
        """Whether the table was daily already, when all batches are in."""
        return self._known is not False

    @property
    def parts(self) -> list[T]:
        """The results that hold."""
        return self._as_days if self.rows_are_days else self._as_hours


def one_pass(table: Predictions, how: How, use: Callable[[Pool, bool], T]) -> Outcome[T]:
    """Read a table once and work out its sites, batch by batch.

    Parameters
    ----------
    table : Predictions
    how : How
    use : callable
        Takes the pool of a batch and whether rows are days; what it gives is collected.

    Raises
    ------
    EvaluationError
        When the table has no rows, or rows that must not be evaluated, with their number.

    Warns
    -----
    FluxtrapolationWarning
        When (site, time) pairs are there more than once.
    """
    fill, early = None, True
    while True:
        reader = Reader(table, how.layout, measured_only=how.measured, allow_missing=how.allow_missing, fill=fill)
        gathered = Accumulator(yearly=how.layout.yearly, keep_rows=how.keep_rows)
        results = _Results(use, how.resolution)
        if not _read(reader, gathered, results, how, early=early):
            early = False
        elif reader.labels_missing and how.layout.label is not None:
            fill = fill_labels(table, how.layout.label, has_site=how.layout.has_site)
        else:
            break
    reader.refuse_bad_rows()
    if not gathered.in_order and SITE in table.columns:
        warn_of_duplicates(table, contiguous=gathered.in_runs)
    results.add(_pool(gathered.finish(), reader, how))
    return Outcome(results.parts, results.rows_are_days, gathered.rows, reader.missing.count)


def _read(reader: Reader, gathered: Accumulator, results: _Results[T], how: How, *, early: bool) -> bool:
    """Read all rows; False where a site or label comes back that was finished."""
    for block in reader.blocks():
        if not gathered.add(block):
            return False
        if early and gathered.pending > FINISH_ABOVE:
            taken = gathered.take_closed()
            if taken is not None:
                results.add(_pool(taken, reader, how))
    return True


def _pool(gathered: Gathered, reader: Reader, how: How) -> Pool:
    return Pool(gathered, how.layout, reader.sites.names, reader.labels.names, how.thresholds, paired=how.measured)
