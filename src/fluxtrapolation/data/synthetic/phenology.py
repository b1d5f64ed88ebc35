"""Leaves, snow and soil water day by day; all hidden from the models.

Leaves of wild plants follow the growing season index of Jolly et al. (2005); crops follow a calendar of sowing and
harvest; mown grass loses its leaves some times a year. Soil water is a bucket (Manabe 1969) with a degree-day snow
cover and a thin top layer for evaporation from the ground.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.data.synthetic.traits import CROPS, Traits
from fluxtrapolation.data.synthetic.weather import Array, Weather

_MELT = 3.0
"""Degree-day melt, mm K-1 d-1."""
_TOP_MM = 12.0
"""Water that the top layer holds, mm."""


@dataclass(frozen=True, slots=True)
class LandState:
    """Daily hidden states, each of shape (days,).

    Attributes
    ----------
    lai : ndarray of float32
        Leaf area index, m2 m-2.
    soil_water, top_water : ndarray of float32
        Relative water content of the root zone and the top layer, 0 to 1.
    snow : ndarray of float32
        Water in the snow cover, mm.
    crop_capacity : ndarray of float32
        Factor on assimilation of the year's crop (1 where nothing is sown).
    """

    lai: Array
    soil_water: Array
    top_water: Array
    snow: Array
    crop_capacity: Array


def day_length(lat: float, day_of_year: NDArray[np.int64]) -> Array:
    """Hours of daylight (Forsythe et al. 1995, with the simple declination of Spencer's first harmonic)."""
    declination = -np.radians(23.44) * np.cos(2.0 * np.pi * (day_of_year + 10.0) / 365.25)
    cosine = np.clip(-np.tan(np.radians(np.clip(lat, -89.0, 89.0))) * np.tan(declination), -1.0, 1.0)
    return np.asarray(24.0 / np.pi * np.arccos(cosine), dtype=np.float32)


def _rise(day: NDArray[np.floating], at: float, pace: float) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(np.clip((at - day) / pace, -30.0, 30.0))))


