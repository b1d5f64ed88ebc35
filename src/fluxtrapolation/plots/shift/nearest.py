"""How far it is to the nearest training point: in cross-validation, in the test, in the area predicted for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.plots import style
from fluxtrapolation.plots.cdf import cdf_points, log_ticks
from fluxtrapolation.plots.shift.common import (
    TEST,
    TEST_DASH,
    TRAIN,
    checked,
    chosen,
    floats,
    legend_below,
    legend_height,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEAREST_COLUMNS: Final = ("space", "kind", "distance")
KIND_LOOKS: Final[dict[str, tuple[str, str, Any]]] = {
    "train_cv": ("train, held out by tower", TRAIN, "-"),
    "test": ("test to train", TEST, TEST_DASH),
    "domain": ("prediction domain to train", style.GOOD, (0, (1.2, 1.2))),
}
"""Words, colour and line of each kind of distance, in the order of the legend."""
SPACE_NAMES: Final = {
    "feature": ("covariates", "distance in the space of covariates"),
    "geographic": ("on the globe", "distance (km)"),
}
_LOG_FROM: Final = 60.0


def nearest_distances(
    nearest: pl.DataFrame,
    *,
    spaces: Sequence[str] | None = None,
    panel: tuple[float, float] = (3.6, 2.5),
    max_steps: int = 150,
    legend: bool = True,
) -> Figure:
    """Share of points whose nearest training point lies within a distance; a panel per space.

    Where the line of the test lies right of that of the held-out training towers, the test asks for more extrapolation
    than cross-validation by tower does; where that of the prediction domain lies right of the test, so does using the
    model there (the idea of kNNDM, Linnenbrink et al. 2024, doi:10.5194/gmd-17-5897-2024).

    Parameters
    ----------
    nearest : polars.DataFrame
        ``space`` (feature or geographic), ``kind`` (train_cv, test or domain), ``distance`` (km on the globe).
    spaces : sequence of str, optional
        All by default.
    panel : (float, float)
        Inches of a panel.
    max_steps : int
        Steps of a line; of more points evenly spaced ranks are drawn.
    legend : bool

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, there is no row, or an unknown space is asked for.
    """
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    table = checked(nearest, NEAREST_COLUMNS, "nearest", ("distance",)).drop_nulls("distance")
    if table.is_empty():
        raise EvaluationError("The nearest table has no finite distance: there is nothing to draw.")
    shown = chosen(table, "space", spaces, "nearest")
    kinds = [kind for kind in KIND_LOOKS if kind in set(table["kind"].to_list())]
    with style.house_style():
        width = panel[0] * len(shown)
        foot = legend_height([KIND_LOOKS[kind][0] for kind in kinds], width) if legend else 0.0
        figure = Figure(figsize=(width, panel[1] + foot), layout="constrained")
        axes = figure.subplots(1, len(shown), squeeze=False, sharey=True).ravel()
        for ax, space in zip(axes, shown, strict=True):
            _panel(ax, table.filter(pl.col("space") == space), kinds, max_steps)
            title, label = SPACE_NAMES.get(space, (space, f"distance ({space})"))
            ax.set_title(title)
            ax.set_xlabel(label)
        axes[0].set_ylabel("share of points")
        if legend:
            handles = [
                Line2D([], [], color=colour, linestyle=line, label=words)
                for words, colour, line in (KIND_LOOKS[kind] for kind in kinds)
            ]
            legend_below(figure, handles)
    return figure


def _panel(ax: Axes, rows: pl.DataFrame, kinds: Sequence[str], max_steps: int) -> None:
    held = {kind: floats(rows.filter(pl.col("kind") == kind)["distance"]) for kind in kinds}
    pooled = floats(rows["distance"])
    positive = pooled[pooled > 0]
    logarithmic = positive.size == pooled.size and positive.max() / positive.min() > _LOG_FROM
    # A few points on top of one another do not stretch the axis over decades.
    left = float(np.quantile(positive, 0.005)) * 0.9 if logarithmic else 0.0
    right = float(pooled.max()) * (1.15 if logarithmic else 1.03) or 1.0
    for kind, values in held.items():
        if not values.size:
            continue
        words, colour, line = KIND_LOOKS[kind]
        x, share = cdf_points(values.tolist(), max_steps=max_steps)
        ax.step(
            [min(left, x[0]), *x, right], [0.0, *share, 1.0], where="post", color=colour, linestyle=line, label=words
        )
    if logarithmic:
        ax.set_xscale("log")
    ax.set_xlim(left, right)
    if logarithmic:
        log_ticks(ax)
    ax.set_ylim(0, 1.04)
    ax.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25", "50", "75", "100 %"])
