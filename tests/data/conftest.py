"""Fixtures of the tests of downloads."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from fetch_kit import BODY
from fetch_server import Web, serving

from fluxtrapolation.data.fetch import receive


@pytest.fixture
def web() -> Iterator[Web]:
    with serving(Web(content={"AA-One.csv": BODY})) as running:
        yield running


@pytest.fixture
def small_buffer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Partial files after 16 kB, so that small files have them."""
    monkeypatch.setattr(receive, "BUFFER", 1 << 14)
    monkeypatch.setattr(receive, "_own", threading.local())
