"""Networks: ``features`` gives the last hidden layer, ``head`` the prediction from it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Network(nn.Module):
    """A network for rows; ``width`` is that of its last hidden layer."""

    width: int

    def features(self, X: Tensor) -> Tensor:
        """Last hidden layer, shape (rows, width) or, for an ensemble, (rows, members, width)."""
        raise NotImplementedError

    def head(self, features: Tensor) -> Tensor:
        """Prediction, shape (rows,) or (rows, members)."""
        raise NotImplementedError

    def forward(self, X: Tensor) -> Tensor:
        """Prediction, shape (rows,): of an ensemble the members' mean."""
        out = self.head(self.features(X))
        return out.mean(dim=1) if out.ndim == 2 else out


class MLP(Network):
    """Fully connected layers with ReLU and dropout, and a linear output."""

    def __init__(self, n_features: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = n_features
        for width in hidden:
            layers += [nn.Linear(before, width), nn.ReLU(inplace=True)]
            if dropout > 0:
                layers.append(nn.Dropout(dropout))
            before = width
        self.body = nn.Sequential(*layers)
        self.out = nn.Linear(before, 1)
        self.width = before

    def features(self, X: Tensor) -> Tensor:
        hidden: Tensor = self.body(X)
        return hidden

    def head(self, features: Tensor) -> Tensor:
        out: Tensor = self.out(features).squeeze(-1)
        return out


class TabM(Network):
    """An MLP that is an ensemble of ``members`` sharing their weights (TabM; Gorishniy et al. 2025, arXiv 2410.24210).

    Each layer is ``relu(s_i * (W (r_i * x)) + b_i)`` for member i (BatchEnsemble, Wen et al. 2020): W is shared, r, s
    and b are its own. Only the first r starts at random signs, the others at one, as in TabM. Every member is
    trained on its own error; the prediction is the members' mean.
    """

    def __init__(self, n_features: int, hidden: Sequence[int], dropout: float, members: int) -> None:
        super().__init__()
        widths = [n_features, *hidden]
        self.members = members
        self.linear = nn.ModuleList(
            nn.Linear(before, after, bias=False) for before, after in itertools.pairwise(widths)
        )
        self.r = nn.ParameterList(nn.Parameter(torch.ones(members, before)) for before in widths[:-1])
        self.s = nn.ParameterList(nn.Parameter(torch.ones(members, after)) for after in widths[1:])
        self.b = nn.ParameterList(
            nn.Parameter((torch.rand(members, after) * 2 - 1) / math.sqrt(before))
            for before, after in itertools.pairwise(widths)
        )
        with torch.no_grad():
            self.r[0].copy_(torch.randint(0, 2, (members, n_features)) * 2.0 - 1.0)
        self.dropout = nn.Dropout(dropout)
        self.width = widths[-1]
        bound = 1 / math.sqrt(self.width)
        self.out = nn.Parameter((torch.rand(members, self.width) * 2 - 1) * bound)
        self.out_bias = nn.Parameter((torch.rand(members) * 2 - 1) * bound)

    def features(self, X: Tensor) -> Tensor:
        z = X[:, None, :].expand(-1, self.members, -1)
        for linear, r, s, b in zip(self.linear, self.r, self.s, self.b, strict=True):
            z = self.dropout(torch.relu(torch.addcmul(b, linear(z * r), s)))
        return z

    def head(self, features: Tensor) -> Tensor:
        return (features * self.out).sum(dim=-1) + self.out_bias
