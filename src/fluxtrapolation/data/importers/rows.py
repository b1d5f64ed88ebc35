"""What every FLUXNET tower becomes, from files or from the Zarr store: which rows count, ``qc_mask``, its record.

And what FLUXNET2015 asks to be cited with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.data.sites import SiteFacts
from fluxtrapolation.errors import DataError

if TYPE_CHECKING:
    from fluxtrapolation.data.manifest import SiteRecord

FLUXNET2015_LICENCE: Final = "CC-BY-4.0"
FLUXNET2015_DOI: Final = "10.1038/s41597-020-0534-3"
FLUXNET2015_REFERENCE: Final = (
    "Pastorello, G., Trotta, C., Canfora, E. et al. The FLUXNET2015 dataset and the ONEFlux processing pipeline for "
    "eddy covariance data. Scientific Data 7, 225 (2020)."
)
FLAG_LIMITS: Final[Mapping[str, float]] = {"good": 1.5, "measured": 0.5}
"""Hourly flags below which ``qc_mask`` is 1, by the option ``qc``."""


def complete_rows(
    values: Mapping[str, NDArray[Any]],
    time: NDArray[np.datetime64],
    notes: list[str],
    *,
    names: Mapping[str, str],
    unit: str,
) -> NDArray[np.bool_]:
    """Rows with TA, VPD and SW_IN; how many are left out is noted, and fluxes without any value.

    Parameters
    ----------
    values : mapping of str to ndarray, shape (n,)
        By the store's names.
    time : ndarray of datetime64, shape (n,)
    notes : list of str
        Added to.
    names : mapping of str to str
        The store's names of the weather, and the source's.
    unit : {'hours', 'days'}

    Raises
    ------
    DataError
        If there is no such row.
    """
    complete = np.logical_and.reduce([np.isfinite(values[name]) for name in names])
    if not complete.any():
        lacking = [own for name, own in names.items() if not np.isfinite(values[name]).any()]
        raise DataError(
            f"no {unit[:-1]} has air temperature, VPD and radiation all three"
            + (f": only missing values in {', '.join(lacking)}" if lacking else "")
            + ". Fetch the tower's FULLSET archive, where gaps of the weather are filled, or leave the tower out."
        )
    left_out = int((~complete).sum())
    if left_out:
        notes.append(
            f"{left_out} of {complete.size} {unit} left out: TA, VPD or SW_IN incomplete "
            f"(first: {time[int(np.argmin(complete))]})"
        )
    notes += [f"{name} has no value at this tower" for name in ("NEE", "GPP") if not np.isfinite(values[name]).any()]
    return np.asarray(complete)


def mask_of(columns: Mapping[str, NDArray[Any]], good: NDArray[np.bool_]) -> NDArray[np.int8]:
    """``qc_mask``: all fluxes of the tower there, and the flag good. A tower without any ET is judged by the others."""
    fluxes: Sequence[NDArray[Any]] = [columns[name] for name in ("NEE", "GPP", "ET") if name in columns]
    there = [*fluxes[:2], *(flux for flux in fluxes[2:] if np.isfinite(flux).any())]
    return np.asarray(np.logical_and.reduce([*(np.isfinite(flux) for flux in there), good]), dtype=np.int8)


def site_record(
    facts: SiteFacts,
    *,
    site: str,
    network: str | None,
    utc_offset_h: float,
    native_step_min: int,
    licence: str | None,
    source: str,
) -> SiteRecord:
    """The site's row of the store's table; the writer fills in what the rows themselves say."""
    from fluxtrapolation.data.manifest import SiteRecord

    return SiteRecord(
        site_id=site,
        name=facts.name,
        lat=facts.lat,
        lon=facts.lon,
        igbp=facts.igbp,
        network=network,
        mat_c=facts.mat_c,
        map_mm=facts.map_mm,
        utc_offset_h=utc_offset_h,
        native_step_min=native_step_min,
        licence=licence,
        source=source,
    )
