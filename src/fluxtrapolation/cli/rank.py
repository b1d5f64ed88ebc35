"""``fluxtrapolation rank`` and ``compare``: which models lead, and which the held-out sites cannot tell apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxtrapolation.cli.console import emit_json, emit_path, emit_table, say
from fluxtrapolation.cli.options import JsonFlag, ScalesOption, ScenariosOption, chosen, chosen_scales, outside_stores
from fluxtrapolation.errors import EvaluationError, examples

if TYPE_CHECKING:
    import polars as pl

SummaryOption = Annotated[str, typer.Option("--summary", help="median, q90, mean or cvar10 over domains.")]
MetricOption = Annotated[str, typer.Option("--metric", help="Metric in the cells.")]
LevelOption = Annotated[float, typer.Option("--level", help="Nominal level of all intervals.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of the draws of sites.")]


def rank(
    scores: Annotated[
        list[Path],
        typer.Argument(help="Scores (.parquet, .csv), published metric files, or folders.", show_default=False),
    ],
    target: Annotated[str | None, typer.Option("--target", help="GPP, NEE or ET. Default: each of them.")] = None,
    summary: SummaryOption = "median",
    baseline: Annotated[str, typer.Option("--baseline", help="Model of skill 0.")] = "lr",
    metric: MetricOption = "rmse",
    scales: ScalesOption = None,
    scenarios: ScenariosOption = None,
    level: LevelOption = 0.95,
    draws: Annotated[
        int | None, typer.Option("--draws", help="Draws of sites. Default: 1000, more for many models.")
    ] = None,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Also write the table: .csv, .md, .tex or .html.", show_default=False, callback=outside_stores
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Rank models by skill score, with intervals for scores and ranks, and the group tied with the best.

    Sites are drawn with replacement, the same for all models. Pairs of models are compared with Holm's correction; the
    rank interval counts who is significantly better and worse. Several training seeds of a model are averaged, their
    spread stands beside.
    """
    from fluxtrapolation.evaluation import Scores, write_table
    from fluxtrapolation.evaluation import rank as rank_models

    _check_out(out)
    found = rank_models(
        chosen(Scores.read(*scores), scenarios),
        scales=chosen_scales(scales),
        target=target,
        summary=summary,
        baseline=baseline,
        metric=metric,
        level=level,
        draws=draws,
        seed=seed,
    )
    _caution(found.how)
    path = None
    if out is not None:
        caption = f"Skill score ({summary} of {metric}) against {baseline}, {100 * level:g} % intervals over sites"
        path = write_table(found.table, out, caption=caption)
    if json:
        written = {} if path is None else {"path": str(path)}
        emit_json({**written, **found.how, "ranking": found.table.to_dicts(), "pairs": found.pairs.to_dicts()})
        return
    for (name,), part in found.table.group_by("target", maintain_order=True):
        _show_ranking(str(name or "all"), part, summary, baseline, level)
    if path is not None:
        emit_path(path)


