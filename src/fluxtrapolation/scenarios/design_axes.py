"""The axes along which towers can be ordered: temperature, aridity, latitude, distance from a climate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import ScenarioError
from fluxtrapolation.scenarios.design_climate import aridity, climate, k_means, mean_temperature
from fluxtrapolation.scenarios.design_options import DesignOptions, end_of
from fluxtrapolation.scenarios.design_options import rows_word as _rows

AXES: Final = ("temperature", "aridity", "latitude", "cluster")
"""Rules whose towers stand on one axis, from which families of rising difficulty are made."""


@dataclass(frozen=True)
class Axis:
    """Towers on one axis.

    Attributes
    ----------
    order : list of str
        Towers, the most extreme first.
    value : dict
        Their value on the axis, in ``unit``.
    extreme : str
        Which end is first: ``warm``, ``dry``, ...
    what : str
        How the values came about, in words.
    left_in_train : dict
        Towers without a value, by reason.
    facts : dict
        What the axis rests on, for the file.
    """

    order: list[str]
    value: dict[str, float]
    extreme: str
    what: str
    unit: str
    left_in_train: dict[str, list[str]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    def next_towers(self, n: int, *, after: int = 0) -> list[str]:
        """The ``n`` towers that follow the ``after`` most extreme ones."""
        return self.order[after : after + n]

    @property
    def sign(self) -> float:
        """1 where the extreme is high, -1 where it is low."""
        return 1.0 if self.value[self.order[0]] >= self.value[self.order[-1]] else -1.0


def axis_of(store: Store, rule: str, options: DesignOptions, eligible: Sequence[str]) -> Axis:
    """Order the eligible towers along the axis of a rule.

    Raises
    ------
    ScenarioError
        If the store lacks what the axis needs, or so few towers have a value that the parts cannot be filled.
    """
    axis = _FOUND[rule](store, options, eligible)
    wanted = options.n_test + (options.n_validation if options.validation == "same-rule" else 0)
    if wanted > len(axis.order):
        lost = "; ".join(f"{len(sites)} {reason.replace('_', ' ')}" for reason, sites in axis.left_in_train.items())
        raise ScenarioError(
            f"Only {len(axis.order)} of the store's {len(eligible)} towers have a place on the axis of '{rule}' "
            f"({lost}); {wanted} are to be held out. Choose smaller --n-test and --n-validation."
        )
    return axis


def _ordered(value: dict[str, float], *, high_first: bool) -> list[str]:
    sign = -1.0 if high_first else 1.0
    return sorted(value, key=lambda site: (sign * value[site], site))


def _temperature(store: Store, options: DesignOptions, eligible: Sequence[str]) -> Axis:
    value = mean_temperature(store, eligible, rule="temperature")
    extreme = end_of("temperature", options)
    lost = [site for site in eligible if site not in value]
    return Axis(
        _ordered(value, high_first=extreme == "warm"),
        value,
        extreme,
        f"mean TA over their {_rows(store)} in the store",
        "degC",
        {"without_ta": lost} if lost else {},
    )


def _aridity(store: Store, options: DesignOptions, eligible: Sequence[str]) -> Axis:
    found = aridity(store, eligible)
    extreme = end_of("aridity", options)
    return Axis(
        _ordered(found.index, high_first=extreme == "wet"),
        found.index,
        extreme,
        f"de Martonne index MAP / (TA + 10), MAP of the site record, mean TA over their {_rows(store)} in the store",
        "mm/degC",
        found.without,
    )


def _latitude(store: Store, options: DesignOptions, eligible: Sequence[str]) -> Axis:
    extreme = end_of("latitude", options)
    value = {site: abs(store.record(site).lat) for site in eligible}
    return Axis(
        _ordered(value, high_first=extreme == "poleward"),
        value,
        extreme,
        "distance from the equator in degrees of latitude",
        "degrees",
    )


def _cluster(store: Store, options: DesignOptions, eligible: Sequence[str]) -> Axis:
    """Distance in standardised climate from the centre of a cluster that is drawn; the nearest are the extreme."""
    found = climate(store, eligible)
    labels, centres = k_means(found.values, clusters_wanted(options, len(found.sites)), seed=options.seed)
    drawn = int(np.random.default_rng([options.seed, 1]).integers(len(centres)))
    distance = np.sqrt(((found.values - centres[drawn]) ** 2).sum(axis=1))
    value = dict(zip(found.sites, distance.tolist(), strict=True))
    members = [site for site, label in zip(found.sites, labels.tolist(), strict=True) if label == drawn]
    return Axis(
        _ordered(value, high_first=False),
        value,
        "nearest to the cluster",
        f"distance in standardised climate ({len(found.columns)} means and seasonal amplitudes) from the centre of one "
        f"of {len(centres)} k-means clusters, drawn",
        "standard deviations",
        {"without_climate": found.without} if found.without else {},
        {"cluster_members": members, "climate": found.columns},
    )


def clusters_wanted(options: DesignOptions, towers: int) -> int:
    """Number of clusters: as asked, or so many that one holds half as many towers as the test on average.

    Raises
    ------
    ScenarioError
        If more are asked for than there are towers.
    """
    if options.clusters is None:
        return int(min(max(3, round(2 * towers / options.n_test)), 20, towers))
    if options.clusters > towers:
        raise ScenarioError(
            f"--clusters {options.clusters} is more than the {towers} towers with a full climate. Choose fewer."
        )
    return options.clusters


_FOUND = {"temperature": _temperature, "aridity": _aridity, "latitude": _latitude, "cluster": _cluster}
