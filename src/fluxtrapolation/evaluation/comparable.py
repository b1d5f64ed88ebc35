"""Which scores may stand in one table: refuses what would compare errors of different test sets, or one run twice."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from fluxtrapolation.errors import EvaluationError, FluxtrapolationWarning, examples
from fluxtrapolation.evaluation.published import SITE_YEAR
from fluxtrapolation.schema import SCALES

RUN: Final = ("target", "scenario", "model", "selection")
"""Columns that say which run a row belongs to."""
HASHES: Final = ("scenario_hash", "store_hash")
"""Columns that say which test set a row was scored on; null where the predictions did not say."""
DISTINGUISHING: Final = ("profile", "max_rows", "seed", *HASHES)
"""Columns in which runs of one name may differ."""
_SHORT: Final = 8
_ADVICE: Final = {
    "scenario_hash": (
        "stands for {n} different scenarios",
        "Rename one of the scenarios (the 'name' in its file) and train again, or use one scenario file for all models",
    ),
    "store_hash": (
        "was predicted on {n} different stores",
        "Train or predict all models on the same store and evaluate those predictions",
    ),
}


def telling_apart(table: pl.DataFrame) -> list[str]:
    """Columns beside target, scenario, model and selection in which runs of one such name differ."""
    if table.is_empty():
        return []
    kinds = table.group_by(RUN).agg(pl.col(DISTINGUISHING).n_unique())
    return [name for name in DISTINGUISHING if kinds.filter(pl.col(name) > 1).height]


def need_one_test_set(table: pl.DataFrame, runs: Sequence[Mapping[str, Any]] = (), *, by: Iterable[str] = ()) -> None:
    """Refuse one (target, scenario) that stands for several scenarios or stores.

    Parameters
    ----------
    table : polars.DataFrame
        Table of scores.
    runs : sequence of mapping
        What the scores' ``meta`` knows of every run, to name files.
    by : iterable of str
        Columns that tell runs apart anyway; a hash named here may differ.

    Raises
    ------
    EvaluationError
        With the models (and files) behind every hash.
    """
    for name in HASHES:
        if name in by:
            continue
        kinds = table.filter(pl.col(name).is_not_null()).group_by("target", "scenario").agg(pl.col(name).unique())
        kinds = kinds.filter(pl.col(name).list.len() > 1).sort("target", "scenario")
        if kinds.is_empty():
            continue
        target, scenario, hashes = kinds.row(0)
        here = table.filter(pl.col("target").eq_missing(target), pl.col("scenario").eq_missing(scenario))
        wanted = {"target": target, "scenario": scenario}
        listed = [
            f"{_shown(name, one)} ({_models(here.filter(pl.col(name) == one))}{_from(runs, **wanted, **{name: one})})"
            for one in sorted(hashes)
        ]
        what, advice = _ADVICE[name]
        raise EvaluationError(
            f"{_label(target, scenario)} {what.format(n=len(hashes))}: {examples(listed, limit=4)}. Errors on "
            f"different test sets must not share a table. {advice}, or keep the tables apart."
        )


def need_one_run(table: pl.DataFrame, keys: Sequence[str], runs: Sequence[Mapping[str, Any]] = ()) -> None:
    """Refuse domains that are there twice under the same keys, saying in what the runs differ or which files repeat.

    Raises
    ------
    EvaluationError
    """
    repeated = table.group_by([*keys, "domain"]).len().filter(pl.col("len") > 1)
    if repeated.is_empty():
        return
    row = repeated.sort(*keys, "domain").row(0, named=True)
    here = table.filter(pl.col(name).eq_missing(row[name]) for name in (*keys, "domain"))
    which = {name: here[name].unique().sort().to_list() for name in DISTINGUISHING}
    several = [_kinds(name, values) for name, values in which.items() if len(values) > 1]
    files = _files(runs, **{name: row[name] for name in RUN})
    raise EvaluationError(
        f"{repeated.height} domains are in the scores more than once, such as {row['domain']} at scale {row['scale']} "
        f"for {_label(*(row[name] for name in RUN))}"
        + (f" (there are {'; '.join(several)}). Keep one; in Python, by= takes the column apart." if several else ".")
        + (f" They come from {examples(_counted(files), limit=4)}." if len(files) > 1 else "")
        + (" Give each file once." if not several else "")
    )


def need_same_domains(table: pl.DataFrame, baseline: pl.DataFrame, *, called: str = "the baseline") -> None:
    """Refuse a model whose domains are not the baseline's, at the finest scale both have.

    Rows without hashes do not say which test set they are of; the domains still show it.

    Parameters
    ----------
    table, baseline : polars.DataFrame
        Tables of scores: of all models, and of the baseline alone.
    called : str
        What messages call the baseline.

    Raises
    ------
    EvaluationError
        With the numbers of domains and examples of those that only one of the two has.

    Warns
    -----
    FluxtrapolationWarning
        When the domains are the same, but some hold another number of hours: both are then scored, but not on the same.
    """
    theirs: dict[tuple[Any, ...], dict[str, dict[str, int]]] = {}
    for (target, scenario, *_), scales in _domains(baseline):
        theirs.setdefault((target, scenario), scales)  # of several seeds the first
    for (target, scenario, model, selection, *_), scales in _domains(table):
        base = theirs.get((target, scenario), {})
        scale = next((one for one in SCALES if one in scales and one in base), None)
        if scale is None:
            continue
        if scales[scale].keys() == base[scale].keys():
            who = f"{_label(target, scenario)}: {_label(model, selection)} and {called}"
            _warn_of_other_hours(who, scale, scales[scale], base[scale])
            continue
        lacks = sorted(base[scale].keys() - scales[scale].keys())
        extra = sorted(scales[scale].keys() - base[scale].keys())
        parts = [f"{len(lacks)} only {called} has ({examples(lacks)})"] if lacks else []
        parts += [f"{len(extra)} only {model} has ({examples(extra)})"] if extra else []
        raise EvaluationError(
            f"{_label(target, scenario)}: {_label(model, selection)} has {len(scales[scale])} domains at scale "
            f"{scale}, {called} {len(base[scale])}: {'; '.join(parts)}. Skill compares errors on the same domains. "
            "Evaluate both on the same test set (a bare table by --domain site or site-year, as the scenario has it), "
            "or give the scenarios different names."
        )


def need_one_published_run(table: pl.DataFrame) -> None:
    """Refuse runs that the published columns cannot tell apart: they hold no selection, profile, seed or hash.

    Raises
    ------
    EvaluationError
    """
    names = ("target", "scenario", "model")
    kinds = table.group_by(names).agg(pl.col("selection", *DISTINGUISHING).unique().sort()).sort(names)
    for row in kinds.iter_rows(named=True):
        several = {name: row[name] for name in ("selection", *DISTINGUISHING) if len(row[name]) > 1}
        if not several:
            continue
        listed = "; ".join(_kinds(name, values) for name, values in several.items())
        fix = f"Write one file per {next(iter(several))}"
        if "selection" in several:
            first = next(one for one in ("mean", *several["selection"]) if one in several["selection"] and one)
            fix += f": --selection {first} (in Python scores.where(selection='{first}'))"
        raise EvaluationError(
            f"{_label(*(row[name] for name in names))} has several runs ({listed}), whose rows the published columns "
            f"cannot tell apart. {fix}."
        )
    need_one_run(table, [*RUN, "scale"])


def _warn_of_other_hours(who: str, scale: str, mine: dict[str, int], base: dict[str, int]) -> None:
    other = sorted(domain for domain, number in mine.items() if number != base[domain])
    if not other:
        return
    warnings.warn(
        f"{who} were not scored on the same entries at scale {scale} in {len(other)} of {len(mine)} "
        f"domains, such as {other[0]}: {mine[other[0]]:,} against {base[other[0]]:,}. Hours without a prediction were "
        "left out, or the tables are of different test sets; their errors are compared all the same.",
        FluxtrapolationWarning,
        stacklevel=4,
    )


def _domains(table: pl.DataFrame) -> list[tuple[tuple[Any, ...], dict[str, dict[str, int]]]]:
    """Per run and seed the domains of every scale with their number of entries, site-years under one spelling."""
    keys = [*RUN, *(["seed"] if "seed" in table.columns else [])]
    domain = pl.col("domain")
    site, year = domain.str.extract(SITE_YEAR, 1), domain.str.extract(SITE_YEAR, 2)
    found: dict[tuple[Any, ...], dict[str, dict[str, int]]] = {}
    named = table.select(
        *keys, "scale", pl.coalesce(pl.format("{} {}", site, year), domain).alias("domain"), "n_samples"
    )
    grouped = named.group_by(*keys, "scale", maintain_order=True).agg("domain", "n_samples")
    for *key, scale, domains, numbers in grouped.iter_rows():
        found.setdefault(tuple(key), {})[scale] = dict(zip(domains, numbers, strict=True))
    return list(found.items())


def _label(*names: str | None) -> str:
    return " ".join(name for name in names if name) or "What has no name"


def _shown(name: str, value: object) -> str:
    if value is None:
        return "-"
    return str(value)[:_SHORT] if name in HASHES else str(value)


def _kinds(name: str, values: Iterable[object]) -> str:
    return f"{name} {examples(_shown(name, value) for value in values)}"


def _models(table: pl.DataFrame) -> str:
    return examples(table["model"].unique().sort().fill_null("unnamed"))


def _files(runs: Sequence[Mapping[str, Any]], **wanted: str | None) -> list[str]:
    """Where the runs with the wanted names come from, as far as it is known: one entry per run."""
    found = []
    for run in runs:
        if all((run.get(name) or None) == value for name, value in wanted.items()):
            file, where = str(run.get("file") or ""), str(run.get("where") or "")
            where = where if Path(where).suffix else ""  # a table without a file is called "The table"
            if file and where and not file.endswith(where):
                found.append(f"{file} ({where})")
            elif file or where:
                found.append(file or where)
    return found


def _counted(files: Sequence[str]) -> list[str]:
    times = {file: files.count(file) for file in files}
    return [file if n == 1 else f"{file} ({n} times)" for file, n in times.items()]


def _from(runs: Sequence[Mapping[str, Any]], **wanted: str | None) -> str:
    files = _counted(_files(runs, **wanted))
    return f", from {examples(files)}" if files else ""
