"""P(Y|X): how much larger the error is on the other side once both sides have the same covariates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from fluxtrapolation.errors import DataError
from fluxtrapolation.scenarios import Split
from fluxtrapolation.shift.conditional_roles import MIN_TOWERS, FitOn, Unit
from fluxtrapolation.shift.conditional_run import MIN_ESS, MIN_KEPT, MIN_REPEATS, measure
from fluxtrapolation.shift.conditional_types import NUMBERS, FitShift, MarginalShift, UnitShift
from fluxtrapolation.shift.conditional_weights import CLIP, MARGINALS, SUPPORT
from fluxtrapolation.shift.estimate import Estimate
from fluxtrapolation.shift.sampling import MAX_ROWS, Protocol, choose_rows
from fluxtrapolation.shift.slices import SLICE_ROWS, slices

FIT_ON: Final[tuple[FitOn, ...]] = ("train", "test")
UNITS: Final[tuple[Unit, ...]] = ("row", "site")


@dataclass(frozen=True, eq=False)
class ConditionalShift:
    """What is left of the change of error at equal covariates.

    Attributes
    ----------
    by_row : UnitShift
        The published protocol (BENCHMARK, section 5). Rows of one tower lie both among those the regressor learns from
        and among those it is judged on at home, never so on the other side: where towers have traits of their own, this
        alone makes the other side look worse. See ``by_site``.
    by_site : UnitShift
        The same with towers dealt, so that no tower is judged by a regressor that knows it; with intervals and p-values
        whose unit of chance is the tower.
    table : polars.DataFrame
        One row per split (row, site), fit_on (train, test) and marginal (train, test, shared): rmse_increase, sd, n,
        rmse_train, rmse_test, ess_train, ess_test, kept_train, kept_test, towers_train, towers_test, imbalance,
        imbalance_before, imbalance_of, pooled, low, high, p_value, p_note, decision, reason.
    slices : polars.DataFrame
        See :func:`fluxtrapolation.shift.slices.slices`.
    record : dict
        Rows used, settings and limits.
    """

    by_row: UnitShift
    by_site: UnitShift
    table: pl.DataFrame
    slices: pl.DataFrame
    record: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``fit_on_train`` and ``fit_on_test`` by row, ``by_site`` (same tree), ``record``."""
        return {**self.by_row.to_dict(), "by_site": self.by_site.to_dict(), "record": self.record}


def conditional(
    split: Split,
    *,
    repeats: int = 10,
    max_rows: int | None = MAX_ROWS,
    seed: int = 0,
    protocol: Protocol = "paper",
    fit_on: Sequence[FitOn] = FIT_ON,
    units: Sequence[Unit] = UNITS,
    slice_rows: int | None = SLICE_ROWS,
) -> ConditionalShift:
    """Measure the conditional shift of a split.

    Fitted on train: random thirds of train (A, B, C) and halves of test (D, E). Boosted trees on A and D tell test from
    train, unweighted, and give ``P(test|x)``; others learn the flux on B. Rows of C with ``P(test|x) <= 0.1`` and of E
    with ``P(test|x) >= 0.9`` are dropped. Weights from the odds, cut at their 99th percentile, give C and E the same
    covariates (those of train, of test, or those that both share; see
    :func:`fluxtrapolation.shift.conditional_weights.importance`). The increase is the weighted RMSE on E over that on
    C, less 1: at equal covariates what is left is a change of P(Y|X), seen by this regressor. Fitted on test is the
    mirror: thirds of test, halves of train, RMSE on train over RMSE on test, less 1.

    By site, whole towers are dealt. In a scenario by years a tower keeps one role in both parts: A gives rows of both
    to the classifier, B is learned from, and C and E are the two parts of the same towers.

    Parameters
    ----------
    split : Split
    repeats : int
    max_rows : int or None
        Rows of train and test together, drawn by tower at an equal share (:func:`choose_rows`); None for all.
    seed : int
    protocol : {'paper', 'measured'}
        Whether gap-filled test rows count. Test rows without a target never do; the record counts them.
    fit_on, units : sequence of str
        Measure only these; the others are told as not asked for.
    slice_rows : int or None
        ``max_rows`` of the slices; 0 for none.

    Returns
    -------
    ConditionalShift

    Raises
    ------
    DataError
        If an option does not exist.
    ScenarioError
        If a part has no row with a target.

    Notes
    -----
    Only changes that make this regressor's errors larger or smaller are seen. A number is refused, with the numbers
    that led to it, where less than 5 % of a side lies in common support or the weights leave fewer than 30 effective
    rows in more than half of the repeats, or a role would hold fewer than 4 towers.
    """
    _check(repeats, fit_on, units)
    rows = choose_rows(split, max_rows=max_rows, seed=seed, protocol=protocol, need_target=True)
    found = {
        (unit, side): measure(rows, unit=unit, fit_on=side, repeats=repeats, seed=seed)
        if unit in units and side in fit_on
        else _not_asked(side)
        for unit in UNITS
        for side in FIT_ON
    }
    by_row, by_site = (UnitShift(unit, found[unit, "train"], found[unit, "test"]) for unit in UNITS)
    record = rows.record | {
        "repeats": repeats,
        "paired": rows.paired,
        "train_towers": len(rows.train.sites),
        "test_towers": len(rows.test.sites),
        "support": list(SUPPORT),
        "clip": CLIP,
        "least_kept": MIN_KEPT,
        "least_effective_rows": MIN_ESS,
        "least_share_of_repeats": MIN_REPEATS,
        "least_towers_per_role": MIN_TOWERS,
    }
    curves = pl.DataFrame()
    if slice_rows is None or slice_rows > 0:
        curves = slices(split, max_rows=slice_rows, seed=seed, protocol=protocol).table
    return ConditionalShift(by_row, by_site, _table(found), curves, record)


def _check(repeats: int, fit_on: Sequence[str], units: Sequence[str]) -> None:
    if repeats < 1:
        raise DataError(f"repeats must be at least 1, not {repeats}.")
    for given, known, name in ((fit_on, FIT_ON, "fit_on"), (units, UNITS, "units")):
        wrong = [value for value in given if value not in known]
        if wrong or isinstance(given, str):
            raise DataError(f"{name}={given!r} is not known. Give a list of {' and '.join(map(repr, known))}.")


def _not_asked(side: FitOn) -> FitShift:
    nothing = MarginalShift(Estimate.cannot("not asked for"), p_note="not asked for")
    return FitShift(side, nothing, nothing, nothing)


def _table(found: dict[tuple[Unit, FitOn], FitShift]) -> pl.DataFrame:
    rows: list[dict[str, Any]] = []
    for (unit, side), shift in found.items():
        for marginal in MARGINALS:
            told = shift.marginal(marginal)
            rows.append(
                {
                    "split": unit,
                    "fit_on": side,
                    "marginal": marginal,
                    "rmse_increase": told.rmse_increase.mean,
                    "sd": told.rmse_increase.sd,
                    "n": told.rmse_increase.n,
                    **{name: getattr(told, name) for name in NUMBERS},
                    "imbalance_of": told.imbalance_of,
                    "p_note": told.p_note,
                    "decision": told.decision,
                    "reason": told.rmse_increase.reason,
                }
            )
    numeric = dict.fromkeys(("rmse_increase", "sd", *NUMBERS), pl.Float64)
    return pl.DataFrame(rows, schema_overrides={**numeric, "imbalance_of": pl.String, "reason": pl.String})
