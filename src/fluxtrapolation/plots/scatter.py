"""Observed against predicted site means: what is left when all variation in time is averaged away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.plots import labels, style, tables
from fluxtrapolation.plots.towers import check_site_means, fit_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def site_means(
    means: pl.DataFrame,
    *,
    target: str,
    model: str,
    selection: str = "mean",
    scenarios: Sequence[str] | None = None,
    limits: tuple[float, float] | None = None,
) -> Figure:
    """Observed against predicted means of the test towers, one panel per scenario, with the 1:1 line.

    A dot is one domain: a tower, or one of its years in a scenario by years. Above the line the model is too low. Each
    panel notes R² (squared correlation) and the bias (mean of observed minus predicted).

    Parameters
    ----------
    means : polars.DataFrame
        ``target, scenario, model, selection, site_id, y_true, y_pred`` and, where a domain is a site-year, ``year``;
        the means in the unit of the target.
    target, model, selection : str
        Whose predictions.
    scenarios : sequence of str, optional
        Panels from left to right; all with means by default.
    limits : (float, float), optional
        Ends of both axes, the same in all panels by default.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, or there is nothing to draw.
    """
    from matplotlib.figure import Figure

    rows = check_site_means(means).filter(
        pl.col("target") == target, pl.col("model") == model, pl.col("selection") == selection
    )
    found = labels.ordered_scenarios(rows["scenario"].unique().to_list())
    shown = found if scenarios is None else tuple(name for name in scenarios if name in found)
    rows = rows.filter(pl.col("scenario").is_in(list(shown)))
    if rows.is_empty():
        name = tables.Series(model, selection).label
        raise EvaluationError(f"No site means of {name} for target '{target}': there is nothing to draw.")
    ends = limits if limits is not None else mean_limits(rows)
    colour = style.model_styles([model])[model].colour
    with style.house_style():
        alone = len(shown) == 1
        figure = Figure(figsize=(3.5 * len(shown), 3.35), layout=None if alone else "constrained")
        axes = figure.subplots(1, len(shown), squeeze=False).ravel()
        if alone:
            style.fixed_margins(figure, left=0.62, right=0.12, top=0.24, bottom=0.42)
        for ax, scenario in zip(axes, shown, strict=True):
            _panel(ax, rows.filter(pl.col("scenario") == scenario), colour, ends)
            ax.set_title(scenario)
            ax.set_xlabel(labels.with_unit(f"predicted by {labels.shorten(model)}", target))
            ax.set_ylabel(labels.with_unit("observed", target))
    return figure


def mean_limits(rows: pl.DataFrame) -> tuple[float, float]:
    """Ends of axes that hold all means, observed and predicted, with a little room."""
    both = pl.concat([rows["y_true"], rows["y_pred"].alias("y_true")]).cast(pl.Float64)
    low, high = float(both.min() or 0.0), float(both.max() or 0.0)  # type: ignore[arg-type]
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room


def _panel(ax: Axes, rows: pl.DataFrame, colour: str, ends: tuple[float, float]) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.plot(ends, ends, color=style.MUTED, linewidth=0.9, linestyle=(0, (4, 2)), zorder=1)
    ax.plot(
        rows["y_pred"].to_numpy(),
        rows["y_true"].to_numpy(),
        linestyle="none",
        marker="o",
        markersize=4.4 if rows.height < 150 else 3.4,
        markerfacecolor=colour,
        markeredgecolor=style.PAPER,
        markeredgewidth=0.5,
        alpha=0.9 if rows.height < 150 else 0.7,
    )
    ax.set_xlim(*ends)
    ax.set_ylim(*ends)
    ax.set_aspect("equal", adjustable="box")
    for axis in (ax.xaxis, ax.yaxis):  # the same numbers on both
        axis.set_major_locator(MaxNLocator(6))
    # Points crowd along the 1:1 line, from the lower left to the upper right: the corner above it is the emptiest.
    ax.text(
        0.03,
        0.975,
        fit_of(rows).words().replace(", ", "\n"),
        transform=ax.transAxes,
        ha="left",
        va="top",
        fontsize=7.5,
        linespacing=1.35,
        color=style.MUTED,
    )
