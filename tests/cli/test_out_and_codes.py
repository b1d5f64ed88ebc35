"""What a command writes never lies in a store; what is done in part has one exit code everywhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fluxtrapolation.cli.main import run
from fluxtrapolation.data.importers.benchmark_csv import export_benchmark_csv
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError
from tiny import write_tiny_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return write_tiny_store(tmp_path / "towers", ("AA-One", "BB-Two"), hours=48)


@pytest.fixture
def other(tmp_path: Path) -> Store:
    return write_tiny_store(tmp_path / "other", ("CC-Thr",), hours=48)


def listing(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


WRITING = {
    "export": "data export {store} --out {out}",
    "report": "report runs --out {out}",
    "check": "data check csv --out {out}/problems.csv",
    "diff": "data diff {store} {other} --out {out}/changes.csv",
    "cite": "data cite {store} --out {out}/cite.bib",
    "design": "scenario design --store {store} --rule years --train-years :2015 --out {out}/mine.yaml",
    "train": "train --store {store} --scenario random --target GPP --model lr --out {out}",
    "predict": "predict run --store {store} --out {out}/predictions.parquet",
    "evaluate": "evaluate predictions.csv --out {out}/scores.csv",
    "table": "table scores.csv --target GPP --out {out}/table.md",
    "rank": "rank scores.csv --out {out}/ranks.md",
    "compare": "compare scores.csv a b --out {out}/compared.md",
}


@pytest.mark.parametrize("where", ["itself", "inside", "linked", "another store"])
@pytest.mark.parametrize("command", WRITING)
def test_nothing_is_written_into_a_store(
    store: Store, other: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str], command: str, where: str
) -> None:
    (tmp_path / "link").symlink_to(store.path)
    place = {
        "itself": store.path,
        "inside": store.path / "sites" / "deep",
        "linked": tmp_path / "link" / "new",
        "another store": other.path / "new",
    }[where]
    before = listing(tmp_path)
    words = WRITING[command].format(store=store.path, other=other.path, out=place)
    assert run(words.split()) == 2
    told = capfd.readouterr()
    target = place if words.endswith(str(place)) else Path(words.split()[-1])
    assert f"{target} " in told.err
    assert ("is a store;" if where == "itself" and target == place else "lies in the store") in told.err
    assert "Choose another --out beside it" in told.err and "Traceback" not in told.err
    assert listing(tmp_path) == before and store.verify() == []


@pytest.mark.parametrize(
    "words",
    ["data synth --sites 1 --years 2015:2015", "data subset {other}", "data merge {other} {store}", "data import csv"],
)
def test_no_store_in_a_store(
    store: Store, other: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str], words: str
) -> None:
    csv = export_benchmark_csv(other, tmp_path / "csv")
    asked = words.format(store=store.path, other=other.path).replace("import csv", f"import {csv}")
    before = listing(store.path)
    assert run([*asked.split(), "--out", str(store.path / "inner")]) == 2
    told = capfd.readouterr().err
    assert "lies in the store" in told or "one within the other" in told
    assert listing(store.path) == before


def test_export_from_python_refuses_as_well_and_beside_it_works(store: Store, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a store; only its importer writes there"):
        export_benchmark_csv(store, store.path)
    assert export_benchmark_csv(store, tmp_path) == tmp_path  # the folder around it is none
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "manifest.json").write_text(json.dumps({"name": "a web page", "format": "other"}))
    export_benchmark_csv(store, tmp_path / "page")  # another program's manifest is no store


def test_a_part_that_cannot_be_done_gives_2(store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """import, subset, merge, diff here; fetch and train have theirs with their own tests."""
    csv = export_benchmark_csv(store, tmp_path / "csv")
    (csv / "AA-One.csv").write_text("<html>")
    assert run(["data", "import", str(csv), "--out", str(tmp_path / "read")]) == 2
    assert run(["data", "subset", str(store.path), "--out", str(tmp_path / "copy")]) == 0
    store.file_of("AA-One").write_bytes(b"damaged")
    assert run(["data", "subset", str(store.path), "--out", str(tmp_path / "part")]) == 2
    assert Store(tmp_path / "part").site_ids == ("BB-Two",)
    assert run(["data", "diff", str(store.path), str(tmp_path / "copy")]) == 2
    assert run(["data", "verify", str(store.path)]) == 1  # a check that says no
    assert "AA-One" in capfd.readouterr().err


def test_training_in_part_gives_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sites = ("AA-One", "BB-Two", "CC-Thr", "DD-Fou")
    short = write_tiny_store(tmp_path / "short", sites, hours=24 * 60)
    long = write_tiny_store(tmp_path / "long", sites, hours=24 * 800)
    design = ["scenario", "design", "--out"]
    good, none = str(tmp_path / "good.yaml"), str(tmp_path / "none.yaml")
    few = ["--rule", "random", "--n-test", "1", "--n-validation", "1"]
    years = ["--rule", "years", "--train-years", ":2015", "--validation-years", "2016", "--test-years", "2017:"]
    assert run([*design, good, "--store", str(short.path), *few]) == 0
    assert run([*design, none, "--store", str(long.path), *years]) == 0
    words = ["train", "--store", str(short.path), "--target", "GPP", "--model", "lr", "--profile", "quick"]
    words += ["--jobs", "1", "--out", str(tmp_path / "runs"), "--scenario", good]
    assert run([*words, "--scenario", none]) == 2
    told = capfd.readouterr().err
    assert "1 of 2 runs failed" in told and "none_GPP_lr" in told
    assert run(words) == 0  # what was done is kept
