"""Small worlds of towers whose shift of P(X) is known, for tests of its measures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fluxtrapolation.scenarios import Part, Scenario, Split
from fluxtrapolation.scenarios.scenario import PartName, Years, YearSplit

FEATURES = ("TA", "VPD", "SW_IN", "PFT_ENF", "PFT_GRA")


def px_split(
    *,
    towers: tuple[int, int] = (12, 12),
    rows: int = 60,
    trait: float = 0.0,
    shift: float = 0.0,
    years: tuple[int, int] | None = None,
    unpaired: int = 0,
    seed: int = 0,
    constant: Sequence[str] = (),
) -> Split:
    """A split of towers, each with ``rows`` rows (a year, in a scenario by years).

    Parameters
    ----------
    towers : tuple of int
        Train and test towers; by years the first number is that of towers on both sides.
    rows : int
    trait : float
        Sd of the towers' own means of TA, VPD and SW_IN, in sds within a tower. Drawn alike for all: no shift.
    shift : float
        Added to TA of test rows, in sds within a tower.
    years : tuple of int, optional
        Train and test years of each tower: a scenario by years.
    unpaired : int
        By years: further towers with train years only.
    constant : sequence of str
        Features set to 1 everywhere.
    """
    rng = np.random.default_rng([seed, 77])
    total = towers[0] + unpaired if years else sum(towers)
    sites = [f"XX-{i:03d}" for i in range(total)]
    levels = trait * rng.normal(size=(total, 3))
    forest = rng.random(total) < 0.5
    kept: dict[PartName, list[tuple[int, int]]] = {"train": [], "validation": [], "test": []}
    for i in range(total):
        if years:
            kept["train"] += [(i, 2000 + k) for k in range(years[0])]
            kept["test"] += [(i, 2010 + k) for k in range(years[1])] if i < towers[0] else []
        else:
            kept["train" if i < towers[0] else "test"].append((i, 2000))
    parts = {}
    for name, blocks in kept.items():
        tower = np.repeat(np.array([b[0] for b in blocks], np.int64), rows)
        year = np.repeat(np.array([b[1] for b in blocks], np.int64), rows)
        X = np.empty((len(tower), 5), np.float32)
        X[:, :3] = levels[tower] + rng.normal(size=(len(tower), 3))
        X[:, 3], X[:, 4] = forest[tower], ~forest[tower]
        if name == "test":
            X[:, 0] += shift
        for feature in constant:
            X[:, FEATURES.index(feature)] = 1.0
        parts[name] = _part(name, X, tower, year, sites, "site-year" if years else "site")
    return Split(
        _scenario(sites, towers[0], bool(years)),
        "GPP",
        parts["train"],
        parts["validation"],
        parts["test"],
        FEATURES,
        (),
        "made",
    )


def _part(name: PartName, X: np.ndarray, tower: np.ndarray, year: np.ndarray, sites: list[str], kind: str) -> Part:
    present, codes = np.unique(tower, return_inverse=True)
    start = (year - 1970).astype("datetime64[Y]").astype("datetime64[s]")
    labels = tuple(sites[i] for i in present)
    return Part(
        name=name,
        target="GPP",
        scenario="made",
        domain_kind="site-year" if kind == "site-year" else "site",
        feature_names=FEATURES,
        X=X,
        y=X[:, 0].copy(),
        qc=(np.arange(len(X)) % 2).astype(np.int8) if name == "test" else np.ones(len(X), np.int8),
        time=start + np.arange(len(X)) % 8000 * np.timedelta64(3600, "s"),
        site_codes=codes.astype(np.int32),
        sites=labels,
        domain_codes=codes.astype(np.int32),
        domains=labels,
    )


def _scenario(sites: list[str], cut: int, years: bool) -> Scenario:
    if years:
        return Scenario(
            name="made",
            kind="years",
            domain="site-year",
            rule="made",
            source="made for a test",
            sites=tuple(sites),
            years=YearSplit(train=Years(last=2008), validation=Years(first=2009, last=2009), test=Years(first=2010)),
        )
    return Scenario(
        name="made",
        kind="sites",
        domain="site",
        rule="made",
        source="made for a test",
        train=tuple(sites[:cut]),
        test=tuple(sites[cut:]),
        validation=("XX-900",),
    )
