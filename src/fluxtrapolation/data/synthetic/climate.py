"""Long-term climate of a place, and an invented network of towers.

The annual means come from the tower's facts where they are known, else from latitude. What no table tells (range of
the year, range of the day, season and number of the rainy days) follows simple rules of climatology with some chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fluxtrapolation.data.sites import SiteFacts

# Invented network: weight, centre and spread of latitude and longitude (degrees). The weights follow the crowding of
# FLUXNET's towers in Europe and North America (Pastorello et al. 2020, fig. 2).
_REGIONS = (
    (0.36, 49.0, 6.0, 10.0, 8.0),  # Europe
    (0.06, 63.0, 3.0, 23.0, 6.0),  # northern Europe
    (0.30, 40.0, 6.0, -96.0, 18.0),  # North America
    (0.09, 58.0, 5.0, -115.0, 20.0),  # boreal North America
    (0.06, -31.0, 6.0, 143.0, 7.0),  # Australia
    (0.06, 37.0, 8.0, 110.0, 12.0),  # eastern Asia
    (0.04, -12.0, 10.0, -56.0, 6.0),  # South America
    (0.03, 5.0, 10.0, 20.0, 10.0),  # Africa
)

_WARMEST = 31.0
"""degC; no tower has a warmer year."""


@dataclass(frozen=True, slots=True)
class Climate:
    """Long-term climate of one place.

    Attributes
    ----------
    mat, map : float
        Mean annual air temperature, degC, and precipitation, mm.
    half_range : float
        Half the range of the monthly mean temperature over the year, K.
    warmest_day : float
        Day of the year (0 to 365) of the warmest smooth mean.
    daily_range : float
        Mean range of the temperature over a day under an average sky, K.
    rain_fraction : float
        Share of days with rain, yearly mean.
    rain_swing : float
        Seasonality of rain, -1 (winter rain) to 1 (summer rain).
    aridity : float
        Precipitation over potential evaporation (Turc 1961): below 0.5 semi-arid, above 1 humid.
    weather_sd : float
        Standard deviation of daily temperature about its seasonal mean, K.
    """

    mat: float
    map: float
    half_range: float
    warmest_day: float
    daily_range: float
    rain_fraction: float
    rain_swing: float
    aridity: float
    weather_sd: float


def potential_evaporation(mat: float) -> float:
    """Yearly evaporative demand, mm, at mean temperature ``mat`` degC: Turc's L = 300 + 25 T + 0.05 T^3 (1961)."""
    t = max(mat, 0.0)
    return 300.0 + 25.0 * t + 0.05 * t**3


def _half_range(lat: float, lon: float) -> float:
    """Half the yearly range of temperature, K: grows with latitude, and with the distance from a western coast."""
    height = abs(lat)
    if lat < 0:
        slope = 0.16
    elif -15.0 < lon < 60.0 and lat > 34.0:
        slope = 0.15 + 0.0028 * (lon + 10.0)  # Atlantic coast to continental Russia
    elif lon <= -15.0:
        slope = 0.17 if lon < -120.0 and lat < 52.0 else 0.295
        slope += 0.05 if lat > 52.0 else 0.0
    else:
        slope = 0.34 if lat > 25.0 else 0.2
    return float(max(0.8, 0.94 * slope * height * min(1.0, 0.35 + height / 40.0)))


def climate_of(facts: SiteFacts, rng: np.random.Generator) -> Climate:
    """Climate of a tower from its facts; what is not known is drawn.

    Parameters
    ----------
    facts : SiteFacts
    rng : numpy.random.Generator
        A stream of this tower alone.
    """
    lat, lon = facts.lat, facts.lon
    chance = rng.normal(size=6)
    height = abs(lat)
    usual = 27.5 - 0.0095 * height**2
    mat = facts.mat_c if facts.mat_c is not None else usual + 1.5 * chance[0]
    if mat > _WARMEST:
        mat = usual  # a mistake in the table (US-A32 and US-A74, in Oklahoma, are listed with 33.9 degC)
    half_range = _half_range(lat, lon) * np.exp(0.08 * chance[1])
    demand = potential_evaporation(mat)
    rain = facts.map_mm if facts.map_mm is not None else demand * np.exp(0.05 + 0.35 * chance[2])
    aridity = rain / demand
    fraction = np.clip(0.12 + 0.24 * min(aridity, 1.6) + 0.04 * chance[3], 0.05, 0.62)
    mediterranean = (28.0 < height < 44.0) and (lon < -114.0 or -12.0 < lon < 40.0 or (lat < 0 and 112.0 < lon < 140.0))
    swing = -0.75 if mediterranean else (0.85 if height < 24.0 else 0.2)
    return Climate(
        mat=float(mat),
        map=float(max(rain, 30.0)),
        half_range=float(half_range),
        warmest_day=203.0 if lat >= 0 else 20.0,
        daily_range=float(np.clip(10.4 + 4.0 * max(0.0, 1.1 - aridity) + 0.9 * chance[4], 6.0, 18.0)),
        rain_fraction=float(fraction),
        rain_swing=float(np.clip(swing + 0.12 * chance[5], -0.9, 0.9)),
        aridity=float(aridity),
        weather_sd=float(np.clip(0.8 + 0.062 * height + 0.04 * half_range, 0.8, 4.8)),
    )


