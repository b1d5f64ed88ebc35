"""A light-response curve as a plug-in model."""

import json

import numpy as np

from fluxtrapolation.errors import ModelError
from fluxtrapolation.models import FluxModel, ModelSpec, Needs


class LightResponse(FluxModel):
    """``flux = offset + amplitude * SW_IN / (half + SW_IN)``: the rectangular hyperbola, by least squares."""

    name = "light-response"

    def __init__(self, half=300.0):
        self.half = half

    def _curve(self, X):
        if "SW_IN" not in (self.feature_names_ or ()):
            raise ModelError(f"{self.name} needs the column SW_IN: give fit its name in feature_names.")
        light = np.maximum(X[:, self.feature_names_.index("SW_IN")], 0.0).astype(np.float64)
        return light / (self.half + light)

    def _fit(self, X, y, **_):
        curve = self._curve(X)
        self.amplitude_, self.offset_ = (float(value) for value in np.polyfit(curve, y, 1))

    def _predict(self, X):
        return self.offset_ + self.amplitude_ * self._curve(X)

    def _save(self, folder):
        (folder / "curve.json").write_text(json.dumps([self.amplitude_, self.offset_]))

    def _load(self, folder):
        self.amplitude_, self.offset_ = json.loads((folder / "curve.json").read_text())


SPEC = ModelSpec(
    name="light-response",
    summary="rectangular hyperbola of incoming radiation",
    factory=lambda: LightResponse,
    source="an example",
    space=lambda trial: {"half": trial.suggest_float("half", 50.0, 1000.0, log=True)},
    space_text="half: log-uniform 50..1000 W m-2",
    needs=Needs(feature_names=True),
)
