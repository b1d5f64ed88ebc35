"""Does a file's place fit its own radiation? Sign of the latitude, swapped coordinates, the wrong tower's file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.data.importers.csv_problem import Problem
from fluxtrapolation.data.sites import SiteFacts
from fluxtrapolation.data.solar import potential_radiation
from fluxtrapolation.schema import TIME

SAMPLE: Final = 1500
"""Hours by which the offset from UTC is judged."""
_MISFIT: Final = 0.25
"""Share of the rms of potential radiation that another formula or half an hour explain; more is another place."""
_FAR_KM: Final = 100.0

Times = NDArray[np.datetime64]


def estimate_utc_offset(time: Times, radiation: NDArray[Any], *, lat: float, lon: float) -> tuple[float, float]:
    """UTC offset at which computed potential radiation fits best.

    Parameters
    ----------
    time : ndarray of datetime64, shape (n,)
        START of each hour as stamped in the file.
    radiation : ndarray, shape (n,)
        Potential radiation given there, W m-2.
    lat, lon : float

    Returns
    -------
    offset_h : float
        Stamped time minus true UTC in hours, a multiple of 0.25.
    rmse : float
        What remains at that offset, W m-2.
    """
    step = max(1, len(time) // SAMPLE)
    # An odd step, so that a sample of a long series meets every hour of the day.
    rows = slice(None, None, step + (step % 2 == 0) if step > 1 else 1)
    stamps, given = time[rows].astype("datetime64[s]"), np.asarray(radiation[rows], dtype=np.float64)

    def misfit(offset: float, every: int = 1) -> float:
        utc = stamps[::every] - np.timedelta64(round(offset * 3600), "s")
        return float(np.sqrt(np.mean((potential_radiation(utc, lat=lat, lon=lon) - given[::every]) ** 2)))

    # The misfit has one valley a day: hours first, from a third of the sample, then quarters around the best and its
    # twin of a day before or after, which differs only by the sun's daily drift.
    coarse = 3 if len(stamps) > SAMPLE // 2 else 1
    _, hour = min((misfit(o, coarse), o) for o in np.arange(-12.0, 15.0))
    near = {o for twin in (hour, hour - 24, hour + 24) for o in np.arange(twin - 1.0, twin + 1.25, 0.25)}
    rmse, offset = min((misfit(o), o) for o in sorted(near) if -12.0 <= o <= 14.0)
    return float(offset), rmse


def place_problem(frame: pl.DataFrame, lat: float, lon: float, rmse: float, *, site: str) -> Problem | None:
    """What the sun says against the coordinates, from ``SW_IN_POT_hourly``.

    A wrong latitude, exchanged coordinates and a wrong unit are found. The sign of the longitude is not: it turns into
    another offset from UTC.

    Parameters
    ----------
    frame : DataFrame
        ``time`` and ``SW_IN_POT_hourly``, complete and ascending.
    lat, lon : float
    rmse : float
        Of :func:`estimate_utc_offset` at this place, W m-2.
    site : str
    """
    potential = frame["SW_IN_POT_hourly"].to_numpy()
    if rmse <= _MISFIT * float(np.sqrt(np.mean(np.square(potential)))):
        return None
    return _misplaced(frame[TIME].to_numpy(), potential, lat, lon, rmse, site)


def _misplaced(time: Times, potential: NDArray[Any], lat: float, lon: float, rmse: float, site: str) -> Problem:
    def fits(other_lat: float, other_lon: float, scale: float = 1.0) -> bool:
        _, left = estimate_utc_offset(time, potential * scale, lat=other_lat, lon=other_lon)
        return left < 0.5 * rmse * scale and left < 100.0

    what = f"SW_IN_POT_hourly does not follow the sun at latitude {lat:g}, longitude {lon:g}"
    example = f"rmse {rmse:.0f} W m-2 at the best of all UTC offsets"
    if fits(-lat, lon):
        fix = f"With latitude {-lat:g} it fits: the sign of tower_lat is wrong. Correct it."
    elif abs(lon) <= 90.0 and fits(lon, lat):
        fix = "With latitude and longitude exchanged it fits: tower_lat and tower_lon are swapped. Correct the header."
    elif fits(lat, lon, 1000.0):
        fix = "It is a thousand times too small (kW m-2?): multiply the four radiation columns by 1000."
    else:
        fix = "Check tower_lat, tower_lon and time (summer time? another tower's file?)."
    return Problem(site, what, fix, example=example)


def season_problem(frame: pl.DataFrame, lat: float, lon: float, *, site: str) -> Problem | None:
    """Say whether measured radiation has the seasons of the other hemisphere (for files without potential)."""
    if abs(lat) < 20.0:
        return None
    months = frame.group_by(pl.col(TIME).dt.month().alias("month")).agg(pl.col("SW_IN").mean(), pl.len()).sort("month")
    months = months.filter(pl.col("len") >= 24 * 10)
    if months.height < 10:
        return None
    days = np.array([np.datetime64(f"2015-{month:02d}-15T00:00:00") for month in months["month"]])
    hours = (days[:, None] + np.arange(24) * np.timedelta64(3600, "s")).ravel()

    def likeness(at: float) -> float:
        sun = potential_radiation(hours, lat=at, lon=lon).reshape(-1, 24).mean(axis=1)
        return float(np.corrcoef(sun, months["SW_IN"].to_numpy())[0, 1])

    here, there = likeness(lat), likeness(-lat)
    if not (here < -0.3 and there > 0.5):
        return None
    return Problem(
        site,
        f"SW_IN has the seasons of the other hemisphere: its latitude is {lat:g}",
        f"With latitude {-lat:g} it fits: the sign of tower_lat is wrong. Correct it.",
        example=f"correlation of monthly means with the sun {here:.2f}",
    )


def distance_km(lat: float, lon: float, other_lat: float, other_lon: float) -> float:
    """Great-circle distance, km (haversine, radius 6371 km)."""
    phi, other = np.radians(lat), np.radians(other_lat)
    half = np.sin((other - phi) / 2) ** 2 + np.cos(phi) * np.cos(other) * np.sin(np.radians(other_lon - lon) / 2) ** 2
    return float(2 * 6371.0 * np.arcsin(np.sqrt(half)))


def stranger_problem(lat: float, lon: float, packaged: Mapping[str, SiteFacts], *, site: str) -> Problem | None:
    """Say whether a file's place is far from where the tower of its name is known to stand, or None."""
    known = packaged.get(site)
    if known is None or distance_km(lat, lon, known.lat, known.lon) <= _FAR_KM:
        return None
    away = distance_km(lat, lon, known.lat, known.lon)
    fix = "Is it another tower's file, or are the coordinates wrong?"
    for other, words in (
        ((-lat, lon), "The sign of tower_lat is wrong."),
        ((lat, -lon), "The sign of tower_lon is wrong."),
        ((lon, lat), "Latitude and longitude are swapped."),
    ):
        if abs(other[0]) <= 90.0 and distance_km(*other, known.lat, known.lon) <= _FAR_KM:
            fix = words
    near, nearest = min((distance_km(lat, lon, one.lat, one.lon), name) for name, one in packaged.items())
    hint = f"; {nearest} stands there" if near < 5.0 else ""
    return Problem(
        site,
        f"the file says latitude {lat:g}, longitude {lon:g}, {away:,.0f} km from {site} "
        f"({known.lat:g}, {known.lon:g}){hint}",
        f"{fix} Correct it, or give the place with --sites-table.",
    )
