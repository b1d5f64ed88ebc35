"""Writing a world: complete, resumable, independent of its size, honest about what it is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fluxtrapolation.data.checks import check_frame
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.synthetic import write_world
from fluxtrapolation.errors import DataError, FluxtrapolationWarning
from fluxtrapolation.schema import COVARIATES, TARGETS

YEARS = (2018, 2019)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_world(tmp_path_factory.mktemp("world") / "w", sites=8, years=YEARS, jobs=2)


def test_world_is_a_whole_and_valid_store(world: Store) -> None:
    assert len(world.site_ids) == 8
    assert world.targets == TARGETS
    assert world.covariates == COVARIATES
    assert world.verify() == []
    for record, frame in world.iter_sites():
        check_frame(frame, site=record.site_id, targets=TARGETS, covariates=COVARIATES)
        assert record.measured_hours == frame["qc_mask"].sum()
        assert 0.3 < record.measured_hours / record.hours < 0.9


def test_world_says_that_it_is_synthetic(world: Store) -> None:
    (source,) = world.manifest.sources
    assert source.kind == "synthetic"
    assert source.licence == "CC0-1.0"
    assert "not measurements" in source.name
    assert source.options["seed"] == 1
    assert source.options["sites"] == 8
    assert source.options["years"] == list(YEARS)
    for record, _ in world.iter_sites(columns=["TA"]):
        assert record.name is not None
        assert record.name.endswith("(simulated)")
        assert record.licence == "CC0-1.0"
        assert record.source == "synthetic"


def test_a_tower_does_not_depend_on_the_others(world: Store, tmp_path: Path) -> None:
    fewer = write_world(tmp_path / "few", sites=3, years=YEARS, jobs=1)
    for site in fewer.site_ids:
        assert fewer.manifest.sites[site].sha256 == world.manifest.sites[site].sha256


def test_seed_changes_the_world(world: Store, tmp_path: Path) -> None:
    other = write_world(tmp_path / "other", sites=2, years=YEARS, seed=2)
    assert all(other.manifest.sites[s].sha256 != world.manifest.sites[s].sha256 for s in other.site_ids)


def test_an_interrupted_world_is_continued(world: Store, tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop_at_three(site: str, done: int, total: int) -> None:
        assert total == 8
        if done == 3:
            raise StoppedError(site)

    with pytest.raises(StoppedError):
        write_world(tmp_path / "w", sites=8, years=YEARS, progress=stop_at_three, jobs=1)
    with pytest.warns(FluxtrapolationWarning, match="interrupted"):
        half = Store(tmp_path / "w")
    assert 3 <= len(half.site_ids) < 8
    seen: list[int] = []
    whole = write_world(tmp_path / "w", sites=8, years=YEARS, progress=lambda _, done, __: seen.append(done), jobs=2)
    assert seen[-1] == 8
    assert len(seen) == 8 - len(half.site_ids)
    assert whole.data_hash == world.data_hash
    assert whole.verify() == []
    assert write_world(tmp_path / "w", sites=8, years=YEARS).data_hash == world.data_hash


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_world_opens_and_is_completed(tmp_path: Path) -> None:
    code = (
        "from fluxtrapolation.data.synthetic import write_world\n"
        f"write_world({str(tmp_path / 'w')!r}, sites=30, years=(2018, 2021), jobs=1)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], env=dict(os.environ))
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list((tmp_path / "w" / "sites").glob("*.parquet"))) < 3:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    with pytest.warns(FluxtrapolationWarning, match="interrupted"):
        half = Store(tmp_path / "w")
    assert 2 <= len(half.site_ids) < 30
    whole = write_world(tmp_path / "w", sites=30, years=(2018, 2021), jobs=2)
    assert whole.verify() == []
    assert len(whole.site_ids) == 30


def test_other_options_are_refused_unless_overwritten(world: Store, tmp_path: Path) -> None:
    write_world(tmp_path / "w", sites=1, years=(2019, 2019))
    with pytest.raises(DataError, match="--overwrite"):
        write_world(tmp_path / "w", sites=1, years=(2019, 2019), seed=9)
    assert write_world(tmp_path / "w", sites=2, years=(2019, 2019), overwrite=True).site_ids


def test_bad_options(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--seed"):
        write_world(tmp_path / "w", sites=1, seed=-1)
    with pytest.raises(DataError, match="--jobs"):
        write_world(tmp_path / "w", sites=1, jobs=0)
    assert not (tmp_path / "w").exists()
