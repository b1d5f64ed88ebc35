"""Which towers and columns of a store are meant, by id, class, place, years and name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from fluxtrapolation.data.manifest import SiteRecord
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, MissingColumnError, did_you_mean, examples
from fluxtrapolation.schema import IGBP, QC, TIME, VARIABLES

Years: TypeAlias = tuple[int | None, int | None]
"""First and last calendar year, both included; None is open."""

Box: TypeAlias = tuple[float, float, float, float]
"""West, south, east, north in degrees."""


def choose_sites(
    store: Store,
    *,
    sites: Sequence[str] | None = None,
    igbp: Sequence[str] | None = None,
    bbox: Box | None = None,
    years: Years | None = None,
) -> list[str]:
    """Towers that satisfy all that is asked, ascending.

    Parameters
    ----------
    store : Store
    sites, igbp : sequence of str, optional
        Ids, IGBP classes.
    bbox : tuple of float, optional
        West, south, east, north, borders included; west greater than east crosses the date line.
    years : tuple of int or None, optional
        Towers whose record touches these years.

    Raises
    ------
    DataError
        If a tower or class does not exist, the box or years are none, or no tower is left; the message says after which
        condition.
    """
    if sites is not None:
        store.need_sites(sites)
    conditions: list[tuple[str, Callable[[SiteRecord], bool], str]] = []
    if sites is not None:
        wanted = set(sites)
        conditions.append((f"the {len(wanted)} sites asked for", lambda record: record.site_id in wanted, ""))
    if igbp is not None:
        classes = _classes(igbp)
        conditions.append((f"IGBP {', '.join(igbp)}", lambda record: record.igbp in classes, "Ask for other classes."))
    if bbox is not None:
        box = _box(bbox)
        edges = ",".join(f"{edge:g}" for edge in bbox)
        fix = "Ask for a larger box, or another: west,south,east,north in degrees."
        conditions.append((f"the box {edges}", lambda record: _in_box(record, box), fix))
    if years is not None:
        span = _years(years)
        fix = "Ask for years in which they have records."
        conditions.append((f"the years {_span(years)}", lambda record: _touches(record, span), fix))
    left = list(store.site_ids)
    for said, holds, fix in conditions:
        before, left = left, [site for site in left if holds(store.record(site))]
        if not left:
            raise DataError(f"No tower is left after {said}: of {len(before)} before, {_held(store, before)}. {fix}")
    if not left:
        raise DataError(f"The store {store.path} holds no tower. Import some first.")
    return left


def choose_columns(store: Store, columns: Sequence[str] | None) -> list[str]:
    """Covariates, then targets, in schema order; all of them by default.

    Raises
    ------
    MissingColumnError
        If the store lacks one; the message lists what it holds.
    DataError
        If none is left.
    """
    held = [*store.covariates, *store.targets]
    if columns is None:
        return held
    asked = [name for name in columns if name not in (TIME, QC)]
    missing = [name for name in asked if name not in held]
    if missing:
        known = " (a column of the schema, but not of this store)" if missing[0] in VARIABLES else ""
        raise MissingColumnError(
            f"The store {store.path} has no column {missing[0]}{known}.{did_you_mean(missing[0], held)} "
            f"It holds: {', '.join(held)}; {TIME} and {QC} are always kept."
        )
    if not asked:
        raise DataError(f"No column is asked for. Name some of: {', '.join(held)}.")
    return [name for name in held if name in asked]


def _classes(names: Sequence[str]) -> frozenset[str]:
    unknown = [name for name in names if name not in IGBP]
    if unknown:
        raise DataError(
            f"There is no IGBP class {unknown[0]!r}.{did_you_mean(unknown[0], IGBP)} Known: {', '.join(IGBP)}."
        )
    if not names:
        raise DataError(f"No IGBP class is asked for. Known: {', '.join(IGBP)}.")
    return frozenset(names)


def _box(box: Box) -> Box:
    west, south, east, north = box
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise DataError(
            f"The box {','.join(f'{edge:g}' for edge in box)} is none: give west,south,east,north in degrees, such as "
            "-10,35,30,70 (south not above north)."
        )
    return box


def _in_box(record: SiteRecord, box: Box) -> bool:
    west, south, east, north = box
    across = west <= record.lon <= east if west <= east else record.lon >= west or record.lon <= east
    return south <= record.lat <= north and across


def _years(years: Years) -> Years:
    first, last = years
    if first is not None and last is not None and first > last:
        raise DataError(f"The years {first}:{last} end before they begin. Write the earlier year first.")
    return years


def _touches(record: SiteRecord, years: Years) -> bool:
    first, last = years
    return (last is None or record.first_hour.year <= last) and (first is None or record.last_hour.year >= first)


def _span(years: Years) -> str:
    first, last = years
    if first is None:
        return f"up to {last}"
    return f"from {first} on" if last is None else f"{first} to {last}"


def _held(store: Store, sites: Sequence[str]) -> str:
    """What towers there are, for a message on a choice that leaves none."""
    records = [store.record(site) for site in sites]
    classes = {name: sum(record.igbp == name for record in records) for name in IGBP}
    counted = ", ".join(f"{count} {name}" for name, count in classes.items() if count)
    first = min(record.first_hour.year for record in records)
    last = max(record.last_hour.year for record in records)
    return f"{counted}, {first} to {last} (for example {examples(sites)})"
