"""What a report on shift refuses before the work begins, which takes minutes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, ScenarioError, examples
from fluxtrapolation.scenarios import Split
from fluxtrapolation.shift.applicability_places import places
from fluxtrapolation.shift.distance_distributions import Domain
from fluxtrapolation.shift.nearest import refuse_jobs

if TYPE_CHECKING:
    from fluxtrapolation.shift.measure import Judged, MeasureOptions


def refuse(
    split: Split, models: Sequence[Judged], chosen: MeasureOptions, store: Store | None, domain: Domain | None
) -> None:
    """Refuse what cannot be measured.

    Raises
    ------
    DataError
        If names of models repeat, predictions do not fit the test rows, a tower has no coordinates in the store, the
        domain does not fit, or an option makes no sense.
    ScenarioError
        If no test row that counts has the target.
    """
    if chosen.reference_rows < 2:
        raise DataError(f"reference_rows must be at least 2, not {chosen.reference_rows}.")
    refuse_jobs(chosen.jobs)
    _models(split, models)
    counted = np.isfinite(split.test.y) & ((split.test.qc == 1) if chosen.protocol == "measured" else True)
    if not counted.any():
        raise ScenarioError(
            f"Scenario '{split.scenario.name}': not one of the {len(split.test):,} test rows has {split.target} under "
            f"protocol {chosen.protocol}, so no error can be looked at. Choose another scenario, target or protocol."
        )
    if store is not None:
        places(store, sorted({site for part in split.parts for site in part.sites}))
    if domain is not None:
        domain.refuse_other_than(split.feature_names)


def _models(split: Split, models: Sequence[Judged]) -> None:
    names = [one.name for one in models]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{len(twice)} names stand for more than one model: {examples(twice)}. Give each its own name.")
    for one in models:
        predicted = np.asarray(one.y_pred, dtype=np.float64)
        if predicted.shape != split.test.y.shape:
            raise DataError(
                f"The predictions of {one.name} have shape {predicted.shape}; the test part has {len(split.test):,} "
                "rows. Give one prediction per row of split.test, in its order."
            )
        lost = ~np.isfinite(predicted)
        if lost.any():
            raise DataError(
                f"{int(lost.sum()):,} predictions of {one.name} are missing or infinite, first in row "
                f"{int(lost.argmax()):,}."
            )
