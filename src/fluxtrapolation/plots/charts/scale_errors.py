"""RMSE against the temporal scale with its intervals; hovering tells the numbers."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from fluxtrapolation import schema
from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.scores import Scores
from fluxtrapolation.plots import labels, style, tables
from fluxtrapolation.plots.charts.base import (
    Spec,
    chart,
    log_axis,
    model_colour,
    rows_of,
    short,
    tip,
)
from fluxtrapolation.plots.scale_errors import Cell, Ends, Marks, mark_limits, marks_of

_NAMES = (
    *("model", "scale", "median", "q90", "median_low", "median_high", "q90_low", "q90_high"),
    *("median_text", "q90_text", "domains"),
)


def scale_chart(
    scores: Scores | pl.DataFrame,
    *,
    target: str,
    scenario: str,
    scales: Sequence[str] = schema.SCALES,
    intervals: pl.DataFrame | None = None,
    limits: tuple[float, float] | None = None,
    legend: bool = True,
) -> Spec:
    """Median and 90th percentile of RMSE at each scale, with intervals: the interactive twin of ``error_by_scale``.

    Parameters
    ----------
    scores : polars.DataFrame
        Tidy scores: ``target, scenario, model, selection, scale, domain, rmse``.
    target, scenario : str
    scales : sequence of str
        Rows; scales without a finite value are left out.
    intervals : polars.DataFrame, optional
        As in :func:`fluxtrapolation.plots.error_by_scale`. Without it a thin bar joins median and 90th percentile.
    limits : (float, float), optional
        Ends of the error axis.
    legend : bool
        Draw the legend below the panel.

    Returns
    -------
    dict
        A Vega-Lite specification with its data.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, or there is nothing to draw.
    """
    table = tables.check_scores(scores)
    lines = tables.line_series(table)
    held = table.filter(pl.col("target") == target, pl.col("scenario") == scenario, pl.col("rmse").is_not_null())
    marks = marks_of(held, intervals, target)
    ends = limits if limits is not None else mark_limits(marks)
    rows = tables.scales_of(held, scales)
    counts = _domains(held)
    records = [
        _record(marks, cell, line.label, target, counts.get(cell, 0), ends)
        for scale in rows
        for line in lines
        if ends is not None and marks.middle.get(cell := (scenario, line.model, line.selection, scale), 0.0) > 0
    ]
    if not records or ends is None:
        raise EvaluationError(f"No finite RMSE for target '{target}' in scenario '{scenario}'.")
    step = max(26, 9 * len(lines) + 8)
    spec = chart(
        scenario,
        f"Median and 90th percentile of RMSE of {target} at each temporal scale, in scenario {scenario}, for "
        f"{', '.join(line.label for line in lines)}. {_in_words(marks)}",
        height=step * len(rows),
    )
    names = [labels.SCALE_NAMES.get(name, name) for name in rows]
    y = {
        "field": "scale",
        "type": "nominal",
        "sort": names,
        "axis": {"title": None, "grid": False, "labelColor": style.MUTED},
        "scale": {"paddingInner": 0.18, "paddingOuter": 0.1},
    }
    offset = {"field": "model", "type": "nominal", "sort": [line.label for line in lines]}
    x = {"field": "median", **log_axis(*ends, labels.with_unit("RMSE", target))}
    shared = {"y": y, "yOffset": offset, "color": model_colour(lines, legend=legend), "tooltip": _tooltip()}
    return {**spec, "data": {"values": rows_of(_NAMES, records)}, "layer": _layers(shared, x, marks)}


def _layers(shared: Spec, x: Spec, marks: Marks) -> list[Spec]:
    def bar(low: str, high: str, width: float, opacity: float) -> Spec:
        return {
            "mark": {"type": "rule", "strokeWidth": width, "opacity": opacity, "aria": False},
            "encoding": {**shared, "x": {**x, "field": low}, "x2": {"field": high}},
        }

    if marks.has_intervals:
        bars = [bar("median_low", "median_high", 5, 0.45), bar("q90_low", "q90_high", 1.3, 0.8)]
        bars = [{**layer, "transform": [_known(layer)]} for layer in bars]
    else:
        bars = [bar("median", "q90", 1.6, 1)]
    return [
        *bars,
        {
            "mark": {"type": "tick", "thickness": 1.8, "size": 8, "aria": False},
            "encoding": {**shared, "x": {**x, "field": "q90"}},
        },
        {
            "mark": {"type": "circle", "size": 44, "opacity": 1},
            "encoding": {**shared, "x": x, "description": {"field": "median_text", "type": "nominal"}},
        },
    ]


def _known(layer: Spec) -> Spec:
    low, high = layer["encoding"]["x"]["field"], layer["encoding"]["x2"]["field"]
    return {"filter": f"datum.{low} !== null && datum.{high} !== null"}


def _tooltip() -> list[Spec]:
    return [
        tip("model", "model"),
        tip("scale", "scale"),
        tip("median_text", "median"),
        tip("q90_text", "90th percentile"),
        tip("domains", "domains", "quantitative"),
    ]


def _in_words(marks: Marks) -> str:
    if marks.has_intervals:
        return (
            "A dot is the median, the broad bar behind it its interval; the tick is the 90th percentile, with its own."
        )
    return "A dot is the median, its bar ends at the 90th percentile."


def _record(
    marks: Marks, cell: Cell, label: str, target: str, domains: int, limits: tuple[float, float]
) -> tuple[object, ...]:
    scale = labels.SCALE_NAMES.get(cell[3], cell[3])
    middle, tail = marks.middle[cell], marks.tail[cell]
    return (
        label,
        scale,
        short(middle),
        short(tail),
        *_drawn(marks.middle_ends.get(cell), limits),
        *_drawn(marks.tail_ends.get(cell), limits),
        _text(middle, marks.middle_ends.get(cell), target),
        _text(tail, marks.tail_ends.get(cell), target),
        domains,
    )


def _drawn(ends: Ends | None, limits: tuple[float, float]) -> tuple[float | None, float | None]:
    """Ends of a bar; an unbounded one is drawn to the edge of the panel."""
    if ends is None:
        return None, None
    low, high = ends
    return short(limits[0] if low is None or low <= 0 else low), short(limits[1] if high is None else high)


def _text(value: float, ends: Ends | None, target: str) -> str:
    decimals = labels.decimals_for(value)
    between = labels.interval(*ends, decimals) if ends is not None else ""
    unit = labels.target_unit(target)
    return " ".join(part for part in (labels.number(value, decimals), f"[{between}]" if between else "", unit) if part)


def _domains(held: pl.DataFrame) -> dict[Cell, int]:
    counted = held.group_by("scenario", "model", "selection", "scale").len()
    return {
        (str(scenario), str(model), str(selection), str(scale)): int(count)
        for scenario, model, selection, scale, count in counted.iter_rows()
    }
