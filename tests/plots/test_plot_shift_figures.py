"""Figures of shift show the numbers of their tables, cut nothing off, and say what is missing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from made_shift import (
    CLASSES,
    COVARIATES,
    NO_REPEAT,
    NO_TOWERS,
    make_acf,
    make_calibration,
    make_conditional,
    make_error_curve,
    make_family,
    make_histograms,
    make_importance,
    make_nearest,
    make_reference,
    make_sites,
    make_slices,
    make_tables,
    make_univariate,
)
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from fluxtrapolation.errors import EvaluationError, MissingColumnError
from fluxtrapolation.plots import shift, style
from fluxtrapolation.plots.shift.acf import acf_median
from fluxtrapolation.plots.shift.common import TEST, TRAIN, fold, legend_shape
from fluxtrapolation.plots.shift.figures import paper_figures
from fluxtrapolation.plots.shift.histograms import bin_edges
from fluxtrapolation.plots.shift.maps import index_steps, map_towers
from fluxtrapolation.plots.shift.slices import unsure_runs

LONG = "a_model_whose_name_is_so_long_that_it_needs_a_line_for_itself"


def words_of(figure: Figure) -> list[str]:
    """All texts that are drawn."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]


def labelled(ax, label: str) -> list:
    """Lines of a panel with a label."""
    return [line for line in ax.get_lines() if line.get_label() == label]


def test_histograms_draw_the_densities_and_the_shares() -> None:
    table = make_histograms()
    figure = shift.covariate_histograms(table, univariate=make_univariate())
    panels = [ax for ax in figure.axes if ax.get_visible()]
    assert [ax.get_title(loc="left") for ax in panels] == [*COVARIATES, "PFT"]
    for ax, name in zip(panels, COVARIATES, strict=False):
        rows = table.filter(covariate=name)
        for patch, side in zip(ax.patches, ("train", "test"), strict=True):
            values, edges, _ = patch.get_data()
            np.testing.assert_allclose(values, rows[side])
            np.testing.assert_allclose(edges, [*rows["low"], rows["high"][-1]])
        assert any(text.get_text().endswith(" sd") for text in ax.texts)
    bars = [bar.get_height() for bar in panels[-1].patches]
    shares = table.filter(covariate="PFT")
    np.testing.assert_allclose(bars, [*100 * shares["train"], *100 * shares["test"]])
    assert [tick.get_text() for tick in panels[-1].get_xticklabels()] == list(CLASSES)
    assert "air temperature (°C)" in panels[0].get_xlabel().replace("\u00a0", " ")


def test_a_gap_between_bins_is_an_empty_bin() -> None:
    rows = pl.DataFrame(
        {"covariate": "TA", "low": [0.0, 2.0], "high": [1.0, 3.0], "train": [0.5, 0.5], "test": [1.0, 0]}
    )
    edges, train, test = bin_edges(rows)
    np.testing.assert_allclose(edges, [0, 1, 2, 3])
    np.testing.assert_allclose(train, [0.5, 0, 0.5])
    np.testing.assert_allclose(test, [1, 0, 0])
    with pytest.raises(EvaluationError, match="'TA' overlap"):
        bin_edges(rows.with_columns(pl.Series("high", [2.5, 3.0])))


def test_a_bin_that_dwarfs_the_others_is_cut_and_told() -> None:
    table = pl.DataFrame(
        {
            "covariate": "SW_IN",
            "low": [0.0, 10.0, 20.0],
            "high": [10.0, 20.0, 30.0],
            "train": [0.08, 0.01, 0.01],
            "test": [0.06, 0.02, 0.02],
        }
    )
    (ax,) = shift.covariate_histograms(table).axes
    assert ax.get_ylim()[1] == pytest.approx(1.22 * 1.6 * 0.02)
    assert "cut bin: train 80 %, test 60 %" in [text.get_text() for text in ax.texts]
    even = shift.covariate_histograms(table.with_columns(pl.Series("train", [0.05, 0.03, 0.02]), pl.col("test")))
    assert even.axes[0].get_ylim()[1] == pytest.approx(1.22 * 0.06)


