"""One tower out of its daily (DD) FLUXNET file.

A row of a daily store is a day of local standard time, stamped with its midnight. Fluxes are mean rates in the units of
the schema. The sun's covariates are the daily ones: the mean of the day and its change; the hourly ones do not exist.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.data.importers.fluxnet_columns import GRAMS_PER_DAY, METEO, POTENTIAL, Options
from fluxtrapolation.data.importers.fluxnet_inventory import Choice
from fluxtrapolation.data.importers.fluxnet_place import Place, check_sun, first_known, zone_offset
from fluxtrapolation.data.importers.fluxnet_times import check_order, coverage_note, moments
from fluxtrapolation.data.importers.fluxnet_tower import Tower, read_fluxes, record_of, store_values
from fluxtrapolation.data.importers.rows import complete_rows, mask_of
from fluxtrapolation.schema import QC, TIME

DAY_MIN: Final = 1440
DAILY_SOLAR: Final = ("SW_IN_POT_daily_mean", "dSW_IN_POT_DAY")
"""The covariates of the sun that a daily store holds."""
STAMP: Final = "TIMESTAMP"


def read_daily_tower(choice: Choice, place: Place, options: Options, *, with_et: bool) -> Tower:
    """Read a daily file: g C m-2 d-1 to umol m-2 s-1, LE in W m-2 to ET in mm h-1, flags that are shares.

    Raises
    ------
    DataError
        If the file cannot be read, is no such table, or holds what cannot be.
    """
    import polars as pl

    from fluxtrapolation.data.solar import solar_covariates

    notes = [*place.notes]
    read = read_fluxes(choice.file, options, with_et=with_et, times=(STAMP,), resolution="daily")
    time = moments(read.times[STAMP], name=STAMP, daily=True)
    notes += filter(
        None, (check_order(time, DAY_MIN, unit="days"), coverage_note(time[0], time[-1], choice.name.years))
    )
    values: dict[str, Any] = dict(store_values(read, time, options, notes, with_et=with_et, resolution="daily"))
    good = values.pop(QC) >= options.qc_fraction
    for name in ("NEE", "GPP"):
        values[name] = values[name] / GRAMS_PER_DAY
    complete = complete_rows(values, time, notes, names=METEO, unit="days")
    stamps = time[complete].astype("datetime64[us]")
    facts = place.facts
    offset = place.utc_offset_h
    if offset is None:
        offset, note = zone_offset(facts)
        notes.append(f"{note}: daily rows cannot tell")

    def potential(lat: float, lon: float, offset_h: float) -> NDArray[Any]:
        return solar_covariates(stamps, lat=lat, lon=lon, utc_offset_h=offset_h)["SW_IN_POT_daily_mean"]

    in_file = first_known(values, POTENTIAL)
    judged = values["SW_IN"][complete] if in_file is None else in_file[complete]
    check_sun(facts, offset, judged, potential, of="SW_IN" if in_file is None else "the file's SW_IN_POT")
    solar = solar_covariates(stamps, lat=facts.lat, lon=facts.lon, utc_offset_h=offset)
    held = [name for name in (*METEO, "GPP", "NEE", "ET") if name in values]
    columns = {name: values[name][complete].astype(np.float32) for name in held}
    mask = mask_of(columns, good[complete])
    frame = pl.DataFrame({TIME: stamps, **columns, QC: mask, **{name: solar[name] for name in DAILY_SOLAR}})
    return Tower(record_of(choice, place, offset, DAY_MIN), frame, notes, None)
