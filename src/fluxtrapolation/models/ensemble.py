"""The average of several models, fitted together or fitted before."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.errors import ModelError, examples
from fluxtrapolation.models.base import FluxModel
from fluxtrapolation.models.registry import ModelSpec, Needs, registered, registry
from fluxtrapolation.models.sequence import SequenceModel


class Ensemble(FluxModel):
    """The mean of its members' predictions.

    ``fit`` fits every member, with its default hyper-parameters, on the same rows; :meth:`of` averages models that are
    fitted already. Tuned members, or any that read windows, are averaged as runs: ``fluxtrapolation ensemble RUN...``.

    Parameters
    ----------
    members : str
        Names of registered models that read rows, with commas between.
    n_jobs : int
        Threads of each member that takes ``n_jobs``; 0 means all.
    """

    name = "ensemble"

    members_: tuple[FluxModel, ...]
    weights_: tuple[float, ...]

    def __init__(self, members: str = "lr,xgb", n_jobs: int = 0) -> None:
        self.members = members
        self.n_jobs = n_jobs

    @classmethod
    def of(cls, models: Sequence[FluxModel], weights: Sequence[float] | None = None) -> Self:
        """Average fitted models.

        Parameters
        ----------
        models : sequence of FluxModel
            Fitted, on the same columns in the same order.
        weights : sequence of float, optional
            One for each, not negative; divided by their sum. Default: equal.

        Raises
        ------
        ModelError
            If a model is not fitted or reads windows, the columns differ, or the weights do not fit.
        """
        if not models:
            raise ModelError("An ensemble needs members: give at least one fitted model.")
        for model in models:
            if isinstance(model, SequenceModel):
                raise ModelError(_windows(model.name))
            if not hasattr(model, "n_features_in_"):
                raise ModelError(f"{model.name} is not fitted yet. Call fit(X, y) first.")
        columns = {model.feature_names_ or model.n_features_in_ for model in models}
        if len(columns) > 1:
            raise ModelError(f"The members were fitted on different columns: {examples(columns)}.")
        given = np.ones(len(models)) if weights is None else np.asarray(weights, dtype=np.float64)
        if given.shape != (len(models),) or not np.isfinite(given).all() or given.min() < 0 or given.sum() == 0:
            raise ModelError(f"Give {len(models)} weights, one for each member, none negative and not all zero.")
        made = cls(",".join(model.name for model in models))
        made.members_ = tuple(models)
        made.weights_ = tuple(float(one) for one in given / given.sum())
        made.feature_names_, made.n_features_in_ = models[0].feature_names_, models[0].n_features_in_
        made._tell()
        return made

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
        specs = self._specs()
        end = None if time_limit is None else time.monotonic() + time_limit
        fitted = []
        for at, spec in enumerate(specs):
            model = spec.build()
            if self.n_jobs and "n_jobs" in model.get_params():
                model.set_params(n_jobs=self.n_jobs)
            # What is left is shared by those that are left; a member with none must still come back with something.
            left = None if end is None else max((end - time.monotonic()) / (len(specs) - at), 1e-3)
            model.fit(
                X,
                y,
                domains=domains if spec.needs.domains else None,
                eval_set=validation if spec.needs.validation else None,
                feature_names=self.feature_names_,
                seed=seed,
                time_limit=left,
            )
            fitted.append(model)
        self.members_, self.weights_ = tuple(fitted), (1.0 / len(fitted),) * len(fitted)
        self._tell()

    def _specs(self) -> list[ModelSpec]:
        names = [name.strip() for name in self.members.split(",") if name.strip()]
        if not names or len(set(names)) < len(names):
            raise ModelError(f"The members of an ensemble are {self.members!r}. Give one or more names, each once.")
        specs = [registered(name) for name in names]
        for spec in specs:
            if spec.name == self.name:
                raise ModelError("An ensemble cannot be a member of itself by name; use Ensemble.of(fitted models).")
            if spec.needs.sequences:
                raise ModelError(_windows(spec.name))
        return specs

    def _tell(self) -> None:
        """The members' own facts and notes, by name."""
        self.report_ = {
            "members": [
                {"model": model.name, "weight": weight} | getattr(model, "report_", {})
                for model, weight in zip(self.members_, self.weights_, strict=True)
            ]
        }
        self.notes_ = tuple(f"{model.name}: {note}" for model in self.members_ for note in model.notes_)

    def _predict(self, X: NDArray[np.float32]) -> NDArray[Any]:
        total = np.zeros(len(X))
        for model, weight in zip(self.members_, self.weights_, strict=True):
            total += weight * model.predict(X)
        return total

    def _save(self, folder: Path) -> None:
        foreign = [model.name for model in self.members_ if model.name not in registry()]
        if foreign:
            # Loading would have to run code that the saved folder names.
            raise ModelError(
                f"An ensemble with models that are not registered cannot be saved: {examples(foreign)}. Average their "
                "runs: fluxtrapolation ensemble RUN RUN --out runs/"
            )
        for at, model in enumerate(self.members_):
            model.save(folder / f"member-{at}")
        held = [
            {"model": model.name, "weight": weight} for model, weight in zip(self.members_, self.weights_, strict=True)
        ]
        (folder / "members.json").write_text(json.dumps(held, indent=1))

    def _load(self, folder: Path) -> None:
        held = json.loads((folder / "members.json").read_text())
        self.members_ = tuple(
            registered(one["model"]).load_class().load(folder / f"member-{at}") for at, one in enumerate(held)
        )
        self.weights_ = tuple(float(one["weight"]) for one in held)


def _windows(name: str) -> str:
    return (
        f"{name} reads windows of hours, the other members of an ensemble rows. Train it by itself and average the "
        "runs: fluxtrapolation ensemble RUN RUN --out runs/"
    )


SPECS = (
    ModelSpec(
        name="ensemble",
        summary="mean of models with default hyper-parameters (lr, xgb); of fitted runs: fluxtrapolation ensemble",
        factory=lambda: Ensemble,
        source="mean of forecasts, Bates and Granger (1969), doi:10.1057/jors.1969.103",
        needs=Needs(validation=True, extra="trees"),
    ),
)
