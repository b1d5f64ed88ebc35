"""The repeats of a measure of P(Y|X): fit, weigh, compare."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.schema import PFT_PREFIX
from fluxtrapolation.shift.boosting import domain_classifier, shift_regressor
from fluxtrapolation.shift.conditional_roles import FitOn, Indices, Roles, Towers, Unit, deal, too_few_towers
from fluxtrapolation.shift.conditional_towers import tower_test
from fluxtrapolation.shift.conditional_types import FitShift, MarginalShift
from fluxtrapolation.shift.conditional_weights import MARGINALS, Marginal, Side, effective, importance, supported
from fluxtrapolation.shift.covariate_pool import side_by_side
from fluxtrapolation.shift.estimate import Estimate
from fluxtrapolation.shift.sampling import Rows

Float64 = NDArray[np.float64]

SIDES: Final = ("train", "test")
MIN_KEPT: Final = 0.05
"""Least share of a side's evaluation rows inside common support."""
MIN_ESS: Final = 30.0
"""Least effective number of rows of a side."""
MIN_REPEATS: Final = 0.5
"""Least share of the repeats that must give a value."""

ROW_NOTE: Final = "none: rows of one tower are not independent; see by_site"
SITE_NOTE: Final = "delete-one-tower jackknife of the log ratio, Student's t; unit: tower; given the fitted trees"
PAIRED_NOTE: Final = (
    "delete-one-tower jackknife of the log ratio, the same towers on both sides, Student's t; unit: tower; a change "
    "that all towers share in a year is not told from a lasting one"
)


@dataclass(frozen=True, eq=False)
class _Task:
    """One repeat, as it travels to another process."""

    rows: Rows
    towers: Towers
    roles: Roles
    fit_on: FitOn
    scale: Float64
    seed: int


@dataclass(frozen=True, eq=False)
class _Side:
    """The evaluation rows of one side inside common support."""

    p: Float64
    squares: Float64
    towers: Indices
    X: NDArray[np.float32]
    kept: float


@dataclass(frozen=True, eq=False)
class _Weighed:
    """One repeat at one marginal; by side: mean squared error, effective rows, and sums of every tower."""

    mse: dict[str, float]
    ess: dict[str, float]
    squares: dict[str, Float64]
    weights: dict[str, Float64]
    gap: Float64


@dataclass(frozen=True, eq=False)
class _Repeat:
    """One repeat: shares kept, the sides' difference before weights, and each marginal or why it is refused."""

    kept: dict[str, float]
    before: Float64
    found: dict[Marginal, _Weighed | str]


def measure(rows: Rows, *, unit: Unit, fit_on: FitOn, repeats: int = 10, seed: int = 0) -> FitShift:
    """RMSE increase at equal covariates, for a regressor fitted on one part.

    Parameters
    ----------
    rows : Rows
        From :func:`choose_rows` with ``need_target``.
    unit : {'row', 'site'}
        What is dealt into thirds and halves.
    fit_on : {'train', 'test'}
        ``train``: RMSE on test over RMSE on train, less 1. ``test`` is the mirror: thirds of test, halves of train, and
        RMSE on train over RMSE on test, less 1. The support filter keeps to its side.
    repeats, seed : int

    Returns
    -------
    FitShift
    """
    towers = Towers.of(rows)
    if unit == "site" and (reason := too_few_towers(towers, fit_on, rows.paired)):
        return FitShift(fit_on, **{name: MarginalShift(Estimate.cannot(reason), p_note=reason) for name in MARGINALS})
    generator = np.random.default_rng([seed, unit == "site", fit_on == "test"])
    scale = _scale(rows.train.X)
    dealt = deal(towers, unit=unit, fit_on=fit_on, paired=rows.paired, repeats=repeats, generator=generator)
    tasks = [_Task(rows, towers, roles, fit_on, scale, int(generator.integers(2**31))) for roles in dealt]
    done = side_by_side(_repeat, tasks, rows=len(rows.train) + len(rows.test))
    names = rows.train.feature_names
    made = {name: _marginal(done, name, names, unit=unit, fit_on=fit_on, paired=rows.paired) for name in MARGINALS}
    return FitShift(fit_on, **made)


def _scale(X: NDArray[np.float32]) -> Float64:
    spread = X.std(axis=0, dtype=np.float64)
    return np.asarray(np.where(spread > 0, spread, 1.0))


def _repeat(task: _Task) -> _Repeat:
    """Fit both trees, judge both sides, weigh them at each marginal."""
    rows, roles = task.rows, task.roles
    home, away = (rows.train, rows.test) if task.fit_on == "train" else (rows.test, rows.train)
    X = np.concatenate([home.X[roles.home_classifier], away.X[roles.away_classifier]])
    from_away = np.repeat([False, True], [len(roles.home_classifier), len(roles.away_classifier)])
    is_test = from_away if task.fit_on == "train" else ~from_away
    classifier = domain_classifier(seed=task.seed).fit(X, is_test)
    regressor = shift_regressor(seed=task.seed).fit(home.X[roles.home_fit], home.y[roles.home_fit])
    codes = task.towers.sides(task.fit_on)
    sides: dict[str, _Side] = {}
    means: dict[str, Float64] = {}
    for part, code, at in ((home, codes[0], roles.home_evaluation), (away, codes[1], roles.away_evaluation)):
        name: Side = "train" if part is rows.train else "test"
        p = np.asarray(classifier.predict_proba(part.X[at])[:, 1], dtype=np.float64)
        means[name] = part.X[at].mean(axis=0, dtype=np.float64)
        inside = supported(p, name)
        at = at[inside]
        # Trees refuse to predict for no row at all.
        error = part.y[at].astype(np.float64) - (regressor.predict(part.X[at]) if len(at) else 0.0)
        sides[name] = _Side(p[inside], error * error, code[at], part.X[at], float(inside.mean()))
    prior = float(is_test.mean())
    return _Repeat(
        kept={name: side.kept for name, side in sides.items()},
        before=(means["test"] - means["train"]) / task.scale,
        found={name: _weigh(sides, name, prior, task) for name in MARGINALS},
    )


