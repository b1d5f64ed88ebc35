"""What the time axis of one tower means: from the site table where it says so, inferred and noted where not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

from fluxtrapolation.data.importers.hourly import STEP_MIN, Packed, repeated_pairs
from fluxtrapolation.data.importers.phase import STEADY_MIN, Phase
from fluxtrapolation.data.importers.zarr_source import TimeAxis
from fluxtrapolation.data.sites import SiteFacts
from fluxtrapolation.data.timezones import offset_h, zone_at

PRODUCERS_DAY: Final = datetime(2010, 1, 1)
"""The store's producer turned local time into UTC with the offset each zone had on this day."""
HOURLY_SHARE: Final = 0.95
"""Share of repeated pairs above which a tower is natively hourly: 1.00 at nine known ones, at most 0.41 elsewhere."""


@dataclass(frozen=True, slots=True)
class Clock:
    """How to turn the store's stamps into local time, with a note on everything that was not in the table."""

    native_step_min: int
    store_offset_h: float
    notes: tuple[str, ...]


def find_clock(facts: SiteFacts, variables: Sequence[Packed], span: tuple[int, int], axis: TimeAxis) -> Clock:
    """Native step and store offset of a tower.

    Parameters
    ----------
    facts : SiteFacts
        Its ``native_step_min`` and ``utc_offset_store_h`` are believed where given.
    variables : sequence of Packed
        TA, VPD and NEE or any others that change from step to step.
    span : tuple of int
        First and last step of the record.
    axis : TimeAxis

    Raises
    ------
    DataError
        If the zone of the coordinate is needed and cannot be found.
    """
    notes = []
    step = facts.native_step_min
    if step is None:
        share = repeated_pairs(variables, span)
        step = 60 if share >= HOURLY_SHARE else 30
        notes.append(f"native step {step} min: inferred, {100 * share:.1f} % of half-hour pairs repeat a value")
    offset = facts.utc_offset_store_h
    if offset is None:
        zone = zone_at(facts.lat, facts.lon)
        offset = offset_h(zone, PRODUCERS_DAY)
        edges = edge_offset(axis, span, step)
        if edges is None or edges == offset:
            check = "" if edges is None else "; the record then begins and ends with a local year, as it should"
            notes.append(
                f"store offset {offset:+g} h: inferred from the zone {zone} on {PRODUCERS_DAY:%Y-%m-%d}{check}"
            )
        else:
            notes.append(
                f"store offset {edges:+g} h: inferred from the record, which begins and ends with a local year on that "
                f"clock; the zone {zone} had {offset:+g} h on {PRODUCERS_DAY:%Y-%m-%d}"
            )
            offset = edges
    return Clock(step, offset, tuple(notes))


def edge_offset(axis: TimeAxis, span: tuple[int, int], native_step_min: int) -> float | None:
    """Offset, hours, under which a record covers whole local years; None if there is no such offset.

    Towers of FLUXNET2015 are filled over whole calendar years: their first END stamp is 1 January, one native step
    after midnight, their last is midnight of 1 January. Both edges must agree.
    """
    first, last = span
    if native_step_min == 60:
        last -= (last - first) % 2
    minute = np.timedelta64(1, "m")
    begin = axis.first + np.timedelta64(STEP_MIN * first - native_step_min, "m")
    end = axis.first + np.timedelta64(STEP_MIN * last, "m")

    def to_new_year(stamp: np.datetime64) -> float:
        nearest = (stamp + np.timedelta64(183, "D")).astype("datetime64[Y]").astype("datetime64[m]")
        return float((nearest - stamp) / minute)

    offset = to_new_year(begin)
    if offset != to_new_year(end) or abs(offset) > 14 * 60:
        return None
    return offset / 60.0


def true_offset(facts: SiteFacts, clock: Clock, phase: Phase | None) -> tuple[float, tuple[str, ...]]:
    """Local standard time minus true UTC, hours, with notes where it was inferred.

    Parameters
    ----------
    facts : SiteFacts
        Its ``true_utc_offset_h`` is believed where given.
    clock : Clock
    phase : Phase or None
        Phase of SW_IN against potential radiation under the store's offset. Whole hours of it are taken for an error
        of the store's offset, such as summer time in the southern hemisphere; minutes are not corrected.
    """
    store = clock.store_offset_h
    known = facts.true_utc_offset_h
    if known is not None:
        shifted = f"true UTC offset {known:+g} h after the site table; the store's stamps assume {store:+g} h"
        return known, () if known == store else (shifted,)
    if phase is None:
        return store, (
            f"true UTC offset {store:+g} h: taken from the store unchecked, too few clear days for the phase",
        )
    hours = round(phase.lag_min / 60.0)
    if hours == 0:
        return store, (
            f"true UTC offset {store:+g} h: inferred, the store's own shows no whole-hour error against the sun "
            f"(SW_IN {phase.lag_min:+.0f} min over {phase.days} clear days)",
        )
    rest = phase.lag_min - 60.0 * hours
    sure = "" if abs(rest) <= STEADY_MIN else f", leaving an unexplained {rest:+.0f} min"
    return store + hours, (
        f"true UTC offset {store + hours:+g} h: inferred, under the store's {store:+g} h SW_IN is "
        f"{phase.lag_min:+.0f} min off potential radiation over {phase.days} clear days{sure}",
    )
