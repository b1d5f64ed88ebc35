"""RMSE against the temporal scale, from the hour to the mean of the site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
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
Ends = tuple[float | None, float | None]
Array = npt.NDArray[np.float64]

INTERVAL_COLUMNS: Final = ("target", "scenario", "scale", "model", "selection", "summary", "low", "high")


class Marks(NamedTuple):
    """What is drawn of every cell: median, 90th percentile, and the ends of their intervals."""

    middle: dict[Cell, float]
    tail: dict[Cell, float]
    middle_ends: dict[Cell, Ends]
    tail_ends: dict[Cell, Ends]
    has_intervals: bool


def error_by_scale(
    scores: Scores | pl.DataFrame,
    *,
    target: str,
    scenarios: Sequence[str] | None = None,
    scales: Sequence[str] = schema.SCALES,
    intervals: pl.DataFrame | None = None,
    limits: tuple[float, float] | None = None,
    legend: bool = True,
) -> Figure:
    """Median and 90th percentile of RMSE at each scale, fine to coarse from top to bottom; one panel per scenario.

    A dot is the median over domains, the bar beside it ends at the 90th percentile: the longer the bar, the heavier
    the tail of badly predicted towers. With ``intervals`` the bars show how certain the two are instead: the broad bar
    behind the dot is the interval of the median, the thin one behind the upright tick that of the 90th percentile. A
    bar that runs to the edge of the panel, with an arrow head there, is unbounded on that side.

    Parameters
    ----------
    scores : polars.DataFrame
        Tidy scores: ``target, scenario, model, selection, scale, domain, rmse``.
    target : str
    scenarios : sequence of str, optional
        Panels from left to right; all of the target's by default.
    scales : sequence of str
        Rows; scales without a finite value are left out.
    intervals : polars.DataFrame, optional
        ``target, scenario, scale, model, selection, summary, low, high`` with summary ``median`` and ``q90``
        (:func:`fluxtrapolation.evaluation.intervals`); null where unbounded. Cells without a row have no bar.
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
    marks = marks_of(table, intervals, target)
    ends = limits if limits is not None else mark_limits(marks)
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
            if ends is not None:
                ax.set_xscale("log")
                ax.set_xlim(*ends)
                log_ticks(ax)
            _panel(ax, scenario, rows, lines, styles, marks, ends)
            ax.set_xlabel(labels.with_unit("RMSE", target))
        if legend:
            draw_legend(figure, lines, styles)
    return figure


def error_limits(
    scores: pl.DataFrame, *, target: str, intervals: pl.DataFrame | None = None
) -> tuple[float, float] | None:
    """Ends of an error axis that holds medians, 90th percentiles and their intervals, of all scenarios of a target."""
    held = tables.check_scores(scores).filter(pl.col("target") == target, pl.col("rmse").is_not_null())
    return mark_limits(marks_of(held, intervals, target))


def interval_cells(intervals: pl.DataFrame | None, *, target: str, summary: str) -> dict[Cell, Ends]:
    """Lower and upper end of the interval of every cell of a target that has a row, None where unbounded.

    Raises
    ------
    MissingColumnError
        A column is missing.
    """
    if intervals is None:
        return {}
    tables.require(intervals, INTERVAL_COLUMNS, "intervals")
    rows = intervals.filter(pl.col("target") == target, pl.col("summary") == summary).with_columns(
        pl.col("selection").fill_null(""), pl.col("low", "high").cast(pl.Float64).fill_nan(None)
    )
    return {
        (str(scenario), str(model), str(selection), str(scale)): (low, high)
        for scenario, model, selection, scale, low, high in rows.select(
            "scenario", "model", "selection", "scale", "low", "high"
        ).iter_rows()
        # Where both ends are missing there is no interval, rather than one without ends.
        if low is not None or high is not None
    }


