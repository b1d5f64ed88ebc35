"""A PyTorch module of one's own, with a training loop of one's own and a search space.

fluxtrapolation train --model examples/bring_your_own/small_network.py:SPEC ...
"""

import math
import time

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from fluxtrapolation.models import FluxModel, ModelSpec, Needs


class Network(nn.Module):
    """Two hidden layers on standardised covariates; the scaling is saved with the weights."""

    def __init__(self, n_features, width):
        super().__init__()
        self.register_buffer("centre", torch.zeros(n_features))
        self.register_buffer("spread", torch.ones(n_features))
        self.layers = nn.Sequential(
            nn.Linear(n_features, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)
        )

    def forward(self, X):
        return self.layers((X - self.centre) / self.spread).squeeze(-1)


class SmallNetwork(FluxModel):
    """A small network trained by Adam; keeps the weights of the epoch with the best validation error."""

    name = "small-network"

    def __init__(self, width=64, learning_rate=3e-3, epochs=20, batch=1024):
        self.width = width
        self.learning_rate = learning_rate
        self.epochs = epochs
        self.batch = batch

    def _fit(self, X, y, *, validation, seed, time_limit, **_):
        end = time.monotonic() + (math.inf if time_limit is None else time_limit)
        torch.manual_seed(seed)
        X, y = torch.from_numpy(X), torch.from_numpy(y)
        held_X, held_y = (X, y) if validation is None else map(torch.from_numpy, validation)
        net = Network(X.shape[1], self.width)
        net.centre.copy_(X.mean(dim=0))
        net.spread.copy_(X.std(dim=0).clamp_min(1e-6))
        adam = torch.optim.Adam(net.parameters(), lr=self.learning_rate)
        best, self.net_ = math.inf, net
        for epoch in range(self.epochs):
            for rows in torch.randperm(len(X)).split(self.batch):
                adam.zero_grad()
                nn.functional.mse_loss(net(X[rows]), y[rows]).backward()
                adam.step()
                if time.monotonic() >= end:
                    break
            with torch.no_grad():
                error = float(nn.functional.mse_loss(net(held_X), held_y))
            if error < best:
                best, weights = error, {name: value.clone() for name, value in net.state_dict().items()}
                self.report_ = {"best_epoch": epoch + 1, "mse": error}
            if time.monotonic() >= end:
                break
        net.load_state_dict(weights)

    def _predict(self, X):
        with torch.no_grad():
            return self.net_(torch.from_numpy(X)).numpy()

    def _save(self, folder):
        save_file(self.net_.state_dict(), folder / "network.safetensors")

    def _load(self, folder):
        self.net_ = Network(self.n_features_in_, self.width)
        self.net_.load_state_dict(load_file(folder / "network.safetensors"))


SPEC = ModelSpec(
    name="small-network",
    summary="a small PyTorch network",
    factory=lambda: SmallNetwork,
    source="an example",
    space=lambda trial: {
        "width": trial.suggest_categorical("width", [32, 64, 128]),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
    },
    space_text="width: {32, 64, 128}; learning_rate: log-uniform 1e-4..1e-2",
    needs=Needs(validation=True),
)
