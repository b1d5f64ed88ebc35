"""The metrics, each a function of the additive statistics, and the registry that holds them.

A metric of your own takes five lines::

    from fluxtrapolation.evaluation import metric

    @metric("centred_rmse", unit="target", best=0.0)
    def centred_rmse(m):
        return ((m.sum_e2 - m.sum_e**2 / m.n) / m.n) ** 0.5

T is observed (``y_true``), P predicted (``y_pred``), over the pairs of one (scale, domain) with both finite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fluxtrapolation.errors import EvaluationError, did_you_mean
from fluxtrapolation.evaluation.statistics import Floats, Moments

Function = Callable[[Moments], Floats]
Test = Callable[[Moments], npt.NDArray[np.bool_]]

NEEDS: Final[dict[str, tuple[Test, str]]] = {
    "variance_true": (Moments.zero_variance_true, "zero_variance"),
    "variance_pred": (Moments.zero_variance_pred, "zero_variance"),
    "mean_true": (Moments.zero_mean_true, "zero_mean"),
}
"""What a metric may need, the test that it fails, and the reason given where it does."""

UNDEFINED: Final = "undefined"
"""Reason where a metric came out infinite or NaN although all it needs is there."""


@dataclass(frozen=True)
class Metric:
    """A metric: its name, function and meaning.

    Parameters
    ----------
    name : str
        Column in the scores.
    function : callable
        Takes :class:`Moments` of K groups, returns an array of shape (K,).
    unit : str
        ``target``, ``target^2`` or ``1``.
    best : float
        The value of a perfect prediction.
    higher_is_better : bool
        The direction: only nse and r2_score improve upward.
    needs : tuple of str
        Keys of ``NEEDS``; where one fails the value is null with its reason.
    """

    name: str
    function: Function
    unit: str
    best: float
    higher_is_better: bool = False
    needs: tuple[str, ...] = ()


_REGISTRY: dict[str, Metric] = {}

PUBLISHED: Final = ("mse", "rmse", "mae", "nse", "r2_score", "bias", "relative_mae", "relative_bias")
"""The metrics of the published tables, in their order; computed unless others are asked for."""


def metric(
    name: str, *, unit: str, best: float, higher_is_better: bool = False, needs: Iterable[str] = ()
) -> Callable[[Function], Function]:
    """Register the decorated function as a metric.

    Raises
    ------
    EvaluationError
        When the name is taken by another function, or ``needs`` holds something unknown.
    """
    wanted = tuple(needs)
    unknown = [need for need in wanted if need not in NEEDS]
    if unknown:
        raise EvaluationError(
            f"Metric '{name}' needs '{unknown[0]}', which is unknown; choose from {', '.join(NEEDS)}."
        )

    def register(function: Function) -> Function:
        old = _REGISTRY.get(name)
        if old is not None and (old.function.__module__, old.function.__qualname__) != (
            function.__module__,
            function.__qualname__,
        ):
            raise EvaluationError(f"A metric named '{name}' exists already. Choose another name.")
        _REGISTRY[name] = Metric(name, function, unit, best, higher_is_better, wanted)
        return function

    return register


def metric_names() -> tuple[str, ...]:
    """Names of all registered metrics."""
    return tuple(_REGISTRY)


def get_metric(name: str) -> Metric:
    """The metric of that name.

    Raises
    ------
    EvaluationError
        When there is none, with the nearest name.
    """
    if name not in _REGISTRY:
        raise EvaluationError(
            f"There is no metric '{name}'.{did_you_mean(name, _REGISTRY)} Metrics: {', '.join(_REGISTRY)}."
        )
    return _REGISTRY[name]


@metric("mse", unit="target^2", best=0.0)
def mse(m: Moments) -> Floats:
    """Mean squared error, mean of (P - T)^2. Range 0 to infinity."""
    return m.sum_e2 / m.n


@metric("rmse", unit="target", best=0.0)
def rmse(m: Moments) -> Floats:
    """Root mean squared error, sqrt(mse). Range 0 to infinity."""
    return np.sqrt(m.sum_e2 / m.n)


@metric("mae", unit="target", best=0.0)
def mae(m: Moments) -> Floats:
    """Mean absolute error, mean of |P - T|. Range 0 to infinity."""
    return m.sum_abs_e / m.n


@metric("nse", unit="1", best=1.0, higher_is_better=True, needs=("variance_true",))
def nse(m: Moments) -> Floats:
    """Nash-Sutcliffe efficiency, 1 - sum (T - P)^2 / sum (T - mean T)^2. Range minus infinity to 1.

    Null (``zero_variance``) where T does not vary. Nash and Sutcliffe (1970), doi:10.1016/0022-1694(70)90255-6.
    """
    return 1.0 - m.sum_e2 / m.m2_true


@metric("r2_score", unit="1", best=1.0, higher_is_better=True, needs=("variance_true", "variance_pred"))
def r2_score(m: Moments) -> Floats:
    """Squared Pearson correlation of T and P (the published meaning of the name). Range 0 to 1.

    Null (``zero_variance``) where T or P does not vary, hence also with fewer than two pairs.
    """
    return np.minimum((m.c_true_pred / np.sqrt(m.m2_true) / np.sqrt(m.m2_pred)) ** 2, 1.0)


@metric("bias", unit="target", best=0.0)
def bias(m: Moments) -> Floats:
    """Mean of T - P: observed minus predicted, the published sign. Positive: the model predicts too little."""
    return m.sum_e / m.n


@metric("relative_mae", unit="1", best=0.0, needs=("mean_true",))
def relative_mae(m: Moments) -> Floats:
    """Mean of |P - T| divided by the mean of T; it has the sign of mean T. Null (``zero_mean``) where that is 0."""
    return m.sum_abs_e / m.n / m.mean_observed()


@metric("relative_bias", unit="1", best=0.0, needs=("mean_true",))
def relative_bias(m: Moments) -> Floats:
    """Mean of T - P divided by the mean of T. Null (``zero_mean``) where that is 0."""
    return m.sum_e / m.n / m.mean_observed()


def compute(m: Moments, names: Iterable[str]) -> tuple[dict[str, Floats], list[tuple[str, ...]]]:
    """All named metrics of K groups.

    Returns
    -------
    (dict of ndarray, list of tuple of str)
        Values of shape (K,) with NaN where undefined, and per group the reasons of its undefined values, without
        repeats. A group without pairs has no values and no reasons here: the scale knows why.
    """
    empty = m.n == 0
    values: dict[str, Floats] = {}
    why: list[tuple[str, ...]] = [()] * len(m)
    for name in names:
        one = get_metric(name)
        with np.errstate(all="ignore"):
            found = np.array(one.function(m), dtype=np.float64)
        for need in one.needs:
            test, reason = NEEDS[need]
            failed = test(m)
            found[failed] = np.nan
            _note(why, failed & ~empty, reason)
        odd = ~np.isfinite(found) & ~empty
        for need in one.needs:
            odd &= ~NEEDS[need][0](m)
        _note(why, odd, UNDEFINED)
        found[odd | empty] = np.nan
        values[name] = found
    return values, why


def _note(why: list[tuple[str, ...]], where: npt.NDArray[np.bool_], reason: str) -> None:
    for row in np.flatnonzero(where):
        if reason not in why[row]:
            why[row] = (*why[row], reason)
