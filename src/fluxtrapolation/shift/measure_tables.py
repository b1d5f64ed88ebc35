"""The tables of a report on shift: what figures are drawn from, with reasons in place of what cannot be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from fluxtrapolation.data.store import Store
from fluxtrapolation.scenarios import Split
from fluxtrapolation.schema import SITE
from fluxtrapolation.shift.applicability import Applicability
from fluxtrapolation.shift.applicability_places import places
from fluxtrapolation.shift.autocorrelation import Autocorrelation
from fluxtrapolation.shift.conditional import ConditionalShift
from fluxtrapolation.shift.covariate import CovariateShift
from fluxtrapolation.shift.decompose import ErrorParts
from fluxtrapolation.shift.distance_distributions import SUMMARY as NEAREST_SUMMARY
from fluxtrapolation.shift.distance_distributions import TABLE as NEAREST
from fluxtrapolation.shift.distance_distributions import DistanceDistributions
from fluxtrapolation.shift.error_curve import CURVE, SUMMARY, TOWERS


def tables_of(
    split: Split,
    store: Store | None,
    of_x: CovariateShift,
    of_y: ConditionalShift,
    applied: Applicability | None,
    parts: Mapping[str, ErrorParts],
    near: DistanceDistributions | None,
    series: Autocorrelation,
    reasons: Mapping[str, str],
) -> dict[str, pl.DataFrame]:
    """Tables by name; see :class:`fluxtrapolation.shift.measure.ShiftReport`."""

    def with_model(frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        return pl.concat(frame.select(pl.lit(name).alias("model"), pl.all()) for name, frame in frames.items())

    return {
        "univariate": of_x.univariate,
        "histograms": of_x.histograms,
        "importance": of_x.importance,
        "calibration": of_x.calibration,
        "distances": of_x.distances,
        "conditional": of_y.table,
        "slices": of_y.slices,
        "decomposition": with_model({name: one.overall for name, one in parts.items()}),
        "decomposition_sites": with_model({name: one.sites for name, one in parts.items()}),
        "sites": _sites(split, store, applied),
        **_applied(applied, list(parts), reasons.get("applicability")),
        **_near(near, reasons.get("distances")),
        "acf": series.table,
        "effective": series.effective,
    }


def _applied(applied: Applicability | None, models: list[str], reason: str | None) -> dict[str, pl.DataFrame]:
    """Errors along the index; without one, empty tables and a summary that says why."""
    if applied is not None:
        return {
            "error_curve": applied.error_curve,
            "tower_errors": applied.tower_errors,
            "summary": applied.summary,
        }
    why = [_blank(SUMMARY) | {"model": name, "measure": "applicability", "reason": reason} for name in models]
    return {
        "error_curve": pl.DataFrame(schema=CURVE),
        "tower_errors": pl.DataFrame(schema=TOWERS),
        "summary": pl.DataFrame(why, schema=SUMMARY),
    }


def _near(near: DistanceDistributions | None, reason: str | None) -> dict[str, pl.DataFrame]:
    """Distances to the nearest train row; without any, an empty table and a summary that says why."""
    if near is not None:
        return {"nearest": near.table, "nearest_summary": near.summary}
    why = _blank(NEAREST_SUMMARY) | {"space": "feature", "against": "test", "reason": reason}
    return {
        "nearest": pl.DataFrame(schema=NEAREST),
        "nearest_summary": pl.DataFrame([why], schema=NEAREST_SUMMARY),
    }


def _blank(schema: Mapping[str, Any]) -> dict[str, Any]:
    return dict.fromkeys(schema)


def _sites(split: Split, store: Store | None, applied: Applicability | None) -> pl.DataFrame:
    """Test towers with their index, if there is one, and the towers of the other parts beside them, for maps."""
    found = _places(split.test.sites, store, "test")
    if applied is not None:
        found = applied.sites.with_columns(pl.lit("test").alias("part"))
    tables = [found]
    seen = set(split.test.sites)
    for part in (split.train, split.validation):
        others = [site for site in part.sites if site not in seen]
        seen.update(others)
        if store is not None and others:
            tables.append(_places(others, store, part.name))
    return pl.concat(tables, how="diagonal_relaxed")


def _places(sites: list[str] | tuple[str, ...], store: Store | None, part: str) -> pl.DataFrame:
    known = places(store, sites)
    at = [known.get(site, (None, None)) for site in sites]
    columns = {SITE: list(sites), "lat": [one[0] for one in at], "lon": [one[1] for one in at]}
    return pl.DataFrame(
        columns | {"part": [part] * len(at)},
        schema={SITE: pl.String, "lat": pl.Float64, "lon": pl.Float64, "part": pl.String},
    )
