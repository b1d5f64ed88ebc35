"""The difficulty card of a scenario: how far its test is from its train, in a few numbers and in seconds."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Final

from fluxtrapolation import __version__
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, FluxtrapolationWarning, ScenarioError
from fluxtrapolation.scenarios import Scenario, Split, make_split
from fluxtrapolation.shift.estimate import Estimate

CARD_ROWS: Final = 20_000
CARD_REPEATS: Final = 5
CARD_PERMUTATIONS: Final = 1  # the card tells no p-value of the classifier
OF_COVARIATES: Final = ("covariate_auc_by_row", "covariate_auc_by_site", "energy_distance")
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
    DataError, ScenarioError
        If not one target of the store makes a split of it, because a part is empty.
    """
    from fluxtrapolation.shift.conditional import conditional

    opened = Store.of(store)
    reasons: dict[str, str] = {}
    card: dict[str, Any] = {}
    refused: DataError | ScenarioError | None = None

    def keep(name: str, found: Estimate) -> float | None:
        if found.mean is None:
            reasons[name] = found.reason or "no reason given"
        return None if found.mean is None else round(found.mean, _DIGITS)

    by_target: dict[str, float | None] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FluxtrapolationWarning)  # told once, where the scenario is applied for real
        for target in opened.targets:  # one split at a time is held
            try:
                split = make_split(opened, scenario, target=target, parts=("train", "test"))
                if not card:
                    found = _of_covariates(split, repeats=repeats, max_rows=max_rows, seed=seed)
                    card |= {name: keep(name, one) for name, one in found.items()}
                # Only what the card tells: the rest takes ten times as long.
                shared = conditional(
                    split,
                    repeats=repeats,
                    max_rows=max_rows,
                    seed=seed,
                    fit_on=("train",),
                    units=("site",),
                    slice_rows=0,
                ).by_site.fit_on_train.shared.rmse_increase
            except (DataError, ScenarioError) as error:
                refused, shared = refused or error, Estimate.cannot(str(error))
            by_target[target] = keep(f"conditional_by_site.{target}", shared)
    if not card and refused is not None:
        raise refused
    card["conditional_by_site"] = by_target
    if reasons:
        card["reasons"] = reasons
    return card | {"rows": max_rows, "repeats": repeats, "seed": seed, "package_version": __version__}


def _of_covariates(split: Split, *, repeats: int, max_rows: int, seed: int) -> dict[str, Estimate]:
    """What the card tells of P(X); a reason where no covariate varies or one has holes."""
    from fluxtrapolation.shift.covariate import covariate

    try:
        found = covariate(split, repeats=repeats, max_rows=max_rows, permutations=CARD_PERMUTATIONS, seed=seed)
    except DataError as error:
        return dict.fromkeys(OF_COVARIATES, Estimate.cannot(str(error)))
    energy = float(found.distances.filter(found.distances["measure"] == "energy")["value"][0])
    return dict(zip(OF_COVARIATES, (found.by_row.auc, found.by_site.auc, Estimate(energy, n=1)), strict=True))
