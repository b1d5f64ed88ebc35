"""``rank``, ``compare`` and ``table --intervals/--by/--summary cdf`` as a user types them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.cli.main import run
from fluxtrapolation.data.store import Store
from fluxtrapolation.evaluation import Scores, compare, rank, strata
from made_scores import board, made, names, together

SUFFIXES = ("csv", "md", "tex", "html")


class Done:
    """What a command left: exit code, standard output and error."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def last(self) -> str:
        return self.out.rstrip("\n").splitlines()[-1]


@pytest.fixture
def cli(place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """Run a command in this process, in the folder of the scores."""
    monkeypatch.chdir(place)

    def call(*words: object, code: int = 0) -> Done:
        capsys.readouterr()
        found = run([str(word) for word in words])
        out, err = capsys.readouterr()
        done = Done(found, out, err)
        assert done.code == code, f"{words}: {done.code}\n{out}\n{err}"
        return done

    return call


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rank")
    scores = board({"lr": 0.0, "xgb": 0.3, "bad": -0.4}, targets=("ET", "GPP"), sites=24)
    scores.write(folder / "scores.parquet")
    for model in ("lr", "xgb"):
        scores.where(model=model).write(folder / f"{model}.csv")
    board({"lr": 0.0, "xgb": 0.3}, seeds={"xgb": 3}, sites=15).write(folder / "seeds.parquet")
    sites = [*names(24, "sp"), *names(24, "te")]
    pl.DataFrame({"site_id": sites, "igbp": ["ENF", "GRA"] * 24, "lat": np.linspace(-40, 70, 48)}).write_csv(
        folder / "sites.csv"
    )
    return folder


def test_a_process_of_its_own(place: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fluxtrapolation.cli.main", "rank", "scores.parquet", "--target", "GPP", "--json"],
        cwd=place,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ranking"][0]["model"] == "xgb"
    assert done.stderr == ""


# rank


def test_rank_shows_every_target(cli) -> None:
    done = cli("rank", "scores.parquet")
    assert "ET: skill against lr" in done.out
    assert "GPP: skill against lr" in done.out
    assert re.search(r"^ *1 +xgb \(mean\) +0\.\d{3} +0\.\d{3} to 0\.\d{3} +1 +yes +1\.00", done.out, re.MULTILINE)
    assert "nan" not in done.out
    assert "None" not in done.out
    assert "seeds" not in done.out


def test_rank_json_is_the_rankings(cli, place: Path) -> None:
    found = json.loads(cli("rank", "scores.parquet", "--json", "--seed", 3, "--summary", "q90").out)
    wanted = rank(Scores.read(place / "scores.parquet"), summary="q90", seed=3)
    assert {"summary", "metric", "baseline", "level", "draws", "seed", "ranking", "pairs"} == set(found)
    assert found["summary"] == "q90"
    assert found["ranking"] == wanted.table.to_dicts()
    assert found["pairs"] == wanted.pairs.to_dicts()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_rank_writes(cli, place: Path, suffix: str) -> None:
    done = cli("rank", "scores.parquet", "--target", "GPP", "--out", f"ranking.{suffix}")
    assert done.last == f"ranking.{suffix}"
    assert "xgb" in (place / f"ranking.{suffix}").read_text()
    if suffix == "csv":
        assert pl.read_csv(place / "ranking.csv")["tied_with_best"].to_list() == [True, False, False]
        assert json.loads(cli("rank", "scores.parquet", "--json", "--out", "r.csv").out)["path"] == "r.csv"


def test_rank_tells_seeds(cli) -> None:
    done = cli("rank", "seeds.parquet")
    assert re.search(r"3, sd 0\.\d{3}", done.out)


def test_rank_of_few_draws_gives_a_note(cli, place: Path) -> None:
    gains = {"lr": 0.0, **{f"m{number}": 0.1 * number for number in range(9)}}
    board(gains, sites=10).write(place / "many.parquet")
    done = cli("rank", "many.parquet", "--draws", 500)
    assert "note: 500 draws cannot tell any of 10 models apart" in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("rank", "scores.parquet", "--target", "GGP"), "Did you mean 'GPP'"),
        (("rank", "scores.parquet", "--out", "ranking.xlsx"), "must end in one of"),
        (("rank", "scores.parquet", "--baseline", "rl"), "baseline rl"),
        (("rank", "scores.parquet", "--summary", "medain"), "Did you mean 'median'"),
        (("rank", "scores.parquet", "--level", "95"), "level"),
        (("rank", "scores.parquet", "--draws", "3"), "at least 100 draws"),
        (("rank", "lr.csv"), "two models"),
        (("rank", "nothing.parquet"), "does not exist"),
        (("rank", "sites.csv"), "no scores"),
        (("compare", "xgb.csv", "scores.parquet"), "--model-b"),
        (("compare", "xgb.csv", "lr.csv", "--out", "c.pdf"), "must end in one of"),
        (("compare", "xgb.csv", "lr.csv", "--metric", "bias"), "bias"),
        (("compare", "xgb.csv", "nothing.csv"), "does not exist"),
        (("table", "scores.parquet", "--target", "GPP", "--by", "igbp", "--out", "t.csv"), "--store"),
        (("table", "scores.parquet", "--target", "GGP", "--summary", "cdf", "--out", "t.csv"), "Did you mean 'GPP'"),
        (
            ("table", "scores.parquet", "--target", "GPP", "--by", "ibgp", "--sites", "sites.csv", "--out", "t.csv"),
            "Did you mean 'igbp'",
        ),
        (
            ("table", "scores.parquet", "--target", "GPP", "--by", "igbp", "--sites", "none.csv", "--out", "t.csv"),
            "is no file",
        ),
        (
            ("table", "scores.parquet", "--target", "GPP", "--by", "igbp", "--sites", "sites.csv", "--summary", "cdf",
             "--out", "t.csv"),
            "not with cdf",
        ),
        (("table", "scores.parquet", "--target", "GPP", "--summary", "cdf", "--out", "t.xlsx"), "must end in"),
    ],
)  # fmt: skip
def test_bad_input_is_exit_code_2(cli, words: tuple[str, ...], message: str) -> None:
    done = cli(*words, code=2)
    assert message in done.err.replace("\n", " ")
    assert done.err.startswith("error: ")
    assert done.out == ""