def test_asking_for_an_unknown_covariate_names_the_known() -> None:
    with pytest.raises(EvaluationError, match=r"no covariate 'RAIN'.*TA, VPD"):
        shift.covariate_histograms(make_histograms(), covariates=["RAIN"])


def test_importance_is_sorted_and_has_its_spread() -> None:
    table = make_importance().sample(fraction=1.0, shuffle=True, seed=1)
    figure = shift.covariate_importance(table)
    (ax,) = figure.axes
    expected = table.sort("auc_drop", descending=True)
    np.testing.assert_allclose([bar.get_width() for bar in ax.patches], expected["auc_drop"])
    tops = [bar.get_y() for bar in ax.patches]
    assert tops == sorted(tops), "the largest bar is on top, the axis runs downwards"
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    ends = ax.collections[0].get_segments()
    np.testing.assert_allclose(
        [(s[0][0], s[1][0]) for s in ends],
        [(d - sd, d + sd) for d, sd in expected.select("auc_drop", "sd").iter_rows()],
    )
    assert "TA: air temperature" in words_of(figure)
    assert "2 smaller ones not shown" in " ".join(
        shift.covariate_importance(table, most=4).axes[0].get_xlabel().split()
    )


def test_importance_without_a_number_is_refused() -> None:
    table = make_importance().with_columns(pl.lit(None, pl.Float64).alias("auc_drop"))
    with pytest.raises(EvaluationError, match="importance table has no rows"):
        shift.covariate_importance(table)


def test_calibration_has_a_line_for_each_split() -> None:
    table = make_calibration()
    empty = table.with_columns(pl.when(pl.col("bin") == 3).then(0).otherwise(pl.col("n")).alias("n"))
    figure = shift.classifier_calibration(empty, prior=0.4)
    (ax,) = figure.axes
    for split, label in (("row", "split by row"), ("site", "split by site")):
        (line,) = labelled(ax, label)
        rows = table.filter(pl.col("split") == split, pl.col("bin") != 3)
        np.testing.assert_allclose(line.get_xdata(), rows["predicted"])
        np.testing.assert_allclose(line.get_ydata(), rows["observed"])
    lines = {line.get_linestyle() for line in ax.get_lines() if line.get_label().startswith("split")}
    assert len(lines) == 2, "told apart without colour"
    assert ax.get_xlabel() == "predicted probability of being a test row"


def test_conditional_shows_values_intervals_marks_and_reasons() -> None:
    table = make_conditional()
    figure = shift.conditional_shift(table, reference=make_reference(), reference_label="published numbers")
    row, site = figure.axes
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["split by row", "split by site"]
    np.testing.assert_allclose(
        [line.get_xdata()[0] for line in labelled(row, "_value")], 100 * table.filter(split="row")["rmse_increase"]
    )
    np.testing.assert_allclose(
        [line.get_xdata() for line in labelled(row, "_bar")],
        [(100 * v - 1, 100 * v + 1) for v in table.filter(split="row")["rmse_increase"]],
    )
    known = table.filter(pl.col("split") == "site", pl.col("low").is_not_null())
    np.testing.assert_allclose([line.get_xdata()[0] for line in labelled(site, "_value")], 100 * known["pooled"])
    np.testing.assert_allclose(
        [line.get_xdata() for line in labelled(site, "_bar")], 100 * known.select("low", "high").to_numpy()
    )
    np.testing.assert_allclose(
        sorted(line.get_xdata()[0] for line in labelled(row, "_mark")), sorted(100 * make_reference()["rmse_increase"])
    )
    assert labelled(site, "_mark") == []
    said = " ".join(" ".join(words_of(figure)).split())
    assert said.count("cannot be estimated") == 3
    assert f"(a) {NO_TOWERS}" in said
    assert f"(b) {NO_REPEAT}" in said
    assert "◇ published numbers" in said
    assert row.get_xlabel() == "RMSE increase at equal covariates (%)"


