"""Where the test towers are that look least like the training data, and which tower is in which part."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.plots import labels, style
from fluxtrapolation.plots.maps import EXTENTS, Box, draw_land, equal_earth, frame_box, middle_of, tower_map, widened
from fluxtrapolation.plots.shift.common import TRAIN, checked, floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PLACE_COLUMNS: Final = ("site_id", "lat", "lon", "part")
INDEX_COLUMNS: Final = ("site_id", "lat", "lon", "index_median")
STEPS: Final = (0.5, 1.0, 1.5, 2.0)
"""Limits of the colours, in multiples of the threshold."""
COLOURS: Final = ("#fdfdfd", "#f7cfa0", "#ec9a4c", "#c45a10", "#5f2200")
"""Ever darker with dissimilarity."""
_NAMES: Final = {"train": "train", "validation": "validation", "test": "test"}


class Step(NamedTuple):
    """One colour of the map: towers with a median index above ``low`` and up to ``high``."""

    low: float
    high: float
    colour: str
    label: str
    towers: int


def dissimilarity_map(
    sites: pl.DataFrame,
    *,
    threshold: float | None = None,
    extent: str = "world",
    legend: bool = True,
    width: float = 7.2,
) -> Figure:
    """Map of the towers: the darker, the less like the training data; small grey dots are towers of the train part.

    Parameters
    ----------
    sites : polars.DataFrame
        ``site_id, lat, lon`` (degrees), ``index_median``, ``part`` (without it all are test towers); towers without a
        place or an index are left out.
    threshold : float, optional
        Index at which the area of applicability ends: colours change at its half, itself, 1.5 and 2 times. Without one
        they part the towers into fifths.
    extent : {'world', 'europe', 'north-america'}
    legend : bool
        Draw the legend below the map.
    width : float
        Inches.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, an unknown extent, or no tower with a place and an index.
    """
    from matplotlib.figure import Figure

    if extent not in EXTENTS:
        raise EvaluationError(f"Unknown map extent '{extent}'. There are: {', '.join(EXTENTS)}.")
    trained, marked = map_towers(sites)
    box = widened(EXTENTS[extent], pl.concat([trained, marked])) if extent == "world" else EXTENTS[extent]
    frame = frame_box(box)
    ratio = float(np.ptp(frame[1]) / np.ptp(frame[0]))
    steps = index_steps(marked, threshold)
    with style.house_style():
        foot = 0.62 if legend else 0.0
        figure = Figure(figsize=(width, width * ratio + foot), layout="constrained")
        ax = figure.subplots()
        draw_land(ax, box)
        _draw(ax, trained, marked, box, steps)
        if legend:
            figure.legend(
                handles=map_handles(steps, trained.height),
                loc="outside lower center",
                ncols=3,
                handletextpad=0.3,
                columnspacing=1.6,
            )
    return figure


def map_towers(sites: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Train towers, and towers with an index, each with a place: ``site_id, lat, lon, index``, one row per tower.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, or no tower has a place and an index.
    """
    table = checked(sites, INDEX_COLUMNS, "sites", ("lat", "lon", "index_median")).drop_nulls(["lat", "lon"])
    part = pl.col("part") if "part" in table.columns else pl.lit("test")
    table = table.select("site_id", "lat", "lon", part.alias("part"), pl.col("index_median").alias("index"))
    marked = table.filter(pl.col("part") != "train").drop_nulls("index").drop("part")
    marked = marked.group_by("site_id", maintain_order=True).agg(pl.col("lat", "lon").first(), pl.col("index").median())
    trained = table.filter(pl.col("part") == "train").drop("part").unique("site_id", maintain_order=True)
    if marked.is_empty():
        raise EvaluationError(
            f"None of the {sites['site_id'].n_unique()} towers has both coordinates and a dissimilarity index: there "
            "is nothing to place on the map."
        )
    return trained, marked


