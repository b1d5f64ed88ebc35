"""Worst-group forests: what choosing the leaf values costs beside growing the trees.

    python benchmarks/models_maxrm.py                         # 100,000 rows, 147 domains, 100 trees, leaves of 5 and 20
    python benchmarks/models_maxrm.py --domains 440 --trees 20
    python benchmarks/models_maxrm.py --store towers/ --scenario temperature --target GPP

Growing is scikit-learn's ``RandomForestRegressor.fit`` (the same trees, the same threads, in the same run); the ratio
is leaf values over growing, to be at most 0.5. Without a store the rows are a made-up world of towers.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np


def world(rows: int, domains: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hours of towers that differ in climate, light use, respiration, noise and number of hours; 24 columns."""
    g = np.random.default_rng(seed)
    share = g.gamma(2.0, 1.0, domains) + 0.2
    domain = np.sort(g.choice(domains, rows, p=share / share.sum()))
    domain[:domains] = np.arange(domains)
    domain.sort()
    hour, day = g.integers(0, 24, rows), g.integers(0, 365, rows)
    warmth, kind = g.normal(10, 8, domains), g.integers(0, 12, domains)
    season = -np.cos(2 * np.pi * (day - 20) / 365)
    light = np.maximum(np.sin(np.pi * (hour - 6) / 12), 0) * (0.6 + 0.4 * season)
    air = warmth[domain] + 10 * season + 4 * light + g.normal(0, 3, rows)
    radiation = 900 * light * g.beta(3, 2, rows)
    dryness = np.maximum(0.6 * np.exp(0.06 * air) * g.gamma(2, 1, rows), 0)
    green = np.clip(0.4 + 0.3 * season * g.uniform(0, 1, domains)[domain] + g.normal(0, 0.08, rows), 0, 1)
    spare = g.normal(size=(rows, 8)) + g.normal(size=(domains, 8))[domain]
    X = np.column_stack([air, radiation, dryness, green, spare, np.eye(12)[kind][domain]]).astype(np.float32)
    use, thirst = g.lognormal(0, 0.35, domains), g.uniform(0.02, 0.2, domains)
    flux = 30 * green * radiation / (radiation + 350) * use[domain] * np.exp(-thirst[domain] * dryness)
    flux *= 1 / (1 + np.exp(-(air - 2)))
    y = flux + g.normal(size=rows) * (0.3 + 0.15 * flux) * g.lognormal(0, 0.4, domains)[domain]
    return X, y.astype(np.float32), domain


def from_store(store: str, scenario: str, target: str, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Train rows of a real split."""
    import fluxtrapolation as ft

    part = ft.split(store, scenario, target=target).train.subsample(rows, seed=0)
    return part.X, part.y, part.domain_codes


def measure(
    X: np.ndarray,
    y: np.ndarray,
    domains: np.ndarray,
    *,
    leaves: tuple[int, ...] = (5, 20),
    trees: int = 100,
    jobs: int = 2,
    models: tuple[str, ...] = ("maxrm-mse", "maxrm-regret"),
    joint: bool = False,
) -> list[dict[str, Any]]:
    """Fit each model at each leaf size; one record of seconds, gaps and risks for each."""
    from fluxtrapolation.models import model_spec

    records = []
    for leaf in leaves:
        for name in models:
            model = model_spec(name).build(n_estimators=trees, min_samples_leaf=leaf, n_jobs=jobs, joint=joint)
            begin = time.perf_counter()
            model.fit(X, y, domains=domains, seed=0)
            seconds = time.perf_counter() - begin
            begin = time.perf_counter()
            model.predict(X)
            report = model.report_
            records.append(
                {
                    "model": name,
                    "min_samples_leaf": leaf,
                    "seconds": seconds,
                    "predict_rows_per_s": len(X) / (time.perf_counter() - begin),
                    "ratio": report["seconds_leaf_values"] / report["seconds_growing"],
                    **{key: report[key] for key in sorted(report)},
                }
            )
    return records


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--domains", type=int, default=147)
    parser.add_argument("--trees", type=int, default=100)
    parser.add_argument("--leaves", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=["maxrm-mse", "maxrm-regret"])
    parser.add_argument("--joint", action="store_true")
    parser.add_argument("--store")
    parser.add_argument("--scenario", default="temperature")
    parser.add_argument("--target", default="GPP")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.store:
        X, y, domains = from_store(options.store, options.scenario, options.target, options.rows)
    else:
        X, y, domains = world(options.rows, options.domains)
    records = measure(
        X,
        y,
        domains,
        leaves=tuple(options.leaves),
        trees=options.trees,
        jobs=options.jobs,
        models=tuple(options.models),
        joint=options.joint,
    )
    if options.json:
        print(json.dumps(records, indent=1))
        return
    print(f"{len(X):,} rows, {len(np.unique(domains))} domains, {X.shape[1]} columns, {options.jobs} threads")
    print("| model | leaf | trees | growing s | leaf values s | ratio | gap max | steps | worst risk plain -> chosen |")
    print("|---|---|---|---|---|---|---|---|---|")
    for r in records:
        print(
            f"| {r['model']} | {r['min_samples_leaf']} | {r['n_trees']} | {r['seconds_growing']:.1f} | "
            f"{r['seconds_leaf_values']:.1f} | {r['ratio']:.3f} | {r['gap_max']:.1e} | {r['steps_median']:.0f} | "
            f"{r['worst_risk_plain']:.2f} -> {r['worst_risk']:.2f} |"
        )
        if "seconds_own_forests" in r:
            print(f"  own forests: {r['seconds_own_forests']:.1f} s")
        if "seconds_joint" in r:
            print(f"  joint: {r['seconds_joint']:.1f} s, {r['joint_steps']} steps, gap {r['joint_gap']:.1e}")


if __name__ == "__main__":
    main()
