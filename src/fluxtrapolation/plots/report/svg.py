"""Make a figure part of the page: light, free of clashing ids, following the page's light or dark colours."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from functools import lru_cache
from html import escape
from typing import TYPE_CHECKING, Final

from fluxtrapolation.plots import style
from fluxtrapolation.plots.report.interactive import TOKENS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SVG: Final = "{http://www.w3.org/2000/svg}"
_XLINK: Final = "{http://www.w3.org/1999/xlink}href"

_GROW: Final = 1.15
"""A figure fills its place on the page up to this many times its natural size."""
_LONG: Final = 20_000
"""Letters from which on an outline is worth sharing between figures."""
_NUMBER: Final = re.compile(r"-?\d+\.\d+")
_STYLE_DROPPED: Final = ("font-family", "stroke-miterlimit")
_DEFAULTS: Final = {("stroke-linejoin", "miter"), ("opacity", "1"), ("stroke-width", "1")}


class Shapes:
    """Long outlines that several figures of a page share, such as the coastline: carried once, referred to by name."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def name(self, path: str) -> str:
        """Name of an outline on the page."""
        return self._names.setdefault(path, f"shape-{len(self._names) + 1}")

    def markup(self) -> str:
        """Definitions of all outlines, to stand once on the page; empty without any."""
        paths = "".join(f'<path id="{name}" d="{path}"/>' for path, name in self._names.items())
        hidden = 'width="0" height="0" style="position:absolute" aria-hidden="true"'
        return f"<svg {hidden}><defs>{paths}</defs></svg>" if paths else ""


def inline_svg(figure: Figure, name: str, description: str, shapes: Shapes | None = None) -> str:
    """The figure as an ``<svg>`` element for an HTML page.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    name : str
        Prefix of every id inside; must be unique on the page and fit an HTML id.
    description : str
        What the figure shows, in words, for readers who do not see it.
    shapes : Shapes, optional
        Where long outlines are kept; without it every figure has its own.

    Returns
    -------
    str
        Starts with ``<svg``; no XML head, no namespaces, text as text in the page's own font.
    """
    root = ET.fromstring(style.svg_text(figure))
    _drop(root, {f"{_SVG}metadata"})
    used = set(_references(root))
    viewbox = root.get("viewBox", "0 0 100 100")
    width = float(viewbox.split()[2])
    body = "".join(_serialise(child, name, used, shapes) for child in root)
    # The figure's own white sheet is the page's paper.
    return (
        f'<svg class="fig" role="img" viewBox="{_round(viewbox, 1)}" style="max-width:{width * 4 / 3 * _GROW:.0f}px" '
        f'aria-labelledby="{name}-title"><title id="{name}-title">{escape(description)}</title>{body}</svg>'
    )


def _drop(element: ET.Element, tags: set[str]) -> None:
    for child in list(element):
        if child.tag in tags:
            element.remove(child)
        else:
            _drop(child, tags)


def _references(root: ET.Element) -> Iterator[str]:
    for element in root.iter():
        link = element.get(_XLINK)
        if link:
            yield link.lstrip("#")
        for value in element.attrib.values():
            yield from re.findall(r"url\(#([^)]+)\)", value)


def _round(text: str, decimals: int) -> str:
    def shorter(match: re.Match[str]) -> str:
        short = f"{float(match.group()):.{decimals}f}".rstrip("0").rstrip(".")
        return "0" if short == "-0" else short

    return _NUMBER.sub(shorter, text)


def _style(text: str) -> str:
    kept = []
    for part in text.split(";"):
        key, _, value = (piece.strip() for piece in part.partition(":"))
        if not key or key in _STYLE_DROPPED or (key, value) in _DEFAULTS:
            continue
        if key == "font":  # "10px 'DejaVu Sans', ...": keep weight and size, the page gives the family
            size = re.search(r"[\d.]+px", value)
            weight = re.match(r"(?:italic |oblique )?(bold|[1-9]00)\b", value)
            kept += [f"font-weight:{weight.group(1)}"] if weight else []
            kept += [f"font-size:{_round(size.group(), 1)}"] if size else []
            continue
        kept.append(f"{key}:{TOKENS.get(value.lower(), _round(value, 2))}")
    return ";".join(kept)


def _serialise(element: ET.Element, name: str, used: set[str], shapes: Shapes | None) -> str:
    tag = element.tag.removeprefix(_SVG)
    if tag == "style":
        return ""
    attributes = []
    for key, value in element.attrib.items():
        if key == "id":
            if value in used:
                attributes.append(("id", f"{name}-{value}"))
        elif key == _XLINK:
            attributes.append(("href", f"#{name}-{value.lstrip('#')}"))
        elif key == "style":
            text = _style(value)
            attributes += [("style", text)] if text else []
        elif key == "transform" and value.startswith(("rotate(-0 ", "rotate(0 ")):
            continue
        elif key == "d" and shapes is not None and len(value) > _LONG and "id" not in element.attrib:
            tag = "use"
            attributes.append(("href", f"#{shapes.name(_path(value))}"))
        elif key == "d":
            attributes.append(("d", _path(value)))
        else:
            attributes.append((key, _round(value.replace("url(#", f"url(#{name}-"), 2)))
    inner = "".join(
        itertools.chain(
            [escape(element.text.strip("\n"), quote=False) if element.text and element.text.strip() else ""],
            (_serialise(child, name, used, shapes) for child in element),
        )
    )
    if tag in ("g", "defs") and not inner:
        return ""
    if tag == "g" and not attributes:
        return inner
    head = "".join(f' {key}="{escape(value)}"' for key, value in attributes)
    return f"<{tag}{head}>{inner}</{tag}>" if inner else f"<{tag}{head}/>"


@lru_cache(maxsize=16)  # the coastline comes again and again
def _path(data: str) -> str:
    """A path with one decimal (a tenth of a point) and steps written as ``H`` and ``V``."""
    tokens = _round(" ".join(data.split()), 1).split()
    out: list[str] = []
    x = y = ""
    place = 0
    while place < len(tokens):
        letter = tokens[place]
        if letter in "ML":
            new_x, new_y = tokens[place + 1], tokens[place + 2]
            place += 3
            if letter == "L" and new_x == x and new_y == y:
                continue
            if letter == "L" and new_y == y:
                out.append(f"H{new_x}")
            elif letter == "L" and new_x == x:
                out.append(f"V{new_y}")
            else:
                out.append(f"{letter}{new_x} {new_y}")
            x, y = new_x, new_y
        else:
            length = {"z": 1, "Z": 1, "Q": 5, "C": 7}[letter]
            chunk = tokens[place : place + length]
            out.append(letter + " ".join(chunk[1:]))
            if length > 1:
                x, y = chunk[-2], chunk[-1]
            else:
                x = y = ""
            place += length
    return "".join(out)
