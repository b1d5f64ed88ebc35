"""Interactive charts inside a page: collected while figures are made, packed into one compressed block of text.

The block holds the chart library and every chart with its data. A small script on the page (``page.js``) unpacks it
when the first chart comes into view, and puts each chart in the place of its picture once that is scrolled to. Without
JavaScript, in old browsers and on paper the pictures stay.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, Final

from fluxtrapolation.plots import style
from fluxtrapolation.plots.charts.base import Spec, config
from fluxtrapolation.plots.charts.error_map import LAND, land_features

BUNDLE: Final = "vega-bundle.min.js"
NOTICE: Final = (
    "Interactive charts: Vega, Vega-Lite and Vega-Embed, BSD-3-Clause, (c) University of Washington Interactive Data "
    "Lab and contributors; drawn from a copy inside this page."
)

TOKENS: Final = {
    style.INK: "var(--ink)",
    style.MUTED: "var(--muted)",
    style.RULE: "var(--rule)",
    style.GRID: "var(--grid)",
    style.LAND: "var(--land)",
    style.PAPER: "var(--paper)",
    style.MODEL_STYLE["lr"].colour: "var(--grey-line)",
}
"""Colours of the house style that are variables of the page, so that figures and charts follow its dark mode."""

_TABLE_FROM: Final = 4
"""Records from which on a table is packed: its names once, then rows of values."""


class Charts:
    """The charts of one page, by name."""

    def __init__(self) -> None:
        self._specs: dict[str, Spec] = {}

    def add(self, spec: Spec) -> str:
        """Keep a chart; returns its name, unique on the page and fit for an HTML attribute."""
        name = f"c{len(self._specs) + 1}"
        self._specs[name] = slim(spec)
        return name

    def __len__(self) -> int:
        return len(self._specs)

    def payload(self) -> str:
        """Library and charts as base64 of gzip of JSON; empty without charts."""
        if not self._specs:
            return ""
        block = {
            "config": _coloured(config()),
            "data": _shared(self._specs),
            "charts": self._specs,
            "library": _library(),
        }
        text = json.dumps(block, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        return base64.b64encode(gzip.compress(text.encode("utf-8"), compresslevel=6, mtime=0)).decode("ascii")


@cache
def _library() -> str:
    return resources.files("fluxtrapolation.plots").joinpath("resources", BUNDLE).read_text("utf-8")


def _shared(specs: dict[str, Spec]) -> dict[str, Any]:
    """Data sets that several charts name: here the coastline, where a chart has one."""
    uses = any(layer.get("data", {}).get("name") == LAND for spec in specs.values() for layer in spec.get("layer", ()))
    return {LAND: list(land_features())} if uses else {}


def slim(spec: Spec) -> Spec:
    """A chart as the page carries it: without what the page has anyway, tables packed, colours following the page.

    Left out are the schema's address, the configuration (the same for all), menus (the page has its own, for all charts
    of a section at once) and the coastline.
    """
    kept = {key: value for key, value in spec.items() if key not in ("$schema", "config", "params")}
    params = [{key: value for key, value in one.items() if key != "bind"} for one in spec.get("params", ())]
    packed: Spec = _coloured(_packed(kept))
    return {**packed, "params": params} if params else packed


def _packed(part: Any) -> Any:
    if isinstance(part, list):
        return [_packed(one) for one in part]
    if not isinstance(part, dict):
        return part
    if part.get("name") == LAND and "values" in part:
        return {"name": LAND}
    return {key: _table(value) if key == "values" else _packed(value) for key, value in part.items()}


def _table(values: Any) -> Any:
    """Records of one shape as their names and rows of values; anything else as it is."""
    if not isinstance(values, list) or len(values) < _TABLE_FROM or not all(isinstance(one, dict) for one in values):
        return values
    names = list(values[0])
    if any(list(one) != names for one in values):
        return values
    return {"names": names, "rows": [list(one.values()) for one in values]}


def _coloured(part: Any) -> Any:
    """House colours as variables of the page."""
    if isinstance(part, dict):
        return {key: value if key == "rows" else _coloured(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_coloured(one) for one in part]
    return TOKENS.get(part, part) if isinstance(part, str) else part


def menu(names: Sequence[str], first: str) -> list[tuple[str, bool]]:
    """Entries of a menu and which one is chosen at first; none where there is nothing to choose."""
    return [(name, name == first) for name in names] if len(names) > 1 else []
