"""One benchmark CSV file as a tower of the store: its place, its clock, its notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.data.checks import check_site_facts
from fluxtrapolation.data.importers.csv_sources import SOURCES_NAME, Sources, TowerFacts
from fluxtrapolation.data.importers.csv_table import parse, place_in_file, read_rows
from fluxtrapolation.data.importers.phase import phase_notes, radiation_phase
from fluxtrapolation.data.manifest import SiteRecord
from fluxtrapolation.data.sites import SiteFacts
from fluxtrapolation.data.solar import potential_radiation
from fluxtrapolation.errors import DataError, MissingColumnError
from fluxtrapolation.schema import PFT_PREFIX, QC, TIME

UNSTATED: Final = "benchmark CSV files, source not stated"


@dataclass(frozen=True, slots=True)
class TowerReader:
    """From a file to a site: what is the same for all of them, and what was seen on the way."""

    headers: Mapping[str, list[str]]
    targets: list[str]
    covariates: list[str]
    left_out: Mapping[str, str]
    given: Mapping[str, SiteFacts]
    """The user's table, as it is."""
    known: Mapping[str, SiteFacts]
    """The same, with the packaged table behind it."""
    told: Sources | None
    lags: dict[str, float] = field(default_factory=dict)

    def read(self, path: Path, site: str) -> tuple[SiteRecord, pl.DataFrame, list[str], str]:
        """Record, table, notes and the hash of the file."""
        names = self.headers[site]
        missing = [name for name in (*self.covariates, *self.targets) if name not in names]
        if missing:
            raise MissingColumnError(
                f"Site {site}: column {missing[0]} is missing, which most other files have ({len(missing)} in all). "
                "Fetch the file again or leave the site out with --sites."
            )
        flags = [name for name in names if name.startswith(PFT_PREFIX)]
        places: list[str] = [name for name in ("tower_lat", "tower_lon") if name in names]
        numbers = [*self.covariates, *self.targets, QC]
        text, sha256 = read_rows(path, [TIME, *numbers, *flags, *places])
        frame = parse(text, numbers, places, site=site)
        notes = [f"{name} left out: only {count} have it" for name, count in self.left_out.items() if name in names]
        lat, lon, igbp = self._place(frame, flags, site, notes)
        facts = self.told.sites.get(site) if self.told is not None else None
        offset = _offset(frame, lat, lon, facts, notes)
        self._judge_phase(frame, site, notes)
        record = self._record(site, lat, lon, igbp, offset, facts)
        return record, frame.select(TIME, *numbers), notes, sha256

    def _place(
        self, frame: pl.DataFrame, flags: list[str], site: str, notes: list[str]
    ) -> tuple[float, float, str | None]:
        given = self.given.get(site)
        if given is not None:
            try:
                said = place_in_file(frame, flags, site=site)
            except DataError as error:
                notes.append(f"coordinates and IGBP class taken from --sites-table: {error}")
            else:
                pairs = zip(said, (given.lat, given.lon, given.igbp), strict=True)
                other = [f"{there} (file: {here})" for here, there in pairs if here not in (None, there)]
                if other:
                    notes.append(f"taken from --sites-table, which the file contradicts: {', '.join(other)}")
            return given.lat, given.lon, given.igbp
        lat, lon, igbp = place_in_file(frame, flags, site=site)
        known = self.known.get(site)
        if known is not None and (lat is None or lon is None):
            lat, lon = known.lat, known.lon
            notes.append("coordinates taken from the packaged site table: the file has none")
        if known is not None and igbp is None:
            igbp = known.igbp
            notes.append("igbp taken from the packaged site table: the file marks no PFT column")
        check_site_facts(site, lat, lon, igbp)
        return float(lat or 0.0), float(lon or 0.0), igbp

    def _judge_phase(self, frame: pl.DataFrame, site: str, notes: list[str]) -> None:
        columns = ("SW_IN", "SW_IN_POT_hourly")
        if not set(columns) <= set(self.covariates) or any(frame[name].null_count() for name in columns):
            return
        time = frame[TIME].to_numpy()
        if (np.diff(time) <= np.timedelta64(0)).any():
            return  # refused by the writer, in words
        phase = radiation_phase(time, *(frame[name].to_numpy() for name in columns))
        if phase is not None:
            notes += phase_notes(phase)
            self.lags[site] = phase.lag_min

    def _record(
        self, site: str, lat: float, lon: float, igbp: str | None, offset: float, facts: TowerFacts | None
    ) -> SiteRecord:
        """The user's table first, then ``SOURCES.json``, then the packaged table."""
        layers = (self.given.get(site), facts, self.known.get(site))

        def first(name: str) -> Any:
            return next((v for v in (getattr(one, name, None) for one in layers) if v is not None), None)

        return SiteRecord(
            site_id=site,
            name=first("name"),
            lat=lat,
            lon=lon,
            igbp=str(igbp),
            network=first("network"),
            mat_c=first("mat_c"),
            map_mm=first("map_mm"),
            utc_offset_h=offset,
            native_step_min=60 if facts is None else facts.native_step_min,
            licence=None if facts is None else facts.licence,
            source=UNSTATED if facts is None else facts.source,
        )


