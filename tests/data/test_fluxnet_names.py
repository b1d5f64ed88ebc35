"""Names of FLUXNET files and archives of every hub."""

from __future__ import annotations

import pytest

from fluxtrapolation.data.importers.fluxnet_names import parse_name, table_site

FILES = [
    # name, hub, site, product, content, step, years, version, resolution
    ("FLX_AU-Ade_FLUXNET2015_FULLSET_HH_2007-2009_1-3.csv", "FLX", "AU-Ade", "FLUXNET2015", "FULLSET", "HH", "hourly"),
    ("FLX_US-Ha1_FLUXNET2015_SUBSET_HR_1991-2012_1-4.csv", "FLX", "US-Ha1", "FLUXNET2015", "SUBSET", "HR", "hourly"),
    ("FLX_DE-Hai_FLUXNET2015_SUBSET_DD_2000-2012_1-4.csv", "FLX", "DE-Hai", "FLUXNET2015", "SUBSET", "DD", "daily"),
    ("FLX_CH-Cha_FLUXNET2015_FULLSET_HH_2005-2020_beta-3.csv", "FLX", "CH-Cha", "FLUXNET2015", "FULLSET", "HH",
     "hourly"),
    ("FLX_CH-Cha_FLUXNET2015_FULLSET_HH_2005-2020_beta-3.excerpt.csv", "FLX", "CH-Cha", "FLUXNET2015", "FULLSET", "HH",
     "hourly"),
    ("AMF_US-Ha1_FLUXNET_FULLSET_HR_1991-2020_3-5.csv", "AMF", "US-Ha1", "FLUXNET", "FULLSET", "HR", "hourly"),
    ("AMF_US-Ha1_FLUXNET_FLUXMET_HR_1991-2025_v1.3_r1.csv", "AMF", "US-Ha1", "FLUXNET", "FLUXMET", "HR", "hourly"),
    ("AMF_US-Tw4_FLUXNET_FULLSET_DD_2013-2023_5-7.csv", "AMF", "US-Tw4", "FLUXNET", "FULLSET", "DD", "daily"),
    ("FLX_BR-Sa1_FLUXNET_FLUXMET_HH_2002-2011_v1.3_r2.csv", "FLX", "BR-Sa1", "FLUXNET", "FLUXMET", "HH", "hourly"),
    ("ICOSETC_BE-Bra_FLUXNET_HH_L2.csv", "ICOSETC", "BE-Bra", "FLUXNET", "", "HH", "hourly"),
    ("EUF_CH-Oe2_FLUXNET_FLUXMET_HH_2004-2024_v1.3_r1.csv", "EUF", "CH-Oe2", "FLUXNET", "FLUXMET", "HH", "hourly"),
    ("TERN_AU-Lox_FLUXNET_FLUXMET_HH_2008-2009_v1.3_r1.csv", "TERN", "AU-Lox", "FLUXNET", "FLUXMET", "HH", "hourly"),
    ("JPF_JP-Tak_FLUXNET_FULLSET_HH_1999-2021_v1.2_r1.csv", "JPF", "JP-Tak", "FLUXNET", "FULLSET", "HH", "hourly"),
    ("KOF_KR-GDK_FLUXNET_FLUXMET_HH_2006-2020_v1.3_r1.csv", "KOF", "KR-GDK", "FLUXNET", "FLUXMET", "HH", "hourly"),
    ("FLX_AU-Ade_FLUXNET2015_FULLSET_HH_2007-2009_1-3 (1).csv", "FLX", "AU-Ade", "FLUXNET2015", "FULLSET", "HH",
     "hourly"),
    ("flx_AU-Ade_fluxnet2015_fullset_hh_2007-2009_1-3.CSV", "FLX", "AU-Ade", "FLUXNET2015", "FULLSET", "HH", "hourly"),
    ("AMF_US-Ha1_FLUXNET_ERA5_HR_1981-2021_3-5.csv", "AMF", "US-Ha1", "FLUXNET", "ERA5", "HR", None),
    ("FLX_AU-Ade_FLUXNET2015_ERAI_HH_1989-2014_1-3.csv", "FLX", "AU-Ade", "FLUXNET2015", "ERAI", "HH", None),
    ("FLX_AU-Ade_FLUXNET2015_FULLSET_MM_2007-2009_1-3.csv", "FLX", "AU-Ade", "FLUXNET2015", "FULLSET", "MM", None),
    ("AMF_US-Ha1_FLUXNET_BIFVARINFO_HR_1991-2025_v1.3_r1.csv", "AMF", "US-Ha1", "FLUXNET", "BIFVARINFO", "HR", None),
]  # fmt: skip


@pytest.mark.parametrize("case", FILES, ids=lambda case: case[0])
def test_files_of_every_hub(case: tuple[str, str, str, str, str, str, str | None]) -> None:
    file, hub, site, product, content, step, resolution = case
    for place in ("", "some folder/", "a\\b\\"):
        name = parse_name(place + file)
        assert name is not None
        assert (name.hub, name.site, name.product, name.content, name.step) == (hub, site, product, content, step)
        assert name.resolution == resolution and not name.archive


