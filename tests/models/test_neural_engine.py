"""The training loop: what it keeps, when it stops, what it puts back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fluxtrapolation.errors import ModelError  # noqa: E402
from fluxtrapolation.models import model_spec  # noqa: E402
from fluxtrapolation.models.neural.engine import Outcome, Settings, pick_device, train  # noqa: E402
from fluxtrapolation.models.neural.scaling import Scaling  # noqa: E402
from toy_world import shifted_world, toy_world  # noqa: E402


class Scripted:
    """A task whose gradient is one, and whose validation errors are given."""

    def __init__(self, network: torch.nn.Linear, errors: list[float | None], loss: float = 1.0) -> None:
        self.network, self.errors, self.loss = network, errors, loss
        self.seen: list[float] = []

    def parameters(self) -> list[torch.nn.Parameter]:
        return []

    def steps(self, generator: np.random.Generator) -> Iterator[Callable[[], torch.Tensor]]:
        yield lambda: self.network.weight.sum() * self.loss

    def validation_error(self) -> float | None:
        self.seen.append(float(self.network.weight.detach()))
        return self.errors[len(self.seen) - 1]


def run(errors: list[float | None], **settings: object) -> tuple[Scripted, Outcome]:
    network = torch.nn.Linear(1, 1, bias=False)
    task = Scripted(network, errors)
    chosen = Settings(**({"learning_rate": 0.1, "max_epochs": len(errors)} | settings))
    return task, train(network, task, chosen, generator=np.random.default_rng(0), time_limit=None)


def test_it_ends_with_the_best_weights() -> None:
    task, outcome = run([3.0, 1.0, 2.0, 4.0])
    assert outcome.best_epoch == 2
    assert (outcome.stopped, outcome.epochs, outcome.steps) == ("max_epochs", 4, 4)
    assert task.network.weight.item() == task.seen[1] != task.seen[3]


def test_patience_counts_epochs_without_improvement() -> None:
    _, outcome = run([3.0, 1.0, 2.0, 2.0, 0.5], patience=2)
    assert (outcome.stopped, outcome.epochs, outcome.best_epoch) == ("patience", 4, 2)
    _, outcome = run([3.0, 1.0, 2.0, 2.0, 0.5], patience=3)
    assert (outcome.epochs, outcome.best_epoch) == (5, 5)


def test_without_validation_the_last_weights_are_the_result() -> None:
    task, outcome = run([None] * 12, patience=2)
    assert (outcome.stopped, outcome.epochs) == ("max_epochs", 12)
    assert task.network.weight.item() == task.seen[-1]


def test_the_cosine_falls_to_nothing() -> None:
    task, _ = run([None] * 20, schedule="cosine")
    steps = -np.diff(task.seen)
    assert (np.diff(steps) < 1e-6).all()
    assert steps[-1] < 0.02 * steps[0]
    constant, _ = run([None] * 20)
    assert -np.diff(constant.seen) == pytest.approx([0.1] * 19, rel=1e-3)


def test_divergence_is_an_error_at_once_and_keeps_the_best_later() -> None:
    with pytest.raises(ModelError, match=r"diverged in epoch 1 .*Lower the learning rate \(0.1\)"):
        run([math.nan, 1.0])
    task, outcome = run([3.0, 2.0, math.nan, 1.0])
    assert (outcome.stopped, outcome.best_epoch, outcome.epochs) == ("diverged", 2, 3)
    assert task.network.weight.item() == task.seen[1]


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in ({"learning_rate": 0.0}, {"learning_rate": 1.0, "max_epochs": 0}):
        with pytest.raises(ModelError, match="mlp: "):
            Settings(**wrong).check("mlp")  # type: ignore[arg-type]
    X, y, _ = toy_world(100)
    for name, value in {"schedule": "linear", "hidden": "128-x", "dropout": 1.0, "batch_size": 1}.items():
        with pytest.raises(ModelError, match="mlp"):
            model_spec("mlp").build(**{name: value}).fit(X, y)


def test_a_device_that_is_not_there_is_told() -> None:
    assert pick_device("cpu", "mlp").type == "cpu"
    with pytest.raises(ModelError, match=r"mlp: the device 'nonsense' cannot be used \(.*\). Try 'cpu' or 'auto'"):
        pick_device("nonsense", "mlp")
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="'cuda:3' cannot be used"):
            pick_device("cuda:3", "mlp")


def test_the_random_state_and_the_threads_of_the_process_stay_as_they_are() -> None:
    X, y, _ = toy_world(300)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    model_spec("mlp").build(max_epochs=2, n_jobs=1).fit(X, y, seed=1).predict(X)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_scaling_is_that_of_the_train_rows() -> None:
    from sklearn.preprocessing import RobustScaler

    X, y, _ = toy_world(999)
    X[:, 2] = 1.0  # a column that is constant, as a class that all towers share
    scaling = Scaling.fit(X, y)
    np.testing.assert_allclose(scaling.covariates(X), RobustScaler().fit_transform(X), atol=1e-5)
    scaled = scaling.target(y)
    assert scaled.mean() == pytest.approx(0, abs=1e-6)
    assert scaled.std() == pytest.approx(1, rel=1e-5)
    np.testing.assert_allclose(scaling.restore(scaled), y, atol=1e-5)
    model = model_spec("mlp").build(max_epochs=1).fit(X, y, eval_set=(X + 100, y * 3))
    np.testing.assert_array_equal(model.scaling_.centre, scaling.centre)
    assert model.scaling_.target_centre == scaling.target_centre


def test_a_constant_target_does_not_divide_by_nothing() -> None:
    X, _, _ = toy_world(100)
    scaling = Scaling.fit(X, np.full(100, 3.0, dtype=np.float32))
    assert scaling.target(np.full(2, 3.0, dtype=np.float32)).tolist() == [0.0, 0.0]


def test_the_report_says_how_training_went() -> None:
    X, y, _ = toy_world(500)
    model = model_spec("mlp").build(max_epochs=3).fit(X, y, eval_set=(X, y))
    report = model.report_
    assert report["epochs"] == 3
    assert 1 <= report["best_epoch"] <= 3
    assert report["parameters"] == 5 * 128 + 128 + 128 * 64 + 64 + 64 + 1
    error = ((model.predict(X) - y) ** 2).mean() / y.var()
    assert report["best_validation_mse_scaled"] == pytest.approx(error, rel=1e-4)


def test_group_dro_lowers_the_risk_of_the_worst_domain() -> None:
    """A large domain and a small one that contradicts it: the plain risk gives the small one up."""
    generator = np.random.default_rng(0)
    X = generator.normal(size=(4000, 5)).astype(np.float32)
    domains = (np.arange(4000) < 400).astype(int)
    y = np.where(domains == 1, -X[:, 0], X[:, 0]).astype(np.float32)

    def worst(name: str, **params: float) -> float:
        model = model_spec(name).build(max_epochs=30, dropout=0.0, **params).fit(X, y, domains=domains, seed=1)
        error = (model.predict(X) - y) ** 2
        return max(float(error[domains == d].mean()) for d in (0, 1))

    plain, robust = worst("mlp"), worst("gdro", group_step=0.1)
    assert plain > 2.0
    assert robust < 0.6 * plain


def test_domains_are_needed_where_the_objective_reads_them() -> None:
    X, y, domains = shifted_world(300)
    with pytest.raises(ModelError, match=r"coral learns across domains: .*domains="):
        model_spec("coral").build().fit(X, y)
    with pytest.raises(ModelError, match="at least 2 domains"):
        model_spec("gdro").build().fit(X, y, domains=np.zeros_like(domains))


def test_damaged_weights_are_told(tmp_path: Path) -> None:
    X, y, _ = toy_world(300)
    spec = model_spec("mlp")
    folder = spec.build(max_epochs=1).fit(X, y).save(tmp_path / "m")
    file = folder / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-50])
    with pytest.raises(ModelError, match="damaged"):
        spec.load_class().load(folder)
    spec.build(max_epochs=1, hidden="8").fit(X, y).save(tmp_path / "other")
    file.write_bytes((tmp_path / "other" / "weights.safetensors").read_bytes())
    with pytest.raises(ModelError, match="damaged"):
        spec.load_class().load(folder)


def test_tabm_members_differ_and_the_prediction_is_their_mean() -> None:
    X, y, _ = toy_world(500)
    model = model_spec("tabm").build(members=4, hidden="16-16", max_epochs=3).fit(X, y)
    scaled = torch.from_numpy(model.scaling_.covariates(X))
    with torch.inference_mode():
        members = model.network_.head(model.network_.features(scaled)).numpy()
    assert members.shape == (500, 4)
    assert (members.std(axis=1) > 0).all()
    np.testing.assert_allclose(model.scaling_.restore(members.mean(axis=1)), model.predict(X), rtol=1e-4, atol=1e-5)
