"""Time and memory of linear models on all train rows, from an open store, beside scikit-learn on the same split.

    python benchmarks/models_linear.py [--store world/] [--scenario temperature] [--target GPP] [--repeats 3] [--json]

Each measurement is a process of its own. ``seconds`` runs from the open store to the fitted model: reading the train
part and fitting. scikit-learn's ``LinearRegression`` and ``Ridge`` get the same arrays. Without --store a world of the
published size (207 towers, about 10 M hours) is simulated into a temporary folder first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

BODY = """
import json, resource, time
import numpy as np
import fluxtrapolation as ft
from fluxtrapolation.scenarios import make_split
from fluxtrapolation.models import model_spec
{late}
store = ft.open_store({store!r})
begin = time.perf_counter()
train = make_split(store, {scenario!r}, target={target!r}, parts=("train",)).train
read = time.perf_counter()
{fit}
end = time.perf_counter()
print(json.dumps({{"read": read - begin, "fit": end - read, "seconds": end - begin, "rows": len(train),
    "rmse": float(np.sqrt(np.mean((predict(train.X[::97]) - train.y[::97]) ** 2))),
    "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}}))
"""
OURS = "predict = model_spec({name!r}).build().fit(train.X, train.y, feature_names=train.feature_names).predict"
THEIRS = {
    "lr": (
        "from sklearn.linear_model import LinearRegression",
        "predict = LinearRegression().fit(train.X, train.y).predict",
    ),
    "ridge": (
        "from sklearn.linear_model import Ridge\nfrom sklearn.pipeline import make_pipeline\n"
        "from sklearn.preprocessing import RobustScaler",
        "predict = make_pipeline(RobustScaler(), Ridge()).fit(train.X, train.y).predict",
    ),
}


def measure(given: dict[str, str], late: str, fit: str, repeats: int) -> dict[str, float]:
    """The fastest of some processes."""
    runs = []
    for _ in range(repeats):
        code = BODY.format(**given, late=late, fit=fit)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout.splitlines()[-1]))
    best: dict[str, float] = min(runs, key=lambda run: run["seconds"])
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=None)
    parser.add_argument("--scenario", default="temperature")
    parser.add_argument("--target", default="GPP")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        store = options.store
        if store is None:
            from fluxtrapolation.data.synthetic import write_world

            store = write_world(Path(scratch) / "world", profile="published").path
        given = {"store": str(store), "scenario": options.scenario, "target": options.target}
        found = {}
        for name, (late, fit) in THEIRS.items():
            found[name] = {
                "ours": measure(given, "", OURS.format(name=name), options.repeats),
                "scikit-learn": measure(given, late, fit, options.repeats),
            }
    if options.json:
        print(json.dumps(found))
        return
    rows = int(found["lr"]["ours"]["rows"])
    print(f"{rows:,} train rows, scenario {options.scenario}, target {options.target}\n")
    print("| model | by | read s | fit s | together s | peak GB | train RMSE |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for name, both in found.items():
        for who, one in both.items():
            print(
                f"| {name} | {who} | {one['read']:.2f} | {one['fit']:.2f} | {one['seconds']:.2f} "
                f"| {one['peak_gb']:.2f} | {one['rmse']:.4f} |"
            )


if __name__ == "__main__":
    main()
