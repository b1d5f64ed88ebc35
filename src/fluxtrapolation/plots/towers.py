"""One number per tower, from tables with one row per domain: what scatter, error map and distance figure draw."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.plots import labels, tables

SITE_MEAN_COLUMNS: Final = ("target", "scenario", "model", "selection", "site_id", "y_true", "y_pred")
PLACE_COLUMNS: Final = ("site_id", "lat", "lon")


class Fit(NamedTuple):
    """How well predicted site means agree with observed ones.

    ``r2``: squared correlation (None for fewer than two means, or where one side does not vary); ``bias``: mean of
    observed minus predicted, in the target's unit.
    """

    r2: float | None
    bias: float | None
    means: int
    sites: int

    def words(self) -> str:
        """``R² 0.81, bias +0.12, 40 towers``."""
        bias = labels.significant(self.bias, 2)
        sign = "+" if self.bias is not None and self.bias > 0 and float(bias) != 0 else ""
        towers = f"{self.sites} tower{'s' if self.sites != 1 else ''}"
        many = towers if self.means == self.sites else f"{self.means} site-years of {towers}"
        return f"R² {labels.number(self.r2, 2)}, bias {sign}{bias}, {many}"


def tower_errors(
    scores: pl.DataFrame, *, target: str, scenario: str, scale: str, baseline: str | None = None
) -> pl.DataFrame:
    """RMSE of every tower and model at one scale, and its skill against a baseline at the same tower.

    Parameters
    ----------
    scores : polars.DataFrame
        From :func:`fluxtrapolation.plots.tables.check_scores`. Without ``site_id`` the domain is taken for the tower.
    target, scenario, scale : str
    baseline : str, optional
        The model of skill 0.

    Returns
    -------
    polars.DataFrame
        ``model, selection, site_id, rmse, n_domains, skill``, one row per tower: ``rmse`` is the median over the
        tower's domains (its years, in a scenario by years); ``skill`` is 1 - rmse / rmse of the baseline at this tower,
        null without a baseline or where its error is 0.
    """
    rows = scores.filter(
        pl.col("target") == target, pl.col("scenario") == scenario, pl.col("scale") == scale
    ).drop_nulls("rmse")
    found = (
        rows.with_columns(pl.coalesce("site_id", "domain").alias("site_id"))
        .group_by("model", "selection", "site_id")
        .agg(pl.col("rmse").median(), pl.len().cast(pl.Int64).alias("n_domains"))
        .sort("model", "selection", "site_id")
    )
    skill = pl.lit(None, pl.Float64)
    if baseline is not None:
        series = next((line for line in tables.line_series(found) if line.model == baseline), None)
        named = found.filter(
            pl.col("model") == baseline, pl.col("selection") == (series.selection if series is not None else "")
        )
        reference = named.select("site_id", pl.col("rmse").alias("reference"))
        found = found.join(reference, on="site_id", how="left", maintain_order="left")
        skill = pl.when(pl.col("reference") > 0).then(1 - pl.col("rmse") / pl.col("reference"))
    return found.with_columns(skill.alias("skill")).select(
        "model", "selection", "site_id", "rmse", "n_domains", "skill"
    )


def places_of(sites: pl.DataFrame) -> pl.DataFrame:
    """One row per tower: ``site_id, lat, lon, igbp`` (igbp null where the table lacks it); no coordinate is null."""
    tables.require(sites, PLACE_COLUMNS, "sites")
    igbp = pl.col("igbp").cast(pl.String) if "igbp" in sites.columns else pl.lit(None, pl.String)
    return (
        sites.select("site_id", "lat", "lon", igbp.alias("igbp"))
        .drop_nulls(["lat", "lon"])
        .unique("site_id", keep="first", maintain_order=True)
    )


def placed(errors: pl.DataFrame, sites: pl.DataFrame) -> pl.DataFrame:
    """Errors of the towers (from :func:`tower_errors`) with ``lat, lon, igbp``; towers without a place are dropped.

    Raises
    ------
    EvaluationError
        When no tower has a place.
    """
    found = errors.join(places_of(sites), on="site_id", how="inner", maintain_order="left")
    if found.is_empty():
        raise EvaluationError(
            f"None of the {errors['site_id'].n_unique()} towers with an error has coordinates in the table of sites: "
            "there is nothing to place on the map."
        )
    return found


def check_site_means(table: pl.DataFrame) -> pl.DataFrame:
    """Site means with texts free of nulls and only finite pairs.

    Raises
    ------
    MissingColumnError
        A column is missing.
    """
    tables.require(table, SITE_MEAN_COLUMNS, "site means")
    year = pl.col("year").cast(pl.Int32) if "year" in table.columns else pl.lit(None, pl.Int32)
    return (
        table.with_columns(
            pl.col("selection").fill_null(""),
            pl.col("scenario").fill_null("unnamed"),
            pl.col("y_true", "y_pred").cast(pl.Float64).fill_nan(None),
            year.alias("year"),
        )
        .drop_nulls(["y_true", "y_pred"])
        .select(*SITE_MEAN_COLUMNS[:5], "year", "y_true", "y_pred")
    )


def fit_of(rows: pl.DataFrame) -> Fit:
    """Agreement of the means in ``rows`` (``site_id, y_true, y_pred``)."""
    true, predicted = rows["y_true"].to_numpy(), rows["y_pred"].to_numpy()
    if not true.size:
        return Fit(None, None, 0, 0)
    varied = all(np.std(side) > 1e-9 * np.max(np.abs(side)) for side in (true, predicted))
    r2 = float(np.corrcoef(true, predicted)[0, 1] ** 2) if true.size > 1 and varied else None
    return Fit(r2, float(np.mean(true - predicted)), int(true.size), rows["site_id"].n_unique())
