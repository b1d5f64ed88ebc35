"""Distributions of nearest-neighbour distances, in feature space and on the globe."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_shift_applicability import part, split

from fluxtrapolation.errors import DataError
from fluxtrapolation.shift.applicability_places import EARTH_RADIUS_KM, nearest_km, places
from fluxtrapolation.shift.distance_distributions import Domain, area_between, distance_distributions


def haversine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    (lat1, lon1), (lat2, lon2) = np.radians(a).T[:, :, None], np.radians(b).T[:, None, :]
    h = np.sin((lat2 - lat1) / 2) ** 2 + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    return 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(h, 0, 1)))


def test_nearest_places_by_the_haversine_formula() -> None:
    rng = np.random.default_rng(0)
    a = np.stack([rng.uniform(-90, 90, 60), rng.uniform(-180, 180, 60)], axis=1)
    b = np.stack([rng.uniform(-90, 90, 50), rng.uniform(-180, 180, 50)], axis=1)
    np.testing.assert_allclose(nearest_km(a, b), haversine(a, b).min(axis=1), rtol=1e-9)
    own = haversine(a, a)
    np.fill_diagonal(own, np.inf)
    np.testing.assert_allclose(nearest_km(a, a, skip_self=True), own.min(axis=1), rtol=1e-9)
    # Across the date line, and a quarter of the earth from pole to equator.
    assert nearest_km([[0, 179.9]], [[0, -179.9], [0, 170]])[0] == pytest.approx(22.24, abs=0.01)
    assert nearest_km([[90, 0]], [[0, 55]])[0] == pytest.approx(np.pi / 2 * EARTH_RADIUS_KM)


values = st.lists(st.floats(-100, 100), min_size=1, max_size=40)


@given(values, values)
def test_the_area_between_distributions_is_the_wasserstein_distance(one: list[float], two: list[float]) -> None:
    from scipy.stats import wasserstein_distance

    assert area_between(one, two) == pytest.approx(wasserstein_distance(one, two), abs=1e-9)
    assert area_between(one, one) == 0


def test_validation_by_tower_is_like_a_test_of_new_towers_and_random_rows_are_too_easy() -> None:
    """Towers apart from one another, many rows each: leaving out rows leaves near rows of the same tower."""
    rng = np.random.default_rng(1)
    train, test = part("train", rng.uniform(-30, 30, 40), seed=2), part("test", rng.uniform(-30, 30, 40), seed=3)
    found = distance_distributions(split(train, test), weights={"TA": 1, "VPD": 1, "SW_IN": 0, "PFT": 0})
    rows = {(row["space"], row["cv"]): row for row in found.summary.to_dicts()}
    assert rows["feature", "by_tower"]["w"] < 0.5 * rows["feature", "random_rows"]["w"]
    assert rows["feature", "random_rows"]["cv_farther"] < 0  # too easy
    assert rows["geographic", None]["reason"] == "no coordinates of the towers were given"
    assert found.summary.filter(pl.col("w").is_null() & pl.col("reason").is_null()).height == 0
    json.dumps(found.to_dict(), allow_nan=False)
    far = distance_distributions(split(train, part("test", rng.uniform(60, 90, 10), seed=4)))
    one = far.summary.row(0, named=True)
    assert one["cv_farther"] < 0 and one["w"] == pytest.approx(-one["cv_farther"])


def test_places_and_a_prediction_domain() -> None:
    train, test = part("train", [0, 1, 2, 3], seed=5), part("test", [0, 1], seed=6)
    where = {site: (10.0, 5.0 * i) for i, site in enumerate(train.sites)} | dict.fromkeys(test.sites, (10.0, 15.0))
    domain = Domain(X=part("test", [50.0], seed=7).X, lat=[10.0, -60.0], lon=[0.0, 0.0])
    table = pl.DataFrame(
        {"site_id": list(where), "lat": [v[0] for v in where.values()], "lon": [v[1] for v in where.values()]}
    )
    found = distance_distributions(split(train, test), coordinates=table, domain=domain, rows=300)
    kinds = found.table.group_by("space", "kind").len().sort("space", "kind").rows()
    assert kinds == [
        ("feature", "domain", 200),
        ("feature", "test", 300),
        ("feature", "train_cv", 300),
        ("geographic", "domain", 2),
        ("geographic", "test", 2),
        ("geographic", "train_cv", 4),
    ]
    km = found.table.filter((pl.col("space") == "geographic") & (pl.col("kind") == "test"))
    assert km["distance"].to_list() == pytest.approx([0, 0], abs=1e-6)
    against = found.summary.filter((pl.col("space") == "feature") & (pl.col("cv") == "by_tower"))
    farther = dict(zip(against["against"], against["cv_farther"], strict=True))
    assert farther["domain"] < farther["test"]  # the domain is far from train
    half = distance_distributions(split(train, test), coordinates=where, domain=Domain(lat=[0.0], lon=[0.0]))
    assert "the prediction domain has no covariates" in half.summary["reason"].to_list()


def test_bad_coordinates_are_told() -> None:
    assert places(None, ["A"]) == {}
    with pytest.raises(DataError, match="lacks the columns lat, lon"):
        places(pl.DataFrame({"site_id": ["A"]}), ["A"])
    with pytest.raises(DataError, match="no place on earth: A"):
        places({"A": (95.0, 0.0)}, ["A"])
    with pytest.raises(DataError, match="1 of 2 towers have no coordinates: B"):
        places(pl.DataFrame({"site_id": ["A", "B"], "lat": [1.0, None], "lon": [1.0, 2.0]}), ["A", "B"])
    with pytest.raises(DataError, match="not list"):
        places([1, 2], ["A"])
    with pytest.raises(DataError, match="at least one value"):
        area_between([], [1.0])


def test_a_place_alone_has_no_other_near_it() -> None:
    with pytest.raises(DataError, match="1 places have no other place to be near to"):
        nearest_km([[10.0, 5.0]], [[10.0, 5.0]], skip_self=True)


def test_a_domain_that_cannot_be_compared_is_refused_or_has_a_reason() -> None:
    whole = split(part("train", [0, 1, 2, 3], seed=5), part("test", [0, 1], seed=6))
    without = distance_distributions(whole, domain=Domain(lat=[0.0], lon=[0.0]), rows=300).summary
    told = without.filter((pl.col("space") == "geographic") & (pl.col("against") == "domain"))
    assert told["reason"].to_list() == ["no coordinates of the towers were given"]
    for domain, why in (
        (Domain(lat=[0.0]), "only one of lat and lon"),
        (Domain(lat=[0.0, 1.0], lon=[0.0]), r"lat of shape \(2,\)"),
        (Domain(lat=[np.nan], lon=[0.0]), "missing coordinates"),
        (Domain(np.zeros((0, 6))), "at least one row"),
    ):
        with pytest.raises(DataError, match=why):
            distance_distributions(whole, domain=domain, rows=300)


def test_numbers_of_threads_that_there_are_not_are_refused() -> None:
    whole = split(part("train", [0, 1, 2, 3], seed=5), part("test", [0, 1], seed=6))
    for jobs in (0, -2):
        with pytest.raises(DataError, match=f"jobs must be a number of threads, or -1 .* not {jobs}"):
            distance_distributions(whole, rows=300, jobs=jobs)
