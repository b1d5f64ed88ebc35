"""The LSTM: windows of consecutive hours in, a flux for every hour out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fluxtrapolation.errors import ModelError
from fluxtrapolation.models.neural.engine import Settings, pick_device, seeded, train
from fluxtrapolation.models.neural.regressor import count_parameters, device_name, load_weights, save_weights
from fluxtrapolation.models.neural.scaling import Scaling
from fluxtrapolation.models.sequence import SequenceModel
from fluxtrapolation.scenarios.windows import Windows

_STOPPING_ROWS = 250_000
_PREDICT_HOURS = 1 << 17


class LSTMNetwork(nn.Module):
    """LSTM layers, and a linear head that sees the hidden state and the covariates of the same hour."""

    def __init__(self, n_features: int, hidden: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(n_features, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden + n_features, 1)

    def forward(self, X: Tensor) -> Tensor:
        """Prediction for every hour, shape (windows, hours), from X of shape (windows, hours, features)."""
        hidden, _ = self.lstm(X)
        # The head on [hidden, x] as a sum of two products: no joined copy is made.
        width = hidden.shape[-1]
        weight, bias = self.head.weight[0], self.head.bias
        out: Tensor = self.dropout(hidden) @ weight[:width] + X @ weight[width:] + bias
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

    def gather(self, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled covariates, row numbers, and whether an hour is inside its window, of some windows.

        Hours past the end of a short window repeat its last hour; they come after all that counts.
        """
        size = self.size[which, None]
        rows = self.start[which, None] + torch.minimum(self.offset, size - 1)
        X = self.X.index_select(0, rows.flatten()).view(*rows.shape, -1)
        return (X - self.centre) / self.spread, rows, self.offset < size

    def batch(self, which: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scaled covariates, scaled target (0 where it does not count), and whether it counts."""
        X, rows, inside = self.gather(which)
        counts = inside & (self.offset >= self.score_from[which, None]) & self.scored[rows]
        y = (self.y[rows] - self.scaling.target_centre) / self.scaling.target_spread
        return X, torch.where(counts, y, 0.0), counts


class WindowTask:
    """One fit on windows; see :class:`~fluxtrapolation.models.neural.engine.Task`."""

    def __init__(
        self, network: nn.Module, train: ResidentWindows, validation: ResidentWindows | None, *, batch_size: int
    ) -> None:
        self.network, self.train, self.validation, self.batch_size = network, train, validation, batch_size

    def parameters(self) -> list[nn.Parameter]:
        return []

    def steps(self, generator: np.random.Generator) -> Iterator[Callable[[], Tensor]]:
        order = torch.from_numpy(generator.permutation(len(self.train.windows))).to(self.train.device)
        for begin in range(0, len(order), self.batch_size):
            yield lambda begin=begin: self._loss(order[begin : begin + self.batch_size])  # type: ignore[misc]

    def _loss(self, which: Tensor) -> Tensor:
        X, y, counts = self.train.batch(which)
        error = torch.where(counts, self.network(X) - y, 0.0)
        return error.square().sum() / counts.sum().clamp_min(1)

    def validation_error(self) -> float | None:
        if self.validation is None:
            return None
        total = torch.zeros((), dtype=torch.float64, device=self.validation.device)
        n = torch.zeros((), dtype=torch.int64, device=self.validation.device)
        with torch.inference_mode():
            for which in _chunks(self.validation):
                X, y, counts = self.validation.batch(which)
                total += torch.where(counts, self.network(X) - y, 0.0).square().sum()
                n += counts.sum()
        return float(total) / int(n)


def _chunks(resident: ResidentWindows) -> Iterator[Tensor]:
    windows = resident.windows
    step = max(1, _PREDICT_HOURS // windows.length)
    for begin in range(0, len(windows), step):
        yield torch.arange(begin, min(begin + step, len(windows)), device=resident.device)


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
        self.scaling_ = _scaling(train_windows)
        with seeded(seed, threads=self.n_jobs, device=device):
            self.network_ = self.network(train_windows.part.X.shape[1]).to(device)
            resident = ResidentWindows(train_windows, self.scaling_, device)
            held = None if validation is None else ResidentWindows(_thinned(validation), self.scaling_, device)
            task = WindowTask(self.network_, resident, held, batch_size=self.batch_size)
            try:
                outcome = train(
                    self.network_, task, settings, generator=np.random.default_rng(seed), time_limit=time_limit
                )
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
        with seeded(0, threads=self.n_jobs, device=device), torch.inference_mode():
            resident = ResidentWindows(windows, self.scaling_, device)
            for which in _chunks(resident):
                X, rows, inside = resident.gather(which)
                mine = inside & (resident.offset >= resident.score_from[which, None])
                out[rows[mine].cpu().numpy()] = self.network_(X)[mine].cpu().numpy()
        return self.scaling_.restore(out)

    def _save(self, folder: Path) -> None:
        save_weights(self.network_, self.scaling_, folder)

    def _load(self, folder: Path) -> None:
        self.network_ = self.network(self.n_features_in_)
        self.scaling_ = load_weights(self.network_, folder)


def _scaling(windows: Windows) -> Scaling:
    """Scaling from the train hours that count; of every k-th of them where there are very many."""
    part = windows.part
    counts = np.isfinite(part.y) if part.mask is None else part.mask & np.isfinite(part.y)
    if not counts.any():
        raise ModelError("lstm: no train hour has a measured target.")
    rows = np.flatnonzero(counts)
    y = part.y[rows]
    step = max(1, -(-len(rows) // 1_000_000))
    return Scaling.of(part.X[rows[::step]], float(y.mean(dtype=np.float64)), float(y.std(dtype=np.float64)))


def _thinned(windows: Windows) -> Windows:
    """Every k-th window, so that the hours that decide when to stop are not many more than 250,000."""
    from dataclasses import replace

    step = max(1, int(windows.size.sum()) // _STOPPING_ROWS)
    return replace(
        windows,
        start=windows.start[::step],
        size=windows.size[::step],
        score_from=windows.score_from[::step],
    )