@pytest.mark.parametrize(
    ("file", "site", "years", "version"),
    [
        ("FLX_AU-Ade_FLUXNET2015_FULLSET_2007-2009_1-3.zip", "AU-Ade", (2007, 2009), "1-3"),
        ("AMF_US-Ha1_FLUXNET_1991-2020_v1.2_r2.zip", "US-Ha1", (1991, 2020), "v1.2_r2"),
        ("ICOSETC_BE-Bra_FLUXNET_2020-2024_v1.4_r1.zip", "BE-Bra", (2020, 2024), "v1.4_r1"),
        ("ICOSETC_BE-Bra_ARCHIVE_L2.zip", "BE-Bra", None, "L2"),
        ("KOF_KR-GDK_FLUXNET_2006-2020_v1.3_r1.zip", "KR-GDK", (2006, 2020), "v1.3_r1"),
    ],
)
def test_archives(file: str, site: str, years: tuple[int, int] | None, version: str) -> None:
    name = parse_name(file)
    assert name is not None and name.archive and name.resolution is None
    assert (name.site, name.years, name.version) == (site, years, version)


@pytest.mark.parametrize(
    "file",
    ["DE-Tha.csv", "FLX_FLUXNET2015_FULLSET_HH_2007-2009_1-3.csv", "FLX_AU-Ade_FLUXNET2015_FULLSET_HH.txt",
     "AMF_US-Ha1_BASE_HR_20-5.csv", "ICOSETC_BE-Bra_METEO_L2.csv", "notes_FLUXNET.csv", ""],
)  # fmt: skip
def test_other_names(file: str) -> None:
    assert parse_name(file) is None


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("FLX_DE-Tha_FLUXNET2015_FULLSET_HH_1996-2014_1-4.csv", "FLX_DE-Tha_FLUXNET2015_FULLSET_HH_1996-2014_1-3.csv"),
        ("FLX_DE-Tha_FLUXNET2015_SUBSET_HH_1996-2014_2-3.csv", "FLX_DE-Tha_FLUXNET2015_FULLSET_HH_1996-2014_1-4.csv"),
        ("AMF_US-Ha1_FLUXNET_FULLSET_HR_1991-2020_3-10.csv", "AMF_US-Ha1_FLUXNET_FULLSET_HR_1991-2020_3-9.csv"),
        ("AMF_US-Ha1_FLUXNET_FLUXMET_HR_1991-2019_v1.3_r1.csv", "AMF_US-Ha1_FLUXNET_FLUXMET_HR_1991-2020_v1.2_r2.csv"),
        ("AMF_US-Ha1_FLUXNET_FLUXMET_HR_1991-2019_v1.2_r1.csv", "AMF_US-Ha1_FLUXNET_FULLSET_HR_1991-2020_3-5.csv"),
        ("AMF_US-Ha1_FLUXNET_FULLSET_HR_1991-2020_3-5.csv", "FLX_US-Ha1_FLUXNET2015_FULLSET_HR_1991-2012_4-9.csv"),
        ("FLX_CH-Cha_FLUXNET2015_FULLSET_HH_2005-2020_beta-3.csv",
         "FLX_CH-Cha_FLUXNET2015_FULLSET_HH_2005-2014_2-4.csv"),
        ("FLX_DE-Tha_FLUXNET2015_FULLSET_HH_1996-2014_1-4.csv", "FLX_DE-Tha_FLUXNET2015_SUBSET_HH_1996-2014_1-4.csv"),
        ("FLX_DE-Tha_FLUXNET2015_SUBSET_HH_1996-2014_1-4.csv", "FLX_DE-Tha_FLUXNET2015_SUBSET_HH_1996-2012_1-4.csv"),
    ],
)  # fmt: skip
def test_the_newest(newer: str, older: str) -> None:
    first, second = parse_name(newer), parse_name(older)
    assert first is not None and second is not None
    assert first.newness > second.newness


@pytest.mark.parametrize(
    ("file", "site"),
    [
        ("AMF_US-Ha1_FLUXNET_BIF_1991-2025_v1.3_r1.csv", "US-Ha1"),
        ("AMF_US-Ha1_BIF_20230922.xlsx", "US-Ha1"),
        ("FLX_AA-Flx_BIF_ALL_20200501.csv", "*"),
        ("AMF_AA-Net_FLUXNET_BIF_CCBY4_20240101.csv", "*"),
        ("ICOSETC_BE-Bra_SITEINFO_L2.csv", "BE-Bra"),
        ("AMF_US-Ha1_FLUXNET_BIFVARINFO_HR_1991-2025_v1.3_r1.csv", None),
        ("FLX_AU-Ade_FLUXNET2015_FULLSET_HH_2007-2009_1-3.csv", None),
    ],
)
def test_metadata_tables(file: str, site: str | None) -> None:
    assert table_site(file) == site
