"""Any scikit-learn style regressor as a model: a thin wrapper made for one estimator, saved by skops."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Self
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.errors import ModelError, did_you_mean, examples
from fluxtrapolation.models.base import FluxModel

# Harmless containers that libraries keep in their estimators, beside what skops trusts by itself.
_CONTAINERS = ("collections.OrderedDict", "collections.defaultdict", "collections.deque")
_FILE = "estimator.skops"
_LOAD_ERRORS = (ImportError, AttributeError, TypeError, KeyError)
_ADVICE = (
    "Keep only plain attributes, arrays and estimators in it, or write a FluxModel with its own _save and _load "
    "(docs, 'Bring your own model')."
)


class SklearnModel(FluxModel):
    """A regressor with ``fit`` and ``predict``; subclasses are made by :func:`wrap`, one for each estimator.

    Rows are passed as float32, unscaled: wrap a Pipeline for scaling. The estimator gets neither domains nor validation
    rows. ``random_state`` is set from the seed wherever the estimator (or a step of it) has one.

    Hyper-parameters are those of the estimator whose values are plain (numbers, text, None, lists of them); an object
    among them, such as a step of a Pipeline, is fixed, but its own parameters are reached as ``step__name``.
    """

    make: ClassVar[Callable[..., Any]]
    """Makes the unfitted estimator."""
    packages: ClassVar[tuple[str, ...]]
    """Packages whose types are trusted when a saved model is loaded: those of the estimator the user named."""

    def __init__(self, **params: Any) -> None:
        self._estimator = type(self).make()
        self._given: dict[str, Any] = {}
        self._probe: NDArray[np.float32] | None = None
        self.set_params(**params)

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002 (scikit-learn's signature)
        """Hyper-parameters by name: those with plain values."""
        return {name: value for name, value in self._all_params().items() if _plain(value)}

    def set_params(self, **params: Any) -> Self:
        """Set hyper-parameters by name."""
        known = self._all_params()
        for name in params:
            if name not in known:
                raise ModelError(
                    f"{self.name} has no parameter {name!r}.{did_you_mean(name, known)} "
                    f"It has: {', '.join(self.get_params()) or 'none'}."
                )
        if hasattr(self._estimator, "set_params"):
            self._estimator.set_params(**params)
        elif params:
            self._given |= params
            self._estimator = type(self).make(**self._given)
        return self

    def _all_params(self) -> dict[str, Any]:
        if hasattr(self._estimator, "get_params"):
            return dict(self._estimator.get_params(deep=True))
        signature = inspect.signature(type(self._estimator)).parameters
        return {name: parameter.default for name, parameter in signature.items()} | self._given

    def _fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float32],
        *,
        seed: int,
        time_limit: float | None,
        **_: Any,
    ) -> None:
        begin = time.monotonic()
        seeded = [name for name in self._all_params() if name == "random_state" or name.endswith("__random_state")]
        estimator = self._fresh()
        if seeded and hasattr(estimator, "set_params"):
            estimator.set_params(**dict.fromkeys(seeded, seed))
        elif seeded:
            estimator = type(self).make(**(self._given | dict.fromkeys(seeded, seed)))
        estimator.fit(X, y)
        self.fitted_, self._probe = estimator, X[:64].copy()
        self.report_ = {"estimator": f"{type(estimator).__module__}.{type(estimator).__qualname__}", "seeded": seeded}
        seconds = time.monotonic() - begin
        if time_limit is not None:
            self.notes_ = (
                f"{self.name}: a scikit-learn estimator cannot be stopped; the time limit of {time_limit:g} s was "
                f"{'kept' if seconds <= time_limit else f'not kept, the fit took {seconds:.0f} s'}",
            )

    def _fresh(self) -> Any:
        """An unfitted copy, so that two fits do not share state."""
        if hasattr(self._estimator, "get_params"):
            from sklearn.base import clone

            return clone(self._estimator)
        return type(self).make(**self._given)

    def _predict(self, X: NDArray[np.float32]) -> NDArray[Any]:
        predicted = np.asarray(self.fitted_.predict(X))
        if predicted.shape == (len(X), 1):
            predicted = predicted[:, 0]
        if predicted.shape != (len(X),):
            raise ModelError(
                f"{self.name}: predict gave an array of shape {predicted.shape} for {len(X):,} rows; it must give one "
                "value for each row."
            )
        lost = ~np.isfinite(predicted)
        if lost.any():
            raise ModelError(
                f"{self.name}: predict gave {int(lost.sum()):,} missing or infinite values, first in row "
                f"{int(lost.argmax()):,}."
            )
        return predicted

    def _save(self, folder: Path) -> None:
        import skops.io

        try:
            content = skops.io.dumps(self.fitted_)
        except (skops.io.exceptions.UnsupportedTypeException, TypeError, AttributeError) as error:
            raise ModelError(f"{self.name} cannot be saved without pickle: {error}. {_ADVICE}") from None
        # Some objects are written without complaint and cannot be read: better told now than after the search.
        try:
            again = self._read(content)
        except (*_LOAD_ERRORS, _RefusedError) as error:
            raise ModelError(f"{self.name} could be saved but not loaded again: {error} {_ADVICE}") from None
        if self._probe is not None and not np.array_equal(
            again.predict(self._probe), self.fitted_.predict(self._probe)
        ):
            raise ModelError(f"{self.name} predicts otherwise once it is saved and loaded. {_ADVICE}")
        (folder / _FILE).write_bytes(content)

    def _load(self, folder: Path) -> None:
        content = (folder / _FILE).read_bytes()
        try:
            self.fitted_ = self._read(content)
        except _RefusedError as error:
            raise ModelError(f"The model in {folder} is not loaded: {error}") from None
        except BadZipFile as error:
            raise ValueError(str(error)) from None  # told as damaged
        except _LOAD_ERRORS as error:
            raise ModelError(
                f"The model in {folder} cannot be loaded by the libraries installed now ({error}). run.json names the "
                "versions it was trained with; install those, or train it again."
            ) from None

    def _read(self, content: bytes) -> Any:
        """The estimator from what skops wrote; only types of known packages."""
        import skops.io

        unknown = skops.io.get_untrusted_types(data=content)
        trusted = [name for name in unknown if name in _CONTAINERS or name.split(".")[0] in self.packages]
        refused = [name for name in unknown if name not in trusted]
        if refused:
            raise _RefusedError(
                f"it holds {len(refused)} types of other packages than scikit-learn and {examples(self.packages)}: "
                f"{examples(refused)}. Loading them could run their code."
            )
        return skops.io.loads(content, trusted=trusted)


class _RefusedError(Exception):
    """A saved estimator holds types that are not trusted."""


def wrap(name: str, make: Callable[..., Any], packages: tuple[str, ...]) -> type[SklearnModel]:
    """A model class for one estimator.

    Parameters
    ----------
    name : str
    make : callable
        Makes the unfitted estimator; without arguments, with its defaults.
    packages : tuple of str
        Packages whose types may be loaded; see :class:`SklearnModel`.
    """
    members = {"name": name, "make": staticmethod(make), "packages": packages, "__doc__": f"{name}, wrapped."}
    return type("SklearnModel", (SklearnModel,), members)


def _plain(value: Any) -> bool:
    """Whether a parameter's value survives JSON."""
    if isinstance(value, list | tuple):
        return all(_plain(item) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, bool | int | str)
