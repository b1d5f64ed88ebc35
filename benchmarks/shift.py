"""Time and memory of P(X) and P(Y|X) of one scenario at the published size, on two threads.

    python benchmarks/shift.py [--store world/] [--scenario temperature] [--repeats 10] [--max-rows 200000] [--quick]

The peer is the work itself, bare: as many gradient-boosted classifiers and regressors of scikit-learn as the published
protocol needs (10 repeats: 10 classifiers for P(X), and for P(Y|X) a classifier and a regressor in both directions), on
arrays of the same number of rows in memory. The ratio says what the by-site measures, permutation tests, importances,
distances, intervals and tables cost beside it. Without --store a world of the published size (207 towers) is simulated
first. ``--max-rows 0`` takes all rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

COMMON = """
import json, os, resource, time, warnings
warnings.simplefilter("ignore")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
import numpy as np
from fluxtrapolation.scenarios import make_split
split = make_split({store!r}, {scenario!r}, target="GPP")
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
held = peak()
"""

OURS = """
import fluxtrapolation as ft
begin = time.perf_counter()
of_x = ft.shift.covariate(split, repeats={repeats}, max_rows={rows}, seed=0)
middle = time.perf_counter()
of_y = ft.shift.conditional(split, repeats={repeats}, max_rows={rows}, seed=0)
end = time.perf_counter()
print(json.dumps({{"px_s": middle - begin, "pyx_s": end - middle, "peak_gb": peak(), "split_gb": held,
    "train_rows": len(split.train), "test_rows": len(split.test),
    "used": of_x.record["train_rows_used"] + of_x.record["test_rows_used"]}}))
"""

BARE = """
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
total, rng = len(split.train) + len(split.test), np.random.default_rng(0)
share = 1.0 if {rows} is None else min(1.0, {rows} / total)
train = split.train.take(np.sort(rng.choice(len(split.train), int(share * len(split.train)), replace=False)))
there = np.flatnonzero(np.isfinite(split.test.y))
test = split.test.take(np.sort(rng.choice(there, int(share * len(there)), replace=False)))
def cut(part, k):
    rows = rng.permutation(len(part))
    return [rows[i::k] for i in range(k)]
def classify(a, b, c, d):
    X = np.concatenate([train.X[a], test.X[b]])
    made = HistGradientBoostingClassifier(max_iter=100, max_depth=6, early_stopping=False)
    made.fit(X, np.arange(len(X)) >= len(a))
    return made.predict_proba(train.X[c]), made.predict_proba(test.X[d])
begin = time.perf_counter()
for _ in range({repeats}):
    a, c = cut(train, 2)
    b, d = cut(test, 2)
    classify(a, b, c, d)
    for home, away in ((train, test), (test, train)):
        one, two, three = cut(home, 3)
        four, five = cut(away, 2)
        classify(*((one, four, three, five) if home is train else (four, one, five, three)))
        tree = HistGradientBoostingRegressor(max_iter=100, max_depth=6, early_stopping=False)
        tree.fit(home.X[two], home.y[two])
        tree.predict(home.X[three]), tree.predict(away.X[five])
print(json.dumps({{"bare_s": time.perf_counter() - begin}}))
"""


def measure(body: str, given: dict[str, object]) -> dict[str, float]:
    """Run in a process of its own, so that the peak of memory is its own."""
    done = subprocess.run([sys.executable, "-c", (COMMON + body).format(**given)], capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, default=None)
    parser.add_argument("--scenario", default="temperature")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--max-rows", type=int, default=200_000)
    parser.add_argument("--quick", action="store_true", help="a look: a small world, few rows and repeats")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        store = options.store or Path(scratch) / "world"
        if options.store is None:
            from fluxtrapolation.data.synthetic import write_world

            write_world(store, profile="small" if options.quick else "published")
        given: dict[str, object] = {
            "store": str(store),
            "scenario": options.scenario,
            "repeats": 2 if options.quick else options.repeats,
            "rows": 20_000 if options.quick else (options.max_rows or None),
        }
        told = measure(OURS, given) | measure(BARE, given)
    told["ratio"] = (told["px_s"] + told["pyx_s"]) / told["bare_s"]
    if options.json:
        print(json.dumps(told, indent=1))
        return 0
    print(
        f"{options.scenario}: {told['train_rows']:,} train and {told['test_rows']:,} test rows, {told['used']:,} used"
    )
    print(f"P(X)    {told['px_s']:7.1f} s")
    print(f"P(Y|X)  {told['pyx_s']:7.1f} s")
    print(f"bare    {told['bare_s']:7.1f} s   the fits of the published protocol alone; ratio {told['ratio']:.1f}")
    print(f"memory  {told['peak_gb']:7.2f} GB at the peak, {told['split_gb']:.2f} GB the split alone")
    return 0


if __name__ == "__main__":
    sys.exit(main())
