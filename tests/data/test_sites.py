"""The packaged site table and tables brought by users."""

from __future__ import annotations

import warnings
from pathlib import Path

import polars as pl
import pytest

from fluxtrapolation.data.sites import SiteFacts, load_sites, merge_facts, read_sites_table
from fluxtrapolation.errors import DataError, FluxtrapolationWarning, MissingColumnError
from fluxtrapolation.schema import IGBP


def write(tmp_path: Path, text: str, name: str = "sites.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


class TestPackagedTable:
    def test_what_is_in_it(self) -> None:
        sites = load_sites()
        assert len(sites) == 1138
        assert sum(facts.in_benchmark for facts in sites.values()) == 187
        assert sum(facts.native_step_min == 60 for facts in sites.values()) == 9
        clocks = [f for f in sites.values() if f.utc_offset_store_h is not None]
        assert len(clocks) == 120
        assert all(f.true_utc_offset_h is not None and f.native_step_min in (30, 60) for f in clocks)
        assert all(f.igbp in IGBP for f in sites.values())
        assert all(site == facts.site_id for site, facts in sites.items())

    def test_one_tower(self) -> None:
        facts = load_sites()["AU-Cpr"]
        assert (facts.name, facts.igbp, facts.network) == ("Calperum Chowilla", "WSA", "TERN/TERN")
        assert (facts.lat, facts.lon) == (-34.0027, 140.5877)
        assert (facts.utc_offset_store_h, facts.true_utc_offset_h) == (10.5, 9.5)
        assert facts.time_flag == "store_utc_wrong"

    def test_read_once(self) -> None:
        assert load_sites() is load_sites()

    @pytest.mark.real
    def test_same_facts_as_the_source(self, shared: Path) -> None:
        raw = pl.read_csv(shared / "data" / "site_metadata.csv", infer_schema_length=None)
        sites = load_sites()
        assert set(raw["site_id"]) == set(sites)
        for row in raw.iter_rows(named=True):
            facts = sites[row["site_id"]]
            for name in ("name", "lat", "lon", "igbp", "mat_c", "map_mm", "native_step_min", "time_flag"):
                value = row[name].strip() if isinstance(row[name], str) else row[name]
                assert getattr(facts, name) == value, (row["site_id"], name)
            assert facts.network == row["network"]
            assert facts.utc_offset_store_h == row["utc_offset_store_h"]
            assert facts.true_utc_offset_h == row["true_utc_offset_h"]
            assert facts.in_benchmark == bool(row["in_benchmark_lists"])

    def test_can_be_read_as_a_users_table(self) -> None:
        from importlib import resources

        path = resources.files("fluxtrapolation.data") / "resources" / "sites.csv"
        with resources.as_file(path) as file:
            assert read_sites_table(file) == load_sites()


class TestUsersTable:
    def test_required_columns_are_enough(self, tmp_path: Path) -> None:
        sites = read_sites_table(write(tmp_path, "site_id,lat,lon,igbp\nXX-One,10.5,-20,GRA\n"))
        assert sites == {"XX-One": SiteFacts("XX-One", None, 10.5, -20.0, "GRA")}

    def test_all_columns(self, tmp_path: Path) -> None:
        text = (
            "igbp,lon,lat,site_id,name,mat_c,map_mm,network,in_benchmark_lists,native_step_min,utc_offset_store_h,"
            'true_utc_offset_h,time_flag\nENF,9.25,46,XX-One,"Höhe, oben",4.5,900,Net;Other,1,60,1.0,0.5,odd\n'
        )
        assert read_sites_table(write(tmp_path, text))["XX-One"] == SiteFacts(
            "XX-One", "Höhe, oben", 46.0, 9.25, "ENF", 4.5, 900.0, "Net;Other", True, 60, 1.0, 0.5, "odd"
        )

    def test_parquet(self, tmp_path: Path) -> None:
        rows = {"site_id": ["A", "B"], "lat": [1.0, 2.0], "lon": [3, 4], "igbp": ["GRA", "CRO"], "mat_c": [None, 7.5]}
        pl.DataFrame(rows).write_parquet(tmp_path / "s.parquet")
        sites = read_sites_table(tmp_path / "s.parquet")
        assert sites["A"].mat_c is None
        assert sites["B"] == SiteFacts("B", None, 2.0, 4.0, "CRO", 7.5)

    @pytest.mark.parametrize("separator", [";", "\t"])
    def test_other_separators_and_a_byte_order_mark(self, tmp_path: Path, separator: str) -> None:
        text = "\ufeffSITE_ID,Lat,LON,igbp\nXX-One,1,2,GRA\n\n".replace(",", separator)
        assert list(read_sites_table(write(tmp_path, text))) == ["XX-One"]

    @pytest.mark.parametrize("empty", ["", "NA", "NaN", "null"])
    def test_empty_cells_are_not_known(self, tmp_path: Path, empty: str) -> None:
        sites = read_sites_table(write(tmp_path, f"site_id,lat,lon,igbp,mat_c,name\nX,1,2,GRA,{empty},{empty}\n"))
        assert (sites["X"].mat_c, sites["X"].name) == (None, None)

    def test_unknown_columns_are_named_once(self, tmp_path: Path) -> None:
        path = write(tmp_path, "site_id,lat,lon,igbp,elevation,owner\nX,1,2,GRA,5,me\n")
        with pytest.warns(FluxtrapolationWarning, match="2 columns are not used: elevation, owner") as caught:
            read_sites_table(path)
        assert len(caught) == 1

    def test_known_columns_warn_of_nothing(self, tmp_path: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read_sites_table(write(tmp_path, "site_id,lat,lon,igbp,mat_source\nX,1,2,GRA,reported\n"))

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ("B,north,2,GRA", "row 3 (B): lat is 'north', not a number"),
            ("B,-9999,2,GRA", "row 3 (B): lat is -9999, outside -90 to 90"),
            ("B,1,181,GRA", "row 3 (B): lon is 181"),
            ("B,,2,GRA", "row 3 (B): the site has no coordinates"),
            ("B,1,2,GRS", "row 3 (B): unknown IGBP class 'GRS'. Did you mean 'GRA'?"),
            ("B,1,2,", "unknown IGBP class None"),
            (",1,2,GRA", "row 3 (no id): the site has no usable id"),
            ("../B,1,2,GRA", "'../B' is no usable id"),
            ("A,1,2,GRA", "row 3: site A stands in row 2 already"),
            ("B,1,2", "row 3: 3 cells, the header has 4"),
            ("B,inf,2,GRA", "lat is inf"),
        ],
    )
    def test_wrong_rows_are_named(self, tmp_path: Path, row: str, message: str) -> None:
        path = write(tmp_path, f"site_id,lat,lon,igbp\nA,1,2,GRA\n{row}\n")
        with pytest.raises(DataError) as caught:
            read_sites_table(path)
        assert message in str(caught.value)
        assert "1 of 2 rows" in str(caught.value)

    def test_all_wrong_rows_are_counted(self, tmp_path: Path) -> None:
        rows = "".join(f"S{n},x,2,GRA\n" for n in range(8))
        with pytest.raises(DataError, match=r"8 of 8 rows .*row 2 .*and 3 more"):
            read_sites_table(write(tmp_path, "site_id,lat,lon,igbp\n" + rows))

    @pytest.mark.parametrize("column", ["native_step_min", "utc_offset_store_h", "true_utc_offset_h", "map_mm"])
    def test_impossible_optional_values(self, tmp_path: Path, column: str) -> None:
        with pytest.raises(DataError, match=column):
            read_sites_table(write(tmp_path, f"site_id,lat,lon,igbp,{column}\nA,1,2,GRA,-45\n"))

    def test_missing_columns(self, tmp_path: Path) -> None:
        with pytest.raises(MissingColumnError, match=r"2 required columns are missing: lat, lon\.") as caught:
            read_sites_table(write(tmp_path, "site_id,latitude,igbp\nA,1,GRA\n"))
        assert "It has: site_id, latitude, igbp" in str(caught.value)

    def test_repeated_column(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match="lat appears twice"):
            read_sites_table(write(tmp_path, "site_id,lat,Lat,lon,igbp\nA,1,1,2,GRA\n"))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is empty"),
            (b" \n", "is empty"),
            (b"site_id,lat,lon,igbp\n", "no sites"),
            (b"<!DOCTYPE html><html></html>", "web page"),
            (b"\xef\xbb\xbf\n<html>", "web page"),
            (b"site_id,lat,lon,igbp\n\xff\xfe,1,2,GRA\n", "UTF-8"),
        ],
    )
    def test_not_a_table(self, tmp_path: Path, content: bytes, message: str) -> None:
        (tmp_path / "s.csv").write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_sites_table(tmp_path / "s.csv")

    @pytest.mark.parametrize("content", [b"", b"not parquet at all"])
    def test_not_parquet(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "s.parquet").write_bytes(content)
        with pytest.raises(DataError, match=r"s\.parquet"):
            read_sites_table(tmp_path / "s.parquet")

    def test_no_file(self, tmp_path: Path) -> None:
        write(tmp_path, "x", "towers.csv")
        with pytest.raises(DataError, match=r"no sites table at .*Did you mean 'towers.csv'"):
            read_sites_table(tmp_path / "tower.csv")


class TestMerge:
    def test_the_users_row_wins_and_the_packaged_one_fills(self) -> None:
        base = {"A": SiteFacts("A", "old", 1.0, 2.0, "GRA", 5.0, None, "net", True, 30, 1.0, 1.0, "flag")}
        table = {"A": SiteFacts("A", None, 1.5, 2.5, "CRO", utc_offset_store_h=0.0, true_utc_offset_h=0.0)}
        merged = merge_facts(table, base)["A"]
        assert (merged.name, merged.lat, merged.igbp, merged.mat_c) == ("old", 1.5, "CRO", 5.0)
        # an offset of zero is a value, not a gap
        assert (merged.utc_offset_store_h, merged.true_utc_offset_h) == (0.0, 0.0)
        assert merged.in_benchmark

    def test_other_sites_stay_and_come(self) -> None:
        base = {"A": SiteFacts("A", None, 1.0, 2.0, "GRA")}
        table = {"B": SiteFacts("B", None, 1.0, 2.0, "CRO")}
        assert merge_facts(table, base) == {**base, **table}
