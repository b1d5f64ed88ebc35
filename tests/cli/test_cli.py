"""The command line as a user types it: in its own process, with exit codes, standard output and error kept apart."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from fluxtrapolation.data.store import Store
from tiny import write_tiny_store


def cli(*words: object, cwd: Path, check: int | None = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "fluxtrapolation.cli.main", *map(str, words)],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600,
    )
    if check is not None:
        assert done.returncode == check, f"{words}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stdout.rstrip("\n").splitlines()[-1]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small simulated world and a designed scenario."""
    place = tmp_path_factory.mktemp("cli")
    done = cli("data", "synth", "--out", "world", "--sites", 12, "--years", "2017:2019", "--seed", 2, cwd=place)
    assert last_line(done) == "world"
    done = cli(
        *("scenario", "design", "--store", "world", "--rule", "random", "--n-test", 3, "--n-validation", 2),
        *("--seed", 1, "--out", "draw.yaml"),
        cwd=place,
    )
    assert last_line(done) == "draw.yaml"
    return place


@pytest.fixture(scope="module")
def runs(place: Path) -> Path:
    done = cli(
        *("train", "--store", "world", "--scenario", "draw.yaml", "--target", "GPP", "--target", "ET"),
        *("--model", "lr", "--model", "xgb", "--profile", "quick", "--max-rows", 3000, "--out", "runs"),
        cwd=place,
    )
    assert last_line(done) == "runs"
    assert "draw_GPP_xgb: complete" in done.stderr
    return place / "runs"


def test_info_verify_and_flip(place: Path) -> None:
    info = json.loads(cli("data", "info", "world", "--json", cwd=place).stdout)
    assert info["sites"] == 12
    assert info["targets"] == ["GPP", "NEE", "ET"]
    assert info["resolution"] == "hourly"
    assert "12" in cli("data", "info", "world", cwd=place).stdout
    assert json.loads(cli("data", "verify", "world", "--json", cwd=place).stdout)["intact"] is True
    file = next((place / "world" / "sites").glob("*.parquet"))
    content = file.read_bytes()
    file.write_bytes(content[:100] + bytes([content[100] ^ 4]) + content[101:])
    try:
        done = cli("data", "verify", "world", cwd=place, check=1)
        assert file.name in done.stderr
        assert json.loads(cli("data", "verify", "world", "--json", cwd=place, check=1).stdout)["intact"] is False
    finally:
        file.write_bytes(content)


def test_export_and_import_round_trip(place: Path) -> None:
    assert last_line(cli("data", "export", "world", "--format", "benchmark-csv", "--out", "csv", cwd=place)) == "csv"
    done = cli("data", "import", "csv", "--out", "back", "--json", cwd=place)
    assert (
        json.loads(done.stdout)["rows"] == json.loads(cli("data", "info", "world", "--json", cwd=place).stdout)["rows"]
    )
    one, two = Store(place / "world"), Store(place / "back")
    for site in one.site_ids[:3]:
        assert one.read_site(site).equals(two.read_site(site), null_equal=True)


def test_scenarios(place: Path) -> None:
    names = [one["name"] for one in json.loads(cli("scenario", "list", "--json", cwd=place).stdout)]
    assert names == ["temporal", "spatial", "temperature", "spatial-redraw"]
    assert "TA40" in cli("scenario", "list", cwd=place).stdout
    shown = json.loads(cli("scenario", "show", "TA40", "--json", cwd=place).stdout)
    assert shown["name"] == "temperature" and len(shown["test"]) == 40
    assert "format: fluxtrapolation-scenario" in cli("scenario", "show", "draw.yaml", cwd=place).stdout
    again = cli("scenario", "design", "--store", "world", "--rule", "random", "--out", "draw.yaml", cwd=place, check=2)
    assert "draw.yaml exists" in again.stderr
    strict = cli("scenario", "show", "temperature", "--store", "world", "--strict", cwd=place, check=2)
    assert "lacks" in strict.stderr


