"""World map of the towers and of what each is used for in a scenario."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from fluxtrapolation.errors import EvaluationError, examples
from fluxtrapolation.plots import style, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]
Box = tuple[float, float, float, float]
"""West, east, south, north, degrees."""

EXTENTS: Final[dict[str, Box]] = {
    "world": (-180.0, 180.0, -58.0, 84.0),
    "europe": (-11.0, 33.0, 35.0, 70.5),
    "north-america": (-128.0, -65.0, 24.0, 56.0),
}
EXTENT_NAMES: Final = {"world": "World", "europe": "Europe", "north-america": "North America"}
ROLE_NAMES: Final = {"train": "train", "validation": "validation", "test": "test", "by time": "all three, by year"}
_DRAW_ORDER: Final = ("train", "by time", "validation", "test")

# Equal Earth projection (Savric, Patterson and Jenny 2019, doi:10.1080/13658816.2018.1504949), equations 1 and 2.
_A1, _A2, _A3, _A4 = 1.340264, -0.081106, 0.000893, 0.003796


def equal_earth(lon: npt.ArrayLike, lat: npt.ArrayLike, *, middle: float = 0.0) -> tuple[Array, Array]:
    """Project degrees to the Equal Earth plane (unit sphere); equal areas stay equal.

    Parameters
    ----------
    lon, lat : array_like, degrees
    middle : float, degrees
        Longitude of the straight vertical meridian.

    Returns
    -------
    x, y : arrays
        Unit: radii of the sphere. ``x`` within +-2.71, ``y`` within +-1.32.
    """
    half = np.sqrt(3.0) / 2.0
    theta = np.arcsin(half * np.sin(np.radians(lat)))
    squared = theta**2
    sixth = squared**3
    slope = 9 * _A4 * sixth * squared + 7 * _A3 * sixth + 3 * _A2 * squared + _A1
    x = np.radians(np.asarray(lon, dtype=np.float64) - middle) * np.cos(theta) / (half * slope)
    y = theta * (_A4 * sixth * squared + _A3 * sixth + _A2 * squared + _A1)
    return np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)


@cache
def land_rings() -> tuple[tuple[Array, ...], ...]:
    """Land polygons: each a tuple of rings, a ring an array (points, 2) of lon, lat in degrees."""
    text = resources.files("fluxtrapolation.plots").joinpath("resources", "land-110m.json").read_text("utf-8")
    polygons = json.loads(text)["polygons"]
    return tuple(tuple(np.asarray(ring, np.float64).reshape(-1, 2) / 100.0 for ring in rings) for rings in polygons)


def roles_by_site(split_sites: pl.DataFrame, scenario: str) -> pl.DataFrame:
    """One row per tower of a scenario: ``site_id, lat, lon, igbp, role``.

    A tower that stands in several roles (a scenario by years) gets the role ``by time``.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, the scenario has no towers, or a role or coordinate is unusable.
    """
    tables.require(split_sites, tables.SPLIT_COLUMNS, "split sites")
    rows = split_sites.filter(pl.col("scenario") == scenario)
    if rows.is_empty():
        held = ", ".join(map(str, split_sites["scenario"].unique().sort()))
        raise EvaluationError(f"No towers are listed for scenario '{scenario}'. There are: {held or 'none'}.")
    odd = rows.filter(~pl.col("role").is_in(tables.ROLES) | pl.col("role").is_null())
    if odd.height:
        raise EvaluationError(
            f"{odd.height} row(s) of the split sites have a role other than {', '.join(tables.ROLES)}: "
            f"{examples(odd['role'].unique())}."
        )
    lost = rows.filter(pl.col("lat").is_null() | pl.col("lon").is_null())
    if lost.height:
        raise EvaluationError(f"{lost.height} tower(s) lack coordinates: {examples(lost['site_id'])}.")
    return (
        rows.group_by("site_id", maintain_order=True)
        .agg(pl.col("lat", "lon", "igbp").first(), pl.col("role").unique().sort())
        .with_columns(
            pl.when(pl.col("role").list.len() > 1)
            .then(pl.lit("by time"))
            .otherwise(pl.col("role").list.first())
            .alias("role")
        )
    )


def role_counts(split_sites: pl.DataFrame, scenario: str) -> dict[str, int]:
    """Number of towers per role, in the order train, validation, test, by time; absent roles are left out."""
    found = dict(roles_by_site(split_sites, scenario)["role"].value_counts().iter_rows())
    return {role: int(found[role]) for role in ROLE_NAMES if role in found}


def inside(towers: pl.DataFrame, extent: str) -> int:
    """How many towers lie within a named extent."""
    west, east, south, north = EXTENTS[extent]
    return towers.filter(pl.col("lon").is_between(west, east), pl.col("lat").is_between(south, north)).height


def tower_map(
    split_sites: pl.DataFrame, *, scenario: str, extent: str = "world", legend: bool = True, width: float = 7.2
) -> Figure:
    """Map of the towers in Equal Earth projection, coloured by role.

    Parameters
    ----------
    split_sites : polars.DataFrame
        ``scenario, site_id, lat, lon, igbp, role``; a tower may have several roles.
    scenario : str
    extent : {'world', 'europe', 'north-america'}
    legend : bool
        Draw the legend with the number of towers of each role.
    width : float
        Inches.

    Raises
    ------
    MissingColumnError, EvaluationError
        See :func:`roles_by_site`; also an unknown extent.
    """
    from matplotlib.figure import Figure

    if extent not in EXTENTS:
        raise EvaluationError(f"Unknown map extent '{extent}'. There are: {', '.join(EXTENTS)}.")
    towers = roles_by_site(split_sites, scenario)
    box = widened(EXTENTS[extent], towers) if extent == "world" else EXTENTS[extent]
    frame = frame_box(box)
    ratio = float(np.ptp(frame[1]) / np.ptp(frame[0]))
    with style.house_style():
        figure = Figure(figsize=(width, width * ratio + (0.3 if legend else 0.0)), layout="constrained")
        draw_map(figure.subplots(), towers, box)
        if legend:
            figure.legend(loc="outside lower center", ncols=4, handletextpad=0.2, columnspacing=1.6)
    return figure


def draw_map(ax: Axes, towers: pl.DataFrame, box: Box = EXTENTS["world"]) -> None:
    """Draw land and towers (from :func:`roles_by_site`) into a panel."""
    draw_land(ax, box)
    _draw_towers(ax, towers, box)


def widened(box: Box, towers: pl.DataFrame) -> Box:
    """The box, reaching further south where a tower stands below its frame (Antarctica)."""
    west, east, south, north = box
    south = min(south, float(np.min(towers["lat"].to_numpy())) - 2.0)
    return west, east, max(south, -90.0), north


def draw_land(ax: Axes, box: Box = EXTENTS["world"]) -> None:
    """Draw outline and land of a box into a panel and set its limits."""
    frame = frame_box(box)
    _draw_land(ax, frame, box)
    pad = 0.003 * float(np.ptp(frame[0]))
    ax.set_xlim(float(frame[0].min()) - pad, float(frame[0].max()) + pad)
    ax.set_ylim(float(frame[1].min()) - pad, float(frame[1].max()) + pad)
    ax.set_aspect("equal")
    ax.axis("off")


def frame_box(box: Box) -> tuple[Array, Array]:
    """Outline of a box of longitudes and latitudes, projected."""
    west, east, south, north = box
    up, across = np.linspace(south, north, 40), np.linspace(west, east, 40)
    lon = np.concatenate([np.full(40, west), across, np.full(40, east), across[::-1]])
    lat = np.concatenate([up, np.full(40, north), up[::-1], np.full(40, south)])
    return equal_earth(lon, lat, middle=middle_of(box))


def middle_of(box: Box) -> float:
    """Longitude of the straight vertical meridian of a box, degrees."""
    return (box[0] + box[1]) / 2


def _draw_land(ax: Axes, frame: tuple[Array, Array], box: Box) -> None:
    from matplotlib.patches import PathPatch, Polygon
    from matplotlib.path import Path

    outline = Polygon(np.column_stack(frame), closed=True, facecolor="none", edgecolor=style.RULE, linewidth=0.8)
    ax.add_patch(outline)
    vertices, codes = _projected_land(box)
    land = PathPatch(Path(vertices, codes), facecolor=style.LAND, edgecolor="none")
    ax.add_artist(land)  # the limits of the panel do not depend on it
    land.set_clip_path(outline)


@lru_cache(maxsize=8)
def _projected_land(box: Box) -> tuple[Array, npt.NDArray[np.uint8]]:
    """The land of a box as points (n, 2) and the codes of a matplotlib path."""
    from matplotlib.path import Path

    west, east, south, north = box
    vertices: list[Array] = []
    codes: list[int] = []
    margin = 0.0 if east - west > 300 else 8.0
    for rings in land_rings():
        low, high = rings[0].min(axis=0), rings[0].max(axis=0)
        if high[0] < west or low[0] > east or high[1] < south or low[1] > north:
            continue
        for ring in rings:
            # Far outside a regional map only the rough course of the ring matters: bring points to the box's rim.
            lon = np.clip(ring[:, 0], west - margin, east + margin) if margin else ring[:, 0]
            lat = np.clip(ring[:, 1], south - margin, north + margin) if margin else ring[:, 1]
            points = np.column_stack(equal_earth(lon, lat, middle=middle_of(box)))
            keep = np.ones(len(points), dtype=bool)
            keep[1:] = np.any(np.diff(points, axis=0) != 0, axis=1)
            points = points[keep]
            if len(points) < 3:
                continue
            vertices.append(points)
            codes += [int(Path.MOVETO), *[int(Path.LINETO)] * (len(points) - 2), int(Path.CLOSEPOLY)]
    return np.concatenate(vertices), np.asarray(codes, dtype=np.uint8)


def _draw_towers(ax: Axes, towers: pl.DataFrame, box: Box) -> None:
    counts = dict(towers["role"].value_counts().iter_rows())
    west, east, south, north = box
    regional = east - west < 300
    grow = 1.2 if regional else 1.0
    for role in _DRAW_ORDER:
        here = towers.filter(pl.col("role") == role)
        if regional:
            here = here.filter(pl.col("lon").is_between(west, east), pl.col("lat").is_between(south, north))
        if here.is_empty():
            continue
        colour, marker = style.ROLE_STYLE[role]
        x, y = equal_earth(here["lon"].to_numpy(), here["lat"].to_numpy(), middle=middle_of(box))
        size = {"o": 4.6, "D": 4.2}[marker] * grow
        ax.plot(
            x,
            y,
            linestyle="none",
            marker=marker,
            markersize=size,
            markerfacecolor=colour,
            markeredgecolor=style.PAPER,
            markeredgewidth=0.6,
            label=f"{ROLE_NAMES[role]} ({counts[role]})",
            clip_on=False,
        )
