"""The tables figures are drawn from: required columns, one protocol, and which lines to draw."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

import polars as pl

from fluxtrapolation.errors import EvaluationError, MissingColumnError, did_you_mean, examples
from fluxtrapolation.evaluation.scores import Scores, as_scores
from fluxtrapolation.plots import labels
from fluxtrapolation.plots.style import MODEL_STYLE

SCORE_COLUMNS: Final = ("target", "scenario", "model", "selection", "scale", "domain", "n_samples", "rmse")
SPLIT_COLUMNS: Final = ("scenario", "site_id", "lat", "lon", "igbp", "role")
SEASONAL_COLUMNS: Final = ("target", "scenario", "model", "selection", "site_id", "observed", "predicted")
RUN_COLUMNS: Final = ("target", "scenario", "model", "selection")
ROLES: Final = ("train", "validation", "test")
SEASON_AXES: Final = ("doy", "month", "doy_or_month")


class Series(NamedTuple):
    """One row of the board, one line of a figure: a model and how its configuration was selected."""

    model: str
    selection: str

    @property
    def label(self) -> str:
        """The model's name, with the selection where it is not the usual ``mean``."""
        return self.model if self.selection in ("", "mean") else f"{self.model} ({self.selection})"


def require(table: pl.DataFrame, columns: Iterable[str], what: str) -> None:
    """Refuse a table that lacks one of ``columns``.

    Raises
    ------
    MissingColumnError
        Names every missing column and lists what exists.
    """
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise MissingColumnError(
            f"The {what} table lacks {len(missing)} column(s): {', '.join(missing)}. It has: "
            f"{', '.join(table.columns)}.{did_you_mean(missing[0], table.columns)}"
        )


def check_scores(scores: Scores | pl.DataFrame) -> pl.DataFrame:
    """Return the table of the scores with text keys free of nulls, after checking columns and protocol.

    Raises
    ------
    MissingColumnError
        A column is missing.
    EvaluationError
        The table is empty, holds two protocols (their numbers are not comparable and never share a table), or a run
        with several seeds (a figure of domains would count each domain several times).
    """
    bare = scores.frame if isinstance(scores, Scores) else scores
    require(bare, SCORE_COLUMNS, "scores")
    if bare.is_empty():
        raise EvaluationError(
            "The scores table has no rows: there is nothing to show. Evaluate some predictions first."
        )
    if "seed" in bare.columns:
        runs = (
            bare.group_by(RUN_COLUMNS)
            .agg(pl.col("seed").unique().sort())
            .filter(pl.col("seed").list.len() > 1)
            .sort(RUN_COLUMNS)
        )
        if runs.height:
            row = runs.row(0, named=True)
            name = " ".join(str(row[one]) for one in RUN_COLUMNS if row[one])
            raise EvaluationError(
                f"{runs.height} runs are there with several seeds, such as {name} with {examples(row['seed'])}. "
                "Figures and reports show one seed: give the runs of one. 'rank', 'compare', 'table' average seeds."
            )
    texts = {"target": "unnamed", "scenario": "unnamed", "model": "unnamed", "selection": ""}
    return as_scores(scores).frame.with_columns(
        *(pl.col(name).fill_null(text) for name, text in texts.items()),
        pl.col("rmse").cast(pl.Float64).fill_nan(None),
    )


def protocol_of(scores: pl.DataFrame) -> str | None:
    """The protocol the scores were computed with, or None where the table does not say."""
    found = scores["protocol"].drop_nulls().unique().to_list()
    return str(found[0]) if found else None


def all_series(scores: pl.DataFrame) -> tuple[Series, ...]:
    """Every (model, selection) of the scores, by name."""
    rows = scores.select("model", "selection").unique().sort("model", "selection").iter_rows()
    return tuple(Series(str(model), str(selection)) for model, selection in rows)


def line_series(scores: pl.DataFrame) -> tuple[Series, ...]:
    """One line per model, in the registry's order: the selection ``mean`` where it exists, else the first by name."""
    chosen: dict[str, Series] = {}
    for series in all_series(scores):
        if series.model not in chosen or series.selection == "mean":
            chosen[series.model] = series
    known = {name: place for place, name in enumerate(MODEL_STYLE)}
    return tuple(sorted(chosen.values(), key=lambda series: (known.get(series.model, len(known)), series.model)))


def errors_of(scores: pl.DataFrame, *, target: str, scenario: str) -> dict[tuple[str, Series], list[float]]:
    """RMSE of every domain by (scale, model), nulls dropped, ascending; cells without a value are absent."""
    grouped = (
        scores.filter(pl.col("target") == target, pl.col("scenario") == scenario, pl.col("rmse").is_not_null())
        .group_by("scale", "model", "selection")
        .agg(pl.col("rmse").sort())
    )
    return {
        (str(scale), Series(str(model), str(selection))): list(values)
        for scale, model, selection, values in grouped.iter_rows()
    }


def season_axis(seasonal: pl.DataFrame) -> tuple[str, str]:
    """Name of the column that holds the place in the year and what it counts, ``doy`` or ``month``.

    Raises
    ------
    MissingColumnError
        When there is none of ``doy``, ``month`` and ``doy_or_month``.
    """
    column = next((name for name in SEASON_AXES if name in seasonal.columns), None)
    if column is None:
        raise MissingColumnError(
            f"The seasonal table needs a column 'doy' (1 to 366) or 'month' (1 to 12). It has: "
            f"{', '.join(seasonal.columns)}."
        )
    if column != "doy_or_month":
        return column, column
    last = seasonal[column].cast(pl.Float64).max()
    return column, "doy" if isinstance(last, float) and last > 12 else "month"


def targets_of(scores: pl.DataFrame) -> tuple[str, ...]:
    """Targets present, in the schema's order."""
    return labels.ordered_targets(scores["target"].unique().to_list())


def scenarios_of(scores: pl.DataFrame) -> tuple[str, ...]:
    """Scenarios present, in the board's order."""
    return labels.ordered_scenarios(scores["scenario"].unique().to_list())


def scales_of(scores: pl.DataFrame, among: Iterable[str] | None = None) -> tuple[str, ...]:
    """Scales present, fine to coarse; with ``among`` only those named there."""
    found = labels.ordered_scales(scores["scale"].unique().to_list())
    if among is None:
        return found
    wanted = set(among)
    return tuple(name for name in found if name in wanted)
