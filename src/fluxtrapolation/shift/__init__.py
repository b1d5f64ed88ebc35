"""How far the test is from the train: P(X), P(Y|X), where a model extrapolates, and what autocorrelation leaves.

>>> import fluxtrapolation as ft                                                    # doctest: +SKIP
>>> split = ft.split("towers/", "temperature", target="GPP")                        # doctest: +SKIP
>>> ft.shift.covariate(split).by_site.auc                                           # doctest: +SKIP
>>> ft.shift.conditional(split).by_site.fit_on_train.shared.rmse_increase           # doctest: +SKIP
>>> ft.shift.applicability(model, split).outside_share                              # doctest: +SKIP

The functions have the names of their modules, and stand before them: ``ft.shift.covariate`` is the function.
"""

from __future__ import annotations

from fluxtrapolation.shift.applicability import Applicability, applicability
from fluxtrapolation.shift.autocorrelation import Autocorrelation, autocorrelation
from fluxtrapolation.shift.card import difficulty
from fluxtrapolation.shift.conditional import ConditionalShift, conditional
from fluxtrapolation.shift.covariate import CovariateShift, covariate
from fluxtrapolation.shift.decompose import ErrorParts, compare_parts, decompose
from fluxtrapolation.shift.distance_distributions import DistanceDistributions, Domain, distance_distributions
from fluxtrapolation.shift.estimate import Estimate
from fluxtrapolation.shift.measure import Judged, MeasureOptions, ShiftReport, measure
from fluxtrapolation.shift.slices import Slices, slices

__all__ = [
    "Applicability",
    "Autocorrelation",
    "ConditionalShift",
    "CovariateShift",
    "DistanceDistributions",
    "Domain",
    "ErrorParts",
    "Estimate",
    "Judged",
    "MeasureOptions",
    "ShiftReport",
    "Slices",
    "applicability",
    "autocorrelation",
    "compare_parts",
    "conditional",
    "covariate",
    "decompose",
    "difficulty",
    "distance_distributions",
    "measure",
    "slices",
]
