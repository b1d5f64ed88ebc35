"""The page in a real browser: nothing wider than a phone, and the switch between median and 90th percentile works."""

from __future__ import annotations

from pathlib import Path

import pytest
from headless import opened
from made_up_tables import make_runs, make_scores, make_seasonal, make_split

from fluxtrapolation import schema
from fluxtrapolation.plots import write_report

SHOWN = """Object.fromEntries([...document.querySelectorAll('[data-summary].panel')]
  .map(e => [e.dataset.summary, getComputedStyle(e).display !== 'none']))"""
WIDE = """[...document.querySelectorAll('main *, header *')].filter(e => {
  const box = e.getBoundingClientRect();
  return box.width > 0 && box.right > innerWidth + 1 && !e.closest('.scroll, pre') && !e.closest('svg');
}).map(e => e.tagName + '.' + e.className)"""
STICKY = """(() => {
  const name = document.querySelector('[data-summary="median"] table.board tbody th');
  const frame = name.closest('.scroll');
  const left = name.getBoundingClientRect().left;
  frame.scrollLeft = 200;
  return {scrolls: frame.scrollWidth > frame.clientWidth, moved: frame.scrollLeft,
          sticky: Math.abs(name.getBoundingClientRect().left - left)};
})()"""

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full page with long names."""
    models = {"lr": 1.0, "xgb-conservative-with-a-very-long-name": 0.7, "maxrm-regret": 0.9}
    scores = make_scores(targets=schema.TARGETS, models=models)
    return write_report(
        tmp_path_factory.mktemp("page"),
        title="A report with a rather long title about towers, scenarios and models",
        scores=scores,
        split_sites=make_split(),
        seasonal=make_seasonal(targets=schema.TARGETS),
        runs=make_runs(scores),
        meta={"commands": ["fluxtrapolation " + "x" * 300], "hashes": {"a long name of a file.parquet": "f" * 64}},
    )


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_window(browser: str, page: Path, width: int, tmp_path: Path) -> None:
    with opened(browser, page, tmp_path, width=width) as tab:
        assert tab.run("innerWidth") == width
        assert tab.run(WIDE) == []
        assert tab.run("document.documentElement.scrollWidth") <= width


def test_tables_scroll_in_their_own_frame_and_keep_the_names(browser: str, page: Path, tmp_path: Path) -> None:
    with opened(browser, page, tmp_path, width=390) as tab:
        found = tab.run(STICKY)
    assert found["scrolls"]
    assert found["moved"] == 200
    assert found["sticky"] == pytest.approx(0, abs=1)


def test_the_switch_changes_the_summary(browser: str, page: Path, tmp_path: Path) -> None:
    with opened(browser, page, tmp_path, width=390) as tab:
        assert tab.run(SHOWN) == {"median": True, "q90": False}
        tab.run("document.querySelector('label[for=\"summary-2\"]').click()")
        assert tab.run(SHOWN) == {"median": False, "q90": True}
