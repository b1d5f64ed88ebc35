"""Interactive charts: each specification compiles, shows the numbers of its table, and survives the way into a page."""

from __future__ import annotations

import base64
import gzip
import importlib.util
import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import vl_convert
from made_up_tables import make_intervals, make_scores, make_site_means, make_split

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.summary import skill, summarise
from fluxtrapolation.plots import charts, style
from fluxtrapolation.plots.charts.base import Spec, log_values, short
from fluxtrapolation.plots.charts.error_map import land_features
from fluxtrapolation.plots.report.interactive import TOKENS, Charts, slim

SCORES = make_scores()
MEANS = make_site_means(SCORES)
SPLIT = make_split()
INTERVALS = make_intervals(SCORES)

MAKERS: dict[str, Callable[[], Spec]] = {
    "cdf": lambda: charts.cdf_chart(SCORES, target="GPP", scenario="spatial", scale="hourly"),
    "scale": lambda: charts.scale_chart(SCORES, target="GPP", scenario="spatial"),
    "scale with intervals": lambda: charts.scale_chart(SCORES, target="GPP", scenario="spatial", intervals=INTERVALS),
    "site means": lambda: charts.site_means_chart(MEANS, target="GPP", scenario="spatial", sites=SPLIT),
    "map of skill": lambda: charts.error_map_chart(SCORES, SPLIT, target="GPP", scenario="spatial", baseline="lr"),
    "map of errors": lambda: charts.error_map_chart(SCORES, SPLIT, target="GPP", scenario="temporal"),
    "skill": lambda: charts.skill_chart(SCORES, target="GPP", intervals=INTERVALS),
}


def drawn(spec: Spec) -> str:
    """The chart as SVG, in a fixed width; a width of its container is for pages."""
    return str(vl_convert.vegalite_to_svg({**spec, "width": 400}))


def values_of(spec: Spec) -> list[dict[str, Any]]:
    """The largest table of a chart."""
    tables = [part["data"]["values"] for part in (spec, *spec.get("layer", ())) if "values" in part.get("data", {})]
    return max((one for one in tables if "geometry" not in one[0]), key=len)


