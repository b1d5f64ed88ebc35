"""Observed against predicted site means; hovering names the tower."""

from __future__ import annotations

import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.plots import labels, style, tables
from fluxtrapolation.plots.charts.base import (
    SHOWN_MODEL,
    Spec,
    chart,
    model_choice,
    model_colour,
    rows_of,
    short,
    shown,
    tip,
)
from fluxtrapolation.plots.scatter import mean_limits
from fluxtrapolation.plots.towers import check_site_means, fit_of

_NAMES = ("model", "tower", "igbp", "observed", "predicted", "observed_text", "predicted_text")


def site_means_chart(
    means: pl.DataFrame,
    *,
    target: str,
    scenario: str,
    model: str | None = None,
    sites: pl.DataFrame | None = None,
    limits: tuple[float, float] | None = None,
) -> Spec:
    """Observed against predicted site means with the 1:1 line: the interactive twin of ``site_means``.

    One model at a time, chosen from a menu (the parameter ``shown_model``); R² and bias are those of the model shown.

    Parameters
    ----------
    means : polars.DataFrame
        As in :func:`fluxtrapolation.plots.site_means`, of any number of models.
    target, scenario : str
    model : str, optional
        Model shown first, by its label; the first one by default.
    sites : polars.DataFrame, optional
        ``site_id, igbp``, to name the vegetation of a tower.
    limits : (float, float), optional
        Ends of both axes.

    Returns
    -------
    dict
        A Vega-Lite specification with its data.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, or there is nothing to draw.
    """
    rows = check_site_means(means).filter(pl.col("target") == target, pl.col("scenario") == scenario)
    if rows.is_empty():
        raise EvaluationError(f"No site means for target '{target}' in scenario '{scenario}'.")
    lines = tables.line_series(rows)
    first = model if model in {line.label for line in lines} else lines[0].label
    igbp = _igbp(sites)
    records, notes = [], []
    for line in lines:
        mine = rows.filter(pl.col("model") == line.model, pl.col("selection") == line.selection)
        notes.append((line.label, fit_of(mine).words()))
        for site, year, true, predicted in mine.select("site_id", "year", "y_true", "y_pred").iter_rows():
            tower = str(site) if year is None else f"{site} {year}"
            texts = (shown(true, target), shown(predicted, target))
            records.append((line.label, tower, igbp.get(str(site), ""), short(true), short(predicted), *texts))
    ends = [short(end) for end in (limits if limits is not None else mean_limits(rows))]
    spec = chart(
        scenario,
        f"Observed against predicted mean {target} of every test tower in scenario {scenario}, around the 1:1 line. "
        + "; ".join(f"{name}: {note}" for name, note in notes)
        + ".",
        height=300,
    )
    return {
        **spec,
        "params": [model_choice(lines, first)],
        "layer": [
            {
                "data": {"values": [{"observed": end, "predicted": end} for end in ends]},
                "mark": {"type": "line", "color": style.MUTED, "strokeDash": [5, 3], "strokeWidth": 1.1, "aria": False},
                "encoding": _axes(target, ends),
            },
            _notes(notes),
            {
                "data": {"values": rows_of(_NAMES, records)},
                "transform": [SHOWN_MODEL],
                "mark": {"type": "circle", "size": 46, "opacity": 0.85, "stroke": style.PAPER, "strokeWidth": 0.6},
                "encoding": {
                    **_axes(target, ends),
                    "color": model_colour(lines, legend=False),
                    "tooltip": _tooltip(with_igbp=bool(igbp)),
                    "description": {"field": "tower", "type": "nominal"},
                },
            },
        ],
    }


def _axes(target: str, ends: list[float | None]) -> Spec:
    scale = {"domain": ends, "nice": False, "zero": False}
    return {
        "x": {
            "field": "predicted",
            "type": "quantitative",
            "scale": scale,
            "axis": {"title": labels.with_unit("predicted", target), "tickCount": 6},
        },
        "y": {
            "field": "observed",
            "type": "quantitative",
            "scale": scale,
            "axis": {"title": labels.with_unit("observed", target), "tickCount": 6},
        },
    }


def _notes(notes: list[tuple[str, str]]) -> Spec:
    return {
        "data": {"values": rows_of(("model", "note"), ((name, note.replace(", ", "\n")) for name, note in notes))},
        "transform": [SHOWN_MODEL],
        "mark": {"type": "text", "align": "left", "baseline": "top", "lineBreak": "\n", "lineHeight": 14},
        "encoding": {
            "x": {"value": 8},
            "y": {"value": 6},
            "text": {"field": "note", "type": "nominal"},
            "color": {"value": style.MUTED},
        },
    }


def _tooltip(*, with_igbp: bool) -> list[Spec]:
    vegetation = [tip("igbp", "IGBP class")] if with_igbp else []
    return [
        tip("tower", "tower"),
        *vegetation,
        tip("model", "model"),
        tip("observed_text", "observed"),
        tip("predicted_text", "predicted"),
    ]


def _igbp(sites: pl.DataFrame | None) -> dict[str, str]:
    if sites is None or "igbp" not in sites.columns or "site_id" not in sites.columns:
        return {}
    return {
        str(site): str(name) for site, name in sites.select("site_id", "igbp").unique().drop_nulls("igbp").iter_rows()
    }
