"""MaxRM: forests whose leaf values minimise the worst train domain's risk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fluxtrapolation.models.base import FluxModel
from fluxtrapolation.models.registry import ModelSpec, Needs

if TYPE_CHECKING:
    import optuna

_SOURCE = "Freni, Fries, Kühne, Reichstein and Peters (2025), arXiv:2512.10445"


def _mse() -> type[FluxModel]:
    import sklearn  # noqa: F401 (a missing library is told here, before anything is trained)

    from fluxtrapolation.models.maxrm.model import MaxRMMse

    return MaxRMMse


def _regret() -> type[FluxModel]:
    import sklearn  # noqa: F401

    from fluxtrapolation.models.maxrm.model import MaxRMRegret

    return MaxRMRegret


def _space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "n_estimators": trial.suggest_categorical("n_estimators", [100, 200, 500, 1000]),
        "min_samples_leaf": trial.suggest_int("min_samples_leaf", 5, 50),
    }


_SPACE_TEXT = "n_estimators: 100, 200, 500, 1000; min_samples_leaf: 5..50"

SPECS = (
    ModelSpec(
        name="maxrm-mse",
        summary="random forest, leaf values minimising the worst train domain's squared error",
        factory=_mse,
        source=_SOURCE,
        space=_space,
        space_text=_SPACE_TEXT,
        needs=Needs(domains=True, extra="models"),
    ),
    ModelSpec(
        name="maxrm-regret",
        summary="random forest, leaf values minimising the worst train domain's regret against its own forest",
        factory=_regret,
        source=_SOURCE,
        space=_space,
        space_text=_SPACE_TEXT,
        needs=Needs(domains=True, extra="models"),
    ),
)
