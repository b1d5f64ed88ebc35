"""Pipes and devices in the place of files: every door refuses them, and none waits for an end that never comes."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from fluxnet_maker import HH, as_csv, weather, write

from fluxtrapolation.data.importers.csv_header import read_bytes
from fluxtrapolation.data.importers.fluxnet_archive import import_fluxnet
from fluxtrapolation.data.importers.fluxnet_columns import Options
from fluxtrapolation.data.reading import need_file
from fluxtrapolation.data.satellite.netcdf import open_netcdf
from fluxtrapolation.data.satellite.tidy import open_tidy
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError


def pipe(path: Path) -> Path:
    """A pipe with a writer behind it, so that a door that reads it fails by its message and does not hang the tests."""
    os.mkfifo(path)

    def feed() -> None:
        with suppress(OSError):
            while True:
                path.write_bytes(b"no table\n")

    threading.Thread(target=feed, daemon=True).start()
    return path


def fluxnet(path: Path) -> object:
    return import_fluxnet(path.parent, path.parent.parent / "out")


DOORS: list[tuple[str, Callable[[Path], object]]] = [
    (HH, fluxnet),
    ("FLX_DE-Tha_FLUXNET2015_FULLSET_2010-2010_1-4.zip", fluxnet),
    ("DE-Tha.csv", read_bytes),
    ("eo.csv", lambda path: open_tidy(path, period=None)),
    ("eo.parquet", lambda path: open_tidy(path, period=None)),
    ("eo.nc", lambda path: open_netcdf(path, period=None)),
]


@pytest.mark.parametrize(("name", "read"), DOORS, ids=["FLUXNET file", "FLUXNET zip", "benchmark", "csv", "pq", "nc"])
def test_every_door_refuses_a_pipe(tmp_path: Path, name: str, read: Callable[[Path], object]) -> None:
    if name.endswith(".nc"):
        pytest.importorskip("h5netcdf")
    folder = tmp_path / "in"
    folder.mkdir()
    with pytest.raises(DataError, match=r"is no file but a pipe or device.*Give a file\."):
        read(pipe(folder / name))


def test_a_file_that_became_a_pipe_is_not_hashed(tmp_path: Path) -> None:
    """The second import compares hashes before it reads."""
    source = write(tmp_path / "in", {HH: as_csv(*weather())})
    import_fluxnet(source, tmp_path / "out", options=Options(et="none"))
    (source / HH).unlink()
    pipe(source / HH)
    with pytest.warns(match="is no file but a pipe or device"):
        import_fluxnet(source, tmp_path / "out", options=Options(et="none"))
    assert "The store keeps what was read" in Store(tmp_path / "out").manifest.failures["DE-Tha"]


def test_files_and_folders_are_no_pipes(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    need_file(tmp_path / "file")
    need_file(tmp_path)  # its own error tells more
    with pytest.raises(DataError, match="pipe or device"):
        need_file(Path(os.devnull))
    with pytest.raises(FileNotFoundError):
        need_file(tmp_path / "gone")
