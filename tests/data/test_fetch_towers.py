"""From a registry to a store, in Python and on the command line, against a real web server."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fetch_server import Web, page, reset_after, serving, silent, status

from fluxtrapolation.cli.main import run
from fluxtrapolation.data.fetch import Limits, fetch_towers
from fluxtrapolation.data.fetch.towers import downloads_of
from fluxtrapolation.data.importers import import_towers
from fluxtrapolation.data.importers.benchmark_csv import export_benchmark_csv
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, FluxtrapolationWarning
from tiny import write_tiny_store

SITES = ("AA-One", "BB-Two", "CC-Thr")
QUICK = Limits(connect_s=2, read_s=1, retries=1, backoff_s=0.01)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Benchmark files of three made-up towers."""
    work = tmp_path_factory.mktemp("towers")
    store = write_tiny_store(work / "store", SITES, hours=24 * 60, targets=("GPP", "NEE", "ET"))
    folder = export_benchmark_csv(store, work / "csv")
    return {path.name: path.read_bytes() for path in folder.glob("*.csv")}


@pytest.fixture
def web(files: dict[str, bytes]) -> Iterator[Web]:
    with serving(Web(content=dict(files))) as running:
        yield running


def registry(web: Web, path: Path, **more: Any) -> Path:
    content = {
        "name": "made-up towers",
        "base_urls": [web.url],
        "licence": "CC-BY-4.0",
        "citation": "Somebody (2026). Towers.",
        "doi": "10.1234/towers",
        "files": [{"site": site} for site in SITES],
        **more,
    }
    path.write_text(yaml.safe_dump(content))
    return path


def fetch(web: Web, out: Path, **more: Any) -> Any:
    return fetch_towers(out, registry=registry(web, out.parent / "r.yaml"), limits=QUICK, **more)


