"""``data info``: every source with all it says of itself, readable at 80 columns, documented keys in --json."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fluxtrapolation.cli.main import run
from fluxtrapolation.data.combine import merge_stores, subset_store
from fluxtrapolation.data.manifest import Source
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from tiny import tiny_frame, tiny_record

CITATION = "Somebody, A., Other, B. (2021). " + "A long title with many words in it, " * 6 + "Journal 1, 2-3."


def made(path: Path, sites: list[str], **options: object) -> Store:
    source = Source(
        name="FLUXNET2015",
        kind="fluxnet2015-zarr",
        location="https://example.org/a/long/address/" + "x" * 80 + ".zarr",
        licence="CC-BY-4.0",
        citation=CITATION,
        doi="10.1038/s41597-020-0534-3",
        options={"qc": "good", "rule": "one of many words " * 8, "towers": [f"X{i}" for i in range(40)], **options},
        retrieved=datetime(2026, 3, 4, 5, 6, tzinfo=UTC),
        package_version="0.1.0",
    )
    with StoreWriter(path, targets=("GPP",), covariates=("TA", "VPD"), source=source) as writer:
        for site in sites:
            record = tiny_record(site).model_copy(update={"source": "FLUXNET2015"})
            writer.add(record, tiny_frame(site, hours=48), notes=["a note"], check=False)
        writer.fail("ZZ-Bad", "Site ZZ-Bad: broken.")
    return Store(path)


def test_everything_is_there_and_fits_80_columns(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = made(tmp_path / "s", ["AA-One", "BB-Two"])
    assert run(["data", "info", str(store.path)]) == 0
    shown = capfd.readouterr().out
    for line in shown.splitlines():
        assert len(line) <= 80 or len(line.split()) <= 2, line  # only what cannot be broken is longer
    words = " ".join(shown.split())
    for text in (
        "towers 2 (GRA)",
        "rows 96",
        "source 1/1 FLUXNET2015",
        "kind fluxnet2015-zarr",
        f"from https://example.org/a/long/address/{'x' * 80}.zarr",
        "read 2026-03-04 05:06 UTC with fluxtrapolation 0.1.0",
        "towers 2 under this name",
        "licence CC-BY-4.0",
        " ".join(CITATION.split()),
        "https://doi.org/10.1038/s41597-020-0534-3",
        "options qc = good",
        "towers = X0, X1, X2, X3, X4, X5, X6, X7 and 32 more",
        "failed 1 (--json lists them)",
        "with notes 2",
        "first hour 2015-01-01 00:00",
    ):
        assert text in words, text


def test_json_keeps_the_documented_keys(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = made(tmp_path / "s", ["DE-Tha"], none=None)
    assert run(["data", "info", str(store.path), "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    documented = {"sites", "resolution", "rows", "measured", "targets", "covariates", "first", "last", "sources"}
    assert documented <= set(facts)
    assert {**facts, "dois": {}} == {**json.loads(json.dumps(store.info())), "dois": {}}
    assert len(facts["sources"][0]["options"]["towers"]) == 40


def test_made_stores_say_what_they_were_made_of(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = made(tmp_path / "s", ["AA-One", "BB-Two"])
    part = subset_store(store, tmp_path / "p", sites=["AA-One"])
    rest = subset_store(store, tmp_path / "r", sites=["BB-Two"])
    whole = merge_stores([part, rest], tmp_path / "m")
    assert run(["data", "info", str(whole.path)]) == 0
    shown = capfd.readouterr().out
    assert "source 4/4   merged from 2 stores" in shown
    assert shown.count("  made ") == 3 and shown.count("  read ") == 1
    assert shown.count("  licence ") == 1  # what was made here has none of its own
    assert shown.count("stores = path:") == 2


def test_an_empty_field_is_said_not_left_out(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = Source(
        name="mine", kind="table", location="here", retrieved=datetime(2026, 1, 1, tzinfo=UTC), package_version="0"
    )
    with StoreWriter(tmp_path / "s", targets=("GPP",), covariates=("TA",), source=source) as writer:
        writer.add(tiny_record("AA-One"), tiny_frame("AA-One", hours=24))
    assert run(["data", "info", str(tmp_path / "s")]) == 0
    shown = capfd.readouterr().out
    assert "  licence    not stated" in shown and "  citation   not stated" in shown
    assert "failed       0" in shown


def test_a_daily_store_has_days(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    source = Source(
        name="daily", kind="table", location="tests", retrieved=datetime(2026, 1, 1, tzinfo=UTC), package_version="0"
    )
    days = tiny_frame("AA-One", hours=48).gather_every(24)
    with StoreWriter(tmp_path / "s", targets=["GPP"], covariates=["TA"], source=source, resolution="daily") as writer:
        writer.add(tiny_record("AA-One"), days, check=False)
    assert run(["data", "info", str(tmp_path / "s")]) == 0
    shown = " ".join(capfd.readouterr().out.split())
    assert "first day 2015-01-01 last day 2015-01-02 size" in shown
    assert "hour" not in shown.replace("hourly", "")
