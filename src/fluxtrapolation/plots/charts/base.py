"""House style of interactive charts: configuration, colours of models, and the pieces that several charts share."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

from fluxtrapolation.plots import labels, style
from fluxtrapolation.plots.tables import Series

Spec = dict[str, Any]
"""A Vega-Lite specification, or a part of one: plain dicts, lists, texts and numbers, ready for JSON."""

VEGA_LITE: Final = "https://vega.github.io/schema/vega-lite/v6.json"
FONT: Final = '-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,"Liberation Sans",sans-serif'
PANEL_HEIGHT: Final = 236
_DASH_SCALE: Final = 1.6
_DIGITS: Final = 5


def config() -> Spec:
    """The ``config`` of a chart: the look of :mod:`fluxtrapolation.plots.style`."""
    axis = {
        "labelColor": style.MUTED,
        "titleColor": style.MUTED,
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11.5,
        "titlePadding": 6,
        "gridColor": style.GRID,
        "domainColor": style.RULE,
        "tickColor": style.RULE,
        "tickSize": 4,
        "labelOverlap": "greedy",
    }
    return {
        "background": "transparent",
        "customFormatTypes": True,
        "font": FONT,
        "view": {"stroke": None},
        "axis": axis,
        "axisY": {"ticks": False, "domain": False},
        "legend": {
            "labelColor": style.MUTED,
            "titleColor": style.MUTED,
            "titleFontWeight": "normal",
            "labelFontSize": 11,
            "titleFontSize": 11.5,
        },
        "title": {"anchor": "start", "color": style.INK, "fontSize": 12.5, "fontWeight": "bold", "offset": 8},
        "text": {"color": style.MUTED, "fontSize": 10.5},
    }


def chart(title: str, description: str, *, height: float | Spec = PANEL_HEIGHT) -> Spec:
    """The head of a specification: schema, words, size (as wide as its place) and house style."""
    return {
        "$schema": VEGA_LITE,
        "title": title,
        "description": description,
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"left": 0, "right": 6, "top": 0, "bottom": 0},
        "config": config(),
    }


def model_colour(lines: Sequence[Series], *, legend: bool) -> Spec:
    """Colour of each model by its label, as in every other figure."""
    return {
        "field": "model",
        "type": "nominal",
        "title": None,
        "scale": {"domain": [line.label for line in lines], "range": [look.colour for look in _looks(lines)]},
        "legend": {"orient": "bottom", "columns": 3, "symbolType": "stroke", "symbolSize": 240} if legend else None,
    }


def model_dash(lines: Sequence[Series]) -> Spec:
    """Dash pattern of each model by its label, so that a line is never told by colour alone."""
    return {
        "field": "model",
        "type": "nominal",
        "scale": {
            "domain": [line.label for line in lines],
            "range": [[part * _DASH_SCALE for part in look.dash] or [1, 0] for look in _looks(lines)],
        },
        "legend": None,
    }


def _looks(lines: Sequence[Series]) -> list[style.LineStyle]:
    styles = style.model_styles(line.model for line in lines)
    return [styles[line.model] for line in lines]


def model_choice(lines: Sequence[Series], chosen: str) -> Spec:
    """A menu of models; marks are to be filtered by ``datum.model === shown_model``."""
    names = [line.label for line in lines]
    return {"name": "shown_model", "value": chosen, "bind": {"input": "select", "options": names, "name": "Model "}}


SHOWN_MODEL: Final = {"filter": "datum.model === shown_model"}


def tip(field: str, title: str, kind: str = "nominal") -> Spec:
    """One line of a tooltip."""
    return {"field": field, "type": kind, "title": title}


def short(value: float | None, digits: int = _DIGITS) -> float | None:
    """A number with ``digits`` significant digits: what a screen can show, and light to carry."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")


def shown(value: float | None, target: str, digits: int = 3) -> str:
    """A value with its unit, as a tooltip tells it."""
    unit = labels.target_unit(target)
    return f"{labels.significant(value, digits)} {unit}".rstrip()


def log_values(low: float, high: float) -> list[float]:
    """Round ticks (1, 2, 5 or 1, 3 or powers of ten) on a logarithmic axis, few enough not to touch."""
    decades = math.log10(high / low)
    steps: tuple[float, ...] = (1.0,)
    if decades < 0.6:
        steps = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    elif decades < 1.2:
        steps = (1.0, 2.0, 3.0, 5.0)
    elif decades < 2.6:
        steps = (1.0, 3.0)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    ticks = (float(f"{step * 10.0**power:.3g}") for power in powers for step in steps)
    return [tick for tick in ticks if low <= tick <= high]


def log_axis(low: float, high: float, title: str) -> Spec:
    """Scale and axis of errors: logarithmic, plain numbers."""
    return {
        "type": "quantitative",
        "scale": {"type": "log", "domain": [short(low), short(high)], "nice": False, "clamp": True},
        "axis": {"values": log_values(low, high), "format": ".4~r", "title": title},
    }


def rows_of(names: Sequence[str], rows: Iterable[Sequence[object]]) -> list[dict[str, object]]:
    """Rows as the records that Vega-Lite takes."""
    return [dict(zip(names, row, strict=True)) for row in rows]