def test_conditional_letters_and_limits_are_the_same_alone_and_together() -> None:
    table = make_conditional()
    both = shift.conditional_shift(table)
    alone = shift.conditional_shift(table, splits=["site"], notes=False)
    assert alone.axes[0].get_xlim() == both.axes[1].get_xlim()
    letters = [text.get_text() for text in alone.axes[0].texts if text.get_text().startswith("cannot")]
    assert letters == [text.get_text() for text in both.axes[1].texts if text.get_text().startswith("cannot")]


def test_conditional_without_any_number_still_says_why() -> None:
    table = make_conditional().with_columns(
        *(pl.lit(None, pl.Float64).alias(name) for name in ("rmse_increase", "sd", "low", "high", "pooled")),
        pl.lit("no overlap at all").alias("reason"),
    )
    figure = shift.conditional_shift(table)
    assert " ".join(words_of(figure)).count("cannot be estimated (a)") == 12
    assert "(a) no overlap at all" in " ".join(words_of(figure))


def test_slices_have_bands_and_dots_where_there_is_no_error() -> None:
    table = make_slices()
    figure = shift.conditional_slices(table, target="GPP", covariates=["TA"])
    raw, reweighted = figure.axes
    for ax, kind in ((raw, "raw"), (reweighted, "reweighted")):
        rows = table.filter(covariate="TA", kind=kind, side="test")
        (line,) = labelled(ax, "test")
        sure = rows["se"].is_not_null().to_numpy()
        np.testing.assert_allclose(np.asarray(line.get_ydata())[sure], rows["mean"].to_numpy()[sure])
        assert np.isnan(np.asarray(line.get_ydata())[~sure]).all()
        dotted = labelled(ax, "_test without se")
        drawn = np.concatenate([np.asarray(one.get_xdata()) for one in dotted])
        assert set(rows["x"].to_numpy()[~sure]) <= set(drawn)
        assert len(ax.collections) == 2, "a band for each side"
        path = ax.collections[0].get_paths()[0].vertices
        train = table.filter(covariate="TA", kind=kind, side="train")
        assert path[:, 1].max() == pytest.approx((train["mean"] + train["se"]).max())
        assert ax.texts[0].get_text() == kind
    assert raw.get_ylim() == reweighted.get_ylim()
    assert "mean GPP" in raw.get_ylabel()
    assert labelled(raw, "train")[0].get_linestyle() != labelled(raw, "test")[0].get_linestyle()


def test_slices_of_the_plant_types_are_markers() -> None:
    figure = shift.conditional_slices(make_slices(), target="NEE", covariates=["PFT"])
    (hollow,) = labelled(figure.axes[0], "_test without se")
    assert hollow.get_markerfacecolor() == "none"
    assert list(hollow.get_xdata()) == [pytest.approx(5.14)]
    assert [tick.get_text() for tick in figure.axes[0].get_xticklabels()] == list(CLASSES)


def test_slices_that_were_refused_say_why() -> None:
    lost = pl.col("kind") == "reweighted"
    table = make_slices().with_columns(
        *(pl.when(~lost).then(pl.col(name)).alias(name) for name in ("mean", "se")),
        pl.when(lost).then(pl.lit("too little overlap: 1.2 % of the rows")).alias("reason"),
    )
    figure = shift.conditional_slices(table, target="GPP", covariates=["TA"])
    assert "too little overlap" in " ".join(" ".join(words_of(figure)).split())


def test_runs_without_error_reach_to_their_neighbours() -> None:
    sure = np.array([False, True, True, False, False, True])
    assert unsure_runs(sure) == [(0, 2), (2, 6)]
    assert unsure_runs(np.array([True, True])) == []


def test_acf_draws_every_tower_and_the_median() -> None:
    table = make_acf(sites=5)
    figure = shift.acf_panels(table)
    panels = figure.axes
    assert len(panels) == 9
    assert [ax.get_title(loc="left") for ax in panels[:3]] == ["hourly", "daily", "weekly"]
    rows = table.filter(series="GPP", scale="daily")
    (median,) = labelled(panels[1], "median")
    by_lag = rows.pivot("site_id", index="lag", values="acf").drop("lag").to_numpy()
    np.testing.assert_allclose(median.get_ydata(), np.median(by_lag, axis=1))
    assert len([line for line in panels[1].get_lines() if line.get_label().startswith("_XX-")]) == 5
    assert [ax.get_xlabel() for ax in panels[-3:]] == ["lag (hours)", "lag (days)", "lag (weeks)"]


