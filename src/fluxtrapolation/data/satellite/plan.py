"""What is joined at which tower: found in a first pass over the clocks, written in a second over the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.data.satellite.composites import DAYS, SatelliteFile
from fluxtrapolation.data.satellite.files import said_twice
from fluxtrapolation.data.satellite.interpolate import Hourly, Method, to_hours
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError
from fluxtrapolation.schema import TIME

Progress = Callable[[str, int, int], None]
NO_VALUE: Final = "every value in the file is missing"
REPORT: Final[dict[str, Any]] = {
    "site_id": pl.String,
    "covariate": pl.String,
    "joined": pl.Boolean,
    "composites": pl.Int64,
    "missing_hours": pl.Int64,
    "longest_gap_days": pl.Float64,
    "reason": pl.String,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """How composites become hours."""

    method: Method
    max_gap: float


@dataclass(frozen=True, slots=True)
class Guess:
    """A series whose period, in days, was guessed from its dates."""

    days: int
    site: str
    covariate: str


class JoinPlan:
    """What is joined where: found in a first pass over the clocks, written in a second over the tables."""

    def __init__(
        self,
        store: Store,
        files: Mapping[str, list[SatelliteFile]],
        wanted: Sequence[str],
        settings: Settings,
        jobs: int,
    ) -> None:
        self.store, self.files, self.wanted, self.settings, self.jobs = store, files, wanted, settings, jobs
        self.guessed: set[Guess] = set()
        """Periods of more than a day that no one stated; filled by :meth:`report`."""

    def report(self, progress: Progress | None) -> pl.DataFrame:
        """A row for each site and covariate."""
        rows: list[tuple[Any, ...]] = []
        sites = self.store.site_ids
        with ThreadPoolExecutor(self.jobs) as pool:
            for done, (site, found) in enumerate(zip(sites, pool.map(self._site_rows, sites), strict=True), start=1):
                rows += found
                if progress is not None:
                    progress(site, done, 2 * len(sites))
        return pl.DataFrame(rows, schema=REPORT, orient="row")

    def _site_rows(self, site: str) -> list[tuple[Any, ...]]:
        series = self._composites(site)
        time = self._clock(self.store.read_site(site, [TIME]))
        rows: list[tuple[Any, ...]] = []
        for covariate in self.wanted:
            given = series.get(covariate)
            if isinstance(given, str):
                rows.append((site, covariate, False, 0, len(time), None, given))
                continue
            if given is None or not given.height:
                rows.append((site, covariate, False, 0, len(time), None, self._why_absent(site, given)))
                continue
            hourly = self._hourly(given, time)
            reason = None
            if hourly.missing:
                reason = (
                    f"{hourly.missing:,} of {len(time):,} hours have no value within {self.settings.max_gap:g} days "
                    f"(first: {str(hourly.first_missing).replace('T', ' ')})"
                )
            gap = round(hourly.longest_gap_days, 2)
            rows.append((site, covariate, reason is None, given.height, hourly.missing, gap, reason))
        return rows

    def _why_absent(self, site: str, given: pl.DataFrame | None) -> str:
        if site not in self.files:
            return "no file has this site"
        return "the file has no such variable" if given is None else NO_VALUE

    def _composites(self, site: str) -> dict[str, pl.DataFrame | str]:
        """Covariate to composites, or to the reason why they cannot be used."""
        found: dict[str, pl.DataFrame | str] = {}
        origin: dict[str, list[SatelliteFile]] = {}
        for file in self.files.get(site, []):
            try:
                held = file.read(site)
            except DataError as error:
                return dict.fromkeys(self.wanted, str(error))
            for covariate, frame in held.items():
                origin.setdefault(covariate, []).append(file)
                if covariate in self.wanted and not file.period_stated and frame.height and frame[DAYS][0] > 1:
                    self.guessed.add(Guess(frame[DAYS][0], site, covariate))
                found[covariate] = frame
        for covariate, files in origin.items():
            if len(files) > 1:
                found[covariate] = str(said_twice(covariate, site, files))
        return found

    def _clock(self, frame: pl.DataFrame) -> NDArray[np.datetime64]:
        time = frame[TIME].to_numpy()
        if self.store.resolution == "daily" and self.settings.method == "linear":
            return np.asarray(time + np.timedelta64(12, "h"))  # the middle of the day
        return np.asarray(time)

    def _hourly(self, composites: pl.DataFrame, time: NDArray[np.datetime64]) -> Hourly:
        return to_hours(composites, time, method=self.settings.method, max_gap=self.settings.max_gap)

    def write(
        self,
        writer: StoreWriter,
        sites: Sequence[str],
        joined: Sequence[str],
        report: pl.DataFrame,
        progress: Progress | None,
    ) -> None:
        """Write the chosen sites with the chosen covariates."""
        good = {(site, name) for site, name in report.filter("joined").select("site_id", "covariate").iter_rows()}
        reasons = {(row[0], row[1]): row[2] for row in report.select("site_id", "covariate", "reason").iter_rows()}

        def one(site: str) -> None:
            frame = self.store.read_site(site)
            time = self._clock(frame)
            series = self._composites(site)
            notes = list(self.store.manifest.sites[site].notes)
            columns = []
            for name in joined:
                given = series.get(name)
                if (site, name) in good and isinstance(given, pl.DataFrame):
                    columns.append(pl.Series(name, self._hourly(given, time).values, pl.Float32))
                    notes.append(f"{name} joined from {given.height:,} composites, {self.settings.method}")
                else:
                    columns.append(pl.Series(name, [None] * frame.height, pl.Float32))
                    notes.append(f"{name} is absent: {reasons[site, name]}")
            entry = self.store.manifest.sites[site]
            writer.add(
                entry.record,
                frame.with_columns(columns),
                notes=notes,
                check=False,  # checked when it entered the first store; an absent covariate is empty on purpose
                source_sha256=entry.source_sha256,
                doi=entry.doi,
            )

        todo = [site for site in sites if site not in writer.done]
        total = len(self.store.site_ids)
        with ThreadPoolExecutor(self.jobs) as pool:
            for done, (site, _) in enumerate(zip(todo, pool.map(one, todo), strict=True), start=1):
                if progress is not None:
                    progress(site, total + done, total + len(todo))
