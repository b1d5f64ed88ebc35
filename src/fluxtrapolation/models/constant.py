"""The floor: predict the train mean everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.models.base import FluxModel
from fluxtrapolation.models.registry import ModelSpec


class Constant(FluxModel):
    """Predicts the mean of the train targets (float64 mean), whatever X says."""

    name = "constant"

    def _fit(self, X: NDArray[np.float32], y: NDArray[np.float32], **_: Any) -> None:  # noqa: ARG002
        self.mean_ = float(y.mean(dtype=np.float64))

    def _predict(self, X: NDArray[np.float32]) -> NDArray[Any]:
        return np.full(len(X), self.mean_, dtype=np.float32)

    def _save(self, folder: Path) -> None:
        (folder / "constant.json").write_text(json.dumps({"mean": self.mean_}))

    def _load(self, folder: Path) -> None:
        self.mean_ = float(json.loads((folder / "constant.json").read_text())["mean"])


SPECS = (
    ModelSpec(
        name="constant",
        summary="predicts the train mean",
        factory=lambda: Constant,
        source="the floor every model must beat",
    ),
)
