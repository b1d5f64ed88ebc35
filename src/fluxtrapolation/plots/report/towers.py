"""The figures of single towers: observed against predicted means, and where on the map the errors are."""

from __future__ import annotations

from functools import partial
from typing import Any

import polars as pl

from fluxtrapolation.plots import charts, labels, tables
from fluxtrapolation.plots.error_maps import error_map
from fluxtrapolation.plots.report.figures import Figures, Group, Picture
from fluxtrapolation.plots.report.interactive import menu
from fluxtrapolation.plots.scatter import mean_limits, site_means
from fluxtrapolation.plots.tables import Series
from fluxtrapolation.plots.towers import places_of, tower_errors


class TowerFigures:
    """Draws the figures of single towers into the page of ``figures``.

    Parameters
    ----------
    figures : Figures
        Whose board, best model, tables and charts are used.
    """

    def __init__(self, figures: Figures) -> None:
        self.figures = figures
        self.board = figures.board

    def scatters(self) -> list[Group]:
        """Per target: one panel per scenario, all with the same axes; the best model, others from a menu."""
        means = self.figures.site_means
        if means is None:
            return []
        groups = []
        for target in self.board.targets:
            rows = means.filter(pl.col("target") == target)
            if rows.is_empty():
                continue
            ends = mean_limits(rows)
            series = self._shown(rows)
            pictures = [
                self.figures.picture(
                    partial(
                        site_means,
                        rows,
                        target=target,
                        model=series.model,
                        selection=series.selection,
                        scenarios=[scenario],
                        limits=ends,
                    ),
                    f"Observed against predicted site means of {target}, {scenario}, {series.label}",
                    chart=charts.site_means_chart(
                        rows,
                        target=target,
                        scenario=scenario,
                        model=series.label,
                        sites=self.figures.split_sites,
                        limits=ends,
                    ),
                )
                for scenario in labels.ordered_scenarios(
                    rows.filter(pl.col("model") == series.model, pl.col("selection") == series.selection)[
                        "scenario"
                    ].unique()
                )
            ]
            groups.append(Group(target, series.label, tuple(pictures)))
        return groups

    def maps(self) -> list[Group]:
        """Per target: one map per scenario; skill of the best model where there is a baseline, else its error."""
        sites = self.figures.split_sites
        if sites is None or sites.is_empty() or not self.board.scales:
            return []
        known = places_of(sites)
        groups = []
        for target in self.board.targets:
            found = {scenario: self._errors(target, scenario, known) for scenario in self.board.scenarios_of(target)}
            found = {scenario: rows for scenario, rows in found.items() if rows.height}
            if not found:
                continue
            every = pl.concat(list(found.values()))
            series = self._shown(every)
            mine = every.filter(pl.col("model") == series.model, pl.col("selection") == series.selection)
            largest = float(mine["rmse"].max() or 1.0)  # type: ignore[arg-type]
            pictures = [
                self._map(target, scenario, series, known, largest)
                for scenario, rows in found.items()
                if rows.filter(pl.col("model") == series.model, pl.col("selection") == series.selection).height
            ]
            groups.append(Group(target, series.label, tuple(pictures)))
        return groups

    def _map(self, target: str, scenario: str, series: Series, sites: pl.DataFrame, largest: float) -> Picture:
        board = self.board
        held = board.scores.filter(pl.col("target") == target, pl.col("scenario") == scenario)
        same: dict[str, Any] = {
            "target": target,
            "scenario": scenario,
            "scale": board.scales[0],
            "baseline": self.baseline if self.baseline in held["model"].unique().to_list() else None,
            "largest": largest,
        }
        title = f"{scenario}, {labels.SCALE_NAMES.get(same['scale'], same['scale'])}"
        return self.figures.picture(
            partial(error_map, held, sites, model=series.model, selection=series.selection, title=title, **same),
            f"Errors of {series.label} at the test towers: {target}, {scenario}",
            chart=charts.error_map_chart(held, sites, model=series.label, **same),
        )

    @property
    def baseline(self) -> str | None:
        """The model of skill 0, where there is another one to compare with it."""
        models = {series.model for series in self.board.series}
        return self.board.baseline if self.board.has_baseline and len(models) > 1 else None

    def _errors(self, target: str, scenario: str, sites: pl.DataFrame) -> pl.DataFrame:
        """Errors of all towers that have a place, without those of the baseline."""
        rows = tower_errors(self.board.scores, target=target, scenario=scenario, scale=self.board.scales[0])
        rows = rows.filter(pl.col("model") != self.baseline) if self.baseline is not None else rows
        return rows.join(sites, on="site_id", how="semi")

    def _shown(self, rows: pl.DataFrame) -> Series:
        """The best model where ``rows`` hold it, else their first."""
        held = tables.line_series(rows)
        best = self.figures.best
        return best if best is not None and best in held else held[0]

    def model_menu(self, *, with_baseline: bool) -> list[tuple[str, bool]]:
        """Entries of the menu of models for the charts of a section."""
        lines = tables.line_series(self.board.scores)
        names = [line.label for line in lines if with_baseline or line.model != self.baseline]
        best = self.figures.best
        first = best.label if best is not None and best.label in names else names[0] if names else ""
        return menu(names, first)
