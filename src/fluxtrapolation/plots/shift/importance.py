"""Which covariates tell test from train."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from fluxtrapolation.plots import style
from fluxtrapolation.plots.shift.common import TEST, checked, covariate_name, floats, fold, split_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IMPORTANCE_COLUMNS: Final = ("covariate", "auc_drop", "sd")
_BAR, _LINE = 0.24, 0.15  # inches of a bar with its margins, and of a line of its name


def covariate_importance(
    importance: pl.DataFrame, *, most: int = 15, split: str | None = None, width: float = 5.0
) -> Figure:
    """Bars of the drop in the classifier's AUC when a covariate is shuffled, with one standard deviation over repeats.

    Parameters
    ----------
    importance : polars.DataFrame
        ``covariate, auc_drop, sd``; with a column ``split`` only the rows of ``split`` (by site where there are some)
        are drawn.
    most : int
        At most so many bars, the largest; how many are left out is said below.
    split : {'row', 'site'}, optional
    width : float
        Inches.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing or there is no row.
    """
    from matplotlib.figure import Figure

    table = ranked_importance(importance, split=split)
    shown = table.head(most)
    names = [fold(_both_names(str(name)), width - 0.4, 8.0) for name in shown["covariate"]]
    # Names of several lines get more room above their bar.
    tall = np.array([_BAR + _LINE * (name.count("\n") + 1) for name in names])
    place = np.cumsum(tall) - _BAR / 2
    drop, sd = floats(shown["auc_drop"]), np.nan_to_num(floats(shown["sd"]))
    with style.house_style():
        figure = Figure(figsize=(width, 0.6 + float(tall.sum())), layout="constrained")
        ax = figure.subplots()
        ax.barh(place, drop, height=0.13, color=TEST, alpha=0.85, linewidth=0)
        ax.errorbar(drop, place, xerr=sd, fmt="none", ecolor=style.INK, elinewidth=1.0, capsize=2.0)
        for name, y in zip(names, place, strict=True):
            ax.annotate(
                name,
                (0, y - _BAR / 2),
                xycoords=("axes fraction", "data"),
                xytext=(1, 1),
                textcoords="offset points",
                va="bottom",
                fontsize=8.0,
                bbox={"facecolor": style.PAPER, "edgecolor": "none", "pad": 0.6},
            )
        ax.set_yticks([])
        ax.set_ylim(float(tall.sum()) + 0.06, 0)
        ax.axvline(0, color=style.MUTED, linewidth=0.8)
        ax.locator_params(axis="x", nbins=5)
        left_out = table.height - shown.height
        more = f"; {left_out} smaller ones not shown" if left_out else ""
        ax.set_xlabel(fold(f"AUC lost when shuffled (whisker: 1 sd over repeats{more})", width))
    return figure


def ranked_importance(importance: pl.DataFrame, *, split: str | None = None) -> pl.DataFrame:
    """``covariate, auc_drop, sd`` from the largest drop to the smallest; covariates without a drop are left out."""
    table = checked(importance, IMPORTANCE_COLUMNS, "importance", IMPORTANCE_COLUMNS[1:])
    if "split" in table.columns:
        held = [split_of(str(name)) for name in table["split"]]
        wanted = split or ("site" if "site" in held else held[0])
        table = table.filter(pl.Series([name == wanted for name in held]))
    return checked(
        table.drop_nulls("auc_drop")
        .sort("auc_drop", "covariate", descending=[True, False])
        .select(*IMPORTANCE_COLUMNS),
        IMPORTANCE_COLUMNS,
        "importance",
    )


def _both_names(name: str) -> str:
    """Column name, and what it is where the schema knows it."""
    long = covariate_name(name).rsplit(" (", 1)[0]
    return name if long == name else f"{name}: {long}"