def test_acf_median_needs_half_of_the_towers() -> None:
    rows = pl.DataFrame({"site_id": ["a", "b", "c", "a"], "lag": [0, 0, 0, 1], "acf": [1.0, 1.0, 1.0, 0.5]})
    assert acf_median(rows)["lag"].to_list() == [0]


def test_many_towers_are_thinned_but_the_median_is_of_all() -> None:
    figure = shift.acf_panels(make_acf(sites=25), series=["NEE"], scales=["weekly"], most=10)
    (ax,) = figure.axes
    assert len([line for line in ax.get_lines() if line.get_label().startswith("_XX-")]) == 9
    assert "25 towers" in words_of(figure)


def test_dissimilarity_draws_bins_towers_and_threshold() -> None:
    curve, sites = make_error_curve(), make_sites()
    figure = shift.error_by_dissimilarity(curve, sites, target="GPP", threshold=0.35)
    hours, towers = figure.axes
    for model in ("lr", "xgb", "maxrm-regret"):
        (line,) = labelled(hours, model)
        rows = curve.filter(model=model)
        np.testing.assert_allclose(line.get_xdata(), rows["index"])
        np.testing.assert_allclose(line.get_ydata(), rows["rmse"])
        assert line.get_color() == style.MODEL_STYLE[model].colour
    few = labelled(hours, "_few")
    assert [list(line.get_xdata()) for line in few] == [[pytest.approx(1.05)]] * 3, "the bin of two towers is a ring"
    (dots,) = labelled(towers, "_towers")
    held = sites.drop_nulls(["index_median", "rmse"])
    np.testing.assert_allclose(sorted(dots.get_xdata()), held["index_median"].sort())
    for ax in (hours, towers):
        assert labelled(ax, "_threshold")[0].get_xdata()[0] == 0.35
    assert "hourly RMSE" in hours.get_ylabel()


def test_dissimilarity_takes_the_bands_of_the_curve() -> None:
    curve = make_error_curve(("xgb",)).with_columns(
        (pl.col("rmse") - 0.2).alias("rmse_low"), (pl.col("rmse") + 0.3).alias("rmse_high")
    )
    (ax,) = shift.error_by_dissimilarity(curve, target="GPP").axes
    assert ax.collections[0].get_paths()[0].vertices[:, 1].max() == pytest.approx(curve["rmse_high"].max())


def test_dissimilarity_of_nothing_is_refused() -> None:
    with pytest.raises(EvaluationError, match="error curve, a table of sites, or both"):
        shift.error_by_dissimilarity(None, target="GPP")
    lost = make_sites().with_columns(pl.lit(None, pl.Float64).alias("rmse"))
    with pytest.raises(EvaluationError, match="both a dissimilarity index and an RMSE"):
        shift.error_by_dissimilarity(None, lost, target="GPP")


def test_nearest_draws_the_distributions() -> None:
    table = make_nearest(n=40)
    figure = shift.nearest_distances(table)
    feature, globe = figure.axes
    for ax, space in ((feature, "feature"), (globe, "geographic")):
        lines = [line for line in ax.get_lines() if not line.get_label().startswith("_")]
        assert len(lines) == 3
        for line, kind in zip(lines, ("train_cv", "test", "domain"), strict=True):
            held = table.filter(space=space, kind=kind)["distance"].sort()
            np.testing.assert_allclose(line.get_xdata()[1:-1], held)
            np.testing.assert_allclose(line.get_ydata()[1:-1], np.arange(1, 41) / 40)
        assert len({str(line.get_linestyle()) + str(line._unscaled_dash_pattern) for line in lines}) == 3
    assert globe.get_xlabel() == "distance (km)"


