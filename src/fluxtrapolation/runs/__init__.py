"""Runs: search, selection, resumable run folders, here or on a cluster; ensembles and sweeps of them."""

from fluxtrapolation.runs.cells import CellResult, TrainListener, TrainOptions
from fluxtrapolation.runs.cluster import ClusterOptions
from fluxtrapolation.runs.ensemble import make_ensemble
from fluxtrapolation.runs.folder import RunConfig, RunFolder, RunState, Trial, find_runs
from fluxtrapolation.runs.predict import predict_run, seasonal_cycle
from fluxtrapolation.runs.proposals import PROFILES, Profile, configurations
from fluxtrapolation.runs.train import train

__all__ = [
    "PROFILES",
    "CellResult",
    "ClusterOptions",
    "Profile",
    "RunConfig",
    "RunFolder",
    "RunState",
    "TrainListener",
    "TrainOptions",
    "Trial",
    "configurations",
    "find_runs",
    "make_ensemble",
    "predict_run",
    "seasonal_cycle",
    "train",
]