def test_usage_errors(cli) -> None:
    cli("rank", code=2)
    cli("compare", "lr.csv", code=2)
    cli("rank", "scores.parquet", "--seed", "-1", code=2)


def test_rank_of_bare_tables_without_a_model(cli, place: Path) -> None:
    rng = np.random.default_rng(0)
    parts = [made(rng.lognormal(size=12), model, target=None, scenario=None, selection=None) for model in ("lr", None)]
    together(*parts).write(place / "bare.parquet")
    assert "lr" in cli("rank", "bare.parquet").out
    assert len(json.loads(cli("rank", "bare.parquet", "--json").out)["ranking"]) == 2


def test_rank_of_single_sites_is_json_too(cli, place: Path) -> None:
    """A scenario per site, as leaving one site out makes them: no draw holds all."""
    values = np.random.default_rng(0).lognormal(size=25)
    cells = [
        made(factor * values[k : k + 1], name, scenario=f"out-{k}", sites=[f"S{k}"])
        for k in range(25)
        for factor, name in ((0.9, "a"), (1.0, "lr"))
    ]
    together(*cells).write(place / "single.parquet")
    assert json.loads(cli("rank", "single.parquet", "--json").out)["ranking"][0]["model"] == "a"
    assert "nan" not in cli("rank", "single.parquet").out


def test_an_unusual_level_is_named_as_it_is(cli) -> None:
    assert "99.5% interval" in cli("rank", "scores.parquet", "--level", 0.995).out.replace("99.5 %", "99.5%")
    assert "100%" not in cli("compare", "xgb.csv", "lr.csv", "--level", 0.996, "--draws", 1000).err


# compare


def test_compare_says_who_is_better(cli, place: Path) -> None:
    done = cli("compare", "xgb.csv", "lr.csv")
    assert "GPP: median rmse, A = xgb (mean), B = lr (mean)" in done.out
    assert "temperature/weekly" in done.out
    assert re.search(r"GPP: xgb \(mean\) is better than lr \(mean\): .*% smaller", done.err)
    other = cli("compare", "scores.parquet", "scores.parquet", "--model-a", "xgb", "--model-b", "lr")
    assert other.out == done.out
    assert "nan" not in done.out + done.err


def test_compare_json_is_the_comparisons(cli, place: Path) -> None:
    found = json.loads(cli("compare", "xgb.csv", "lr.csv", "--json", "--draws", 500).out)
    wanted = compare(place / "xgb.csv", place / "lr.csv", draws=500)
    assert {"a", "b", "summary", "metric", "level", "draws", "seed", "overall", "cells"} == set(found)
    assert (found["a"], found["b"]) == ("xgb (mean)", "lr (mean)")
    assert found["cells"] == wanted.cells.to_dicts()
    assert found["overall"] == wanted.overall.to_dicts()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_compare_writes(cli, place: Path, suffix: str) -> None:
    done = cli("compare", "xgb.csv", "lr.csv", "--draws", 200, "--out", f"cells.{suffix}")
    assert done.last == f"cells.{suffix}"
    assert "temperature" in (place / f"cells.{suffix}").read_text()


