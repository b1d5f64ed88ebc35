"""Potential radiation: the sun above the atmosphere, averaged exactly over each hour.

Solar position follows the low-accuracy series of Meeus (1998, Astronomical Algorithms, ch. 25; about 0.01 degree),
as used by NOAA's solar calculator. The mean over an interval is the closed-form integral of the cosine of the zenith
angle between the interval's hour angles, clipped at sunrise and sunset, not a sample at its middle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluxtrapolation.errors import DataError
from fluxtrapolation.schema import SOLAR_CONSTANT

_J2000 = np.datetime64("2000-01-01T12:00:00", "s")
_TWO_PI = 2.0 * np.pi

Floats = NDArray[np.float64]


def solar_position(time_utc: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Declination, equation of time and inverse squared distance of the sun.

    Parameters
    ----------
    time_utc : array_like of datetime64, shape (n,)
        Instants in UTC.

    Returns
    -------
    declination : ndarray, shape (n,)
        Radians.
    equation_of_time : ndarray, shape (n,)
        Apparent minus mean solar time, radians of hour angle.
    inverse_distance_squared : ndarray, shape (n,)
        (1 astronomical unit / distance) squared, dimensionless.

    Source: Meeus (1998), chapters 22, 25 and 28.
    """
    seconds = (np.asarray(time_utc, dtype="datetime64[s]") - _J2000).astype(np.float64)
    century = seconds / (86400.0 * 36525.0)
    mean_longitude = np.radians(280.46646 + century * (36000.76983 + 0.0003032 * century))
    anomaly = np.radians(357.52911 + century * (35999.05029 - 0.0001537 * century))
    eccentricity = 0.016708634 - century * (0.000042037 + 0.0000001267 * century)
    sin_m, cos_m = np.sin(anomaly), np.cos(anomaly)
    sin_2m = 2.0 * sin_m * cos_m
    sin_3m = sin_m * (3.0 - 4.0 * sin_m * sin_m)
    centre = np.radians(
        sin_m * (1.914602 - century * (0.004817 + 0.000014 * century))
        + sin_2m * (0.019993 - 0.000101 * century)
        + sin_3m * 0.000289
    )
    node = np.radians(125.04 - 1934.136 * century)
    longitude = mean_longitude + centre - np.radians(0.00569 + 0.00478 * np.sin(node))
    obliquity = np.radians(23.4392911 - 0.0130042 * century + 0.00256 * np.cos(node))
    sin_longitude = np.sin(longitude)
    declination = np.arcsin(np.sin(obliquity) * sin_longitude)
    right_ascension = np.arctan2(np.cos(obliquity) * sin_longitude, np.cos(longitude))
    # 0.0057183 degrees: aberration constant of the mean sun (Meeus, eq. 28.1)
    difference = mean_longitude - np.radians(0.0057183) - right_ascension
    equation_of_time = (difference + np.pi) % _TWO_PI - np.pi
    radius = 1.000001018 * (1.0 - eccentricity**2) / (1.0 + eccentricity * np.cos(anomaly + centre))
    return declination, equation_of_time, 1.0 / (radius * radius)


