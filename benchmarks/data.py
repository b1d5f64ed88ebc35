"""Time and memory of importing benchmark CSV files, against a bare parse of the same files in the same run.

    python benchmarks/data.py [--folder CSV_FOLDER] [--profile published|small] [--cores 2] [--repeats 3]
    python benchmarks/data.py --scale          # three times the towers, three times the years: time grows, memory not
    python benchmarks/data.py --kills 20       # kill -9 at random moments, run again, compare every byte
    python benchmarks/data.py --kills 20 --door fluxnet    # the same with archives of hourly FLUXNET files

Without --folder the towers are simulated and exported first (not timed). The bound is a bare ``polars.read_csv`` of
every file, with the same cores and threads, its result thrown away: no check, no hash, nothing written.

Reach: 25 s and 1.5 GB for 207 towers and about 11 million rows on two cores; later opens 0.1 s to the first row; 20 of
20 killed imports complete with byte-identical files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any

BARE = """
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import polars as pl
with ThreadPoolExecutor(int(sys.argv[2])) as pool:
    print(sum(pool.map(lambda path: pl.read_csv(path).height, sorted(Path(sys.argv[1]).glob("*.csv")))))
"""
OPEN = """
import sys, time
begin = time.perf_counter()
from fluxtrapolation.data.store import Store
store = Store(sys.argv[1])
store.read_site(store.site_ids[0]).row(0)
cold = time.perf_counter() - begin
begin = time.perf_counter()
store = Store(sys.argv[1])
store.read_site(store.site_ids[-1]).row(0)
print(cold, time.perf_counter() - begin)
"""


def child(words: list[str], cores: int) -> subprocess.Popen[str]:
    """Start Python with these words on so many cores."""
    environment = {**os.environ, "POLARS_MAX_THREADS": str(cores), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *words]
    if hasattr(os, "sched_setaffinity"):
        held = sorted(os.sched_getaffinity(0))[-cores:]
        command = [sys.executable, "-c", _PINNED, json.dumps(held), *words]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True
    )


_PINNED = """
import json, os, sys
os.sched_setaffinity(0, json.loads(sys.argv[1]))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def timed(words: list[str], cores: int, *, may_fail: bool = False) -> tuple[float, float, str, float]:
    """Wall seconds, peak MB, standard output and processor seconds of a run."""
    begin = time.perf_counter()
    run = child(words, cores)
    assert run.stdout is not None
    shown = run.stdout.read()
    _, status, usage = os.wait4(run.pid, 0)
    run.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begin
    if run.returncode != 0 and not may_fail:
        sys.exit(f"{' '.join(words)[:200]} ended with {run.returncode}")
    peak = usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    return seconds, peak, shown, usage.ru_utime + usage.ru_stime


def importing(folder: Path, out: Path, jobs: int) -> list[str]:
    kind = "benchmark-csv" if any(folder.glob("*.csv")) else "fluxnet"
    words = ["-m", "fluxtrapolation.cli.main", "data", "import", str(folder), "--out", str(out)]
    return [*words, "--format", kind, "--jobs", str(jobs), "--json"]


def make_folder(place: Path, profile: str, *, sites: int | None = None, years: tuple[int, int] | None = None) -> Path:
    """Simulate towers and export them as benchmark files."""
    from fluxtrapolation.data.importers.benchmark_csv import export_benchmark_csv
    from fluxtrapolation.data.synthetic import write_world

    world = write_world(
        place / "world", profile="published" if profile == "published" else "small", sites=sites, years=years
    )
    return export_benchmark_csv(world, place / "csv")


