"""The aggregated value pairs of a scale, before any metric: for scatter plots, cycles and one's own statistics."""

from __future__ import annotations

from typing import Any, Final

import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.days import year_of
from fluxtrapolation.evaluation.evaluate import Protocol, check_protocol, check_scales
from fluxtrapolation.evaluation.layout import Layout, choose_layout
from fluxtrapolation.evaluation.pool import Pool
from fluxtrapolation.evaluation.predictions import DomainKind, Predictions
from fluxtrapolation.evaluation.reader import Reader, fill_labels
from fluxtrapolation.evaluation.scales import Thresholds
from fluxtrapolation.evaluation.stream import How, one_pass
from fluxtrapolation.schema import DOMAIN, SITE, Y_PRED, Y_TRUE

STEP: Final = "step"
"""Column that says where in time a value stands."""


def aggregate(
    predictions: Predictions | Any,
    scale: str,
    *,
    protocol: Protocol = "paper",
    domain: DomainKind | None = None,
    domain_column: str | None = None,
    allow_missing: bool = False,
    thresholds: Thresholds | None = None,
) -> pl.DataFrame:
    """Observed and predicted values of one temporal scale, from which its metrics are computed.

    Parameters
    ----------
    predictions : Predictions, or any table :meth:`Predictions.from_frame` takes
    scale : str
        ``hourly``, ``daily``, ``weekly``, ``monthly``, ``seasonal``, ``anom``, ``iav`` or ``site-mean``.
    protocol, domain, domain_column, allow_missing, thresholds
        As in :func:`evaluate`.

    Returns
    -------
    polars.DataFrame
        ``domain, site_id, year, step, y_true, y_pred``, sorted by domain and step; the first three as in the scores
        (``year`` is set where a domain is a site-year). ``step`` is

        ==================  ==============================================================
        hourly              the hour, ``Datetime("us")``
        daily, anom         the day, ``Date``
        weekly              the Monday, ``Date``
        monthly, iav        the first day of the month, of the year, ``Date``
        seasonal            the day of the year, 1 to 366, ``Int16``
        site-mean           null (``Date``); one row per domain
        ==================  ==============================================================

        ``y_true`` and ``y_pred`` are in the target's unit, differences at anom and iav. Under ``paper`` a value is
        null where too little was observed, and a domain has as many rows as the scores' ``n_samples``; under
        ``measured`` only complete pairs are given, again ``n_samples`` of them. A domain whose metrics are null for
        want of any pair may have no row.

    Raises
    ------
    EvaluationError, MissingColumnError
        As in :func:`evaluate`.

    Warns
    -----
    FluxtrapolationWarning
        When (site, time) pairs are there more than once (not at ``hourly``, where each row is given).
    """
    table = predictions if isinstance(predictions, Predictions) else Predictions.from_frame(predictions)
    limits = check_protocol(protocol, thresholds)
    check_scales([scale])
    layout = choose_layout(table, domain, domain_column)
    resolution = None if table.identity is None else table.identity.resolution
    how = How(layout, limits, measured=protocol == "measured", allow_missing=allow_missing, resolution=resolution)
    if scale == "hourly":
        if resolution == "daily":
            raise EvaluationError("Predictions of daily resolution have no hourly scale. Ask for another scale.")
        frame = _hours(table, how)
    else:

        def values(pool: Pool, rows_are_days: bool) -> pl.DataFrame:
            return pool.values(scale, rows_are_days=rows_are_days)

        frame = pl.concat(one_pass(table, how, values).parts).with_columns(_step(scale))
    if how.measured:
        frame = frame.filter(pl.col(Y_TRUE).is_not_null() & pl.col(Y_PRED).is_not_null())
    return frame.sort(DOMAIN, STEP, maintain_order=True)


def _step(scale: str) -> pl.Expr:
    if scale == "seasonal":
        return pl.col(STEP).cast(pl.Int16)
    if scale == "site-mean":
        return pl.lit(None, dtype=pl.Date).alias(STEP)
    return pl.col(STEP).cast(pl.Int32).cast(pl.Date)


def _hours(table: Predictions, how: How) -> pl.DataFrame:
    """The rows themselves, with their domains."""
    layout = how.layout
    fill = None
    while True:
        reader = Reader(table, layout, measured_only=how.measured, allow_missing=how.allow_missing, fill=fill)
        pieces = [
            pl.DataFrame(
                {
                    "site": block.site,
                    "part": block.label if block.label is not None else year_of(block.day),
                    STEP: pl.Series(block.time).cast(pl.Datetime("us")),
                    Y_TRUE: pl.Series(block.true, nan_to_null=True),
                    Y_PRED: pl.Series(block.pred, nan_to_null=True),
                }
            )
            for block in reader.blocks()
        ]
        if not reader.labels_missing or layout.label is None:
            break
        fill = fill_labels(table, layout.label, has_site=layout.has_site)
    reader.refuse_bad_rows()
    if not any(piece.height for piece in pieces):
        raise EvaluationError("There are no predictions to aggregate: the table has no rows.")
    frame = pl.concat(pieces)
    sites = pl.Series(reader.sites.names, dtype=pl.String)
    labels = pl.Series(reader.labels.names, dtype=pl.String)
    return frame.select(*_names(frame, layout, sites, labels), STEP, Y_TRUE, Y_PRED)


def _names(frame: pl.DataFrame, layout: Layout, sites: pl.Series, labels: pl.Series) -> list[pl.Series]:
    """Columns ``domain``, ``site_id`` and ``year`` of rows with the numbers of their site and label."""
    site = sites.gather(frame["site"]).alias(SITE)
    no_year = pl.Series("year", [None], dtype=pl.Int32).new_from_index(0, frame.height)
    if layout.label is not None and not layout.has_site:
        return [site.alias(DOMAIN), pl.Series(SITE, [None], dtype=pl.String).new_from_index(0, frame.height), no_year]
    if layout.label is not None:
        one_site = frame.select((pl.col("site").n_unique().over("part") == 1).alias("one"))["one"]
        return [labels.gather(frame["part"]).alias(DOMAIN), site.set(~one_site, None), no_year]
    if layout.yearly:
        year = frame["part"].cast(pl.Int32).alias("year")
        return [pl.select(pl.format("{} {}", site, year).alias(DOMAIN)).to_series(), site, year]
    return [site.alias(DOMAIN), site, no_year]
