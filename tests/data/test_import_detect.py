"""A folder that holds files of two formats is not read as one of them without a word."""

from __future__ import annotations

from pathlib import Path

import pytest
from fluxnet_maker import HH, as_csv, weather, write, write_zip

from fluxtrapolation.data.importers import benchmark_files, detect_format, import_towers
from fluxtrapolation.errors import DataError, FluxtrapolationWarning

TEXT = as_csv(*weather())
TOWER = "time,qc_mask,GPP,NEE,TA\n2015-01-01 00:00:00,1,2.5,-1.5,3.5\n"


@pytest.mark.parametrize("where", ["beside", "below", "packed"])
def test_benchmark_files_beside_fluxnet_files_are_not_dropped(tmp_path: Path, where: str) -> None:
    folder = write(tmp_path / "in", {"DE-Hai.csv": TOWER, "FI-Hyy.csv": TOWER})
    match where:
        case "beside":
            write(folder, {HH: TEXT})
        case "below":
            write(folder / "raw", {HH: TEXT})
        case "packed":
            write_zip(folder / "FLX_DE-Tha_FLUXNET2015_FULLSET_2010-2010_1-4.zip", {HH: TEXT})
    both = r"holds both FLUXNET files and 2 benchmark CSV files \(DE-Hai\.csv, FI-Hyy\.csv\)\. Say .*--format fluxnet"
    with pytest.raises(DataError, match=both):
        detect_format(str(folder))
    with pytest.raises(DataError, match=both):
        import_towers(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.warns(FluxtrapolationWarning, match=r"2 files of .* passed over: benchmark CSV files: 2 \(DE-Hai\.csv"):
        made = import_towers(folder, tmp_path / "out", format="fluxnet")
    assert made.site_ids == ("DE-Tha",)


def test_other_tables_beside_fluxnet_files_do_no_harm(tmp_path: Path) -> None:
    """Lists of sites and of variables, metadata, hidden files; what is a tower in its header counts, however named."""
    lists = {
        "sites.csv": "site,lat,lon\nDE-Tha,50.96,13.57\n",
        "FLX_AA-Flx_BIF_20200501.csv": "SITE_ID,GROUP_ID\n",
        "empty.csv": "",
        "odd name (1).csv": TOWER,
        "._DE-Hai.csv": TOWER,
    }
    folder = write(tmp_path / "in", {HH: TEXT, **lists})
    assert benchmark_files(folder) == [] and detect_format(str(folder)) == "fluxnet"
    write(folder, {"Tharandt.csv": TOWER})
    assert benchmark_files(folder) == ["Tharandt.csv"]
    assert benchmark_files(folder / HH) == []
