"""All measures of shift of one split together, as tables: what the command ``fluxtrapolation shift`` runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation import __version__
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, examples
from fluxtrapolation.scenarios import Split
from fluxtrapolation.schema import SITE
from fluxtrapolation.shift.applicability import Applicability, applicability
from fluxtrapolation.shift.autocorrelation import Autocorrelation, autocorrelation
from fluxtrapolation.shift.boosting import shift_regressor
from fluxtrapolation.shift.conditional import ConditionalShift, conditional
from fluxtrapolation.shift.covariate import CovariateShift, covariate
from fluxtrapolation.shift.decompose import ErrorParts, decompose
from fluxtrapolation.shift.dissimilarity import REFERENCE_ROWS
from fluxtrapolation.shift.distance_distributions import DistanceDistributions, Domain, distance_distributions
from fluxtrapolation.shift.sampling import MAX_ROWS, Protocol

OWN_MODEL: Final = "boosted-trees"
"""Name of the model that is fitted on the spot where none is given."""
OWN_ROWS: Final = 100_000
"""Train rows of that model."""

Tell = Callable[[str, int, int], None]


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
        errors are told along it.
    parts : mapping of model to ErrorParts
    tables : mapping of polars.DataFrame
        What figures are drawn from: univariate, histograms, importance, calibration, distances, conditional, slices,
        decomposition, decomposition_sites, sites, error_curve, summary, nearest, nearest_summary, acf, effective.
    record : dict
        Package version, hashes, options, models, seconds.
    """

    covariate: CovariateShift
    conditional: ConditionalShift
    applicability: Applicability
    parts: Mapping[str, ErrorParts]
    distances: DistanceDistributions
    autocorrelation: Autocorrelation
    tables: Mapping[str, pl.DataFrame]
    record: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: ``covariate, conditional, applicability, decomposition, distances, autocorrelation, record``."""
        return {
            "covariate": self.covariate.to_dict(),
            "conditional": self.conditional.to_dict(),
            "applicability": self.applicability.to_dict(),
            "decomposition": {name: one.to_dict() for name, one in self.parts.items()},
            "distances": self.distances.to_dict(),
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
        As its parts do.
    """
    chosen = options or MeasureOptions()
    step = _Steps(tell)
    common: dict[str, Any] = {"seed": chosen.seed, "protocol": chosen.protocol}
    sampled = common | {"repeats": chosen.repeats, "max_rows": chosen.max_rows}
    _refuse_twice(models)
    step("P(X)")
    of_x = covariate(split, permutations=chosen.permutations, **sampled)
    step("P(Y|X)")
    of_y = conditional(split, **sampled)
    step("model")
    judged = list(models) or [own_model(split, seed=chosen.seed)]
    step("applicability")
    first = judged[0]
    applied = applicability(
        first.model,
        split,
        reference_rows=chosen.reference_rows,
        weights="equal" if first.model is None else "model",
        predictions={one.name: one.y_pred for one in judged},
        coordinates=store,
        jobs=chosen.jobs,
        **common,
    )
    parts = {one.name: decompose(split.test, one.y_pred) for one in judged}
    step("distances")
    near = distance_distributions(split, coordinates=store, domain=domain, seed=chosen.seed, jobs=chosen.jobs)
    step("autocorrelation")
    series = autocorrelation(split.test, first.y_pred)
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
        "seconds": step.seconds,
    }
    tables = _tables(split, store, of_x, of_y, applied, parts, near, series)
    return ShiftReport(of_x, of_y, applied, parts, near, series, tables, record)


def own_model(split: Split, *, seed: int = 0, rows: int = OWN_ROWS) -> Judged:
    """Boosted trees with the settings of the measures, fitted on at most ``rows`` train rows."""
    train = split.train.subsample(rows, seed=seed)
    model = shift_regressor(seed=seed)
    model.fit(train.X, train.y)
    return Judged(OWN_MODEL, np.asarray(model.predict(split.test.X)), model)


def _refuse_twice(models: Sequence[Judged]) -> None:
    names = [one.name for one in models]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{len(twice)} names stand for more than one model: {examples(twice)}. Give each its own name.")


def _tables(
    split: Split,
    store: Store | None,
    of_x: CovariateShift,
    of_y: ConditionalShift,
    applied: Applicability,
    parts: Mapping[str, ErrorParts],
    near: DistanceDistributions,
    series: Autocorrelation,
) -> dict[str, pl.DataFrame]:
    def with_model(frames: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        return pl.concat(frame.select(pl.lit(name).alias("model"), pl.all()) for name, frame in frames.items())

    return {
        "univariate": of_x.univariate,
        "histograms": of_x.histograms,
        "importance": of_x.importance,
        "calibration": of_x.calibration,
        "distances": of_x.distances,
        "conditional": of_y.table,
        "slices": of_y.slices,
        "decomposition": with_model({name: one.overall for name, one in parts.items()}),
        "decomposition_sites": with_model({name: one.sites for name, one in parts.items()}),
        "sites": _sites(split, store, applied),
        "error_curve": applied.error_curve,
        "tower_errors": applied.tower_errors,
        "summary": applied.summary,
        "nearest": near.table,
        "nearest_summary": near.summary,
        "acf": series.table,
        "effective": series.effective,
    }


def _sites(split: Split, store: Store | None, applied: Applicability) -> pl.DataFrame:
    """Test towers with their index, and the towers of the other parts beside them, for maps."""
    tables = [applied.sites.with_columns(pl.lit("test").alias("part"))]
    seen = set(split.test.sites)
    for part in (split.train, split.validation):
        others = [site for site in part.sites if site not in seen]
        seen.update(others)
        if store is not None and others:
            records = [store.record(site) for site in others]
            places = {"lat": [one.lat for one in records], "lon": [one.lon for one in records]}
            tables.append(pl.DataFrame({SITE: others, **places, "part": [part.name] * len(others)}))
    return pl.concat(tables, how="diagonal_relaxed")


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
