"""Models that are not registered: by file, by import path, wrapped scikit-learn estimators, and their errors."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fluxtrapolation as ft
from fluxtrapolation.errors import ModelError
from fluxtrapolation.models import FluxModel, ModelSpec, SequenceModel, model_spec, registry
from fluxtrapolation.models.foreign import resolve_model
from toy_world import FEATURES, toy_world

FILE = '''
"""Models of my own."""
import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fluxtrapolation.models import FluxModel, ModelSpec, SequenceModel


class MeanByHalf(BaseEstimator, RegressorMixin):
    """Predicts the mean below and above a threshold of the first column.

    More words.
    """

    def __init__(self, threshold=0.0, random_state=None):
        self.threshold = threshold
        self.random_state = random_state

    def fit(self, X, y):
        above = X[:, 0] > self.threshold
        noise = np.random.default_rng(self.random_state).normal(0, 0.01, 2)
        self.means_ = np.array([y[~above].mean(), y[above].mean()]) + noise
        return self

    def predict(self, X):
        return self.means_[(X[:, 0] > self.threshold).astype(int)]


class Bare:
    """Only fit and predict."""

    def __init__(self, shift=0.0, random_state=0):
        self.shift, self.random_state = shift, random_state

    def fit(self, X, y):
        self.value = float(y.mean()) + self.shift + 1e-6 * self.random_state
        return self

    def predict(self, X):
        return np.full((len(X), 1), self.value)


class Mine(FluxModel):
    """A model of the package's kind."""

    name = "mine"

    def _fit(self, X, y, *, domains, validation, **_):
        assert domains is not None and validation is not None
        self.value = float(y.mean())

    def _predict(self, X):
        return np.full(len(X), self.value)

    def _save(self, folder):
        (folder / "value.txt").write_text(repr(self.value))

    def _load(self, folder):
        self.value = float((folder / "value.txt").read_text())


class Windowed(SequenceModel):
    """Reads windows."""

    def __init__(self, length=48, warmup=12, stride=24):
        self.length, self.warmup, self.stride = length, warmup, stride


class Wanting(BaseEstimator, RegressorMixin):
    def __init__(self, size, depth, extra=1):
        self.size, self.depth, self.extra = size, depth, extra

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.zeros(len(X))


class Crooked(Bare):
    def predict(self, X):
        return np.zeros((len(X), 2))


class Infinite(Bare):
    def predict(self, X):
        return np.full(len(X), np.inf)


class NoPredict:
    def fit(self, X, y):
        return self


class xgb(Bare):
    pass


class BadlyNamed(Bare):
    name = "Not A Name"


SPEC = ModelSpec(
    name="mine-searched",
    summary="with a search space",
    factory=lambda: Mine,
    source="here",
)
SCALED_RIDGE = make_pipeline(StandardScaler(), Ridge())
FOREST = make_pipeline(StandardScaler(), RandomForestRegressor(n_estimators=5, random_state=77))
READY = Wanting(3, 4)


def a_function():
    return 1
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my_models.py"
    path.write_text(FILE)
    return path


def fitted(spec: ModelSpec, *, seed: int = 0, **params: Any) -> FluxModel:
    X, y, domains = toy_world(600)
    more: dict[str, Any] = {"domains": domains} if spec.needs.domains else {}
    return spec.build(**params).fit(X, y, eval_set=(X, y), feature_names=FEATURES, seed=seed, **more)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("sklearn.ensemble.ExtraTreesRegressor", "extra-trees-regressor"),
        ("sklearn.ensemble:HistGradientBoostingRegressor", "hist-gradient-boosting-regressor"),
        ("sklearn.neighbors.KNeighborsRegressor", "k-neighbors-regressor"),
        ("sklearn.linear_model.LinearRegression", "linear-regression"),
        ("xgboost.XGBRegressor", "xgb-regressor"),
        ("lightgbm.LGBMRegressor", "lgbm-regressor"),
    ],
)
def test_any_scikit_learn_regressor_by_import_path(text: str, name: str, tmp_path: Path) -> None:
    spec = model_spec(text)
    assert spec.name == name
    assert spec.sha256 is None
    assert spec.origin is not None
    assert model_spec(spec.origin).name == name
    params = {"n_estimators": 10} if "n_estimators" in spec.build().get_params() else {}
    model = fitted(spec, seed=3, **params)
    X = toy_world(200, seed=2)[0]
    predicted = model.predict(X)
    assert predicted.dtype == np.float32
    np.testing.assert_array_equal(fitted(spec, seed=3, **params).predict(X), predicted)
    again = spec.load_class().load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.predict(X), predicted)
    assert again.get_params().items() >= params.items()
    assert not [file for file in (tmp_path / "m").iterdir() if file.suffix not in (".json", ".skops")]


