"""The page of shift: whole, self-contained, honest about what is missing, and free of what others wrote into tables."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from made_shift import (
    NO_REPEAT,
    NO_TOWERS,
    make_conditional,
    make_conditional_dict,
    make_covariate,
    make_reference,
    make_tables,
)

from fluxtrapolation.errors import EvaluationError, MissingColumnError
from fluxtrapolation.plots.labels import target_unit
from fluxtrapolation.plots.shift import write_shift_page
from fluxtrapolation.plots.shift.cells import chance, change, classifier_grid, conditional_grid, spread
from fluxtrapolation.plots.shift.headline import headline
from fluxtrapolation.plots.shift.page import ABSENT, TABLES

VOID = {"meta", "link", "input", "br", "col", "img", "hr", "wbr"}
SPITE = "<script>alert(1)</script>&\"'"
META = {
    "target": "GPP",
    "scenario": "temperature",
    "model": "xgb",
    "commands": ["fluxtrapolation shift --store towers/ --scenario temperature --target GPP --out shift/"],
    "versions": {"fluxtrapolation": "0.6.0"},
    "notes": ["A note <of> the maker."],
}
APPLICABILITY = {
    "threshold": 0.35,
    "outside_share": 0.31,
    "summary": [
        {"model": "xgb", "measure": "spearman", "value": 0.52, "low": 0.2, "high": 0.7, "p_value": 0.004, "n": 20},
        {"model": "xgb", "measure": "auc_worst", "value": None, "n": 8, "reason": "8 towers; a worst tenth needs 10"},
    ],
    "record": {"reference_rows": 50_000, "notes": ["3 of 12 test towers stand in train too"]},
}


class Page(HTMLParser):
    """Checks nesting while reading, and keeps texts, attributes, headings and tables."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.headings: list[tuple[int, str]] = []
        self.captions = 0
        self.tables: dict[str, list[list[str]]] = {}
        self._rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        self.attributes += [(tag, key, value) for key, value in found.items()]
        if tag == "table":
            self._rows = self.tables.setdefault(found["data-table"], [])
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        elif tag == "caption":
            self.captions += 1
        elif re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> closes itself outside a drawing"
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] == "style":
            return
        self.texts.append(data)
        if self.open[-1] in ("td", "th"):
            self._rows[-1][-1] += data
        if re.fullmatch("h[1-6]", self.open[-1]):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.texts))


