"""Where towers stand: coordinates in whatever form they come, and nearest towers along the earth's surface."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from fluxtrapolation.errors import DataError, examples
from fluxtrapolation.schema import SITE

Float64 = NDArray[np.float64]
Coordinates = pl.DataFrame | Mapping[str, tuple[float, float]] | Any
"""A table with site_id, lat, lon; a mapping of site to (lat, lon); or a Store, whose site table is read."""

EARTH_RADIUS_KM: Final = 6371.0088
"""Mean radius (IUGG)."""


def places(coordinates: Coordinates | None, sites: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Latitude and longitude in degrees of each site; empty without coordinates.

    Raises
    ------
    DataError
        If coordinates are given and a site has none, or they are no place on earth.
    """
    if coordinates is None:
        return {}
    table = coordinates if isinstance(coordinates, pl.DataFrame | Mapping) else getattr(coordinates, "sites", None)
    known: dict[str, tuple[float, float]]
    if isinstance(table, pl.DataFrame):
        lacking = [name for name in (SITE, "lat", "lon") if name not in table.columns]
        if lacking:
            raise DataError(f"The table of coordinates lacks the columns {examples(lacking)}. It has: {table.columns}.")
        known = {site: (lat, lon) for site, lat, lon in table.select(SITE, "lat", "lon").iter_rows()}
    elif isinstance(table, Mapping):
        known = {site: (float(lat), float(lon)) for site, (lat, lon) in table.items()}
    else:
        raise DataError(
            f"Coordinates must be a table with {SITE}, lat and lon, a mapping of site to (lat, lon), or a store, not "
            f"{type(coordinates).__name__}."
        )
    without = [site for site in sites if site not in known or None in known[site]]
    if without:
        raise DataError(f"{len(without)} of {len(sites)} towers have no coordinates: {examples(without)}.")
    found = {site: known[site] for site in sites}
    bad = [site for site, (lat, lon) in found.items() if not (abs(lat) <= 90 and abs(lon) <= 360)]
    if bad:
        raise DataError(f"{len(bad)} towers have coordinates that are no place on earth: {examples(bad)}.")
    return found


def nearest_km(of: ArrayLike, to: ArrayLike, *, skip_self: bool = False) -> Float64:
    """Great-circle distance from each place to the nearest of others.

    Parameters
    ----------
    of, to : array_like, shape (n, 2) and (m, 2)
        Latitude and longitude, degrees.
    skip_self : bool
        ``of`` and ``to`` are the same places; each looks for another one.

    Returns
    -------
    ndarray of float64, shape (n,)
        km on a sphere of radius 6371.0088 km; the same as the haversine formula.

    Raises
    ------
    DataError
        If there is no other place.
    """
    from scipy.spatial import cKDTree

    k = 2 if skip_self else 1
    if len(np.asarray(to)) < k:
        raise DataError(f"{len(np.asarray(to))} places have no{' other' if skip_self else ''} place to be near to.")
    # The nearest by the straight line through the earth is the nearest along its surface.
    straight = np.asarray(cKDTree(_unit(to)).query(_unit(of), k=k)[0], dtype=np.float64)
    if skip_self:
        straight = straight[:, 1]
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.clip(straight / 2, 0.0, 1.0)))


def _unit(places: ArrayLike) -> Float64:
    lat, lon = np.radians(np.asarray(places, dtype=np.float64)).T
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
