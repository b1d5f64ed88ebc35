"""Gradient-boosted trees by XGBoost: on all covariates, on a cautious few, and with domains weighted equally."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.errors import ModelError, examples
from fluxtrapolation.models.base import FluxModel
from fluxtrapolation.models.registry import ModelSpec, Needs
from fluxtrapolation.schema import PFT_PREFIX

if TYPE_CHECKING:
    import optuna

CONSERVATIVE = ("TA", "VPD", "SW_IN", "EVI", "NDWI_SWIR2")
"""Covariates of ``xgb-conservative`` beside the plant functional types (BENCHMARK, section 3)."""


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
        domains: NDArray[Any] | None,
        validation: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
        seed: int,
        time_limit: float | None,
    ) -> None:
        xgboost = _library()
        threads = self.n_jobs or None
        weight = self._row_weights(domains)
        train = xgboost.QuantileDMatrix(self._columns(X), label=y, weight=weight, nthread=threads)
        callbacks: list[Any] = []
        evals: list[tuple[Any, str]] = []
        if validation is not None:
            rows = self._columns(validation[0])
            held = xgboost.QuantileDMatrix(rows, label=validation[1], ref=train, nthread=threads)
            evals = [(held, "validation")]
            callbacks.append(xgboost.callback.EarlyStopping(rounds=self.early_stopping, save_best=True))
        limit = None if time_limit is None else _time_limit_callback()(time_limit)
        if limit is not None:
            callbacks.append(limit)
        history: dict[str, Any] = {}
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
            evals_result=history,
            callbacks=callbacks,
            verbose_eval=False,
        )
        self.trees_ = self.booster_.num_boosted_rounds()
        grown = history["validation"]["rmse"] if validation is not None else []
        self.report_ |= tree_report(
            kept=self.trees_,
            grown=len(grown) or self.trees_,
            most=self.n_estimators,
            out_of_time=limit is not None and limit.reached,
            validation_rmse=grown,
        )

    def _predict(self, X: NDArray[np.float32]) -> NDArray[Any]:
        return np.asarray(self.booster_.inplace_predict(self._columns(X), validate_features=False))

    def _columns(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """The columns the trees are grown on."""
        return X

    def _row_weights(self, domains: NDArray[Any] | None) -> NDArray[np.float32] | None:  # noqa: ARG002
        """The weight of each train row; None for equal ones."""
        return None

    def _save(self, folder: Path) -> None:
        # Written by Python, not by XGBoost, whose error on a full disk does not say so.
        (folder / "booster.ubj").write_bytes(self.booster_.save_raw("ubj"))

    def _load(self, folder: Path) -> None:
        # The file does not keep the number of threads.
        self.booster_ = _library().Booster({"nthread": self.n_jobs}, model_file=folder / "booster.ubj")
        self.trees_ = self.booster_.num_boosted_rounds()


class ConservativeXGBoost(XGBoost):
    """XGBoost on the covariates whose meaning does not change between towers: see ``CONSERVATIVE``.

    Where the store lacks some of them the model uses the others, and says so in ``notes_``. Parameters are those of
    :class:`XGBoost`.
    """

    name = "xgb-conservative"

    def _fit(self, X: NDArray[np.float32], y: NDArray[np.float32], **more: Any) -> None:
        names = self.feature_names_
        if names is None:
            raise ModelError(
                f"{self.name} chooses columns by name: give fit the names of the columns of X as feature_names."
            )
        used = [names[i] for i in self._chosen()]
        if not used:
            raise ModelError(
                f"{self.name} is fitted on {', '.join(CONSERVATIVE)} and PFT_*, and X has none of them. "
                f"Its columns: {examples(names, 8)}."
            )
        super()._fit(X, y, **more)
        self.report_["columns"] = used
        lacking = [name for name in CONSERVATIVE if name not in names]
        if not any(name.startswith(PFT_PREFIX) for name in names):
            lacking.append(f"{PFT_PREFIX}*")
        if lacking:
            self.notes_ = (f"{self.name}: the store lacks {', '.join(lacking)}; fitted without",)

    def _chosen(self) -> list[int]:
        names = self.feature_names_ or ()
        return [i for i, name in enumerate(names) if name in CONSERVATIVE or name.startswith(PFT_PREFIX)]

    def _columns(self, X: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.ascontiguousarray(X[:, self._chosen()])


class BalancedXGBoost(XGBoost):
    """XGBoost with every train domain weighted equally, however many rows it has.

    A row weighs ``n / (D n_d)``, with n rows, D domains and n_d rows in the row's domain: the mean weight is 1. Domains
    are those of the scenario: sites, or site-years in a scenario by years, where a site with more years then still
    counts more. Early stopping looks at the plain RMSE of the validation rows, as ``xgb`` does. Parameters are those of
    :class:`XGBoost`.
    """

    name = "xgb-balanced"

    def _fit(self, X: NDArray[np.float32], y: NDArray[np.float32], **more: Any) -> None:
        super()._fit(X, y, **more)
        counts = np.unique(more["domains"], return_counts=True)[1]
        self.report_ |= {"domains": len(counts), "rows_of_domains": [int(counts.min()), int(counts.max())]}

    def _row_weights(self, domains: NDArray[Any] | None) -> NDArray[np.float32]:
        if domains is None:
            raise ModelError(f"{self.name} weighs domains equally: give fit the domain of each row as domains.")
        codes, counts = np.unique(domains, return_inverse=True, return_counts=True)[1:]
        return np.asarray((len(codes) / (len(counts) * counts))[codes], dtype=np.float32)


def tree_report(
    *, kept: int, grown: int, most: int, out_of_time: bool, validation_rmse: Sequence[float]
) -> dict[str, Any]:
    """The facts of a boosted fit: trees kept and grown, why it stopped, and the best validation RMSE, if any."""
    stopped = "n_estimators" if grown >= most else "time_limit" if out_of_time else "early_stopping"
    facts: dict[str, Any] = {"trees": kept, "trees_grown": grown, "stopped": stopped}
    if len(validation_rmse):
        best = int(np.argmin(validation_rmse))
        facts |= {"best_round": best + 1, "validation_rmse": float(validation_rmse[best])}
    return facts


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
            self.reached = False

        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:  # noqa: ARG002
            self.reached = time.monotonic() >= self.end
            return self.reached

    return TimeLimit


def _library() -> Any:
    """Import xgboost, its idle threads told to sleep.

    Spinning threads cost nothing on an idle machine, but where other work shares the cores they make a fit up to ten
    times slower (25 s instead of 3 s in one measurement). The setting counts only if the user made none.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import xgboost

    return xgboost