def test_map_puts_every_tower_in_one_step() -> None:
    sites = make_sites()
    trained, marked = map_towers(sites)
    steps = index_steps(marked, 0.35)
    assert sum(step.towers for step in steps) == marked.height == sites["index_median"].is_not_null().sum()
    assert steps[2].low == pytest.approx(0.35)
    assert steps[1].towers + steps[0].towers == (marked["index"] <= 0.35).sum()
    figure = shift.dissimilarity_map(sites, threshold=0.35)
    (ax,) = figure.axes
    drawn = {to_hex(line.get_markerfacecolor()): len(line.get_xdata()) for line in ax.get_lines()}
    assert drawn[TRAIN] == trained.height == (sites["part"] == "train").sum()
    assert [drawn[step.colour] for step in steps] == [step.towers for step in steps]
    lightness = [sum(int(step.colour[i : i + 2], 16) for i in (1, 3, 5)) for step in steps]
    assert lightness == sorted(lightness, reverse=True), "readable without colour"


def test_map_fills_its_figure_where_some_steps_hold_no_tower() -> None:
    near = make_sites().with_columns(pl.col("index_median").clip(0, 0.1))
    figure = shift.dissimilarity_map(near, threshold=0.35)
    FigureCanvasAgg(figure).draw()
    assert figure.axes[0].get_position().width > 0.9


def test_map_without_places_is_refused() -> None:
    lost = make_sites().with_columns(pl.lit(None, pl.Float64).alias("lat"))
    with pytest.raises(EvaluationError, match="None of the 60 towers"):
        shift.dissimilarity_map(lost)
    with pytest.raises(EvaluationError, match="Unknown map extent 'mars'"):
        shift.dissimilarity_map(make_sites(), extent="mars")


def test_map_of_parts_shows_all_roles() -> None:
    figure = shift.parts_map(make_sites())
    assert {"train (30)", "validation (10)", "test (20)"} <= set(words_of(figure))


def test_difficulty_draws_a_line_for_each_model_and_summary() -> None:
    table = make_family()
    figure = shift.difficulty_curve(table, target="NEE")
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["median over towers", "90th percentile over towers"]
    for ax, summary in zip(figure.axes, ("median", "q90"), strict=True):
        for model in ("lr", "xgb", "mlp"):
            (line,) = labelled(ax, model)
            rows = table.filter(model=model, summary=summary)
            np.testing.assert_allclose(line.get_xdata(), rows["shift"])
            np.testing.assert_allclose(line.get_ydata(), rows["rmse"])


@pytest.mark.parametrize("name", sorted(paper_figures(make_tables(), target="GPP")))
def test_no_text_of_a_figure_is_cut_off(name: str) -> None:
    tables = make_tables()
    tables["error_curve"] = make_error_curve(("lr", "xgb", LONG))
    tables["family"] = make_family(("lr", "xgb", LONG, LONG + "_too"))
    long = pl.lit("PFT_like_name_of_a_covariate_that_goes_on_and_on").alias("covariate")
    tables["histograms"] = pl.concat(
        [tables["histograms"], make_histograms().filter(covariate="TA").with_columns(long)]
    )
    tables["slices"] = pl.concat([tables["slices"], make_slices().filter(covariate="TA").with_columns(long)])
    figure = paper_figures(
        tables, target="GPP", threshold=0.35, reference=make_reference(), reference_label="published, by row"
    )[name]()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    box = figure.get_tightbbox(canvas.get_renderer())  # inches, of all that is drawn
    width, height = figure.get_size_inches()
    assert min(box.x0, box.y0, width - box.x1, height - box.y1) > -0.02, box.extents


