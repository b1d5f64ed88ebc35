"""The FLUXNET2015 Zarr importer on a made store whose every half-hour is known. Needs nothing from outside."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("zarr", reason="the zarr extra is not installed")

from polars.testing import assert_frame_equal
from zarr_v2_writer import MISSING, PACKING, STEPS, Tower, consolidate, sites_csv, towers, write_array, write_store

from fluxtrapolation.data import timezones
from fluxtrapolation.data.importers import fluxnet2015_zarr as importer
from fluxtrapolation.data.importers.fluxnet2015_zarr import import_fluxnet2015_zarr
from fluxtrapolation.data.importers.hourly import Packed, recorded_span, to_hours
from fluxtrapolation.data.solar import solar_covariates
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, FluxtrapolationWarning, MissingColumnError, UnitError
from fluxtrapolation.schema import SOLAR_COVARIATES

VALUES = ["time", "TA", "VPD", "SW_IN", "GPP", "NEE", "qc_mask"]


@pytest.fixture(scope="module")
def made() -> list[Tower]:
    return towers()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, made: list[Tower]) -> Path:
    # the order of the store is not that of the ids, and its coordinates are a degree off
    return write_store(tmp_path_factory.mktemp("zarr") / "fluxnet.zarr", made, shift=1.0)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory, made: list[Tower]) -> Path:
    return sites_csv(tmp_path_factory.mktemp("table") / "sites.csv", made)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory, source: Path, table: Path) -> Store:
    return import_fluxnet2015_zarr(source, tmp_path_factory.mktemp("store") / "towers", sites_table=table)


def small(tmp_path: Path, *made: Tower, chunk: int = STEPS) -> tuple[Path, Path]:
    """A store of its own with its sites table, to be broken."""
    return write_store(tmp_path / "own.zarr", list(made), chunk=chunk), sites_csv(tmp_path / "own.csv", list(made))


def berlin(**changes: object) -> Tower:
    return Tower("ZZ-Ber", 52.5, 13.4, "ENF", 1.0, 1.0, **changes)  # type: ignore[arg-type]


def same_hours(frame: pl.DataFrame, expected: pl.DataFrame) -> None:
    # one part in a million: float32 rounding of a mean taken in another order
    assert_frame_equal(frame.select(VALUES), expected.select(VALUES), check_dtypes=False, rel_tol=1e-6, abs_tol=1e-6)


class TestTimeAxis:
    def test_every_kind_of_clock_gives_back_the_local_hours(self, imported: Store, made: list[Tower]) -> None:
        assert imported.site_ids == tuple(sorted(tower.site for tower in made))
        for tower in made:
            frame = imported.read_site(tower.site)
            assert frame.height == 365 * 24
            assert frame["time"][0].isoformat() == "2002-01-01T00:00:00"
            same_hours(frame, tower.expected())

    def test_solar_covariates_use_the_true_offset(self, imported: Store, made: list[Tower]) -> None:
        for tower in made:
            frame = imported.read_site(tower.site)
            right = solar_covariates(
                frame["time"].to_numpy(), lat=tower.lat, lon=tower.lon, utc_offset_h=tower.true_offset_h
            )
            for name in SOLAR_COVARIATES:
                np.testing.assert_array_equal(frame[name].to_numpy(), right[name])
            assert (frame["SW_IN"] <= frame["SW_IN_POT_hourly"] + 0.05).all()

    def test_record_tells_the_clock(self, imported: Store, made: list[Tower]) -> None:
        for tower in made:
            record = imported.record(tower.site)
            assert (record.utc_offset_h, record.native_step_min) == (tower.true_offset_h, tower.step_min)
            # the table's coordinates win over the packed ones of the store
            assert (record.lat, record.lon, record.igbp) == (tower.lat, tower.lon, tower.igbp)

    def test_provenance(self, imported: Store) -> None:
        (origin,) = imported.manifest.sources
        assert origin.kind == "fluxnet2015-zarr"
        assert origin.licence == "CC-BY-4.0"
        assert origin.doi == "10.1038/s41597-020-0534-3"
        assert "Pastorello" in str(origin.citation)
        assert (origin.options["qc"], origin.options["gpp"]) == ("good", "nt")
        assert imported.verify() == []

    def test_a_wrong_table_shows_in_the_phase_note(self, tmp_path: Path) -> None:
        tower = berlin()
        source, _ = small(tmp_path, tower)
        tower.true_offset_h = 3.0
        wrong = sites_csv(tmp_path / "wrong.csv", [tower])
        with pytest.warns(FluxtrapolationWarning, match=r"more than 60 min .* 1 towers: ZZ-Ber \(120 min early\)"):
            store = import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=wrong)
        notes = " ".join(store.manifest.sites["ZZ-Ber"].notes)
        # the table is believed, and contradicted aloud
        assert store.record("ZZ-Ber").utc_offset_h == 3.0
        assert "120 min early against potential radiation" in notes

    def test_chunks_along_time_make_no_difference(self, tmp_path: Path, made: list[Tower], imported: Store) -> None:
        source, table = small(tmp_path, made[3], made[0], chunk=4000)
        store = import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table)
        for tower in (made[0], made[3]):
            assert_frame_equal(store.read_site(tower.site), imported.read_site(tower.site))

    def test_zone_clock_not_on_half_hours_is_a_site_failure(self, tmp_path: Path) -> None:
        tower = berlin()
        source, _ = small(tmp_path, tower, Tower("ZZ-Cal", 38.4, -121.0, "GRA", -8.0, -8.0))
        tower.store_offset_h = 5.75
        table = sites_csv(tmp_path / "odd.csv", [tower, Tower("ZZ-Cal", 38.4, -121.0, "GRA", -8.0, -8.0)])
        with pytest.warns(FluxtrapolationWarning, match="half hours"):
            store = import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table)
        assert store.site_ids == ("ZZ-Cal",)


class TestRules:
    def test_hour_with_one_valid_half_hour_is_null(self, tmp_path: Path) -> None:
        tower = berlin()
        tower.records["nee"][48 * 10 + 21] = MISSING  # second half of 11 January, 10 h
        tower.records["gpp_nt"][48 * 10 + 24] = MISSING  # first half of 12 h
        tower.records["nee_qc"][:] = 0
        source, table = small(tmp_path, tower)
        frame = import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table).read_site("ZZ-Ber")
        same_hours(frame, tower.expected())
        assert frame["NEE"].null_count() == 1
        assert frame.row(24 * 10 + 10, named=True)["NEE"] is None
        assert frame.row(24 * 10 + 10, named=True)["GPP"] is not None
        assert frame.filter(pl.col("qc_mask") == 0)["time"].dt.hour().to_list() == [10, 12]

    @pytest.mark.parametrize("position", [0, 1])
    def test_hours_without_covariates_are_left_out_and_counted(self, tmp_path: Path, position: int) -> None:
        tower = berlin()
        tower.records["vpd"][48 * 3 + 14 + position] = MISSING
        tower.records["ta"][48 * 200 : 48 * 201] = MISSING
        source, table = small(tmp_path, tower)
        store = import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table)
        frame = store.read_site("ZZ-Ber")
        assert frame.height == 365 * 24 - 25
        same_hours(frame, tower.expected())
        assert any("25 of 8760 hours left out" in note for note in store.manifest.sites["ZZ-Ber"].notes)
        # solar derivatives are astronomical: the hour after the gap does not span it
        whole = import_fluxnet2015_zarr(*_whole(tmp_path), sites_table=table).read_site("ZZ-Ber")
        solar = ["time", *SOLAR_COVARIATES]
        assert_frame_equal(frame.select(solar), frame.select("time").join(whole.select(solar), on="time"))

    @pytest.mark.parametrize(("qc", "limit"), [("good", 1.5), ("measured", 0.5)])
    @pytest.mark.parametrize(("gpp", "name"), [("nt", "gpp_nt"), ("dt", "gpp_dt")])
    def test_qc_and_gpp_choices(
        self, tmp_path: Path, made: list[Tower], qc: str, limit: float, gpp: str, name: str
    ) -> None:
        chosen = [made[0], made[4]]
        for tower in chosen:
            tower.records["nee_qc"][5] = MISSING  # NEE without a flag is not good
        source, table = small(tmp_path, *chosen)
        store = import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table, qc=qc, gpp=gpp)  # type: ignore[arg-type]
        for tower in chosen:
            same_hours(store.read_site(tower.site), tower.expected(limit=limit, gpp=name))
        assert store.manifest.sources[0].options["gpp_variable"] == name

    def test_no_value_of_a_target_is_noted(self, tmp_path: Path) -> None:
        tower = berlin()
        tower.records["gpp_nt"][:] = MISSING
        source, table = small(tmp_path, tower)
        store = import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table)
        assert store.measured_hours == 0
        assert "GPP has no value at this tower" in store.manifest.sites["ZZ-Ber"].notes

    @settings(max_examples=60, deadline=None)
    @given(
        first=st.integers(0, 7),
        count=st.integers(1, 40),
        lead=st.integers(-40, 40),
        hourly=st.booleans(),
        data=st.data(),
    )
    def test_to_hours_agrees_with_a_plain_loop(
        self, first: int, count: int, lead: int, hourly: bool, data: st.DataObject
    ) -> None:
        """Each hour by hand: the stamps at h:30 and h+1:00, or the one record that ends at h+1:00."""
        if hourly:  # an hourly record ends on a full hour of the local clock
            count, lead = 2 * count - 1, lead + (lead + first) % 2
        row = [MISSING] * (first + count + 3)
        flags = [MISSING] * len(row)
        for k in range(count):
            row[first + k] = data.draw(st.sampled_from([MISSING, 1, 7, 100, 65534])) if 0 < k < count - 1 else 5
            flags[first + k] = data.draw(st.sampled_from([0, 8, 9, MISSING]))
        first_end = np.datetime64("2000-02-29T00:00", "m") + np.timedelta64(30 * lead, "m")
        value, flag = (_packed(np.array(v, dtype=np.uint16)) for v in (row, flags))
        span = recorded_span([value])
        assert span == (first, first + count - 1)
        hours = to_hours(
            {"NEE": value},
            flag,
            flag_limit=1.5,
            first_end=first_end,
            span=span,
            native_step_min=60 if hourly else 30,
        )
        stamps = {first_end + 30 * k: k for k in range(first, first + count)}
        for position, start in enumerate(hours.time):
            wanted = [start + 60] if hourly else [start + 30, start + 60]
            steps = [stamps[s] for s in wanted if s in stamps and row[stamps[s]] != MISSING]
            got = hours.values["NEE"][position]
            if len(steps) < len(wanted):
                assert np.isnan(got)
            else:
                assert got == pytest.approx(np.mean([row[k] * 0.5 - 3.0 for k in steps]), rel=1e-6)
            # packed with the same scale: 0.5 * stored - 3 < 1.5, so every flag that is there is low enough up to 8
            assert bool(hours.flags_low[position]) == all(s in stamps and flags[stamps[s]] < 9 for s in wanted)


def _packed(stored: np.ndarray) -> Packed:
    return Packed(stored, 0.5, -3.0, stored != MISSING)


def _whole(tmp_path: Path) -> tuple[Path, Path]:
    return write_store(tmp_path / "whole.zarr", [berlin()]), tmp_path / "whole"


@pytest.fixture(scope="module")
def inferred(tmp_path_factory: pytest.TempPathFactory, source: Path, made: list[Tower]) -> Store:
    pytest.importorskip("tzfpy", reason="the timezones extra is not installed")
    folder = tmp_path_factory.mktemp("inferred")
    table = sites_csv(folder / "bare.csv", made, clocks=False)
    return import_fluxnet2015_zarr(source, folder / "towers", sites_table=table)


class TestInference:
    """The time columns are not in any table: 84 towers of the public store."""

    def test_all_clocks_are_found(self, inferred: Store, imported: Store, made: list[Tower]) -> None:
        for tower in made:
            record = inferred.record(tower.site)
            assert (record.native_step_min, record.utc_offset_h) == (tower.step_min, tower.true_offset_h), tower.site
            assert_frame_equal(inferred.read_site(tower.site), imported.read_site(tower.site))

    def test_every_inference_is_noted(self, inferred: Store, made: list[Tower]) -> None:
        for tower in made:
            notes = inferred.manifest.sites[tower.site].notes
            step, store_offset, true = notes[:3]
            assert step.startswith(f"native step {tower.step_min} min: inferred")
            assert store_offset.startswith(f"store offset {tower.store_offset_h:+g} h: inferred from the zone ")
            assert true.startswith(f"true UTC offset {tower.true_offset_h:+g} h: inferred")

    def test_record_edges_correct_a_zone_that_disagrees(self, tmp_path: Path) -> None:
        pytest.importorskip("tzfpy", reason="the timezones extra is not installed")
        # the producer used +2 h at a tower whose zone had +1 h
        tower = Tower("ZZ-Ber", 52.5, 13.4, "ENF", 1.0, 2.0)
        source = write_store(tmp_path / "own.zarr", [tower])
        table = sites_csv(tmp_path / "bare.csv", [tower], clocks=False)
        store = import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table)
        assert store.record("ZZ-Ber").utc_offset_h == 1.0
        assert "the zone Europe/Berlin had +1 h" in store.manifest.sites["ZZ-Ber"].notes[1]
        same_hours(store.read_site("ZZ-Ber"), tower.expected())

    def test_too_little_sun_is_said(self, tmp_path: Path) -> None:
        pytest.importorskip("tzfpy", reason="the timezones extra is not installed")
        tower = berlin()
        for values in tower.records.values():
            values[48 * 40 :] = MISSING  # 40 winter days
        source = write_store(tmp_path / "own.zarr", [tower])
        table = sites_csv(tmp_path / "bare.csv", [tower], clocks=False)
        store = import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table)
        notes = store.manifest.sites["ZZ-Ber"].notes
        assert store.record("ZZ-Ber").utc_offset_h == 1.0
        assert any("unchecked" in note for note in notes)

    def test_without_the_zone_library_the_message_names_the_extra(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        timezones.zone_at.cache_clear()
        monkeypatch.setitem(sys.modules, "tzfpy", None)
        tower = berlin()
        source = write_store(tmp_path / "own.zarr", [tower])
        table = sites_csv(tmp_path / "bare.csv", [tower], clocks=False)
        with pytest.raises(DataError, match=r"pip install 'fluxtrapolation\[timezones\]'"):
            import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table)

    def test_known_time_columns_need_no_zone_library(
        self, tmp_path: Path, source: Path, table: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        timezones.zone_at.cache_clear()
        monkeypatch.setitem(sys.modules, "tzfpy", None)
        store = import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table, sites=["ZZ-Ber"])
        assert store.site_ids == ("ZZ-Ber",)

    def test_offsets_include_summer_time_of_the_day(self) -> None:
        from datetime import datetime

        assert timezones.offset_h("Australia/Adelaide", datetime(2010, 1, 1)) == 10.5
        assert timezones.offset_h("Australia/Adelaide", datetime(2010, 7, 1)) == 9.5
        assert timezones.offset_h("Europe/Berlin", datetime(2010, 1, 1)) == 1.0
        with pytest.raises(DataError, match="knows Nowhere/Atall"):
            timezones.offset_h("Nowhere/Atall", datetime(2010, 1, 1))


class TestChoices:
    def test_some_sites_only(self, tmp_path: Path, source: Path, table: Path, imported: Store) -> None:
        store = import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table, sites=["ZZ-Tum", "ZZ-Ber"])
        assert store.site_ids == ("ZZ-Ber", "ZZ-Tum")
        assert_frame_equal(store.read_site("ZZ-Tum"), imported.read_site("ZZ-Tum"))

    def test_unknown_site_gets_a_suggestion(self, tmp_path: Path, source: Path, table: Path) -> None:
        with pytest.raises(DataError, match="Did you mean 'ZZ-Ber'"):
            import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table, sites=["ZZ-Beer"])
        assert not (tmp_path / "t").exists()

    @pytest.mark.parametrize("wrong", [{"qc": "best"}, {"gpp": "day"}, {"sites": []}])
    def test_wrong_choices(self, tmp_path: Path, source: Path, table: Path, wrong: dict[str, object]) -> None:
        with pytest.raises(DataError):
            import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table, **wrong)  # type: ignore[arg-type]

    def test_progress_counts_every_tower_once(self, tmp_path: Path, source: Path, table: Path) -> None:
        seen: list[tuple[str, int, int]] = []
        import_fluxnet2015_zarr(
            source, tmp_path / "t", sites_table=table, jobs=2, progress=lambda *step: seen.append(step)
        )
        assert [done for _, done, _ in seen] == list(range(1, 8))
        assert {total for *_, total in seen} == {7}
        assert len({site for site, *_ in seen}) == 7


class TestInterruption:
    def test_an_interrupted_import_continues(
        self, tmp_path: Path, source: Path, table: Path, imported: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run = importer._Tower.run
        calls: list[str] = []

        def stops_at_the_fourth(tower: importer._Tower, site: str) -> None:
            calls.append(site)
            if len(calls) == 4:
                raise KeyboardInterrupt
            run(tower, site)

        monkeypatch.setattr(importer._Tower, "run", stops_at_the_fourth)
        with pytest.raises(KeyboardInterrupt):
            import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table, jobs=1)
        with pytest.warns(FluxtrapolationWarning, match="not complete"):
            half = Store(tmp_path / "t")
        assert 0 < len(half.site_ids) < 7
        kept = {half.file_of(site): half.file_of(site).stat().st_mtime_ns for site in half.site_ids}
        monkeypatch.setattr(importer._Tower, "run", run)
        with pytest.warns(FluxtrapolationWarning, match="4 towers were already in the store and not read again"):
            whole = import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table)
        assert whole.data_hash == imported.data_hash
        assert {path: path.stat().st_mtime_ns for path in kept} == kept

    def test_other_options_are_refused_without_overwrite(self, tmp_path: Path, source: Path, table: Path) -> None:
        import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table, sites=["ZZ-Ber"])
        with pytest.raises(DataError, match="--overwrite"):
            import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table, sites=["ZZ-Ber"], qc="measured")
        store = import_fluxnet2015_zarr(
            source, tmp_path / "t", sites_table=table, sites=["ZZ-Ber"], qc="measured", overwrite=True
        )
        assert store.manifest.sources[0].options["qc"] == "measured"

    def test_a_full_disk_stops_the_import(
        self, tmp_path: Path, source: Path, table: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import errno

        write = Path.write_bytes

        def full(path: Path, content: bytes) -> int:
            if "ZZ-" in path.name:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(path, content)

        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(DataError, match=r"^The disk is full"):
            import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table)
        assert not list((tmp_path / "t").glob("sites/*.parquet"))


class TestBadStores:
    def test_no_such_folder(self, tmp_path: Path, source: Path) -> None:
        with pytest.raises(DataError, match=r"no Zarr store at .*Did you mean 'fluxnet.zarr'"):
            import_fluxnet2015_zarr(source.parent / "fluxnet.zar", tmp_path / "t")

    def test_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.zarr").write_text("x")
        with pytest.raises(DataError, match="is a file"):
            import_fluxnet2015_zarr(tmp_path / "a.zarr", tmp_path / "t")

    def test_not_a_zarr_at_all(self, tmp_path: Path) -> None:
        (tmp_path / "a.zarr").mkdir()
        with pytest.raises(DataError, match="not a Zarr store"):
            import_fluxnet2015_zarr(tmp_path / "a.zarr", tmp_path / "t")
        assert not (tmp_path / "t").exists()

    @pytest.mark.parametrize(
        ("content", "message"),
        [("<!doctype html>", "web page"), ("{", "damaged"), ("{}", "damaged"), ("[1]", "damaged")],
    )
    def test_bad_metadata(self, tmp_path: Path, content: str, message: str) -> None:
        (tmp_path / "a.zarr").mkdir()
        (tmp_path / "a.zarr" / ".zmetadata").write_text(content)
        (tmp_path / "a.zarr" / ".zgroup").write_text('{"zarr_format": 2}')
        with pytest.raises(DataError, match=message):
            import_fluxnet2015_zarr(tmp_path / "a.zarr", tmp_path / "t")

    def test_missing_variable_lists_what_is_there(self, tmp_path: Path) -> None:
        import shutil

        source, table = small(tmp_path, berlin())
        shutil.rmtree(source / "gpp_dt")
        consolidate(source)
        import_fluxnet2015_zarr(source, tmp_path / "nt", sites_table=table)
        with pytest.raises(MissingColumnError, match=r"no variable gpp_dt.*gpp_nt"):
            import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table, gpp="dt")

    def test_without_consolidated_metadata(self, tmp_path: Path, imported: Store) -> None:
        source, table = small(tmp_path, towers()[0])
        (source / ".zmetadata").unlink()
        store = import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table)
        assert store.hours == 8760

    def test_other_unit(self, tmp_path: Path) -> None:
        source, table = small(tmp_path, berlin())
        attrs = json.loads((source / "vpd" / ".zattrs").read_text())
        (source / "vpd" / ".zattrs").write_text(json.dumps({**attrs, "units": "Pa"}))
        consolidate(source)
        with pytest.raises(UnitError, match="vpd is in 'Pa'"):
            import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table)

    def test_time_axis_with_a_jump(self, tmp_path: Path) -> None:
        source, table = small(tmp_path, berlin())
        minutes = np.arange(STEPS) * 30
        minutes[100:] += 30
        attrs = {"_ARRAY_DIMENSIONS": ["time"], "units": "minutes since 2001-12-31 06:00:00"}
        write_array(source, "time", minutes, attrs, (STEPS,))
        consolidate(source)
        with pytest.raises(DataError, match=r"not half-hourly throughout: 1 steps .* 60 min after step 99"):
            import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table)

    def test_unreadable_time_unit(self, tmp_path: Path) -> None:
        source, table = small(tmp_path, berlin())
        attrs = {"_ARRAY_DIMENSIONS": ["time"], "units": "fortnights since long ago"}
        write_array(source, "time", np.arange(STEPS), attrs, (STEPS,))
        consolidate(source)
        with pytest.raises(DataError, match="fortnights"):
            import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table)

    def test_time_in_seconds_is_understood(self, tmp_path: Path) -> None:
        tower = berlin()
        source, table = small(tmp_path, tower)
        attrs = {"_ARRAY_DIMENSIONS": ["time"], "units": "seconds since 2001-12-31T06:00:00"}
        write_array(source, "time", np.arange(STEPS) * 1800, attrs, (STEPS,))
        consolidate(source)
        store = import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table)
        same_hours(store.read_site("ZZ-Ber"), tower.expected())


class TestBadTowers:
    """One tower's trouble is its own: the others are imported, the reason is kept."""

    def run(self, tmp_path: Path, source: Path, table: Path, reason: str) -> Store:
        with pytest.warns(FluxtrapolationWarning, match="1 of 2 towers could not be imported"):
            store = import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table)
        assert store.site_ids == ("ZZ-Cal",)
        assert list(store.manifest.failures) == ["ZZ-Ber"]
        assert reason in store.manifest.failures["ZZ-Ber"]
        assert "ZZ-Ber" in store.manifest.failures["ZZ-Ber"]
        return store

    @pytest.fixture
    def pair(self, tmp_path: Path) -> tuple[Path, Path]:
        return small(tmp_path, Tower("ZZ-Cal", 38.4, -121.0, "GRA", -8.0, -8.0, seed=6), berlin())

    @pytest.mark.parametrize("content", [b"", b"<html>404</html>", None])
    def test_damaged_chunk_then_repaired(self, tmp_path: Path, pair: tuple[Path, Path], content: bytes | None) -> None:
        source, table = pair
        chunk = source / "nee" / "1.0"
        whole = chunk.read_bytes()
        chunk.write_bytes(whole[: len(whole) // 2] if content is None else content)
        self.run(tmp_path, source, table, "nee of ZZ-Ber is damaged")
        chunk.write_bytes(whole)
        with pytest.warns(FluxtrapolationWarning, match="1 tower was already"):
            again = import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table)
        assert again.site_ids == ("ZZ-Ber", "ZZ-Cal")
        assert again.manifest.failures == {}

    @pytest.mark.parametrize("kept", [8, 16, 17, 0.5, 0.9, -1])
    def test_a_cut_chunk_is_always_found(self, tmp_path: Path, pair: tuple[Path, Path], kept: float) -> None:
        """Blosc itself may read on past the end of a cut chunk and return numbers."""
        source, table = pair
        chunk = source / "nee" / "1.0"
        whole = chunk.read_bytes()
        chunk.write_bytes(whole[: int(len(whole) * kept)] if 0 < kept < 1 else whole[: int(kept)])
        self.run(tmp_path, source, table, "chunk nee/1.0 has")

    @pytest.mark.parametrize("name", ["ta", "nee", "nee_qc"])
    def test_absent_chunk_is_not_taken_for_missing_values(
        self, tmp_path: Path, pair: tuple[Path, Path], name: str
    ) -> None:
        source, table = pair
        (source / name / "1.0").unlink()
        self.run(tmp_path, source, table, f"1 of its chunks are not in the store: {name}/1.0")

    def test_absent_chunk_in_the_middle(self, tmp_path: Path) -> None:
        source, table = small(tmp_path, Tower("ZZ-Cal", 38.4, -121.0, "GRA", -8.0, -8.0), berlin(), chunk=4000)
        (source / "gpp_nt" / "1.2").unlink()
        self.run(tmp_path, source, table, "gpp_nt/1.2")

    def test_absent_chunks_outside_the_record_are_nothing(self, tmp_path: Path) -> None:
        tower = berlin()
        for values in tower.records.values():
            values[48 * 100 :] = MISSING
        source, table = small(tmp_path, tower, chunk=4000)
        for name in PACKING:
            (source / name / "0.3").unlink()
        store = import_fluxnet2015_zarr(source, tmp_path / "t", sites_table=table)
        assert store.hours == 2400

    def test_nothing_at_all(self, tmp_path: Path) -> None:
        tower = berlin()
        for values in tower.records.values():
            values[:] = MISSING
        source, table = small(tmp_path, tower, Tower("ZZ-Cal", 38.4, -121.0, "GRA", -8.0, -8.0))
        self.run(tmp_path, source, table, "no value of any variable")

    def test_no_covariates(self, tmp_path: Path) -> None:
        tower = berlin()
        tower.records["sw_in"][:] = MISSING
        source, table = small(tmp_path, tower, Tower("ZZ-Cal", 38.4, -121.0, "GRA", -8.0, -8.0))
        self.run(tmp_path, source, table, "no hour has air temperature, VPD and radiation")

    def test_no_igbp_names_the_option(self, tmp_path: Path, pair: tuple[Path, Path]) -> None:
        source, _ = pair
        table = sites_csv(tmp_path / "one.csv", [Tower("ZZ-Cal", 38.4, -121.0, "GRA", -8.0, -8.0)])
        self.run(tmp_path, source, table, "--sites-table")

    def test_all_towers_failing_leaves_no_store(self, tmp_path: Path, pair: tuple[Path, Path]) -> None:
        with pytest.raises(DataError, match="None of the 2 towers"):
            import_fluxnet2015_zarr(pair[0], tmp_path / "t")
        assert not (tmp_path / "t").exists()

    def test_impossible_values_fail_the_tower(self, tmp_path: Path) -> None:
        tower = berlin()
        tower.records["vpd"] //= 100
        source, table = small(tmp_path, tower, Tower("ZZ-Cal", 38.4, -121.0, "GRA", -8.0, -8.0))
        self.run(tmp_path, source, table, "VPD looks like kPa")
