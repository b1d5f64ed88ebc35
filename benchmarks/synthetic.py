"""The synthetic world: how fast it is made, and how it compares with real towers.

python benchmarks/synthetic.py                      # rows per second and peak memory, 60 towers of 'published'
python benchmarks/synthetic.py --sites 207          # all of it
python benchmarks/synthetic.py --compare            # the table of docs/synthetic.md: real, synthetic, band
python benchmarks/synthetic.py --measure towers/    # the same measures of any store, such as real towers
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

import fluxtrapolation as ft
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.synthetic import PlannedSite, write_world
from fluxtrapolation.data.synthetic.bands import (
    PUBLISHED_ERRORS,
    Band,
    error_bands,
    measure_bands,
    twin_facts,
)
from fluxtrapolation.data.synthetic.measures import OPEN_FEATURES, baseline_errors, measure_store, summarise
from fluxtrapolation.data.synthetic.world import world_source, write_planned
from fluxtrapolation.scenarios import make_split
from fluxtrapolation.schema import BOARD_SCALES


def speed(folder: Path, sites: int, jobs: int) -> None:
    start = time.perf_counter()
    store = write_world(folder / "world", profile="published", sites=sites, jobs=jobs)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{sites} towers, {store.hours:,} rows, {jobs} jobs: {seconds:.1f} s, {store.hours / seconds:,.0f} rows/s")
    print(f"peak memory {peak:,.0f} MB; on disk {store.info()['bytes'] / 1e6:,.0f} MB")


def twins(folder: Path, first: int = 2009, last: int = 2013) -> Store:
    """The 120 real towers' places, simulated over five years."""
    planned = [PlannedSite(facts, first, last) for facts in twin_facts()]
    return write_planned(folder / "twins", planned, source=world_source("twins", len(planned), (first, last), 1))


def table(bands: Sequence[Band], values: dict[str, dict[str, float]]) -> None:
    print("| variable | measure | real | synthetic | accepted |\n|---|---|---|---|---|")
    for band in bands:
        value = values[band.variable][band.measure]
        mark = "" if band.holds(value) else " (outside)"
        accepted = f"{band.low:.3g} to {band.high:.3g}"
        print(f"| {band.variable} | {band.measure} | {band.real} | {value:.4g}{mark} | {accepted} |")


def errors(store: Store, features: Sequence[str], targets: Sequence[str], n_test: int) -> dict[str, dict[str, float]]:
    result = {}
    for target in targets:
        found = baseline_errors(store, target, features, n_test=n_test)
        result[target] = {
            "lr": found.lr,
            "xgb": found.xgb,
            "own": found.own,
            "ratio": found.ratio,
            "shift": found.shift,
        }
    return result


def compare(folder: Path) -> None:
    store = twins(folder)
    table(measure_bands(), summarise(measure_store(store, [*store.targets, "TA", "VPD", "SW_IN"])))
    print("\nlr and xgb on 20 held-out towers, without satellite data")
    table(error_bands(), errors(store, OPEN_FEATURES, ("GPP", "NEE"), 20))
    print("\nlr and xgb on 20 held-out towers, all covariates")
    table(PUBLISHED_ERRORS, errors(store, store.covariates, store.targets, 20))


def measure(path: str) -> None:
    store = Store(path)
    summary = summarise(measure_store(store, [*store.targets, "TA", "VPD", "SW_IN"]))
    for name, values in summary.items():
        print(name, {key: float(f"{value:.4g}") for key, value in values.items()})
    for name, values in errors(store, OPEN_FEATURES, store.targets, min(20, len(store.site_ids) // 3)).items():
        print(name, {key: round(value, 3) for key, value in values.items()})


def board(folder: Path) -> None:
    """Median RMSE of constant, lr and xgb (200 trees on 400,000 rows) over the domains of the published scenarios."""
    import xgboost

    store = write_world(folder / "world", profile="published", jobs=2)
    print("| target | scenario | model | " + " | ".join(BOARD_SCALES) + " |\n|" + "---|" * 9)
    for target in store.targets:
        for scenario in ("temporal", "spatial", "temperature"):
            split = make_split(store, scenario, target=target, jobs=2)
            train, test = split.train, split.test
            rows = np.random.default_rng(1).choice(len(train), min(400_000, len(train)), replace=False)
            x, y = train.X[rows], train.y[rows].astype(np.float64)
            setting = {"max_depth": 7, "learning_rate": 0.1, "tree_method": "hist", "nthread": 2, "seed": 1}
            trees = xgboost.train(setting, xgboost.DMatrix(x, label=y), 200)
            weights, *_ = np.linalg.lstsq(np.hstack([x, np.ones((len(x), 1))]), y, rcond=None)
            predicted = {
                "constant": np.full(len(test), y.mean()),
                "lr": test.X @ weights[:-1] + weights[-1],
                "xgb": trees.predict(xgboost.DMatrix(test.X)),
            }
            for name, values in predicted.items():
                scores = ft.evaluate(test, values).frame
                middle = dict(scores.group_by("scale").agg(pl.col("rmse").median()).iter_rows())
                numbers = " | ".join(f"{middle[scale]:.3g}" for scale in BOARD_SCALES)
                print(f"| {target} | {scenario} | {name} | {numbers} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sites", type=int, default=60)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--compare", action="store_true")
    parser.add_argument("--measure", metavar="STORE")
    parser.add_argument("--board", action="store_true")
    chosen = parser.parse_args()
    if chosen.measure:
        measure(chosen.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        if chosen.compare:
            compare(Path(folder))
        elif chosen.board:
            board(Path(folder))
        else:
            speed(Path(folder), chosen.sites, chosen.jobs)


if __name__ == "__main__":
    main()
