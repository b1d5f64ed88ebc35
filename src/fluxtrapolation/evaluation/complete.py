"""Whether predictions cover the test set they are meant for."""

from __future__ import annotations

from typing import Any

import polars as pl

from fluxtrapolation.errors import EvaluationError, MissingColumnError, examples
from fluxtrapolation.evaluation.intake import canonical_names, foreign_frame, need_columns
from fluxtrapolation.evaluation.predictions import Predictions
from fluxtrapolation.evaluation.times import naive_time
from fluxtrapolation.schema import SITE, TIME


def need_complete(table: Predictions, truth: Any) -> None:
    """Refuse predictions that lack hours of a test set, whole sites above all.

    Parameters
    ----------
    table : Predictions
    truth : Predictions, a part of a split, or any table with ``site_id`` and ``time``
        The hours that must be predicted. Hours beyond them are not refused.

    Raises
    ------
    EvaluationError, MissingColumnError
        When hours are missing, with the sites that lack all of theirs, the number of hours and an example; or when one
        of the tables has no sites.
    """
    if SITE not in table.columns:
        raise MissingColumnError(f"{table.where} has no column '{SITE}', without which it cannot be held to the truth.")
    wanted = _hours(truth)
    held = pl.concat([_plain(piece) for piece in table.batches([SITE, TIME])])
    missing = wanted.join(held, on=[SITE, TIME], how="anti").sort(SITE, TIME)
    if missing.height == 0:
        return
    sites = wanted[SITE].unique()
    absent = sites.filter(~sites.is_in(held[SITE].unique().implode())).sort().to_list()
    whole = f"{len(absent)} of {len(sites)} sites are missing ({examples(absent)}); " if absent else ""
    raise EvaluationError(
        f"{table.where} does not cover the test set: {whole}{missing.height:,} of {wanted.height:,} hours have no "
        f"prediction (first: {missing[SITE][0]} {missing[TIME][0]}). Predict every hour of the test set."
    )


def _plain(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(SITE).cast(pl.String))


def _hours(truth: Any) -> pl.DataFrame:
    """The (site, time) pairs of the truth, each once."""
    if isinstance(truth, Predictions):
        frame = pl.concat([_plain(piece) for piece in truth.batches([SITE, TIME])])
    else:
        # A part of a split gives its rows by `to_frame`.
        frame = foreign_frame(truth.to_frame() if hasattr(truth, "to_frame") else truth)
        frame = frame.rename(canonical_names(frame.columns, "The truth"))
        need_columns(frame.columns, (SITE, TIME), "The truth")
        frame = _plain(frame.select(SITE, naive_time(frame[TIME], "The truth").alias(TIME)))
    return frame.unique()
