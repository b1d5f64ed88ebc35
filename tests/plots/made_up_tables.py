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
