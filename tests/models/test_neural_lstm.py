"""The LSTM: windows on the device, what counts and what must not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from fluxtrapolation.errors import ModelError  # noqa: E402
from fluxtrapolation.models import model_spec  # noqa: E402
from fluxtrapolation.models.neural.recurrent import LSTM, LSTMNetwork, ResidentWindows  # noqa: E402
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
    hidden, _ = network.lstm(X)
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
    assert len(recurrent._thinned(windows)) == len(windows)
    many = replace(windows, size=windows.size * 1000)
    assert len(recurrent._thinned(many)) < len(windows)
