"""The page "Bring your own model" and its examples, run from the command line as a newcomer would."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fluxtrapolation.cli.main import run as command
from fluxtrapolation.models import model_spec
from toy_world import FEATURES, toy_world

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples" / "bring_your_own"
PAGE = ROOT / "docs" / "bring-your-own-model.md"
SHOWN = ("analogues.py", "small_network.py", "plugin_package/pyproject.toml")
PLUGIN = "plugin_package/src/flux_light_response/__init__.py"


def run(words: list[str], cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


def fluxtrapolation(words: str, cwd: Path, **environment: str) -> str:
    return run([sys.executable, "-m", "fluxtrapolation.cli.main", *words.split()], cwd, **environment)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small simulated world, its scenario, and the examples."""
    from fluxtrapolation.data.synthetic import write_world

    folder = tmp_path_factory.mktemp("mine")
    write_world(folder / "towers", sites=6, years=(2018, 2018))
    shutil.copytree(EXAMPLES, folder / "examples" / "bring_your_own")
    return folder


@pytest.mark.parametrize("name", [*SHOWN, PLUGIN])
def test_the_page_shows_the_files(name: str) -> None:
    assert f"\n{(EXAMPLES / name).read_text('utf-8').strip()}\n```" in PAGE.read_text("utf-8")


def test_the_page_s_python_runs(here: Path) -> None:
    code = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(code) == 5
    (here / "page.py").write_text("\n\n".join(code), "utf-8")
    assert "site-mean" in run([sys.executable, "page.py"], here)


def train(here: Path, models: list[str], **environment: str) -> list[Path]:
    """Train models as the page says, on few rows and in one run; gives the run folders."""
    options = "--store towers --scenario temperature --target GPP --profile quick --max-rows 2000 --out runs --json"
    named = " ".join(f"--model {model}" for model in models)
    shown = json.loads(fluxtrapolation(f"train {options} {named}", here, **environment))
    cells = shown if isinstance(shown, list) else next(value for value in shown.values() if isinstance(value, list))
    assert [cell["status"] for cell in cells] == ["complete"] * len(models)
    return [here / cell["path"] for cell in cells]


FOREIGN = {
    "extra-trees-regressor": ("sklearn.ensemble.ExtraTreesRegressor", 1),
    "analogues": ("examples/bring_your_own/analogues.py:Analogues", 1),
    "small-network": ("examples/bring_your_own/small_network.py:SPEC", 2),
}


@pytest.fixture(scope="module")
def runs(here: Path) -> dict[str, Path]:
    """One run folder for each foreign model of the page."""
    return dict(zip(FOREIGN, train(here, [model for model, _ in FOREIGN.values()]), strict=True))


def test_the_page_s_commands_are_these() -> None:
    for model, _ in FOREIGN.values():
        assert f"--model {model}" in PAGE.read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_model_trains_and_predicts(
    name: str, runs: dict[str, Path], here: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = runs[name]
    assert folder.name == f"temperature_GPP_{name}"
    assert len(list((folder / "trials").glob("*.json"))) == FOREIGN[name][1]
    out = f"{name}.parquet"
    words = ["predict", str(folder), "--store", "towers", "--out", out]
    monkeypatch.chdir(here)  # as if from a shell there, without the seconds of a new process
    assert command(words) == 2
    assert "--trust-model" in capfd.readouterr().err
    assert command([*words, "--trust-model"]) == 0
    import polars as pl

    first, again = pl.read_parquet(folder / "predictions-mean.parquet"), pl.read_parquet(here / out)
    assert first.equals(again)


@pytest.fixture(scope="module")
def site(here: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plug-in package, built and installed into a folder of its own; nothing is fetched."""
    place = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source") / "plugin_package"
    shutil.copytree(EXAMPLES / "plugin_package", source)  # building leaves folders beside the source
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(place)]
    run([sys.executable, "-m", "pip", *words, str(source)], here, PIP_DISABLE_PIP_VERSION_CHECK="1")
    return place


def test_the_plug_in_is_listed_and_trains(here: Path, site: Path) -> None:
    path = {"PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])}
    listed = {entry["name"]: entry for entry in json.loads(fluxtrapolation("models --json", here, **path))}
    assert listed["light-response"]["space"] == "half: log-uniform 50..1000 W m-2"
    [folder] = train(here, ["light-response"], **path)
    assert folder.name == "temperature_GPP_light-response"
    assert len(list((folder / "trials").glob("*.json"))) == 2


def test_the_plug_in_passes_the_contract(here: Path, site: Path) -> None:
    """As the page says: the one contract test takes it up by itself."""
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/models/test_contract.py"]
    shown = run([sys.executable, *words, "-k", "light-response and not learns"], ROOT, PYTHONPATH=path)
    assert 'tests/models/test_contract.py -k "light-response and not learns"' in PAGE.read_text("utf-8")
    assert re.search(r"\b1\d passed", shown), shown


def test_the_small_network_keeps_its_best_epoch_and_the_time(tmp_path: Path) -> None:
    X, y, _ = toy_world(3000)
    held = toy_world(600, seed=1)[:2]
    spec = model_spec(f"{EXAMPLES / 'small_network.py'}:SPEC")
    model = spec.build(epochs=15).fit(X, y, eval_set=held, feature_names=FEATURES, seed=1)
    error = float(np.mean((model.predict(held[0]) - held[1]) ** 2))
    assert error == pytest.approx(model.report_["mse"], rel=1e-4)
    assert error < 0.3 * float(np.var(held[1]))
    same = spec.build(epochs=15).fit(X, y, eval_set=held, seed=1)
    np.testing.assert_array_equal(same.predict(X), model.predict(X))
    again = spec.load_class().load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    hurried = spec.build(epochs=10**6).fit(X, y, time_limit=0.1)
    assert np.isfinite(hurried.predict(X)).all()
