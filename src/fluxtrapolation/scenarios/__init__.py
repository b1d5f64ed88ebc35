"""Scenarios: which towers and years are train, validation and test, and the arrays that follow."""

from fluxtrapolation.scenarios.audit import Audit, audit
from fluxtrapolation.scenarios.design import design, design_draws, rule_names
from fluxtrapolation.scenarios.design_family import design_family
from fluxtrapolation.scenarios.design_options import DesignOptions
from fluxtrapolation.scenarios.part import Part, Split
from fluxtrapolation.scenarios.scenario import Membership, Scenario, Years, load_scenario, scenario_names
from fluxtrapolation.scenarios.split import make_split, most_rows, site_roles
from fluxtrapolation.scenarios.windows import WindowBatch, Windows

__all__ = [
    "Audit",
    "DesignOptions",
    "Membership",
    "Part",
    "Scenario",
    "Split",
    "WindowBatch",
    "Windows",
    "Years",
    "audit",
    "design",
    "design_draws",
    "design_family",
    "load_scenario",
    "make_split",
    "most_rows",
    "rule_names",
    "scenario_names",
    "site_roles",
]