@pytest.mark.parametrize("name", MAKERS)
def test_every_chart_compiles_and_draws(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    spec = MAKERS[name]()
    svg = drawn(spec)
    assert svg.count("<path") > 10
    assert "NaN" not in svg
    assert "undefined" not in svg
    assert "WARN" not in capfd.readouterr().err
    assert json.loads(json.dumps(spec, allow_nan=False)) == spec


@pytest.mark.parametrize("name", MAKERS)
def test_every_chart_says_what_it_shows(name: str) -> None:
    spec = MAKERS[name]()
    assert len(spec["description"]) > 60
    assert vl_convert.vegalite_to_vega(spec)["description"] == spec["description"]
    assert "tooltip" in json.dumps(spec["layer"])


def test_cdf_holds_every_domain_above_its_left_edge() -> None:
    rows = values_of(MAKERS["cdf"]())
    held = SCORES.filter(target="GPP", scenario="spatial", scale="hourly", model="xgb").sort("rmse")
    mine = [row for row in rows if row["model"] == "xgb"]
    assert mine[0]["domain"] is None
    assert mine[-1] == {"model": "xgb", "domain": None, "value": mine[-1]["value"], "share": 1.0}
    left = mine[0]["value"]
    known = held.filter(pl.col("rmse") > left)
    assert [row["domain"] for row in mine[1:-1]] == known["domain"].to_list()
    np.testing.assert_allclose([row["value"] for row in mine[1:-1]], known["rmse"].to_numpy(), rtol=1e-4)
    shares = np.arange(held.height - known.height + 1, held.height + 1) / held.height
    np.testing.assert_allclose([row["share"] for row in mine[1:-1]], shares, rtol=1e-4)


def test_cdf_of_very_many_domains_keeps_some_of_them() -> None:
    many = make_scores(targets=("GPP",), scenarios=("spatial",), scales=("hourly",), n_domains=700)
    rows = values_of(charts.cdf_chart(many, target="GPP", scenario="spatial", scale="hourly", max_points=50))
    mine = [row for row in rows if row["model"] == "xgb" and row["domain"] is not None]
    assert len(mine) <= 50
    held = many.filter(model="xgb").sort("rmse")
    assert mine[-1]["domain"] == held["domain"][-1]
    for row in mine:  # shares stay those of all domains
        rank = held["domain"].to_list().index(row["domain"]) + 1
        assert row["share"] == pytest.approx(rank / 700, rel=1e-4)


def test_cdf_of_zeros_has_a_plain_axis() -> None:
    flat = SCORES.with_columns(pl.lit(0.0).alias("rmse"))
    spec = charts.cdf_chart(flat, target="GPP", scenario="spatial", scale="iav")
    assert "log" not in json.dumps(spec["layer"])
    assert drawn(spec)


def test_scale_chart_shows_summaries_and_intervals() -> None:
    rows = values_of(MAKERS["scale with intervals"]())
    assert len(rows) == 3 * 8
    row = next(one for one in rows if one["model"] == "xgb" and one["scale"] == "weekly")
    middle = summarise(SCORES).filter(target="GPP", scenario="spatial", scale="weekly", model="xgb")["value"][0]
    assert row["median"] == pytest.approx(middle, rel=1e-4)
    assert row["median_low"] == pytest.approx(0.8 * middle, rel=1e-4)
    assert row["median_high"] == pytest.approx(1.2 * middle, rel=1e-4)
    assert row["domains"] == 11
    assert "[" in row["median_text"]
    assert row["median_text"].endswith("µmol m⁻² s⁻¹")


def test_an_open_interval_is_drawn_to_the_edge_and_said_to_be_open() -> None:
    limits = (0.1, 30.0)
    spec = charts.scale_chart(SCORES, target="GPP", scenario="spatial", intervals=INTERVALS, limits=limits)
    row = next(one for one in values_of(spec) if one["model"] == "xgb" and one["scale"] == "year to year")
    assert row["q90_high"] == 30.0
    assert "≥" in row["q90_text"]
    assert row["median_high"] < 30.0


def test_site_means_name_tower_and_vegetation_and_tell_the_fit() -> None:
    spec = MAKERS["site means"]()
    row = values_of(spec)[0]
    assert row["tower"] == "XX-000"
    assert row["igbp"] == "GRA"
    notes = {one["model"]: one["note"] for one in spec["layer"][1]["data"]["values"]}
    mine = MEANS.filter(target="GPP", scenario="spatial", model="xgb")
    r2 = np.corrcoef(mine["y_true"].to_numpy(), mine["y_pred"].to_numpy())[0, 1] ** 2
    assert notes["xgb"].startswith(f"R² {r2:.2f}\nbias ")
    assert notes["xgb"].endswith("11 towers")
    assert set(notes) == {"lr", "xgb", "constant"}


def test_the_menu_of_models_chooses_what_is_drawn() -> None:
    spec = charts.site_means_chart(MEANS, target="GPP", scenario="spatial", model="xgb")
    assert spec["params"][0]["value"] == "xgb"
    assert spec["params"][0]["bind"]["options"] == ["constant", "lr", "xgb"]
    colour = style.MODEL_STYLE["xgb"].colour
    assert drawn(spec).count(colour) == 11
    spec["params"][0]["value"] = "constant"
    assert colour not in drawn(spec)


def test_map_holds_every_tower_once_and_names_it() -> None:
    scores = SCORES.with_columns(pl.col("domain").alias("site_id"))
    twice = pl.concat(
        [
            scores.with_columns(pl.format("{} 2019", "domain").alias("domain")),
            scores.with_columns(pl.format("{} 2020", "domain").alias("domain"), (pl.col("rmse") * 3).alias("rmse")),
        ]
    )
    spec = charts.error_map_chart(twice, SPLIT, target="GPP", scenario="temporal", baseline="lr", model="xgb")
    mine = [row for row in values_of(spec) if row["model"] == "xgb"]
    assert sorted(row["tower"] for row in mine) == [f"XX-{i:03d}" for i in range(11)]
    first = scores.filter(target="GPP", scenario="temporal", scale="hourly", model="xgb", domain="XX-004")["rmse"][0]
    row = next(one for one in mine if one["tower"] == "XX-004")
    assert row["rmse"] == pytest.approx(2 * first, rel=1e-4)  # median of the two years
    assert row["years"] == 2
    place = SPLIT.filter(site_id="XX-004").row(0, named=True)
    assert (row["lat"], row["lon"]) == (round(place["lat"], 3), round(place["lon"], 3))
    assert not [row for row in values_of(spec) if row["model"] == "lr"]


def test_coastline_is_wound_so_that_the_land_is_filled() -> None:
    """Vega fills what lies on the right of a ring: were one wound the other way, it would fill the globe instead."""
    rings = [ring for polygon in land_features()[0]["geometry"]["coordinates"] for ring in polygon[:1]]
    assert len(rings) > 100
    for ring in rings:
        x, y = np.array(ring).T
        assert np.dot(x[:-1], y[1:]) - np.dot(y[:-1], x[1:]) < 0
        assert ring[0] == ring[-1]
    # A hole lies inside its own polygon: here the Caspian Sea in Eurasia.
    holes = [(p[0], hole) for p in land_features()[0]["geometry"]["coordinates"] for hole in p[1:]]
    assert len(holes) == 1
    outer, hole = (np.array(part) for part in holes[0])
    assert (outer.min(axis=0) < hole.min(axis=0)).all()
    assert (outer.max(axis=0) > hole.max(axis=0)).all()


def test_skill_chart_shows_the_skill() -> None:
    rows = values_of(MAKERS["skill"]())
    cell = skill(SCORES).cells.filter(target="GPP", model="xgb", scenario="spatial", scale="weekly").row(0, named=True)
    row = next(one for one in rows if (one["model"], one["scenario"], one["scale"]) == ("xgb", "spatial", "weekly"))
    assert row["skill"] == pytest.approx(cell["skill"], rel=1e-4)
    assert row["text"] == f"{cell['skill']:.2f}"
    assert row["domains"] == 11
    assert "[" in row["value_text"]
    assert {one["model"] for one in rows} == {"xgb", "constant"}


def test_charts_of_nothing_say_so() -> None:
    with pytest.raises(EvaluationError, match="'ET'"):
        charts.cdf_chart(SCORES, target="ET", scenario="spatial", scale="hourly")
    with pytest.raises(EvaluationError, match="'ET'"):
        charts.scale_chart(SCORES, target="ET", scenario="spatial")
    with pytest.raises(EvaluationError, match="'ET'"):
        charts.site_means_chart(MEANS, target="ET", scenario="spatial")
    with pytest.raises(EvaluationError, match="'ET'"):
        charts.error_map_chart(SCORES, SPLIT, target="ET", scenario="spatial")
    with pytest.raises(EvaluationError, match="'ridge'"):
        charts.skill_chart(SCORES, target="GPP", baseline="ridge")
    elsewhere = SPLIT.with_columns(pl.lit("YY-").alias("site_id") + pl.col("site_id"))
    with pytest.raises(EvaluationError, match="None of the 11 towers"):
        charts.error_map_chart(SCORES, elsewhere, target="GPP", scenario="spatial")


def test_names_of_models_may_be_anything() -> None:
    odd = SCORES.with_columns(pl.col("model").replace({"xgb": "a.b[0]['x'] </script> $"}))
    for spec in (
        charts.cdf_chart(odd, target="GPP", scenario="spatial", scale="hourly"),
        charts.skill_chart(odd, target="GPP"),
    ):
        assert "</script>" not in drawn(spec)


@pytest.mark.parametrize("name", MAKERS)
def test_a_slim_chart_is_the_same_chart(name: str) -> None:
    spec = MAKERS[name]()
    carried = Charts()
    key = carried.add(spec)
    block = json.loads(gzip.decompress(base64.b64decode(carried.payload())))
    back = unpacked(block["charts"][key], block["data"])
    # Only what the page has anyway is gone, and house colours follow the page.
    for colour, variable in TOKENS.items():
        text = json.dumps(back["layer"]).replace(variable, colour)
        back["layer"] = json.loads(text)
    assert back["layer"] == spec["layer"]
    assert back.get("data") == spec.get("data")
    assert block["library"].startswith("/*! Vega 6")
    assert block["config"]["axis"]["gridColor"] == "var(--grid)"
    assert "bind" not in json.dumps(slim(spec))


def unpacked(part: Any, data: dict[str, Any]) -> Any:
    """What the page's script makes of a packed chart."""
    if isinstance(part, list):
        return [unpacked(one, data) for one in part]
    if not isinstance(part, dict):
        return part
    whole = {
        key: [dict(zip(value["names"], row, strict=True)) for row in value["rows"]]
        if key == "values" and isinstance(value, dict) and "rows" in value
        else unpacked(value, data)
        for key, value in part.items()
    }
    return {**whole, "values": data[whole["name"]]} if whole.get("name") in data and "values" not in whole else whole


def test_the_coastline_is_carried_once() -> None:
    carried = Charts()
    for scenario in ("spatial", "temperature"):
        carried.add(charts.error_map_chart(SCORES, SPLIT, target="GPP", scenario=scenario))
    block = json.loads(gzip.decompress(base64.b64decode(carried.payload())))
    assert json.dumps(block["data"]).count("MultiPolygon") == 1
    assert "MultiPolygon" not in json.dumps(block["charts"])
    assert Charts().payload() == ""


def test_the_library_names_its_versions_and_licences() -> None:
    folder = resources.files("fluxtrapolation.plots").joinpath("resources")
    head = folder.joinpath("vega-bundle.min.js").read_text("utf-8")[:400]
    for words in (
        "Vega 6",
        "Vega-Lite 6",
        "Vega-Embed 7",
        "BSD-3-Clause",
        "University of Washington",
        "LICENSE-vega.txt",
    ):
        assert words in head
    licences = folder.joinpath("LICENSE-vega.txt").read_text("utf-8")
    for words in ("BSD-3-Clause", "ISC", "MIT", "Apache License", "NO EVENT SHALL"):
        assert words in licences
    assert "vega-bundle.min.js" in folder.joinpath("SOURCES.md").read_text("utf-8")


@pytest.mark.parametrize(("low", "high"), [(0.3, 0.5), (0.02, 0.9), (0.5, 4.0), (1e-3, 1e3)])
def test_logarithmic_ticks_are_few_and_inside(low: float, high: float) -> None:
    ticks = log_values(low, high)
    assert 1 <= len(ticks) <= 9
    assert all(low <= tick <= high for tick in ticks)
    assert ticks == sorted(set(ticks))


def test_numbers_are_short_and_finite() -> None:
    assert short(1.23456789) == 1.2346
    assert short(float("nan")) is None
    assert short(None) is None


def test_the_library_is_what_its_tool_makes() -> None:
    """Nothing but the bundled libraries goes into every page: the file can be made again, byte by byte."""
    held = resources.files("fluxtrapolation.plots").joinpath("resources", "vega-bundle.min.js").read_text("utf-8")
    if f"vl-convert {vl_convert.__version__} " not in held[:400]:
        pytest.skip(f"the library was bundled by another version than vl-convert {vl_convert.__version__}")
    place = Path(__file__).resolve().parents[2] / "tools" / "bundle_vega.py"
    spec = importlib.util.spec_from_file_location("bundle_vega", place)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.bundle() == held