def _weigh(sides: dict[str, _Side], marginal: Marginal, prior: float, task: _Task) -> _Weighed | str:
    """One marginal of a repeat, or why it is refused."""
    size = len(task.towers.names)
    weights: dict[str, Float64] = {}
    ess: dict[str, float] = {}
    for name, side in sides.items():
        weights[name] = importance(side.p, side="train" if name == "train" else "test", marginal=marginal, prior=prior)
        ess[name] = effective(weights[name])
        if side.kept < MIN_KEPT or ess[name] < MIN_ESS:
            return (
                f"too little overlap: {side.kept:.1%} of the {name} rows lie in common support and the weights leave "
                f"{ess[name]:.0f} effective rows (needed: {MIN_KEPT:.0%} and {MIN_ESS:.0f})"
            )
    # A side's weights sum to 1 in every repeat, so that repeats with many rows in support do not count for more.
    weights = {name: weight / weight.sum() for name, weight in weights.items()}
    means = {name: weights[name] @ side.X.astype(np.float64) for name, side in sides.items()}
    return _Weighed(
        mse={name: float(weights[name] @ side.squares) for name, side in sides.items()},
        ess=ess,
        squares={name: _by_tower(side.towers, weights[name] * side.squares, size) for name, side in sides.items()},
        weights={name: _by_tower(side.towers, weights[name], size) for name, side in sides.items()},
        gap=(means["test"] - means["train"]) / task.scale,
    )


def _by_tower(towers: NDArray[np.int64], values: Float64, size: int) -> Float64:
    """Sums of values by tower, shape (size,)."""
    return np.asarray(np.bincount(towers, values, minlength=size), dtype=np.float64)


def _marginal(
    done: list[_Repeat], marginal: Marginal, names: tuple[str, ...], *, unit: Unit, fit_on: FitOn, paired: bool
) -> MarginalShift:
    """All repeats of one marginal."""
    found = [repeat.found[marginal] for repeat in done]
    refused = [told for told in found if isinstance(told, str)]
    kept = [told for told in found if not isinstance(told, str)]
    home, away = ("train", "test") if fit_on == "train" else ("test", "train")
    changes = [math.sqrt(told.mse[away] / told.mse[home]) - 1 for told in kept if told.mse[home] > 0]
    refused += [f"the regressor makes no error on the {home} side"] * (len(kept) - len(changes))
    reason = None
    if refused:
        reason = f"{len(refused)} of {len(done)} repeats gave no value; for example {refused[0]}"
    increase = Estimate.over([*changes, *[None] * len(refused)], reason=reason)
    if reason is not None and len(changes) < MIN_REPEATS * len(done):
        # The few repeats that pass are those that chance made look overlapping.
        increase = Estimate.cannot(reason)
    told: dict[str, Any] = {f"kept_{side}": _mean([repeat.kept[side] for repeat in done]) for side in SIDES}
    told["imbalance_before"] = _largest([repeat.before for repeat in done], names)[0]
    if increase.mean is None:
        return MarginalShift(increase, p_note=str(reason), **told)
    squares = {side: np.sum([one.squares[side] for one in kept], axis=0) for side in SIDES}
    weights = {side: np.sum([one.weights[side] for one in kept], axis=0) for side in SIDES}
    told["imbalance"], told["imbalance_of"] = _largest([one.gap for one in kept], names)
    for side in SIDES:
        told[f"rmse_{side}"] = _mean([math.sqrt(one.mse[side]) for one in kept])
        told[f"ess_{side}"] = _mean([one.ess[side] for one in kept])
        told[f"towers_{side}"] = effective(weights[side])
    if unit == "row":
        return MarginalShift(increase, p_note=ROW_NOTE, **told)
    test = tower_test((squares[home], weights[home]), (squares[away], weights[away]), paired=paired)
    told |= {"pooled": test.change, "low": test.low, "high": test.high, "p_value": test.p_value}
    note = test.reason or (PAIRED_NOTE if paired else SITE_NOTE)
    return MarginalShift(increase, p_note=note, **told)


def _largest(gaps: list[Float64], names: tuple[str, ...]) -> tuple[float, str]:
    """The covariate whose mean difference over repeats is largest; plant functional types are one covariate."""
    gap = np.abs(np.mean(gaps, axis=0))
    worst = names[int(gap.argmax())]
    return float(gap.max()), "PFT" if worst.startswith(PFT_PREFIX) else worst


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
