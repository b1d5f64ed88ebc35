"""Interactive charts in a real browser: all are drawn, from the page alone, without a complaint, also on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from headless import Tab, opened
from made_up_tables import make_intervals, make_ranking, make_runs, make_scores, make_site_means, make_split

from fluxtrapolation.plots import write_report
from fluxtrapolation.plots.uncertainty import Uncertainty

MODELS = {"lr": 1.0, "xgb": 0.7, "a model [with] 'quotes' & <tags>": 0.9}
PLACES = "[...document.querySelectorAll('figure[data-chart]')]"
LIVE = ".live svg .role-mark"
# Per target: skill, 2 x 6 distributions, 2 of scales, 2 of means, 2 maps.
CHARTS = 2 * (1 + 12 + 2 + 2 + 2)

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all charts, two targets and two scenarios."""
    scores = make_scores(scenarios=("temporal", "spatial"), models=MODELS)
    order = tuple(sorted(MODELS, key=lambda name: MODELS[name]))
    ranking = make_ranking(order, {"GPP": order[:2], "NEE": order[:1]})
    return write_report(
        tmp_path_factory.mktemp("page"),
        title="Charts",
        scores=scores,
        split_sites=make_split(("temporal", "spatial")),
        site_means=make_site_means(scores),
        runs=make_runs(scores),
        uncertainty=Uncertainty.of_tables(make_intervals(scores), ranking),
    )


def visit_first(tab: Tab, section: str) -> str:
    """Open the first tab of a section, visit its first chart, and say how to find it."""
    tab.run(f"document.querySelector('{section} .tabs > label').click()")
    place = f"{section} figure[data-chart]"
    visit(tab, place)
    return place


def visit(tab: Tab, place: str) -> None:
    """Scroll to a chart and wait until it is drawn."""
    tab.run(f"document.querySelector('{place}').scrollIntoView({{block: 'center', behavior: 'instant'}})")
    tab.wait(f"!!document.querySelector('{place} {LIVE}')", what=place)


def visit_all(tab: Tab) -> None:
    """Open every tab and scroll to every chart."""
    waiting = f"one => one.getClientRects().length && !one.querySelector('{LIVE}')"
    seen = f"{PLACES}.filter({waiting}).map(one => one.dataset.chart)"
    for label in [None, *tab.run("[...document.querySelectorAll('.tabs > label')].map(one => one.htmlFor)")]:
        if label is not None:
            tab.run(f"document.querySelector('label[for=\"{label}\"]').click()")
        for name in tab.run(seen):
            visit(tab, f'figure[data-chart="{name}"]')


@pytest.fixture(scope="module", params=[390, 1280])
def tab(
    request: pytest.FixtureRequest, browser: str, page: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tab]:
    """The page as a phone and as a desk shows it."""
    with opened(browser, page, tmp_path_factory.mktemp("profile"), width=request.param) as tab:
        yield tab


def test_every_chart_is_drawn_when_it_comes_into_view(tab: Tab, page: Path) -> None:
    visit(tab, "figure[data-chart]")
    assert tab.run(f"{PLACES}.filter(one => one.querySelector('{LIVE}')).length") < CHARTS  # others wait
    visit_all(tab)
    assert tab.run(f"{PLACES}.length") == CHARTS
    assert tab.run(f"{PLACES}.filter(one => one.querySelector('{LIVE}')).length") == CHARTS
    marks = f"{PLACES}.map(one => one.querySelectorAll('.live svg path, .live svg text').length)"
    assert min(tab.run(marks)) >= 10
    words = "one => [...one.querySelectorAll('.live, .live [aria-label]')].some(e => (e.ariaLabel || '').length > 60)"
    assert tab.run(f"{PLACES}.every({words})")
    # No picture is shown beside its chart.
    assert tab.run(f"{PLACES}.filter(one => one.querySelector('svg.fig').getClientRects().length).length") == 0


