"""The border of the evaluation: time stamps in any ISO form become naive microseconds, or are refused."""

from __future__ import annotations

from typing import Final

import polars as pl

from fluxtrapolation.errors import EvaluationError, examples
from fluxtrapolation.schema import TIME

NAIVE_TIME: Final = pl.Datetime("us")

_ISO = (
    r"^\s*(?<date>\d{4}-\d{2}-\d{2})"
    r"(?:[T ](?<clock>\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?)\s*(?<zone>[Zz]|UTC|[+-]\d{2}(?::?\d{2})?)?)?\s*$"
)
_UTC_ZONES = ("Z", "UTC", "+00:00", "+0000", "+00", "-00:00", "-0000", "-00")
_FIXED_ZONES = ("UTC", "Etc/", "GMT", "Z", "+", "-")
_TEXT = (pl.String, pl.Categorical, pl.Enum)


def naive_time(times: pl.Series, where: str) -> pl.Series:
    """Read a column of times as naive microseconds, whatever ISO form it comes in.

    Accepted: datetimes and dates, and strings ``2019-01-01``, ``2019-01-01 05:00``, ``2019-01-01T05:00:00``, with or
    without fractions of a second, mixed row by row; bare dates are midnight. One zone suffix for all rows is dropped:
    the wall-clock hour is kept as it is written.

    Parameters
    ----------
    times : polars.Series
        Shape (n,), strings, dates or datetimes.
    where : str
        What to call the table in messages.

    Returns
    -------
    polars.Series
        Shape (n,), ``Datetime("us")`` without zone.

    Raises
    ------
    EvaluationError
        On missing times, unreadable times, mixed zones, or a zone with summer time.
    """
    reader = TimeReader(where)
    found = reader.read(times)
    reader.refuse_bad_times()
    return found


class TimeReader:
    """Reads the times of a table piece by piece; what is bad is counted over all pieces.

    Parameters
    ----------
    where : str
        What to call the table in messages.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._rows = self._missing = self._unreadable = 0
        self._first_missing = 0
        self._example = ""
        self._zones: dict[str | None, str] = {}

    @property
    def good(self) -> bool:
        """Whether every time so far is there and readable."""
        return not self._missing and not self._unreadable

    def read(self, times: pl.Series) -> pl.Series:
        """The next piece as naive microseconds, null where it cannot be read.

        Raises
        ------
        EvaluationError
            When the column holds no times at all, or is in a zone with summer time.
        """
        kind = times.dtype
        if kind == pl.Datetime:
            zone = getattr(kind, "time_zone", None)
            if zone is not None and not zone.startswith(_FIXED_ZONES):
                raise EvaluationError(
                    f"{self._where}: the times are in the zone {zone}, where the clock may jump. Convert them to local "
                    "standard time without a zone."
                )
            found = times.dt.replace_time_zone(None) if zone is not None else times
            found = found if kind == NAIVE_TIME else found.cast(NAIVE_TIME)
        elif kind == pl.Date:
            found = times.cast(NAIVE_TIME)
        elif isinstance(kind, _TEXT):
            found = self._from_text(times.cast(pl.String))
        else:
            raise EvaluationError(
                f"{self._where}: the column '{TIME}' holds {kind}, not times. Give dates, datetimes or ISO strings "
                "such as 2019-01-01 05:00:00."
            )
        absent = times.null_count()
        if absent:
            if not self._missing:
                self._first_missing = self._rows + int(times.is_null().arg_max() or 0)
            self._missing += absent
        self._rows += len(times)
        return found

    def refuse_bad_times(self) -> None:
        """Raise if any time read so far is missing or unreadable, or the zones are mixed."""
        if self._unreadable:
            raise EvaluationError(
                f"{self._where}: {self._unreadable} of {self._rows} times cannot be read, such as "
                f"'{self._example}'. Write them like 2019-01-01 05:00:00."
            )
        if len(self._zones) > 1:
            raise EvaluationError(
                f"{self._where}: the times mix {len(self._zones)} time zones, such as "
                f"{examples(repr(one) for one in self._zones.values())}. "
                "Write all of them in local standard time without a zone."
            )
        if self._missing:
            raise EvaluationError(
                f"{self._where}: {self._missing} of {self._rows} times are missing, first in row "
                f"{self._first_missing}. Drop these rows."
            )

    def _from_text(self, times: pl.Series) -> pl.Series:
        if len(times) == 0:
            return times.cast(NAIVE_TIME)
        plain = times.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False, time_unit="us")
        if plain.null_count() == 0:
            self._zones.setdefault(None, times[0])
            return plain
        parts = times.str.extract_groups(_ISO).struct.unnest()
        readable = parts["date"].is_not_null()
        clock = parts["clock"].fill_null("00:00:00").str.replace(",", ".", literal=True)
        clock = pl.select(pl.when(clock.str.len_chars() == 5).then(clock + ":00").otherwise(clock)).to_series()
        found = (parts["date"] + "T" + clock).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", strict=False, time_unit="us")
        bad = times.is_not_null() & (~readable | found.is_null())
        if bad.any():
            if not self._unreadable:
                self._example = times.filter(bad)[0]
            self._unreadable += int(bad.sum())
        self._note_zones(parts, times)
        return found

    def _note_zones(self, parts: pl.DataFrame, times: pl.Series) -> None:
        """Remember one time of every zone; a bare date has none and goes with any."""
        zones = pl.select(
            pl.when(parts["zone"].str.to_uppercase().is_in(_UTC_ZONES)).then(pl.lit("Z")).otherwise(parts["zone"])
        ).to_series()
        with_clock = parts["clock"].is_not_null()
        for kind in zones.filter(with_clock).unique(maintain_order=True):
            if kind not in self._zones:
                self._zones[kind] = times.filter(with_clock & zones.eq_missing(kind))[0]
