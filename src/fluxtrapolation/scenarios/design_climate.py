"""Climate of towers for the rules of design: mean air temperature, aridity, and the clusters they fall into."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import ScenarioError, examples
from fluxtrapolation.scenarios.neighbours import weather_covariates
from fluxtrapolation.schema import TIME

Float64 = NDArray[np.float64]

COLDEST_FOR_ARIDITY: Final = -5.0
"""Mean TA in degC below which no aridity index is told: its denominator nears zero at -10 degC, and tundra would come
out as the wettest place on Earth."""
RESTARTS: Final = 20
_ITERATIONS: Final = 100


def mean_temperature(store: Store, sites: Sequence[str], *, rule: str) -> dict[str, float]:
    """Mean TA of each tower over its rows in the store, degC; towers without TA are left out.

    Raises
    ------
    ScenarioError
        If the store has no TA.
    """
    if "TA" not in store.covariates:
        raise ScenarioError(f"The rule '{rule}' needs TA; the store holds {examples(store.covariates, 12)}.")
    means = {site: store.read_site(site, ["TA"])["TA"].cast(pl.Float64).mean() for site in sites}
    return {site: float(mean) for site, mean in means.items() if isinstance(mean, float)}


@dataclass(frozen=True)
class Aridity:
    """De Martonne index of each tower that has one, mm per degC, and the towers without, by reason."""

    index: dict[str, float]
    without: dict[str, list[str]]


def aridity(store: Store, sites: Sequence[str]) -> Aridity:
    """De Martonne (1926) aridity index ``MAP / (TA + 10)``: MAP in mm from the site record, mean TA in degC from rows.

    Low is dry: below 10 arid, 10 to 20 semi-arid, above 60 very wet.

    Raises
    ------
    ScenarioError
        If the store has no TA, or no tower has a MAP.
    """
    rain = {site: store.record(site).map_mm for site in sites}
    if all(value is None for value in rain.values()):
        raise ScenarioError(
            f"None of the store's {len(sites)} towers with measured rows has a mean annual precipitation (map_mm), "
            "which the rule 'aridity' needs. Import with a --sites-table that has a column map_mm, or use the rule "
            "temperature or cluster."
        )
    warmth = mean_temperature(store, sites, rule="aridity")
    without: dict[str, list[str]] = {
        "without_map": [site for site in sites if rain[site] is None],
        "without_ta": [site for site in sites if site not in warmth],
        "too_cold_for_index": [site for site in sites if warmth.get(site, 0.0) < COLDEST_FOR_ARIDITY],
    }
    barred = {site for listed in without.values() for site in listed}
    index = {site: float(rain[site] or 0.0) / (warmth[site] + 10.0) for site in sites if site not in barred}
    return Aridity(index, {reason: listed for reason, listed in without.items() if listed})


@dataclass(frozen=True)
class Climate:
    """Standardised climate of towers.

    Attributes
    ----------
    sites : list of str
        Rows of ``values``.
    columns : list of str
        ``TA mean``, ``TA amplitude``, ...
    values : ndarray, shape (towers, columns)
        Mean 0 and standard deviation 1 over the towers.
    without : list of str
        Towers that lack a covariate or a calendar month.
    """

    sites: list[str]
    columns: list[str]
    values: Float64
    without: list[str]


def climate(store: Store, sites: Sequence[str]) -> Climate:
    """Mean and seasonal amplitude of every covariate that is not mere geometry, standardised over towers.

    The amplitude is the range of the twelve mean months.

    Raises
    ------
    ScenarioError
        If the store has no such covariate, or fewer than three towers have them all in all months.
    """
    names = weather_covariates(store)
    if not names:
        raise ScenarioError("The rule 'cluster' needs covariates of climate; the store holds none.")
    rows, kept, without = [], [], []
    for site in sites:
        months = (
            store.read_site(site, [TIME, *names])
            .with_columns(pl.col(names).cast(pl.Float64))
            .group_by(pl.col(TIME).dt.month())
            .mean()
            .sort(TIME)
        )
        means = months.select(names).to_numpy()
        if len(means) < 12 or not np.isfinite(means).all():
            without.append(site)
            continue
        kept.append(site)
        rows.append(np.concatenate([means.mean(axis=0), np.ptp(means, axis=0)]))
    if len(kept) < 3:
        raise ScenarioError(
            f"Only {len(kept)} of the {len(sites)} towers have {', '.join(names)} in all twelve months; clusters need "
            "at least 3. Use towers with longer records, or another rule."
        )
    values = np.array(rows)
    spread = values.std(axis=0)
    values = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    columns = [f"{name} {what}" for what in ("mean", "amplitude") for name in names]
    return Climate(kept, columns, values, without)


def k_means(values: Float64, k: int, *, seed: int) -> tuple[NDArray[np.int64], Float64]:
    """Lloyd's k-means with k-means++ starts, the best of :data:`RESTARTS`.

    Returns
    -------
    labels : ndarray, shape (n,)
        Clusters are numbered in the order of their first member.
    centres : ndarray, shape (k, columns)
    """
    best: tuple[float, NDArray[np.int64], Float64] | None = None
    for start in range(RESTARTS):
        centres = _spread_out(values, k, np.random.default_rng([seed, 3, start]))
        labels = np.full(len(values), -1)
        for _ in range(_ITERATIONS):
            squared = ((values[:, None, :] - centres[None, :, :]) ** 2).sum(axis=2)
            new = squared.argmin(axis=1)
            if (new == labels).all():
                break
            labels = new
            # A cluster that lost all its members stays where it was.
            for j in np.unique(labels):
                centres[j] = values[labels == j].mean(axis=0)
        cost = float(((values - centres[labels]) ** 2).sum())
        if best is None or cost < best[0] - 1e-12:
            best = cost, labels, centres
    assert best is not None  # RESTARTS > 0
    _, labels, centres = best
    seen = list(dict.fromkeys(labels.tolist()))
    renumber = {old: new for new, old in enumerate(seen)}
    return np.array([renumber[label] for label in labels.tolist()]), centres[seen]


def _spread_out(values: Float64, k: int, generator: np.random.Generator) -> Float64:
    """k-means++ (Arthur and Vassilvitskii 2007): each start is drawn by its squared distance from those before."""
    chosen = [int(generator.integers(len(values)))]
    for _ in range(k - 1):
        squared = ((values[:, None, :] - values[chosen][None, :, :]) ** 2).sum(axis=2).min(axis=1)
        total = squared.sum()
        p = squared / total if total > 0 else np.full(len(values), 1 / len(values))
        chosen.append(int(generator.choice(len(values), p=p)))
    return values[chosen].copy()
