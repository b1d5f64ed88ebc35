"""Tables shared by the tests of figures and report."""

from __future__ import annotations

import polars as pl
import pytest
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
