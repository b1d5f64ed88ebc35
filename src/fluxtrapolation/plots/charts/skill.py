"""Skill against the baseline, scenario by scale; hovering tells both errors and the interval."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from fluxtrapolation import schema
from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.scores import Scores
from fluxtrapolation.plots import labels, style, tables
from fluxtrapolation.plots.charts.base import SHOWN_MODEL, Spec, chart, model_choice, rows_of, short, shown, tip
from fluxtrapolation.plots.error_maps import REACH
from fluxtrapolation.plots.scale_errors import interval_cells
from fluxtrapolation.plots.summaries import summary_of

_NAMES = ("model", "scenario", "scale", "skill", "text", "value_text", "reference_text", "domains")


def skill_chart(
    scores: Scores | pl.DataFrame,
    *,
    target: str,
    model: str | None = None,
    scales: Sequence[str] = schema.BOARD_SCALES,
    summary: str = "median",
    baseline: str = "lr",
    intervals: pl.DataFrame | None = None,
) -> Spec:
    """Skill of one model, scenarios down and scales across: the interactive twin of ``skill_heatmap``.

    The model is chosen from a menu (the parameter ``shown_model``); hovering a cell tells the RMSE, its interval where
    there is one, and the RMSE of the baseline.

    Parameters
    ----------
    scores : polars.DataFrame
        Tidy scores: ``target, scenario, model, selection, scale, domain, rmse``.
    target : str
    model : str, optional
        Model shown first, by its label; the first one that is not the baseline by default.
    scales : sequence of str
        Columns.
    summary, baseline : str
        As in :func:`fluxtrapolation.plots.skill_heatmap`.
    intervals : polars.DataFrame, optional
        Intervals of the summaries, as in :func:`fluxtrapolation.plots.error_by_scale`.

    Returns
    -------
    dict
        A Vega-Lite specification with its data.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing; the baseline has no scores, or there is no other model.
    """
    table = tables.check_scores(scores)
    if baseline not in table["model"].unique().to_list():
        raise EvaluationError(f"No scores of model '{baseline}': no skill to draw.")
    cells = summary_of(table, summary=summary, baseline=baseline).cells.filter(pl.col("target") == target)
    lines = tuple(line for line in tables.line_series(cells) if line.model != baseline)
    if not lines:
        raise EvaluationError(f"No model but the baseline '{baseline}' has scores for target '{target}'.")
    held = {line.label: line for line in lines}
    first = model if model in held else lines[0].label
    rows, columns = tables.scenarios_of(cells), tables.scales_of(cells, scales)
    spec = chart(
        f"{target}: skill, {labels.SUMMARY_NAMES.get(summary, summary)}",
        f"Skill for {target} by scenario and temporal scale: 1 minus RMSE over that of {baseline}. Shown at first: "
        f"{first}.",
        height=40 * len(rows),
    )
    short_names = [labels.SCALE_SHORT.get(name, name) for name in columns]
    return {
        **spec,
        "params": [model_choice(lines, first)],
        "data": {"values": rows_of(_NAMES, _records(cells, lines, target, summary, baseline, columns, intervals))},
        "transform": [SHOWN_MODEL],
        "encoding": {
            "x": {
                "field": "scale",
                "type": "nominal",
                "sort": short_names,
                "scale": {"domain": short_names, "paddingInner": 0.04, "paddingOuter": 0.02},
                "axis": {
                    "orient": "top",
                    "title": None,
                    "labelAngle": 0,
                    "ticks": False,
                    "domain": False,
                    "grid": False,
                    "labelFontSize": 10.5,
                },
            },
            "y": {
                "field": "scenario",
                "type": "nominal",
                "sort": list(rows),
                "scale": {"paddingInner": 0.08, "paddingOuter": 0.04},
                "axis": {"title": None, "grid": False, "labelLimit": 110},
            },
        },
        "layer": _layers(baseline),
    }


def _layers(baseline: str) -> list[Spec]:
    # Cells keep their colour on a dark page, so their letters must too: neither is a token of the page.
    letters = {
        "condition": [
            {"test": "datum.skill === null", "value": style.MUTED},
            {"test": "abs(datum.skill) > 0.45", "value": "#fefefe"},
        ],
        "value": "#111111",
    }
    colour = {
        "field": "skill",
        "type": "quantitative",
        "scale": {"domain": [-REACH, -REACH / 2, 0, REACH / 2, REACH], "range": list(style.DIVERGING), "clamp": True},
        "legend": None,
    }
    return [
        {
            "transform": [{"filter": "datum.skill !== null"}],
            "mark": {"type": "rect", "cornerRadius": 2},
            "encoding": {
                "color": colour,
                "tooltip": [
                    tip("model", "model"),
                    tip("scenario", "scenario"),
                    tip("scale", "scale"),
                    tip("text", "skill"),
                    tip("value_text", "RMSE"),
                    tip("reference_text", f"RMSE of {baseline}"),
                    tip("domains", "domains", "quantitative"),
                ],
                "description": {"field": "text", "type": "nominal"},
            },
        },
        {
            "mark": {"type": "text", "fontSize": 11, "tooltip": None, "aria": False},
            "encoding": {"text": {"field": "text", "type": "nominal"}, "color": letters},
        },
    ]


def _records(
    cells: pl.DataFrame,
    lines: Sequence[tables.Series],
    target: str,
    summary: str,
    baseline: str,
    columns: Sequence[str],
    intervals: pl.DataFrame | None,
) -> list[tuple[object, ...]]:
    ends = interval_cells(intervals, target=target, summary=summary)
    names = {(line.model, line.selection): line.label for line in lines}
    known = cells.filter(pl.col("scale").is_in(list(columns)))
    base = {
        (scenario, scale): value
        for scenario, model, scale, value in known.select("scenario", "model", "scale", "value").iter_rows()
        if model == baseline
    }
    found: list[tuple[object, ...]] = []
    for scenario, model, selection, scale, value, domains, skill in known.select(
        "scenario", "model", "selection", "scale", "value", "n_domains", "skill"
    ).iter_rows():
        if (model, selection) not in names:
            continue
        between = ends.get((scenario, model, selection, scale))
        text = shown(value, target)
        if value is not None and between is not None:
            text += f" [{labels.interval(*between, labels.decimals_for(value))}]"
        found.append(
            (
                names[model, selection],
                scenario,
                labels.SCALE_SHORT.get(scale, scale),
                short(skill),
                labels.number(skill, 2),
                text,
                shown(base.get((scenario, scale)), target),
                domains,
            )
        )
    return found
