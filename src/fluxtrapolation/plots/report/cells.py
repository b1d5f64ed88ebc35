"""What the tables of the page are made of: cells, rows and blocks, and the colour of a cell."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import polars as pl

from fluxtrapolation.errors import examples
from fluxtrapolation.plots.tables import Series

WHITE_AT: Final = 1.2
"""A cell this many times the column's best is white; better ones are blue, worse ones orange."""
_WORST_AT: Final = 2.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One number of the table: the value, how it is written, its colour (0 to 1 of ``tone``), a remark, an interval."""

    value: float | None
    text: str
    tone: str = "none"
    shade: float = 0.0
    remark: str = ""
    best: bool = False
    between: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A model's row: skill score and rank first, then one cell per (scenario, scale)."""

    series: Series
    selections: str
    is_baseline: bool
    skill: Cell
    rank: Cell
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """One table: a target, a summary, up to three scenarios."""

    target: str
    unit: str
    scenarios: tuple[tuple[str, tuple[str, ...]], ...]
    rows: tuple[Row, ...]
    part: int
    parts: int


@dataclass(frozen=True, slots=True)
class Missing:
    """Cells of one model without a number, and why."""

    target: str
    scenario: str
    model: str
    scales: str
    reason: str
    example: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Domains without a number inside cells that have one."""

    target: str
    scenario: str
    scale: str
    reason: str
    domains: int
    example: str


def shading(value: float, best: float) -> tuple[str, float]:
    """Colour of a cell relative to its column's best: tone ``good`` or ``bad`` and its strength, 0 (white) to 1.

    The best is fully blue, 1.2 times the best is white, twice the best and beyond fully orange.
    """
    if value <= best:
        return "good", 1.0
    if best <= 0:
        return "bad", 1.0
    ratio = value / best
    if ratio <= WHITE_AT:
        return "good", (WHITE_AT - ratio) / (WHITE_AT - 1.0)
    return "bad", min(1.0, math.log(ratio / WHITE_AT) / math.log(_WORST_AT / WHITE_AT))


def reason_column() -> pl.Expr:
    return pl.col("reason").fill_null("no reason given").str.replace_all(";", "; ").alias("reason")


def reasons_of(scores: pl.DataFrame) -> dict[tuple[str, ...], tuple[str, str]]:
    """Reason and example of every cell in which no domain has a number."""
    keys = ("target", "scenario", "model", "selection", "scale")
    empty = scores.filter(pl.col("rmse").is_null())
    if empty.is_empty():
        return {}
    counted = (
        empty.with_columns(reason_column())
        .group_by(*keys, "reason")
        .agg(pl.len().alias("n"), pl.col("domain").min().alias("example"))
        .sort(*keys, "n", "reason", descending=[False] * 5 + [True, False])
    )
    found: dict[tuple[str, ...], list[tuple[str, int, str]]] = {}
    for *key, reason, n, example in counted.iter_rows():
        found.setdefault(tuple(key), []).append((reason, n, example))
    return {key: (_sentence(parts), parts[0][2]) for key, parts in found.items()}


def _sentence(parts: Iterable[tuple[str, int, str]]) -> str:
    return examples([f"{reason.replace('_', ' ')} ({n} domain{'s' if n != 1 else ''})" for reason, n, _ in parts])
