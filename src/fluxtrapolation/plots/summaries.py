"""Stand-in until fluxtrapolation.evaluation.summary exists."""

from __future__ import annotations

import polars as pl

KEYS = ["target", "scenario", "model", "selection", "scale"]


def summarise(scores: pl.DataFrame, *, summary: str = "median", metric: str = "rmse") -> pl.DataFrame:
    value = pl.col(metric).median() if summary == "median" else pl.col(metric).quantile(0.9, "linear")
    return scores.group_by(KEYS).agg(value.alias("value"), pl.col(metric).count().alias("n_domains")).sort(KEYS)


def skill(table: pl.DataFrame, *, baseline: str = "lr", baseline_selection: str = "mean") -> pl.DataFrame:
    base = table.filter(pl.col("model") == baseline, pl.col("selection") == baseline_selection).select(
        "target", "scenario", "scale", pl.col("value").alias("base")
    )
    return table.join(base, on=["target", "scenario", "scale"], how="left", maintain_order="left").with_columns(
        (1 - pl.col("value") / pl.col("base")).alias("skill")
    )
