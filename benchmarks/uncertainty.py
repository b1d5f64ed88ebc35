"""Time of the bootstrap over sites: 1000 draws for 10 models in the 18 cells of the board, beside a plain loop.

    python benchmarks/uncertainty.py [--draws 1000] [--repeats 3] [--json]

The plain version is what one first writes: per draw, model and cell take the drawn sites' values and call np.quantile.
It does the plain (percentile) bootstrap, ours is shown plain and smoothed. ``rank`` is the whole call, from a table of
scores to rank intervals of 10 models. Both versions use the same drawn sites and must agree to the last digit.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from fluxtrapolation.evaluation import Scores, rank
from fluxtrapolation.evaluation.certainty.bootstrap import SiteBootstrap, Statistic
from fluxtrapolation.evaluation.certainty.clusters import Cell
from fluxtrapolation.evaluation.certainty.intervals import cut
from fluxtrapolation.schema import BOARD_SCALES, SCENARIOS

YEARS = np.array([1] * 14 + [4] * 30 + [3] * 42 + [2] * 40)
MODELS = 10


def scores_of_ten() -> Scores:
    """A table of scores of the board's shape: 340 site-years of 126 sites, 40 and 40 sites, six scales, 10 models."""
    rng = np.random.default_rng(0)
    parts = []
    for scenario in SCENARIOS:
        for scale in BOARD_SCALES:
            yearly = scenario == "temporal" and scale in ("hourly", "weekly", "site-mean")
            count = 126 if scenario == "temporal" else 40
            sites = [f"{'TSU'[SCENARIOS.index(scenario)]}{number:03d}" for number in range(count)]
            domains = [(site, 2019 + year) for site, n in zip(sites, YEARS, strict=False) for year in range(n)]
            names = domains if yearly else [(site, None) for site in sites]
            ease = rng.normal(0, 0.4, len(names))
            for model in range(MODELS):
                frame = pl.DataFrame(
                    {
                        "domain": [site if year is None else f"{site} {year}" for site, year in names],
                        "site_id": [site for site, _ in names],
                        "year": [year for _, year in names],
                        "rmse": np.exp(ease + rng.normal(-0.02 * model, 0.3, len(names))),
                    },
                    schema_overrides={"year": pl.Int32},
                )
                labels = {"target": "GPP", "scenario": scenario, "scale": scale}
                model_name = "lr" if model == 0 else f"m{model}"
                parts.append(
                    frame.with_columns(
                        *(pl.lit(value).alias(name) for name, value in labels.items()),
                        pl.lit(model_name).alias("model"),
                        pl.lit("mean").alias("selection"),
                        pl.lit(8760).alias("n_samples"),
                    )
                )
    return Scores(pl.concat(parts))


def plain_loop(cells: list[Cell], bootstrap: SiteBootstrap, draws: int) -> list[np.ndarray[Any, Any]]:
    """The 90th percentile of every model in every cell and draw, one np.quantile each."""
    found = []
    for cell in cells:
        drawn = bootstrap.indices(cell.sites)
        out = np.full((len(cell.values), draws), np.nan)
        for draw in range(draws):
            rows = drawn[draw][drawn[draw] < len(cell.sites)]
            for model, values in enumerate(cell.values):
                taken = values[rows].ravel()
                out[model, draw] = np.quantile(taken[np.isfinite(taken)], 0.9)
        found.append(out)
    return found


def best(repeats: int, call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds of the fastest of some calls, and what the last gave."""
    seconds, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def main() -> None:
    """Time everything and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    scores = scores_of_ten()
    _, cells = cut(scores, scales=BOARD_SCALES, metric="rmse")
    sites = {site for cell in cells for site in cell.sites}
    statistic = Statistic.of("q90")

    def ours(*, smooth: bool) -> tuple[SiteBootstrap, list[np.ndarray[Any, Any]]]:
        bootstrap = SiteBootstrap(sites, draws=options.draws, seed=0, smooth=smooth)
        return bootstrap, [bootstrap.of(cell, statistic, positive=True) for cell in cells]

    smooth_s, _ = best(options.repeats, lambda: ours(smooth=True))
    plain_s, (bootstrap, found) = best(options.repeats, lambda: ours(smooth=False))
    loop_s, looped = best(1, lambda: plain_loop(cells, bootstrap, options.draws))
    rank_s, ranking = best(options.repeats, lambda: rank(scores, summary="q90"))
    worst = max(float(np.abs(a - b).max()) for a, b in zip(found, looped, strict=True))
    if worst > 1e-12:
        raise SystemExit(f"the two versions differ by {worst}")
    result = {
        "draws": options.draws,
        "models": MODELS,
        "cells": len(cells),
        "plain_loop_s": loop_s,
        "ours_plain_s": plain_s,
        "ours_smoothed_s": smooth_s,
        "ratio": loop_s / plain_s,
        "rank_s": rank_s,
        "rank_draws": ranking.how["draws"],
    }
    if options.json:
        print(json.dumps(result))
        return
    print(f"{options.draws} draws, {MODELS} models, {len(cells)} cells, 90th percentile over domains")
    print(f"  plain loop            {loop_s:8.2f} s")
    print(f"  ours, plain           {plain_s:8.2f} s   {loop_s / plain_s:.0f} times faster, the same numbers")
    print(f"  ours, smoothed        {smooth_s:8.2f} s")
    print(f"  rank(), whole call    {rank_s:8.2f} s   {ranking.how['draws']} draws for {MODELS} models")


if __name__ == "__main__":
    main()
