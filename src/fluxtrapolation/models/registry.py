"""The registry: every model by name, with its search space and what it needs. Plug-ins come by entry point."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from fluxtrapolation.errors import ModelError, did_you_mean

if TYPE_CHECKING:
    import optuna

    from fluxtrapolation.models.base import FluxModel

# One file or folder each, holding SPECS; none imports its library before a model is built.
_FAMILIES = ("constant", "linear", "boosted", "boosted_lightgbm", "boosted_catboost", "neural", "maxrm", "ensemble")

# As the public board wants it (BENCHMARK, section 6).
_NAME = r"[a-z0-9][a-z0-9_-]{0,48}"

Space = Callable[["optuna.Trial"], dict[str, Any]]


@dataclass(frozen=True)
class Needs:
    """What a model needs from its surroundings.

    Attributes
    ----------
    validation : bool
        Uses the validation rows for early stopping.
    domains : bool
        Uses the domain of each train row.
    sequences : bool
        Wants windows instead of rows; its class is a :class:`~fluxtrapolation.models.SequenceModel`.
    feature_names : bool
        Cannot be fitted without the names of the columns.
    scaling : bool
        Scales the columns itself (median and interquartile range of the train rows).
    extra : str or None
        Extra of the package to install.
    """

    validation: bool = False
    domains: bool = False
    sequences: bool = False
    feature_names: bool = False
    scaling: bool = False
    extra: str | None = None


@dataclass(frozen=True)
class ModelSpec:
    """A registered model.

    Attributes
    ----------
    name : str
    summary : str
        One line.
    factory : callable
        Makes the unfitted model from hyper-parameters; its class has ``load``.
    space : callable or None
        Draws hyper-parameters from an optuna trial; None for a model without any.
    space_text : str
        The search space in words, for tables.
    source : str
        Paper or library.
    penalty : str or None
        For an objective with a penalty on differences between domains: the hyper-parameter that weighs it. Such a
        model tells the unweighted penalty of the fitted model on the train rows in ``report_["penalty"]``.
    origin : str or None
        For a model that is not registered: the text that finds it again, ``/absolute/path.py:Name`` or an import path.
    sha256 : str or None
        For a model from a file: hash of that file.
    """

    name: str
    summary: str
    factory: Callable[[], type[FluxModel]]
    source: str
    space: Space | None = None
    space_text: str = "-"
    needs: Needs = field(default_factory=Needs)
    penalty: str | None = None
    origin: str | None = None
    sha256: str | None = None

    def build(self, **params: Any) -> FluxModel:
        """Make the model, unfitted.

        Raises
        ------
        ModelError
            If its library is not installed, or a parameter is unknown.
        """
        cls = self.load_class()
        known = cls().get_params()
        unknown = [name for name in params if name not in known]
        if unknown:
            raise ModelError(
                f"{self.name} has no parameter {unknown[0]!r}.{did_you_mean(unknown[0], known)} "
                f"It has: {', '.join(known) or 'none'}."
            )
        return cls(**params)

    def load_class(self) -> type[FluxModel]:
        """The model's class; imports its library."""
        try:
            return self.factory()
        except ModuleNotFoundError as error:
            hint = (
                f"pip install 'fluxtrapolation[{self.needs.extra}]'"
                if self.needs.extra
                else f"pip install {error.name}"
            )
            raise ModelError(f"The model {self.name} needs {error.name}, which is not installed: {hint}") from None


@cache
def registry() -> dict[str, ModelSpec]:
    """Every registered model by name: the package's own, then plug-ins of the group ``fluxtrapolation.models``.

    Raises
    ------
    ModelError
        If a plug-in cannot be imported, its entry point gives no ModelSpec, or its name is taken or no name.
    """
    found: dict[str, ModelSpec] = {}
    for family in _FAMILIES:
        for spec in import_module(f"fluxtrapolation.models.{family}").SPECS:
            found[spec.name] = spec
    for point in entry_points(group="fluxtrapolation.models"):
        spec = _plugged(point)
        if spec.name in found:
            raise ModelError(f"The plug-in {point.value} is named {spec.name!r}, which is taken. Rename it.")
        found[spec.name] = spec
    return found


def _plugged(point: EntryPoint) -> ModelSpec:
    try:
        spec = point.load()
    except Exception as error:
        package = f" of the package {point.dist.name}" if point.dist is not None else ""
        raise ModelError(
            f"The plug-in {point.name} ({point.value}){package} cannot be imported: {type(error).__name__}: {error}. "
            "Repair or uninstall it."
        ) from error
    if not isinstance(spec, ModelSpec):
        raise ModelError(
            f"The plug-in {point.name} ({point.value}) is a {type(spec).__name__}, not a ModelSpec. "
            "See CONTRIBUTING, 'add a model'."
        )
    check_name(spec.name, f"The plug-in {point.value}")
    return spec


def check_name(name: str, where: str) -> None:
    """Refuse a name that cannot be part of a run folder's or a submission's.

    Raises
    ------
    ModelError
    """
    if not re.fullmatch(_NAME, name):
        raise ModelError(
            f"{where} is named {name!r}. A name has small letters, digits, - and _, begins with a letter or digit, "
            "and is at most 49 characters long."
        )


def model_spec(text: str) -> ModelSpec:
    """Find a model: a registered name, ``path/to/file.py:Name``, or the import path of a regressor.

    Raises
    ------
    ModelError
        If there is none, or the file or package cannot be used (see ``resolve_model`` in ``foreign.py``).
    """
    from fluxtrapolation.models.foreign import looks_foreign, resolve_model

    return resolve_model(text) if looks_foreign(text) else registered(text)


def registered(name: str) -> ModelSpec:
    """Find a registered model, and only such a one: the name may come from a stranger's file.

    Raises
    ------
    ModelError
        If there is none.
    """
    known = registry()
    if name not in known:
        raise ModelError(f"There is no model {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}.")
    return known[name]