def write(tmp_path: Path, **changes: Any) -> str:
    """The text of a full page, with changes."""
    given: dict[str, Any] = {
        "title": "Shift of temperature",
        "covariate": make_covariate(),
        "conditional": make_conditional_dict(),
        "tables": make_tables(),
        "meta": META,
        "applicability": APPLICABILITY,
        "reference": make_reference(),
        "reference_label": "published by row",
    }
    return write_shift_page(tmp_path / "shift", **{**given, **changes}).read_text("utf-8")


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write(tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_the_page_needs_nothing_else(html: str, page: Page) -> None:
    assert html.startswith("<!DOCTYPE html>")
    assert "<script" not in html
    assert not re.search(r"https?://|//cdn|@import|url\((?!#)", html)
    for tag, key, value in page.attributes:
        if key in ("src", "href", "srcset", "data", "xlink:href"):
            assert value.startswith("#"), f"<{tag} {key}={value!r}> leads out of the page"
    assert "default-src 'none'" in html
    assert re.search(r"\{\{|\{%|nan\b|\bNone\b|\bNaN\b", page.text) is None


def test_every_id_is_there_once_and_every_link_leads_somewhere(page: Page) -> None:
    ids = [value for _, key, value in page.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    links = {value[1:] for _, key, value in page.attributes if key == "href"}
    assert links <= set(ids)


def test_headings_captions_and_pictures_are_accessible(html: str, page: Page) -> None:
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert page.captions == len(page.tables)
    drawings = re.findall(
        r'<svg class="fig" role="img"[^>]*aria-labelledby="([^"]+)"><title id="([^"]+)">([^<]+)', html
    )
    assert len(drawings) == html.count('<svg class="fig"') >= 30
    assert all(name == same and len(words) > 15 for name, same, words in drawings)
    assert html.count('lang="en"') == 1


def test_the_headline_answers_with_number_uncertainty_and_unit(page: Page) -> None:
    text = page.text.replace("\u202f", " ")
    assert "AUC of 0.861 ± 0.023" in text
    assert "exchanges the labels of whole towers gives p = 0.010, the smallest that 99" in text
    assert "what it gains, 0.122, is no evidence of a shift" in text
    assert "Shuffling air temperature [TA] (0.182 ± 0.031), plant functional type [PFT]" in text
    assert "13.0 %, where 2 % would be usual" in text
    assert "grows by 8.0 % from towers of train to towers of test (95 % interval 1.0–16.0 %, p = 0.030" in text
    assert "The published protocol, split by row, gives +17.3 % ± 1.0 %" in text
    assert "31.0 % of the test hours lie outside the area of applicability (index above 0.35)" in text
    assert "rank correlation 0.52 (90 % interval 0.20–0.70, p = 0.004, 20 towers, unit of chance: tower)" in text


def test_every_reason_is_on_the_page(page: Page) -> None:
    for reason in (NO_TOWERS, NO_REPEAT, "no p-value: one side has 3 units", "8 towers; a worst tenth needs 10"):
        assert reason in page.text
    assert f"(a) {NO_TOWERS}" in page.text
    assert "3 of 12 test towers stand in train too" in page.text


def test_tables_hold_the_numbers(page: Page) -> None:
    table = make_tables()["conditional"]
    rows = page.tables["conditional"][1:]
    assert len(rows) == table.height == 12
    lost = [row for row in rows if row[3] == "cannot be estimated"]
    assert [row[-1] for row in lost] == ["note 1", "note 1", NO_REPEAT]
    assert f"Note 1: {NO_TOWERS}." in page.text
    first = rows[0]
    assert first[:3] == ["by row", "train", "train"]
    site = next(row for row in rows if row[:3] == ["by site", "train", "shared"])
    assert [cell.replace("\u202f", " ") for cell in site[4:7]] == ["+8.0 %", "1.0–16.0 %", "0.030"]
    assert first[3].replace("\u202f", "").replace("\u00a0", " ") == "+21.1% ± 1.0%"
    assert page.tables["classifier"][2][0:2] == ["by site", "0.861\u00a0±\u00a00.023"]
    assert len(page.tables["univariate"]) == make_tables()["univariate"].height + 1
    assert page.tables["decomposition"][1][0] == "rows"
    assert page.tables["nearest_summary"][2][:3] == ["geographic", "by tower", "test"]
    outside = page.tables["outside"][1:]
    assert len(outside) == 20
    assert float(outside[0][1]) >= float(outside[-1][1])


def test_rows_and_commands_are_told(page: Page) -> None:
    assert "142 857" in page.text
    assert META["commands"][0] in page.text
    assert "A note <of> the maker." in page.text
    assert "Diamonds: published by row." in page.text


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ("slices", "slices"),
        ("decomposition", "decomposition"),
        ("error_curve", "applicability"),
        ("nearest", "nearest"),
        ("effective", "acf"),
        ("family", "family"),
        ("univariate", "covariate_tables"),
    ],
)
def test_a_section_without_its_table_is_a_sentence(tmp_path: Path, given: str, key: str) -> None:
    text = write(tmp_path, tables={given: make_tables()[given]})
    found = re.findall(r'data-absent="([^"]+)"', text)
    assert set(found) == set(ABSENT) - {key}
    told = Page(text).text
    assert all((ABSENT[name] in told) == (name != key) for name in ABSENT)


def test_a_full_page_lacks_nothing(html: str) -> None:
    assert "data-absent" not in html


def test_a_page_from_numbers_alone(tmp_path: Path) -> None:
    text = write(tmp_path, tables={}, meta=None, applicability=None, reference=None)
    page = Page(text)
    assert set(re.findall(r'data-absent="([^"]+)"', text)) == set(ABSENT)
    assert "Give a trained model (--run)" in page.text
    assert len(page.tables["conditional"]) == 13, "made from the dictionary"
    assert NO_TOWERS in page.text
    assert text.count('<svg class="fig"') == 2


def test_empty_tables_count_as_absent(tmp_path: Path) -> None:
    tables = {name: table.clear() for name, table in make_tables().items()}
    text = write(tmp_path, tables=tables)
    assert set(re.findall(r'data-absent="([^"]+)"', text)) == set(ABSENT)


def test_unknown_and_incomplete_tables_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"'slice'.*It knows: univariate.*[Dd]id you mean"):
        write(tmp_path, tables={"slice": make_tables()["slices"]})
    with pytest.raises(MissingColumnError, match="n_effective"):
        write(tmp_path, tables={"effective": make_tables()["effective"].drop("n_effective")})
    assert not (tmp_path / "shift" / "index.html").exists()


