"""Distribution of the error over domains; hovering names the domain and shows it on every model's line."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.scores import Scores
from fluxtrapolation.plots import labels, style, tables
from fluxtrapolation.plots.cdf import cdf_limits
from fluxtrapolation.plots.charts.base import (
    Spec,
    chart,
    log_axis,
    model_colour,
    model_dash,
    rows_of,
    short,
    tip,
)

_NAMES = ("model", "domain", "value", "share")
MAX_POINTS: Final = 400
"""Domains drawn per line: all of the published scenarios, few enough for a browser."""
_SHARE: Spec = {
    "field": "share",
    "type": "quantitative",
    "scale": {"domain": [0, 1.04], "nice": False},
    "axis": {"values": [0, 0.25, 0.5, 0.75, 1], "format": ".0%", "title": "share of domains"},
}


def cdf_chart(
    scores: Scores | pl.DataFrame,
    *,
    target: str,
    scenario: str,
    scale: str,
    legend: bool = True,
    max_points: int = MAX_POINTS,
) -> Spec:
    """Share of domains whose RMSE lies below a value, one line per model: the interactive twin of ``error_cdf``.

    Hovering names the domain, its RMSE and the share of domains below it, and marks the same domain on the lines of all
    models: a tower that is hard for one and easy for another shows at once.

    Parameters
    ----------
    scores : polars.DataFrame
        Tidy scores: ``target, scenario, model, selection, scale, domain, rmse``.
    target, scenario, scale : str
    legend : bool
        Draw the legend below the panel.
    max_points : int
        Domains of a line that can be pointed at; with more, evenly spaced ranks are kept, always with both ends.

    Returns
    -------
    dict
        A Vega-Lite specification with its data.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, or there is nothing to draw.
    """
    table = tables.check_scores(scores)
    lines = tables.line_series(table)
    held = table.filter(
        pl.col("target") == target, pl.col("scenario") == scenario, pl.col("scale") == scale
    ).drop_nulls("rmse")
    if held.is_empty():
        raise EvaluationError(f"No finite RMSE for target '{target}' in scenario '{scenario}' at scale '{scale}'.")
    values = held["rmse"].to_numpy()
    left, right = cdf_limits(values[values > 0])
    records: list[tuple[object, ...]] = []
    for line in lines:
        mine = held.filter(pl.col("model") == line.model, pl.col("selection") == line.selection).sort("rmse", "domain")
        if mine.is_empty():
            continue
        found = mine["rmse"].to_numpy()
        share = np.arange(1, found.size + 1) / found.size
        keep = np.unique(np.linspace(0, found.size - 1, min(found.size, max_points)).round().astype(np.intp))
        # Two ends without a domain make the line reach from edge to edge.
        records.append((line.label, None, short(left), short(float((found <= left).mean()))))
        records += [
            (line.label, str(domain), short(float(value)), short(float(part)))
            for domain, value, part in zip(mine["domain"].gather(keep), found[keep], share[keep], strict=True)
            if value > left
        ]
        records.append((line.label, None, short(right), 1.0))
    words = labels.SCALE_NAMES.get(scale, scale)
    spec = chart(
        words,
        f"Share of domains whose {words} RMSE of {target} lies below a value, in scenario {scenario}: one rising line "
        f"for each of {', '.join(line.label for line in lines)}. The further left, the better.",
    )
    positive = bool((values > 0).any())
    x = {"field": "value", **(log_axis(left, right, labels.with_unit("RMSE", target)) if positive else _flat(target))}
    encoding = {"x": x, "y": _SHARE, "color": model_colour(lines, legend=legend)}
    return {
        **spec,
        "data": {"values": rows_of(_NAMES, records)},
        "layer": [*_summaries(), _count(held), _lines(lines, encoding), _points(target, encoding)],
    }


def _flat(target: str) -> Spec:
    """The axis where all errors are zero."""
    return {
        "type": "quantitative",
        "scale": {"domain": [0, 1]},
        "axis": {"title": labels.with_unit("RMSE", target)},
    }


def _summaries() -> list[Spec]:
    """Dotted lines at the two summaries of the board."""
    layers: list[Spec] = []
    for height, word in ((0.5, "median"), (0.9, "90th percentile")):
        level = {"y": {"datum": height}, "color": {"value": style.MUTED}}
        layers.append(
            {
                "data": {"values": [{}]},
                "mark": {"type": "rule", "strokeDash": [1, 2], "aria": False},
                "encoding": level,
            }
        )
        layers.append(
            {
                "data": {"values": [{}]},
                "mark": {
                    "type": "text",
                    "align": "left",
                    "baseline": "bottom",
                    "dy": -2,
                    "fontSize": 9.5,
                    "text": word,
                },
                "encoding": {**level, "x": {"value": 5}},
            }
        )
    return layers


def _count(held: pl.DataFrame) -> Spec:
    """Number of domains, in the lower right corner, where no line comes."""
    domains = int(held.group_by("model", "selection").len()["len"].max() or 0)  # type: ignore[arg-type]
    return {
        "data": {"values": [{}]},
        "mark": {
            "type": "text",
            "align": "right",
            "baseline": "bottom",
            "dx": -4,
            "dy": -5,
            "text": f"{domains} domain{'s' if domains != 1 else ''}",
        },
        "encoding": {"x": {"value": "width"}, "y": {"value": "height"}, "color": {"value": style.MUTED}},
    }


def _lines(lines: tuple[tables.Series, ...], encoding: Spec) -> Spec:
    return {
        "mark": {"type": "line", "interpolate": "step-after", "strokeWidth": 1.9, "clip": True, "aria": False},
        "encoding": {**encoding, "strokeDash": model_dash(lines)},
    }


def _points(target: str, encoding: Spec) -> Spec:
    unit = labels.target_unit(target)
    near = {"type": "point", "fields": ["domain"], "nearest": True, "on": "pointerover", "clear": "pointerout"}
    return {
        "transform": [{"filter": "datum.domain !== null"}],
        "params": [{"name": "near", "select": near}],
        "mark": {"type": "circle", "size": 58, "aria": False, "stroke": style.PAPER, "strokeWidth": 1},
        "encoding": {
            **encoding,
            "opacity": {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0},
            "tooltip": [
                # Under ``nearest`` Vega-Lite 6.4 finds a text only where it has a format of its own.
                {**tip("domain", "domain", "quantitative"), "formatType": "toString"},
                {**tip("model", "model", "quantitative"), "formatType": "toString"},
                {**tip("value", f"RMSE ({unit})" if unit else "RMSE", "quantitative"), "format": ".3~r"},
                {**tip("share", "domains below", "quantitative"), "format": ".0%"},
            ],
        },
    }
