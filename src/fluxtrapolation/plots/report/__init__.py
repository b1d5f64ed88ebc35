"""The report: one self-contained HTML page with tables, figures and how to reproduce them."""

from __future__ import annotations

from fluxtrapolation.plots.report.page import write_report

__all__ = ["write_report"]
