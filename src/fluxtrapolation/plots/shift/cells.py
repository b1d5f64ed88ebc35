"""Tables of the page: a caption, headings, and rows of cells as they are written."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import polars as pl

from fluxtrapolation.plots import labels
from fluxtrapolation.plots.shift.common import MARGINALS, SPLITS, checked, split_of
from fluxtrapolation.plots.shift.conditional import CONDITIONAL_COLUMNS, FITS

MOST_ROWS: Final = 20
"""Towers listed in a table of towers."""

_CLASSIFIER: Final = (
    ("auc", "AUC"),
    ("balanced_accuracy", "Balanced accuracy"),
    ("brier", "Brier score"),
    ("calibration_error", "Calibration error"),
)


@dataclass(frozen=True, slots=True)
class Grid:
    """A table of the page. The first cell of a row is its head; ``texts`` are the columns that hold words.

    ``feet`` are sentences below it.
    """

    caption: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    texts: frozenset[int] = frozenset({0})
    name: str = ""
    feet: tuple[str, ...] = ()


Format = Callable[[Any], str]


def plain(value: Any) -> str:
    """A text as it is; a dash for None."""
    return labels.DASH if value is None or value == "" else str(value).replace("_", " ")


def name(value: Any) -> str:
    """A name as it is spelled."""
    return labels.DASH if value is None else str(value)


def number(value: Any) -> str:
    """About three significant digits."""
    return labels.significant(_float(value))


def whole(value: Any) -> str:
    """A count with thin spaces."""
    found = _float(value)
    return labels.DASH if found is None else labels.count(round(found))


def share(value: Any, decimals: int = 1) -> str:
    """A share in per cent."""
    found = _float(value)
    return labels.DASH if found is None else f"{labels.number(100 * found, decimals)}\u202f%"


def change(value: Any, decimals: int = 1) -> str:
    """A relative change in per cent, with its sign."""
    found = _float(value)
    text = share(found, decimals)
    return f"+{text}" if found is not None and found > 0 and not text.startswith(("0\u202f", "0.0\u202f")) else text


def chance(value: Any) -> str:
    """A p-value."""
    found = _float(value)
    if found is None:
        return labels.DASH
    return "< 0.001" if found < 0.001 else labels.number(found, 3)


def spread(value: Any, sd: Any, decimals: int = 3) -> str:
    """``0.861 ± 0.023``."""
    mean, wide = _float(value), _float(sd)
    if mean is None:
        return labels.DASH
    text = labels.number(mean, decimals)
    return text if wide is None else f"{text}\u00a0±\u00a0{labels.number(wide, decimals)}"


def _float(value: Any) -> float | None:
    if value is None or isinstance(value, str):
        return None
    found = float(value)
    return found if math.isfinite(found) else None


Column = tuple[str, str, Format]
"""Column of the table, its heading, how a value is written."""


def grid(table: pl.DataFrame, columns: Sequence[Column], caption: str, *, name: str) -> Grid:
    """The columns of a table that it has, as cells."""
    # A column of remarks without any is left out.
    held = [
        column
        for column in columns
        if column[0] in table.columns and (column[0] != "note" or table["note"].null_count() < table.height)
    ]
    rows = tuple(tuple(write(row[key]) for key, _, write in held) for row in table.iter_rows(named=True))
    texts = frozenset(place for place, (_, _, write) in enumerate(held) if write in (plain, _NAME)) | {0}
    return Grid(caption, tuple(head for _, head, _ in held), rows, texts, name)


_NAME: Final = name
_FOOT_FROM: Final = 24
"""Letters of a remark from which it is said below the table if several rows share it."""


def with_feet(table: Grid) -> Grid:
    """Remarks of the last column in words; one that several rows share is said once, below the table.

    Where all rows share it the column is left out, else they have a number in its place.
    """
    last = len(table.heads) - 1
    if last not in table.texts or last == 0 or not table.rows:
        return table
    remarks = [spelled(row[-1]) for row in table.rows]
    shared = [text for text, n in Counter(remarks).items() if n > 1 and len(text) > _FOOT_FROM]
    if shared and len(set(remarks)) == 1:
        rows = tuple(row[:-1] for row in table.rows)
        feet = (f"{table.heads[-1]}, all lines: {shared[0]}.",)
        return replace(table, heads=table.heads[:-1], rows=rows, texts=table.texts - {last}, feet=feet)
    number = {text: f"note {place}" for place, text in enumerate(shared, start=1)}
    rows = tuple((*row[:-1], number.get(text, text)) for row, text in zip(table.rows, remarks, strict=True))
    return replace(table, rows=rows, feet=tuple(f"{word.capitalize()}: {text}." for text, word in number.items()))


def spelled(remark: str) -> str:
    """A remark with the keys of the measures (``by_site``) as words."""
    return re.sub(r"\bby_(row|site)\b", r"the split by \1", remark)


def classifier_grid(covariate: Mapping[str, Any]) -> Grid:
    """The domain classifier, by row and by site; a line without numbers says why."""
    shown = [key for key, _ in _CLASSIFIER if any(key in covariate.get(f"by_{split}", {}) for split in SPLITS)]
    rows = []
    for split in SPLITS:
        found: Mapping[str, Any] = covariate.get(f"by_{split}") or {}
        values = [spread(found.get(key), found.get(f"{key}_sd")) for key in shown]
        reason = found.get("reason") or found.get("p_note") or ("" if found else "not measured")
        rows.append((f"by {split}", *values, chance(found.get("p_value")), name(reason or None)))
    heads = (
        "Split",
        *(head for key, head in _CLASSIFIER if key in shown),
        "p-value",
        "Unit of chance, or why there is none",
    )
    repeats = (covariate.get("by_row") or {}).get("repeats")
    words = f"mean ± standard deviation over {repeats} repeats" if repeats else "mean ± standard deviation over repeats"
    return Grid(f"Domain classifier: {words}", heads, tuple(rows), frozenset({0, len(heads) - 1}), "classifier")


def distance_grid(table: pl.DataFrame) -> Grid:
    """Distances that need no classifier."""
    columns: tuple[Column, ...] = (
        ("measure", "Measure", plain),
        ("value", "Distance", number),
        ("exchanged", "With labels exchanged", number),
        ("p_value", "p-value", chance),
        ("unit", "Unit of chance", plain),
        ("note", "Note", _NAME),
    )
    return grid(
        checked(table, ("measure", "value"), "distances"),
        columns,
        "Distances that need no classifier",
        name="distances",
    )


def univariate_grid(table: pl.DataFrame) -> Grid:
    """Covariate by covariate."""
    columns: tuple[Column, ...] = (
        ("covariate", "Covariate", _NAME),
        ("unit", "Unit", lambda unit: (labels.pretty_unit(unit) or "1") if unit else labels.DASH),
        ("train_mean", "Mean of train", number),
        ("test_mean", "Mean of test", number),
        ("train_sd", "SD of train", number),
        ("test_sd", "SD of test", number),
        ("smd", "Difference in SD", number),
        ("ks", "KS", number),
        ("wasserstein", "Wasserstein", number),
        ("outside", "Test outside train", share),
        ("note", "Note", _NAME),
    )
    return grid(
        checked(table, ("covariate",), "univariate"), columns, "Each covariate by itself, over rows", name="univariate"
    )


def conditional_frame(conditional: Mapping[str, Any], table: pl.DataFrame | None) -> pl.DataFrame:
    """The table of conditional shift, or the same made of the numbers of the dictionary."""
    if table is not None:
        return checked(table, CONDITIONAL_COLUMNS, "conditional")
    rows = []
    for split in SPLITS:
        tree = conditional if split == "row" else conditional.get("by_site") or {}
        for fit_on in FITS:
            for marginal in MARGINALS:
                cell = (tree.get(f"fit_on_{fit_on}") or {}).get(marginal)
                if cell is not None:
                    # The sd of the increase is called sd in the table.
                    sd = cell.get("rmse_increase_sd", cell.get("sd"))
                    rows.append({"split": split, "fit_on": fit_on, "marginal": marginal, **cell, "sd": sd})
    return pl.DataFrame(rows, infer_schema_length=None)


def conditional_grid(table: pl.DataFrame) -> Grid:
    """RMSE increase of every split, fit and marginal, with what it rests on or why it is missing."""
    effective = [key for key in ("ess_train", "ess_test") if key in table.columns]
    kept = [key for key in ("kept_train", "kept_test") if key in table.columns]
    pooled = ["pooled"] if "pooled" in table.columns and table["pooled"].null_count() < table.height else []
    heads = ["Split", "Fit on", "Covariates of", "RMSE increase", *("Pooled by tower" for _ in pooled)]
    heads += ["95 % interval", "p-value"]
    heads += [f"Effective rows, {key.removeprefix('ess_')}" for key in effective]
    heads += [f"In common support, {key.removeprefix('kept_')}" for key in kept]
    rows = []
    for row in table.iter_rows(named=True):
        value, sd = _float(row["rmse_increase"]), _float(row.get("sd"))
        told = change(value) if sd is None else f"{change(value)} ± {share(sd)}"
        reason = row.get("reason") or (row.get("p_note") if row.get("p_value") is None else None)
        if value is None:
            told, reason = "cannot be estimated", reason or "no reason given"
        rows.append(
            (
                f"by {split_of(str(row['split']))}",
                str(row["fit_on"]),
                str(row["marginal"]),
                told,
                *(change(row[key]) for key in pooled),
                between(row.get("low"), row.get("high")),
                chance(row.get("p_value")),
                *(whole(row[key]) for key in effective),
                *(share(row[key], 0) for key in kept),
                name(reason),
            )
        )
    heads.append("Note")
    caption = "RMSE increase at equal covariates: mean ± standard deviation over repeats"
    return Grid(caption, tuple(heads), tuple(rows), frozenset({0, 1, 2, len(heads) - 1}), "conditional")


def between(low: Any, high: Any) -> str:
    """An interval of relative changes in per cent."""
    left, right = (None if end is None else 100 * end for end in (_float(low), _float(high)))
    text = labels.interval(left, right, 1)
    return f"{text}\u202f%" if text else labels.DASH


def decomposition_grid(table: pl.DataFrame) -> Grid:
    """What the error of the test is made of."""
    columns: tuple[Column, ...] = (
        ("part", "Part", _NAME),
        ("model", "Model", _NAME),
        ("weights", "Counting alike", lambda word: {"row": "rows", "site": "towers"}.get(word, name(word))),
        ("mse", "Mean squared error", number),
        ("offset_share", "Offset of towers", share),
        ("common_share", "common to all", share),
        ("between_share", "between towers", share),
        ("slope_share", "Slope of towers", share),
        ("rest_share", "Rest", share),
        ("n_sites", "Towers", whole),
        ("n", "Rows", whole),
    )
    told = checked(table, ("mse",), "decomposition")
    return grid(
        told, columns, "What the test error is made of, as shares of the mean squared error", name="decomposition"
    )


def towers_grid(table: pl.DataFrame, columns: Sequence[Column], caption: str, *, by: str, name: str) -> Grid:
    """The towers at the top of a column; the caption says of how many."""
    table = checked(table, ("site_id", by), name, (by,)).drop_nulls(by)
    shown = table.sort(by, "site_id", descending=[True, False]).head(MOST_ROWS)
    words = f"{caption}: {shown.height} of {table.height} towers" if shown.height < table.height else caption
    return grid(shown, columns, words, name=name)


DECOMPOSED: Final[tuple[Column, ...]] = (
    ("site_id", "Tower", _NAME),
    ("mse", "Mean squared error", number),
    ("offset", "Offset", number),
    ("slope", "Slope", number),
    ("rest", "Rest", number),
    ("mean_error", "Mean error", number),
    ("n", "Rows", whole),
    ("note", "Note", _NAME),
)
OUTSIDE: Final[tuple[Column, ...]] = (
    ("site_id", "Tower", _NAME),
    ("index_median", "Median index", number),
    ("index_q90", "90th percentile", number),
    ("outside_share", "Hours outside", share),
    ("rmse", "RMSE", number),
    ("n", "Rows", whole),
)
SUMMARY_WORDS: Final = {
    "spearman": "rank correlation of a tower's median index with its RMSE",
    "auc_worst": "chance that a tower of the worst tenth has the larger index",
    "rmse_inside_median": "median RMSE over towers, hours inside the area",
    "rmse_inside_q90": "90th percentile of RMSE over towers, hours inside",
    "rmse_outside_median": "median RMSE over towers, hours outside",
    "rmse_outside_q90": "90th percentile of RMSE over towers, hours outside",
    "rmse_outside_minus_inside": "RMSE outside minus inside at the same tower, median",
    "rmse_outside_minus_inside_same_clock": "the same, at the same hour of day and month",
}


def summary_grid(rows: Iterable[Mapping[str, Any]]) -> Grid | None:
    """Does the index tell where a model errs: measures of ``Applicability.summary``."""
    told: tuple[tuple[str, ...], ...] = tuple(
        (
            name(row.get("model")),
            SUMMARY_WORDS.get(str(row.get("measure")), plain(row.get("measure"))),
            number(row.get("value")),
            labels.interval(_float(row.get("low")), _float(row.get("high")), 2) or labels.DASH,
            chance(row.get("p_value")),
            whole(row.get("n")),
            name(row.get("reason")),
        )
        for row in rows
    )
    heads: tuple[str, ...] = ("Model", "Measure", "Value", "90 % interval", "p-value", "Towers", "Note")
    if all(row[-1] == labels.DASH for row in told):
        told, heads = tuple(row[:-1] for row in told), heads[:-1]
    caption = "Does the index tell where a model errs? Unit of chance: tower"
    return Grid(caption, heads, told, frozenset({0, 1, 6}), "summary") if told else None


def nearest_grid(table: pl.DataFrame) -> Grid:
    """How far apart the distances of cross-validation and of what it stands for are."""
    columns: tuple[Column, ...] = (
        ("space", "Space", plain),
        ("cv", "Cross-validated", plain),
        ("against", "Against", plain),
        ("median_cv", "Median distance, cross-validated", number),
        ("median_against", "Median distance, other", number),
        ("w", "Distance between distributions", number),
        ("w_relative", "Relative to the mean", share),
        ("unit", "Unit", plain),
        ("reason", "Note", _NAME),
    )
    told = checked(table, ("space", "cv", "against", "w"), "nearest summary")
    if "reason" in told.columns and told["reason"].null_count() == told.height:
        told = told.drop("reason")
    caption = "Does cross-validation meet distances like those of the test? Descriptive, no p-value"
    return grid(told, columns, caption, name="nearest_summary")


def effective_grid(table: pl.DataFrame) -> Grid:
    """Median effective sample size over towers by series and scale."""
    told = checked(table, ("site_id", "series", "scale", "n", "n_effective"), "effective", ("n", "n_effective"))
    order = {scale: place for place, scale in enumerate(labels.ordered_scales(told["scale"].unique()))}
    found = (
        told.group_by("series", "scale", maintain_order=True)
        .agg(
            pl.col("site_id").n_unique().alias("towers"),
            pl.col("n").median(),
            pl.col("n_effective").median(),
            pl.col("n_effective").null_count().alias("without"),
            (pl.col("n_effective") / pl.col("n")).median().alias("share"),
        )
        .sort("series", pl.col("scale").replace_strict(order, return_dtype=pl.Int64), maintain_order=True)
    )
    columns: tuple[Column, ...] = (
        ("series", "Series", _NAME),
        ("scale", "Scale", plain),
        ("towers", "Towers", whole),
        ("n", "Values of a tower", whole),
        ("n_effective", "Worth so many independent ones", lambda n: whole(n) if (n or 0) >= 1000 else number(n)),
        ("share", "Share", share),
        ("without", "Towers without an estimate", whole),
    )
    return grid(found, columns, "Effective sample size, median over towers", name="effective")


def flat(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A nested mapping as pairs of name and text."""
    if isinstance(value, Mapping):
        return [pair for key, item in value.items() for pair in flat(item, f"{prefix} {key}".strip().replace("_", " "))]
    if isinstance(value, list | tuple):
        return [(prefix, ", ".join(str(item) for item in value) or labels.DASH)]
    if isinstance(value, int) and not isinstance(value, bool):
        return [(prefix, labels.count(value) if value >= 10_000 else str(value))]
    return [(prefix, name(value) if not isinstance(value, float) else f"{value:.6g}")]
