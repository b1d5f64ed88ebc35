"""Summaries over domains, skill against a baseline, and the published layout."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from fluxtrapolation.errors import EvaluationError, did_you_mean, examples
from fluxtrapolation.evaluation.comparable import RUN, need_one_run, need_one_test_set, need_same_domains
from fluxtrapolation.evaluation.metrics import get_metric
from fluxtrapolation.evaluation.scores import Columns, Scores, as_scores, board_order
from fluxtrapolation.evaluation.statistics import Floats
from fluxtrapolation.schema import BOARD_SCALES, PUBLISHED_SCENARIO

Summary = Callable[[Floats], float]
CELL: Final = ("target", "scenario", "scale")
SUMMARIES: Final = ("median", "mean", "worst", "q90 (any quantile: q05, q97.5)", "cvar10 (mean of the worst tenth)")


def get_summary(name: str, *, higher_is_better: bool = False) -> Summary:
    """The function that makes one number of the values of all domains.

    ``median``, ``mean``; ``qNN``: the NN-th percentile, linear interpolation; ``worst``: the worst domain; ``cvarNN``:
    the mean of the worst NN percent, where a fraction of a domain counts as such a fraction (0.1 x 126 domains =
    the 12 worst and 0.6 of the thirteenth).

    Raises
    ------
    EvaluationError
        When the name is unknown.
    """
    if name == "median":
        return lambda values: float(np.quantile(values, 0.5))
    if name == "mean":
        return lambda values: float(values.mean())
    if name == "worst":
        return lambda values: float(values.min() if higher_is_better else values.max())
    found = re.fullmatch(r"(q|cvar)(\d{1,2}(?:\.\d+)?|100)", name)
    if found is None:
        near = did_you_mean(name, ("median", "mean", "worst", "q90", "cvar10"))
        raise EvaluationError(f"There is no summary '{name}'.{near} Choose from {', '.join(SUMMARIES)}.")
    share = float(found[2]) / 100
    if found[1] == "q":
        return lambda values: float(np.quantile(values, share))
    if share == 0:
        raise EvaluationError("cvar0 is the mean of no domain; use 'worst' for the worst one.")
    return lambda values: _tail_mean(values, share, higher_is_better=higher_is_better)


def need_worst(summary: str, metric: str) -> None:
    """Refuse ``worst`` and ``cvarNN`` of a metric that is wrong on both sides of its best value.

    Raises
    ------
    EvaluationError
    """
    kind = get_metric(metric)
    if kind.two_sided and (summary == "worst" or summary.startswith("cvar")):
        raise EvaluationError(
            f"{metric} is best at {kind.best:g} and worse on both sides of it, so '{summary}' has no direction. Take a "
            "quantile on either side, such as q05 and q95, or an error such as mae."
        )


def _tail_mean(values: Floats, share: float, *, higher_is_better: bool) -> float:
    worst_first = np.sort(values) if higher_is_better else np.sort(values)[::-1]
    weight = np.clip(share * len(values) - np.arange(len(values)), 0.0, 1.0)
    return float((worst_first * weight).sum() / weight.sum())


def summarise(
    scores: Scores | pl.DataFrame,
    *,
    summary: str = "median",
    scales: Sequence[str] | None = BOARD_SCALES,
    metric: str = "rmse",
    by: Sequence[str] = (),
) -> pl.DataFrame:
    """One row per (target, scenario, scale, model, selection): the summary of a metric over its domains.

    Parameters
    ----------
    scores : Scores or their table
    summary : str
        See :func:`get_summary`.
    scales : sequence of str, optional
        Which scales; the six of the board unless given. None: all.
    metric : str
    by : sequence of str
        More columns that tell runs apart, such as ``seed``, ``profile`` or ``store_hash``.

    Returns
    -------
    polars.DataFrame
        ``target, scenario, scale, model, selection``, the columns of ``by``, ``value`` (null where no domain has one;
        the mean over seeds where a run is there with several), ``n_domains`` (domains used), ``n_null`` (domains whose
        metric is null and skipped) and ``n_seeds``.

    Raises
    ------
    EvaluationError
        When a domain is there twice in one run (several profiles: name them in ``by``), or one (target,
        scenario) stands for several scenario files or stores.
    """
    known = as_scores(scores)
    table, runs = known.frame, known.meta.get("runs", [])
    kind = get_metric(metric)
    if metric not in table.columns:
        raise EvaluationError(f"The scores hold no {metric}. Evaluate with metrics=[..., '{metric}'].")
    unknown = [name for name in by if name not in table.columns]
    if unknown:
        raise EvaluationError(f"The scores have no column '{unknown[0]}' to group by.")
    if scales is not None:
        table = table.filter(pl.col("scale").is_in(list(scales)))
    keys = list(dict.fromkeys([*CELL, "model", "selection", *by]))
    by = keys[5:]
    need_one_test_set(table, runs, by=by)
    of_seed = list(dict.fromkeys([*keys, "seed"]))
    need_one_run(table, of_seed, runs)
    function = get_summary(summary, higher_is_better=kind.higher_is_better)
    need_worst(summary, metric)
    grouped = table.group_by(of_seed, maintain_order=True).agg(
        pl.col(metric).drop_nulls().alias("values"), pl.col(metric).null_count().alias("n_null")
    )
    values = [function(one.to_numpy()) if len(one) else None for one in grouped["values"]]
    each = grouped.with_columns(
        pl.Series("value", values, dtype=pl.Float64), pl.col("values").list.len().cast(pl.Int64).alias("n_domains")
    )
    return (
        each.group_by(keys, maintain_order=True)
        .agg(
            # A seed without a value leaves the run without one: a mean over fewer seeds would not say so.
            pl.when(pl.col("value").null_count() == 0).then(pl.col("value").mean()).alias("value"),
            pl.col("n_domains").min(),
            pl.col("n_null").max().cast(pl.Int64),
            pl.len().cast(pl.Int64).alias("n_seeds"),
        )
        .sort(*board_order(), *by)
    )


@dataclass(frozen=True)
class Skill:
    """Skill of every model.

    Parameters
    ----------
    cells : polars.DataFrame
        ``target, scenario, scale, model, selection, value, n_domains, n_null, n_seeds, baseline, skill``;
        skill = 1 - value / baseline, 0 is as good as the baseline, 1 is perfect.
    overall : polars.DataFrame
        ``target, model, selection, skill_score, n_cells, note``: the unweighted mean over all cells of the target, best
        first; null, with a note, where a cell is missing.
    """

    cells: pl.DataFrame
    overall: pl.DataFrame


def skill(
    scores: Scores | pl.DataFrame,
    *,
    baseline: str = "lr",
    baseline_selection: str = "mean",
    summary: str = "median",
    scales: Sequence[str] | None = BOARD_SCALES,
    metric: str = "rmse",
) -> Skill:
    """Skill against a baseline, per cell and overall.

    The cells of a target are the (scenario, scale) pairs that any model has: 18 on the published board. A model that
    lacks one gets no overall score but a note; the published board averages over fewer cells instead. A cell in which
    the baseline's error is exactly 0 (iav under ``paper``, where most towers have one test year) has no skill for any
    model: it is left out for all, and every model's note says so.

    Raises
    ------
    EvaluationError
        When the baseline is absent, the metric is not an error whose best value is 0, or a model was scored on other
        domains than the baseline.
    """
    known = as_scores(scores)
    need_error(known.frame, metric)
    table = summarise(known, summary=summary, scales=scales, metric=metric)
    return skill_of(table, known.frame, baseline=baseline, baseline_selection=baseline_selection)


def skill_of(summaries: pl.DataFrame, rows: pl.DataFrame, *, baseline: str, baseline_selection: str) -> Skill:
    """Skill from summaries, one row per (cell, model, selection), and the rows of scores they are of.

    Raises
    ------
    EvaluationError
        As :func:`skill`.
    """
    reference = baseline_rows(summaries, baseline, baseline_selection).select(*CELL, pl.col("value").alias("baseline"))
    need_same_domains(rows, baseline_rows(rows, baseline, baseline_selection))
    cells = summaries.join(reference, on=CELL, how="left", nulls_equal=True, maintain_order="left")
    value, base = (cells[name].cast(pl.Float64).fill_null(float("nan")).to_numpy() for name in ("value", "baseline"))
    found = np.full(len(value), np.nan)
    np.divide(value, base, out=found, where=base > 0)  # exactly 1 for the baseline itself
    cells = cells.with_columns(pl.Series("skill", 1 - found, dtype=pl.Float64).fill_nan(None))
    return Skill(cells, _overall(cells))


def is_error(table: pl.DataFrame, metric: str) -> bool:
    """Whether a metric is an error: 0 or more, and best at 0."""
    kind = get_metric(metric)
    if kind.best != 0.0 or kind.two_sided:
        return False
    return metric not in table.columns or not bool((table[metric] < 0).any())


def need_error(table: pl.DataFrame, metric: str) -> None:
    """Refuse a metric of which a ratio says nothing.

    Raises
    ------
    EvaluationError
    """
    if not is_error(table, metric):
        raise EvaluationError(f"Skill needs an error such as rmse or mae, not {metric}.")


def baseline_rows(table: pl.DataFrame, model: str, selection: str) -> pl.DataFrame:
    """The baseline's rows of a table, whether of scores or of summaries."""
    named = table.filter(pl.col("model") == model)
    rows = named.filter(pl.col("selection") == selection)
    if rows.is_empty() and named.height and named["selection"].null_count() == named.height:
        rows = named  # a bare table does not say how it was selected
    if rows.is_empty():
        known = table.select(pl.format("{} ({})", "model", pl.col("selection").fill_null("-"))).to_series().unique()
        near = "" if named.height else did_you_mean(model, table["model"].drop_nulls().unique().sort())
        raise EvaluationError(
            f"The baseline {model} (selection {selection}) is not among the scores; there are "
            f"{examples(known.sort().drop_nulls(), limit=8) or 'unnamed models only'}."
            f"{near} Add its scores, or choose another baseline."
        )
    return rows


