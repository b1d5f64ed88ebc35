"""What training and drawing add: the spread of a summary between training seeds, and between draws of one rule.

The interval over sites says what other held-out sites of the same scenario would have given. Another training seed, or
another draw of train and test towers by the same rule, changes the number as well. These are other questions, so their
spread stands beside the interval and is not mixed into it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import polars as pl

from fluxtrapolation.errors import EvaluationError, examples
from fluxtrapolation.evaluation.certainty.clusters import CELL
from fluxtrapolation.evaluation.certainty.intervals import intervals
from fluxtrapolation.evaluation.scores import Scores, as_scores, board_order
from fluxtrapolation.schema import BOARD_SCALES

_DRAW: Final = re.compile(r"^(.+)-(?:redraw|draw)-?\d*$")
"""Another draw of a scenario's rule by its name: ``spatial-redraw``, ``warm-draw2``."""


def spread(
    scores: Scores | pl.DataFrame,
    *,
    between: Literal["seed", "draw"] = "seed",
    draws_of: Mapping[str, Sequence[str]] | None = None,
    summary: str = "median",
    scales: Sequence[str] | None = BOARD_SCALES,
    metric: str = "rmse",
    level: float = 0.95,
) -> pl.DataFrame:
    """How a summary varies between training seeds, or between pinned draws of one rule, beside its site interval.

    Parameters
    ----------
    scores : Scores or their table
    between : {"seed", "draw"}
        ``seed``: runs that differ in ``seed`` alone. ``draw``: scenarios that are draws of one rule.
    draws_of : mapping of str to sequence of str, optional
        Which scenarios are draws of one rule, such as ``{"spatial": ["spatial", "spatial-redraw"]}``. By default those
        whose names end in ``-redraw``, ``-draw2`` and so on, with the scenario they are named after.
    summary, scales, metric
        As in :func:`fluxtrapolation.evaluation.summarise`.
    level : float
        Of the site interval.

    Returns
    -------
    polars.DataFrame
        ``target, scenario, scale, model, selection, between, n`` (seeds or draws), ``mean, sd`` (standard deviation
        between them; null for a single one), ``lowest, highest`` of the summaries, and ``site_low, site_high``: mean
        ends of the interval over sites, for comparison.

    Raises
    ------
    EvaluationError
        When nothing is there twice, or ``draws_of`` names unknown scenarios.
    """
    known = as_scores(scores)
    names = ("model", "selection")
    if between == "seed":
        table = intervals(known, summary=summary, scales=scales, metric=metric, by=["seed"], level=level)
    elif between == "draw":
        rule = _rules(known.frame["scenario"].drop_nulls().unique().sort().to_list(), draws_of)
        table = intervals(known, summary=summary, scales=scales, metric=metric, level=level)
        table = table.filter(pl.col("scenario").is_in(list(rule))).with_columns(
            pl.col("scenario").replace_strict(rule, default=None, return_dtype=pl.String)
        )
    else:
        raise EvaluationError(f"between is '{between}'; choose 'seed' or 'draw'.")
    found = table.group_by([*CELL, *names], maintain_order=True).agg(
        pl.lit(between).alias("between"),
        pl.col("value").count().cast(pl.Int64).alias("n"),
        pl.col("value").mean().alias("mean"),
        pl.col("value").std().alias("sd"),
        pl.col("value").min().alias("lowest"),
        pl.col("value").max().alias("highest"),
        pl.col("low").mean().alias("site_low"),
        pl.col("high").mean().alias("site_high"),
    )
    if found.filter(pl.col("n") > 1).is_empty():
        raise EvaluationError(
            f"No run is there with two {between}s. "
            + (
                "Train with several --seed and evaluate all of them."
                if between == "seed"
                else "Name the scenarios that are draws of one rule in draws_of, such as "
                "draws_of={'spatial': ['spatial', 'spatial-redraw']}."
            )
        )
    return found.sort(*board_order())


def _rules(scenarios: Sequence[str], draws_of: Mapping[str, Sequence[str]] | None) -> dict[str, str]:
    """For every scenario that is a draw of a rule, the rule's name."""
    if draws_of is not None:
        listed = {one: rule for rule, several in draws_of.items() for one in several}
        unknown = [one for one in listed if one not in scenarios]
        if unknown:
            raise EvaluationError(
                f"draws_of names {examples(unknown)}, which the scores do not hold; they hold {examples(scenarios)}."
            )
        return listed
    named = {one: found[1] for one in scenarios if (found := _DRAW.match(one))}
    return {**named, **{rule: rule for rule in named.values() if rule in scenarios}}


__all__ = ["spread"]
