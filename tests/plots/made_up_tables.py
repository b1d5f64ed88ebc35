"""Small tables to draw from: made up, seeded, with the shape of real ones."""

from __future__ import annotations

import numpy as np
import polars as pl

from fluxtrapolation import schema

FACTOR = {"lr": 1.0, "xgb": 0.7, "constant": 1.6}


def make_scores(
    *,
    targets: tuple[str, ...] = ("GPP", "NEE"),
    scenarios: tuple[str, ...] = schema.SCENARIOS,
    models: dict[str, float] | None = None,
    scales: tuple[str, ...] = schema.SCALES,
    selections: tuple[str, ...] = ("mean",),
    n_domains: int = 11,
    seed: int = 3,
    protocol: str = "paper",
) -> pl.DataFrame:
    """Tidy scores: errors of a domain are shared by the models up to a factor and some noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for target in targets:
        for scenario in scenarios:
            for scale in scales:
                hard = rng.lognormal(0.0, 0.5, n_domains)
                for model, factor in (models or FACTOR).items():
                    for selection in selections:
                        rmse = hard * factor * rng.lognormal(0.0, 0.05, n_domains)
                        rows += [
                            (
                                target,
                                scenario,
                                model,
                                selection,
                                scale,
                                f"XX-{i:03d}",
                                100,
                                float(value),
                                None,
                                protocol,
                            )
                            for i, value in enumerate(rmse)
                        ]
    names = ["target", "scenario", "model", "selection", "scale", "domain", "n_samples", "rmse", "reason", "protocol"]
    kinds = dict.fromkeys(names, pl.String) | {"n_samples": pl.Int64, "rmse": pl.Float64}
    return pl.DataFrame(rows, schema=kinds, orient="row")


def make_split(scenarios: tuple[str, ...] = schema.SCENARIOS, n: int = 30, seed: int = 4) -> pl.DataFrame:
    """Towers over the globe; in ``temporal`` every tower has all three roles."""
    rng = np.random.default_rng(seed)
    lat, lon = rng.uniform(-40, 68, n), rng.uniform(-170, 175, n)
    rows = []
    for scenario in scenarios:
        for i in range(n):
            roles = (
                ("train", "validation", "test") if scenario == "temporal" else (("train", "test", "validation")[i % 3],)
            )
            rows += [(scenario, f"XX-{i:03d}", float(lat[i]), float(lon[i]), "GRA", role) for role in roles]
    return pl.DataFrame(rows, schema=["scenario", "site_id", "lat", "lon", "igbp", "role"], orient="row")


def make_seasonal(
    *, targets: tuple[str, ...] = ("GPP", "NEE"), scenarios: tuple[str, ...] = schema.SCENARIOS, n_sites: int = 4
) -> pl.DataFrame:
    """Cycles whose residual grows with the site's number: XX-000 is the best, the last site the worst."""
    days = np.arange(1, 367)
    cycle = 5 + 4 * np.cos(2 * np.pi * (days - 200) / 366)
    parts = [
        pl.DataFrame(
            {
                "target": target,
                "scenario": scenario,
                "model": model,
                "selection": "mean",
                "site_id": f"XX-{site:03d}",
                "doy": days,
                "observed": cycle,
                "predicted": cycle - 0.5 * (site + 1),
                "n": 3,
            }
        )
        for target in targets
        for scenario in scenarios
        for model in ("lr", "xgb")
        for site in range(n_sites)
    ]
    return pl.concat(parts)


def make_runs(scores: pl.DataFrame) -> pl.DataFrame:
    """One run per target, scenario and model."""
    return (
        scores.select("target", "scenario", "model", "selection")
        .unique(maintain_order=True)
        .with_columns(
            pl.lit("quick").alias("profile"),
            pl.lit(300_000).alias("train_rows"),
            pl.lit(1_234_567).alias("test_rows"),
            pl.lit(75.4).alias("seconds"),
            pl.lit('{"max_depth": 7, "learning_rate": 0.073123456}').alias("config"),
        )
    )


def make_site_means(scores: pl.DataFrame, *, years: tuple[int, ...] = (), seed: int = 5) -> pl.DataFrame:
    """Observed and predicted means of every domain at the scale site-mean, for the runs of the scores."""
    rng = np.random.default_rng(seed)
    rows = (
        scores.filter(pl.col("scale") == "site-mean")
        .select("target", "scenario", "model", "selection", pl.col("domain").alias("site_id"))
        .with_columns(pl.lit(None, pl.Int32).alias("year"))
    )
    if years:
        rows = rows.drop("year").join(pl.DataFrame({"year": pl.Series(years, dtype=pl.Int32)}), how="cross")
    hard = rows["site_id"].str.slice(3).cast(pl.Int64).to_numpy() / 3.0
    return rows.with_columns(
        pl.Series("y_true", 2.0 + hard), pl.Series("y_pred", 2.5 + 0.8 * hard + rng.normal(0, 0.2, rows.height))
    )


def make_intervals(
    scores: pl.DataFrame, *, width: float = 0.2, summaries: tuple[str, ...] = ("median", "q90")
) -> pl.DataFrame:
    """Intervals of every cell, from ``1 - width`` to ``1 + width`` times the summary; above open at the scale iav."""
    shares = {"median": 0.5, "q90": 0.9}
    keys = ("target", "scenario", "scale", "model", "selection")
    open_end = (pl.col("scale") == "iav") & (pl.col("summary") == "q90")
    return pl.concat(
        scores.group_by(keys, maintain_order=True)
        .agg(pl.col("rmse").quantile(shares[name], "linear").alias("value"))
        .with_columns(pl.lit(name).alias("summary"))
        for name in summaries
    ).with_columns(
        (pl.col("value") * (1 - width)).alias("low"),
        pl.when(~open_end).then(pl.col("value") * (1 + width)).alias("high"),
        pl.lit(11).alias("n_sites"),
        pl.when(open_end).then(pl.lit("too few sites for an upper end")).alias("note"),
    )


def make_ranking(
    order: tuple[str, ...], tied: dict[str, tuple[str, ...]], *, summaries: tuple[str, ...] = ("median", "q90")
) -> pl.DataFrame:
    """Standings of models in the same order for every target; ``tied`` names those tied with the best of a target."""
    rows = [
        {
            "summary": summary,
            "target": target,
            "model": model,
            "selection": "mean",
            "low": 0.1,
            "high": 0.3,
            "rank": place,
            "rank_low": 1 if model in group else place,
            "rank_high": len(group) if model in group else place,
            "tied_with_best": model in group,
            "p_best": 0.5,
            "note": None,
        }
        for summary in summaries
        for target, group in tied.items()
        for place, model in enumerate(order, start=1)
    ]
    return pl.DataFrame(rows, schema_overrides={"note": pl.String})
