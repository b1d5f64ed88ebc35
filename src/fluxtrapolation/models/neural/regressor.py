"""Neural models for rows: the common body, and one small class for each objective."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fluxtrapolation.errors import ModelError
from fluxtrapolation.models.base import FluxModel
from fluxtrapolation.models.neural import objectives
from fluxtrapolation.models.neural.engine import Settings, enough_memory, pick_device, seeded, train
from fluxtrapolation.models.neural.networks import MLP, Network, check_network
from fluxtrapolation.models.neural.resident import Resident
from fluxtrapolation.models.neural.rows import RowTask, predict_rows
from fluxtrapolation.models.neural.scaling import STOPPING_ROWS, Scaling, thinning

Float32 = NDArray[np.float32]


class NeuralRegressor(FluxModel):
    """Base of the networks that read rows; a subclass names its hyper-parameters and its objective.

    Covariates are scaled robustly and the target is standardised, both on the train rows. With an ``eval_set`` training
    stops early and keeps the best weights; the error that decides is taken on every k-th validation row where there are
    more than 250,000. Without one it runs for ``max_epochs``.

    ``network`` and ``objective`` are there to be overridden: docs/models/neural.md, "Your own network or objective".
    """

    needs_domains = False

    hidden: str | Sequence[int]
    dropout: float
    learning_rate: float
    batch_size: int
    max_epochs: int
    patience: int
    schedule: str
    clip: float
    device: str
    n_jobs: int

    def objective(self) -> objectives.Objective:
        """What training minimises."""
        return objectives.Objective()

    def network(self, n_features: int) -> Network:
        """The untrained network."""
        return MLP(n_features, self.widths(), self.dropout)

    def widths(self) -> tuple[int, ...]:
        """Widths of the hidden layers, from ``128-64`` or a sequence of numbers."""
        try:
            widths = tuple(
                int(part) for part in (self.hidden.split("-") if isinstance(self.hidden, str) else self.hidden)
            )
        except (TypeError, ValueError):
            widths = ()
        if not widths or min(widths) < 1:
            raise ModelError(f"{self.name}: hidden is {self.hidden!r}; write widths like '128-64'.")
        return widths

    def _fit(
        self,
        X: Float32,
        y: Float32,
        *,
        domains: NDArray[Any] | None,
        validation: tuple[Float32, Float32] | None,
        seed: int,
        time_limit: float | None,
    ) -> None:
        objective = self.objective()
        needs_domains = self.needs_domains or objective.proportionate or objective.sampled_domains > 0
        if needs_domains and domains is None:
            raise ModelError(f"{self.name} learns across domains: give fit the domain of each row (domains=...).")
        if not 0 <= self.dropout < 1 or self.batch_size < 2:
            raise ModelError(f"{self.name}: dropout must lie in [0, 1) and batch_size must be at least 2.")
        settings = Settings(self.learning_rate, self.max_epochs, self.patience, self.schedule, self.clip)
        settings.check(self.name)
        device = pick_device(self.device, self.name)
        generator = np.random.default_rng(seed)
        self.scaling_ = Scaling.fit(X, y)
        used = domains if needs_domains else None
        with enough_memory(self.name), seeded(seed, threads=self.n_jobs, device=device):
            resident = Resident(self.scaling_.covariates(X), self.scaling_.target(y), used, device)
            if needs_domains and resident.n_domains < 2:
                raise ModelError(f"{self.name} needs rows of at least 2 domains; all rows are of one.")
            self.network_ = self.network(X.shape[1]).to(device)
            check_network(self.network_, X.shape[1], name=self.name, penalised=objective.sampled_domains > 0)
            task = RowTask(
                self.network_, objective, resident, self._stopping(validation, device), batch_size=self.batch_size
            )
            try:
                outcome = train(self.network_, task, settings, generator=generator, time_limit=time_limit)
            except ModelError as error:
                raise ModelError(f"{self.name}: {error}") from None
            self.report_ = {
                "device": device_name(device),
                "parameters": count_parameters(self.network_),
                **outcome.facts(),
            }
            self.report_ |= objective.facts()
            if objective.sampled_domains:
                self.report_["penalty"] = task.penalty(np.random.default_rng([seed, 1]))
        if outcome.stopped == "diverged":
            self.notes_ = (f"training diverged after epoch {outcome.best_epoch}, whose weights are used",)

    def _stopping(self, validation: tuple[Float32, Float32] | None, device: torch.device) -> Resident | None:
        if validation is None:
            return None
        X, y = validation
        step = thinning(len(X), STOPPING_ROWS)
        return Resident(self.scaling_.covariates(X[::step]), self.scaling_.target(y[::step]), None, device)

    def _predict(self, X: Float32) -> NDArray[Any]:
        device = pick_device(self.device, self.name)
        self.network_.to(device)
        out = np.empty(len(X), dtype=np.float32)
        with enough_memory(self.name), seeded(0, threads=self.n_jobs, device=device):
            # In blocks, so that no scaled copy of all rows is made.
            for begin in range(0, len(X), 1 << 20):
                rows = self.scaling_.covariates(X[begin : begin + (1 << 20)])
                out[begin : begin + len(rows)] = self.scaling_.restore(predict_rows(self.network_, rows, device))
        return out

    def _save(self, folder: Path) -> None:
        save_weights(self.network_, self.scaling_, folder)

    def _load(self, folder: Path) -> None:
        with torch.random.fork_rng(devices=[]):  # the weights drawn here are replaced at once
            self.network_ = self.network(self.n_features_in_)
        self.scaling_ = load_weights(self.network_, folder)


def save_weights(network: torch.nn.Module, scaling: Scaling, folder: Path) -> None:
    """Write weights and scaling as one safetensors file."""
    from safetensors.torch import save

    # Cloned, since safetensors takes no two names of one memory, which tied weights are.
    tensors = {
        f"network.{key}": value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for key, value in network.state_dict().items()
    }
    tensors |= {key: torch.from_numpy(np.ascontiguousarray(value)) for key, value in scaling.arrays().items()}
    (folder / "weights.safetensors").write_bytes(save(tensors))


def load_weights(network: torch.nn.Module, folder: Path) -> Scaling:
    """Read what :func:`save_weights` wrote; the weights go into ``network``."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load((folder / "weights.safetensors").read_bytes())
        network.load_state_dict(
            {key.removeprefix("network."): value for key, value in tensors.items() if key.startswith("network.")}
        )
        network.eval()
        return Scaling.from_arrays({key: value.numpy() for key, value in tensors.items() if key.startswith("scaling.")})
    except (SafetensorError, RuntimeError) as error:
        raise ValueError(" ".join(str(error).split())) from None


