"""Figures of single towers, and intervals in the figures of summaries."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_tables import make_intervals, make_scores, make_site_means, make_split
from matplotlib.colors import to_hex

from fluxtrapolation.errors import EvaluationError, MissingColumnError
from fluxtrapolation.plots import error_by_distance, error_by_scale, error_map, labels, site_means, skill_heatmap, style
from fluxtrapolation.plots.distance import binned
from fluxtrapolation.plots.error_maps import dot_size, size_levels
from fluxtrapolation.plots.maps import equal_earth
from fluxtrapolation.plots.tables import check_scores
from fluxtrapolation.plots.towers import fit_of, tower_errors


def distances(n: int = 11) -> pl.DataFrame:
    """A distance for every tower of the made-up scores."""
    return pl.DataFrame({"site_id": [f"XX-{i:03d}" for i in range(n)], "distance": np.linspace(0.1, 3.0, n)})


def test_site_means_are_drawn_with_line_and_fit(scores: pl.DataFrame) -> None:
    means = make_site_means(scores)
    figure = site_means(means, target="GPP", model="xgb")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["temporal", "spatial", "temperature"]
    ax = figure.axes[1]
    mine = means.filter(target="GPP", model="xgb", scenario="spatial")
    line, dots = ax.get_lines()
    assert list(line.get_xdata()) == list(line.get_ydata()) == list(ax.get_xlim()) == list(ax.get_ylim())
    np.testing.assert_allclose(dots.get_xdata(), mine["y_pred"].to_numpy())
    np.testing.assert_allclose(dots.get_ydata(), mine["y_true"].to_numpy())
    assert ax.get_xlabel() == "predicted by xgb (µmol m⁻² s⁻¹)"
    bias = (mine["y_true"] - mine["y_pred"]).mean()
    text = ax.texts[0].get_text()
    assert labels.significant(bias, 2) in text
    assert text.splitlines()[2] == "11 towers"


def test_site_years_are_counted_as_such(scores: pl.DataFrame) -> None:
    figure = site_means(make_site_means(scores, years=(2019, 2020)), target="NEE", model="lr", scenarios=["temporal"])
    assert figure.axes[0].texts[0].get_text().endswith("22 site-years of 11 towers")


def test_fit_is_undefined_where_it_must_be() -> None:
    one = pl.DataFrame({"site_id": ["a"], "y_true": [1.0], "y_pred": [2.0]})
    assert fit_of(one).r2 is None
    assert fit_of(one).bias == -1.0
    flat = pl.DataFrame({"site_id": ["a", "b"], "y_true": [0.1 + 0.2, 0.3], "y_pred": [1.0, 2.0]})
    assert fit_of(flat).r2 is None
    assert fit_of(one.clear()).words() == "R² —, bias —, 0 towers"


def test_site_means_refuse_what_is_not_there(scores: pl.DataFrame) -> None:
    means = make_site_means(scores)
    with pytest.raises(EvaluationError, match="No site means of mlp for target 'GPP'"):
        site_means(means, target="GPP", model="mlp")
    with pytest.raises(MissingColumnError, match="y_pred"):
        site_means(means.drop("y_pred"), target="GPP", model="lr")
    gaps = means.with_columns(pl.lit(float("nan")).alias("y_pred"))
    with pytest.raises(EvaluationError, match="nothing to draw"):
        site_means(gaps, target="GPP", model="lr")


def test_tower_errors_are_medians_over_years_and_skill_is_per_tower() -> None:
    rows = [(m, d, r) for m, f in (("lr", 2.0), ("xgb", 1.0)) for d, r in (("A 1", f), ("A 2", 3 * f), ("B 1", f))]
    table = pl.DataFrame(rows, schema=["model", "domain", "rmse"], orient="row").with_columns(
        *(pl.lit(text).alias(name) for name, text in (("target", "GPP"), ("scenario", "s"), ("selection", "mean"))),
        pl.lit("hourly").alias("scale"),
        pl.lit(1).alias("n_samples"),
        pl.col("domain").str.head(1).alias("site_id"),
    )
    found = tower_errors(check_scores(table), target="GPP", scenario="s", scale="hourly", baseline="lr")
    mine = found.filter(pl.col("model") == "xgb")
    assert mine["rmse"].to_list() == [2.0, 1.0]
    assert mine["skill"].to_list() == [0.5, 0.5]
    assert mine["n_domains"].to_list() == [2, 1]
    assert found.filter(pl.col("model") == "lr")["skill"].to_list() == [0.0, 0.0]


def test_error_map_places_colours_and_sizes_the_towers(scores: pl.DataFrame, split_sites: pl.DataFrame) -> None:
    figure = error_map(scores, split_sites, target="GPP", scenario="spatial", model="xgb", baseline="lr")
    dots = figure.axes[0].collections[0]
    errors = tower_errors(check_scores(scores), target="GPP", scenario="spatial", scale="hourly", baseline="lr")
    mine = errors.filter(pl.col("model") == "xgb").sort("rmse", descending=True)
    sites = split_sites.unique("site_id").select("site_id", "lat", "lon")
    placed = mine.join(sites, on="site_id", how="left", maintain_order="left")
    x, y = equal_earth(placed["lon"].to_numpy(), placed["lat"].to_numpy())
    np.testing.assert_allclose(dots.get_offsets(), np.column_stack([x, y]))
    np.testing.assert_allclose(dots.get_sizes(), dot_size(mine["rmse"].to_numpy(), mine["rmse"].max()))
    # The model is better than the baseline at every tower: all dots are blue.
    assert (np.array([colour[2] > colour[0] for colour in dots.get_facecolors()])).all()
    words = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert words == [f"{level:g}" for level in size_levels(mine["rmse"].max())]


def test_error_map_without_a_baseline_darkens_with_the_error(scores: pl.DataFrame, split_sites: pl.DataFrame) -> None:
    figure = error_map(scores, split_sites, target="GPP", scenario="spatial", model="xgb")
    light = np.array(figure.axes[0].collections[0].get_facecolors())[:, :3].sum(axis=1)
    assert (np.diff(light) >= -1e-9).all()  # largest error first
    assert to_hex(style.SEQUENTIAL[0]) == style.SEQUENTIAL[0]


def test_error_map_is_vector_all_over(scores: pl.DataFrame, split_sites: pl.DataFrame) -> None:
    figure = error_map(scores, split_sites, target="GPP", scenario="spatial", model="xgb", baseline="lr")
    assert "<image" not in style.svg_text(figure)


def test_error_map_refuses_what_it_cannot_draw(scores: pl.DataFrame, split_sites: pl.DataFrame) -> None:
    which = {"target": "GPP", "scenario": "spatial", "model": "xgb"}
    with pytest.raises(EvaluationError, match="extent 'asia'"):
        error_map(scores, split_sites, **which, extent="asia")
    with pytest.raises(EvaluationError, match="baseline 'ridge'"):
        error_map(scores, split_sites, **which, baseline="ridge")
    with pytest.raises(EvaluationError, match=r"No finite RMSE of xgb .* at scale 'yearly'"):
        error_map(scores, split_sites, **which, scale="yearly")
    with pytest.raises(EvaluationError, match="None of the 11 towers"):
        error_map(scores, split_sites.head(1).with_columns(pl.lit("YY").alias("site_id")), **which)


@given(st.floats(1e-6, 1e6))
def test_size_levels_are_round_and_within(top: float) -> None:
    levels = size_levels(top)
    assert levels == sorted(levels)
    assert 0.4 * top <= levels[-1] <= top * (1 + 1e-9)
    assert dot_size(np.array(levels), top)[-1] <= dot_size(np.array([top]), top)[0]


def test_distance_bins_hold_equally_many_towers() -> None:
    distance = np.arange(30.0)
    found = binned(distance, distance**2, 6)
    np.testing.assert_allclose(found.distance, [2, 7, 12, 17, 22, 27])
    np.testing.assert_allclose(found.middle, np.array([2, 7, 12, 17, 22, 27.0]) ** 2)
    assert (found.low < found.middle).all()
    assert (found.high > found.middle).all()
    assert binned(distance[:7], distance[:7], 6).distance.size == 1


def test_error_by_distance_draws_points_and_medians(scores: pl.DataFrame) -> None:
    figure = error_by_distance(scores, distances(), target="GPP", scenarios=["spatial"], models=["lr", "xgb"], bins=2)
    ax = figure.axes[0]
    mine = scores.filter(target="GPP", scenario="spatial", scale="hourly", model="xgb").sort("domain")
    points = [line for line in ax.get_lines() if line.get_linestyle() == "None" and line.get_color() == style.GOOD]
    np.testing.assert_allclose(points[0].get_ydata(), mine["rmse"].to_numpy())
    middle = next(line for line in ax.get_lines() if line.get_label() == "xgb")
    expected = [np.median(part) for part in np.array_split(mine["rmse"].to_numpy(), 2)]
    np.testing.assert_allclose(middle.get_ydata(), expected)
    assert ax.get_yscale() == "log"
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"lr", "xgb"}


def test_error_by_distance_refuses_bad_tables(scores: pl.DataFrame) -> None:
    with pytest.raises(EvaluationError, match=r"2 tower.* more than one distance, such as XX-00"):
        error_by_distance(scores, pl.concat([distances(), distances(2)]), target="GPP")
    with pytest.raises(EvaluationError, match="both a distance and an RMSE"):
        error_by_distance(scores, distances().clear(), target="GPP")
    with pytest.raises(MissingColumnError, match="distance"):
        error_by_distance(scores, distances().drop("distance"), target="GPP")


def test_error_by_distance_takes_a_distance_per_scenario(scores: pl.DataFrame) -> None:
    near = pl.concat([distances().with_columns(pl.lit(name).alias("scenario")) for name in ("spatial", "temperature")])
    figure = error_by_distance(scores, near, target="GPP")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["spatial", "temperature"]


def bars_of(figure: object, colour: str, width: float) -> list[np.ndarray]:
    """Ends of the bars of one model and width, by height."""
    ax = figure.axes[0]  # type: ignore[attr-defined]
    line = next(one for one in ax.get_lines() if one.get_color() == colour and one.get_linewidth() == width)
    return [line.get_xdata().reshape(-1, 3)[:, place] for place in (0, 1)]


def test_error_by_scale_draws_intervals_of_both_summaries(scores: pl.DataFrame) -> None:
    figure = error_by_scale(scores, target="GPP", scenarios=["spatial"], intervals=make_intervals(scores))
    colour = style.MODEL_STYLE["xgb"].colour
    dots = next(line for line in figure.axes[0].get_lines() if line.get_marker() == "o" and line.get_color() == colour)
    low, high = bars_of(figure, colour, 3.4)
    np.testing.assert_allclose(low, 0.8 * dots.get_xdata())
    np.testing.assert_allclose(high, 1.2 * dots.get_xdata())
    # The 90th percentile is open at the scale iav: its bar ends at the edge, with an arrow head.
    edge = figure.axes[0].get_xlim()[1]
    _, ends = bars_of(figure, colour, 0.9)
    assert ends[6] == pytest.approx(edge)
    heads = [line for line in figure.axes[0].get_lines() if line.get_marker() == ">" and line.get_color() == colour]
    assert [list(line.get_xdata()) for line in heads] == [[pytest.approx(edge)]]


def test_error_by_scale_without_an_interval_has_no_bar(scores: pl.DataFrame) -> None:
    unknown = make_intervals(scores).with_columns(pl.lit(None, pl.Float64).alias("low"), pl.lit(None).alias("high"))
    figure = error_by_scale(scores, target="GPP", scenarios=["spatial"], intervals=unknown)
    assert not [line for line in figure.axes[0].get_lines() if line.get_linewidth() in (3.4, 0.9)]
    with pytest.raises(MissingColumnError, match="summary"):
        error_by_scale(scores, target="GPP", intervals=unknown.drop("summary"))


def test_heatmap_writes_intervals_below_the_skill(scores: pl.DataFrame) -> None:
    known = make_intervals(scores, summaries=("median",)).with_columns(
        pl.lit(-0.1).alias("low"), pl.lit(0.25).alias("high")
    )
    figure = skill_heatmap(scores, model="xgb", targets=["GPP"], intervals=known)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts.count("\u22120.10 to 0.25") == 18
    assert len(texts) == 36


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (1.1, 1.41, "1.10–1.41"),
        (-0.1, 0.3, "\u22120.10 to 0.30"),
        (1.1, None, "≥ 1.10"),
        (None, 1.4, "≤ 1.40"),
        (None, None, ""),
        (float("nan"), 2.0, "≤ 2.00"),
    ],
)
def test_intervals_are_written_plainly(low: float | None, high: float | None, text: str) -> None:
    assert labels.interval(low, high, 2) == text


def test_site_means_of_made_up_scores_have_the_shape_of_real_ones() -> None:
    means = make_site_means(make_scores(targets=("GPP",)))
    assert means.columns == ["target", "scenario", "model", "selection", "site_id", "year", "y_true", "y_pred"]
    assert make_split().height > 0
