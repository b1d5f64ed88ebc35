"""One simulated tower: facts and hours in, covariates, observed fluxes and all hidden states out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from fluxtrapolation.data.manifest import SiteRecord
from fluxtrapolation.data.sites import SiteFacts
from fluxtrapolation.data.solar import solar_covariates
from fluxtrapolation.data.synthetic.climate import Climate, climate_of, utc_offset
from fluxtrapolation.data.synthetic.fluxes import (
    TrueFluxes,
    assimilation,
    evapotranspiration,
    net_radiation,
    respiration,
)
from fluxtrapolation.data.synthetic.observation import gaps, observe, satellite
from fluxtrapolation.data.synthetic.phenology import LandState, run_land
from fluxtrapolation.data.synthetic.recursion import red_noise
from fluxtrapolation.data.synthetic.traits import Traits, draw_traits
from fluxtrapolation.data.synthetic.weather import HOURS, Array, Weather, make_weather
from fluxtrapolation.errors import DataError
from fluxtrapolation.schema import QC, TIME

LICENCE = "CC0-1.0"


@dataclass(frozen=True, slots=True)
class SimulatedSite:
    """A simulated tower with everything that a real one hides.

    Attributes
    ----------
    facts : SiteFacts
    climate : Climate
    traits : Traits
    utc_offset_h : float
        Local standard time minus UTC.
    time : ndarray of datetime64[s], shape (n,)
        Start of each hour, local standard time.
    frame : polars.DataFrame
        What a store holds: ``time``, the 12 hourly covariates, ``GPP, NEE, ET``, ``qc_mask``.
    weather : Weather
    land : LandState
    truth : TrueFluxes
    """

    facts: SiteFacts
    climate: Climate
    traits: Traits
    utc_offset_h: float
    time: NDArray[np.datetime64]
    frame: pl.DataFrame
    weather: Weather
    land: LandState
    truth: TrueFluxes

    @property
    def hidden(self) -> pl.DataFrame:
        """Hidden states by the hour: soil water, leaf area, snow, rain, wind, cloud, and the noise-free fluxes."""
        daily = {
            "soil_water": self.land.soil_water,
            "top_water": self.land.top_water,
            "lai": self.land.lai,
            "snow_mm": self.land.snow,
            "rain_mm_per_day": self.weather.precipitation,
        }
        return pl.DataFrame(
            {
                TIME: self.time.astype("datetime64[us]"),
                **{name: np.repeat(values, HOURS) for name, values in daily.items()},
                "wind": self.weather.wind,
                "cloud": self.weather.cloud,
                "net_radiation": self.truth.net_radiation,
                "gpp": self.truth.gpp,
                "reco": self.truth.reco,
                "nee": self.truth.nee,
                "et": self.truth.et,
            }
        )

    def record(self) -> SiteRecord:
        """The tower's row of a store's site table; its name says that it is simulated."""
        facts = self.facts
        first = datetime.fromisoformat(str(self.time[0]))
        return SiteRecord(
            site_id=facts.site_id,
            name=f"{facts.name or facts.site_id} (simulated)",
            lat=facts.lat,
            lon=facts.lon,
            igbp=facts.igbp,
            network=f"{facts.network or 'unknown'} (simulated)",
            mat_c=round(self.climate.mat, 2),
            map_mm=round(self.climate.map, 1),
            utc_offset_h=self.utc_offset_h,
            native_step_min=60,
            first_hour=first,
            last_hour=datetime.fromisoformat(str(self.time[-1])),
            hours=self.time.size,
            measured_hours=int(self.frame[QC].sum()),
            licence=LICENCE,
            source="synthetic",
        )


def site_streams(site_id: str, seed: int) -> list[np.random.Generator]:
    """Independent random streams of one tower: climate, traits, weather, land, anomalies, instruments.

    They depend on the seed and the site id only, so a tower is the same in a world of 5 or of 500.
    """
    key = int.from_bytes(hashlib.sha256(site_id.encode()).digest()[:8], "little")
    return [np.random.default_rng(child) for child in np.random.SeedSequence([seed, key]).spawn(6)]


def hours_of_years(first: int, last: int) -> NDArray[np.datetime64]:
    """Start of every hour from 1 January of ``first`` to 31 December of ``last``."""
    start = np.datetime64(f"{first:04d}-01-01T00", "h")
    return np.arange(start, np.datetime64(f"{last + 1:04d}-01-01T00", "h")).astype("datetime64[s]")


def _whole_days(hours: ArrayLike) -> NDArray[np.datetime64]:
    time = np.asarray(hours).astype("datetime64[s]")
    problem = None
    if time.size == 0 or time.size % HOURS:
        problem = f"there are {time.size} hours"
    elif time[0] != time[0].astype("datetime64[D]"):
        problem = f"they begin at {time[0]}"
    elif not (np.diff(time) == np.timedelta64(3600, "s")).all():
        problem = "they are not consecutive"
    if problem:
        raise DataError(f"A tower is simulated over whole, consecutive days of hours; {problem}. Use hours_of_years().")
    return time


def _anomalies(traits: Traits, year: NDArray[np.int64], rng: np.random.Generator) -> tuple[Array, Array]:
    """Factors on canopy capacity and on heterotrophic respiration, each of shape (days,): yearly and slow ones."""
    years, days = int(year.max()) + 1, year.size
    capacity = rng.normal(0.0, traits.year_sd, size=years)[year] + 0.22 * red_noise(rng, days, 0.972)
    decay = rng.normal(0.0, 0.18, size=years)[year] + 0.18 * red_noise(rng, days, 0.972)
    # From day to day the wind brings the flux of other parts of the stand.
    capacity += 0.16 * red_noise(rng, days, 0.35)
    decay += 0.16 * red_noise(rng, days, 0.35)
    return np.exp(capacity).astype(np.float32), np.exp(decay).astype(np.float32)


def simulate_site(facts: SiteFacts, hours: ArrayLike, *, seed: int = 1) -> SimulatedSite:
    """Simulate one tower.

    Parameters
    ----------
    facts : SiteFacts
        Coordinates and IGBP class; mean climate where known.
    hours : array_like of datetime64, shape (n,)
        Starts of consecutive hours of whole days, local standard time.
    seed : int, default 1
        Together with the site id it determines everything.

    Returns
    -------
    SimulatedSite

    Raises
    ------
    DataError
        If the hours are not whole consecutive days.
    """
    time = _whole_days(hours)
    places, kinds, skies, fields, moods, instruments = site_streams(facts.site_id, seed)
    climate = climate_of(facts, places)
    traits = draw_traits(facts.igbp, aridity=climate.aridity, mat=climate.mat, rng=kinds)
    offset = utc_offset(facts)
    solar = solar_covariates(time, lat=facts.lat, lon=facts.lon, utc_offset_h=offset)
    potential = solar["SW_IN_POT_hourly"]

    day = time[::HOURS].astype("datetime64[D]")
    calendar_year = day.astype("datetime64[Y]")
    day_of_year = (day - calendar_year.astype("datetime64[D]")).astype(np.int64)
    year = (calendar_year - calendar_year[0]).astype(np.int64)

    weather = make_weather(climate, day_of_year, year, potential, skies)
    land = run_land(weather, traits, day_of_year, year, lat=facts.lat, rng=fields)
    capacity, decay = _anomalies(traits, year, moods)
    gpp = assimilation(weather, land, traits, climate, capacity, potential)
    reco = respiration(weather, land, traits, gpp, decay)
    net = net_radiation(weather, land, traits)
    truth = TrueFluxes(gpp, reco, evapotranspiration(weather, land, traits, gpp, net), net)

    seen = observe(truth, traits, gaps(weather, potential, instruments), instruments)
    frame = pl.DataFrame(
        {
            TIME: time.astype("datetime64[us]"),
            "TA": weather.ta,
            "VPD": weather.vpd,
            "SW_IN": weather.sw_in,
            **solar,
            **satellite(weather, land, traits, instruments),
            "GPP": seen.gpp,
            "NEE": seen.nee,
            "ET": seen.et,
            QC: seen.qc,
        }
    )
    return SimulatedSite(facts, climate, traits, offset, time, frame, weather, land, truth)
