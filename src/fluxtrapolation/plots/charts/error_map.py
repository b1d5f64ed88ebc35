"""World map of the errors; hovering names the tower, menus choose the model and zoom to a region."""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import numpy as np
import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.scores import Scores
from fluxtrapolation.plots import labels, style, tables
from fluxtrapolation.plots.charts.base import SHOWN_MODEL, Spec, chart, model_choice, rows_of, short, shown, tip
from fluxtrapolation.plots.error_maps import REACH, size_levels
from fluxtrapolation.plots.maps import EXTENT_NAMES, EXTENTS, frame_box, land_rings, middle_of, widened
from fluxtrapolation.plots.towers import placed, tower_errors

_NAMES = ("model", "tower", "igbp", "lat", "lon", "rmse", "skill", "rmse_text", "skill_text", "years")
_AREAS: Final = [{"expr": "clamp(width / 50, 7, 12)"}, {"expr": "clamp(width * 0.33, 80, 210)"}]
"""Areas of the smallest and the largest dot, square pixels; smaller on a phone."""
_NO_AREA: Final = 1e-6  # square degrees
LAND: Final = "land"
"""Name of the data set of the coastline; a page with many maps carries it once."""


@cache
def land_features() -> tuple[Any, ...]:
    """The coastline as GeoJSON features, rings wound as Vega's projections take them (the land on their right)."""
    polygons = []
    for rings in land_rings():
        wound = []
        for place, ring in enumerate(rings):
            x, y = ring[:, 0], ring[:, 1]
            turn = float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))  # negative: clockwise
            if abs(turn) < _NO_AREA:
                continue  # a sliver that the cut at the antimeridian left
            points = ring if (turn < 0) == (place == 0) else ring[::-1]
            wound.append([[float(a), float(b)] for a, b in np.vstack([points, points[:1]]).round(2)])
        if wound:
            polygons.append(wound)
    geometry = {"type": "MultiPolygon", "coordinates": polygons}
    return ({"type": "Feature", "properties": {}, "geometry": geometry},)


def error_map_chart(
    scores: Scores | pl.DataFrame,
    sites: pl.DataFrame,
    *,
    target: str,
    scenario: str,
    model: str | None = None,
    scale: str = "hourly",
    baseline: str | None = None,
    largest: float | None = None,
) -> Spec:
    """Map of the errors at the test towers in Equal Earth projection: the interactive twin of ``error_map``.

    The larger the dot, the larger the RMSE; with a baseline its colour is the skill at the tower, else the RMSE again.
    Menus choose the model (parameter ``shown_model``) and the region (``region``); hovering names the tower.

    Parameters
    ----------
    scores, sites, target, scenario, scale, largest
        As in :func:`fluxtrapolation.plots.error_map`.
    model : str, optional
        Model shown first, by its label; the first one that is not the baseline by default.
    baseline : str, optional
        The model of skill 0.

    Returns
    -------
    dict
        A Vega-Lite specification with its data.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, or there is no tower to draw.
    """
    table = tables.check_scores(scores)
    if baseline is not None and baseline not in table["model"].unique().to_list():
        raise EvaluationError(f"No scores of the baseline '{baseline}': no skill to draw.")
    errors = tower_errors(table, target=target, scenario=scenario, scale=scale, baseline=baseline)
    lines = tuple(line for line in tables.line_series(errors) if line.model != baseline)
    if not lines:
        raise EvaluationError(f"No errors to draw for target '{target}' in scenario '{scenario}' at scale '{scale}'.")
    towers = placed(errors, sites)
    names = [line.label for line in lines]
    first = model if model in names else names[0]
    top = largest if largest is not None else _largest(towers, lines)
    word = "RMSE" if baseline is None else f"skill against {baseline}"
    spec = chart(
        f"{scenario}, {labels.SCALE_NAMES.get(scale, scale)}",
        f"Map of the test towers of scenario {scenario}: the larger a dot, the larger the RMSE of {target}; its colour "
        f"is the {word}. Shown at first: {first}.",
        height=280,
    )
    box = widened(EXTENTS["world"], towers)
    return {
        **spec,
        "params": [model_choice(lines, first), _region_choice()],
        "projection": _projection(box),
        "layer": [
            {
                "data": {"sphere": True},
                "mark": {"type": "geoshape", "fill": None, "stroke": style.RULE, "clip": True, "aria": False},
            },
            {
                "data": {"name": LAND, "values": list(land_features())},
                "mark": {"type": "geoshape", "fill": style.LAND, "stroke": None, "clip": True, "aria": False},
            },
            {
                "data": {"values": rows_of(_NAMES, _records(towers, lines, target))},
                "transform": [SHOWN_MODEL],
                "mark": {"type": "circle", "opacity": 0.95, "stroke": style.INK, "strokeWidth": 0.6, "clip": True},
                "encoding": _encoding(towers, target, baseline, top),
            },
        ],
    }


