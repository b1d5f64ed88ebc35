"""House style: fixed colours, light files, no traces left behind."""

from __future__ import annotations

import re
from pathlib import Path

import matplotlib as mpl
import polars as pl
import pytest

from fluxtrapolation.errors import DataError, FluxtrapolationError
from fluxtrapolation.plots import error_cdf, labels, model_styles, save, style
from fluxtrapolation.plots.report.svg import _path, inline_svg


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_models_have_fixed_and_distinct_styles() -> None:
    names = list(style.MODEL_STYLE)
    assert model_styles(names) == dict(style.MODEL_STYLE)
    assert len(set(style.MODEL_STYLE.values())) == len(names)


@pytest.mark.parametrize("look", [*style.MODEL_STYLE.values(), *style._SPARE])
def test_lines_are_seen_on_white(look: style.LineStyle) -> None:
    assert 1.05 / (luminance(look.colour) + 0.05) >= 2.5


def test_unknown_models_keep_their_style() -> None:
    alone = model_styles(["my-net"])["my-net"]
    assert model_styles(["lr", "my-net", "xgb"])["my-net"] == alone
    many = [f"net-{i}" for i in range(len(style._SPARE))]
    assert len(set(model_styles(many).values())) == len(many)
    assert model_styles([f"net-{i}" for i in range(40)])  # more models than styles: some share one


def test_save_writes_all_formats_and_nothing_else(tmp_path: Path, scores: pl.DataFrame) -> None:
    figure = error_cdf(scores, target="GPP", scenario="spatial")
    before = dict(mpl.rcParams)
    written = save(figure, tmp_path / "out" / "figure.v2")
    assert [path.name for path in written] == ["figure.v2.svg", "figure.v2.png", "figure.v2.pdf"]
    assert sorted((tmp_path / "out").iterdir()) == sorted(written)
    assert dict(mpl.rcParams) == before
    pdf = written[2].read_bytes()
    assert b"/Type3" not in pdf
    assert b"/FontFile2" in pdf or b"/CIDFontType2" in pdf
    svg = written[0].read_text("utf-8")
    assert "<image" not in svg
    assert "share of domains" in svg  # text is text
    assert written[1].read_bytes().startswith(b"\x89PNG")


def test_the_same_figure_gives_the_same_bytes(tmp_path: Path, scores: pl.DataFrame) -> None:
    first, second = (
        save(error_cdf(scores, target="GPP", scenario="spatial"), tmp_path / name, formats=["svg", "pdf"])
        for name in ("a", "b")
    )
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_save_refuses_other_formats_and_bad_places(tmp_path: Path, scores: pl.DataFrame) -> None:
    figure = error_cdf(scores, target="GPP", scenario="spatial", scales=["hourly"])
    with pytest.raises(FluxtrapolationError, match="not as 'jpg'"):
        save(figure, tmp_path / "x", formats=["svg", "jpg"])
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="in the way"):
        save(figure, tmp_path / "file" / "x", formats=["svg"])


def test_names_with_dollars_are_drawn_as_they_are(scores: pl.DataFrame) -> None:
    odd = scores.with_columns(pl.col("model").replace({"xgb": "$x_1$ <b>"}))
    figure = error_cdf(odd, target="GPP", scenario="spatial")
    assert "$x_1$ &lt;b&gt;" in style.svg_text(figure)


def test_inline_svg_is_light_and_follows_the_page(scores: pl.DataFrame) -> None:
    figure = error_cdf(scores, target="GPP", scenario="spatial", scales=["hourly"], legend=False)
    raw, inline = style.svg_text(figure), inline_svg(figure, "f7", 'A "title" <here>')
    assert len(inline) < 0.5 * len(raw)
    for unwanted in ("xmlns", "font-family", "<?xml", "DOCTYPE", "<metadata", style.INK, style.GRID):
        assert unwanted not in inline
    assert "var(--ink)" in inline
    assert "A &quot;title&quot; &lt;here&gt;" in inline
    ids = re.findall(r' id="([^"]+)"', inline)
    assert ids
    assert all(name.startswith("f7-") for name in ids)
    assert set(re.findall(r"url\(#([^)]+)\)", inline)) <= set(ids)


def test_paths_are_shortened() -> None:
    assert _path("M 0.04 0 \nL 10.26 0 \nL 10.26 5.5 \nL 12 7 \nz") == "M0 0H10.3V5.5L12 7z"
    assert _path("M 1 1 L 1 1 L 2 1 Q 1 2 3 4 L 3 9 C 1 2 3 4 5 6") == "M1 1H2Q1 2 3 4V9C1 2 3 4 5 6"


@pytest.mark.parametrize(
    ("unit", "shown"),
    [("umol m-2 s-1", "µmol m⁻² s⁻¹"), ("mm h-1", "mm h⁻¹"), ("degC", "°C"), ("1", ""), ("W m-2", "W m⁻²")],
)
def test_units_are_set_properly(unit: str, shown: str) -> None:
    assert labels.pretty_unit(unit) == shown


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(0.0271828, 3, "0.0272"), (12.345, 3, "12.3"), (1234.5, 3, "1234"), (-0.5, 2, "\u22120.50"), (None, 3, "—")],
)
def test_numbers_are_written_properly(value: float | None, digits: int, shown: str) -> None:
    assert labels.significant(value, digits) == shown


def test_no_negative_zero_and_durations() -> None:
    assert labels.number(-0.001, 2) == "0.00"
    assert [labels.duration(s) for s in (0.42, 59.6, 75.4, 7384, None)] == [
        "0.4 s",
        "1 min 00 s",
        "1 min 15 s",
        "2 h 03 min",
        "—",
    ]