def test_the_seed_decides(file: Path) -> None:
    """Also where the estimator, or a step inside it, was given a random state of its own."""
    X = toy_world(200, seed=2)[0]
    for text, seeded in (
        ("sklearn.ensemble.ExtraTreesRegressor", ["random_state"]),
        (f"{file}:MeanByHalf", ["random_state"]),
        (f"{file}:Bare", ["random_state"]),
        (f"{file}:FOREST", ["randomforestregressor__random_state"]),
    ):
        one, same, other = (fitted(model_spec(text), seed=seed) for seed in (1, 1, 2))
        assert one.report_["seeded"] == seeded
        np.testing.assert_array_equal(one.predict(X), same.predict(X))
        assert (one.predict(X) != other.predict(X)).any() or "Bare" in text


def test_ft_model_takes_parameters() -> None:
    model = ft.model("sklearn.ensemble.ExtraTreesRegressor", n_estimators=7, max_depth=3)
    assert model.get_params()["n_estimators"] == 7
    model.set_params(n_jobs=2)
    X, y, _ = toy_world(300)
    assert len(model.fit(X, y).fitted_.estimators_) == 7  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match=r"no parameter 'n_estimator'.*Did you mean 'n_estimators'"):
        ft.model("sklearn.ensemble.ExtraTreesRegressor", n_estimator=7)
    with pytest.raises(ModelError, match="no parameter 'nonsense'"):
        model.set_params(nonsense=1)


def test_scikit_learn_clones_the_wrapper(file: Path) -> None:
    from sklearn.base import clone
    from sklearn.model_selection import cross_val_score

    X, y, _ = toy_world(300)
    for text in ("sklearn.tree.DecisionTreeRegressor", f"{file}:SCALED_RIDGE", f"{file}:Bare"):
        model = model_spec(text).build()
        assert clone(model).get_params() == model.get_params()
        assert np.isfinite(cross_val_score(model, X, y, cv=3)).all()


def test_a_class_from_a_file(file: Path, tmp_path: Path) -> None:
    spec = model_spec(f"{file}:MeanByHalf")
    assert (spec.name, spec.summary) == (
        "mean-by-half",
        "Predicts the mean below and above a threshold of the first column",
    )
    assert spec.origin == f"{file}:MeanByHalf"
    assert spec.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    model = fitted(spec, threshold=0.5)
    assert model.get_params() == {"threshold": 0.5, "random_state": None}
    X = toy_world(200, seed=2)[0]
    again = model_spec(str(spec.origin)).load_class().load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_a_class_with_fit_and_predict_only(file: Path, tmp_path: Path) -> None:
    spec = model_spec(f"{file}:Bare")
    model = fitted(spec, shift=2.0)
    X, y, _ = toy_world(600)
    np.testing.assert_allclose(model.predict(X), y.mean() + 2.0, rtol=1e-5)
    again = spec.load_class().load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    assert again.get_params() == model.get_params()


def test_a_ready_pipeline(file: Path, tmp_path: Path) -> None:
    spec = model_spec(f"{file}:SCALED_RIDGE")
    assert spec.name == "scaled-ridge"
    X, y, _ = toy_world(600)
    light, heavy = (fitted(spec, ridge__alpha=alpha) for alpha in (0.001, 1e6))
    assert light.score(X, y) > 0.8 > 0.1 > heavy.score(X, y)
    again = spec.load_class().load(heavy.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.predict(X), heavy.predict(X))
    assert again.get_params()["ridge__alpha"] == 1e6
    assert model_spec(f"{file}:READY").build().get_params()["size"] == 3


