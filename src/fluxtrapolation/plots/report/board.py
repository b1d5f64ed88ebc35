"""The table in the published layout, as rows and cells ready to be shown."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Final

import polars as pl

from fluxtrapolation import schema
from fluxtrapolation.plots import labels, summaries, tables
from fluxtrapolation.plots.report.cells import Block, Cell, LeftOut, Missing, Row, reason_column, reasons_of, shading
from fluxtrapolation.plots.tables import Series
from fluxtrapolation.plots.uncertainty import Uncertainty

_SCENARIOS_A_TABLE: Final = 3

SUMMARIES: Final = ("median", "q90")


class Board:
    """Summaries and skill of one scores table, looked up cell by cell.

    Parameters
    ----------
    scores : polars.DataFrame
        Checked scores (:func:`fluxtrapolation.plots.tables.check_scores`).
    baseline : str
        Model of skill 0.
    uncertainty : Uncertainty, optional
        Intervals and standings; without them cells have none.
    """

    def __init__(self, scores: pl.DataFrame, *, baseline: str, uncertainty: Uncertainty | None = None) -> None:
        self.scores = scores
        self.baseline = baseline
        self.uncertainty = uncertainty or Uncertainty()
        self.targets = tables.targets_of(scores)
        self.scenarios = tables.scenarios_of(scores)
        self.scales = tables.scales_of(scores, schema.BOARD_SCALES)
        self.series = tables.all_series(scores)
        self.has_baseline = any(series.model == baseline for series in self.series)
        self._cells: dict[tuple[str, ...], tuple[float | None, float | None, int]] = {}
        self._overall: dict[tuple[str, ...], tuple[float | None, str | None]] = {}
        shown = scores.filter(pl.col("scale").is_in(list(self.scales)))
        self._scenarios = {
            target: tables.scenarios_of(shown.filter(pl.col("target") == target)) for target in self.targets
        }
        for summary in SUMMARIES:
            found = summaries.summary_of(shown, summary=summary, baseline=baseline if self.has_baseline else None)
            for target, scenario, model, selection, scale, value, domains, skill in found.cells.select(
                "target", "scenario", "model", "selection", "scale", "value", "n_domains", "skill"
            ).iter_rows():
                key = (summary, target, scenario, model, selection, scale)
                self._cells[key] = (_finite(value), _finite(skill), int(domains))
            self._overall.update(
                {(summary, *key): (_finite(score), note) for key, (score, note) in found.overall.items()}
            )
        self._reasons = reasons_of(shown)
        self.complete = any(
            all(
                self.skill_score(summary, target, series) is not None
                for summary in SUMMARIES
                for target in self.targets
            )
            for series in self.series
        )

    @property
    def no_baseline(self) -> str:
        """Why there are no skills, where the baseline is absent."""
        return f"no scores of the baseline {self.baseline}, hence no skill"

    def scenarios_of(self, target: str) -> tuple[str, ...]:
        """Scenarios in which a target has been scored, in the board's order."""
        return self._scenarios[target]

    def keys(self, target: str) -> list[tuple[str, str]]:
        """The cells of a target: every (scenario, scale)."""
        return [(scenario, scale) for scenario in self.scenarios_of(target) for scale in self.scales]

    def fair_cells(self, target: str) -> list[tuple[str, str]]:
        """The cells of a target by which models are compared in words.

        All of them where at least one model has all; otherwise those in which every model of the target has a skill.
        """
        if self.complete:
            return self.keys(target)
        present = self.present(target)
        return [
            (scenario, scale)
            for scenario, scale in self.keys(target)
            if all(
                self.cell_skill(summary, target, scenario, series, scale) is not None
                for series in present
                for summary in SUMMARIES
            )
        ]

    def fair_skill(self, summary: str, series: Series, *, target: str, scenario: str | None = None) -> float | None:
        """Mean skill over the fair cells of a target (and one scenario); None where the model lacks one of them."""
        cells = [key for key in self.fair_cells(target) if scenario in (None, key[0])]
        found = [self.cell_skill(summary, target, sc, series, sl) for sc, sl in cells]
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
        return self._overall.get((summary, target, *series), (None, None))[0]

    def reason(self, target: str, scenario: str, series: Series, scale: str) -> tuple[str, str]:
        """Why a cell has no number, and an example domain."""
        known = self._reasons.get((target, scenario, *series, scale))
        if known is not None:
            return known
        others = (other for other in self.series if other.model == series.model and other != series)
        if any(self.value("median", target, scenario, other, scale) is not None for other in others):
            return "not in the scores under this selection; the model has scores under another", ""
        return "not in the scores: no such run was evaluated", ""

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
        for scenario, scale in self.keys(target):
            best = self._best(summary, target, scenario, scale)
            found = ((series, self.value(summary, target, scenario, series, scale)) for series in self.series)
            wins.update(series for series, value in found if best is not None and value == best)
        return wins

    def _best(self, summary: str, target: str, scenario: str, scale: str) -> float | None:
        found = [self.value(summary, target, scenario, series, scale) for series in self.series]
        return min((value for value in found if value is not None), default=None)

    def blocks(self, summary: str) -> list[Block]:
        """All tables of one summary, in the order of targets; more than three scenarios make several tables."""
        result = []
        for target in self.targets:
            shown = self.scenarios_of(target)
            groups = [shown[i : i + _SCENARIOS_A_TABLE] for i in range(0, len(shown), _SCENARIOS_A_TABLE)]
            for part, group in enumerate(groups):
                rows = tuple(
                    self._row(summary, target, group, same)
                    for same in self._alike(target, self.ranked(target, summary))
                )
                layout = tuple((scenario, self.scales) for scenario in group)
                result.append(Block(target, labels.target_unit(target), layout, rows, part + 1, len(groups)))
        return result

    def present(self, target: str) -> list[Series]:
        """Models with at least one number for a target."""
        keys = self.keys(target)
        return [s for s in self.series if any(self.value("median", target, sc, s, sl) is not None for sc, sl in keys)]

    def _alike(self, target: str, ranked: Sequence[Series]) -> list[list[Series]]:
        """Rows of a target: selections of one model that chose the same configurations everywhere share a row."""
        held = set(self.present(target)) or set(ranked)
        rows: dict[tuple[object, ...], list[Series]] = {}
        for series in ranked:
            if series in held:
                values = (
                    self.value(summary, target, scenario, series, scale)
                    for summary in SUMMARIES
                    for scenario, scale in self.keys(target)
                )
                rows.setdefault((series.model, *values), []).append(series)
        order = {name: place for place, name in enumerate(schema.SELECTIONS)}
        return [sorted(row, key=lambda series: (order.get(series.selection, 9), series)) for row in rows.values()]

    def _row(self, summary: str, target: str, scenarios: Sequence[str], same: Sequence[Series]) -> Row:
        series = same[0]
        cells = tuple(self._cell(summary, target, sc, series, sl) for sc in scenarios for sl in self.scales)
        selections = ", ".join(one.selection for one in same if one.selection)
        skill, rank = self._skill_cell(summary, target, series), self._rank_cell(summary, target, series)
        return Row(series, selections, series.model == self.baseline, skill, rank, cells)

    def _skill_cell(self, summary: str, target: str, series: Series) -> Cell:
        score = self.skill_score(summary, target, series)
        if score is None:
            note = self._overall.get((summary, target, *series), (None, None))[1]
            why = f"no skill score: {note or 'not in the scores'}" if self.has_baseline else self.no_baseline
            return Cell(None, labels.DASH, "missing", remark=why)
        tone = "none" if score == 0 else "good" if score > 0 else "bad"
        scores = [self.skill_score(summary, target, other) for other in self.series]
        best = score == max(value for value in scores if value is not None)
        standing = self.uncertainty.standing(summary, target, series)
        shade, winner = min(1.0, abs(score) / 0.5), best and len(self.series) > 1
        if standing is None or series.model == self.baseline:
            return Cell(score, labels.number(score, 2), tone, shade, best=winner)
        between = labels.interval(standing.low, standing.high, 2)
        spread = ""
        if standing.n_seeds > 1:
            spread = f"standard deviation between {standing.n_seeds} seeds {labels.number(standing.seed_sd, 3)}"
        remark = "; ".join(part for part in (spread, standing.note) if part)
        return Cell(score, labels.number(score, 2), tone, shade, remark, winner, between)

    def _rank_cell(self, summary: str, target: str, series: Series) -> Cell:
        """Place of a model among those of a target; a remark where it is tied with the best."""
        standing = self.uncertainty.standing(summary, target, series)
        if standing is None or standing.rank is None:
            return Cell(
                None, labels.DASH, "missing", remark=(standing.note if standing is not None else "") or "no rank"
            )
        between = ""
        if standing.rank_low is not None and standing.rank_low != standing.rank_high:
            between = f"{standing.rank_low}–{standing.rank_high}"
        tied = bool(standing.tied_with_best) and len(self.uncertainty.tied(summary, target)) > 1
        leads = f"first in {labels.percent(standing.p_best)} of draws of towers" if standing.p_best is not None else ""
        remark = "; ".join(part for part in ("tied with the best" if tied else "", leads, standing.note) if part)
        return Cell(float(standing.rank), str(standing.rank), "tied" if tied else "none", 0.0, remark, False, between)

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
        remark = f"{value:.5g} over {number} domains"
        skill = self.cell_skill(summary, target, scenario, series, scale)
        remark += f", skill {labels.number(skill, 3)}" if skill is not None else ""
        winner = value == best and len(self.series) > 1
        interval = self.uncertainty.cell(summary, target, scenario, series, scale)
        between = ""
        if interval is not None:
            # The last digit of a long number says nothing about an end of an interval, and the cell is narrow.
            between = labels.interval(interval.low, interval.high, decimals - 1 if decimals > 2 else decimals)
            full = labels.interval(interval.low, interval.high, labels.decimals_for(value, 4))
            towers = f" from {interval.n_sites} towers" if interval.n_sites is not None else ""
            parts = (f"interval {full}{towers}" if full else "", interval.note)
            remark = "; ".join((remark, *(part for part in parts if part)))
        return Cell(value, labels.number(value, decimals), tone, shade, remark, winner, between)

    def missing(self) -> list[Missing]:
        """Every cell of the full table without a number: scales of one reason together, and models that share all."""
        empty: dict[tuple[str, str, str, str], list[tuple[Series, str]]] = {}
        for target in self.targets:
            for scenario, scale in self.keys(target):
                for series in self.series:
                    if self.value("median", target, scenario, series, scale) is None:
                        reason, example = self.reason(target, scenario, series, scale)
                        empty.setdefault((target, scenario, scale, reason), []).append((series, example))
        grouped: dict[tuple[str, str, str, str], list[tuple[str, str]]] = {}
        for (target, scenario, scale, reason), found in empty.items():
            everyone = len(found) == len(self.series) > 1
            for series, example in found[:1] if everyone else found:
                who = "all models" if everyone else series.label
                grouped.setdefault((target, scenario, who, reason), []).append((scale, example))
        for target in self.targets:
            for scenario in self.scenarios:
                if scenario not in self.scenarios_of(target):
                    grouped[target, scenario, "all models", "not in the scores: not evaluated"] = [("all", "")]
        return [
            Missing(target, scenario, who, ", ".join(scale for scale, _ in cells), reason, cells[0][1])
            for (target, scenario, who, reason), cells in grouped.items()
        ]

    def left_out(self) -> list[LeftOut]:
        """Domains without RMSE in cells that have a number, by target, scenario, scale and reason."""
        empty = self.scores.filter(pl.col("rmse").is_null(), pl.col("scale").is_in(list(self.scales)))
        if empty.is_empty():
            return []
        grouped = (
            empty.with_columns(reason_column())
            .group_by("target", "scenario", "scale", "reason")
            .agg(pl.col("domain").n_unique().alias("domains"), pl.col("domain").min().alias("example"))
        )
        found = [
            LeftOut(*row)
            for row in grouped.select("target", "scenario", "scale", "reason", "domains", "example").iter_rows()
        ]
        order = {
            name: place for names in (self.targets, self.scenarios, self.scales) for place, name in enumerate(names)
        }
        return sorted(found, key=lambda row: (order[row.target], order[row.scenario], order[row.scale], row.reason))


def _finite(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
