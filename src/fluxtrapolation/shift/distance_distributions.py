"""Are the distances that cross-validation sees like those of the test? Nearest-neighbour distances, and W between them.

The idea is that of kNNDM (Linnenbrink et al. 2024, doi:10.5194/gmd-17-5897-2024): a validation error speaks for a test,
or for a map, only if the held-out rows lie as far from the rows fitted on as the test rows do from the train. Compared
are three distributions of the distance to the nearest train row: of train rows whose own tower is left out
(``train_cv``), of test rows, and of the rows of a prediction domain, if one is given. W is the area between two of
their cumulative distribution functions, in the unit of the distance; it is the Wasserstein distance of order one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from fluxtrapolation.errors import DataError, examples
from fluxtrapolation.scenarios import Part, Split
from fluxtrapolation.schema import SITE
from fluxtrapolation.shift.applicability_places import Coordinates, nearest_km, places
from fluxtrapolation.shift.covariate_pool import seeded
from fluxtrapolation.shift.dissimilarity import Dissimilarity, dissimilarity
from fluxtrapolation.shift.importances import Weights, feature_weights
from fluxtrapolation.shift.nearest import nearest_outside

Float64 = NDArray[np.float64]

ROWS: Final = 20_000
"""Train rows that stand for the train, and at most this many test rows and rows of the domain."""
RANDOM_FOLDS: Final = 10

TABLE: Final = {"space": pl.String, "kind": pl.String, SITE: pl.String, "distance": pl.Float64}
SUMMARY: Final = {
    "space": pl.String,
    "cv": pl.String,
    "against": pl.String,
    "w": pl.Float64,
    "w_relative": pl.Float64,
    "cv_farther": pl.Float64,
    "median_cv": pl.Float64,
    "median_against": pl.Float64,
    "unit": pl.String,
    "reason": pl.String,
}


@dataclass(frozen=True, eq=False)
class Domain:
    """Rows for which predictions are wanted, such as the cells of a grid.

    Attributes
    ----------
    X : ndarray of shape (n, features) or None
        Columns as in the split.
    lat, lon : array_like of shape (m,) or None
        Degrees.
    """

    X: NDArray[Any] | None = None
    lat: ArrayLike | None = None
    lon: ArrayLike | None = None

    def refuse_other_than(self, feature_names: Sequence[str]) -> None:
        """Refuse rows and places that cannot be compared with a split of these features.

        Raises
        ------
        DataError
            If there is no row, a column is lacking, a value is missing, or the coordinates are no places on earth.
        """
        if self.X is not None:
            X = np.asarray(self.X)
            if X.ndim != 2 or X.shape[1] != len(feature_names) or len(X) == 0:
                raise DataError(
                    f"The prediction domain has covariates of shape {X.shape}; it needs at least one row and the "
                    f"{len(feature_names)} columns of the split: {examples(feature_names, 6)}."
                )
            bad = ~np.isfinite(X).all(axis=1)
            if bad.any():
                raise DataError(
                    f"{int(bad.sum()):,} of {len(X):,} rows of the prediction domain have a missing or infinite "
                    f"covariate, first row {int(bad.argmax()):,}. Leave those rows out."
                )
        if (self.lat is None) != (self.lon is None):
            raise DataError("The prediction domain has only one of lat and lon. Give both, or neither.")
        if self.lat is not None and self.lon is not None:
            lat, lon = np.asarray(self.lat, np.float64), np.asarray(self.lon, np.float64)
            if lat.ndim != 1 or lat.shape != lon.shape or len(lat) == 0:
                raise DataError(
                    f"The prediction domain has lat of shape {lat.shape} and lon of shape {lon.shape}; give one of "
                    "each for every place, at least one."
                )
            if not (np.isfinite(lat) & np.isfinite(lon)).all():
                raise DataError("The prediction domain has missing coordinates. Leave those cells out.")
            off = ~((np.abs(lat) <= 90) & (np.abs(lon) <= 360))
            if off.any():
                raise DataError(
                    f"{int(off.sum()):,} coordinates of the prediction domain are no place on earth, first "
                    f"({lat[off][0]:g}, {lon[off][0]:g}). Give degrees."
                )


@dataclass(frozen=True, eq=False)
class DistanceDistributions:
    """Nearest-neighbour distances and how far their distributions lie apart.

    Attributes
    ----------
    table : pl.DataFrame
        space (feature or geographic), kind (train_cv, test or domain), site_id (null in a domain), distance: in mean
        distances between train rows (the dissimilarity index) or km. Feature space has sampled rows, geographic space
        one distance for each tower.
    summary : pl.DataFrame
        space, cv (by_tower, or random_rows), against (test or domain), w, w_relative (to the mean distance of what it
        is compared with), cv_farther (mean distance in cross-validation less that of the other: above 0 where
        validation is harder than the test, below 0 where it is too easy), medians, unit, and a reason where there is
        no value. Descriptive: no p-value.
    record : dict
    """

    table: pl.DataFrame
    summary: pl.DataFrame
    record: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the summary and the deciles of each distribution."""
        deciles = [
            {"space": space, "kind": kind, "deciles": np.quantile(part["distance"].to_numpy(), _TENTHS).tolist()}
            for (space, kind), part in self.table.group_by(["space", "kind"], maintain_order=True)
        ]
        return {"summary": self.summary.to_dicts(), "deciles": deciles, "record": self.record}