def test_spiteful_words_stay_words(tmp_path: Path) -> None:
    tables = make_tables()
    tables["importance"] = tables["importance"].with_columns(pl.lit(SPITE).alias("covariate"))
    tables["histograms"] = tables["histograms"].with_columns(pl.lit(SPITE).alias("covariate")).head(24)
    tables["sites"] = tables["sites"].with_columns(pl.lit(SPITE).alias("site_id") + pl.col("site_id"))
    tables["error_curve"] = tables["error_curve"].with_columns(pl.lit(SPITE).alias("model"))
    tables["conditional"] = make_conditional().with_columns(
        pl.when(pl.col("rmse_increase").is_null()).then(pl.lit(SPITE)).alias("reason")
    )
    tables["acf"] = tables["acf"].with_columns(pl.lit(SPITE).alias("series"))
    text = write(
        tmp_path,
        title=SPITE,
        tables=tables,
        covariate=make_covariate(auc=None, reason=SPITE),
        meta={
            "target": SPITE,
            "scenario": SPITE,
            "model": SPITE,
            "commands": [SPITE],
            "records": {SPITE: {SPITE: SPITE}},
        },
        reference_label=SPITE,
    )
    page = Page(text)
    assert "<script" not in text
    assert page.text.count("<script>alert(1)</script>") >= 10
    assert not [key for _, key, _ in page.attributes if key.startswith("on")]


def test_the_page_is_the_same_every_time(tmp_path: Path) -> None:
    tables = {name: make_tables()[name] for name in ("nearest", "conditional", "sites")}
    assert write(tmp_path, tables=tables) == write(tmp_path / "again", tables=tables)


def test_a_file_name_is_taken_as_it_is(tmp_path: Path) -> None:
    given = {"title": "t", "covariate": make_covariate(), "conditional": make_conditional_dict(), "tables": {}}
    assert write_shift_page(tmp_path / "mine.html", **given) == tmp_path / "mine.html"
    assert [path.name for path in tmp_path.iterdir()] == ["mine.html"], "nothing half written is left"


def said(covariate: dict[str, Any], conditional: dict[str, Any] | None = None, **tables: pl.DataFrame) -> list[str]:
    """First sentence of every answer."""
    found = headline(covariate, conditional or make_conditional_dict(), tables, target="GPP")
    return [sentences[0] for _, sentences in found.answers]


def test_the_headline_claims_no_more_than_the_test() -> None:
    assert said(make_covariate())[0].startswith("Yes:")
    assert said(make_covariate(p_value=0.31))[0].startswith("Not shown:")
    coarse = make_covariate(p_value=0.05)
    coarse["record"]["permutations"] = 19
    assert "p\u00a0=\u00a00.050, the smallest that 19 exchanges can give" in said(coarse)[0]
    undecided = said(make_covariate(p_value=None, p_note="one side has 3 towers"))[0]
    assert undecided.startswith("Not decided:")
    assert undecided.endswith("one side has 3 towers.")
    lost = said(make_covariate(auc=None, reason="one side has 3 towers"))[0]
    assert lost == "It cannot be estimated between towers: one side has 3 towers."
    years = make_covariate()
    years["record"]["unit"] = "tower-year"
    assert "labels of whole tower-years gives" in said(years)[0]


def test_the_headline_of_the_relation() -> None:
    assert said(make_covariate())[2].startswith("Yes: where train and test share covariates")
    weak = make_conditional_dict(low=-0.02, p_value=0.4)
    assert said(make_covariate(), weak)[2].startswith("Not shown:")
    better = make_conditional_dict(pooled=-0.05, rmse_increase=-0.05, low=-0.09, high=-0.01)
    assert "shrinks by 5.0" in said(make_covariate(), better)[2]
    assert "may come of a flux that varies less" in said(make_covariate(), better)[2]
    bare = make_conditional_dict(p_value=None, low=None, high=None, pooled=None, p_note="2.1 effective towers")
    assert said(make_covariate(), bare)[2].endswith("2.1 effective towers.")
    none = make_conditional_dict(rmse_increase=None, pooled=None, reason="no overlap")
    assert said(make_covariate(), none)[2] == "It cannot be estimated between towers: no overlap."
    assert said(make_covariate(), {"nothing": 1})[2] == "It cannot be estimated between towers: no reason given."


def test_the_headline_says_why_covariates_have_no_importance() -> None:
    table = make_tables()["importance"].with_columns(
        pl.lit(None, pl.Float64).alias("auc_drop"), pl.lit("one side has 3 towers").alias("reason")
    )
    assert said(make_covariate(), importance=table)[1] == (
        "The importance of covariates cannot be estimated: one side has 3 towers."
    )


def test_the_share_outside_weighs_towers_by_their_hours() -> None:
    sites = pl.DataFrame(
        {"site_id": ["a", "b"], "outside_share": [1.0, 0.0], "index_median": [2.0, 0.1], "n": [100, 300]}
    )
    assert said(make_covariate(), sites=sites)[3].replace("\u202f", " ").startswith("25.0 % of the test hours lie")
    bare = said(make_covariate(), sites=sites.drop("n"))[3].replace("\u202f", " ")
    assert bare.startswith("50.0 % of the test hours (mean over towers) lie")


