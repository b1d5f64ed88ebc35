"""Tables shared by the tests of figures and report."""

from __future__ import annotations

import os
import shutil

import polars as pl
import pytest
from headless import BROWSERS
from made_up_tables import make_scores, make_seasonal, make_split


@pytest.fixture(scope="session")
def scores() -> pl.DataFrame:
    """Two targets, three scenarios, three models, eight scales."""
    return make_scores()


@pytest.fixture(scope="session")
def split_sites() -> pl.DataFrame:
    """Thirty towers in three scenarios."""
    return make_split()


@pytest.fixture(scope="session")
def seasonal() -> pl.DataFrame:
    """Cycles of four sites by two models."""
    return make_seasonal()


@pytest.fixture(scope="session")
def browser() -> str:
    """Path of Chromium; skips where there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None and os.environ.get("FLUXTRAPOLATION_REQUIRE_BROWSER"):
        pytest.fail(f"browser tests are required here, but there is no Chromium (looked for {', '.join(BROWSERS)})")
    if found is None:
        pytest.skip(f"no Chromium on this machine (looked for {', '.join(BROWSERS)})")
    return found