def make_archives(place: Path, *, sites: int) -> Path:
    """Simulate towers and pack each as an archive of an hourly FLUXNET file and its BIF table."""
    import numpy as np
    import polars as pl

    from fluxtrapolation.data.synthetic import write_world

    world = write_world(place / "world", profile="small", sites=sites)
    folder = place / "archives"
    folder.mkdir()
    for site, record in ((site, world.record(site)) for site in world.site_ids):
        frame = world.read_site(site)
        stamp = pl.col("time").dt.strftime("%Y%m%d%H%M")
        end = (pl.col("time") + pl.duration(hours=1)).dt.strftime("%Y%m%d%H%M")
        flag = pl.when(pl.col("qc_mask") == 1).then(0).otherwise(3)
        table = frame.select(
            stamp.alias("TIMESTAMP_START"),
            end.alias("TIMESTAMP_END"),
            *(pl.col(name).alias(f"{name}_F") for name in ("TA", "VPD", "SW_IN")),
            pl.col("NEE").fill_nan(None).fill_null(-9999.0).alias("NEE_VUT_REF"),
            flag.alias("NEE_VUT_REF_QC"),
            pl.col("GPP").fill_nan(None).fill_null(-9999.0).alias("GPP_NT_VUT_REF"),
        )
        years = np.unique(frame["time"].dt.year().to_numpy())[[0, -1]]
        name = f"FLX_{site}_FLUXNET2015_{{}}_{years[0]}-{years[1]}_1-4"
        facts = {
            "LOCATION_LAT": record.lat,
            "LOCATION_LONG": record.lon,
            "IGBP": record.igbp,
            "UTC_OFFSET": record.utc_offset_h,
        }
        rows = [f"{site},{number},GRP,{key},{value}" for number, (key, value) in enumerate(facts.items())]
        with zipfile.ZipFile(folder / f"{name.format('FULLSET')}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(f"{name.format('FULLSET_HR')}.csv", table.write_csv())
            bif = "\n".join(["SITE_ID,GROUP_ID,VARIABLE_GROUP,VARIABLE,DATAVALUE", *rows, ""])
            archive.writestr(f"{name.format('BIF')}.csv", bif)
    return folder


def linked(folder: Path, place: Path, *, copies: int = 1, limit: int | None = None) -> Path:
    """The same files under other names, ``copies`` times."""
    place.mkdir(parents=True)
    files = sorted(folder.glob("*.csv"))[:limit]
    for copy in range(copies):
        for path in files:
            name = path.name if copy == 0 else f"{path.stem}-{copy}.csv"
            (place / name).symlink_to(path.resolve())
    return place


def measure(folder: Path, cores: int, repeats: int) -> dict[str, Any]:
    """Import, bare parse and opening, medians of several rounds."""
    files = sorted(folder.glob("*.csv"))
    seconds, busy, peaks, bare, opens, facts = [], [], [], [], [], {}
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as place:
            out = Path(place) / "towers"
            bare.append(timed(["-c", BARE, str(folder), str(cores)], cores)[::3])
            took, peak, shown, processor = timed(importing(folder, out, cores), cores, may_fail=True)
            seconds.append(took)
            busy.append(processor)
            peaks.append(peak)
            facts = json.loads(shown)
            opens.append([float(part) for part in timed(["-c", OPEN, str(out)], cores)[2].split()])
    wall = statistics.median(seconds)
    return {
        "files": len(files),
        "csv_mb": round(sum(path.stat().st_size for path in files) / 1e6),
        "towers": facts["sites"],
        "refused": facts["failures"],
        "rows": facts["rows"],
        "seconds": round(wall, 1),
        "seconds_all": [round(one, 1) for one in seconds],
        "peak_mb": round(max(peaks)),
        "rows_per_second": round(facts["rows"] / wall),
        "processor_seconds": round(statistics.median(busy), 1),
        "bare_parse_seconds": round(statistics.median(one[0] for one in bare), 1),
        "bare_parse_processor_seconds": round(statistics.median(one[1] for one in bare), 1),
        "ratio_to_bare_parse": round(wall / statistics.median(one[0] for one in bare), 1),
        "first_row_with_import_s": round(statistics.median(one[0] for one in opens), 3),
        "first_row_s": round(statistics.median(one[1] for one in opens), 4),
        "cores": cores,
    }


def fingerprint(out: Path) -> tuple[dict[str, str], str]:
    """Hashes of all data files, and the manifest without its times, as text."""
    files = {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in out.rglob("*.parquet")
    }
    manifest = json.loads((out / "manifest.json").read_text())
    manifest.pop("created")
    manifest.pop("sha256")
    for source in manifest["sources"]:
        source.pop("retrieved")
    return files, json.dumps(manifest)


def kill_and_repeat(folder: Path, cores: int, moments: int, seed: int) -> dict[str, Any]:
    """Kill imports at random moments, run them again, and compare with one that was left alone."""
    from fluxtrapolation.data.manifest import read_manifest

    draw = random.Random(seed)
    complete, early, done_before = 0, 0, []
    with tempfile.TemporaryDirectory() as place:
        whole = Path(place) / "whole"
        length, *_ = timed(importing(folder, whole, cores), cores)
        want = fingerprint(whole)
        for number in range(moments):
            out = Path(place) / f"killed-{number}"
            run = child(importing(folder, out, cores), cores)
            try:
                run.wait(draw.uniform(0.0, length))
                early += 1  # it was quicker than the first
            except subprocess.TimeoutExpired:
                os.killpg(run.pid, signal.SIGKILL)
                run.wait()
            there = (out / "manifest.json").exists()
            done_before.append(len(read_manifest(out)[0].sites) if there else 0)  # with the journal
            timed(importing(folder, out, cores), cores)
            complete += fingerprint(out) == want
    return {
        "kills": moments,
        "complete_and_identical": complete,
        "ended_before_the_kill": early,
        "towers_done_when_killed": done_before,
        "towers": len(want[0]) - 1,
        "seconds_uninterrupted": round(length, 1),
    }


def scale(folder: Path, cores: int, place: Path) -> dict[str, Any]:
    """Three times the towers, and three times the years."""
    found: dict[str, Any] = {}
    for copies in (1, 3):
        made = measure(linked(folder, place / f"towers-{copies}", copies=copies), cores, 1)
        found[f"{made['towers']} towers"] = {key: made[key] for key in ("rows", "seconds", "peak_mb")}
    for years in ((2013, 2022), (1993, 2022)):
        long = make_folder(place / f"years-{years[0]}", "small", sites=24, years=years)
        made = measure(long, cores, 1)
        found[f"24 towers, {years[1] - years[0] + 1} years"] = {
            key: made[key] for key in ("rows", "seconds", "peak_mb")
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="benchmark CSV files to use instead of simulated ones")
    parser.add_argument("--profile", choices=("small", "published"), default="published")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--kills", type=int, default=0, metavar="N")
    parser.add_argument("--kill-towers", type=int, default=60, help="towers of the imports that are killed")
    parser.add_argument("--door", choices=("benchmark-csv", "fluxnet"), default="benchmark-csv", help="with --kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.door == "fluxnet" and not options.kills:
        parser.error("--door fluxnet goes with --kills")
    with tempfile.TemporaryDirectory() as place:
        if options.door == "fluxnet":
            folder = options.folder or make_archives(Path(place), sites=options.kill_towers)
            result = kill_and_repeat(folder, options.cores, options.kills, options.seed)
            return _told(result, options)
        folder = options.folder or make_folder(Path(place), options.profile)
        if options.kills:
            few = linked(folder, Path(place) / "few", limit=options.kill_towers)
            result = kill_and_repeat(few, options.cores, options.kills, options.seed)
        elif options.scale:
            result = scale(folder, options.cores, Path(place))
        else:
            result = measure(folder, options.cores, options.repeats)
    return _told(result, options)


def _told(result: dict[str, Any], options: argparse.Namespace) -> int:
    if options.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key}: {value:,}" if isinstance(value, int) else f"{key}: {value}")
    return int(bool(options.kills) and result["complete_and_identical"] != options.kills)


if __name__ == "__main__":
    sys.exit(main())
