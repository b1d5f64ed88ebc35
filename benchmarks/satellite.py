"""Time and memory of joining a tidy table of satellite values to a store: memory must not grow with the table.

    python benchmarks/satellite.py [--towers 207] [--days 4018] [--jobs 2]

The table has five covariates a tower and day, in the order of dates, so that the rows of a tower lie apart: the worst
order. It is joined once as it is and once with twice as many rows of towers that the store has not. The peak is that of
a process of its own; a join of one tower's rows in the same way shows how much of it the interpreter and its libraries
take.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

COVARIATES = ("EVI", "NIRv", "NDWI_SWIR2", "LST_Day", "LST_Night")
LAST = date(2015, 2, 10)
"""The towers' own days are those of January 2015."""


def write_store(path: Path, towers: int) -> None:
    """Towers of thirty days: the join itself is not what is measured."""
    from fluxtrapolation.data.manifest import SiteRecord, Source, utc_now
    from fluxtrapolation.data.writer import StoreWriter

    draw = np.random.default_rng(1)
    source = Source(name="made up", kind="table", location="memory", retrieved=utc_now(), package_version="0")
    start = datetime(2015, 1, 1)
    time_axis = np.datetime64("2015-01-01", "us") + np.arange(720) * np.timedelta64(1, "h")
    with StoreWriter(path, targets=["GPP"], covariates=["TA"], source=source) as writer:
        for number in range(towers):
            record = SiteRecord(
                site_id=f"XX-{number:03d}",
                lat=50.0,
                lon=10.0,
                igbp="GRA",
                utc_offset_h=1.0,
                first_hour=start,
                last_hour=start,
                hours=0,
                measured_hours=0,
                source="made up",
            )
            columns = {"TA": draw.normal(10, 5, 720), "GPP": draw.normal(5, 2, 720), "qc_mask": np.ones(720, np.int8)}
            writer.add(record, pl.DataFrame({"time": time_axis, **columns}))


def write_table(path: Path, names: list[str], days: int) -> int:
    """Five covariates a tower and day, by date; returns the rows."""
    draw = np.random.default_rng(2)
    with path.open("w") as out:
        out.write("site,date,variable,value\n")
        keys = [f"{name},{{day}},{covariate}," for name in names for covariate in COVARIATES]
        for number in range(days):
            day = str(LAST - timedelta(days=days - number - 1))
            values = draw.integers(1000, 6000, len(keys)).tolist()
            out.writelines(f"{k.format(day=day)}{v / 10000}\n" for k, v in zip(keys, values, strict=True))
    return len(keys) * days


def join(store: Path, table: Path, out: Path, jobs: int) -> dict[str, Any]:
    """Seconds and peak MB of ``data covariates`` in a process of its own."""
    words = ["data", "covariates", str(store), "--from", str(table), "--out", str(out)]
    words += ["--period", "1", "--jobs", str(jobs), "--json"]
    begin = time.perf_counter()
    run = subprocess.Popen(
        [sys.executable, "-m", "fluxtrapolation.cli.main", *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert run.stdout is not None
    shown = run.stdout.read()
    _, status, usage = os.wait4(run.pid, 0)
    run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode != 0:
        sys.exit(f"the join ended with {run.returncode}")
    joined = sum(row["joined"] for row in json.loads(shown)["report"])
    peak = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return {"seconds": round(time.perf_counter() - begin, 1), "peak_mb": round(peak), "joined": joined}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--towers", type=int, default=207)
    parser.add_argument("--days", type=int, default=4018)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        write_store(place / "towers", options.towers)
        own = [f"XX-{number:03d}" for number in range(options.towers)]
        others = [f"{letters}-{number:03d}" for letters in ("YY", "ZZ") for number in range(options.towers)]
        for title, names in (("one tower", own[:1]), ("the towers", own), ("three times as long", own + others)):
            table = place / "table.csv"
            rows = write_table(table, names, options.days)
            found = join(place / "towers", table, place / f"joined-{len(names)}", options.jobs)
            print(
                f"{title}: {rows:,} rows, {table.stat().st_size / 1e6:.0f} MB: {found['seconds']} s, "
                f"{found['peak_mb']} MB, {found['joined']} series joined"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