def compare(
    scores_a: Annotated[Path, typer.Argument(help="Scores of model A: file or folder.", show_default=False)],
    scores_b: Annotated[Path, typer.Argument(help="Scores of model B: file or folder.", show_default=False)],
    model_a: Annotated[str | None, typer.Option("--model-a", help="Which model of A, where it holds several.")] = None,
    model_b: Annotated[str | None, typer.Option("--model-b", help="Which model of B, where it holds several.")] = None,
    selection: Annotated[
        str | None, typer.Option("--selection", help="Which selection: mean, max or discrepancy.")
    ] = None,
    summary: SummaryOption = "median",
    metric: MetricOption = "rmse",
    scales: ScalesOption = None,
    scenarios: ScenariosOption = None,
    level: LevelOption = 0.95,
    draws: Annotated[int, typer.Option("--draws", help="Draws of sites.")] = 4000,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Also write the cells: .csv, .md, .tex or .html.", show_default=False, callback=outside_stores
        ),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Compare two models on the same held-out sites: by how much is A better, and could other sites say the opposite?

    Exit code 0 whatever the verdict.
    """
    from fluxtrapolation.evaluation import Scores, write_table
    from fluxtrapolation.evaluation import compare as compare_models

    _check_out(out)
    found = compare_models(
        chosen(Scores.read(scores_a), scenarios),
        chosen(Scores.read(scores_b), scenarios),
        scales=chosen_scales(scales),
        model_a=model_a,
        model_b=model_b,
        selection=selection,
        summary=summary,
        metric=metric,
        level=level,
        draws=draws,
        seed=seed,
    )
    _caution(found.how)
    path = None
    if out is not None:
        path = write_table(found.cells, out, caption=f"{found.a} (a) against {found.b} (b): {summary} of {metric}")
    if json:
        written = {} if path is None else {"path": str(path)}
        names = {"a": found.a, "b": found.b}
        emit_json(
            {**written, **names, **found.how, "overall": found.overall.to_dicts(), "cells": found.cells.to_dicts()}
        )
        return
    for (name,), part in found.cells.group_by("target", maintain_order=True):
        _show_cells(str(name or "all"), part, found.a, found.b, f"{summary} {metric}")
    for row in found.overall.iter_rows(named=True):
        say(row["verdict"])
        if row["note"]:
            say(f"note: {row['target'] or ''} {row['note']}")
    if path is not None:
        emit_path(path)


def _caution(how: dict[str, Any]) -> None:
    if "caution" in how:
        say(f"note: {how['caution']}")


def _check_out(out: Path | None) -> None:
    from fluxtrapolation.evaluation.tables import SUFFIXES

    if out is not None and out.suffix.lower() not in SUFFIXES:
        raise EvaluationError(f"--out {out} must end in one of {', '.join(SUFFIXES)}.")


def _show_ranking(target: str, table: pl.DataFrame, summary: str, baseline: str, level: float) -> None:
    seeds = table["n_seeds"].fill_null(1).max() != 1
    columns = ["rank", "model", "skill", f"{100 * level:g} % interval", "rank interval", "tied with best", "P(best)"]
    rows: list[list[Any]] = []
    for row in table.iter_rows(named=True):
        name = (row["model"] or "unnamed") + (f" ({row['selection']})" if row["selection"] else "")
        if row["rank"] is None:
            rows.append([None, name, None, None, None, None, None, *([None] if seeds else [])])
            continue
        ranks = f"{row['rank_low']}" + (f" to {row['rank_high']}" if row["rank_high"] != row["rank_low"] else "")
        rows.append(
            [
                row["rank"],
                name,
                _fixed(row["skill_score"]),
                _interval(row["low"], row["high"]),
                ranks,
                "yes" if row["tied_with_best"] else "",
                None if row["p_best"] is None else f"{row['p_best']:.2f}",
                *([f"{row['n_seeds']}, sd {_fixed(row['seed_sd'])}"] if seeds else []),
            ]
        )
    title = f"{target}: skill against {baseline} ({summary} over domains)"
    emit_table([*columns, *(["seeds"] if seeds else [])], rows, title=title)
    notes: dict[str, list[str]] = {}
    for row in table.filter(table["note"].is_not_null()).iter_rows(named=True):
        notes.setdefault(row["note"], []).append(row["model"] or "unnamed")
    for note, models in notes.items():
        say(f"note: {target}: {'' if len(models) == table.height else examples(models) + ': '}{note}")


def _show_cells(target: str, cells: pl.DataFrame, a: str, b: str, what: str) -> None:
    from fluxtrapolation.evaluation.tables import significant

    rows = []
    for row in cells.iter_rows(named=True):
        reduction = None if row["reduction"] is None else f"{row['reduction']:+.1%}"
        ends = (
            "" if row["low"] is None or row["high"] is None else f"{row['low']:+.1%} to {row['high']:+.1%}"
        ) or _interval(row["difference_low"], row["difference_high"])
        rows.append(
            [
                f"{row['scenario'] or 'unnamed'}/{row['scale']}",
                significant(row["value_a"]),
                significant(row["value_b"]),
                reduction if reduction is not None else significant(row["difference"]),
                ends,
                None if row["p_value"] is None else f"{row['p_value']:.3f}",
                None if row["p_holm"] is None else f"{row['p_holm']:.3f}",
                None if row["wins"] is None else f"{row['wins']:.0%}",
                row["n_sites"],
            ]
        )
    error = cells["reduction"].count() > 0
    columns = ["cell", a, b, "A smaller by" if error else "A - B", "interval", "p", "p (Holm)", "A wins at", "sites"]
    emit_table(columns, rows, title=f"{target}: {what}, A = {a}, B = {b}")


def _fixed(value: float | None) -> str | None:
    return None if value is None else f"{value + 0.0:.3f}".replace("-0.000", "0.000")


def _interval(low: float | None, high: float | None) -> str | None:
    if low is None and high is None:
        return None
    return f"{_fixed(low) or '–'} to {_fixed(high) or '–'}"
