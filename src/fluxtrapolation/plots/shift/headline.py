"""What the measures of shift say, in sentences: each with its number, how sure it is, and what chance is counted in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from fluxtrapolation.plots import labels
from fluxtrapolation.plots.shift import cells
from fluxtrapolation.plots.shift.common import covariate_name
from fluxtrapolation.plots.shift.headline_covariates import SURE, of_covariates, p_words
from fluxtrapolation.plots.shift.importance import ranked_importance

NEED_RUN: Final = "Give a trained model (--run) and the page says where it extrapolates."


@dataclass(frozen=True, slots=True)
class Tile:
    """A number of the headline and what it is."""

    number: str
    words: str


@dataclass(frozen=True, slots=True)
class Headline:
    """The first things to know: tiles, then questions with their answers."""

    tiles: tuple[Tile, ...]
    answers: tuple[tuple[str, tuple[str, ...]], ...]


def headline(
    covariate: Mapping[str, Any],
    conditional: Mapping[str, Any],
    tables: Mapping[str, pl.DataFrame],
    *,
    target: str,
    threshold: float | None = None,
    applicability: Mapping[str, Any] | None = None,
) -> Headline:
    """Answers to: is P(X) shifted, where, is P(Y|X), where does the model extrapolate.

    Parameters
    ----------
    covariate, conditional : mapping
        ``CovariateShift.to_dict()`` and ``ConditionalShift.to_dict()``.
    tables : mapping of polars.DataFrame
        ``distances``, ``importance``, ``univariate`` and ``sites`` are read.
    target : str
    threshold : float, optional
        Index at which the area of applicability ends.
    applicability : mapping, optional
        ``Applicability.to_dict()``.
    """
    where, tile = _applicability(tables.get("sites"), threshold, applicability, target)
    main = conditional_cell(conditional)
    tiles = (
        _auc_tile(covariate.get("by_site") or {}, "by site"),
        _auc_tile(covariate.get("by_row") or {}, "by row"),
        _increase_tile(main),
        tile,
    )
    answers = (
        ("Are the covariates shifted, P(X)?", of_covariates(covariate, tables.get("distances"))),
        ("Which covariates?", _which(tables.get("importance"), tables.get("univariate"))),
        (f"Does {target} answer differently to the same covariates, P(Y|X)?", _conditional(conditional, main)),
        ("Where does the model extrapolate?", where),
    )
    return Headline(tuple(one for one in tiles if one is not None), answers)


def conditional_cell(conditional: Mapping[str, Any]) -> Mapping[str, Any]:
    """The one number of conditional shift told first: by site, fit on train, at shared covariates."""
    cell: Mapping[str, Any] = ((conditional.get("by_site") or {}).get("fit_on_train") or {}).get("shared") or {}
    return cell


def _auc_tile(found: Mapping[str, Any], split: str) -> Tile | None:
    value = found.get("auc")
    if value is None:
        return None
    sd = found.get("auc_sd")
    about = f" (± {labels.number(sd, 3)} over repeats)" if sd is not None else ""
    p = found.get("p_value") if split == "by site" else None
    chance = f", {p_words(p)}" if p is not None else ""
    return Tile(labels.number(value, 3), f"AUC of the domain classifier, split {split}{about}{chance}; 0.5 is guessing")


def _increase_tile(cell: Mapping[str, Any]) -> Tile | None:
    value = _main_value(cell)
    if value is None:
        return None
    sure = cells.between(cell.get("low"), cell.get("high"))
    about = f" (95 % interval {sure}, unit: tower)" if sure != labels.DASH else ""
    return Tile(cells.change(value), f"RMSE increase at equal covariates, split by site, fit on train{about}")


def _main_value(cell: Mapping[str, Any]) -> float | None:
    pooled = cell.get("pooled")
    value = pooled if pooled is not None else cell.get("rmse_increase")
    return None if value is None else float(value)


def _which(importance: pl.DataFrame | None, univariate: pl.DataFrame | None) -> tuple[str, ...]:
    said = []
    if importance is not None and not importance.is_empty():
        if importance["auc_drop"].null_count() == importance.height:
            reasons = importance["reason"].drop_nulls().to_list() if "reason" in importance.columns else []
            told = reasons[0] if reasons else "no reason given"
            said.append(f"The importance of covariates cannot be estimated: {told}.")
        else:
            top = ranked_importance(importance).filter(pl.col("auc_drop") > 0).head(3)
            words = [f"{_known(name)} ({cells.spread(drop, sd)})" for name, drop, sd in top.iter_rows()]
            if words:
                said.append(
                    f"Shuffling {labels.join_words(words)} costs the classifier most AUC (± 1 standard deviation over "
                    "repeats). Covariates that follow one another share their part."
                )
            else:
                said.append("Shuffling any one covariate costs the classifier no AUC.")
    said += _outside(univariate)
    return tuple(said) or ("Neither importance nor univariate measures were given.",)


def _outside(univariate: pl.DataFrame | None) -> list[str]:
    if univariate is None or not {"covariate", "outside"} <= set(univariate.columns) or univariate.is_empty():
        return []
    table = univariate.select("covariate", pl.col("outside").cast(pl.Float64).fill_nan(None)).drop_nulls()
    if table.is_empty():
        return []
    name, most = table.sort("outside", descending=True, maintain_order=True).row(0)
    return [
        f"The largest share of test rows outside the middle 98\u202f% of train is in {_known(str(name))}: "
        f"{cells.share(most)}, where 2\u202f% would be usual (over rows; no interval)."
    ]


def _known(name: str) -> str:
    """Name of a covariate, explained where the schema knows it."""
    long = covariate_name(name).rsplit(" (", 1)[0]
    return name if long == name else f"{long} [{name}]"


def _conditional(conditional: Mapping[str, Any], cell: Mapping[str, Any]) -> tuple[str, ...]:
    said = [_conditional_by_site(cell)]
    row: Mapping[str, Any] = (conditional.get("fit_on_train") or {}).get("shared") or {}
    if row.get("rmse_increase") is not None:
        value, sd = row["rmse_increase"], row.get("rmse_increase_sd")
        spread = f" ± {cells.share(sd)}" if sd is not None else ""
        said.append(
            f"The published protocol, split by row, gives {cells.change(value)}{spread} (standard deviation over "
            "repeats; no unit of chance). It judges the regressor at home on towers that it was fitted on, so that "
            "traits of towers alone look like a different answer."
        )
    elif row:
        said.append(f"Split by row it cannot be estimated: {row.get('reason') or 'no reason given'}.")
    return tuple(said)


def _conditional_by_site(cell: Mapping[str, Any]) -> str:
    value = _main_value(cell)
    if value is None:
        return f"It cannot be estimated between towers: {cell.get('reason') or 'no reason given'}."
    sure = cells.between(cell.get("low"), cell.get("high"))
    p = cell.get("p_value")
    grows = "grows" if value >= 0 else "shrinks"
    told = f"where train and test share covariates, the RMSE of a regressor fit on train {grows} by "
    told += f"{cells.share(abs(value))} from towers of train to towers of test"
    if p is None:
        return f"Not decided: {told}, but there is no p-value. {cell.get('p_note') or ''}".rstrip(" .") + "."
    told += f" (95 % interval {sure}, {p_words(p)}, unit of chance: tower)"
    if value < 0:
        told += "; a smaller error there may come of a flux that varies less, not of another mean"
    return f"{'Yes' if p <= SURE else 'Not shown'}: {told}."


def _applicability(
    sites: pl.DataFrame | None, threshold: float | None, applicability: Mapping[str, Any] | None, target: str
) -> tuple[tuple[str, ...], Tile | None]:
    reason = (applicability or {}).get("reason")
    if reason is not None:
        return (f"This cannot be told: {reason}",), None
    if sites is None or "outside_share" not in sites.columns:
        return (NEED_RUN,), None
    table = sites.with_columns(pl.col("outside_share").cast(pl.Float64).fill_nan(None)).drop_nulls("outside_share")
    if table.is_empty():
        return (NEED_RUN,), None
    share, of = _outside_share(table, applicability)
    mostly = table.filter(pl.col("outside_share") > 0.5).height
    limit = f" (index above {labels.significant(threshold, 2)})" if threshold is not None else ""
    said = [
        f"{cells.share(share)} of the test hours{of} lie outside the area of applicability{limit}; {mostly} of "
        f"{table.height} test towers are outside for more than half of their hours. Counted over all test hours; "
        "the threshold comes from the training data alone."
    ]
    furthest = table.sort("outside_share", "site_id", descending=[True, False]).head(3)
    if furthest["outside_share"][0] > 0:
        named = [
            f"{site} ({cells.share(value, 0)})" for site, value in furthest.select("site_id", "outside_share").rows()
        ]
        said.append(f"Most hours outside: {labels.join_words(named)}.")
    said += _does_it_tell(applicability, target)
    tile = Tile(
        cells.share(share), f"of test hours outside the area of applicability; {mostly} of {table.height} towers mostly"
    )
    return tuple(said), tile


def _outside_share(table: pl.DataFrame, applicability: Mapping[str, Any] | None) -> tuple[float, str]:
    """Share of the hours outside, and a word where it is only a mean over towers."""
    known = (applicability or {}).get("outside_share")
    if known is not None:
        return float(known), ""
    shares = table["outside_share"].to_numpy()
    if "n" in table.columns and table["n"].null_count() == 0:
        weights = table["n"].cast(pl.Float64).to_numpy()
        return float(shares @ weights / weights.sum()), ""
    return float(shares.mean()), " (mean over towers)"


def _does_it_tell(applicability: Mapping[str, Any] | None, target: str) -> list[str]:
    """Whether the index goes with the error: over towers, and at the same hour and month; for the first model."""
    rows: dict[str, Mapping[str, Any]] = {}
    for row in (applicability or {}).get("summary") or ():
        rows.setdefault(str(row.get("measure")), row)
    said = []
    over = rows.get("spearman")
    if over is not None and over.get("value") is None:
        said.append(f"Whether the index tells errors cannot be said: {over.get('reason') or 'no reason given'}.")
    elif over is not None:
        p = over.get("p_value")
        tells = "goes with" if p is not None and p <= SURE and over["value"] > 0 else "is not shown to go with"
        said.append(
            f"A tower's median index {tells} its RMSE: rank correlation {labels.number(over['value'], 2)} "
            f"({_how_sure(over)})."
        )
    clock = rows.get("rmse_outside_minus_inside_same_clock")
    if clock is not None and clock.get("value") is not None:
        p = clock.get("p_value")
        sure = p is not None and p <= SURE
        lead = "Beyond day against night it tells" if sure else "Beyond day against night it is not shown to tell"
        more = "more" if clock["value"] >= 0 else "less"
        size = f"{labels.significant(abs(float(clock['value'])), 2)} {labels.target_unit(target)}".rstrip()
        said.append(
            f"{lead}: at the same tower, month and hour of day, the RMSE of hours outside the area is "
            f"{size} {more} than that of hours inside (median over towers; {_how_sure(clock)})."
        )
    return said


def _how_sure(row: Mapping[str, Any]) -> str:
    """Interval, p-value, number and unit of a measure of the summary."""
    sure = labels.interval(row.get("low"), row.get("high"), 2)
    p = row.get("p_value")
    words = [f"90 % interval {sure}"] if sure else []
    words += [p_words(p)] if p is not None else []
    return ", ".join([*words, f"{row.get('n')} towers", "unit of chance: tower"])