def test_models_of_the_package_s_kind(file: Path) -> None:
    mine = model_spec(f"{file}:Mine")
    assert (mine.name, mine.needs.domains, mine.needs.validation, mine.needs.sequences) == ("mine", True, True, False)
    assert fitted(mine).predict(toy_world(10)[0]).shape == (10,)
    windowed = model_spec(f"{file}:Windowed")
    assert windowed.name == "windowed"
    assert windowed.needs.sequences
    assert issubclass(windowed.load_class(), SequenceModel)
    searched = model_spec(f"{file}:SPEC")
    assert searched.name == "mine-searched"
    assert searched.sha256 is not None
    assert searched.origin == f"{file}:SPEC"


def test_a_changed_file_is_another_model(file: Path, tmp_path: Path) -> None:
    before = model_spec(f"{file}:MeanByHalf")
    assert model_spec(f"{file}:MeanByHalf").load_class().packages == before.load_class().packages  # type: ignore[attr-defined]
    folder = fitted(before).save(tmp_path / "m")
    moved = tmp_path / "elsewhere" / file.name
    moved.parent.mkdir()
    moved.write_text(FILE)
    model_spec(f"{moved}:MeanByHalf").load_class().load(folder)  # the content counts, not the place
    file.write_text(FILE + "\n# changed\n")
    after = model_spec(f"{file}:MeanByHalf")
    assert after.sha256 != before.sha256
    with pytest.raises(ModelError, match="types of other packages"):
        after.load_class().load(folder)


def test_a_helper_beside_the_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "helper_of_mine_7.py").write_text("LEVEL = 3.0\n")
    (tmp_path / "uses.py").write_text(
        """
import numpy as np
from helper_of_mine_7 import LEVEL


class Level:
    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.full(len(X), LEVEL)
"""
    )
    assert fitted(model_spec(f"{tmp_path / 'uses.py'}:Level")).predict(toy_world(3)[0]).tolist() == [3.0, 3.0, 3.0]


def test_a_file_with_another_hash_is_refused_before_it_runs(tmp_path: Path) -> None:
    path, marker = tmp_path / "marks.py", tmp_path / "it-ran"
    path.write_text(f"open({str(marker)!r}, 'w').close()\n{FILE}")
    with pytest.raises(ModelError, match="that file has changed since the run"):
        resolve_model(f"{path}:Bare", sha256="0" * 64)
    assert not marker.exists()
    known = hashlib.sha256(path.read_bytes()).hexdigest()
    assert resolve_model(f"{path}:Bare", sha256=known).name == "bare"
    assert marker.exists()


def test_what_is_hashed_is_what_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python keeps compiled files by time and size: a change within a second would go unseen."""
    import os
    import sys

    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = tmp_path / "level.py"
    text = """from fluxtrapolation.models import FluxModel


class Level(FluxModel):
    name = "level"
    level = {level}
