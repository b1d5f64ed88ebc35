"""``data diff``: exactly what was changed is told, nothing else; damaged files do not stop the others."""

from __future__ import annotations

import json
import tracemalloc
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxtrapolation.cli.main import run
from fluxtrapolation.data.diff import diff_stores, write_diff_table
from fluxtrapolation.data.diff_rows import compare_rows
from fluxtrapolation.data.manifest import SiteRecord, Source, utc_now
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError, SchemaVersionError
from tiny import tiny_frame, tiny_record, write_tiny_store

HOURS = 24 * 40
COLUMNS = ("TA", "VPD", "SW_IN")
START = datetime(2015, 1, 1)


def made(
    path: Path, frames: dict[str, pl.DataFrame], *, records: dict[str, SiteRecord] | None = None, **more: object
) -> Store:
    source = Source(name="t", kind="table", location="here", retrieved=utc_now(), package_version="0")
    options: dict[str, object] = {"targets": ("GPP", "NEE"), "covariates": COLUMNS, **more}
    with StoreWriter(path, source=source, **options) as writer:  # type: ignore[arg-type]
        for site, frame in frames.items():
            writer.add((records or {}).get(site, tiny_record(site)), frame)
    return Store(path)


def pair(tmp_path: Path, before: pl.DataFrame, after: pl.DataFrame) -> tuple[Store, Store]:
    other = tiny_frame("BB-Two", hours=HOURS)
    return (
        made(tmp_path / "a", {"AA-One": before, "BB-Two": other}),
        made(tmp_path / "b", {"AA-One": after, "BB-Two": other}),
    )


def set_at(frame: pl.DataFrame, column: str, rows: range, value: pl.Expr | float | None) -> pl.DataFrame:
    chosen = pl.int_range(pl.len()).is_in(list(rows))
    return frame.with_columns(
        pl.when(chosen)
        .then(value if isinstance(value, pl.Expr) else pl.lit(value))
        .otherwise(pl.col(column))
        .alias(column)
    )


