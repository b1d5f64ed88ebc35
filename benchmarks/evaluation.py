"""Time and memory of the evaluation at the published size, next to a naive pandas version in the same run.

    python benchmarks/evaluation.py [--threads 2] [--repeats 3] [--folder DIR] [--json]
    python benchmarks/evaluation.py --scaling [--copies 1,3,10,30] [--csv]    # how both grow with the sites

The table has the shape of the published temporal test set: 126 sites, 340 site-years, 2,981,088 hourly rows. Every
figure comes from a process of its own; the best of the repeats is shown. The naive version is what one writes first
in pandas: a groupby per scale and a Python loop over the groups for the metrics. ``--scaling`` repeats the table with
new sites: time should grow with the rows, memory should not.
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

ROWS = 2_981_088
CSV_NAME = "time-split_GPP_bench_val_mean_predictions.csv"


def years_of_sites() -> list[list[int]]:
    """14 sites with one year and 112 with 2020 and others: 340 site-years, 112 of them leap years."""
    sites = [[2019 + 2 * (number % 2)] for number in range(14)]
    sites += [[2019, 2020, 2021, 2022]] * 30 + [[2019, 2020, 2021]] * 42 + [[2020, 2021]] * 40
    return sites


def make_table(copy: int) -> Any:
    """The table with sites of its own for every copy; float32 as models give it."""
    import numpy as np
    import polars as pl

    rng = np.random.default_rng(copy)
    parts = []
    for number, years in enumerate(years_of_sites()):
        times = pl.concat(
            [
                pl.datetime_range(pl.datetime(year, 1, 1), pl.datetime(year, 12, 31, 23), "1h", eager=True)
                for year in years
            ]
        )
        n = len(times)
        day = times.dt.ordinal_day().to_numpy()
        true = 5 - 4 * np.cos(day / 58.1) + rng.normal(size=n) + 3 * np.sin(times.dt.hour().to_numpy() / 3.82)
        parts.append(
            pl.DataFrame(
                {
                    "site_id": pl.repeat(f"S{copy:02d}-{number:03d}", n, eager=True),
                    "time": times,
                    "y_true": true.astype(np.float32),
                    "y_pred": (true + rng.normal(size=n)).astype(np.float32),
                    "qc_mask": (rng.random(n) < 0.7).astype(np.int8),
                }
            )
        )
    frame = pl.concat(parts)
    if frame.height != ROWS:
        raise SystemExit(f"the table has {frame.height} rows, not {ROWS}")
    return frame


def write_tables(folder: Path, copies: int = 1, *, csv: bool = True) -> list[Path]:
    """Write the table as our Parquet and as the published CSV, ``copies`` times with sites of their own."""
    import polars as pl

    from fluxtrapolation.evaluation import Identity
    from fluxtrapolation.evaluation.predictions import IDENTITY_KEY, ROW_GROUP

    place = folder / str(copies)
    place.mkdir(parents=True, exist_ok=True)
    parts = []
    text = place / CSV_NAME
    for copy in range(copies):
        frame = make_table(copy)
        parts.append(folder / f"part-{copies}-{copy}.parquet")
        frame.write_parquet(parts[-1])
        if csv:
            label = pl.format("('{}', {})", "site_id", pl.col("time").dt.year())
            lines = frame.select("y_true", "y_pred", label.alias("env"), "site_id", "time")
            with text.open("wb" if copy == 0 else "ab") as file:
                lines.write_csv(file, include_header=copy == 0, datetime_format="%Y-%m-%d %H:%M:%S")
    who = Identity(scenario="temporal", target="GPP", model="bench", selection="mean")
    path = place / "predictions.parquet"
    # One file, without holding the copies in memory.
    pl.scan_parquet(parts).sink_parquet(path, row_group_size=ROW_GROUP, metadata={IDENTITY_KEY: who.to_json()})
    for part in parts:
        part.unlink()
    return [path, text] if csv else [path]


def ours(path: Path) -> dict[str, float]:
    """Read and score with fluxtrapolation; seconds of the call, and a number to compare."""
    from fluxtrapolation.evaluation import Predictions, evaluate

    start = time.perf_counter()
    scores = evaluate(Predictions.read(path))
    seconds = time.perf_counter() - start
    return {"call_s": seconds, "check": float(scores.frame["rmse"].drop_nulls().sum()), "rows": len(scores)}


def naive(path: Path) -> dict[str, float]:
    """The same by groupby in pandas (protocol paper, site-years)."""
    import numpy as np
    import pandas as pd

    def metrics(part: Any) -> tuple[float, ...]:
        both = part[["y_true", "y_pred"]].dropna()
        if both.empty:
            return (np.nan,) * 8
        true, pred = both["y_true"].to_numpy(), both["y_pred"].to_numpy()
        error = true - pred
        spread, mean = ((true - true.mean()) ** 2).sum(), true.mean()
        with np.errstate(all="ignore"):
            correlation = np.corrcoef(true, pred)[0, 1] if len(true) > 1 else np.nan
            mse, mae = (error**2).mean(), np.abs(error).mean()
            return (
                mse,
                mse**0.5,
                mae,
                1 - (error**2).sum() / spread,
                correlation**2,
                error.mean(),
                mae / mean,
                error.mean() / mean,
            )

    start = time.perf_counter()
    if path.suffix == ".csv":
        table = pd.read_csv(path, parse_dates=["time"])
    else:
        import polars as pl

        columns = pl.read_parquet(path, columns=["site_id", "time", "y_true", "y_pred"])
        table = pd.DataFrame({name: columns[name].to_numpy() for name in columns.columns})
    table[["y_true", "y_pred"]] = table[["y_true", "y_pred"]].astype(float)
    table["env"] = table["site_id"] + " " + table["time"].dt.year.astype(str)
    day = table.groupby(["site_id", "env", table["time"].dt.floor("D")]).agg(
        y_true=("y_true", "mean"), y_pred=("y_pred", "mean"), n=("y_true", "size")
    )
    day.loc[day["n"] < 12, "y_true"] = np.nan
    day = day.reset_index()
    day["year"], day["doy"] = day["time"].dt.year, day["time"].dt.dayofyear

    def blocks(code: str, least: int) -> Any:
        found = day.groupby(["env", day["time"].dt.to_period(code)]).agg(
            y_true=("y_true", "mean"), y_pred=("y_pred", "mean"), n=("y_true", "count")
        )
        found.loc[found["n"] < least, "y_true"] = np.nan
        return found.reset_index()

    valid = day[day["y_true"].notna()]
    season = valid.groupby(["site_id", "doy"]).agg(
        y_true=("y_true", "mean"), y_pred=("y_pred", "mean"), n=("y_true", "size")
    )
    season.loc[season["n"] < 2, "y_true"] = np.nan
    season = season.reset_index()
    anom = day.merge(season, on=["site_id", "doy"], how="left", suffixes=("", "_season"))
    for name in ("y_true", "y_pred"):
        anom[name] -= anom[f"{name}_season"]
    year = valid.groupby(["site_id", "year"]).agg(
        y_true=("y_true", "mean"), y_pred=("y_pred", "mean"), n=("y_true", "size")
    )
    year.loc[year["n"] < 183, "y_true"] = np.nan
    year = year.reset_index()
    for name in ("y_true", "y_pred"):
        year[name] -= year.groupby("site_id")[name].transform("mean")
    site = valid.groupby(["env", "year"])[["y_true", "y_pred"]].mean().groupby("env").mean().reset_index()
    scales = [
        (table, "env"), (day, "env"), (blocks("W-SUN", 4), "env"), (blocks("M", 15), "env"),
        (season, "site_id"), (anom, "site_id"), (year, "site_id"), (site, "env"),
    ]  # fmt: skip
    rows = [metrics(part) for frame, key in scales for _, part in frame.groupby(key)]
    seconds = time.perf_counter() - start
    return {"call_s": seconds, "check": float(np.nansum([row[1] for row in rows])), "rows": len(rows)}


def measure(kind: str, path: Path, threads: int, repeats: int) -> dict[str, float]:
    """Best of some processes: seconds in the call, seconds of the process, its peak memory."""
    environment = {**os.environ, "POLARS_MAX_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    best: dict[str, float] = {}
    for _ in range(repeats):
        start = time.perf_counter()
        command = [sys.executable, __file__, "--child", kind, str(path)]
        done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
        found = {**json.loads(done.stdout), "process_s": time.perf_counter() - start}
        if not best:
            best = found
        best = {name: min(best[name], found[name]) for name in best}
    return best


def peak_mb() -> float:
    """Peak resident memory of this process. ``ru_maxrss`` would start from the parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(kind: str, path: Path) -> None:
    """Run one measurement and print it."""
    found = {"ours": ours, "naive": naive}[kind](path)
    found["peak_mb"] = peak_mb()
    print(json.dumps(found))