"""
    for level in (1, 2):
        path.write_text(text.format(level=level))
        os.utime(path, (1_700_000_000, 1_700_000_000))
        assert model_spec(f"{path}:Level").load_class().level == level  # type: ignore[attr-defined]
    assert [file.name for file in tmp_path.iterdir()] == ["level.py"]


def test_a_helper_of_another_folder_is_not_taken_for_the_one_beside_the_file(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "helper_of_mine_8.py").write_text(f"NAME = {folder!r}\n")
        (tmp_path / folder / "uses.py").write_text(f"# {folder}\nimport helper_of_mine_8\n{FILE}")
    assert model_spec(f"{tmp_path / 'one' / 'uses.py'}:Bare").name == "bare"
    for _ in range(2):
        with pytest.raises(ModelError, match=r"two/uses.py imports helper_of_mine_8, and got .*one/helper_of_mine_8"):
            model_spec(f"{tmp_path / 'two' / 'uses.py'}:Bare")


def test_the_time_limit_is_told(file: Path) -> None:
    X, y, _ = toy_world(600)
    model = model_spec(f"{file}:MeanByHalf").build().fit(X, y, time_limit=100.0)
    assert model.notes_ == (
        "mean-by-half: a scikit-learn estimator cannot be stopped; the time limit of 100 s was kept",
    )
    assert "not kept" in model.fit(X, y, time_limit=1e-9).notes_[0]
    assert model.fit(X, y).notes_ == ()


def test_the_contract_holds_for_foreign_models(file: Path) -> None:
    X, y, _ = toy_world(600)
    holes = X.copy()
    holes[4, 1] = np.nan
    with pytest.raises(ModelError, match="scaled-ridge: X has 1 missing or infinite values in VPD, first in row 4"):
        model_spec(f"{file}:SCALED_RIDGE").build().fit(holes, y, feature_names=FEATURES)
    with pytest.raises(ModelError, match=r"crooked: predict gave an array of shape \(600, 2\) for 600 rows"):
        fitted(model_spec(f"{file}:Crooked")).predict(X)
    with pytest.raises(ModelError, match="infinite: predict gave 600 missing or infinite values, first in row 0"):
        fitted(model_spec(f"{file}:Infinite")).predict(X)
    with pytest.raises(ModelError, match="not fitted"):
        model_spec(f"{file}:Bare").build().predict(X)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{folder}/my_model.py:Mine", r"There is no file .*my_model.py\. Did you mean 'my_models.py'\?"),
        ("{folder}/none/my_models.py:Mine", "The folder .* does not exist"),
        ("{file}:MeanByHalv", "has no 'MeanByHalv'. Did you mean 'MeanByHalf'"),
        ("{file}:Nothing", r"It has: BadlyNamed, Bare, Crooked, FOREST, Infinite, MeanByHalf, Mine, READY and \d more"),
        ("{file}", "Say which model of .*my_models.py you mean: .*my_models.py:NAME. It has: BadlyNamed, Bare"),
        ("{file}:", "Say which model"),
        ("{file}:NoPredict", "is the class NoPredict without predict"),
        ("{file}:a_function", "is a function without fit and predict"),
        ("{file}:StandardScaler", "without predict"),
        ("{file}:Wanting", r"without arguments: size, depth.*MODEL = Wanting\(size=..., depth=...\)"),
        ("{file}:xgb", "named 'xgb', which is the name of a registered model.*my-xgb"),
        ("{file}:BadlyNamed", "is named 'Not A Name'. A name has small letters"),
        ("sklearn.ensemble.ExtraTreeRegressors", "Did you mean 'ExtraTreesRegressor'"),
        ("sklearn.ensembel.ExtraTreesRegressor", "sklearn has no module 'ensembel'. Did you mean 'ensemble'"),
        ("sklearn.ensemble.RandomForestClassifier", "is a classifier; fluxes need a regressor"),
        ("sklearn.cluster.KMeans", "is a clusterer; fluxes need a regressor"),
        ("sklearn.preprocessing.StandardScaler", "the class StandardScaler without predict"),
        ("sklearn.ensemble.StackingRegressor", "without arguments: estimators"),
        ("sklearn.ensemble", "is a module without fit and predict"),
        ("nosuchpackage.Model", "needs the package nosuchpackage, which is not installed: pip install nosuchpackage"),
        ("what is this.", "is no model: give a registered name"),
        ("fluxtrapolation.models.linear:Ridge", "named 'ridge', which is the name of a registered model"),
    ],
)
def test_what_cannot_be_used_is_told(text: str, told: str, file: Path) -> None:
    with pytest.raises(ModelError, match=told):
        model_spec(text.format(file=file, folder=file.parent))


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("import numpy\n\nimport nosuchlibrary\n", r"line 3 \(import nosuchlibrary\): ModuleNotFoundError: No module"),
        ("x = 1\ny = x / 0\n", r"line 2 \(y = x / 0\): ZeroDivisionError: division by zero"),
        ("def f(:\n    pass\n", r"line 1 \(def f\(:\): SyntaxError"),
        ("raise SystemExit\n", r"line 1 \(raise SystemExit\): SystemExit"),
    ],
)
def test_a_file_that_cannot_be_imported_shows_its_line(body: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text(body)
    for _ in range(2):  # the second time, too
        with pytest.raises(ModelError, match=rf"broken.py cannot be imported: {told}"):
            model_spec(f"{path}:Model")


@pytest.mark.parametrize(
    ("attribute", "told"),
    [
        ("threading.Lock()", "keeps could be saved but not loaded again: it holds 1 types of other packages"),
        ("(i for i in range(3))", "keeps cannot be saved without pickle"),
        ("lambda x: x", "keeps could be saved but not loaded again"),
    ],
)
def test_what_skops_cannot_keep_is_told_when_saving(attribute: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "keeps.py"
    path.write_text(
        f"""
