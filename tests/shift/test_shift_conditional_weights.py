"""Weights, roles and the test by tower, each against what it must be."""

from __future__ import annotations

import numpy as np
import pytest

from fluxtrapolation.shift.conditional_roles import Towers, deal, too_few_towers
from fluxtrapolation.shift.conditional_towers import tower_test
from fluxtrapolation.shift.conditional_weights import effective, importance, supported
from fluxtrapolation.shift.sampling import choose_rows
from shift_worlds import World


def _normal(x, mean):
    return np.exp(-((x - mean) ** 2) / 2) / np.sqrt(2 * np.pi)


@pytest.mark.parametrize("prior", [0.5, 0.2])
@pytest.mark.parametrize("marginal", ["train", "test", "shared"])
def test_weights_give_both_sides_the_same_mean(prior, marginal):
    """Train N(0, 1), test N(0.7, 1), exact P(test|x): every marginal puts both sides at its own mean."""
    rng = np.random.default_rng(0)
    x = {"train": rng.normal(0, 1, 400_000), "test": rng.normal(0.7, 1, 400_000)}
    means = {}
    for side, values in x.items():
        f, g = _normal(values, 0), _normal(values, 0.7)
        p = prior * g / (prior * g + (1 - prior) * f)
        weight = importance(p, side=side, marginal=marginal, prior=prior)
        assert weight.mean() == pytest.approx(1)
        means[side] = np.average(values, weights=weight)
    expected = {"train": 0.0, "test": 0.7, "shared": 0.35}[marginal]
    # Cutting the largest percent of the weights costs a little.
    assert means["train"] == pytest.approx(expected, abs=0.05)
    assert means["test"] == pytest.approx(expected, abs=0.05)


def test_weights_are_cut_at_their_99th_percentile_and_survive_certainty():
    p = np.r_[np.full(985, 0.5), np.full(15, 1.0)]
    weight = importance(p, side="train", marginal="test", prior=0.5)
    assert np.isfinite(weight).all()
    weight = importance(np.r_[np.full(995, 0.5), np.full(5, 0.999)], side="train", marginal="test", prior=0.5)
    assert weight.max() == pytest.approx(1)


def test_support_and_effective_size():
    p = np.array([0.05, 0.1, 0.5, 0.9, 0.95])
    assert supported(p, "train").tolist() == [False, False, True, True, True]
    assert supported(p, "test").tolist() == [True, True, True, False, False]
    assert effective(np.ones(7)) == pytest.approx(7)
    assert effective(np.array([1.0, 0, 0])) == pytest.approx(1)
    assert effective(np.array([])) == 0


def _roles(world, **options):
    rows = choose_rows(world.split(0))
    towers = Towers.of(rows)
    settings = {"paired": rows.paired, "generator": np.random.default_rng(0), "repeats": 6}
    return rows, towers, list(deal(towers, **(settings | options)))


def test_rows_are_dealt_in_thirds_and_halves_and_share_towers():
    rows, towers, dealt = _roles(World(train_towers=12, test_towers=8), unit="row", fit_on="train")
    for roles in dealt:
        thirds = roles.home_classifier, roles.home_fit, roles.home_evaluation
        assert sorted(np.concatenate(thirds).tolist()) == list(range(len(rows.train)))
        assert {len(part) for part in thirds} == {len(rows.train) // 3}
        halves = roles.away_classifier, roles.away_evaluation
        assert sorted(np.concatenate(halves).tolist()) == list(range(len(rows.test)))
        both = np.intersect1d(towers.train[roles.home_fit], towers.train[roles.home_evaluation])
        assert len(both) == 12, "the bias that the by-site split is there to avoid"


@pytest.mark.parametrize("fit_on", ["train", "test"])
def test_towers_keep_apart_and_are_judged_equally_often(fit_on):
    _, towers, dealt = _roles(World(train_towers=14, test_towers=13), unit="site", fit_on=fit_on)
    home, away = towers.sides(fit_on)
    judged = np.zeros(len(towers.names), dtype=int)
    for roles in dealt:
        groups = [set(home[at]) for at in (roles.home_classifier, roles.home_fit, roles.home_evaluation)]
        assert not (groups[0] & groups[1] | groups[0] & groups[2] | groups[1] & groups[2])
        halves = [set(away[at]) for at in (roles.away_classifier, roles.away_evaluation)]
        assert not halves[0] & halves[1]
        assert halves[0] | halves[1] == set(away)
        judged[sorted(groups[2] | halves[1])] += 1
    assert set(judged[np.unique(home)]) == {2}
    assert set(judged[np.unique(away)]) == {3}


def test_in_later_years_a_tower_keeps_one_role():
    rows, towers, dealt = _roles(World(train_towers=14, years=True), unit="site", fit_on="train")
    assert rows.paired
    for roles in dealt:
        judged = set(towers.train[roles.home_evaluation])
        assert judged == set(towers.test[roles.away_evaluation])
        learned = set(towers.train[roles.home_fit])
        told = set(towers.train[roles.home_classifier])
        assert told == set(towers.test[roles.away_classifier])
        assert not (judged & learned or judged & told or learned & told)


def test_too_few_towers_are_told():
    towers = Towers.of(choose_rows(World(train_towers=11, test_towers=7).split(0)))
    assert "train part has 11 towers; thirds of towers need at least 12" in too_few_towers(towers, "train", False)
    assert "test part has 7 towers; thirds" in too_few_towers(towers, "test", False)
    towers = Towers.of(choose_rows(World(train_towers=11, years=True).split(0)))
    assert "11 towers stand in both parts" in too_few_towers(towers, "train", True)


@pytest.mark.parametrize("paired", [False, True])
def test_the_test_by_tower_has_its_size_and_its_interval_covers(paired):
    """Skewed errors of towers that differ in rows, as in a store; 20 towers on each side, ratio of MSE known."""
    rng = np.random.default_rng(7)
    wrong = covered = 0
    draws = 400
    for _ in range(draws):
        weight = rng.lognormal(0, 0.5, (2, 20))
        hard = rng.lognormal(0, 0.5, 20)
        mse = (hard if paired else rng.lognormal(0, 0.5, (2, 20))) * rng.lognormal(0, 0.3, (2, 20))
        home, away = (mse[0] * weight[0], weight[0]), (mse[1] * weight[1], weight[1])
        wrong += tower_test(home, away, paired=paired).p_value < 0.05
        doubled = tower_test(home, (2 * away[0], away[1]), paired=paired)
        covered += doubled.low <= np.sqrt(2) - 1 <= doubled.high
    assert 0.02 <= wrong / draws <= 0.09
    assert 0.91 <= covered / draws <= 0.98


def test_the_test_by_tower_says_why_it_cannot():
    few = (np.ones(3), np.ones(3))
    told = tower_test(few, (np.ones(9), np.ones(9)), paired=False)
    assert told.p_value is None
    assert "3.0 and 9.0 effective towers" in told.reason
    assert "do not vary" in tower_test((np.ones(9), np.ones(9)), (np.ones(9), np.ones(9)), paired=False).reason
    assert "no error" in tower_test((np.zeros(9), np.ones(9)), (np.ones(9), np.ones(9)), paired=False).reason
