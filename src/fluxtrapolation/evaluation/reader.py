"""Reads predictions piece by piece into arrays and refuses what must not enter the sums."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from fluxtrapolation.errors import EvaluationError, MissingColumnError, examples
from fluxtrapolation.evaluation.blocks import Block, Labels
from fluxtrapolation.evaluation.layout import Layout
from fluxtrapolation.evaluation.predictions import Predictions
from fluxtrapolation.schema import QC, SITE, TIME, Y_PRED, Y_TRUE


class _Fault:
    """Counts bad rows of one kind and remembers the first."""

    def __init__(self) -> None:
        self.count = 0
        self.example = ""

    def note(self, bad: npt.NDArray[np.bool_], piece: pl.DataFrame) -> None:
        found = int(np.count_nonzero(bad))
        if found and not self.count:
            row = piece.row(int(np.argmax(bad)), named=True)
            self.example = ", ".join(f"{name} {row[name]}" for name in piece.columns)
        self.count += found


class Reader:
    """Turns a table of predictions into blocks of arrays.

    Parameters
    ----------
    table : Predictions
    layout : Layout
        Where the domains come from.
    measured_only : bool
        Blank both values of every hour that was not measured, and of every hour that lacks one of them.
    allow_missing : bool
        Leave out rows whose prediction is missing; they are counted in ``missing.count``.
    fill : polars.Expr, optional
        The labels with what is missing filled (see :func:`fill_labels`). Without it, reading stops at the first piece
        that lacks labels, with ``labels_missing`` set.
    """

    def __init__(
        self,
        table: Predictions,
        layout: Layout,
        *,
        measured_only: bool,
        allow_missing: bool,
        fill: pl.Expr | None = None,
    ) -> None:
        self._table, self._layout = table, layout
        self._measured_only, self._allow_missing = measured_only, allow_missing
        self.sites, self.labels = Labels(), Labels()
        self.missing, self._infinite, self._no_site = _Fault(), _Fault(), _Fault()
        self._flag = _Fault()
        if measured_only and QC not in table.columns:
            raise MissingColumnError(
                f"{table.where} has no column '{QC}', which the protocol 'measured' needs. Join it from the store "
                "(--store towers/), or use the protocol 'paper'."
            )
        self._fill = fill
        self.labels_missing = False

    def blocks(self) -> Iterator[Block]:
        """Yield the table piece by piece."""
        label = self._layout.label
        unit = label if label is not None and not self._layout.has_site else SITE
        columns = list(dict.fromkeys([unit, TIME, Y_TRUE, Y_PRED]))
        if label is not None and label not in columns:
            columns.append(label)
        if self._measured_only:
            columns.append(QC)
        for piece in self._table.batches(columns):
            if label is not None and self._fill is None and piece[label].null_count():
                self.labels_missing = True
                return
            if label is not None and self._fill is not None:
                piece = piece.with_columns(self._fill.alias(label))
            if piece.height:
                yield self._block(piece, unit)

    def _block(self, piece: pl.DataFrame, unit: str) -> Block:
        true, pred = _floats(piece[Y_TRUE]), _floats(piece[Y_PRED])
        if not (np.isfinite(true).all() and np.isfinite(pred).all()):
            infinite = np.isinf(true) | np.isinf(pred)
            if infinite.any():
                self._infinite.note(infinite, piece)
                # Refused once all rows are counted; until then they are only kept out of the sums.
                true, pred = np.where(infinite, np.nan, true), np.where(infinite, 0.0, pred)
            absent = np.isnan(pred)
            self.missing.note(absent, piece)
            if self._allow_missing and absent.any():
                keep = ~absent
                piece, true, pred = piece.filter(pl.Series(keep)), true[keep], pred[keep]
        if piece[unit].null_count():
            self._no_site.note(piece[unit].is_null().to_numpy(), piece)
        if self._measured_only:
            used = self._measured(piece) & np.isfinite(true)
            true, pred = np.where(used, true, np.nan), np.where(used, pred, np.nan)
        label = None
        if self._layout.label is not None:
            # Without sites the labels stand in for them.
            label = self.labels.codes(piece[self._layout.label]) if self._layout.has_site else None
        return Block(
            site=self.sites.codes(piece[unit]),
            label=label,
            day=piece[TIME].cast(pl.Date).to_physical().to_numpy(),
            time=piece[TIME].to_physical().to_numpy(),
            true=true,
            pred=pred,
        )

    def _measured(self, piece: pl.DataFrame) -> npt.NDArray[np.bool_]:
        flag = piece[QC]
        good = flag == 1
        odd = (~(good | (flag == 0))).fill_null(True).to_numpy()
        if odd.any():
            self._flag.note(odd, piece)
        return good.fill_null(False).to_numpy()

    def refuse_bad_rows(self) -> None:
        """Raise if any row read so far must not be evaluated, with counts and an example of every kind."""
        where, faults = self._table.where, []
        if self._infinite.count:
            faults.append(f"{self._infinite.count} rows hold infinite values (first: {self._infinite.example})")
        if self.missing.count and not self._allow_missing:
            faults.append(
                f"{self.missing.count} predictions are missing (first: {self.missing.example}); to leave these hours "
                "out on both sides use allow_missing=True (--allow-missing)"
            )
        if self._no_site.count:
            faults.append(f"{self._no_site.count} rows have no site or domain (first: {self._no_site.example})")
        if self._flag.count:
            faults.append(f"{self._flag.count} rows have a {QC} other than 0 or 1 (first: {self._flag.example})")
        if faults:
            raise EvaluationError(f"{where} cannot be evaluated: " + "; ".join(faults) + ".")


def _floats(column: pl.Series) -> npt.NDArray[np.float64]:
    wide = column.cast(pl.Float64)
    return (wide.fill_null(float("nan")) if wide.null_count() else wide).to_numpy()


def fill_labels(table: Predictions, label: str, *, has_site: bool) -> pl.Expr:
    """How to fill missing labels: by the site or the site-year, if that is what all others are.

    Raises
    ------
    EvaluationError
        When the others are of another kind.
    """
    name = pl.col(label).cast(pl.String)
    missing = total = 0
    by_site = by_year = has_site
    site = pl.col(SITE).cast(pl.String)
    year = pl.format("('{}', {})", site, pl.col(TIME).dt.year())
    example: dict[str, Any] = {}
    for piece in table.batches([label, TIME, *([SITE] if has_site and label != SITE else [])]):
        total += piece.height
        gaps = piece[label].null_count()
        if gaps and not missing:
            example = piece.filter(pl.col(label).is_null()).row(0, named=True)
        missing += gaps
        if by_site or by_year:
            agree = piece.select(by_site=(name == site).all(), by_year=(name == year).all()).row(0)
            by_site, by_year = by_site and agree[0], by_year and agree[1]
    if by_site and missing < total:
        return name.fill_null(site)
    if by_year and missing < total:
        return name.fill_null(year)
    raise EvaluationError(
        f"{table.where}: {missing} of {total} labels in the column '{label}' are missing (first: "
        f"{examples(f'{key} {value}' for key, value in example.items())}), and the others are neither the site nor "
        "the site-year, so they cannot be filled. Fill them, or leave out the column and give domain='site'."
    )
