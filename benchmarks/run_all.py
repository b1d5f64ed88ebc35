"""Run every benchmark that this machine can run, one after the other: what `make benchmarks` does.

    python benchmarks/run_all.py [--zarr fluxnet2015.zarr]

The import needs the FLUXNET2015 Zarr; it is skipped, saying so, where there is none.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BESIDE = HERE.parents[1] / "shared" / "data" / "fluxnet2015_dev.zarr"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--zarr", default=str(BESIDE) if BESIDE.is_dir() else None)
    options = parser.parse_args()
    scripts = [["import_time.py"], ["synthetic.py"], ["split.py"], ["evaluation.py"], ["uncertainty.py"]]
    if options.zarr:
        scripts.insert(1, ["import_zarr.py", options.zarr])
    else:
        print("import_zarr.py skipped: no FLUXNET2015 Zarr (give --zarr)")
    failed = 0
    for name, *words in scripts:
        print(f"\n== {name} {' '.join(words)}", flush=True)
        failed += subprocess.run([sys.executable, str(HERE / name), *words], check=False).returncode != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
