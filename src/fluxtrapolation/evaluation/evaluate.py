"""From predictions to scores: eight scales, all metrics, one row per (scale, domain)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import polars as pl

from fluxtrapolation.errors import EvaluationError, did_you_mean
from fluxtrapolation.evaluation.complete import need_complete
from fluxtrapolation.evaluation.layout import choose_layout
from fluxtrapolation.evaluation.metrics import PUBLISHED, choose_metrics, get_metric
from fluxtrapolation.evaluation.pool import Pool, score_frame
from fluxtrapolation.evaluation.predictions import DomainKind, Identity, Predictions
from fluxtrapolation.evaluation.scales import PUBLISHED_THRESHOLDS, Thresholds
from fluxtrapolation.evaluation.scores import Scores
from fluxtrapolation.evaluation.stream import How, one_pass
from fluxtrapolation.schema import SCALES

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
    truth: Any = None,
    thresholds: Thresholds | None = None,
    metrics: str | Iterable[str] = PUBLISHED,
    scales: Sequence[str] = SCALES,
) -> Scores:
    """Score predictions at every temporal scale, one row per (scale, domain).

    Predictions with an identity are scored by the domains of their scenario (a site-year in ``temporal`` and in
    designed scenarios of years, a site elsewhere); a domain column in them is not read. A bare table is scored by
    ``domain_column``, else by its column ``domain`` if it has one, else by site. The scales seasonal, anom and iav
    always group by site where there is a ``site_id``.

    A file is read in pieces, and a site is scored as soon as its rows have ended: memory does not grow with the number
    of sites where their rows stand together (in any order of sites). In a shuffled table, or where labels span sites,
    the daily sums of all sites are held. The scores are the same.

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
    truth : Predictions, a part of a split, or any table with ``site_id`` and ``time``, optional
        The test set: predictions that lack some of its hours, or whole sites, are refused.
    thresholds : Thresholds, optional
        Only for ``measured``; ``paper`` has the published ones.
    metrics : str or iterable of str
        Names of registered metrics (see :func:`metric_names`), or ``published``, or ``all``; a text may hold several,
        separated by commas.
    scales : sequence of str
        Which scales.

    Returns
    -------
    Scores
        ``n_samples`` counts the entries of a scale under ``paper`` (those without an observation included) and the
        pairs used under ``measured``. Undefined values are null and ``reason`` says why: ``no_observations``,
        ``no_pairs``, ``too_few_hours``, ``too_few_days``, ``too_few_years``, ``single_year``, ``single_pair``,
        ``zero_variance``, ``zero_mean``.

    Raises
    ------
    EvaluationError, MissingColumnError
        On missing or infinite predictions, infinite observations, sites or domains that are missing, contradictory
        domains, an unknown protocol, metric or scale, a table without rows, or hours of ``truth`` that are not there.

    Warns
    -----
    FluxtrapolationWarning
        When (site, time) pairs are there more than once; each row counts.
    """
    table = predictions if isinstance(predictions, Predictions) else Predictions.from_frame(predictions)
    limits = check_protocol(protocol, thresholds)
    wanted = check_scales(scales)
    names = choose_metrics(metrics)
    who = _who(table, target=target, scenario=scenario, model=model, selection=selection)
    layout = choose_layout(table, domain, domain_column)
    resolution = None if table.identity is None else table.identity.resolution
    with_pairs = [name for name in names if get_metric(name).takes == "pairs"]
    held = [scale for scale in SCALES if scale in wanted and not (scale == "hourly" and resolution == "daily")]
    if not held:
        raise EvaluationError("Predictions of daily resolution have no hourly scale. Ask for the other scales.")
    if truth is not None:
        need_complete(table, truth)
    how = How(
        layout,
        limits,
        measured=protocol == "measured",
        allow_missing=allow_missing,
        resolution=resolution,
        keep_rows=bool(with_pairs) and "hourly" in held,
    )

    def every_scale(pool: Pool, rows_are_days: bool) -> pl.DataFrame:
        rows = (
            pool.hourly(with_pairs)
            if scale == "hourly"
            else pool.aggregated(scale, with_pairs, rows_are_days=rows_are_days)
            for scale in held
        )
        frames = [score_frame(scale, one, names, paired=how.measured) for scale, one in zip(held, rows, strict=True)]
        return pl.concat(frames, rechunk=True)

    done = one_pass(table, how, every_scale)
    in_order = pl.col("scale").cast(pl.Enum(SCALES))
    frame = pl.concat(done.parts).sort(in_order, "domain", maintain_order=True)
    facts = {
        "where": table.where,
        "domain": layout.name,
        "rows": done.rows,
        "hours_left_out": done.left_out,
        "rows_are_days": done.rows_are_days,
    }
    return Scores.of_run(frame, who, protocol=protocol, thresholds=limits.short(), how=facts)


def check_protocol(protocol: str, thresholds: Thresholds | None) -> Thresholds:
    """The thresholds of a protocol; refuses an unknown one, and other thresholds under ``paper``."""
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


def check_scales(scales: Sequence[str]) -> tuple[str, ...]:
    """The scales asked for; refuses unknown ones."""
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
