"""Scores as arrays: per (target, scenario, scale) the values of all runs on the same domains, grouped by site.

Domains of one site are not independent: its site-years share the tower, so whatever asks how certain a number is draws
sites, never domains.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from fluxtrapolation.errors import EvaluationError, examples
from fluxtrapolation.evaluation.published import SITE_YEAR
from fluxtrapolation.evaluation.scores import board_order
from fluxtrapolation.evaluation.statistics import Floats, Integers

CELL: Final = ("target", "scenario", "scale")
"""What one cell of the board is."""
FEW_SITES: Final = 10


@dataclass(frozen=True)
class Cell:
    """Values of one metric in one cell.

    Parameters
    ----------
    key : tuple
        Target, scenario, scale (and the stratum, where there is one).
    runs : tuple of tuple
        Per run its names, such as model and selection.
    replicates : ndarray
        Shape (V,), for every row of ``values`` the number of its run; several rows are seeds of one run.
    values : ndarray
        Shape (V, S, Y): row, site, domain of the site. NaN where undefined or absent; Y is the most domains a site has.
    sites : tuple of str
        Names of the S sites; a domain without a site stands for itself.
    n_null : ndarray
        Shape (V,), domains whose value is undefined.
    """

    key: tuple[str | None, ...]
    runs: tuple[tuple[str | None, ...], ...]
    replicates: Integers
    values: Floats
    sites: tuple[str, ...]
    n_null: Integers

    def flat(self, row: int) -> tuple[Floats, Integers]:
        """Defined values of one row, shape (n,), and the site number of each."""
        site, place = np.nonzero(np.isfinite(self.values[row]))
        return self.values[row, site, place], site.astype(np.int64)

    def averaged(self, of_rows: Floats) -> Floats:
        """Mean over the replicates of every run, shape (V, ...) to (K, ...)."""
        count = np.bincount(self.replicates, minlength=len(self.runs)).astype(np.float64)
        total = np.zeros((len(self.runs), *of_rows.shape[1:]))
        np.add.at(total, self.replicates, of_rows)
        return total / count.reshape(-1, *([1] * (of_rows.ndim - 1)))

    def spread(self, of_rows: Floats) -> Floats:
        """Standard deviation over the replicates of every run, shape (V,) to (K,); NaN for a single one."""
        out = np.full(len(self.runs), np.nan)
        for run in range(len(self.runs)):
            mine = of_rows[self.replicates == run]
            if len(mine) > 1 and np.isfinite(mine).all():
                out[run] = mine.std(ddof=1)
        return out


def cells_of(
    table: pl.DataFrame,
    *,
    metric: str,
    runs: Sequence[str] = ("model", "selection"),
    extra: Sequence[str] = (),
) -> list[Cell]:
    """Cut a table of scores into cells.

    Parameters
    ----------
    table : polars.DataFrame
        Rows of :class:`Scores`, one test set per (target, scenario); each (cell, run, seed, domain) at most once.
    metric : str
    runs : sequence of str
        Columns that tell runs apart. Rows that differ in ``seed`` besides are replicates of one run.
    extra : sequence of str
        Columns beside target, scenario and scale that tell cells apart.

    Returns
    -------
    list of Cell
        In the board's order, the runs of a cell sorted by name.
    """
    keys = [*CELL, *extra]
    named = with_sites(table).with_columns(pl.col(metric).fill_nan(None).alias("_value"))
    order = [*board_order()[:4], *map(pl.col, dict.fromkeys([*extra, *runs, "seed", "domain"]))]
    found = []
    columns = list(dict.fromkeys([*keys, *runs, "seed", "domain", "_site", "_value"]))
    for part in named.sort(order).select(columns).partition_by(keys, maintain_order=True):
        key = part.row(0)[: len(keys)]
        found.append(_cell(key, part, runs))
    return found


def with_sites(table: pl.DataFrame) -> pl.DataFrame:
    """The rows with site-years under one spelling and, as ``_site``, the site of every domain.

    Runs that name the site of a domain speak for those that do not; a domain that nobody places stands for itself.

    Raises
    ------
    EvaluationError
        When two runs place one domain at different sites.
    """
    site, year = pl.col("domain").str.extract(SITE_YEAR, 1), pl.col("domain").str.extract(SITE_YEAR, 2)
    named = table.with_columns(
        pl.coalesce(pl.format("{} {}", site, year), "domain").alias("domain"),
        pl.coalesce("site_id", site).alias("_site"),
    )
    where = ["target", "scenario", "domain"]
    places = named.filter(pl.col("_site").is_not_null()).group_by(where).agg(pl.col("_site").unique().sort())
    several = places.filter(pl.col("_site").list.len() > 1).sort(where)
    if several.height:
        row = several.row(0, named=True)
        raise EvaluationError(
            f"{several.height} domains are at different sites in different runs, such as {row['domain']} at "
            f"{examples(row['_site'])}. Evaluate all runs on the same test set."
        )
    placed = named.drop("_site").join(
        places.with_columns(pl.col("_site").list.first()), on=where, how="left", nulls_equal=True, maintain_order="left"
    )
    return placed.with_columns(pl.coalesce("_site", pl.format("domain {}", "domain")).alias("_site"))


def _cell(key: tuple[Any, ...], part: pl.DataFrame, runs: Sequence[str]) -> Cell:
    names = part.select(runs).unique(maintain_order=True).rows()
    numbered = {name: number for number, name in enumerate(names)}
    of_row = list(dict.fromkeys([*runs, "seed"]))
    rows = part.select(of_row).unique(maintain_order=True).rows()
    row = part.select(pl.struct(of_row).rle_id()).to_series().to_numpy().astype(np.int64)  # sorted by these
    domains = part.select("_site", "domain").unique().sort("_site", "domain")
    site_names = domains["_site"].unique().sort().to_list()
    site_of_domain = domains["_site"].replace_strict(site_names, range(len(site_names)), return_dtype=pl.Int64)
    numbers = domains.with_columns(
        site_of_domain.alias("_s"), pl.int_range(pl.len()).over("_site").cast(pl.Int64).alias("_y")
    )
    place = part.select("domain", "_site").join(numbers, on=["_site", "domain"], how="left", maintain_order="left")
    shape = (len(rows), len(site_names), int(numbers["_y"].max()) + 1)  # type: ignore[arg-type]
    values = np.full(shape, np.nan)
    values[row, place["_s"].to_numpy(), place["_y"].to_numpy()] = part["_value"].to_numpy()
    undefined = np.bincount(row, part["_value"].is_null().to_numpy(), minlength=len(rows)).astype(np.int64)
    replicates = np.asarray([numbered[one[: len(runs)]] for one in rows], np.int64)
    return Cell(key, tuple(names), replicates, values, tuple(site_names), undefined)


def effective_size(values: Floats, sites: Integers, share: float) -> float:
    """How many independent domains would know the ``share``-quantile as well as these do.

    share (1 - share) over the variance of the share of values at or below the quantile, where sites are the units
    (Korn and Graubard 1998, Survey Methodology 24, 193), with the factor of Student's t for few sites. The number of
    domains where every site has one; the number of sites where they are fewer than ten, too few for a variance.

    Parameters
    ----------
    values : ndarray
        Shape (n,).
    sites : ndarray
        Shape (n,), site number of each value.
    """
    n = len(values)
    counts = np.bincount(sites)
    counts = counts[counts > 0]
    if counts.max(initial=0) <= 1:
        return float(n)
    from fluxtrapolation.evaluation.certainty.special import t_quantile

    groups = len(counts)
    if groups < FEW_SITES:
        return float(groups)
    below = (values <= np.quantile(values, share)).astype(np.float64)
    away = np.bincount(sites, below - below.mean())
    variance = groups / (groups - 1) * float((away**2).sum()) / n**2
    if variance <= 0:
        return float(n)
    few = (1.959963984540054 / t_quantile(0.975, groups - 1)) ** 2
    return float(min(share * (1 - share) / variance * few, n))


__all__ = ["CELL", "Cell", "cells_of", "effective_size"]
