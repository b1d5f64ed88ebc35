"""What training minimises: plain risk, worst-group risk, and risk plus a penalty on differences between domains."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class BlockOutput(NamedTuple):
    """The network's output on domain blocks; see :class:`~fluxtrapolation.models.neural.resident.Blocks`."""

    features: Tensor
    """Last hidden layer, shape (domains, rows, width)."""
    prediction: Tensor
    """Shape (domains, rows)."""
    y: Tensor
    """Shape (domains, rows)."""
    domain: Tensor
    """Codes of the domains, shape (domains,)."""


class Objective:
    """Plain empirical risk: the mean square error of the batch (ERM). Others override what differs.

    Attributes
    ----------
    sampled_domains : int
        Domains drawn for the penalty at each step; 0 for an objective without.
    proportionate : bool
        Wants batches that hold each domain in its share.
    """

    sampled_domains = 0
    proportionate = False

    def start(
        self,
        *,
        n_domains: int,  # noqa: ARG002
        width: int,  # noqa: ARG002
        device: torch.device,  # noqa: ARG002
    ) -> Iterable[nn.Parameter]:
        """Get ready for a fit; gives parameters of the objective's own that are trained too."""
        return ()

    def error(self, prediction: Tensor, y: Tensor) -> Tensor:
        """The error of each row, here its square; the target is standardised (mean 0, variance 1).

        Early stopping is by the mean square error whatever this gives.
        """
        return (prediction - y).square()

    def risk(self, error: Tensor, domain: Tensor | None) -> Tensor:  # noqa: ARG002
        """The risk of a batch from the errors of its rows, shape (rows,).

        ``domain`` holds the rows' domains, codes from 0, if the objective is ``proportionate``; else it is None.
        """
        return error.mean()

    def penalty(self, block: BlockOutput, *, features: Tensor) -> Tensor:
        """The penalty, already weighted; ``features`` are the batch's, shape (rows, width)."""
        raise NotImplementedError

    def measure(self, block: BlockOutput, *, features: Tensor) -> float:
        """The unweighted penalty, for the record; taken once at the end, on more rows and without gradients."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """What the record should hold at the end."""
        return {}


class GroupDRO(Objective):
    """Group distributionally robust optimisation (Sagawa et al. 2020, algorithm 1, arXiv 1911.08731).

    Weights over train domains follow ``q_d <- q_d exp(step * risk_d)``, normalised, and the loss is
    ``sum_d q_d risk_d`` over the domains of the batch. All domains' risks come from one pass over the rows.

    Parameters
    ----------
    step : float
        Step of the exponentiated gradient.
    """

    proportionate = True

    def __init__(self, step: float) -> None:
        self.step = step

    def start(self, *, n_domains: int, width: int, device: torch.device) -> Iterable[nn.Parameter]:  # noqa: ARG002
        self.log_weights = torch.full((n_domains,), -math.log(n_domains), device=device)
        return ()

    def risk(self, error: Tensor, domain: Tensor | None) -> Tensor:
        if domain is None:  # the regressor refuses a fit without domains before this
            raise ValueError("this objective needs domains")
        n = len(self.log_weights)
        mean = sum_by(error, domain, n) / sum_by(torch.ones_like(error), domain, n).clamp_min(1.0)
        with torch.no_grad():
            self.log_weights = torch.log_softmax(self.log_weights + self.step * mean.detach(), dim=0)
        return (self.log_weights.exp() * mean).sum()

    def facts(self) -> dict[str, Any]:
        weights = self.log_weights.exp()
        return {
            "largest_domain_weight": float(weights.max()),
            "effective_domains": float(1.0 / weights.square().sum()),
        }


class Penalised(Objective):
    """Risk of the batch plus ``weight`` times a penalty on blocks of sampled domains.

    Parameters
    ----------
    weight : float
        The factor lambda.
    sampled_domains : int
        Domains drawn at each step.
    """

    def __init__(self, weight: float, sampled_domains: int) -> None:
        self.weight, self.sampled_domains = weight, sampled_domains

    def penalty(self, block: BlockOutput, *, features: Tensor) -> Tensor:
        return self.weight * self.value(block, features)

    def measure(self, block: BlockOutput, *, features: Tensor) -> float:
        return float(self.value(block, features))

    def value(self, block: BlockOutput, features: Tensor) -> Tensor:
        """The unweighted penalty."""
        raise NotImplementedError


class _CoralDistance(torch.autograd.Function):
    """The value of :class:`Coral`; its gradient is made in the same pass, in half the time that autograd takes."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, features: Tensor) -> Tensor:
        k, m, width = z.shape
        n = len(features)
        mean, all_mean = z.mean(dim=1, keepdim=True), features.mean(dim=0)
        centred, rest = z - mean, features - all_mean
        off = torch.baddbmm(rest.mT @ rest / -(n - 1), centred.mT, centred, alpha=1.0 / (m - 1))
        apart = mean[:, 0] - all_mean
        value = apart.square().mean() + off.square().mean()
        if any(ctx.needs_input_grad):
            by_mean = apart * (2.0 / (k * width))
            by_cov = off * (2.0 / (k * width * width))
            own = torch.baddbmm((by_mean / m)[:, None], centred, by_cov, alpha=2.0 / (m - 1))
            all_ = torch.addmm(by_mean.sum(dim=0) / -n, rest, by_cov.sum(dim=0), alpha=-2.0 / (n - 1))
            ctx.save_for_backward(own, all_)
        return value

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        own, all_ = ctx.saved_tensors
        return gradient * own, gradient * all_


