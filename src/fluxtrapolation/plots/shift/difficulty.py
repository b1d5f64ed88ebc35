"""Error against the size of the shift, over a family of scenarios of rising difficulty."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from fluxtrapolation.plots import labels, style
from fluxtrapolation.plots.shift.common import axis_name, checked, chosen, floats, fold, legend_below, legend_height
from fluxtrapolation.plots.shift.dissimilarity import legend_lines

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DIFFICULTY_COLUMNS: Final = ("scenario", "shift", "model", "summary", "rmse")
_REQUIRED: Final = ("shift", "model", "summary", "rmse")
SHIFT_LABEL: Final = "AUC of the domain classifier, split by site"
SUMMARIES: Final = ("median", "q90")


def difficulty_curve(
    family: pl.DataFrame,
    *,
    target: str,
    label: str | None = None,
    models: Sequence[str] | None = None,
    scale: str = "hourly",
    panel: tuple[float, float] = (3.6, 2.6),
    legend: bool = True,
) -> Figure:
    """Error over test towers against the shift of each scenario of a family; a panel per summary, a line per model.

    Parameters
    ----------
    family : polars.DataFrame
        ``shift, model, summary`` (median, q90), ``rmse``: one row per scenario, model and summary. Where there are
        ``low, high`` a bar is drawn, and with ``shift_sd`` one along the shift.
    target : str
    label : str, optional
        What measures the shift; the AUC by site by default.
    models : sequence of str, optional
        All by default.
    scale : str
        Temporal scale of the error.
    panel : (float, float)
        Inches of a panel.
    legend : bool

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, there is no row, or an unknown model is asked for.
    """
    from matplotlib.figure import Figure

    numbers = ("shift", "rmse", "low", "high", "shift_sd")
    table = checked(family, _REQUIRED, "family", numbers).drop_nulls(["shift", "rmse"])
    table = checked(table, _REQUIRED, "family")
    names = chosen(table, "model", models, "family")
    held = chosen(table, "summary", None, "family")
    summaries = [*(name for name in SUMMARIES if name in held), *(name for name in held if name not in SUMMARIES)]
    styles = style.model_styles(names)
    with style.house_style():
        handles = legend_lines(names, styles) if legend else []
        width = panel[0] * len(summaries)
        foot = legend_height([handle.get_label() for handle in handles], width)
        figure = Figure(figsize=(width, panel[1] + foot), layout="constrained")
        axes = figure.subplots(1, len(summaries), squeeze=False).ravel()
        for ax, summary in zip(axes, summaries, strict=True):
            for name in names:
                rows = table.filter(pl.col("model") == name, pl.col("summary") == summary).sort("shift")
                x, y = floats(rows["shift"]), floats(rows["rmse"])
                look = styles[name]
                ax.plot(x, y, color=look.colour, linestyle=look.linestyle, marker="o", markersize=3.8, label=name)
                bars = {"fmt": "none", "ecolor": look.colour, "elinewidth": 0.9, "alpha": 0.6}
                if {"low", "high"} <= set(rows.columns):
                    ends = np.nan_to_num([y - floats(rows["low"]), floats(rows["high"]) - y])
                    ax.errorbar(x, y, yerr=np.maximum(ends, 0), **bars)
                if "shift_sd" in rows.columns:
                    ax.errorbar(x, y, xerr=np.nan_to_num(floats(rows["shift_sd"])), **bars)
            ax.set_ylim(0, None)
            ax.set_title(labels.SUMMARY_NAMES.get(summary, summary) + " over towers")
            ax.set_xlabel(fold(label or SHIFT_LABEL, panel[0] - 0.3))
        axes[0].set_ylabel(fold(axis_name(f"{labels.SCALE_NAMES.get(scale, scale)} RMSE", target), 0.75 * panel[1]))
        legend_below(figure, handles)
    return figure
