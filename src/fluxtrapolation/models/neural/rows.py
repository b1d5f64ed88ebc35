"""Training and prediction for networks that read rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fluxtrapolation.models.neural.networks import Network
from fluxtrapolation.models.neural.objectives import BlockOutput, Objective
from fluxtrapolation.models.neural.resident import Resident

_PREDICT_ROWS, _PREDICT_NUMBERS = 1 << 16, 1 << 24  # at once; numbers of the last hidden layer, 64 MB
_BLOCK_SHARE = 6  # the rows drawn for a penalty are a sixth of a batch, shared by the sampled domains
_LEAST_BLOCK = 16  # rows of a domain; fewer say hardly anything about it
_MEASURE_DOMAINS, _MEASURE_ROWS = 32, 4096  # of all of them together


class RowTask:
    """One fit of a network on rows: batches for the risk, domain blocks for the penalty.

    Parameters
    ----------
    network : Network
    objective : Objective
    train : Resident
    validation : Resident or None
    batch_size : int
    """

    def __init__(
        self,
        network: Network,
        objective: Objective,
        train: Resident,
        validation: Resident | None,
        *,
        batch_size: int,
    ) -> None:
        self.network, self.objective, self.train, self.validation = network, objective, train, validation
        self.batch_size = batch_size
        k = objective.sampled_domains
        self.block_rows = max(_LEAST_BLOCK, batch_size // (_BLOCK_SHARE * k)) if k else 0
        self._own = list(objective.start(n_domains=train.n_domains, width=network.width, device=train.device))

    def parameters(self) -> list[nn.Parameter]:
        return self._own

    def steps(self, generator: np.random.Generator) -> Iterator[Callable[[], Tensor]]:
        proportionate = self.objective.proportionate and self.train.n_domains > 0
        for rows in self.train.batches(self.batch_size, generator, proportionate=proportionate):
            yield lambda rows=rows: self._step(rows, generator)  # type: ignore[misc]

    def _step(self, rows: Tensor, generator: np.random.Generator) -> Tensor:
        loss = self._loss(rows, generator)
        loss.backward()
        return loss.detach()

    def _loss(self, rows: Tensor, generator: np.random.Generator) -> Tensor:
        k = self.objective.sampled_domains
        if k == 0:
            features = self.network.features(self.train.X.index_select(0, rows))
            return self._risk(self.network.head(features), self.train.y.index_select(0, rows), rows)
        # One pass through the network for batch and blocks: two small ones cost more.
        drawn, domain = self.train.block_rows(k, self.block_rows, generator)
        both, sizes = torch.cat([rows, drawn.flatten()]), [len(rows), drawn.numel()]
        features, of_block = self.network.features(self.train.X.index_select(0, both)).split(sizes)
        y, y_block = self.train.y.index_select(0, both).split(sizes)
        predicted = self.network.head(of_block).view(drawn.shape)
        out = BlockOutput(of_block.view(*drawn.shape, -1), predicted, y_block.view(drawn.shape), domain)
        return self._risk(self.network.head(features), y, rows) + self.objective.penalty(out, features=features)

    def _risk(self, predicted: Tensor, y: Tensor, rows: Tensor) -> Tensor:
        # Each member of an ensemble learns from its own error.
        error = self.objective.error(predicted, y[:, None] if predicted.ndim == 2 else y)
        error = error.mean(dim=1) if error.ndim == 2 else error
        domain = self.train.domain.index_select(0, rows) if self.objective.proportionate else None
        return self.objective.risk(error, domain)

    def validation_error(self) -> float | None:
        if self.validation is None:
            return None
        total = torch.zeros((), dtype=torch.float64, device=self.validation.device)
        with torch.inference_mode():
            step = rows_at_once(self.network)
            for begin in range(0, len(self.validation), step):
                rows = slice(begin, begin + step)
                total += (self.network(self.validation.X[rows]) - self.validation.y[rows]).square().sum()
        return float(total) / len(self.validation)

    def penalty(self, generator: np.random.Generator) -> float:
        """The objective's unweighted penalty on train rows, from up to 32 domains; the network is not changed."""
        with torch.no_grad():  # not inference_mode: a penalty may want to turn gradients on
            k = min(_MEASURE_DOMAINS, self.train.n_domains)
            block = self.train.blocks(k, _MEASURE_ROWS // k, generator)
            flat = self.network.features(block.X.flatten(0, 1))
            batch = torch.from_numpy(generator.integers(len(self.train), size=_MEASURE_ROWS)).to(self.train.device)
            features = self.network.features(self.train.X.index_select(0, batch))
            shape = block.y.shape
            out = BlockOutput(flat.view(*shape, -1), self.network.head(flat).view(shape), block.y, block.domain)
            return self.objective.measure(out, features=features)


def rows_at_once(network: Network) -> int:
    """Rows that go through the network at once in prediction; an ensemble holds every member's hidden layers."""
    return max(256, min(_PREDICT_ROWS, _PREDICT_NUMBERS // (network.members * network.width)))


def predict_rows(network: Network, X: NDArray[np.float32], device: torch.device) -> NDArray[np.float32]:
    """Predict scaled rows in blocks, shape (n,)."""
    out = np.empty(len(X), dtype=np.float32)
    step = rows_at_once(network)
    with torch.inference_mode():
        for begin in range(0, len(X), step):
            rows = torch.from_numpy(X[begin : begin + step]).to(device)
            out[begin : begin + len(rows)] = network(rows).cpu().numpy()
    return out
