"""Whether the domain classifier's probabilities can be taken at their word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl

from fluxtrapolation.plots import style
from fluxtrapolation.plots.shift.common import SPLIT_NAMES, checked, floats, legend_below, splits_in, with_split

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CALIBRATION_COLUMNS: Final = ("split", "bin", "predicted", "observed", "n")
SPLIT_LOOKS: Final = {"row": (style.MUTED, "s", "--"), "site": (style.GOOD, "o", "-")}
"""Colour, marker and line of the two ways of splitting."""
_SMALLEST, _LARGEST = 8.0, 60.0  # square points


def classifier_calibration(
    calibration: pl.DataFrame, *, prior: float | None = None, width: float = 3.7, legend: bool = True
) -> Figure:
    """Observed share of test rows against the predicted probability, one line per way of splitting.

    On the diagonal a probability of 0.7 means that 7 of 10 such rows are test rows. The larger a marker, the more rows.

    Parameters
    ----------
    calibration : polars.DataFrame
        ``split`` (row or site), ``bin, predicted, observed, n``; bins without rows are left out.
    prior : float, optional
        Share of test rows among all, marked by a dotted line.
    width : float
        Inches.
    legend : bool

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing or there is no row.
    """
    from matplotlib.figure import Figure

    table = checked(calibration, CALIBRATION_COLUMNS, "calibration", ("predicted", "observed", "n"))
    table = checked(
        with_split(table).drop_nulls(["predicted", "observed"]).filter(pl.col("n") > 0),
        CALIBRATION_COLUMNS,
        "calibration",
    )
    with style.house_style():
        figure = Figure(figsize=(width, 0.86 * width + (0.3 if legend else 0.0)), layout="constrained")
        ax = figure.subplots()
        ax.plot([0, 1], [0, 1], color=style.RULE, linewidth=1.4, zorder=1, label="as predicted")
        for split in splits_in(table):
            rows = table.filter(pl.col("split") == split).sort("predicted")
            colour, marker, line = SPLIT_LOOKS.get(split, (style.INK, "^", ":"))
            x, y, n = (floats(rows[name]) for name in ("predicted", "observed", "n"))
            ax.plot(x, y, color=colour, linestyle=line, linewidth=1.4, label=SPLIT_NAMES.get(split, split), zorder=2)
            size = _SMALLEST + (_LARGEST - _SMALLEST) * np.sqrt(n / n.max())
            ax.scatter(x, y, s=size, color=colour, marker=marker, linewidths=0, zorder=3)
        if prior is not None:
            ax.axhline(prior, color=style.MUTED, linewidth=0.8, linestyle=(0, (1, 2)), zorder=1)
            ax.annotate(
                "share of test rows",
                (1.0, prior),
                xycoords=("axes fraction", "data"),
                xytext=(-2, 2),
                ha="right",
                textcoords="offset points",
                fontsize=7,
                color=style.MUTED,
            )
        ax.set_xlim(-0.03, 1.03)
        ax.set_ylim(-0.03, 1.03)
        ax.set_xlabel("predicted probability of being a test row")
        ax.set_ylabel("observed share of test rows")
        if legend:
            legend_below(figure, ax.get_legend_handles_labels()[0])
    return figure
