"""The phase estimator that checks a tower's clock against the sun."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxtrapolation.data.importers.hourly import Packed, repeated_pairs
from fluxtrapolation.data.importers.phase import phase_notes, radiation_phase
from fluxtrapolation.data.importers.zarr_facts import edge_offset
from fluxtrapolation.data.importers.zarr_source import TimeAxis
from fluxtrapolation.data.solar import potential_radiation


def year(
    lat: float, lon: float, late_min: float, *, seed: int, cloud: float = 0.5, days: int = 365
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hours of 2005 (clock of the tower), measured radiation that is late, potential radiation; broken clouds."""
    rng = np.random.default_rng(seed)
    clock = np.datetime64("2005-01-01T00:00", "m") + np.arange(days * 24) * 60
    utc = clock - np.timedelta64(round(lon / 15) * 60, "m")
    potential = potential_radiation(utc, lat=lat, lon=lon)
    shifted = potential_radiation(utc - np.timedelta64(round(late_min), "m"), lat=lat, lon=lon)
    daily = np.repeat(rng.uniform(1 - cloud, 1, days), 24)
    hourly = rng.uniform(1 - cloud / 2, 1, days * 24)
    return clock, 0.75 * shifted * daily * hourly, potential


@settings(max_examples=60, deadline=None)
@given(
    lat=st.floats(-75, 75),
    lon=st.floats(-180, 180),
    late=st.integers(-700, 700),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_known_delay_is_found(lat: float, lon: float, late: int, seed: int) -> None:
    """Within 6 minutes through broken clouds, anywhere, for delays up to nearly half a day."""
    phase = radiation_phase(*year(lat, lon, late, seed=seed))
    assert phase is not None
    assert phase.lag_min == pytest.approx(late, abs=6)
    assert phase.years == {2005: pytest.approx(phase.lag_min, abs=0.01)}


def test_without_clouds_it_is_exact_to_a_minute() -> None:
    for late in (-61, -25, 0, 25, 60, 180):
        phase = radiation_phase(*year(50.0, 10.0, late, seed=1, cloud=0.0))
        assert phase is not None
        assert phase.lag_min == pytest.approx(late, abs=1)


def test_delays_near_half_a_day_are_not_torn_apart() -> None:
    phase = radiation_phase(*year(10.0, 10.0, 719, seed=2, cloud=0.9))
    assert phase is not None
    assert abs(abs(phase.lag_min) - 719) < 8


def test_incomplete_days_are_skipped() -> None:
    time, measured, potential = year(45.0, 0.0, 30, seed=3)
    kept = np.ones(time.size, dtype=bool)
    kept[12::72] = False
    phase = radiation_phase(time[kept], measured[kept], potential[kept])
    assert phase is not None
    assert phase.lag_min == pytest.approx(30, abs=6)


@pytest.mark.parametrize("days", [1, 30])
def test_too_few_days_say_nothing(days: int) -> None:
    assert radiation_phase(*year(45.0, 0.0, 30, seed=4, days=days)) is None


def test_no_hours_and_no_light_say_nothing() -> None:
    time, measured, potential = year(45.0, 0.0, 0, seed=5)
    assert radiation_phase(time[:0], measured[:0], potential[:0]) is None
    assert radiation_phase(time, measured * 0, potential) is None


def test_a_year_that_moves_is_noted() -> None:
    time, measured, potential = year(45.0, 0.0, 0, seed=6)
    _, moved, _ = year(45.0, 0.0, 60, seed=7)
    later = time + np.timedelta64(365 * 1440, "m")
    phase = radiation_phase(
        np.concatenate([time, later]), np.concatenate([measured, moved]), np.concatenate([potential, potential])
    )
    assert phase is not None
    assert phase.years[2005] == pytest.approx(0, abs=6)
    assert phase.years[2006] == pytest.approx(60, abs=6)
    (varies,) = [note for note in phase_notes(phase) if "varies between years" in note]
    assert "min in 2005" in varies
    assert "min in 2006" in varies


def test_a_steady_small_lag_is_no_note() -> None:
    phase = radiation_phase(*year(45.0, 0.0, 10, seed=8))
    assert phase is not None
    assert phase_notes(phase) == []


def test_repeated_pairs_tell_hourly_towers() -> None:
    rng = np.random.default_rng(9)
    record = rng.integers(0, 60000, 500).astype(np.uint16)
    stretched = np.concatenate([[7], np.repeat(record, 2)[:-1]]).astype(np.uint16)  # one step of something before

    def packed(values: np.ndarray) -> Packed:
        return Packed(values, 1.0, 0.0, np.ones(values.size, dtype=bool))

    assert repeated_pairs([packed(stretched)], (1, stretched.size - 1)) == 1.0
    assert repeated_pairs([packed(stretched)], (0, stretched.size - 1)) < 0.01
    assert repeated_pairs([packed(record)], (0, record.size - 1)) < 0.01
    none = Packed(record, 1.0, 0.0, np.zeros(record.size, dtype=bool))
    assert repeated_pairs([none], (0, record.size - 1)) == 0.0


@pytest.mark.parametrize("repeated", [0, 1])
@pytest.mark.parametrize("offset", [-8.0, -3.5, 0.0, 9.5, 11.0])
@pytest.mark.parametrize("step", [30, 60])
def test_the_edges_of_whole_local_years_give_the_store_offset(offset: float, step: int, repeated: int) -> None:
    axis = TimeAxis(first=np.datetime64("1999-12-30T06:00", "m"), steps=100_000)

    def at(local_end: str) -> int:
        utc = np.datetime64(local_end, "m") - np.timedelta64(round(offset * 60), "m")
        return int((utc - axis.first).astype(int)) // 30

    first, last = at(f"2000-01-01T0{step // 60}:{step % 60:02d}"), at("2003-01-01T00:00")
    if step == 60:
        last += repeated  # whether the last hourly record was repeated like the others
    assert edge_offset(axis, (first, last), step) == offset
    # a record that does not fill whole years says nothing
    assert edge_offset(axis, (first + 48, last), step) is None
    assert edge_offset(axis, (first, last - 48 * 100), step) is None
