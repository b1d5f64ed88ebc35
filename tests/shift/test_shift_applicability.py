"""The dissimilarity index against its formula, and whether it tells where a model errs: worlds of known truth."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.errors import DataError, ModelError, ScenarioError
from fluxtrapolation.scenarios import Part, Split
from fluxtrapolation.scenarios.scenario import PartName
from fluxtrapolation.shift.applicability import applicability
from fluxtrapolation.shift.dissimilarity import FeatureSpace, dissimilarity, whisker
from fluxtrapolation.shift.error_curve import auc, rank_correlation, summarise

NAMES = ("TA", "VPD", "SW_IN", "PFT_ENF", "PFT_GRA", "PFT_CRO")
WEIGHTS = {"TA": 2.0, "VPD": 1.0, "SW_IN": 0.0, "PFT": 1.0}
EQUAL = dict.fromkeys(WEIGHTS, 1.0)


def part(name: PartName, centres: Any, *, hours: int = 200, seed: int = 0, spread: float = 1.0) -> Part:
    """Towers whose covariates lie around a centre of their own; y is TA plus noise; the class follows the tower."""
    rng = np.random.default_rng(seed)
    centres = np.atleast_1d(np.asarray(centres, dtype=float))
    towers = len(centres)
    code = np.repeat(np.arange(towers), hours)
    X = np.zeros((towers * hours, len(NAMES)), dtype=np.float32)
    X[:, :3] = rng.normal(size=(len(X), 3)) * spread + centres[code, None] * np.array([1.0, 0.5, 0.0])
    X[np.arange(len(X)), 3 + code % 3] = 1
    labels = tuple(f"{name[:2].upper()}-{i:03d}" for i in range(towers))
    start = np.datetime64("2019-01-01T00", "s")
    return Part(
        name=name,
        target="GPP",
        scenario="toy",
        domain_kind="site",
        feature_names=NAMES,
        X=X,
        y=(X[:, 0] + 0.1 * rng.normal(size=len(X))).astype(np.float32),
        qc=np.ones(len(X), dtype=np.int8),
        time=np.tile(start + np.arange(hours) * np.timedelta64(3600, "s"), towers),
        site_codes=code.astype(np.int32),
        sites=labels,
        domain_codes=code.astype(np.int32),
        domains=labels,
    )


def split(train: Part, test: Part, validation: Part | None = None) -> Split:
    scenario: Any = SimpleNamespace(name="toy")
    held = validation if validation is not None else part("validation", np.zeros(2), seed=9)
    return Split(scenario, "GPP", train, held, test, NAMES, (), "hash")


def test_the_index_is_its_formula() -> None:
    """Everything by hand, over all pairs: standardise, weigh, add the class gap, divide by the mean distance."""
    train, test = part("train", [0, 1, 3], hours=40, seed=1), part("test", [2, 8], hours=30, seed=2)
    made = dissimilarity(train, WEIGHTS)
    weight = {name: value / 4 for name, value in WEIGHTS.items()}

    def place(X: np.ndarray) -> np.ndarray:
        numeric = (X[:, :2].astype(float) - train.X[:, :2].mean(0, dtype=float)) / train.X[:, :2].std(
            0, ddof=1, dtype=float
        )
        shares = train.X[:, 3:].mean(0, dtype=float)
        block = X[:, 3:].astype(float) / np.sqrt(1 - (shares**2).sum())  # one-hot, total variance 1 in train
        return np.hstack([numeric * [weight["TA"], weight["VPD"]], block * weight["PFT"]])

    a, b = place(train.X), place(test.X)
    own = np.linalg.norm(a[:, None] - a[None], axis=2)
    mean = own[np.triu_indices(len(a), 1)].mean()
    expected = np.linalg.norm(b[:, None] - a[None], axis=2).min(1) / mean
    np.testing.assert_allclose(made.index(test.X), expected, rtol=1e-6)
    own[train.site_codes[:, None] == train.site_codes[None]] = np.inf
    cv = own.min(1) / mean
    np.testing.assert_allclose(made.train_index, cv, rtol=1e-6)
    low, high = np.quantile(cv, [0.25, 0.75])
    assert made.threshold == pytest.approx(min(high + 1.5 * (high - low), cv.max()), rel=1e-6)
    assert made.record["folds"] == "each tower left out" and made.record["reference_rows"] == 120
    # Meyer and Pebesma's whisker never exceeds the largest index.
    assert whisker(np.array([0.0, 1.0, 2.0, 3.0])) == 3.0
    assert whisker(np.array([0.0, 1.0, 1.0, 1.0, 9.0])) == 1.0


def test_every_covariate_counts_the_same_at_equal_weights_and_a_rare_class_is_no_outlier() -> None:
    """Mean squared distance of random train pairs is 2 for a standardised covariate, and for the classes together."""
    rng = np.random.default_rng(3)
    n = 20_000
    X = np.zeros((n, 6), dtype=np.float32)
    X[:, :3] = rng.normal(50, 7, (n, 3))
    X[np.arange(n), 3 + rng.choice(3, n, p=[0.9, 0.099, 0.001])] = 1
    space = FeatureSpace.of(X, NAMES, EQUAL)
    points = space.place(X)
    i, j = rng.integers(0, n, (2, 200_000))
    numeric = np.square(points.values[i] - points.values[j]).mean(axis=0) * 16
    classes = (space.gap**2 * (points.classes[i] != points.classes[j])).mean() * 16
    assert numeric == pytest.approx([2, 2, 2], rel=0.02)
    assert classes == pytest.approx(2, rel=0.05)
    # Scaled column by column, a row of the rare class would lie more than 30 standard deviations from the others.
    assert space.gap * 4 < 4


def test_train_rows_have_index_zero_and_far_towers_lie_outside() -> None:
    train = part("train", np.linspace(-2, 2, 12), seed=4)
    same, like, far = part("test", [0]), part("test", np.linspace(-1.9, 1.9, 12), seed=5), part("test", [30.0, 40.0])
    made = dissimilarity(train, EQUAL)
    assert (made.index(train.X) == 0).all()
    near, distant = made.index(like.X), made.index(far.X)
    assert (near > made.threshold).mean() < 0.1  # towers drawn like those of train
    assert (distant > made.threshold).all()
    assert np.median(distant) > 10 * np.median(near)
    assert made.index(same.X).shape == (len(same),)


def test_where_the_error_grows_with_distance_the_index_finds_it() -> None:
    train = part("train", np.linspace(-1, 1, 10), seed=6)
    centres = np.linspace(0, 20, 30)
    test = part("test", centres, seed=7)
    rng = np.random.default_rng(8)
    wrong = test.y + rng.normal(size=len(test)) * (0.2 + 0.1 * centres[test.site_codes])
    lost = rng.random(len(test)) < 0.1
    object.__setattr__(test, "y", np.where(lost, np.nan, test.y).astype(np.float32))
    made = applicability(None, split(train, test), weights="equal", predictions=np.nan_to_num(wrong), draws=199)
    assert made.index.shape == (len(test),) and np.isfinite(made.index).all()  # rows without y too
    measures = {row["measure"]: row for row in made.summary.to_dicts()}
    assert measures["spearman"]["value"] > 0.9 and measures["spearman"]["p_value"] == 1 / 200
    assert measures["auc_worst"]["value"] > 0.95
    assert measures["rmse_outside_minus_inside"]["n"] == 0  # 200 hours a tower: no tower has a week on both sides
    assert "168 scored hours" in measures["rmse_outside_minus_inside"]["reason"]
    rmse = made.error_curve["rmse"].to_numpy()
    assert rank_correlation(made.error_curve["index"].to_numpy(), rmse) > 0.9
    assert made.error_curve["n"].sum() == int((~lost).sum())
    assert made.error_curve["n"].max() - made.error_curve["n"].min() <= 1
    assert made.tower_curve["n_sites"].sum() == 30
    pooled = np.square(wrong - test.y)[~lost].mean()
    assert np.average(rmse**2, weights=made.error_curve["n"].to_numpy()) == pytest.approx(pooled, rel=1e-5)
    assert made.sites["rmse"].null_count() == 0
    assert made.outside_share == pytest.approx((made.sites["outside_share"] * made.sites["n"]).sum() / len(test))
    json.dumps(made.to_dict(), allow_nan=False)


def test_where_it_does_not_the_p_value_errs_as_often_as_it_says() -> None:
    rng = np.random.default_rng(9)
    rejected = {"spearman": 0, "auc_worst": 0}
    worlds = 120
    for _ in range(worlds):
        table = pl.DataFrame({"index_median": rng.random(24), "rmse": rng.random(24)}).with_columns(
            pl.lit(None, pl.Float64).alias(name)
            for name in ("rmse_inside", "rmse_outside", "rmse_same_clock", "rmse_outside_same_clock")
        )
        for row in summarise("m", table, draws=99, seed=int(rng.integers(10**6))).to_dicts():
            if row["measure"] in rejected:
                rejected[row["measure"]] += row["p_value"] <= 0.1
    assert 2 <= rejected["spearman"] <= 24  # 12 of 120 expected at 0.1
    assert rejected["auc_worst"] <= 24


def test_day_against_night_does_not_pass_for_skill() -> None:
    """The error depends on the hour alone, and so does the index: the plain comparison is fooled, the clock is not."""
    train = part("train", np.linspace(-1, 1, 10), hours=600, seed=10)
    test = part("test", np.linspace(-1, 1, 8), hours=2400, seed=11)
    hour = test.time.astype("datetime64[h]").astype(int) % 24
    day = (hour >= 8) & (hour < 18)
    rng = np.random.default_rng(12)
    test.X[:, 0] += np.where(day & (rng.random(len(test)) < 0.7), 25, 0)  # most day hours lie far from train
    told = test.y + rng.normal(size=len(test)) * np.where(day, 3.0, 0.3)
    made = applicability(None, split(train, test), weights="equal", predictions={"m": told}, draws=199)
    measures = {row["measure"]: row for row in made.summary.to_dicts()}
    assert measures["rmse_outside_minus_inside"]["value"] > 0.8
    assert measures["rmse_outside_minus_inside"]["p_value"] < 0.05
    assert abs(measures["rmse_outside_minus_inside_same_clock"]["value"]) < 0.2
    last = made.error_curve.row(-1, named=True)
    assert last["rmse_clock"] == pytest.approx(last["rmse"], rel=0.05)


def test_protocol_measured_scores_measured_rows_only_and_coordinates_reach_the_table() -> None:
    train, test = part("train", np.linspace(-1, 1, 6), seed=13), part("test", [0, 1, 2, 3, 4, 5], seed=14)
    test.qc[::2] = 0
    places = {site: (10.0 * i, 20.0) for i, site in enumerate(test.sites)}
    told = np.where(test.qc == 1, test.y, test.y + 50)
    made = applicability(
        None,
        split(train, test),
        weights="equal",
        predictions=told,
        protocol="measured",
        coordinates=places,
        draws=20,
    )
    assert made.tower_errors["rmse"].max() < 1e-6
    assert made.tower_errors["n"].to_list() == [100] * 6
    assert made.sites["lat"].to_list() == [0, 10, 20, 30, 40, 50]
    assert made.record["scored_rows"] == 600


def test_what_cannot_be_told_says_why() -> None:
    train = part("train", np.linspace(-1, 1, 6), seed=15)
    few = applicability(None, split(train, part("test", [0, 1], seed=16)), weights="equal", predictions=np.zeros(400))
    told = {row["measure"]: row["reason"] for row in few.summary.to_dicts()}
    assert told["spearman"] == "2 towers with observations; a rank correlation needs 5"
    assert told["auc_worst"] == "2 towers with observations; a worst tenth needs 10"
    assert few.summary.filter(pl.col("value").is_null() & pl.col("reason").is_null()).height == 0
    bare = applicability(None, split(train, part("test", [0, 1], seed=16)), weights="equal")
    assert bare.summary.height == 0 and bare.sites["rmse"].null_count() == 2
    json.dumps(bare.to_dict(), allow_nan=False)
    constant = part("train", np.linspace(-1, 1, 6), seed=15)
    constant.X[:, 1] = 4
    constant.X[:, 3:] = [1, 0, 0]
    made = applicability(None, split(constant, part("test", [0, 1], seed=16)), weights="equal")
    assert any("VPD is constant in train" in note and "400 test rows" in note for note in made.record["notes"])
    assert any("PFT is constant in train" in note and "200 test rows" in note for note in made.record["notes"])
    unseen = part("train", np.linspace(-1, 1, 6), seed=15)
    unseen = unseen.take(unseen.X[:, 4] == 0)
    made = applicability(None, split(unseen, part("test", [0, 1], seed=16)), weights="equal")
    assert any("PFT_GRA" in note for note in made.record["notes"])
    assert made.sites["outside_share"].to_list()[1] > made.sites["outside_share"].to_list()[0]


def test_folds_by_domain_and_by_groups_and_the_note_on_towers_seen_in_train() -> None:
    train = part("train", np.linspace(-3, 3, 8), seed=17)
    year = np.arange(len(train)) % 2
    object.__setattr__(train, "domain_codes", (train.site_codes * 2 + year).astype(np.int32))
    object.__setattr__(train, "domains", tuple(f"{s} {y}" for s in train.sites for y in (2018, 2019)))
    by_site, by_year = dissimilarity(train, EQUAL), dissimilarity(train, EQUAL, folds="domain")
    groups = dissimilarity(train, EQUAL, folds=3)
    # The other year of the same tower is near; two other groups of towers are farther than all other towers.
    assert by_year.threshold < by_site.threshold
    assert groups.train_index.mean() > by_site.train_index.mean()
    assert groups.record["folds"] == "3 groups of towers"
    made = applicability(None, split(train, part("train", np.linspace(-3, 3, 8), seed=18)), weights="equal")
    assert any("8 of 8 test towers stand in train too" in note for note in made.record["notes"])


def test_bad_input_is_told() -> None:
    train, test = part("train", [0, 1, 2]), part("test", [0, 1])
    whole = split(train, test)
    with pytest.raises(DataError, match=r"shape \(3,\); the test part has 400 rows"):
        applicability(None, whole, weights="equal", predictions=np.zeros(3))
    with pytest.raises(DataError, match="1 predictions of model are missing or infinite, first in row 7"):
        applicability(None, whole, weights="equal", predictions=np.where(np.arange(400) == 7, np.nan, 0.0))
    with pytest.raises(ModelError, match="Give one, fitted, or weights='equal'"):
        applicability(None, whole)
    with pytest.raises(DataError, match="no protocol 'all'"):
        applicability(None, whole, weights="equal", protocol="all")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="2 of 2 towers have no coordinates: TE-000"):
        applicability(None, whole, weights="equal", coordinates={"XX": (1.0, 2.0)})
    with pytest.raises(ScenarioError, match="of one tower only"):
        applicability(None, split(part("train", [0]), test), weights="equal")
    with pytest.raises(ScenarioError, match="the test part has no row"):
        applicability(None, split(train, test.take(np.zeros(400, dtype=bool))), weights="equal")
    with pytest.raises(DataError, match="folds is 'year'"):
        dissimilarity(train, EQUAL, folds="year")  # type: ignore[arg-type]
    with pytest.raises(ScenarioError, match="3 train towers; 4 folds"):
        dissimilarity(train, EQUAL, folds=4)
    still = part("train", [0, 1, 2])
    still.X[:] = [1, 2, 3, 1, 0, 0]
    with pytest.raises(DataError, match="No covariate with a weight above 0 varies"):
        dissimilarity(still, EQUAL)
    scaled = part("train", [0, 1, 2])
    scaled.X[:, 3:] *= 2
    with pytest.raises(DataError, match="PFT_ENF and its like hold other values"):
        dissimilarity(scaled, EQUAL)
    ready = dissimilarity(train, EQUAL)
    with pytest.raises(DataError, match="PFT_ENF holds other values than 0 and 1"):
        ready.index(scaled.X)
    both = test.X.copy()
    both[3, 3:] = 1
    with pytest.raises(DataError, match="1 rows belong to several plant functional types, first row 3"):
        ready.index(both)
    holes = part("train", [0, 1, 2])
    holes.X[5, 1] = np.nan
    with pytest.raises(DataError, match="missing or infinite values: VPD"):
        dissimilarity(holes, EQUAL)
    object.__setattr__(train, "mask", np.ones(len(train), dtype=bool))
    with pytest.raises(DataError, match="made for sequences"):
        applicability(None, whole, weights="equal")


def test_auc_is_the_chance_that_a_worst_tower_has_the_larger_index() -> None:
    score, worst = np.array([0.1, 0.4, 0.35, 0.8, 0.4]), np.array([False, False, True, True, True])
    pairs = [(a > b) + 0.5 * (a == b) for a in score[worst] for b in score[~worst]]
    assert auc(score, worst) == pytest.approx(np.mean(pairs))