def quietly(*words: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of the command line."""
    capsys.readouterr()
    code = run(["data", "fetch", *map(str, words)])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_from_registry_to_store_with_provenance(web: Web, tmp_path: Path, files: dict[str, bytes]) -> None:
    report = fetch(web, tmp_path / "towers")
    assert report.failed == {}
    store = Store(tmp_path / "towers")
    assert store.site_ids == SITES and store.verify() == []
    assert report.folder == downloads_of(tmp_path / "towers") == tmp_path / "towers.files"
    (source,) = store.manifest.sources
    assert (source.name, source.kind, source.licence) == ("made-up towers", "benchmark-csv", "CC-BY-4.0")
    assert (source.citation, source.doi) == ("Somebody (2026). Towers.", "10.1234/towers")
    assert source.options["fetched_from"] == "127.0.0.1"
    assert source.options["fetched_registry"] == "made-up towers"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", source.options["fetched_first"])
    for result in report.results:
        entry = store.manifest.sites[result.file.site]
        assert entry.source_sha256 == result.sha256
        (note,) = [text for text in entry.notes if text.startswith("fetched ")]
        assert f"from {web.url}/{result.file.name} (sha256 {result.sha256})" in note
        assert (report.folder / result.file.name).read_bytes() == files[result.file.name]


def test_every_tower_says_where_it_is_from(web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The registry's name and licence stand in the site table; by the lock file alone, the host's."""
    store = fetch(web, tmp_path / "towers").store
    assert {store.record(site).source for site in SITES} == {"made-up towers"}
    assert {store.record(site).licence for site in SITES} == {"CC-BY-4.0"}
    assert run(["data", "info", str(store.path)]) == 0
    assert "3 under this name" in capsys.readouterr().out
    again = import_towers(store.path.with_name("towers.files"), tmp_path / "read-again")  # without 'data fetch'
    assert {again.record(site).source for site in SITES} == {"made-up towers"}
    assert again.data_hash == store.data_hash

    folder = tmp_path / "only"
    words = ["--registry", str(tmp_path / "r.yaml"), "--out", str(folder), "--no-import"]
    assert quietly(*words, capsys=capsys)[0] == 0
    assert not (folder / "SOURCES.json").exists()
    with (folder / "CC-Thr.csv").open("ab") as handle:
        handle.write(b"\n")  # no longer what was fetched
    store = import_towers(folder, tmp_path / "by-lock")
    assert {site: store.record(site).source for site in SITES} == {
        "AA-One": "127.0.0.1",
        "BB-Two": "127.0.0.1",
        "CC-Thr": "benchmark CSV files, source not stated",
    }
    assert [store.record(site).licence for site in SITES] == ["CC-BY-4.0", "CC-BY-4.0", None]
    (source,) = store.manifest.sources
    assert source.options["fetched_from"] == "127.0.0.1" and source.licence == "CC-BY-4.0"
    assert source.covers(store.record("AA-One"))


def test_a_damaged_lock_file_does_not_stop_an_import(web: Web, tmp_path: Path) -> None:
    fetch(web, tmp_path / "towers")
    (tmp_path / "towers.files" / "fetch.lock.json").write_text("{")
    with pytest.warns(
        FluxtrapolationWarning, match=r"Source and licence of the fetched files are not known: .*damaged"
    ):
        store = import_towers(tmp_path / "towers.files", tmp_path / "again")
    assert store.record("AA-One").source == "benchmark CSV files, source not stated"


@pytest.mark.filterwarnings("ignore:3 towers were already:fluxtrapolation.errors.FluxtrapolationWarning")
def test_a_second_run_changes_nothing(web: Web, tmp_path: Path) -> None:
    fetch(web, tmp_path / "towers")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    asked = len(web.asked)
    again = fetch(web, tmp_path / "towers")
    assert {result.status for result in again.results} == {"held"} and len(web.asked) == asked
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_tower_that_comes_later_joins_the_store(web: Web, tmp_path: Path) -> None:
    """What 'data fetch' wrote into the manifest does not make it another store."""
    web.trouble["BB-Two.csv"] = [page()]
    first = fetch(web, tmp_path / "towers")
    assert list(first.failed) == ["BB-Two"] and first.store.site_ids == ("AA-One", "CC-Thr")
    with pytest.warns(FluxtrapolationWarning, match="2 towers were already"):
        second = fetch(web, tmp_path / "towers")
    assert second.failed == {} and second.store.site_ids == SITES
    assert all(
        any(note.startswith("fetched ") for note in entry.notes) for entry in second.store.manifest.sites.values()
    )


def test_a_file_that_is_fetched_but_cannot_be_read(web: Web, tmp_path: Path) -> None:
    """Good enough to be a table, not good enough for a tower: told beside the failed downloads."""
    web.content["CC-Thr.csv"] = re.sub(
        rb"^(2015-01-02 0[0-9]:00:00),[^,]*,", rb"\1,warm,", web.content["CC-Thr.csv"], flags=re.M
    )
    with pytest.warns(FluxtrapolationWarning, match="1 of 3 towers could not be imported"):
        report = fetch(web, tmp_path / "towers")
    assert list(report.failed) == ["CC-Thr"] and "not numbers" in report.failed["CC-Thr"]
    assert report.store.site_ids == ("AA-One", "BB-Two")


def test_nothing_came(tmp_path: Path) -> None:
    with serving(Web()) as empty:
        report = fetch(empty, tmp_path / "towers")
    assert report.store is None and len(report.failed) == 3
    assert not (tmp_path / "towers").exists()


def test_registry_by_address_is_kept_for_offline_work(web: Web, tmp_path: Path) -> None:
    text = registry(web, tmp_path / "r.yaml").read_bytes()
    web.content["r.yaml"] = text
    address = f"{web.url}/r.yaml"
    assert fetch_towers(tmp_path / "towers", registry=address, limits=QUICK).failed == {}
    with pytest.warns(FluxtrapolationWarning, match="3 towers were already"):
        assert fetch_towers(tmp_path / "towers", registry=address, offline=True).failed == {}
    # It may grow without being an error.
    web.content["r.yaml"] = text + b"note: new\n"
    with pytest.warns(FluxtrapolationWarning, match="3 towers were already"):
        assert fetch_towers(tmp_path / "towers", registry=address, limits=QUICK).failed == {}
    with pytest.raises(DataError, match=r"The registry cannot be had: HTTP 404"):
        fetch_towers(tmp_path / "other", registry=f"{web.url}/no.yaml", limits=QUICK)
    web.trouble["r.yaml"] = [page()]
    with pytest.raises(DataError, match=r"cannot be had: it is a web page"):
        fetch_towers(tmp_path / "other", registry=address, limits=QUICK)
    with pytest.raises(DataError, match=r"cannot be had: .*--offline allows no contact"):
        fetch_towers(tmp_path / "third", registry=address, offline=True)


def test_offline_import_opens_no_socket(web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetch(web, tmp_path / "towers")
    path = registry(web, tmp_path / "r.yaml")

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("a socket was opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, forbidden)
    report = fetch_towers(tmp_path / "again", registry=path, folder=tmp_path / "towers.files", offline=True)
    assert report.failed == {} and report.store.site_ids == SITES


def test_offline_makes_no_folder(web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is not there is told, from Python and the command line, and the disk stays as it was."""
    path = registry(web, tmp_path / "r.yaml")
    report = fetch_towers(tmp_path / "towers", registry=path, offline=True)
    assert [one.cause for one in report.results] == ["offline"] * 3 and web.asked == []
    words = ("--registry", path, "--offline", "--lock", tmp_path / "locks" / "lock.json")
    for more in ((), ("--no-import",), ("--files", tmp_path / "a" / "files")):
        code, out, _ = quietly(*words, *more, "--out", tmp_path / "towers", capsys=capsys)
        assert code == 2 and "3 of 3 files failed" in out
    with pytest.raises(DataError, match="--offline allows no contact"):
        fetch_towers(tmp_path / "towers", registry=f"{web.url}/r.yaml", offline=True)
    assert list(tmp_path.iterdir()) == [path]


def test_only_downloading_from_python(web: Web, tmp_path: Path) -> None:
    """Archives, which the benchmark importer does not read, and the contradictions, are the same as in the command."""
    web.content["FLX_AA-One.nc"] = b"CDF\x01"
    more: dict[str, Any] = {"url": f"{web.url}/FLX_{{site}}.nc", "sites": ["AA-One"], "limits": QUICK}
    report = fetch_towers(tmp_path / "files", no_import=True, **more)
    assert report.failed == {} and report.store is None and report.folder == tmp_path / "files"
    assert (report.folder / "FLX_AA-One.nc").read_bytes() == b"CDF\x01"
    with pytest.raises(DataError, match="leave out --files, --sites-table and --overwrite"):
        fetch_towers(tmp_path / "files", no_import=True, overwrite=True, **more)
    with pytest.raises(DataError, match="no CSV files"):
        fetch_towers(tmp_path / "towers", **more)
    fetch(web, tmp_path / "store")
    with pytest.raises(DataError, match="is a store"):
        fetch_towers(tmp_path / "store", no_import=True, **more)


# -- the command line -------------------------------------------------------------------------------------------------


def test_command_line_tells_what_failed(web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    web.trouble = {"AA-One.csv": [page("Log in")], "BB-Two.csv": [status(404)]}
    words = ("--registry", registry(web, tmp_path / "r.yaml"), "--out", tmp_path / "towers")
    code, out, err = quietly(*words, capsys=capsys)
    assert code == 2
    assert "2 of 3 files failed" in out and re.search(r"AA-One\.csv +rejected +it is a web page", out)
    assert re.search(r"BB-Two\.csv +unreachable +HTTP 404", out)
    assert out.rstrip().splitlines()[-1] == str(tmp_path / "towers")
    assert "3 files: 1 downloaded" in err and "tries these again" in err
    code, out, err = quietly(*words, capsys=capsys)
    assert code == 0 and out == f"{tmp_path / 'towers'}\n"
    assert "2 downloaded, 1 there already" in err


def test_json(web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    web.trouble = {"AA-One.csv": [status(404)]}
    words = ("--registry", registry(web, tmp_path / "r.yaml"), "--out", tmp_path / "towers", "--json")
    code, out, _ = quietly(*words, capsys=capsys)
    told = json.loads(out)
    assert code == 2 and (told["files"], told["done"], told["failed"]) == (3, 2, 1)
    assert told["sites"] == ["BB-Two", "CC-Thr"] and told["path"] == str(tmp_path / "towers")
    lost = told["results"][0]
    assert (lost["site"], lost["status"], lost["cause"]) == ("AA-One", "failed", "unreachable")


def test_only_downloading(web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (
        "--url",
        f"{web.url}/{{site}}.csv",
        "--sites",
        "AA-One, BB-Two",
        "--no-import",
        "--out",
        tmp_path / "files",
    )
    code, out, _ = quietly(*words, capsys=capsys)
    assert code == 0 and out == f"{tmp_path / 'files'}\n"
    assert sorted(path.name for path in (tmp_path / "files").iterdir()) == [
        "AA-One.csv",
        "BB-Two.csv",
        "fetch.lock.json",
    ]
    code, out, _ = quietly(*words, "--locked", "--offline", capsys=capsys)
    assert code == 0


USAGE: dict[str, tuple[list[str], str]] = {
    "no sites": (["--url", "http://h/{site}.csv"], "name the towers with --sites"),
    "both": (["--url", "http://h/{site}.csv", "--registry", "r.yaml", "--sites", "A"], "Give one of them"),
    "no place-holder": (["--url", "http://h/x.csv", "--sites", "DE-Tha"], "has no {site} in it"),
    "no registry": (["--registry", "absent.yaml"], "There is no registry absent.yaml"),
    "unknown tower": (["--sites", "DE-Thx"], "Did you mean 'DE-Tha'"),
    "empty sites": (["--sites", ","], "--sites names no tower"),
    "locked without a lock": (["--locked", "--sites", "DE-Tha", "--offline"], "There is no lock file"),
    "update offline": (["--update", "--offline"], "--offline forbids it"),
    "archives": (["--url", "http://h/FLX_{site}.zip", "--sites", "DE-Tha"], "Fetch them with --no-import"),
    "zarr and url": (["--zarr", "public", "--registry", "r.yaml"], "--registry and --zarr do not go together"),
    "zarr offline": (["--zarr", "public", "--offline"], "--offline and --zarr do not go together"),
    "qc without zarr": (["--qc", "measured"], "--qc and --gpp are for --zarr: published benchmark files hold a ready"),
    "gpp without zarr": (["--gpp", "nt", "--registry", "r.yaml"], "--qc and --gpp are for --zarr"),
    "zarr on disk": (["--zarr", "fluxnet.zarr"], "A store on disk is read with 'data import'"),
    "no import but overwrite": (["--no-import", "--overwrite"], "leave out --files, --sites-table and --overwrite"),
    "many": (["--jobs", "99"], "'--jobs'"),
}


@pytest.mark.parametrize("case", USAGE)
def test_bad_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, a message, nothing written."""
    monkeypatch.chdir(tmp_path)
    words, told = USAGE[case]
    code, out, err = quietly(*words, "--out", "towers", capsys=capsys)
    assert code == 2 and out == ""
    assert told in " ".join(err.split())
    assert list(tmp_path.iterdir()) == []


def test_a_store_is_no_folder_for_files(web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fetch(web, tmp_path / "towers")
    words = ("--url", f"{web.url}/{{site}}.csv", "--sites", "AA-One", "--no-import", "--out", tmp_path / "towers")
    code, _, err = quietly(*words, capsys=capsys)
    assert code == 2 and "is a store" in err


def test_zarr_by_address_is_the_importer_of_data_import(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("zarr", reason="the zarr extra is not installed")
    pytest.importorskip("aiohttp", reason="the zarr extra is not installed")
    from zarr_v2_writer import sites_csv, towers, write_store

    made = towers()[:2]
    write_store(tmp_path / "served" / "fluxnet.zarr", made)
    sites_csv(tmp_path / "sites.csv", made)
    served = tmp_path / "served"
    content = {path.relative_to(served).as_posix(): path.read_bytes() for path in served.rglob("*") if path.is_file()}
    with serving(Web(content=content)) as web:
        address = f"{web.url}/fluxnet.zarr"
        words = ("--zarr", address, "--sites-table", tmp_path / "sites.csv", "--out", tmp_path / "towers")
        code, out, err = quietly(*words, capsys=capsys)
        assert code == 0, err
        assert web.asked[0].headers["user-agent"].startswith("fluxtrapolation/")
        code, _, err = quietly(*words[:-1], tmp_path / "chosen", "--qc", "measured", "--gpp", "dt", capsys=capsys)
        assert code == 0, err
        # Through a proxy, which is asked for whole addresses.
        web.content |= {f"http://towers.invalid/{path}": body for path, body in content.items()}
        monkeypatch.setenv("http_proxy", web.url)
        words = ("--zarr", "http://towers.invalid/fluxnet.zarr", "--sites-table", tmp_path / "sites.csv")
        code, _, err = quietly(*words, "--out", tmp_path / "by-proxy", capsys=capsys)
        assert code == 0, err
    store = Store(tmp_path / "towers")
    assert len(store.site_ids) == 2 and store.manifest.sources[0].location == address
    made_with = [Store(tmp_path / name).manifest.sources[0].options for name in ("towers", "chosen")]
    assert [(one["qc"], one["gpp_variable"]) for one in made_with] == [("good", "gpp_nt"), ("measured", "gpp_dt")]
    assert out == f"{tmp_path / 'towers'}\n"


# -- interruptions ----------------------------------------------------------------------------------------------------


def command(web: Web, out: Path) -> list[str]:
    words = ["data", "fetch", "--url", f"{web.url}/{{site}}.csv", "--sites", ",".join(SITES), "--out", str(out)]
    return [sys.executable, "-m", "fluxtrapolation.cli.main", *words]


def test_interrupted_by_the_user(web: Web, tmp_path: Path, files: dict[str, bytes]) -> None:
    """Ctrl-C: exit code 130, what is finished is kept."""
    web.piece, web.pause = 4096, 0.0
    web.trouble["CC-Thr.csv"] = [silent(60.0)]
    process = subprocess.Popen(
        command(web, tmp_path / "towers"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    place = tmp_path / "towers.files"
    deadline = time.monotonic() + 60
    while not ((place / "AA-One.csv").exists() and (place / "BB-Two.csv").exists()) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=30)[1]
    assert process.returncode == 130 and "what is finished is kept" in err and "Traceback" not in err
    assert set(json.loads((place / "fetch.lock.json").read_text())["files"]) == {"AA-One.csv", "BB-Two.csv"}
    again = subprocess.run(command(web, tmp_path / "towers"), capture_output=True, text=True, check=False)
    assert again.returncode == 0 and "2 there already" in again.stderr
    assert all((place / name).read_bytes() == body for name, body in files.items())


@pytest.mark.slow
def test_killed_at_random_moments(web: Web, tmp_path: Path, files: dict[str, bytes]) -> None:
    """SIGKILL while downloading or importing, then the same command again: whole, and the same bytes.

    ``benchmarks/fetch.py`` does the same with larger files and 20 kills.
    """
    web.piece, web.pause = 8192, 0.02
    begin = time.monotonic()
    subprocess.run(command(web, tmp_path / "whole"), check=True, capture_output=True)
    usual = time.monotonic() - begin
    expected = content_of(tmp_path / "whole")
    chance = random.Random(4)
    for number in range(6):
        out = tmp_path / f"killed-{number}"
        process = subprocess.Popen(command(web, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.3, 0.95) * usual)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        again = subprocess.run(command(web, out), capture_output=True, text=True, check=False)
        assert again.returncode == 0, again.stderr
        assert content_of(out) == expected
        left = [path.name for path in [*out.iterdir(), *Path(f"{out}.files").iterdir()]]
        assert not [name for name in left if name.endswith((".part", ".json.new", ".tmp", ".lock", ".part.json"))]


def content_of(out: Path) -> tuple[dict[str, bytes], str]:
    """Bytes of files and tables; the manifest without times and places."""
    folder = Path(f"{out}.files")
    data = {path.name: path.read_bytes() for path in [*folder.glob("*.csv"), *(out / "sites").iterdir()]}
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["sha256"]
    manifest["sites"] = dict(sorted(manifest["sites"].items()))
    text = json.dumps(manifest).replace(str(folder.resolve()), "FOLDER")
    return data, re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ?", "TIME", text)


def test_a_broken_download_is_resumed_by_the_next_run(
    web: Web, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half = len(web.content["AA-One.csv"]) // 2
    web.trouble["AA-One.csv"] = [reset_after(half)]
    words = ("--registry", registry(web, tmp_path / "r.yaml"), "--out", tmp_path / "towers", "--retries", 0)
    code, out, _ = quietly(*words, capsys=capsys)
    assert code == 2 and "broke off the connection" in out
    assert (tmp_path / "towers.files" / "AA-One.csv.part").stat().st_size == half
    code, _, err = quietly(*words, capsys=capsys)
    assert code == 0 and "1 resumed, 2 there already" in err
    assert web.asked[-1].range == f"bytes={half}-"


def test_nothing_is_fetched_into_a_store(web: Web, tmp_path: Path) -> None:
    store = write_tiny_store(tmp_path / "store", SITES[:1])
    pinned = registry(web, tmp_path / "registry.yaml")
    for places in (
        {"out": tmp_path / "towers", "folder": store.path / "files"},
        {"out": store.path / "files", "no_import": True},
        {"out": tmp_path / "towers", "lock": store.path / "fetch.lock.json"},
    ):
        with pytest.raises(DataError, match="lies in the store"):
            fetch_towers(registry=pinned, limits=QUICK, **places)
    assert web.paths() == []
    assert not (tmp_path / "towers").exists()
    assert store.verify() == []
