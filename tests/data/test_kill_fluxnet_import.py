"""kill -9 while FLUXNET archives are read, then the same command again: every byte as if nothing had happened."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
from fluxnet_maker import HH, as_csv, bif, weather, write, write_zip
from test_kill_csv_import import AT_RENAMING, command, fingerprint, run

from fluxtrapolation.data.store import Store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 on this system"),
]
SITES = tuple(f"ZZ-{number:03d}" for number in range(6))
Whole = tuple[tuple[dict[str, str], str], float]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Towers in archives and loose, one of them cut off, all placed by a table of the network."""
    place = tmp_path_factory.mktemp("kill") / "archives"
    tables = []
    for number, site in enumerate(SITES):
        text = as_csv(*weather(days=120, seed=number))
        name = HH.replace("DE-Tha", site)
        if number % 2:
            write(place, {name: text})
        else:
            write_zip(place / name.replace("_HH_", "_").replace(".csv", ".zip"), {name: text})
        tables.append(bif(site, LOCATION_LAT=50.96, LOCATION_LONG=13.57, IGBP="ENF", UTC_OFFSET=1))
    first, *others = tables
    rows = "".join(table.split("\n", 1)[1] for table in others)
    return write(place, {"FLX_AA-Flx_BIF_20200501.csv": first + rows, HH.replace("DE-Tha", "ZZ-Bad"): text[:-50]})


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    out = tmp_path_factory.mktemp("whole") / "towers"
    begin = time.monotonic()
    assert run(command(folder, out)) == 2  # one tower failed, as it should
    return fingerprint(out), time.monotonic() - begin


def finished(folder: Path, out: Path, whole: Whole) -> None:
    """The same command again gives the same store."""
    assert run(command(folder, out)) == 2
    assert fingerprint(out) == whole[0]
    opened = Store(out)
    assert opened.verify() == [] and opened.site_ids == SITES and list(opened.manifest.failures) == ["ZZ-Bad"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("moment", [1, 2, 5, 9])  # manifest, six towers, site table, manifest
def test_killed_at_a_renaming(folder: Path, whole: Whole, tmp_path: Path, moment: int, when: str) -> None:
    out = tmp_path / "towers"
    assert run(command(folder, out, "-c", AT_RENAMING, str(moment), when)) == -signal.SIGKILL
    finished(folder, out, whole)


def test_killed_at_random_moments(folder: Path, whole: Whole, tmp_path: Path) -> None:
    draw = random.Random(5)
    for number in range(4):
        out = tmp_path / f"towers-{number}"
        started = subprocess.Popen(
            command(folder, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            started.wait(draw.uniform(0.3, 1.0) * whole[1])
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()
        finished(folder, out, whole)
