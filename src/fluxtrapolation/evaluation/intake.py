"""The border of the evaluation: foreign tables and column names become the schema's, or are refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fluxtrapolation.errors import EvaluationError, MissingColumnError, examples
from fluxtrapolation.schema import DOMAIN, QC, SITE, TIME, Y_PRED, Y_TRUE, canonical_column

KNOWN = (SITE, TIME, DOMAIN, Y_TRUE, Y_PRED, QC)


def is_parquet(file: Path) -> bool:
    """Whether a file is Parquet by its first bytes, whatever its name."""
    with file.open("rb") as handle:
        return handle.read(4) == b"PAR1"


def readable(text: str, limit: int = 40) -> str:
    """A name found in a file, fit for a message: what cannot be printed is escaped, what is long is cut."""
    shown = "".join(
        letter if letter.isprintable() and letter != "\ufffd" else letter.encode("unicode_escape").decode()
        for letter in text[: limit + 1]
    )
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


def canonical_names(columns: Iterable[str], where: str) -> dict[str, str]:
    """Map the columns of a file to the schema's names: ``{"env": "domain", ...}``, only those that change.

    An exact name wins over an alias: a table with ``time`` and ``date`` keeps both. Columns the evaluation does not
    use keep their name.

    Raises
    ------
    EvaluationError
        When two columns are aliases of the same missing one.
    """
    present = list(columns)
    claims: dict[str, list[str]] = {}
    for name in present:
        known = canonical_column(name)
        if known in KNOWN and known != name and known not in present:
            claims.setdefault(known, []).append(name)
    for known, names in claims.items():
        if len(names) > 1:
            raise EvaluationError(
                f"{where}: the columns {', '.join(map(readable, names))} could all be '{known}'. Rename the right one "
                f"to '{known}'."
            )
    return {names[0]: known for known, names in claims.items()}


def need_columns(present: Iterable[str], needed: Iterable[str], where: str) -> None:
    """Refuse a table that lacks columns, naming what it has."""
    held = list(present)
    missing = [name for name in needed if name not in held]
    if missing:
        raise MissingColumnError(
            f"{where} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(missing)}; it has "
            f"{examples(map(readable, held), limit=12) or 'none'}. Rename the columns, or give the table that has them."
        )


def foreign_frame(table: Any) -> pl.DataFrame:
    """Turn any table into a polars frame: polars, pandas, or whatever speaks the Arrow PyCapsule protocol.

    Parameters
    ----------
    table : polars or pandas frame, Arrow table, or mapping of columns

    Raises
    ------
    EvaluationError
        When the object is no table.
    """
    if isinstance(table, pl.DataFrame):
        return table
    if isinstance(table, pl.LazyFrame):
        return table.collect()
    if isinstance(table, Mapping):
        return pl.DataFrame({str(name): _column(values) for name, values in table.items()})
    if type(table).__module__.partition(".")[0] == "pandas" and hasattr(table, "columns"):
        # Column by column, because pandas itself needs pyarrow for the Arrow protocol.
        return pl.DataFrame({str(name): _column(table[name]) for name in table.columns})
    if hasattr(table, "__arrow_c_stream__"):
        return pl.DataFrame(table)
    raise EvaluationError(
        f"A {type(table).__name__} is no table of predictions. Give a polars or pandas frame, an Arrow table, "
        "a mapping of columns, or use Predictions.from_arrays."
    )


def _column(values: Any) -> pl.Series:
    if isinstance(values, pl.Series):
        return values
    dtype = str(getattr(values, "dtype", ""))
    if hasattr(values, "astype") and dtype in ("category", "str", "string"):
        values = values.astype(object)
    array = values.to_numpy() if hasattr(values, "to_numpy") else np.asarray(values)
    if array.dtype.kind == "M" and np.datetime_data(array.dtype)[0] not in ("D", "ms", "us", "ns"):
        array = array.astype("datetime64[us]")
    if array.dtype.kind == "O":
        # pandas marks what is missing by None, NaN, NaT or NA; each differs from itself or is no value at all.
        plain = [None if value is None or type(value).__name__ in ("NAType", "NaTType") else value for value in array]
        plain = [None if isinstance(value, float) and value != value else value for value in plain]
        return pl.Series(plain, strict=True)
    return pl.Series(array.astype(str).tolist() if array.dtype.kind == "U" else array)
