"""Where a tower stands and what its clock says: the user's table, the archive's BIF, the packaged table, the sun."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.data.importers.csv_place import estimate_utc_offset
from fluxtrapolation.data.importers.fluxnet_bif import BifFacts
from fluxtrapolation.data.importers.phase import radiation_phase
from fluxtrapolation.data.sites import SiteFacts
from fluxtrapolation.data.solar import potential_radiation
from fluxtrapolation.data.timezones import offset_h, zone_at
from fluxtrapolation.errors import DataError
from fluxtrapolation.schema import IGBP

OFF_MIN: Final = 25.0
"""Minutes between the file's potential radiation and the computed one that are worth a note; 4 is usual."""
TOO_BRIGHT: Final = 0.08
"""Share of radiation above the potential one from which the coordinates are doubted; 0.01 to 0.03 is usual."""
QUARTER: Final = 0.25
GIVEN_BY: Final = " after "
"""In the note on an offset that a table gives; offsets found from the sun have another one."""

if TYPE_CHECKING:
    from fluxtrapolation.data.manifest import SiteEntry

Times = NDArray[np.datetime64]
Values = NDArray[Any]
Potential = Callable[[float, float, float], Values]
"""Potential radiation of a tower's rows under a latitude, longitude and offset."""


@dataclass(frozen=True, slots=True)
class Place:
    """Facts of a tower, its offset where one is given, and where all of it comes from."""

    facts: SiteFacts
    utc_offset_h: float | None
    notes: tuple[str, ...]
    doi: str | None = None


def find_place(
    site: str, *, given: SiteFacts | None, bif: BifFacts | None, packaged: SiteFacts | None, hints: tuple[str, ...] = ()
) -> Place:
    """Coordinates, IGBP class and offset: the user's table before the archive's BIF, the packaged table last.

    Raises
    ------
    DataError
        If nothing is known of the site, or BIF and packaged table differ by a sign.
    """
    layers = [layer for layer in (given, bif, packaged) if layer is not None]

    def first(name: str) -> Any:
        return next((v for v in (getattr(layer, name, None) for layer in layers) if v is not None), None)

    lat, lon, igbp = first("lat"), first("lon"), first("igbp")
    lacking = [name for name, value in (("coordinates", lat), ("IGBP class", igbp)) if value is None]
    if lacking:
        why = f" ({'; '.join(hints)})" if hints else ""
        raise DataError(
            f"its {' and its '.join(lacking)} are not known: neither a BIF table of the archive{why} nor the packaged "
            f"site table has them. Give them with --sites-table (columns site_id, lat, lon, igbp; "
            f"classes {', '.join(IGBP)})."
        )
    notes: list[str] = []
    if bif is not None:
        notes += bif.problems
        if packaged is not None and given is None:
            notes += _compared(bif, packaged)
    elif given is None:
        notes.append("coordinates and IGBP class from the packaged site table: the archive has no BIF table")
    base = packaged or given or SiteFacts(site, None, lat, lon, igbp)
    facts = replace(
        base,
        site_id=site,
        name=first("name"),
        lat=lat,
        lon=lon,
        igbp=igbp,
        mat_c=first("mat_c"),
        map_mm=first("map_mm"),
        network=first("network"),
        time_flag=first("time_flag"),
    )
    offset = _given_offset(given, bif, packaged, notes)
    return Place(facts, offset, tuple(notes), None if bif is None else bif.doi)


def is_placed(entry: SiteEntry, place: Place, network: str | None) -> bool:
    """Whether a site of a store was made with these facts: a metadata table of a whole network may have changed."""
    record, facts = entry.record, place.facts
    names = ("name", "lat", "lon", "igbp", "mat_c", "map_mm")
    if any(getattr(record, name) != getattr(facts, name) for name in names):
        return False
    if (record.network, entry.doi) != (network, place.doi) or not set(place.notes) <= set(entry.notes):
        return False
    if place.utc_offset_h is not None:
        return record.utc_offset_h == place.utc_offset_h
    return not any(note.startswith("utc_offset_h ") and GIVEN_BY in note for note in entry.notes)


