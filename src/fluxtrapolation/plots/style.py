"""House style of every figure: colours, one fixed colour per model, type, and how a figure is saved.

Colours are Okabe and Ito's (jfly.uni-koeln.de/color), told apart by all common forms of colour blindness, darkened or
lightened a little where a pale line would vanish on white paper. Models of one family share a hue and differ by dashes,
so that a line is never told by colour alone.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from fluxtrapolation.errors import FluxtrapolationError
from fluxtrapolation.files import write_bytes_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK: Final = "#1b2430"
MUTED: Final = "#5b6675"
RULE: Final = "#c9d0d8"
GRID: Final = "#e7eaee"
LAND: Final = "#e4e1d8"
PAPER: Final = "#ffffff"

GOOD: Final = "#0072b2"
BAD: Final = "#d55e00"

DIVERGING: Final = (BAD, "#f6c9a6", "#fdfdfd", "#9ecae8", GOOD)
"""Worse to better than the baseline; the middle is on par."""
SEQUENTIAL: Final = ("#fdebd3", "#f7bd7f", "#e8853a", "#b04d0c", "#5f2200")
"""Small to large error, ever darker: read also without telling colours apart."""

ROLE_STYLE: Final[Mapping[str, tuple[str, str]]] = {
    # role: colour, marker
    "train": ("#7b8794", "o"),
    "validation": ("#0072b2", "D"),
    "test": ("#d55e00", "o"),
    "by time": ("#009e73", "o"),
}
"""Colour and marker of a tower by its role; ``by time`` is a tower whose years are shared out among the roles."""

OBSERVED: Final = INK
DPI: Final = 200


@dataclass(frozen=True, slots=True)
class LineStyle:
    """Colour and dash pattern of one model's line."""

    colour: str
    dash: tuple[float, ...] = ()

    @property
    def linestyle(self) -> Any:
        """The dash pattern as matplotlib takes it."""
        return (0, self.dash) if self.dash else "-"


_DASHED: Final = (5.0, 2.0)
_DOTTED: Final = (1.5, 1.5)
_DASHDOT: Final = (6.0, 1.8, 1.5, 1.8)

MODEL_STYLE: Final[Mapping[str, LineStyle]] = {
    "constant": LineStyle("#8a94a0", _DOTTED),
    "lr": LineStyle("#4a5565"),
    "ridge": LineStyle("#4a5565", _DASHED),
    "robust-lr": LineStyle("#4a5565", _DASHDOT),
    "xgb": LineStyle("#0072b2"),
    "xgb-conservative": LineStyle("#0072b2", _DASHED),
    "lightgbm": LineStyle("#3aa0dc", _DASHDOT),
    "mlp": LineStyle("#009e73"),
    "gdro": LineStyle("#009e73", _DASHED),
    "coral": LineStyle("#d55e00"),
    "mmd": LineStyle("#b8669a"),
    "mmd-median": LineStyle("#b8669a", _DASHED),
    "lstm": LineStyle("#c98a00"),
    "maxrm-mse": LineStyle("#7a4fa3"),
    "maxrm-regret": LineStyle("#7a4fa3", _DASHED),
}
"""The models of the registry. A model of one's own gets a style from :func:`model_styles`."""

_SPARE: Final = tuple(
    LineStyle(colour, dash)
    for dash in ((), _DASHED, _DASHDOT)
    for colour in ("#b03a5b", "#6b7d1e", "#8c5a2b", "#1f8a9e")
)


def model_styles(models: Iterable[str]) -> dict[str, LineStyle]:
    """Give each model its line style: the fixed one, or for an unknown name one drawn from its spelling.

    An unknown model keeps its style from figure to figure; only where two unknown names fall on the same style does
    the later one (in alphabetical order) move on to the next that is free.
    """
    names = sorted(set(models))
    styles = {name: MODEL_STYLE[name] for name in names if name in MODEL_STYLE}
    taken: set[int] = set()
    for name in names:
        if name in styles:
            continue
        start = zlib.crc32(name.encode()) % len(_SPARE)
        free = [(start + step) % len(_SPARE) for step in range(len(_SPARE))]
        slot = next((i for i in free if i not in taken), start)
        taken.add(slot)
        styles[name] = _SPARE[slot]
    return styles


RC: Final[dict[str, Any]] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 9.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 6.0,
    "axes.labelsize": 8.5,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.linewidth": 0.8,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "text.parse_math": False,  # a model may be called "$x$"
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "xtick.major.size": 3.0,
    "ytick.major.size": 0.0,
    "xtick.minor.size": 0.0,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 2.4,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "figure.dpi": 100,
    "svg.fonttype": "none",  # text stays text: searchable, light, editable
    "svg.hashsalt": "fluxtrapolation",  # the same figure gives the same bytes
    "pdf.fonttype": 42,  # TrueType; journals refuse Type 3
    "ps.fonttype": 42,
    "pdf.use14corefonts": False,
    "path.simplify": True,
}


@contextmanager
def house_style() -> Iterator[None]:
    """Draw in house style inside the ``with`` block, whatever the user's own matplotlib settings are."""
    import matplotlib as mpl

    with mpl.rc_context():
        mpl.rcdefaults()
        settings: Any = mpl.rcParams  # its stubs list every key; older versions have other keys
        settings.update(RC)
        yield


def fixed_margins(figure: Figure, *, left: float, right: float, top: float, bottom: float, gap: float = 0.0) -> None:
    """Set the margins of a figure in inches, so that panels drawn one by one line up (and are drawn twice as fast)."""
    width, height = figure.get_size_inches()
    figure.subplots_adjust(
        left=left / width,
        right=1 - right / width,
        top=1 - top / height,
        bottom=bottom / height,
        hspace=gap,
    )


def svg_text(figure: Figure) -> str:
    """The figure as SVG text, the same bytes every time."""
    buffer = io.StringIO()
    with house_style():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def save(figure: Figure, stem: Path, *, formats: Sequence[str] = ("svg", "png", "pdf")) -> list[Path]:
    """Write the figure to ``stem.svg``, ``stem.png`` and ``stem.pdf``, each whole or not at all.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    stem : pathlib.Path
        Path without an ending; a known ending (``.svg``, ``.png``, ``.pdf``) is taken off.
    formats : sequence of str
        Any of ``svg``, ``png`` (200 dots an inch) and ``pdf`` (TrueType fonts, no Type 3).

    Returns
    -------
    list of pathlib.Path
        What was written, in the order of ``formats``.

    Raises
    ------
    FluxtrapolationError
        For another format.
    DataError
        When the place cannot be written.
    """
    unknown = [name for name in formats if name not in ("svg", "png", "pdf")]
    if unknown:
        raise FluxtrapolationError(f"Figures are saved as svg, png or pdf, not as '{unknown[0]}'.")
    base = stem.with_suffix("") if stem.suffix in (".svg", ".png", ".pdf") else stem
    written = []
    for name in formats:
        path = base.parent / f"{base.name}.{name}"
        buffer = io.BytesIO()
        # Without a date the same figure gives the same bytes.
        metadata: dict[str, Any] = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(name, {})
        with house_style():
            figure.savefig(buffer, format=name, dpi=DPI, metadata=metadata)
        write_bytes_atomic(path, buffer.getvalue())
        written.append(path)
    return written
