"""How certain the numbers of a page are: intervals of summaries and skill scores, ranks, and ties with the best."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.plots import tables
from fluxtrapolation.plots.summaries import baseline_selection, nameless
from fluxtrapolation.plots.tables import Series

INTERVAL_COLUMNS: Final = ("summary", "target", "scenario", "scale", "model", "selection", "low", "high")
RANK_COLUMNS: Final = (
    *("summary", "target", "model", "selection", "low", "high"),
    *("rank", "rank_low", "rank_high", "tied_with_best"),
)
LEVEL: Final = 0.95

CellKey = tuple[str, str, str, str, str, str]  # summary, target, scenario, model, selection, scale
RowKey = tuple[str, str, str, str]  # summary, target, model, selection


class Interval(NamedTuple):
    """Ends of an interval, None where unbounded or unknown (``note`` says why), and the number of towers behind it."""

    low: float | None
    high: float | None
    n_sites: int | None = None
    note: str = ""


class Standing(NamedTuple):
    """A model's place among the models of a target, with the interval of its skill score and of its rank."""

    low: float | None
    high: float | None
    rank: int | None
    rank_low: int | None
    rank_high: int | None
    tied_with_best: bool | None
    note: str = ""
    p_best: float | None = None
    n_seeds: int = 1
    seed_sd: float | None = None


@dataclass(frozen=True)
class Uncertainty:
    """Intervals and standings, looked up cell by cell; an empty one says nothing of any cell.

    Parameters
    ----------
    cells : mapping of (summary, target, scenario, model, selection, scale) to Interval
    standings : mapping of (summary, target, model, selection) to Standing
    table : polars.DataFrame, optional
        The intervals as figures take them (``summary, target, scenario, scale, model, selection, low, high``).
    level : float
        Of all intervals, 0 to 1.
    """

    cells: dict[CellKey, Interval] = field(default_factory=dict)
    standings: dict[RowKey, Standing] = field(default_factory=dict)
    table: pl.DataFrame | None = None
    level: float = LEVEL

    @classmethod
    def of_tables(
        cls, intervals: pl.DataFrame | None, ranking: pl.DataFrame | None, *, level: float = LEVEL
    ) -> Uncertainty:
        """Take the tables of :func:`fluxtrapolation.evaluation.intervals` and of ``rank``, each with ``summary``.

        Raises
        ------
        MissingColumnError
            A column is missing.
        """
        cells: dict[CellKey, Interval] = {}
        if intervals is not None:
            tables.require(intervals, INTERVAL_COLUMNS, "intervals")
            for row in intervals.iter_rows(named=True):
                found = Interval(_finite(row["low"]), _finite(row["high"]), row.get("n_sites"), row.get("note") or "")
                place = (str(row["summary"]), str(row["target"]), str(row["scenario"]))
                cells[(*place, str(row["model"]), str(row["selection"] or ""), str(row["scale"]))] = found
        standings: dict[RowKey, Standing] = {}
        if ranking is not None:
            tables.require(ranking, RANK_COLUMNS, "ranking")
            for row in ranking.iter_rows(named=True):
                who = (str(row["summary"]), str(row["target"]), str(row["model"]), str(row["selection"] or ""))
                standings[who] = Standing(
                    low=_finite(row["low"]),
                    high=_finite(row["high"]),
                    rank=row["rank"],
                    rank_low=row["rank_low"],
                    rank_high=row["rank_high"],
                    tied_with_best=row["tied_with_best"],
                    note=row.get("note") or "",
                    p_best=_finite(row.get("p_best")),
                    n_seeds=row.get("n_seeds") or 1,
                    seed_sd=_finite(row.get("seed_sd")),
                )
        return cls(cells, standings, intervals, level)

    @property
    def known(self) -> bool:
        """Whether any cell has an interval."""
        return any(found.low is not None or found.high is not None for found in self.cells.values())

    def cell(self, summary: str, target: str, scenario: str, series: Series, scale: str) -> Interval | None:
        """Interval of one cell's summary, or None where it was not computed."""
        return self.cells.get((summary, target, scenario, *series, scale))

    def standing(self, summary: str, target: str, series: Series) -> Standing | None:
        """A model's standing for a target, or None where it was not computed."""
        return self.standings.get((summary, target, *series))

    def tied(self, summary: str, target: str) -> list[Series]:
        """Models tied with the best of a target, the best itself among them; empty where this is not known."""
        return [
            Series(model, selection)
            for (held, which, model, selection), found in self.standings.items()
            if held == summary and which == target and found.tied_with_best
        ]

    def reasons(self) -> list[tuple[str, int]]:
        """Why cells have no interval, or one without an end: reason and number of cells, most frequent first."""
        lacking = (
            found.note for found in self.cells.values() if found.note and (found.low is None or found.high is None)
        )
        return Counter(lacking).most_common()


def uncertainty_of(
    scores: pl.DataFrame,
    *,
    summaries: Sequence[str],
    baseline: str | None,
    draws: int | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> Uncertainty:
    """Compute intervals of the summaries at all scales, and standings where there is a baseline.

    Parameters
    ----------
    scores : polars.DataFrame
        From :func:`fluxtrapolation.plots.tables.check_scores`.
    summaries : sequence of str
    baseline : str, optional
        The model of skill 0; without one there are no skill scores, hence no standings.
    draws : int, optional
        Bootstrap draws of the standings; :func:`fluxtrapolation.evaluation.rank` chooses by default.
    level, seed
        Of the intervals; of the draws.
    """
    from fluxtrapolation.evaluation.certainty.intervals import intervals

    table = nameless(scores)
    parts = [
        intervals(table, summary=summary, scales=None, level=level, seed=seed).with_columns(
            pl.lit(summary).alias("summary")
        )
        for summary in summaries
    ]
    ranked: list[pl.DataFrame] = []
    if baseline is not None:
        chosen = baseline_selection(table, baseline)
        how = {"baseline": baseline, "baseline_selection": chosen, "level": level, "draws": draws, "seed": seed}
        for target in tables.targets_of(scores):
            part = table.filter(pl.col("target") == target)
            ranked += [_ranked(part, target, summary, how) for summary in summaries]
    ranking = pl.concat(ranked, how="diagonal_relaxed") if ranked else None
    return Uncertainty.of_tables(pl.concat(parts, how="diagonal_relaxed"), ranking, level=level)


def _ranked(part: pl.DataFrame, target: str, summary: str, how: dict[str, Any]) -> pl.DataFrame:
    """Standings of one target; where they cannot be given, rows of nulls whose note says why."""
    from fluxtrapolation.evaluation.certainty.rank import rank

    named = pl.lit(summary).alias("summary")
    try:
        return rank(part, target=target, summary=summary, **how).table.with_columns(named)
    except EvaluationError as error:  # too few models with all cells: the page says so and shows the rest
        runs = part.select("target", "model", "selection").unique(maintain_order=True)
        empty = dict.fromkeys(RANK_COLUMNS[4:], pl.lit(None))
        return runs.with_columns(named, pl.lit(str(error)).alias("note"), **empty)


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
