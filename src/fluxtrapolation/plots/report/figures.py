"""The figures of the page, each with its caption, small enough to stand side by side or below one another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from fluxtrapolation.errors import FluxtrapolationError
from fluxtrapolation.plots import charts, labels, style, tables
from fluxtrapolation.plots.cdf import MAX_STEPS, error_cdf
from fluxtrapolation.plots.charts.base import Spec
from fluxtrapolation.plots.heatmap import skill_heatmap
from fluxtrapolation.plots.maps import EXTENT_NAMES, ROLE_NAMES, inside, role_counts, roles_by_site, tower_map
from fluxtrapolation.plots.report.board import Board
from fluxtrapolation.plots.report.interactive import Charts
from fluxtrapolation.plots.report.svg import Shapes, inline_svg
from fluxtrapolation.plots.scale_errors import error_by_scale, error_limits
from fluxtrapolation.plots.seasonal import cycle_errors, seasonal_cycle
from fluxtrapolation.plots.tables import Series
from fluxtrapolation.plots.towers import check_site_means

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MAP_WIDTHS: Final = {"world": 7.2, "europe": 3.0, "north-america": 4.1}
"""Inches; the two regions come out equally high and together as wide as the world."""
_STEPS_A_PAGE: Final = 60_000
"""Steps of all distribution lines together; about 12 bytes each."""
_FEWEST_STEPS: Final = 25
_ZOOM_FROM: Final = 8
"""A region gets its own map when at least this many towers stand in it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure as markup, with a caption of its own where it needs one, and the name of its interactive twin."""

    svg: Any
    caption: str = ""
    wide: bool = False
    aspect: float = 0.0
    chart: str = ""


@dataclass(frozen=True, slots=True)
class RoleKey:
    """One entry of a map's legend."""

    name: str
    colour: str
    marker: str
    count: int


@dataclass(frozen=True, slots=True)
class Group:
    """Figures that belong together, under one heading."""

    heading: str
    note: str
    pictures: tuple[Picture, ...]
    roles: tuple[RoleKey, ...] = ()


