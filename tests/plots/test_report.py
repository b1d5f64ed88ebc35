"""The page: whole, self-contained, and its numbers are the numbers of the scores."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_tables import make_runs, make_scores, make_seasonal, make_split

from fluxtrapolation import schema
from fluxtrapolation.errors import DataError, EvaluationError, MissingColumnError
from fluxtrapolation.evaluation.summary import pivot
from fluxtrapolation.plots import write_report
from fluxtrapolation.plots.report.board import Board, shading
from fluxtrapolation.plots.report.headline import headline
from fluxtrapolation.plots.tables import check_scores

VOID = {"meta", "link", "input", "br", "col", "img", "hr", "wbr"}
META = {
    "commands": ["make demo", "fluxtrapolation report runs/ --out report/"],
    "versions": {"fluxtrapolation": "0.1.0"},
    "hashes": {"store": "ab" * 32},
    "store": {"sites": 60, "rows": 4_208_640},
    "notes": ["A note <of> the maker."],
}


class Page(HTMLParser):
    """Checks nesting while reading, and keeps what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.tables: list[Table] = []
        self.texts: list[str] = []
        self._cell: dict[str, object] | None = None
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {key: value or "" for key, value in attrs}
        assert len(found) == len(attrs), f"an attribute of {tag} is there twice"
        self.attributes += [(tag, key, value) for key, value in found.items()]
        if tag == "table":
            self.tables.append(Table(found))
        if tag == "tr":
            self.tables[-1].rows.append(Row(found))
        if tag in ("td", "th"):
            self._cell = {"tag": tag, "text": "", "value": None, "between": "", **found}
            self.tables[-1].rows[-1].cells.append(self._cell)
        if tag == "data" and self._cell is not None:
            self._cell["value"] = float(found["value"])
        if tag == "caption":
            self.tables[-1].captions += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open, f"<{tag}/> closes itself outside a drawing"
        self.attributes += [(tag, key, value or "") for key, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another element"
        if tag in ("td", "th"):
            self._cell = None

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append(data)
        if self._cell is not None:
            part = "between" if self.open[-1] == "small" and self._cell["tag"] == "td" else "text"
            self._cell[part] = str(self._cell[part]) + data

    @property
    def text(self) -> str:
        return re.sub(r"[ \n\t]+", " ", " ".join(self.texts))

    def boards(self, target: str, summary: str) -> list[Table]:
        return [
            table
            for table in self.tables
            if table.attributes.get("data-target") == target and table.attributes.get("data-summary") == summary
        ]


class Table:
    """A table of the page."""

    def __init__(self, attributes: dict[str, str]) -> None:
        self.attributes = attributes
        self.rows: list[Row] = []
        self.captions = 0

    def body(self) -> dict[tuple[str, str], list[dict[str, object]]]:
        """Cells of every model: name, skill and numbers, without the rank."""
        return {key: [cell for cell in cells if not is_rank(cell)] for key, cells in self._rows()}

    def ranks(self) -> dict[tuple[str, str], dict[str, object]]:
        """The rank of every model, where the table has ranks."""
        return {key: cell for key, cells in self._rows() for cell in cells if is_rank(cell)}

    def _rows(self) -> list[tuple[tuple[str, str], list[dict[str, object]]]]:
        return [
            ((row.attributes["data-model"], row.attributes["data-selection"]), row.cells)
            for row in self.rows
            if "data-model" in row.attributes
        ]


def is_rank(cell: dict[str, object]) -> bool:
    """Whether a cell is the rank of a model."""
    return "rank" in str(cell.get("class", "")).split()


class Row:
    """A row of a table."""

    def __init__(self, attributes: dict[str, str]) -> None:
        self.attributes = attributes
        self.cells: list[dict[str, object]] = []


def make_page(folder: Path, scores: pl.DataFrame, **more: object) -> tuple[str, Page]:
    """Write a report and read it back."""
    path = write_report(folder, title="A test", scores=scores, **more)  # type: ignore[arg-type]
    text = path.read_text("utf-8")
    return text, Page(text)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Page]:
    """A page with everything in it."""
    scores = make_scores(targets=schema.TARGETS)
    folder = tmp_path_factory.mktemp("report")
    text, page = make_page(
        folder,
        scores,
        split_sites=make_split(),
        seasonal=make_seasonal(targets=schema.TARGETS),
        runs=make_runs(scores),
        meta=META,
    )
    return folder, text, page