def test_compare_notes_what_is_left_out(cli, place: Path) -> None:
    part = Scores.read(place / "xgb.csv").frame.filter(pl.col("scenario") == "spatial")
    Scores(part).write(place / "part.parquet")
    done = cli("compare", "part.parquet", "lr.csv", "--draws", 200)
    assert "temperature/hourly only in B" in done.err
    assert "spatial/weekly" in done.out


def test_compare_of_equal_files(cli) -> None:
    done = cli("compare", "lr.csv", "lr.csv", "--draws", 200)
    assert "do not tell lr (mean) (A) and lr (mean) (B) apart" in done.err
    assert "-0.0%" not in done.out


# table


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_table_with_intervals(cli, place: Path, suffix: str) -> None:
    done = cli("table", "scores.parquet", "--target", "GPP", "--intervals", "--out", f"pivot.{suffix}")
    assert done.last == f"pivot.{suffix}"
    text = (place / f"pivot.{suffix}").read_text()
    if suffix == "csv":
        assert "spatial/hourly_low,spatial/hourly_high" in text
    else:
        assert len(re.findall(r"\[-?\d+\.\d+, -?\d+\.\d+\]", text)) == 3 * 4 + 2
        assert "95" in text
    assert done.err == ""


def test_table_with_intervals_as_json(cli) -> None:
    done = cli("table", "scores.parquet", "--target", "GPP", "--intervals", "--json", "--out", "p.csv")
    row = json.loads(done.out)["rows"][0]
    assert row["skill_score_low"] < row["skill_score"] < row["skill_score_high"]
    assert row["spatial/hourly_low"] < row["spatial/hourly"] < row["spatial/hourly_high"]


def test_table_with_intervals_of_bare_tables(cli, place: Path) -> None:
    """Scores that say a model but no selection, as ``evaluate --model`` makes them."""
    rng = np.random.default_rng(0)
    parts = [made(rng.lognormal(size=12), model, selection=None) for model in ("lr", "mine")]
    together(*parts).write(place / "unselected.parquet")
    done = cli("table", "unselected.parquet", "--target", "GPP", "--intervals", "--out", "u.csv")
    assert done.last == "u.csv"
    assert "spatial/hourly_low" in (place / "u.csv").read_text()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_table_of_the_whole_distribution(cli, place: Path, suffix: str) -> None:
    done = cli("table", "scores.parquet", "--target", "ET", "--summary", "cdf", "--out", f"cdf.{suffix}")
    assert done.last == f"cdf.{suffix}"
    text = (place / f"cdf.{suffix}").read_text()
    if suffix == "csv":
        assert pl.read_csv(place / "cdf.csv").height == 3 * 4 * 24
    assert "GPP" not in text
    assert "te023" in text


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_table_by_stratum(cli, place: Path, suffix: str) -> None:
    words = ("table", "scores.parquet", "--target", "ET", "--by", "igbp", "--sites", "sites.csv")
    done = cli(*words, "--intervals", "--out", f"igbp.{suffix}")
    assert done.last == f"igbp.{suffix}"
    assert "GRA" in (place / f"igbp.{suffix}").read_text()
    if suffix == "csv":
        found = pl.read_csv(place / "igbp.csv")
        assert "low" in found.columns
        part = Scores.read(place / "scores.parquet").where(target="ET")
        np.testing.assert_allclose(found["value"], strata(part, pl.read_csv(place / "sites.csv"))["value"])
        plain = json.loads(cli(*words, "--json", "--out", "plain.csv").out)
        assert "low" not in plain["rows"][0]


def test_table_by_stratum_of_a_store(cli, place: Path, tiny_store: Store) -> None:
    sites = tiny_store.sites["site_id"].to_list()
    together(made(np.arange(1.0, 7.0), "lr", sites=sites)).write(place / "tiny.parquet")
    done = cli(
        *("table", "tiny.parquet", "--target", "GPP", "--by", "latitude", "--store", tiny_store.path),
        *("--out", "latitude.csv"),
    )
    assert done.last == "latitude.csv"
    found = pl.read_csv(place / "latitude.csv")
    assert found["n_sites"].to_list()[0] == 6
    assert sum(found["n_sites"].to_list()[1:]) == 6


@pytest.mark.real
def test_rank_of_the_published_folder(cli, shared: Path) -> None:
    done = cli("rank", shared / "golden" / "leaderboard" / "published", "--target", "NEE", "--json")
    rows = {row["model"]: row for row in json.loads(done.out)["ranking"]}
    assert (rows["constant"]["rank_low"], rows["constant"]["rank_high"]) == (5, 5)
    assert {model for model, row in rows.items() if row["tied_with_best"]} == {"coral", "xgb"}