def _given_offset(
    given: SiteFacts | None, bif: BifFacts | None, packaged: SiteFacts | None, notes: list[str]
) -> float | None:
    for said, source in (
        (given.true_utc_offset_h if given else None, "--sites-table"),
        (bif.utc_offset_h if bif else None, bif.file if bif else ""),
        (packaged.true_utc_offset_h if packaged else None, "the packaged site table"),
    ):
        if said is not None:
            notes.append(f"utc_offset_h {said:g}{GIVEN_BY}{source}")
            return said
    return None


def _compared(bif: BifFacts, packaged: SiteFacts) -> list[str]:
    """Say how the archive's facts differ from the packaged ones, which are not used then."""
    notes = []
    if bif.lat is not None and bif.lon is not None:
        for name, here, there in (("LOCATION_LAT", bif.lat, packaged.lat), ("LOCATION_LONG", bif.lon, packaged.lon)):
            if abs(here) > 1.0 and abs(here + there) < 0.5:
                raise DataError(
                    f"{bif.file} says {name} {here:g}, the packaged site table {there:g}: one has the wrong sign. "
                    "Give the right coordinates with --sites-table."
                )
        if abs(bif.lat - packaged.lat) > 0.1 or abs(bif.lon - packaged.lon) > 0.1:
            notes.append(
                f"coordinates {bif.lat:g}, {bif.lon:g} after {bif.file}; the packaged site table has {packaged.lat:g}, "
                f"{packaged.lon:g}"
            )
    if bif.igbp is not None and bif.igbp != packaged.igbp:
        notes.append(f"IGBP class {bif.igbp} after {bif.file}; the packaged site table has {packaged.igbp}")
    return notes


def find_offset(place: Place, time: Times, sw_in: Values, in_file: Values | None) -> tuple[float, list[str]]:
    """Local standard time minus true UTC, hours, and how it was found.

    Parameters
    ----------
    place : Place
    time : ndarray of datetime64, shape (n,)
        START of each hour, local standard time, ascending.
    sw_in : ndarray, shape (n,)
        Measured radiation.
    in_file : ndarray, shape (n,), or None
        SW_IN_POT of the file; NaN where missing.
    """
    facts, known = place.facts, place.utc_offset_h
    assumed = 0.0 if known is None else known
    computed = potential_radiation(_utc(time, assumed), lat=facts.lat, lon=facts.lon)
    lag = None if in_file is None else _lag_h(time, in_file, computed, facts, known)
    if known is not None:
        if lag is not None and abs(lag) * 60.0 > OFF_MIN:
            return known, [
                f"SW_IN_POT of the file is {abs(lag) * 60:.0f} min {'late' if lag > 0 else 'early'} under utc_offset_h "
                f"{known:g}; not corrected"
            ]
        if lag is None and in_file is not None:
            return known, _held_to_the_sun(known, time, in_file, facts)
        return known, []
    if lag is not None:
        return _rounded(lag), [
            f"utc_offset_h {_rounded(lag):+g} found from the phase of the file's SW_IN_POT ({lag:+.2f} h)"
        ]
    if in_file is not None and np.isfinite(in_file).sum() >= 24 and np.nanmax(in_file) > 0.0:
        held = np.isfinite(in_file)
        estimate, rmse = estimate_utc_offset(time[held], in_file[held], lat=facts.lat, lon=facts.lon)
        estimate = _twin(estimate, facts)
        return estimate, [
            f"utc_offset_h {estimate:+g} found from {held.sum()} hours of SW_IN_POT (rmse {rmse:.0f} W m-2)"
        ]
    lag = _lag_h(time, sw_in, computed, facts, None)
    if lag is not None:
        return float(round(lag)), [
            f"utc_offset_h {round(lag):+d} found from the phase of measured SW_IN ({lag:+.2f} h): the file has no "
            "SW_IN_POT and the archive no UTC_OFFSET"
        ]
    offset, note = zone_offset(facts)
    return offset, [note]


def _held_to_the_sun(known: float, time: Times, in_file: Values, facts: SiteFacts) -> list[str]:
    """A note where the sun of a record too short for its phase gives another offset than the one that was given."""
    held = np.isfinite(in_file)
    if held.sum() < 24 or np.nanmax(in_file) <= 0.0:
        return []
    estimate, rmse = estimate_utc_offset(time[held], in_file[held], lat=facts.lat, lon=facts.lon)
    away = (estimate - known + 12.0) % 24.0 - 12.0
    if abs(away) * 60.0 <= OFF_MIN:
        return []
    return [
        f"utc_offset_h {known:g} does not fit the file's SW_IN_POT, which says {known + away:+g} ({held.sum()} hours, "
        f"rmse {rmse:.0f} W m-2): the clock or the offset is {abs(away) * 60:.0f} min off; not corrected"
    ]