def _cell(cell: dict[str, str]) -> str:
    return f"{cell['scenario']}/{cell['scale']}"


def _overall(cells: pl.DataFrame) -> pl.DataFrame:
    has = pl.col("skill").is_not_null()
    place = pl.struct("scenario", "scale")
    # Where the baseline is exactly 0 nobody has a skill: such a cell is left out for all, and told.
    flat = cells.filter(pl.col("baseline") <= 0)
    left_out = {
        target: [_cell(one) for one in found]
        for target, found in flat.group_by("target").agg(place.unique(maintain_order=True)).iter_rows()
    }
    kept = cells.filter((pl.col("baseline") > 0) | pl.col("baseline").is_null())
    wanted = kept.group_by("target").agg(place.unique(maintain_order=True).alias("wanted"))
    runs = cells.group_by("target", "model", "selection", maintain_order=True).agg(
        pl.col("skill").mean().alias("mean"),
        has.sum().cast(pl.Int64).alias("n_cells"),
        pl.struct("scenario", "scale").filter(has).alias("held"),
        pl.struct("scenario", "scale").filter(~has & pl.col("value").is_not_null()).alias("undefined"),
    )
    rows = []
    for row in runs.join(wanted, on="target", how="left", nulls_equal=True).iter_rows(named=True):
        row["wanted"] = row["wanted"] or []
        missing = [one for one in row["wanted"] if one not in row["held"]]
        undefined = [_cell(one) for one in missing if one in row["undefined"]]
        lacking = [_cell(one) for one in missing if one not in row["undefined"]]
        reasons = [f"{len(lacking)} of {len(row['wanted'])} cells missing: {examples(lacking)}"] if lacking else []
        if undefined:
            reasons.append(f"no skill where the baseline's error is undefined: {examples(undefined)}")
        if zero := left_out.get(row["target"]):
            counted = f"{len(row['wanted'])} of {len(row['wanted']) + len(zero)} cells"
            reasons.append(f"over {counted}: the baseline's error is 0 in {examples(zero)}")
        note = "; ".join(reasons) or None
        score = None if missing or not row["held"] else row["mean"]
        rows.append((row["target"], row["model"], row["selection"], score, row["n_cells"], note))
    kinds = {
        "target": pl.String,
        "model": pl.String,
        "selection": pl.String,
        "skill_score": pl.Float64,
        "n_cells": pl.Int64,
        "note": pl.String,
    }
    frame = pl.DataFrame(rows, schema=kinds, orient="row")
    return frame.sort(
        "target", "skill_score", "model", "selection", descending=[False, True, False, False], nulls_last=True
    )


