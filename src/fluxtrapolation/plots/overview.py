"""One picture of one result: where the towers stand, and how large the errors are on those held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.scores import Scores
from fluxtrapolation.plots import style, tables
from fluxtrapolation.plots.cdf import draw_cdf, draw_legend
from fluxtrapolation.plots.maps import draw_map, roles_by_site

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def overview(
    scores: Scores | pl.DataFrame,
    split_sites: pl.DataFrame,
    *,
    target: str,
    scenario: str,
    scales: Sequence[str] = ("hourly", "seasonal", "site-mean"),
    title: str | None = None,
) -> Figure:
    """Map of a scenario above the error distributions of a target, for a README, a talk or the front page of a paper.

    Parameters
    ----------
    scores : polars.DataFrame
        As in :func:`fluxtrapolation.plots.error_cdf`.
    split_sites : polars.DataFrame
        As in :func:`fluxtrapolation.plots.tower_map`.
    target, scenario : str
    scales : sequence of str
        Panels below the map; those without a finite value are left out.
    title : str, optional

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, or there is nothing to draw.
    """
    from matplotlib.figure import Figure

    table = tables.check_scores(scores)
    towers = roles_by_site(split_sites, scenario)
    errors = tables.errors_of(table, target=target, scenario=scenario)
    lines = tables.line_series(table.filter(pl.col("target") == target, pl.col("scenario") == scenario))
    styles = style.model_styles(line.model for line in lines)
    by_scale = ((scale, {line: errors[scale, line] for line in lines if (scale, line) in errors}) for scale in scales)
    panels = [(scale, held) for scale, held in by_scale if held]
    if not panels:
        raise EvaluationError(f"No finite RMSE for target '{target}' in scenario '{scenario}' at {', '.join(scales)}.")
    with style.house_style():
        figure = Figure(figsize=(9.6, 7.0), layout="constrained")
        grid = figure.add_gridspec(2, len(panels), height_ratios=[1.75, 1.0])
        above = figure.add_subplot(grid[0, :])
        draw_map(above, towers)
        key = above.legend(
            loc="lower left",
            bbox_to_anchor=(0.004, 0.44),
            bbox_transform=figure.transFigure,
            title=f"scenario {scenario}",
            alignment="left",
            handlelength=1,
        )
        key.set_in_layout(False)  # it stands beside the globe, in the empty corner
        for column, (scale, held) in enumerate(panels):
            draw_cdf(figure.add_subplot(grid[1, column]), target, scale, held, styles)
        draw_legend(figure, lines, styles)
        figure.suptitle(
            title or f"Error of {target} on held-out towers", x=0.012, ha="left", fontsize=11, weight="bold"
        )
    return figure
