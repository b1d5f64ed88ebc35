"""Skill against the baseline: scenarios down, scales across."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import polars as pl

from fluxtrapolation import schema
from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.scores import Scores
from fluxtrapolation.plots import labels, style, tables
from fluxtrapolation.plots.summaries import summary_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle


_INTERVAL_COLUMNS: Final = ("target", "scenario", "scale", "model", "selection", "low", "high")


def skill_heatmap(
    scores: Scores | pl.DataFrame,
    *,
    model: str,
    selection: str = "mean",
    targets: Sequence[str] | None = None,
    scales: Sequence[str] = schema.BOARD_SCALES,
    summary: str = "median",
    baseline: str = "lr",
    intervals: pl.DataFrame | None = None,
) -> Figure:
    """Cell skill ``1 - RMSE / RMSE of the baseline`` of one model; one panel per target.

    Blue is better than the baseline, orange worse, white on par; a dash is a cell without a number.

    Parameters
    ----------
    scores : polars.DataFrame
        Tidy scores: ``target, scenario, model, selection, scale, domain, rmse``.
    model, selection : str
        Whose skill.
    targets, scales : sequence of str
        Panels and columns.
    summary : str
        ``median`` or ``q90``: the summary over domains that is compared.
    baseline : str
        The model of skill 0.
    intervals : polars.DataFrame, optional
        ``target, scenario, scale, model, selection, low, high``: interval of the cell's skill, written below it in
        small letters; null where unbounded.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing; the model or the baseline has no scores.
    """
    from matplotlib.figure import Figure

    table = tables.check_scores(scores)
    for name in (model, baseline):
        if name not in table["model"].unique().to_list():
            held = ", ".join(table["model"].unique().sort())
            raise EvaluationError(f"No scores of model '{name}': no skill to draw. Models: {held}.")
    cells = summary_of(table, summary=summary, baseline=baseline).cells.filter(
        pl.col("model") == model, pl.col("selection") == selection
    )
    shown = tuple(targets) if targets is not None else tables.targets_of(cells)
    rows, columns = tables.scenarios_of(cells), tables.scales_of(cells, scales)
    held_cells = {(t, sc, sl): v for t, sc, sl, v in cells.select("target", "scenario", "scale", "skill").iter_rows()}
    ends = _ends(intervals, model, selection)
    with style.house_style():
        figure = Figure(
            figsize=(3.5 * len(shown), 0.85 + (0.44 if ends else 0.36) * len(rows)),
            layout=None if len(shown) == 1 else "constrained",
        )
        axes = figure.subplots(1, len(shown), squeeze=False).ravel()
        if len(shown) == 1:
            widest = max(len(name) for name in rows)
            style.fixed_margins(figure, left=0.12 + 0.073 * widest, right=0.04, top=0.5, bottom=0.08)
        for ax, target in zip(axes, shown, strict=True):
            values = {(sc, sl): held_cells.get((target, sc, sl)) for sc in rows for sl in columns}
            texts = {(sc, sl): ends.get((target, sc, sl), "") for sc in rows for sl in columns}
            _panel(ax, rows, columns, values, texts)
            ax.set_title(
                f"{target}: skill of {labels.shorten(model)}, {labels.SUMMARY_NAMES.get(summary, summary)}", loc="left"
            )
    return figure


def _panel(
    ax: Axes,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Mapping[tuple[str, str], float | None],
    texts: Mapping[tuple[str, str], str],
) -> None:
    """Cells of one target by (scenario, scale): colour, skill, and the text of its interval below it."""
    from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm

    cmap = LinearSegmentedColormap.from_list("skill", list(style.DIVERGING))
    norm = TwoSlopeNorm(vmin=-0.6, vcenter=0.0, vmax=0.6)
    for (scenario, scale), value in values.items():
        i, j = rows.index(scenario), columns.index(scale)
        known = value is not None and not np.isnan(value)
        face = cmap(norm(float(np.clip(value, -0.6, 0.6)))) if value is not None and known else "none"
        ax.add_patch(_square(j, i, face))
        # Cells keep their colour on a dark page, so their letters must too: neither is a token of the page.
        letters = style.MUTED if value is None or not known else "#fefefe" if abs(value) > 0.45 else "#111111"
        small = texts[scenario, scale]
        place: dict[str, Any] = {"ha": "center", "va": "center", "color": letters}
        ax.text(j, i - (0.16 if small else 0.0), labels.number(value, 2), fontsize=7.5, **place)
        if small:
            ax.text(j, i + 0.24, small, fontsize=4.9, **place)
    ax.set_xlim(-0.5, len(columns) - 0.5)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xticks(range(len(columns)), [labels.SCALE_SHORT.get(name, name) for name in columns], fontsize=7.0)
    ax.set_yticks(range(len(rows)), list(rows))
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(visible=False)
    for spine in ax.spines.values():
        spine.set_visible(False)


def _ends(intervals: pl.DataFrame | None, model: str, selection: str) -> dict[tuple[str, str, str], str]:
    """The interval of every cell of a model as text, by target, scenario and scale; cells without one are absent."""
    if intervals is None:
        return {}
    tables.require(intervals, _INTERVAL_COLUMNS, "intervals")
    mine = intervals.filter(pl.col("model") == model, pl.col("selection").fill_null("") == selection)
    return {
        (str(target), str(scenario), str(scale)): text
        for target, scenario, scale, low, high in mine.select("target", "scenario", "scale", "low", "high").iter_rows()
        if (text := labels.interval(low, high, 2))
    }


def _square(column: int, row: int, face: Any) -> Rectangle:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, facecolor=face, edgecolor="none")
