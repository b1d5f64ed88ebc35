"""A model of your own: a subclass, a spec, and an entry point (see CONTRIBUTING, "add a model").

    python examples/my_model.py

The model predicts the mean flux of each class of incoming radiation. Installed as a plug-in it trains like any other:
``fluxtrapolation train --model radiation-classes ...``.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np

import fluxtrapolation as ft

# begin of the model
from fluxtrapolation.models import FluxModel, ModelSpec


class RadiationClasses(FluxModel):
    """Predicts the mean of the train target in each class of SW_IN, ``width`` W m-2 wide."""

    name = "radiation-classes"

    def __init__(self, width=100.0):
        self.width = width

    def _classes(self, X):
        radiation = X[:, self.feature_names_.index("SW_IN")]
        return np.clip(radiation / self.width, 0, 99).astype(int)

    def _fit(self, X, y, **_):
        classes = self._classes(X)
        count = np.bincount(classes, minlength=100)
        total = np.bincount(classes, weights=y, minlength=100)
        self.mean_ = np.where(count > 0, total / np.maximum(count, 1), y.mean())

    def _predict(self, X):
        return self.mean_[self._classes(X)]

    def _save(self, folder):
        (folder / "means.json").write_text(json.dumps(self.mean_.tolist()))

    def _load(self, folder):
        self.mean_ = np.array(json.loads((folder / "means.json").read_text()))


SPEC = ModelSpec(
    name="radiation-classes",
    summary="mean flux of each class of radiation",
    factory=lambda: RadiationClasses,
    source="an example",
    space=lambda trial: {"width": trial.suggest_float("width", 20.0, 200.0)},
    space_text="width: 20..200",
)
# end of the model


def main() -> None:
    """Score the model beside ordinary least squares on a few simulated towers."""
    from fluxtrapolation.data.synthetic import write_world

    with tempfile.TemporaryDirectory() as folder:
        store = write_world(Path(folder) / "towers", sites=10, years=(2017, 2019))
        split = ft.split(store, "temperature", target="GPP")
        names = split.feature_names
        for model in (SPEC.build(width=50.0), ft.model("lr")):
            model.fit(split.train.X, split.train.y, feature_names=names)
            print(ft.evaluate(split.test, model.predict(split.test.X), model=model.name))


if __name__ == "__main__":
    main()
