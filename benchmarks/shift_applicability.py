"""Time and memory of the dissimilarity index and of the autocorrelation, at the published size, on two threads.

    python benchmarks/shift_applicability.py [--store world/] [--scenario spatial] [--jobs 2] [--quick] [--json]

The index of every test row (some 1.6 million) to the nearest of 50,000 train rows, exact, with equal weights (the
hardest: the dimension is highest) and with the weights of boosted trees, beside what one first writes: one k-d tree
over the standardised one-hot columns, on a sample of the rows, with the same distances. The time holds the choice of
the reference rows, the mean distance, the threshold by tower, and the index of all rows; the memory is the process's
peak, the split included. Without --store a world of the published size (207 towers) is simulated first.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

COMMON = """
import json, resource, time, warnings
warnings.simplefilter("ignore")
import numpy as np
from fluxtrapolation.scenarios import make_split
split = make_split({store!r}, {scenario!r}, target="GPP", jobs={jobs})
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
"""

OURS = """
from fluxtrapolation.shift.dissimilarity import dissimilarity
from fluxtrapolation.shift.importances import feature_weights
model = None
if {weights!r} == "model":
    import fluxtrapolation as ft
    small = split.train.subsample(200_000, seed=0)
    model = ft.model("xgb", n_estimators=100, n_jobs={jobs}).fit(small.X, small.y)
held = peak()
begin = time.perf_counter()
weights = feature_weights(model, split.train, split.validation, weights={weights!r})
made = dissimilarity(split.train, weights.weights, reference_rows={reference}, jobs={jobs})
ready = time.perf_counter()
index = made.index(split.test.X)
end = time.perf_counter()
told = {{"seconds": end - begin, "threshold_s": ready - begin, "index_s": end - ready, "rows": len(index),
    "reference": len(made.reference), "features": len(split.feature_names), "peak_gb": peak(), "split_gb": held,
    "outside": float((index > made.threshold).mean())}}
if {plain_rows}:
    from scipy.spatial import cKDTree
    names, space = split.feature_names, made.space
    factor = np.zeros(len(names))
    factor[space.columns] = space.factor
    factor[space.pft] = space.gap / np.sqrt(2)
    rows = np.sort(np.random.default_rng(0).choice(len(index), min({plain_rows}, len(index)), replace=False))
    begin = time.perf_counter()
    tree = cKDTree(made.reference.X * factor)
    found = tree.query(split.test.X[rows] * factor, workers={jobs})[0] / made.mean_distance
    told["plain_s"] = (time.perf_counter() - begin) * len(index) / len(rows)
    told["apart"] = float(np.abs(found - index[rows]).max())
print(json.dumps(told))
"""

SERIES = """
from fluxtrapolation.shift.autocorrelation import autocorrelation
begin = time.perf_counter()
found = autocorrelation(split.test, np.zeros(len(split.test)))
print(json.dumps({{"seconds": time.perf_counter() - begin, "rows": len(split.test), "towers": len(split.test.sites),
    "series": found.effective["series"].n_unique(), "peak_gb": peak()}}))
"""


def measure(body: str, given: dict[str, object]) -> dict[str, float]:
    """Run in a process of its own, so that the peak of memory is its own."""
    code = (COMMON + body).format(**given)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=None)
    parser.add_argument("--scenario", default="spatial")
    parser.add_argument("--reference", type=int, default=50_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="5,000 reference rows, a smaller check")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.reference = min(options.reference, 5000)
    with tempfile.TemporaryDirectory() as scratch:
        store = options.store
        if store is None:
            from fluxtrapolation.data.synthetic import write_world

            store = write_world(Path(scratch) / "world", profile="published").path
        given = {
            "store": str(store),
            "scenario": options.scenario,
            "reference": options.reference,
            "jobs": options.jobs,
            "plain_rows": 2_000 if options.quick else 20_000,
        }
        found = {name: measure(OURS, given | {"weights": name}) for name in ("equal", "model")}
        series = measure(SERIES, given)
    for name, one in found.items():
        if one["apart"] > 1e-9:
            raise SystemExit(f"weights {name}: the two searches differ by {one['apart']}")
    if options.json:
        print(json.dumps({"index": found, "autocorrelation": series}))
        return
    one = found["equal"]
    print(
        f"index of {one['rows']:,} test rows against {one['reference']:,} train rows, {one['features']} features, "
        f"{options.jobs} threads"
    )
    print(
        f"{'weights':10} {'all, s':>8} {'threshold, s':>13} {'index, s':>9} {'peak GB':>8} {'of it split':>12}  plain"
    )
    for name, one in found.items():
        print(
            f"{name:10} {one['seconds']:8.1f} {one['threshold_s']:13.1f} {one['index_s']:9.1f} {one['peak_gb']:8.2f} "
            f"{one['split_gb']:10.2f}  {one['plain_s']:.0f} s ({one['plain_s'] / one['index_s']:.0f} times as long)"
        )
    print(
        f"autocorrelation, {series['series']:.0f} series of {series['towers']:.0f} towers ({series['rows']:,} hours), "
        f"three scales: {series['seconds']:.1f} s"
    )


if __name__ == "__main__":
    main()
