"""Skill against the baseline: scenarios down, scales across."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from fluxtrapolation import schema
from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.scores import Scores
from fluxtrapolation.plots import labels, style, tables
from fluxtrapolation.plots.summaries import summary_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle


def skill_heatmap(
    scores: Scores | pl.DataFrame,
    *,
    model: str,
    selection: str = "mean",
    targets: Sequence[str] | None = None,
    scales: Sequence[str] = schema.BOARD_SCALES,
    summary: str = "median",
    baseline: str = "lr",
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

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing; the model or the baseline has no scores.
    """
    from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
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
    cmap = LinearSegmentedColormap.from_list("skill", [style.BAD, "#f6c9a6", "#fdfdfd", "#9ecae8", style.GOOD])
    norm = TwoSlopeNorm(vmin=-0.6, vcenter=0.0, vmax=0.6)
    with style.house_style():
        figure = Figure(
            figsize=(3.5 * len(shown), 0.85 + 0.36 * len(rows)), layout=None if len(shown) == 1 else "constrained"
        )
        axes = figure.subplots(1, len(shown), squeeze=False).ravel()
        if len(shown) == 1:
            widest = max(len(name) for name in rows)
            style.fixed_margins(figure, left=0.12 + 0.073 * widest, right=0.04, top=0.5, bottom=0.08)
        for ax, target in zip(axes, shown, strict=True):
            grid = np.array(
                [[_float(held_cells.get((target, sc, sl))) for sl in columns] for sc in rows], dtype=np.float64
            )
            for (i, j), value in np.ndenumerate(grid):
                face = "none" if np.isnan(value) else cmap(norm(float(np.clip(value, -0.6, 0.6))))
                ax.add_patch(_square(j, i, face))
                # Cells keep their colour on a dark page, so their letters must too: neither is a token of the page.
                letters = style.MUTED if np.isnan(value) else "#fefefe" if abs(value) > 0.45 else "#111111"
                ax.text(
                    j,
                    i,
                    labels.number(None if np.isnan(value) else float(value), 2),
                    ha="center",
                    va="center",
                    fontsize=7.5,
                    color=letters,
                )
            ax.set_xlim(-0.5, len(columns) - 0.5)
            ax.set_ylim(len(rows) - 0.5, -0.5)
            ax.set_xticks(range(len(columns)), [labels.SCALE_SHORT.get(name, name) for name in columns], fontsize=7.5)
            ax.set_yticks(range(len(rows)), list(rows))
            ax.xaxis.tick_top()
            ax.tick_params(length=0)
            ax.grid(visible=False)
            for spine in ax.spines.values():
                spine.set_visible(False)
            ax.set_title(
                f"{target}: skill of {labels.shorten(model)}, {labels.SUMMARY_NAMES.get(summary, summary)}", loc="left"
            )
    return figure


def _float(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _square(column: int, row: int, face: Any) -> Rectangle:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, facecolor=face, edgecolor="none")
