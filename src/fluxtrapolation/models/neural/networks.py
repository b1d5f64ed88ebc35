"""Networks: ``features`` gives the last hidden layer, ``head`` the prediction from it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fluxtrapolation.errors import ModelError


class Network(nn.Module):
    """A network for rows: ``features`` and ``head``.

    Attributes
    ----------
    width : int
        Of the last hidden layer; set in ``__init__``.
    members : int
        Of an ensemble; 1 for a single network.
    """

    width: int
    members: int = 1

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


class Dropout(nn.Module):
    """Dropout with cheap random bits on the CPU, and with a generator of its own where one is given.

    Torch's draws a 32-bit number for each unit, one after the other, which takes more time than the layers of a small
    network. Here one 64-bit number serves four units; so the rate is rounded to a multiple of 2^-16.

    Parameters
    ----------
    rate : float
        Share of units set to 0 in training, in [0, 1); the others are divided by the share that is kept.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        dropped = round(self.rate * 2**16)
        if not self.training or dropped == 0:
            return x
        if x.device.type != "cpu":
            return nn.functional.dropout(x, self.rate)
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None, generator=generator)
        bits = draws.view(torch.int16)[: x.numel()].view(x.shape)
        kept = (bits >= dropped - 2**15).to(x.dtype)
        return x * kept.mul_(1.0 / (1.0 - dropped / 2**16))


class MLP(Network):
    """Fully connected layers with ReLU and dropout, and a linear output."""

    def __init__(self, n_features: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = n_features
        for width in hidden:
            layers += [nn.Linear(before, width), nn.ReLU(inplace=True)]
            if dropout > 0:
                layers.append(Dropout(dropout))
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
    and b are its own. As in TabM, only the first r starts at random signs, the others and s start at one, the b of a
    layer start equal for all members, and each member has an output of its own that starts at random. Every member is
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
            nn.Parameter(((torch.rand(after) * 2 - 1) / math.sqrt(before)).repeat(members, 1))
            for before, after in itertools.pairwise(widths)
        )
        with torch.no_grad():
            self.r[0].copy_(torch.randint(0, 2, (members, n_features)) * 2.0 - 1.0)
        self.dropout = Dropout(dropout)
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


def check_network(network: object, n_features: int, *, name: str, penalised: bool) -> None:
    """Try a network of somebody's own on two rows, before it is trained on millions.

    Parameters
    ----------
    network : Network
    n_features : int
    name : str
        Of the model, for the message.
    penalised : bool
        Whether a penalty reads the last hidden layer.

    Raises
    ------
    ModelError
        If it is no :class:`Network`, or its shapes do not fit.
    """
    if not isinstance(network, Network):
        raise ModelError(
            f"{name}: network() gave a {type(network).__name__}. Give a subclass of "
            "fluxtrapolation.models.neural.networks.Network, with features(X), head(features) and width."
        )
    device = next((parameter.device for parameter in network.parameters()), None)
    if device is None:
        raise ModelError(
            f"{name}: network() gave a {type(network).__name__} without parameters; nothing can be trained."
        )
    width = getattr(network, "width", None)
    network.eval()
    try:
        with torch.no_grad():  # not inference_mode, whose tensors lazy layers could not train
            features = network.features(torch.zeros(2, n_features, device=device))
            out = network.head(features)
    except (RuntimeError, NotImplementedError) as error:
        reason = (str(error) or "features or head is not written").splitlines()[0]
        raise ModelError(f"{name}: the network fails on two rows of {n_features} features: {reason}") from error
    if out.ndim not in (1, 2) or len(out) != 2:
        raise ModelError(
            f"{name}: head(features) gave shape {tuple(out.shape)} for 2 rows; it must be (rows,), or (rows, members) "
            "for an ensemble. A linear layer of one output wants .squeeze(-1)."
        )
    if features.shape[-1] != width:
        raise ModelError(f"{name}: the network's width is {width}; its features have shape {tuple(features.shape)}.")
    if penalised and (features.ndim != 2 or out.numel() != 2):
        raise ModelError(
            f"{name}: a penalty reads features of shape (rows, width) and one prediction for each row; this network "
            f"gives {tuple(features.shape)} and {tuple(out.shape)} for 2 rows."
        )
