"""Boosted trees and Huber regression: what our layer costs over the bare library, on the same arrays in memory.

python benchmarks/models_trees.py                        # 1 million rows x 25 columns, 2 threads
python benchmarks/models_trees.py --rows 5000000         # the size of the requirement
python benchmarks/models_trees.py --models xgb lightgbm --repeats 3

Ours is ``model.fit(X, y, eval_set=...)``; the peer is the library called directly on the same arrays with the same
parameters and validation rows. Each fit runs in a process of its own; ours and the peer take turns, and the best of
each counts. Both must give the same predictions; of Huber regression, nearly so (the solvers differ).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

COLUMNS, CLASSES = 25, 12
XGB = {"n_estimators": 125, "max_depth": 7, "learning_rate": 0.1, "subsample": 0.8}
LIGHTGBM = {"n_estimators": 125, "max_depth": 8, "num_leaves": 63, "learning_rate": 0.1}
HUBER = {"alpha": 0.01, "epsilon": 1.35}
NAMES = ("xgb", "xgb-conservative", "xgb-balanced", "lightgbm", "robust-lr")


def make(folder: Path, rows: int) -> None:
    """Covariates of very different size with one-hot classes, and a target with bends, thresholds and heavy tails."""
    for name, n, seed in (("train", rows, 0), ("validation", max(rows // 10, 1000), 1)):
        g = np.random.default_rng(seed)
        X = np.zeros((n, COLUMNS), dtype=np.float32)
        for column in range(COLUMNS - CLASSES):
            X[:, column] = g.gamma(2, 50, n) if column % 2 else g.normal(10, 8, n)
        classes = g.integers(0, CLASSES, n)
        X[np.arange(n), COLUMNS - CLASSES + classes] = 1.0
        y = 0.3 * X[:, 0] - 0.01 * X[:, 1] + np.maximum(X[:, 2] - 10, 0) + (X[:, 3] > 120) * (classes % 3)
        np.save(folder / f"{name}_X.npy", X)
        np.save(folder / f"{name}_y.npy", (y + g.standard_t(3, n)).astype(np.float32))
        np.save(folder / f"{name}_domains.npy", np.sort(g.integers(0, 150, n) ** 2 // 150).astype(np.int32))


def feature_names() -> list[str]:
    first = ["TA", "VPD", "SW_IN", "EVI", "NDWI_SWIR2"]
    return first + [f"c{i}" for i in range(COLUMNS - CLASSES - 5)] + [f"PFT_{i}" for i in range(CLASSES)]


def ours(name: str, data: dict[str, Any], threads: int) -> tuple[float, Any, dict[str, Any]]:
    from fluxtrapolation.models import model_spec

    params: dict[str, Any] = {"robust-lr": HUBER, "lightgbm": LIGHTGBM}.get(name, XGB)
    spec = model_spec(name)
    model = spec.build(**params)
    if "n_jobs" in model.get_params():
        model.set_params(n_jobs=threads)
    begin = time.perf_counter()
    model.fit(
        data["train_X"],
        data["train_y"],
        domains=data["train_domains"] if spec.needs.domains else None,
        eval_set=(data["validation_X"], data["validation_y"]) if spec.needs.validation else None,
        feature_names=feature_names(),
        seed=0,
    )
    return time.perf_counter() - begin, model.predict(data["validation_X"][:1000]), model.report_


def bare(name: str, data: dict[str, Any], threads: int) -> tuple[float, Any, dict[str, Any]]:
    """The library called directly, as one would in a notebook."""
    X, y, held = data["train_X"], data["train_y"], data["validation_X"]
    if name == "robust-lr":
        from sklearn.linear_model import HuberRegressor
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import RobustScaler

        begin = time.perf_counter()
        model = make_pipeline(RobustScaler(), HuberRegressor(**HUBER, max_iter=1000)).fit(X, y)
        return time.perf_counter() - begin, model.predict(held[:1000]), {"iterations": int(model[-1].n_iter_)}
    if name == "lightgbm":
        import lightgbm

        begin = time.perf_counter()
        params = {
            "objective": "regression",
            "metric": "rmse",
            "data_sample_strategy": "goss",
            "learning_rate": LIGHTGBM["learning_rate"],
            "max_depth": LIGHTGBM["max_depth"],
            "num_leaves": LIGHTGBM["num_leaves"],
            "min_data_in_leaf": 20,
            "feature_fraction": 0.8,
            "seed": 0,
            "deterministic": True,
            "force_row_wise": True,
            "num_threads": threads,
            "verbosity": -1,
        }
        train = lightgbm.Dataset(X, label=y, params=params)
        valid = lightgbm.Dataset(held, label=data["validation_y"], reference=train, params=params)
        stop = lightgbm.early_stopping(10, verbose=False)
        grown = lightgbm.train(params, train, int(LIGHTGBM["n_estimators"]), valid_sets=[valid], callbacks=[stop])
        return time.perf_counter() - begin, grown.predict(held[:1000]), {"trees": grown.num_trees()}
    import xgboost

    begin = time.perf_counter()
    weight = None
    if name == "xgb-conservative":
        keep = [i for i, column in enumerate(feature_names()) if not column.startswith("c")]
        X, held = X[:, keep], held[:, keep]
    elif name == "xgb-balanced":
        counts = np.bincount(data["train_domains"])
        weight = (len(y) / (np.count_nonzero(counts) * counts[data["train_domains"]])).astype(np.float32)
    train = xgboost.QuantileDMatrix(X, label=y, weight=weight, nthread=threads)
    valid = xgboost.QuantileDMatrix(held, label=data["validation_y"], ref=train, nthread=threads)
    params = {
        "objective": "reg:squarederror",
        "eval_metric": "rmse",
        "tree_method": "hist",
        "max_depth": XGB["max_depth"],
        "learning_rate": XGB["learning_rate"],
        "subsample": XGB["subsample"],
        "seed": 0,
        "nthread": threads,
    }
    booster = xgboost.train(
        params,
        train,
        int(XGB["n_estimators"]),
        evals=[(valid, "validation")],
        early_stopping_rounds=10,
        verbose_eval=False,
    )
    seconds = time.perf_counter() - begin
    best = (0, booster.best_iteration + 1)
    return seconds, booster.inplace_predict(held[:1000], iteration_range=best), {"trees": best[1]}


def child(which: str, name: str, folder: Path, threads: int) -> None:
    # Read as a user has it: in memory, once.
    data = {file.stem: np.load(file) for file in sorted(folder.glob("*.npy"))}
    begin = processor_seconds()
    seconds, predicted, facts = (ours if which == "ours" else bare)(name, data, threads)
    found = {
        "seconds": seconds,
        "processor": processor_seconds() - begin,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6),
        "predicted": np.asarray(predicted).tolist(),
        "facts": {key: facts[key] for key in ("trees", "steps", "iterations") if key in facts},
    }
    print(json.dumps(found))


def processor_seconds() -> float:
    """Of all threads; where other work shares the cores it says more than the wall clock."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def measure(which: str, name: str, folder: Path, threads: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", which, "--models", name, "--folder", str(folder)]
    # Idle threads sleep in both: where cores are shared, spinning ones cost many times the fit.
    env = os.environ | {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([*command, "--threads", str(threads)], env=env, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--models", nargs="+", choices=NAMES, default=["xgb"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--child", choices=["ours", "bare"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.models[0], options.folder, options.threads)
        return
    print(f"{options.rows:,} rows x {COLUMNS} columns, {options.threads} threads, best of {options.repeats}\n")
    print("| model | | ours | bare | ratio |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make(folder, options.rows)
        for name in options.models:
            found: dict[str, list[dict[str, Any]]] = {"ours": [], "bare": []}
            for turn in range(options.repeats):
                for which in ("ours", "bare") if turn % 2 == 0 else ("bare", "ours"):
                    found[which].append(measure(which, name, folder, options.threads))
            apart = np.abs(np.subtract(found["ours"][0]["predicted"], found["bare"][0]["predicted"])).max()
            for label, key in (("fit, wall s", "seconds"), ("processor s", "processor"), ("peak memory, GB", "peak")):
                own, peer = (min(run[key] for run in found[which]) for which in ("ours", "bare"))
                print(f"| {name} | {label} | {own:.2f} | {peer:.2f} | {own / peer:.3f} |")
            facts = found["ours"][0]["facts"], found["bare"][0]["facts"]
            print(f"| {name} | facts; predictions | {facts[0]} | {facts[1]} | apart {apart:.1g} |", flush=True)


if __name__ == "__main__":
    main()
