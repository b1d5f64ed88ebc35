"""The page of shift in a real browser: nothing wider than a telephone, texts of figures stay readable, dark mode."""

from __future__ import annotations

from pathlib import Path

import pytest
from headless import opened
from made_shift import make_conditional_dict, make_covariate, make_reference, make_tables

from fluxtrapolation.plots.shift import write_shift_page

WIDE = """[...document.querySelectorAll('main *, header *')].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width > 0 && box.right > innerWidth + 1 && !e.closest('.scroll, pre') && !e.closest('svg');
}).map(e => e.tagName + '.' + e.className)"""
SMALLEST = """Math.min(...[...document.querySelectorAll('svg.fig text')].map(e => {
  const scale = e.ownerSVGElement.getBoundingClientRect().width / e.ownerSVGElement.viewBox.baseVal.width;
  return parseFloat(getComputedStyle(e).fontSize) * scale;
}))"""
CUT = """[...document.querySelectorAll('svg.fig')].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  return [...svg.querySelectorAll('text')].filter(e => {
    const box = e.getBoundingClientRect();
    return box.left < frame.left - 12 || box.right > frame.right + 12;
  }).map(e => e.textContent);
})"""

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full page with long words."""
    return write_shift_page(
        tmp_path_factory.mktemp("shift"),
        title="A page of shift with a rather long title about towers and scenarios",
        covariate=make_covariate(),
        conditional=make_conditional_dict(),
        tables=make_tables(),
        meta={"target": "GPP", "commands": ["fluxtrapolation " + "x" * 300], "hashes": {"store": "f" * 64}},
        reference=make_reference(),
        threshold=0.35,
    )


@pytest.mark.parametrize("width", [400, 768, 1280])
def test_nothing_is_wider_than_the_window(browser: str, page: Path, width: int, tmp_path: Path) -> None:
    with opened(browser, page, tmp_path, width=width) as tab:
        assert tab.run("innerWidth") == width
        assert tab.run(WIDE) == []
        assert tab.run("document.documentElement.scrollWidth") <= width
        assert tab.run(CUT) == []
        assert tab.run(SMALLEST) > 7.0, "pixels"
        assert tab.console == []
        assert [url for url in tab.requests if not url.startswith("file:")] == []
