"""Error against dissimilarity: does the index say where a model fails?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.plots import labels, style
from fluxtrapolation.plots.cdf import log_ticks
from fluxtrapolation.plots.distance import binned
from fluxtrapolation.plots.shift.common import (
    Array,
    axis_name,
    checked,
    chosen,
    floats,
    fold,
    legend_below,
    legend_height,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CURVE_COLUMNS: Final = ("model", "low", "high", "index", "rmse", "n", "n_sites")
TOWER_COLUMNS: Final = ("site_id", "index_median", "rmse")
FEW_TOWERS: Final = 5
"""A bin of fewer towers is drawn as a ring: its error is that of a handful of places."""
ALL_TOWERS: Final = ""
"""Stands for the model where the table of towers names none."""
CLOCK_WORDS: Final = "tower, month and hour of day alone"
CLOCK_DASH: Final = (0, (1.5, 1.2))
_LOG_FROM: Final = 40.0


def error_by_dissimilarity(
    curve: pl.DataFrame | None,
    sites: pl.DataFrame | None = None,
    *,
    target: str,
    threshold: float | None = None,
    models: Sequence[str] | None = None,
    bins: int = 6,
    panel: tuple[float, float] = (3.6, 2.7),
    legend: bool = True,
) -> Figure:
    """RMSE of the hours by their dissimilarity to the training data, and of each tower by its median.

    Right of the dashed line hours lie outside the area of applicability. The thin dotted line is the RMSE that tower,
    month and hour of day alone would give: nights and winters have small fluxes, small errors and a small index, so
    only where the thick line leaves the thin one does the index tell something.

    Parameters
    ----------
    curve : polars.DataFrame or None
        ``model, low, high, index, rmse, n, n_sites``: one row per bin of the index; with ``rmse_low, rmse_high`` a band
        is drawn, with ``rmse_clock`` the thin line. None leaves the panel out.
    sites : polars.DataFrame, optional
        ``site_id, index_median, rmse``, with ``model`` where there are several: the panel of towers; the line joins the
        medians of bins of equally many, the band holds their middle half.
    target : str
    threshold : float, optional
        Index at which the area of applicability ends.
    models : sequence of str, optional
        All by default.
    bins : int
        At most so many bins of towers.
    panel : (float, float)
        Inches of a panel.
    legend : bool

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, or there is nothing to draw.
    """
    from matplotlib.figure import Figure

    panels: list[tuple[Any, pl.DataFrame]] = []
    if curve is not None:
        held = checked(curve, CURVE_COLUMNS, "error curve", ("index", "rmse", "n_sites", "rmse_clock"))
        panels.append((_hours, held.drop_nulls(["index", "rmse"])))
    if sites is not None:
        known = panels[0][1]["model"].unique().to_list() if panels else []
        panels.append((_towers, tower_points(sites, str(known[0]) if len(known) == 1 else ALL_TOWERS)))
    if not panels:
        raise EvaluationError("Give an error curve, a table of sites, or both: there is nothing to draw.")
    names = list(dict.fromkeys(name for _, table in panels for name in _models(table, models)))
    styles = style.model_styles(names) | {ALL_TOWERS: style.LineStyle(style.INK)}
    with style.house_style():
        handles = legend_lines(names, styles) if legend else []
        if legend and has_clock(curve):
            handles.append(_clock_line())
        width = panel[0] * len(panels)
        foot = legend_height([handle.get_label() for handle in handles], width)
        figure = Figure(figsize=(width, panel[1] + foot), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False).ravel()
        for ax, (draw, table) in zip(axes, panels, strict=True):
            for name in _models(table, models):
                draw(ax, table.filter(pl.col("model") == name), name, styles[name], bins)
            _axes(ax, table, threshold)
        axes[0].set_ylabel(fold(axis_name("hourly RMSE", target), 0.75 * panel[1]))
        for ax, (draw, _) in zip(axes, panels, strict=True):
            ax.set_title("hours, in bins" if draw is _hours else "towers")
            ax.set_xlabel("dissimilarity index" if draw is _hours else "median dissimilarity index of the tower")
        legend_below(figure, handles)
    return figure


def _models(table: pl.DataFrame, wanted: Sequence[str] | None) -> tuple[str, ...]:
    held = set(table["model"].to_list())
    if wanted is not None and held == {ALL_TOWERS}:
        return (ALL_TOWERS,)
    return chosen(table, "model", wanted, "dissimilarity")


def tower_points(sites: pl.DataFrame, model: str = ALL_TOWERS) -> pl.DataFrame:
    """``model, site_id, index, rmse`` of the towers that have an index and an error; ``model`` where none is named.

    Raises
    ------
    MissingColumnError, EvaluationError
        A column is missing, or no tower has both.
    """
    table = checked(sites, TOWER_COLUMNS, "sites", ("index_median", "rmse"))
    named = pl.col("model").cast(pl.String) if "model" in table.columns else pl.lit(model)
    points = table.select(named.alias("model"), "site_id", pl.col("index_median").alias("index"), "rmse").drop_nulls(
        ["index", "rmse"]
    )
    if points.is_empty():
        raise EvaluationError("No tower of the sites table has both a dissimilarity index and an RMSE.")
    return points


def has_clock(curve: pl.DataFrame | None) -> bool:
    """Whether a curve tells what tower, month and hour of day alone would give."""
    return curve is not None and "rmse_clock" in curve.columns and curve["rmse_clock"].null_count() < curve.height


def _clock_line() -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=style.MUTED, linestyle=CLOCK_DASH, linewidth=0.9, label=CLOCK_WORDS)


def _hours(ax: Axes, rows: pl.DataFrame, name: str, look: style.LineStyle, _bins: int) -> None:
    rows = rows.sort("index")
    x, y, towers = (floats(rows[column]) for column in ("index", "rmse", "n_sites"))
    few = towers < FEW_TOWERS
    if {"rmse_low", "rmse_high"} <= set(rows.columns):
        low, high = floats(rows["rmse_low"]), floats(rows["rmse_high"])
        ax.fill_between(x, low, high, color=look.colour, alpha=0.13, linewidth=0, zorder=1)
    if has_clock(rows):
        clock = floats(rows["rmse_clock"])
        ax.plot(x, clock, color=look.colour, linestyle=CLOCK_DASH, linewidth=0.9, zorder=2, label="_clock")
    ax.plot(x, y, color=look.colour, linestyle=look.linestyle, label=name, zorder=3)
    ax.plot(x[~few], y[~few], color=look.colour, linestyle="none", marker="o", markersize=3.8, zorder=4, label="_bins")
    ax.plot(
        x[few],
        y[few],
        color=look.colour,
        linestyle="none",
        marker="o",
        markersize=3.8,
        zorder=4,
        markerfacecolor=style.PAPER,
        label="_few",
    )


def _towers(ax: Axes, rows: pl.DataFrame, name: str, look: style.LineStyle, bins: int) -> None:
    x, y = floats(rows["index"]), floats(rows["rmse"])
    ax.plot(
        x,
        y,
        color=look.colour,
        linestyle="none",
        marker="o",
        markersize=3.2,
        alpha=0.55,
        markeredgewidth=0,
        zorder=2,
        label="_towers",
    )
    found = binned(x, y, bins)
    if found.distance.size > 1:
        ax.fill_between(found.distance, found.low, found.high, color=look.colour, alpha=0.13, linewidth=0, zorder=1)
        ax.plot(found.distance, found.middle, color=look.colour, linestyle=look.linestyle, label=name, zorder=3)


def _axes(ax: Axes, table: pl.DataFrame, threshold: float | None) -> None:
    x: Array = floats(table["index"])
    spread = x[np.isfinite(x) & (x > 0)]
    ends = np.append(spread, threshold) if threshold is not None and threshold > 0 else spread
    if spread.size and spread.size == x.size and ends.max() / ends.min() > _LOG_FROM:
        ax.set_xscale("log")
        ax.set_xlim(ends.min() * 0.85, ends.max() * 1.18)
        log_ticks(ax)
    else:
        ax.set_xlim(0, 1.05 * float(np.max([*ends, 1e-9])))
    ax.set_ylim(0, None)
    ax.margins(y=0.1)
    ax.autoscale(axis="y")
    ax.set_ylim(0, ax.get_ylim()[1])
    if threshold is None:
        return
    ax.axvline(threshold, color=style.INK, linewidth=1.0, linestyle=(0, (4, 2)), zorder=1, label="_threshold")
    left, right = ax.get_xlim()
    axis = np.log([left, threshold, right]) if ax.get_xscale() == "log" else np.array([left, threshold, right])
    before = (axis[1] - axis[0]) > 0.55 * (axis[2] - axis[0])
    ax.annotate(
        f"threshold {labels.significant(threshold, 2)}",
        (threshold, 0.0),
        xycoords=("data", "axes fraction"),
        xytext=(-3 if before else 3, 4),
        textcoords="offset points",
        ha="right" if before else "left",
        va="bottom",
        fontsize=7.5,
        color=style.MUTED,
    )


def legend_lines(names: Sequence[str], styles: dict[str, style.LineStyle]) -> list[Any]:
    """Legend entries of the models, in the registry's order; none for towers whose model has no name."""
    from matplotlib.lines import Line2D

    names = [name for name in names if name != ALL_TOWERS]
    known = list(style.MODEL_STYLE)
    ordered = sorted(names, key=lambda name: (known.index(name) if name in known else len(known), name))
    return [
        Line2D([], [], color=styles[name].colour, linestyle=styles[name].linestyle, label=labels.shorten(name, 34))
        for name in ordered
    ]
