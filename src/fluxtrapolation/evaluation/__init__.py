"""Evaluation: scales, statistics, metrics, summaries, skill, intervals and rankings. Needs only numpy and polars."""

from fluxtrapolation.evaluation.aggregate import aggregate
from fluxtrapolation.evaluation.certainty.compare import Comparison, compare
from fluxtrapolation.evaluation.certainty.intervals import intervals
from fluxtrapolation.evaluation.certainty.rank import Ranking, rank
from fluxtrapolation.evaluation.certainty.spread import spread
from fluxtrapolation.evaluation.certainty.strata import cdf, strata
from fluxtrapolation.evaluation.evaluate import evaluate
from fluxtrapolation.evaluation.metrics import get_metric, metric, metric_names
from fluxtrapolation.evaluation.predictions import Identity, Predictions
from fluxtrapolation.evaluation.scales import Thresholds
from fluxtrapolation.evaluation.scores import Scores
from fluxtrapolation.evaluation.summary import Skill, pivot, pivot_intervals, skill, summarise
from fluxtrapolation.evaluation.tables import Ends, render, write_table

__all__ = [
    "Comparison",
    "Ends",
    "Identity",
    "Predictions",
    "Ranking",
    "Scores",
    "Skill",
    "Thresholds",
    "aggregate",
    "cdf",
    "compare",
    "evaluate",
    "get_metric",
    "intervals",
    "metric",
    "metric_names",
    "pivot",
    "pivot_intervals",
    "rank",
    "render",
    "skill",
    "spread",
    "strata",
    "summarise",
    "write_table",
]
