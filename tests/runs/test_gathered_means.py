"""Site means gathered for the report are those that the scores at the scale site-mean are made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.runs import TrainOptions, train
from fluxtrapolation.runs.gather import Gathered, gather
from fluxtrapolation.scenarios import DesignOptions, design
from tiny import write_tiny_store

RUN = ["target", "scenario", "model", "selection"]


@pytest.fixture(scope="module")
def gathered(tmp_path_factory: pytest.TempPathFactory) -> Gathered:
    """A linear model on unknown towers and on later years, from towers of three years."""
    out = tmp_path_factory.mktemp("means")
    store = write_tiny_store(out / "store", hours=24 * 800)
    by_years = DesignOptions(train_years=":2015", validation_years="2016", test_years="2017:")
    scenarios = [
        design(store, "random", name="draw", options=DesignOptions(n_test=2, n_validation=2)),
        design(store, "years", name="later", options=by_years),
    ]
    settings = TrainOptions(profile="quick", max_rows=2000, jobs=1)
    train(store, scenarios=scenarios, targets=["GPP"], models=["lr"], out=out / "runs", options=settings)
    return gather([out / "runs"])


def test_site_means_are_those_of_the_scores(gathered: Gathered) -> None:
    means = gathered.site_means
    assert means.columns == [*RUN, "site_id", "year", "y_true", "y_pred"]
    scores = gathered.scores.frame.filter(pl.col("scale") == "site-mean")
    both = means.join(scores, on=[*RUN, "site_id", "year"], how="inner", nulls_equal=True)
    known = both.drop_nulls(["y_true", "y_pred", "rmse"])
    assert known.height == scores["rmse"].count() > 0
    assert set(known["scenario"]) == {"draw", "later"}
    np.testing.assert_allclose((known["y_true"] - known["y_pred"]).abs(), known["rmse"], rtol=1e-9)


def test_a_domain_by_years_has_its_year(gathered: Gathered) -> None:
    years = dict(gathered.site_means.group_by("scenario").agg(pl.col("year").null_count()).iter_rows())
    assert years["later"] == 0
    assert years["draw"] == gathered.site_means.filter(scenario="draw").height


def test_the_report_takes_them(gathered: Gathered, tmp_path: Path) -> None:
    from fluxtrapolation.plots import write_report

    page = write_report(
        tmp_path,
        title="Means",
        scores=gathered.scores,
        site_means=gathered.site_means,
        split_sites=gathered.split_sites,
    )
    assert "Observed against predicted site means of GPP, draw, lr" in page.read_text("utf-8")
