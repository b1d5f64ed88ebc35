"""The registry: every model by name, with its search space and what it needs. Plug-ins come by entry point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from fluxtrapolation.errors import ModelError, did_you_mean

if TYPE_CHECKING:
    import optuna

    from fluxtrapolation.models.base import FluxModel

# One file or folder each, holding SPECS; none imports its library before a model is built.
_FAMILIES = ("constant", "linear", "boosted")

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
    """

    name: str
    summary: str
    factory: Callable[[], type[FluxModel]]
    source: str
    space: Space | None = None
    space_text: str = "-"
    needs: Needs = field(default_factory=Needs)

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
        If a plug-in's name is taken or its entry point gives no ModelSpec.
    """
    found: dict[str, ModelSpec] = {}
    for family in _FAMILIES:
        for spec in import_module(f"fluxtrapolation.models.{family}").SPECS:
            found[spec.name] = spec
    for point in entry_points(group="fluxtrapolation.models"):
        spec = point.load()
        if not isinstance(spec, ModelSpec):
            raise ModelError(
                f"The plug-in {point.name} ({point.value}) is a {type(spec).__name__}, not a ModelSpec. "
                "See CONTRIBUTING, 'add a model'."
            )
        if spec.name in found:
            raise ModelError(f"The plug-in {point.value} is named {spec.name!r}, which is taken. Rename it.")
        found[spec.name] = spec
    return found


def model_spec(name: str) -> ModelSpec:
    """Find a registered model.

    Raises
    ------
    ModelError
        If there is none of that name.
    """
    known = registry()
    if name not in known:
        raise ModelError(f"There is no model {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}.")
    return known[name]
