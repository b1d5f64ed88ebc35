"""Facts beside the values of the FLUXNET door: place and clock, licence, citation, thanks."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from fluxnet_maker import HH, as_csv, bif, weather, write

from fluxtrapolation.data.cite import cite_store
from fluxtrapolation.data.cite_products import AMERIFLUX_THANKS
from fluxtrapolation.data.importers.fluxnet_archive import import_fluxnet
from fluxtrapolation.data.importers.fluxnet_place import find_offset, find_place
from fluxtrapolation.data.sites import SiteFacts
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import FluxtrapolationWarning

TIME, COLUMNS = weather()
TEXT = as_csv(TIME, COLUMNS)
FACTS = {"LOCATION_LAT": 50.9626, "LOCATION_LONG": 13.5651, "IGBP": "ENF", "UTC_OFFSET": 1, "SITE_NAME": "Tharandt"}


def notes(store: Store, site: str) -> str:
    return "\n".join(store.manifest.sites[site].notes)


def other(site: str) -> str:
    return HH.replace("DE-Tha", site)


@pytest.mark.parametrize(
    ("lat", "lon", "offset"),
    [(-43.95, -176.56, 12.75), (1.87, -157.4, 14.0), (-14.28, -170.7, -11.0), (-17.7, 178.0, 12.0)],
    ids=["Chatham", "Kiritimati", "Samoa", "Fiji"],
)
def test_the_offset_is_of_the_right_day_at_the_date_line(tmp_path: Path, lat: float, lon: float, offset: float) -> None:
    facts = {"ZZ-Aaa": SiteFacts("ZZ-Aaa", None, lat, lon, "GRA")}
    place = find_place("ZZ-Aaa", given=facts["ZZ-Aaa"], bif=None, packaged=None)
    time, columns = weather(lat=lat, lon=lon, offset=offset, step=60)
    potential, light = columns["SW_IN_POT"], columns["SW_IN_F"]
    assert find_offset(place, time, light, potential)[0] == offset
    few = np.where(np.arange(time.size) < 24 * 15, potential, np.nan)  # too few days for a phase
    assert find_offset(place, time, light, few)[0] == offset
    if offset == round(offset):
        assert find_offset(place, time, light, None)[0] == offset


@pytest.mark.parametrize(("given", "told"), [(-7, 8.0), (2, 1.0), (1, None)])
@pytest.mark.parametrize("start", ["2010-01-01", "2010-06-01"])
def test_the_clock_of_a_short_record_is_held_to_the_sun(
    tmp_path: Path, start: str, given: float, told: float | None
) -> None:
    """Sixty days are too few for a phase, not for the potential radiation of the file itself."""
    time, columns = weather(start=start, days=60)
    facts = {**FACTS, "UTC_OFFSET": given}
    source = write(
        tmp_path / "in", {HH: as_csv(time, columns), HH.replace("FULLSET_HH", "BIF"): bif("DE-Tha", **facts)}
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        store = import_fluxnet(source, tmp_path / "out")
    said = "\n".join(one for one in store.manifest.sites["DE-Tha"].notes if "does not fit the file's SW_IN_POT" in one)
    assert store.record("DE-Tha").utc_offset_h == given
    if told is None:
        assert not said
    else:
        assert f"{told * 60:.0f} min off; not corrected" in said, (store.manifest.sites["DE-Tha"].notes, caught)


@pytest.mark.filterwarnings("ignore:[0-9]+ towers hold the same values")  # one file serves for all
def test_a_changed_table_of_the_network_is_read_again(tmp_path: Path) -> None:
    """One BIF for all sites lies beside the archives; theirs have not changed."""
    table = "FLX_AA-Flx_BIF_ALL_20200501.csv"

    def told(again: str, **facts: object) -> Store:
        rows = bif("DE-Zzz", **{**FACTS, **facts}) + bif("DE-Hai", **{**FACTS, "SITE_NAME": "x"}).partition("\n")[2]
        write(source, {table: rows})
        with pytest.warns(FluxtrapolationWarning, match=f"{again} already in the store"):
            return import_fluxnet(source, tmp_path / "out")

    source = write(tmp_path / "in", {other("DE-Zzz"): TEXT, other("DE-Hai"): TEXT})
    write(source, {table: bif("DE-Zzz", **FACTS) + bif("DE-Hai", **{**FACTS, "SITE_NAME": "x"}).partition("\n")[2]})
    import_fluxnet(source, tmp_path / "out")
    assert told("2 towers were").record("DE-Zzz").igbp == "ENF"
    assert told("1 tower was", IGBP="MF").record("DE-Zzz").igbp == "MF"
    assert told("1 tower was", IGBP="MF", DOI="10.1/x").manifest.sites["DE-Zzz"].doi == "10.1/x"
    assert told("1 tower was", LOCATION_LAT=50.5).record("DE-Zzz").lat == 50.5
    told("2 towers were", LOCATION_LAT=50.5)
    assert "utc_offset_h 1 after FLX_AA" in notes(told("1 tower was", UTC_OFFSET="1.0", MAT=8.0), "DE-Zzz")
    assert "found from the phase" in notes(told("1 tower was", UTC_OFFSET="NA", MAT=8.0), "DE-Zzz")


@pytest.mark.parametrize(
    ("name", "licensed"),
    [
        (HH, True),
        ("AMF_DE-Tha_FLUXNET_FULLSET_HH_2010-2010_3-5.csv", False),
        ("ICOSETC_DE-Tha_FLUXNET_HH_L2.csv", False),
        ("FLX_DE-Tha_FLUXNET2015_FULLSET_HH_2005-2020_beta-3.csv", False),
    ],
    ids=["FLUXNET2015", "AmeriFlux", "ICOS", "Warm Winter"],
)
def test_licence_and_citation_only_where_they_are_known(tmp_path: Path, name: str, licensed: bool) -> None:
    store = import_fluxnet(write(tmp_path / "in", {name: TEXT}), tmp_path / "out")
    origin = store.manifest.sources[0]
    assert store.record("DE-Tha").licence == origin.licence == ("CC-BY-4.0" if licensed else None)
    assert (origin.doi is not None, origin.citation is not None) == (licensed, licensed)
    stated = any("not stated: DE-Tha" in line for line in cite_store(store).licences)
    assert stated is not licensed


@pytest.mark.filterwarnings("ignore:[0-9]+ towers hold the same values")  # one file serves for all
def test_licences_of_products_side_by_side(tmp_path: Path) -> None:
    files = {HH: TEXT, "AMF_DE-Hai_FLUXNET_FULLSET_HH_2010-2010_3-5.csv": TEXT}
    store = import_fluxnet(write(tmp_path / "in", files), tmp_path / "out")
    assert (store.record("DE-Tha").licence, store.record("DE-Hai").licence) == ("CC-BY-4.0", None)
    lines = cite_store(store).licences
    assert any(line.startswith("CC-BY-4.0: DE-Tha") for line in lines)
    assert any(line.startswith("not stated: DE-Hai") for line in lines)


def test_ameriflux_is_thanked_for_its_archives(tmp_path: Path) -> None:
    table = tmp_path / "sites.csv"
    table.write_text("site_id,lat,lon,igbp\nUS-Zzz,50.96,13.57,ENF\n")

    def thanked(name: str) -> bool:
        folder = tmp_path / name[:12]
        store = import_fluxnet(write(folder / "in", {name: TEXT}), folder / "out", sites_table=table)
        return AMERIFLUX_THANKS in cite_store(store).acknowledge

    assert thanked("AMF_US-Zzz_FLUXNET_FULLSET_HH_2010-2010_3-5.csv")
    assert not thanked("EUF_US-Zzz_FLUXNET_FLUXMET_HH_2010-2010_v1.3_r1.csv")
    assert not thanked(other("US-Zzz"))  # FLUXNET2015 has its own wording