def crop_calendar(
    traits: Traits, day_of_year: NDArray[np.int64], year: NDArray[np.int64], *, lat: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Share of full leaf and factor on capacity of each day of a crop rotation, both of shape (days,).

    In the south the calendar is shifted by half a year; in the warm belt spring comes earlier.
    """
    years = int(year.max()) + 1
    kinds = [int(rng.integers(len(CROPS)))]
    for _ in range(years):
        kinds.append(int(rng.integers(len(CROPS))) if rng.random() < traits.rotation else kinds[-1])
    shift = rng.normal(0.0, 7.0, size=years + 1) - 1.1 * (48.0 - abs(lat))
    vigour = np.exp(rng.normal(0.0, 0.13, size=years + 1))
    if lat < 0:
        turned = day_of_year + 182
        season_year = year + turned // 365
        day = turned % 365
    else:
        day, season_year = day_of_year, year
    cover = np.zeros(day.size)
    capacity = np.ones(day.size)
    for number in range(years + 1):
        rows = season_year == number
        kind = CROPS[kinds[number]]
        d = day[rows] - shift[number]
        if kind == "winter cereal":
            leaf = _rise(d, 112.0, 9.0) * (1.0 - _rise(d, 186.0, 5.0)) + 0.22 * _rise(d, 295.0, 8.0)
            leaf += 0.22 * (1.0 - _rise(d, 112.0, 9.0))
        elif kind == "summer row crop":
            leaf = _rise(d, 172.0, 8.0) * (1.0 - _rise(d, 252.0, 7.0))
        else:
            leaf = _rise(d, 103.0, 9.0) * (1.0 - _rise(d, 192.0, 6.0)) + 0.3 * (1.0 - _rise(d, 103.0, 9.0))
            leaf += 0.3 * _rise(d, 270.0, 8.0)
        cover[rows] = leaf
        capacity[rows] = vigour[number] * {"winter cereal": 0.95, "summer row crop": 1.2, "oilseed": 0.85}[kind]
    return np.clip(cover, 0.02, 1.0).astype(np.float32), capacity.astype(np.float32)


def mowing(day_of_year: NDArray[np.int64], year: NDArray[np.int64], *, lat: float, rng: np.random.Generator) -> Array:
    """Share of leaf left after the last cut, shape (days,): two to four cuts a year, regrowth in about three weeks."""
    day = (day_of_year + (182 if lat < 0 else 0)) % 365
    left = np.ones(day.size)
    for number in range(int(year.max()) + 1):
        cuts = 145.0 + np.arange(int(rng.integers(2, 5))) * rng.uniform(35.0, 50.0) + rng.normal(0.0, 6.0)
        for cut in cuts[cuts < 290.0]:
            after = (day - cut)[rows := year == number]
            left[rows] *= np.where(after >= 0, 1.0 - 0.65 * np.exp(-np.maximum(after, 0.0) / 18.0), 1.0)
    return left.astype(np.float32)


def _demand(weather: Weather) -> Array:
    """Potential evaporation, mm d-1 (Priestley and Taylor 1972), from a rough daily net radiation."""
    ta = weather.tmean
    slope = 4098.0 * 6.1094 * np.exp(17.625 * ta / (ta + 243.04)) / (ta + 243.04) ** 2
    net = np.maximum(0.80 * weather.sw_day - 45.0 * (1.0 - 0.6 * weather.cloud.reshape(-1, 24).mean(axis=1)), 0.0)
    return np.asarray(1.26 * slope / (slope + 0.66) * net * 86400.0 / 2.45e6, dtype=np.float32)


def _season_index(weather: Weather, length: Array) -> Array:
    """Growing season index without its water part: minimum temperature, vapour pressure deficit, day length."""
    warm = np.clip((weather.tmin + 2.0) / 7.0, 0.0, 1.0)
    humid = 1.0 - np.clip((weather.vpd_day - 9.0) / 32.0, 0.0, 1.0)
    light = np.clip(length - 10.0, 0.0, 1.0)
    return np.asarray(warm * humid * light, dtype=np.float32)


def run_land(
    weather: Weather,
    traits: Traits,
    day_of_year: NDArray[np.int64],
    year: NDArray[np.int64],
    *,
    lat: float,
    rng: np.random.Generator,
) -> LandState:
    """Step leaves, snow and soil water through the days, after a first year of spin-up.

    The water taken from the bucket is ``demand * (cover + bare) * limit``; the hourly evapotranspiration of
    :mod:`~fluxtrapolation.data.synthetic.fluxes` uses the same water but is computed apart, so the bucket's balance
    closes only about (a test bounds the difference over years).
    """
    index = _season_index(weather, day_length(lat, day_of_year))
    sown = np.full(index.size, -1.0, dtype=np.float32)
    capacity = np.ones(index.size, dtype=np.float32)
    if traits.rotation > 0:
        sown, capacity = crop_calendar(traits, day_of_year, year, lat=lat, rng=rng)
    cut = mowing(day_of_year, year, lat=lat, rng=rng) if traits.managed else np.ones(index.size, dtype=np.float32)

    spin = min(365, index.size)
    order = np.concatenate([np.arange(spin), np.arange(index.size)])
    forcing = np.column_stack([index, sown, cut, weather.precipitation, weather.tmean, _demand(weather)])[order]
    states = _step_days(forcing.tolist(), traits)[spin:]
    lai, soil, top, snow = np.asarray(states, dtype=np.float32).T
    return LandState(lai=lai, soil_water=soil, top_water=top, snow=snow, crop_capacity=capacity)


def _step_days(forcing: list[list[float]], traits: Traits) -> list[tuple[float, float, float, float]]:
    """The daily loop over (index, sown share or -1, share left by cuts, rain, temperature, demand)."""
    hold, lai_max, lai_min, threshold = traits.root_mm, traits.lai_max, traits.lai_min, traits.water_threshold
    floor = 0.75 if traits.groundwater else (0.62 if traits.irrigated else 0.0)
    top_floor = 0.7 * _TOP_MM if traits.groundwater else 0.0
    water, top, snow, leaf = 0.6 * hold, 0.5 * _TOP_MM, 0.0, 0.5
    states = []
    for index, sown, cut, rain, ta, demand in forcing:
        if ta < 0.5:
            snow += rain
            rain = 0.0
        elif snow > 0.0:
            melt = min(snow, _MELT * (ta - 0.5) + 0.5)
            snow -= melt
            rain += melt
        wet = water / hold
        if sown < 0.0:
            # Leaves follow the index with a memory of 14 days; drought sheds them.
            target = index * min(1.0, wet / (0.7 * threshold))
            leaf += (lai_min + (1.0 - lai_min) * target - leaf) / 14.0
            share = leaf
        else:
            leaf += (sown * (0.4 + 0.6 * min(1.0, wet / threshold)) - leaf) / 4.0
            share = max(leaf, 0.02)
        lai = lai_max * share * cut
        bare = 0.55**lai
        taken = 0.0 if ta < -1.0 else demand * (1.0 - bare) * 0.85 * min(1.0, wet / threshold)
        dried = 0.0 if snow > 0.0 else demand * bare * 0.8 * (top / _TOP_MM) ** 1.5
        top += rain - dried
        spill = max(0.0, top - _TOP_MM)
        top = max(top_floor, top - spill)
        # The top layer also feeds the roots below it.
        seep = 0.12 * top
        top -= seep
        water += spill + seep - taken
        if water > hold:
            water -= 0.7 * (water - hold)
            water = min(water, 1.15 * hold)
        water = max(water, floor * hold, 0.0)
        states.append((lai, min(water / hold, 1.0), top / _TOP_MM, snow))
    return states
