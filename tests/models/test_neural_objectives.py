"""Objectives against plain loops over domains, and the batches and blocks they read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from fluxtrapolation.models.neural.objectives import (  # noqa: E402
    DANN,
    IRM,
    MMD,
    BlockOutput,
    Coral,
    GroupDRO,
    VRex,
    _Reverse,
    _square_distances,
    sum_by,
)
from fluxtrapolation.models.neural.resident import Resident  # noqa: E402

CPU = torch.device("cpu")


def block(k: int = 4, m: int = 6, width: int = 3, seed: int = 0) -> BlockOutput:
    draw = torch.Generator().manual_seed(seed)
    return BlockOutput(
        torch.randn(k, m, width, generator=draw, dtype=torch.float64),
        torch.randn(k, m, generator=draw, dtype=torch.float64),
        torch.randn(k, m, generator=draw, dtype=torch.float64),
        torch.arange(k),
    )


def resident(n: int, domains: np.ndarray) -> Resident:
    X = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    return Resident(X, np.arange(n, dtype=np.float32), domains, CPU)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(0, 5))
def test_proportionate_order_is_a_permutation_with_every_domain_in_its_share(sizes: list[int], seed: int) -> None:
    domains = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)) * 7, sizes))
    n = len(domains)
    order = resident(n, domains).proportionate_order(np.random.default_rng(seed))
    assert np.array_equal(np.sort(order), np.arange(n))
    for code, size in zip(np.arange(len(sizes)) * 7, sizes, strict=True):
        places = np.flatnonzero(domains[order] == code)
        # However the rows are cut, a stretch of the order holds its share of a domain, give or take one row for each
        # end, and as many places as the mixing of equal positions moves it: with one row of each domain at most.
        for end in range(0, n + 1, max(1, n // 5)):
            assert abs((places < end).sum() - size * end / n) <= 2 + len(sizes) * size / n


def test_an_epoch_reads_each_row_once_and_differs_from_the_next() -> None:
    rows = resident(1000, np.repeat(np.arange(4), 250))
    generator = np.random.default_rng(0)
    for proportionate in (False, True):
        first = torch.cat(list(rows.batches(64, generator, proportionate=proportionate)))
        second = torch.cat(list(rows.batches(64, generator, proportionate=proportionate)))
        assert np.array_equal(np.sort(first.numpy()), np.arange(1000))
        assert not torch.equal(first, second)


def test_a_last_batch_of_one_row_is_left_out_but_a_single_row_is_read() -> None:
    rows = resident(65, np.zeros(65, dtype=int))
    assert [len(batch) for batch in rows.batches(64, np.random.default_rng(0), proportionate=False)] == [64]
    one = resident(1, np.zeros(1, dtype=int))
    assert [len(batch) for batch in one.batches(64, np.random.default_rng(0), proportionate=False)] == [1]


def test_blocks_hold_rows_of_distinct_domains() -> None:
    domains = np.random.default_rng(1).integers(0, 9, 500) * 3
    rows = resident(500, domains)
    for seed in range(20):
        drawn = rows.blocks(4, 5, np.random.default_rng(seed))
        assert drawn.X.shape == (4, 5, 2)
        assert len(set(drawn.domain.tolist())) == 4
        row = drawn.y.numpy().astype(int)  # y is the row's number
        assert np.array_equal(domains[row], np.repeat(rows.labels[drawn.domain.numpy()][:, None], 5, axis=1))
        assert torch.equal(drawn.X[..., 0], 2 * drawn.y)
    assert len(rows.blocks(50, 3, np.random.default_rng(0)).domain) == 9


def test_every_domain_has_its_turn() -> None:
    rows = resident(500, np.random.default_rng(1).integers(0, 20, 500))
    generator = np.random.default_rng(2)
    seen = np.concatenate([rows.block_rows(5, 2, generator)[1].numpy() for _ in range(40)])
    assert np.array_equal(np.bincount(seen), np.full(20, 10))
    assert not np.array_equal(seen[:20], seen[20:40])


def test_group_dro_follows_its_definition() -> None:
    step, n_domains = 0.7, 5
    objective = GroupDRO(step)
    objective.start(n_domains=n_domains, width=1, device=CPU)
    weights = np.full(n_domains, 1 / n_domains)
    generator = np.random.default_rng(0)
    for _ in range(6):
        error = generator.exponential(size=40)
        domain = generator.integers(0, n_domains - 1, 40)  # the last domain never comes
        risk = np.array([error[domain == d].mean() if (domain == d).any() else 0.0 for d in range(n_domains)])
        weights = weights * np.exp(step * risk)
        weights /= weights.sum()
        given_ = torch.tensor(error, dtype=torch.float32, requires_grad=True)
        loss = objective.risk(given_, torch.tensor(domain))
        assert loss.item() == pytest.approx(weights @ risk, rel=1e-5)
        loss.backward()
        count = np.bincount(domain, minlength=n_domains)
        np.testing.assert_allclose(given_.grad.numpy(), weights[domain] / count[domain], rtol=1e-5)
    facts = objective.facts()
    assert facts["largest_domain_weight"] == pytest.approx(weights.max(), rel=1e-4)
    assert facts["effective_domains"] == pytest.approx(1 / (weights**2).sum(), rel=1e-4)


def test_coral_against_a_loop() -> None:
    b = block()
    features = torch.randn(50, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    centre, spread = features.numpy().mean(axis=0), np.cov(features.numpy().T)
    expected = [
        ((z.mean(axis=0) - centre) ** 2).sum() / 3 + ((np.cov(z.T) - spread) ** 2).sum() / 9 for z in b.features.numpy()
    ]
    assert Coral(2.0, 4).measure(b, features=features) == pytest.approx(np.mean(expected), rel=1e-10)
    assert float(Coral(2.0, 4).penalty(b, features=features)) == pytest.approx(2 * np.mean(expected), rel=1e-10)


@pytest.mark.parametrize("median", [False, True])
def test_mmd_against_a_loop(median: bool) -> None:
    b, gammas = block(k=3), (0.1, 1.0, 10.0)
    z = b.features.numpy()
    flat = z.reshape(-1, 3)
    square = ((flat[:, None] - flat[None, :]) ** 2).sum(axis=-1)
    # torch's median is the lower of the two middle ones
    scale = np.sort(square[::3, ::3].ravel())[(square[::3, ::3].size - 1) // 2] if median else 1.0

    def kernel(a: np.ndarray, c: np.ndarray) -> float:
        distance = ((a[:, None] - c[None, :]) ** 2).sum(axis=-1)
        return float(sum(np.exp(-gamma / scale * distance).mean() for gamma in gammas))

    pairs = [
        kernel(z[i], z[i]) + kernel(z[j], z[j]) - 2 * kernel(z[i], z[j]) for i in range(3) for j in range(3) if i < j
    ]
    found = MMD(1.0, 3, gammas=gammas, median=median).measure(b, features=b.features[0])
    assert found == pytest.approx(np.mean(pairs), rel=1e-9)


def test_the_median_runs_and_measuring_leaves_it_alone() -> None:
    objective = MMD(1.0, 3, gammas=(1.0,), median=True)
    objective.penalty(block(seed=1), features=block().features[0])
    first = float(objective.scale)
    objective.penalty(block(seed=2), features=block().features[0])
    second = float(objective.scale)
    fresh = MMD(1.0, 3, gammas=(1.0,), median=True)
    fresh.penalty(block(seed=2), features=block().features[0])
    assert second == pytest.approx(0.9 * first + 0.1 * float(fresh.scale), rel=1e-9)
    with torch.inference_mode():
        objective.measure(block(seed=3), features=block().features[0])
    assert float(objective.scale) == second


@pytest.mark.parametrize("median", [False, True])
def test_mmd_has_the_right_derivative(median: bool) -> None:
    z = block(k=3, m=4, width=2).features.requires_grad_()

    def value(features: torch.Tensor) -> torch.Tensor:
        objective = MMD(1.0, 3, gammas=(0.3, 2.0), median=median)
        objective.scale = torch.tensor(0.7, dtype=torch.float64)
        with torch.no_grad():
            objective._median = lambda _: objective.scale  # type: ignore[method-assign]  # a constant by design
        return objective.value(block(k=3, m=4, width=2)._replace(features=features), features[0])

    assert torch.autograd.gradcheck(value, (z,))


def test_coral_has_the_right_derivative() -> None:
    z = block(k=3, m=5, width=2).features.requires_grad_()
    features = torch.randn(7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2)).requires_grad_()

    def value(own: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        return Coral(1.0, 3).value(block(k=3, m=5, width=2)._replace(features=own), rest)

    assert torch.autograd.gradcheck(value, (z, features))


def test_vrex_is_the_variance_of_the_risks() -> None:
    b = block()
    risks = ((b.prediction - b.y) ** 2).numpy().mean(axis=1)
    assert VRex(1.0, 4).measure(b, features=b.features[0]) == pytest.approx(risks.var(), rel=1e-10)


def test_irm_is_the_product_of_two_halves_slopes() -> None:
    b = block()
    expected, whole = [], []
    for prediction, y in zip(b.prediction, b.y, strict=True):
        slopes = []
        for half in (slice(0, None, 2), slice(1, None, 2), slice(None)):
            w = torch.ones((), dtype=torch.float64, requires_grad=True)
            risk = (w * prediction[half] - y[half]).square().mean()
            slopes.append(float(torch.autograd.grad(risk, w)[0]))
        expected.append(slopes[0] * slopes[1])
        whole.append(slopes[2] ** 2)
    assert float(IRM(3.0, 4).penalty(b, features=b.features[0])) == pytest.approx(3 * np.mean(expected), rel=1e-10)
    assert IRM(3.0, 4).measure(b, features=b.features[0]) == pytest.approx(np.mean(whole), rel=1e-10)


def test_dann_turns_the_gradient_of_the_features_only() -> None:
    x = torch.ones(3, requires_grad=True)
    (2.0 * _Reverse.apply(x, 0.5)).sum().backward()
    assert x.grad.tolist() == [-1.0, -1.0, -1.0]
    torch.manual_seed(0)
    objective = DANN(3.0, 4)
    own = list(objective.start(n_domains=4, width=3, device=CPU))
    b = block()
    features = b.features.float().requires_grad_()
    loss = objective.penalty(b._replace(features=features), features=features[0])
    loss.backward()
    # A small step of the features along minus their gradient makes the classifier worse: that is the point.
    with torch.no_grad():
        moved = objective.penalty(b._replace(features=features - 0.1 * features.grad), features=features[0])
    assert moved.item() > loss.item()
    with torch.no_grad():
        for parameter in own:
            parameter -= 0.01 * parameter.grad
        assert objective.penalty(b._replace(features=features), features=features[0]).item() < loss.item()


def test_dann_measures_the_share_of_variance_between_domains() -> None:
    z = np.zeros((3, 10, 2))
    z[:, :, 0] = np.array([0.0, 1.0, 2.0])[:, None]
    z[:, ::2, 1] = 1.0
    b = block(3, 10, 2)._replace(features=torch.tensor(z))
    between, within = np.var([0.0, 1.0, 2.0]), 0.25
    assert DANN(1.0, 3).measure(b, features=b.features[0]) == pytest.approx(between / (between + within))


def test_sums_by_domain_and_distances() -> None:
    values, codes = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([2, 0, 2])
    assert sum_by(values, codes, 4).tolist() == [2.0, 0.0, 5.0, 0.0]
    z = block().features[0]
    torch.testing.assert_close(_square_distances(z), torch.cdist(z, z).square(), atol=1e-9, rtol=0)


def test_what_a_gpu_would_do_differently_is_asked_for() -> None:
    """The CUDA branches, read on a stand-in that says it lies on a GPU: a sum that sorts, distances in double."""

    class OnGPU(torch.Tensor):
        @property
        def is_cuda(self) -> bool:  # type: ignore[override]
            return True

    called: list[str] = []

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            called.append(f"{getattr(function, '__name__', '')}:{getattr(args[0], 'dtype', '')}" if args else "")
            return function(*args, **(kwargs or {}))

    values = torch.tensor([1.0, 2.0, 4.0]).as_subclass(OnGPU)
    with Watch():
        total = sum_by(values, torch.tensor([2, 0, 2]), 4)
    assert total.tolist() == [2.0, 0.0, 5.0, 0.0]
    assert any(name.startswith("index_put") for name in called)
    assert not any(name.startswith("index_add") for name in called)

    called.clear()
    b = block()
    b = b._replace(features=b.features.float())
    expected = float(MMD(1.0, 4, gammas=(1.0,)).value(b, b.features[0]))
    with Watch():
        found = MMD(1.0, 4, gammas=(1.0,)).value(b._replace(features=b.features.as_subclass(OnGPU)), b.features[0])
    products = [name for name in called if name.split(":")[0] in ("matmul", "__matmul__", "mm")]
    assert products
    assert all(name.endswith("float64") for name in products)
    assert float(found) == pytest.approx(expected, rel=1e-5)
