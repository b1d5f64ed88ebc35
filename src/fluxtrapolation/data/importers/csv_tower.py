"""One benchmark CSV file as a tower of the store: its place, its clock, its notes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from fluxtrapolation.data.checks import check_site_facts
from fluxtrapolation.data.importers.csv_checks import gap_note, table_problems
from fluxtrapolation.data.importers.csv_fetched import host_of
from fluxtrapolation.data.importers.csv_header import Header
from fluxtrapolation.data.importers.csv_place import (
    estimate_utc_offset,
    place_problem,
    season_problem,
    stranger_problem,
)
from fluxtrapolation.data.importers.csv_problem import CsvFileError, Problem, problems_of
from fluxtrapolation.data.importers.csv_sources import SOURCES_NAME, Sources, TowerFacts
from fluxtrapolation.data.importers.csv_table import PLACES, Columns, place_in_file, read_rows, site_in_file
from fluxtrapolation.data.importers.phase import phase_notes, radiation_phase
from fluxtrapolation.data.manifest import SiteRecord
from fluxtrapolation.data.sites import SiteFacts
from fluxtrapolation.errors import DataError
from fluxtrapolation.schema import PFT_PREFIX, QC, SITE, TIME

if TYPE_CHECKING:
    from fluxtrapolation.data.fetch.lock import Pin

UNSTATED: Final = "benchmark CSV files, source not stated"


@dataclass(frozen=True, slots=True)
class Tower:
    """A file that was read: what the store takes, and what was noticed on the way."""

    record: SiteRecord
    frame: pl.DataFrame
    notes: list[str]
    sha256: str
    remarks: list[Problem]
    """What is odd but does no harm."""


@dataclass(frozen=True, slots=True)
class TowerReader:
    """From a file to a site: what is the same for all of them, and what was seen on the way."""

    headers: Mapping[str, Header]
    targets: list[str]
    covariates: list[str]
    left_out: Mapping[str, str]
    given: Mapping[str, SiteFacts]
    """The user's table, as it is."""
    packaged: Mapping[str, SiteFacts]
    told: Sources | None
    fetched: Mapping[str, Pin] = field(default_factory=dict)
    """What ``data fetch`` wrote down of the files."""
    lags: dict[str, float] = field(default_factory=dict)

    def read(self, path: Path, site: str) -> Tower:
        """Read and check one file.

        Raises
        ------
        DataError
            Naming everything that is wrong with it (:class:`CsvFileError`), or that it cannot be read at all.
        """
        columns = self._columns(self.headers[site].names, site)
        frame, sha256, unended = read_rows(path, columns)
        notes = [
            f"{name} left out: only {count} have it"
            for name, count in self.left_out.items()
            if name in self.headers[site].names
        ]
        problems = table_problems(frame, [*self.covariates, *self.targets], self.targets, site=site)
        if unended is not None:
            problems.append(unended)
        stranger = site_in_file(frame, columns, site=site)
        if stranger is not None:
            problems.append(stranger)
        try:
            lat, lon, igbp = self._place(frame, columns, site, notes)
        except DataError as error:
            raise CsvFileError([*problems, *problems_of(error, site)]) from None
        facts = self.told.sites.get(site) if self.told is not None else None
        errors = [problem for problem in problems if problem.level == "error"]
        if any(problem.what.startswith("time") or TIME in problem.what.split() for problem in errors):
            raise CsvFileError(problems)  # no clock to judge the sun by
        offset = self._clock(frame, lat, lon, facts, notes, problems, site)
        if any(problem.level == "error" for problem in problems):
            raise CsvFileError([problem for problem in problems if problem.level == "error"])
        notes += [f"{problem.what} ({problem.example}); {problem.fix}" for problem in problems]
        gaps = gap_note(frame)
        if gaps is not None:
            notes.append(gaps)
        self._judge_phase(frame, site, notes)
        record = self._record(site, lat, lon, igbp, offset, facts, sha256)
        kept = frame.select(TIME, *self.covariates, *self.targets, QC)
        return Tower(record, kept, notes, sha256, problems)

    def _columns(self, names: tuple[str, ...], site: str) -> Columns:
        missing = [name for name in (*self.covariates, *self.targets) if name not in names]
        if missing:
            problem = Problem(
                site,
                f"column {missing[0]} is missing, which most other files have",
                "Fetch the file again or leave the site out with --sites.",
                example=f"{len(missing)} in all",
                count=len(missing),
            )
            raise CsvFileError([problem])
        return Columns(
            numbers=(*self.covariates, *self.targets, QC),
            flags=tuple(name for name in names if name.startswith(PFT_PREFIX)),
            places=tuple(name for name in PLACES if name in names),
            labels=(SITE,) if SITE in names else (),
        )

    def _place(
        self, frame: pl.DataFrame, columns: Columns, site: str, notes: list[str]
    ) -> tuple[float, float, str | None]:
        given = self.given.get(site)
        if given is not None:
            try:
                said = place_in_file(frame, columns.flags, site=site)
            except DataError as error:
                notes.append(f"coordinates and IGBP class taken from --sites-table: {error}")
            else:
                pairs = zip(said, (given.lat, given.lon, given.igbp), strict=True)
                other = [f"{there} (file: {here})" for here, there in pairs if here not in (None, there)]
                if other:
                    notes.append(f"taken from --sites-table, which the file contradicts: {', '.join(other)}")
            return given.lat, given.lon, given.igbp
        lat, lon, igbp = place_in_file(frame, columns.flags, site=site)
        known = self.packaged.get(site)
        if known is not None and (lat is None or lon is None):
            lat, lon = known.lat, known.lon
            notes.append("coordinates taken from the packaged site table: the file has none")
        if known is not None and igbp is None:
            igbp = known.igbp
            notes.append("igbp taken from the packaged site table: the file marks no PFT column")
        if igbp is None and lat is not None:
            problem = Problem(
                site,
                "its IGBP class is not known: no PFT column is true, and the packaged site table has no such tower",
                "Give its igbp, lat and lon with --sites-table.",
            )
            raise CsvFileError([problem])
        check_site_facts(site, lat, lon, igbp)
        return float(lat or 0.0), float(lon or 0.0), igbp

    def _clock(
        self,
        frame: pl.DataFrame,
        lat: float,
        lon: float,
        facts: TowerFacts | None,
        notes: list[str],
        problems: list[Problem],
        site: str,
    ) -> float:
        """Local standard time minus true UTC, hours: as told, else estimated, else after the longitude.

        Contradictions between place and sun are added to ``problems``.
        """
        stranger = None if site in self.given else stranger_problem(lat, lon, self.packaged, site=site)
        if stranger is not None:
            problems.append(stranger)
        if "SW_IN_POT_hourly" not in frame.columns or frame["SW_IN_POT_hourly"].null_count():
            season = season_problem(frame, lat, lon, site=site) if "SW_IN" in frame.columns else None
            if season is not None:
                problems.append(season)
            if facts is not None:
                notes.append(f"utc_offset_h {facts.utc_offset_h:g} after {SOURCES_NAME}, unchecked")
                return facts.utc_offset_h
            offset = float(round(lon / 15.0))
            notes.append(f"utc_offset_h {offset:g} taken from the longitude: the file has no SW_IN_POT_hourly")
            return offset
        time, potential = frame[TIME].to_numpy(), frame["SW_IN_POT_hourly"].to_numpy()
        estimate, rmse = estimate_utc_offset(time, potential, lat=lat, lon=lon)
        units = any("SW_IN_POT" in problem.what for problem in problems)
        misplaced = None if stranger or units else place_problem(frame, lat, lon, rmse, site=site)
        if misplaced is not None:
            problems.append(misplaced)
        estimated = f"estimated from SW_IN_POT_hourly (rmse {rmse:.1f} W m-2)"
        if facts is None:
            notes.append(f"utc_offset_h {estimate:g} {estimated}")
            return estimate
        if facts.utc_offset_h == estimate:
            notes.append(f"utc_offset_h {estimate:g} after {SOURCES_NAME}; the same is {estimated}")
        else:
            notes.append(
                f"utc_offset_h {facts.utc_offset_h:g} after {SOURCES_NAME}, but {estimate:g} is {estimated}; "
                "not corrected"
            )
        return facts.utc_offset_h

    def _judge_phase(self, frame: pl.DataFrame, site: str, notes: list[str]) -> None:
        if not {"SW_IN", "SW_IN_POT_hourly"} <= set(self.covariates):
            return
        series = (frame[name].to_numpy() for name in ("SW_IN", "SW_IN_POT_hourly"))
        phase = radiation_phase(frame[TIME].to_numpy(), *series)
        if phase is not None:
            notes += phase_notes(phase)
            self.lags[site] = phase.lag_min

    def _record(
        self,
        site: str,
        lat: float,
        lon: float,
        igbp: str | None,
        offset: float,
        facts: TowerFacts | None,
        sha256: str,
    ) -> SiteRecord:
        """The user's table first, then ``SOURCES.json``, then the packaged table."""
        layers = (self.given.get(site), facts, self.packaged.get(site))

        def first(name: str) -> Any:
            return next((v for v in (getattr(one, name, None) for one in layers) if v is not None), None)

        source, licence = self._origin(site, sha256) if facts is None else (facts.source, facts.licence)
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
            licence=licence,
            source=source,
        )

    def _origin(self, site: str, sha256: str) -> tuple[str, str | None]:
        """Source and licence of a file that ``SOURCES.json`` does not list: as fetched, if it is that very file still.

        The name is that of the registry, where ``data fetch`` left it in ``SOURCES.json``, else the host's.
        """
        pin = self.fetched.get(site)
        if pin is None or pin.sha256 != sha256:
            return UNSTATED, None
        names = set() if self.told is None or self.told.sites else {one.name for one in self.told.sources}
        return (names.pop() if len(names) == 1 else host_of(pin)), pin.licence
