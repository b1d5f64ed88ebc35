"""The page in a real browser: nothing wider than a phone, and the switch between median and 90th percentile works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest
from made_up_tables import make_runs, make_scores, make_seasonal, make_split

from fluxtrapolation import schema
from fluxtrapolation.plots import write_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PROBE = """
<script>
addEventListener('load', () => {
  const root = document.documentElement;
  const shown = () => Object.fromEntries([...document.querySelectorAll('[data-summary].panel')]
    .map(e => [e.dataset.summary, getComputedStyle(e).display !== 'none']));
  const before = shown();
  document.querySelector('label[for="summary-2"]').click();
  const after = shown();
  const wide = [...document.querySelectorAll('main *, header *')].filter(e => {
    const box = e.getBoundingClientRect();
    return box.width > 0 && box.right > innerWidth + 1 && !e.closest('.scroll, pre') && !e.closest('svg');
  }).map(e => e.tagName + '.' + e.className);
  const name = document.querySelector('[data-summary="q90"] table.board tbody th');
  const frame = name.closest('.scroll');
  const left = name.getBoundingClientRect().left;
  frame.scrollLeft = 200;
  const found = {
    inner: innerWidth, scroll: root.scrollWidth, client: root.clientWidth, before, after, wide,
    scrolls: frame.scrollWidth > frame.clientWidth, moved: frame.scrollLeft,
    sticky: Math.abs(name.getBoundingClientRect().left - left),
  };
  const out = document.createElement('pre');
  out.id = 'probe';
  out.textContent = JSON.stringify(found);
  parent.document.body.append(out);
});
</script>
"""

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser() -> str:
    """Path of Chromium; skips where there is none."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None and os.environ.get("FLUXTRAPOLATION_REQUIRE_BROWSER"):
        pytest.fail(f"browser tests are required here, but there is no Chromium (looked for {', '.join(BROWSERS)})")
    if found is None:
        pytest.skip(f"no Chromium on this machine (looked for {', '.join(BROWSERS)})")
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A full page with long names, and a script that measures it."""
    models = {"lr": 1.0, "xgb-conservative-with-a-very-long-name": 0.7, "maxrm-regret": 0.9}
    scores = make_scores(targets=schema.TARGETS, models=models)
    path = write_report(
        tmp_path_factory.mktemp("page"),
        title="A report with a rather long title about towers, scenarios and models",
        scores=scores,
        split_sites=make_split(),
        seasonal=make_seasonal(targets=schema.TARGETS),
        runs=make_runs(scores),
        meta={"commands": ["fluxtrapolation " + "x" * 300], "hashes": {"a long name of a file.parquet": "f" * 64}},
    )
    text = path.read_text("utf-8")
    probed = path.with_name("probed.html")
    probed.write_text(text.replace("</body>", PROBE + "</body>"), "utf-8")
    return probed


def framed(page: Path, width: int) -> Path:
    """The page in a frame of the given width: a window of the browser itself is never narrower than 500 pixels."""
    inner = escape(page.read_text("utf-8"), quote=True)
    path = page.with_name(f"frame-{width}.html")
    path.write_text(
        "<!DOCTYPE html><meta charset=utf-8><body style='margin:0'>"
        f"<iframe style='width:{width}px;height:844px;border:0' srcdoc=\"{inner}\"></iframe>",
        "utf-8",
    )
    return path


def measure(browser: str, page: Path, width: int, profile: Path) -> dict[str, object]:
    """Load the page in a frame of the given width and return what the script found."""
    command = [
        browser,
        *FLAGS,
        f"--user-data-dir={profile}",
        "--window-size=1400,900",
        "--virtual-time-budget=3000",
    ]
    done = subprocess.run(
        [*command, "--dump-dom", framed(page, width).as_uri()], capture_output=True, text=True, timeout=120, check=False
    )
    found = re.search(r'<pre id="probe">([^<]*)</pre>', done.stdout)
    assert found, f"the page did not load (exit {done.returncode}): {done.stderr[-800:]}"
    result: dict[str, object] = json.loads(unescape(found.group(1)))
    assert result["inner"] == width
    return result


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_nothing_is_wider_than_the_window(browser: str, page: Path, width: int, tmp_path: Path) -> None:
    found = measure(browser, page, width, tmp_path)
    assert found["wide"] == []
    assert found["scroll"] == found["client"] <= width


def test_tables_scroll_in_their_own_frame_and_keep_the_names(browser: str, page: Path, tmp_path: Path) -> None:
    found = measure(browser, page, 390, tmp_path)
    assert found["scrolls"]
    assert found["moved"] == 200
    assert found["sticky"] == pytest.approx(0, abs=1)


def test_the_switch_changes_the_summary(browser: str, page: Path, tmp_path: Path) -> None:
    found = measure(browser, page, 390, tmp_path)
    assert found["before"] == {"median": True, "q90": False}
    assert found["after"] == {"median": False, "q90": True}
