"""Throughput of ``fetch_files`` against curl on the same files, and what a kill leaves behind.

    python benchmarks/fetch.py [--files 207] [--jobs 4] [--repeats 5] [--no-kill] [--kills 20]

A server in another process gives 207 files of 1 to 3 MB from the disk cache. ``fetch_files`` hashes, checks and pins
every file; ``curl -Z`` only writes them. Rounds alternate, so that both meet the same other load; a round of each comes
first and is not counted. Then the command line is killed with SIGKILL at random moments of downloading and importing
and run again: the files must be byte-identical, the manifest equal but for its times.

Reach: 80 % of curl's throughput; 20 of 20 kills repaired.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fluxtrapolation.data.fetch import FetchFile, fetch_files

SERVER = Path(__file__).resolve().parents[1] / "tests" / "data" / "fetch_server.py"
TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ?")


@contextmanager
def serving(folder: Path, pause: float = 0.0) -> Iterator[str]:
    """A static server of the folder in a process of its own; gives its address."""
    process = subprocess.Popen(
        [sys.executable, str(SERVER), str(folder), str(pause)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def write_files(folder: Path, count: int, seed: int = 1) -> list[str]:
    """Files of 1 to 3 MB that pass for tower tables; returns their names."""
    generator = np.random.default_rng(seed)
    names = []
    for number in range(count):
        rows = int(generator.integers(11_000, 33_000))
        values = generator.integers(10**9, 10**10, size=(rows, 7))
        text = "time,qc_mask,GPP,NEE,TA,VPD,SW_IN\n" + "\n".join(",".join(map(str, row)) for row in values.tolist())
        names.append(f"XX-{number:03d}.csv")
        (folder / names[-1]).write_text(text + "\n")
    return names


def time_fetch(url: str, names: list[str], folder: Path, jobs: int) -> float:
    """Seconds of one download of everything with this package."""
    files = [FetchFile(name, (f"{url}/{name}",)) for name in names]
    begin = time.perf_counter()
    results = fetch_files(files, folder, jobs=jobs, distinct=True)
    seconds = time.perf_counter() - begin
    assert all(one.status == "downloaded" for one in results), next(one for one in results if not one.done)
    return seconds


def time_curl(url: str, names: list[str], folder: Path, jobs: int) -> float:
    """Seconds of the same with curl, start of the process included (some 10 ms)."""
    config = "\n".join(f'url = "{url}/{name}"\noutput = "{folder / name}"' for name in names)
    begin = time.perf_counter()
    subprocess.run(
        ["curl", "-q", "--no-progress-meter", "--fail", "-Z", "--parallel-max", str(jobs), "-K", "-"],
        input=config.encode(),
        check=True,
    )
    return time.perf_counter() - begin


def throughput(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Median MB/s of both, and their ratio."""
    served = work / "served"
    served.mkdir()
    names = write_files(served, options.files)
    size = sum((served / name).stat().st_size for name in names) / 1e6
    rates: dict[str, list[float]] = {"fetch": [], "curl": []}
    with serving(served) as url:
        for turn in range(options.repeats + 1):
            for what, action in (("fetch", time_fetch), ("curl", time_curl)):
                folder = work / what
                folder.mkdir()
                seconds = action(url, names, folder, options.jobs)
                for name in names:
                    assert (folder / name).stat().st_size == (served / name).stat().st_size, name
                shutil.rmtree(folder)
                if turn:
                    rates[what].append(size / seconds)
    ratios = [ours / theirs for ours, theirs in zip(rates["fetch"], rates["curl"], strict=True)]
    return {
        "files": len(names),
        "mb": round(size, 1),
        "jobs": options.jobs,
        "fetch_mb_per_s": round(statistics.median(rates["fetch"])),
        "curl_mb_per_s": round(statistics.median(rates["curl"])),
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
    }


def tower_files(folder: Path, count: int) -> list[str]:
    """Tables of four years, some 8 MB each, from a simulated world; returns the site ids."""
    from fluxtrapolation.data.importers.benchmark_csv import export_benchmark_csv
    from fluxtrapolation.data.synthetic import write_world

    store = write_world(folder.parent / "world", sites=count, years=(2015, 2018), jobs=2)
    export_benchmark_csv(store, folder)
    (folder / "SOURCES.json").unlink()
    return list(store.site_ids)