def index_steps(marked: pl.DataFrame, threshold: float | None) -> list[Step]:
    """Colours of the map with their limits, words and number of towers."""
    index = floats(marked["index"])
    if threshold is not None and threshold > 0:
        limits = [step * threshold for step in STEPS]
    else:
        limits = [float(np.quantile(index, q)) for q in (0.2, 0.4, 0.6, 0.8)]
    ends = [-np.inf, *limits, np.inf]
    texts = [labels.significant(limit, 2) for limit in limits]
    words = [f"up to {texts[0]}", *(f"{a}–{b}" for a, b in pairwise(texts)), f"above {texts[-1]}"]
    if threshold is not None and threshold > 0:
        words[1] += " (threshold)"
    return [
        Step(low, high, colour, word, int(((index > low) & (index <= high)).sum()))
        for low, high, colour, word in zip(ends[:-1], ends[1:], COLOURS, words, strict=True)
    ]


def _draw(ax: Axes, trained: pl.DataFrame, marked: pl.DataFrame, box: Box, steps: list[Step]) -> None:
    west, east, south, north = box
    inside = pl.col("lon").is_between(west, east), pl.col("lat").is_between(south, north)
    near = trained.filter(*inside)
    if near.height:
        x, y = equal_earth(near["lon"].to_numpy(), near["lat"].to_numpy(), middle=middle_of(box))
        ax.plot(x, y, linestyle="none", marker="o", markersize=2.6, color=TRAIN, markeredgewidth=0, label="_train")
    for step in steps:
        here = marked.filter(*inside, pl.col("index") > step.low, pl.col("index") <= step.high)
        if here.is_empty():  # a line without points has no box, and the layout collapses
            continue
        x, y = equal_earth(here["lon"].to_numpy(), here["lat"].to_numpy(), middle=middle_of(box))
        ax.plot(
            x,
            y,
            linestyle="none",
            marker="o",
            markersize=5.4,
            markerfacecolor=step.colour,
            markeredgecolor=style.INK,
            markeredgewidth=0.6,
            clip_on=False,
            zorder=4,
            label=f"_{step.label}",
        )


def map_handles(steps: list[Step], trained: int) -> list[Any]:
    """Legend entries of the map, with the number of towers."""
    from matplotlib.lines import Line2D

    dots = [
        Line2D(
            [],
            [],
            linestyle="none",
            marker="o",
            markersize=5.4,
            markerfacecolor=step.colour,
            markeredgecolor=style.INK,
            markeredgewidth=0.6,
            label=f"{step.label} ({step.towers})",
        )
        for step in steps
    ]
    grey = Line2D([], [], linestyle="none", marker="o", markersize=2.6, color=TRAIN, label=f"train ({trained})")
    return [*dots, grey]


def parts_map(sites: pl.DataFrame, *, extent: str = "world", legend: bool = True, width: float = 7.2) -> Figure:
    """Map of the towers by part, as :func:`fluxtrapolation.plots.tower_map` draws it.

    Parameters
    ----------
    sites : polars.DataFrame
        ``site_id, lat, lon`` (degrees), ``part`` (train, validation or test); a tower may stand in several parts.
    extent, legend, width
        As there.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, no tower has a place, or an unknown extent.
    """
    return tower_map(as_split_sites(sites), scenario=_SCENARIO, extent=extent, legend=legend, width=width)


_SCENARIO: Final = "shift"


def as_split_sites(sites: pl.DataFrame) -> pl.DataFrame:
    """The sites table in the columns of the maps of the report: ``scenario, site_id, lat, lon, igbp, role``."""
    table = checked(sites, PLACE_COLUMNS, "sites", ("lat", "lon")).drop_nulls(["lat", "lon"])
    table = checked(table.filter(pl.col("part").is_in(list(_NAMES))), PLACE_COLUMNS, "sites with coordinates")
    igbp = pl.col("igbp").cast(pl.String) if "igbp" in table.columns else pl.lit(None, pl.String)
    return table.select(
        pl.lit(_SCENARIO).alias("scenario"), "site_id", "lat", "lon", igbp.alias("igbp"), pl.col("part").alias("role")
    ).unique(maintain_order=True)
