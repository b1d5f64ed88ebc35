"""Shared fixtures. Outside data lie beside the project; tests that need them skip, saying so, where they are absent."""

from __future__ import annotations

import os

# Test processes run side by side: one thread each, or their thread pools starve one another.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest
from hypothesis import settings

from fluxtrapolation.data.store import Store
from tiny import write_tiny_store

# A busy machine is no failure; and CI tries the same examples every time, new ones are tried at home.
settings.register_profile("unhurried", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("unhurried")

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("FLUXTRAPOLATION_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of outside data beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"outside data are absent: no folder {SHARED} (set FLUXTRAPOLATION_SHARED)")
    return SHARED


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Six made-up towers, 400 days each, GPP and NEE."""
    return write_tiny_store(tmp_path_factory.mktemp("tiny") / "store")
