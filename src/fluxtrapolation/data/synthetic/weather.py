"""Weather of one tower: seasons, fronts, days and clouds, as daily and hourly noise around the climate.

Structure: temperature is a smooth year, a synoptic autoregressive anomaly and the lagged response of the ground to the
sun; clouds follow a wetness anomaly that also brings the rain (a threshold of the same anomaly, hence wet days cluster,
Richardson 1981) and cools summers and warms winters; humidity follows the night's minimum temperature, as the dew point
does where water is not short (Kimball et al. 1997).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.data.synthetic.climate import Climate
from fluxtrapolation.data.synthetic.recursion import red_noise, smooth

Array = NDArray[np.float32]

HOURS = 24


@dataclass(frozen=True, slots=True)
class Weather:
    """Weather of one tower; ``n`` hours are ``days`` whole days.

    Attributes
    ----------
    ta, vpd, sw_in, wind : ndarray of float32, shape (n,)
        degC, hPa, W m-2, m s-1.
    vapour : ndarray of float32, shape (n,)
        Actual vapour pressure, hPa.
    cloud : ndarray of float32, shape (n,)
        Cloudiness, 0 to 1.
    precipitation : ndarray of float32, shape (days,)
        mm per day.
    tmin, tmax, tmean, vpd_day, sw_day : ndarray of float32, shape (days,)
        Of the day; ``vpd_day`` is the mean of the six hours after noon.
    """

    ta: Array
    vpd: Array
    sw_in: Array
    wind: Array
    vapour: Array
    cloud: Array
    precipitation: Array
    tmin: Array
    tmax: Array
    tmean: Array
    vpd_day: Array
    sw_day: Array


def saturation_pressure(ta: Array) -> Array:
    """Saturation vapour pressure over water, hPa, at ``ta`` degC (Alduchov and Eskridge 1996)."""
    return np.asarray(np.float32(6.1094) * np.exp(np.float32(17.625) * ta / (ta + np.float32(243.04))))


def to_hours(daily: NDArray[np.floating]) -> Array:
    """Daily values, held at noon, on hours by straight lines; shape (days,) to (24 days,)."""
    values = np.asarray(daily, dtype=np.float32)
    before = np.concatenate([values[:1], values[:-1]])
    after = np.concatenate([values[1:], values[-1:]])
    # Weight of the neighbour at the middle of each hour: the first half of the day looks back, the second ahead.
    back = np.maximum(0.5 - (np.arange(HOURS) + 0.5) / HOURS, 0.0).astype(np.float32)
    ahead = np.maximum((np.arange(HOURS) + 0.5) / HOURS - 0.5, 0.0).astype(np.float32)
    grid = values[:, None] * (1.0 - back - ahead) + before[:, None] * back + after[:, None] * ahead
    return np.asarray(grid.reshape(-1), dtype=np.float32)


@cache
def _quantile_table() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    share = np.linspace(0.005, 0.995, 199)
    return share, np.array([NormalDist().inv_cdf(float(p)) for p in share])


def _rain(climate: Climate, season: Array, wetness: Array, rng: np.random.Generator) -> Array:
    """Daily rain, mm. A day is wet when a relative of the wetness anomaly passes the season's threshold."""
    n = wetness.size
    swing = np.float32(climate.rain_swing) * season
    chance = np.clip(climate.rain_fraction * (1.0 + 0.7 * swing), 0.02, 0.9)
    share, score = _quantile_table()
    trigger = 0.85 * wetness + 0.527 * rng.standard_normal(n, dtype=np.float32)
    wet = trigger > np.interp(1.0 - chance, share, score)
    mean_fall = climate.map / 365.25 / climate.rain_fraction
    # A Weibull fall of shape 0.75 has a heavier tail than the exponential (Wilks 1999); 1.1906 is its mean.
    fall = rng.standard_exponential(n, dtype=np.float32) ** np.float32(1.0 / 0.75) / 1.1906
    return np.asarray(np.where(wet, mean_fall * fall, 0.0), dtype=np.float32)


def _temperature(
    climate: Climate, season: Array, year: NDArray[np.int64], wetness: Array, rng: np.random.Generator
) -> Array:
    """Daily mean temperature, degC, before the clouds' direct effect on the day's course."""
    n = season.size
    fast, slow = red_noise(rng, n, 0.68), red_noise(rng, n, 0.96)
    front = np.float32(0.92) * fast + np.float32(0.39) * slow
    sd = np.float32(climate.weather_sd) * (1.0 - 0.28 * season)
    yearly = rng.normal(0.0, 0.45, size=int(year.max()) + 1).astype(np.float32)[year]
    mean = np.float32(climate.mat) + np.float32(climate.half_range) * season
    return np.asarray(mean + yearly + sd * (front - 0.3 * season * wetness), dtype=np.float32)


