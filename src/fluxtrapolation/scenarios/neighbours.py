"""How far towers are from one another, and how much alike their weather is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from fluxtrapolation.data.sites import load_sites
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, did_you_mean, examples
from fluxtrapolation.schema import SOLAR_COVARIATES, TIME

Float64 = NDArray[np.float64]

EARTH_RADIUS_KM: Final = 6371.0088
"""Mean radius of the Earth, km (IUGG)."""
NEIGHBOUR_KM: Final = 50.0
"""Towers further apart than this are no neighbours, however much alike their weather is."""
NEIGHBOUR_CORRELATION: Final = 0.8
"""Mean correlation of covariate anomalies at shared hours from which two near towers count as neighbours. In
FLUXNET2015 most towers within 10 km of each other lie above it, and none beyond 50 km does."""
MIN_SHARED: Final = 240
"""Shared rows below which no correlation is told: ten days."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a tower stands: degrees north and east, its name and IGBP class."""

    site_id: str
    lat: float
    lon: float
    name: str | None
    igbp: str


@dataclass(frozen=True, slots=True)
class Likeness:
    """How much alike the weather of two towers is.

    Attributes
    ----------
    shared : int
        Rows at which both have a value.
    correlation : float or None
        Mean over covariates of the correlation of anomalies (values less the mean of their month and hour of day);
        None below :data:`MIN_SHARED` shared rows, or where nothing varies.
    """

    shared: int
    correlation: float | None


def distance_km(lat: ArrayLike, lon: ArrayLike, other_lat: ArrayLike, other_lon: ArrayLike) -> Float64:
    """Great-circle distance by the haversine formula, km; degrees in, arrays broadcast.

    On a sphere of the Earth's mean radius: within 0.6 % of the distance on the ellipsoid.
    """
    a, b, c, d = (np.radians(np.asarray(one, np.float64)) for one in (lat, lon, other_lat, other_lon))
    h = np.sin((c - a) / 2) ** 2 + np.cos(a) * np.cos(c) * np.sin((d - b) / 2) ** 2
    result: Float64 = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(h, 0, 1)))
    return result


def distance_matrix(one: Sequence[Place], other: Sequence[Place]) -> Float64:
    """Distances between two lists of places, km, shape (len(one), len(other))."""
    a, b = (np.array([[place.lat, place.lon] for place in places]).reshape(-1, 2) for places in (one, other))
    return distance_km(a[:, :1], a[:, 1:], b[:, 0], b[:, 1])


def places_of(store: Store | None, sites: Sequence[str]) -> list[Place]:
    """Places of towers: from a store's records, or without a store from the packaged table.

    Raises
    ------
    DataError
        Without a store, if the packaged table lacks a tower.
    """
    if store is not None:
        records = [store.record(site) for site in sites]
        return [Place(r.site_id, r.lat, r.lon, r.name, r.igbp) for r in records]
    known = load_sites()
    missing = [site for site in sites if site not in known]
    if missing:
        raise DataError(
            f"The packaged site table lacks {len(missing)} of {len(sites)} towers: {examples(missing)}."
            f"{did_you_mean(missing[0], known)} Give the store that holds them (--store)."
        )
    return [Place(site, known[site].lat, known[site].lon, known[site].name, known[site].igbp) for site in sites]


def closest_pair(one: Sequence[Place], other: Sequence[Place]) -> tuple[str, str, float] | None:
    """The two nearest places of two lists and their distance, km; None if a list is empty."""
    if not one or not other:
        return None
    matrix = distance_matrix(one, other)
    i, j = np.unravel_index(int(matrix.argmin()), matrix.shape)
    return one[int(i)].site_id, other[int(j)].site_id, float(matrix[i, j])


def weather_covariates(store: Store) -> list[str]:
    """Covariates that tell of weather or land: all but those that follow from place and time alone."""
    return [name for name in store.covariates if name not in SOLAR_COVARIATES]


class Weather:
    """Likeness of towers of a store; towers already read are kept."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names = weather_covariates(store)
        self._held: dict[str, pl.DataFrame] = {}

    def likeness(self, one: str, other: str) -> Likeness:
        """How much alike two towers are at the hours that both have, in local standard time."""
        both = self._read(one).join(self._read(other), on=TIME, how="inner", suffix="_other")
        slot = (both[TIME].dt.month().cast(pl.Int64) * 24 + both[TIME].dt.hour()).to_numpy()
        found, shared = [], 0
        for name in self._names:
            x, y = (both[column].to_numpy().astype(np.float64) for column in (name, f"{name}_other"))
            there = np.isfinite(x) & np.isfinite(y)
            shared = max(shared, int(there.sum()))
            r = correlation(*(less_climate(values[there], slot[there]) for values in (x, y)))
            if r is not None:
                found.append(r)
        return Likeness(shared, float(np.mean(found)) if found else None)

    def _read(self, site: str) -> pl.DataFrame:
        if site not in self._held:
            self._held[site] = self._store.read_site(site, [TIME, *self._names])
        return self._held[site]


def less_climate(values: Float64, slot: NDArray[np.int64]) -> Float64:
    """Values less the mean of their slot (month and hour of day, or month)."""
    if not len(values):
        return values
    count = np.maximum(np.bincount(slot), 1)
    return values - (np.bincount(slot, values) / count)[slot]


def correlation(x: Float64, y: Float64, *, least: int = MIN_SHARED) -> float | None:
    """Pearson correlation; None for fewer than ``least`` values or where one of the two does not vary."""
    if len(x) < least:
        return None
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 1e-9 * len(x) else None


@dataclass(frozen=True)
class Excluded:
    """A train tower left out because it is too near a held-out one."""

    site_id: str
    near: str
    km: float
    correlation: float | None
    why: str

    def words(self) -> str:
        """``US-Ne2: 0.5 km from US-Ne1 (weather correlates 0.98)``."""
        like = "" if self.correlation is None else f" (weather correlates {self.correlation:.2f})"
        return f"{self.site_id}: {self.km:.1f} km from {self.near}{like}{self.why}"


def too_near(
    store: Store,
    train: Sequence[str],
    held_out: Sequence[str],
    *,
    min_distance: float | None,
    neighbours: bool,
) -> list[Excluded]:
    """Train towers to leave out: nearer than ``min_distance`` km to a held-out tower, or its neighbour.

    Neighbours lie within :data:`NEIGHBOUR_KM` and their weather correlates at least :data:`NEIGHBOUR_CORRELATION`;
    where two near towers share too few rows to say, distance decides alone.
    """
    if not train or not held_out:
        return []
    matrix = distance_matrix(places_of(store, train), places_of(store, held_out))
    weather, found = Weather(store), []
    for i, site in enumerate(train):
        nearest = int(matrix[i].argmin())
        km = float(matrix[i, nearest])
        if min_distance is not None and km < min_distance:
            found.append(Excluded(site, held_out[nearest], km, None, ""))
            continue
        for j in np.argsort(matrix[i], kind="stable") if neighbours else ():
            if matrix[i, j] > NEIGHBOUR_KM:
                break
            like = weather.likeness(site, held_out[j])
            if like.correlation is None or like.correlation >= NEIGHBOUR_CORRELATION:
                why = " (too few shared rows to compare the weather)" if like.correlation is None else ""
                found.append(Excluded(site, held_out[j], float(matrix[i, j]), like.correlation, why))
                break
    return found
