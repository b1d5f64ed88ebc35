"""A piece of a table of predictions as arrays, and numbers for the names in it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from fluxtrapolation.evaluation.statistics import Floats, Integers


class Labels:
    """Numbers for names, given in the order in which the names are first seen."""

    def __init__(self) -> None:
        self.names: list[str | None] = []
        self._number: dict[str | None, int] = {}

    def codes(self, column: pl.Series) -> Integers:
        """Number of each entry, shape (n,); a null has a number too."""
        runs = column.rle()
        if len(runs) * 8 < len(column):
            names, lengths = runs.struct.field("value"), runs.struct.field("len").to_numpy()
            return np.repeat(self._look_up(names), lengths)
        distinct = column.unique(maintain_order=True).cast(pl.String)
        numbers = pl.Series(self._look_up(distinct), dtype=pl.Int64)
        return column.cast(pl.String).replace_strict(distinct, numbers, return_dtype=pl.Int64).to_numpy()

    def _look_up(self, names: pl.Series) -> Integers:
        found = np.empty(len(names), np.int64)
        for row, name in enumerate(names.to_list()):
            number = self._number.get(name)
            if number is None:
                number = self._number[name] = len(self.names)
                self.names.append(name)
            found[row] = number
        return found


@dataclass(frozen=True)
class Block:
    """A piece of the table as arrays of shape (n,).

    ``site`` and ``label`` are numbers of :class:`Labels`; ``day`` is days since 1970-01-01, ``time`` microseconds.
    ``true`` and ``pred`` hold NaN where missing. ``label`` is None where the domain follows from site and day.
    """

    site: Integers
    label: Integers | None
    day: npt.NDArray[np.int32]
    time: Integers
    true: Floats
    pred: Floats

    def take(self, rows: Integers) -> Block:
        """The rows at ``rows``."""
        label = None if self.label is None else self.label[rows]
        return Block(self.site[rows], label, self.day[rows], self.time[rows], self.true[rows], self.pred[rows])
