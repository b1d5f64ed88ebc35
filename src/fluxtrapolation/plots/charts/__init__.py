"""Interactive charts as plain Vega-Lite specifications, made from tables only; no chart library is needed to make one.

Each has a twin in :mod:`fluxtrapolation.plots`, drawn by matplotlib for paper. A specification carries its data and is
ready for ``json.dumps``; report pages draw them with the library they carry.
"""

from fluxtrapolation.plots.charts.cdf import cdf_chart
from fluxtrapolation.plots.charts.error_map import error_map_chart
from fluxtrapolation.plots.charts.scale_errors import scale_chart
from fluxtrapolation.plots.charts.scatter import site_means_chart
from fluxtrapolation.plots.charts.skill import skill_chart

__all__ = ["cdf_chart", "error_map_chart", "scale_chart", "site_means_chart", "skill_chart"]
