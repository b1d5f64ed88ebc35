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
from fluxtrapolation.models.neural.networks import (  # noqa: E402
    Dropout,
    TabM,
)
from fluxtrapolation.models.neural.rows import predict_rows  # noqa: E402
from fluxtrapolation.models.neural.scaling import Scaling, thinning  # noqa: E402
from toy_world import shifted_world, toy_part, toy_world  # noqa: E402


def descend(loss: torch.Tensor) -> torch.Tensor:
    """What a step does: the loss, and its gradient into the weights."""
    loss.backward()
    return loss.detach()


class Scripted:
    """A task whose gradient is one, and whose validation errors are given."""

    def __init__(self, network: torch.nn.Linear, errors: list[float | None], loss: float = 1.0) -> None:
        self.network, self.errors, self.loss = network, errors, loss
        self.seen: list[float] = []

    def parameters(self) -> list[torch.nn.Parameter]:
        return []

    def steps(self, generator: np.random.Generator) -> Iterator[Callable[[], torch.Tensor]]:
        yield lambda: descend(self.network.weight.sum() * self.loss)

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


def test_divergence_without_validation_keeps_the_last_sound_weights() -> None:
    class Spoilt(Scripted):
        """The gradient of the third epoch is not a number, its loss is."""

        def steps(self, generator: np.random.Generator) -> Iterator[Callable[[], torch.Tensor]]:
            third = len(self.seen) == 2
            weight = self.network.weight
            yield lambda: descend(
                (weight.sum() - 1).square() if not third else (weight - weight.detach()).abs().sqrt().sum()
            )

    network = torch.nn.Linear(1, 1, bias=False)
    task = Spoilt(network, [None] * 5)
    outcome = train(network, task, Settings(0.1, 5), generator=np.random.default_rng(0), time_limit=None)
    assert (outcome.stopped, outcome.best_epoch) == ("diverged", 2)
    assert network.weight.item() == task.seen[1]
    assert outcome.facts()["best_validation_mse_scaled"] is None


def test_settings_that_make_no_sense_are_refused() -> None:
    for wrong in ({"learning_rate": 0.0}, {"learning_rate": 1.0, "max_epochs": 0}, {"learning_rate": 1.0, "clip": -1}):
        with pytest.raises(ModelError, match="mlp: "):
            Settings(**wrong).check("mlp")  # type: ignore[arg-type]
    X, y, _ = toy_world(100)
    wrong_values = {"schedule": "linear", "hidden": "128-x", "dropout": 1.0, "batch_size": 1, "clip": math.nan}
    for name, value in wrong_values.items():
        with pytest.raises(ModelError, match="mlp"):
            model_spec("mlp").build(**{name: value}).fit(X, y)
    with pytest.raises(ModelError, match="hidden is 128; write widths like '128-64'"):
        model_spec("mlp").build(hidden=128).fit(X, y)
    with pytest.raises(ModelError, match="n_jobs is -1"):
        model_spec("mlp").build(n_jobs=-1).fit(X, y)
    domains = np.arange(100) % 2
    for model, name, value in (("coral", "penalty_weight", -1.0), ("gdro", "group_step", math.nan)):
        with pytest.raises(ModelError, match=f"{model}: {name} must be a number from 0 on"):
            model_spec(model).build(**{name: value}).fit(X, y, domains=domains)
    with pytest.raises(ModelError, match="tabm: members must be at least 1"):
        model_spec("tabm").build(members=0).fit(X, y)


def test_a_device_that_is_not_there_is_told() -> None:
    assert pick_device("cpu", "mlp").type == "cpu"
    with pytest.raises(ModelError, match=r"mlp: the device 'nonsense' cannot be used \(.*\). Try 'cpu' or 'auto'"):
        pick_device("nonsense", "mlp")
    with pytest.raises(ModelError, match="'meta' cannot be used"):
        pick_device("meta", "mlp")
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="'cuda:3' cannot be used"):
            pick_device("cuda:3", "mlp")


def test_the_random_state_and_the_threads_of_the_process_stay_as_they_are(tmp_path: Path) -> None:
    X, y, _ = toy_world(300)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    threads = torch.get_num_threads()
    model = model_spec("mlp").build(max_epochs=2, n_jobs=1).fit(X, y, seed=1)
    model.predict(X)
    type(model).load(model.save(tmp_path / "m"))
    lstm = model_spec("lstm").build(length=48, warmup=12, hidden=2, max_epochs=1).fit(toy_part(sites=1))
    type(lstm).load(lstm.save(tmp_path / "lstm"))
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


