"""Clocks: the time zone at a coordinate and its offset on a given day."""

from __future__ import annotations

from datetime import datetime
from functools import cache

from fluxtrapolation.errors import DataError


@cache
def zone_at(lat: float, lon: float) -> str:
    """Name of the IANA time zone at a coordinate, such as ``Europe/Berlin``.

    Parameters
    ----------
    lat, lon : float
        Degrees north and east.

    Raises
    ------
    DataError
        If the library for it (extra ``timezones``) is not installed, or no zone is known there.

    Source: timezone-boundary-builder's polygons, as packed by ``tzfpy``.
    """
    try:
        from tzfpy import get_tz
    except ImportError:
        raise DataError(
            "The time zone at a coordinate is needed, and the library that knows it is not installed. "
            "Run: pip install 'fluxtrapolation[timezones]', or give utc_offset_store_h and true_utc_offset_h "
            "in --sites-table."
        ) from None
    name = str(get_tz(lon, lat))
    if not name:
        raise DataError(f"No time zone is known at latitude {lat}, longitude {lon}. Check the coordinates.")
    return name


@cache
def offset_h(zone: str, day: datetime) -> float:
    """Offset of an IANA zone from UTC at a moment of its own clock, hours, summer time included.

    Raises
    ------
    DataError
        If the zone is not in the time zone database of this machine.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        offset = ZoneInfo(zone).utcoffset(day)
    except ZoneInfoNotFoundError:
        raise DataError(
            f"This machine has no time zone database that knows {zone}. Run: pip install 'fluxtrapolation[timezones]'."
        ) from None
    if offset is None:
        raise DataError(f"The time zone {zone} has no offset on {day}.")
    return offset.total_seconds() / 3600.0
