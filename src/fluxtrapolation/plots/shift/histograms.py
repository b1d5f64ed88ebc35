"""Distribution of every covariate in train and in test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.plots import labels, style
from fluxtrapolation.plots.shift.common import (
    PANEL,
    TEST,
    TRAIN,
    Array,
    checked,
    chosen,
    covariate_name,
    floats,
    fold,
    legend_below,
    part_handles,
    small_multiples,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HISTOGRAM_COLUMNS: Final = ("covariate", "low", "high", "train", "test")
_HEADROOM: Final = 1.22
_SPIKE: Final = 3.0
"""A bin this many times higher than any other is cut off, and its shares written beside it."""
_TEXT_NAMES: Final = ("label", "category")


def covariate_histograms(
    histograms: pl.DataFrame,
    *,
    univariate: pl.DataFrame | None = None,
    covariates: Sequence[str] | None = None,
    columns: int = 3,
    panel: tuple[float, float] = PANEL,
    legend: bool = True,
) -> Figure:
    """Density of every covariate in train (filled) and in test (outline), one small panel each.

    The plant functional type is a bar chart of the share of rows per class. A bin that dwarfs all others (radiation at
    night) is cut off, its shares written in the panel.

    Parameters
    ----------
    histograms : polars.DataFrame
        ``covariate, low, high, train, test``: one row per bin; densities per unit of the covariate. A covariate whose
        rows carry a text in ``label`` (the plant functional type) is drawn as shares per class.
    univariate : polars.DataFrame, optional
        ``covariate, smd``: the standardised mean difference, written in a panel.
    covariates : sequence of str, optional
        Panels in this order; all by default.
    columns : int
        Panels side by side.
    panel : (float, float)
        Inches of a panel.
    legend : bool
        Draw the legend below the panels.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, there is no row, or an unknown covariate is asked for.
    """
    table = checked(histograms, HISTOGRAM_COLUMNS, "histograms", HISTOGRAM_COLUMNS[1:])
    shown = chosen(table, "covariate", covariates, "histograms")
    differences = standardised(univariate)
    with style.house_style():
        figure, axes = small_multiples(len(shown), columns=columns, panel=panel, foot=0.3 if legend else 0.0)
        for place, (ax, name) in enumerate(zip(axes, shown, strict=True)):
            rows = table.filter(pl.col("covariate") == name)
            words = categories(rows)
            if words is None:
                _density(ax, rows)
                ax.set_ylabel("" if place % columns else "density")
                ax.set_xlabel(fold(covariate_name(name), panel[0] - 0.3))
            else:
                _shares(ax, rows, words)
            ax.set_title(fold(name, panel[0] - 0.3, 9.5))
            _difference(ax, differences.get(name))
        if legend:
            legend_below(figure, part_handles())
    return figure


def categories(rows: pl.DataFrame) -> list[str] | None:
    """Names of the classes of a covariate that is one of kind, else None."""
    for column in _TEXT_NAMES:
        if column in rows.columns and rows[column].null_count() == 0 and rows.schema[column] == pl.String:
            return [str(word).removeprefix("PFT_") for word in rows[column]]
    return None


def standardised(univariate: pl.DataFrame | None) -> dict[str, float]:
    """Standardised mean difference by covariate."""
    if univariate is None or not {"covariate", "smd"} <= set(univariate.columns):
        return {}
    table = univariate.select("covariate", pl.col("smd").cast(pl.Float64).fill_nan(None)).drop_nulls()
    return {str(name): float(value) for name, value in table.iter_rows()}


def bin_edges(rows: pl.DataFrame) -> tuple[Array, Array, Array]:
    """Edges (n + 1) and the densities of train and test (n); a gap between bins becomes an empty bin.

    Raises
    ------
    EvaluationError
        Bins overlap.
    """
    rows = rows.drop_nulls(["low", "high"]).sort("low")
    low, high, train, test = (floats(rows[name]) for name in HISTOGRAM_COLUMNS[1:])
    if not low.size:
        return np.array([0.0, 1.0]), np.zeros(1), np.zeros(1)
    width = np.min(high - low)
    if width <= 0 or np.any(low[1:] < high[:-1] - 1e-6 * width):
        raise EvaluationError(f"The bins of the histogram of '{rows['covariate'][0]}' overlap or are empty.")
    edges: list[float] = [float(low[0])]
    sides: tuple[list[float], list[float]] = ([], [])
    for place in range(low.size):
        if low[place] > edges[-1] + 1e-6 * width:
            edges.append(float(low[place]))
            for side in sides:
                side.append(0.0)
        edges.append(float(high[place]))
        for side, held in zip(sides, (train, test), strict=True):
            side.append(float(held[place]))
    return np.asarray(edges), np.asarray(sides[0]), np.asarray(sides[1])


def _density(ax: Axes, rows: pl.DataFrame) -> None:
    edges, train, test = bin_edges(rows)
    ax.stairs(train, edges, fill=True, color=TRAIN, alpha=0.55, linewidth=0, label="train")
    ax.stairs(test, edges, color=TEST, linewidth=1.5, label="test", zorder=3)
    ax.set_ylim(0, _HEADROOM * _top(ax, edges, train, test) or 1.0)
    ax.set_yticks([])
    ax.set_xlim(edges[0], edges[-1])
    ax.locator_params(axis="x", nbins=5)


def _top(ax: Axes, edges: Array, train: Array, test: Array) -> float:
    """Height of the axis: that of the highest bin, or of the next where one bin (night, say) dwarfs all others."""
    highest = np.nan_to_num(np.maximum(train, test))
    spike = int(np.argmax(highest))
    rest = float(np.max(np.delete(highest, spike), initial=0.0))
    if not rest or highest[spike] < _SPIKE * rest:
        return float(highest[spike])
    share = 100 * np.nan_to_num([train[spike], test[spike]]) * (edges[spike + 1] - edges[spike])
    ax.annotate(
        f"cut bin: train {share[0]:.0f} %, test {share[1]:.0f} %",
        (1.0, 1.0),
        xycoords="axes fraction",
        xytext=(-2, -12),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=6.5,
        color=style.MUTED,
    )
    return 1.6 * rest


def _shares(ax: Axes, rows: pl.DataFrame, words: Sequence[str]) -> None:
    place = np.arange(len(words))
    train, test = (100 * np.nan_to_num(floats(rows[name])) for name in ("train", "test"))
    ax.bar(place - 0.2, train, 0.4, color=TRAIN, alpha=0.55, linewidth=0, label="train")
    ax.bar(place + 0.2, test, 0.34, facecolor="none", edgecolor=TEST, linewidth=1.3, label="test")
    ax.set_ylim(0, _HEADROOM * float(np.max([*train, *test, 1e-9])))
    ax.set_xticks(place, words, rotation=90, fontsize=7)
    ax.tick_params(axis="x", length=0)
    ax.grid(visible=False, axis="x")
    ax.locator_params(axis="y", nbins=4)
    ax.set_ylabel("rows (%)")


def _difference(ax: Axes, value: float | None) -> None:
    """The standardised mean difference in the head of a panel."""
    if value is None:
        return
    sign = "+" if value > 0 else ""
    ax.annotate(
        f"{sign}{labels.number(value, 2)} sd",
        (1.0, 1.0),
        xycoords="axes fraction",
        xytext=(-2, -2),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=7.5,
        color=style.MUTED,
    )
