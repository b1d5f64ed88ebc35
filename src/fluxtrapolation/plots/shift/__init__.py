"""Figures of shift from tables only, and the page about the shift of a scenario. Matplotlib is loaded when drawing."""

from __future__ import annotations

from fluxtrapolation.plots.shift.acf import acf_panels
from fluxtrapolation.plots.shift.calibration import classifier_calibration
from fluxtrapolation.plots.shift.conditional import conditional_shift
from fluxtrapolation.plots.shift.difficulty import difficulty_curve
from fluxtrapolation.plots.shift.dissimilarity import error_by_dissimilarity
from fluxtrapolation.plots.shift.figures import paper_figures, save_figures
from fluxtrapolation.plots.shift.histograms import covariate_histograms
from fluxtrapolation.plots.shift.importance import covariate_importance
from fluxtrapolation.plots.shift.maps import dissimilarity_map, parts_map
from fluxtrapolation.plots.shift.nearest import nearest_distances
from fluxtrapolation.plots.shift.page import write_shift_page
from fluxtrapolation.plots.shift.slices import conditional_slices

__all__ = [
    "acf_panels",
    "classifier_calibration",
    "conditional_shift",
    "conditional_slices",
    "covariate_histograms",
    "covariate_importance",
    "difficulty_curve",
    "dissimilarity_map",
    "error_by_dissimilarity",
    "nearest_distances",
    "paper_figures",
    "parts_map",
    "save_figures",
    "write_shift_page",
]
