"""The evaluation loads nothing but numpy and polars."""

from __future__ import annotations

import subprocess
import sys

HEAVY = (
    "torch",
    "sklearn",
    "xgboost",
    "matplotlib",
    "xarray",
    "scipy",
    "pandas",
    "pyarrow",
    "zarr",
    "optuna",
    "pydantic",
)
PROGRAM = f"""
import sys
from datetime import datetime
import fluxtrapolation.evaluation as ev
table = ev.Predictions.from_arrays(site=["a"], time=[datetime(2019, 1, 1)], y_true=[1.0], y_pred=[2.0])
ev.evaluate(table)
print(*[name for name in {HEAVY!r} if name in sys.modules])
print(*[name for name in sys.modules if name.startswith("fluxtrapolation.")
        and name.split(".")[1] not in ("evaluation", "schema", "errors", "files")])
"""


def test_clean_process() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["", ""]