def test_charts_fit_the_window(tab: Tab) -> None:
    visit_all(tab)
    wide = "[...document.querySelectorAll('.live svg')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    assert tab.run(f"{wide}.length") == 0
    assert tab.run("document.documentElement.scrollWidth <= innerWidth")


def test_the_menu_changes_the_model_of_all_charts_of_its_section(tab: Tab) -> None:
    place = visit_first(tab, "#site-means")
    text = f"document.querySelector('{place} .live svg').textContent"
    before = tab.run(text)
    tab.run(
        "(() => { const menu = document.querySelector('#site-means select'); menu.value = 'lr';"
        "menu.dispatchEvent(new Event('change')); })()"
    )
    tab.wait(f"{text} !== {before!r}")


def tip_at(tab: Tab, section: str, marks: str) -> str:
    """Words of the tooltip in the middle of the last mark of a section's first chart."""
    place = visit_first(tab, section)
    middle = (
        f"(() => {{ const all = document.querySelector('{place}').querySelectorAll('.live svg {marks} path');"
        "const box = all[all.length - 1].getBoundingClientRect();"
        "return [box.left + box.width / 2, box.top + box.height / 2]; })()"
    )
    visible = "!!document.querySelector('#vg-tooltip-element.visible')"
    for turn in range(100):
        if turn % 10 == 0:  # the page may still have been moving
            tab.point(1, 1)
            tab.point(*tab.run(middle))
        tab.run("new Promise(done => setTimeout(done, 50))")
        if tab.run(visible):
            words = tab.run("document.getElementById('vg-tooltip-element').innerText")
            tab.point(1, 1)
            return str(words)
    raise AssertionError(f"no tooltip at {place}")


def test_pointing_at_a_dot_names_the_tower(tab: Tab) -> None:
    tip = tip_at(tab, "#error-maps", ".role-mark.mark-symbol")
    assert "XX-0" in tip
    assert "GRA" in tip
    assert "µmol m⁻² s⁻¹" in tip


def test_pointing_near_a_line_names_the_domain(tab: Tab) -> None:
    tip = tip_at(tab, "#cdf", ".mark-line")
    assert "XX-0" in tip
    assert "undefined" not in tip


def test_pictures_and_charts_are_equally_high(tab: Tab) -> None:
    """Drawing a chart must not move what one is reading."""
    visit_all(tab)
    heights = (
        f"{PLACES}.filter(one => one.getClientRects().length).map(one => {{"
        "const chart = one.querySelector('.live').getBoundingClientRect().height;"
        "one.classList.remove('drawn');"
        "const picture = one.querySelector('svg.fig').getBoundingClientRect().height;"
        "one.classList.add('drawn');"
        "return [chart, picture]; })"
    )
    for chart, picture in tab.run(heights):
        assert abs(chart - picture) <= 8


def test_nothing_leaves_the_page_and_nothing_complains(tab: Tab, page: Path) -> None:
    visit_all(tab)
    assert [one for one in tab.requests if one != page.as_uri()] == []
    assert tab.console == []


def test_without_scripts_the_pictures_stay(browser: str, tmp_path: Path) -> None:
    scores = make_scores(targets=("GPP",), scenarios=("spatial",))
    path = write_report(tmp_path, title="Plain", scores=scores, draws=0)
    text = path.read_text("utf-8")
    start, end = text.index('<script type="text/plain"'), text.rindex("</script>") + len("</script>")
    path.write_text(text[:start] + text[end:], "utf-8")
    with opened(browser, path, tmp_path / "profile", width=1280) as tab:
        pictures = "[...document.querySelectorAll('figure[data-chart] > svg.fig')]"
        assert tab.run(f"{pictures}.map(one => one.getBoundingClientRect().height > 50)") == [True] * 8
        assert tab.run("[...document.querySelectorAll('.controls')].filter(e => e.getClientRects().length).length") == 0
