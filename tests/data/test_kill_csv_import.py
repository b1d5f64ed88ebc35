"""kill -9 during an import, then the same command again: every byte as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fluxtrapolation.data.importers.benchmark_csv import export_benchmark_csv
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import FluxtrapolationWarning
from tiny import write_tiny_store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9 on this system"),
]
SITES = tuple(f"AA-{number:03d}" for number in range(8))

# Kills itself in the middle of putting the n-th file into its place: before or after the renaming.
AT_RENAMING = """
import itertools, os, signal, sys
from pathlib import Path
moment, after = int(sys.argv.pop(1)), sys.argv.pop(1) == "after"
real, counter = Path.replace, itertools.count(1)
def replace(self, target):
    number = next(counter)  # one number a call, whatever the other thread does meanwhile
    if number == moment and not after:
        os.kill(os.getpid(), signal.SIGKILL)
    done = real(self, target)
    if number == moment:
        os.kill(os.getpid(), signal.SIGKILL)
    return done
Path.replace = replace
from fluxtrapolation.cli.main import main
main()
"""

# Kills itself when the n-th line of the journal is half written: the first is its head, then one for each tower.
IN_A_LINE = """
import itertools, os, signal, sys
from fluxtrapolation.data import journal
moment, counter = int(sys.argv.pop(1)), itertools.count(1)
real = journal._write
def write(handle, value):
    if next(counter) == moment:
        handle.write(journal._line(value)[:40])
        os.kill(os.getpid(), signal.SIGKILL)
    real(handle, value)
journal._write = write
from fluxtrapolation.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("kill")
    return export_benchmark_csv(write_tiny_store(place / "s", SITES, hours=24 * 200), place / "csv")


def command(folder: Path, out: Path, *before: str) -> list[str]:
    words = ["data", "import", str(folder), "--out", str(out), "--jobs", "2"]
    return [sys.executable, *(before or ("-m", "fluxtrapolation.cli.main")), *words]


def run(words: list[str]) -> int:
    return subprocess.run(words, capture_output=True, timeout=120, check=False).returncode


def fingerprint(out: Path) -> tuple[dict[str, str], str]:
    """Hashes of the data files, and the manifest's text without its times."""
    files = {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["created"], manifest["sha256"]
    for source in manifest["sources"]:
        del source["retrieved"]
    return files, json.dumps(manifest)


@pytest.fixture(scope="module")
def whole(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[dict[str, str], str], float]:
    out = tmp_path_factory.mktemp("whole") / "towers"
    begin = time.monotonic()
    assert run(command(folder, out)) == 0
    return fingerprint(out), time.monotonic() - begin


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("moment", [1, 2, 3, 9, 10, 11])  # manifest, eight towers, site table, manifest
def test_killed_at_a_renaming(
    folder: Path, whole: tuple[tuple[dict[str, str], str], float], tmp_path: Path, moment: int, when: str
) -> None:
    out = tmp_path / "towers"
    assert run(command(folder, out, "-c", AT_RENAMING, str(moment), when)) == -signal.SIGKILL
    assert run(command(folder, out)) == 0
    assert fingerprint(out) == whole[0]
    assert Store(out).verify() == []
    assert len(Store(out).site_ids) == len(SITES)


@pytest.mark.parametrize("moment", [1, 2, 5, 9])
def test_killed_in_the_middle_of_a_line_of_the_journal(
    folder: Path, whole: tuple[tuple[dict[str, str], str], float], tmp_path: Path, moment: int
) -> None:
    out = tmp_path / "towers"
    assert run(command(folder, out, "-c", IN_A_LINE, str(moment))) == -signal.SIGKILL
    with pytest.warns(FluxtrapolationWarning, match="is not complete"):
        held = Store(out).site_ids
    assert len(held) == max(moment - 2, 0)  # all but the one whose line is torn
    assert run(command(folder, out)) == 0
    assert fingerprint(out) == whole[0]
    assert Store(out).verify() == []


def test_killed_at_random_moments(
    folder: Path, whole: tuple[tuple[dict[str, str], str], float], tmp_path: Path
) -> None:
    draw = random.Random(4)
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
        assert run(command(folder, out)) == 0
        assert fingerprint(out) == whole[0]