class TestExactly:
    def test_a_store_does_not_differ_from_itself(self, tiny_store: Store) -> None:
        found = diff_stores(tiny_store, tiny_store)
        assert found.same
        assert found.counts["same"] == 6
        assert list(found.sentences()) == []
        assert found.table().height == 0

    def test_a_known_edit_is_told_and_nothing_else(self, tmp_path: Path) -> None:
        frame = tiny_frame("AA-One", hours=HOURS).with_columns(pl.col("GPP").fill_null(1.0).cast(pl.Float32))
        edited = set_at(frame, "GPP", range(100, 107), pl.col("GPP") + 0.5)
        a, b = pair(tmp_path, frame, set_at(edited, "GPP", range(103, 104), pl.col("GPP") + 2.5))
        found = diff_stores(a, b)
        assert not found.same
        assert found.counts == {"same": 1, "rewritten": 0, "changed": 1, "added": 0, "removed": 0, "unreadable": 0}
        values = next(change for change in found.sites if change.site == "AA-One").values
        assert values is not None and not values.added and not values.removed and values.flags is None
        (change,) = values.columns
        assert (change.column, change.compared, change.changed) == ("GPP", HOURS, 7)
        assert (change.appeared, change.vanished) == (0, 0)
        assert change.largest == pytest.approx(3.0, abs=1e-5)
        assert change.median == pytest.approx(0.5, abs=1e-5)
        assert change.first == START + timedelta(hours=100)
        assert list(found.sentences()) == [
            "AA-One: GPP differs at 7 of 960 hours (max 3, median 0.5), from 2015-01-05 04:00"
        ]

    def test_missing_against_there_whatever_the_tolerance(self, tmp_path: Path) -> None:
        frame = tiny_frame("AA-One", hours=HOURS).with_columns(pl.col("NEE").fill_null(1.0))
        before = set_at(frame, "NEE", range(10, 13), None)
        after = set_at(frame, "NEE", range(12, 14), None)
        a, b = pair(tmp_path, before, after)
        found = diff_stores(a, b, tolerance=1e9)
        values = found.sites[0].values
        assert values is not None
        (change,) = values.columns
        assert (change.changed, change.appeared, change.vanished) == (3, 2, 1)
        assert change.largest is None and change.median is None
        assert list(found.sentences()) == [
            "AA-One: NEE differs at 3 of 960 hours (2 new; 1 gone), from 2015-01-01 10:00"
        ]

    def test_tolerance(self, tmp_path: Path) -> None:
        frame = tiny_frame("AA-One", hours=HOURS).with_columns(pl.col("GPP").fill_null(1.0))
        a, b = pair(tmp_path, frame, frame.with_columns(pl.col("GPP") + 0.01))
        assert not diff_stores(a, b, tolerance=0.001).same
        assert diff_stores(a, b, tolerance=0.02).same
        for wrong in (-1.0, float("nan")):
            with pytest.raises(DataError, match="tolerance"):
                diff_stores(a, b, tolerance=wrong)

    def test_rows_that_came_and_went(self, tmp_path: Path) -> None:
        frame = tiny_frame("AA-One", hours=HOURS)
        a, b = pair(tmp_path, frame[:-5], frame[3:])
        values = diff_stores(a, b).sites[0].values
        assert values is not None
        assert (values.added, values.first_added) == (5, START + timedelta(hours=HOURS - 5))
        assert (values.removed, values.first_removed) == (3, START)
        assert values.columns == () and values.flags is None

    def test_flags(self, tmp_path: Path) -> None:
        frame = tiny_frame("AA-One", hours=HOURS).with_columns(pl.lit(1, pl.Int8).alias("qc_mask"))
        frame = set_at(frame, "qc_mask", range(20, 25), 0)
        after = set_at(set_at(frame, "qc_mask", range(20, 22), 1), "qc_mask", range(50, 53), 0)
        a, b = pair(tmp_path, frame, after)
        values = diff_stores(a, b).sites[0].values
        assert values is not None and values.flags is not None and values.columns == ()
        assert (values.flags.to_measured, values.flags.to_filled) == (2, 3)
        assert values.flags.first == START + timedelta(hours=20)

    def test_facts_spans_sites_and_columns(self, tmp_path: Path) -> None:
        frame = tiny_frame("AA-One", hours=HOURS)
        a = made(tmp_path / "a", {"AA-One": frame, "CC-Thr": tiny_frame("CC-Thr", hours=24)})
        moved = tiny_record("AA-One").model_copy(update={"lat": 51.0, "igbp": "ENF", "utc_offset_h": 2.0})
        b = made(
            tmp_path / "b",
            {"AA-One": frame, "DD-Fou": tiny_frame("DD-Fou", hours=24)},
            records={"AA-One": moved},
            targets=("GPP",),
        )
        found = diff_stores(a, b)
        kinds = {change.site: change.kind for change in found.sites}
        assert kinds == {"AA-One": "changed", "CC-Thr": "removed", "DD-Fou": "added"}
        first = found.sites[0]
        assert dict(first.facts) == {"lat": (50.0, 51.0), "igbp": ("GRA", "ENF"), "utc_offset_h": (1.0, 2.0)}
        assert first.values is None  # the columns that both have are the same
        assert dict(found.facts) == {"targets": (["GPP", "NEE"], ["GPP"])}
        text = "\n".join(found.sentences())
        assert "targets: GPP, NEE in A, GPP in B" in text
        assert "AA-One: lat is 50.0 in A and 51.0 in B" in text
        assert "CC-Thr: only in A (24 hours)" in text

    def test_other_bytes_with_the_same_values_are_no_difference(self, tmp_path: Path) -> None:
        frame = tiny_frame("AA-One", hours=HOURS)
        a = made(tmp_path / "a", {"AA-One": frame})
        b = made(tmp_path / "b", {"AA-One": frame})
        file = b.file_of("AA-One")
        rewritten = pl.read_parquet(file)
        rewritten.write_parquet(file, compression="snappy")
        _state_anew(b, "AA-One")
        found = diff_stores(a, Store(b.path))
        assert found.counts["rewritten"] == 1
        assert found.same

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_any_edit_is_counted_exactly(self, data: st.DataObject) -> None:
        rows = 60
        frame = tiny_frame("AA-One", hours=rows).with_columns(pl.col("GPP", "NEE").fill_null(0.0).cast(pl.Float32))
        edits = data.draw(st.dictionaries(st.integers(0, rows - 1), st.sampled_from([0.25, -2.0, None]), max_size=20))
        cut = data.draw(st.integers(0, 5))
        values = [edits.get(i, 0.0) for i in range(rows)]
        after = frame.with_columns((pl.col("NEE") + pl.Series(values, dtype=pl.Float32)).alias("NEE"))[cut:]
        found = compare_rows(frame, after, ("TA", "GPP", "NEE"))
        left = {row: edit for row, edit in edits.items() if row >= cut}
        assert (found.removed, found.added, found.flags) == (cut, 0, None)
        if not left:
            assert found.columns == ()
            return
        (change,) = found.columns
        sizes = sorted(abs(edit) for edit in left.values() if edit is not None)
        assert change.column == "NEE"
        assert change.changed == len(left)
        assert change.vanished == len(left) - len(sizes)
        assert change.first == frame["time"][min(left)]
        if sizes:
            assert change.largest == pytest.approx(sizes[-1], abs=1e-4)
        else:
            assert change.largest is None