def command(url: str, sites: list[str], out: Path) -> list[str]:
    words = ["data", "fetch", "--url", f"{url}/{{site}}.csv", "--sites", ",".join(sites), "--out", str(out)]
    return [sys.executable, "-m", "fluxtrapolation.cli.main", *words]


def state(out: Path) -> tuple[dict[str, bytes], str, list[str]]:
    """Bytes of every data file, the manifest without its times and checksum, and what should not be left over."""
    folder = out.parent / f"{out.name}.files"
    data = {path.name: path.read_bytes() for path in [*folder.glob("*.csv"), *(out / "sites").glob("*.parquet")]}
    data["sites.parquet"] = (out / "sites.parquet").read_bytes()
    manifest = json.loads((out / "manifest.json").read_text())
    manifest.pop("sha256")
    manifest["sites"] = dict(sorted(manifest["sites"].items()))
    text = TIMES.sub("TIME", json.dumps(manifest).replace(str(folder.resolve()), "FOLDER"))
    lock = json.loads((folder / "fetch.lock.json").read_text())
    text += TIMES.sub("TIME", json.dumps(lock))
    strays = [str(path) for where in (folder, out, out / "sites") for path in where.glob("*") if stray(path)]
    return data, text, strays


def stray(path: Path) -> bool:
    return path.name.endswith((".part", ".part.json", ".tmp", ".lock")) or path.name == "rejected"


def kills(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Kill the command at random moments, run it again, compare with a run that nobody disturbed."""
    served = work / "towers"
    sites = tower_files(served, 6)
    chance = random.Random(options.seed)
    whole, moments, inside, resumed = 0, [], 0, 0
    with serving(served, pause=0.01) as url:
        begin = time.perf_counter()
        subprocess.run(command(url, sites, work / "undisturbed"), check=True, capture_output=True)
        usual = time.perf_counter() - begin
        expected = state(work / "undisturbed")
        for number in range(options.kills):
            out = work / f"killed-{number}"
            process = subprocess.Popen(
                command(url, sites, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            )
            moments.append(chance.uniform(0.2, 0.98) * usual)
            try:
                process.wait(moments[-1])
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                inside += 1
            process.wait()
            again = subprocess.run(command(url, sites, out), capture_output=True, text=True, check=False)
            found = state(out) if again.returncode == 0 else None
            good = found is not None and found[0] == expected[0] and found[1] == expected[1] and not found[2]
            whole += good
            resumed += " resumed" in again.stderr
            if not good:
                print(f"kill {number} at {moments[-1]:.2f} s: exit {again.returncode}, {again.stderr[-400:]}")
                if found is not None:
                    same = [here == there for here, there in zip(found[:2], expected[:2], strict=True)]
                    print(f"  data and manifest equal: {same}; left over: {found[2]}")
    return {
        "kills": options.kills,
        "whole": whole,
        "hit_while_running": inside,
        "resumed_downloads": resumed,
        "undisturbed_s": round(usual, 2),
        "moments_s": [round(moment, 2) for moment in sorted(moments)],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=207)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--no-kill", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        if options.repeats and shutil.which("curl"):
            result["throughput"] = throughput(options, Path(folder))
        elif options.repeats:
            print("curl is not installed: throughput skipped")
    with tempfile.TemporaryDirectory() as folder:
        if not options.no_kill:
            result["kill"] = kills(options, Path(folder))
    broken = "kill" in result and result["kill"]["whole"] != result["kill"]["kills"]
    if options.json:
        print(json.dumps(result))
        return int(broken)
    if "throughput" in result:
        t = result["throughput"]
        print(f"{t['files']} files, {t['mb']} MB, {t['jobs']} at once: fetch {t['fetch_mb_per_s']} MB/s", end="")
        print(f", curl -Z {t['curl_mb_per_s']} MB/s; ratio {t['ratio']} (rounds: {t['ratios']})")
    if "kill" in result:
        k = result["kill"]
        print(
            f"kill -9: {k['whole']} of {k['kills']} whole after a rerun ({k['hit_while_running']} hit while running",
            end="",
        )
        print(f", {k['resumed_downloads']} with partial files to go on from)")
        print(f"  undisturbed {k['undisturbed_s']} s; killed at {k['moments_s']} s")
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
