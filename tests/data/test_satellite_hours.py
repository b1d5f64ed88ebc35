"""Composites to hours: causal, linear, period; gaps stay gaps; original values come back."""

from __future__ import annotations

import datetime as dt

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxtrapolation.data.satellite.composites import (
    DATE,
    DAYS,
    SCHEMA,
    VALUE,
    composites,
    in_schema_units,
    period_days,
)
from fluxtrapolation.data.satellite.interpolate import METHODS, to_hours
from fluxtrapolation.errors import DataError


def table(days: list[int], values: list[float], length: int) -> pl.DataFrame:
    start = dt.date(2015, 1, 1)
    return pl.DataFrame(
        {DATE: [start + dt.timedelta(d) for d in days], VALUE: values, DAYS: [length] * len(days)}, schema=SCHEMA
    ).select(*SCHEMA)


def hours(first: str, count: int) -> np.ndarray:
    return np.datetime64(first, "h") + np.arange(count)


def at(found: np.ndarray, time: np.ndarray, stamp: str) -> float:
    return float(found[time == np.datetime64(stamp, "h")][0])


def test_causal_uses_a_period_only_after_its_end() -> None:
    time = hours("2015-01-01T00", 24 * 60)
    found = to_hours(table([0, 16, 32], [0.1, 0.2, 0.3], 16), time, method="causal", max_gap=32.0).values
    assert np.isnan(found[: 16 * 24]).all()
    assert at(found, time, "2015-01-17T00") == 0.1  # the period 1 to 16 January has just ended
    assert at(found, time, "2015-02-01T23") == 0.1
    assert at(found, time, "2015-02-02T00") == 0.2
    assert at(found, time, "2015-02-18T00") == 0.3


def test_causal_daily_value_is_known_the_next_day() -> None:
    time = hours("2015-01-02T00", 24)
    found = to_hours(table([0, 1], [1.0, 2.0], 1), time, method="causal", max_gap=5.0).values
    assert (found == 1.0).all()


def test_a_period_over_the_turn_of_the_year_keeps_its_end() -> None:
    """MOD13 begins anew on 1 January while the period of 19 December still runs to 3 January."""
    frame = pl.DataFrame(
        {DATE: [dt.date(2014, 12, 19), dt.date(2015, 1, 1)], VALUE: [0.1, 0.2], DAYS: [16, 16]}, schema=SCHEMA
    )
    time = hours("2015-01-01T00", 24 * 20)
    found = to_hours(frame, time, method="causal", max_gap=32.0).values
    assert np.isnan(at(found, time, "2015-01-03T23"))
    assert at(found, time, "2015-01-04T00") == 0.1
    assert at(found, time, "2015-01-17T00") == 0.2


def test_linear_joins_the_centres() -> None:
    time = hours("2015-01-01T00", 24 * 32)
    found = to_hours(table([0, 16], [0.0, 16.0], 16), time, method="linear", max_gap=16.0)
    assert found.missing == 0
    assert at(found.values, time, "2015-01-09T00") == 0.0
    assert at(found.values, time, "2015-01-17T00") == 8.0
    assert at(found.values, time, "2015-01-25T00") == 16.0
    assert (found.values[: 8 * 24] == 0.0).all() and (found.values[-7 * 24 :] == 16.0).all()


def test_linear_leaves_long_gaps_and_what_lies_outside() -> None:
    time = hours("2014-12-01T00", 24 * 150)
    found = to_hours(table([0, 48], [0.0, 16.0], 16), time, method="linear", max_gap=32.0)
    known = time[~np.isnan(found.values)]
    assert set(known) == {np.datetime64("2015-01-09T00"), np.datetime64("2015-02-26T00")} | set(
        time[(time >= np.datetime64("2015-01-01")) & (time < np.datetime64("2015-01-09"))]
    ) | set(time[(time >= np.datetime64("2015-02-26")) & (time < np.datetime64("2015-03-06"))])
    assert found.longest_gap_days == pytest.approx(62.958, abs=0.01)  # after the last one
    assert found.first_missing == np.datetime64("2014-12-01T00")


def test_period_holds_each_value_through_its_own_days() -> None:
    time = hours("2015-01-01T00", 48)
    found = to_hours(table([0, 1], [1.0, 2.0], 1), time, method="period", max_gap=1.0)
    assert found.missing == 0
    assert (found.values[:24] == 1.0).all() and (found.values[24:] == 2.0).all()


