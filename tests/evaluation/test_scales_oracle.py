"""Every scale and metric under both protocols against the brute-force oracle, on small tables full of gaps."""

from __future__ import annotations

import math
import warnings
from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from evaluation_oracle import METRICS, Limits, Row, score
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxtrapolation.errors import FluxtrapolationWarning
from fluxtrapolation.evaluation import Predictions, Scores, Thresholds, evaluate

# A mean or quantile of anomalies may be zero up to rounding of values of size 300; an efficiency is 1 less a ratio, and
# where that ratio is nearly 1 its digits are gone.
FLOOR = dict.fromkeys(("bias", "centred_rmse", "q05_error", "q95_error", "willmott_d", "nse", "kge"), 1e-11)

# Enough to make a day (12), a week (4), a month (15) and a year (183) valid, just so, and just not.
HOURS = (1, 11, 12, 13)
DAYS = (3, 14, 16, 40, 182, 183, 200, 366)


@st.composite
def tables(draw: st.DrawFn, *, daily: bool) -> list[Row]:
    """A few sites with a few years each; some days, hours and observations missing; rows in any order."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    yearly = draw(st.booleans())
    rows: list[Row] = []
    for number in range(draw(st.integers(1, 3))):
        site = f"AA-S{number}"
        level = draw(st.sampled_from((0.0, 4.0, -300.0)))
        for year in draw(st.sets(st.sampled_from((2019, 2020, 2021, 2023)), min_size=1, max_size=3)):
            span = draw(st.sampled_from(DAYS if daily else DAYS[:6]))
            first = date(year, 1, 1) + timedelta(days=draw(st.integers(0, 30)))
            hours = 1 if daily else draw(st.sampled_from(HOURS))
            unseen = draw(st.sampled_from((0.0, 0.1, 0.97)))
            for offset in range(span):
                day = first + timedelta(days=offset)
                if day.year != year or rng.random() < 0.02:
                    continue
                for hour in range(hours):
                    if hours > 1 and rng.random() < 0.004:
                        continue
                    true = level + math.sin(day.timetuple().tm_yday / 58) + rng.normal()
                    rows.append(
                        Row(
                            site,
                            datetime(day.year, day.month, day.day, hour),
                            f"{site} {year}" if yearly else site,
                            None if rng.random() < unseen else true,
                            true + rng.normal(),
                            int(rng.random() < 0.9),
                        )
                    )
    if not rows:
        rows.append(Row("AA-S0", datetime(2019, 1, 1), "AA-S0", 1.0, 2.0))
    return [rows[place] for place in rng.permutation(len(rows))]


def scored(rows: list[Row], protocol: str, thresholds: Thresholds | None = None) -> Scores:
    yearly = any(row.domain != row.site for row in rows)
    table = Predictions.from_arrays(
        site=[row.site for row in rows],
        time=pl.Series([row.time for row in rows]),
        y_true=pl.Series([row.true for row in rows], dtype=pl.Float64),
        y_pred=[row.pred for row in rows],
        qc_mask=[row.qc for row in rows],
    )
    kind = "site-year" if yearly else "site"
    return evaluate(table, protocol=protocol, domain=kind, thresholds=thresholds, metrics="all")


def compare(scores: Scores, wanted: dict[tuple[str, str], dict[str, float | None]]) -> None:
    found = {(row["scale"], row["domain"]): row for row in scores.frame.iter_rows(named=True)}
    assert set(found) == set(wanted)
    for key, expected in wanted.items():
        row = found[key]
        assert row["n_samples"] == expected["n_samples"], key
        for name in METRICS:
            value, aim = row[name], expected[name]
            assert (value is None) == (aim is None), (key, name, value, aim, row["reason"])
            if aim is not None:
                assert math.isclose(value, aim, rel_tol=1e-9, abs_tol=FLOOR.get(name, 1e-300)), (key, name, value, aim)
        assert (row["reason"] is None) == all(row[name] is not None for name in METRICS if name in row)


@pytest.mark.parametrize("protocol", ["paper", "measured"])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=tables(daily=True))
def test_daily_rows(protocol: str, rows: list[Row]) -> None:
    compare(scored(rows, protocol), score(rows, measured=protocol == "measured"))


@pytest.mark.parametrize("protocol", ["paper", "measured"])
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=tables(daily=False))
def test_hourly_rows(protocol: str, rows: list[Row]) -> None:
    compare(scored(rows, protocol), score(rows, measured=protocol == "measured"))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=tables(daily=False), hours=st.sampled_from((1, 2, 12)), days=st.sampled_from((1, 5, 30)))
def test_other_thresholds(rows: list[Row], hours: int, days: int) -> None:
    thresholds = Thresholds(hours, 2, 3, days, 2, 2)
    limits = Limits(hours, 2, 3, days, 2, 2)
    compare(scored(rows, "measured", thresholds), score(rows, measured=True, limits=limits))


@pytest.mark.parametrize("protocol", ["paper", "measured"])
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=tables(daily=False), label=st.sampled_from(("season", "first", "hour")))
def test_labels_over_several_sites(protocol: str, rows: list[Row], label: str) -> None:
    """Labels that span sites, whose levels may be far apart; the multi-year scales group by site."""
    kinds = {
        "season": lambda row: f"{row.time.month // 6}",
        "first": lambda row: "first" if row.site == "AA-S0" else "others",
        "hour": lambda row: f"{row.time.hour // 8}",
    }
    rows = [row._replace(domain=kinds[label](row)) for row in rows]
    table = pl.DataFrame(
        {
            "site_id": [row.site for row in rows],
            "time": [row.time for row in rows],
            "mine": [row.domain for row in rows],
            "y_true": pl.Series([row.true for row in rows], dtype=pl.Float64),
            "y_pred": [row.pred for row in rows],
            "qc_mask": [row.qc for row in rows],
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FluxtrapolationWarning)
        found = evaluate(table, protocol=protocol, domain_column="mine", metrics="all")
    compare(found, score(rows, measured=protocol == "measured"))


def full(site: str, years: tuple[int, ...], *, seed: int, step: int = 1) -> list[Row]:
    """Every hour (or every ``step``-th) of some years."""
    rng = np.random.default_rng(seed)
    rows = []
    for year in years:
        moment = datetime(year, 1, 1)
        while moment.year == year:
            true = 3 + math.sin(moment.timetuple().tm_yday / 58) + rng.normal()
            rows.append(Row(site, moment, f"{site} {year}", true, true + rng.normal(), int(rng.random() < 0.7)))
            moment += timedelta(hours=step)
    return rows


@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["paper", "measured"])
def test_complete_years(protocol: str) -> None:
    rows = (
        full("AA-S1", (2019, 2020, 2021), seed=1) + full("AA-S2", (2020,), seed=2) + full("AA-S3", (2019, 2022), seed=3)
    )
    scores = scored(rows, protocol)
    compare(scores, score(rows, measured=protocol == "measured"))
    weekly = scores.frame.filter((pl.col("scale") == "weekly") & (pl.col("domain") == "AA-S1 2019"))
    if protocol == "paper":
        assert weekly["n_samples"].item() == 53