def test_no_gpu_is_seeded_that_is_not_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """``torch.manual_seed`` would seed every GPU of the process, on a CPU fit too."""
    called: list[int] = []
    monkeypatch.setattr(torch, "manual_seed", called.append)
    X, y, _ = toy_world(100)
    model_spec("mlp").build(max_epochs=1, device="cpu").fit(X, y, seed=3)
    assert not called


def test_too_small_a_gpu_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    from fluxtrapolation.models.neural import regressor

    def full(*_: object, **__: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB. And more")

    X, y, _ = toy_world(100)
    monkeypatch.setattr(regressor, "Resident", full)
    with pytest.raises(ModelError, match=r"mlp: the GPU has too little memory \(CUDA out of memory\).*--max-rows"):
        model_spec("mlp").build().fit(X, y)


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


def test_tabm_starts_as_in_its_paper() -> None:
    network = TabM(5, (7, 6), 0.0, 4)
    assert set(network.r[0].flatten().tolist()) == {-1.0, 1.0}
    assert all((r == 1).all() for r in network.r[1:])
    assert all((s == 1).all() for s in network.s)
    for b in network.b:
        assert torch.equal(b, b[:1].expand_as(b))  # equal for all members
        assert len(b[0].unique()) == b.shape[1]
    assert len(network.out.unique()) == network.out.numel()


def test_an_ensemble_is_predicted_in_smaller_blocks() -> None:
    """16 members of width 256 over 65,536 rows would take a gigabyte for each layer."""
    network = TabM(3, (256,), 0.0, 16).eval()
    seen: list[int] = []
    network.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    X = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)
    out = predict_rows(network, X, torch.device("cpu"))
    assert max(seen) * 16 * 256 * 4 <= 2**26
    with torch.no_grad():
        np.testing.assert_allclose(out, network(torch.from_numpy(X)).numpy(), rtol=1e-4, atol=1e-5)


def test_thinned_rows_keep_all_hours_of_the_day() -> None:
    assert [thinning(n, 10) for n in (0, 1, 10, 11, 50, 60, 125, 240)] == [1, 1, 1, 5, 5, 7, 13, 25]
    for n in range(1, 2000, 7):
        step = thinning(n, 10)
        assert -(-n // step) <= 10
        assert math.gcd(step, 24) == 1


def test_the_validation_rows_that_stop_training_are_of_all_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    from fluxtrapolation.models.neural import regressor

    monkeypatch.setattr(regressor, "STOPPING_ROWS", 40)
    X, y, _ = toy_world(480)
    hours = np.arange(480) % 24
    X[:, 0] = hours
    model = model_spec("mlp").build(max_epochs=1).fit(X, y, eval_set=(X, y))
    kept = model._stopping((X, y), torch.device("cpu")).X[:, 0].numpy()
    assert len(kept) <= 40
    assert len(np.unique(kept)) == 24


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("shape", [(401, 251), (3, 5, 7)])
def test_dropout_drops_its_share_and_keeps_the_mean(rate: float, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    layer = Dropout(rate)
    x = torch.ones(shape, requires_grad=True)
    out = layer(x)
    share = (out == 0).float().mean().item()
    assert share == pytest.approx(rate, abs=4 * np.sqrt(max(rate * (1 - rate), 1e-12) / x.numel()) + 1e-9)
    assert out[out > 0].unique().numel() == 1
    assert out.max().item() == pytest.approx(1 / (1 - rate), rel=1e-3)
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())  # what is dropped learns nothing
    layer.eval()
    assert torch.equal(layer(x), x)


def test_dropped_units_do_not_hang_together() -> None:
    """Four units share one random number: their neighbours must not follow them."""
    torch.manual_seed(1)
    kept = (Dropout(0.5)(torch.ones(200_000)) > 0).double().numpy()
    for lag in (1, 2, 3, 4, 8):
        assert abs(np.corrcoef(kept[:-lag], kept[lag:])[0, 1]) < 0.012
    for place in range(4):
        assert kept[place::4].mean() == pytest.approx(0.5, abs=0.01)
