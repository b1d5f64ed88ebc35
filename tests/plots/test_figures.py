"""Figures show the numbers of their tables."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import resources

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_tables import make_scores, make_seasonal, make_split
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from fluxtrapolation.errors import EvaluationError, MissingColumnError
from fluxtrapolation.evaluation.scores import Scores
from fluxtrapolation.evaluation.summary import skill, summarise
from fluxtrapolation.plots import error_by_scale, error_cdf, overview, seasonal_cycle, skill_heatmap, style, tower_map
from fluxtrapolation.plots.cdf import cdf_points
from fluxtrapolation.plots.maps import equal_earth, role_counts, roles_by_site
from fluxtrapolation.plots.seasonal import cycle_errors, running_mean


def line_of(figure: Figure, panel: int, label: str):
    """The line of a model in a panel."""
    return next(line for line in figure.axes[panel].get_lines() if line.get_label() == label)


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=400), st.integers(2, 120))
def test_cdf_points_are_exact_and_few(values: list[float], most: int) -> None:
    x, share = cdf_points(values, max_steps=most)
    ordered = np.sort(values)
    assert len(x) == len(share) <= most or len(values) <= most
    assert x[0] == ordered[0]
    assert x[-1] == ordered[-1]
    assert share[-1] == pytest.approx(1.0)
    assert (np.diff(share) > 0).all()
    # Up to ties every share is the exact share of values not above x.
    exact = np.searchsorted(ordered, x, side="right") / len(ordered)
    assert (share <= exact + 1e-12).all()
    if len(set(values)) == len(values):
        np.testing.assert_allclose(share, exact)


def test_cdf_draws_every_domain(scores: pl.DataFrame) -> None:
    figure = error_cdf(scores, target="GPP", scenario="spatial", scales=["hourly", "weekly"])
    assert [ax.get_title(loc="left") for ax in figure.axes if ax.get_visible()] == ["hourly", "weekly"]
    x, y = line_of(figure, 0, "xgb").get_data()
    held = scores.filter(target="GPP", scenario="spatial", scale="hourly", model="xgb")["rmse"].sort().to_numpy()
    low, _ = figure.axes[0].get_xlim()
    inside = held[held > low]
    np.testing.assert_allclose(x[1:-1], inside)
    np.testing.assert_allclose(y[1:-1], np.arange(len(held) - len(inside) + 1, len(held) + 1) / len(held))


def test_cdf_starts_at_the_share_of_zero_errors() -> None:
    table = make_scores(targets=("GPP",), scenarios=("spatial",), scales=("iav",), n_domains=10).with_columns(
        pl.when(pl.col("domain") < "XX-004").then(0.0).otherwise(pl.col("rmse")).alias("rmse")
    )
    figure = error_cdf(table, target="GPP", scenario="spatial", scales=["iav"])
    assert line_of(figure, 0, "lr").get_ydata()[0] == pytest.approx(0.4, abs=0.11)
    assert line_of(figure, 0, "lr").get_ydata()[0] >= 0.4


def test_cdf_of_nothing_says_what_exists(scores: pl.DataFrame) -> None:
    with pytest.raises(EvaluationError, match=r"'ET' in scenario 'spatial'.*Targets: GPP, NEE"):
        error_cdf(scores, target="ET", scenario="spatial")


def test_error_by_scale_shows_the_summaries(scores: pl.DataFrame) -> None:
    figure = error_by_scale(scores, target="NEE", scenarios=["temperature"])
    middle = summarise(scores, summary="median", scales=None).filter(target="NEE", scenario="temperature", model="xgb")
    dots = next(
        line
        for line in figure.axes[0].get_lines()
        if line.get_marker() == "o" and line.get_color() == style.MODEL_STYLE["xgb"].colour
    )
    np.testing.assert_allclose(np.sort(dots.get_xdata()), middle["value"].sort().to_numpy())
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["hourly", "daily", "weekly", "monthly", "seasonal", "anomalies", "year to year", "site mean"]
    assert figure.axes[0].yaxis_inverted()


def test_error_by_scale_survives_zeros() -> None:
    table = make_scores(targets=("GPP",), scenarios=("spatial",)).with_columns(
        pl.when(pl.col("scale") == "iav").then(0.0).otherwise(pl.col("rmse")).alias("rmse")
    )
    figure = error_by_scale(table, target="GPP")
    dots = [line for line in figure.axes[0].get_lines() if line.get_marker() == "o"]
    assert all(len(line.get_xdata()) == 7 for line in dots)


def test_heatmap_writes_the_skill(scores: pl.DataFrame) -> None:
    figure = skill_heatmap(scores, model="xgb", targets=["GPP"])
    expected = skill(scores).cells.filter(target="GPP", model="xgb", scenario="spatial", scale="weekly")["skill"][0]
    texts = [text.get_text().replace("\u2212", "-") for text in figure.axes[0].texts]
    assert len(texts) == 18
    assert texts[6 + 1] == f"{expected:.2f}"


def test_heatmap_needs_model_and_baseline(scores: pl.DataFrame) -> None:
    with pytest.raises(EvaluationError, match="No scores of model 'mlp'"):
        skill_heatmap(scores, model="mlp")
    with pytest.raises(EvaluationError, match="No scores of model 'ridge'"):
        skill_heatmap(scores, model="xgb", baseline="ridge")


def test_equal_earth_keeps_areas() -> None:
    lat = np.linspace(-85, 85, 35)
    step = 1e-4
    x0, _ = equal_earth(np.full_like(lat, 10.0), lat)
    x1, _ = equal_earth(np.full_like(lat, 10.0 + step), lat)
    _, y0 = equal_earth(np.full_like(lat, 10.0), lat - step / 2)
    _, y1 = equal_earth(np.full_like(lat, 10.0), lat + step / 2)
    # y does not depend on the longitude, so the area element is dx/dlon * dy/dlat.
    area = (x1 - x0) * (y1 - y0) / np.radians(step) ** 2 / np.cos(np.radians(lat))
    np.testing.assert_allclose(area, 1.0, rtol=1e-5)
    assert float(equal_earth(180.0, 0.0)[0]) == pytest.approx(2.70663, abs=1e-4)
    assert float(equal_earth(0.0, 90.0)[1]) == pytest.approx(1.31736, abs=1e-4)
    assert float(equal_earth(25.0, 40.0, middle=25.0)[0]) == 0.0


def test_coastline_is_small_named_and_of_the_right_area() -> None:
    folder = resources.files("fluxtrapolation.plots").joinpath("resources")
    text = folder.joinpath("land-110m.json").read_text("utf-8")
    assert len(text) < 80_000
    sources = folder.joinpath("SOURCES.md").read_text("utf-8")
    assert "land-110m.json" in sources
    assert "public domain" in sources
    total = 0.0
    for rings in json.loads(text)["polygons"]:
        for place, ring in enumerate(rings):
            points = np.asarray(ring, np.float64).reshape(-1, 2) / 100
            assert np.abs(points[:, 0]).max() <= 180
            assert np.abs(np.diff(points[:, 0])).max() < 90, "a ring jumps over the antimeridian"
            x, y = equal_earth(points[:, 0], points[:, 1])
            area = abs(float(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))) / 2
            total += area if place == 0 else -area
    # Land without Antarctica: 135 million of 510 million km2.
    assert total / (4 * np.pi) == pytest.approx(135 / 510, abs=0.008)


def test_roles_and_counts(split_sites: pl.DataFrame) -> None:
    assert role_counts(split_sites, "spatial") == {"train": 10, "validation": 10, "test": 10}
    assert role_counts(split_sites, "temporal") == {"by time": 30}
    assert roles_by_site(split_sites, "temporal").height == 30


def test_map_places_every_tower(split_sites: pl.DataFrame) -> None:
    figure = tower_map(split_sites, scenario="spatial")
    drawn = {line.get_label(): line for line in figure.axes[0].get_lines()}
    assert set(drawn) == {"train (10)", "validation (10)", "test (10)"}
    test = split_sites.filter(scenario="spatial", role="test")
    x, y = equal_earth(test["lon"].to_numpy(), test["lat"].to_numpy())
    np.testing.assert_allclose(drawn["test (10)"].get_xdata(), x)
    np.testing.assert_allclose(drawn["test (10)"].get_ydata(), y)
    markers = {(line.get_marker(), line.get_markerfacecolor()) for line in drawn.values()}
    assert len(markers) == 3


def test_map_shows_a_tower_in_antarctica() -> None:
    split = make_split(("spatial",), n=3).with_columns(pl.lit(-77.8).alias("lat"))
    figure = tower_map(split, scenario="spatial")
    low, _ = figure.axes[0].get_ylim()
    assert low < float(equal_earth(0.0, -77.8)[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"role": pl.lit("Test")}, "30 row.*role other than train, validation, test.*Test"),
        ({"lat": pl.lit(None, pl.Float64)}, r"30 tower.*lack coordinates: XX-000, XX-001, XX-002 and 27 more"),
    ],
)
def test_map_refuses_bad_towers(change: dict[str, pl.Expr], message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        tower_map(make_split(("spatial",)).with_columns(**change), scenario="spatial")


def test_map_refuses_unknown_names(split_sites: pl.DataFrame) -> None:
    with pytest.raises(EvaluationError, match=r"No towers are listed for scenario .no-such.. There are: spatial, temp"):
        tower_map(split_sites, scenario="no-such")
    with pytest.raises(EvaluationError, match="Unknown map extent 'asia'"):
        tower_map(split_sites, scenario="spatial", extent="asia")
    with pytest.raises(MissingColumnError, match=r"lacks 1 column.*role"):
        tower_map(split_sites.drop("role"), scenario="spatial")


def test_overview_holds_the_map_and_the_distributions(scores: pl.DataFrame, split_sites: pl.DataFrame) -> None:
    figure = overview(scores, split_sites, target="GPP", scenario="spatial", title="A title")
    above, *below = figure.axes
    assert {line.get_label() for line in above.get_lines()} == {"train (10)", "validation (10)", "test (10)"}
    assert [ax.get_title(loc="left") for ax in below] == ["hourly", "seasonal", "site mean"]
    assert figure.get_suptitle() == "A title"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["constant", "lr", "xgb"]
    with pytest.raises(EvaluationError, match="No finite RMSE for target 'ET'"):
        overview(scores, split_sites, target="ET", scenario="spatial")


def test_figures_take_scores_or_their_table(scores: pl.DataFrame) -> None:
    figure = error_cdf(Scores(scores), target="GPP", scenario="spatial", scales=["hourly"])
    assert len(line_of(figure, 0, "xgb").get_xdata()) > 5


def test_cycle_errors_rank_sites(seasonal: pl.DataFrame) -> None:
    found = cycle_errors(seasonal, target="GPP", scenario="spatial", model="xgb")
    assert [site for site, _ in found] == ["XX-000", "XX-001", "XX-002", "XX-003"]
    np.testing.assert_allclose([rmse for _, rmse in found], [0.5, 1.0, 1.5, 2.0])


def test_residual_is_observed_minus_predicted(seasonal: pl.DataFrame) -> None:
    figure = seasonal_cycle(seasonal, target="GPP", scenario="spatial", model="xgb", site_id="XX-003")
    above, below = figure.axes
    heights = np.concatenate([path.vertices[:, 1] for area in below.collections for path in area.get_paths()])
    assert heights.max() == pytest.approx(2.0)
    assert heights.min() == pytest.approx(0.0)
    blue = next(area for area in below.collections if area.get_paths())
    assert to_hex(blue.get_facecolor()[0]) == style.GOOD  # too low a prediction is blue
    assert {text.get_text() for text in above.get_legend().get_texts()} == {"observed", "predicted by xgb"}


def test_months_and_gaps_are_drawn() -> None:
    table = make_seasonal(targets=("GPP",), scenarios=("spatial",)).filter(pl.col("doy") <= 12).rename({"doy": "month"})
    table = table.with_columns(pl.when(pl.col("month") == 3).then(None).otherwise(pl.col("observed")).alias("observed"))
    figure = seasonal_cycle(table, target="GPP", scenario="spatial", model="lr", site_id="XX-001")
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()] == list("JFMAMJJASOND")
    assert cycle_errors(table, target="GPP", scenario="spatial", model="lr")[0].rmse == pytest.approx(0.5)
    with pytest.raises(MissingColumnError, match="'doy'"):
        seasonal_cycle(table.drop("month"), target="GPP", scenario="spatial", model="lr", site_id="XX-001")


def test_running_mean_wraps_and_skips_gaps() -> None:
    values = np.zeros(366)
    values[0] = 15.0
    smooth = running_mean(values, 15)
    assert smooth[0] == smooth[7] == smooth[-7] == pytest.approx(1.0)
    assert smooth[8] == 0.0
    values[1:4] = np.nan
    assert running_mean(values, 15)[0] == pytest.approx(15.0 / 12)
    assert np.isnan(running_mean(np.full(366, np.nan))).all()


def test_importing_plots_loads_no_drawing_library() -> None:
    code = (
        "import sys, fluxtrapolation.plots, fluxtrapolation.plots.report\n"
        "print([m for m in ('matplotlib', 'jinja2', 'scipy', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