def test_train_evaluate_table_report(place: Path, runs: Path) -> None:
    done = cli("evaluate", "runs", "--out", "scores.parquet", cwd=place)
    assert last_line(done) == "scores.parquet"
    frame = pl.read_parquet(place / "scores.parquet")
    assert set(frame["scale"]) == {"hourly", "daily", "weekly", "monthly", "seasonal", "anom", "iav", "site-mean"}
    assert set(frame["model"]) == {"lr", "xgb"}
    assert set(frame["target"]) == {"GPP", "ET"}
    for ending in ("csv", "md", "tex", "html"):
        out = f"pivot.{ending}"
        done = cli("table", "scores.parquet", "--target", "ET", "--summary", "q90", "--out", out, cwd=place)
        assert last_line(done) == out
    pivot = pl.read_csv(place / "pivot.csv").filter(pl.col("selection") == "mean")
    assert dict(zip(pivot["model"], pivot["skill_score"], strict=True))["lr"] == 0.0
    assert "draw/hourly" in pivot.columns
    done = cli("report", "runs", "--out", "report", cwd=place)
    assert last_line(done) == "report/index.html"
    page = (place / "report" / "index.html").read_text()
    assert "draw" in page and "xgb" in page
    for result in json.loads(cli("report", "runs", "--out", "report2", "--json", cwd=place).stdout).items():
        assert result


def test_protocol_measured_and_mixing(place: Path, runs: Path) -> None:
    cli("evaluate", "runs/draw_GPP_lr", "--out", "measured.parquet", "--protocol", "measured", cwd=place)
    cli("evaluate", "runs/draw_GPP_lr", "--out", "paper.parquet", cwd=place)
    done = cli("table", "measured.parquet", "paper.parquet", "--target", "GPP", "--out", "x.csv", cwd=place, check=2)
    assert "different protocols" in done.stderr
    bare = pl.read_parquet(runs / "draw_GPP_lr" / "predictions-mean.parquet").drop("qc_mask", "domain")
    bare.write_parquet(place / "bare.parquet")
    refused = cli("evaluate", "bare.parquet", "--out", "b.parquet", "--protocol", "measured", cwd=place, check=2)
    assert "--store" in refused.stderr
    labels = ("--target", "GPP", "--model", "mine", "--scenario", "my towers", "--selection", "mean")
    cli(
        "evaluate",
        "bare.parquet",
        "--out",
        "b.parquet",
        "--protocol",
        "measured",
        "--store",
        "world",
        *labels,
        cwd=place,
    )
    one = pl.read_parquet(place / "measured.parquet").filter(pl.col("selection") == "mean")
    two = pl.read_parquet(place / "b.parquet")
    assert set(two["model"]) == {"mine"} and set(two["scenario"]) == {"my towers"}
    joined = one.join(two, on=["scale", "domain"], suffix="_bare")
    assert joined.height == one.height == two.height
    assert joined.filter(pl.col("rmse").ne_missing(pl.col("rmse_bare"))).height == 0


def test_labels_that_no_file_takes_are_refused(place: Path, runs: Path, tmp_path: Path) -> None:
    done = cli("evaluate", "runs", "--model", "mine", "--out", tmp_path / "s.parquet", cwd=place, check=2)
    assert "--model label bare tables, but all" in done.stderr
    assert not (tmp_path / "s.parquet").exists()


def test_published_columns(place: Path, runs: Path) -> None:
    cli("evaluate", "runs/draw_GPP_lr/predictions-mean.parquet", "--out", "p.csv", "--columns", "published", cwd=place)
    header = (place / "p.csv").read_text().splitlines()[0]
    assert header.startswith("target,setting,model,scale,env,n_samples,mse,rmse,mae,nse,r2_score,bias")


