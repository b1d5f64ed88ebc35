"""Models: a registry of specs, one family a file. Libraries are imported when a model is built."""

from fluxtrapolation.models.base import EvalSet, FluxModel
from fluxtrapolation.models.registry import ModelSpec, Needs, model_spec, registry
from fluxtrapolation.models.sequence import SequenceModel

__all__ = ["EvalSet", "FluxModel", "ModelSpec", "Needs", "SequenceModel", "model_spec", "registry"]
