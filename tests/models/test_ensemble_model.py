"""The registered ensemble, and ensembles of fitted models; the contract test runs the registered one too."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fluxtrapolation.errors import ModelError
from fluxtrapolation.models import model_spec
from fluxtrapolation.models.ensemble import Ensemble

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(2000, 3)).astype(np.float32)
Y = (X[:, 0] + (X[:, 1] > 0) + 0.1 * GENERATOR.normal(size=2000)).astype(np.float32)


def test_the_mean_of_its_members_fitted_alone() -> None:
    both = Ensemble("lr, xgb").fit(X, Y, eval_set=(X[:500], Y[:500]), seed=4, feature_names=list("abc"))
    alone = [
        model_spec("lr").build().fit(X, Y),
        model_spec("xgb").build().fit(X, Y, eval_set=(X[:500], Y[:500]), seed=4),
    ]
    expected = np.mean([model.predict(X) for model in alone], axis=0)
    np.testing.assert_allclose(both.predict(X), expected, atol=1e-5)
    assert [one["model"] for one in both.report_["members"]] == ["lr", "xgb"]


def test_of_fitted_models_with_weights(tmp_path: Path) -> None:
    models = [model_spec(name).build().fit(X, Y) for name in ("lr", "constant")]
    made = Ensemble.of(models, [3, 1])
    expected = 0.75 * models[0].predict(X) + 0.25 * models[1].predict(X)
    np.testing.assert_allclose(made.predict(X), expected, atol=1e-6)
    again = Ensemble.load(made.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.predict(X), made.predict(X))
    assert again.get_params() == made.get_params() == {"members": "lr,constant", "n_jobs": 0}
    deeper = Ensemble.of([made, models[0]])
    np.testing.assert_array_equal(Ensemble.load(deeper.save(tmp_path / "d")).predict(X), deeper.predict(X))


def test_refusals() -> None:
    lr = model_spec("lr").build().fit(X, Y)
    for members, says in (
        ("", "Give one or more names"),
        ("lr,lr", "each once"),
        ("lr,xgbb", "Did you mean 'xgb'"),
        ("lr,ensemble", "member of itself"),
        ("lr,sklearn.linear_model.Lasso", "There is no model 'sklearn.linear_model.Lasso'"),
    ):
        with pytest.raises(ModelError, match=says):
            Ensemble(members).fit(X, Y)
    with pytest.raises(ModelError, match="not fitted"):
        Ensemble.of([lr, model_spec("lr").build()])
    with pytest.raises(ModelError, match="different columns"):
        Ensemble.of([lr, model_spec("lr").build().fit(X[:, :2], Y)])
    with pytest.raises(ModelError, match="at least one"):
        Ensemble.of([])
    for weights in ([1.0], [1.0, -1.0], [0.0, 0.0], [np.nan, 1.0]):
        with pytest.raises(ModelError, match="Give 2 weights"):
            Ensemble.of([lr, lr], weights)


def test_models_of_windows_are_sent_to_the_command() -> None:
    pytest.importorskip("torch")
    with pytest.raises(ModelError, match=r"lstm reads windows.*fluxtrapolation ensemble RUN"):
        Ensemble("lr,lstm").fit(X, Y)


def test_only_registered_members_are_saved_and_loaded(tmp_path: Path) -> None:
    """A saved ensemble names its members; a stranger's could name a file of his, which must not be run."""
    file, marker = tmp_path / "his.py", tmp_path / "it-ran"
    file.write_text(f"open({str(marker)!r}, 'w').close()\nfrom fluxtrapolation.models.linear import Ridge\n")
    lr = model_spec("lr").build().fit(X, Y)
    folder = Ensemble.of([lr, lr]).save(tmp_path / "m")
    members = folder / "members.json"
    members.write_text(members.read_text().replace('"lr"', json.dumps(f"{file}:Ridge")))
    with pytest.raises(ModelError, match=r"There is no model .*his\.py:Ridge"):
        Ensemble.load(folder)
    assert not marker.exists()
    lasso = model_spec("sklearn.linear_model.Lasso").build().fit(X, Y)
    with pytest.raises(ModelError, match="not registered cannot be saved: lasso"):
        Ensemble.of([lr, lasso]).save(tmp_path / "n")