def potential_radiation(start_utc: ArrayLike, *, lat: float, lon: float, hours: float = 1.0) -> Floats:
    """Mean top-of-atmosphere radiation on a horizontal plane over ``[start, start + hours)``.

    Parameters
    ----------
    start_utc : array_like of datetime64, shape (n,)
        Start of each interval in true UTC.
    lat, lon : float
        Degrees north and east.
    hours : float, default 1.0
        Length of the intervals, more than 0 and at most 12.

    Returns
    -------
    ndarray of float64, shape (n,)
        W m-2, never negative, with a solar constant of 1361 W m-2.

    Raises
    ------
    DataError
        If a coordinate is not on the globe.

    Source: integral of the cosine of the zenith angle, e.g. Liou (2002), eq. 2.2.21; position after Meeus (1998).
    """
    if not (-90.0 <= lat <= 90.0 and -360.0 <= lon <= 360.0):
        raise DataError(f"No such place: latitude {lat}, longitude {lon}. Give degrees north and east.")
    start = np.asarray(start_utc, dtype="datetime64[s]")
    middle = start + np.timedelta64(round(hours * 1800.0), "s")
    declination, equation_of_time, inverse_square = solar_position(middle)
    second_of_day = (middle - middle.astype("datetime64[D]")).astype(np.float64)
    hour_angle = _TWO_PI * (second_of_day / 86400.0 - 0.5) + np.radians(lon) + equation_of_time
    half_width = np.pi * hours / 24.0
    begin = (hour_angle - half_width + np.pi) % _TWO_PI - np.pi
    end = begin + 2.0 * half_width

    phi = np.radians(lat)
    level = np.sin(phi) * np.sin(declination)
    swing = np.cos(phi) * np.cos(declination)
    with np.errstate(divide="ignore", invalid="ignore"):
        cos_sunset = np.where(swing > 1e-12, -level / swing, -np.sign(level) * np.inf)
    sunset = np.arccos(np.clip(cos_sunset, -1.0, 1.0))

    def daylight(shift: float) -> Floats:
        low = np.maximum(begin, shift - sunset)
        high = np.maximum(np.minimum(end, shift + sunset), low)
        return np.asarray(level * (high - low) + swing * (np.sin(high) - np.sin(low)))

    # An interval that begins before midnight (hour angle pi) may reach into the next day's light.
    mean_cosine = (daylight(0.0) + daylight(_TWO_PI)) / (2.0 * half_width)
    return np.asarray(np.maximum(SOLAR_CONSTANT * inverse_square * mean_cosine, 0.0))


def solar_covariates(time: ArrayLike, *, lat: float, lon: float, utc_offset_h: float) -> dict[str, NDArray[np.float32]]:
    """The four radiation covariates of the schema for hours of one tower.

    Derivatives are astronomical: hour minus the hour before, day minus the day before, whether or not those are in
    ``time``; so they never depend on gaps. Days are days of local standard time.

    Parameters
    ----------
    time : array_like of datetime64, shape (n,)
        Start of each hour, local standard time; need not be complete.
    lat, lon : float
        Degrees north and east.
    utc_offset_h : float
        Local standard time minus true UTC, hours (half hours exist).

    Returns
    -------
    dict of str to ndarray of float32, shape (n,)
        ``SW_IN_POT_hourly``, ``SW_IN_POT_daily_mean``, ``dSW_IN_POT``, ``dSW_IN_POT_DAY``, all W m-2.
    """
    local = np.asarray(time, dtype="datetime64[s]")
    if local.size == 0:
        empty = np.empty(0, dtype=np.float32)
        return {
            "SW_IN_POT_hourly": empty,
            "SW_IN_POT_daily_mean": empty,
            "dSW_IN_POT": empty,
            "dSW_IN_POT_DAY": empty,
        }
    first_day = local.min().astype("datetime64[D]") - 1
    days = int((local.max().astype("datetime64[D]") - first_day).astype(np.int64)) + 1
    hours = first_day.astype("datetime64[s]") + np.arange(days * 24) * np.timedelta64(3600, "s")
    hourly = potential_radiation(hours - np.timedelta64(round(utc_offset_h * 3600), "s"), lat=lat, lon=lon)
    daily = hourly.reshape(days, 24).mean(axis=1)
    hour_index = ((local - hours[0]).astype(np.int64)) // 3600
    day_index = hour_index // 24
    return {
        "SW_IN_POT_hourly": hourly[hour_index].astype(np.float32),
        "SW_IN_POT_daily_mean": daily[day_index].astype(np.float32),
        "dSW_IN_POT": (hourly[hour_index] - hourly[hour_index - 1]).astype(np.float32),
        "dSW_IN_POT_DAY": (daily[day_index] - daily[day_index - 1]).astype(np.float32),
    }
