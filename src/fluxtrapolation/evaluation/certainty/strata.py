"""Errors by kind of place: vegetation class, latitude, network, mean temperature, or any column of the site table."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import polars as pl

from fluxtrapolation.errors import EvaluationError, MissingColumnError, did_you_mean, examples
from fluxtrapolation.evaluation.certainty.bootstrap import DRAWS, LEVEL
from fluxtrapolation.evaluation.certainty.intervals import Method, cut, interval_table
from fluxtrapolation.evaluation.comparable import need_one_run
from fluxtrapolation.evaluation.scores import Scores, as_scores, board_order
from fluxtrapolation.schema import BOARD_SCALES

BANDS: Final[dict[str, tuple[str, tuple[float, ...], str]]] = {
    "latitude": ("lat", (-60.0, -30.0, 0.0, 30.0, 45.0, 60.0, 90.0), "°"),
    "temperature": ("mat_c", (-20.0, 0.0, 5.0, 10.0, 15.0, 20.0, 40.0), " °C"),
}
"""Strata that are bands of a number: its column in the site table, the usual edges, its unit."""
_HUB: Final = r"^\s*([^/;(]*[^/;(\s])"
"""The hub in the name of a network: ICOS of ``ICOS/CarboEuroFlux;...``."""
UNKNOWN: Final = "unknown"
ALL: Final = "all"


def strata(
    scores: Scores | pl.DataFrame,
    sites: Any,
    *,
    by: str = "igbp",
    edges: Sequence[float] | None = None,
    summary: str = "median",
    scales: Sequence[str] | None = BOARD_SCALES,
    metric: str = "rmse",
    method: Method = "recommended",
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> pl.DataFrame:
    """Summaries per stratum of sites, with intervals, and over all sites beside them.

    Parameters
    ----------
    scores : Scores or their table
        With ``site_id``.
    sites : any table with the column ``site_id``
        Such as ``ft.open_store("towers/").sites`` or its ``sites.parquet``.
    by : str
        ``igbp``, ``network`` (the hub that stands first, such as AmeriFlux or ICOS), ``latitude`` (bands of ``lat``,
        degrees north), ``temperature`` (bands of ``mat_c``, mean annual air temperature in degC), or any other column
        of ``sites``; a column of numbers needs ``edges``.
    edges : sequence of float, optional
        Ascending edges of the bands; a site on an edge belongs to the band above it. The outermost are open.
    summary, scales, metric, method, level, draws, seed
        As in :func:`fluxtrapolation.evaluation.intervals`.

    Returns
    -------
    polars.DataFrame
        ``target, scenario, scale, stratum, model, selection, value, low, high, n_domains, n_sites, n_null, n_seeds,
        seed_sd, method, note``; the stratum ``all`` holds every site, ``unknown`` those that the site table does not
        describe. Few sites make wide intervals, or none: that is what they know.

    Raises
    ------
    EvaluationError, MissingColumnError
        When the table of sites lacks a column, a site is there twice, no site of the scores is in it, or a column of
        numbers comes without edges.
    """
    known = as_scores(scores)
    named, order = _labelled(known.frame, _site_table(sites), by, edges)
    cut(known, scales=scales, metric=metric)  # refuses what cannot be summarised
    parts = []
    for stratum in (ALL, *order):
        part = known.frame if stratum == ALL else named.filter(pl.col("stratum") == stratum).drop("stratum")
        if scales is not None and part.filter(pl.col("scale").is_in(list(scales))).is_empty():
            continue
        _, cells = cut(Scores(part, known.meta), scales=scales, metric=metric)
        found = interval_table(
            cells,
            names=("model", "selection"),
            metric=metric,
            summary=summary,
            method=method,
            level=level,
            draws=draws,
            seed=seed,
        )
        parts.append(found.with_columns(pl.lit(stratum).alias("stratum")))
    place = {stratum: number for number, stratum in enumerate((ALL, *order))}
    rank = pl.col("stratum").replace_strict(place, return_dtype=pl.Int64)
    keys = board_order()
    out = pl.concat(parts).sort(*keys[:4], rank, *keys[4:])
    first = ["target", "scenario", "scale", "stratum"]
    return out.select(*first, pl.exclude(first))


def _site_table(sites: Any) -> pl.DataFrame:
    table = sites if isinstance(sites, pl.DataFrame) else pl.DataFrame(sites)
    if "site_id" not in table.columns:
        raise MissingColumnError(f"The table of sites has no column 'site_id'; it has {', '.join(table.columns)}.")
    table = table.filter(pl.col("site_id").is_not_null())
    twice = table.filter(table["site_id"].is_duplicated())
    if twice.height:
        raise EvaluationError(
            f"{twice['site_id'].n_unique()} sites are in the table of sites more than once, such as "
            f"{twice['site_id'][0]}. Keep one row of each."
        )
    return table.with_columns(pl.col("site_id").cast(pl.String))


def _labelled(
    rows: pl.DataFrame, sites: pl.DataFrame, by: str, edges: Sequence[float] | None
) -> tuple[pl.DataFrame, list[str]]:
    """The rows with their stratum, and the strata in order."""
    column, usual, unit = BANDS.get(by, (by, None, ""))
    if column not in sites.columns:
        choices = [name for name in (*BANDS, *sites.columns) if name != "site_id"]
        needs = f" (for '{by}')" if column != by else ""
        raise MissingColumnError(
            f"The table of sites has no column '{column}'{needs}.{did_you_mean(by, choices)} It has "
            f"{', '.join(sites.columns)}."
        )
    limits = edges if edges is not None else usual
    values = sites[column]
    if limits is not None:
        labels, order = _bands(values, limits, unit)
    elif values.dtype.is_numeric():
        raise EvaluationError(f"'{by}' is a number: give the edges of its bands, such as edges=[0, 500, 1000, 2000].")
    else:
        labels = values.cast(pl.String)
        if by == "network":
            labels = labels.str.extract(_HUB, 1)
        # A class that bears the name of the overall row keeps its rows.
        labels = labels.replace(ALL, f"{ALL} ({by})")
        order = [one for one in labels.drop_nulls().unique().sort().to_list() if one != UNKNOWN]
    described = pl.DataFrame({"site_id": sites["site_id"], "stratum": labels})
    named = rows.join(described, on="site_id", how="left", maintain_order="left")
    if rows["site_id"].null_count() == rows.height or not rows["site_id"].is_in(sites["site_id"].implode()).any():
        first = examples(rows["site_id"].drop_nulls().unique().sort().head(3).to_list())
        raise EvaluationError(
            f"None of the {rows['site_id'].n_unique()} sites of the scores is in the table of sites (first: "
            f"{first or 'the scores have no site_id'})."
        )
    return named.with_columns(pl.col("stratum").fill_null(UNKNOWN)), [*order, UNKNOWN]


def _bands(values: pl.Series, limits: Sequence[float], unit: str) -> tuple[pl.Series, list[str]]:
    """Names of the bands that values fall into, and all names in order."""
    try:
        edges = [float(one) for one in limits]
    except (TypeError, ValueError):
        edges = []
    if len(edges) < 2 or not all(a < b for a, b in pairwise(edges)):
        raise EvaluationError(f"Edges of bands must be at least two ascending numbers; they are {examples(limits)}.")
    if not values.dtype.is_numeric():
        raise EvaluationError(f"'{values.name}' is not a number, so it has no bands. Leave out the edges.")
    names = [f"{_plain(low)} to {_plain(high)}{unit}" for low, high in pairwise(edges)]
    number = values.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    place = np.clip(np.searchsorted(np.asarray(edges), number, side="right") - 1, 0, len(names) - 1)
    return pl.Series([names[one] if np.isfinite(value) else None for one, value in zip(place, number, strict=True)],
                     dtype=pl.String), names  # fmt: skip


def _plain(value: float) -> str:
    """A number without needless digits, and with all that it has."""
    return str(int(value)) if value.is_integer() else repr(value)


def cdf(
    scores: Scores | pl.DataFrame,
    *,
    scales: Sequence[str] | None = BOARD_SCALES,
    metric: str = "rmse",
    by: Sequence[str] = (),
) -> pl.DataFrame:
    """The whole distribution of a metric over domains: every value with the share of domains at or below it.

    Returns
    -------
    polars.DataFrame
        ``target, scenario, scale, model, selection``, the columns of ``by``, ``domain, value, share`` (0 to 1,
        ascending; the last of a run and cell is 1). Domains whose metric is null are left out.

    Raises
    ------
    EvaluationError
        As :func:`fluxtrapolation.evaluation.summarise`.
    """
    known = as_scores(scores)
    table, _ = cut(known, scales=scales, metric=metric, by=by)
    keys = list(dict.fromkeys(["target", "scenario", "scale", "model", "selection", *by]))
    need_one_run(table, keys, known.meta.get("runs", []))
    held = table.with_columns(pl.col(metric).fill_nan(None).alias("value")).drop_nulls("value")
    ordered = held.sort(*board_order(), *by, "value", "domain")
    counted = ordered.select(
        *keys, "domain", "value", pl.col("value").rank("max").over(keys).alias("rank"), pl.len().over(keys).alias("n")
    )
    share = counted["rank"].to_numpy() / counted["n"].to_numpy()
    return counted.drop("rank", "n").with_columns(pl.Series("share", share, dtype=pl.Float64))


__all__ = ["BANDS", "cdf", "strata"]
