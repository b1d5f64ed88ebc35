"""The MLP's kin: the same network and loop with another objective, and TabM."""

from __future__ import annotations

from collections.abc import Sequence

from fluxtrapolation.errors import ModelError
from fluxtrapolation.models.neural import objectives
from fluxtrapolation.models.neural.networks import Network, TabM
from fluxtrapolation.models.neural.regressor import MLPRegressor


class GroupDRORegressor(MLPRegressor):
    """MLP that minimises the risk of the worst train domains (GroupDRO).

    Parameters
    ----------
    group_step : float
        Step of the exponentiated gradient on the domains' weights.

    The others are the MLP's. Source: Sagawa et al. (2020), arXiv 1911.08731.
    """

    name = "gdro"
    needs_domains = True

    def __init__(
        self,
        group_step: float = 1e-2,
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
        super().__init__(
            hidden, learning_rate, dropout, batch_size, max_epochs, patience, schedule, clip, device, n_jobs
        )
        self.group_step = group_step

    def objective(self) -> objectives.Objective:
        return objectives.GroupDRO(_not_negative(self.name, "group_step", self.group_step))


class PenalisedRegressor(MLPRegressor):
    """MLP with a penalty on differences between sampled domains.

    Parameters
    ----------
    penalty_weight : float
        Factor lambda of the penalty.

    The others are the MLP's.
    """

    needs_domains = True

    def __init__(
        self,
        penalty_weight: float = 1.0,
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
        super().__init__(
            hidden, learning_rate, dropout, batch_size, max_epochs, patience, schedule, clip, device, n_jobs
        )
        self.penalty_weight = penalty_weight

    def weight(self) -> float:
        """The factor of the penalty, once checked."""
        return _not_negative(self.name, "penalty_weight", self.penalty_weight)


class CoralRegressor(PenalisedRegressor):
    """MLP with a Deep CORAL penalty; see :class:`~fluxtrapolation.models.neural.objectives.Coral`."""

    name = "coral"

    def objective(self) -> objectives.Objective:
        return objectives.Coral(self.weight(), 10)


class MMDRegressor(PenalisedRegressor):
    """MLP with a pairwise MMD penalty; see :class:`~fluxtrapolation.models.neural.objectives.MMD`."""

    name = "mmd"

    def objective(self) -> objectives.Objective:
        return objectives.MMD(self.weight(), 5, gammas=(1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3))


class MedianMMDRegressor(PenalisedRegressor):
    """MMD whose kernels follow the running median distance of the features."""

    name = "mmd-median"

    def objective(self) -> objectives.Objective:
        return objectives.MMD(self.weight(), 5, gammas=(0.25, 0.5, 1.0, 2.0, 4.0), median=True)


class VRexRegressor(PenalisedRegressor):
    """MLP with a penalty on the variance of the domains' risks; see the objective."""

    name = "vrex"

    def objective(self) -> objectives.Objective:
        return objectives.VRex(self.weight(), 10)


class IRMRegressor(PenalisedRegressor):
    """MLP with the IRMv1 penalty; see :class:`~fluxtrapolation.models.neural.objectives.IRM`."""

    name = "irm"

    def objective(self) -> objectives.Objective:
        return objectives.IRM(self.weight(), 10)


class DANNRegressor(PenalisedRegressor):
    """MLP whose features an adversary cannot tell domains by; see the objective."""

    name = "dann"

    def objective(self) -> objectives.Objective:
        return objectives.DANN(self.weight(), 10)


class TabMRegressor(MLPRegressor):
    """TabM: an ensemble of MLPs that share their weights.

    Parameters
    ----------
    members : int
        Size of the ensemble.

    The others are the MLP's. Source: Gorishniy et al. (2025), arXiv 2410.24210.
    """

    name = "tabm"

    def __init__(
        self,
        members: int = 16,
        hidden: str | Sequence[int] = "128-128",
        learning_rate: float = 2e-3,
        dropout: float = 0.1,
        batch_size: int = 1024,
        max_epochs: int = 100,
        patience: int = 10,
        schedule: str = "constant",
        clip: float = 1.0,
        device: str = "auto",
        n_jobs: int = 0,
    ) -> None:
        super().__init__(
            hidden, learning_rate, dropout, batch_size, max_epochs, patience, schedule, clip, device, n_jobs
        )
        self.members = members

    def network(self, n_features: int) -> Network:
        if self.members < 1:
            raise ModelError(f"{self.name}: members must be at least 1, not {self.members}.")
        return TabM(n_features, self.widths(), self.dropout, self.members)


def _not_negative(model: str, name: str, value: float) -> float:
    if not 0 <= value < float("inf"):
        raise ModelError(f"{model}: {name} must be a number from 0 on, not {value}.")
    return value
