"""From predictions to scores: eight scales, all metrics, one row per (scale, domain)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import polars as pl

from fluxtrapolation.errors import EvaluationError, did_you_mean
from fluxtrapolation.evaluation.accumulate import Accumulator
from fluxtrapolation.evaluation.layout import choose_layout
from fluxtrapolation.evaluation.metrics import PUBLISHED, get_metric
from fluxtrapolation.evaluation.pool import Pool
from fluxtrapolation.evaluation.predictions import DomainKind, Identity, Predictions
from fluxtrapolation.evaluation.reader import Reader, warn_of_duplicates
from fluxtrapolation.evaluation.scales import PUBLISHED_THRESHOLDS, Thresholds
from fluxtrapolation.evaluation.scores import Scores
from fluxtrapolation.schema import SCALES, SITE

Protocol = Literal["paper", "measured"]
PROTOCOLS: Final = ("paper", "measured")


def evaluate(
    predictions: Predictions | Any,
    *,
    protocol: Protocol = "paper",
    domain: DomainKind | None = None,
    domain_column: str | None = None,
    target: str | None = None,
    scenario: str | None = None,
    model: str | None = None,
    selection: str | None = None,
    allow_missing: bool = False,
    thresholds: Thresholds | None = None,
    metrics: Iterable[str] = PUBLISHED,
    scales: Sequence[str] = SCALES,
) -> Scores:
    """Score predictions at every temporal scale, one row per (scale, domain).

    Predictions with an identity are scored by the domains of their scenario (a site-year in ``temporal`` and in
    designed scenarios of years, a site elsewhere); a domain column in them is not read. A bare table is scored by
    ``domain_column``, else by its column ``domain`` if it has one, else by site. The scales seasonal, anom and iav
    always group by site where there is a ``site_id``.

    Parameters
    ----------
    predictions : Predictions, or any table :meth:`Predictions.from_frame` takes
    protocol : {"paper", "measured"}
        ``paper``: every row counts, as published. ``measured``: only hours with ``qc_mask`` 1, observed and predicted
        values used or dropped together.
    domain : {"site", "site-year"}, optional
        What one domain is, for a table without identity. Site-years are labelled ``AU-ASM 2019``.
    domain_column : str, optional
        Column whose labels are the domains, for a table without identity. Labels are returned unchanged.
    target, scenario, model, selection : str, optional
        Names for a table without identity, free text.
    allow_missing : bool
        Leave out the hours whose prediction is missing instead of refusing them; ``meta`` keeps their number.
    thresholds : Thresholds, optional
        Only for ``measured``; ``paper`` has the published ones.
    metrics : iterable of str
        Names of registered metrics.
    scales : sequence of str
        Which scales.

    Returns
    -------
    Scores
        ``n_samples`` counts the entries of a scale under ``paper`` (those without an observation included) and the
        pairs used under ``measured``. Undefined values are null and ``reason`` says why: ``no_observations``,
        ``too_few_hours``, ``too_few_days``, ``too_few_years``, ``single_year``, ``zero_variance``, ``zero_mean``.

    Raises
    ------
    EvaluationError, MissingColumnError
        On missing or infinite predictions, infinite observations, sites or domains that are missing, contradictory
        domains, an unknown protocol, metric or scale, or a table without rows.

    Warns
    -----
    FluxtrapolationWarning
        When (site, time) pairs are there more than once; each row counts.
    """
    table = predictions if isinstance(predictions, Predictions) else Predictions.from_frame(predictions)
    limits = _check_protocol(protocol, thresholds)
    wanted = _check_scales(scales)
    names = tuple(metrics)
    for name in names:
        get_metric(name)
    who = _who(table, target=target, scenario=scenario, model=model, selection=selection)
    layout = choose_layout(table, domain, domain_column)
    measured = protocol == "measured"
    reader = Reader(table, layout, measured_only=measured, allow_missing=allow_missing)
    gathered = Accumulator(yearly=layout.yearly)
    for block in reader.blocks():
        gathered.add(block)
    reader.refuse_bad_rows()
    if not gathered.in_order and SITE in table.columns:
        warn_of_duplicates(table)
    resolution = None if table.identity is None else table.identity.resolution
    pool = Pool(
        gathered, layout, reader.sites.names, reader.labels.names, limits, paired=measured, resolution=resolution
    )
    parts = [part for scale in SCALES if scale in wanted and (part := pool.rows(scale, names)) is not None]
    if not parts:
        raise EvaluationError("Predictions of daily resolution have no hourly scale. Ask for the other scales.")
    how = {
        "where": table.where,
        "domain": layout.name,
        "rows": gathered.rows,
        "hours_left_out": reader.missing.count,
        "rows_are_days": pool.rows_are_days,
    }
    return Scores.of_run(pl.concat(parts), who, protocol=protocol, thresholds=limits.short(), how=how)


def _check_protocol(protocol: str, thresholds: Thresholds | None) -> Thresholds:
    if protocol not in PROTOCOLS:
        raise EvaluationError(
            f"There is no protocol '{protocol}'.{did_you_mean(protocol, PROTOCOLS)} Choose from {', '.join(PROTOCOLS)}."
        )
    if thresholds is None:
        return PUBLISHED_THRESHOLDS
    if protocol == "paper" and thresholds != PUBLISHED_THRESHOLDS:
        raise EvaluationError(
            "The protocol 'paper' has the published thresholds; other thresholds go with protocol='measured'."
        )
    return thresholds


def _check_scales(scales: Sequence[str]) -> tuple[str, ...]:
    wanted = (scales,) if isinstance(scales, str) else tuple(scales)
    for scale in wanted:
        if scale not in SCALES:
            raise EvaluationError(
                f"There is no scale '{scale}'.{did_you_mean(scale, SCALES)} Choose from {', '.join(SCALES)}."
            )
    if not wanted:
        raise EvaluationError(f"No scale is asked for. Choose from {', '.join(SCALES)}.")
    return wanted


def _who(table: Predictions, **given: str | None) -> Identity:
    """The identity of the table, or one of the names given for a bare table."""
    named: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if table.identity is None:
        return Identity(resolution="", **named)
    for key, value in named.items():
        own = getattr(table.identity, key)
        if own and getattr(Identity(**{key: value}), key) != own:
            raise EvaluationError(
                f"{table.where} says its {key} is '{own}'; '{value}' contradicts it. Leave out {key}."
            )
    return table.identity