def make_weather(
    climate: Climate,
    day_of_year: NDArray[np.int64],
    year: NDArray[np.int64],
    potential: Array,
    rng: np.random.Generator,
) -> Weather:
    """Draw the weather of one tower.

    Parameters
    ----------
    climate : Climate
    day_of_year : ndarray of int, shape (days,)
        From 0.
    year : ndarray of int, shape (days,)
        From 0 for the first year.
    potential : ndarray of float32, shape (24 * days,)
        Potential radiation, W m-2.
    rng : numpy.random.Generator
    """
    days = day_of_year.size
    n = days * HOURS
    season = np.cos(2.0 * np.pi * (day_of_year - climate.warmest_day) / 365.25).astype(np.float32)
    wetness = red_noise(rng, days, 0.42)
    rain = _rain(climate, season, wetness, rng)
    daily_ta = _temperature(climate, season, year, wetness, rng)

    # Clouds: logistic of the wetness anomaly, the season's mean and fast noise within the day.
    # Winters are cloudier than their rain tells, away from the tropics.
    swing = np.float32(0.7 * climate.rain_swing - (0.5 if climate.half_range > 4.0 else 0.0)) * season
    centre = np.float32(np.clip(-1.75 + 1.45 * min(climate.aridity, 1.3), -1.8, 0.2))
    logit = to_hours(centre + swing + 1.3 * wetness) + np.float32(1.15) * red_noise(rng, n, 0.78)
    cloud = 1.0 / (1.0 + np.exp(-logit))
    clear = np.float32(0.62) + np.float32(0.24) * np.minimum(potential / np.float32(450.0), 1.0)
    sw_in = np.asarray(potential * clear * (1.0 - np.float32(0.80) * cloud), dtype=np.float32)

    # Course of the day: the ground answers to the sun with a lag of about 3 h, so it is warmest in mid-afternoon.
    answer = smooth(sw_in, 3.5, 0.0)
    by_day = answer.reshape(days, HOURS)
    strong = by_day[by_day.mean(axis=1) >= np.quantile(by_day.mean(axis=1), 0.7)].mean(axis=0)
    gain = np.float32(climate.daily_range / max(float(np.ptp(strong)), 1.0))
    # Winter's shallow boundary layer warms more per unit of sun than summer's deep one.
    light_of_day = smooth(potential.reshape(days, HOURS).mean(axis=1), 3.0)
    stable = 1.0 / np.maximum(np.sqrt(light_of_day / light_of_day.max()), 0.45)
    ta = to_hours(daily_ta) + gain * to_hours(stable) * (answer - to_hours(by_day.mean(axis=1)))
    ta += np.float32(0.8) * red_noise(rng, n, 0.86) + np.float32(0.25 * climate.weather_sd) * red_noise(rng, n, 0.97)

    # Humidity: dew point below the night's minimum by the dryness of the climate and of the days. The air's moisture
    # follows a warm spell with delay, so hot days are dry days.
    grid = ta.reshape(days, HOURS)
    tmin, tmax = grid.min(axis=1), grid.max(axis=1)
    dryness = 0.6 + 12.0 * max(0.0, 0.85 - climate.aridity)
    spell = np.exp(0.32 * red_noise(rng, days, 0.94) + 0.16 * rng.normal(size=int(year.max()) + 1)[year])
    deficit = dryness * (1.0 + 0.45 * season) * spell - 0.9 * wetness + 1.3 * red_noise(rng, days, 0.8)
    moist = 0.62 * tmin + 0.38 * smooth(tmin, 9.0)
    dew_point = to_hours(moist - np.maximum(deficit, -0.5))
    vapour = np.minimum(saturation_pressure(dew_point), saturation_pressure(ta))
    vpd = saturation_pressure(ta) - vapour

    light = np.minimum(potential / np.float32(600.0), 1.0)
    gusts = np.exp(np.float32(0.55) * red_noise(rng, n, 0.93))
    wind = np.float32(2.3 * np.exp(0.25 * rng.normal())) * gusts * (0.75 + 0.55 * light)
    return Weather(
        ta=ta,
        vpd=vpd,
        sw_in=sw_in,
        wind=np.asarray(wind, dtype=np.float32),
        vapour=vapour,
        cloud=np.asarray(cloud, dtype=np.float32),
        precipitation=rain,
        tmin=tmin,
        tmax=tmax,
        tmean=grid.mean(axis=1),
        vpd_day=vpd.reshape(days, HOURS)[:, 12:18].mean(axis=1),
        sw_day=sw_in.reshape(days, HOURS).mean(axis=1),
    )