def igbp_of(mat: float, rain: float, lat: float, rng: np.random.Generator) -> str:
    """An IGBP class for a climate: Whittaker's (1975) biomes by temperature and rain, with chance and land use."""
    aridity = rain / potential_evaporation(mat)
    draw = rng.random()
    if draw < 0.10:
        return "WET"
    if draw < 0.24 and 4.0 < mat < 24.0 and aridity > 0.4:
        return "CRO"
    pick = rng.random()
    options: tuple[tuple[str, float], ...]
    if mat < -3.0:
        options = (("OSH", 0.4), ("ENF", 0.8), ("GRA", 1.0))
    elif mat < 5.0:
        options = (("ENF", 0.7), ("DNF", 0.75), ("MF", 0.85), ("GRA", 1.0))
    elif aridity < 0.35:
        options = (("OSH", 0.45), ("GRA", 0.8), ("CSH", 1.0)) if mat < 20.0 else (("OSH", 0.4), ("SAV", 1.0))
    elif aridity < 0.75:
        options = (("GRA", 0.4), ("WSA", 0.6), ("ENF", 0.85), ("CSH", 1.0))
        if mat >= 19.0:
            options = (("SAV", 0.4), ("WSA", 0.75), ("GRA", 1.0))
    elif mat >= 19.0 and abs(lat) < 32.0:
        options = (("EBF", 0.75), ("GRA", 1.0))
    else:
        options = (("DBF", 0.35), ("ENF", 0.65), ("MF", 0.75), ("GRA", 1.0))
    return next(name for name, upto in options if pick <= upto)


def invented_site(number: int, seed: int = 0) -> SiteFacts:
    """The ``number``-th tower (1, 2, ...) of the invented network, as ``XX-001``; no real tower has such an id.

    Parameters
    ----------
    number : int
    seed : int, default 0
        Seed of the network; the same number and seed always give the same tower.
    """
    rng = np.random.default_rng([seed, 41, number])
    weights = np.array([region[0] for region in _REGIONS])
    _, lat0, lat_sd, lon0, lon_sd = _REGIONS[rng.choice(len(_REGIONS), p=weights / weights.sum())]
    lat = float(np.clip(rng.normal(lat0, lat_sd), -54.0, 78.0))
    lon = float(rng.normal(lon0, lon_sd))
    # Sea-level mean by latitude less 6.5 K per km of an exponentially rare altitude.
    mat = 27.5 - 0.0095 * lat * lat + rng.normal(0.0, 2.0) - 6.5 * min(rng.exponential(0.35), 2.5)
    rain = potential_evaporation(mat) * np.exp(rng.normal(0.1 if abs(lat) > 40.0 else -0.15, 0.5))
    igbp = igbp_of(mat, rain, lat, rng)
    return SiteFacts(
        site_id=f"XX-{number:03d}",
        name=f"Invented tower {number}",
        lat=round(lat, 4),
        lon=round(lon, 4),
        igbp=igbp,
        mat_c=round(float(mat), 1),
        map_mm=round(float(np.clip(rain, 60.0, 4000.0))),
        network="invented",
    )


def utc_offset(facts: SiteFacts) -> float:
    """A plausible offset of local standard time from UTC, hours.

    The known offset of the tower; else the zones that lie off their meridian (western Europe, central Australia,
    Newfoundland, India); else longitude / 15, rounded.
    """
    if facts.true_utc_offset_h is not None:
        return facts.true_utc_offset_h
    lat, lon = facts.lat, facts.lon
    country = facts.site_id[:2]
    if country in ("ES", "FR", "BE", "NL", "CH", "DE", "IT", "DK", "CZ"):
        return 1.0
    if country in ("UK", "IE", "PT"):
        return 0.0
    if country == "AU":
        return 8.0 if lon < 129.0 else (9.5 if lon < 138.0 or (lon < 141.0 and lat < -26.0) else 10.0)
    if country == "IN":
        return 5.5
    if country == "CA" and lon > -59.5:
        return -3.5
    return float(round(lon / 15.0))
