"""The table in the published layout, as rows and cells ready to be shown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from fluxtrapolation import schema
from fluxtrapolation.errors import examples
from fluxtrapolation.plots import labels, summaries, tables
from fluxtrapolation.plots.tables import Series

WHITE_AT: Final = 1.2
"""A cell this many times the column's best is white; better ones are blue, worse ones orange."""
_WORST_AT: Final = 2.0
_SCENARIOS_A_TABLE: Final = 3

CellKey = tuple[str, str, str]  # scenario, scale, summary


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the table: the value, how it is written, its colour (0 to 1 of ``tone``) and a remark."""

    value: float | None
    text: str
    tone: str = "none"
    shade: float = 0.0
    remark: str = ""
    best: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A model's row: skill score first, then one cell per (scenario, scale)."""

    series: Series
    is_baseline: bool
    skill: Cell
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """One table: a target, a summary, up to three scenarios."""

    target: str
    unit: str
    scenarios: tuple[tuple[str, tuple[str, ...]], ...]
    rows: tuple[Row, ...]
    part: int
    parts: int


@dataclass(frozen=True, slots=True)
class Missing:
    """Cells of one model without a number, and why."""

    target: str
    scenario: str
    model: str
    scales: str
    reason: str
    example: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Domains without a number inside cells that have one."""

    target: str
    scenario: str
    scale: str
    reason: str
    domains: int
    example: str


class Board:
    """Summaries and skill of one scores table, looked up cell by cell.

    Parameters
    ----------
    scores : polars.DataFrame
        Checked scores (:func:`fluxtrapolation.plots.tables.check_scores`).
    baseline : str
        Model of skill 0.
    """

    def __init__(self, scores: pl.DataFrame, *, baseline: str) -> None:
        self.scores = scores
        self.baseline = baseline
        self.targets = tables.targets_of(scores)
        self.scenarios = tables.scenarios_of(scores)
        self.scales = tables.scales_of(scores, schema.BOARD_SCALES)
        self.series = tables.all_series(scores)
        self.has_baseline = any(series.model == baseline for series in self.series)
        self._cells: dict[tuple[str, ...], tuple[float | None, float | None, int]] = {}
        self._skill: dict[tuple[str, ...], float | None] = {}
        shown = scores.filter(pl.col("scale").is_in(list(self.scales)))
        for summary in ("median", "q90"):
            self._fill(shown, summary)
        self._reasons = _reasons(shown)

    def _fill(self, shown: pl.DataFrame, summary: str) -> None:
        cells = summaries.summarise(shown, summary=summary)
        if self.has_baseline:
            cells = summaries.skill(cells, baseline=self.baseline)
        else:
            cells = cells.with_columns(pl.lit(None, pl.Float64).alias("skill"))
        columns = ("target", "scenario", "model", "selection", "scale", "value", "skill", "n_domains")
        for *key, value, skill, domains in cells.select(columns).iter_rows():
            self._cells[(summary, *key)] = (_finite(value), _finite(skill), int(domains))
        for target in self.targets:
            for series in self.series:
                self._skill[(summary, target, *series)] = self._mean_skill(summary, target, series)

    def _mean_skill(self, summary: str, target: str, series: Series) -> float | None:
        found = [self.cell_skill(summary, target, sc, series, sl) for sc in self.scenarios for sl in self.scales]
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if found and len(known) == len(found) else None

    def value(self, summary: str, target: str, scenario: str, series: Series, scale: str) -> float | None:
        """Summary of RMSE over domains, or None."""
        return self._cells.get((summary, target, scenario, *series, scale), (None, None, 0))[0]

    def cell_skill(self, summary: str, target: str, scenario: str, series: Series, scale: str) -> float | None:
        """Skill of one cell against the baseline, or None."""
        return self._cells.get((summary, target, scenario, *series, scale), (None, None, 0))[1]

    def domains(self, summary: str, target: str, scenario: str, series: Series, scale: str) -> int:
        """Number of domains behind the summary."""
        return self._cells.get((summary, target, scenario, *series, scale), (None, None, 0))[2]

    def skill_score(self, summary: str, target: str, series: Series) -> float | None:
        """Mean skill over all cells of a target; None where a cell is missing."""
        return self._skill.get((summary, target, *series))

    def scenario_skill(self, summary: str, target: str, scenario: str, series: Series) -> float | None:
        """Mean skill over the scales of one scenario; None where a cell is missing."""
        found = [self.cell_skill(summary, target, scenario, series, scale) for scale in self.scales]
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if found and len(known) == len(found) else None

    def reason(self, target: str, scenario: str, series: Series, scale: str) -> tuple[str, str]:
        """Why a cell has no number, and an example domain."""
        return self._reasons.get((target, scenario, *series, scale), ("not in the scores: no such run was evaluated", ""))

    def ranked(self, target: str, summary: str = "median") -> list[Series]:
        """Models of a target, best skill first; without skill scores by the number of cells in which they are best."""
        wins = self.wins(target, summary)

        def key(series: Series) -> tuple[bool, float, int, Series]:
            score = self.skill_score(summary, target, series)
            return (score is None, -(score or 0.0), -wins[series], series)

        return sorted(self.series, key=key)

    def wins(self, target: str, summary: str = "median") -> Counter[Series]:
        """In how many cells each model has the lowest value."""
        wins: Counter[Series] = Counter()
        for scenario in self.scenarios:
            for scale in self.scales:
                best = self._best(summary, target, scenario, scale)
                wins.update(s for s in self.series if best is not None and self.value(summary, target, scenario, s, scale) == best)
        return wins

    def _best(self, summary: str, target: str, scenario: str, scale: str) -> float | None:
        found = [self.value(summary, target, scenario, series, scale) for series in self.series]
        return min((value for value in found if value is not None), default=None)

    def blocks(self, summary: str) -> list[Block]:
        """All tables of one summary, in the order of targets; more than three scenarios make several tables."""
        result = []
        groups = [self.scenarios[i : i + _SCENARIOS_A_TABLE] for i in range(0, len(self.scenarios), _SCENARIOS_A_TABLE)]
        for target in self.targets:
            for part, group in enumerate(groups):
                rows = tuple(self._row(summary, target, group, series) for series in self.ranked(target, summary))
                layout = tuple((scenario, self.scales) for scenario in group)
                result.append(Block(target, labels.target_unit(target), layout, rows, part + 1, len(groups)))
        return result

    def _row(self, summary: str, target: str, scenarios: Sequence[str], series: Series) -> Row:
        cells = tuple(self._cell(summary, target, sc, series, sl) for sc in scenarios for sl in self.scales)
        return Row(series, series.model == self.baseline, self._skill_cell(summary, target, series), cells)

    def _skill_cell(self, summary: str, target: str, series: Series) -> Cell:
        score = self.skill_score(summary, target, series)
        if score is None:
            why = (
                "a cell of this row has no number; the skill score needs all of them"
                if self.has_baseline
                else f"no scores of the baseline {self.baseline}, hence no skill"
            )
            return Cell(None, labels.DASH, "missing", remark=why)
        tone = "none" if score == 0 else "good" if score > 0 else "bad"
        scores = [self.skill_score(summary, target, other) for other in self.series]
        best = score == max(value for value in scores if value is not None)
        return Cell(score, labels.number(score, 2), tone, min(1.0, abs(score) / 0.5), best=best and len(self.series) > 1)

    def _cell(self, summary: str, target: str, scenario: str, series: Series, scale: str) -> Cell:
        value = self.value(summary, target, scenario, series, scale)
        if value is None:
            reason, example = self.reason(target, scenario, series, scale)
            return Cell(None, labels.DASH, "missing", remark=reason + (f", for instance {example}" if example else ""))
        best = self._best(summary, target, scenario, scale)
        tone, shade = shading(value, best if best is not None else value)
        if len(self.series) == 1:
            tone, shade = "none", 0.0
        decimals = labels.decimals_for(best or value)
        number = self.domains(summary, target, scenario, series, scale)
        remark = f"{labels.SUMMARY_NAMES.get(summary, summary)} of {number} domains: {value:.6g} {labels.target_unit(target)}"
        skill = self.cell_skill(summary, target, scenario, series, scale)
        remark += f"; skill {labels.number(skill, 3)}" if skill is not None else ""
        winner = value == best and len(self.series) > 1
        return Cell(value, labels.number(value, decimals), tone, shade, remark.strip(), winner)

    def missing(self) -> list[Missing]:
        """Every cell of the full table without a number, scales of one model and reason together."""
        grouped: dict[tuple[str, str, Series, str], list[tuple[str, str]]] = {}
        for target in self.targets:
            for scenario in self.scenarios:
                for series in self.series:
                    for scale in self.scales:
                        if self.value("median", target, scenario, series, scale) is None:
                            reason, example = self.reason(target, scenario, series, scale)
                            grouped.setdefault((target, scenario, series, reason), []).append((scale, example))
        return [
            Missing(target, scenario, series.label, ", ".join(scale for scale, _ in found), reason, found[0][1])
            for (target, scenario, series, reason), found in grouped.items()
        ]

    def left_out(self) -> list[LeftOut]:
        """Domains without RMSE in cells that have a number, by target, scenario, scale and reason."""
        empty = self.scores.filter(pl.col("rmse").is_null(), pl.col("scale").is_in(list(self.scales)))
        if empty.is_empty():
            return []
        grouped = (
            empty.with_columns(_reason_column(empty))
            .group_by("target", "scenario", "scale", "reason")
            .agg(pl.col("domain").n_unique().alias("domains"), pl.col("domain").min().alias("example"))
        )
        found = [LeftOut(*row) for row in grouped.select("target", "scenario", "scale", "reason", "domains", "example").iter_rows()]
        order = {
            name: place for names in (self.targets, self.scenarios, self.scales) for place, name in enumerate(names)
        }
        return sorted(found, key=lambda row: (order[row.target], order[row.scenario], order[row.scale], row.reason))


def shading(value: float, best: float) -> tuple[str, float]:
    """Colour of a cell relative to its column's best: tone ``good`` or ``bad`` and its strength, 0 (white) to 1.

    The best is fully blue, 1.2 times the best is white, twice the best and beyond fully orange.
    """
    if value <= best:
        return "good", 1.0
    if best <= 0:
        return "bad", 1.0
    ratio = value / best
    if ratio <= WHITE_AT:
        return "good", (WHITE_AT - ratio) / (WHITE_AT - 1.0)
    return "bad", min(1.0, math.log(ratio / WHITE_AT) / math.log(_WORST_AT / WHITE_AT))


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _reason_column(table: pl.DataFrame) -> pl.Expr:
    if "reason" not in table.columns:
        return pl.lit("no reason given").alias("reason")
    return pl.col("reason").cast(pl.String).fill_null("no reason given").alias("reason")


def _reasons(scores: pl.DataFrame) -> dict[tuple[str, ...], tuple[str, str]]:
    """Reason and example of every cell in which no domain has a number."""
    keys = ("target", "scenario", "model", "selection", "scale")
    empty = scores.filter(pl.col("rmse").is_null())
    if empty.is_empty():
        return {}
    counted = (
        empty.with_columns(_reason_column(empty))
        .group_by(*keys, "reason")
        .agg(pl.len().alias("n"), pl.col("domain").min().alias("example"))
        .sort(*keys, "n", "reason", descending=[False] * 5 + [True, False])
    )
    found: dict[tuple[str, ...], list[tuple[str, int, str]]] = {}
    for *key, reason, n, example in counted.iter_rows():
        found.setdefault(tuple(key), []).append((reason, n, example))
    return {key: (_sentence(parts), parts[0][2]) for key, parts in found.items()}


def _sentence(parts: Iterable[tuple[str, int, str]]) -> str:
    return examples([f"{reason.replace('_', ' ')} ({n} domain{'s' if n != 1 else ''})" for reason, n, _ in parts])
