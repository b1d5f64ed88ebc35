"""Which models lead, and which of them the held-out sites cannot tell apart."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl

from fluxtrapolation.errors import EvaluationError, FluxtrapolationWarning, did_you_mean, examples
from fluxtrapolation.evaluation.certainty.board import Drawn, Run, draw_board, row_values
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
from fluxtrapolation.evaluation.certainty.clusters import CELL, Cell
from fluxtrapolation.evaluation.certainty.intervals import cut
from fluxtrapolation.evaluation.scores import Scores, as_scores
from fluxtrapolation.evaluation.statistics import Floats
from fluxtrapolation.evaluation.summary import baseline_rows, need_error, skill_of, summarise
from fluxtrapolation.schema import BOARD_SCALES

LEAST_DRAWS: Final = 2000
DRAWS_PER_VERDICT: Final = 5
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
    "p_a_better": pl.Float64,
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
        ``low, high, p_value, p_holm`` (corrected for all pairs of the target), ``p_a_better`` (share of draws).
    how : dict
        Summary, metric, baseline, level, draws, seed, and a caution where the intervals of the summary need one.
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

    Sites are drawn with replacement (smoothed bootstrap, :mod:`fluxtrapolation.evaluation.certainty.bootstrap`); the
    same sites for all models, scales and scenarios of a target. Every pair of models is compared by the draws of the
    difference of their skill scores, and the p-values are corrected for all pairs of the target (Holm 1979). The rank
    interval counts who is certainly better and who is certainly worse: from 1 + (models significantly better) to
    n - (models significantly worse). All rank intervals of a target hold together with the nominal level (Mogstad,
    Romano, Shaikh and Wilhelm 2024, doi:10.1093/restud/rdad006, with Holm in place of their studentised maximum).
    ``tied_with_best`` are the models than which none is significantly better. Fewer than six sites tell nothing for
    certain, and where the draws point the other way than the scores themselves nothing is certain either. Percentiles
    of bootstrapped ranks, the usual shortcut, fail exactly where models are close.

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
        By default 5 pairs / (1 - level), at least 2000 and at most 20,000: the smallest p-value that draws can give, 2
        / (draws + 1), times the number of pairs of models must stay well below 1 - level.
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
    check_options(level, 1000 if draws is None else draws, seed)
    caution = check_summary(summary)
    if not baseline or baseline == "none":
        raise EvaluationError("A ranking by skill needs a baseline: name a model of the scores, such as lr.")
    options = _Options(summary, baseline, baseline_selection, scales, metric)
    tables, pairs = [], []
    used = 0
    for one in _targets(known, target, options):
        overall, cells, reference = _board(known, one, options)
        number = _draws(overall["skill_score"].count(), draws, level)
        used = max(used, number)
        drawn = draw_board(cells, Statistic.of(summary), positive=True, draws=number, seed=seed)
        table, found = _rank_target(overall, drawn, cells, reference, options, level)
        tables.append(table)
        pairs.append(found)
    how: dict[str, Any] = {
        "summary": summary,
        "metric": metric,
        "baseline": baseline,
        "level": level,
        "draws": used,
        "seed": seed,
    }
    if caution:
        how["caution"] = caution
    return Ranking(pl.concat(tables), pl.concat(pairs), how)


def skill_ends(
    scores: Scores | pl.DataFrame,
    *,
    summary: str,
    baseline: str,
    baseline_selection: str,
    scales: Sequence[str] | None,
    metric: str,
    level: float,
    seed: int,
) -> pl.DataFrame:
    """Intervals of the skill scores of one target alone: ``model, selection, low, high``; those of :func:`rank`."""
    options = _Options(summary, baseline, baseline_selection, scales, metric)
    known = as_scores(scores)
    overall, cells, reference = _board(known, known.frame["target"][0], options)
    number = min(_enough(overall["skill_score"].count(), level), MOST_DRAWS)
    drawn = draw_board(cells, Statistic.of(summary), positive=True, draws=number, seed=seed)
    runs: list[Run] = overall.filter(pl.col("skill_score").is_not_null()).select(_NAMES).rows()
    skills = _skills(drawn, runs, reference)
    few = _sites(cells) < FEWEST_SITES
    rows = [(*run, *_ends(skills[place], few or run == reference, level)) for place, run in enumerate(runs)]
    kinds = {"model": pl.String, "selection": pl.String, "low": pl.Float64, "high": pl.Float64}
    return pl.DataFrame(rows, schema=kinds, orient="row").with_columns(pl.col("low", "high").fill_nan(None))


@dataclass(frozen=True)
class _Options:
    summary: str
    baseline: str
    baseline_selection: str
    scales: Sequence[str] | None
    metric: str


def _targets(known: Scores, target: str | None, options: _Options) -> list[str | None]:
    """The targets to rank: the one asked for, else those that hold the baseline and another model."""
    targets = known.frame["target"].unique().sort().to_list()
    if not targets:
        raise EvaluationError("There are no scores to rank.")
    if target is not None and target not in targets:
        near = did_you_mean(target, [str(one) for one in targets])
        raise EvaluationError(f"There are no scores of '{target}'.{near} The scores hold {examples(targets, limit=6)}.")
    if target is not None or len(targets) == 1:
        return [target] if target is not None else targets
    models = {one: set(known.frame.filter(pl.col("target").eq_missing(one))["model"]) for one in targets}
    able = [one for one in targets if options.baseline in models[one] and len(models[one]) > 1]
    if not able:
        return targets  # the first of them says what it lacks
    if len(able) < len(targets):
        left = examples(str(one) for one in targets if one not in able)
        warnings.warn(
            f"Not ranked: {left}, where the baseline {options.baseline} or a second model is missing.",
            FluxtrapolationWarning,
            stacklevel=3,
        )
    return able


def _draws(models: int, wanted: int | None, level: float) -> int:
    pairs = models * (models - 1) // 2
    enough = _enough(models, level)
    number = min(enough, MOST_DRAWS) if wanted is None else int(wanted)
    smallest = 2 * pairs / (number + 1)
    if smallest > 1 - level:
        warnings.warn(
            f"{number:,} draws cannot tell any of {models} models apart at level {level:g}: the smallest p-value, "
            f"corrected for {pairs} pairs, is {smallest:.2g}. Use at least {enough:,} draws, or rank fewer models.",
            FluxtrapolationWarning,
            stacklevel=3,
        )
    return number


def _enough(models: int, level: float) -> int:
    """So many draws that the smallest p-value, corrected for all pairs, stays well below 1 - level."""
    return max(LEAST_DRAWS, math.ceil(DRAWS_PER_VERDICT * (models * (models - 1) // 2) / (1 - level)))


def _sites(cells: Sequence[Cell]) -> int:
    """Number of distinct sites."""
    return len({site for cell in cells for site in cell.sites})


def _board(known: Scores, target: str | None, options: _Options) -> tuple[pl.DataFrame, list[Cell], Run]:
    """Skill scores, cells and baseline of one target."""
    part = Scores(known.frame.filter(pl.col("target").eq_missing(target)), known.meta)
    rows, cells = cut(part, scales=options.scales, metric=options.metric)
    overall = _skill(part, rows, options)
    reference = baseline_rows(rows, options.baseline, options.baseline_selection).row(0, named=True)
    return overall, cells, (options.baseline, reference["selection"])


def _skills(drawn: Drawn, runs: Sequence[Run], reference: Run) -> Floats:
    """Skill scores in every draw, shape (R, B); NaN where a draw holds no site of some cell."""
    base = drawn.row(reference)
    used = ~(drawn.values[base] <= 0)  # as the scores themselves: where the baseline is exactly 0 there is no skill
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = drawn.draws[:, used] / drawn.draws[base][None, used]
        # Equal runs are equal: the last digits of a sum must not order them.
        return np.asarray(np.round(1 - ratio[[drawn.row(run) for run in runs]].mean(axis=1), _DIGITS))


def _ends(skills: Floats, without: bool, level: float) -> tuple[float, float]:
    """Interval of a skill score; none for the baseline, whose skill is 0, nor where too few sites would make one."""
    return (float("nan"), float("nan")) if without else two_sided(skills, level)


def _skill(part: Scores, rows: pl.DataFrame, options: _Options) -> pl.DataFrame:
    """Skill score of every run, its summaries averaged over seeds."""
    every = summarise(part, summary=options.summary, scales=options.scales, metric=options.metric, by=["seed"])
    means = every.group_by([*CELL, *_NAMES], maintain_order=True).agg(
        # A seed without a value leaves the run without one: a mean over fewer seeds would not say so.
        pl.when(pl.col("value").null_count() == 0).then(pl.col("value").mean()).alias("value")
    )
    return skill_of(means, rows, baseline=options.baseline, baseline_selection=options.baseline_selection).overall


def _rank_target(
    overall: pl.DataFrame, drawn: Drawn, cells: Sequence[Cell], reference: Run, options: _Options, level: float
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
    skills = _skills(drawn, runs, reference)
    exact = complete["skill_score"].to_numpy()
    score = np.round(exact, _DIGITS)
    sites = _sites(cells)
    pairs = _pairs(target, runs, score, skills, sites, level)
    better, worse = _certain(runs, pairs, level)
    leads = _leads(skills)
    seeds = [_of_seeds(cells, run, reference, Statistic.of(options.summary)) for run in runs]
    note = None
    if sites < FEWEST_SITES:
        note = f"{sites} sites tell no difference for certain; {FEWEST_SITES} can"
    elif np.isnan(skills).any(axis=0).mean() > MOST_LOST:
        note = "too few sites to draw: many draws hold no site of some cell"
    table = []
    for place, run in enumerate(runs):
        low, high = _ends(skills[place], sites < FEWEST_SITES or run == reference, level)
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
                "p_best": leads[place] if sites >= FEWEST_SITES else np.nan,
                "n_seeds": seeds[place][0],
                "seed_sd": seeds[place][1],
                "note": "; ".join(one for one in (note, complete["note"][place]) if one) or None,
            }
        )
    lacking = overall.filter(pl.col("skill_score").is_null())
    table += [{"target": target, **{name: row[name] for name in (*_NAMES, "note")}} for row in lacking.to_dicts()]
    frame = pl.DataFrame([{name: row.get(name) for name in _TABLE} for row in table], schema=_TABLE)
    return frame.with_columns(pl.col(pl.Float64).fill_nan(None)), pairs


def _pairs(
    target: str | None, runs: Sequence[Run], score: Floats, skills: Floats, sites: int, level: float
) -> pl.DataFrame:
    rows = []
    for a in range(len(runs)):
        for b in range(a + 1, len(runs)):
            gap = skills[a] - skills[b]
            low, high = two_sided(gap, level)
            difference = score[a] - score[b]
            p = p_value(gap, effect=difference, sites=sites)
            rows.append((target, *runs[a], *runs[b], difference, low, high, p, None, share_above(gap)))
    frame = pl.DataFrame(rows, schema=_PAIRS, orient="row")
    corrected = pl.Series("p_holm", holm(frame["p_value"].to_numpy()))
    return frame.with_columns(corrected).with_columns(pl.col(pl.Float64).fill_nan(None))


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
        if run not in cell.runs or reference not in cell.runs:
            continue
        values = row_values(cell, statistic)
        base = values[cell.replicates == cell.runs.index(reference)].mean()
        if base <= 0:
            continue
        parts.append(1 - values[cell.replicates == cell.runs.index(run)] / base)
    count = min(len(part) for part in parts)
    if count < 2:
        return count, float("nan")
    return count, float(np.mean([part[:count] for part in parts], axis=0).std(ddof=1))
