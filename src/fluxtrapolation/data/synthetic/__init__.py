"""A synthetic world of towers: process-based, seeded, with hidden states; for demonstrations, tests and teaching.

See ``docs/synthetic.md`` for equations, sources, and how it compares with real towers.
"""

from fluxtrapolation.data.synthetic.plan import PlannedSite, plan_world
from fluxtrapolation.data.synthetic.simulate import SimulatedSite, hours_of_years, simulate_site
from fluxtrapolation.data.synthetic.world import write_world

__all__ = ["PlannedSite", "SimulatedSite", "hours_of_years", "plan_world", "simulate_site", "write_world"]
