"""Which continent a tower stands on, by its coordinates and outlines with a few corners."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

Outline = tuple[tuple[float, float], ...]

CONTINENTS: Final = ("africa", "antarctica", "asia", "europe", "north-america", "oceania", "south-america")

# Corners are (longitude, latitude), through open sea wherever there is some. On land the borders are: Ural mountains
# and river, and the crest of the Caucasus, between Europe and Asia; the Suez canal; Panama's border with Colombia; New
# Guinea at 141 degrees east. Greenland and the Caribbean count as North America, Cyprus and Turkey's east as Asia.
_MEDITERRANEAN: Final[Outline] = (
    (-5.6, 35.95), (-2.0, 35.8), (3.0, 37.5), (8.0, 38.2), (10.5, 37.8), (11.3, 36.9), (12.0, 35.2), (15.0, 35.2),
    (23.0, 34.3),
)  # fmt: skip
_OUTLINES: Final[Sequence[tuple[str, Outline]]] = (
    ("antarctica", ((-181, -60), (181, -60), (181, -91), (-181, -91))),
    (
        "europe",
        (
            (-32, 36), *_MEDITERRANEAN, (28.0, 34.8), (28.4, 36.4), (27.2, 37.4), (26.3, 38.4), (26.1, 39.9),
            (27.0, 40.5), (29.0, 41.0), (29.2, 41.4), (37.0, 44.0), (40.0, 43.5), (44.0, 42.7), (48.3, 41.8),
            (50.0, 45.0), (51.5, 47.0), (51.0, 51.5), (59.0, 51.0), (60.0, 55.0), (60.0, 62.0), (66.0, 68.5),
            (68.0, 82.0), (-9.0, 82.0), (-9.0, 75.0), (-12.0, 69.0), (-26.0, 66.8), (-32.0, 60.0),
        ),
    ),
    (
        "africa",
        (
            (-32, 35.9), *_MEDITERRANEAN, (32.3, 31.8), (32.55, 29.9), (33.6, 27.8), (38.0, 20.5), (42.5, 13.5),
            (43.3, 12.4), (45.0, 11.8), (51.5, 12.5), (60.0, 0.0), (60.0, -30.0), (40.0, -45.0), (-20.0, -45.0),
            (-27.0, 0.0),
        ),
    ),
    (
        "north-america",
        (
            (-181, 48), (-181, 62), (-173.0, 63.9), (-169.0, 65.5), (-169.0, 72.0), (-130.0, 84.0), (-9.0, 84.0),
            (-9.0, 75.0), (-12.0, 69.0), (-26.0, 66.8), (-32.0, 60.0), (-45.0, 40.0), (-58.0, 20.0), (-59.3, 11.2),
            (-69.0, 12.8), (-73.0, 12.9), (-77.3, 8.8), (-77.9, 7.2), (-80.0, 5.0), (-95.0, 8.0), (-120.0, 18.0),
            (-130.0, 30.0), (-145.0, 45.0),
        ),
    ),
    (
        "south-america",
        (
            (-59.3, 11.2), (-69.0, 12.8), (-73.0, 12.9), (-77.3, 8.8), (-77.9, 7.2), (-80.0, 5.0), (-95.0, 2.0),
            (-95.0, -10.0), (-82.0, -60.0), (-25.0, -60.0), (-25.0, -25.0), (-29.0, 0.0), (-45.0, 6.0),
        ),
    ),
    (
        "oceania",
        (
            (110, -11.8), (125.0, -11.6), (131.0, -9.3), (139.0, -9.4), (141.0, -9.3), (141.0, 2.0), (132.0, 3.0),
            (132.0, 12.0), (140.0, 22.0), (181.0, 28.0), (181.0, -60.0), (110.0, -60.0),
        ),
    ),
    ("oceania", ((-181, 30), (-150, 30), (-120, 10), (-110, -20), (-110, -60), (-181, -60))),
    ("asia", ((25, -11.8), (181, -11.8), (181, 83), (25, 83))),
    ("asia", ((-181, 62), (-173.0, 63.9), (-169.0, 65.5), (-169.0, 73.0), (-181, 73))),
)  # fmt: skip


def continent_of(lat: float, lon: float) -> str | None:
    """The continent of a place, one of :data:`CONTINENTS`; None in mid-ocean.

    The outlines are coarse (tens of km at sea straits). Every packaged tower falls on the continent of the country in
    its id, except those of Hawaii, which is Oceania.
    """
    return next((name for name, outline in _OUTLINES if _inside(lon, lat, outline)), None)


def by_continent(places: Mapping[str, tuple[float, float]]) -> tuple[dict[str, list[str]], list[str]]:
    """Towers of each continent, and those on none; ``places`` maps site to (lat, lon)."""
    groups: dict[str, list[str]] = {}
    nowhere = []
    for site, (lat, lon) in sorted(places.items()):
        name = continent_of(lat, lon)
        if name is None:
            nowhere.append(site)
        else:
            groups.setdefault(name, []).append(site)
    return groups, nowhere


def _inside(x: float, y: float, outline: Outline) -> bool:
    """Even-odd rule: a ray to the east crosses the outline an odd number of times."""
    odd = False
    for (x0, y0), (x1, y1) in zip(outline, (*outline[1:], outline[0]), strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
            odd = not odd
    return odd