def _offset(frame: pl.DataFrame, lat: float, lon: float, facts: TowerFacts | None, notes: list[str]) -> float:
    """Local standard time minus true UTC, hours: as told, else estimated, else after the longitude."""
    if "SW_IN_POT_hourly" not in frame.columns or frame["SW_IN_POT_hourly"].null_count():
        if facts is not None:
            notes.append(f"utc_offset_h {facts.utc_offset_h:g} after {SOURCES_NAME}, unchecked")
            return facts.utc_offset_h
        offset = float(round(lon / 15.0))
        notes.append(f"utc_offset_h {offset:g} taken from the longitude: the file has no SW_IN_POT_hourly")
        return offset
    time = frame[TIME].to_numpy().astype("datetime64[s]")
    estimate, rmse = estimate_utc_offset(time, frame["SW_IN_POT_hourly"].to_numpy(), lat=lat, lon=lon)
    estimated = f"estimated from SW_IN_POT_hourly (rmse {rmse:.1f} W m-2)"
    if facts is None:
        notes.append(f"utc_offset_h {estimate:g} {estimated}")
        return estimate
    if facts.utc_offset_h == estimate:
        notes.append(f"utc_offset_h {estimate:g} after {SOURCES_NAME}; the same is {estimated}")
    else:
        notes.append(
            f"utc_offset_h {facts.utc_offset_h:g} after {SOURCES_NAME}, but {estimate:g} is {estimated}; not corrected"
        )
    return facts.utc_offset_h


def estimate_utc_offset(
    time: NDArray[np.datetime64], radiation: NDArray[np.floating], *, lat: float, lon: float
) -> tuple[float, float]:
    """UTC offset at which computed potential radiation fits best.

    Parameters
    ----------
    time : ndarray of datetime64, shape (n,)
        START of each hour as stamped in the file.
    radiation : ndarray, shape (n,)
        Potential radiation given there, W m-2.
    lat, lon : float

    Returns
    -------
    offset_h : float
        Stamped time minus true UTC in hours, a multiple of 0.25.
    rmse : float
        What remains at that offset, W m-2.
    """
    step = max(1, len(time) // 1500)
    # An odd step, so that a sample of a long series meets every hour of the day.
    rows = slice(None, None, step + (step % 2 == 0) if step > 1 else 1)
    stamps, given = time[rows], np.asarray(radiation[rows], dtype=np.float64)

    def misfit(offset: float) -> float:
        utc = stamps.astype("datetime64[s]") - np.timedelta64(round(offset * 3600), "s")
        return float(np.sqrt(np.mean((potential_radiation(utc, lat=lat, lon=lon) - given) ** 2)))

    # The whole grid, since offsets a day apart differ only by the sun's daily drift.
    rmse, offset = min((misfit(o), o) for o in np.arange(-12.0, 14.25, 0.25))
    return float(offset), rmse
