"""What every model is: fit, predict, save, load; scikit-learn compatible without importing scikit-learn."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fluxtrapolation.errors import ModelError, examples


@runtime_checkable
class EvalSet(Protocol):
    """Anything with ``X`` and ``y``, such as ``split.validation``."""

    @property
    def X(self) -> NDArray[np.float32]: ...  # noqa: N802
    @property
    def y(self) -> NDArray[np.float32]: ...


class FluxModel:
    """Base of the package's models.

    A subclass writes ``_fit`` and ``_predict`` (on checked float32 arrays), and ``_save`` and ``_load``.
    Hyper-parameters are the arguments of ``__init__``, kept under their own names, as scikit-learn wants it.
    """

    name: ClassVar[str] = ""
    _estimator_type: ClassVar[str] = "regressor"

    feature_names_: tuple[str, ...] | None = None
    n_features_in_: int
    report_: dict[str, Any]
    """Facts of the fit for the run's record (JSON): epochs, trees, duality gap, why it stopped."""
    notes_: tuple[str, ...] = ()
    """What a reader of the scores must know of this fit, such as a covariate it had to do without."""

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        domains: ArrayLike | None = None,
        eval_set: EvalSet | tuple[ArrayLike, ArrayLike] | None = None,
        feature_names: Sequence[str] | None = None,
        seed: int = 0,
        time_limit: float | None = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array_like, shape (n, features)
            Covariates, finite.
        y : array_like, shape (n,)
            The target, finite.
        domains : array_like, shape (n,), optional
            Domain of each row, for models that use it.
        eval_set : Part or (X, y), optional
            Validation rows, for early stopping.
        feature_names : sequence of str, optional
            Names of the columns of X.
        seed : int
            Seed of every random draw.
        time_limit : float, optional
            Seconds after which fitting stops and keeps the best so far.

        Returns
        -------
        self

        Raises
        ------
        ModelError
            If X or y has missing or infinite values, or their shapes do not fit.
        """
        names = tuple(feature_names) if feature_names is not None else None
        rows, target = _check(X, names, self.name), np.asarray(y, dtype=np.float32)
        _check_target(target, rows, self.name)
        if domains is not None and len(np.asarray(domains)) != len(rows):
            raise ModelError(f"{self.name}: X has {len(rows):,} rows and domains {len(np.asarray(domains)):,}.")
        validation = None
        if eval_set is not None:
            pair = eval_set if isinstance(eval_set, tuple) else (eval_set.X, eval_set.y)
            valid_rows = _check(pair[0], names, self.name)
            valid_y = np.asarray(pair[1], dtype=np.float32)
            _check_target(valid_y, valid_rows, self.name)
            if valid_rows.shape[1] != rows.shape[1]:
                raise ModelError(f"{self.name}: X has {rows.shape[1]} columns and eval_set {valid_rows.shape[1]}.")
            validation = (valid_rows, valid_y)
        self.feature_names_ = names
        self.n_features_in_ = rows.shape[1]
        self.report_, self.notes_ = {}, ()
        self._fit(
            rows,
            target,
            domains=None if domains is None else np.asarray(domains),
            validation=validation,
            seed=seed,
            time_limit=time_limit,
        )
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float32]:
        """Predict the target.

        Parameters
        ----------
        X : array_like, shape (n, features)

        Returns
        -------
        ndarray of float32, shape (n,)

        Raises
        ------
        ModelError
            If the model is not fitted, or X has missing values or another number of columns.
        """
        if not hasattr(self, "n_features_in_"):
            raise ModelError(f"{self.name} is not fitted yet. Call fit(X, y) first.")
        rows = _check(X, self.feature_names_, self.name)
        if rows.shape[1] != self.n_features_in_:
            raise ModelError(f"{self.name} was fitted on {self.n_features_in_} columns; X has {rows.shape[1]}.")
        return np.asarray(self._predict(rows), dtype=np.float32)

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Coefficient of determination, ``1 - SSE / SST``; best value 1, as scikit-learn's regressors give it."""
        observed = np.asarray(y, dtype=np.float64)
        error = observed - self.predict(X)
        return float(1.0 - (error @ error) / np.square(observed - observed.mean()).sum())

    def save(self, folder: str | Path) -> Path:
        """Save the fitted model into ``folder`` (made if need be), without pickle."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        about = {
            "model": self.name,
            "params": self.get_params(),
            "feature_names": self.feature_names_,
            "n_features_in": self.n_features_in_,
            "report": self.report_,
            "notes": self.notes_,
        }
        (path / "model.json").write_text(json.dumps(about, indent=1))
        self._save(path)
        return path

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Load a model saved by :meth:`save`."""
        path = Path(folder)
        if not (path / "model.json").is_file():
            raise ModelError(f"There is no saved model in {path}: model.json is missing.")
        try:
            about = json.loads((path / "model.json").read_text())
            model = cls(**about["params"])
            model.feature_names_ = tuple(about["feature_names"]) if about["feature_names"] else None
            model.n_features_in_ = about["n_features_in"]
            model.report_, model.notes_ = about.get("report", {}), tuple(about.get("notes", ()))
            model._load(path)
        except (ValueError, KeyError, TypeError, OSError) as error:  # XGBoostError is a ValueError
            reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            raise ModelError(f"The model in {path} is damaged ({reason}). Train it again with --overwrite.") from None
        return model

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 (scikit-learn's signature)
        """Hyper-parameters by name."""
        return {name: getattr(self, name) for name in _param_names(type(self))}

    def set_params(self, **params: Any) -> Self:
        """Set hyper-parameters by name."""
        known = _param_names(type(self))
        for name, value in params.items():
            if name not in known:
                raise ModelError(f"{self.name} has no parameter {name!r}. It has: {', '.join(known) or 'none'}.")
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import RegressorTags, Tags, TargetTags

        return Tags(estimator_type="regressor", target_tags=TargetTags(required=True), regressor_tags=RegressorTags())

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")

    def __repr__(self) -> str:
        params = ", ".join(f"{key}={value!r}" for key, value in self.get_params().items())
        return f"{type(self).__name__}({params})"

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
        raise NotImplementedError

    def _predict(self, X: NDArray[np.float32]) -> NDArray[Any]:
        raise NotImplementedError

    def _save(self, folder: Path) -> None:
        raise NotImplementedError

    def _load(self, folder: Path) -> None:
        raise NotImplementedError


def _param_names(cls: type) -> list[str]:
    parameters = inspect.signature(cls).parameters
    loose = [name for name, one in parameters.items() if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    if loose:
        raise ModelError(
            f"{cls.__name__}.__init__ takes {loose[0]!r} without names. Write each hyper-parameter as an argument with "
            "a default, kept under its own name, so that a run can record it."
        )
    return list(parameters)


def _check(X: ArrayLike, names: Sequence[str] | None, model: str) -> NDArray[np.float32]:
    rows = np.asarray(X, dtype=np.float32)
    if rows.ndim != 2:
        raise ModelError(f"{model}: X has shape {rows.shape}; give a table of shape (rows, features).")
    if names is not None and len(names) != rows.shape[1]:
        raise ModelError(f"{model}: X has {rows.shape[1]} columns, but {len(names)} feature names were given.")
    # One pass without a temporary of X's size: a sum is finite exactly if all its terms are (float64 cannot overflow).
    with np.errstate(invalid="ignore"):  # infinities of both signs
        sums = rows.sum(axis=0, dtype=np.float64)
    if not np.isfinite(sums).all():
        bad = np.flatnonzero(~np.isfinite(sums))
        column = int(bad[0])
        lost = ~np.isfinite(rows[:, column])
        label = names[column] if names is not None else f"column {column}"
        more = f" (and {examples([names[b] if names else b for b in bad[1:]])})" if len(bad) > 1 else ""
        raise ModelError(
            f"{model}: X has {int(lost.sum()):,} missing or infinite values in {label}{more}, first in row "
            f"{int(lost.argmax()):,}. Drop or fill those rows."
        )
    return rows


def _check_target(y: NDArray[np.float32], X: NDArray[np.float32], model: str) -> None:
    if y.shape != (len(X),):
        raise ModelError(f"{model}: y has shape {y.shape}; X has {len(X):,} rows. Give one target per row.")
    if len(y) == 0:
        raise ModelError(f"{model}: there are no rows to fit.")
    lost = ~np.isfinite(y)
    if lost.any():
        raise ModelError(
            f"{model}: y has {int(lost.sum()):,} missing or infinite values, first in row {int(lost.argmax()):,}. "
            "Drop those rows."
        )
