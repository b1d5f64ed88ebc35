"""`benchmarks/run_all.py` and its page: every script stands in both, with words that the script knows."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture(scope="module")
def run_all() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_all", BENCHMARKS / "run_all.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_benchmark_is_run_and_documented(run_all: ModuleType) -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    scripts = {path.name for path in BENCHMARKS.glob("*.py")} - {"run_all.py"}
    assert set(re.findall(r"^\| `(\w+\.py)`", page, re.MULTILINE)) == scripts
    for quick in (False, True):
        # Coverage of intervals is a study of its own, not a matter of speed.
        assert {name for name, *_ in run_all.commands("x.zarr", quick=quick)} == scripts - {"coverage.py"}
    assert not any("import_zarr.py" in words for words in run_all.commands(None, quick=True))


def test_every_script_knows_its_words(run_all: ModuleType) -> None:
    said: dict[str, str] = {}
    for name, *words in [*run_all.commands("x.zarr", quick=False), *run_all.commands("x.zarr", quick=True)]:
        if name not in said:
            done = subprocess.run([sys.executable, BENCHMARKS / name, "--help"], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            said[name] = done.stdout
        for word in words:
            if word.startswith("--"):
                assert re.search(rf"{word}\b", said[name]), (name, word)
