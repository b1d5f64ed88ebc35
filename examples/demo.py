"""The main job from end to end on a simulated world, in about a minute: what `make demo` runs.

Simulate 60 towers, train a linear model and boosted trees (profile quick, at most 100,000 train rows) for three
scenarios and three fluxes, score them on all temporal scales, and write one page. The last line is the page to open.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fluxtrapolation.cli.main import run


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the world, the runs and the report")
    parser.add_argument("--sites", type=int, default=60, help="towers to simulate")
    parser.add_argument("--max-rows", type=int, default=100_000, help="at most so many train rows in each run")
    options = parser.parse_args()
    out: Path = options.out
    limit = ["--max-rows", str(options.max_rows)]
    steps = [
        ["data", "synth", "--out", f"{out}/world", "--sites", str(options.sites)],
        [
            *["train", "--store", f"{out}/world", "--out", f"{out}/runs", "--profile", "quick", *limit],
            *["--scenario", "temporal", "--scenario", "spatial", "--scenario", "temperature"],
            *["--target", "GPP", "--target", "NEE", "--target", "ET"],
            *["--model", "lr", "--model", "xgb"],
        ],
        ["report", f"{out}/runs", "--out", f"{out}/report", "--title", "Demo: extrapolating simulated fluxes"],
    ]
    for step in steps:
        sys.stderr.write(f"\n$ fluxtrapolation {' '.join(step)}\n")
        sys.stderr.flush()
        code = run(step)
        if code != 0:
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
