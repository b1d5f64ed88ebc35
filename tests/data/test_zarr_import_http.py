"""The FLUXNET2015 Zarr importer over HTTP, against a real web server on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("zarr", reason="the zarr extra is not installed")
pytest.importorskip("aiohttp", reason="the zarr extra is not installed")

from zarr_v2_writer import sites_csv, towers, write_store

from fluxtrapolation.data.importers import zarr_source
from fluxtrapolation.data.importers.fluxnet2015_zarr import import_fluxnet2015_zarr
from fluxtrapolation.errors import DataError, FluxtrapolationWarning, MissingColumnError


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; ``trouble`` maps the end of a path to what happens: a status, or a web page with status 200."""

    trouble: dict[str, list[int | str]]
    seen: list[tuple[str, str]]

    def do_GET(self) -> None:
        self._answer(super().do_GET)

    def do_HEAD(self) -> None:
        self._answer(super().do_HEAD)

    def _answer(self, ordinary: object) -> None:
        self.seen.append((self.path, self.headers.get("User-Agent", "")))
        for end, answers in self.trouble.items():
            if self.path.endswith(end) and answers:
                answer = answers[0] if len(answers) == 1 else answers.pop(0)
                if isinstance(answer, int):
                    if answer != 200:
                        self.send_error(answer)
                        return
                else:
                    page = answer.encode()
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(page)))
                    self.end_headers()
                    if self.command == "GET":
                        self.wfile.write(page)
                    return
        ordinary()  # type: ignore[operator]

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server:
    def __init__(self, folder: Path) -> None:
        self.trouble: dict[str, list[int | str]] = {}
        self.seen: list[tuple[str, str]] = []
        handler = type("Handler", (Handler,), {"trouble": self.trouble, "seen": self.seen})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self._server.server_port}/fluxnet.zarr"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("served")
    write_store(made / "fluxnet.zarr", towers()[:3])
    sites_csv(made / "sites.csv", towers()[:3])
    return made


@pytest.fixture
def server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(zarr_source.clock, "sleep", lambda _: None)
    running = Server(folder)
    yield running
    running.close()


def test_a_url_gives_the_same_towers_as_the_folder(tmp_path: Path, folder: Path, server: Server) -> None:
    table = folder / "sites.csv"
    near = import_fluxnet2015_zarr(folder / "fluxnet.zarr", tmp_path / "near", sites_table=table)
    far = import_fluxnet2015_zarr(server.url, tmp_path / "far", sites_table=table)
    assert far.data_hash == near.data_hash
    assert far.manifest.sources[0].location == server.url
    assert all(agent.startswith("fluxtrapolation/") for _, agent in server.seen)
    # each chunk is fetched once: six variables and the flags of three towers
    chunks = [path for path, _ in server.seen if "/nee/" in path and not path.endswith((".zarray", ".zattrs"))]
    assert sorted(chunks) == sorted(set(chunks))
    assert len(chunks) == 3


def test_only_the_chunks_of_the_sites_asked_for_are_fetched(tmp_path: Path, folder: Path, server: Server) -> None:
    import_fluxnet2015_zarr(server.url, tmp_path / "t", sites_table=folder / "sites.csv", sites=["ZZ-Dar"])
    chunks = {path.rsplit("/", 1)[1] for path, _ in server.seen if "/ta/" in path}
    assert chunks <= {"1.0", ".zarray", ".zattrs"}


@pytest.mark.parametrize("name", ["ta", "nee"])
def test_404_of_one_chunk_is_that_towers_failure(tmp_path: Path, folder: Path, server: Server, name: str) -> None:
    server.trouble[f"/{name}/1.0"] = [404]
    with pytest.warns(FluxtrapolationWarning, match="1 of 3 towers"):
        store = import_fluxnet2015_zarr(server.url, tmp_path / "t", sites_table=folder / "sites.csv")
    assert store.site_ids == ("ZZ-Ade", "ZZ-Ber")
    assert f"not in the store: {name}/1.0" in store.manifest.failures["ZZ-Dar"]


def test_a_web_page_in_place_of_a_chunk(tmp_path: Path, folder: Path, server: Server) -> None:
    server.trouble["/vpd/1.0"] = ["<html>please log in</html>"]
    with pytest.warns(FluxtrapolationWarning, match="1 of 3 towers"):
        store = import_fluxnet2015_zarr(server.url, tmp_path / "t", sites_table=folder / "sites.csv")
    assert "vpd of ZZ-Dar is damaged" in store.manifest.failures["ZZ-Dar"]


def test_a_passing_fault_is_tried_again(tmp_path: Path, folder: Path, server: Server) -> None:
    server.trouble["/ta/1.0"] = [503, 500, 200]
    store = import_fluxnet2015_zarr(server.url, tmp_path / "t", sites_table=folder / "sites.csv")
    assert len(store.site_ids) == 3


def test_a_lasting_fault_is_that_towers_failure(tmp_path: Path, folder: Path, server: Server) -> None:
    server.trouble["/ta/1.0"] = [500]
    with pytest.warns(FluxtrapolationWarning, match="1 of 3 towers"):
        store = import_fluxnet2015_zarr(server.url, tmp_path / "t", sites_table=folder / "sites.csv")
    assert "after 3 attempts" in store.manifest.failures["ZZ-Dar"]
    assert sum(path.endswith("/ta/1.0") for path, _ in server.seen) == 3


def test_a_site_that_answers_everything_with_a_page(tmp_path: Path, server: Server) -> None:
    server.trouble[""] = ["<!doctype html><title>Welcome</title>"]
    with pytest.raises(DataError, match="is a web page, not Zarr metadata"):
        import_fluxnet2015_zarr(server.url, tmp_path / "t")
    assert not (tmp_path / "t").exists()


def test_wrong_address(tmp_path: Path, server: Server) -> None:
    with pytest.raises(DataError, match="not a Zarr store"):
        import_fluxnet2015_zarr(server.url.replace("fluxnet.zarr", "nothing.zarr"), tmp_path / "t")


@pytest.mark.parametrize("status", [403, 500])
def test_refused(tmp_path: Path, server: Server, status: int) -> None:
    server.trouble[""] = [status]
    with pytest.raises(DataError, match=rf"cannot be read from http.*{status}"):
        import_fluxnet2015_zarr(server.url, tmp_path / "t")


def test_nobody_there(tmp_path: Path, server: Server) -> None:
    gone = Server(tmp_path)
    gone.close()
    with pytest.raises(DataError, match="Check the address and the connection"):
        import_fluxnet2015_zarr(gone.url, tmp_path / "t")


def test_without_consolidated_metadata(tmp_path: Path, folder: Path, server: Server) -> None:
    server.trouble["/.zmetadata"] = [404]
    server.trouble["/gpp_dt/.zarray"] = [404]
    server.trouble["/gpp_dt/zarr.json"] = [404]
    store = import_fluxnet2015_zarr(server.url, tmp_path / "t", sites_table=folder / "sites.csv")
    assert len(store.site_ids) == 3
    with pytest.raises(MissingColumnError, match="gpp_dt"):
        import_fluxnet2015_zarr(server.url, tmp_path / "u", sites_table=folder / "sites.csv", gpp="dt")
