"""Autocorrelation of fluxes and residuals: how long a tower remembers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import polars as pl

from fluxtrapolation.plots import labels, style
from fluxtrapolation.plots.shift.common import checked, chosen, floats, fold

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ACF_COLUMNS: Final = ("site_id", "series", "scale", "lag", "acf")
LAG_NAMES: Final = {"hourly": "lag (hours)", "daily": "lag (days)", "weekly": "lag (weeks)"}
MOST_TOWERS: Final = 60
"""Thin lines in a panel; of more towers an evenly spaced share is drawn. The median is that of all."""


def acf_panels(
    acf: pl.DataFrame,
    *,
    series: Sequence[str] | None = None,
    scales: Sequence[str] | None = None,
    panel: tuple[float, float] = (2.4, 1.75),
    most: int = MOST_TOWERS,
) -> Figure:
    """Autocorrelation by lag: a row per series, a column per scale; a thin line per tower, thick their median.

    Parameters
    ----------
    acf : polars.DataFrame
        ``site_id, series, scale, lag, acf``; lags in steps of the scale.
    series, scales : sequence of str, optional
        Rows and columns, in this order; all by default.
    panel : (float, float)
        Inches of a panel.
    most : int
        Towers drawn as thin lines.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, there is no row, or an unknown series or scale is asked for.
    """
    from matplotlib.figure import Figure

    table = checked(acf, ACF_COLUMNS, "acf", ("acf",))
    table = checked(table.drop_nulls("acf"), ACF_COLUMNS, "acf")
    rows = chosen(table, "series", series, "acf")
    columns = chosen(table, "scale", scales, "acf") if scales else labels.ordered_scales(table["scale"].unique())
    bottom = min(-0.12, float(floats(table["acf"]).min()) - 0.04)
    with style.house_style():
        figure = Figure(figsize=(panel[0] * len(columns) + 0.2, panel[1] * len(rows) + 0.2), layout="constrained")
        axes = figure.subplots(len(rows), len(columns), squeeze=False, sharey=True)
        for i, name in enumerate(rows):
            for j, scale in enumerate(columns):
                ax = axes[i, j]
                _panel(ax, table.filter(pl.col("series") == name, pl.col("scale") == scale), most, bottom)
                if i == 0 or len(columns) == 1:
                    ax.set_title(f"{scale}, {name}" if len(columns) == len(rows) == 1 else scale)
                if i == len(rows) - 1:
                    ax.set_xlabel(LAG_NAMES.get(scale, "lag"))
            axes[i, 0].set_ylabel(fold(f"autocorrelation of {name}", panel[1] - 0.1))
    return figure


def acf_median(rows: pl.DataFrame) -> pl.DataFrame:
    """``lag, acf, n_sites``: median over towers at every lag that at least half of them reach."""
    found = rows.group_by("lag").agg(pl.col("acf").median(), pl.col("site_id").n_unique().alias("n_sites")).sort("lag")
    return found.filter(2 * pl.col("n_sites") >= rows["site_id"].n_unique())


def _panel(ax: Axes, rows: pl.DataFrame, most: int, bottom: float) -> None:
    ax.axhline(0, color=style.MUTED, linewidth=0.8, zorder=1)
    ticks = [(-0.5, "−0.5"), (0.0, "0"), (0.5, "0.5"), (1.0, "1")]
    ax.set_yticks(*zip(*(pair for pair in ticks if pair[0] >= bottom), strict=True))
    ax.set_ylim(bottom, 1.06)
    if rows.is_empty():
        ax.annotate(
            "no tower has enough data",
            (0.5, 0.5),
            xycoords="axes fraction",
            ha="center",
            fontsize=7.5,
            color=style.MUTED,
        )
        return
    sites = sorted(rows["site_id"].unique().to_list())
    step = max(1, -(-len(sites) // most))
    strength = 0.5 if len(sites) <= 8 else 0.22
    for site in sites[::step]:
        mine = rows.filter(pl.col("site_id") == site).sort("lag")
        ax.plot(
            floats(mine["lag"]),
            floats(mine["acf"]),
            color=style.MUTED,
            linewidth=0.6,
            alpha=strength,
            label=f"_{site}",
            zorder=2,
        )
    middle = acf_median(rows)
    ax.plot(floats(middle["lag"]), floats(middle["acf"]), color=style.GOOD, linewidth=2.0, label="median", zorder=3)
    ax.set_xlim(0, float(floats(rows["lag"]).max()) or 1.0)
    ax.locator_params(axis="x", nbins=6, integer=True)
    count = f"{len(sites)} tower{'s' if len(sites) != 1 else ''}"
    ax.annotate(
        count,
        (1, 1),
        xycoords="axes fraction",
        xytext=(-2, -2),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=7,
        color=style.MUTED,
    )