def test_cells_write_numbers_as_they_are() -> None:
    assert (chance(0.0004), chance(0.0101), chance(None), chance(float("nan"))) == ("< 0.001", "0.010", "—", "—")
    assert [change(value).replace("\u202f", " ") for value in (0.1234, -0.02, 0.0, None)] == [
        "+12.3 %",
        "−2.0 %",
        "0.0 %",
        "—",
    ]
    assert spread(0.5, None) == "0.500"


def test_a_classifier_without_numbers_is_a_reason() -> None:
    grid = classifier_grid({"by_row": make_covariate()["by_row"], "by_site": {"auc": None, "reason": "too few towers"}})
    assert grid.rows[1][1:5] == ("—",) * 4
    assert grid.rows[1][-1] == "too few towers"


def test_conditional_without_reason_says_so() -> None:
    table = make_conditional().with_columns(pl.lit(None, pl.String).alias("reason"))
    assert [row[-1] for row in conditional_grid(table).rows if row[3] == "cannot be estimated"] == [
        "no reason given"
    ] * 3


def test_all_names_of_tables_are_used() -> None:
    assert set(make_tables()) | {"decomposition_sites"} == set(TABLES)


def two_tests(classifier: float, distance: float) -> list[str]:
    """What the headline says of P(X) where the two tests have these p-values."""
    table = make_tables()["distances"].with_columns(
        pl.when(pl.col("measure") == "energy").then(distance).otherwise(pl.col("p_value")).alias("p_value")
    )
    found = headline(make_covariate(p_value=classifier), make_conditional_dict(), {"distances": table}, target="GPP")
    return list(found.answers[0][1])


def test_classifier_and_distances_answer_together() -> None:
    assert two_tests(0.01, 0.01)[0].startswith("Yes: at towers it has not seen")
    assert two_tests(0.04, 0.04)[0].startswith("Yes:")
    assert two_tests(0.3, 0.2)[0].startswith("Not shown:")
    first, second, *_ = two_tests(0.1, 0.001)
    assert first.startswith("Yes, by distances, though the classifier does not show it: the energy distance")
    assert "0.410, where exchanged labels give 0.0800" in first and "p\u00a0=\u00a00.001" in first
    assert "The distances have more power" in second and "p\u00a0=\u00a00.100" in second
    first, second, *_ = two_tests(0.01, 0.4)
    assert first.startswith("Yes, by the classifier, though the distances do not show it: at towers")
    assert second.startswith("Without a classifier the energy distance")


def test_two_tests_do_not_double_the_false_alarms() -> None:
    """One of two p-values between 0.025 and 0.05 decides nothing (Simes)."""
    assert two_tests(0.04, 0.2)[0].startswith("Open, by the classifier")
    assert two_tests(0.2, 0.04)[0].startswith("Open, by distances")
    assert "decides nothing" in two_tests(0.2, 0.04)[0]


def test_a_note_that_rows_share_is_said_once(tmp_path: Path) -> None:
    words = "unit: tower; 39 train and 13 test towers exchange their labels; see by_site"
    tables = make_tables()
    tables["distances"] = tables["distances"].with_columns(pl.lit(words).alias("note"))
    text = write(tmp_path, tables=tables)
    page = Page(text)
    assert [row[0] for row in page.tables["distances"]] == ["Measure", "energy", "sliced wasserstein", "mmd"]
    assert "Note" not in page.tables["distances"][0]
    assert page.text.count("39 train and 13 test towers") == 1
    assert "see the split by site." in page.text and "by_site" not in page.text


def test_the_page_tells_what_the_clock_alone_gives(tmp_path: Path) -> None:
    tables = make_tables()
    plain = write(tmp_path / "plain", tables=tables)
    assert "hour of day alone" not in plain and "Thin dotted line" not in plain
    tables["error_curve"] = tables["error_curve"].with_columns((pl.col("rmse") * 0.9).alias("rmse_clock"))
    row = {"model": "xgb", "measure": "rmse_outside_minus_inside_same_clock", "value": 0.31, "low": 0.1, "high": 0.5}
    told = {**APPLICABILITY, "summary": [*APPLICABILITY["summary"], {**row, "p_value": 0.01, "n": 20}]}  # type: ignore[misc]
    text = Page(write(tmp_path / "clock", tables=tables, applicability=told)).text
    assert "tower, month and hour of day alone" in text and "Thin dotted line" in text
    assert "only where the thick line leaves the thin one" in text
    unit = target_unit("GPP")
    assert (
        f"tells: at the same tower, month and hour of day, the RMSE of hours outside the area is 0.31 {unit} more"
        in text
    )
