"""Neural models: one training loop, networks, and objectives as plug-ins. Torch is imported when one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fluxtrapolation.models.registry import ModelSpec, Needs

if TYPE_CHECKING:
    import optuna

    from fluxtrapolation.models.base import FluxModel

_MLP_TEXT = (
    "hidden: 128-64, 256-128 or 512-256-128; learning_rate: log-uniform 1e-5..1e-2; dropout: 0..0.5; "
    "batch_size: 512, 1024 or 2048; at most 100 epochs, patience 10"
)


def _mlp_space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "hidden": trial.suggest_categorical("hidden", ["128-64", "256-128", "512-256-128"]),
        "learning_rate": trial.suggest_float("learning_rate", 1e-5, 1e-2, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "batch_size": trial.suggest_categorical("batch_size", [512, 1024, 2048]),
    }


def _gdro_space(trial: optuna.Trial) -> dict[str, Any]:
    return _mlp_space(trial) | {"group_step": trial.suggest_float("group_step", 1e-4, 1e-1, log=True)}


def _penalised_space(trial: optuna.Trial) -> dict[str, Any]:
    return _mlp_space(trial) | {"penalty_weight": trial.suggest_float("penalty_weight", 1e-2, 1e1, log=True)}


def _tabm_space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "hidden": trial.suggest_categorical("hidden", ["128-128", "256-256", "256-256-256"]),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 5e-3, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
        "batch_size": trial.suggest_categorical("batch_size", [512, 1024, 2048]),
    }


def _lstm_space(trial: optuna.Trial) -> dict[str, Any]:
    return {
        "hidden": trial.suggest_categorical("hidden", [64, 128]),
        "layers": trial.suggest_categorical("layers", [1, 2]),
        "dropout": trial.suggest_float("dropout", 0.0, 0.3),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        "batch_size": trial.suggest_categorical("batch_size", [32, 64, 128]),
    }


def _factory(name: str, module: str = "zoo") -> Any:
    def load() -> type[FluxModel]:
        from importlib import import_module

        import safetensors  # noqa: F401 (needed to save; told by its name before anything is trained)
        import torch  # noqa: F401

        found: type[FluxModel] = getattr(import_module(f"fluxtrapolation.models.neural.{module}"), name)
        return found

    return load


def _penalised(name: str, summary: str, cls: str, source: str) -> ModelSpec:
    return ModelSpec(
        name=name,
        summary=summary,
        factory=_factory(cls),
        source=source,
        space=_penalised_space,
        space_text=_MLP_TEXT + "; penalty_weight: log-uniform 1e-2..1e1",
        needs=Needs(validation=True, domains=True, scaling=True, extra="deep"),
        penalty="penalty_weight",
    )


SPECS = (
    ModelSpec(
        name="mlp",
        summary="multilayer perceptron",
        factory=_factory("MLPRegressor", "regressor"),
        source="Rumelhart et al. (1986), doi:10.1038/323533a0",
        space=_mlp_space,
        space_text=_MLP_TEXT,
        needs=Needs(validation=True, scaling=True, extra="deep"),
    ),
    ModelSpec(
        name="gdro",
        summary="MLP under group DRO: minimises the risk of the worst domains",
        factory=_factory("GroupDRORegressor"),
        source="Sagawa et al. (2020), arXiv:1911.08731",
        space=_gdro_space,
        space_text=_MLP_TEXT + "; group_step: log-uniform 1e-4..1e-1",
        needs=Needs(validation=True, domains=True, scaling=True, extra="deep"),
    ),
    _penalised(
        "coral",
        "MLP with a Deep CORAL penalty: features of equal mean and covariance across domains",
        "CoralRegressor",
        "Sun and Saenko (2016), arXiv:1607.01719",
    ),
    _penalised(
        "mmd",
        "MLP with a pairwise MMD penalty: features of equal distribution across domains",
        "MMDRegressor",
        "Li et al. (2018), doi:10.1109/CVPR.2018.00566; Gretton et al. (2012)",
    ),
    _penalised(
        "mmd-median",
        "mmd with kernels that follow the median distance",
        "MedianMMDRegressor",
        "Gretton et al. (2012), jmlr.org/papers/v13/gretton12a.html",
    ),
    _penalised(
        "vrex",
        "MLP with a penalty on the variance of the domains' risks",
        "VRexRegressor",
        "Krueger et al. (2021), arXiv:2003.00688",
    ),
    _penalised(
        "irm",
        "MLP with the IRMv1 penalty: one output scale optimal in every domain",
        "IRMRegressor",
        "Arjovsky et al. (2019), arXiv:1907.02893",
    ),
    _penalised(
        "dann",
        "MLP whose features an adversary cannot tell domains by",
        "DANNRegressor",
        "Ganin et al. (2016), arXiv:1505.07818",
    ),
    ModelSpec(
        name="tabm",
        summary="TabM: an ensemble of MLPs that share their weights",
        factory=_factory("TabMRegressor"),
        source="Gorishniy et al. (2025), arXiv:2410.24210",
        space=_tabm_space,
        space_text=(
            "hidden: 128-128, 256-256 or 256-256-256; learning_rate: log-uniform 1e-4..5e-3; dropout: 0..0.5; "
            "batch_size: 512, 1024 or 2048; 16 members; at most 100 epochs, patience 10"
        ),
        needs=Needs(validation=True, scaling=True, extra="deep"),
    ),
    ModelSpec(
        name="lstm",
        summary="sequence-to-sequence LSTM over windows of 720 hours",
        factory=_factory("LSTM", "recurrent"),
        source="Hochreiter and Schmidhuber (1997), doi:10.1162/neco.1997.9.8.1735",
        space=_lstm_space,
        space_text=(
            "hidden: 64 or 128; layers: 1 or 2; dropout: 0..0.3; learning_rate: log-uniform 1e-4..1e-2; "
            "batch_size: 32, 64 or 128; at most 100 epochs, patience 20"
        ),
        needs=Needs(validation=True, sequences=True, scaling=True, extra="deep"),
    ),
)
