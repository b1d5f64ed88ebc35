"""One's own network and objective: the page's code runs, what it makes is saved, and mistakes are told in words."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor, nn  # noqa: E402

from fluxtrapolation.errors import ModelError  # noqa: E402
from fluxtrapolation.models import FluxModel, model_spec  # noqa: E402
from fluxtrapolation.models.neural.networks import MLP, Network  # noqa: E402
from fluxtrapolation.models.neural.objectives import BlockOutput, Objective, Penalised  # noqa: E402
from fluxtrapolation.models.neural.regressor import MLPRegressor  # noqa: E402
from fluxtrapolation.models.neural.zoo import PenalisedRegressor  # noqa: E402
from toy_world import shifted_world, toy_world  # noqa: E402

PAGE = Path(__file__).resolve().parents[2] / "docs" / "models" / "neural.md"


def blocks() -> list[str]:
    page = PAGE.read_text("utf-8").split("## Your own network or objective")[1]
    return re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def test_the_page_s_code_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models, use = blocks()
    (tmp_path / "my_models.py").write_text(models)
    monkeypatch.chdir(tmp_path)
    exec(compile(use, "page", "exec"), {})  # the page's own code
    told = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[0] for line in told] == ["skipping", "huber-mlp", "equal-means"]
    assert all(float(line[1]) > 0.5 for line in told)
    assert [line[2] == "None" for line in told] == [True, True, False]
    assert {file.suffix for file in (tmp_path / "fitted").rglob("*.*")} == {".json", ".safetensors"}


def test_the_page_s_penalty_falls_when_its_weight_rises(tmp_path: Path) -> None:
    (tmp_path / "my_models.py").write_text(blocks()[0])
    spec = model_spec(f"{tmp_path}/my_models.py:EqualMeansRegressor")
    X, y, domains = shifted_world()
    light, heavy = (
        spec.build(penalty_weight=weight, max_epochs=20, n_jobs=1).fit(X, y, domains=domains, seed=3).report_["penalty"]
        for weight in (1e-3, 10.0)
    )
    assert heavy < 0.5 * light


def test_a_huber_loss_gives_outliers_up(tmp_path: Path) -> None:
    (tmp_path / "my_models.py").write_text(blocks()[0])
    X, y, _ = toy_world(2000)
    spoilt = y.copy()
    spoilt[::20] += 100

    def error(spec_text: str) -> float:
        model = model_spec(spec_text).build(max_epochs=30, dropout=0.0, n_jobs=1).fit(X, spoilt, seed=1)
        return float(np.median(np.abs(model.predict(X) - y)))

    assert error(f"{tmp_path}/my_models.py:HuberRegressor") < 0.6 * error("mlp")


def own(network: Callable[[int], object] | None = None, objective: Objective | None = None) -> MLPRegressor:
    class Own(MLPRegressor):
        name = "own"

        def network(self, n_features: int) -> Network:
            return super().network(n_features) if network is None else network(n_features)  # type: ignore[return-value]

        def objective(self) -> Objective:
            return objective or super().objective()

    return Own(hidden="8", max_epochs=1, n_jobs=1)


class Column(MLP):
    def head(self, features: Tensor) -> Tensor:
        return self.out(features).sum() + features[:1, 0]


class NoWidth(MLP):
    def __init__(self, n_features: int) -> None:
        super().__init__(n_features, [8], 0.0)
        self.width = 9


class Members(MLP):
    members = 3

    def features(self, X: Tensor) -> Tensor:
        return super().features(X)[:, None, :].expand(-1, 3, -1)


class Gap(Penalised):
    def value(self, block: BlockOutput, features: Tensor) -> Tensor:
        return (block.features.mean(dim=1) - features.mean(dim=0)).square().mean()


@pytest.mark.parametrize(
    ("network", "told"),
    [
        (lambda n: nn.Sequential(nn.Linear(n, 1)), "gave a Sequential. Give a subclass of .*Network, with features"),
        (lambda n: MLP(n + 1, [8], 0.0), r"fails on two rows of 5 features: .*shapes"),
        (lambda _: Network(), "without parameters"),
        (lambda n: Column(n, [8], 0.0), r"head\(features\) gave shape \(1,\) for 2 rows"),
        (lambda n: NoWidth(n), r"width is 9; its features have shape \(2, 8\)"),
    ],
)
def test_a_network_that_does_not_fit_is_told(network: Callable[[int], object], told: str) -> None:
    X, y, _ = toy_world(100)
    with pytest.raises(ModelError, match=f"^own: .*{told}"):
        own(network).fit(X, y)


def test_an_ensemble_of_one_s_own_is_fitted_but_takes_no_penalty() -> None:
    X, y, domains = toy_world(200)
    assert np.isfinite(own(lambda n: Members(n, [8], 0.0)).fit(X, y).predict(X)).all()
    with pytest.raises(ModelError, match=r"a penalty reads features of shape \(rows, width\)"):
        own(lambda n: Members(n, [8], 0.0), Gap(1.0, 4)).fit(X, y, domains=domains)


def test_an_objective_that_reads_domains_asks_for_them_itself() -> None:
    """Nobody needs to say ``needs_domains`` beside it."""
    X, y, domains = shifted_world(300)

    class Worst(Objective):
        proportionate = True

        def risk(self, error: Tensor, domain: Tensor | None) -> Tensor:
            assert domain is not None
            risks = error.new_zeros(int(domain.max()) + 1).index_add(0, domain, error)
            return risks.max()

    for objective in (Worst(), Gap(1.0, 4)):
        with pytest.raises(ModelError, match="own learns across domains"):
            own(objective=objective).fit(X, y)
        assert np.isfinite(own(objective=objective).fit(X, y, domains=domains).predict(X)).all()


def test_a_penalty_may_differentiate() -> None:
    class Slope(Penalised):
        """IRMv1 by automatic differentiation."""

        def value(self, block: BlockOutput, features: Tensor) -> Tensor:
            with torch.enable_grad():
                w = torch.ones((), requires_grad=True)
                risk = (w * block.prediction - block.y).square().mean()
                (slope,) = torch.autograd.grad(risk, w, create_graph=True)
            return slope.square()

    X, y, domains = shifted_world(300)
    assert own(objective=Slope(1.0, 4)).fit(X, y, domains=domains).report_["penalty"] >= 0


def test_tied_weights_and_lazy_layers_are_saved(tmp_path: Path) -> None:
    class Tied(Network):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.LazyLinear(8)
            self.second = nn.Linear(8, 8)
            self.third = nn.Linear(8, 8)
            self.third.weight = self.second.weight
            self.norm = nn.BatchNorm1d(8)
            self.out = nn.Linear(8, 1)
            self.width = 8

        def features(self, X: Tensor) -> Tensor:
            return self.norm(self.third(torch.relu(self.second(torch.relu(self.first(X))))))  # type: ignore[no-any-return]

        def head(self, features: Tensor) -> Tensor:
            return self.out(features).squeeze(-1)  # type: ignore[no-any-return]

    class TiedRegressor(MLPRegressor):
        name = "tied"

        def network(self, n_features: int) -> Network:
            return Tied()

    X, y, _ = toy_world(300)
    model: FluxModel = TiedRegressor(max_epochs=3, n_jobs=1).fit(X, y, eval_set=(X, y), seed=1)
    again = TiedRegressor.load(model.save(tmp_path / "m"))
    np.testing.assert_array_equal(again.predict(X), model.predict(X))
    np.testing.assert_array_equal(
        TiedRegressor(max_epochs=3, n_jobs=1).fit(X, y, eval_set=(X, y), seed=1).predict(X), model.predict(X)
    )


def test_a_penalised_regressor_keeps_its_weight(tmp_path: Path) -> None:
    class Mine(PenalisedRegressor):
        name = "mine"

        def objective(self) -> Objective:
            return Gap(self.weight(), 4)

    X, y, domains = shifted_world(300)
    model = Mine(penalty_weight=0.25, hidden="8", max_epochs=1).fit(X, y, domains=domains)
    again = Mine.load(model.save(tmp_path / "m"))
    assert again.get_params() == model.get_params()
    assert again.report_["penalty"] == model.report_["penalty"]


@pytest.mark.parametrize("library", ["torch", "safetensors"])
def test_a_missing_library_is_told_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ModelError, match=rf"mlp needs {library}, which is not installed: .*fluxtrapolation\[deep\]"):
        model_spec("mlp").build()


def test_hyper_parameters_without_names_are_refused() -> None:
    class Loose(FluxModel):
        name = "loose"

        def __init__(self, **more: float) -> None:
            self.more = more

    with pytest.raises(ModelError, match=r"Loose.__init__ takes 'more' without names. Write each hyper-parameter"):
        Loose().get_params()
