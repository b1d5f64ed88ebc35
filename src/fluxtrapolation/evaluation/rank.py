"""Which models lead, and which of them the held-out sites cannot tell apart."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from fluxtrapolation.errors import EvaluationError, FluxtrapolationWarning, did_you_mean, examples
from fluxtrapolation.evaluation.board import Drawn, Run, draw_board, row_values
from fluxtrapolation.evaluation.bootstrap import LEVEL, Statistic, check_options, holm, p_value, two_sided
from fluxtrapolation.evaluation.clusters import CELL, Cell
from fluxtrapolation.evaluation.intervals import cut
from fluxtrapolation.evaluation.scores import Scores, as_scores
from fluxtrapolation.evaluation.statistics import Floats
from fluxtrapolation.evaluation.summary import baseline_rows, need_error, skill_of, summarise
from fluxtrapolation.schema import BOARD_SCALES

DRAWS_PER_PAIR: Final = 100
MOST_DRAWS: Final = 20_000
_DIGITS: Final = 12
_NAMES: Final = ("model", "selection")
_TABLE: Final = {
    "target": pl.String,
    "model": pl.String,
    "selection": pl.String,
    "skill_score": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "rank": pl.Int64,
    "rank_low": pl.Int64,
    "rank_high": pl.Int64,
    "tied_with_best": pl.Boolean,
    "p_best": pl.Float64,
    "n_seeds": pl.Int64,
    "seed_sd": pl.Float64,
    "note": pl.String,
}
_PAIRS: Final = {
    "target": pl.String,
    "model_a": pl.String,
    "selection_a": pl.String,
    "model_b": pl.String,
    "selection_b": pl.String,
    "difference": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p_value": pl.Float64,
    "p_holm": pl.Float64,
}


@dataclass(frozen=True)
class Ranking:
    """Models in order of skill, with what the held-out sites say about that order.

    Parameters
    ----------
    table : polars.DataFrame
        ``target, model, selection, skill_score``, its interval ``low, high`` (none for the baseline, 0 by definition),
        ``rank`` (1 is best), ``rank_low, rank_high`` (rank interval), ``tied_with_best``, ``p_best`` (share of draws of
        sites in which the model leads), ``n_seeds, seed_sd`` (standard deviation of the skill score between training
        seeds; beside the interval, not in it), ``note``. Best first; models that lack a cell come last, without rank.
    pairs : polars.DataFrame
        ``target, model_a, selection_a, model_b, selection_b, difference`` (skill score of a minus that of b),
        ``low, high, p_value, p_holm`` (corrected for all pairs of the target).
    how : dict
        Summary, metric, baseline, level, draws, seed.
    """

    table: pl.DataFrame
    pairs: pl.DataFrame
    how: dict[str, Any]

    def __repr__(self) -> str:
        how = ", ".join(f"{name} {value}" for name, value in self.how.items())
        with pl.Config(tbl_rows=40, tbl_cols=20, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
            return f"<Ranking: {how}>\n{self.table}"


def rank(
    scores: Scores | pl.DataFrame,
    *,
    target: str | None = None,
    summary: str = "median",
    baseline: str = "lr",
    baseline_selection: str = "mean",
    scales: Sequence[str] | None = BOARD_SCALES,
    metric: str = "rmse",
    level: float = LEVEL,
    draws: int | None = None,
    seed: int = 0,
) -> Ranking:
    """Rank models by skill score, with intervals for score and rank, and the group tied with the best.

    Sites are drawn with replacement (smoothed bootstrap, see :mod:`fluxtrapolation.evaluation.bootstrap`); the same
    sites for all models, scales and scenarios of a target. Every pair of models is compared by the draws of the
    difference of their skill scores, and the p-values are corrected for all pairs of the target (Holm 1979). The rank
    interval counts who is certainly better and who is certainly worse: from 1 + (models significantly better) to
    n - (models significantly worse). All rank intervals of a target hold together with the nominal level (Mogstad,
    Romano, Shaikh and Wilhelm 2024, doi:10.1093/restud/rdad006, with Holm in place of their studentised maximum).
    ``tied_with_best`` are the models than which none is significantly better. Percentiles of bootstrapped ranks, the
    usual shortcut, fail exactly where models are close.

    In simulations (``benchmarks/coverage.py``) the interval of the skill score, nominally 95 %, covers 94 to 98 % for
    the median and the 90th percentile (87 to 97 % for cvar10), and five equal models are all tied in 95 to 98 %.

    Parameters
    ----------
    scores : Scores or their table
        Two or more models. Several seeds of a run are averaged.
    target : str, optional
        All targets, one after the other, by default.
    summary, baseline, baseline_selection, scales, metric
        As in :func:`fluxtrapolation.evaluation.skill`.
    level : float
        Of intervals; 1 - level is the chance of one wrong verdict among all pairs.
    draws : int, optional
        At least 1000; by default 100 per pair of models, because the smallest p-value that draws can give, 2 / (draws
        + 1), times the number of pairs must stay well below 1 - level. At most 20,000.
    seed : int

    Raises
    ------
    EvaluationError
        As :func:`fluxtrapolation.evaluation.skill`; when fewer than two models have all cells.

    Warns
    -----
    FluxtrapolationWarning
        When the draws are too few for the number of pairs to find any difference.
    """
    known = as_scores(scores)
    need_error(known.frame, metric)
    check_options(level, 1000 if draws is None else draws)
    targets = known.frame["target"].unique().sort().to_list()
    if target is not None and target not in targets:
        near = did_you_mean(target, [str(one) for one in targets])
        raise EvaluationError(f"There are no scores of '{target}'.{near} The scores hold {examples(targets, limit=6)}.")
    wanted = targets if target is None else [target]
    statistic = Statistic.of(summary)
    tables, pairs = [], []
    used = 0
    for one in wanted:
        part = Scores(known.frame.filter(pl.col("target").eq_missing(one)), known.meta)
        rows, cells = cut(part, scales=scales, metric=metric)
        overall = _skill(part, rows, summary, scales, metric, baseline, baseline_selection)
        number = _draws(overall["skill_score"].count(), draws, level)
        used = max(used, number)
        drawn = draw_board(cells, statistic, positive=True, draws=number, seed=seed)
        reference = baseline_rows(rows, baseline, baseline_selection).row(0, named=True)
        table, found = _rank_target(overall, drawn, cells, statistic, (baseline, reference["selection"]), level)
        tables.append(table)
        pairs.append(found)
    how = {"summary": summary, "metric": metric, "baseline": baseline, "level": level, "draws": used, "seed": seed}
    return Ranking(pl.concat(tables), pl.concat(pairs), how)


def _draws(models: int, wanted: int | None, level: float) -> int:
    pairs = models * (models - 1) // 2
    if wanted is None:
        return min(max(1000, DRAWS_PER_PAIR * pairs), MOST_DRAWS)
    if 2 * pairs / (wanted + 1) > 1 - level:
        warnings.warn(
            f"{wanted} draws cannot separate {models} models: the smallest p-value, corrected for {pairs} pairs, is "
            f"{2 * pairs / (wanted + 1):.2g}. Use at least {DRAWS_PER_PAIR * pairs} draws.",
            FluxtrapolationWarning,
            stacklevel=3,
        )
    return int(wanted)


def _skill(
    part: Scores,
    rows: pl.DataFrame,
    summary: str,
    scales: Sequence[str] | None,
    metric: str,
    baseline: str,
    baseline_selection: str,
) -> pl.DataFrame:
    """Skill score of every run, its summaries averaged over seeds."""
    if rows.is_empty():
        raise EvaluationError("There are no scores at the scales asked for.")
    every = summarise(part, summary=summary, scales=scales, metric=metric, by=["seed"])
    means = every.group_by([*CELL, *_NAMES], maintain_order=True).agg(
        # A seed without a value leaves the run without one: a mean over fewer seeds would not say so.
        pl.when(pl.col("value").null_count() == 0).then(pl.col("value").mean()).alias("value")
    )
    return skill_of(means, rows, baseline=baseline, baseline_selection=baseline_selection).overall


def _rank_target(
    overall: pl.DataFrame,
    drawn: Drawn,
    cells: Sequence[Cell],
    statistic: Statistic,
    reference: Run,
    level: float,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    complete = overall.filter(pl.col("skill_score").is_not_null())
    target = overall["target"][0]
    if complete.height < 2:
        notes = examples(f"{row['model']}: {row['note']}" for row in overall.iter_rows(named=True) if row["note"])
        raise EvaluationError(
            f"{target or 'The scores'}: ranking needs two models with all cells, there is {complete.height}"
            + (f" ({notes})" if notes else "")
            + "."
        )
    runs: list[Run] = complete.select(_NAMES).rows()
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = drawn.draws / drawn.draws[drawn.row(reference)][None]
    # Equal runs are equal: the last digits of a sum must not order them.
    skills = np.round(1 - ratio[[drawn.row(run) for run in runs]].mean(axis=1), _DIGITS)
    exact = complete["skill_score"].to_numpy()
    score = np.round(exact, _DIGITS)
    pairs = _pairs(target, runs, score, skills, level)
    better, worse = _certain(runs, pairs, level)
    leads = _leads(skills)
    seeds = [_of_seeds(cells, run, reference, statistic) for run in runs]
    table = []
    for place, run in enumerate(runs):
        low, high = (np.nan, np.nan) if run == reference else two_sided(skills[place], level)
        table.append(
            {
                "target": target,
                "model": run[0],
                "selection": run[1],
                "skill_score": exact[place],
                "low": low,
                "high": high,
                "rank": int((score > score[place]).sum()) + 1,
                "rank_low": 1 + better[place],
                "rank_high": len(runs) - worse[place],
                "tied_with_best": better[place] == 0,
                "p_best": leads[place],
                "n_seeds": seeds[place][0],
                "seed_sd": seeds[place][1],
            }
        )
    lacking = overall.filter(pl.col("skill_score").is_null())
    table += [{"target": target, **{name: row[name] for name in (*_NAMES, "note")}} for row in lacking.to_dicts()]
    frame = pl.DataFrame([{name: row.get(name) for name in _TABLE} for row in table], schema=_TABLE)
    return frame.with_columns(pl.col("low", "high", "seed_sd").fill_nan(None)), pairs


def _pairs(target: str | None, runs: Sequence[Run], score: Floats, skills: Floats, level: float) -> pl.DataFrame:
    rows = []
    for a in range(len(runs)):
        for b in range(a + 1, len(runs)):
            gap = skills[a] - skills[b]
            low, high = two_sided(gap, level)
            rows.append((target, *runs[a], *runs[b], score[a] - score[b], low, high, p_value(gap), None))
    frame = pl.DataFrame(rows, schema=_PAIRS, orient="row")
    return frame.with_columns(
        pl.Series("p_holm", holm(frame["p_value"].to_numpy())).fill_nan(None), pl.col("low", "high").fill_nan(None)
    )


def _certain(runs: Sequence[Run], pairs: pl.DataFrame, level: float) -> tuple[list[int], list[int]]:
    """How many runs are significantly better, and how many significantly worse, than each."""
    number = {run: place for place, run in enumerate(runs)}
    better, worse = [0] * len(runs), [0] * len(runs)
    # A rounding of the level must not decide: 1 - 0.95 is a little more than 0.05.
    for row in pairs.filter(pl.col("p_holm") <= 1 - level + 1e-12).iter_rows(named=True):
        a, b = number[(row["model_a"], row["selection_a"])], number[(row["model_b"], row["selection_b"])]
        first, second = (a, b) if row["difference"] > 0 else (b, a)
        worse[first] += 1
        better[second] += 1
    return better, worse


def _leads(skills: Floats) -> Floats:
    """Share of draws in which each run has the highest skill; equal ones share a draw."""
    held = skills[:, np.isfinite(skills).all(axis=0)]
    first = held == held.max(axis=0)
    return np.asarray((first / first.sum(axis=0)).mean(axis=1)) if held.size else np.full(len(skills), np.nan)


def _of_seeds(cells: Sequence[Cell], run: Run, reference: Run, statistic: Statistic) -> tuple[int, float]:
    """Number of seeds of a run, and the standard deviation of its skill score between them."""
    parts = []
    for cell in cells:
        if run not in cell.runs:
            continue
        values = row_values(cell, statistic)
        base = values[cell.replicates == cell.runs.index(reference)].mean()
        parts.append(1 - values[cell.replicates == cell.runs.index(run)] / base)
    count = min(len(part) for part in parts)
    if count < 2:
        return count, float("nan")
    return count, float(np.mean([part[:count] for part in parts], axis=0).std(ddof=1))
