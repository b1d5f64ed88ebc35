"""FLUXtrapolation: extrapolating ecosystem fluxes, from towers to a scored table.

>>> import fluxtrapolation as ft                                                    # doctest: +SKIP
>>> split = ft.split("towers/", "temperature", target="GPP")                        # doctest: +SKIP
>>> model = ft.model("xgb").fit(split.train.X, split.train.y, eval_set=split.validation, seed=0)  # doctest: +SKIP
>>> scores = ft.evaluate(split.test, model.predict(split.test.X))                   # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from fluxtrapolation import shift as shift
    from fluxtrapolation.api import Predictions, Scores, compare, evaluate, model, open_store, rank, scenario, split

__all__ = [
    "Predictions",
    "Scores",
    "__version__",
    "compare",
    "evaluate",
    "model",
    "open_store",
    "rank",
    "scenario",
    "split",
]


def __getattr__(name: str) -> Any:
    # Names load on first use, so that `import fluxtrapolation` stays instant.
    if name == "shift":
        from importlib import import_module

        return import_module("fluxtrapolation.shift")
    if name in __all__:
        from fluxtrapolation import api

        return getattr(api, name)
    raise AttributeError(f"module 'fluxtrapolation' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "shift"])