def pivot(
    scores: Scores | pl.DataFrame,
    *,
    target: str | None = None,
    baseline: str | None = "lr",
    baseline_selection: str = "mean",
    summary: str = "median",
    scales: Sequence[str] | None = BOARD_SCALES,
    metric: str = "rmse",
    columns: Columns = "own",
) -> pl.DataFrame:
    """The published layout: one row per model and selection, one column per ``{scenario}/{scale}``.

    Parameters
    ----------
    target : str, optional
        Needed where the scores hold several.
    baseline : str, optional
        Model of the skill score; None leaves the column ``skill_score`` out.
    columns : {"own", "published"}
        ``published`` heads the columns with the published scenario ids and ``val_strategy``.

    Returns
    -------
    polars.DataFrame
        ``model, selection, skill_score``, the cells in the board's order, and ``note`` where a model lacks a cell. Best
        skill first.
    """
    known = as_scores(scores)
    table = known.frame
    targets = table["target"].unique().to_list()
    if target is not None:
        if target not in targets:
            raise EvaluationError(
                f"There are no scores of '{target}'.{did_you_mean(target, [str(one) for one in targets])} The scores "
                f"hold {examples(targets, limit=6)}."
            )
        table = table.filter(pl.col("target") == target)
    elif len(targets) > 1:
        raise EvaluationError(f"The scores hold several targets ({examples(targets, limit=6)}). Name one.")
    chosen = Scores(table, known.meta)
    values = summarise(chosen, summary=summary, scales=scales, metric=metric)
    names = {"selection": "val_strategy"} if columns == "published" else {}
    scenario = pl.col("scenario").fill_null("unnamed")
    shown = scenario.replace(PUBLISHED_SCENARIO) if columns == "published" else scenario
    values = values.with_columns(pl.format("{}/{}", shown, "scale").alias("cell"))
    wide = values.pivot("cell", index=["model", "selection"], values="value", maintain_order=True)
    if baseline is None:
        return wide.rename(names)
    seeds = values.group_by("model", "selection").agg(pl.col("n_seeds").max())
    found = skill(
        chosen, baseline=baseline, baseline_selection=baseline_selection, summary=summary, scales=scales, metric=metric
    ).overall
    cells = [name for name in wide.columns if name not in ("model", "selection")]
    joined = found.join(wide, on=["model", "selection"], how="left", nulls_equal=True, maintain_order="left")
    joined = joined.join(seeds, on=["model", "selection"], how="left", nulls_equal=True, maintain_order="left")
    told = pl.when(pl.col("n_seeds") > 1).then(pl.format("mean of {} seeds", "n_seeds"))
    joined = joined.with_columns(
        pl.concat_str(told, "note", separator="; ", ignore_nulls=True).replace("", None).alias("note")
    )
    note = ["note"] if joined["note"].null_count() < joined.height else []
    return joined.select("model", "selection", "skill_score", *cells, *note).rename(names)


