"""``fluxtrapolation shift`` from end to end on a small simulated world, and everything it refuses."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import fluxtrapolation.shift
from fluxtrapolation.cli.main import run
from fluxtrapolation.plots.shift import figures
from fluxtrapolation.shift.measure import ShiftReport
from tiny import write_tiny_store

assert fluxtrapolation.shift  # loads the module that the package's function of the same name stands before
MEASURE = sys.modules["fluxtrapolation.shift.measure"]
STEPS = ["P(X)", "P(Y|X)", "model", "applicability", "distances", "autocorrelation"]
FEW = ["--repeats", "1", "--max-rows", "3000", "--permutations", "4", "--jobs", "1"]


@dataclass
class World:
    folder: Path
    store: Path
    scenario: Path
    runs: Path

    def words(self, **changes: str) -> list[str]:
        given = {"store": str(self.store), "scenario": str(self.scenario), "target": "GPP"} | changes
        return ["shift", *(word for key, value in given.items() for word in (f"--{key}", value))]


@dataclass
class Told:
    code: int
    out: str
    err: str


def call(words: list[str]) -> Told:
    """The command in this process; matplotlib's complaint about a collapsed layout is an error."""
    out, err = io.StringIO(), io.StringIO()
    with warnings.catch_warnings(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        warnings.filterwarnings("error", message="constrained_layout")
        code = run(words)
    return Told(code, out.getvalue(), err.getvalue())


def listing(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("shift")
    made = World(folder, folder / "w", folder / "nine.yaml", folder / "runs")
    assert run(f"data synth --sites 24 --years 2015:2016 --jobs 1 --out {made.store}".split()) == 0
    design = f"scenario design --store {made.store} --rule random --n-test 9 --n-validation 3 --no-card"
    assert run([*design.split(), "--out", str(made.scenario)]) == 0
    train = f"train --store {made.store} --scenario {made.scenario} --target GPP --model xgb --model lr --profile quick"
    assert run([*train.split(), *f"--max-rows 1000 --configurations 1 --jobs 1 --out {made.runs}".split()]) == 0
    return made


@pytest.fixture(scope="module")
def first(world: World) -> tuple[Told, ShiftReport, Path]:
    """One whole measurement with two runs, as JSON, and what was measured."""
    kept: list[ShiftReport] = []
    real = MEASURE.measure

    def keeping(*given: Any, **named: Any) -> ShiftReport:
        kept.append(real(*given, **named))
        return kept[-1]

    out = world.folder / "first"
    runs = ["--run", str(world.runs / "nine_GPP_xgb"), "--run", str(world.runs / "nine_GPP_lr")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MEASURE, "measure", keeping)
        told = call([*world.words(out=str(out)), *FEW, *runs, "--json"])
    assert told.code == 0, told.err
    return told, kept[0], out


@pytest.fixture
def measured(first: tuple[Told, ShiftReport, Path], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The measurement is not made again; keeps what it was asked."""
    asked: list[dict[str, Any]] = []

    def again(*_: Any, **named: Any) -> ShiftReport:
        asked.append(named)
        few = {name: first[1].tables[name] for name in ("conditional", "error_curve", "sites", "distances")}
        return replace(first[1], tables=few)

    monkeypatch.setattr(MEASURE, "measure", again)
    return asked


def test_json_keeps_its_contract_and_is_alone(first: tuple[Told, ShiftReport, Path]) -> None:
    told, report, out = first
    found = json.loads(told.out)  # one document and nothing else
    assert Path(found["path"]) == out / "index.html"
    assert not {"NaN", "Infinity"} & set(told.out.replace(",", " ").split())
    for split in ("by_row", "by_site"):
        for name in ("auc", "balanced_accuracy"):
            assert 0.0 <= found["covariate"][split][name] <= 1.0
    whole = report.conditional
    for tree, unit in ((found["conditional"], whole.by_row), (found["conditional"]["by_site"], whole.by_site)):
        for fit in ("fit_on_train", "fit_on_test"):
            for marginal in ("train", "test", "shared"):
                cell = tree[fit][marginal]
                measured = getattr(getattr(unit, fit), marginal).rmse_increase
                assert cell["rmse_increase"] == measured.mean and (measured.mean is not None or cell["reason"])
    assert found["record"]["models"] == ["xgb", "lr"] and found["record"]["max_rows"] == 3000
    assert json.loads((out / "shift.json").read_text()) == {key: found[key] for key in found if key != "path"}


def test_every_step_is_named_on_standard_error(first: tuple[Told, ShiftReport, Path]) -> None:
    lines = [line for line in first[0].err.splitlines() if line.startswith("measuring")]
    assert lines == [f"measuring, step {place} of 6: {step}" for place, step in enumerate(STEPS, start=1)]


def test_the_folder_holds_page_tables_and_figures(first: tuple[Told, ShiftReport, Path], world: World) -> None:
    _, found, out = first
    files = set(listing(out))
    assert {f"tables/{name}.csv" for name in found.tables} < files
    assert {"index.html", "shift.json"} < files
    assert {f"figures/dissimilarity.{ending}" for ending in figures.FORMATS} < files
    assert not [name for name in files if ".tmp" in name]
    page = (out / "index.html").read_text()
    assert "weights from xgb, the first run" in page
    assert "tower, month and hour of day alone" in page
    command = page.split("<pre tabindex")[1].split("</pre>")[0]
    for word in (f"--store {world.store}", "--repeats 1", "--max-rows 3000", "--permutations 4", f"--out {out}"):
        assert word in command


def test_the_summary_ends_with_the_page(world: World, measured: list[dict[str, Any]], tmp_path: Path) -> None:
    told = call([*world.words(out=str(tmp_path / "s")), *FEW])
    assert told.code == 0
    assert told.out.splitlines()[-1] == str(tmp_path / "s" / "index.html")
    assert "P(X), by site: energy distance" in told.out and "labels exchanged:" in told.out
    assert measured[0]["options"].max_rows == 3000 and measured[0]["models"] == []
    assert call([*world.words(out=str(tmp_path / "s")), "--all-rows"]).code == 0
    assert measured[1]["options"].max_rows is None
    assert "--all-rows" in (tmp_path / "s" / "index.html").read_text()


def test_the_same_folder_again_is_replaced_as_a_whole(
    world: World, measured: list[dict[str, Any]], tmp_path: Path
) -> None:
    out = tmp_path / "s"
    (out / "figures").mkdir(parents=True)
    (out / "figures" / "difficulty.svg").write_text("of an earlier run")  # this run draws no family
    (out / "figures" / "mine.svg").write_text("mine")
    (out / "index.html").write_text("old")
    assert call(world.words(out=str(out))).code == 0
    files = listing(out)
    assert "figures/difficulty.svg" not in files and files["figures/mine.svg"] == b"mine"
    assert files["index.html"] != b"old"


@pytest.mark.parametrize(
    "where", ["fluxtrapolation.plots.shift.save_figures", "fluxtrapolation.plots.shift.write_shift_page"]
)
@pytest.mark.parametrize("before", [True, False])
def test_an_interrupted_run_leaves_what_was_there(
    world: World,
    measured: list[dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
    before: bool,
) -> None:
    out = tmp_path / "s"
    if before:
        assert call(world.words(out=str(out))).code == 0
        (out / "tables" / "sites.csv").write_text("of the run before")
    held = listing(out)

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(where, stop)
    told = call(world.words(out=str(out)))
    assert told.code == 130 and told.out == ""
    assert listing(out) == held
    assert not list(tmp_path.rglob("*.tmp"))


def test_runs_of_one_model_are_told_apart(world: World, measured: list[dict[str, Any]], tmp_path: Path) -> None:
    train = f"train --store {world.store} --scenario {world.scenario} --target GPP --model lr --profile quick"
    assert run([*train.split(), *f"--max-rows 500 --configurations 1 --out {tmp_path}".split()]) == 0
    one, two = world.runs / "nine_GPP_lr", tmp_path / "nine_GPP_lr"
    words = world.words(out=str(tmp_path / "s"))
    assert call([*words, "--run", str(one), "--run", str(two)]).code == 0
    assert [judged.name for judged in measured[0]["models"]] == [str(one), str(two)]
    told = call([*words, "--run", str(one), "--run", str(one.parent / "." / one.name)])
    assert told.code == 2 and "is given 2 times. Give each run once" in told.err


def test_an_ensemble_first_is_told_on_the_page(world: World, measured: list[dict[str, Any]], tmp_path: Path) -> None:
    members = [str(world.runs / f"nine_GPP_{name}") for name in ("xgb", "lr")]
    assert run(["ensemble", *members, "--out", str(world.runs), "--overwrite"]) == 0
    both = ["--run", str(world.runs / "nine_GPP_ensemble"), "--run", members[0]]
    told = call([*world.words(out=str(tmp_path / "s")), *both])
    assert told.code == 0 and measured[0]["models"][0].model is None
    assert "an ensemble has no importances of its own" in told.err and "Give another run first" in told.err
    page = (tmp_path / "s" / "index.html").read_text()
    assert "because the first run, ensemble, gives no importances" in page and "takes its weights from" not in page


def test_a_domain_is_read_from_another_store(world: World, measured: list[dict[str, Any]], tmp_path: Path) -> None:
    words = world.words(out=str(tmp_path / "s"))
    assert call([*words, "--domain", str(world.store)]).code == 0
    place = measured[0]["domain"]
    assert len(place.X) > 1000 and len(place.lat) == 24
    poor = write_tiny_store(tmp_path / "poor", ("AA-One",), hours=48)
    told = call([*words, "--domain", str(poor.path)])
    assert told.code == 2 and f"{poor.path} lacks" in told.err and "covariates of the scenario" in told.err


@pytest.mark.parametrize(
    ("changes", "more", "words"),
    [
        ({"scenario": "temprature"}, [], "no scenario 'temprature'. Did you mean"),
        ({"scenario": "absent.yaml"}, [], "absent.yaml"),
        ({"target": "GGP"}, [], "GGP"),
        ({"store": "nowhere"}, [], "no store at nowhere"),
        ({"scenario": "temporal"}, [], "has no validation rows"),
        ({}, ["--run", "nowhere"], "nowhere is not a run"),
        ({}, ["--domain", "nowhere"], "no store at nowhere"),
        ({}, ["--repeats", "0"], "--repeats"),
        ({}, ["--max-rows", "5"], "--max-rows"),
        ({}, ["--permutations", "0"], "--permutations"),
        ({}, ["--protocol", "mine"], "--protocol"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    world: World, tmp_path: Path, changes: dict[str, str], more: list[str], words: str
) -> None:
    told = call([*world.words(**{"out": str(tmp_path / "s"), **changes}), *more])
    assert told.code == 2 and told.out == ""
    assert words in told.err and "Traceback" not in told.err and "measuring" not in told.err
    assert not (tmp_path / "s").exists()


def test_a_store_without_the_target_is_refused(tmp_path: Path) -> None:
    store = write_tiny_store(tmp_path / "w", ("AA-One", "BB-Two"), hours=48)
    words = [
        "shift",
        "--store",
        str(store.path),
        "--scenario",
        "temperature",
        "--target",
        "ET",
        "--out",
        str(tmp_path / "s"),
    ]
    told = call(words)
    assert told.code == 2 and "ET" in told.err and "GPP" in told.err and told.out == ""


def test_a_run_of_another_target_is_refused_before_the_work(world: World, tmp_path: Path) -> None:
    words = world.words(out=str(tmp_path / "s"), target="NEE")
    told = call([*words, "--run", str(world.runs / "nine_GPP_lr")])
    assert told.code == 2 and "is of another target: GPP, not NEE" in told.err and "measuring" not in told.err


def test_a_place_that_is_no_folder_is_refused_before_the_work(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "tables").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "deeper", tmp_path / "s"):
        told = call(world.words(out=str(out)))
        assert told.code == 2 and "is a file, where a folder is needed" in told.err and "measuring" not in told.err
    told = call(world.words(out=str(world.store / "s")))
    assert told.code == 2 and "lies in the store" in told.err


@pytest.mark.slow
def test_one_test_tower_gives_reasons_and_no_gap(world: World, tmp_path: Path) -> None:
    design = f"scenario design --store {world.store} --rule random --n-test 1 --n-validation 3 --no-card"
    assert run([*design.split(), "--out", str(tmp_path / "one.yaml")]) == 0
    told = call([*world.words(scenario=str(tmp_path / "one.yaml"), out=str(tmp_path / "s")), *FEW, "--json"])
    assert told.code == 0, told.err
    found = json.loads(told.out)
    site = found["covariate"]["by_site"]
    assert site["auc"] is None and "at least 4 a side are needed" in site["reason"]
    shared = found["conditional"]["by_site"]["fit_on_train"]["shared"]
    assert shared["rmse_increase"] is None and shared["reason"]
    page = (tmp_path / "s" / "index.html").read_text()
    assert "It cannot be estimated between towers: 20 towers have train rows and 1 have test rows" in page
    assert "No run was given: the model is boosted trees" in page
