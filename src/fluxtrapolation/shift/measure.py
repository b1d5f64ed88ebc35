"""All measures of shift of one split together, as tables: what the command ``fluxtrapolation shift`` runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final, Literal, TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation import __version__
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, ModelError, ScenarioError
from fluxtrapolation.scenarios import Part, Split
from fluxtrapolation.shift.applicability import Applicability, applicability
from fluxtrapolation.shift.autocorrelation import Autocorrelation, autocorrelation
from fluxtrapolation.shift.boosting import shift_regressor
from fluxtrapolation.shift.conditional import ConditionalShift, conditional
from fluxtrapolation.shift.covariate import CovariateShift, covariate
from fluxtrapolation.shift.decompose import ErrorParts, decompose
from fluxtrapolation.shift.dissimilarity import REFERENCE_ROWS
from fluxtrapolation.shift.distance_distributions import DistanceDistributions, Domain, distance_distributions
from fluxtrapolation.shift.measure_inputs import refuse
from fluxtrapolation.shift.measure_tables import tables_of
from fluxtrapolation.shift.sampling import MAX_ROWS, Protocol

OWN_MODEL: Final = "boosted-trees"
"""Name of the model that is fitted on the spot where none is given."""
OWN_ROWS: Final = 100_000
"""Train rows of that model."""

Tell = Callable[[str, int, int], None]
Found = TypeVar("Found")


@dataclass(frozen=True, eq=False)
class Judged:
    """A model whose errors on the test part are looked at.

    Attributes
    ----------
    name : str
    y_pred : ndarray, shape (test rows,)
        Predictions for ``split.test``, in its order.
    model : object, optional
        The fitted model, where the weights of the covariates can be read from it.
    """

    name: str
    y_pred: NDArray[np.floating[Any]]
    model: Any | None = None


@dataclass(frozen=True)
class MeasureOptions:
    """How much work is done; see :func:`measure`."""

    repeats: int = 10
    max_rows: int | None = MAX_ROWS
    permutations: int = 99
    reference_rows: int = REFERENCE_ROWS
    protocol: Protocol = "paper"
    seed: int = 0
    jobs: int = 2


@dataclass(frozen=True, eq=False)
class ShiftReport:
    """Everything measured of one split.

    Attributes
    ----------
    covariate, conditional, applicability, distances, autocorrelation
        What the functions of the same names tell. The area of applicability is that of the first model; all models'
        errors are told along it. ``applicability`` and ``distances`` are None where they cannot be told, such as with
        one train tower; ``reasons`` then says why.
    parts : mapping of model to ErrorParts
        Of the rows that the protocol counts.
    tables : mapping of polars.DataFrame
        What figures are drawn from: univariate, histograms, importance, calibration, distances, conditional, slices,
        decomposition, decomposition_sites, sites, error_curve, tower_errors, summary, nearest, nearest_summary, acf,
        effective.
    record : dict
        Package version, hashes, options, models, seconds, reasons.
    """

    covariate: CovariateShift
    conditional: ConditionalShift
    applicability: Applicability | None
    parts: Mapping[str, ErrorParts]
    distances: DistanceDistributions | None
    autocorrelation: Autocorrelation
    tables: Mapping[str, pl.DataFrame]
    record: dict[str, Any]

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why a measure is None, by its name."""
        found: dict[str, str] = self.record["reasons"]
        return found

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``covariate, conditional, applicability, decomposition, distances, autocorrelation, record``.

        A measure that cannot be told is ``{"reason": ...}``.
        """

        def told(name: str, found: Applicability | DistanceDistributions | None) -> dict[str, Any]:
            return {"reason": self.reasons[name]} if found is None else found.to_dict()

        return {
            "covariate": self.covariate.to_dict(),
            "conditional": self.conditional.to_dict(),
            "applicability": told("applicability", self.applicability),
            "decomposition": {name: one.to_dict() for name, one in self.parts.items()},
            "distances": told("distances", self.distances),
            "autocorrelation": self.autocorrelation.to_dict(),
            "record": self.record,
        }


def measure(
    split: Split,
    *,
    models: Sequence[Judged] = (),
    options: MeasureOptions | None = None,
    store: Store | None = None,
    domain: Domain | None = None,
    tell: Tell | None = None,
) -> ShiftReport:
    """Measure the shift of a split in every way there is.

    Parameters
    ----------
    split : Split
    models : sequence of Judged
        The first one gives the weights of the covariates for the area of applicability. Without any, boosted trees are
        fitted on the spot (:data:`OWN_MODEL`).
    options : MeasureOptions, optional
    store : Store, optional
        For the coordinates of the towers.
    domain : Domain, optional
        Where predictions are wanted, to compare its distances with those of the test.
    tell : callable, optional
        Hears ``(what, done, total)`` before every step.

    Raises
    ------
    ScenarioError, DataError, ModelError
        If there is nothing to measure: a part is empty, no test row has the target, no covariate varies or one has
        holes; or if models, coordinates, domain or options do not fit, which is told before the work.

    Notes
    -----
    Where the area of applicability or the distances cannot be told, the report has the reason in their place. Where a
    model gives no weights for the covariates (it does not look at them, say), all weigh the same, and a note says so.
    """
    chosen = options or MeasureOptions()
    refuse(split, models, chosen, store, domain)
    step = _Steps(tell)
    reasons: dict[str, str] = {}
    common: dict[str, Any] = {"seed": chosen.seed, "protocol": chosen.protocol}
    sampled = common | {"repeats": chosen.repeats, "max_rows": chosen.max_rows}
    step("P(X)")
    of_x = covariate(split, permutations=chosen.permutations, **sampled)
    step("P(Y|X)")
    of_y = conditional(split, **sampled)
    step("model")
    judged = list(models) or [own_model(split, seed=chosen.seed)]
    parts = _parts(split.test, judged, chosen.protocol)
    step("applicability")
    applied = _told(reasons, "applicability", lambda: _applicability(split, judged, chosen, store))
    step("distances")
    near = _told(
        reasons,
        "distances",
        lambda: distance_distributions(split, coordinates=store, domain=domain, seed=chosen.seed, jobs=chosen.jobs),
    )
    step("autocorrelation")
    series = autocorrelation(split.test, judged[0].y_pred)
    step.close()
    record = {
        "package_version": __version__,
        "scenario": split.scenario.name,
        "scenario_hash": split.scenario.sha256,
        "target": split.target,
        "store_hash": split.store_hash,
        "models": [one.name for one in judged],
        "own_model": not models,
        "repeats": chosen.repeats,
        "max_rows": chosen.max_rows,
        "permutations": chosen.permutations,
        "reference_rows": chosen.reference_rows,
        **common,
        "reasons": reasons,
        "seconds": step.seconds,
    }
    tables = tables_of(split, store, of_x, of_y, applied, parts, near, series, reasons)
    return ShiftReport(of_x, of_y, applied, parts, near, series, tables, record)


def own_model(split: Split, *, seed: int = 0, rows: int = OWN_ROWS) -> Judged:
    """Boosted trees with the settings of the measures, fitted on at most ``rows`` train rows."""
    train = split.train.subsample(rows, seed=seed)
    model = shift_regressor(seed=seed)
    model.fit(train.X, train.y)
    return Judged(OWN_MODEL, np.asarray(model.predict(split.test.X)), model)


def _told(reasons: dict[str, str], name: str, work: Callable[[], Found]) -> Found | None:
    """What ``work`` finds, or None with the reason; its inputs were looked at before."""
    try:
        return work()
    except (DataError, ScenarioError, ModelError) as error:
        reasons[name] = str(error)
        return None


def _applicability(
    split: Split, judged: Sequence[Judged], chosen: MeasureOptions, store: Store | None
) -> Applicability:
    """The area of applicability of the first model; at equal weights, saying so, where it gives none."""
    first = judged[0]

    def work(weights: Literal["model", "equal"]) -> Applicability:
        return applicability(
            first.model,
            split,
            reference_rows=chosen.reference_rows,
            weights=weights,
            predictions={one.name: one.y_pred for one in judged},
            protocol=chosen.protocol,
            coordinates=store,
            seed=chosen.seed,
            jobs=chosen.jobs,
        )

    if first.model is None:
        return work("equal")
    try:
        return work("model")
    except ModelError as error:
        found = work("equal")
        found.record["notes"].append(f"all covariates weigh the same, as {first.name} gives no weights: {error}")
        return found


def _parts(test: Part, judged: Sequence[Judged], protocol: Protocol) -> dict[str, ErrorParts]:
    """What the errors are made of, on the rows that the protocol counts."""
    if protocol == "paper":
        return {one.name: decompose(test, one.y_pred) for one in judged}
    rows = test.qc == 1
    measured = test.take(rows)
    return {one.name: decompose(measured, np.asarray(one.y_pred)[rows]) for one in judged}


class _Steps:
    """Tells of the steps, and keeps their seconds."""

    TOTAL: Final = 6

    def __init__(self, tell: Tell | None) -> None:
        self.seconds: dict[str, float] = {}
        self._tell, self._name, self._since = tell, "", 0.0

    def __call__(self, what: str) -> None:
        self.close()
        if self._tell is not None:
            self._tell(what, len(self.seconds), self.TOTAL)
        self._name, self._since = what, perf_counter()

    def close(self) -> None:
        if self._name:
            self.seconds[self._name] = round(perf_counter() - self._since, 3)
            self._name = ""
