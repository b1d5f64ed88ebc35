"""The LSTM: windows of consecutive hours in, a flux for every hour out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fluxtrapolation.errors import ModelError
from fluxtrapolation.models.neural.engine import Settings, enough_memory, pick_device, seeded, train
from fluxtrapolation.models.neural.networks import Dropout
from fluxtrapolation.models.neural.regressor import count_parameters, device_name, load_weights, save_weights
from fluxtrapolation.models.neural.scaling import STOPPING_ROWS, Scaling, thinning
from fluxtrapolation.models.sequence import SequenceModel
from fluxtrapolation.scenarios.windows import Windows

_PREDICT_HOURS = 1 << 17
_SHARD = 16  # windows that one thread takes through the network at once


class LSTMNetwork(nn.Module):
    """LSTM layers, and a linear head that sees the hidden state and the covariates of the same hour."""

    def __init__(self, n_features: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        # One module for each layer: cuDNN's own dropout between layers keeps its random state over fits, so that a
        # second fit with the same seed would differ (pytorch issue 104697).
        inputs = [n_features] + [hidden] * (layers - 1)
        self.lstm = nn.ModuleList(nn.LSTM(width, hidden, batch_first=True) for width in inputs)
        self.dropout = Dropout(dropout)
        self.head = nn.Linear(hidden + n_features, 1)

    def forward(self, X: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Prediction for every hour, shape (windows, hours), from X of shape (windows, hours, features).

        In training ``generator`` draws what is dropped; None takes the device's own.
        """
        hidden = X
        for number, layer in enumerate(self.lstm):
            hidden, _ = layer(self.dropout(hidden, generator) if number else hidden)
        # The head on [hidden, x] as a sum of two products: no joined copy is made.
        width = hidden.shape[-1]
        weight, bias = self.head.weight[0], self.head.bias
        out: Tensor = self.dropout(hidden, generator) @ weight[:width] + X @ weight[width:] + bias
        return out


