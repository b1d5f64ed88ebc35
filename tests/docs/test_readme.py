"""The Python of the README, CONTRIBUTING and the documentation runs, page by page, in a folder with a store."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from doc_pages import GUIDES, PAGES, ROOT, blocks, named, prose

from fluxtrapolation.data.synthetic import write_world

WITH_PYTHON = [page for page in GUIDES if any(block.language == "python" for block in blocks(page))]


@pytest.fixture(scope="session")
def towers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small simulated world in which all published scenarios apply."""
    return write_world(tmp_path_factory.mktemp("world") / "towers", sites=10, years=(2017, 2019)).path


def test_there_is_python_to_run() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/evaluation.md"} <= {named(page) for page in WITH_PYTHON}


@pytest.mark.parametrize("page", WITH_PYTHON, ids=named)
def test_python_runs(page: Path, towers: Path, tmp_path: Path) -> None:
    (tmp_path / "towers").symlink_to(towers, target_is_directory=True)
    code = "\n\n".join(
        f"# {named(page)}, line {block.line}\n{block.body}" for block in blocks(page) if block.language == "python"
    )
    (tmp_path / "page.py").write_text(code, "utf-8")
    done = subprocess.run(
        [sys.executable, "page.py"],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{named(page)}:\n{code}\n{done.stderr[-3000:]}"
    assert "Traceback" not in done.stderr


def test_the_front_door_shows_what_the_readme_shows() -> None:
    """The three lines stand in the README and in the package's own docstring with the same calls."""
    import fluxtrapolation as ft

    snippet = next(block.body for block in blocks(ROOT / "README.md") if block.language == "python")
    calls = [line for line in snippet.splitlines() if line.startswith(("split =", "model =", "scores ="))]
    assert len(calls) == 3
    for call in calls:
        assert call in (ft.__doc__ or "")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    for link in links:
        target = link.partition("#")[0]
        if target and "://" not in target:
            assert (page.parent / target).exists(), f"{named(page)} links to {link}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_pages_name_no_place_of_one_machine(page: Path) -> None:
    text = page.read_text("utf-8")
    assert re.findall(r"(?<![\w./])/(?:tmp|home|root|work|Users)/\S*", text) == []