def _factory(cls: type[XGBoost]) -> Callable[[], type[FluxModel]]:
    def load() -> type[FluxModel]:
        _library()  # a missing library is told here, before anything is trained
        return cls

    return load


def _xgb_space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "n_estimators": trial.suggest_int("n_estimators", 100, 1000),
        "max_depth": trial.suggest_int("max_depth", 3, 10),
        "learning_rate": trial.suggest_float("learning_rate", 0.01, 0.3, log=True),
        "subsample": trial.suggest_float("subsample", 0.6, 1.0),
    }


def _spec(cls: type[XGBoost], summary: str, needs: Needs) -> ModelSpec:
    return ModelSpec(
        name=cls.name,
        summary=summary,
        factory=_factory(cls),
        source="Chen and Guestrin (2016), doi:10.1145/2939672.2939785",
        space=_xgb_space,
        space_text=(
            "n_estimators: 100..1000; max_depth: 3..10; learning_rate: log-uniform 0.01..0.3; subsample: 0.6..1; "
            "early stopping after 10 rounds"
        ),
        needs=needs,
    )


SPECS = (
    _spec(XGBoost, "gradient-boosted trees (XGBoost)", Needs(validation=True, extra="trees")),
    _spec(
        ConservativeXGBoost,
        "xgb on TA, VPD, SW_IN, EVI, NDWI_SWIR2 and PFT only",
        Needs(validation=True, feature_names=True, extra="trees"),
    ),
    _spec(
        BalancedXGBoost,
        "xgb with every train domain weighted equally",
        Needs(validation=True, domains=True, extra="trees"),
    ),
)
