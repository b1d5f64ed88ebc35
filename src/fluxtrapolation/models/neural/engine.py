"""The one training loop of all neural models."""

from __future__ import annotations

import copy
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fluxtrapolation.errors import ModelError


@dataclass(frozen=True)
class Settings:
    """How a network is trained.

    Attributes
    ----------
    learning_rate, weight_decay : float
        Of Adam (AdamW's decay where it is not 0).
    max_epochs, patience : int
        Epochs at most, and without a better validation error before stopping.
    schedule : {'constant', 'cosine'}
        Learning rate over the epochs: constant, or falling to 0 along a cosine over ``max_epochs``.
    clip : float
        Largest norm of the gradient; 0 for none.
    """

    learning_rate: float
    max_epochs: int = 100
    patience: int = 10
    schedule: str = "constant"
    clip: float = 0.0
    weight_decay: float = 0.0

    def check(self, name: str) -> None:
        """Raise ModelError unless the settings make sense."""
        if not self.learning_rate > 0:
            raise ModelError(f"{name}: the learning rate must be positive, not {self.learning_rate}.")
        if self.max_epochs < 1 or self.patience < 1:
            raise ModelError(f"{name}: max_epochs and patience must be at least 1.")
        if not self.clip >= 0:
            raise ModelError(f"{name}: clip must be a positive norm of the gradient, or 0 for none, not {self.clip}.")
        if self.schedule not in ("constant", "cosine"):
            raise ModelError(f"{name}: the schedule must be 'constant' or 'cosine', not {self.schedule!r}.")


class Task(Protocol):
    """What the loop trains: steps of an epoch, and the error that decides when to stop."""

    def steps(self, generator: np.random.Generator) -> Iterator[Callable[[], Tensor]]:
        """The steps of one epoch, each a function that gives the loss and adds its gradient to the weights'."""
        ...

    def parameters(self) -> list[nn.Parameter]:
        """What is trained beside the network."""
        ...

    def validation_error(self) -> float | None:
        """Mean square error on the validation rows (scaled target); None without any."""
        ...


@dataclass(frozen=True)
class Outcome:
    """How training went."""

    epochs: int
    best_epoch: int
    stopped: str
    seconds: float
    steps: int
    validation: list[float]

    def facts(self) -> dict[str, Any]:
        return {
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "stopped": self.stopped,
            "steps": self.steps,
            "seconds_per_epoch": self.seconds / max(self.epochs, 1),
            "best_validation_mse_scaled": self.validation[self.best_epoch - 1] if self.validation else None,
        }


def train(
    network: nn.Module, task: Task, settings: Settings, *, generator: np.random.Generator, time_limit: float | None
) -> Outcome:
    """Train ``network`` in place; it ends with the weights of its best epoch.

    Stops after ``max_epochs``, when ``patience`` epochs brought no better validation error, or at the time limit. A
    loss that is not finite ends training too: with the best weights so far, or an error if there are none.

    Raises
    ------
    ModelError
        If training diverges in its first epoch.
    """
    begin = time.monotonic()
    weights = [*network.parameters(), *task.parameters()]
    fused = all(p.device.type in ("cpu", "cuda") for p in weights)
    optimiser = torch.optim.AdamW(
        weights, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=fused or None
    )
    best: dict[str, Any] | None = None
    best_error, best_epoch, steps, stopped, epoch = math.inf, 0, 0, "max_epochs", 0
    validation: list[float] = []
    for epoch in range(1, settings.max_epochs + 1):
        if settings.schedule == "cosine":
            rate = 0.5 * settings.learning_rate * (1 + math.cos(math.pi * (epoch - 1) / settings.max_epochs))
            for group in optimiser.param_groups:
                group["lr"] = rate
        network.train()
        done, total, late = 0, torch.zeros((), device=weights[0].device), False
        for step in task.steps(generator):
            optimiser.zero_grad(set_to_none=True)
            loss = step()
            if settings.clip > 0:
                nn.utils.clip_grad_norm_(weights, settings.clip)
            optimiser.step()
            total += loss
            done += 1
            # The clock is cheap and asks the device for nothing.
            if time_limit is not None and time.monotonic() - begin > time_limit:
                late = True
                break
        steps += done
        network.eval()
        error = task.validation_error()
        mean = float(total) / max(done, 1)
        # The last step may have spoilt the weights after its loss was taken; without validation nothing else sees it.
        sound = _finite(network) if error is None else math.isfinite(error)
        if not (sound and math.isfinite(mean)):
            if best is None:
                raise ModelError(
                    f"training diverged in epoch {epoch} (mean loss {mean:g}). Lower the learning rate "
                    f"({settings.learning_rate:g}) or clip the gradient."
                )
            stopped = "diverged"
            break
        # Without validation rows the last weights are the result; they are kept only against divergence.
        if error is not None:
            validation.append(error)
        if error is None or error < best_error:
            best_error, best_epoch = math.inf if error is None else error, epoch
            best = copy.deepcopy(network.state_dict())
        if late:
            stopped = "time_limit"
            break
        if epoch - best_epoch >= settings.patience:
            stopped = "patience"
            break
    if best is not None:
        network.load_state_dict(best)
    network.eval()
    return Outcome(epoch, best_epoch, stopped, time.monotonic() - begin, steps, validation)


def _finite(network: nn.Module) -> bool:
    sums = [parameter.detach().sum(dtype=torch.float64) for parameter in network.parameters()]
    return not sums or bool(torch.stack(sums).isfinite().all())


def pick_device(wanted: str, name: str) -> torch.device:
    """The device a user asked for: ``auto`` takes CUDA where there is one.

    Raises
    ------
    ModelError
        If it is not there.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError("the models run on the CPU or on CUDA")
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ModelError(f"{name}: the device {wanted!r} cannot be used ({reason}). Try 'cpu' or 'auto'.") from None
    return device


@contextmanager
def enough_memory(name: str) -> Iterator[None]:
    """Say in words that a GPU's memory is too small."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        reason = str(error).split(". ")[0]
        raise ModelError(
            f"{name}: the GPU has too little memory ({reason}). Take fewer rows (--max-rows), a smaller batch or "
            "network, or device='cpu'."
        ) from None


@contextmanager
def seeded(seed: int, *, threads: int, device: torch.device) -> Iterator[None]:
    """Torch's random state, threads and matrix precision for one fit; put back afterwards.

    Raises
    ------
    ModelError
        If ``threads`` is negative.
    """
    if threads < 0:
        raise ModelError(f"n_jobs is {threads}; give a number of threads, or 0 for torch's own setting.")
    before = torch.get_num_threads()
    precision = torch.get_float32_matmul_precision()
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        # torch.manual_seed would seed every GPU, also those whose state is not put back.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        torch.set_num_threads(threads or min(before, os.cpu_count() or 1))
        if device.type == "cuda":
            torch.set_float32_matmul_precision("high")  # TF32
        try:
            yield
        finally:
            torch.set_num_threads(before)
            torch.set_float32_matmul_precision(precision)
