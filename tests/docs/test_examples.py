"""The examples run as they stand, and a model of one's own becomes a plug-in as CONTRIBUTING says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_pages import ROOT, blocks

from fluxtrapolation.data.synthetic import write_world
from fluxtrapolation.schema import SCALES

EXAMPLES = ROOT / "examples"
MODEL = re.compile(r"# begin of the model\n(.*?)# end of the model", re.DOTALL)


def run(command: list[str], cwd: Path, **environment: str) -> str:
    """Run a command that must succeed, and return its standard output."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    return done.stdout


def test_three_lines(tmp_path: Path) -> None:
    shown = run([sys.executable, str(EXAMPLES / "three_lines.py")], tmp_path)
    for scale in SCALES:
        assert re.search(rf"\b{scale}\b.*\d\.\d", shown), f"no number for {scale}:\n{shown}"
    assert list(tmp_path.iterdir()) == []


def test_own_predictions(tmp_path: Path) -> None:
    shown = run([sys.executable, str(EXAMPLES / "own_predictions.py")], tmp_path)
    paper, measured = shown.split("protocol measured")
    assert "protocol paper" in paper
    for text in (paper, measured):
        rows = {line.split()[0]: [float(cell) for cell in line.split()[1:]] for line in text.splitlines()[2:10]}
        assert list(rows) == list(SCALES)
        # One of four towers is too high by 1; nothing else is left at the site mean.
        assert rows["site-mean"][0] < 0.05 and abs(rows["site-mean"][1] - 1) < 0.05
        # Within the day the model is too smooth at all towers.
        assert rows["hourly"][0] > 1.5
        assert {row[2] for row in rows.values()} == {4}


def test_my_model(tmp_path: Path) -> None:
    shown = run([sys.executable, str(EXAMPLES / "my_model.py")], tmp_path)
    assert "radiation-classes" in shown and "lr" in shown


def test_contributing_shows_the_model_of_the_example() -> None:
    found = MODEL.search((EXAMPLES / "my_model.py").read_text("utf-8"))
    assert found is not None
    shown = [block.body for block in blocks(ROOT / "CONTRIBUTING.md") if "FluxModel" in block.body]
    assert len(shown) == 1
    assert found[1].strip() in shown[0]


@pytest.fixture
def plug_in(tmp_path: Path) -> Path:
    """The model of CONTRIBUTING as an installed package: a module and the metadata that its entry point leaves."""
    place = tmp_path / "site"
    code = next(block.body for block in blocks(ROOT / "CONTRIBUTING.md") if "FluxModel" in block.body)
    entry = next(block.body for block in blocks(ROOT / "CONTRIBUTING.md") if block.language == "toml")
    name, value = re.search(r'^([\w-]+) = "(.+)"$', entry, re.MULTILINE).groups()  # type: ignore[union-attr]
    group = re.search(r'entry-points\."(.+)"', entry)[1]  # type: ignore[index]
    package, module = value.partition(":")[0].split(".")
    (place / package).mkdir(parents=True)
    (place / package / "__init__.py").touch()
    (place / package / f"{module}.py").write_text(code, "utf-8")
    info = place / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")
    return place


def test_the_plug_in_trains_predicts_and_is_scored(plug_in: Path, tmp_path: Path) -> None:
    write_world(tmp_path / "towers", sites=8, years=(2018, 2019))
    here = {"PYTHONPATH": str(plug_in)}
    program = [sys.executable, "-m", "fluxtrapolation.cli.main"]
    assert "radiation-classes" in run([*program, "models"], tmp_path, **here)
    train = (
        "train --store towers --scenario temperature --target GPP --model radiation-classes --profile quick --out runs"
    )
    run([*program, *train.split(), "--max-rows", "5000"], tmp_path, **here)
    folder = tmp_path / "runs" / "temperature_GPP_radiation-classes"
    assert len(list((folder / "trials").glob("*.json"))) == 2
    run([*program, "predict", str(folder), "--store", "towers", "--out", "again.parquet"], tmp_path, **here)
    import polars as pl

    first, again = pl.read_parquet(folder / "predictions-mean.parquet"), pl.read_parquet(tmp_path / "again.parquet")
    assert first.equals(again)
    run([*program, "evaluate", "runs", "--out", "scores.parquet"], tmp_path)
