"""Time and memory of importing a FLUXNET2015 Zarr store, against a bare read and unpacking of the same chunks.

    python benchmarks/import_zarr.py PATH/fluxnet2015_dev.zarr [--jobs 2] [--repeats 3]

The bound is what no importer can go below, with the same number of threads: every chunk of the six variables read from
disk, decompressed and thrown away, and the finished tables encoded as Parquet.

Reach: 30 s and 1.5 GB for 120 towers on two cores.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

from fluxtrapolation.data.importers.fluxnet2015_zarr import import_fluxnet2015_zarr
from fluxtrapolation.data.writer import COMPRESSION, COMPRESSION_LEVEL

VARIABLES = ("ta", "vpd", "sw_in", "nee", "gpp_nt", "nee_qc")


def bare_read(source: Path, jobs: int) -> tuple[float, int]:
    """Seconds to read and decompress every chunk of the variables, and bytes after decompression."""
    from numcodecs.registry import get_codec

    def one(job: tuple[Path, dict[str, object]]) -> int:
        path, codec = job
        return len(get_codec(codec).decode(path.read_bytes()))

    work = []
    for name in VARIABLES:
        codec = json.loads((source / name / ".zarray").read_bytes())["compressor"]
        work += [(path, codec) for path in sorted((source / name).iterdir()) if not path.name.startswith(".")]
    begin = time.perf_counter()
    with ThreadPoolExecutor(jobs) as pool:
        size = sum(pool.map(one, work))
    return time.perf_counter() - begin, size


def bare_write(frames: list[pl.DataFrame], jobs: int) -> float:
    """Seconds to write finished tables as the store's Parquet, to memory."""

    def one(frame: pl.DataFrame) -> None:
        frame.write_parquet(io.BytesIO(), compression=COMPRESSION, compression_level=COMPRESSION_LEVEL)

    begin = time.perf_counter()
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(one, frames))
    return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    bound, size = zip(*(bare_read(options.source, options.jobs) for _ in range(options.repeats)), strict=True)
    seconds, writing, first_peak = [], [], 0
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            store = import_fluxnet2015_zarr(options.source, Path(folder) / "towers", jobs=options.jobs)
            seconds.append(time.perf_counter() - begin)
            rows, sites, written = store.hours, len(store.site_ids), store.info()["bytes"]
            # only the first round's peak is the import's: the frames read below raise it afterwards
            first_peak = first_peak or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            frames = [store.read_site(site) for site in store.site_ids]
            writing.append(bare_write(frames, options.jobs))
            del frames
    unit = 1e6 if sys.platform == "darwin" else 1e3
    result = {
        "sites": sites,
        "rows": rows,
        "written_mb": round(written / 1e6, 1),
        "seconds": round(statistics.median(seconds), 2),
        "seconds_all": [round(s, 2) for s in seconds],
        "peak_mb": round(first_peak / unit, 1),
        "read_seconds": round(statistics.median(bound), 2),
        "read_mb": round(size[0] / 1e6, 1),
        "write_seconds": round(statistics.median(writing), 2),
        "ratio": round(statistics.median(seconds) / (statistics.median(bound) + statistics.median(writing)), 1),
        "rows_per_second": round(rows / statistics.median(seconds)),
        "jobs": options.jobs,
    }
    if options.json:
        print(json.dumps(result))
    else:
        print(f"import of {sites} towers: {result['seconds']} s (median of {options.repeats}: {result['seconds_all']})")
        print(f"  peak {result['peak_mb']} MB, {rows:,} rows, {result['written_mb']} MB written, {options.jobs} jobs")
        print(f"  bare read and unpacking of {result['read_mb']} MB of chunks: {result['read_seconds']} s")
        print(f"  bare Parquet writing of the finished tables to memory: {result['write_seconds']} s")
        print(f"  ratio to both together: {result['ratio']}; {result['rows_per_second']:,} rows/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
