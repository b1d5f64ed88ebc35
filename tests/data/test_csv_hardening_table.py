"""Sixty ways in which a benchmark CSV file is wrong: each is told, in words, and stops no other tower."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import polars as pl
import pytest
from csv_damage import DAMAGE, OTHERS, make_towers

from fluxtrapolation.data.importers import import_towers
from fluxtrapolation.data.importers.benchmark_csv import check_benchmark_csv
from fluxtrapolation.errors import FluxtrapolationWarning


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_towers(tmp_path_factory.mktemp("hard"))


@pytest.fixture
def folder(towers: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "csv"
    copy.mkdir()
    for path in towers.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    (copy / "SOURCES.json").unlink()
    return copy


def test_there_are_many() -> None:
    assert len(DAMAGE) >= 25


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told_and_does_not_stop_the_others(folder: Path, tmp_path: Path, name: str) -> None:
    change, message = DAMAGE[name]
    change(folder / "DE-Hai.csv")
    with pytest.warns(FluxtrapolationWarning):
        made = import_towers(folder, tmp_path / "out", format="benchmark-csv")
    assert made.site_ids == OTHERS
    assert made.verify() == []
    told = made.manifest.failures["DE-Hai"]
    assert told.startswith("Site DE-Hai: ")
    assert re.search(message, told), told
    # The same in the table of all towers, with the fix in a column of its own.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FluxtrapolationWarning)
        rows = check_benchmark_csv(folder).filter(pl.col("site_id") == "DE-Hai", pl.col("level") == "error")
    assert rows.height >= 1
    for row in rows.to_dicts():
        assert row["fix"].strip().endswith("."), row
        assert row["fix"][0].isupper() or row["fix"].startswith("-9999"), row
        assert "Site " not in row["what"], row
        assert row["fix"].rstrip(".") in told
