"""Rows of a tidy table, put in order by site on disk: memory holds one piece of the table, or one site."""

from __future__ import annotations

import tempfile
import weakref
from os import SEEK_END
from pathlib import Path
from threading import Lock
from typing import IO, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.data.satellite.composites import DATE, DAYS, UNIT, VALUE, VARIABLE
from fluxtrapolation.files import plain_error
from fluxtrapolation.schema import SITE

ROW: Final = np.dtype([(DATE, "<i4"), (DAYS, "<i4"), (VARIABLE, "<u4"), (UNIT, "<u4"), (VALUE, "<f8")])
"""24 bytes a row; dates in days since 1970, variables and units by their number (unit 0: none)."""


class Spool:
    """A temporary file of rows, of which those of one site can be read.

    It lies in the folder for temporary files (TMPDIR), has no name there, and vanishes with this object.
    """

    def __init__(self) -> None:
        try:
            self._file: IO[bytes] = tempfile.TemporaryFile(prefix="fluxtrapolation-")  # noqa: SIM115 (held open)
        except OSError as error:
            raise plain_error(error, Path(tempfile.gettempdir())) from error
        weakref.finalize(self, self._file.close)
        self._lock = Lock()
        self._rows = 0
        self._runs: dict[str, list[tuple[int, int]]] = {}
        self._variables: dict[str, int] = {}
        self._units: dict[str, int] = {"": 0}

    def add(self, piece: pl.DataFrame) -> None:
        """Append rows with the columns site, date, variable, value, and days and unit where there are any."""
        if not piece.height:
            return
        piece = piece.sort(SITE, maintain_order=True)
        rows = np.zeros(piece.height, ROW)
        rows[DATE] = piece[DATE].to_physical().to_numpy()
        rows[VALUE] = piece[VALUE].fill_null(float("nan")).to_numpy()
        rows[VARIABLE] = _numbers(piece[VARIABLE], self._variables)
        if DAYS in piece.columns:
            rows[DAYS] = piece[DAYS].fill_null(0).to_numpy()
        if UNIT in piece.columns:
            rows[UNIT] = _numbers(piece[UNIT].fill_null(""), self._units)
        for length, site in piece[SITE].rle().struct.unnest().iter_rows():
            self._runs.setdefault(site, []).append((self._rows, length))
            self._rows += length
        try:
            with self._lock:
                self._file.seek(0, SEEK_END)
                self._file.write(rows.view(np.uint8).data)
        except OSError as error:
            raise plain_error(error, Path(tempfile.gettempdir())) from error

    def site(self, site: str) -> pl.DataFrame:
        """All rows of a site in the order in which they came: date, days (0: not said), variable, unit, value."""
        with self._lock:
            parts = [self._read(first, count) for first, count in self._runs.get(site, ())]
        rows = np.concatenate(parts) if parts else np.zeros(0, ROW)
        return pl.DataFrame(
            {
                DATE: pl.Series(rows[DATE], dtype=pl.Int32).cast(pl.Date),
                DAYS: pl.Series(rows[DAYS], dtype=pl.Int32),
                VARIABLE: _names(rows[VARIABLE], self._variables),
                UNIT: _names(rows[UNIT], self._units).replace("", None),
                VALUE: pl.Series(np.ascontiguousarray(rows[VALUE]), dtype=pl.Float64).fill_nan(None),
            }
        )

    def _read(self, first: int, count: int) -> NDArray[np.void]:
        self._file.seek(first * ROW.itemsize)
        return np.frombuffer(self._file.read(count * ROW.itemsize), ROW)


def _numbers(names: pl.Series, known: dict[str, int]) -> NDArray[np.uint32]:
    """The numbers of names; new names get the next ones."""
    for name in names.unique(maintain_order=True).to_list():
        known.setdefault(name, len(known))
    return np.asarray(names.replace_strict(known, return_dtype=pl.UInt32).to_numpy())


def _names(numbers: NDArray[np.uint32], known: dict[str, int]) -> pl.Series:
    return pl.Series(list(known), dtype=pl.String).gather(pl.Series(np.ascontiguousarray(numbers), dtype=pl.UInt32))
