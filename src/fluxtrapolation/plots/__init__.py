"""Every figure, from tables only, and the report page. Matplotlib and Jinja2 are loaded when something is drawn."""

from fluxtrapolation.plots.cdf import error_cdf
from fluxtrapolation.plots.heatmap import skill_heatmap
from fluxtrapolation.plots.maps import tower_map
from fluxtrapolation.plots.overview import overview
from fluxtrapolation.plots.report import write_report
from fluxtrapolation.plots.scale_errors import error_by_scale
from fluxtrapolation.plots.seasonal import cycle_errors, seasonal_cycle
from fluxtrapolation.plots.style import model_styles, save

__all__ = [
    "cycle_errors",
    "error_by_scale",
    "error_cdf",
    "model_styles",
    "overview",
    "save",
    "seasonal_cycle",
    "skill_heatmap",
    "tower_map",
    "write_report",
]
