"""The LSTM: windows on the device, what counts and what must not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fluxtrapolation.errors import ModelError  # noqa: E402
from fluxtrapolation.models import model_spec  # noqa: E402
from fluxtrapolation.models.neural.recurrent import LSTM, LSTMNetwork, ResidentWindows, WindowTask  # noqa: E402
from fluxtrapolation.models.neural.scaling import Scaling  # noqa: E402
from fluxtrapolation.scenarios.windows import Windows  # noqa: E402
from toy_world import toy_part, toy_world  # noqa: E402

CPU = torch.device("cpu")
SMALL = {"length": 96, "warmup": 24, "stride": 24, "hidden": 8, "max_epochs": 3, "n_jobs": 1}


def lstm(**params: object) -> LSTM:
    return LSTM(**(SMALL | params))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["train", "validation", "test"])
def test_batches_on_the_device_equal_those_of_the_windows(name: str) -> None:
    part = toy_part(name, sites=3, days=11)  # type: ignore[arg-type]
    windows = part.windows(length=100, warmup=24)
    scaling = Scaling(np.zeros(5, "f4"), np.ones(5, "f4"), 0.0, 1.0)
    which = np.arange(len(windows))[::-1].copy()
    X, y, counts = ResidentWindows(windows, scaling, CPU).batch(torch.from_numpy(which))
    expected = windows.batch(which)
    scored = expected.scored & np.isfinite(expected.y)
    assert np.array_equal(counts.numpy(), scored)
    np.testing.assert_array_equal(y.numpy()[scored], expected.y[scored])
    inside = expected.rows >= 0
    np.testing.assert_array_equal(X.numpy()[inside], expected.X[inside])


def test_the_head_sees_the_state_and_the_hour() -> None:
    torch.manual_seed(0)
    network = LSTMNetwork(3, 4, 1, 0.0)
    X = torch.randn(2, 7, 3)
    hidden, _ = network.lstm[0](X)
    torch.testing.assert_close(network(X), network.head(torch.cat([hidden, X], dim=-1)).squeeze(-1))


def test_no_hour_sees_a_later_one() -> None:
    part = toy_part("test", sites=2, days=20)
    model = lstm().fit(toy_part(), seed=1)
    before = model.predict(part)
    changed = part.X.copy()
    changed[300:480] += 5.0  # the rest of the first tower
    after = model.predict(replace(part, X=changed))
    np.testing.assert_array_equal(before[:300], after[:300])
    np.testing.assert_array_equal(before[480:], after[480:])
    assert not np.array_equal(before[300:480], after[300:480])


def test_hours_that_do_not_count_have_no_say() -> None:
    part = toy_part()
    assert part.mask is not None
    assert not part.mask.all()
    wild = part.y.copy()
    wild[~part.mask] = 1e6
    first = lstm().fit(part, eval_set=toy_part("validation", seed=4), seed=2)
    second = lstm().fit(replace(part, y=wild), eval_set=toy_part("validation", seed=4), seed=2)
    np.testing.assert_array_equal(first.predict(part), second.predict(part))


def test_every_hour_is_predicted_once_in_train_parts_too() -> None:
    model = lstm().fit(toy_part(), seed=1)
    for name in ("train", "test"):
        predicted = model.predict(toy_part(name, sites=3, days=9))  # type: ignore[arg-type]
        assert predicted.shape == (3 * 9 * 24,)
        assert np.isfinite(predicted).all()


def test_it_learns_what_needs_memory() -> None:
    """A flux that follows the mean of the last day cannot be told from the hour alone."""
    part = toy_part("train", sites=6, days=90, seed=1)
    memory = np.concatenate(
        [np.convolve(part.X[part.site_codes == s, 0], np.ones(12) / 12)[: 90 * 24] for s in range(6)]
    ).astype(np.float32)
    part = replace(part, y=3 * memory, mask=np.ones(len(part), dtype=bool))
    model = lstm(hidden=16, max_epochs=40, learning_rate=1e-2, dropout=0.0).fit(part, seed=0)
    X, y = part.X, part.y
    hour_only = (
        y
        - np.column_stack([X, np.ones(len(X))])
        @ np.linalg.lstsq(np.column_stack([X, np.ones(len(X))]).astype(float), y.astype(float), rcond=None)[0]
    )
    assert np.sqrt(np.mean((model.predict(part) - y) ** 2)) < 0.5 * hour_only.std()


def test_rows_are_refused_with_the_way_out() -> None:
    X, y, _ = toy_world(300)
    with pytest.raises(ModelError, match=r"reads windows of consecutive hours; X is a ndarray.*sequences=True"):
        model_spec("lstm").build().fit(X, y)
    with pytest.raises(ModelError, match="longer than the warm-up of 24 h"):
        lstm().fit(toy_part(sites=2, days=1))
    part = toy_part()
    with pytest.raises(ModelError, match="other covariates: missing TA"):
        lstm().fit(part).predict(replace(part, feature_names=("tair", *part.feature_names[1:])))


def test_training_thins_validation_windows_only_where_there_are_many() -> None:
    from fluxtrapolation.models.neural import recurrent

    windows = Windows.over(toy_part("validation", sites=4, days=60), length=96, warmup=24, stride=None)
    assert len(recurrent._thinned(windows, 0)) == len(windows)
    many = Windows.over(toy_part("validation", sites=1, days=12_000), length=96, warmup=24, stride=None)
    thin = recurrent._thinned(many, 0)
    assert 200_000 < thin.size.sum() <= 250_000
    np.testing.assert_array_equal(thin.start, recurrent._thinned(many, 0).start)
    assert not np.array_equal(thin.start, recurrent._thinned(many, 1).start)
    # At random, not every k-th: steps differ, so a site is not seen in one season only.
    assert len(np.unique(np.diff(thin.start))) > 1


def test_short_windows_cost_what_they_hold() -> None:
    """A record with gaps has many short blocks; they are not filled up to whole windows."""
    part = toy_part("test", sites=2, days=60)
    hour = np.arange(60 * 24)
    kept = np.tile((hour % 30 != 0) | (hour > 900), 2)  # 30 blocks of 29 hours, then a long one
    part = part.take(kept)
    model = lstm(layers=2).fit(toy_part(), seed=1)
    seen: list[tuple[int, ...]] = []
    hook = model.network_.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape)))
    predicted = model.predict(part)
    hook.remove()
    whole = len(Windows.tiling(part, length=96, warmup=24)) * 96
    assert sum(windows * hours for windows, hours, _ in seen) <= whole

    short = part.take(np.tile(hour[kept[: len(hour)]] < 900, 2))
    seen.clear()
    hook = model.network_.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape)))
    again = model.predict(short)
    hook.remove()
    assert {hours for _, hours, _ in seen} == {29}
    np.testing.assert_allclose(again[:29], predicted[:29], rtol=1e-4, atol=1e-4)
    assert np.isfinite(predicted).all()


def test_dropout_between_layers_is_ours_not_cudnn_s() -> None:
    """cuDNN keeps the state of its own dropout from fit to fit, so a seed would not repeat."""
    network = LSTMNetwork(3, 4, 3, 0.5)
    assert [layer.dropout for layer in network.lstm] == [0.0, 0.0, 0.0]
    assert [layer.num_layers for layer in network.lstm] == [1, 1, 1]
    X = torch.randn(2, 7, 3)
    network.eval()
    reference = torch.nn.LSTM(3, 4, 3, batch_first=True)
    with torch.no_grad():
        for number, layer in enumerate(network.lstm):
            for key, value in layer.state_dict().items():
                reference.get_parameter(key.replace("_l0", f"_l{number}")).copy_(value)
        expected = network.head(torch.cat([reference(X)[0], X], dim=-1)).squeeze(-1)
    torch.testing.assert_close(network(X), expected)
    network.train()
    drawn = [network.dropout(torch.ones(50), torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert set(drawn[0].tolist()) == {0.0, 2.0}


def test_hours_that_were_not_measured_are_told() -> None:
    part = toy_part()
    assert part.mask is not None
    model = lstm()
    held = toy_part("validation", seed=4)
    with pytest.raises(ModelError, match="no validation hour has a measured target"):
        model.fit(part, eval_set=replace(held, mask=np.zeros(len(held), dtype=bool)))
    # measured in the warm-up of the only window of each site: no hour counts
    site_hours = np.concatenate([np.arange(n) for n in np.bincount(part.site_codes)])
    with pytest.raises(ModelError, match="no train hour after a window's warm-up"):
        model.fit(replace(part, mask=part.mask & (site_hours < 24)))


def test_validation_covariates_are_those_of_train() -> None:
    part, held = toy_part(), toy_part("validation")
    with pytest.raises(ModelError, match="the same covariates in another order"):
        lstm().fit(part, eval_set=replace(held, feature_names=held.feature_names[::-1]))
    with pytest.raises(ModelError, match="missing TA; not known tair"):
        lstm().fit(part, eval_set=replace(held, feature_names=("tair", *held.feature_names[1:])))


@pytest.mark.parametrize("layers", [1, 2])
def test_the_number_of_threads_changes_nothing(layers: int) -> None:
    part = toy_part(sites=6, days=40)
    fits = [lstm(layers=layers, dropout=0.3, batch_size=40, n_jobs=n).fit(part, seed=5) for n in (1, 2, 3)]
    weights = [fit.network_.state_dict() for fit in fits]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name])
        assert torch.equal(value, weights[2][name])


def test_pieces_side_by_side_give_the_gradient_of_the_whole_batch() -> None:
    part = toy_part(sites=6, days=40)
    windows = part.windows(length=96, warmup=24, stride=24)
    torch.manual_seed(0)
    network = LSTMNetwork(5, 6, 2, 0.0)
    resident = ResidentWindows(windows, Scaling(np.zeros(5, "f4"), np.ones(5, "f4"), 0.5, 2.0), CPU)
    which = torch.arange(0, len(windows), 3)
    assert len(which) > 2 * 16
    X, y, counts = resident.batch(which)
    whole = (network(X) - y)[counts].square().mean()
    expected = torch.autograd.grad(whole, list(network.parameters()))
    with ThreadPoolExecutor(3) as pool:
        task = WindowTask(network, resident, None, batch_size=len(which), pool=pool)
        loss = task._step(which, np.random.default_rng(0))
    assert loss.item() == pytest.approx(whole.item(), rel=1e-5)
    for weight, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-4, atol=1e-6)
