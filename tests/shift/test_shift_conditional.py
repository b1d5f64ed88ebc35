"""P(Y|X) on worlds whose answer is known, and what it says where there is none."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.errors import DataError
from fluxtrapolation.shift.conditional import conditional
from fluxtrapolation.shift.conditional_weights import MARGINALS
from shift_worlds import World, judge

SMALL = World(train_towers=15, test_towers=12, rows=60)


@pytest.fixture(scope="module")
def made():
    return conditional(SMALL.split(0), repeats=2, slice_rows=0)


def test_the_tree_of_numbers_is_the_promised_one(made):
    told = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    for tree in (told, told["by_site"]):
        for fit_on in ("fit_on_train", "fit_on_test"):
            for marginal in MARGINALS:
                assert isinstance(tree[fit_on][marginal]["rmse_increase"], float)
                assert 1 <= tree[fit_on][marginal]["n"] <= 2
    assert told["fit_on_train"]["shared"]["p_value"] is None
    assert "not independent" in told["fit_on_train"]["shared"]["p_note"]
    assert told["by_site"]["fit_on_train"]["shared"]["p_value"] is not None


def test_the_table_is_tidy_and_says_the_same(made):
    assert made.table.height == 12
    row = made.table.filter(split="site", fit_on="train", marginal="shared").row(0, named=True)
    told = made.by_site.fit_on_train.shared
    assert row["rmse_increase"] == told.rmse_increase.mean
    assert row["low"] < told.pooled < row["high"]
    assert row["decision"] == told.decision
    # A side at its own marginal keeps all its rows alike.
    own = made.table.filter(split="row", fit_on="train", marginal="train").row(0, named=True)
    assert own["ess_train"] == pytest.approx(own["kept_train"] * 15 * 60 / 3, rel=0.01)
    assert own["ess_test"] < own["kept_test"] * 12 * 60 / 2


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(made):
    options = {"repeats": 2, "slice_rows": 0, "units": ["site"], "fit_on": ["train"]}
    again = conditional(SMALL.split(0), **options)
    assert again.by_site.fit_on_train == made.by_site.fit_on_train
    other = conditional(SMALL.split(0), seed=1, **options)
    assert other.by_site.fit_on_train != made.by_site.fit_on_train


def test_the_mirror_is_the_same_measure_with_parts_exchanged():
    """A concept that only makes test noisier: test looks worse from train, train looks better from test."""
    split = World("none", traits=False, train_towers=15, test_towers=15, rows=100).split(1)
    noise = np.random.default_rng(0).normal(0, 3, len(split.test)).astype(np.float32)
    noisy = replace(split, test=replace(split.test, y=split.test.y + noise))
    told = conditional(noisy, repeats=3, units=["row"], slice_rows=0).by_row
    assert told.fit_on_train.shared.rmse_increase.mean > 0.5
    assert told.fit_on_test.shared.rmse_increase.mean < -0.2


def test_no_overlap_is_refused_with_its_numbers():
    made = conditional(World("covariate", warmer=200.0, rows=40).split(0), repeats=2, slice_rows=0)
    assert made.table["rmse_increase"].null_count() == made.table.height
    assert all("too little overlap: 0.0%" in reason for reason in made.table["reason"])
    assert made.by_row.fit_on_train.shared.kept_train == 0
    json.dumps(made.to_dict(), allow_nan=False)


def test_too_few_towers_refuse_by_site_only():
    made = conditional(World(train_towers=10, test_towers=6, rows=60).split(0), repeats=2, slice_rows=0)
    assert made.by_row.fit_on_train.shared.rmse_increase.mean is not None
    told = made.by_site.fit_on_train.shared
    assert told.rmse_increase.mean is None
    assert "10 towers" in told.rmse_increase.reason
    assert told.decision == "no decision"


def test_missing_targets_are_left_out_and_counted():
    split = SMALL.split(0)
    y = split.test.y.copy()
    y[::3] = np.nan
    made = conditional(replace(split, test=replace(split.test, y=y)), repeats=1, slice_rows=0, units=["row"])
    assert made.record["test_rows_without_target"] == 240
    assert made.table.filter(split="row")["rmse_increase"].null_count() == 0
    assert set(made.table.filter(split="site")["reason"]) == {"not asked for"}


def test_a_perfect_model_makes_no_ratio():
    split = SMALL.split(0)

    def flat(part):
        return replace(part, y=np.zeros_like(part.y))

    made = conditional(replace(split, train=flat(split.train), test=flat(split.test)), repeats=1, slice_rows=0)
    assert made.table["rmse_increase"].null_count() == 12
    assert all("no error" in reason or "too little overlap" in reason for reason in made.table["reason"])
    assert any("no error" in reason for reason in made.table["reason"])


def test_the_slices_come_along():
    made = conditional(SMALL.split(0), repeats=1, units=["row"], fit_on=["train"])
    assert set(made.slices["kind"]) == {"raw", "reweighted"}
    assert made.slices.filter(pl.col("mean").is_null() & pl.col("reason").is_null()).height == 0


def test_bad_options_are_told():
    split = SMALL.split(0)
    for options in ({"repeats": 0}, {"units": ["rows"]}, {"fit_on": "train"}, {"protocol": "raw"}):
        with pytest.raises(DataError):
            conditional(split, **options)


@pytest.mark.slow
def test_by_site_tells_the_constructed_worlds_apart_and_by_row_does_not(capsys):
    """Bands wide enough for chance, narrow enough to catch a broken test; the study at size is an example."""
    worlds = {"none": 12, "covariate": 8, "concept": 8, "both": 6}
    decided, pooled, row = {}, {}, []
    for kind, n in worlds.items():
        judged = [judge(World(kind, rows=60), i, row_repeats=2 if kind == "none" else 0) for i in range(n)]
        decided[kind] = sum(found.site["shared"].decision == "larger" for found in judged)
        pooled[kind] = float(np.median([found.site["shared"].pooled for found in judged]))
        row += [found.row["shared"].rmse_increase.mean for found in judged if found.row]
    with capsys.disabled():
        sys.stdout.write(f"\nP(Y|X) by site, told larger: {decided} of {worlds}; median increase: {pooled}\n")
        sys.stdout.write(f"by row without any shift: mean increase {np.mean(row):+.1%}\n")
    # An exact test errs upwards at 2.5 %: three or more of 12 has a chance of 0.3 %.
    assert decided["none"] <= 2
    assert decided["covariate"] <= 2
    assert decided["concept"] >= 2
    assert decided["both"] >= 1
    assert abs(pooled["none"]) < 0.25
    assert pooled["concept"] > 0.15
    # Without any shift, traits of towers alone make the row-wise increase positive.
    assert np.mean(row) > 2 * np.std(row, ddof=1) / math.sqrt(len(row))
    assert np.mean(row) > 0.03
