"""One simulated tower: physics before noise, units, reproducibility."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from fluxtrapolation.data.checks import check_frame
from fluxtrapolation.data.sites import SiteFacts, load_sites
from fluxtrapolation.data.solar import solar_covariates
from fluxtrapolation.data.synthetic import SimulatedSite, hours_of_years, simulate_site
from fluxtrapolation.data.synthetic.climate import utc_offset
from fluxtrapolation.data.synthetic.fluxes import COLDEST_RESPIRING, lloyd_taylor
from fluxtrapolation.data.synthetic.measures import series_measures
from fluxtrapolation.errors import DataError
from fluxtrapolation.schema import COVARIATES, LATENT_HEAT_OF_VAPORISATION, QC, TARGETS, TIME

# From the boreal forest to the tropical savanna, north and south, wet and dry, managed and not.
SITES = ("DE-Hai", "FI-Hyy", "US-Var", "AU-ASM", "AU-Lit", "CH-Cha", "US-Ne1", "US-BZB", "AU-Cum", "SJ-Blv")


@cache
def tower(site: str) -> SimulatedSite:
    return simulate_site(load_sites()[site], hours_of_years(2018, 2020))


@pytest.mark.parametrize("site", SITES)
def test_passes_the_checks_of_the_store(site: str) -> None:
    simulated = tower(site)
    frame = simulated.frame
    assert frame.columns[0] == TIME
    assert set(frame.columns) == {TIME, *COVARIATES, *TARGETS, QC}
    assert frame.height == (365 * 3 + 1) * 24
    assert frame.null_count().sum_horizontal()[0] == 0
    check_frame(frame, site=site, targets=TARGETS, covariates=COVARIATES)
    assert len(simulated.hidden) == frame.height


@pytest.mark.parametrize("site", SITES)
def test_no_assimilation_without_light_before_noise(site: str) -> None:
    simulated = tower(site)
    dark = simulated.frame["SW_IN_POT_hourly"].to_numpy() == 0
    assert dark.any()
    assert (simulated.truth.gpp[dark] == 0).all()
    assert (simulated.truth.gpp >= 0).all()
    # The observed product is scattered about zero at night, as night-time partitioning leaves it.
    night = simulated.frame["GPP"].to_numpy()[dark]
    assert night.std() > 0
    assert abs(night.mean()) < 0.1


@pytest.mark.parametrize("site", SITES)
def test_carbon_closes_before_noise(site: str) -> None:
    truth = tower(site).truth
    np.testing.assert_array_equal(truth.nee, truth.reco - truth.gpp)
    assert (truth.reco > 0).all()
    assert np.isfinite(truth.reco).all()
    # Gaps are filled near the truth; measured hours scatter about it.
    seen, qc = tower(site).frame["NEE"].to_numpy(), tower(site).frame[QC].to_numpy()
    error = np.abs(seen - truth.nee)
    assert error[qc == 0].mean() < error[qc == 1].mean() or error[qc == 1].mean() < 0.2
    assert abs((seen - truth.nee)[qc == 1].mean()) < 0.05


@pytest.mark.parametrize("site", SITES)
def test_energy_limits(site: str) -> None:
    simulated = tower(site)
    frame, truth = simulated.frame, simulated.truth
    potential = frame["SW_IN_POT_hourly"].to_numpy()
    sw = frame["SW_IN"].to_numpy()
    assert (sw >= 0).all()
    assert (sw <= potential).all()
    assert 0.35 < sw.mean() / potential.mean() < 0.75
    latent = truth.et * LATENT_HEAT_OF_VAPORISATION / 3600.0
    assert (latent >= 0).all()
    # At night the ground may give back up to half of the loss; 25 W m-2 come from elsewhere.
    net = truth.net_radiation
    assert (latent <= 1.15 * (np.maximum(net, 0) + 0.5 * np.maximum(-net, 0)) + 25.1).all()
    assert latent.mean() <= max(truth.net_radiation.mean() * 1.05, 25.0)
    assert (frame["VPD"].to_numpy() >= 0).all()


@pytest.mark.parametrize("site", ["DE-Hai", "US-Var", "AU-ASM", "FI-Hyy"])
def test_water_balance_closes_about(site: str) -> None:
    simulated = simulate_site(load_sites()[site], hours_of_years(2010, 2017))
    rain = simulated.weather.precipitation.sum()
    evaporated = simulated.truth.et.sum()
    # Roots reach stored water, groundwater does not feed these towers; the bucket's own use is computed apart.
    assert 0.25 * rain < evaporated < 1.35 * rain
    assert simulated.land.soil_water.min() >= 0
    assert simulated.land.soil_water.max() <= 1


def test_seasons_follow_the_hemisphere() -> None:
    north = series_measures(tower("DE-Hai").frame, "GPP")["peak_month"]
    assert north in (5, 6, 7, 8)
    south = simulate_site(
        SiteFacts("XX-SOU", None, -45.0, -70.0, "DBF", mat_c=9.0, map_mm=900.0), hours_of_years(2018, 2019)
    )
    assert series_measures(south.frame, "GPP")["peak_month"] in (11, 12, 1, 2)
    assert series_measures(south.frame, "TA")["peak_month"] in (12, 1, 2)


def test_climate_is_kept() -> None:
    for site in ("DE-Hai", "US-Var", "FI-Hyy", "AU-Lit"):
        simulated = simulate_site(load_sites()[site], hours_of_years(2005, 2014))
        assert simulated.weather.ta.mean() == pytest.approx(simulated.climate.mat, abs=1.0)
        yearly = simulated.weather.precipitation.sum() / 10
        assert yearly == pytest.approx(simulated.climate.map, rel=0.2)


def test_respiration_survives_the_pole() -> None:
    response = lloyd_taylor(np.array([-60.0, -52.9, -46.02, -46.0, -40.0, 15.0, 25.0], dtype=np.float32), 200.0)
    assert np.isfinite(response).all()
    assert (np.diff(response) >= 0).all()
    assert response[0] == response[3] == lloyd_taylor(np.array([COLDEST_RESPIRING], dtype=np.float32), 200.0)[0]
    assert response[5] == pytest.approx(1.0)
    # E0 = 200 K doubles respiration over about 10 K at 20 degC (Lloyd and Taylor 1994).
    assert 1.4 < response[6] / response[5] < 2.2


def test_drought_and_traits_are_hidden_yet_matter() -> None:
    simulated = tower("US-Var")
    month = (hours_of_years(2018, 2020).astype("datetime64[M]").astype(int)) % 12 + 1
    wet = np.repeat(simulated.land.soil_water, 24)
    assert wet[(month == 8)].mean() < 0.5 * wet[(month == 2)].mean()
    facts = load_sites()["DE-Hai"]
    other = simulate_site(
        SiteFacts("XX-TWN", None, facts.lat, facts.lon, "DBF", 8.3, 720.0), hours_of_years(2018, 2018)
    )
    assert other.traits.amax != tower("DE-Hai").traits.amax


def test_noise_is_laplacian_and_grows_with_the_flux() -> None:
    simulated = simulate_site(load_sites()["DE-Hai"], hours_of_years(2010, 2015))
    measured = simulated.frame[QC].to_numpy() == 1
    error = (simulated.frame["NEE"].to_numpy() - simulated.truth.nee)[measured]
    size = np.abs(simulated.truth.nee)[measured]
    strong, weak = error[size > np.quantile(size, 0.9)], error[size < np.quantile(size, 0.3)]
    assert strong.std() > 1.5 * weak.std()
    # In a narrow class of fluxes the kurtosis is that of a Laplace variable, 6, not 3.
    narrow = error[(simulated.truth.nee[measured] > -12) & (simulated.truth.nee[measured] < -11)]
    kurtosis = np.mean((narrow - narrow.mean()) ** 4) / narrow.var() ** 2
    assert 4.5 < kurtosis < 7.5


def test_calm_nights_are_missing() -> None:
    simulated = tower("DE-Hai")
    qc = simulated.frame[QC].to_numpy()
    dark = simulated.frame["SW_IN_POT_hourly"].to_numpy() == 0
    calm = simulated.weather.wind < np.quantile(simulated.weather.wind[dark], 0.3)
    assert 0.4 < qc.mean() < 0.8
    assert qc[dark].mean() < qc[~dark].mean()
    assert qc[dark & calm].mean() < 0.6 * qc[dark & ~calm].mean()


def test_satellite_is_daily_and_sees_the_leaves() -> None:
    simulated = tower("DE-Hai")
    for name in ("EVI", "NIRv", "NDWI_SWIR2", "LST_Day", "LST_Night"):
        by_day = simulated.frame[name].to_numpy().reshape(-1, 24)
        assert (by_day == by_day[:, :1]).all()
    evi = simulated.frame["EVI"].to_numpy()[::24]
    assert np.corrcoef(evi, simulated.land.lai)[0, 1] > 0.8
    assert (simulated.frame["LST_Day"] - simulated.frame["LST_Night"]).mean() > 3


def test_solar_covariates_come_from_place_and_time() -> None:
    simulated = tower("AU-ASM")
    expected = solar_covariates(simulated.time, lat=simulated.facts.lat, lon=simulated.facts.lon, utc_offset_h=9.5)
    assert simulated.utc_offset_h == 9.5
    for name, values in expected.items():
        np.testing.assert_array_equal(simulated.frame[name].to_numpy(), values)


def test_offsets_put_noon_near_noon() -> None:
    for facts in load_sites().values():
        if facts.in_benchmark:
            assert abs(utc_offset(facts) - facts.lon / 15.0) < 2.0, facts.site_id


def test_seed_and_id_determine_the_tower() -> None:
    facts, hours = load_sites()["DE-Hai"], hours_of_years(2019, 2019)
    once, again = simulate_site(facts, hours, seed=5), simulate_site(facts, hours, seed=5)
    assert once.frame.equals(again.frame)
    other_seed = simulate_site(facts, hours, seed=6)
    assert not np.allclose(once.frame["TA"].to_numpy(), other_seed.frame["TA"].to_numpy())
    other_site = simulate_site(load_sites()["DE-Tha"], hours, seed=5)
    assert abs(np.corrcoef(once.weather.cloud, other_site.weather.cloud)[0, 1]) < 0.2


def test_every_class_and_place_can_be_simulated() -> None:
    for igbp in ("SNO", "BSV", "WAT", "URB", "CVM", "DNF", "CSH"):
        for lat in (78.0, 0.0, -54.0):
            simulated = simulate_site(SiteFacts("XX-ANY", None, lat, 15.0, igbp), hours_of_years(2019, 2019))
            check_frame(simulated.frame, site="XX-ANY", targets=TARGETS, covariates=COVARIATES)
            assert simulated.frame.select(*TARGETS).null_count().sum_horizontal()[0] == 0


@pytest.mark.parametrize(
    ("hours", "words"),
    [
        (hours_of_years(2019, 2019)[:25], "25 hours"),
        (hours_of_years(2019, 2019)[1:25], "begin at"),
        (np.delete(hours_of_years(2019, 2019)[:49], 30), "not consecutive"),
        (np.array([], dtype="datetime64[s]"), "0 hours"),
    ],
)
def test_bad_hours_are_refused(hours: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        simulate_site(load_sites()["DE-Hai"], hours)