import threading

import numpy as np


class Keeps:
    def fit(self, X, y):
        self.kept = {attribute}
        return self

    def predict(self, X):
        return np.zeros(len(X))
"""
    )
    with pytest.raises(ModelError, match=told):
        fitted(model_spec(f"{path}:Keeps")).save(tmp_path / "m")
    assert not (tmp_path / "m" / "estimator.skops").exists()


def test_types_of_packages_the_file_imports_are_loaded(tmp_path: Path) -> None:
    path = tmp_path / "boosts.py"
    path.write_text(
        """
import xgboost


class Boosts:
    def fit(self, X, y):
        self.inner = xgboost.XGBRegressor(n_estimators=5).fit(X, y)
        return self

    def predict(self, X):
        return self.inner.predict(X)
"""
    )
    spec = model_spec(f"{path}:Boosts")
    model = fitted(spec)
    X = toy_world(100, seed=2)[0]
    again = spec.load_class().load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))


def test_a_saved_model_with_foreign_types_is_not_loaded(file: Path, tmp_path: Path) -> None:
    """Another model's file in the folder of a known one: its types are not those the user named."""
    folder = fitted(model_spec("sklearn.linear_model.LinearRegression")).save(tmp_path / "m")
    other = fitted(model_spec(f"{file}:MeanByHalf")).save(tmp_path / "n")
    (folder / "estimator.skops").write_bytes((other / "estimator.skops").read_bytes())
    with pytest.raises(
        ModelError, match=r"1 types of other packages than scikit-learn and sklearn: fluxtrapolation_mo"
    ):
        model_spec("sklearn.linear_model.LinearRegression").load_class().load(folder)
    (folder / "estimator.skops").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="damaged"):
        model_spec("sklearn.linear_model.LinearRegression").load_class().load(folder)


def test_a_registered_name_resolves_to_itself() -> None:
    assert resolve_model("ridge") is registry()["ridge"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("import nosuchlibrary\n", r"plug-in mine \(plugged_\d:SPEC\).* cannot be imported: ModuleNotFoundError"),
        ("SPEC = 3\n", "is a int, not a ModelSpec"),
        ("{head}SPEC = ModelSpec('ridge', 's', lambda: FluxModel, 'x')\n", "is named 'ridge', which is taken"),
        ("{head}SPEC = ModelSpec('My Model', 's', lambda: FluxModel, 'x')\n", "A name has small letters"),
    ],
)
def test_a_plug_in_that_cannot_be_used_is_told(
    body: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.metadata
    import sys

    module = f"plugged_{len(told) % 10}"
    head = "from fluxtrapolation.models import FluxModel, ModelSpec\n"
    (tmp_path / f"{module}.py").write_text(body.format(head=head))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, module, raising=False)
    point = importlib.metadata.EntryPoint("mine", f"{module}:SPEC", "fluxtrapolation.models")
    # by its name in sys.modules: the function registry hides the module of that name
    module_of_registry = sys.modules["fluxtrapolation.models.registry"]
    monkeypatch.setattr(module_of_registry, "entry_points", lambda **_: [point])
    with pytest.raises(ModelError, match=told):
        registry.__wrapped__()