def assert_numbers_are_those_of(page: Page, scores: pl.DataFrame, baseline: str | None = "lr") -> None:
    """Every cell of every board equals the evaluation's pivot."""
    for target in scores["target"].unique():
        for summary in ("median", "q90"):
            wide = pivot(scores, target=target, summary=summary, baseline=baseline)
            tables = page.boards(target, summary)
            assert tables, f"no table for {target}, {summary}"
            for row in wide.iter_rows(named=True):
                shown: list[object] = []
                for table in tables:
                    name, skill, *cells = table.body()[row["model"], row["selection"]]
                    assert name["scope"] == "row"
                    assert skill["value"] == row.get("skill_score")
                    shown += [cell["value"] for cell in cells]
                cells_of_row = [value for key, value in row.items() if "/" in key]
                assert shown == cells_of_row
            assert {len(table.body()) for table in tables} == {wide.height}


def test_the_page_is_one_file(full: tuple[Path, str, Page]) -> None:
    folder, text, _ = full
    assert [path.name for path in folder.iterdir()] == ["index.html"]
    assert len(text.encode()) < 3_000_000


def test_the_page_loads_nothing(full: tuple[Path, str, Page]) -> None:
    _, text, page = full
    assert not [tag for tag, _, _ in page.attributes if tag in ("link", "img", "iframe", "object")]
    policy = next(value for _, key, value in page.attributes if key == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy
    assert not [value for _, key, value in page.attributes if key in ("src", "srcset", "data", "poster", "xlink:href")]
    assert {value[0] for _, key, value in page.attributes if key == "href"} == {"#"}
    assert "@import" not in text
    assert "@font-face" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}


def test_ids_are_unique_and_links_arrive(full: tuple[Path, str, Page]) -> None:
    _, text, page = full
    ids = [value for _, key, value in page.attributes if key == "id"]
    assert len(ids) == len(set(ids))
    asked = {value[1:] for _, key, value in page.attributes if key == "href"}
    asked |= {value for _, key, value in page.attributes if key in ("for", "aria-labelledby")}
    asked |= set(re.findall(r"url\(#([^)]+)\)", text))
    assert asked <= set(ids)


def test_tables_are_semantic(full: tuple[Path, str, Page]) -> None:
    _, _, page = full
    assert len(page.tables) == 6 + 1  # boards, runs
    for table in page.tables:
        assert table.captions == 1
        heads = [cell for row in table.rows for cell in row.cells if cell["tag"] == "th"]
        assert all(cell.get("scope") in ("col", "row", "colgroup") for cell in heads)
    board = page.boards("GPP", "median")[0]
    spans = [int(str(cell["colspan"])) for cell in board.rows[0].cells if "colspan" in cell]
    assert spans == [6, 6, 6]
    assert [cell["text"] for cell in board.rows[1].cells[:6]] == [
        "hourly",
        "weekly",
        "seasonal",
        "anom.",
        "IAV",
        "site",
    ]
    names = [str(cell["text"]).split()[0] for cell in board.rows[0].cells if "colspan" in cell]
    assert names == list(schema.SCENARIOS)


def test_numbers_of_the_page_are_those_of_the_scores(full: tuple[Path, str, Page]) -> None:
    assert_numbers_are_those_of(full[2], make_scores(targets=schema.TARGETS))


def test_shown_digits_round_the_value(full: tuple[Path, str, Page]) -> None:
    _, _, page = full
    for cells in page.boards("ET", "q90")[0].body().values():
        for cell in cells[1:]:
            text, value = str(cell["text"]).replace("\u2212", "-"), cell["value"]
            assert isinstance(value, float)
            decimals = len(text.partition(".")[2])
            assert float(text) == pytest.approx(value, abs=0.5001 * 10.0**-decimals)


