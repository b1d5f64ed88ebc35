"""Time and memory from an open store to arrays: rows and windows, beside a plain pandas script in the same run.

    python benchmarks/split.py [--store world/] [--scenario temperature] [--target GPP] [--repeats 3]

Each measurement is a process of its own: interpreter, imports, opening and reading included. Without --store a world
of the published size (207 towers, about 10.5 M hours) is simulated into a temporary folder first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

OURS = """
from fluxtrapolation.scenarios import make_split
split = make_split({store!r}, {scenario!r}, target={target!r}, sequences={sequences})
shapes = {{part.name: [len(part), part.X.shape[1]] for part in split.parts}}
windows = {{part.name: len(part.windows()) for part in split.parts}} if {sequences} else {{}}
total = float(sum(part.y[part.qc == 1].sum(dtype="float64") for part in split.parts)) if not {sequences} else None
"""

# What a careful user writes without the package: read the Parquet files, join, one-hot, filter, convert.
PANDAS = """
import pandas as pd
import polars as pl  # only to read Parquet
import fluxtrapolation as ft
store, scenario = ft.open_store({store!r}), ft.scenario({scenario!r})
facts = store.sites.to_dict(as_series=False)
igbp = dict(zip(facts["site_id"], facts["igbp"]))
def read(site):
    table = pl.read_parquet(store.file_of(site))
    columns = {{name: table[name].to_numpy() for name in table.columns}}
    return pd.DataFrame(columns).assign(site_id=site, igbp=igbp[site])
frame = pd.concat([read(site) for site in store.site_ids], ignore_index=True)
frame = pd.get_dummies(frame, columns=["igbp"], prefix="PFT", dtype="float32")
features = [c for c in frame.columns if c in store.covariates or c.startswith("PFT_")]
usable = (frame["qc_mask"] == 1) & frame[list(store.targets)].notna().all(axis=1)
test, validation = frame["site_id"].isin(scenario.test), frame["site_id"].isin(scenario.validation)
parts = {{"train": frame[~test & ~validation & usable], "validation": frame[validation & usable], "test": frame[test]}}
def arrays_of(part):
    return part[features].to_numpy("float32"), part[{target!r}].to_numpy("float32"), part["qc_mask"].to_numpy()
arrays = {{name: arrays_of(part) for name, part in parts.items()}}
shapes = {{name: list(X.shape) for name, (X, y, q) in arrays.items()}}
windows = {{}}
total = float(sum(y[q == 1].sum(dtype="float64") for X, y, q in arrays.values()))
"""

FRAME = """
import time; begin = time.perf_counter()
import warnings; warnings.simplefilter("ignore")
{body}
import json, resource
print(json.dumps({{"seconds": time.perf_counter() - begin, "shapes": shapes, "windows": windows, "total": total,
    "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6}}))
"""


def measure(body: str, repeats: int) -> dict[str, object]:
    runs = []
    for _ in range(repeats):
        done = subprocess.run(
            [sys.executable, "-c", FRAME.format(body=body)], capture_output=True, text=True, check=True
        )
        runs.append(json.loads(done.stdout))
    middle = sorted(runs, key=lambda run: run["seconds"])[len(runs) // 2]
    return middle | {"seconds": statistics.median(run["seconds"] for run in runs)}


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
        rows = measure(OURS.format(**given, sequences=False), options.repeats)
        windows = measure(OURS.format(**given, sequences=True), options.repeats)
        peer = measure(PANDAS.format(**given), 1)
    if rows["shapes"] != peer["shapes"] or abs(rows["total"] - peer["total"]) > 1e-6 * abs(peer["total"]):  # type: ignore[operator]
        raise SystemExit(f"the two splits differ: {rows} against {peer}")
    if options.json:
        print(json.dumps({"rows": rows, "windows": windows, "pandas": peer}))
        return
    print(
        f"store {store}, scenario {options.scenario}, target {options.target}; "
        f"whole processes, median of {options.repeats}"
    )
    print(f"{'':28} {'seconds':>8} {'peak GB':>8}")
    for name, found in (("rows", rows), ("windows, every hour", windows), ("rows, plain pandas", peer)):
        print(f"{name:28} {found['seconds']:8.2f} {found['peak_gb']:8.2f}   {found['shapes']} {found['windows'] or ''}")
    ratio = float(peer["seconds"]) / float(rows["seconds"])  # type: ignore[arg-type]
    print(f"plain pandas takes {ratio:.1f} times as long (same rows, same sum of targets)")


if __name__ == "__main__":
    main()
