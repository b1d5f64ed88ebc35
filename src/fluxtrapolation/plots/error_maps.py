"""World map of the errors: where a model is good, and where it is worse than the baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.scores import Scores
from fluxtrapolation.plots import labels, style, tables
from fluxtrapolation.plots.maps import EXTENTS, draw_land, equal_earth, frame_box, middle_of, widened
from fluxtrapolation.plots.towers import placed, tower_errors

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap, Normalize
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

REACH: Final = 0.6
"""Skill at which the colours of the map end, on both sides."""
_SLICES: Final = 32
_SMALLEST, _LARGEST = 2.6, 9.0  # diameters in points


def error_map(
    scores: Scores | pl.DataFrame,
    sites: pl.DataFrame,
    *,
    target: str,
    scenario: str,
    model: str,
    selection: str = "mean",
    scale: str = "hourly",
    baseline: str | None = None,
    extent: str = "world",
    legend: bool = True,
    width: float = 7.2,
    largest: float | None = None,
    title: str = "",
) -> Figure:
    """Map of one model's errors at the test towers, in Equal Earth projection.

    The larger the dot, the larger the RMSE. With a baseline the colour is the skill at the tower, 1 - RMSE / RMSE of
    the baseline: blue is better than the baseline, orange worse. Without one it is the RMSE again, darker is larger. In
    a scenario by years a tower's RMSE is the median over its years.

    Parameters
    ----------
    scores : polars.DataFrame
        Tidy scores: ``target, scenario, model, selection, scale, domain, rmse``, with ``site_id`` where a domain is not
        a tower.
    sites : polars.DataFrame
        ``site_id, lat, lon`` (degrees); a table of several rows per tower, such as the split sites, will do.
    target, scenario, model, selection, scale : str
        Which errors.
    baseline : str, optional
        The model of skill 0.
    extent : {'world', 'europe', 'north-america'}
    legend : bool
        Draw colour bar and sizes below the map.
    width : float
        Inches.
    largest : float, optional
        RMSE of the largest dot, to make maps comparable; the largest on the map by default.
    title : str
        Words above the map.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, an unknown extent, or no tower of this model to draw.
    """
    from matplotlib.figure import Figure

    if extent not in EXTENTS:
        raise EvaluationError(f"Unknown map extent '{extent}'. There are: {', '.join(EXTENTS)}.")
    table = tables.check_scores(scores)
    if baseline is not None and baseline not in table["model"].unique().to_list():
        raise EvaluationError(f"No scores of the baseline '{baseline}': no skill to draw.")
    errors = tower_errors(table, target=target, scenario=scenario, scale=scale, baseline=baseline)
    errors = errors.filter(pl.col("model") == model, pl.col("selection") == selection)
    if errors.is_empty():
        name = tables.Series(model, selection).label
        raise EvaluationError(
            f"No finite RMSE of {name} for target '{target}' in scenario '{scenario}' at scale '{scale}'."
        )
    towers = placed(errors, sites)
    box = widened(EXTENTS[extent], towers) if extent == "world" else EXTENTS[extent]
    frame = frame_box(box)
    ratio = float(np.ptp(frame[1]) / np.ptp(frame[0]))
    top = largest if largest is not None else float(towers["rmse"].max() or 1.0)  # type: ignore[arg-type]
    with style.house_style():
        head, foot = 0.26 if title else 0.0, 0.75 if legend else 0.0  # inches
        height = width * ratio + head + foot
        figure = Figure(figsize=(width, height))
        below = foot / height
        ax = figure.add_axes((0.0, below, 1.0, 1.0 - below - head / height))
        draw_land(ax, box)
        if title:
            figure.text(0.006, 1 - 0.3 * head / height, title, va="top", weight="bold", fontsize=9)
        cmap, norm = _colours(towers, skill=baseline is not None)
        _dots(ax, towers, box, cmap, norm, top, skill=baseline is not None)
        if legend:
            word = (
                "RMSE" if baseline is None else f"skill of {labels.shorten(model)} against {labels.shorten(baseline)}"
            )
            text = labels.with_unit(word, target) if baseline is None else word
            _colour_bar(figure, cmap, norm, text, below)
            _sizes(figure, target, top, below)
    return figure


def _colours(towers: pl.DataFrame, *, skill: bool) -> tuple[Colormap, Normalize]:
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    if skill:
        return LinearSegmentedColormap.from_list("skill", list(style.DIVERGING)), Normalize(-REACH, REACH)
    # One tower far off must not make all others pale: the colours end at the 95th percentile.
    high = float(np.quantile(towers["rmse"].to_numpy(), 0.95))
    return LinearSegmentedColormap.from_list("error", list(style.SEQUENTIAL)), Normalize(0.0, high or 1.0)


def dot_size(rmse: Array, top: float) -> Array:
    """Area of a dot in square points: proportional to RMSE between the smallest and the largest dot."""
    share = np.clip(rmse / top, 0.0, 1.0) if top > 0 else np.zeros_like(rmse)
    return np.asarray(_SMALLEST**2 + share * (_LARGEST**2 - _SMALLEST**2), dtype=np.float64)


def _dots(
    ax: Axes,
    towers: pl.DataFrame,
    box: tuple[float, float, float, float],
    cmap: Colormap,
    norm: Normalize,
    top: float,
    *,
    skill: bool,
) -> None:
    west, east, south, north = box
    inside = towers.filter(pl.col("lon").is_between(west, east), pl.col("lat").is_between(south, north))
    shown = inside.sort("rmse", descending=True)  # small dots lie above large ones
    values = shown["skill" if skill else "rmse"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    colours: list[Any] = [
        style.GRID if np.isnan(value) else cmap(norm(float(np.clip(value, norm.vmin, norm.vmax)))) for value in values
    ]
    x, y = equal_earth(shown["lon"].to_numpy(), shown["lat"].to_numpy(), middle=middle_of(box))
    ax.scatter(
        x,
        y,
        s=dot_size(shown["rmse"].to_numpy(), top),
        c=colours,
        edgecolors=style.INK,
        linewidths=0.45,
        clip_on=False,
        zorder=3,
    )


def _colour_bar(figure: Figure, cmap: Colormap, norm: Normalize, text: str, below: float) -> None:
    ax = figure.add_axes((0.06, below * 0.62, 0.4, below * 0.14))
    # Slices rather than matplotlib's colour bar, whose colours would be pixels in a vector file.
    edges = np.linspace(norm.vmin or 0.0, norm.vmax or 1.0, _SLICES + 1)
    colours = [cmap(norm(float(middle))) for middle in (edges[1:] + edges[:-1]) / 2]
    slices = [(float(edge), 1.05 * float(edges[1] - edges[0])) for edge in edges[:-1]]
    ax.broken_barh(slices, (0, 1), facecolors=colours, linewidth=0)
    ax.set_xlim(edges[0], edges[-1])
    ax.set_ylim(0, 1)
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.grid(visible=False)
    ax.tick_params(length=2)
    ax.set_xlabel(text, fontsize=8, labelpad=2)


def _sizes(figure: Figure, target: str, top: float, below: float) -> None:
    from matplotlib.lines import Line2D

    levels = size_levels(top)
    handles = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            markersize=float(np.sqrt(dot_size(np.asarray([level]), top)[0])),
            markerfacecolor=style.RULE,
            markeredgecolor=style.INK,
            markeredgewidth=0.45,
            label=f"{level:g}",
        )
        for level in levels
    ]
    figure.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(0.55, below * 0.55),
        ncols=len(handles),
        title=labels.with_unit("RMSE", target),
        title_fontsize=8,
        alignment="left",
        handletextpad=0.2,
        columnspacing=1.2,
        handlelength=1.2,
    )


def size_levels(top: float, most: int = 3) -> list[float]:
    """Round values for a legend of sizes, up to ``top``: such as 1, 2, 4 for 4.6."""
    if not top > 0:
        return [0.0]
    decade = 10.0 ** np.floor(np.log10(top))
    first = next(step * decade for step in (5.0, 4.0, 2.0, 1.0) if step * decade <= top * (1 + 1e-9))
    return sorted(float(f"{first / 2**step:.12g}") for step in range(most))