def zone_offset(facts: SiteFacts) -> tuple[float, str]:
    """Standard time of the zone at the coordinate, or of the longitude where the zone is not known."""
    try:
        zone = zone_at(facts.lat, facts.lon)
        offset = min(offset_h(zone, datetime(2010, month, 1)) for month in (1, 7))
    except DataError:
        offset = float(round(facts.lon / 15.0))
        return offset, f"utc_offset_h {offset:+g} taken from the longitude, unchecked"
    return offset, f"utc_offset_h {offset:+g} taken from the zone {zone}, unchecked"


def _twin(offset: float, facts: SiteFacts) -> float:
    """The offset, or its twin a day before or after: the one nearest to the zone's, as the sun tells no date.

    East of the date line the longitude would mislead: Chatham has +12.75, the Line Islands +14.
    """
    return offset + 24.0 * round((zone_offset(facts)[0] - offset) / 24.0)


def _lag_h(time: Times, sun: Values, computed: Values, facts: SiteFacts, known: float | None) -> float | None:
    """Hours by which ``sun`` is late; without an offset, the one of the days-apart answers that fits the zone."""
    held = np.isfinite(sun)
    phase = radiation_phase(time[held], sun[held], computed[held])
    if phase is None:
        return None
    lag = phase.lag_min / 60.0
    return _twin(lag, facts) if known is None else lag


def _rounded(lag: float) -> float:
    """The nearest half hour, or quarter where it is clearly one: offsets of 5.75 and 12.75 h exist."""
    half = round(lag * 2.0) / 2.0
    return half if abs(lag - half) <= 0.2 else round(lag / QUARTER) * QUARTER


def _utc(time: Times, offset: float) -> Times:
    return np.asarray(time.astype("datetime64[s]") - np.timedelta64(round(offset * 3600), "s"), dtype="datetime64[s]")


def check_sun(facts: SiteFacts, offset: float, radiation: Values, potential: Potential, *, of: str) -> None:
    """Refuse coordinates under which it is far too bright, where a changed sign sets it right.

    Parameters
    ----------
    facts : SiteFacts
    offset : float
        Hours.
    radiation : ndarray, shape (n,)
        SW_IN_POT of the file, or measured radiation; NaN where missing.
    potential : callable
        Potential radiation of these rows under (lat, lon, offset).
    of : str
        Name of ``radiation``.

    Raises
    ------
    DataError
    """
    held = np.isfinite(radiation)
    total = float(radiation[held].sum())
    if total <= 0.0:
        return

    def bright(lat: float, lon: float, shift: float = 0.0) -> float:
        return float(np.maximum(radiation[held] - potential(lat, lon, offset + shift)[held], 0.0).sum() / total)

    now = bright(facts.lat, facts.lon)
    if now <= TOO_BRIGHT:
        return
    if min(bright(facts.lat, facts.lon, shift) for shift in (-1.0, 1.0)) <= TOO_BRIGHT:
        return  # an hour of summer time in the offset, not a wrong place; the clock has its own note
    turned = {
        "latitude": (-facts.lat, facts.lon),
        "longitude": (facts.lat, -facts.lon),
        "latitude and longitude": (-facts.lat, -facts.lon),
    }
    shares = {name: bright(*place) for name, place in turned.items()}
    best = min(shares, key=lambda name: shares[name])
    if shares[best] < now / 3.0:
        raise DataError(
            f"its coordinates do not fit the sun: {now:.0%} of {of} is more than the sun can give at latitude "
            f"{facts.lat:g}, longitude {facts.lon:g}, and {shares[best]:.0%} with the sign of the {best} turned. "
            "Correct the coordinates with --sites-table."
        )


def first_known(values: Mapping[str, Values], name: str) -> Values | None:
    """A variable that has any value, or None."""
    held = values.get(name)
    return None if held is None or not np.isfinite(held).any() else held
