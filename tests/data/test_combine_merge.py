"""``data merge``: towers of several stores in one; conflicts are named, never silently decided."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from fluxtrapolation.cli.main import run
from fluxtrapolation.data.combine import merge_stores, subset_store
from fluxtrapolation.data.diff import diff_stores
from fluxtrapolation.data.manifest import Source
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError, FluxtrapolationWarning
from tiny import tiny_frame, tiny_record


def made(
    path: Path,
    frames: dict[str, pl.DataFrame],
    *,
    day: int = 1,
    kind: str = "table",
    targets: tuple[str, ...] = ("GPP", "NEE"),
    covariates: tuple[str, ...] = ("TA", "VPD"),
    resolution: str = "hourly",
    **options: object,
) -> Store:
    source = Source(
        name=f"source of {path.name}",
        kind=kind,  # type: ignore[arg-type]
        location=path.name,
        retrieved=datetime(2026, 1, day, tzinfo=UTC),
        package_version="0",
        options=options,
    )
    with StoreWriter(
        path,
        targets=targets,
        covariates=covariates,
        source=source,
        resolution=resolution,  # type: ignore[arg-type]
    ) as writer:
        for site, frame in frames.items():
            writer.add(tiny_record(site), frame)
    return Store(path)


def tower(site: str, *, shift: float = 0.0) -> pl.DataFrame:
    return tiny_frame(site, hours=200).with_columns(pl.col("GPP") + shift)


@pytest.fixture
def both(tmp_path: Path) -> tuple[Store, Store]:
    """Two stores: AA and BB in the first, BB (with other values), CC and DD (with the same) in the second."""
    first = made(
        tmp_path / "a", {"AA-One": tower("AA-One"), "BB-Two": tower("BB-Two"), "DD-Fou": tower("DD-Fou")}, day=9
    )
    second = made(
        tmp_path / "b",
        {"BB-Two": tower("BB-Two", shift=1.0), "CC-Thr": tower("CC-Thr"), "DD-Fou": tower("DD-Fou")},
        day=5,
    )
    return first, second


class TestConflicts:
    def test_refused_with_the_towers_and_the_way_out(self, both: tuple[Store, Store], tmp_path: Path) -> None:
        with pytest.raises(DataError) as told:
            merge_stores(both, tmp_path / "m")
        text = str(told.value)
        assert text.startswith("1 tower is in more than one store with different content: BB-Two (")
        assert "2015-01-01 to 2015-01-09" in text
        assert f"data diff {both[0].path} {both[1].path} --sites BB-Two" in text
        assert "--prefer first, last or newest" in text
        assert not (tmp_path / "m").exists()

    @pytest.mark.parametrize(("prefer", "winner"), [("first", 0), ("last", 1), ("newest", 0)])
    def test_preference(self, both: tuple[Store, Store], tmp_path: Path, prefer: str, winner: int) -> None:
        whole = merge_stores(both, tmp_path / "m", prefer=prefer)  # type: ignore[arg-type]
        assert whole.site_ids == ("AA-One", "BB-Two", "CC-Thr", "DD-Fou")
        assert whole.file_of("BB-Two").read_bytes() == both[winner].file_of("BB-Two").read_bytes()
        assert whole.verify() == []
        assert whole.manifest.sources[-1].options["decided"] == {"BB-Two": str(both[winner].path.resolve())}

    def test_the_newest_must_be_newer(self, tmp_path: Path) -> None:
        stores = [made(tmp_path / name, {"AA-One": tower("AA-One", shift=i)}) for i, name in enumerate("ab")]
        with pytest.raises(DataError, match="read at the same moment"):
            merge_stores(stores, tmp_path / "m", prefer="newest")

    def test_newest_looks_through_subsets(self, both: tuple[Store, Store], tmp_path: Path) -> None:
        late = subset_store(both[1], tmp_path / "s", sites=["BB-Two"])  # made now, of data read earlier
        whole = merge_stores([late, both[0]], tmp_path / "m", prefer="newest")
        assert whole.file_of("BB-Two").read_bytes() == both[0].file_of("BB-Two").read_bytes()

    def test_other_facts_are_a_conflict_too(self, tmp_path: Path) -> None:
        a = made(tmp_path / "a", {"AA-One": tower("AA-One")})
        source = a.manifest.sources[0]
        with StoreWriter(tmp_path / "b", targets=a.targets, covariates=a.covariates, source=source) as writer:
            writer.add(tiny_record("AA-One", lat=51.0), tower("AA-One"))
        with pytest.raises(DataError, match="1 tower is in more than one store"):
            merge_stores([a, tmp_path / "b"], tmp_path / "m")


class TestTogether:
    def test_provenance_keeps_all_sources_and_says_what_was_merged(
        self, both: tuple[Store, Store], tmp_path: Path
    ) -> None:
        whole = merge_stores(both, tmp_path / "m", prefer="first")
        first, second, last = whole.manifest.sources
        assert (first, second) == (both[0].manifest.sources[0], both[1].manifest.sources[0])
        assert last.kind == "merge" and last.name == "merged from 2 stores"
        assert last.options["stores"] == [
            {"path": str(both[0].path.resolve()), "data_hash": both[0].data_hash, "towers": 3},
            {"path": str(both[1].path.resolve()), "data_hash": both[1].data_hash, "towers": 1},
        ]
        assert json.loads((whole.path / "manifest.json").read_text())["schema_version"] == 1  # nothing new in it

    def test_different_columns(self, tmp_path: Path) -> None:
        a = made(tmp_path / "a", {"AA-One": tower("AA-One")})
        b = made(tmp_path / "b", {"BB-Two": tower("BB-Two")}, targets=("GPP",), covariates=("TA", "VPD", "SW_IN"))
        with pytest.raises(DataError, match=r"different columns: NEE only in .*a, SW_IN only in .*b.*--common-columns"):
            merge_stores([a, b], tmp_path / "m")
        whole = merge_stores([a, b], tmp_path / "m", common_columns=True)
        assert (whole.targets, whole.covariates) == (("GPP",), ("TA", "VPD"))
        found = diff_stores(a, whole, sites=["AA-One"])
        assert found.counts["rewritten"] == 1  # fewer columns, the values of the others unchanged
        c = made(tmp_path / "c", {"CC-Thr": tower("CC-Thr")}, targets=("NEE",), covariates=("SW_IN",))
        with pytest.raises(DataError, match="no column in common"):
            merge_stores([whole, c], tmp_path / "n", common_columns=True)

    def test_what_does_not_go_together(self, tmp_path: Path) -> None:
        a = made(tmp_path / "a", {"AA-One": tower("AA-One")})
        days = tower("BB-Two").gather_every(24)
        daily = made(tmp_path / "d", {"BB-Two": days}, resolution="daily")
        with pytest.raises(DataError, match=r"Hourly and daily stores cannot be merged: .*a is hourly, .*d is daily"):
            merge_stores([a, daily], tmp_path / "m")
        with pytest.raises(DataError, match="One store cannot be merged"):
            merge_stores([a], tmp_path / "m")
        with pytest.raises(DataError, match="is given twice"):
            merge_stores([a, Store(a.path)], tmp_path / "m")
        with pytest.raises(DataError, match="is the store itself"):
            merge_stores([a, daily], a.path)
        with pytest.raises(DataError, match="no preference 'second'"):
            merge_stores([a, daily], tmp_path / "m", prefer="second")  # type: ignore[arg-type]

    def test_other_rules_and_simulated_towers_are_told(self, tmp_path: Path) -> None:
        a = made(tmp_path / "a", {"AA-One": tower("AA-One")}, qc="good", gpp="nt")
        b = made(tmp_path / "b", {"BB-Two": tower("BB-Two")}, qc="measured", gpp="nt")
        with pytest.warns(FluxtrapolationWarning, match=r"different qc \(.*a: good, .*b: measured\)") as told:
            merge_stores([a, b], tmp_path / "m")
        assert len(told) == 1
        world = made(tmp_path / "w", {"CC-Thr": tower("CC-Thr")}, kind="synthetic")
        with pytest.warns(FluxtrapolationWarning, match="Simulated and measured towers come together"):
            merge_stores([a, world], tmp_path / "n")

    def test_a_damaged_tower_and_going_on(self, both: tuple[Store, Store], tmp_path: Path) -> None:
        file = both[1].file_of("CC-Thr")
        content = file.read_bytes()
        file.write_bytes(content[:-1])
        with pytest.warns(FluxtrapolationWarning, match=r"1 of 4 towers could not be taken over: Site CC-Thr"):
            merge_stores(both, tmp_path / "m", prefer="last")
        file.write_bytes(content)
        with pytest.warns(FluxtrapolationWarning, match="3 towers were already"):
            whole = merge_stores(both, tmp_path / "m", prefer="last")
        assert whole.manifest.failures == {} and len(whole.site_ids) == 4

    def test_many_towers(self, tmp_path: Path) -> None:
        """1,000 tiny towers through subset and merge: none is lost, none is changed."""
        sites = [f"X{i:03d}" for i in range(1000)]
        frame = tiny_frame("AA-One", hours=24)
        source = Source(
            name="t", kind="table", location="x", retrieved=datetime(2026, 1, 1, tzinfo=UTC), package_version="0"
        )
        with StoreWriter(tmp_path / "a", targets=("GPP",), covariates=("TA",), source=source) as writer:
            writer.add(tiny_record(sites[0]), frame)
            entry = writer.manifest.sites[sites[0]]
            content = (tmp_path / "a" / entry.file).read_bytes()
            entries = {sites[0]: entry}
            for site in sites[1:]:
                (tmp_path / "a" / f"sites/{site}.parquet").write_bytes(content)
                record = entry.record.model_copy(update={"site_id": site})
                entries[site] = entry.model_copy(update={"record": record, "file": f"sites/{site}.parquet"})
            writer.manifest = writer.manifest.model_copy(update={"sites": entries})
        towers = Store(tmp_path / "a")
        half = subset_store(towers, tmp_path / "half", sites=sites[::2], link=True)
        rest = subset_store(towers, tmp_path / "rest", sites=sites[1::2], link=True)
        whole = merge_stores([half, rest], tmp_path / "m", link=True)
        assert whole.data_hash == towers.data_hash


class TestCommand:
    def test_merge(self, both: tuple[Store, Store], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        words = ["data", "merge", str(both[0].path), str(both[1].path), "--out", str(tmp_path / "m")]
        assert run(words) == 2
        assert "--prefer first, last or newest" in capfd.readouterr().err
        assert run([*words, "--prefer", "last"]) == 0
        assert capfd.readouterr().out == f"{tmp_path / 'm'}\n"
        assert run([*words, "--prefer", "last", "--json"]) == 0
        facts = json.loads(capfd.readouterr().out)
        assert facts["sites"] == 4 and len(facts["sources"]) == 3
        assert run([*words, "--prefer", "mine"]) == 2

    def test_kept_by_info(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        a = made(tmp_path / "a", {"AA-One": tower("AA-One")})
        b = made(tmp_path / "b", {"BB-Two": tower("BB-Two")})
        assert run(["data", "merge", str(a.path), str(b.path), "--out", str(tmp_path / "m")]) == 0
        capfd.readouterr()
        assert run(["data", "info", str(tmp_path / "m")]) == 0
        shown = capfd.readouterr().out
        assert "merged from 2 stores" in shown and "source 3/3" in shown