def scaling(folder: Path, copies: list[int], options: argparse.Namespace) -> None:
    """Print how time and memory grow when the table is repeated with new sites."""
    results = []
    for count in copies:
        for path in write_tables(folder, count, csv=options.csv):
            found = measure("ours", path, options.threads, options.repeats)
            results.append({"file": path.suffix[1:], "copies": count, "table_rows": ROWS * count, **found})
            if not options.folder:
                path.unlink()
    if options.json:
        print(json.dumps(results))
        return
    print(f"{options.threads} threads; the first column repeats the table, each time with 126 new sites")
    print(f"{'':<16}{'rows':>12}{'in call s':>11}{'process s':>11}{'peak MB':>9}{'time ratio':>12}{'memory ratio':>14}")
    for one in results:
        first = next(other for other in results if other["file"] == one["file"])
        print(
            f"{one['copies']:>3} x {one['file']:<10}{one['table_rows']:>12,}{one['call_s']:>11.2f}"
            f"{one['process_s']:>11.2f}{one['peak_mb']:>9.0f}{one['call_s'] / first['call_s']:>12.1f}"
            f"{one['peak_mb'] / first['peak_mb']:>14.2f}"
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep the generated tables here")
    parser.add_argument("--scaling", action="store_true", help="only how time and memory grow with the sites")
    parser.add_argument("--copies", default="1,3,10", help="with --scaling: how often the table is repeated")
    parser.add_argument("--csv", action="store_true", help="with --scaling: CSV too (a copy has 200 MB)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--child", nargs=2, metavar=("KIND", "PATH"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], Path(options.child[1]))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        if options.scaling:
            scaling(folder, [int(one) for one in options.copies.split(",")], options)
            return
        parquet, text = write_tables(folder)
        results = {
            f"{kind} {path.name}": measure(kind, path, options.threads, options.repeats if kind == "ours" else 1)
            for path in (parquet, text)
            for kind in ("ours", "naive")
        }
    first, second = results[f"ours {parquet.name}"], results[f"naive {parquet.name}"]
    if abs(first["check"] - second["check"]) > 1e-6 * abs(second["check"]):
        raise SystemExit(f"the sums of all RMSE differ: {first['check']} and {second['check']}")
    if options.json:
        print(json.dumps(results))
        return
    print(f"{ROWS:,} rows, 126 sites, 340 site-years, 8 scales, 8 metrics, {options.threads} threads")
    print(f"{'':<52}{'in call s':>10}{'process s':>11}{'peak MB':>9}")
    for name, one in results.items():
        print(f"{name:<52}{one['call_s']:>10.2f}{one['process_s']:>11.2f}{one['peak_mb']:>9.0f}")
    for name in (parquet.name, text.name):
        one, other = results[f"ours {name}"], results[f"naive {name}"]
        print(f"ratio naive / ours, {Path(name).suffix[1:]}: {other['call_s'] / one['call_s']:.1f} in call, "
              f"{other['process_s'] / one['process_s']:.1f} as a process")  # fmt: skip


if __name__ == "__main__":
    main()
