"""Gradient-boosted trees."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.models.base import FluxModel
from fluxtrapolation.models.registry import ModelSpec, Needs

if TYPE_CHECKING:
    import optuna


class XGBoost(FluxModel):
    """XGBoost regression trees with squared error and early stopping on the validation rows.

    Parameters
    ----------
    n_estimators : int
        Most trees; fewer where ``early_stopping`` rounds bring no better validation RMSE.
    max_depth : int
    learning_rate : float
    subsample : float
        Share of rows for each tree.
    early_stopping : int
        Rounds without improvement before stopping; used only when ``fit`` gets an ``eval_set``.
    n_jobs : int
        Threads; 0 means all.

    Source: Chen and Guestrin (2016), doi:10.1145/2939672.2939785.
    """

    name = "xgb"

    def __init__(
        self,
        n_estimators: int = 500,
        max_depth: int = 6,
        learning_rate: float = 0.1,
        subsample: float = 0.8,
        early_stopping: int = 10,
        n_jobs: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.subsample = subsample
        self.early_stopping = early_stopping
        self.n_jobs = n_jobs

    def _fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float32],
        *,
        domains: NDArray[Any] | None,  # noqa: ARG002
        validation: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
        seed: int,
        time_limit: float | None,
    ) -> None:
        xgboost = _library()
        train = xgboost.QuantileDMatrix(X, label=y, nthread=self.n_jobs or None)
        callbacks: list[Any] = []
        evals: list[tuple[Any, str]] = []
        if validation is not None:
            held = xgboost.QuantileDMatrix(validation[0], label=validation[1], ref=train, nthread=self.n_jobs or None)
            evals = [(held, "validation")]
            callbacks.append(xgboost.callback.EarlyStopping(rounds=self.early_stopping, save_best=True))
        if time_limit is not None:
            callbacks.append(_time_limit_callback()(time_limit))
        self.booster_ = xgboost.train(
            {
                "objective": "reg:squarederror",
                "eval_metric": "rmse",
                "tree_method": "hist",
                "max_depth": self.max_depth,
                "learning_rate": self.learning_rate,
                "subsample": self.subsample,
                "seed": seed,
                "nthread": self.n_jobs,
                "verbosity": 1,
            },
            train,
            num_boost_round=self.n_estimators,
            evals=evals,
            callbacks=callbacks,
            verbose_eval=False,
        )
        self.trees_ = self.booster_.num_boosted_rounds()

    def _predict(self, X: NDArray[np.float32]) -> NDArray[Any]:
        return np.asarray(self.booster_.inplace_predict(X, validate_features=False))

    def _save(self, folder: Path) -> None:
        # Written by Python, not by XGBoost, whose error on a full disk does not say so.
        (folder / "booster.ubj").write_bytes(self.booster_.save_raw("ubj"))

    def _load(self, folder: Path) -> None:
        self.booster_ = _library().Booster(model_file=folder / "booster.ubj")
        self.trees_ = self.booster_.num_boosted_rounds()


@cache
def _time_limit_callback() -> Any:
    """A callback class that ends training after some seconds (made late: its base class lives in xgboost)."""
    import time

    xgboost = _library()

    base: Any = xgboost.callback.TrainingCallback

    class TimeLimit(base):  # type: ignore[misc]
        def __init__(self, seconds: float) -> None:
            super().__init__()
            self.end = time.monotonic() + seconds

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
            return time.monotonic() >= self.end

    return TimeLimit


def _library() -> Any:
    """Import xgboost, its idle threads told to sleep.

    Spinning threads cost nothing on an idle machine, but where other work shares the cores they make a fit up to ten
    times slower (25 s instead of 3 s in one measurement). The setting counts only if the user made none.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import xgboost

    return xgboost


def _xgb() -> type[FluxModel]:
    _library()  # a missing library is told here, before anything is trained
    return XGBoost


def _xgb_space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "n_estimators": trial.suggest_int("n_estimators", 100, 1000),
        "max_depth": trial.suggest_int("max_depth", 3, 10),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        "subsample": trial.suggest_float("subsample", 0.6, 1.0),
    }


SPECS = (
    ModelSpec(
        name="xgb",
        summary="gradient-boosted trees (XGBoost)",
        factory=_xgb,
        source="Chen and Guestrin (2016), doi:10.1145/2939672.2939785",
        space=_xgb_space,
        space_text=(
            "n_estimators: 100..1000; max_depth: 3..10; learning_rate: log-uniform 0.01..0.3; subsample: 0.6..1; "
            "early stopping after 10 rounds"
        ),
        needs=Needs(validation=True, extra="trees"),
    ),
)
