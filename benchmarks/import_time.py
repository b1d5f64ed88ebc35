"""Time of `import fluxtrapolation` and of the command line's help, beside `import polars`, as whole processes.

python benchmarks/import_time.py [--repeats 9]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

CASES = {
    "python alone": ["-c", "pass"],
    "import fluxtrapolation": ["-c", "import fluxtrapolation"],
    "import fluxtrapolation.evaluation": ["-c", "import fluxtrapolation.evaluation"],
    "fluxtrapolation --help": ["-m", "fluxtrapolation.cli.main", "--help"],
    "import polars (peer)": ["-c", "import polars"],
    "import sklearn.linear_model (peer)": ["-c", "import sklearn.linear_model"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    options = parser.parse_args()
    found = {}
    for name, words in CASES.items():
        times = []
        for _ in range(options.repeats):
            begin = time.perf_counter()
            subprocess.run([sys.executable, *words], check=True, capture_output=True)
            times.append(time.perf_counter() - begin)
        found[name] = statistics.median(times)
    for name, seconds in found.items():
        print(f"{name:36} {seconds:6.3f} s")
    ratio = found["import fluxtrapolation"] / found["import polars (peer)"]
    print(f"import fluxtrapolation / import polars: {ratio:.2f}")


if __name__ == "__main__":
    main()
