"""``data subset``: the chosen towers, years and columns, values bit by bit; resumable, never in its own place."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import warnings
from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxtrapolation.cli.main import run
from fluxtrapolation.data import combine, folder
from fluxtrapolation.data.combine import merge_stores, subset_store
from fluxtrapolation.data.diff import diff_stores
from fluxtrapolation.data.manifest import Source, as_body, read_manifest, utc_now
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError, FluxtrapolationWarning, MissingColumnError, SchemaVersionError
from tiny import tiny_frame, tiny_record, write_tiny_store

HOURS = 24 * 400


@pytest.fixture(scope="module")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Six towers from 2015 to February 2016 between 0 and 50 N."""
    return write_tiny_store(tmp_path_factory.mktemp("subset") / "towers", hours=HOURS)


class TestChoice:
    @pytest.mark.parametrize(
        ("asked", "sites"),
        [
            ({}, "AA BB CC DD EE FF"),
            ({"sites": ["CC-Thr", "AA-One"]}, "AA CC"),
            ({"igbp": ["ENF", "DBF"]}, "BB CC EE FF"),
            ({"bbox": (0, 15, 20, 30)}, "CC DD"),
            ({"bbox": (170, -90, -170, 90), "sites": ["AA-One"]}, None),
            ({"bbox": (9, 0, -9, 10)}, "AA BB"),  # across the date line, all but the Atlantic
            ({"igbp": ["GRA"], "sites": ["DD-Fou", "EE-Fiv"]}, "DD"),
            ({"years": (2016, None)}, "AA BB CC DD EE FF"),
            ({"years": (None, 2014)}, None),
        ],
    )
    def test_towers(self, towers: Store, tmp_path: Path, asked: dict[str, object], sites: str | None) -> None:
        if sites is None:
            with pytest.raises(DataError, match="No tower is left after"):
                subset_store(towers, tmp_path / "s", **asked)  # type: ignore[arg-type]
            assert not (tmp_path / "s").exists()
            return
        made = subset_store(towers, tmp_path / "s", **asked)  # type: ignore[arg-type]
        assert [site[:2] for site in made.site_ids] == sites.split()
        assert made.verify() == []
        assert made.manifest.complete

    def test_whole_towers_keep_their_very_file(self, towers: Store, tmp_path: Path) -> None:
        made = subset_store(towers, tmp_path / "s", igbp=["ENF"], years=(2014, 2016))
        for site in made.site_ids:
            assert made.file_of(site).read_bytes() == towers.file_of(site).read_bytes()
            assert made.record(site) == towers.record(site)

    def test_years_and_columns(self, towers: Store, tmp_path: Path) -> None:
        made = subset_store(towers, tmp_path / "s", years=(2016, 2016), columns=["GPP", "TA", "time"])
        assert (made.targets, made.covariates) == (("GPP",), ("TA",))
        for site in made.site_ids:
            whole = towers.read_site(site, ["time", "TA", "GPP", "qc_mask"], start=datetime(2016, 1, 1))
            assert made.read_site(site).equals(whole, null_equal=True)
            assert made.record(site).first_hour == datetime(2016, 1, 1)
            assert made.record(site).hours == whole.height
            assert made.record(site).measured_hours == int((whole["qc_mask"] == 1).sum())
            assert made.manifest.sites[site].notes == ("840 of 9,600 rows kept: the years 2016:2016",)

    def test_provenance(self, towers: Store, tmp_path: Path) -> None:
        made = subset_store(towers, tmp_path / "s", igbp=["ENF"], years=(2015, None), because={"scenario": "mine"})
        first, second = made.manifest.sources
        assert first == towers.manifest.sources[0]
        assert (second.kind, second.location) == ("subset", str(towers.path.resolve()))
        assert second.options == {
            "data_hash": towers.data_hash,
            "towers": "2 of 6",
            "igbp": ["ENF"],
            "years": "2015:",
            "scenario": "mine",
        }

    @pytest.mark.parametrize(
        ("asked", "error", "says"),
        [
            ({"sites": ["AA-Onn"]}, DataError, "Did you mean 'AA-One'"),
            ({"igbp": ["EFN"]}, DataError, r"no IGBP class 'EFN'\. Did you mean 'ENF'"),
            ({"igbp": []}, DataError, "No IGBP class is asked for"),
            ({"columns": ["LE"]}, MissingColumnError, "no column LE.*It holds: TA"),
            ({"columns": ["ET"]}, MissingColumnError, "but not of this store"),
            ({"columns": ["time"]}, DataError, "No column is asked for"),
            ({"bbox": (0, 50, 10, 40)}, DataError, "The box 0,50,10,40 is none"),
            ({"bbox": (float("nan"), 0, 1, 1)}, DataError, "is none"),
            ({"years": (2016, 2015)}, DataError, "end before they begin"),
            (
                {"igbp": ["WAT"]},
                DataError,
                r"No tower is left after IGBP WAT: of 6 before, 2 ENF.*Ask for other classes",
            ),
            (
                {"years": (2099, None)},
                DataError,
                r"after the years from 2099 on: of 6 .*2015 to 2016.*Ask for years in",
            ),
            ({"years": (None, 2014)}, DataError, "after the years up to 2014: "),
            ({"years": (1990, 1991)}, DataError, "after the years 1990 to 1991: "),
            ({"bbox": (0, 80, 1, 81)}, DataError, r"after the box 0,80,1,81: .*Ask for a larger box"),
        ],
    )
    def test_refusals(
        self, towers: Store, tmp_path: Path, asked: dict[str, object], error: type[Exception], says: str
    ) -> None:
        with pytest.raises(error, match=says):
            subset_store(towers, tmp_path / "s", **asked)  # type: ignore[arg-type]
        assert not (tmp_path / "s").exists()

    @settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_parts_put_together_are_the_whole(
        self, towers: Store, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        place = tmp_path_factory.mktemp("parts")
        part = data.draw(st.sets(st.sampled_from(towers.site_ids), min_size=1, max_size=5))
        one = subset_store(towers, place / "one", sites=sorted(part), link=data.draw(st.booleans()))
        rest = subset_store(towers, place / "rest", sites=sorted(set(towers.site_ids) - part))
        order = [one, rest] if data.draw(st.booleans()) else [rest, one]
        whole = merge_stores(order, place / "whole")
        assert whole.data_hash == towers.data_hash
        assert diff_stores(towers, whole).same


class TestGaps:
    def test_a_tower_with_a_gap_in_these_years_is_left_out_and_told(self, tmp_path: Path) -> None:
        frame = pl.concat([tiny_frame("AA-One", "2013-12-01", 100), tiny_frame("AA-One", "2016-01-01", 100)])
        source = Source(name="t", kind="table", location="here", retrieved=utc_now(), package_version="0")
        with StoreWriter(tmp_path / "a", targets=("GPP",), covariates=("TA",), source=source) as writer:
            writer.add(tiny_record("AA-One"), frame)
            writer.add(tiny_record("BB-Two"), tiny_frame("BB-Two", "2014-06-01", 100))
        with pytest.warns(FluxtrapolationWarning, match="1 tower has no row in the years asked for"):
            made = subset_store(tmp_path / "a", tmp_path / "s", years=(2014, 2015))
        assert made.site_ids == ("BB-Two",)
        assert made.manifest.failures == {}
        with pytest.raises(DataError, match=r"no row in the years asked for.*AA-One"):
            subset_store(tmp_path / "a", tmp_path / "t", years=(2014, 2015), sites=["AA-One"])
        assert not (tmp_path / "t").exists()


class TestDamage:
    @pytest.mark.parametrize("years", [None, (2015, 2015)])
    def test_a_damaged_tower_does_not_stop_the_others(self, tmp_path: Path, years: tuple[int, int] | None) -> None:
        towers = write_tiny_store(tmp_path / "a", hours=HOURS)
        damaged, lost = towers.file_of("BB-Two"), towers.file_of("DD-Fou")
        sound, content = damaged.read_bytes(), lost.read_bytes()
        damaged.write_bytes(sound[:200] + bytes([sound[200] ^ 1]) + sound[201:])
        lost.unlink()
        with pytest.warns(FluxtrapolationWarning, match="2 of 6 towers could not be taken over"):
            made = subset_store(towers, tmp_path / "s", years=years)
        assert made.site_ids == ("AA-One", "CC-Thr", "EE-Fiv", "FF-Six")
        assert set(made.manifest.failures) == {"BB-Two", "DD-Fou"}
        assert "its sha256 is not the manifest's" in made.manifest.failures["BB-Two"]
        assert made.verify() == []
        damaged.write_bytes(sound)
        lost.write_bytes(content)
        with pytest.warns(FluxtrapolationWarning, match="4 towers were already in the store"):
            again = subset_store(towers, tmp_path / "s", years=years)
        assert len(again.site_ids) == 6 and again.manifest.failures == {}
        assert again.data_hash == subset_store(towers, tmp_path / "fresh", years=years).data_hash

    def test_nothing_at_all_could_be_taken(self, tmp_path: Path) -> None:
        towers = write_tiny_store(tmp_path / "a", ["AA-One"], hours=50)
        towers.file_of("AA-One").write_bytes(b"x")
        with pytest.raises(DataError, match="Site AA-One"):
            subset_store(towers, tmp_path / "s")
        assert not (tmp_path / "s").exists()

    def test_a_newer_store_and_an_own_place_are_refused(self, towers: Store, tmp_path: Path) -> None:
        for out in (towers.path, towers.path / "sites" / "x", towers.path.parent):
            with pytest.raises(DataError, match=r"Choose another --out"):
                subset_store(towers, out)
        link = tmp_path / "same"
        link.symlink_to(towers.path)
        with pytest.raises(DataError, match="is the store itself"):
            subset_store(towers, link)
        assert towers.verify() == []
        newer = write_tiny_store(tmp_path / "newer", ["AA-One"], hours=50)
        body = json.loads((newer.path / "manifest.json").read_text())
        (newer.path / "manifest.json").write_text(json.dumps({**body, "schema_version": 99}))
        with pytest.raises(SchemaVersionError):
            subset_store(newer.path, tmp_path / "s")

    def test_another_store_is_not_overwritten_unasked(self, towers: Store, tmp_path: Path) -> None:
        made = subset_store(towers, tmp_path / "s", igbp=["ENF"])
        with pytest.raises(DataError, match=r"made with other options: .*--overwrite"):
            subset_store(towers, tmp_path / "s", igbp=["GRA"])
        assert made.verify() == []
        assert subset_store(towers, tmp_path / "s", igbp=["GRA"], overwrite=True).site_ids == ("AA-One", "DD-Fou")

    def test_an_unwritable_place(self, towers: Store, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(DataError, match="cannot be written"):
            subset_store(towers, tmp_path / "file" / "s")

    def test_a_full_disk_stops_and_the_same_call_goes_on(
        self, towers: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sound, calls = folder.copy_file, []

        def full(*args: object, **more: object) -> None:
            calls.append(args)
            if len(calls) == 3:
                raise DataError("The disk is full") from OSError(28, "No space left on device")
            sound(*args, **more)  # type: ignore[arg-type]

        monkeypatch.setattr("fluxtrapolation.data.writer.copy_file", full)
        with pytest.raises(DataError, match="disk is full"):
            subset_store(towers, tmp_path / "s")
        with pytest.warns(FluxtrapolationWarning, match="not complete"):
            assert Store(tmp_path / "s").site_ids == ("AA-One", "BB-Two")
        monkeypatch.setattr("fluxtrapolation.data.writer.copy_file", sound)
        with pytest.warns(FluxtrapolationWarning, match="2 towers were already"):
            made = subset_store(towers, tmp_path / "s")
        assert made.data_hash == towers.data_hash

    def test_interrupted_anywhere_it_goes_on(
        self, towers: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stop(site: str, done: int, total: int) -> None:
            if done == 4:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            combine.subset_store(towers, tmp_path / "s", columns=["TA", "NEE"], progress=stop)
        with pytest.warns(FluxtrapolationWarning, match="4 towers were already"):
            made = subset_store(towers, tmp_path / "s", columns=["TA", "NEE"])
        assert made.data_hash == subset_store(towers, tmp_path / "fresh", columns=["TA", "NEE"]).data_hash


class TestFiles:
    def test_link_shares_the_file_and_copies_elsewhere(
        self, towers: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made = subset_store(towers, tmp_path / "s", sites=["AA-One"], link=True)
        assert made.file_of("AA-One").samefile(towers.file_of("AA-One"))

        def no_links(*_: object) -> None:
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(Path, "hardlink_to", no_links)
        made = subset_store(towers, tmp_path / "t", sites=["AA-One"], link=True)
        assert not made.file_of("AA-One").samefile(towers.file_of("AA-One"))
        assert made.verify() == []

    def test_layout_version_is_the_lowest_that_can_say_it(self, tmp_path: Path) -> None:
        plain = write_tiny_store(tmp_path / "a", ["AA-One"], hours=50)
        written = json.loads((plain.path / "manifest.json").read_text())
        assert written["schema_version"] == 1
        assert "doi" not in written["sites"]["AA-One"]  # a package of before DOIs can read it
        source = plain.manifest.sources[0]
        columns = {"targets": plain.targets, "covariates": plain.covariates}
        with StoreWriter(tmp_path / "b", **columns, source=source) as writer:
            writer.add(tiny_record("AA-One", lat=0.0), tiny_frame("AA-One", hours=50), doi="10.1234/x")
        with_doi = Store(tmp_path / "b")
        assert json.loads((with_doi.path / "manifest.json").read_text())["schema_version"] == 2
        assert with_doi.manifest.sites["AA-One"].doi == "10.1234/x"
        assert with_doi.data_hash == plain.data_hash  # how data are cited is no part of what they are
        part = subset_store(with_doi, tmp_path / "c", columns=["TA", "GPP"])
        assert part.manifest.sites["AA-One"].doi == "10.1234/x"
        manifest, intact = read_manifest(part.path)
        assert intact and as_body(manifest)["schema_version"] == 2


class TestCommand:
    def test_all_options(self, towers: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "s"
        words = ["data", "subset", str(towers.path), "--out", str(out), "--igbp", "ENF,GRA", "--years", "2015"]
        assert run([*words, "--bbox=0,5,20,35", "--columns", "TA,NEE"]) == 0
        assert capfd.readouterr().out == f"{out}\n"
        made = Store(out)
        assert made.site_ids == ("BB-Two", "DD-Fou")
        assert made.hours == 2 * 8760
        assert (
            run(["data", "subset", str(towers.path), "--out", str(tmp_path / "t"), "--sites", "AA-One", "--json"]) == 0
        )
        assert json.loads(capfd.readouterr().out)["sites"] == 1

    def test_scenario(self, towers: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        scenario = tmp_path / "later.yaml"
        design = f"scenario design --store {towers.path} --rule years --train-years 2015 --validation-years 2016"
        assert run([*design.split(), "--test-years", "2017:", "--out", str(scenario)]) in (0, 2)
        draw = (
            f"scenario design --store {towers.path} --rule random --n-test 2 --n-validation 1 --out {tmp_path}/d.yaml"
        )
        assert run(draw.split()) == 0
        words = f"data subset {towers.path} --out {tmp_path}/s --scenario {tmp_path}/d.yaml --sites AA-One,BB-Two"
        assert run(words.split()) == 0
        options = Store(tmp_path / "s").manifest.sources[-1].options
        assert options["scenario"] == "d" and len(options["scenario_sha256"]) == 64
        capfd.readouterr()
        assert run(f"data subset {towers.path} --out {tmp_path}/t --scenario nowhere".split()) == 2
        assert "There is no scenario 'nowhere'" in capfd.readouterr().err

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            ("--bbox 1,2,3", "Cannot read the box '1,2,3'"),
            ("--years 2015-2016", "Cannot read the years"),
            ("--sites ,", "--sites names no tower"),
            ("--igbp XXX", "There is no IGBP class 'XXX'"),
        ],
    )
    def test_bad_usage(
        self, towers: Store, tmp_path: Path, words: str, says: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert run(["data", "subset", str(towers.path), "--out", str(tmp_path / "s"), *words.split()]) == 2
        shown = capfd.readouterr()
        assert says in shown.err and shown.out == ""

    def test_towers_that_could_not_be_taken(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        towers = write_tiny_store(tmp_path / "a", hours=50)
        towers.file_of("BB-Two").unlink()
        assert run(["data", "subset", str(towers.path), "--out", str(tmp_path / "s")]) == 2
        shown = capfd.readouterr()
        assert "error: Site BB-Two: " in shown.err and "1 of 6 towers could not be taken over" in shown.err
        assert len(Store(tmp_path / "s").site_ids) == 5

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
    def test_a_read_only_folder(self, towers: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        place = tmp_path / "locked"
        place.mkdir(mode=0o500)
        assert run(["data", "subset", str(towers.path), "--out", str(place / "s")]) == 2
        assert "cannot be written" in capfd.readouterr().err


def test_killed_at_any_tower_and_finished_by_the_same_call(towers: Store, tmp_path: Path) -> None:
    for after in (1, 3, 6):
        out = tmp_path / f"s{after}"
        code = (
            "import os, signal; from fluxtrapolation.data.combine import subset_store\n"
            f"def stop(site, done, total):\n    if done == {after}: os.kill(os.getpid(), signal.SIGKILL)\n"
            f"subset_store({str(towers.path)!r}, {str(out)!r}, years=(2014, 2017), progress=stop)"
        )
        killed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
        assert killed.returncode == -signal.SIGKILL
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FluxtrapolationWarning)
            made = subset_store(towers, out, years=(2014, 2017))
        assert made.data_hash == towers.data_hash
        assert made.verify() == []
        assert not list(out.rglob("*.tmp"))