def marks_of(scores: pl.DataFrame, intervals: pl.DataFrame | None, target: str) -> Marks:
    """Median, 90th percentile and their intervals of every cell of one target's scores."""
    return Marks(
        _values(scores, "median"),
        _values(scores, "q90"),
        interval_cells(intervals, target=target, summary="median"),
        interval_cells(intervals, target=target, summary="q90"),
        intervals is not None,
    )


def mark_limits(marks: Marks) -> tuple[float, float] | None:
    """Ends of an error axis that holds all marks; None where there is nothing above zero."""
    ends = [end for pair in (*marks.middle_ends.values(), *marks.tail_ends.values()) for end in pair if end is not None]
    shared = [value for value in (*marks.middle.values(), *marks.tail.values(), *ends) if value > 0]
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
    marks: Marks,
    ends: tuple[float, float] | None,
) -> None:
    step = 0.72 / max(len(lines), 1)
    for place in range(0, len(rows), 2):
        ax.axhspan(place - 0.5, place + 0.5, color=style.GRID, alpha=0.45, linewidth=0, zorder=0)
    for turn, line in enumerate(lines):
        offset = (turn - (len(lines) - 1) / 2) * step
        cells = [
            (place + offset, cell)
            for place, scale in enumerate(rows)
            # A logarithmic axis has no place for zero.
            if marks.middle.get(cell := (scenario, line.model, line.selection, scale), 0.0) > 0
        ]
        if not cells:
            continue
        y = np.array([height for height, _ in cells])
        dots = np.array([marks.middle[cell] for _, cell in cells])
        tails = np.array([marks.tail[cell] for _, cell in cells])
        look = styles[line.model]
        if marks.has_intervals and ends is not None:
            for found, width, alpha in ((marks.middle_ends, 3.4, 0.42), (marks.tail_ends, 0.9, 0.75)):
                bars = [(height, *found[cell]) for height, cell in cells if cell in found]
                _interval_bars(ax, bars, ends, colour=look.colour, width=width, alpha=alpha)
        else:
            ax.plot(*_broken(dots, tails, y, y), color=look.colour, linewidth=1.4, linestyle=look.linestyle)
        caps = _broken(tails, tails, y - 0.38 * step, y + 0.38 * step)
        ax.plot(*caps, color=look.colour, linewidth=1.4, solid_capstyle="butt")
        ax.plot(dots, y, linestyle="none", marker="o", markersize=4.2, color=look.colour, markeredgewidth=0)
    ax.set_yticks(range(len(rows)), [labels.SCALE_NAMES.get(name, name) for name in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    ax.spines["left"].set_visible(False)
    ax.set_title(scenario)


def _broken(x0: Array, x1: Array, y0: Array, y1: Array) -> tuple[Array, Array]:
    """Short strokes as one broken line, which keeps the drawing light."""
    gaps = np.full_like(x0, np.nan)
    return np.column_stack([x0, x1, gaps]).ravel(), np.column_stack([y0, y1, gaps]).ravel()


def _interval_bars(
    ax: Axes,
    bars: Sequence[tuple[float, float | None, float | None]],
    ends: tuple[float, float],
    *,
    colour: str,
    width: float,
    alpha: float,
) -> None:
    """Bars ``(y, low, high)``; an end that is missing lies at the edge of the panel, with an arrow head."""
    if not bars:
        return
    y = np.array([height for height, _, _ in bars])
    low = np.array([ends[0] if value is None or value <= 0 else value for _, value, _ in bars])
    high = np.array([ends[1] if value is None else value for _, _, value in bars])
    ax.plot(*_broken(low, high, y, y), color=colour, linewidth=width, alpha=alpha, solid_capstyle="butt")
    for place, marker, open_ended in (
        (ends[0], "<", [value is None for _, value, _ in bars]),
        (ends[1], ">", [value is None for _, _, value in bars]),
    ):
        where = y[np.array(open_ended)]
        if where.size:
            ax.plot(
                np.full_like(where, place), where, linestyle="none", marker=marker, markersize=3.2, color=colour,
                markeredgewidth=0, clip_on=False,
            )  # fmt: skip
