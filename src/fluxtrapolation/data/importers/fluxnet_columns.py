"""Which columns of a FLUXNET file become which variables of the store, by the user's choice; units and their checks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.data.checks import saturation_vapour_pressure, too_small
from fluxtrapolation.data.importers.fluxnet_names import Resolution
from fluxtrapolation.data.importers.rows import FLAG_LIMITS
from fluxtrapolation.errors import DataError, UnitError, did_you_mean
from fluxtrapolation.schema import LATENT_HEAT_OF_VAPORISATION

METEO: Final[Mapping[str, str]] = {"TA": "TA_F", "VPD": "VPD_F", "SW_IN": "SW_IN_F"}
POTENTIAL: Final = "SW_IN_POT"
NEE: Final = "NEE_VUT_REF"
NEE_QC: Final = "NEE_VUT_REF_QC"
GPP: Final[Mapping[str, str]] = {"nt": "GPP_NT_VUT_REF", "dt": "GPP_DT_VUT_REF"}
LE: Final[Mapping[str, str]] = {"mds": "LE_F_MDS", "corr": "LE_CORR"}
LE_QC: Final = "LE_F_MDS_QC"
"""The flag of both: LE_CORR is LE_F_MDS times a factor."""

GRAMS_PER_DAY: Final = 12.011e-6 * 86400.0
"""g C m-2 d-1 in one umol CO2 m-2 s-1."""
MJ_PER_KG: Final = "2.45"
QC_FRACTION: Final = 0.5
MIN_ROWS_OF_PAIR: Final = 1000
MAX_NEE_WITH_GPP: Final = 0.3
"""Correlation of NEE and GPP over all rows, day and night.

Over 120 towers and both partitionings it is at most -0.35 in half hours (SJ-Blv), 0.06 in a single year (US-Atq), -0.03
in days (US-Me4). With NEE's sign turned it is at least 0.35 in half hours.
"""
LIGHT: Final = 200.0
"""W m-2: by such light plants take carbon up."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Options:
    """The user's choices.

    Parameters
    ----------
    qc : {'good', 'measured'}
        Flags of at most 1, or of 0. Hourly only.
    gpp : {'nt', 'dt'}
        Night-time or day-time partitioning.
    et : {'mds', 'corr', 'none'}
        From LE_F_MDS, from LE_CORR (energy balance closed), or no ET in the store.
    latent_heat : {'2.45', 'temperature'}
        MJ kg-1, or 2.501 - 0.002361 TA (TA in degC).
    qc_fraction : float
        Daily only: least share of measured and well-filled half hours in a day with ``qc_mask`` 1.
    """

    qc: Literal["good", "measured"] = "good"
    gpp: Literal["nt", "dt"] = "nt"
    et: Literal["mds", "corr", "none"] = "mds"
    latent_heat: Literal["2.45", "temperature"] = "2.45"
    qc_fraction: float = QC_FRACTION

    def check(self, resolution: Resolution) -> None:
        """Refuse choices that do not exist, or that have no meaning at this resolution.

        Raises
        ------
        DataError
        """
        choices: list[tuple[str, str, tuple[str, ...]]] = [
            ("qc", self.qc, tuple(FLAG_LIMITS)),
            ("gpp", self.gpp, tuple(GPP)),
            ("et", self.et, (*LE, "none")),
            ("latent_heat", self.latent_heat, (MJ_PER_KG, "temperature")),
        ]
        for option, value, known in choices:
            if value not in known:
                raise DataError(
                    f"{option}={value!r} is unknown.{did_you_mean(str(value), known)} Choose {' or '.join(known)}."
                )
        if not 0.0 <= self.qc_fraction <= 1.0:
            raise DataError(f"qc_fraction is {self.qc_fraction:g}; it is a share from 0 to 1.")
        if resolution == "daily" and self.qc == "measured":
            raise DataError(
                "The flag of a daily value is the share of measured and well-filled half hours together: --qc measured "
                "cannot be told from it. Leave it out, and set the share with --qc-fraction."
            )
        if resolution == "hourly" and self.qc_fraction != QC_FRACTION:
            raise DataError("--qc-fraction is for daily files; hourly ones have --qc good or measured.")

    def columns(self, *, with_et: bool) -> dict[str, str]:
        """Flux columns by the store's names."""
        named = {"NEE": NEE, "GPP": GPP[self.gpp]}
        return {**named, "LE": LE[self.et]} if with_et else named

    def rule(self, resolution: Resolution, *, with_et: bool) -> str:
        """When ``qc_mask`` is 1, in words."""
        fluxes = "NEE, GPP and, at towers that have any, ET," if with_et else "NEE and GPP"
        if resolution == "daily":
            flags = (
                "NEE and LE flags (shares of good half hours)" if with_et else "an NEE flag (share of good half hours)"
            )
            return f"qc_mask = 1 where the day has {fluxes} with {flags} of at least {self.qc_fraction:g}"
        flags = "NEE and LE flags" if with_et else "an NEE flag"
        limit = "of 0" if self.qc == "measured" else "of at most 1"
        return f"qc_mask = 1 where every native step of the hour has {fluxes} with {flags} {limit}"

    def as_facts(self, resolution: Resolution, *, with_et: bool) -> dict[str, Any]:
        """For the manifest: everything that shapes the values."""
        facts: dict[str, Any] = {
            "resolution_read": resolution,
            "qc_rule": self.rule(resolution, with_et=with_et),
            "gpp": self.gpp,
            "gpp_variable": GPP[self.gpp],
            "et": self.et if with_et else "none",
            "et_variable": LE[self.et] if with_et else None,
            "latent_heat": None
            if not with_et
            else "2.45 MJ kg-1"
            if self.latent_heat == MJ_PER_KG
            else LATENT_HEAT_RULE,
        }
        share = {"qc_fraction": self.qc_fraction, "carbon_g_per_umol_day": GRAMS_PER_DAY}
        return {**facts, **({"qc": self.qc} if resolution == "hourly" else share)}


