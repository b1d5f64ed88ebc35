"""Mean flux along one covariate in train and in test, before and after reweighting."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from fluxtrapolation.plots import style
from fluxtrapolation.plots.shift.common import (
    TEST,
    TEST_DASH,
    TRAIN,
    axis_name,
    checked,
    chosen,
    covariate_name,
    floats,
    fold,
    legend_below,
    part_handles,
)
from fluxtrapolation.plots.shift.histograms import categories

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SLICE_COLUMNS: Final = ("covariate", "x", "side", "kind", "mean", "se")
KINDS: Final = ("raw", "reweighted")
SIDES: Final = ("train", "test")
_DOTTED: Final = (0, (1.0, 1.6))
_LONGEST_REASON: Final = 110
"""Letters of a reason that fit into a panel; the table has it whole."""


def conditional_slices(
    slices: pl.DataFrame,
    *,
    target: str,
    covariates: Sequence[str] | None = None,
    columns: int = 2,
    panel: tuple[float, float] = (1.85, 1.9),
    legend: bool = True,
) -> Figure:
    """Mean of the flux by covariate, train and test: as it is (left) and at equal other covariates (right).

    Bands are one standard error. Bins without one (too few towers) are dotted, without a band. Where the curves differ
    on the left and agree on the right, the difference was one of the other covariates.

    Parameters
    ----------
    slices : polars.DataFrame
        ``covariate, x, side`` (train or test), ``kind`` (raw or reweighted), ``mean, se`` in the unit of the target.
    target : str
    covariates : sequence of str, optional
        All by default.
    columns : int
        Covariates side by side; each takes two panels.
    panel : (float, float)
        Inches of a panel.
    legend : bool

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, there is no row, or an unknown covariate is asked for.
    """
    from matplotlib.figure import Figure

    table = checked(slices, SLICE_COLUMNS, "slices", ("mean", "se"))
    shown = chosen(table, "covariate", covariates, "slices")
    kinds = [kind for kind in KINDS if kind in set(table["kind"].to_list())]
    columns = max(1, min(columns, len(shown)))
    rows = -(-len(shown) // columns)
    with style.house_style():
        size = (panel[0] * columns * len(kinds) + 0.4, panel[1] * rows + (0.3 if legend else 0.0))
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns * len(kinds), squeeze=False)
        for place, name in enumerate(shown):
            row, first = divmod(place, columns)
            pair = axes[row, first * len(kinds) : (first + 1) * len(kinds)]
            _pair(pair, table.filter(pl.col("covariate") == name), name, kinds, panel[0])
            pair[0].set_ylabel(fold(axis_name(f"mean {target}", target), 0.62 * panel[1]))
        for spare in axes.ravel()[len(shown) * len(kinds) :]:
            spare.set_visible(False)
        if legend:
            legend_below(figure, part_handles(filled=False))
    return figure


def _pair(axes: npt.NDArray[np.object_], rows: pl.DataFrame, name: str, kinds: Sequence[str], width: float) -> None:
    """Panels of one covariate, on the same axes."""
    for ax, kind in zip(axes, kinds, strict=True):
        mine = rows.filter(pl.col("kind") == kind)
        words = _levels(rows)
        if mine["mean"].null_count() == mine.height:
            _say_why(ax, mine, width)
        for side in SIDES:
            here = mine.filter(pl.col("side") == side)
            if words is None:
                _curve(ax, here.sort("x"), side)
            else:
                _levels_of(ax, here, side, words)
        ax.annotate(
            kind,
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 3),
            textcoords="offset points",
            va="bottom",
            fontsize=7.5,
            color=style.MUTED,
        )
        ax.set_xlabel(fold(covariate_name(name), width - 0.2))
        if words is None:
            x = floats(rows.drop_nulls("mean")["x"])
            room = 0.04 * float(np.ptp(x)) if x.size else 0.0
            if room:
                ax.set_xlim(x.min() - room, x.max() + room)
            ax.locator_params(axis="x", nbins=4)
    axes[0].set_title(fold(name, width * len(kinds) - 0.4, 9.5), pad=15.0)  # the kind stands below
    if axes.size > 1:
        axes[1].sharey(axes[0])
        axes[1].tick_params(labelleft=False)
        axes[0].autoscale(axis="y")


def _say_why(ax: Axes, rows: pl.DataFrame, width: float) -> None:
    """The reason in the place of curves that there are none of."""
    told = rows["reason"].drop_nulls() if "reason" in rows.columns else pl.Series([], dtype=pl.String)
    words = str(told[0]) if told.len() else "no value in any bin"
    words = fold(textwrap.shorten(words, _LONGEST_REASON, placeholder=" …"), width - 0.5, 6.5)
    text = ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", fontsize=6.5)
    text.set_in_layout(False)  # a long reason must not take the room of the axes


def _levels(rows: pl.DataFrame) -> list[str] | None:
    """Classes of a covariate that is one of kind, in order of appearance."""
    words = categories(rows)
    if words is None and rows.schema["x"] == pl.String:
        words = [str(word).removeprefix("PFT_") for word in rows["x"]]
    return None if words is None else list(dict.fromkeys(words))


def _curve(ax: Axes, rows: pl.DataFrame, side: str) -> None:
    x, mean, se = (floats(rows[name]) for name in ("x", "mean", "se"))
    colour, dash = (TRAIN, "-") if side == "train" else (TEST, TEST_DASH)
    sure = np.isfinite(se)
    # Solid runs between bins with a standard error, dotted from and to a bin without.
    for start, end in unsure_runs(sure & np.isfinite(mean)):
        ax.plot(
            x[start:end], mean[start:end], color=colour, linestyle=_DOTTED, linewidth=1.1, label=f"_{side} without se"
        )
    ax.plot(x, np.where(sure, mean, np.nan), color=colour, linestyle=dash, linewidth=1.5, label=side, zorder=3)
    alone = _alone(sure)
    if alone.any():
        ax.plot(x[alone], mean[alone], color=colour, linestyle="none", marker="o", markersize=2.5, label="_alone")
    ax.fill_between(x, mean - se, mean + se, color=colour, alpha=0.22, linewidth=0)


def _levels_of(ax: Axes, rows: pl.DataFrame, side: str, words: Sequence[str]) -> None:
    held = categories(rows) or [str(word).removeprefix("PFT_") for word in rows["x"]]
    place = np.array([words.index(word) for word in held], dtype=np.float64) + (-0.14 if side == "train" else 0.14)
    mean, se = floats(rows["mean"]), floats(rows["se"])
    colour, marker = (TRAIN, "o") if side == "train" else (TEST, "s")
    sure = np.isfinite(se)
    ax.errorbar(
        place[sure],
        mean[sure],
        yerr=se[sure],
        color=colour,
        linestyle="none",
        marker=marker,
        markersize=3.4,
        elinewidth=1.2,
        label=side,
    )
    ax.plot(
        place[~sure],
        mean[~sure],
        color=colour,
        linestyle="none",
        marker=marker,
        markersize=3.4,
        markerfacecolor="none",
        label=f"_{side} without se",
    )
    ax.set_xticks(np.arange(len(words)), list(words), rotation=90, fontsize=7)
    ax.set_xlim(-0.6, len(words) - 0.4)


def unsure_runs(sure: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Slices over bins that have no standard error, each with the neighbour on either side."""
    runs: list[tuple[int, int]] = []
    place = 0
    while place < sure.size:
        if sure[place]:
            place += 1
            continue
        end = place
        while end < sure.size and not sure[end]:
            end += 1
        runs.append((max(0, place - 1), min(sure.size, end + 1)))
        place = end
    return runs


def _alone(sure: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Bins with a standard error whose neighbours have none: no line reaches them."""
    padded = np.concatenate([[False], sure, [False]])
    alone: npt.NDArray[np.bool_] = sure & ~padded[:-2] & ~padded[2:]
    return alone
