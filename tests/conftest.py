"""Shared fixtures. Outside data lie beside the project; tests that need them skip, saying so, where they are absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("FLUXTRAPOLATION_SHARED", ROOT.parent / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of outside data beside the project."""
    if not SHARED.is_dir():
        pytest.skip(f"outside data are absent: no folder {SHARED} (set FLUXTRAPOLATION_SHARED)")
    return SHARED
