"""Values a thousand times too small and clocks with summer time: one rule for files of every kind."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fluxtrapolation.data.checks import LEAST, summer_time, too_small

HOURS = np.datetime64("2010-01-01T00", "m") + np.arange(3 * 8760) * np.timedelta64(60, "m")


def wave(scale: float, size: int = 8760) -> NDArray[np.float64]:
    return scale * np.maximum(0.0, np.sin(np.arange(size) * 2 * np.pi / 24))


@pytest.mark.parametrize(
    ("name", "usual", "factor"),
    [("GPP", 20.0, 1e-3), ("NEE", 45.0, 1e-3), ("LE", 300.0, 1e-3), ("ET", 0.5, 1 / 3600), ("SW_IN", 800.0, 1e-3)],
)
def test_another_unit_is_seen_in_any_part_of_a_record(name: str, usual: float, factor: float) -> None:
    assert too_small(name, wave(usual)) is None
    for size in (480, 8760):
        found = too_small(name, wave(usual * factor, size))
        assert found is not None and found[0] is LEAST[name] and found[2] == size
        assert found[1] == pytest.approx(usual * factor, rel=0.01)
    assert too_small(name, wave(usual * factor, 479)) is None
    assert too_small(name, wave(usual * factor), least_rows=9000) is None


def test_the_polar_night_is_no_unit() -> None:
    dark, twilight = wave(0.4, 2000), wave(3.0, 2000)
    assert too_small("SW_IN", dark) is not None
    assert too_small("SW_IN", dark, potential=twilight) is None
    assert too_small("SW_IN", dark, potential=wave(900.0, 2000)) is not None
    assert too_small("SW_IN_POT_hourly", twilight) is None
    assert too_small("SW_IN_POT_hourly", wave(1.3)) is not None


@pytest.mark.parametrize("value", [0.0, 0.0007, np.nan])
def test_a_constant_is_no_unit(value: float) -> None:
    assert too_small("NEE", np.full(8760, value)) is None


def test_other_variables_are_never_too_small() -> None:
    assert too_small("VPD", wave(1e-6)) is None


def wall_clock(time: NDArray[np.datetime64], *, back: bool = True) -> NDArray[np.datetime64]:
    """What a clock with Central European summer time showed; without ``back`` the repeated hours are dropped."""
    hour = np.timedelta64(60, "m")
    shown = time.copy()
    for spring, autumn in (("2010-03-28", "2010-10-31"), ("2011-03-27", "2011-10-30"), ("2012-03-25", "2012-10-28")):
        summer = (time >= np.datetime64(f"{spring}T02:00")) & (time < np.datetime64(f"{autumn}T02:00"))
        shown[summer] += hour
    return shown if back else np.unique(shown)


@pytest.mark.parametrize("step", [30, 60])
def test_summer_time_by_the_hour_and_half_hour(step: int) -> None:
    time = HOURS[0] + np.arange(3 * 8760 * 60 // step) * np.timedelta64(step, "m")
    assert summer_time(time, step) is None
    as_written = summer_time(wall_clock(time), step)
    in_order = summer_time(np.sort(wall_clock(time)), step)
    cleaned = summer_time(wall_clock(time, back=False), step)
    for found, repeats in ((as_written, True), (in_order, True), (cleaned, False)):
        assert found is not None and found.repeats is repeats
        assert found.before_lost == np.datetime64("2010-03-28T02:00") - np.timedelta64(step, "m")
    assert cleaned is not None and cleaned.jumps == 3


def test_gaps_on_other_days_are_no_summer_time() -> None:
    draw = np.random.default_rng(3)
    lost = draw.choice(HOURS.size, 40, replace=False)
    assert summer_time(np.delete(HOURS, lost)) is None
    one = np.flatnonzero(np.datetime64("2010-03-28T02:00") == HOURS)
    assert summer_time(np.delete(HOURS, one)) is None
