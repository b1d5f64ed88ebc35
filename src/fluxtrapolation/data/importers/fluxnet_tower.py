"""One tower out of its FLUXNET file, by the hour: columns, clock, hours, the table that goes into the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.data.importers.fluxnet_columns import (
    LE,
    LE_QC,
    METEO,
    NEE_QC,
    POTENTIAL,
    Options,
    check_flags,
    check_magnitudes,
    evapotranspiration,
)
from fluxtrapolation.data.importers.fluxnet_csv import Columns, DataFile, read_columns
from fluxtrapolation.data.importers.fluxnet_inventory import Choice
from fluxtrapolation.data.importers.fluxnet_names import FluxnetName
from fluxtrapolation.data.importers.fluxnet_place import Place, check_sun, find_offset, first_known
from fluxtrapolation.data.importers.fluxnet_times import check_order, coverage_note, moments, native_step
from fluxtrapolation.data.importers.hourly import STEP_MIN, Hours, Packed, recorded_span, to_hours
from fluxtrapolation.data.importers.phase import phase_notes, radiation_phase
from fluxtrapolation.data.importers.rows import (
    FLAG_LIMITS,
    FLUXNET2015_LICENCE,
    complete_rows,
    mask_of,
    site_record,
)
from fluxtrapolation.errors import DataError, MissingColumnError
from fluxtrapolation.schema import QC, TIME

if TYPE_CHECKING:
    import polars as pl

    from fluxtrapolation.data.manifest import SiteRecord

AMERIFLUX_HUB: Final = "AMF"
ZARR_ONLY: Final = "store_utc_wrong"
"""A time flag of the site table that is about the Zarr store's axis."""
START, END = "TIMESTAMP_START", "TIMESTAMP_END"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Tower:
    """What goes into the store, and by how many minutes SW_IN is late where that is known."""

    record: SiteRecord
    frame: pl.DataFrame
    notes: list[str]
    lag_min: float | None


def read_tower(choice: Choice, place: Place, options: Options, *, with_et: bool) -> Tower:
    """Read a half-hourly or hourly file.

    Raises
    ------
    DataError
        If the file cannot be read, is no such table, or holds what cannot be.
    """
    notes = [*place.notes]
    read = read_fluxes(choice.file, options, with_et=with_et, times=(START, END), resolution="hourly")
    start = moments(read.times[START], name=START)
    step = native_step(start, moments(read.times[END], name=END) if END in read.times else None)
    late = (start.astype(np.int64) % step) != 0
    if late.any():
        whole = "hour" if step == 60 else "half hour"
        raise DataError(
            f"{int(late.sum()):,} of {start.size:,} rows do not begin at a full {whole} "
            f"(first: {start[int(np.argmax(late))]}). Rows are stamped with their START in local standard time."
        )
    unit = "hours" if step == 60 else "half hours"
    notes += filter(None, (check_order(start, step, unit=unit), coverage_note(start[0], start[-1], choice.name.years)))
    values = store_values(read, start, options, notes, with_et=with_et, resolution="hourly")
    flag = values.pop(QC)
    hours = _hours(values, flag, start, step, options)
    return _assemble(choice, place, hours, step, notes)


def read_fluxes(file: DataFile, options: Options, *, with_et: bool, times: tuple[str, ...], resolution: str) -> Columns:
    """The columns of a file by their own names; LE and SW_IN_POT where it has them."""
    fluxes = options.columns(with_et=False).values()
    latent = (LE[options.et], LE_QC) if with_et else ()
    try:
        return read_columns(
            file, needed=(times[0], *METEO.values(), *fluxes, NEE_QC), optional=(*times[1:], POTENTIAL, *latent)
        )
    except MissingColumnError as error:
        if times[0] in str(error) and resolution == "hourly":
            raise MissingColumnError(f"{error} Is it a daily file under the name of an hourly one?") from None
        raise


def store_values(
    read: Columns, time: NDArray[np.datetime64], options: Options, notes: list[str], *, with_et: bool, resolution: Any
) -> dict[str, Floats]:
    """Variables by the store's names and in the file's carbon unit, ET in mm h-1, the flag as ``qc_mask``.

    The flag is that of NEE, at towers with ET the worse one of NEE and LE: the higher, of daily shares the lower.
    """
    named = {**METEO, **options.columns(with_et=with_et), POTENTIAL: POTENTIAL}
    values = {name: read.values[column] for name, column in named.items() if column in read.values}
    check_flags(read.values[NEE_QC], NEE_QC, resolution=resolution, times=time)
    flag = read.values[NEE_QC]
    check_magnitudes(values, values.get(POTENTIAL))
    latent = values.pop("LE", None)
    if with_et:
        if latent is None or not np.isfinite(latent).any():
            values["ET"] = np.full(time.size, np.nan)
            notes.append("ET has no value at this tower: qc_mask judges NEE and GPP")
        else:
            if LE_QC not in read.values:
                raise MissingColumnError(f"the file has {LE[options.et]} but no {LE_QC}. Leave ET out with --et none.")
            check_flags(read.values[LE_QC], LE_QC, resolution=resolution, times=time)
            values["ET"] = evapotranspiration(latent, values["TA"], options.latent_heat)
            worse = np.maximum if resolution == "hourly" else np.minimum
            flag = worse(flag, read.values[LE_QC])
    values[QC] = flag
    return values