def _state_anew(store: Store, site: str) -> None:
    """Make the manifest say of a file what it now is, as a store rewritten by another version would."""
    from fluxtrapolation.data.manifest import read_manifest, write_manifest
    from fluxtrapolation.files import sha256_of

    manifest, _ = read_manifest(store.path)
    entry = manifest.sites[site]
    file = store.path / entry.file
    fresh = entry.model_copy(update={"sha256": sha256_of(file), "bytes": file.stat().st_size})
    write_manifest(store.path, manifest.model_copy(update={"sites": {**manifest.sites, site: fresh}}))


class TestBadStores:
    def test_damaged_and_missing_files_do_not_stop_the_others(self, tmp_path: Path) -> None:
        a = write_tiny_store(tmp_path / "a", hours=100)
        b = write_tiny_store(tmp_path / "b", hours=100)
        damaged = b.file_of("CC-Thr")
        damaged.write_bytes(damaged.read_bytes()[:-7] + b"garbage")
        a.file_of("EE-Fiv").unlink()
        found = diff_stores(a, b, jobs=3)
        assert found.counts["unreadable"] == 2
        assert found.counts["same"] == 4
        assert not found.same
        first, second = found.problems
        assert first.startswith("Site CC-Thr: ") and "has changed since it was written" in first
        assert second.startswith("Site EE-Fiv: ") and "is missing" in second
        assert set(found.table()["site_id"]) == {"CC-Thr", "EE-Fiv"}

    def test_newer_schema_other_resolution_no_store(self, tmp_path: Path) -> None:
        a = write_tiny_store(tmp_path / "a", hours=100)
        b = write_tiny_store(tmp_path / "b", hours=100)
        manifest = b.path / "manifest.json"
        body = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({**body, "schema_version": 99}))
        with pytest.raises(SchemaVersionError, match="Upgrade"):
            diff_stores(a.path, b.path)
        days = tiny_frame("AA-One", hours=24).gather_every(24)
        daily = made(tmp_path / "d", {"AA-One": days}, resolution="daily")
        with pytest.raises(DataError, match=r"is hourly and .* is daily"):
            diff_stores(a, daily)
        with pytest.raises(DataError, match="no store"):
            diff_stores(a, tmp_path / "nowhere")
        with pytest.raises(DataError, match=r"in neither store: AA-Onn\. Did you mean 'AA-One'"):
            diff_stores(a, a, sites=["AA-Onn"])


def test_memory_is_that_of_a_few_towers(tmp_path: Path) -> None:
    """1,000 tiny towers: what is held does not grow with their number."""
    sites = [f"X{i:03d}" for i in range(1000)]
    frame = tiny_frame("AA-One", hours=2000)
    source = Source(name="t", kind="table", location="here", retrieved=utc_now(), package_version="0")
    stores = []
    for name, shift in (("a", 0.0), ("b", 1.0)):
        with StoreWriter(tmp_path / name, targets=("GPP",), covariates=("TA",), source=source) as writer:
            writer.add(tiny_record(sites[0]), frame.with_columns(pl.col("GPP") + shift))
            entry, file = writer.manifest.sites[sites[0]], tmp_path / name / "sites" / f"{sites[0]}.parquet"
            content = file.read_bytes()
            entries = {sites[0]: entry}
            for site in sites[1:]:
                (file.parent / f"{site}.parquet").write_bytes(content)
                record = entry.record.model_copy(update={"site_id": site})
                entries[site] = entry.model_copy(update={"record": record, "file": f"sites/{site}.parquet"})
            writer.manifest = writer.manifest.model_copy(update={"sites": entries})
        stores.append(Store(tmp_path / name))
    one = frame.select("time", "TA", "GPP", "qc_mask").estimated_size()
    tracemalloc.start()
    found = diff_stores(*stores)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.counts["changed"] == 1000
    # numpy's arrays are traced: all towers at once would be 1,000 tables
    assert peak < 100 * one


