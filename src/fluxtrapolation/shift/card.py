"""The difficulty card of a scenario: how far its test is from its train, in a few numbers and in seconds."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

from fluxtrapolation import __version__
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, FluxtrapolationWarning
from fluxtrapolation.scenarios import Scenario, make_split

CARD_ROWS: Final = 40_000
CARD_REPEATS: Final = 5
CARD_PERMUTATIONS: Final = 49
_DIGITS: Final = 4


def difficulty(
    store: Store | str | Path,
    scenario: Scenario,
    *,
    seed: int = 0,
    max_rows: int = CARD_ROWS,
    repeats: int = CARD_REPEATS,
) -> dict[str, Any]:
    """Measures of shift for the file of a scenario.

    The numbers are those of :func:`fluxtrapolation.shift.covariate` and :func:`fluxtrapolation.shift.conditional` with
    fewer rows and repeats; ``fluxtrapolation shift`` gives them in full, with p-values and figures.

    Parameters
    ----------
    store : Store or path
        It must hold the scenario's towers.
    scenario : Scenario
    seed : int
    max_rows : int
        Train and test rows together.
    repeats : int

    Returns
    -------
    dict
        ``covariate_auc_by_row``, ``covariate_auc_by_site`` (0.5: no shift, 1: disjoint), ``energy_distance``
        (standardised covariates), ``conditional_by_site`` (by target: RMSE increase on the shared support as a
        fraction), and how they were made (``rows, repeats, seed, package_version``). What cannot be estimated is None,
        with its reason under ``reasons``.

    Raises
    ------
    ScenarioError
        If a part is empty.
    """
    from fluxtrapolation.shift.conditional import conditional
    from fluxtrapolation.shift.covariate import covariate

    opened = Store.of(store)
    reasons: dict[str, str] = {}
    card: dict[str, Any] = {}

    def keep(name: str, value: float | None, reason: str | None) -> float | None:
        if value is None and reason:
            reasons[name] = reason
        return None if value is None else round(value, _DIGITS)

    by_target: dict[str, float | None] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FluxtrapolationWarning)  # told once, where the scenario is applied for real
        for number, target in enumerate(opened.targets):
            split = make_split(opened, scenario, target=target, parts=("train", "test"))
            if number == 0:
                found = covariate(
                    split, repeats=repeats, max_rows=max_rows, permutations=CARD_PERMUTATIONS, seed=seed
                )
                for name, measure in (("row", found.by_row), ("site", found.by_site)):
                    label = f"covariate_auc_by_{name}"
                    card[label] = keep(label, measure.auc.mean, measure.auc.reason)
                energy = found.distances.filter(found.distances["measure"] == "energy")
                card["energy_distance"] = round(float(energy["value"][0]), _DIGITS) if energy.height else None
            try:
                shared = conditional(split, repeats=repeats, max_rows=max_rows, seed=seed).by_site.fit_on_train.shared
            except DataError as error:
                by_target[target] = keep(f"conditional_by_site.{target}", None, str(error))
                continue
            increase = shared.rmse_increase
            by_target[target] = keep(f"conditional_by_site.{target}", increase.mean, increase.reason)
    card["conditional_by_site"] = by_target
    if reasons:
        card["reasons"] = reasons
    return card | {"rows": max_rows, "repeats": repeats, "seed": seed, "package_version": __version__}
