"""Gradient-boosted symmetric trees by CatBoost."""

from __future__ import annotations

import os
import re
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


class CatBoost(FluxModel):
    """CatBoost regression: symmetric trees (one split for all nodes of a level), squared error, on the CPU.

    Parameters
    ----------
    n_estimators : int
        Most trees; fewer where ``early_stopping`` rounds bring no better validation RMSE.
    depth : int
        Levels of each tree, 1 to 16.
    learning_rate : float
    l2_leaf_reg : float
        Penalty on the values of leaves.
    early_stopping : int
        Rounds without improvement before stopping; used only when ``fit`` gets an ``eval_set``.
    n_jobs : int
        Threads; 0 means all.

    Source: Prokhorenkova et al. (2018), arXiv 1706.09516.
    """

    name = "catboost"

    def __init__(
        self,
        n_estimators: int = 500,
        depth: int = 6,
        learning_rate: float = 0.1,
        l2_leaf_reg: float = 3.0,
        early_stopping: int = 10,
        n_jobs: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.depth = depth
        self.learning_rate = learning_rate
        self.l2_leaf_reg = l2_leaf_reg
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
        catboost = _library()
        limit = _TimeLimit(float("inf") if time_limit is None else time.monotonic() + time_limit)
        constant = bool((y == y[0]).all())  # CatBoost refuses such a target
        self.level_ = float(y[0]) if constant else None
        if constant:
            self.report_ = {"trees": 0, "stopped": "constant target"}
            return
        model = catboost.CatBoostRegressor(
            iterations=self.n_estimators,
            depth=self.depth,
            learning_rate=self.learning_rate,
            l2_leaf_reg=self.l2_leaf_reg,
            loss_function="RMSE",
            random_seed=seed % 2**31,
            thread_count=self.n_jobs or -1,
            task_type="CPU",
            allow_writing_files=False,  # else it leaves a folder catboost_info in the current one
            logging_level="Silent",
        )
        held = None if validation is None else catboost.Pool(validation[0], validation[1])
        model.fit(
            catboost.Pool(X, y),
            eval_set=held,
            early_stopping_rounds=None if held is None else self.early_stopping,
            use_best_model=held is not None,
            callbacks=[limit],
        )
        self.booster_ = model
        scores = model.get_evals_result()["validation"]["RMSE"] if held is not None else []
        self.report_ = tree_report(
            kept=int(model.tree_count_),
            grown=len(scores) or int(model.tree_count_),
            most=self.n_estimators,
            out_of_time=limit.reached,
            validation_rmse=scores,
        )

    def _predict(self, X: NDArray[np.float32]) -> NDArray[Any]:
        if self.level_ is not None:
            return np.full(len(X), self.level_)
        return np.asarray(self.booster_.predict(X, thread_count=self.n_jobs or -1))

    def _save(self, folder: Path) -> None:
        if self.level_ is not None:
            (folder / "level.txt").write_text(repr(self.level_))
            return
        try:
            self.booster_.save_model(str(folder / "booster.cbm"), format="cbm")
        except _library().CatBoostError as error:
            # A full disk is told as text, "(Error 28: No space left on device)".
            number = re.search(r"\(Error (\d+):", str(error))
            if number is None:
                raise
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from None

    def _load(self, folder: Path) -> None:
        if (folder / "level.txt").is_file():
            self.level_ = float((folder / "level.txt").read_text())
            return
        self.level_ = None
        self.booster_ = _library().CatBoostRegressor()
        try:
            self.booster_.load_model(str(folder / "booster.cbm"), format="cbm")
        except _library().CatBoostError as error:
            raise ValueError(str(error)) from None


class _TimeLimit:
    """CatBoost's callback: training goes on while it gives true."""

    def __init__(self, end: float) -> None:
        self.end, self.reached = end, False

    def after_iteration(self, info: Any) -> bool:  # noqa: ARG002
        self.reached = time.monotonic() >= self.end
        return not self.reached


def _library() -> Any:
    import catboost

    return catboost


def _catboost() -> type[FluxModel]:
    _library()  # a missing library is told here, before anything is trained
    return CatBoost


def _space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "n_estimators": trial.suggest_int("n_estimators", 100, 1000),
        "depth": trial.suggest_int("depth", 4, 10),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        "l2_leaf_reg": trial.suggest_float("l2_leaf_reg", 1.0, 10.0, log=True),
    }


SPECS = (
    ModelSpec(
        name="catboost",
        summary="gradient-boosted symmetric trees (CatBoost)",
        factory=_catboost,
        source="Prokhorenkova et al. (2018), arXiv 1706.09516",
        space=_space,
        space_text=(
            "n_estimators: 100..1000; depth: 4..10; learning_rate: log-uniform 0.01..0.3; "
            "l2_leaf_reg: log-uniform 1..10; early stopping after 10 rounds"
        ),
        needs=Needs(validation=True, extra="catboost"),
    ),
)