def test_the_page_says_what_it_must(full: tuple[Path, str, Page]) -> None:
    _, _, page = full
    for words in (
        "protocol paper",
        "Of 3 models, xgb",
        "µmol m⁻² s⁻¹",
        "mm h⁻¹",
        "How to reproduce",
        "fluxtrapolation report runs/ --out report/",
        "4\u2009208\u2009640",
        "A note <of> the maker.",
        "max_depth = 7, learning_rate = 0.07312",
        "1 min 15 s",
        "Best site: XX-000",
        "Worst site: XX-003",
        "observed minus predicted",
        "Every cell of the table has a number",
        "Means of ISO weeks with at least 4 valid days.",
        "all three, by year 30",
    ):
        assert words in page.text, words


def test_drawings_are_described_and_hold_no_pixels(full: tuple[Path, str, Page]) -> None:
    _, text, page = full
    drawings = [value for tag, key, value in page.attributes if tag == "svg" and key == "role"]
    # Skill maps, distributions, scales, world maps, cycles; regional maps may come on top.
    assert len(drawings) >= 3 + 54 + 9 + 3 + 18
    assert set(drawings) == {"img"}
    assert "<image" not in text
    assert "data:image" not in text


def test_the_same_tables_give_the_same_bytes(tmp_path: Path) -> None:
    scores = make_scores(targets=("GPP",), scenarios=("spatial",))
    first, _ = make_page(tmp_path / "a", scores, split_sites=make_split(("spatial",)))
    second, _ = make_page(tmp_path / "b", scores, split_sites=make_split(("spatial",)))
    assert first == second


def test_missing_cells_are_dashes_with_their_reason(tmp_path: Path) -> None:
    scores = make_scores(targets=("GPP",), scenarios=("temporal", "spatial"))
    lost = (pl.col("model") == "xgb") & (pl.col("scenario") == "spatial") & (pl.col("scale") == "iav")
    some = (pl.col("scale") == "seasonal") & (pl.col("domain") == "XX-004")
    scores = scores.with_columns(
        pl.when(lost | some).then(None).otherwise(pl.col("rmse")).alias("rmse"),
        pl.when(lost)
        .then(pl.lit("single_year;zero_variance"))
        .when(some)
        .then(pl.lit("too_few_years"))
        .alias("reason"),
    ).filter(~((pl.col("model") == "constant") & (pl.col("scenario") == "temporal")))
    text, page = make_page(tmp_path, scores)
    assert_numbers_are_those_of(page, scores)
    body = page.boards("GPP", "median")[0].body()
    cell = body["xgb", "mean"][2 + 6 + 4]
    assert cell["text"] == "—"
    assert "single year; zero variance (11 domains), for instance XX-000" in str(cell["title"])
    assert "cells missing" in str(body["xgb", "mean"][1]["title"])
    assert {cell["text"] for cell in body["constant", "mean"][2:8]} == {"—"}
    assert "not in the scores" in str(body["constant", "mean"][2]["title"])
    assert 'id="missing"' in text
    assert "hourly, weekly, seasonal, anom, iav, site-mean not in the scores" in page.text
    assert 'id="left-out"' in text
    assert "too few years XX-004" in page.text
    assert "nan" not in page.text.lower().split()


def test_failed_runs_are_listed(tmp_path: Path) -> None:
    scores = make_scores(targets=("GPP",), scenarios=("spatial",))
    runs = make_runs(scores).with_columns(
        pl.when(pl.col("model") == "xgb").then(pl.lit("fit_failed: no memory")).alias("reason"),
        pl.lit(7).alias("seed"),
    )
    _, page = make_page(tmp_path, scores, runs=runs)
    assert "fit_failed: no memory" in page.text
    assert "seed = 7" in page.text


def test_one_model_without_baseline(tmp_path: Path) -> None:
    scores = make_scores(targets=("GPP",), scenarios=("spatial",), models={"xgb": 1.0})
    _, page = make_page(tmp_path, scores)
    assert_numbers_are_those_of(page, scores, baseline=None)
    skill = page.boards("GPP", "median")[0].body()["xgb", "mean"][1]
    assert skill["text"] == "—"
    assert "no scores of the baseline lr" in str(skill["title"])
    assert "The baseline lr is not among the models" in page.text


def test_only_the_baseline(tmp_path: Path) -> None:
    _, page = make_page(tmp_path, make_scores(targets=("GPP",), scenarios=("spatial",), models={"lr": 1.0}))
    assert "it is the baseline itself" in page.text