def _hours(
    values: Mapping[str, Floats], flag: Floats, start: NDArray[np.datetime64], step: int, options: Options
) -> Hours:
    """The same rule as for the Zarr store: hourly records stand twice on a half-hourly axis there, so they do here."""
    row = ((start - start[0]) / np.timedelta64(step, "m")).astype(np.int64)
    length = int(row[-1]) + 1

    def packed(given: Floats) -> Packed:
        if length != given.size:
            on_grid = np.full(length, np.nan)
            on_grid[row] = given
            given = on_grid
        stored = np.repeat(given, step // STEP_MIN)
        valid = np.isfinite(stored)
        return Packed(np.where(valid, stored, 0.0), 1.0, 0.0, valid)

    variables = {name: packed(given) for name, given in values.items()}
    flags = packed(flag)
    span = recorded_span([*(v for name, v in variables.items() if name != POTENTIAL), flags])
    if span is None:
        raise DataError(
            "the file holds no value of TA, VPD, SW_IN, NEE or GPP, only missing ones. "
            "Fetch the tower's archive again, or leave the tower out."
        )
    return to_hours(
        variables,
        flags,
        flag_limit=FLAG_LIMITS[options.qc],
        first_end=(start[0] + np.timedelta64(step, "m")),
        span=span,
        native_step_min=step,
    )


def _assemble(choice: Choice, place: Place, hours: Hours, step: int, notes: list[str]) -> Tower:
    """Rows, offset, sun and record of one tower."""
    import polars as pl

    from fluxtrapolation.data.solar import potential_radiation, solar_covariates

    complete = complete_rows(hours.values, hours.time, notes, names=METEO, unit="hours")
    time = hours.time[complete].astype("datetime64[us]")
    columns: dict[str, Any] = {name: values[complete] for name, values in hours.values.items()}
    in_file = first_known(columns, POTENTIAL)
    columns.pop(POTENTIAL, None)
    facts = place.facts
    offset, found = find_offset(place, time, columns["SW_IN"], in_file)
    notes += found

    def potential(lat: float, lon: float, offset_h: float) -> NDArray[Any]:
        utc = time.astype("datetime64[s]") - np.timedelta64(round(offset_h * 3600), "s")
        return potential_radiation(utc, lat=lat, lon=lon)

    judged = columns["SW_IN"] if in_file is None else in_file
    check_sun(facts, offset, judged, potential, of="SW_IN" if in_file is None else "the file's SW_IN_POT")
    solar = solar_covariates(time, lat=facts.lat, lon=facts.lon, utc_offset_h=offset)
    if facts.time_flag and facts.time_flag != ZARR_ONLY:
        notes.append(f"time flag of the site table: {facts.time_flag}")
    phase = radiation_phase(time, columns["SW_IN"], solar["SW_IN_POT_hourly"])
    if phase is not None:
        notes += phase_notes(phase)
    columns[QC] = mask_of(columns, hours.flags_low[complete])
    frame = pl.DataFrame({TIME: time, **columns, **solar})
    record = record_of(choice, place, offset, step)
    return Tower(record, frame, notes, None if phase is None else phase.lag_min)


def licence_of(name: FluxnetName) -> str | None:
    """The licence of FLUXNET2015; None for other products, whose towers and versions have licences of their own."""
    return FLUXNET2015_LICENCE if name.is_fluxnet2015 else None


def network_of(choice: Choice, place: Place) -> str | None:
    """The tower's networks; AmeriFlux among them where the file comes from its hub, as it asks for a word of thanks."""
    known = place.facts.network
    if choice.name.hub != AMERIFLUX_HUB or "AmeriFlux" in (known or ""):
        return known
    return f"{known};AmeriFlux" if known else "AmeriFlux"


def record_of(choice: Choice, place: Place, offset: float, step: int) -> SiteRecord:
    """The site's row of the store's table."""
    return site_record(
        place.facts,
        site=choice.site,
        network=network_of(choice, place),
        utc_offset_h=offset,
        native_step_min=step,
        licence=licence_of(choice.name),
        source=choice.name.product,
    )
