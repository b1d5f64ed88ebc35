"""Error over domains: which share of the towers is predicted better than a given error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from fluxtrapolation import schema
from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.scores import Scores
from fluxtrapolation.plots import labels, style, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_STEPS: Final = 100
"""Steps drawn per line; a step is two points of the path."""


def cdf_points(
    values: Sequence[float], *, max_steps: int = MAX_STEPS
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Points of the empirical distribution function, thinned to at most ``max_steps``.

    Parameters
    ----------
    values : sequence of float, n values
        Finite; any order.
    max_steps : int
        With more values than this, evenly spaced ranks are kept, always with the smallest and the largest.

    Returns
    -------
    x, share : arrays, min(n, max_steps) values each
        ``share[i]`` is the exact share of values <= ``x[i]`` (up to ties), also after thinning.
    """
    x = np.sort(np.asarray(values, dtype=np.float64))
    share = np.arange(1, x.size + 1) / max(x.size, 1)
    if x.size > max_steps:
        keep = np.unique(np.linspace(0, x.size - 1, max_steps).round().astype(np.intp))
        x, share = x[keep], share[keep]
    return x, share


def error_cdf(
    scores: Scores | pl.DataFrame,
    *,
    target: str,
    scenario: str,
    scales: Sequence[str] = schema.BOARD_SCALES,
    columns: int = 3,
    max_steps: int = MAX_STEPS,
    legend: bool = True,
) -> Figure:
    """Distribution of RMSE over domains, one small panel per scale, one line per model.

    Dotted lines mark the two summaries of the board: a line's crossing with 50 % is the median, with 90 % the 90th
    percentile. The further left, the better. The error axis is logarithmic; errors of exactly zero sit at its left end.

    Parameters
    ----------
    scores : polars.DataFrame
        Tidy scores: ``target, scenario, model, selection, scale, domain, rmse``.
    target, scenario : str
        Which cell of the table.
    scales : sequence of str
        Panels, in this order; scales without a finite value are left out.
    columns : int
        Panels side by side.
    max_steps : int
        Steps of a line; with more domains than this, evenly spaced ranks are drawn.
    legend : bool
        Draw the legend below the panels.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, or there is nothing to draw for this target and scenario.
    """
    from matplotlib.figure import Figure

    table = tables.check_scores(scores)
    lines = tables.line_series(table)
    styles = style.model_styles(line.model for line in lines)
    errors = tables.errors_of(table, target=target, scenario=scenario)
    by_scale = ((scale, {line: errors[scale, line] for line in lines if (scale, line) in errors}) for scale in scales)
    panels = [(scale, held) for scale, held in by_scale if held]
    if not panels:
        raise EvaluationError(
            f"No finite RMSE for target '{target}' in scenario '{scenario}': no distribution to draw. "
            f"Targets: {', '.join(tables.targets_of(table))}; scenarios: {', '.join(tables.scenarios_of(table))}."
        )
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    with style.house_style():
        alone = len(panels) == 1 and not legend
        figure = Figure(
            figsize=(3.5 * columns, 2.45 * rows + (0.35 if legend else 0.0)), layout=None if alone else "constrained"
        )
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        if alone:
            style.fixed_margins(figure, left=0.62, right=0.06, top=0.24, bottom=0.42)
        for ax, (scale, held) in zip(axes, panels, strict=False):
            draw_cdf(ax, target, scale, held, styles, max_steps)
        for ax in axes[len(panels) :]:
            ax.set_visible(False)
        if legend:
            draw_legend(figure, lines, styles)
    return figure


def draw_cdf(
    ax: Axes,
    target: str,
    scale: str,
    held: dict[tables.Series, list[float]],
    styles: dict[str, style.LineStyle],
    max_steps: int = MAX_STEPS,
) -> None:
    """Draw the distributions of one scale into a panel; see :func:`error_cdf`."""
    pooled = np.concatenate([np.asarray(found) for found in held.values()])
    positive = pooled[pooled > 0]
    left, right = cdf_limits(positive)
    for height, word in ((0.5, "median"), (0.9, "90th percentile")):
        ax.axhline(height, color=style.MUTED, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
        ax.annotate(
            word,
            (0.0, height),
            xycoords=("axes fraction", "data"),
            xytext=(4, 1.5),
            textcoords="offset points",
            ha="left",
            va="bottom",
            fontsize=7,
            color=style.MUTED,
        )
    for series, found in held.items():
        x, share = cdf_points(found, max_steps=max_steps)
        look = styles[series.model]
        at_zero = float((np.asarray(found) <= left).mean())
        inside = x > left
        ax.step(
            np.concatenate([[left], x[inside], [right]]),
            np.concatenate([[at_zero], share[inside], [1.0]]),
            where="post",
            color=look.colour,
            linestyle=look.linestyle,
            label=series.label,
        )
    if positive.size:
        ax.set_xscale("log")
        log_ticks(ax)
    ax.set_xlim(left, right)
    ax.set_ylim(0, 1.04)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25", "50", "75", "100 %"])
    domains = max(len(found) for found in held.values())
    ax.set_title(labels.SCALE_NAMES.get(scale, scale))
    ax.set_title(
        f"{domains} domains" if domains != 1 else "1 domain",
        loc="right",
        fontsize=7.5,
        color=style.MUTED,
        weight="normal",
    )
    ax.set_xlabel(labels.with_unit("RMSE", target))
    ax.set_ylabel("share of domains")


def cdf_limits(positive: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Ends of the error axis: from the 2nd percentile of all models' errors to their largest."""
    if not positive.size:
        return 0.0, 1.0
    left, right = float(np.quantile(positive, 0.02)), float(positive.max())
    if right / left < 1.5:
        middle = float(np.sqrt(left * right))
        return middle / 1.5, middle * 1.5
    return left * 0.95, right * 1.08


def log_ticks(ax: Axes, axis: str = "x") -> None:
    """Plain numbers (0.2, 0.5, 1, 2, 5) on a logarithmic axis, few enough not to touch."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    which = ax.xaxis if axis == "x" else ax.yaxis
    low, high = sorted(float(edge) for edge in (ax.get_xlim() if axis == "x" else ax.get_ylim()))
    decades = float(np.log10(high / low)) if low > 0 else 1.0
    subs: tuple[float, ...] = (1.0,)
    if decades < 0.6:
        subs = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    elif decades < 1.2:
        subs = (1.0, 2.0, 3.0, 5.0)
    elif decades < 2.6:
        subs = (1.0, 3.0)
    which.set_major_locator(LogLocator(base=10, subs=subs, numticks=12))
    which.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    which.set_minor_locator(NullLocator())
    which.set_minor_formatter(NullFormatter())


def draw_legend(figure: Figure, lines: Sequence[tables.Series], styles: dict[str, style.LineStyle]) -> None:
    """The models' lines in a row below the panels."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], color=styles[line.model].colour, linestyle=styles[line.model].linestyle, label=line.label)
        for line in lines
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 6))
