"""The registry of metrics: what a metric is, how one is added, and how all of them are computed.

A metric is a function of :class:`~fluxtrapolation.evaluation.statistics.Moments` (additive, hence cheap), or, with
``takes="pairs"``, of the :class:`~fluxtrapolation.evaluation.pairs.Pairs` themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

from fluxtrapolation.errors import EvaluationError, did_you_mean
from fluxtrapolation.evaluation.pairs import Pairs
from fluxtrapolation.evaluation.statistics import Floats, Moments

Function = Callable[[Any], Floats]
Test = Callable[[Moments], npt.NDArray[np.bool_]]
Takes = Literal["moments", "pairs"]

PUBLISHED: Final = ("mse", "rmse", "mae", "nse", "r2_score", "bias", "relative_mae", "relative_bias")
"""The metrics of the published tables, in their order; computed unless others are asked for."""

NEEDS: Final[dict[str, tuple[Test, str]]] = {
    "two_pairs": (Moments.single_pair, "single_pair"),
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
        Takes the statistics, or the pairs, of K groups; returns an array of shape (K,).
    unit : str
        ``target``, ``target^2`` or ``1``.
    best : float
        The value of a perfect prediction.
    higher_is_better : bool
        The direction: efficiencies and correlations improve upward.
    needs : tuple of str
        Keys of ``NEEDS``; where one fails the value is null with its reason.
    takes : {"moments", "pairs"}
        What the function is given.
    two_sided : bool
        Whether values on both sides of ``best`` are wrong, as of bias and of ratios.
    """

    name: str
    function: Function
    unit: str
    best: float
    higher_is_better: bool = False
    needs: tuple[str, ...] = ()
    takes: Takes = "moments"
    two_sided: bool = False

    @property
    def published(self) -> bool:
        """Whether the metric is one of the published tables; others are computed only when asked for."""
        return self.name in PUBLISHED


_REGISTRY: dict[str, Metric] = {}


def metric(
    name: str,
    *,
    unit: str,
    best: float,
    higher_is_better: bool = False,
    needs: Iterable[str] = (),
    takes: Takes = "moments",
    two_sided: bool = False,
) -> Callable[[Function], Function]:
    """Register the decorated function as a metric; see :class:`Metric` for the parameters.

    Raises
    ------
    EvaluationError
        When the name is taken by another function, or ``needs`` or ``takes`` holds something unknown.
    """
    wanted = tuple(needs)
    unknown = [need for need in wanted if need not in NEEDS]
    if unknown:
        raise EvaluationError(
            f"Metric '{name}' needs '{unknown[0]}', which is unknown; choose from {', '.join(NEEDS)}."
        )
    if takes not in ("moments", "pairs"):
        raise EvaluationError(f"Metric '{name}' takes '{takes}'; choose 'moments' or 'pairs'.")

    def register(function: Function) -> Function:
        old = _REGISTRY.get(name)
        if old is not None and (old.function.__module__, old.function.__qualname__) != (
            function.__module__,
            function.__qualname__,
        ):
            raise EvaluationError(f"A metric named '{name}' exists already. Choose another name.")
        _REGISTRY[name] = Metric(name, function, unit, best, higher_is_better, wanted, takes, two_sided)
        return function

    return register


def metric_names(kind: Literal["all", "published", "opt-in"] = "all") -> tuple[str, ...]:
    """Names of the registered metrics, the published ones first.

    Parameters
    ----------
    kind : {"all", "published", "opt-in"}
        ``published``: those of the published tables, computed unless others are asked for. ``opt-in``: the others,
        those of your own included.

    Raises
    ------
    EvaluationError
        When ``kind`` is none of these.
    """
    if kind not in ("all", "published", "opt-in"):
        raise EvaluationError(f"There is no kind of metrics '{kind}'; choose 'all', 'published' or 'opt-in'.")
    more = tuple(name for name in _REGISTRY if name not in PUBLISHED)
    return {"all": PUBLISHED + more, "published": PUBLISHED, "opt-in": more}[kind]


def get_metric(name: str) -> Metric:
    """The metric of that name.

    Raises
    ------
    EvaluationError
        When there is none, with the nearest name.
    """
    if name not in _REGISTRY:
        raise EvaluationError(
            f"There is no metric '{name}'.{did_you_mean(name, _REGISTRY)} Metrics: {', '.join(metric_names())}."
        )
    return _REGISTRY[name]


def choose_metrics(wanted: str | Iterable[str]) -> tuple[str, ...]:
    """Names of the metrics that are wanted, without repeats.

    Parameters
    ----------
    wanted : str or iterable of str
        ``published``, ``all``, names of metrics, or several of these; a text may hold several, separated by commas.

    Raises
    ------
    EvaluationError
        When a name is unknown, with the nearest one, or nothing is wanted.
    """
    texts = [wanted] if isinstance(wanted, str) else list(wanted)
    names: list[str] = []
    for word in [word.strip() for text in texts for word in text.split(",") if word.strip()]:
        if word in ("published", "all"):
            names += metric_names("published" if word == "published" else "all")
            continue
        if word not in _REGISTRY:
            choices = [*metric_names(), "published", "all"]
            raise EvaluationError(
                f"There is no metric '{word}'.{did_you_mean(word, choices)} Metrics: {', '.join(metric_names())}; "
                "or 'published', or 'all'."
            )
        names.append(word)
    if not names:
        raise EvaluationError(f"No metric is asked for. Choose from {', '.join(metric_names())}.")
    return tuple(dict.fromkeys(names))


def of_pairs(pairs: Pairs, names: Iterable[str]) -> dict[str, Floats]:
    """The named metrics that take pairs, each of shape (K,) for the K groups of ``pairs``."""
    with np.errstate(all="ignore"):
        return {name: np.asarray(get_metric(name).function(pairs), dtype=np.float64) for name in names}


def compute(
    m: Moments, names: Iterable[str], ready: Mapping[str, Floats] | None = None
) -> tuple[dict[str, Floats], list[tuple[str, ...]]]:
    """All named metrics of K groups.

    Parameters
    ----------
    m : Moments
        Of K groups.
    names : iterable of str
    ready : mapping of ndarray, optional
        Values of the metrics that take pairs, shape (K,).

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
        if one.takes == "pairs":
            found = np.array((ready or {})[name], dtype=np.float64)
        else:
            with np.errstate(all="ignore"):
                found = np.array(one.function(m), dtype=np.float64)
        lacking = np.zeros(len(m), bool)
        for need in one.needs:
            test, reason = NEEDS[need]
            failed = test(m)
            _note(why, failed & ~empty, reason)
            lacking |= failed
        found[lacking] = np.nan
        odd = ~np.isfinite(found) & ~empty & ~lacking
        _note(why, odd, UNDEFINED)
        found[odd | empty] = np.nan
        values[name] = found
    return values, why


def _note(why: list[tuple[str, ...]], where: npt.NDArray[np.bool_], reason: str) -> None:
    for row in np.flatnonzero(where):
        if reason not in why[row]:
            why[row] = (*why[row], reason)
