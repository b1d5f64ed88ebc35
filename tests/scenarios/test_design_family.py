"""Families of rising difficulty: sizes stay, the gap on the axis grows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxtrapolation.data.manifest import Source, utc_now
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import ScenarioError
from fluxtrapolation.scenarios import DesignOptions, Scenario, design_family
from tiny import tiny_frame, tiny_record

WARMTH = np.random.default_rng(11).normal(10, 8, 24)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """24 towers whose temperatures are drawn; one without precipitation."""
    path: Path = tmp_path_factory.mktemp("family") / "store"
    source = Source(name="made", kind="table", location="tests", retrieved=utc_now(), package_version="0")
    with StoreWriter(path, targets=["GPP"], covariates=["TA"], source=source) as writer:
        for i, warmth in enumerate(WARMTH):
            site = f"T{i:02d}"
            frame = tiny_frame(site, hours=24 * 370, targets=["GPP"]).select("time", "TA", "GPP", "qc_mask")
            record = tiny_record(site, lat=2.0 * i).model_copy(update={"map_mm": None if i == 0 else 50.0 * (i + 1)})
            writer.add(record, frame.with_columns(frame["TA"] + float(warmth)))
    return Store(path)


def gaps(family: list[Scenario]) -> list[float]:
    return [one.made_from["gap"]["towards_extreme"] for one in family]


@pytest.mark.parametrize("rule", ["temperature", "aridity", "latitude", "cluster"])
@pytest.mark.parametrize("moves", ["train", "test"])
def test_the_gap_grows_and_the_sizes_stay(world: Store, rule: str, moves: str) -> None:
    options = DesignOptions(6, 3, seed=2)
    family = design_family(world, rule, name="f", members=4, moves=moves, options=options)  # type: ignore[arg-type]
    assert [one.name for one in family] == ["f-1", "f-2", "f-3", "f-4"]
    assert (np.diff(gaps(family)) > 0).all()
    assert {(len(one.test), len(one.validation), len(one.train or ())) for one in family} == {
        (6, 3, len(family[0].train or ()))
    }
    still = {(one.test if moves == "train" else (one.train, one.validation)) for one in family}
    assert len(still) == 1
    moved = {(one.train if moves == "train" else one.test) for one in family}
    assert len(moved) == 4
    assert family == design_family(world, rule, name="f", members=4, moves=moves, options=options)  # type: ignore[arg-type]


def test_the_gap_is_that_of_the_towers(world: Store) -> None:
    family = design_family(world, "latitude", name="f", members=3, options=DesignOptions(6, 3))
    for one in family:
        mean = {part: np.mean([world.record(s).lat for s in getattr(one, part)]) for part in ("train", "test")}
        assert one.made_from["gap"]["towards_extreme"] == pytest.approx(mean["test"] - mean["train"], abs=1e-5)
    assert family[0].test == tuple(f"T{i:02d}" for i in range(18, 24))
    # the first window ends where the test begins, the last begins at the other end
    assert max((*(family[0].train or ()), *family[0].validation)) == "T17"
    assert min((*(family[2].train or ()), *family[2].validation)) == "T00"


def test_towers_off_the_axis_are_in_no_part(world: Store) -> None:
    for one in design_family(world, "aridity", name="f", members=2, options=DesignOptions(5, 2)):
        assert one.made_from["not_on_axis"]["without_map"] == ["T00"]
        assert "T00" not in one.listed_sites


@pytest.mark.parametrize(
    ("rule", "members", "options", "message"),
    [
        ("random", 3, DesignOptions(6, 3), "needs an axis; the rule 'random' has none"),
        ("temprature", 3, DesignOptions(6, 3), "Did you mean 'temperature'"),
        ("temperature", 1, DesignOptions(6, 3), "at least 2 members"),
        ("temperature", 11, DesignOptions(6, 3), r"too large.*windows of 9 towers at 10 places, for 11 members"),
        ("temperature", 3, DesignOptions(6, 9), r"too large.*9 validation towers each"),
        ("temperature", 3, DesignOptions(6, 3, min_distance=5.0), "keeps the number of train towers"),
    ],
)
def test_families_that_cannot_be(world: Store, rule: str, members: int, options: DesignOptions, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        design_family(world, rule, name="f", members=members, options=options)


@settings(max_examples=25)
@given(
    n_test=st.integers(2, 8),
    n_validation=st.integers(1, 4),
    members=st.integers(2, 6),
    seed=st.integers(0, 99),
    moves=st.sampled_from(["train", "test"]),
    validation=st.sampled_from(["random", "same-rule"]),
    extreme=st.sampled_from(["poleward", "equatorward"]),
)
def test_always_monotone_and_disjoint(
    world: Store, n_test: int, n_validation: int, members: int, seed: int, moves: str, validation: str, extreme: str
) -> None:
    options = DesignOptions(n_test, n_validation, seed, validation=validation, extreme=extreme)  # type: ignore[arg-type]
    family = design_family(world, "latitude", name="f", members=members, moves=moves, options=options)  # type: ignore[arg-type]
    assert (np.diff(gaps(family)) > 0).all()
    for one in family:
        assert len(one.listed_sites) == len(one.train or ()) + n_validation + n_test
        # no train tower lies beyond the easiest test tower
        low, high = ("train", "test") if extreme == "poleward" else ("test", "train")
        assert max(getattr(one, low)) < min(getattr(one, high))
