"""RMSE against the temporal scale, from the hour to the mean of the site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from fluxtrapolation import schema
from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.scores import Scores
from fluxtrapolation.plots import labels, style, tables
from fluxtrapolation.plots.cdf import draw_legend, log_ticks
from fluxtrapolation.plots.summaries import summary_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Cell = tuple[str, str, str, str]  # scenario, model, selection, scale


def error_by_scale(
    scores: Scores | pl.DataFrame,
    *,
    target: str,
    scenarios: Sequence[str] | None = None,
    scales: Sequence[str] = schema.SCALES,
    limits: tuple[float, float] | None = None,
    legend: bool = True,
) -> Figure:
    """Median and 90th percentile of RMSE at each scale, fine to coarse from top to bottom; one panel per scenario.

    A dot is the median over domains, the bar beside it ends at the 90th percentile: the longer the bar, the heavier
    the tail of badly predicted towers.

    Parameters
    ----------
    scores : polars.DataFrame
        Tidy scores: ``target, scenario, model, selection, scale, domain, rmse``.
    target : str
    scenarios : sequence of str, optional
        Panels from left to right; all of the target's by default.
    scales : sequence of str
        Rows; scales without a finite value are left out.
    limits : (float, float), optional
        Ends of the error axis, to make panels drawn one by one comparable.
    legend : bool
        Draw the legend below the panels.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, or nothing is there to draw.
    """
    from matplotlib.figure import Figure

    table = tables.check_scores(scores).filter(pl.col("target") == target)
    shown = tables.scenarios_of(table) if scenarios is None else tuple(scenarios)
    table = table.filter(pl.col("scenario").is_in(list(shown)), pl.col("rmse").is_not_null())
    if table.is_empty():
        raise EvaluationError(f"No finite RMSE for target '{target}' in {', '.join(shown) or 'any scenario'}.")
    rows = tables.scales_of(table, scales)
    lines = tables.line_series(table)
    styles = style.model_styles(line.model for line in lines)
    middle, tail = _values(table, "median"), _values(table, "q90")
    ends = limits if limits is not None else _limits(middle, tail)
    with style.house_style():
        height = 0.62 + len(rows) * max(0.3, 0.105 * len(lines) + 0.12)
        alone = len(shown) == 1 and not legend
        figure = Figure(
            figsize=(3.5 * len(shown), height + (0.35 if legend else 0.0)), layout=None if alone else "constrained"
        )
        axes = figure.subplots(1, len(shown), squeeze=False, sharey=False).ravel()
        if alone:
            style.fixed_margins(figure, left=0.84, right=0.06, top=0.24, bottom=0.42)
        for ax, scenario in zip(axes, shown, strict=True):
            _panel(ax, scenario, rows, lines, styles, middle, tail)
            if ends is not None:
                ax.set_xscale("log")
                ax.set_xlim(*ends)
                log_ticks(ax)
            ax.set_xlabel(labels.with_unit("RMSE", target))
        if legend:
            draw_legend(figure, lines, styles)
    return figure


def error_limits(scores: pl.DataFrame, *, target: str) -> tuple[float, float] | None:
    """Ends of an error axis that holds medians and 90th percentiles of all scenarios of a target."""
    held = tables.check_scores(scores).filter(pl.col("target") == target, pl.col("rmse").is_not_null())
    return _limits(_values(held, "median"), _values(held, "q90"))


def _limits(middle: dict[Cell, float], tail: dict[Cell, float]) -> tuple[float, float] | None:
    shared = [value for value in (*middle.values(), *tail.values()) if value > 0]
    return (min(shared) / 1.15, max(shared) * 1.15) if shared else None


def _values(scores: pl.DataFrame, summary: str) -> dict[Cell, float]:
    table = summary_of(scores, summary=summary).cells.drop_nulls("value")
    return {
        (str(scenario), str(model), str(selection), str(scale)): float(value)
        for scenario, model, selection, scale, value in table.select(
            "scenario", "model", "selection", "scale", "value"
        ).iter_rows()
    }


def _panel(
    ax: Axes,
    scenario: str,
    rows: Sequence[str],
    lines: Sequence[tables.Series],
    styles: dict[str, style.LineStyle],
    middle: dict[Cell, float],
    tail: dict[Cell, float],
) -> None:
    step = 0.72 / max(len(lines), 1)
    for place in range(0, len(rows), 2):
        ax.axhspan(place - 0.5, place + 0.5, color=style.GRID, alpha=0.45, linewidth=0, zorder=0)
    for turn, line in enumerate(lines):
        offset = (turn - (len(lines) - 1) / 2) * step
        held = [
            (place + offset, middle[cell], tail[cell])
            for place, scale in enumerate(rows)
            # A logarithmic axis has no place for zero.
            if middle.get(cell := (scenario, line.model, line.selection, scale), 0.0) > 0
        ]
        if not held:
            continue
        y, dots, ends = (np.asarray(values, dtype=np.float64) for values in zip(*held, strict=True))
        gaps = np.full_like(y, np.nan)  # one broken line for all bars of a model keeps the drawing light
        look = styles[line.model]
        bars = (np.column_stack([dots, ends, gaps]).ravel(), np.column_stack([y, y, gaps]).ravel())
        caps = (
            np.column_stack([ends, ends, gaps]).ravel(),
            np.column_stack([y - 0.38 * step, y + 0.38 * step, gaps]).ravel(),
        )
        ax.plot(*bars, color=look.colour, linewidth=1.4, linestyle=look.linestyle, solid_capstyle="butt")
        ax.plot(*caps, color=look.colour, linewidth=1.4, solid_capstyle="butt")
        ax.plot(dots, y, linestyle="none", marker="o", markersize=4.2, color=look.colour, markeredgewidth=0)
    ax.set_yticks(range(len(rows)), [labels.SCALE_NAMES.get(name, name) for name in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)
    ax.set_title(scenario)