def test_several_models_without_baseline_are_ranked_by_cells(tmp_path: Path) -> None:
    scores = make_scores(targets=("GPP",), models={"xgb": 0.6, "mlp": 1.0})
    _, page = make_page(tmp_path, scores)
    assert "xgb has the lowest median error in 18 of 18 cells" in page.text


def test_another_baseline(tmp_path: Path) -> None:
    scores = make_scores(targets=("GPP",), scenarios=("spatial",))
    _, page = make_page(tmp_path, scores, baseline="constant")
    wide = pivot(scores, target="GPP", baseline="constant")
    best = page.boards("GPP", "median")[0].body()["xgb", "mean"][1]["value"]
    assert best == wide.filter(model="xgb")["skill_score"][0]


def test_selections_are_rows_of_their_own(tmp_path: Path) -> None:
    scores = make_scores(targets=("NEE",), scenarios=("spatial",), selections=schema.SELECTIONS)
    _, page = make_page(tmp_path, scores)
    assert_numbers_are_those_of(page, scores)
    assert len(page.boards("NEE", "q90")[0].body()) == 9


def test_selections_that_chose_the_same_share_a_row(tmp_path: Path) -> None:
    one = make_scores(targets=("NEE",), scenarios=("spatial",))
    other = one.filter(pl.col("model") == "xgb").with_columns((pl.col("rmse") * 1.1).alias("rmse"))
    copies = [one.with_columns(pl.lit(name).alias("selection")) for name in ("max", "mean")]
    scores = pl.concat([*copies, other.with_columns(pl.lit("discrepancy").alias("selection"))])
    _, page = make_page(tmp_path, scores)
    body = page.boards("NEE", "median")[0].body()
    assert set(body) == {
        ("xgb", "mean, max"),
        ("xgb", "discrepancy"),
        ("lr", "mean, max"),
        ("constant", "mean, max"),
    }
    wide = pivot(scores, target="NEE").filter(model="xgb", selection="max").row(0)
    assert [cell["value"] for cell in body["xgb", "mean, max"][1:]] == list(wide[2:])


def test_a_model_without_any_number_for_a_target_has_no_row(tmp_path: Path) -> None:
    scores = make_scores(scenarios=("spatial",)).filter(~((pl.col("model") == "xgb") & (pl.col("target") == "NEE")))
    text, page = make_page(tmp_path, scores)
    assert set(page.boards("GPP", "median")[0].body()) == {("xgb", "mean"), ("lr", "mean"), ("constant", "mean")}
    assert set(page.boards("NEE", "median")[0].body()) == {("lr", "mean"), ("constant", "mean")}
    assert "not in the scores: no such run was evaluated" in text


def test_a_gap_of_all_models_is_told_once(tmp_path: Path) -> None:
    scores = make_scores(targets=("GPP",), scenarios=("spatial",)).with_columns(
        pl.when(pl.col("scale") == "iav").then(None).otherwise(pl.col("rmse")).alias("rmse"),
        pl.when(pl.col("scale") == "iav").then(pl.lit("single_year")).alias("reason"),
    )
    text, page = make_page(tmp_path, scores)
    assert "all models GPP spatial iav single year (11 domains)" in page.text
    assert text.count("single year (11 domains)</td>") == 1


def test_more_than_three_scenarios_make_several_tables(tmp_path: Path) -> None:
    scenarios = ("years", "random-1", "random-2", "random-3", "temperature")
    scores = make_scores(targets=("GPP",), scenarios=scenarios, scales=("hourly", "iav"))
    _, page = make_page(tmp_path, scores)
    assert len(page.boards("GPP", "median")) == 2
    assert_numbers_are_those_of(page, scores)
    assert [table.attributes["data-part"] for table in page.boards("GPP", "q90")] == ["1", "2"]


def test_scores_without_selection_or_names(tmp_path: Path) -> None:
    scores = make_scores(targets=("GPP",), scenarios=("spatial",), models={"lr": 1.0, "mine": 0.8}).with_columns(
        pl.lit(None, pl.String).alias("selection"), pl.lit(None, pl.String).alias("scenario")
    )
    _, page = make_page(tmp_path, scores)
    body = page.boards("GPP", "median")[0].body()
    assert body["mine", ""][1]["value"] == pivot(scores, target="GPP").filter(model="mine")["skill_score"][0]
    assert "unnamed" in page.text


