"""What a measure of P(Y|X) tells: one marginal, one direction of fitting, one unit of dealing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fluxtrapolation.shift.conditional_roles import FitOn, Unit
from fluxtrapolation.shift.conditional_weights import MARGINALS, Marginal
from fluxtrapolation.shift.estimate import Estimate


@dataclass(frozen=True)
class MarginalShift:
    """Increase of RMSE at equal covariates.

    Attributes
    ----------
    rmse_increase : Estimate
        Fraction (0.1 is 10 %), mean and sd over repeats; 0 is best, above 0 the other side is predicted worse than the
        side the regressor was fitted on.
    rmse_train, rmse_test : float or None
        Weighted RMSE of the two sides, unit of the target, mean over repeats.
    ess_train, ess_test : float or None
        Kish's effective number of rows under the weights, mean over repeats.
    kept_train, kept_test : float or None
        Share of the evaluation rows inside common support, mean over repeats.
    towers_train, towers_test : float or None
        Effective number of towers (Kish, on the weight each tower holds), all repeats together.
    imbalance, imbalance_before : float or None
        Largest absolute difference between the sides' means of a covariate, in standard deviations of train, with the
        weights and before weights and filter. ``imbalance_of`` names the covariate that the weights leave most apart.
    pooled, low, high : float or None
        By site only: the increase from the errors of all repeats pooled per tower, and its 95 % interval.
    p_value : float or None
        By site only: two-sided, of no change, unit of chance the tower.
    p_note : str
        What the p-value rests on, or why there is none.
    """

    rmse_increase: Estimate
    rmse_train: float | None = None
    rmse_test: float | None = None
    ess_train: float | None = None
    ess_test: float | None = None
    kept_train: float | None = None
    kept_test: float | None = None
    towers_train: float | None = None
    towers_test: float | None = None
    imbalance: float | None = None
    imbalance_before: float | None = None
    imbalance_of: str | None = None
    pooled: float | None = None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    p_note: str = ""

    @property
    def decision(self) -> str:
        """``larger``, ``smaller`` (p < 0.05), ``not told apart``, or ``no decision`` where there is no p-value."""
        if self.p_value is None or self.pooled is None:
            return "no decision"
        if self.p_value >= 0.05:
            return "not told apart"
        return "larger" if self.pooled > 0 else "smaller"

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``rmse_increase`` (number or None), ``rmse_increase_sd``, ``reason``, ``n`` and the rest."""
        made: dict[str, Any] = {
            "rmse_increase": self.rmse_increase.mean,
            "rmse_increase_sd": self.rmse_increase.sd,
            "n": self.rmse_increase.n,
            "reason": self.rmse_increase.reason,
        }
        made |= {name: getattr(self, name) for name in NUMBERS}
        made |= {"imbalance_of": self.imbalance_of, "decision": self.decision, "p_note": self.p_note}
        return made


NUMBERS = (
    *("rmse_train", "rmse_test", "ess_train", "ess_test", "kept_train", "kept_test", "towers_train", "towers_test"),
    *("imbalance", "imbalance_before", "pooled", "low", "high", "p_value"),
)
"""Numeric fields of :class:`MarginalShift` beside ``rmse_increase``."""


@dataclass(frozen=True)
class FitShift:
    """The three marginals for a regressor fitted on one part."""

    fit_on: FitOn
    train: MarginalShift
    test: MarginalShift
    shared: MarginalShift

    def marginal(self, name: Marginal) -> MarginalShift:
        made: MarginalShift = getattr(self, name)
        return made

    def to_dict(self) -> dict[str, Any]:
        return {name: self.marginal(name).to_dict() for name in MARGINALS}


@dataclass(frozen=True)
class UnitShift:
    """Both directions of fitting, with rows or with towers dealt to the roles."""

    unit: Unit
    fit_on_train: FitShift
    fit_on_test: FitShift

    def to_dict(self) -> dict[str, Any]:
        return {"fit_on_train": self.fit_on_train.to_dict(), "fit_on_test": self.fit_on_test.to_dict()}
