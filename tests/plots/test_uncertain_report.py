"""The page says how certain its numbers are: intervals, ranks and ties, and where they cannot be given."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from made_up_tables import make_intervals, make_ranking, make_scores, make_site_means, make_split
from test_report import Page

from fluxtrapolation.evaluation.certainty.intervals import intervals
from fluxtrapolation.evaluation.certainty.rank import rank
from fluxtrapolation.plots import write_report
from fluxtrapolation.plots.report.board import Board
from fluxtrapolation.plots.report.headline import Headline, headline
from fluxtrapolation.plots.tables import Series, check_scores
from fluxtrapolation.plots.uncertainty import Uncertainty, uncertainty_of

ORDER = ("xgb", "lr", "constant")


def said_by(scores: pl.DataFrame, tied: dict[str, tuple[str, ...]]) -> tuple[Headline, str]:
    """Headline of a board with made-up standings."""
    known = Uncertainty.of_tables(make_intervals(scores), make_ranking(ORDER, tied))
    found = headline(Board(check_scores(scores), baseline="lr", uncertainty=known))
    return found, " ".join(found.sentences)


def page_of(folder: Path, scores: pl.DataFrame, **more: object) -> Page:
    """A written page, read back."""
    path = write_report(folder, title="A test", scores=scores, **more)  # type: ignore[arg-type]
    return Page(path.read_text("utf-8"))


def test_a_clear_winner_is_called_best() -> None:
    found, said = said_by(make_scores(), {"GPP": ("xgb",), "NEE": ("xgb",)})
    assert "Of 3 models, xgb is best." in said
    assert "No other model is tied with it" in said
    assert found.tiles[0].words == "best of 3 models, by mean skill"


def test_a_tie_is_no_win_and_names_the_tied() -> None:
    found, said = said_by(make_scores(), {"GPP": ("xgb", "constant"), "NEE": ("xgb",)})
    assert "is best" not in said
    assert "xgb has the highest mean skill" in said
    assert "it is tied with constant for GPP; it is alone at the top for NEE" in said
    assert found.tiles[0].words == "highest mean skill of 3 models; not told apart from constant"


def test_one_target_needs_no_name() -> None:
    _, said = said_by(make_scores(targets=("GPP",)), {"GPP": ("xgb", "lr")})
    assert "it is tied with lr. Models that are tied" in said
    assert "(skill 0.30 [0.10–0.30])" in said or "[0.10–0.30]" in said


def test_a_target_led_by_another_model_is_told() -> None:
    found, said = said_by(make_scores(), {"GPP": ("xgb",), "NEE": ("lr",)})
    assert found.best == Series("xgb", "mean")
    assert "lr is ahead of it for NEE" in said
    assert "is best" not in said


def test_without_standings_no_winner_is_claimed() -> None:
    found = headline(Board(check_scores(make_scores()), baseline="lr"))
    assert "xgb has the highest mean skill" in found.sentences[0]


def test_cells_show_their_intervals_and_rows_their_ranks(tmp_path: Path) -> None:
    scores = make_scores()
    known = Uncertainty.of_tables(make_intervals(scores), make_ranking(ORDER, {"GPP": ("xgb", "lr"), "NEE": ("xgb",)}))
    page = page_of(tmp_path, scores, uncertainty=known)
    table = page.boards("GPP", "median")[0]
    for key, cells in table.body().items():
        for cell in cells[2:]:
            low, high = (float(end) for end in str(cell["between"]).split("–"))
            assert low == pytest.approx(0.8 * float(str(cell["value"])), abs=0.01)
            assert high == pytest.approx(1.2 * float(str(cell["value"])), abs=0.01)
        assert cells[1]["between"] == ("" if key[0] == "lr" else "0.10–0.30")  # the baseline's skill is 0 for certain
    ranks = table.ranks()
    assert {key[0]: cell["text"] for key, cell in ranks.items()} == {"xgb": "1", "lr": "2", "constant": "3"}
    assert "tied" in str(ranks["lr", "mean"]["class"])
    assert ranks["lr", "mean"]["between"] == "1–2"
    assert "tied with the best" in str(ranks["lr", "mean"]["title"])
    assert "tied" not in str(ranks["constant", "mean"]["class"])
    alone = page.boards("NEE", "median")[0].ranks()["xgb", "mean"]
    assert "tied" not in str(alone["class"])  # tied with itself only
    assert alone["between"] == ""


def test_open_intervals_are_marked_and_explained(tmp_path: Path) -> None:
    scores = make_scores(targets=("GPP",))
    known = Uncertainty.of_tables(make_intervals(scores), make_ranking(ORDER, {"GPP": ("xgb",)}))
    page = page_of(tmp_path, scores, uncertainty=known)
    cell = page.boards("GPP", "q90")[0].body()["xgb", "mean"][2 + 4]
    assert str(cell["between"]).startswith("≥ ")
    assert "too few sites for an upper end" in str(cell["title"])
    assert "missing, or open at one end (≥, ≤): too few sites for an upper end (9 cells)" in page.text


def test_intervals_of_the_page_are_those_of_the_evaluation() -> None:
    scores = check_scores(make_scores(targets=("GPP",), n_domains=40))
    known = uncertainty_of(scores, summaries=("median", "q90"), baseline="lr")
    for summary in ("median", "q90"):
        row = intervals(scores, summary=summary).filter(scenario="spatial", scale="weekly", model="xgb")
        found = known.cell(summary, "GPP", "spatial", Series("xgb", "mean"), "weekly")
        assert found is not None
        assert (found.low, found.high, found.n_sites) == (row["low"][0], row["high"][0], 40)
    place = rank(scores, summary="median").table.filter(model="xgb").row(0, named=True)
    standing = known.standing("median", "GPP", Series("xgb", "mean"))
    assert standing is not None
    assert (standing.low, standing.high, standing.rank) == (place["low"], place["high"], 1)
    assert standing.tied_with_best == place["tied_with_best"]
    assert known.tied("median", "GPP") == [Series("xgb", "mean")]


@pytest.mark.parametrize("n_domains", [1, 2, 4])
def test_few_towers_are_said_to_be_few(tmp_path: Path, n_domains: int) -> None:
    scores = make_scores(targets=("GPP",), scenarios=("spatial",), n_domains=n_domains)
    page = page_of(tmp_path, scores, site_means=make_site_means(scores), split_sites=make_split(("spatial",)))
    assert "too few sites" in page.text
    assert len(page.boards("GPP", "median")[0].body()) == 3


def test_models_that_lack_cells_are_not_ranked_but_shown(tmp_path: Path) -> None:
    scores = make_scores(targets=("GPP",), scenarios=("spatial", "temporal"))
    lost = (pl.col("model") != "lr") & (pl.col("scenario") == "spatial") & (pl.col("scale") == "iav")
    scores = scores.with_columns(pl.when(lost).then(None).otherwise(pl.col("rmse")).alias("rmse"))
    page = page_of(tmp_path, scores)
    ranks = page.boards("GPP", "median")[0].ranks()
    assert {cell["text"] for cell in ranks.values()} == {"—"}
    assert "needs two models with all cells" in str(ranks["xgb", "mean"]["title"])
    assert "cannot be said from these towers: GPP: ranking needs two models with all cells" in page.text
    assert "is best" not in page.text


def test_intervals_can_be_left_out(tmp_path: Path) -> None:
    page = page_of(tmp_path, make_scores(targets=("GPP",), scenarios=("spatial",)), draws=0)
    table = page.boards("GPP", "median")[0]
    assert table.ranks() == {}
    assert {cell["between"] for cells in table.body().values() for cell in cells} == {""}
    assert "intervals" not in page.text


def test_sections_of_single_towers_come_and_go(tmp_path: Path) -> None:
    scores = make_scores(targets=("GPP",), scenarios=("spatial",))
    without = page_of(tmp_path / "a", scores, draws=0)
    assert "Site means" not in without.text
    assert "Where the errors are" not in without.text
    page = page_of(
        tmp_path / "b", scores, draws=0, site_means=make_site_means(scores), split_sites=make_split(("spatial",))
    )
    assert "Site means" in page.text
    assert "Where the errors are" in page.text
    charts = [value for tag, key, value in page.attributes if tag == "figure" and key == "data-chart"]
    # Skill, six distributions, scales, means, map: each keeps its picture for those who read without a script.
    assert len(charts) == len(set(charts)) == 1 + 6 + 1 + 1 + 1
    assert sum(1 for tag, key, _ in page.attributes if tag == "p" and key == "hidden") == 3  # menus, until drawn
