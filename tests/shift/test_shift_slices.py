"""Slices: raw curves part where other covariates differ, reweighted ones part only where P(Y|X) does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.errors import DataError
from fluxtrapolation.shift.sampling import choose_rows
from fluxtrapolation.shift.slices import SCHEMA, slices
from shift_worlds import World

WORLD = World("covariate", traits=False, train_towers=30, test_towers=30, rows=80, noise=0.2)


@pytest.fixture(scope="module")
def split():
    return WORLD.split(3)


@pytest.fixture(scope="module")
def made(split):
    return slices(split, bins=6)


def test_every_covariate_side_and_kind_has_its_bins(made, split):
    assert made.table.columns == list(SCHEMA)
    counts = made.table.group_by("covariate", "side", "kind").len()
    assert counts.height == len(split.feature_names) * 4
    assert set(counts["len"]) == {6}
    assert made.table.filter(pl.col("mean").is_null() & pl.col("reason").is_null()).height == 0
    assert made.table.filter(pl.col("se").is_null() & pl.col("reason").is_null()).height == 0


def test_raw_means_are_those_of_the_rows(made, split):
    row = made.table.filter(covariate="TA", side="test", kind="raw", bin=2).row(0, named=True)
    air = split.test.X[:, 0].astype(np.float64)
    here = (air >= row["low"]) & (air < row["high"])
    assert row["n"] == here.sum()
    assert row["mean"] == pytest.approx(split.test.y[here].astype(np.float64).mean())
    code = split.test.site_codes[here]
    off = np.array([(split.test.y[here][code == c] - row["mean"]).sum() for c in np.unique(code)])
    assert row["se"] == pytest.approx(np.sqrt(len(off) / (len(off) - 1) * (off**2).sum()) / here.sum(), rel=1e-4)


def _gap(table, kind):
    """Mean absolute difference of the sides over the bins of SW_IN, where other covariates alone make it."""
    wide = table.filter(covariate="SW_IN", kind=kind).pivot("side", index="bin", values="mean")
    return float((wide["test"] - wide["train"]).abs().mean())


def test_reweighting_closes_the_gap_that_other_covariates_make_and_not_that_of_the_concept():
    raw, fair, concept = [], [], []
    for seed in range(2):
        table = slices(WORLD.split(seed), bins=6).table
        raw.append(_gap(table, "raw"))
        fair.append(_gap(table, "reweighted"))
        concept.append(_gap(slices(replace(WORLD, kind="both").split(seed), bins=6).table, "reweighted"))
    assert np.mean(fair) < 0.5 * np.mean(raw)
    assert np.mean(concept) > 2 * np.mean(fair)


def test_plant_types_are_one_covariate_and_few_towers_have_no_se(split):
    def typed(part):
        kind = np.where(part.site_codes % 15 == 0, 1, 0)
        return replace(
            part,
            X=np.column_stack([part.X, kind == 0, kind == 1]).astype(np.float32),
            feature_names=(*part.feature_names, "PFT_ENF", "PFT_WSA"),
        )

    table = slices(replace(split, train=typed(split.train), test=typed(split.test))).table.filter(covariate="PFT")
    assert set(table["label"]) == {"ENF", "WSA"}
    rare = table.filter(label="WSA", side="train", kind="raw").row(0, named=True)
    assert rare["n_sites"] == 2
    assert rare["se"] is None
    assert "2 towers" in rare["reason"]
    assert rare["mean"] is not None


def test_too_few_towers_leave_the_raw_curves_and_say_why_there_are_no_others():
    table = slices(World(train_towers=8, test_towers=3, rows=60).split(0)).table
    assert table.filter(kind="raw")["mean"].null_count() < 5
    told = table.filter(kind="reweighted")
    assert told["mean"].null_count() == told.height
    assert all("8 train and 3 test towers" in reason for reason in told["reason"])


def test_no_overlap_is_told():
    table = slices(World("covariate", warmer=200.0, rows=60).split(0)).table
    assert all("too little overlap" in reason for reason in table.filter(kind="reweighted")["reason"])


def test_bad_input_is_told(split):
    with pytest.raises(DataError, match="bins"):
        slices(split, bins=1)
    with pytest.raises(DataError, match="marginal"):
        slices(split, marginal="all")
    y = split.test.y.copy()
    y[0] = np.nan
    with pytest.raises(DataError, match="need_target"):
        slices(choose_rows(replace(split, test=replace(split.test, y=y))))