class ResidentWindows:
    """The hours of a part on the device, unscaled (on the CPU without a copy), and its windows as slices of them."""

    def __init__(self, windows: Windows, scaling: Scaling, device: torch.device) -> None:
        part = windows.part
        self.windows, self.scaling, self.device = windows, scaling, device
        self.X = torch.from_numpy(part.X).to(device)
        self.y = torch.from_numpy(part.y).to(device)
        scored = np.isfinite(part.y) if part.mask is None else part.mask & np.isfinite(part.y)
        self.scored = torch.from_numpy(scored).to(device)
        self.centre = torch.from_numpy(scaling.centre).to(device)
        self.spread = torch.from_numpy(scaling.spread).to(device)
        self.start = torch.from_numpy(windows.start).to(device)
        self.size = torch.from_numpy(windows.size).to(device)
        self.score_from = torch.from_numpy(windows.score_from).to(device)
        self.offset = torch.arange(windows.length, device=device)

    def gather(self, which: Tensor, length: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled covariates, row numbers, and whether an hour is inside its window, of some windows.

        Hours past the end of a short window repeat its last hour; they come after all that counts. Of windows that are
        all short, only the first ``length`` hours are taken.
        """
        size, offset = self.size[which, None], self.offset[:length]
        rows = self.start[which, None] + torch.minimum(offset, size - 1)
        X = self.X.index_select(0, rows.flatten()).view(*rows.shape, -1)
        return (X - self.centre) / self.spread, rows, offset < size

    def mine(self, which: Tensor, inside: Tensor) -> Tensor:
        """The hours that these windows score, of those inside them."""
        return inside & (self.offset[: inside.shape[1]] >= self.score_from[which, None])

    def batch(self, which: Tensor, length: int | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled covariates, scaled target (0 where it does not count), and whether it counts."""
        X, rows, inside = self.gather(which, length)
        counts = self.mine(which, inside) & self.scored[rows]
        y = (self.y[rows] - self.scaling.target_centre) / self.scaling.target_spread
        return X, torch.where(counts, y, 0.0), counts


class WindowTask:
    """One fit on windows; see :class:`~fluxtrapolation.models.neural.engine.Task`.

    On the CPU a batch is cut into pieces of 16 windows, each taken through the network and back by one thread. An LSTM
    is one long chain of small matrix products: several threads on one product wait for each other 720 times a window,
    several pieces side by side do not. The pieces do not depend on the number of threads, so neither does the result.
    """

    def __init__(
        self,
        network: LSTMNetwork,
        train: ResidentWindows,
        validation: ResidentWindows | None,
        *,
        batch_size: int,
        pool: ThreadPoolExecutor | None = None,
    ) -> None:
        self.network, self.train, self.validation, self.batch_size = network, train, validation, batch_size
        self._weights = list(network.parameters())
        self._map: Callable[..., Iterable[Any]] = map if pool is None else pool.map

    def parameters(self) -> list[nn.Parameter]:
        return []

    def steps(self, generator: np.random.Generator) -> Iterator[Callable[[], Tensor]]:
        order = torch.from_numpy(generator.permutation(len(self.train.windows))).to(self.train.device)
        for begin in range(0, len(order), self.batch_size):
            yield lambda begin=begin: self._step(order[begin : begin + self.batch_size], generator)  # type: ignore[misc]

    def _step(self, which: Tensor, generator: np.random.Generator) -> Tensor:
        """The mean square error of the hours that count, and its gradient."""
        pieces = which.split(_SHARD) if self.train.device.type == "cpu" else (which,)
        seeds = generator.integers(2**63, size=len(pieces)).tolist()
        total, count = torch.zeros((), device=which.device), torch.zeros((), device=which.device)
        for error, n, gradients in self._map(self._piece, pieces, seeds):
            total += error
            count += n
            for weight, gradient in zip(self._weights, gradients, strict=True):
                weight.grad = gradient if weight.grad is None else weight.grad.add_(gradient)
        count = count.clamp_min(1)
        for weight in self._weights:
            if weight.grad is not None:
                weight.grad.div_(count)
        return total / count

    def _piece(self, which: Tensor, seed: int) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Sum of square errors, hours that count, and the gradient of the sum, for some windows."""
        X, y, counts = self.train.batch(which)
        # A GPU draws by its own generator, which the fit has seeded.
        generator = torch.Generator().manual_seed(seed) if which.device.type == "cpu" else None
        error = torch.where(counts, self.network(X, generator) - y, 0.0).square().sum()
        return error.detach(), counts.sum(), torch.autograd.grad(error, self._weights)

    def validation_error(self) -> float | None:
        if self.validation is None:
            return None
        total = torch.zeros((), dtype=torch.float64, device=self.validation.device)
        n = torch.zeros((), dtype=torch.int64, device=self.validation.device)
        with torch.inference_mode():
            for which, length in _chunks(self.validation):
                X, y, counts = self.validation.batch(which, length)
                total += torch.where(counts, self.network(X) - y, 0.0).square().sum()
                n += counts.sum()
        return float(total) / int(n)


def _chunks(resident: ResidentWindows) -> Iterator[tuple[Tensor, int]]:
    """Windows that go through the network together, and the hours of the longest; short ones are put together.

    A record with many gaps has many short blocks; at full length each would cost as much as a whole window.
    """
    size = resident.windows.size
    order = np.argsort(-size, kind="stable")
    begin = 0
    while begin < len(order):
        longest = int(size[order[begin]])
        which = order[begin : begin + max(1, _PREDICT_HOURS // longest)]
        begin += len(which)
        yield torch.from_numpy(which).to(resident.device), longest


class LSTM(SequenceModel):
    """Sequence-to-sequence LSTM with a skip of the hour's covariates into the linear head.

    Windows of ``length`` hours begin every ``stride`` hours in training; the first ``warmup`` hours give context and no
    loss. The loss is the mean square error over measured hours. Prediction tiles every hour exactly once.

    Parameters
    ----------
    hidden : int
        Width of the state.
    layers : int
    dropout : float
        On the hidden state, and between layers.
    learning_rate : float
    batch_size : int
        Windows in a batch.
    length, warmup, stride : int
        Hours; see :meth:`fluxtrapolation.scenarios.Part.windows`.
    max_epochs, patience : int
    schedule : {'constant', 'cosine'}
    clip : float
        Largest norm of the gradient; 0 for none.
    device : str
        ``auto`` takes CUDA where there is one; or ``cpu``, ``cuda``, ``cuda:1``.
    n_jobs : int
        Threads on the CPU; 0 leaves torch's setting.

    Source: Hochreiter and Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735; for fluxes Besnard et al. (2019),
    doi:10.1371/journal.pone.0211510.
    """

    name = "lstm"

    def __init__(
        self,
        hidden: int = 64,
        layers: int = 1,
        dropout: float = 0.1,
        learning_rate: float = 1e-3,
        batch_size: int = 64,
        length: int = 720,
        warmup: int = 168,
        stride: int = 168,
        max_epochs: int = 100,
        patience: int = 20,
        schedule: str = "constant",
        clip: float = 1.0,
        device: str = "auto",
        n_jobs: int = 0,
    ) -> None:
        self.hidden = hidden
        self.layers = layers
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.length = length
        self.warmup = warmup
        self.stride = stride
        self.max_epochs = max_epochs
        self.patience = patience
        self.schedule = schedule
        self.clip = clip
        self.device = device
        self.n_jobs = n_jobs

    def network(self, n_features: int) -> LSTMNetwork:
        """The untrained network."""
        return LSTMNetwork(n_features, self.hidden, self.layers, self.dropout)

    def _fit_windows(
        self, train_windows: Windows, validation: Windows | None, *, seed: int, time_limit: float | None
    ) -> None:
        settings = Settings(self.learning_rate, self.max_epochs, self.patience, self.schedule, self.clip)
        settings.check(self.name)
        if self.hidden < 1 or self.layers < 1 or self.batch_size < 1 or not 0 <= self.dropout < 1:
            raise ModelError(
                f"{self.name}: hidden, layers and batch_size must be at least 1 and dropout lie in [0, 1)."
            )
        device = pick_device(self.device, self.name)
        self.scaling_ = _scaling(train_windows, self.name)
        stopping = None if validation is None else _thinned(validation, seed)
        if stopping is not None and not _counting(stopping).any():
            raise ModelError(f"{self.name}: no validation hour has a measured target. Fit without eval_set.")
        with enough_memory(self.name), seeded(seed, threads=self.n_jobs, device=device):
            self.network_ = self.network(train_windows.part.X.shape[1]).to(device)
            resident = ResidentWindows(train_windows, self.scaling_, device)
            held = None if stopping is None else ResidentWindows(stopping, self.scaling_, device)
            generator = np.random.default_rng(seed)
            try:
                with _threads(device) as pool:
                    task = WindowTask(self.network_, resident, held, batch_size=self.batch_size, pool=pool)
                    outcome = train(self.network_, task, settings, generator=generator, time_limit=time_limit)
            except ModelError as error:
                raise ModelError(f"{self.name}: {error}") from None
        self.report_ = {
            "device": device_name(device),
            "parameters": count_parameters(self.network_),
            "train_windows": len(train_windows),
            **outcome.facts(),
        }
        if outcome.stopped == "diverged":
            self.notes_ = (f"training diverged after epoch {outcome.best_epoch}, whose weights are used",)

    def _predict_windows(self, windows: Windows) -> NDArray[np.float32]:
        device = pick_device(self.device, self.name)
        self.network_.to(device)
        out = np.full(len(windows.part), np.nan, dtype=np.float32)
        with (
            enough_memory(self.name),
            seeded(0, threads=self.n_jobs, device=device),
            torch.inference_mode(),
        ):
            resident = ResidentWindows(windows, self.scaling_, device)
            for which, length in _chunks(resident):
                X, rows, inside = resident.gather(which, length)
                mine = resident.mine(which, inside)
                out[rows[mine].cpu().numpy()] = self.network_(X)[mine].cpu().numpy()
        return self.scaling_.restore(out)

    def _save(self, folder: Path) -> None:
        save_weights(self.network_, self.scaling_, folder)

    def _load(self, folder: Path) -> None:
        with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced at once
            self.network_ = self.network(self.n_features_in_)
        self.scaling_ = load_weights(self.network_, folder)


@contextmanager
def _threads(device: torch.device) -> Iterator[ThreadPoolExecutor | None]:
    """As many threads as torch may use, each for itself; None on a GPU."""
    if device.type != "cpu":
        yield None
        return
    own = partial(torch.set_num_threads, 1)
    with ThreadPoolExecutor(torch.get_num_threads(), "lstm", initializer=own) as pool:
        yield pool


def _counting(windows: Windows) -> NDArray[np.bool_]:
    """The hours whose error counts in some window."""
    return np.asarray(windows.scored_rows() & np.isfinite(windows.part.y))


def _scaling(windows: Windows, name: str) -> Scaling:
    """Scaling from the train hours that count; of every k-th of them where there are very many."""
    part = windows.part
    rows = np.flatnonzero(_counting(windows))
    if len(rows) == 0:
        raise ModelError(f"{name}: no train hour after a window's warm-up has a measured target.")
    y = part.y[rows]
    return Scaling.of(
        part.X[rows[:: thinning(len(rows), 1_000_000)]], float(y.mean(dtype=np.float64)), float(y.std(dtype=np.float64))
    )


def _thinned(windows: Windows, seed: int) -> Windows:
    """Windows drawn at random, so that the hours that decide when to stop are at most about 250,000.

    At random, since windows advance by 23 days: every 16th of a site would lie in the same season of each year.
    """
    total = int(windows.size.sum())
    if total <= STOPPING_ROWS:
        return windows
    kept = max(1, len(windows) * STOPPING_ROWS // total)
    drawn = np.sort(np.random.default_rng([seed, 2]).choice(len(windows), kept, replace=False))
    return replace(windows, start=windows.start[drawn], size=windows.size[drawn], score_from=windows.score_from[drawn])
