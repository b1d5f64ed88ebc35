"""Sweeps: read strictly, planned before anything is trained, resumed, reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from fluxtrapolation.cli.main import run as command
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.synthetic import write_world
from fluxtrapolation.errors import RunError
from fluxtrapolation.models.boosted import XGBoost
from fluxtrapolation.runs import RunFolder, TrainOptions
from fluxtrapolation.runs.sweep import RATES, ModelEntry, planned, read_plan, sweep_cells
from fluxtrapolation.runs.train import train_cells
from fluxtrapolation.scenarios import DesignOptions, design, load_scenario, make_split, most_rows
from fluxtrapolation.scenarios.scenario import PART_NAMES

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "sweep.yaml"


def test_runs_that_cannot_be_read_do_not_hinder_a_plan(place: Path, tiny_store: Store) -> None:
    plan = read_plan(written(tiny_store))
    for name, content in (("other", "{}"), ("older", None)):
        folder = place / "runs" / name
        (folder / "trials").mkdir(parents=True)
        (folder / "run.json").write_text(content or "not JSON")
    assert {row.status for row in planned(sweep_cells(plan))} == {"to do"}


@pytest.fixture
def place(tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    design(tiny_store, "random", name="draw", options=DesignOptions(n_test=2, n_validation=2)).write("draw.yaml")
    return tmp_path


def written(store: Store, /, **changes: Any) -> str:
    body: dict[str, Any] = {
        "store": str(store.path),
        "scenarios": ["draw.yaml"],
        "targets": ["GPP", "NEE"],
        "models": ["lr", {"name": "ridge", "configurations": 3}, {"name": "xgb", "max_rows": 1500}],
        "profile": "quick",
        "max_rows": 2000,
        "out": "runs",
        "report": "report",
    }
    body |= changes
    Path("plan.yaml").write_text(yaml.safe_dump({name: value for name, value in body.items() if value is not ...}))
    return "plan.yaml"


def answer(words: list[str], capfd: pytest.CaptureFixture[str], code: int = 0) -> Any:
    capfd.readouterr()
    assert command([*words, "--json"]) == code
    return json.loads(capfd.readouterr().out)


def test_the_example_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write_world(tmp_path / "world", sites=24, years=(2016, 2019))
    plan = answer(["sweep", str(EXAMPLE), "--dry-run"], capfd)
    assert len(plan["plan"]) == 16 and {row["status"] for row in plan["plan"]} == {"to do"}
    assert not (tmp_path / "runs").exists()
    told = answer(["sweep", str(EXAMPLE), "--jobs", "1"], capfd)
    assert {run["status"] for run in told["runs"]} == {"complete"}
    [page] = told["reports"]
    assert page.startswith("report/") and (tmp_path / page).is_file()
    assert (tmp_path / "report" / "scores.parquet").is_file()


def test_plan_then_work_then_nothing_to_do(
    tiny_store: Store, place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = written(tiny_store)
    before = answer(["sweep", plan, "--dry-run"], capfd)
    assert [(row["target"], row["model"], row["configurations"], row["train_rows"]) for row in before["plan"]] == [
        *(("GPP", "lr", 1, 2000), ("GPP", "ridge", 3, 2000), ("GPP", "xgb", 2, 1500)),
        *(("NEE", "lr", 1, 2000), ("NEE", "ridge", 3, 2000), ("NEE", "xgb", 2, 1500)),
    ]
    assert not any(row["measured"] for row in before["plan"])
    assert before["seconds"] > 0 and list(place.iterdir()) != [] and not Path("runs").exists()

    # interrupted in the middle
    fit, calls = XGBoost._fit, []

    def dying(self: XGBoost, *arguments: Any, **more: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        fit(self, *arguments, **more)

    monkeypatch.setattr(XGBoost, "_fit", dying)
    assert command(["sweep", plan, "--jobs", "1"]) == 130
    half = answer(["sweep", plan, "--dry-run"], capfd)["plan"]
    assert [(row["status"], row["configurations_done"]) for row in half] == [
        *(("to continue", 1), ("to continue", 3), ("to continue", 1)),
        *(("to do", 0), ("to do", 0), ("to do", 0)),
    ]
    assert all(row["measured"] for row in half)
    capfd.readouterr()
    assert command(["sweep", plan, "--dry-run"]) == 0
    shown = capfd.readouterr()
    assert "to continue (1 of 2 done)" in shown.out
    assert "6 runs, 0 done; about" in shown.err

    told = answer(["sweep", plan, "--jobs", "1"], capfd)
    assert [run["status"] for run in told["runs"]] == ["complete"] * 6
    assert len(calls) == 2 + 3  # the lost one of GPP again, and both of NEE
    assert told["failed"] == 0 and told["reports"] == ["report/index.html"]
    assert RunFolder("runs/draw_GPP_xgb").state().config.max_rows == 1500

    assert command(["sweep", plan]) == 0
    shown = capfd.readouterr()
    assert shown.out == "report/index.html\n"
    assert "All 6 runs are done." in shown.err and shown.err.count("already complete") == 6


def test_estimates_rest_on_trials_where_there_are_any(tiny_store: Store, place: Path) -> None:
    plan = read_plan(written(tiny_store, targets="GPP", models=["lr", "ridge"], report=None))
    cells = sweep_cells(plan, jobs=1)
    lr, ridge = planned(cells)
    assert (lr.seconds, ridge.seconds) == (2000 / RATES["lr"], 2 * 2000 / RATES["ridge"])
    assert not lr.measured and not ridge.measured
    train_cells(cells)
    folder = RunFolder(cells[1].folder.path)
    for number, trial in folder.trials().items():
        folder.write_trial(trial.model_copy(update={"fit_seconds": 10.0, "predict_seconds": 0.0, "number": number}))
    more = sweep_cells(read_plan(written(tiny_store, targets="NEE", models=["ridge"], configurations=5)), jobs=1)
    [one] = planned(more)
    assert one.measured and one.seconds == pytest.approx(5 * 10.0)
    [capped] = planned(
        sweep_cells(read_plan(written(tiny_store, targets="NEE", models=["ridge"], time_limit=3.0, max_time=5.0)))
    )
    assert capped.seconds == 5.0
    done = planned(sweep_cells(plan, jobs=1))
    assert [(row.status, row.seconds) for row in done] == [("done", 0.0)] * 2


def test_rows_are_bounded_from_the_manifest(tiny_store: Store, place: Path) -> None:
    drawn = load_scenario("draw.yaml")
    for part in PART_NAMES:
        rows = len(getattr(make_split(tiny_store, drawn, target="GPP", parts=(part,)), part))
        most = most_rows(tiny_store, drawn, part)
        assert most == rows if part == "test" else rows <= most < 1.1 * rows


def test_several_seeds_have_a_folder_and_a_report_each(
    tiny_store: Store, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = written(tiny_store, seeds=[3, 4], targets=["GPP"], models=["lr", "ridge"])
    told = answer(["sweep", plan, "--jobs", "1"], capfd)
    assert [run["path"] for run in told["runs"]] == [
        f"runs/seed-{seed}/draw_GPP_{model}" for seed in (3, 4) for model in ("lr", "ridge")
    ]
    assert told["reports"] == ["report/seed-3/index.html", "report/seed-4/index.html"]
    assert RunFolder("runs/seed-4/draw_GPP_ridge").state().config.seed == 4
    a, b = (RunFolder(f"runs/seed-{seed}/draw_GPP_ridge").trials()[0].params for seed in (3, 4))
    assert a != b


def test_what_fails_is_told_and_the_rest_is_reported(
    tiny_store: Store, place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad(self: XGBoost, *arguments: Any, **more: Any) -> None:
        raise ValueError("no")

    monkeypatch.setattr(XGBoost, "_fit", bad)
    plan = written(tiny_store, targets=["GPP"])
    assert command(["sweep", plan, "--jobs", "1"]) == 2
    shown = capfd.readouterr()
    assert shown.out == "report/index.html\n"
    assert "1 of 3 runs failed:\n  draw_GPP_xgb: All 2 configurations failed; the first: ValueError: no" in shown.err
    assert "Traceback" not in shown.err


@pytest.mark.slow
def test_on_a_cluster(tiny_store: Store, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("distributed")
    plan = written(tiny_store, targets=["GPP"], models=["lr", "ridge"], seeds=[0, 1])
    told = answer(["sweep", plan, "--cluster", "local", "--workers", "2", "--jobs", "1"], capfd)
    assert [run["status"] for run in told["runs"]] == ["complete"] * 4


MALFORMED = [
    ({"stoer": "x"}, r"stoer is unknown\. Did you mean 'store'\?"),
    ({"store": ...}, "store is missing"),
    ({"models": [{"name": "xgb", "max_row": 3}]}, r"models\.0\.max_row is unknown\. Did you mean 'max_rows'\?"),
    ({"models": [{"max_rows": 3}]}, r"models\.0\.name is missing"),
    ({"models": []}, "models: Tuple should have at least 1 item"),
    ({"models": [{"name": "xgb", "max_rows": 0}]}, r"models\.0\.max_rows: Input should be greater than or equal to 1"),
    ({"profile": "fast"}, "profile: Input should be 'paper', 'quick' or 'tpe'"),
    ({"seeds": ["one"]}, "seeds.0: Input should be a valid integer"),
]


@pytest.mark.parametrize(("changes", "says"), MALFORMED)
def test_malformed_plans(tiny_store: Store, place: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(RunError, match=says):
        read_plan(written(tiny_store, **changes))


def test_all_problems_are_told_at_once(tiny_store: Store, place: Path) -> None:
    with pytest.raises(RunError) as told:
        read_plan(written(tiny_store, stoer=1, out=..., max_rows=-1))
    assert len(str(told.value).splitlines()) == 4


def test_files_that_are_no_plan(place: Path) -> None:
    with pytest.raises(RunError, match=r"no sweep file nowhere\.yaml"):
        read_plan("nowhere.yaml")
    Path("list.yaml").write_text("- a\n")
    with pytest.raises(RunError, match="must be a mapping with store, scenarios, targets, models, out"):
        read_plan("list.yaml")
    Path("bad.yaml").write_text("a: [1\nb: 2\n")
    with pytest.raises(RunError, match=r"bad\.yaml, line 2 is not YAML"):
        read_plan("bad.yaml")


BAD_NAMES = [
    ({"models": ["lr", "xgbb"]}, "Did you mean 'xgb'"),
    ({"models": ["lr", "lr"]}, "is given 2 times"),
    ({"models": ["xgb", {"name": "xgb", "max_rows": 5}]}, "The model name 'xgb' is given 2 times"),
    ({"targets": ["ET"]}, "has no ET"),
    ({"scenarios": ["tempratur"]}, "Did you mean 'temperature'"),
    ({"store": "nowhere"}, "no store at nowhere"),
    ({"seeds": [-1]}, "must not be negative"),
]


@pytest.mark.parametrize(("changes", "says"), BAD_NAMES)
def test_bad_names_stop_before_anything_is_trained(
    tiny_store: Store, place: Path, capfd: pytest.CaptureFixture[str], changes: dict[str, Any], says: str
) -> None:
    for more in ([], ["--dry-run"]):
        assert command(["sweep", written(tiny_store, **changes), *more]) == 2
        assert says in capfd.readouterr().err
    assert not Path("runs").exists()


def test_another_configuration_in_the_folder_is_refused(
    tiny_store: Store, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    small = {"targets": ["GPP"], "models": ["lr"], "report": None}
    assert command(["sweep", written(tiny_store, **small), "--jobs", "1"]) == 0
    assert capfd.readouterr().out == "runs\n"
    assert command(["sweep", written(tiny_store, **small, max_rows=100)]) == 2
    assert "max_rows 2000 there, 100 now" in capfd.readouterr().err


def test_every_entry_of_a_model_is_an_option_of_train() -> None:
    names = set(ModelEntry.model_fields) - {"name"}
    assert {"n_configurations" if name == "configurations" else name for name in names} <= set(
        TrainOptions.__dataclass_fields__
    )
