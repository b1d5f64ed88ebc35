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
        splits, refused = _splits(opened, scenario)
        for target, error in refused.items():
            by_target[target] = keep(f"conditional_by_site.{target}", None, str(error))
        for target, split in splits.items():
            if not card:
                try:
                    found = covariate(
                        split, repeats=repeats, max_rows=max_rows, permutations=CARD_PERMUTATIONS, seed=seed
                    )
                except DataError as error:
                    card |= {name: keep(name, None, str(error)) for name in OF_COVARIATES}
                else:
                    energy = found.distances.filter(found.distances["measure"] == "energy")
                    told = (found.by_row.auc, found.by_site.auc, Estimate(float(energy["value"][0]), n=1))
                    card |= {n: keep(n, one.mean, one.reason) for n, one in zip(OF_COVARIATES, told, strict=True)}
            try:
                # Only what the card tells: the rest takes ten times as long.
                shared = conditional(
                    split,
                    repeats=repeats,
                    max_rows=max_rows,
                    seed=seed,
                    fit_on=("train",),
                    units=("site",),
                    slice_rows=0,
                ).by_site.fit_on_train.shared
            except (DataError, ScenarioError) as error:
                by_target[target] = keep(f"conditional_by_site.{target}", None, str(error))
                continue
            increase = shared.rmse_increase
            by_target[target] = keep(f"conditional_by_site.{target}", increase.mean, increase.reason)
    card["conditional_by_site"] = by_target
    if reasons:
        card["reasons"] = reasons
    return card | {"rows": max_rows, "repeats": repeats, "seed": seed, "package_version": __version__}


def _splits(store: Store, scenario: Scenario) -> tuple[dict[str, Split], dict[str, DataError | ScenarioError]]:
    """Splits by target, and why others cannot be made; raises the first of these reasons where none can be."""
    splits: dict[str, Split] = {}
    refused: dict[str, DataError | ScenarioError] = {}
    for target in store.targets:
        try:
            splits[target] = make_split(store, scenario, target=target, parts=("train", "test"))
        except (DataError, ScenarioError) as error:
            refused[target] = error
    if not splits:
        raise next(iter(refused.values()))
    return splits, refused
