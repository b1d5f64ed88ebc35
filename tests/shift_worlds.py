"""Constructed worlds whose shift is known: covariates, concept, both or none, with and without traits of towers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fluxtrapolation.scenarios import Part, Scenario, Split
from fluxtrapolation.scenarios.scenario import PartName, Years, YearSplit
from fluxtrapolation.shift.conditional_run import measure
from fluxtrapolation.shift.conditional_types import MarginalShift
from fluxtrapolation.shift.conditional_weights import MARGINALS
from fluxtrapolation.shift.covariate import covariate
from fluxtrapolation.shift.sampling import choose_rows

FEATURES = ("TA", "VPD", "SW_IN", "EVI", "SOIL")
"""SOIL hardly varies at a tower. It says nothing about the flux, but helps to tell one tower from another."""
Kind = Literal["none", "covariate", "concept", "both"]
KINDS: tuple[Kind, ...] = ("none", "covariate", "concept", "both")


@dataclass(frozen=True)
class World:
    """A world of towers; all that is random follows from ``seed``.

    Parameters
    ----------
    kind : {'none', 'covariate', 'concept', 'both'}
        ``covariate``: test towers are ``warmer`` and greener. ``concept``: the same covariates give a flux ``weaker``
        by a share.
    traits : bool
        Towers differ in the level and slope of their response (drawn alike for train and test: no shift).
    years : bool
        The same towers in both parts, the test in later years.
    """

    kind: Kind = "none"
    traits: bool = True
    train_towers: int = 36
    test_towers: int = 24
    rows: int = 120
    years: bool = False
    warmer: float = 3.0
    weaker: float = 0.4
    noise: float = 1.0

    def split(self, seed: int) -> Split:
        """Draw the world."""
        rng = np.random.default_rng([seed, 6])
        n_test = 0 if self.years else self.test_towers
        climate = self._climate(self.train_towers + n_test, rng)
        sites = tuple(f"XX-{i:03d}" for i in range(len(climate)))
        train = range(self.train_towers)
        test = train if self.years else range(self.train_towers, len(climate))
        if self.kind in ("covariate", "both") and not self.years:
            climate[self.train_towers :, 0] += self.warmer
            climate[self.train_towers :, 1] += 0.05
        parts = {
            "train": self._part("train", train, climate, sites, rng),
            "validation": self._part("validation", range(0), climate, sites, rng),
            "test": self._part("test", test, climate, sites, rng),
        }
        return Split(
            self._scenario(sites), "GPP", parts["train"], parts["validation"], parts["test"], FEATURES, (), "made"
        )

    def _climate(self, towers: int, rng: np.random.Generator) -> np.ndarray:
        """Mean TA, mean EVI, dryness, soil, and the traits (level, slope) of each tower."""
        mean = rng.normal((12, 0.4, 0, 0), (5, 0.1, 1, 1), (towers, 4))
        traits = np.column_stack([rng.normal(0, 1.5, towers), rng.normal(0, 0.25, towers)])
        return np.column_stack([mean, traits if self.traits else 0 * traits])

    def _part(
        self, name: PartName, towers: range, climate: np.ndarray, sites: tuple[str, ...], rng: np.random.Generator
    ) -> Part:
        code = np.repeat(np.asarray(towers, dtype=np.int64), self.rows)
        n = len(code)
        own = climate[code] if n else np.zeros((0, 6))
        season = rng.uniform(0, 2 * np.pi, n)
        light = 400 * np.maximum(np.sin(rng.uniform(0, np.pi, n)) + 0.3 * np.cos(season), 0)
        air = own[:, 0] + 8 * np.cos(season) + light / 100 + rng.normal(0, 2, n)
        if name == "test" and self.years and self.kind in ("covariate", "both"):
            air = air + self.warmer
        vpd = np.exp(0.06 * air + 0.2 * own[:, 2] + rng.normal(0, 0.2, n))
        evi = own[:, 1] + 0.12 * np.cos(season) + rng.normal(0, 0.03, n)
        soil = own[:, 3] + rng.normal(0, 0.5, n)
        X = np.column_stack([air, vpd, light, evi, soil]).astype(np.float32)
        flux = response(X)
        if name == "test" and self.kind in ("concept", "both"):
            flux = flux * (1 - self.weaker)
        y = flux * (1 + own[:, 5]) + own[:, 4] + rng.normal(0, self.noise, n)
        here = sorted({sites[i] for i in towers})
        first = towers.start if n else 0
        codes = (code - first).astype(np.int32)
        start = np.datetime64("2012-01-01" if name == "test" else "2010-01-01", "s")
        return Part(
            name=name,
            target="GPP",
            scenario="made",
            domain_kind="site-year" if self.years else "site",
            feature_names=FEATURES,
            X=X,
            y=y.astype(np.float32),
            qc=np.ones(n, dtype=np.int8),
            time=start + np.tile(np.arange(self.rows), len(towers)) * np.timedelta64(3600, "s"),
            site_codes=codes,
            sites=tuple(here),
            domain_codes=codes,
            domains=tuple(f"{site} {str(start)[:4]}" for site in here) if self.years else tuple(here),
        )

    def _scenario(self, sites: tuple[str, ...]) -> Scenario:
        if self.years:
            return Scenario(
                name="made",
                kind="years",
                domain="site-year",
                rule="made",
                source="made for a test",
                sites=sites,
                years=YearSplit(
                    train=Years(last=2010), validation=Years(first=2011, last=2011), test=Years(first=2012)
                ),
            )
        cut = self.train_towers
        return Scenario(
            name="made",
            kind="sites",
            domain="site",
            rule="made",
            source="made for a test",
            train=sites[:cut],
            test=sites[cut:],
            validation=("XX-900",),
        )


def response(X: np.ndarray) -> np.ndarray:
    """The flux that covariates give: light saturates, warmth has an optimum, dry air closes leaves; about 0 to 15."""
    air, vpd, light, evi = X[:, :4].T.astype(np.float64)
    return 40 * evi * light / (light + 150) * np.exp(-(((air - 20) / 15) ** 2)) / (1 + vpd / 15)


@dataclass(frozen=True)
class Judged:
    """What the measures say of one drawn world.

    Attributes
    ----------
    site : dict of str to MarginalShift
        By-site P(Y|X), regressor fitted on train, by marginal.
    row : dict of str to MarginalShift
        The published protocol; empty if not asked for.
    px : float or None
        p-value of the by-site test of P(X); None if not asked for or not to be had.
    """

    site: dict[str, MarginalShift]
    row: dict[str, MarginalShift]
    px: float | None = None


def judge(world: World, seed: int, *, repeats: int = 6, row_repeats: int = 0, px: bool = False) -> Judged:
    """Draw a world and measure it."""
    split = world.split(seed)
    rows = choose_rows(split, need_target=True)
    site = measure(rows, unit="site", fit_on="train", repeats=repeats, seed=seed)
    row = measure(rows, unit="row", fit_on="train", repeats=row_repeats, seed=seed) if row_repeats else None
    return Judged(
        {name: site.marginal(name) for name in MARGINALS},
        {name: row.marginal(name) for name in MARGINALS} if row else {},
        covariate(split, repeats=1, permutations=39, seed=seed).by_site.p_value if px else None,
    )
