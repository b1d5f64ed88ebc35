"""Errors by kind of place, and the whole distribution."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxtrapolation.errors import EvaluationError, MissingColumnError
from fluxtrapolation.evaluation import Scores, cdf, intervals, render, strata, summarise
from made_scores import board, made, names, together

N = 40


@pytest.fixture(scope="module")
def scores() -> Scores:
    table = board({"lr": 0.0, "xgb": 0.3}, scenarios=("spatial",), sites=N).frame
    return Scores(table.with_columns(pl.col("domain", "site_id").str.replace("sp", "S")))


@pytest.fixture(scope="module")
def sites() -> pl.DataFrame:
    rng = np.random.default_rng(0)
    return pl.DataFrame(
        {
            "site_id": names(N),
            "igbp": ["ENF"] * 20 + ["GRA"] * 12 + ["WET"] * 3 + [None] * 5,
            "network": ["AmeriFlux"] * 10 + ["ICOS/CarboEuroFlux;x"] * 10 + [" ICOS"] * 10 + ["OzFlux (2015)"] * 10,
            "lat": rng.uniform(-50, 75, N),
            "mat_c": rng.uniform(-10, 28, N),
            "elevation": rng.uniform(0, 3000, N),
            "forest": [True] * 20 + [False] * 20,
        }
    )


KEY = ["target", "scenario", "scale", "model", "selection"]


@pytest.mark.parametrize("by", ["igbp", "network", "latitude", "temperature", "forest"])
def test_domains_of_the_strata_add_up(scores: Scores, sites: pl.DataFrame, by: str) -> None:
    found = strata(scores, sites, by=by)
    every = found.filter(pl.col("stratum") == "all")
    parts = found.filter(pl.col("stratum") != "all").group_by(KEY, maintain_order=True).agg(pl.col("n_domains").sum())
    assert every["n_domains"].to_list() == parts["n_domains"].to_list() == [N] * 4
    plain = intervals(scores)
    assert every.select(plain.columns).equals(plain)


def test_values_are_those_of_the_sites(scores: Scores, sites: pl.DataFrame) -> None:
    found = strata(scores, sites, summary="q90", edges=[0, 500, 1500, 4000], by="elevation")
    joined = scores.frame.join(sites, on="site_id")
    for row in found.filter(pl.col("stratum") != "all").iter_rows(named=True):
        low, high = (float(one) for one in row["stratum"].split(" to "))
        mine = joined.filter(pl.col("elevation").is_between(low, high, closed="left"))
        mine = mine.filter(pl.all_horizontal(pl.col(name) == row[name] for name in KEY))
        assert row["n_domains"] == mine.height
        assert row["value"] == pytest.approx(np.quantile(mine["rmse"].to_numpy(), 0.9))
    assert found.columns[:4] == ["target", "scenario", "scale", "stratum"]


def test_order_of_rows(scores: Scores, sites: pl.DataFrame) -> None:
    found = strata(scores, sites, by="temperature")
    first = found.filter((pl.col("scale") == "hourly") & (pl.col("model") == "lr"))["stratum"].to_list()
    assert first[0] == "all"
    lows = [float(one.split(" to ")[0]) for one in first[1:]]
    assert lows == sorted(lows)
    assert all(one.endswith("°C") for one in first[1:])
    assert found["scale"].to_list() == sorted(found["scale"].to_list())


def test_unknown_sites(scores: Scores, sites: pl.DataFrame) -> None:
    """Those without a class, and those that the table of sites does not hold."""
    found = strata(scores, sites.head(38), by="igbp")
    counts = dict(
        found.filter(pl.col("model") == "lr", pl.col("scale") == "hourly").select("stratum", "n_sites").rows()
    )
    assert counts == {"all": 40, "ENF": 20, "GRA": 12, "WET": 3, "unknown": 5}
    few = found.filter(pl.col("stratum") == "WET")
    assert few["low"].null_count() == few["high"].null_count() == few.height
    assert few["note"].str.contains("too few sites").all()


def test_networks_go_by_their_hub(scores: Scores, sites: pl.DataFrame) -> None:
    found = strata(scores, sites, by="network")
    counts = dict(
        found.filter(pl.col("model") == "lr", pl.col("scale") == "hourly").select("stratum", "n_sites").rows()
    )
    assert counts == {"all": 40, "AmeriFlux": 10, "ICOS": 20, "OzFlux": 10}


def test_a_site_on_an_edge_belongs_above_and_the_outermost_bands_are_open() -> None:
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    table = pl.DataFrame({"site_id": names(6), "lat": [-70.0, 0.0, 30.0, 29.999, 95.0, float("nan")]})
    found = strata(made(values), table, by="latitude", edges=[0, 30, 60])
    assert dict(found.select("stratum", "value").rows()) == {
        "all": 3.5, "0 to 30°": 2.0, "30 to 60°": 4.0, "unknown": 6.0
    }  # fmt: skip


def test_the_table_of_sites_may_be_any_table(scores: Scores, sites: pl.DataFrame) -> None:
    wanted = strata(scores, sites)
    assert strata(scores, sites.to_dict(as_series=False)).equals(wanted)
    assert strata(scores, sites.sample(fraction=1, shuffle=True, seed=1)).equals(wanted)
    assert strata(scores, sites.with_columns(pl.col("igbp").cast(pl.Categorical))).equals(wanted)


def test_what_is_refused(scores: Scores, sites: pl.DataFrame) -> None:
    for table, options, kind, words in (
        (sites, {"by": "elevation"}, EvaluationError, "give the edges"),
        (sites, {"by": "latitude", "edges": [0]}, EvaluationError, "at least two"),
        (sites, {"by": "latitude", "edges": [0, 30, 30]}, EvaluationError, "ascend"),
        (sites, {"by": "igbp", "edges": [0, 1]}, EvaluationError, "not a number"),
        (sites, {"by": "ibgp"}, MissingColumnError, "Did you mean 'igbp'"),
        (sites, {"by": "latitud"}, MissingColumnError, "Did you mean 'latitude'"),
        (sites.drop("lat"), {"by": "latitude"}, MissingColumnError, r"no column 'lat' \(for 'latitude'\)"),
        (sites.drop("site_id"), {}, MissingColumnError, "no column 'site_id'"),
        (pl.concat([sites, sites.head(2)]), {}, EvaluationError, "2 sites are in the table of sites more than once"),
        (sites.with_columns(pl.col("site_id") + "x"), {}, EvaluationError, "None of the 40 sites"),
        (sites, {"scales": ["yearly"]}, EvaluationError, "no scores at the scales"),
        (sites, {"method": "bca"}, EvaluationError, "no method"),
    ):
        with pytest.raises(kind, match=words):
            strata(scores, table, **options)  # type: ignore[arg-type]
    with pytest.raises(EvaluationError, match="no site_id"):
        strata(scores.frame.with_columns(pl.lit(None, pl.String).alias("site_id")), sites)


def test_seeds_and_site_years() -> None:
    rng = np.random.default_rng(0)
    sites, years = list(np.repeat(names(12), 3)), list(np.tile([2001, 2002, 2003], 12))
    tables = [made(rng.lognormal(size=36), sites=sites, years=years, seed=seed) for seed in (0, 1)]
    places = pl.DataFrame({"site_id": names(12), "igbp": ["ENF"] * 6 + ["GRA"] * 6})
    found = strata(together(*tables), places)
    assert found["n_domains"].to_list() == [36, 18, 18]
    assert found["n_sites"].to_list() == [12, 6, 6]
    assert found["n_seeds"].to_list() == [2, 2, 2]


@pytest.mark.parametrize("label", ["unknown", "all"])
def test_a_label_of_the_table_that_is_also_ours(label: str) -> None:
    """A class that is called ``unknown`` or ``all`` is there once, and loses or doubles no site."""
    places = pl.DataFrame({"site_id": names(10), "igbp": ["ENF"] * 4 + [label] * 5 + [None]})
    found = strata(made(np.arange(1.0, 11.0)), places)
    assert found["stratum"].is_unique().all()
    assert found["n_domains"].sum() == 20


# cdf


@settings(max_examples=30)
@given(st.lists(st.sampled_from([0.5, 1.0, 1.5, 2.0, 7.0, np.nan]), min_size=1, max_size=40))
def test_share_at_or_below(values: list[float]) -> None:
    found = cdf(made(values))
    held = np.sort([value for value in values if np.isfinite(value)])
    assert found["value"].to_list() == held.tolist()
    wanted = np.searchsorted(held, held, side="right") / max(len(held), 1)
    np.testing.assert_allclose(found["share"], wanted, rtol=1e-14)


def test_the_last_share_is_exactly_one() -> None:
    for n in range(1, 131):
        assert cdf(made(np.arange(1.0, n + 1)))["share"][-1] == 1.0


def test_cdf_of_several_runs_and_cells(scores: Scores) -> None:
    found = cdf(scores)
    assert found.columns == [*KEY, "domain", "value", "share"]
    assert found.height == 4 * N
    for _, part in found.group_by(KEY):
        assert part["share"].is_sorted()
        assert part["share"][-1] == 1.0
        assert part["value"].is_sorted()
        assert part["domain"].n_unique() == N
    medians = found.filter(pl.col("share") >= 0.5).group_by(KEY, maintain_order=True).agg(pl.col("value").first())
    wanted = summarise(scores, summary="median")
    assert (medians["value"] <= wanted["value"]).all()


def test_cdf_of_unnamed_runs_and_by() -> None:
    found = cdf(made([1.0, 3.0, 2.0], None, target=None, scenario=None, selection=None))
    np.testing.assert_allclose(found["share"], [1 / 3, 2 / 3, 1])
    two = together(made([1.0, 2.0], seed=0), made([3.0, 4.0], seed=1))
    assert cdf(two, by=["seed"])["share"].to_list() == [0.5, 1.0, 0.5, 1.0]


def test_cdf_does_not_pool_seeds_unasked() -> None:
    """A domain is there twice: a distribution over domains would count it twice."""
    two = together(made([1.0, 2.0], seed=0), made([3.0, 4.0], seed=1))
    with pytest.raises(EvaluationError, match="more than once"):
        cdf(two)


def test_cdf_of_absent_scales_is_refused(scores: Scores) -> None:
    with pytest.raises(EvaluationError, match="scales"):
        cdf(scores, scales=["yearly"])


@pytest.mark.parametrize("kind", ["csv", "md", "tex", "html"])
@pytest.mark.parametrize("what", ["strata", "cdf"])
def test_they_are_written_as_tables(scores: Scores, sites: pl.DataFrame, kind: str, what: str) -> None:
    table: Any = strata(scores, sites) if what == "strata" else cdf(scores)
    text = render(table, kind)
    assert "spatial" in text
    assert text.count("xgb") >= 2