def pivot_intervals(
    scores: Scores | pl.DataFrame,
    wide: pl.DataFrame,
    *,
    target: str | None = None,
    baseline: str | None = "lr",
    baseline_selection: str = "mean",
    summary: str = "median",
    scales: Sequence[str] | None = BOARD_SCALES,
    metric: str = "rmse",
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lower and upper ends for every number of a pivot, as two tables of its shape; null where there is no bound.

    Cells as in :func:`~fluxtrapolation.evaluation.intervals`, skill scores as in
    :func:`~fluxtrapolation.evaluation.rank`.

    Parameters
    ----------
    wide : polars.DataFrame
        From :func:`pivot` with the same arguments and ``columns="own"``.
    level : float
    draws, seed : int

    Raises
    ------
    EvaluationError
        As :func:`pivot`.
    """
    from fluxtrapolation.evaluation.certainty.intervals import intervals
    from fluxtrapolation.evaluation.certainty.rank import skill_ends

    known = as_scores(scores)
    part = known if target is None else Scores(known.frame.filter(pl.col("target") == target), known.meta)
    named = intervals(
        part, summary=summary, scales=scales, metric=metric, level=level, draws=draws, seed=seed
    ).with_columns(pl.format("{}/{}", pl.col("scenario").fill_null("unnamed"), "scale").alias("cell"))
    ends = {end: named.pivot("cell", index=["model", "selection"], values=end) for end in ("low", "high")}
    if baseline is not None and wide["skill_score"].count() > 1:
        skills = skill_ends(
            part,
            summary=summary,
            baseline=baseline,
            baseline_selection=baseline_selection,
            scales=scales,
            metric=metric,
            level=level,
            seed=seed,
        )
        for end, table in ends.items():
            score = skills.select("model", "selection", pl.col(end).alias("skill_score"))
            ends[end] = table.join(score, on=["model", "selection"], how="left", nulls_equal=True)
    found = []
    for table in ends.values():
        held = wide.select("model", "selection").join(
            table, on=["model", "selection"], how="left", nulls_equal=True, maintain_order="left"
        )
        columns = [
            pl.col(name) if name in held.columns else pl.lit(None, pl.Float64).alias(name) for name in wide.columns
        ]
        found.append(held.select(columns))
    return found[0], found[1]


__all__ = ["RUN", "Skill", "get_summary", "pivot", "pivot_intervals", "skill", "summarise"]
