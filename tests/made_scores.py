"""Made-up tables of scores: any errors, sites, site-years, seeds; and whole small boards of seeded models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from fluxtrapolation.evaluation import Scores
from fluxtrapolation.evaluation.certainty.clusters import Cell

Floats = npt.NDArray[np.float64]
SCALES = ("hourly", "weekly")


def names(count: int, prefix: str = "S") -> list[str]:
    return [f"{prefix}{number:03d}" for number in range(count)]


def made(
    values: Sequence[float | None] | Floats,
    model: str | None = "m",
    *,
    sites: Sequence[str | None] | None = None,
    years: Sequence[int] | None = None,
    target: str | None = "GPP",
    scenario: str | None = "spatial",
    scale: str = "hourly",
    selection: str | None = "mean",
    seed: int | None = None,
    metric: str = "rmse",
) -> pl.DataFrame:
    """One run in one cell: a value per domain, NaN is null."""
    places = names(len(values)) if sites is None else list(sites)
    domains = places if years is None else [f"{site} {year}" for site, year in zip(places, years, strict=True)]
    columns = {
        "scale": pl.Series([scale] * len(places)),
        "domain": pl.Series(domains, dtype=pl.String),
        "site_id": pl.Series(places, dtype=pl.String),
        "n_samples": pl.Series([100] * len(places)),
        metric: pl.Series(values, dtype=pl.Float64).fill_nan(None),
    }
    labels = {"target": target, "scenario": scenario, "model": model, "selection": selection}
    return pl.DataFrame(columns).with_columns(
        *(pl.lit(label, dtype=pl.String).alias(name) for name, label in labels.items()),
        pl.lit(seed, dtype=pl.Int64).alias("seed"),
        pl.lit("paper").alias("protocol"),
    )


def together(*tables: pl.DataFrame) -> Scores:
    return Scores(pl.concat(tables, how="diagonal"))


def board(
    gains: Mapping[str, float],
    *,
    scenarios: Sequence[str] = ("spatial", "temperature"),
    scales: Sequence[str] = SCALES,
    targets: Sequence[str] = ("GPP",),
    sites: int = 25,
    noise: float = 0.2,
    seed: int = 0,
    seeds: Mapping[str, int] | None = None,
) -> Scores:
    """Models whose errors are exp(-gain) of common ones, with noise of their own; some with several seeds."""
    rng = np.random.default_rng(seed)
    tables = []
    for target in targets:
        for scenario in scenarios:
            for scale in scales:
                common = 0.5 * rng.normal(size=sites)
                for model, gain in gains.items():
                    for number in range((seeds or {}).get(model, 1)):
                        values = np.exp(common + noise * rng.normal(size=sites) - gain)
                        label = number if model in (seeds or {}) else None
                        tables.append(
                            made(values, model, target=target, scenario=scenario, scale=scale, seed=label,
                                 sites=names(sites, scenario[:2]))
                        )  # fmt: skip
    return together(*tables)


def one_cell(values: Floats, *, runs: int = 1) -> Cell:
    """A cell from values of shape (V, S, Y) or (S, Y); several rows are several runs unless ``runs`` is 1."""
    block = values[None] if values.ndim == 2 else values
    rows = len(block)
    labels = tuple((f"m{number}", None) for number in range(runs))
    return Cell(
        ("GPP", "made", "hourly"),
        labels,
        np.arange(rows) % runs,
        block,
        tuple(names(block.shape[1])),
        np.zeros(rows, np.int64),
    )