def _largest(towers: pl.DataFrame, lines: tuple[tables.Series, ...]) -> float:
    shown_models = [line.model for line in lines]
    found = towers.filter(pl.col("model").is_in(shown_models))["rmse"].max()
    return float(found) if isinstance(found, float) else 1.0


def _encoding(towers: pl.DataFrame, target: str, baseline: str | None, top: float) -> Spec:
    titles = [tip("tower", "tower"), tip("igbp", "IGBP class"), tip("model", "model"), tip("rmse_text", "RMSE")]
    more = [tip("skill_text", f"skill against {baseline}")] if baseline is not None else []
    years = [tip("years", "test years", "quantitative")] if (towers["n_domains"] > 1).any() else []
    return {
        "longitude": {"field": "lon", "type": "quantitative"},
        "latitude": {"field": "lat", "type": "quantitative"},
        "size": {
            "field": "rmse",
            "type": "quantitative",
            "scale": {"domain": [0, short(top)], "range": _AREAS, "clamp": True},
            "legend": {
                "title": labels.with_unit("RMSE", target),
                "orient": "bottom",
                "values": size_levels(top),
                "format": ".4~r",
                "symbolFillColor": style.RULE,
                "symbolStrokeColor": style.INK,
            },
        },
        "order": {"field": "rmse", "type": "quantitative", "sort": "descending"},
        "color": _colour(towers, baseline, target),
        "tooltip": [*titles, *more, *years],
        "description": {"field": "tower", "type": "nominal"},
    }


def _colour(towers: pl.DataFrame, baseline: str | None, target: str) -> Spec:
    look = {"orient": "bottom", "gradientLength": 170, "gradientThickness": 9}
    if baseline is not None:
        return {
            "field": "skill",
            "type": "quantitative",
            "scale": {
                "domain": [-REACH, -REACH / 2, 0, REACH / 2, REACH],
                "range": list(style.DIVERGING),
                "clamp": True,
            },
            "legend": {**look, "title": f"skill against {labels.shorten(baseline)}", "values": [-REACH, 0, REACH]},
        }
    high = float(np.quantile(towers["rmse"].to_numpy(), 0.95)) or 1.0
    steps = len(style.SEQUENTIAL) - 1
    return {
        "field": "rmse",
        "type": "quantitative",
        "scale": {
            "domain": [short(high * step / steps) for step in range(steps + 1)],
            "range": list(style.SEQUENTIAL),
            "clamp": True,
        },
        "legend": {**look, "title": labels.with_unit("RMSE", target)},
    }


def _records(towers: pl.DataFrame, lines: tuple[tables.Series, ...], target: str) -> list[tuple[object, ...]]:
    records: list[tuple[object, ...]] = []
    for line in lines:
        mine = towers.filter(pl.col("model") == line.model, pl.col("selection") == line.selection)
        for site, igbp, lat, lon, rmse, skill, domains in mine.select(
            "site_id", "igbp", "lat", "lon", "rmse", "skill", "n_domains"
        ).iter_rows():
            place = (round(lat, 3), round(lon, 3), short(rmse), short(skill))
            texts = (shown(rmse, target), labels.number(skill, 2), domains)
            records.append((line.label, str(site), igbp or "", *place, *texts))
    return records


def _region_choice() -> Spec:
    names = list(EXTENT_NAMES.values())
    return {"name": "region", "value": names[0], "bind": {"input": "select", "options": names, "name": "Region "}}


def _projection(world: tuple[float, float, float, float]) -> Spec:
    """Equal Earth, scaled so that the chosen region fills the panel."""
    boxes = {EXTENT_NAMES[name]: (world if name == "world" else box) for name, box in EXTENTS.items()}
    frames = {name: frame_box(box) for name, box in boxes.items()}

    def by_region(values: dict[str, float]) -> str:
        text = str(short(values[EXTENT_NAMES["world"]], 6))
        for name, value in values.items():
            if name != EXTENT_NAMES["world"]:
                text = f"region === '{name}' ? {short(value, 6)} : {text}"
        return f"({text})"

    wide = by_region({name: float(np.ptp(x)) for name, (x, _) in frames.items()})
    tall = by_region({name: float(np.ptp(y)) for name, (_, y) in frames.items()})
    middle = by_region({name: float(y.max() + y.min()) / 2 for name, (_, y) in frames.items()})
    turn = by_region({name: -middle_of(box) for name, box in boxes.items()})
    scale = f"0.995 * min(width / {wide}, height / {tall})"
    return {
        "type": "equalEarth",
        "rotate": {"expr": f"[{turn}, 0, 0]"},
        "scale": {"expr": scale},
        "translate": {"expr": f"[width / 2, height / 2 + {scale} * {middle}]"},
    }