@pytest.mark.parametrize(("gap", "missing"), [(20.0, 0), (19.0, 24 - 1), (5.0, 15 * 24 - 1)])
def test_a_value_is_carried_no_further_than_the_limit(gap: float, missing: int) -> None:
    """20 days without a value after the end of the first period."""
    time = hours("2015-01-02T00", 24 * 20)
    found = to_hours(table([0, 20], [1.0, 2.0], 1), time, method="causal", max_gap=gap)
    assert found.missing == missing


COMPOSITES = st.lists(st.integers(0, 120), min_size=1, max_size=25, unique=True).map(sorted)


@settings(max_examples=80, deadline=None)
@given(days=COMPOSITES, length=st.sampled_from([1, 8, 16]), seed=st.integers(0, 2**16), cut=st.integers(1, 130))
def test_causal_never_looks_ahead(days: list[int], length: int, seed: int, cut: int) -> None:
    """Whatever happens after a moment changes no hour up to it."""
    values = np.random.default_rng(seed).normal(size=len(days))
    time = hours("2015-01-01T00", 24 * 140)
    moment = np.datetime64("2015-01-01") + np.timedelta64(cut, "D")
    known = [i for i, day in enumerate(days) if day + length <= cut]
    whole = to_hours(table(days, list(values), length), time, method="causal", max_gap=16.0).values
    if not known:
        assert np.isnan(whole[time < moment]).all()
        return
    part = table([days[i] for i in known], [values[i] for i in known], length)
    early = to_hours(part, time, method="causal", max_gap=16.0).values
    assert np.array_equal(whole[time <= moment], early[time <= moment], equal_nan=True)


@settings(max_examples=80, deadline=None)
@given(days=COMPOSITES, length=st.sampled_from([1, 8, 16]), seed=st.integers(0, 2**16), method=st.sampled_from(METHODS))
def test_original_values_come_back_and_nothing_leaves_their_range(
    days: list[int], length: int, seed: int, method: str
) -> None:
    values = np.random.default_rng(seed).normal(size=len(days))
    time = hours("2015-01-01T00", 24 * 150)
    found = to_hours(table(days, list(values), length), time, method=method, max_gap=20.0).values  # type: ignore[arg-type]
    shift = {"causal": length * 24, "linear": length * 12, "period": 0}[method]
    for day, value in zip(days, values, strict=True):
        assert found[day * 24 + shift] == value
    held = found[~np.isnan(found)]
    assert held.min() >= values.min() - 1e-12 and held.max() <= values.max() + 1e-12


def test_periods_are_found_by_the_step_of_the_dates() -> None:
    def dates(*days: int) -> pl.Series:
        return pl.Series([dt.date(2015, 1, 1) + dt.timedelta(d) for d in days])

    assert period_days(dates(0, 1, 2, 5), where="x") == 1
    assert period_days(dates(0, 8, 16, 32), where="x") == 8
    assert period_days(dates(0, 16, 32, 46), where="x") == 16
    assert period_days(dates(0, 31, 59, 90, 121), where="x") == 30
    with pytest.raises(DataError, match=r"mostly 11 days apart.*--period DAYS"):
        period_days(dates(0, 11, 22), where="x")


def test_missing_values_leave_the_period_as_it_is_and_repeated_dates_are_refused() -> None:
    frame = table([0, 8, 16, 24], [1.0, float("nan"), 3.0, 4.0], 8).drop(DAYS)
    assert composites(frame, None, where="x")[DAYS].to_list() == [8, 8, 8]
    with pytest.raises(DataError, match=r"2 values share a date with another \(first: 2015-01-01\)"):
        composites(pl.concat([frame, frame.head(1)]).sort(DATE), None, where="x")


@pytest.mark.parametrize(("unit", "values"), [("K", [280.0, 290.0]), (None, [280.0, 290.0]), ("degC", [6.85, 16.85])])
def test_kelvin_becomes_degrees(unit: str | None, values: list[float]) -> None:
    found = in_schema_units(table([0, 1], values, 1), "LST_Day", unit, where="x")
    assert found[VALUE].to_list() == pytest.approx([6.85, 16.85])


def test_scaled_integers_are_refused_with_the_fix() -> None:
    with pytest.raises(DataError, match=r"2 of 2 values of EVI lie outside -1 to 2 1 .*divide by 10000"):
        in_schema_units(table([0, 1], [2029.0, 448.0], 16), "EVI", None, where="x")
