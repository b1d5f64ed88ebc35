"""Error against the distance of a tower to the training data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.scores import Scores
from fluxtrapolation.plots import labels, style, tables
from fluxtrapolation.plots.cdf import draw_legend, log_ticks
from fluxtrapolation.plots.towers import tower_errors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

DISTANCE_COLUMNS: Final = ("site_id", "distance")
_FEWEST_IN_A_BIN: Final = 5


class Bins(NamedTuple):
    """Towers in bins of equal number along the distance: median distance, and quartiles of the error."""

    distance: Array
    low: Array
    middle: Array
    high: Array


def error_by_distance(
    scores: Scores | pl.DataFrame,
    distances: pl.DataFrame,
    *,
    target: str,
    scenarios: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    scale: str = "hourly",
    bins: int = 6,
    label: str = "distance to the training towers",
    legend: bool = True,
) -> Figure:
    """RMSE of every tower against its distance to the training data: points, and the median of each bin.

    Bins hold equally many towers. The line joins their medians; the band reaches from the first to the third quartile
    of the towers in the bin. A tower without a distance is left out.

    Parameters
    ----------
    scores : polars.DataFrame
        Tidy scores: ``target, scenario, model, selection, scale, domain, rmse``, with ``site_id`` where a domain is not
        a tower; a tower's RMSE is the median over its domains.
    distances : polars.DataFrame
        ``site_id, distance`` and, where the distance depends on it, ``scenario``. Any unit; say it in ``label``.
    target : str
    scenarios : sequence of str, optional
        Panels from left to right; all of the target's by default.
    models : sequence of str, optional
        Which models; all by default.
    scale : str
        Temporal scale of the error.
    bins : int
        At most so many bins; fewer where a bin would hold fewer than 5 towers.
    label : str
        Words below the distance axis.
    legend : bool
        Draw the legend below the panels.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, a tower has two distances, or no tower has both a distance and an error.
    """
    from matplotlib.figure import Figure

    tables.require(distances, DISTANCE_COLUMNS, "distances")
    table = tables.check_scores(scores).filter(pl.col("target") == target)
    if models is not None:
        table = table.filter(pl.col("model").is_in(list(models)))
    shown = tables.scenarios_of(table) if scenarios is None else tuple(scenarios)
    panels = {name: _joined(table, distances, target=target, scenario=name, scale=scale) for name in shown}
    panels = {name: rows for name, rows in panels.items() if rows.height}
    if not panels:
        raise EvaluationError(
            f"No tower has both a distance and an RMSE for target '{target}' at scale '{scale}' in "
            f"{', '.join(shown) or 'any scenario'}."
        )
    lines = tables.line_series(pl.concat(list(panels.values())))
    styles = style.model_styles(line.model for line in lines)
    with style.house_style():
        figure = Figure(figsize=(3.5 * len(panels), 2.8 + (0.35 if legend else 0.0)), layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True).ravel()
        for ax, (scenario, rows) in zip(axes, panels.items(), strict=True):
            _panel(ax, rows, lines, styles, bins)
            ax.set_title(scenario)
            ax.set_xlabel(label)
        axes[0].set_yscale("log")
        log_ticks(axes[0], "y")
        axes[0].set_ylabel(labels.with_unit(f"{labels.SCALE_NAMES.get(scale, scale)} RMSE", target))
        if legend:
            draw_legend(figure, lines, styles)
    return figure


def _joined(scores: pl.DataFrame, distances: pl.DataFrame, *, target: str, scenario: str, scale: str) -> pl.DataFrame:
    near = distances.filter(pl.col("scenario") == scenario) if "scenario" in distances.columns else distances
    near = near.select("site_id", pl.col("distance").cast(pl.Float64).fill_nan(None)).drop_nulls()
    twice = near.filter(pl.col("site_id").is_duplicated())
    if twice.height:
        raise EvaluationError(
            f"{twice['site_id'].n_unique()} tower(s) have more than one distance, such as {twice['site_id'][0]}. "
            "Give one row per tower, or a column 'scenario'."
        )
    errors = tower_errors(scores, target=target, scenario=scenario, scale=scale)
    # A logarithmic axis has no place for zero.
    return errors.filter(pl.col("rmse") > 0).join(near, on="site_id", how="inner", maintain_order="left")


def binned(distance: Array, rmse: Array, bins: int) -> Bins:
    """Median distance and quartiles of the error in ``bins`` bins of equal number (fewer for few towers)."""
    order = np.argsort(distance, kind="stable")
    count = max(1, min(bins, distance.size // _FEWEST_IN_A_BIN))
    parts = np.array_split(order, count)
    where = np.array([np.median(distance[part]) for part in parts])
    low, middle, high = (np.array([np.quantile(rmse[part], q) for part in parts]) for q in (0.25, 0.5, 0.75))
    return Bins(where, low, middle, high)


def _panel(
    ax: Axes,
    rows: pl.DataFrame,
    lines: Sequence[tables.Series],
    styles: dict[str, style.LineStyle],
    bins: int,
) -> None:
    for line in lines:
        mine = rows.filter(pl.col("model") == line.model, pl.col("selection") == line.selection)
        if mine.is_empty():
            continue
        distance, rmse = mine["distance"].to_numpy(), mine["rmse"].to_numpy()
        look = styles[line.model]
        ax.plot(
            distance, rmse, linestyle="none", marker="o", markersize=2.6, color=look.colour, alpha=0.35, mew=0, zorder=2
        )
        found = binned(distance, rmse, bins)
        if found.distance.size == 1:  # one bin is no line: a dot and a bar
            ax.errorbar(
                found.distance,
                found.middle,
                yerr=[found.middle - found.low, found.high - found.middle],
                color=look.colour,
                marker="o",
                zorder=4,
            )
            continue
        ax.fill_between(found.distance, found.low, found.high, color=look.colour, alpha=0.12, linewidth=0, zorder=1)
        ax.plot(
            found.distance,
            found.middle,
            color=look.colour,
            linestyle=look.linestyle,
            marker="o",
            markersize=3.6,
            zorder=4,
            label=line.label,
        )