_TENTHS = np.linspace(0, 1, 11)


def distance_distributions(
    split: Split,
    *,
    coordinates: Coordinates | None = None,
    domain: Domain | None = None,
    model: Any = None,
    weights: Weights = "equal",
    rows: int = ROWS,
    seed: int = 0,
    jobs: int = 2,
) -> DistanceDistributions:
    """Distances to the nearest train row: in cross-validation by tower, of the test, and of a prediction domain.

    Parameters
    ----------
    split : Split
    coordinates : table, mapping or Store, optional
        Where towers stand, for the geographic space; without them it is left out, saying so.
    domain : Domain, optional
    model, weights
        How much each covariate counts; see :func:`fluxtrapolation.shift.importances.feature_weights`. Equal by default,
        as the distances are to speak of the data, not of one model.
    rows : int
        Train rows that stand for the train, and most test and domain rows; towers keep their share.
    seed : int
    jobs : int
        Threads.

    Raises
    ------
    ScenarioError
        If train has fewer towers than two.
    DataError
        If covariates or coordinates do not fit.
    """
    if domain is not None:
        domain.refuse_other_than(split.feature_names)
    importances = feature_weights(model, split.train, split.validation, weights=weights, seed=seed)
    made = dissimilarity(split.train, importances.weights, reference_rows=rows, seed=seed, jobs=jobs)
    tables, summaries = [], []
    found, random_cv = _features(split.test, made, domain, rows, seed, jobs)
    tables += found
    summaries += _compare(found, "feature", "mean train distance", {"random_rows": random_cv})
    reasons: dict[tuple[str, str], str] = {}
    if coordinates is None:
        reasons["geographic", "test"] = "no coordinates of the towers were given"
        if domain is not None:
            reasons["geographic", "domain"] = "no coordinates of the towers were given"
    else:
        here = places(coordinates, sorted({*split.train.sites, *split.test.sites}))
        found = _geography(split, here, domain)
        tables += found
        summaries += _compare(found, "geographic", "km", {})
    if domain is not None and domain.X is None:
        reasons["feature", "domain"] = "the prediction domain has no covariates"
    if domain is not None and domain.lat is None:
        reasons["geographic", "domain"] = "the prediction domain has no coordinates"
    for (space, against), reason in reasons.items():
        summaries.append(dict.fromkeys(SUMMARY) | {"space": space, "against": against, "reason": reason})
    return DistanceDistributions(
        table=pl.concat(tables),
        summary=pl.DataFrame(summaries, schema=SUMMARY),
        record=made.record | {"weights_from": importances.source, "notes": list(importances.notes)},
    )


