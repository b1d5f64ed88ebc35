"""Small models for tests of runs: one that reads windows, ones that sleep, die or fail when told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.models import ModelSpec, Needs, SequenceModel
from fluxtrapolation.scenarios import Windows


class SmoothedLine(SequenceModel):
    """Least squares on the covariates of the hour and their mean over the window so far."""

    name = "smoothed-line"

    def __init__(self, length: int = 72, warmup: int = 24, stride: int = 24, ridge: float = 1.0) -> None:
        self.length, self.warmup, self.stride, self.ridge = length, warmup, stride, ridge

    def _columns(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        so_far = np.cumsum(X, axis=1, dtype=np.float64) / np.arange(1, X.shape[1] + 1)[None, :, None]
        return np.concatenate([X, so_far, np.ones((*X.shape[:2], 1))], axis=2)

    def _fit_windows(self, train: Windows, validation: Windows | None, *, seed: int, time_limit: float | None) -> None:
        batch = train.batch(slice(None))
        columns, y = self._columns(batch.X)[batch.scored], batch.y[batch.scored].astype(np.float64)
        gram = columns.T @ columns + self.ridge * np.eye(columns.shape[1])
        self.coef_ = np.linalg.solve(gram, columns.T @ y)
        self.report_ = {"windows": np.int64(len(train)), "validation": validation is not None}
        self.notes_ = ("a toy",)

    def _predict_windows(self, windows: Windows) -> NDArray[np.float32]:
        out = np.full(len(windows.part), np.nan, dtype=np.float32)
        for begin in range(0, len(windows), 64):
            batch = windows.batch(slice(begin, begin + 64))
            out[batch.rows[batch.scored]] = (self._columns(batch.X) @ self.coef_)[batch.scored]
        return out

    def _save(self, folder: Path) -> None:
        (folder / "coef.json").write_text(json.dumps(self.coef_.tolist()))

    def _load(self, folder: Path) -> None:
        self.coef_ = np.asarray(json.loads((folder / "coef.json").read_text()))


def _space(trial: Any) -> dict[str, Any]:
    return {"ridge": trial.suggest_float("ridge", 1e-2, 1e4, log=True)}


SMOOTHED = ModelSpec(
    name="smoothed-line",
    summary="a toy that reads windows",
    factory=lambda: SmoothedLine,
    source="tests",
    space=_space,
    needs=Needs(sequences=True, validation=True),
)
