"""Runs: search, selection, resumable run folders."""

from fluxtrapolation.runs.folder import RunConfig, RunFolder, RunState, Trial, find_runs
from fluxtrapolation.runs.predict import predict_run, seasonal_cycle
from fluxtrapolation.runs.search import PROFILES, Profile, configurations
from fluxtrapolation.runs.train import CellResult, TrainOptions, train

__all__ = [
    "PROFILES",
    "CellResult",
    "Profile",
    "RunConfig",
    "RunFolder",
    "RunState",
    "TrainOptions",
    "Trial",
    "configurations",
    "find_runs",
    "predict_run",
    "seasonal_cycle",
    "train",
]
