"""Run every benchmark that this machine can run, one after the other: what `make benchmarks` does.

    python benchmarks/run_all.py [--zarr fluxnet2015.zarr] [--quick]

The import of a Zarr store needs the FLUXNET2015 Zarr; it is skipped, saying so, where there is none. ``--quick`` is for
a look: smaller data doors, no repeats; its figures are not those of the documentation.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BESIDE = HERE.parents[1] / "shared" / "data" / "fluxnet2015_dev.zarr"

FULL = (
    ("import_time.py",),
    ("synthetic.py",),
    ("split.py",),
    ("evaluation.py",),
    ("uncertainty.py",),
    ("data.py",),
    ("data.py", "--kills", "20"),
    ("fetch.py",),
    ("satellite.py",),
    ("models.py",),
    ("models_linear.py",),
    ("models_trees.py",),
    ("models_maxrm.py",),
    ("shift.py",),
    ("shift_applicability.py",),
)
QUICK = (
    ("import_time.py", "--repeats", "1"),
    ("synthetic.py", "--sites", "10"),
    ("split.py", "--repeats", "1"),
    ("evaluation.py", "--repeats", "1"),
    ("uncertainty.py", "--draws", "100", "--repeats", "1"),
    ("data.py", "--profile", "small", "--repeats", "1"),
    ("data.py", "--profile", "small", "--kills", "2", "--kill-towers", "10"),
    ("fetch.py", "--files", "40", "--repeats", "1", "--kills", "2"),
    ("satellite.py", "--towers", "20", "--days", "400"),
    ("models.py", "--rows", "30000", "--epochs", "1", "--repeats", "1"),
    ("models_linear.py", "--repeats", "1"),
    ("models_trees.py", "--rows", "50000", "--repeats", "1"),
    ("models_maxrm.py", "--rows", "10000", "--trees", "10"),
    ("shift.py", "--quick"),
    ("shift_applicability.py", "--quick"),
)


def commands(zarr: str | None, *, quick: bool) -> list[tuple[str, ...]]:
    """Scripts with their words, in order."""
    scripts = list(QUICK if quick else FULL)
    if zarr is not None:
        scripts.insert(1, ("import_zarr.py", zarr, *(("--repeats", "1") if quick else ())))
    return scripts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zarr", default=str(BESIDE) if BESIDE.is_dir() else None)
    parser.add_argument("--quick", action="store_true", help="smaller data doors, no repeats")
    options = parser.parse_args()
    if options.zarr is None:
        print("import_zarr.py skipped: no FLUXNET2015 Zarr (give --zarr)")
    failed = []
    for name, *words in commands(options.zarr, quick=options.quick):
        print(f"\n== {' '.join((name, *words))}", flush=True)
        if subprocess.run([sys.executable, str(HERE / name), *words], check=False).returncode != 0:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", flush=True)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
