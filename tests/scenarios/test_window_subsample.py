"""Windows drawn until a number of rows is scored."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError
from fluxtrapolation.scenarios import DesignOptions, Part, Windows, design, make_split


@pytest.fixture(scope="module")
def hours(tiny_store: Store) -> Part:
    scenario = design(tiny_store, "random", name="draw", options=DesignOptions(n_test=2, n_validation=1))
    return make_split(tiny_store, scenario, target="GPP", sequences=True, parts=("train",)).train


def scored_times(windows: Windows) -> set[tuple[str, np.datetime64]]:
    batch = windows.batch(slice(None))
    rows = batch.rows[batch.scored]
    return set(zip(windows.part.site[rows].tolist(), windows.part.time[rows].tolist(), strict=True))


def test_scored_rows_are_those_of_the_batches(hours: Part) -> None:
    windows = hours.windows(length=100, warmup=30, stride=40)
    batch = windows.batch(slice(None))
    expected = np.zeros(len(hours), dtype=bool)
    expected[batch.rows[batch.scored]] = True
    np.testing.assert_array_equal(windows.scored_rows(), expected)


@settings(max_examples=25)
@given(max_rows=st.integers(1, 25_000), seed=st.integers(0, 5), stride=st.sampled_from([24, 72, 200]))
def test_exactly_so_many_rows_each_site_its_share(hours: Part, max_rows: int, seed: int, stride: int) -> None:
    whole = hours.windows(length=240, warmup=48, stride=stride)
    few = whole.subsample(max_rows, seed=seed)
    available = int(whole.scored_rows().sum())
    scored = scored_times(few)
    assert len(scored) == min(max_rows, available) == int(few.scored_rows().sum())
    assert scored <= scored_times(whole)
    # windows are whole, and hold the hours they held
    assert set(few.size.tolist()) <= set(whole.size.tolist())
    held = {
        (hours.site[start], hours.time[start], size)
        for start, size in zip(whole.start.tolist(), whole.size.tolist(), strict=True)
    }
    for start, size in zip(few.start.tolist(), few.size.tolist(), strict=True):
        assert (few.part.site[start], few.part.time[start], size) in held
        assert (np.diff(few.part.time[start : start + size]) == np.timedelta64(3600, "s")).all()
        assert len(set(few.part.site_codes[start : start + size].tolist())) == 1
    if max_rows < available:
        shares = np.bincount(hours.site_codes[whole.scored_rows()], minlength=len(hours.sites)) / available
        for site, share in zip(hours.sites, shares, strict=True):
            n = sum(one == site for one, _ in scored)
            assert abs(n - share * max_rows) <= 1


def test_values_are_those_of_the_whole_part(hours: Part) -> None:
    few = hours.windows(length=240, warmup=48).subsample(5000, seed=1)
    assert len(few.part) < len(hours)
    at = {(s, t): i for i, (s, t) in enumerate(zip(hours.site.tolist(), hours.time.tolist(), strict=True))}
    rows = np.asarray([at[s, t] for s, t in zip(few.part.site.tolist(), few.part.time.tolist(), strict=True)])
    np.testing.assert_array_equal(few.part.X, hours.X[rows])
    np.testing.assert_array_equal(few.part.y, hours.y[rows])


def test_seeded(hours: Part) -> None:
    windows = hours.windows(length=240, warmup=48)
    one, again, other = (windows.subsample(2000, seed=seed) for seed in (1, 1, 2))
    assert scored_times(one) == scored_times(again)
    assert scored_times(one) != scored_times(other)


def test_small_enough_is_left_alone_and_nonsense_refused(hours: Part) -> None:
    windows = hours.windows(length=240, warmup=48)
    assert windows.subsample(10**9, seed=0) is windows
    with pytest.raises(DataError, match="at least 1"):
        windows.subsample(0, seed=0)
