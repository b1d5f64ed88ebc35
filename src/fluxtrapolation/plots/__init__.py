"""Every figure, from tables only, and the report page. Matplotlib and Jinja2 are loaded when something is drawn.

The interactive twins of the figures are in :mod:`fluxtrapolation.plots.charts`.
"""

from fluxtrapolation.plots.cdf import error_cdf
from fluxtrapolation.plots.distance import error_by_distance
from fluxtrapolation.plots.error_maps import error_map
from fluxtrapolation.plots.heatmap import skill_heatmap
from fluxtrapolation.plots.maps import tower_map
from fluxtrapolation.plots.overview import overview
from fluxtrapolation.plots.report import write_report
from fluxtrapolation.plots.scale_errors import error_by_scale
from fluxtrapolation.plots.scatter import site_means
from fluxtrapolation.plots.seasonal import cycle_errors, seasonal_cycle
from fluxtrapolation.plots.style import model_styles, save

__all__ = [
    "cycle_errors",
    "error_by_distance",
    "error_by_scale",
    "error_cdf",
    "error_map",
    "model_styles",
    "overview",
    "save",
    "seasonal_cycle",
    "site_means",
    "skill_heatmap",
    "tower_map",
    "write_report",
]