def device_name(device: torch.device) -> str:
    """The GPU's name, or ``cpu``."""
    return str(torch.cuda.get_device_name(device) if device.type == "cuda" else device.type)


def count_parameters(network: torch.nn.Module) -> int:
    """Number of trained numbers of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


class MLPRegressor(NeuralRegressor):
    """Multilayer perceptron: ReLU, dropout, Adam, mean square error.

    Parameters
    ----------
    hidden : str or sequence of int
        Widths of the hidden layers, such as ``128-64``.
    learning_rate : float
    dropout : float
    batch_size : int
    max_epochs, patience : int
        Epochs at most, and without improvement before stopping.
    schedule : {'constant', 'cosine'}
    clip : float
        Largest norm of the gradient; 0 for none.
    device : str
        ``auto`` takes CUDA where there is one; or ``cpu``, ``cuda``, ``cuda:1``.
    n_jobs : int
        Threads on the CPU; 0 leaves torch's setting.
    """

    name = "mlp"

    def __init__(
        self,
        hidden: str | Sequence[int] = "128-64",
        learning_rate: float = 1e-3,
        dropout: float = 0.1,
        batch_size: int = 1024,
        max_epochs: int = 100,
        patience: int = 10,
        schedule: str = "constant",
        clip: float = 0.0,
        device: str = "auto",
        n_jobs: int = 0,
    ) -> None:
        self.hidden = hidden
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.schedule = schedule
        self.clip = clip
        self.device = device
        self.n_jobs = n_jobs