@pytest.mark.parametrize("name", sorted(paper_figures(make_tables(), target="GPP")))
def test_missing_columns_are_named(name: str) -> None:
    key = {"dissimilarity": "error_curve", "dissimilarity-map": "sites", "parts-map": "sites", "difficulty": "family"}
    lost = {
        "histograms": "train",
        "importance": "sd",
        "calibration": "observed",
        "conditional": "marginal",
        "slices": "side",
        "dissimilarity": "n_sites",
        "nearest": "kind",
        "dissimilarity-map": "site_id",
        "parts-map": "site_id",
        "acf": "lag",
        "difficulty": "summary",
    }[name]
    tables = make_tables()
    table = key.get(name, name)
    tables[table] = tables[table].drop(lost)
    with pytest.raises(MissingColumnError, match=lost):
        paper_figures(tables, target="GPP")[name]()


def test_absent_and_empty_tables_have_no_figure() -> None:
    tables = make_tables()
    assert set(paper_figures({}, target="GPP")) == set()
    some = {"acf": tables["acf"], "nearest": tables["nearest"].clear(), "sites": tables["sites"].drop("lat")}
    assert set(paper_figures(some, target="GPP")) == {"acf", "dissimilarity"}


def test_saved_figures_are_named_and_repeat_byte_for_byte(tmp_path: Path) -> None:
    tables = {"nearest": make_tables()["nearest"]}
    first = shift.save_figures(tmp_path / "a", tables, target="GPP")
    assert sorted(path.name for path in first) == ["nearest.pdf", "nearest.png", "nearest.svg"]
    assert b"/Type3" not in (tmp_path / "a" / "nearest.pdf").read_bytes()
    again = shift.save_figures(tmp_path / "b", tables, target="GPP", formats=("svg",))
    assert again[0].read_bytes() == (tmp_path / "a" / "nearest.svg").read_bytes()


def test_folded_text_keeps_its_letters_and_fits() -> None:
    for text in ("SW_IN_POT_daily_mean", "x" * 90, "potential radiation, change of the daily mean"):
        folded = fold(text, 1.5)
        assert folded.replace("\n", "").replace(" ", "") == text.replace(" ", "")
        assert max(len(line) for line in folded.split("\n")) <= 21


def test_a_legend_of_long_names_stands_in_one_column() -> None:
    assert legend_shape(["lr", "xgb", "mlp"], 7.0) == (3, 1)
    assert legend_shape([LONG, LONG], 4.0) == (1, 2)
    assert legend_shape([], 4.0)[1] == 0


def test_the_room_is_light_and_knows_no_measure() -> None:
    script = (
        "import sys, fluxtrapolation.plots.shift;"
        "bad = [m for m in sys.modules if m.split('.')[0] in ('matplotlib', 'sklearn', 'scipy', 'jinja2')"
        " or m.startswith('fluxtrapolation.shift')];"
        "print(bad[:5]); sys.exit(len(bad))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_colours_of_the_parts_are_those_of_the_maps() -> None:
    assert (style.ROLE_STYLE["train"][0], style.ROLE_STYLE["test"][0]) == (TRAIN, TEST)


def test_dissimilarity_shows_what_the_clock_alone_gives() -> None:
    curve = make_error_curve(("xgb",)).with_columns((pl.col("rmse") * 0.9).alias("rmse_clock"))
    figure = shift.error_by_dissimilarity(curve, target="GPP")
    (line,) = labelled(figure.axes[0], "_clock")
    np.testing.assert_allclose(line.get_ydata(), curve["rmse_clock"])
    (thick,) = labelled(figure.axes[0], "xgb")
    assert line.get_linewidth() < thick.get_linewidth()
    assert "tower, month and hour of day alone" in words_of(figure)
    assert not labelled(shift.error_by_dissimilarity(make_error_curve(), target="GPP").axes[0], "_clock")


def test_a_long_reason_is_cut_to_its_panel() -> None:
    long = "2 of 2 repeats gave no value; " * 12
    table = make_slices().with_columns(pl.lit(None, pl.Float64).alias("mean"), pl.lit(long).alias("reason"))
    figure = shift.conditional_slices(table, target="GPP", covariates=["TA"], panel=(1.8, 1.9), legend=False)
    (text, *_) = [one for one in figure.axes[0].texts if "repeats gave" in one.get_text()]
    assert text.get_text().endswith("…") and not text.get_in_layout()