def test_odd_characters_are_escaped(tmp_path: Path) -> None:
    odd = "<script>alert('x')</script>\"&$y_1$"
    names = {"xgb": odd}
    scores = make_scores(targets=("GPP",), scenarios=("spatial",)).with_columns(pl.col("model").replace(names))
    split = make_split(("spatial",)).with_columns(pl.lit("</svg><b>").alias("site_id") + pl.col("site_id"))
    seasonal = make_seasonal(targets=("GPP",), scenarios=("spatial",)).with_columns(
        pl.col("model").replace(names), pl.lit("</text><i>").alias("site_id") + pl.col("site_id")
    )
    runs = make_runs(scores).with_columns(pl.lit("<u>not json").alias("config"))
    text, page = make_page(
        tmp_path, scores, split_sites=split, seasonal=seasonal, runs=runs, meta={"commands": "a < b && c", "x": "</dd>"}
    )
    assert text.count("<script") == 2  # the page's own: charts and what draws them
    assert "<script>alert" not in text
    assert "<u>" not in text
    assert "<i>XX" not in text
    assert (odd, "mean") in page.boards("GPP", "median")[0].body()
    assert "a < b && c" in page.text
    assert "Best site: </text><i>XX-000" in page.text


def test_bad_tables_are_refused(tmp_path: Path) -> None:
    good = make_scores(targets=("GPP",), scenarios=("spatial",), scales=("hourly",))
    mixed = pl.concat([good, good.with_columns(pl.lit("measured").alias("protocol"))])
    with pytest.raises(EvaluationError, match="measured, paper"):
        write_report(tmp_path, title="t", scores=mixed)
    with pytest.raises(EvaluationError, match="no rows"):
        write_report(tmp_path, title="t", scores=good.clear())
    with pytest.raises(MissingColumnError, match=r"scores table lacks 1 column\(s\): rmse"):
        write_report(tmp_path, title="t", scores=good.drop("rmse"))
    with pytest.raises(MissingColumnError, match="seasonal table lacks"):
        write_report(tmp_path, title="t", scores=good, seasonal=pl.DataFrame({"site_id": ["a"]}))
    with pytest.raises(MissingColumnError, match="split sites table lacks"):
        write_report(tmp_path, title="t", scores=good, split_sites=pl.DataFrame({"site_id": ["a"]}))
    with pytest.raises(MissingColumnError, match="runs table lacks"):
        write_report(tmp_path, title="t", scores=good, runs=pl.DataFrame({"model": ["a"]}))
    with pytest.raises(EvaluationError, match="more than once"):
        write_report(tmp_path, title="t", scores=pl.concat([good, good]))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("a file is in the way")
    with pytest.raises(DataError, match="in the way"):
        write_report(tmp_path / "report", title="t", scores=make_scores(targets=("GPP",), scenarios=("spatial",)))
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


@given(st.floats(1e-6, 1e6), st.floats(1.0, 10.0), st.floats(1.0, 10.0))
def test_shading_grows_away_from_white(best: float, first: float, second: float) -> None:
    def warmth(ratio: float) -> float:
        tone, strength = shading(best * ratio, best)
        assert 0.0 <= strength <= 1.0
        return strength if tone == "bad" else -strength

    low, high = sorted((first, second))
    assert warmth(low) <= warmth(high) + 1e-9
    assert warmth(1.0) == -1.0
    assert warmth(1.2) == pytest.approx(0.0, abs=1e-9)
    assert warmth(2.5) == 1.0


def test_shading_beside_a_best_of_zero() -> None:
    assert shading(0.0, 0.0) == ("good", 1.0)
    assert shading(0.1, 0.0) == ("bad", 1.0)


def exact_scores(factors: dict[tuple[str, str], list[float]]) -> pl.DataFrame:
    """Scores in which a model's domains have the given errors, the same at all scales of a scenario."""
    rows = [
        ("GPP", scenario, model, "mean", scale, f"XX-{i}", 1, value)
        for (scenario, model), values in factors.items()
        for scale in schema.BOARD_SCALES
        for i, value in enumerate(values)
    ]
    names = ["target", "scenario", "model", "selection", "scale", "domain", "n_samples", "rmse"]
    return check_scores(pl.DataFrame(rows, schema=names, orient="row"))


