"""Summaries and skill as the evaluation computes them, in the shape that figures and the page look them up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from fluxtrapolation.evaluation.summary import skill, summarise

COLUMNS = ("target", "scenario", "model", "selection", "scale", "value", "n_domains", "skill")


@dataclass(frozen=True, slots=True)
class Summary:
    """One summary of the scores.

    Parameters
    ----------
    cells : polars.DataFrame
        ``target, scenario, model, selection, scale, value, n_domains, skill``; skill is null without a baseline.
    overall : mapping of (target, model, selection) to (skill score or None, note or None)
    """

    cells: pl.DataFrame
    overall: dict[tuple[str, str, str], tuple[float | None, str | None]]


def summary_of(
    scores: pl.DataFrame,
    *,
    summary: str,
    scales: Sequence[str] | None = None,
    baseline: str | None = None,
) -> Summary:
    """Summarise RMSE over domains, and compare with a baseline where one is given.

    Parameters
    ----------
    scores : polars.DataFrame
        From :func:`fluxtrapolation.plots.tables.check_scores`.
    summary : str
        ``median``, ``q90``, ...: see :func:`fluxtrapolation.evaluation.summary.get_summary`.
    scales : sequence of str, optional
        All by default.
    baseline : str, optional
        A model of the scores; its selection ``mean`` is used, or the first it has.

    Raises
    ------
    EvaluationError
        One run is there twice (several seeds or profiles), or the baseline is not there.
    """
    table = nameless(scores)
    if baseline is None:
        cells = summarise(table, summary=summary, scales=scales).with_columns(pl.lit(None, pl.Float64).alias("skill"))
        return Summary(_texts(cells), {})
    chosen = baseline_selection(table, baseline)
    found = skill(table, baseline=baseline, baseline_selection=chosen, summary=summary, scales=scales)
    overall = {
        (str(target), str(model), str(selection or "")): (score, note)
        for target, model, selection, score, note in found.overall.select(
            "target", "model", "selection", "skill_score", "note"
        ).iter_rows()
    }
    return Summary(_texts(found.cells), overall)


def nameless(scores: pl.DataFrame) -> pl.DataFrame:
    """Scores as the evaluation takes them: it knows a table without selections by its nulls, figures by empty texts."""
    return scores.with_columns(pl.col("selection").replace("", None))


def baseline_selection(table: pl.DataFrame, baseline: str) -> str:
    """Which selection of the baseline is compared with: ``mean`` where it exists or none is named, else the first."""
    found = table.filter(pl.col("model") == baseline)["selection"].drop_nulls().unique().sort().to_list()
    return "mean" if "mean" in found or not found else str(found[0])


def _texts(cells: pl.DataFrame) -> pl.DataFrame:
    return cells.with_columns(pl.col("selection").fill_null("")).select(COLUMNS)