class Coral(Penalised):
    """Deep CORAL against the batch (Sun and Saenko 2016, arXiv 1607.01719; with means as in DomainBed).

    The mean over sampled domains of ``|m_d - m|^2 / h + |C_d - C|^2 / h^2`` (Frobenius), where m and C are mean and
    covariance of the last hidden layer (h wide) in the domain and in the batch. The paper has the covariance term with
    a factor 1/4.
    """

    def value(self, block: BlockOutput, features: Tensor) -> Tensor:
        value: Tensor = _CoralDistance.apply(block.features, features)
        return value


class _PairDiscrepancy(torch.autograd.Function):
    """Mean over pairs of domains of the squared maximum mean discrepancy; its gradient is made in the same pass.

    With ``A = 2 / (k m^2)`` for rows of one domain and ``-2 / (k (k - 1) m^2)`` for rows of two, the value is
    ``sum_ij A_ij K_ij``, and its gradient by row i ``4 sum_j A_ij K'_ij (z_i - z_j)``, K' being the kernel's derivative
    by the square distance.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, k: int, gammas: tuple[float, ...], distance: Tensor, scale: Tensor) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        scaled = distance / scale
        total, slope = torch.zeros_like(scaled), torch.zeros_like(scaled)
        for gamma in gammas:
            # exp(-80) is nothing beside 1; smaller values would be denormal, which processors are slow at.
            one = (scaled * -gamma).clamp_(min=-80.0).exp_()
            total += one
            if wanted:
                slope.sub_(one, alpha=gamma)
        m = len(z) // k
        between = -2.0 / (k * (k - 1) * m * m)
        for kernel in (total, slope) if wanted else (total,):
            # Rows of one domain: -(k - 1) times the weight of rows of two.
            kernel.mul_(between)
            own = kernel.view(k, m, k, m).diagonal(dim1=0, dim2=2)
            own.mul_(1 - k)
        if wanted:
            gradient = torch.addmm(slope.sum(dim=1, keepdim=True) * z, slope, z, alpha=-1.0).mul_(4.0 / scale)
            ctx.save_for_backward(gradient)
        return total.sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None, None]:
        (own,) = ctx.saved_tensors
        return gradient * own, None, None, None, None


def _square_distances(z: Tensor) -> Tensor:
    # On CUDA in double: TF32 keeps 10 bits of a product, and a row's distance to itself would be far from 0.
    square = z.square().sum(dim=1)
    return (square[:, None] + square[None, :] - 2.0 * (z @ z.T)).clamp_min(0.0)


class MMD(Penalised):
    """Maximum mean discrepancy between pairs of sampled domains (Gretton et al. 2012; Li et al. 2018).

    The mean over pairs of ``mean k(z, z) + mean k(z', z') - 2 mean k(z, z')`` on the last hidden layer, with k the sum
    of Gaussian kernels ``exp(-gamma |z - z'|^2)``.

    Parameters
    ----------
    gammas : tuple of float
        Of the kernels; with ``median`` in units of one over the median square distance.
    median : bool
        Scale gammas by the running median square distance between rows (exponential mean, factor 0.9).
    """

    def __init__(self, weight: float, sampled_domains: int, *, gammas: tuple[float, ...], median: bool = False) -> None:
        super().__init__(weight, sampled_domains)
        self.gammas, self.median = gammas, median
        self.scale: Tensor | None = None

    def value(self, block: BlockOutput, features: Tensor) -> Tensor:  # noqa: ARG002
        k, m, width = block.features.shape
        z = block.features.reshape(k * m, width)
        # Centring leaves distances as they are and keeps the expansion |a|^2 + |b|^2 - 2ab from cancelling.
        z = z - z.mean(dim=0).detach()
        if k == 1:
            return z.sum() * 0.0
        with torch.no_grad():
            distance = _square_distances(z.double()).to(z.dtype) if z.is_cuda else _square_distances(z)
            scale = distance.new_ones(())
        if self.median:
            scale = self._median(distance)
        value: Tensor = _PairDiscrepancy.apply(z, k, self.gammas, distance, scale)
        return value

    def _median(self, distance: Tensor) -> Tensor:
        # Of every third row and column: a median of some thousand distances is exact enough, and sorting is slow.
        now = distance[::3, ::3].flatten().median().clamp_min(1e-12)
        if torch.is_grad_enabled() or self.scale is None:
            self.scale = now if self.scale is None else 0.9 * self.scale + 0.1 * now
        return self.scale


class VRex(Penalised):
    """Variance risk extrapolation (Krueger et al. 2021, arXiv 2003.00688): the variance of the domains' risks."""

    def value(self, block: BlockOutput, features: Tensor) -> Tensor:  # noqa: ARG002
        risk = (block.prediction - block.y).square().mean(dim=1)
        return risk.var(unbiased=False)


class IRM(Penalised):
    """Invariant risk minimisation, IRMv1 (Arjovsky et al. 2019, arXiv 1907.02893).

    The mean over domains of the square of ``d risk_d(w * prediction) / dw`` at w = 1. For square errors the derivative
    is ``2 mean((prediction - y) * prediction)``, so no second differentiation is needed. The square is the product of
    the derivatives of two halves of the domain's rows, whose noise is independent: its expectation is the square.
    """

    def value(self, block: BlockOutput, features: Tensor) -> Tensor:  # noqa: ARG002
        slope = 2.0 * (block.prediction - block.y) * block.prediction
        first, second = slope[:, ::2].mean(dim=1), slope[:, 1::2].mean(dim=1)
        return (first * second).mean()

    def measure(self, block: BlockOutput, *, features: Tensor) -> float:  # noqa: ARG002
        """The plain square, on many rows: never negative."""
        slope = 2.0 * (block.prediction - block.y) * block.prediction
        return float(slope.mean(dim=1).square().mean())


class _Reverse(torch.autograd.Function):
    """Identity whose gradient changes sign."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: float) -> Tensor:
        ctx.weight = weight
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.weight * gradient, None


class DANN(Penalised):
    """Domain-adversarial training (Ganin et al. 2016, arXiv 1505.07818).

    A classifier on the last hidden layer learns which of the sampled domains a row comes from, and through a reversed
    gradient, times ``weight``, the features learn to hide it. Each domain has one output vector; the softmax runs over
    the sampled domains only, so a step costs the same for 10 and for 1000 domains.

    ``measure`` gives the share of the features' variance that lies between domains, in [0, 1]: it does not depend on
    how good the classifier is.
    """

    hidden = 64

    def start(self, *, n_domains: int, width: int, device: torch.device) -> Iterable[nn.Parameter]:
        self.body = nn.Sequential(nn.Linear(width, self.hidden), nn.ReLU()).to(device)
        self.out = nn.Parameter(torch.randn(n_domains, self.hidden, device=device) / math.sqrt(self.hidden))
        return [*self.body.parameters(), self.out]

    def penalty(self, block: BlockOutput, *, features: Tensor) -> Tensor:  # noqa: ARG002
        k, m, width = block.features.shape
        reversed_ = _Reverse.apply(block.features.reshape(k * m, width), self.weight)
        logits = self.body(reversed_) @ self.out[block.domain].T
        wanted = torch.arange(k, device=logits.device).repeat_interleave(m)
        return nn.functional.cross_entropy(logits, wanted)

    def value(self, block: BlockOutput, features: Tensor) -> Tensor:  # noqa: ARG002
        z = block.features
        between = z.mean(dim=1).var(dim=0, unbiased=False).sum()
        return between / z.flatten(0, 1).var(dim=0, unbiased=False).sum().clamp_min(1e-12)


def sum_by(values: Tensor, codes: Tensor, n: int) -> Tensor:
    """Sum of the values of each code, shape (n,); the same to the last bit every time."""
    zeros = values.new_zeros(n)
    if values.is_cuda:
        # index_add adds in whatever order the GPU's threads come; an accumulating index_put sorts first.
        return zeros.index_put((codes,), values, accumulate=True)
    return zeros.index_add(0, codes, values)