class TestCommand:
    def test_exit_codes_and_output(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        frame = tiny_frame("AA-One", hours=HOURS).with_columns(pl.col("GPP").fill_null(1.0))
        a, b = pair(tmp_path, frame, set_at(frame, "GPP", range(4), pl.col("GPP") + 1))
        assert run(["data", "diff", str(a.path), str(a.path)]) == 0
        assert "2 towers compared: 0 with changes." in capfd.readouterr().out
        table = tmp_path / "changes.csv"
        assert run(["data", "diff", str(a.path), str(b.path), "--out", str(table)]) == 1
        shown = capfd.readouterr().out
        assert "2 towers compared: 1 with changes." in shown
        assert "AA-One: GPP differs at 4 of 960 hours (max 1, median 1), from 2015-01-01 00:00" in shown
        assert shown.rstrip().splitlines()[-1] == str(table)
        written = pl.read_csv(table, try_parse_dates=True)
        assert written.select("site_id", "change", "item", "changed").rows() == [("AA-One", "values", "GPP", 4)]
        assert written["first"][0] == START
        assert run(["data", "diff", str(a.path), str(b.path), "--sites", "BB-Two"]) == 0
        assert run(["data", "diff", str(a.path), str(b.path), "--tolerance", "1.5"]) == 0
        assert run(["data", "diff", str(a.path), str(tmp_path / "nowhere")]) == 2
        assert run(["data", "diff", str(a.path), str(b.path), "--out", str(tmp_path / "x.txt")]) == 2
        assert run(["data", "diff", str(a.path), str(b.path), "--tolerance", "-1"]) == 2

    def test_json_is_one_document(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        a = write_tiny_store(tmp_path / "a", ["AA-One", "BB-Two"], hours=100)
        b = write_tiny_store(tmp_path / "b", ["AA-One", "CC-Thr"], hours=90)
        a.file_of("AA-One").unlink()
        assert run(["data", "diff", str(a.path), str(b.path), "--json"]) == 2
        shown = capfd.readouterr()
        facts = json.loads(shown.out)
        assert facts["same"] is False
        assert facts["counts"]["unreadable"] == facts["counts"]["added"] == facts["counts"]["removed"] == 1
        assert {site["site"]: site["kind"] for site in facts["sites"]} == {
            "AA-One": "unreadable",
            "BB-Two": "removed",
            "CC-Thr": "added",
        }
        assert "error: Site AA-One: " in shown.err

    def test_sites_from_a_file(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        a = write_tiny_store(tmp_path / "a", hours=100)
        listed = tmp_path / "sites.txt"
        listed.write_text("# mine\nAA-One\nCC-Thr  # forest\n\n")
        assert run(["data", "diff", str(a.path), str(a.path), "--sites", f"@{listed}", "--json"]) == 0
        assert json.loads(capfd.readouterr().out)["counts"]["same"] == 2
        listed.write_text("# nothing\n")
        assert run(["data", "diff", str(a.path), str(a.path), "--sites", f"@{listed}"]) == 2
        assert "--sites names no tower" in capfd.readouterr().err
        assert run(["data", "diff", str(a.path), str(a.path), "--sites", "@nowhere.txt"]) == 2
        assert "nowhere.txt cannot be read" in capfd.readouterr().err


def test_parquet_table_and_unwritable_place(tmp_path: Path) -> None:
    a = write_tiny_store(tmp_path / "a", ["AA-One"], hours=100)
    b = write_tiny_store(tmp_path / "b", ["BB-Two"], hours=100)
    found = diff_stores(a, b)
    assert pl.read_parquet(write_diff_table(found, tmp_path / "t.parquet")).equals(found.table())
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_diff_table(found, tmp_path / "file" / "t.csv")
