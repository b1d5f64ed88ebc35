"""Evaluation: scales, statistics, metrics, summaries and skill. Needs only numpy and polars."""

from fluxtrapolation.evaluation.evaluate import evaluate
from fluxtrapolation.evaluation.metrics import get_metric, metric, metric_names
from fluxtrapolation.evaluation.predictions import Identity, Predictions
from fluxtrapolation.evaluation.scales import Thresholds
from fluxtrapolation.evaluation.scores import Scores
from fluxtrapolation.evaluation.summary import Skill, pivot, skill, summarise
from fluxtrapolation.evaluation.tables import render, write_table

__all__ = [
    "Identity",
    "Predictions",
    "Scores",
    "Skill",
    "Thresholds",
    "evaluate",
    "get_metric",
    "metric",
    "metric_names",
    "pivot",
    "render",
    "skill",
    "summarise",
    "write_table",
]
