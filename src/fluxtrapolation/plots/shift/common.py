"""What the figures of shift share: colours of the two parts, names of covariates, panels, notes below a figure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from fluxtrapolation import schema
from fluxtrapolation.errors import EvaluationError, examples
from fluxtrapolation.plots import labels, style, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = npt.NDArray[np.float64]

TRAIN: Final = style.ROLE_STYLE["train"][0]
TEST: Final = style.ROLE_STYLE["test"][0]
"""Colours of the parts, as on the maps. Train is always drawn solid or filled, test as an outline or dashed, so
that the two are told apart without colour."""
TEST_DASH: Final = (0, (4.0, 1.6))

PFT: Final = "PFT"
"""The plant functional type counts as one covariate, however many one-hot columns it has."""
SPLITS: Final = ("row", "site")
"""How rows were dealt into halves or thirds: row by row, or whole towers together."""
SPLIT_NAMES: Final = {"row": "split by row", "site": "split by site"}
MARGINALS: Final = ("train", "shared", "test")
"""Where the two relations are compared, from the train's side to the test's."""

PANEL: Final = (2.4, 1.95)  # inches
NOTE_SIZE: Final = 7.5
_LETTER: Final = 0.064  # inches, of a note; wide enough for DejaVu Sans


def split_of(text: str) -> str:
    """``row`` or ``site``, from ``row``, ``by_row``, ``by row``; another word as it is."""
    return text.casefold().replace("_", " ").removeprefix("by ").strip()


def with_split(table: pl.DataFrame) -> pl.DataFrame:
    """The table with its column ``split`` as ``row`` or ``site``."""
    return table.with_columns(pl.col("split").cast(pl.String).map_elements(split_of, return_dtype=pl.String))


def splits_in(table: pl.DataFrame) -> tuple[str, ...]:
    """Splits present, by row before by site."""
    found = set(table["split"].to_list())
    return (*(name for name in SPLITS if name in found), *sorted(found.difference(SPLITS)))


def checked(table: pl.DataFrame, columns: Iterable[str], what: str, numbers: Iterable[str] = ()) -> pl.DataFrame:
    """The table with ``numbers`` as floats in which NaN is null.

    Raises
    ------
    MissingColumnError
        A column is missing.
    EvaluationError
        The table has no row.
    """
    tables.require(table, columns, what)
    if table.is_empty():
        raise EvaluationError(f"The {what} table has no rows: there is nothing to draw.")
    present = [name for name in numbers if name in table.columns]
    return table.with_columns(pl.col(present).cast(pl.Float64).fill_nan(None)) if present else table


def chosen(table: pl.DataFrame, column: str, wanted: Sequence[str] | None, what: str) -> tuple[str, ...]:
    """Values of a column in their order of appearance, or those wanted, which must be there.

    Raises
    ------
    EvaluationError
        A wanted value is absent; what exists is named.
    """
    found = [str(name) for name in table[column].unique(maintain_order=True).to_list()]
    if wanted is None:
        return tuple(found)
    absent = [name for name in wanted if name not in found]
    if absent:
        raise EvaluationError(
            f"The {what} table has no {column} {examples([repr(name) for name in absent])}. It has: {', '.join(found)}."
        )
    return tuple(wanted)


def covariate_name(name: str) -> str:
    """Long name of a covariate with its unit, such as ``air temperature (°C)``; the name itself if unknown."""
    if name == PFT:
        return "plant functional type"
    variable = schema.VARIABLES.get(name)
    return axis_name(variable.long_name, name) if variable else name


def axis_name(words: str, target: str) -> str:
    """Words with the unit of a variable in brackets, which stays in one piece at the end of a line."""
    unit = labels.target_unit(target).replace(" ", "\u00a0")
    return f"{words} ({unit})" if unit else words


def fold(text: str, inches: float, size: float = 8.5) -> str:
    """``text`` in lines that fit a width; names without spaces are broken at underscores, or where they must."""
    width = max(8, int(inches / (_LETTER * size / NOTE_SIZE)))
    lines: list[str] = []
    for line in textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=True) or [""]:
        lines += _broken(line, width)
    return "\n".join(lines)


def _broken(line: str, width: int) -> list[str]:
    """A line too long for the width in pieces, at underscores where there are some."""
    pieces = []
    while len(line) > width:
        cut = line.rfind("_", 1, width)
        cut = cut + 1 if cut > width // 3 else width
        pieces.append(line[:cut])
        line = line[cut:]
    return [*pieces, line]


def small_multiples(
    n: int, *, columns: int, panel: tuple[float, float] = PANEL, foot: float = 0.0
) -> tuple[Figure, list[Axes]]:
    """A figure of ``n`` panels in rows of ``columns``; to be made inside the house style."""
    from matplotlib.figure import Figure

    columns = max(1, min(columns, n))
    rows = -(-n // columns)
    figure = Figure(figsize=(panel[0] * columns, panel[1] * rows + foot), layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).ravel())
    for spare in axes[n:]:
        spare.set_visible(False)
    return figure, axes[:n]


def part_handles(*, filled: bool = True) -> list[Any]:
    """Legend entries of train and test: an area and an outline, or two lines."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if filled:
        return [
            Patch(facecolor=TRAIN, alpha=0.55, label="train"),
            Patch(facecolor="none", edgecolor=TEST, linewidth=1.6, label="test"),
        ]
    return [
        Line2D([], [], color=TRAIN, linewidth=1.8, label="train"),
        Line2D([], [], color=TEST, linewidth=1.8, linestyle=TEST_DASH, label="test"),
    ]


def legend_shape(words: Sequence[str], width: float) -> tuple[int, int]:
    """Columns and rows of a legend below a figure of a width in inches, so that nothing is cut off."""
    if not words:
        return 1, 0
    column = 0.062 * 8.5 / NOTE_SIZE * max(len(word) for word in words) + 0.55
    columns = max(1, min(len(words), int((width - 0.1) / column)))
    return columns, -(-len(words) // columns)


def legend_height(words: Sequence[str], width: float) -> float:
    """Inches that :func:`legend_below` takes."""
    rows = legend_shape(words, width)[1]
    return 0.12 + 0.18 * rows if rows else 0.0


def legend_below(figure: Figure, handles: Sequence[Any]) -> None:
    """A legend below the panels in as many rows as it needs."""
    if handles:
        columns, _ = legend_shape([handle.get_label() for handle in handles], float(figure.get_figwidth()))
        figure.legend(handles=list(handles), loc="outside lower center", ncols=columns, columnspacing=1.4)


def say_below(figure: Figure, lines: Sequence[str], *, width: float) -> None:
    """Notes below the panels, wrapped to the width of the figure."""
    if lines:
        figure.supxlabel(
            notes_text(lines, width), x=0.01, ha="left", va="bottom", fontsize=NOTE_SIZE, color=style.MUTED
        )


def notes_text(lines: Sequence[str], width: float) -> str:
    """Notes as they stand below a figure of a width in inches."""
    return "\n".join(fold(line, width - 0.2, NOTE_SIZE) for line in lines)


def notes_height(lines: Sequence[str], width: float) -> float:
    """Inches that :func:`say_below` takes."""
    return 0.13 * (notes_text(lines, width).count("\n") + 1) + 0.06 if lines else 0.0


def floats(column: pl.Series) -> Array:
    """A column as float64, null as NaN."""
    return np.asarray(column.cast(pl.Float64).fill_null(float("nan")).to_numpy(), dtype=np.float64)
