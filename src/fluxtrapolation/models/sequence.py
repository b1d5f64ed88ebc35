"""What every sequence model is: fitted on windows of consecutive hours, predicting every hour once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluxtrapolation.errors import ModelError, examples
from fluxtrapolation.models.base import EvalSet, FluxModel
from fluxtrapolation.scenarios import Part
from fluxtrapolation.scenarios.windows import Windows


class SequenceModel(FluxModel):
    """Base of models that read windows instead of rows.

    ``fit`` and ``predict`` take a :class:`~fluxtrapolation.scenarios.Part` of a split made with ``sequences=True`` and
    lay the windows themselves; or :class:`~fluxtrapolation.scenarios.windows.Windows`. A subclass writes
    ``_fit_windows`` and ``_predict_windows``, and has the parameters ``length``, ``warmup`` and ``stride`` (hours).
    """

    length: int
    warmup: int
    stride: int

    def windows(self, part: Part) -> Windows:
        """The windows this model wants over a part: overlapping in train, each hour scored once elsewhere."""
        return part.windows(
            length=self.length, warmup=self.warmup, stride=self.stride if part.name == "train" else None
        )

    def fit(  # type: ignore[override]
        self,
        X: Part | Windows,
        y: ArrayLike | None = None,  # noqa: ARG002 (one call fits every model)
        *,
        domains: ArrayLike | None = None,  # noqa: ARG002
        eval_set: Part | Windows | EvalSet | None = None,
        feature_names: Sequence[str] | None = None,  # noqa: ARG002
        seed: int = 0,
        time_limit: float | None = None,
    ) -> Self:
        """Fit the model on windows.

        Parameters
        ----------
        X : Part or Windows
            Train hours. The targets and the names of the covariates are the part's, so ``y`` is not used.
        y, domains, feature_names
            Not used; there so that one call fits every model.
        eval_set : Part or Windows, optional
            Validation hours, for early stopping.
        seed : int
        time_limit : float, optional
            Seconds after which fitting stops and keeps the best so far.

        Raises
        ------
        ModelError
            If X is no part, holds no window with an hour that counts, or a covariate is missing.
        """
        train = self._laid(X, "X")
        validation = None if eval_set is None else self._laid(eval_set, "eval_set")
        if len(train) == 0:
            raise ModelError(
                f"{self.name}: no run of hours in train is longer than the warm-up of {self.warmup} h. "
                "Give longer records, or a shorter warmup."
            )
        self._check_covariates(train.part)
        if validation is not None:
            self._check_names(validation.part, train.part.feature_names)
            self._check_covariates(validation.part)
        self.feature_names_ = train.part.feature_names
        self.n_features_in_ = len(self.feature_names_)
        self.report_, self.notes_ = {}, ()
        self._fit_windows(train, validation, seed=seed, time_limit=time_limit)
        return self

    def predict(self, X: Part | Windows) -> NDArray[np.float32]:  # type: ignore[override]
        """Predict every hour of a part.

        Parameters
        ----------
        X : Part or Windows

        Returns
        -------
        ndarray of float32, shape (n,)
            One value per row of the part; hours of a train part that no window scores are predicted too, because a
            part is always tiled here.
        """
        if not hasattr(self, "n_features_in_"):
            raise ModelError(f"{self.name} is not fitted yet. Call fit(split.train) first.")
        part = X.part if isinstance(X, Windows) else X
        if not isinstance(part, Part):
            raise ModelError(self._wants("X", X))
        self._check_names(part, self.feature_names_ or ())
        self._check_covariates(part)
        return np.asarray(self._predict_windows(Windows.tiling(part, length=self.length, warmup=self.warmup)))

    def _laid(self, given: Any, what: str) -> Windows:
        if isinstance(given, Windows):
            return given
        if isinstance(given, Part):
            return self.windows(given)
        raise ModelError(self._wants(what, given))

    def _wants(self, what: str, given: object) -> str:
        return (
            f"{self.name} reads windows of consecutive hours; {what} is a {type(given).__name__}. Give a part of a "
            "split made with sequences=True: model.fit(split.train, eval_set=split.validation)."
        )

    def _check_names(self, part: Part, wanted: Sequence[str]) -> None:
        if part.feature_names == tuple(wanted):
            return
        lacking = [name for name in wanted if name not in part.feature_names]
        other = [name for name in part.feature_names if name not in wanted]
        if not (lacking or other):
            raise ModelError(f"{self.name} was fitted on the same covariates in another order: {', '.join(wanted)}.")
        raise ModelError(
            f"{self.name} was fitted on other covariates: missing {examples(lacking) or 'none'}; "
            f"not known {examples(other) or 'none'}."
        )

    def _check_covariates(self, part: Part) -> None:
        sums = part.X.sum(axis=0, dtype=np.float64)
        if not np.isfinite(sums).all():
            column = int(np.flatnonzero(~np.isfinite(sums))[0])
            lost = ~np.isfinite(part.X[:, column])
            raise ModelError(
                f"{self.name}: X has {int(lost.sum()):,} missing or infinite values in {part.feature_names[column]}, "
                f"first in row {int(lost.argmax()):,}. Drop those sites or that covariate."
            )

    def _fit_windows(self, train: Windows, validation: Windows | None, *, seed: int, time_limit: float | None) -> None:
        raise NotImplementedError

    def _predict_windows(self, windows: Windows) -> NDArray[np.float32]:
        """Predict each row of the windows' part; ``windows`` score every row once."""
        raise NotImplementedError
