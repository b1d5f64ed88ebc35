"""All cells of one target under one bootstrap: what ranking and comparing models have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fluxtrapolation.evaluation.certainty.bootstrap import SiteBootstrap, Statistic
from fluxtrapolation.evaluation.certainty.clusters import Cell
from fluxtrapolation.evaluation.statistics import Floats

Run = tuple[str | None, ...]


@dataclass(frozen=True)
class Drawn:
    """Summaries of runs in all cells, as they are and in every draw of sites.

    Parameters
    ----------
    runs : tuple
        The R runs, by their names.
    cells : tuple of tuple
        The C cells: target, scenario, scale.
    values : ndarray
        Shape (R, C); NaN where a run lacks a cell or has no value there.
    draws : ndarray
        Shape (R, C, B).
    """

    runs: tuple[Run, ...]
    cells: tuple[tuple[str | None, ...], ...]
    values: Floats
    draws: Floats

    def row(self, run: Run) -> int:
        """Number of a run."""
        return self.runs.index(run)


def draw_board(
    cells: Sequence[Cell], statistic: Statistic, *, positive: bool, draws: int, seed: int, smooth: bool = True
) -> Drawn:
    """Draw the sites of a target once and summarise every run in every cell under each draw.

    Sites are drawn from all sites of the cells: a tower that is in the test sets of two scenarios is drawn for both.
    """
    runs = tuple(dict.fromkeys(run for cell in cells for run in cell.runs))
    number = {run: place for place, run in enumerate(runs)}
    bootstrap = SiteBootstrap((site for cell in cells for site in cell.sites), draws=draws, seed=seed, smooth=smooth)
    values = np.full((len(runs), len(cells)), np.nan)
    drawn = np.full((len(runs), len(cells), draws), np.nan)
    for place, cell in enumerate(cells):
        mine = [number[run] for run in cell.runs]
        values[mine, place] = cell.averaged(row_values(cell, statistic))
        drawn[mine, place] = bootstrap.of(cell, statistic, positive=positive)
    return Drawn(runs, tuple(cell.key for cell in cells), values, drawn)


def row_values(cell: Cell, statistic: Statistic) -> Floats:
    """The statistic of every row of a cell, shape (V,); NaN where no domain has a value."""
    found = [
        statistic.of_values(values) if len(values) else np.nan for values, _ in map(cell.flat, range(len(cell.values)))
    ]
    return np.asarray(found, dtype=np.float64)
