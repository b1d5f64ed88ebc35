"""Import of FLUXNET2015 from its public Zarr rehost: half-hourly, packed, on a UTC axis that needs undoing.

``local standard END = time + utc_offset_store_h`` and ``local START = local END - native step``; the store's offset is
that of each IANA zone on 2010-01-01, so at southern towers its "UTC" carries summer time while the local clock is
right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from fluxtrapolation.data.importers.hourly import Hours, Packed, recorded_span, to_hours
from fluxtrapolation.data.importers.outcome import tell_failures, tell_held, tell_lags, tell_twins
from fluxtrapolation.data.importers.phase import Phase, phase_notes, radiation_phase
from fluxtrapolation.data.importers.pool import Progress, work_through
from fluxtrapolation.data.importers.rows import (
    FLAG_LIMITS,
    FLUXNET2015_DOI,
    FLUXNET2015_LICENCE,
    FLUXNET2015_REFERENCE,
    complete_rows,
    mask_of,
    site_record,
)
from fluxtrapolation.data.importers.zarr_facts import Clock, find_clock, true_offset
from fluxtrapolation.data.importers.zarr_source import FluxnetZarr
from fluxtrapolation.data.jobs import default_jobs
from fluxtrapolation.data.sites import SiteFacts, load_sites, merge_facts, read_sites_table
from fluxtrapolation.errors import DataError, did_you_mean, examples
from fluxtrapolation.schema import IGBP, QC, SOLAR_COVARIATES, TIME

if TYPE_CHECKING:
    import polars as pl

    from fluxtrapolation.data.manifest import SiteRecord, Source
    from fluxtrapolation.data.store import Store
    from fluxtrapolation.data.writer import StoreWriter

METEO: Final[Mapping[str, str]] = {"TA": "ta", "VPD": "vpd", "SW_IN": "sw_in"}
FLAG: Final = "nee_qc"
GPP_NAMES: Final[Mapping[str, str]] = {"nt": "gpp_nt", "dt": "gpp_dt"}
MAX_JOBS: Final = 4


def import_fluxnet2015_zarr(
    source: str | Path,
    out: str | Path,
    *,
    sites: Sequence[str] | None = None,
    sites_table: str | Path | None = None,
    qc: Literal["good", "measured"] = "good",
    gpp: Literal["nt", "dt"] = "nt",
    overwrite: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Store:
    """Make a store of hourly local-time towers from a FLUXNET2015 Zarr store.

    Parameters
    ----------
    source : str or path
        Folder or URL of the Zarr store.
    out : path-like
        Folder of the store to write. Interrupted imports continue when called again with the same options.
    sites : sequence of str, optional
        Only these towers.
    sites_table : path-like, optional
        CSV or Parquet with site_id, lat, lon, igbp and optional columns; goes before the packaged table.
    qc : {'good', 'measured'}
        When ``qc_mask`` is 1: all native steps of the hour have NEE and GPP, and NEE flags of at most 1 (``good``)
        or of 0 (``measured``).
    gpp : {'nt', 'dt'}
        Night-time or day-time partitioning.
    overwrite : bool
        Replace the store that is there, once the new one is finished.
    jobs : int, optional
        Towers worked on at once; at most 4 by default.
    progress : callable, optional
        Called with (site, towers finished, towers in all).

    Returns
    -------
    Store
        Rows are the hours in which TA, VPD and SW_IN are all known. GPP and NEE are null where a native step misses.
        A tower that fails stands in ``manifest.failures`` with the reason; the others are imported.

    Raises
    ------
    DataError
        If the source is not such a store, lacks a variable, or no tower at all can be imported.

    Warns
    -----
    FluxtrapolationWarning
        If some towers failed, were there already, or have radiation more than an hour off the sun.
    """
    from fluxtrapolation.data.writer import StoreWriter

    _check_choice("qc", qc, FLAG_LIMITS)
    _check_choice("gpp", gpp, GPP_NAMES)
    facts: Mapping[str, SiteFacts] = load_sites()
    if sites_table is not None:
        facts = merge_facts(read_sites_table(sites_table), facts)
    zarr = FluxnetZarr(source)
    names = {**METEO, "NEE": "nee", "GPP": GPP_NAMES[gpp]}
    for name in (*names.values(), FLAG):
        zarr.need(name)
    chosen = _choose(zarr, sites)
    writer = StoreWriter(
        out,
        targets=("GPP", "NEE"),
        covariates=(*METEO, *SOLAR_COVARIATES),
        source=_source(zarr, sites_table=sites_table, qc=qc, gpp=gpp),
        overwrite=overwrite,
    )
    writer.forget_failures()
    tower = _Tower(zarr, names, facts, FLAG_LIMITS[qc], writer)
    with closing(writer):
        held = len(writer.done.intersection(chosen))
        todo = [site for site in chosen if site not in writer.done]
        workers = jobs if jobs is not None else default_jobs(MAX_JOBS)
        failed = work_through(todo, tower.run, total=len(chosen), workers=workers, progress=progress)
        if not writer.done:
            writer.discard()
            _, reason = min(failed.items())
            raise DataError(f"None of the {len(chosen)} towers of {zarr.source} could be imported. {reason}")
        for site, reason in failed.items():
            writer.fail(site, reason)
        store = writer.finish()
    tell_held(held, "--overwrite reads all again")
    tell_lags(tower.lags)
    tell_twins(store)
    tell_failures(failed, len(chosen))
    return store


@dataclass(frozen=True, slots=True)
class _Tower:
    """The work on one tower, from chunks to a site file."""

    zarr: FluxnetZarr
    names: Mapping[str, str]
    facts: Mapping[str, SiteFacts]
    flag_limit: float
    writer: StoreWriter
    lags: dict[str, float] = field(default_factory=dict)
    """Minutes by which SW_IN is late, of the towers done."""

    def run(self, site: str) -> None:
        """Read, convert and write one tower; a DataError says why it cannot be done."""
        facts = self.facts.get(site)
        if facts is None:
            raise DataError(
                "no IGBP class and no coordinates are known for it: give them with --sites-table "
                f"(columns site_id, lat, lon, igbp; classes {', '.join(IGBP)})"
            )
        variables, flag, span = self._read(site)
        judged = [variables[name] for name in ("TA", "VPD", "NEE")]
        clock = find_clock(facts, judged, span, self.zarr.axis)
        hours = to_hours(
            variables,
            flag,
            flag_limit=self.flag_limit,
            first_end=self.zarr.axis.first + np.timedelta64(round(clock.store_offset_h * 60), "m"),
            span=span,
            native_step_min=clock.native_step_min,
        )
        record, frame, notes, phase = build_site(facts, clock, hours)
        self.writer.add(record, frame, notes=notes)
        if phase is not None:
            self.lags[site] = phase.lag_min

    def _read(self, site: str) -> tuple[dict[str, Packed], Packed, tuple[int, int]]:
        packed = {name: self.zarr.read(site, stored) for name, stored in self.names.items()}
        flag = self.zarr.read(site, FLAG)
        span = recorded_span([*packed.values(), flag])
        if span is None:
            raise DataError("the store holds no value of any variable for it (an incomplete copy?)")
        stored = {**{self.names[name]: values for name, values in packed.items()}, FLAG: flag}
        absent = [key for name, values in stored.items() for key in self.zarr.absent_chunks(site, name, values, span)]
        if absent:
            raise DataError(
                f"{len(absent)} of its chunks are not in the store: {examples(absent)}. The copy is incomplete; "
                "fetch it again"
            )
        return packed, flag, span


def build_site(
    facts: SiteFacts, clock: Clock, hours: Hours
) -> tuple[SiteRecord, pl.DataFrame, list[str], Phase | None]:
    """The record, table and notes of one tower from its hours, and the phase of its radiation.

    Raises
    ------
    DataError
        If no hour has TA, VPD and SW_IN.
    """
    import polars as pl

    from fluxtrapolation.data.solar import solar_covariates

    lacking: list[str] = []
    complete = complete_rows(hours.values, hours.time, lacking, names=METEO, unit="hours")
    time = hours.time[complete].astype("datetime64[us]")
    columns: dict[str, Any] = {name: values[complete] for name, values in hours.values.items()}

    def solar(offset: float) -> dict[str, Any]:
        return dict(solar_covariates(time, lat=facts.lat, lon=facts.lon, utc_offset_h=offset))

    assumed = facts.true_utc_offset_h if facts.true_utc_offset_h is not None else clock.store_offset_h
    potential = solar(assumed)
    phase = radiation_phase(time, columns["SW_IN"], potential["SW_IN_POT_hourly"])
    offset, inferred = true_offset(facts, clock, phase)
    if offset != assumed:
        potential = solar(offset)
        phase = radiation_phase(time, columns["SW_IN"], potential["SW_IN_POT_hourly"])
    notes = [*clock.notes, *inferred]
    if facts.time_flag:
        notes.append(f"time flag of the site table: {facts.time_flag}")
    if phase is not None:
        notes += phase_notes(phase)
    notes += lacking
    columns[QC] = mask_of(columns, hours.flags_low[complete])
    frame = pl.DataFrame({TIME: time, **columns, **potential})
    record = site_record(
        facts,
        site=facts.site_id,
        network=facts.network,
        utc_offset_h=offset,
        native_step_min=clock.native_step_min,
        licence=FLUXNET2015_LICENCE,
        source="FLUXNET2015",
    )
    return record, frame, notes, phase


def _choose(zarr: FluxnetZarr, sites: Sequence[str] | None) -> list[str]:
    if sites is None:
        return sorted(zarr.sites)
    held = set(zarr.sites)
    missing = [site for site in sites if site not in held]
    if missing:
        raise DataError(
            f"{len(missing)} of the {len(sites)} sites asked for are not in {zarr.source}: {examples(missing)}."
            f"{did_you_mean(missing[0], zarr.sites)} It holds {len(held)} sites, e.g. {examples(zarr.sites)}."
        )
    if not sites:
        raise DataError("No site was asked for. Leave --sites out to import all.")
    return sorted(set(sites))


def _check_choice(option: str, value: str, known: Mapping[str, Any]) -> None:
    if value not in known:
        raise DataError(f"{option}={value!r} is unknown.{did_you_mean(str(value), known)} Choose {' or '.join(known)}.")


def _source(zarr: FluxnetZarr, *, sites_table: str | Path | None, qc: str, gpp: str) -> Source:
    from fluxtrapolation import __version__
    from fluxtrapolation.data.manifest import Source, utc_now
    from fluxtrapolation.files import sha256_of

    rule = {
        "good": "qc_mask = 1 where every native step of the hour has NEE, GPP and an NEE flag of at most 1",
        "measured": "qc_mask = 1 where every native step of the hour has NEE, GPP and an NEE flag of 0",
    }
    return Source(
        name="FLUXNET2015",
        kind="fluxnet2015-zarr",
        location=zarr.source if zarr.remote else str(Path(zarr.source).resolve()),
        licence=FLUXNET2015_LICENCE,
        citation=FLUXNET2015_REFERENCE,
        doi=FLUXNET2015_DOI,
        options={
            "qc": qc,
            "qc_rule": rule[qc],
            "gpp": gpp,
            "gpp_variable": GPP_NAMES[gpp],
            "sites_table_sha256": None if sites_table is None else sha256_of(Path(sites_table)),
        },
        retrieved=utc_now(),
        package_version=__version__,
    )