LATENT_HEAT_RULE: Final = "2.501 - 0.002361 TA MJ kg-1"


def evapotranspiration(le: Floats, ta: Floats, latent_heat: str) -> Floats:
    """ET, mm h-1, from latent heat flux.

    Parameters
    ----------
    le : ndarray
        W m-2.
    ta : ndarray
        degC, of the same steps; used where the latent heat depends on it.
    latent_heat : {'2.45', 'temperature'}

    Source of the temperature dependence: Harrison (1963), as in Allen et al. (1998), FAO 56, eq. 3-1.
    """
    if latent_heat == MJ_PER_KG:
        return le * (3600.0 / LATENT_HEAT_OF_VAPORISATION)
    return le * 3600.0 / ((2.501 - 0.002361 * ta) * 1e6)


def check_flags(values: Floats, name: str, *, resolution: Resolution, times: NDArray[np.datetime64]) -> None:
    """Refuse flags that are of another kind than the resolution's.

    Raises
    ------
    DataError
        If an hourly flag is none of 0, 1, 2, 3, or a daily one is no share from 0 to 1.
    """
    known = np.isfinite(values)
    if resolution == "hourly":
        # 0.01: files made from packed numbers carry flags such as 0.99997
        wrong = known & ((np.abs(values - np.round(values)) > 0.01) | (values < -0.01) | (values > 3.01))
        wanted = "a flag of 0, 1, 2 or 3"
    else:
        wrong = known & ((values < -1e-6) | (values > 1.0 + 1e-6))
        wanted = "a share from 0 to 1"
    if wrong.any():
        first = int(np.argmax(wrong))
        raise DataError(
            f"{int(wrong.sum()):,} of {values.size:,} values of {name} are not {wanted} (first: {values[first]:g} at "
            f"{times[first]}). Is this column another one, or in percent? Fetch the file again."
        )


def check_magnitudes(values: Mapping[str, Floats], potential: Floats | None) -> None:
    """Refuse fluxes and radiation a thousand times too small, and NEE and GPP that stand in each other's place.

    Values too large lie outside the schema's range and are refused by the store, as are TA in kelvin and VPD in kPa.

    Raises
    ------
    UnitError
    """
    for name, held in values.items():
        found = too_small(name, held, potential=potential, least_rows=MIN_ROWS_OF_PAIR)
        if found is not None:
            least, high, count = found
            raise UnitError(
                f"{name} is far too small for {least.unit}: 99 % of its {count:,} values are within {high:.3g}. Is it "
                f"in {least.likely}? Then {least.fix} and import again."
            )
    _check_signs(values)
    _check_vapour(values)


def _check_vapour(values: Mapping[str, Floats]) -> None:
    """VPD cannot exceed saturation; it does in at most 0.7 % of the steps of a real tower (120 towers, US-SRC).

    VPD in Pa exceeds it many times; the store tells that one.
    """
    if not {"TA", "VPD"} <= set(values):
        return
    held = np.isfinite(values["TA"]) & np.isfinite(values["VPD"]) & (np.abs(values["TA"]) < 100.0)
    if int(held.sum()) < MIN_ROWS_OF_PAIR:
        return
    saturation, vpd = saturation_vapour_pressure(values["TA"][held]), values["VPD"][held]
    share = float((vpd > 1.05 * saturation + 0.5).mean())
    if share > 0.05 and float(np.median(vpd / saturation)) < 5.0:
        raise UnitError(
            f"VPD is more than saturation at TA in {share:.0%} of {vpd.size:,} rows: TA and VPD stand in each other's "
            "column, or one is in another unit. Fetch the file again."
        )


def _check_signs(values: Mapping[str, Floats]) -> None:
    """By day GPP is positive and NEE mostly negative, and NEE falls where GPP rises; never the other way round.

    Medians by day cannot tell NEP: at US-Tw2 real NEE is +2.5 by day. The correlation can, see the limit.
    """
    if not {"NEE", "GPP", "SW_IN"} <= set(values):
        return
    with np.errstate(invalid="ignore"):
        day = (values["SW_IN"] > LIGHT) & np.isfinite(values["NEE"]) & np.isfinite(values["GPP"])
    if int(day.sum()) < 500:
        return
    gpp, nee = (float(np.median(values[name][day])) for name in ("GPP", "NEE"))
    if gpp < -1.0:
        raise UnitError(
            f"GPP is negative by day (median {gpp:.1f} umol m-2 s-1 at SW_IN above {LIGHT:g} W m-2, NEE {nee:.1f}): "
            "NEE and GPP stand in each other's column, or their signs are turned. Fetch the file again."
        )
    held = np.isfinite(values["NEE"]) & np.isfinite(values["GPP"])
    along = correlation(values["NEE"][held], values["GPP"][held])
    if along > MAX_NEE_WITH_GPP:
        raise UnitError(
            f"NEE rises with GPP (correlation {along:.2f} over {int(held.sum()):,} rows, medians by day {nee:.1f} and "
            f"{gpp:.1f} umol m-2 s-1): its sign is turned, uptake must be negative. This looks like NEP, the negative "
            "of NEE; turn the sign, or fetch the file again."
        )


def correlation(first: Floats, second: Floats) -> float:
    """Pearson's r of two series, 0 where one of them is constant."""
    a, b = first - first.mean(), second - second.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0.0 else 0.0