def _features(
    test: Part, made: Dissimilarity, domain: Domain | None, rows: int, seed: int, jobs: int
) -> tuple[list[pl.DataFrame], Float64]:
    """Tables of the three kinds in feature space; and the distances that ten random folds of rows would see."""
    some = test.subsample(rows, seed=seed + 1)
    reference = made.reference
    tables = [
        _table("feature", "train_cv", made.train_index, reference.site),
        _table("feature", "test", made.index(some.X), some.site),
    ]
    if domain is not None and domain.X is not None:
        cells = np.asarray(domain.X)
        if len(cells) > rows:
            cells = cells[np.sort(seeded(seed, 91).choice(len(cells), rows, replace=False))]
        tables.append(_table("feature", "domain", made.index(cells), None))
    folds = seeded(seed, 92).permutation(len(reference)) % RANDOM_FOLDS
    near = nearest_outside(made.space.place(reference.X), folds, jobs=jobs)[0] / made.mean_distance
    return tables, near


def _geography(split: Split, here: Mapping[str, tuple[float, float]], domain: Domain | None) -> list[pl.DataFrame]:
    """One distance for each tower: the nearest *other* train tower, and for test towers the nearest train tower.

    A test tower that stands in train too (a scenario by years) is 0 km away.
    """
    train = np.array([here[site] for site in split.train.sites])
    test = np.array([here[site] for site in split.test.sites])
    tables = [
        _table("geographic", "train_cv", nearest_km(train, train, skip_self=True), split.train.sites),
        _table("geographic", "test", nearest_km(test, train), split.test.sites),
    ]
    if domain is not None and domain.lat is not None and domain.lon is not None:
        cells = np.stack([np.asarray(domain.lat, np.float64), np.asarray(domain.lon, np.float64)], axis=1)
        tables.append(_table("geographic", "domain", nearest_km(cells, train), None))
    return tables


def _table(space: str, kind: str, distance: Float64, sites: Sequence[str] | NDArray[np.str_] | None) -> pl.DataFrame:
    labels = [None] * len(distance) if sites is None else list(sites)
    return pl.DataFrame(
        {"space": [space] * len(distance), "kind": [kind] * len(distance), SITE: labels, "distance": distance},
        schema=TABLE,
    )


def _compare(
    tables: Sequence[pl.DataFrame], space: str, unit: str, others: Mapping[str, Float64]
) -> list[dict[str, Any]]:
    """W of each way of cross-validating against the test, and against the domain."""
    by_kind = {str(table["kind"][0]): table["distance"].to_numpy() for table in tables}
    ways = {"by_tower": by_kind.pop("train_cv"), **others}
    rows = []
    for against, distances in by_kind.items():
        for cv, seen in ways.items():
            w, mean = area_between(seen, distances), float(distances.mean())
            rows.append(
                {
                    "space": space,
                    "cv": cv,
                    "against": against,
                    "w": w,
                    "w_relative": w / mean if mean > 0 else None,
                    "cv_farther": float(seen.mean()) - mean,
                    "median_cv": float(np.median(seen)),
                    "median_against": float(np.median(distances)),
                    "unit": unit,
                    "reason": None if mean > 0 else "all distances are 0, so none can be relative to their mean",
                }
            )
    return rows


def area_between(one: ArrayLike, two: ArrayLike) -> float:
    """Area between two empirical cumulative distribution functions, ``integral |F - G|``; 0 if they are the same.

    Parameters
    ----------
    one, two : array_like, shapes (n,) and (m,)
        At least one value each; the unit is theirs.
    """
    a, b = np.sort(np.asarray(one, np.float64)), np.sort(np.asarray(two, np.float64))
    if len(a) == 0 or len(b) == 0:
        raise DataError("The area between distributions needs at least one value of each.")
    both = np.sort(np.concatenate([a, b]))
    steps = both[:-1]
    apart = np.searchsorted(a, steps, side="right") / len(a) - np.searchsorted(b, steps, side="right") / len(b)
    return float(np.abs(apart) @ np.diff(both))
