"""Scores cut into cells by site, and the effective number of domains."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxtrapolation.evaluation.certainty.clusters import Cell, cells_of, effective_size
from fluxtrapolation.evaluation.certainty.special import t_quantile
from made_scores import board, made, names, one_cell, together


def cells(*tables: pl.DataFrame, **options: object) -> list[Cell]:
    return cells_of(together(*tables).frame, metric="rmse", **options)  # type: ignore[arg-type]


def test_site_years_stand_beside_each_other() -> None:
    table = made([1.0, 2.0, 3.0, np.nan, 5.0], sites=["B", "A", "B", "A", "C"], years=[2001, 2002, 2003, 2001, 2001])
    (cell,) = cells(table)
    assert cell.sites == ("A", "B", "C")
    assert cell.values.shape == (1, 3, 2)
    np.testing.assert_array_equal(cell.values[0], [[np.nan, 2.0], [1.0, 3.0], [5.0, np.nan]])
    assert cell.n_null.tolist() == [1]
    values, sites = cell.flat(0)
    assert values.tolist() == [2.0, 1.0, 3.0, 5.0]
    assert sites.tolist() == [0, 1, 1, 2]


def test_a_domain_without_site_stands_for_itself() -> None:
    (cell,) = cells(made([1.0, 2.0, 3.0]).with_columns(pl.lit(None, pl.String).alias("site_id")))
    assert cell.values.shape == (1, 3, 1)
    assert len(set(cell.sites)) == 3


def test_runs_and_seeds() -> None:
    (cell,) = cells(
        made([1.0, 2.0], "b", seed=1), made([3.0, 4.0], "b", seed=0), made([5.0, 6.0], "a"), made([7.0, np.nan], "c")
    )
    assert cell.runs == (("a", "mean"), ("b", "mean"), ("c", "mean"))
    assert cell.replicates.tolist() == [0, 1, 1, 2]
    np.testing.assert_array_equal(cell.values[:, :, 0], [[5, 6], [3, 4], [1, 2], [7, np.nan]])
    np.testing.assert_array_equal(cell.averaged(cell.values)[:, :, 0], [[5, 6], [2, 3], [7, np.nan]])
    np.testing.assert_allclose(cell.spread(np.array([1.0, 2.0, 4.0, 5.0])), [np.nan, np.sqrt(2), np.nan])
    assert np.isnan(cell.spread(np.array([1.0, 2.0, np.nan, 5.0]))[1])


def test_cells_come_in_the_boards_order() -> None:
    scenarios = ("zebra", "temperature", "temporal", "spatial", "alpha")
    scores = board({"m": 0.0}, scenarios=scenarios, scales=("iav", "hourly"), sites=3)
    found = [cell.key[1:] for cell in cells_of(scores.frame, metric="rmse")]
    order = ("temporal", "spatial", "temperature", "alpha", "zebra")
    assert found == [(scenario, scale) for scenario in order for scale in ("hourly", "iav")]


@settings(max_examples=25)
@given(st.randoms(use_true_random=False))
def test_row_order_is_of_no_consequence(random: object) -> None:
    frame = board({"b": 0.0, "a": 0.1}, seeds={"a": 2}, sites=5).frame
    order = list(range(frame.height))
    random.shuffle(order)  # type: ignore[attr-defined]
    for one, other in zip(cells_of(frame, metric="rmse"), cells_of(frame[order], metric="rmse"), strict=True):
        assert (one.key, one.runs, one.sites) == (other.key, other.runs, other.sites)
        np.testing.assert_array_equal(one.values, other.values)


def test_a_run_without_a_cell_is_not_in_it() -> None:
    first, second = cells(made([1.0], "a"), made([1.0], "b"), made([1.0], "a", scale="weekly"))
    assert len(first.runs) == 2
    assert second.runs == (("a", "mean"),)


def test_sites_that_one_run_names_hold_for_the_others() -> None:
    """The same domains, once with and once without site_id (a bare table), are the same domains."""
    bare = made([3.0, 4.0], "b").with_columns(pl.lit(None, pl.String).alias("site_id"))
    (cell,) = cells(made([1.0, 2.0], "a"), bare)
    assert len(cell.sites) == 2
    np.testing.assert_array_equal(cell.values[:, :, 0], [[1, 2], [3, 4]])


def repeat(values: np.ndarray, times: int) -> tuple[np.ndarray, np.ndarray]:
    return np.repeat(values, times), np.repeat(np.arange(len(values)), times)


@given(st.integers(1, 60), st.sampled_from([0.1, 0.5, 0.9]))
def test_one_domain_a_site_counts_fully(n: int, share: float) -> None:
    values = np.random.default_rng(n).normal(size=n)
    assert effective_size(values, np.arange(n) * 3, share) == n


@pytest.mark.parametrize("groups", [1, 2, 9])
def test_fewer_than_ten_sites_count_as_sites(groups: int) -> None:
    values, sites = repeat(np.random.default_rng(0).normal(size=groups), 4)
    assert effective_size(values, sites, 0.5) == groups


@pytest.mark.parametrize("share", [0.5, 0.9])
@pytest.mark.parametrize("groups", [12, 40, 126])
def test_identical_years_count_once(groups: int, share: float) -> None:
    values, sites = repeat(np.random.default_rng(groups).normal(size=groups), 5)
    found = effective_size(values, sites, share)
    few = (1.959963984540054 / t_quantile(0.975, groups - 1)) ** 2
    below = (values <= np.quantile(values, share)).mean()
    wanted = share * (1 - share) / (below * (1 - below)) * (groups - 1) * few
    assert found == pytest.approx(wanted, rel=1e-9)
    assert 0.6 * groups < found < 1.25 * groups


def test_independent_years_count_nearly_all() -> None:
    rng = np.random.default_rng(4)
    sizes = [effective_size(rng.normal(size=400), np.repeat(np.arange(100), 4), 0.5) for _ in range(60)]
    assert 320 < np.mean(sizes) <= 400


def test_half_correlated_years_lie_between() -> None:
    rng = np.random.default_rng(4)
    sites = np.repeat(np.arange(100), 4)
    sizes = [effective_size(rng.normal(size=100)[sites] + rng.normal(size=400), sites, 0.5) for _ in range(60)]
    assert 120 < np.mean(sizes) < 280


def test_years_that_balance_each_other_count_at_most_as_domains() -> None:
    values = np.tile([1.0, -1.0], 30) + np.linspace(0, 0.1, 60)
    assert effective_size(values, np.repeat(np.arange(30), 2), 0.5) == 60


@settings(max_examples=60)
@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.5, 0.9, 0.99]))
def test_effective_size_is_never_more_than_the_domains_and_ignores_names_and_order(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    sites = rng.integers(0, rng.integers(1, 40), 80)
    values = np.round(rng.normal(size=40)[sites] + rng.normal(size=80), 1)
    found = effective_size(values, sites, share)
    assert 0 < found <= 80
    order = rng.permutation(80)
    assert effective_size(values[order], 99 - sites[order], share) == pytest.approx(found, rel=1e-9)
    assert effective_size(np.exp(values), sites, share) == pytest.approx(found, rel=1e-9)


def test_flat_of_an_empty_row() -> None:
    cell = one_cell(np.full((1, 3, 2), np.nan))
    values, sites = cell.flat(0)
    assert len(values) == len(sites) == 0
    assert cell.sites == tuple(names(3))
