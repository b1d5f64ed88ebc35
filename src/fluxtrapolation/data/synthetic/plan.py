"""Which towers a synthetic world holds, and over which years."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, Literal

from fluxtrapolation.data.sites import SiteFacts, load_sites
from fluxtrapolation.data.synthetic.climate import invented_site
from fluxtrapolation.errors import DataError, did_you_mean

Profile = Literal["small", "published"]

PROFILE_SITES: Final = {"small": 60, "published": 207}
FIRST_YEAR: Final = 2015
LAST_YEAR: Final = 2022
_SPAN: Final = LAST_YEAR - FIRST_YEAR + 1


@dataclass(frozen=True, slots=True)
class PlannedSite:
    """A tower of a world and its whole years, first to last inclusive."""

    facts: SiteFacts
    first_year: int
    last_year: int

    @property
    def hours(self) -> int:
        """Number of hourly rows, leap days included."""
        leaps = sum(y % 4 == 0 and (y % 100 != 0 or y % 400 == 0) for y in range(self.first_year, self.last_year + 1))
        return 24 * (365 * (self.last_year - self.first_year + 1) + leaps)


@cache
def published_plan() -> tuple[PlannedSite, ...]:
    """The 207 towers of the published profile in the fixed order in which every world takes them.

    187 towers have the ids, coordinates and classes that the benchmark's published lists name; 20 are invented
    (``XX-001`` on). Their years are made (:mod:`~fluxtrapolation.data.synthetic.make_plan`) so that the three published
    test sets have their published numbers of rows, towers, site-years and single-year towers.
    """
    text = resources.files("fluxtrapolation.data.synthetic").joinpath("plan.csv").read_text(encoding="utf-8")
    known = load_sites()
    planned = []
    for row in csv.DictReader(text.splitlines()):
        site = row["site_id"]
        facts = invented_site(int(site[3:])) if site.startswith("XX-") else known[site]
        planned.append(PlannedSite(facts, int(row["first_year"]), int(row["last_year"])))
    return tuple(planned)


def plan_world(
    profile: Profile = "small", *, sites: int | None = None, years: tuple[int, int] | None = None
) -> tuple[PlannedSite, ...]:
    """Towers and years of a world.

    Parameters
    ----------
    profile : {'small', 'published'}
        60 or 207 towers.
    sites : int, optional
        Another number: the first so many of the fixed order, in which any first N hold the published lists and the
        IGBP classes in fair shares; beyond 207, more invented towers.
    years : (int, int), optional
        First and last year, inclusive. The towers' spans within 2015 to 2022 are stretched or squeezed onto them.

    Raises
    ------
    DataError
        If the profile is unknown, or the numbers make no world.
    """
    if profile not in PROFILE_SITES:
        raise DataError(
            f"Unknown profile {profile!r}.{did_you_mean(str(profile), PROFILE_SITES)} "
            f"Profiles: {', '.join(PROFILE_SITES)}."
        )
    number = PROFILE_SITES[profile] if sites is None else sites
    if number < 1:
        raise DataError(f"A world of {number} sites cannot be made. Give --sites 1 or more.")
    first, last = (FIRST_YEAR, LAST_YEAR) if years is None else years
    if not 1800 <= first <= last <= 2200:
        raise DataError(f"The years {first} to {last} make no span. Give --years FIRST:LAST, such as 2015:2022.")
    planned = list(published_plan()[:number])
    invented = sum(tower.facts.site_id.startswith("XX-") for tower in published_plan())
    planned += [
        PlannedSite(invented_site(invented + extra), FIRST_YEAR, LAST_YEAR)
        for extra in range(1, number - len(planned) + 1)
    ]
    return tuple(_onto(tower, first, last) for tower in planned)


def _onto(tower: PlannedSite, first: int, last: int) -> PlannedSite:
    """Carry a span within 2015 to 2022 over to other years in proportion; at least one year is left."""
    length = last - first + 1
    begin = (tower.first_year - FIRST_YEAR) * length // _SPAN
    end = -(-(tower.last_year + 1 - FIRST_YEAR) * length // _SPAN)
    return PlannedSite(tower.facts, first + begin, first + end - 1)
