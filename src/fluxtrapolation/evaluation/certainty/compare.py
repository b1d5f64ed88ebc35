"""Two models on the same sites: by how much is one better, and could other sites have said the opposite?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl

from fluxtrapolation.errors import EvaluationError, examples
from fluxtrapolation.evaluation.certainty.board import draw_board
from fluxtrapolation.evaluation.certainty.bootstrap import (
    FEWEST_SITES,
    LEVEL,
    MOST_LOST,
    Statistic,
    check_options,
    check_summary,
    holm,
    p_value,
    share_above,
    two_sided,
)
from fluxtrapolation.evaluation.certainty.clusters import Cell
from fluxtrapolation.evaluation.certainty.intervals import cut
from fluxtrapolation.evaluation.comparable import need_same_domains
from fluxtrapolation.evaluation.metrics import get_metric
from fluxtrapolation.evaluation.scores import Scores, as_scores, board_order
from fluxtrapolation.evaluation.statistics import Floats
from fluxtrapolation.evaluation.summary import is_error
from fluxtrapolation.schema import BOARD_SCALES

DRAWS: Final = 4000
_SAME: Final = 1e-12
_ROUNDING: Final = 1e-12
"""A rounding of the level must not decide: 1 - 0.95 is a little more than 0.05."""
_A: Final = ("a", None)
_B: Final = ("b", None)
_CELLS: Final = {
    "target": pl.String,
    "scenario": pl.String,
    "scale": pl.String,
    "value_a": pl.Float64,
    "value_b": pl.Float64,
    "difference": pl.Float64,
    "difference_low": pl.Float64,
    "difference_high": pl.Float64,
    "reduction": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "p_holm": pl.Float64,
    "p_a_better": pl.Float64,
    "wins": pl.Float64,
    "n_domains": pl.Int64,
    "n_sites": pl.Int64,
    "note": pl.String,
}
_OVERALL: Final = {
    "target": pl.String,
    "n_cells": pl.Int64,
    "difference": pl.Float64,
    "reduction": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "p_a_better": pl.Float64,
    "cells_better": pl.Int64,
    "cells_worse": pl.Int64,
    "verdict": pl.String,
    "note": pl.String,
}


@dataclass(frozen=True)
class Comparison:
    """Model ``a`` against model ``b``.

    Parameters
    ----------
    a, b : str
        Their names.
    overall : polars.DataFrame
        Per target: ``n_cells``; for errors ``reduction`` = 1 - geometric mean over the cells of error of a / error of b
        (0.1: a's errors are 10 % smaller), for other metrics the mean ``difference`` a - b; ``low, high`` of that;
        ``p_value``; ``p_a_better``, the share of draws of sites in which a is better; ``cells_better, cells_worse``,
        cells in which a is significantly better or worse (Holm-corrected); ``verdict``, one sentence; ``note``.
    cells : polars.DataFrame
        Per (target, scenario, scale): ``value_a, value_b`` (the summary), ``difference`` a - b and its interval in the
        unit of the metric, ``reduction`` 1 - a / b and its interval ``low, high``, ``p_value, p_holm`` (corrected for
        the cells of the target), ``p_a_better``, ``wins`` (share of domains at which a is better, equal ones half),
        ``n_domains, n_sites, note``.
    how : dict
        Summary, metric, level, draws, seed, and a caution where the intervals of the summary need one.
    """

    a: str
    b: str
    overall: pl.DataFrame
    cells: pl.DataFrame
    how: dict[str, Any]

    def __repr__(self) -> str:
        how = ", ".join(f"{name} {value}" for name, value in self.how.items())
        verdicts = "\n".join(self.overall["verdict"])
        with pl.Config(tbl_rows=40, tbl_cols=20, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
            return f"<Comparison of a = {self.a} with b = {self.b}: {how}>\n{verdicts}\n{self.overall.drop('verdict')}"


def compare(
    a: Scores | pl.DataFrame | str | Path,
    b: Scores | pl.DataFrame | str | Path,
    *,
    model_a: str | None = None,
    model_b: str | None = None,
    selection: str | None = None,
    summary: str = "median",
    scales: Sequence[str] | None = BOARD_SCALES,
    metric: str = "rmse",
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> Comparison:
    """Compare two models on the same held-out sites, cell by cell and overall.

    Sites are drawn with replacement (errors by the smoothed bootstrap, other metrics by the plain one), the same for
    both models and for all scales and scenarios; each draw gives both summaries, so what is hard about a site cancels.
    The p-value is twice the smaller share of draws on either side of no difference (Efron and Tibshirani 1993, section
    15.4), never below what so many sites can tell (2^(1 - sites)): fewer than six tell nothing for certain. Where the
    draws and the summaries as they are point in opposite directions it is 1. The result mirrors exactly when a and b
    change places.

    Parameters
    ----------
    a, b : Scores, their table, or path of a file or folder
        One model each, or several and ``model_a``, ``model_b``. Several seeds are averaged.
    model_a, model_b, selection : str, optional
        Which runs, where there are several.
    summary, scales, metric
        As in :func:`fluxtrapolation.evaluation.summarise`. Errors (best at 0) or metrics that improve upward.
    level, draws, seed
        Of the intervals and the bootstrap.

    Returns
    -------
    Comparison

    Raises
    ------
    EvaluationError
        When a side holds no run or several, both hold the same one, they share no cell or have other domains, or the
        metric has no better direction (bias).
    """
    check_options(level, draws, seed)
    caution = check_summary(summary)
    first, name_a = _side(a, "A", model_a, selection)
    second, name_b = _side(b, "B", model_b, selection)
    if name_a == name_b:
        name_a, name_b = f"{name_a} (A)", f"{name_b} (B)"
    both = Scores.concat([_named(first, "a"), _named(second, "b")])
    kind = get_metric(metric)
    error = is_error(both.frame, metric)
    if not error and not kind.higher_is_better:
        raise EvaluationError(
            f"{metric} has no better direction, so models cannot be compared by it. Take rmse or mae."
        )
    _same_domains(both.frame, name_a, name_b)
    rows, cells = cut(both, scales=scales, metric=metric)
    shared = [cell for cell in cells if len(cell.runs) == 2]
    if not shared:
        raise EvaluationError(
            f"{name_a} and {name_b} share no (target, scenario, scale): A holds {_cells(rows, 'a')}, B "
            f"{_cells(rows, 'b')}."
        )
    statistic = Statistic.of(summary, higher_is_better=kind.higher_is_better)
    found, totals = [], []
    for target in dict.fromkeys(cell.key[0] for cell in shared):
        mine = [cell for cell in shared if cell.key[0] == target]
        table, overall = _compare_target(mine, statistic, error=error, level=level, draws=draws, seed=seed)
        alone = [cell for cell in cells if cell.key[0] == target and len(cell.runs) < 2]
        overall["note"] = _left_out(alone, overall["note"])
        overall["verdict"] = _verdict(overall, name_a, name_b, level)
        found.append(table)
        totals.append(overall)
    how: dict[str, Any] = {"summary": summary, "metric": metric, "level": level, "draws": draws, "seed": seed}
    if caution:
        how["caution"] = caution
    return Comparison(name_a, name_b, _frame(totals, _OVERALL), pl.concat(found).sort(*board_order()[:4]), how)


def _side(
    given: Scores | pl.DataFrame | str | Path, side: str, model: str | None, selection: str | None
) -> tuple[Scores, str]:
    """The one run of a side, and its name."""
    scores = Scores.read(given) if isinstance(given, str | Path) else as_scores(given)
    frame = scores.frame
    if model is not None:
        frame = frame.filter(pl.col("model") == model)
    if selection is not None:
        frame = frame.filter(pl.col("selection").eq_missing(selection) | pl.col("selection").is_null())
    runs = frame.select("model", "selection").unique().sort("model", "selection").rows()
    held = scores.frame.select("model", "selection").unique().sort("model", "selection").rows()
    if not held:
        raise EvaluationError(f"Side {side} holds no scores at all.")
    if len(runs) != 1:
        option = "model_a" if side == "A" else "model_b"
        what = "several runs" if runs else "no such run"
        raise EvaluationError(
            f"Side {side} holds {what}: it has {examples((_label(run) for run in held), limit=8)}. Name one with "
            f"{option} (--model-{side.lower()}) and selection (--selection)."
        )
    return Scores(frame, scores.meta), _label(runs[0])


def _label(run: tuple[str | None, ...]) -> str:
    return f"{run[0] or 'unnamed'}" + (f" ({run[1]})" if run[1] else "")


def _named(scores: Scores, side: str) -> Scores:
    """The same rows under a name that no other run has."""
    named = scores.frame.with_columns(pl.lit(side).alias("model"), pl.lit(None, pl.String).alias("selection"))
    return Scores(named, scores.meta)


def _same_domains(table: pl.DataFrame, name_a: str, name_b: str) -> None:
    sides = table.with_columns(pl.col("model").replace({"a": name_a, "b": name_b}))
    of_a, of_b = (sides.filter(pl.col("model") == name) for name in (name_a, name_b))
    need_same_domains(of_a, of_b, called=name_b)


def _cells(rows: pl.DataFrame, side: str) -> str:
    held = rows.filter(pl.col("model") == side).select(
        pl.concat_str("target", "scenario", "scale", separator="/", ignore_nulls=True)
    )
    return examples(held.to_series().unique(maintain_order=True).to_list()) or "none"


def _left_out(alone: Sequence[Cell], note: str | None) -> str | None:
    listed = [f"{cell.key[1]}/{cell.key[2]} only in {'A' if _A in cell.runs else 'B'}" for cell in alone]
    return "; ".join([*([f"left out: {examples(listed)}"] if listed else []), *([note] if note else [])]) or None


def _paired(cell: Cell) -> tuple[Cell, int]:
    """The cell with only those domains that have a value in every row, and how many were taken out."""
    held = np.isfinite(cell.values)
    complete = np.asarray(held.all(axis=0))
    lost = int((held.any(axis=0) & ~complete).sum())
    values = np.where(complete[None], cell.values, np.nan)
    return Cell(cell.key, cell.runs, cell.replicates, values, cell.sites, cell.n_null), lost


def _compare_target(
    cells: Sequence[Cell], statistic: Statistic, *, error: bool, level: float, draws: int, seed: int
) -> tuple[pl.DataFrame, dict[str, Any]]:
    paired = [_paired(cell) for cell in cells]
    cells = [cell for cell, _ in paired]
    drawn = draw_board(cells, statistic, positive=error, draws=draws, seed=seed, smooth=error)
    values_a, values_b = drawn.values[drawn.row(_A)], drawn.values[drawn.row(_B)]
    draws_a, draws_b = drawn.draws[drawn.row(_A)], drawn.draws[drawn.row(_B)]
    effects, of_draws = _effects(values_a, values_b, error), _effects(draws_a, draws_b, error)
    sizes = [_sites_of([cell]) for cell in cells]
    p = np.asarray(
        [p_value(one, effect=effect, sites=n) for one, effect, n in zip(of_draws, effects, sizes, strict=True)]
    )
    corrected = holm(p)
    rows = [
        _cell_row(
            cell,
            (values_a[place], values_b[place]),
            (draws_a[place], draws_b[place]),
            of_draws[place],
            lost,
            error=error,
            level=level,
        )
        | {"p_value": p[place], "p_holm": corrected[place], "n_sites": sizes[place]}
        for place, (cell, lost) in enumerate(paired)
    ]
    certain = np.nan_to_num(corrected, nan=1.0) <= 1 - level + _ROUNDING
    nothing = np.asarray(error & (values_a == 0) & (values_b == 0))
    overall = _overall(cells, np.where(nothing, np.nan, effects), of_draws, error=error, level=level)
    overall |= {
        "cells_better": int((certain & (effects > 0)).sum()),
        "cells_worse": int((certain & (effects < 0)).sum()),
    }
    return _frame(rows, _CELLS), overall


def _cell_row(
    cell: Cell,
    values: tuple[float, float],
    draws: tuple[Floats, Floats],
    effects: Floats,
    lost: int,
    *,
    error: bool,
    level: float,
) -> dict[str, Any]:
    """The numbers of one cell."""
    means = cell.averaged(cell.values)
    a, b = means[cell.runs.index(_A)], means[cell.runs.index(_B)]
    held = np.isfinite(a)
    few = _sites_of([cell]) < FEWEST_SITES
    gap = (np.nan, np.nan) if few else two_sided(draws[0] - draws[1], level)
    # Ends before the exponential: so those of b against a are exactly the others.
    ends = (np.nan, np.nan) if few or not error else two_sided(effects, level)
    return {
        **dict(zip(("target", "scenario", "scale"), cell.key, strict=True)),
        "value_a": values[0],
        "value_b": values[1],
        "difference": values[0] - values[1],
        "difference_low": gap[0],
        "difference_high": gap[1],
        "reduction": _reduction(*values) if error else np.nan,
        "low": 1 - np.exp(-ends[0]),
        "high": 1 - np.exp(-ends[1]),
        "p_a_better": share_above(effects),
        "wins": _wins(a[held], b[held], error),
        "n_domains": int(held.sum()),
        "note": f"{lost} domains that only one model has a value for are left out" if lost else None,
    }


def _reduction(a: float, b: float) -> float:
    """By how much an error is smaller: 1 - a / b, 0 where both are 0, undefined where only b is."""
    if a == b:
        return 0.0
    return 1 - a / b if b > 0 else float("nan")


def _overall(cells: Sequence[Cell], effects: Floats, of_draws: Floats, *, error: bool, level: float) -> dict[str, Any]:
    """The mean effect over the cells of a target; where an error is exactly 0 there is no ratio to take in."""
    usable = np.isfinite(effects)
    if not usable.any():  # one of the two has no error anywhere: only the sign is left
        usable = ~np.isnan(effects)
    mean = float(effects[usable].mean()) if usable.any() else np.nan
    with np.errstate(invalid="ignore"):
        draws = of_draws[usable].mean(axis=0) if usable.any() else np.full(of_draws.shape[1], np.nan)
    sites = _sites_of(cells)
    ends = (np.nan, np.nan) if sites < FEWEST_SITES else two_sided(draws, level)
    notes = []
    if not usable.all():
        undefined = [f"{cell.key[1]}/{cell.key[2]}" for cell, fine in zip(cells, usable, strict=True) if not fine]
        notes.append(f"no {'ratio where an error is 0 or undefined' if error else 'value'}: {examples(undefined)}")
    if np.isnan(draws).mean() > MOST_LOST:
        notes.append("too few sites to draw: many draws hold no site of some cell")
    if sites < FEWEST_SITES:
        notes.append(f"{sites} sites tell no difference for certain; {FEWEST_SITES} can")
    return {
        "target": cells[0].key[0],
        "n_cells": int(usable.sum()),
        "difference": np.nan if error else mean,
        "reduction": 1 - np.exp(-mean) if error else np.nan,
        "low": 1 - np.exp(-ends[0]) if error else ends[0],
        "high": 1 - np.exp(-ends[1]) if error else ends[1],
        "p_value": p_value(draws, effect=mean, sites=sites),
        "p_a_better": share_above(draws),
        "note": "; ".join(notes) or None,
    }


def _sites_of(cells: Sequence[Cell]) -> int:
    """Number of distinct sites with a value."""
    return len({cell.sites[one] for cell in cells for one in np.unique(np.nonzero(np.isfinite(cell.values))[1])})


def _effects(a: Floats, b: Floats, error: bool) -> Floats:
    """How much better a is: log(b / a) of errors, a - b of metrics that improve upward; 0 where both are 0.

    A difference in the last digits is none: equal models must not look a little different.
    """
    if not error:
        return np.where(np.abs(a - b) <= _SAME * (np.abs(a) + np.abs(b)), 0.0, a - b)
    with np.errstate(divide="ignore", invalid="ignore"):
        effect = np.log(b) - np.log(a)  # infinite where one of the two is exactly 0
    return np.asarray(np.where(((a == b) & np.isfinite(a)) | (np.abs(effect) <= _SAME), 0.0, effect))


def _wins(a: Floats, b: Floats, error: bool) -> float:
    if len(a) == 0:
        return float("nan")
    gap = b - a if error else a - b
    return float((gap > 0).mean() + 0.5 * (gap == 0).mean())


def _verdict(row: dict[str, Any], name_a: str, name_b: str, level: float) -> str:
    """What the numbers say, in one sentence."""
    where = f"{row['target']}: " if row["target"] else ""
    if not row["n_cells"]:
        return f"{where}there is no cell in which both have a value."
    if not np.isfinite(row["p_value"]):
        return f"{where}no draw of sites holds a site of every cell, so nothing can be said."
    if np.isnan(row["difference"]):
        size = f"errors {abs(row['reduction']):.1%} {'smaller' if row['reduction'] >= 0 else 'larger'}"
        ends = tuple("open" if np.isnan(end) else f"{end:.1%}" for end in (row["low"], row["high"]))
        what = "interval of the reduction"
    else:
        size = f"mean difference {row['difference']:.3g}"
        ends = tuple("open" if np.isnan(end) else f"{end:.3g}" for end in (row["low"], row["high"]))
        what = "interval"
    told = f"{name_a} has {size} ({100 * level:g}% {what} {ends[0]} to {ends[1]}, p = {row['p_value']:.2g})"
    if row["p_value"] <= 1 - level + _ROUNDING:
        better, other = (name_a, name_b) if row["p_a_better"] > 0.5 else (name_b, name_a)
        return f"{where}{better} is better than {other}: {told}."
    return f"{where}the sites do not tell {name_a} and {name_b} apart: {told}."


def _frame(rows: Sequence[dict[str, Any]], schema: dict[str, Any]) -> pl.DataFrame:
    frame = pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)
    return frame.with_columns(pl.col(pl.Float64).fill_nan(None))


__all__ = ["Comparison", "compare"]
