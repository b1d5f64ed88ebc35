"""Gradient-boosted trees by LightGBM, with gradient-based one-side sampling."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.models.base import FluxModel
from fluxtrapolation.models.boosted import tree_report
from fluxtrapolation.models.registry import ModelSpec, Needs

if TYPE_CHECKING:
    import optuna


class LightGBM(FluxModel):
    """LightGBM regression trees, grown leaf by leaf on rows sampled by gradient (GOSS), with squared error.

    Each tree is grown on the fifth of the rows with the largest gradients and a random tenth of the others, which count
    8 times; the first ``1 / learning_rate`` trees see all rows (LightGBM's defaults).

    Parameters
    ----------
    n_estimators : int
        Most trees; fewer where ``early_stopping`` rounds bring no better validation RMSE.
    learning_rate : float
    max_depth : int
    num_leaves : int
        Most leaves of a tree.
    min_child_samples : int
        Fewest rows in a leaf.
    colsample : float
        Share of columns for each tree.
    early_stopping : int
        Rounds without improvement before stopping; used only when ``fit`` gets an ``eval_set``.
    n_jobs : int
        Threads; 0 means all. A fit repeats exactly with the same number of threads: each thread samples its own share
        of the rows (LightGBM issue 5441).

    Source: Ke et al. (2017), "LightGBM: A highly efficient gradient boosting decision tree", NeurIPS 30.
    """

    name = "lightgbm"

    def __init__(
        self,
        n_estimators: int = 300,
        learning_rate: float = 0.1,
        max_depth: int = 8,
        num_leaves: int = 31,
        min_child_samples: int = 20,
        colsample: float = 0.8,
        early_stopping: int = 10,
        n_jobs: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.max_depth = max_depth
        self.num_leaves = num_leaves
        self.min_child_samples = min_child_samples
        self.colsample = colsample
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
        lightgbm = _library()
        begin = time.monotonic()
        params = {
            "objective": "regression",
            "metric": "rmse",
            "data_sample_strategy": "goss",
            "learning_rate": self.learning_rate,
            "max_depth": self.max_depth,
            "num_leaves": self.num_leaves,
            "min_data_in_leaf": self.min_child_samples,
            "feature_fraction": self.colsample,
            "seed": seed % 2**31,  # LightGBM's seeds have a sign bit
            "deterministic": True,
            "force_row_wise": True,  # else a timing at the start decides, and with it the order of sums
            "num_threads": self.n_jobs,
            "verbosity": -1,
        }
        train = lightgbm.Dataset(X, label=y, params=params)
        held = []
        history: dict[str, Any] = {}
        callbacks = []
        if validation is not None:
            held = [lightgbm.Dataset(validation[0], label=validation[1], reference=train, params=params)]
            callbacks = [
                lightgbm.record_evaluation(history),
                lightgbm.early_stopping(self.early_stopping, verbose=False),
            ]
        limit = _TimeLimit(begin + time_limit) if time_limit is not None else None
        if limit is not None:
            callbacks.append(limit)
        grown = lightgbm.train(
            params,
            train,
            num_boost_round=self.n_estimators,
            valid_sets=held,
            valid_names=["validation"] if held else [],
            callbacks=callbacks,
        )
        scores = history["validation"]["rmse"] if held else []
        # The best round even where the time ran out before early stopping had its say.
        best = int(np.argmin(scores)) + 1 if scores else grown.current_iteration()
        self.booster_ = lightgbm.Booster(model_str=grown.model_to_string(num_iteration=best))
        self.trees_ = self.booster_.num_trees()
        self.report_ = tree_report(
            kept=self.trees_,
            grown=len(scores) or self.trees_,
            most=self.n_estimators,
            out_of_time=limit is not None and limit.reached,
            validation_rmse=scores,
        )

    def _predict(self, X: NDArray[np.float32]) -> NDArray[Any]:
        return np.asarray(self.booster_.predict(X, num_threads=self.n_jobs))

    def _save(self, folder: Path) -> None:
        (folder / "booster.txt").write_text(self.booster_.model_to_string(), encoding="utf-8")

    def _load(self, folder: Path) -> None:
        text = (folder / "booster.txt").read_text(encoding="utf-8")
        try:
            self.booster_ = _library().Booster(model_str=text)
        except _library().basic.LightGBMError as error:
            raise ValueError(str(error)) from None
        self.trees_ = self.booster_.num_trees()


class _TimeLimit:
    """Ends training at a time of the monotonic clock, the way LightGBM's own early stopping does."""

    order = 40  # after the recording of scores (20) and early stopping (30)

    def __init__(self, end: float) -> None:
        self.end, self.reached = end, False

    def __call__(self, env: Any) -> None:
        if time.monotonic() >= self.end:
            self.reached = True
            raise _library().callback.EarlyStopException(env.iteration, env.evaluation_result_list or [])


def _library() -> Any:
    """Import lightgbm, its idle threads told to sleep (as for xgboost)."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import lightgbm

    return lightgbm


def _lightgbm() -> type[FluxModel]:
    _library()  # a missing library is told here, before anything is trained
    return LightGBM


def _space(trial: optuna.Trial) -> dict[str, Any]:
    depth = trial.suggest_int("max_depth", 3, 12)
    most = min(65, 2**depth - 1)
    return {
        "n_estimators": trial.suggest_int("n_estimators", 100, 500),
        "learning_rate": trial.suggest_float("learning_rate", 0.05, 0.2, log=True),
        "max_depth": depth,
        # A tree of depth 3 has at most 8 leaves: there the published range 15..7 is empty, and 7 is taken.
        "num_leaves": trial.suggest_int("num_leaves", min(15, most), most),
        "min_child_samples": trial.suggest_int("min_child_samples", 5, 30),
        "colsample": trial.suggest_float("colsample", 0.6, 1.0),
    }


SPECS = (
    ModelSpec(
        name="lightgbm",
        summary="gradient-boosted trees with one-side sampling (LightGBM, GOSS)",
        factory=_lightgbm,
        source="Ke et al. (2017), LightGBM, NeurIPS 30",
        space=_space,
        space_text=(
            "n_estimators: 100..500; learning_rate: log-uniform 0.05..0.2; max_depth: 3..12; "
            "num_leaves: 15..min(65, 2^max_depth - 1); min_child_samples: 5..30; colsample: 0.6..1; "
            "early stopping after 10 rounds"
        ),
        needs=Needs(validation=True, extra="trees"),
    ),
)