def test_paths_with_brackets(place: Path, runs: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r[1]*"
    folder.mkdir()
    shutil.copytree(runs / "draw_GPP_lr", folder / "draw_GPP_lr")
    cli("evaluate", folder, "--selection", "mean", "--out", folder / "s.parquet", cwd=place)
    cli("table", folder / "s.parquet", "--target", "GPP", "--out", folder / "t.csv", cwd=place)
    cli("report", folder, "--out", folder / "report", cwd=place)
    assert {"index.html", "scores.parquet", "GPP_median.csv"} <= {file.name for file in (folder / "report").iterdir()}


def test_a_refused_report_leaves_nothing(place: Path, runs: Path, tmp_path: Path) -> None:
    words = ("scenario", "design", "--store", "world", "--rule", "random", "--n-test", 3, "--n-validation", 2)
    cli(*words, "--seed", 9, "--name", "draw", "--out", tmp_path / "draw.yaml", cwd=place)
    words = (
        "train",
        "--store",
        "world",
        "--scenario",
        tmp_path / "draw.yaml",
        "--target",
        "GPP",
        "--model",
        "constant",
    )
    cli(*words, "--profile", "quick", "--out", tmp_path / "other", cwd=place)
    done = cli("report", "runs", tmp_path / "other", "--out", tmp_path / "report", cwd=place, check=2)
    assert "scenario" in done.stderr
    assert not (tmp_path / "report").exists()


def test_predict(place: Path, runs: Path) -> None:
    done = cli("predict", "runs/draw_GPP_xgb", "--store", "world", "--out", "again.parquet", cwd=place)
    assert last_line(done) == "again.parquet"
    assert pl.read_parquet(place / "again.parquet").equals(
        pl.read_parquet(runs / "draw_GPP_xgb/predictions-mean.parquet")
    )


def test_train_again_is_instant_and_says_so(place: Path, runs: Path) -> None:
    done = cli(
        *("train", "--store", "world", "--scenario", "draw.yaml", "--target", "GPP", "--model", "lr"),
        *("--profile", "quick", "--max-rows", 3000, "--out", "runs", "--json"),
        cwd=place,
    )
    [run] = json.loads(done.stdout)["runs"]
    assert run["status"] == "already complete"


def test_models_and_doctor(place: Path) -> None:
    names = [one["name"] for one in json.loads(cli("models", "--json", cwd=place).stdout)]
    assert {"constant", "lr", "ridge", "xgb"} <= set(names)
    facts = json.loads(cli("doctor", "--json", cwd=place).stdout)
    assert facts["ok"] is True
    assert facts["libraries"]["core"]["polars"]
    assert "fluxtrapolation" in cli("doctor", cwd=place).stdout


BAD_USAGE = {
    "no store": (["data", "info", "nowhere"], "There is no store at nowhere"),
    "unknown model": (
        ["train", "--store", "world", "--scenario", "draw.yaml", "--target", "GPP", "--model", "xgbb", "--out", "r"],
        "Did you mean 'xgb'",
    ),
    "missing target": (
        ["train", "--store", "world", "--scenario", "draw.yaml", "--target", "LE", "--model", "lr", "--out", "r"],
        "This store holds: GPP, NEE, ET",
    ),
    "unknown scenario": (
        ["train", "--store", "world", "--scenario", "tempral", "--target", "GPP", "--model", "lr", "--out", "r"],
        "Did you mean 'temporal'",
    ),
    "unknown command": (["trian"], "trian"),
    "unknown flag": (["data", "info", "world", "--jsn"], "--jsn"),
    "missing flag": (["train", "--store", "world"], "--scenario"),
    "bad years": (["data", "synth", "--out", "w2", "--years", "twenty"], "Write them as 2015:2022"),
    "no source": (["data", "import", "nowhere", "--out", "t"], "nowhere does not exist"),
    "no predictions": (["evaluate", "nowhere.parquet", "--out", "s.parquet"], "nowhere.parquet does not exist"),
    "bad ending": (["evaluate", "draw.yaml", "--out", "s.xlsx"], "must end in .parquet or .csv"),
    "bad name": (
        ["scenario", "design", "--store", "world", "--rule", "random", "--n-test", "2", "--out", "my draw.yaml"],
        "cannot be the name of a scenario",
    ),
    "seed": (
        ["scenario", "design", "--store", "world", "--rule", "random", "--seed", "-1", "--out", "x.yaml"],
        "greater than or equal to 0",
    ),
    "no runs": (["report", "nowhere", "--out", "rep"], "nowhere does not exist"),
    "rule": (["scenario", "design", "--store", "world", "--rule", "warm", "--out", "x.yaml"], "'warm' is not one of"),
    "published name": (
        ["scenario", "design", "--store", "world", "--rule", "random", "--out", "spatial.yaml"],
        "name of a published scenario",
    ),
    "too many": (
        ["scenario", "design", "--store", "world", "--rule", "random", "--n-test", "40", "--out", "x.yaml"],
        "leave none of the store's 12 towers",
    ),
}


@pytest.mark.parametrize("what", BAD_USAGE)
def test_bad_usage_is_told_in_words_with_exit_code_2(place: Path, what: str) -> None:
    words, message = BAD_USAGE[what]
    done = cli(*words, cwd=place, check=2)
    assert message in " ".join(done.stderr.split()), done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("content", ["", "<html><body>Not found</body></html>", "a,b\n1,2\n"])
def test_importing_rubbish_leaves_nothing_behind(place: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "DE-Hai.csv").write_text(content)
    done = cli("data", "import", "csv", "--out", "towers", cwd=tmp_path, check=2)
    assert done.stderr.startswith("error: Site DE-Hai:")
    assert not (tmp_path / "towers").exists()


def test_one_bad_tower_is_told_and_the_rest_imported(place: Path, tmp_path: Path) -> None:
    names = Store(place / "world").site_ids[:3]
    cli("data", "export", place / "world", "--sites", ",".join(names), "--out", "csv", cwd=tmp_path)
    (tmp_path / "csv" / f"{names[0]}.csv").write_text("<html>")
    done = cli("data", "import", "csv", "--out", "towers", cwd=tmp_path, check=2)
    assert f"error: Site {names[0]}: {names[0]}.csv is a web page" in done.stderr
    assert "1 of 3 towers could not be read" in done.stderr
    assert last_line(done) == "towers"
    assert Store(tmp_path / "towers").site_ids == names[1:]


def test_output_that_nobody_takes(place: Path) -> None:
    command = [sys.executable, "-m", "fluxtrapolation.cli.main", "data", "info", "world", "--json"]
    for shell in (f"{shlex.join(command)} | true", f"{shlex.join(command)} | head -c 1", f"{shlex.join(command)} >&-"):
        done = subprocess.run(["bash", "-o", "pipefail", "-c", shell], cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, (shell, done.stderr)
        assert "Traceback" not in done.stderr
    if Path("/dev/full").exists():
        done = subprocess.run(
            ["bash", "-c", f"{shlex.join(command)} > /dev/full"], cwd=place, capture_output=True, text=True
        )
        assert done.returncode == 2
        assert "Traceback" not in done.stderr and "No space left" in done.stderr


def test_train_takes_lists_and_ends_with_2_if_nothing_came_of_it(place: Path, tmp_path: Path) -> None:
    words = ["train", "--store", "world", "--scenario", "draw.yaml", "--target", "GPP,NEE", "--target", "GPP"]
    done = cli(*words, "--model", "lr,constant", "--out", tmp_path / "r", "--profile", "quick", "--json", cwd=place)
    assert len(json.loads(done.stdout)["runs"]) == 4
    (tmp_path / "r2").mkdir()
    (tmp_path / "r2" / "draw_GPP_lr").mkdir()
    (tmp_path / "r2" / "draw_GPP_lr" / "thesis.docx").write_text("x")
    done = cli(*words, "--model", "lr", "--out", tmp_path / "r2", cwd=place, check=2)
    assert "in the way" in done.stderr


@pytest.mark.slow
def test_interrupt_keeps_what_is_finished(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "fluxtrapolation.cli.main", "data", "synth", "--out", "world", "--jobs", "1"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while len(list((tmp_path / "world" / "sites").glob("[A-Z]*.parquet"))) < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    info = json.loads(cli("data", "info", "world", "--json", cwd=tmp_path).stdout)
    assert info["sites"] >= 2 and info["complete"] is False


def test_full_disk_while_writing(tmp_path: Path) -> None:
    """A real full disk where one can be mounted is rare; /dev/full refuses every write the same way."""
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    store = write_tiny_store(tmp_path / "s", hours=100)
    code = (
        "import os, sys; from pathlib import Path\n"
        "import fluxtrapolation.files as files\n"
        "write = Path.write_bytes\n"
        "Path.write_bytes = lambda self, data: write(Path('/dev/full') if 'BB-Two' in self.name else self, data)\n"
        "from fluxtrapolation.cli.main import main\n"
        f"main(['data', 'import', {str(tmp_path / 'csv')!r}, '--out', {str(tmp_path / 'out')!r}, '--jobs', '1'])\n"
    )
    cli("data", "export", store.path, "--out", tmp_path / "csv", cwd=tmp_path)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "disk is full" in done.stderr and "Traceback" not in done.stderr
    left = {path.name for path in (tmp_path / "out" / "sites").iterdir()}
    assert "BB-Two.parquet" not in left
    assert not any(name.endswith(".tmp") for name in left)
