"""A learnable toy world for tests of models: as rows, as domains that differ, and as hours of a few sites."""

from __future__ import annotations

import numpy as np

from fluxtrapolation.scenarios import Part
from fluxtrapolation.scenarios.scenario import PartName

FEATURES = ("TA", "VPD", "SW_IN", "EVI", "PFT_ENF")


def target(X: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """A linear part, a bend, a threshold, a little noise; the last column says nothing."""
    y = 2 * X[:, 0] - X[:, 1] + np.maximum(X[:, 2], 0) + (X[:, 3] > 0.5) + 0.1 * generator.normal(size=len(X))
    return y.astype(np.float32)


def toy_world(rows: int = 3000, *, seed: int = 0, n_domains: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X (standard normal), y, and domains that do not differ."""
    generator = np.random.default_rng(seed)
    X = generator.normal(size=(rows, len(FEATURES))).astype(np.float32)
    return X, target(X, generator), np.arange(rows) * n_domains // rows


def shifted_world(rows: int = 3000, *, seed: int = 0, n_domains: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A world whose domains differ: in mean and spread of X, in the level of y, its dependence on TA, and its noise."""
    X, _, domains = toy_world(rows, seed=seed, n_domains=n_domains)
    generator = np.random.default_rng(seed + 1)
    own = np.linspace(-1, 1, n_domains)[domains]
    X = (X * (1 + 0.4 * own[:, None]) + own[:, None]).astype(np.float32)
    noise = (1 + own) * generator.normal(size=rows)
    return X, (target(X, generator) + own * (1 + X[:, 0]) + noise).astype(np.float32), domains


def toy_part(name: PartName = "train", *, sites: int = 4, days: int = 60, seed: int = 0, shifted: bool = False) -> Part:
    """Hours of a few sites as a split made for sequences gives them; some hours do not count, and their y is missing.

    In a test part every hour counts.
    """
    hours = days * 24
    rows = sites * hours
    X, y, site_codes = (shifted_world if shifted else toy_world)(rows, seed=seed, n_domains=sites)
    counts = np.random.default_rng(seed + 2).random(rows) < 0.9
    labels = tuple(f"{name[:2].upper()}-{i:03d}" for i in range(sites))
    return Part(
        name=name,
        target="GPP",
        scenario="toy",
        domain_kind="site",
        feature_names=FEATURES,
        X=X,
        y=np.where(counts, y, np.float32(np.nan)),
        qc=counts.astype(np.int8),
        time=np.tile(np.datetime64("2019-01-01T00", "s") + np.arange(hours) * np.timedelta64(3600, "s"), sites),
        site_codes=site_codes.astype(np.int32),
        sites=labels,
        domain_codes=site_codes.astype(np.int32),
        domains=labels,
        mask=np.ones(rows, dtype=np.bool_) if name == "test" else counts,
    )