class Figures:
    """Draws every figure of the page.

    Parameters
    ----------
    board : Board
    best : Series or None
        The model whose skill map and seasonal cycles are shown.
    split_sites, seasonal, site_means : polars.DataFrame, optional
        As in :func:`fluxtrapolation.plots.report.write_report`.
    """

    def __init__(
        self,
        board: Board,
        *,
        best: Series | None,
        split_sites: pl.DataFrame | None,
        seasonal: pl.DataFrame | None,
        site_means: pl.DataFrame | None = None,
    ) -> None:
        self.board = board
        self.best = best
        self.split_sites = split_sites
        self.seasonal = seasonal
        self.site_means = None if site_means is None or site_means.is_empty() else check_site_means(site_means)
        self.charts = Charts()
        self.shapes = Shapes()
        self._drawn = 0
        if split_sites is not None:
            tables.require(split_sites, tables.SPLIT_COLUMNS, "split sites")
        if seasonal is not None:
            tables.require(seasonal, tables.SEASONAL_COLUMNS, "seasonal")

    def picture(
        self,
        draw: Callable[[], Figure],
        description: str,
        *,
        caption: str = "",
        wide: bool = False,
        chart: Spec | None = None,
    ) -> Picture:
        """Draw a figure as part of the page; ``chart`` is the interactive chart that takes its place."""
        try:
            from markupsafe import Markup

            figure = draw()
        except ModuleNotFoundError as error:
            raise FluxtrapolationError(
                f"Figures need {error.name}, which is not installed: pip install 'fluxtrapolation[plots]'."
            ) from error
        self._drawn += 1
        width, height = figure.get_size_inches()
        svg = Markup(inline_svg(figure, f"fig{self._drawn}", description, self.shapes))
        name = self.charts.add(chart) if chart is not None else ""
        return Picture(svg, caption, wide, float(width / height), name)

    def legend(self) -> list[tuple[str, str, str]]:
        """Name, colour and dash pattern of each model's line."""
        lines = tables.line_series(self.board.scores)
        styles = style.model_styles(line.model for line in lines)
        ink = {style.MODEL_STYLE["lr"].colour: "var(--grey-line)"}
        return [
            (
                line.label,
                ink.get(styles[line.model].colour, styles[line.model].colour),
                " ".join(f"{part * 1.6:g}" for part in styles[line.model].dash),
            )
            for line in lines
        ]

    def heatmaps(self) -> list[Picture]:
        """Skill of the best model at the median, scenario by scale, one picture per target."""
        board, best = self.board, self.best
        if best is None or not board.has_baseline or best.model == board.baseline:
            return []
        draw = partial(skill_heatmap, board.scores, model=best.model, selection=best.selection, baseline=board.baseline)
        return [
            self.picture(
                partial(draw, targets=[target]),
                f"Skill of {best.label} against {board.baseline} for {target}, by scenario and scale",
                chart=charts.skill_chart(
                    board.scores,
                    target=target,
                    model=best.label,
                    baseline=board.baseline,
                    intervals=board.uncertainty.table,
                ),
            )
            for target in board.targets
        ]

    def cdfs(self) -> list[Group]:
        """Per target and scenario: one panel per scale."""
        board = self.board
        lines = tables.line_series(board.scores)
        drawn = len(lines) * len(board.scales) * sum(len(board.scenarios_of(target)) for target in board.targets)
        steps = min(MAX_STEPS, max(_FEWEST_STEPS, _STEPS_A_PAGE // max(drawn, 1)))
        groups = []
        for target in board.targets:
            held = {
                scenario: board.scores.filter(pl.col("target") == target, pl.col("scenario") == scenario)
                for scenario in board.scenarios_of(target)
            }
            for scenario in board.scenarios_of(target):
                draw = partial(error_cdf, board.scores, target=target, scenario=scenario, max_steps=steps, legend=False)
                pictures = tuple(
                    self.picture(
                        partial(draw, scales=[scale]),
                        f"Share of domains below a given RMSE: {target}, {scenario}, {scale}",
                        chart=charts.cdf_chart(
                            held[scenario], target=target, scenario=scenario, scale=scale, legend=False
                        ),
                    )
                    for scale in board.scales
                    if any(board.value("median", target, scenario, line, scale) is not None for line in lines)
                )
                if pictures:
                    groups.append(Group(target, scenario, pictures))
        return groups

    def by_scale(self) -> list[Group]:
        """Per target: one panel per scenario, all eight scales."""
        groups = []
        for target in self.board.targets:
            known = self.board.uncertainty.table if self.board.uncertainty.known else None
            held = self.board.scores.filter(pl.col("target") == target, pl.col("rmse").is_not_null())
            same: dict[str, Any] = {"target": target, "intervals": known, "legend": False}
            same["limits"] = error_limits(held, target=target, intervals=known)
            pictures = [
                self.picture(
                    partial(error_by_scale, held, scenarios=[scenario], **same),
                    f"Median and 90th percentile of RMSE at each temporal scale: {target}, {scenario}",
                    chart=charts.scale_chart(held, scenario=scenario, **same) if same["limits"] else None,
                )
                for scenario in tables.scenarios_of(held)
            ]
            if pictures:
                groups.append(Group(target, "", tuple(pictures)))
        return groups

    def maps(self) -> list[Group]:
        """Per scenario: the world, and regions where many towers stand."""
        if self.split_sites is None or self.split_sites.is_empty():
            return []
        groups = []
        for scenario in labels.ordered_scenarios(self.split_sites["scenario"].unique().to_list()):
            counts = role_counts(self.split_sites, scenario)
            towers = roles_by_site(self.split_sites, scenario)
            pictures = []
            for extent, name in EXTENT_NAMES.items():
                if extent != "world" and inside(towers, extent) < _ZOOM_FROM:
                    continue
                pictures.append(
                    self.picture(
                        partial(
                            tower_map,
                            self.split_sites,
                            scenario=scenario,
                            extent=extent,
                            legend=False,
                            width=_MAP_WIDTHS[extent],
                        ),
                        f"Towers of scenario {scenario} in {name}",
                        caption="" if extent == "world" else name,
                        wide=extent == "world",
                    )
                )
            groups.append(Group(scenario, "", tuple(pictures), _role_keys(counts)))
        return groups

    def cycles(self) -> list[Group]:
        """Per target and scenario: the best and the worst site of the best model that has seasonal cycles."""
        if self.seasonal is None or self.seasonal.is_empty():
            return []
        groups = []
        for target in self.board.targets:
            rows = self.seasonal.filter(pl.col("target") == target)
            for scenario in self.board.scenarios_of(target):
                group = self._cycles_of(rows.filter(pl.col("scenario") == scenario), target, scenario)
                groups += [group] if group is not None else []
        return groups

    def _cycles_of(self, rows: pl.DataFrame, target: str, scenario: str) -> Group | None:
        """Best and worst site of the best-ranked model that has seasonal cycles for a target and scenario."""
        ranked = self.board.ranked(target)
        for series in [self.best, *ranked] if self.best is not None else ranked:
            which = {"target": target, "scenario": scenario, "model": series.model, "selection": series.selection}
            errors = cycle_errors(rows, **which)
            if not errors:
                continue
            chosen = [("Best site", errors[0])] + ([("Worst site", errors[-1])] if len(errors) > 1 else [])
            pictures = tuple(
                self.picture(
                    partial(seasonal_cycle, rows, **which, site_id=cycle.site_id, title=f"{word}: {cycle.site_id}"),
                    f"Mean seasonal cycle of {target} at {cycle.site_id}, observed and predicted by {series.label}, "
                    "and residual",
                    caption=f"RMSE between the cycles: {labels.significant(cycle.rmse)} "
                    f"{labels.target_unit(target)}".rstrip(),
                )
                for word, cycle in chosen
            )
            note = f"{scenario}: {series.label}, {len(errors)} site{'s' if len(errors) != 1 else ''}"
            return Group(target, note, pictures)
        return None


def _role_keys(counts: dict[str, int]) -> tuple[RoleKey, ...]:
    return tuple(RoleKey(ROLE_NAMES[role], *style.ROLE_STYLE[role], count) for role, count in counts.items())