def test_headline_says_what_the_numbers_say() -> None:
    flat = [2.0] * 11
    heavy = [1.0] * 8 + [2.0] * 3
    board = Board(
        exact_scores(
            {
                ("temporal", "lr"): flat,
                ("temporal", "xgb"): [0.5] * 8 + [2.0] * 3,
                ("temperature", "lr"): flat,
                ("temperature", "xgb"): heavy,
            }
        ),
        baseline="lr",
    )
    said = " ".join(headline(board).sentences)
    # Skill 0.75 and 0.5 at the median, 0 at the 90th percentile.
    assert "Of 2 models, xgb has the highest mean skill" in said
    assert "62\u202f% below that of the baseline lr, averaged over 12 cells" in said
    assert "falls from temporal to temperature: 0.75 in temporal" in said
    assert "Hard towers gain less than ordinary ones: its skill is 0.00 at the 90th percentile against 0.62" in said
    assert "0.500 at the median tower and more than 2.00 at one tower in ten in temporal" in said
    assert math.isclose(board.skill_score("median", "GPP", headline(board).best or board.series[0]) or 0, 0.625)


def test_headline_of_other_scenarios_names_the_extremes() -> None:
    factors = {("years", "xgb"): 0.4, ("random-1", "xgb"): 0.7, ("warm", "xgb"): 0.9}
    cells = {key: [value] * 5 for key, value in factors.items()}
    cells |= {(scenario, "lr"): [1.0] * 5 for scenario, _ in factors}
    said = " ".join(headline(Board(exact_scores(cells), baseline="lr")).sentences)
    assert "Its skill is highest in years and lowest in warm: 0.30 in random-1, 0.10 in warm and 0.60 in years." in said


def test_headline_of_models_worse_than_the_baseline() -> None:
    board = Board(exact_scores({("spatial", "lr"): [1.0] * 4, ("spatial", "xgb"): [3.0] * 4}), baseline="lr")
    found = headline(board)
    assert found.best is not None
    assert found.best.model == "lr"
    assert "None of the 1 other model(s) beats the baseline lr" in found.sentences[0]


def test_headline_where_no_model_has_all_cells() -> None:
    scores = exact_scores({(s, m): [v] * 4 for s in ("temporal", "spatial") for m, v in (("lr", 2.0), ("xgb", 1.0))})
    scores = scores.with_columns(
        pl.when((pl.col("scenario") == "spatial") & (pl.col("scale") == "iav"))
        .then(None)
        .otherwise(pl.col("rmse"))
        .alias("rmse")
    )
    said = " ".join(headline(Board(scores, baseline="lr")).sentences)
    assert "50\u202f% below that of the baseline lr, averaged over the 11 of 12 cells in which every model has" in said


def test_headline_without_any_number() -> None:
    scores = exact_scores({("spatial", "lr"): [1.0], ("spatial", "xgb"): [1.0]}).with_columns(
        pl.lit(None, pl.Float64).alias("rmse")
    )
    found = headline(Board(scores, baseline="lr"))
    assert found.best is None
    assert "None of the" in found.sentences[0]


def test_several_seeds_of_a_run_are_refused(tmp_path: Path) -> None:
    """A distribution over domains would count each domain once for every seed."""
    scores = make_scores()
    both = pl.concat([scores.with_columns(pl.lit(seed, pl.Int64).alias("seed")) for seed in (0, 1)])
    with pytest.raises(EvaluationError, match=r"several seeds, such as .* with 0, 1"):
        write_report(tmp_path / "out", title="Seeds", scores=both)
    assert not (tmp_path / "out" / "index.html").exists()


def test_the_head_says_which_models_had_which_row_limit() -> None:
    from fluxtrapolation.plots.report.page import _profiles

    rows = [("paper", None, "lr"), ("paper", None, "xgb"), ("paper", 200_000, "maxrm-mse"), ("paper", None, "lr")]
    frame = pl.DataFrame(rows, schema={"profile": pl.String, "max_rows": pl.Int64, "model": pl.String}, orient="row")
    texts = _profiles(frame)
    assert len(texts) == 2
    assert "paper: lr, xgb" in texts
    assert [text for text in texts if text.startswith("paper (at most") and text.endswith(": maxrm-mse")]
    assert _profiles(frame.filter(pl.col("max_rows").is_null())) == ["paper"]
