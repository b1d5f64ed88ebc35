"""The vocabulary: column names, units, ranges, IGBP classes, targets, scenario and scale names.

This is the only place where they are spelled. Old or foreign names are accepted at the file border through the
alias tables below and nowhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

STORE_SCHEMA_VERSION: Final = 2
"""Newest version of the store layout that is understood. A store with a higher number is refused; a store is written
with the lowest number that can say what it holds (see ``data.manifest.layout_of``)."""

SITE: Final = "site_id"
TIME: Final = "time"
DOMAIN: Final = "domain"
QC: Final = "qc_mask"
Y_TRUE: Final = "y_true"
Y_PRED: Final = "y_pred"

SOLAR_CONSTANT: Final = 1361.0
"""Solar constant, W m-2 (Kopp and Lean 2011, doi:10.1029/2010GL045777)."""

LATENT_HEAT_OF_VAPORISATION: Final = 2.45e6
"""J kg-1; ET[mm h-1] = LE[W m-2] * 3600 / 2.45e6."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One column of a store.

    Parameters
    ----------
    name : str
        Column name.
    unit : str
        Unit in the store, always this one.
    long_name : str
        What it is, for labels and tables.
    low, high : float
        Physically possible range, inclusive; values outside are refused at the border.
    """

    name: str
    unit: str
    long_name: str
    low: float
    high: float


_TARGETS: Final = (
    Variable("GPP", "umol m-2 s-1", "gross primary production", -200.0, 250.0),
    Variable("NEE", "umol m-2 s-1", "net ecosystem exchange", -250.0, 250.0),
    Variable("ET", "mm h-1", "evapotranspiration", -2.0, 5.0),
)

_COVARIATES: Final = (
    Variable("TA", "degC", "air temperature", -90.0, 60.0),
    Variable("VPD", "hPa", "vapour pressure deficit", -1.0, 150.0),
    Variable("SW_IN", "W m-2", "incoming shortwave radiation", -50.0, 2000.0),
    Variable("SW_IN_POT_hourly", "W m-2", "potential radiation, mean of the hour", -1e-3, 1500.0),
    Variable("SW_IN_POT_daily_mean", "W m-2", "potential radiation, mean of the day", -1e-3, 800.0),
    Variable("dSW_IN_POT", "W m-2", "potential radiation, change since the hour before", -1500.0, 1500.0),
    Variable("dSW_IN_POT_DAY", "W m-2", "potential radiation, change of the daily mean", -100.0, 100.0),
    Variable("LST_Day", "degC", "land surface temperature by day", -100.0, 90.0),
    Variable("LST_Night", "degC", "land surface temperature by night", -100.0, 70.0),
    Variable("EVI", "1", "enhanced vegetation index", -1.0, 2.0),
    Variable("NIRv", "1", "near-infrared reflectance of vegetation", -1.0, 2.0),
    Variable("NDWI_SWIR2", "1", "normalised difference water index (SWIR2)", -1.5, 1.5),
)

TARGETS: Final[tuple[str, ...]] = tuple(v.name for v in _TARGETS)
COVARIATES: Final[tuple[str, ...]] = tuple(v.name for v in _COVARIATES)
"""Hourly covariates in their fixed order. The thirteenth covariate, the plant functional type, is one per site."""

SOLAR_COVARIATES: Final = ("SW_IN_POT_hourly", "SW_IN_POT_daily_mean", "dSW_IN_POT", "dSW_IN_POT_DAY")
"""Covariates that follow from latitude, longitude and time alone."""

VARIABLES: Final[Mapping[str, Variable]] = {v.name: v for v in (*_TARGETS, *_COVARIATES)}

IGBP: Final[Mapping[str, str]] = {
    "ENF": "evergreen needleleaf forest",
    "EBF": "evergreen broadleaf forest",
    "DNF": "deciduous needleleaf forest",
    "DBF": "deciduous broadleaf forest",
    "MF": "mixed forest",
    "CSH": "closed shrubland",
    "OSH": "open shrubland",
    "WSA": "woody savanna",
    "SAV": "savanna",
    "GRA": "grassland",
    "WET": "permanent wetland",
    "CRO": "cropland",
    "URB": "urban and built-up",
    "CVM": "cropland and natural vegetation mosaic",
    "SNO": "snow and ice",
    "BSV": "barren or sparse vegetation",
    "WAT": "water",
}
"""The 17 IGBP classes (Loveland et al. 2000) in the order of the one-hot columns."""

PFT_PREFIX: Final = "PFT_"

SITE_ID_RULE: Final = "at most 64 letters, digits, '-', '_' and '.', not beginning with '.'"
"""What a site id is made of: it becomes a file name on every system."""

SCALES: Final = ("hourly", "daily", "weekly", "monthly", "seasonal", "anom", "iav", "site-mean")
"""Temporal scales of the evaluation, fine to coarse."""

BOARD_SCALES: Final = ("hourly", "weekly", "seasonal", "anom", "iav", "site-mean")
"""The six scales shown on the published board."""

SCENARIOS: Final = ("temporal", "spatial", "temperature")
"""The three published scenarios of the board, in its order."""

SELECTIONS: Final = ("mean", "max", "discrepancy")
"""Validation summaries by which a configuration is chosen, in the order of the paper."""

RESOLUTIONS: Final = ("hourly", "daily")

COLUMN_ALIASES: Final[Mapping[str, str]] = {
    # the same thing under another name and in the same unit; matched without regard to case
    "ta_f": "TA",
    "tair": "TA",
    "vpd_f": "VPD",
    "sw_in_f": "SW_IN",
    "sw_in_pot": "SW_IN_POT_hourly",
    "sw_in_pot_daily": "SW_IN_POT_daily_mean",
    "dsw_in_pot_hourly": "dSW_IN_POT",
    "dsw_in_pot_daily": "dSW_IN_POT_DAY",
    "lst_terra_day": "LST_Day",
    "lst_terra_night": "LST_Night",
    "ndwi": "NDWI_SWIR2",
    "gpp_nt_vut_ref": "GPP",
    "nee_vut_ref": "NEE",
    "site": SITE,
    "siteid": SITE,
    "env": DOMAIN,
    "date": TIME,
    "datetime": TIME,
    "timestamp_start": TIME,
}

SCENARIO_ALIASES: Final[Mapping[str, str]] = {
    "time-split": "temporal",
    "spatial-easy40": "spatial",
    "TA40": "temperature",
    "spatial-easy40-v2": "spatial-redraw",
}
PUBLISHED_SCENARIO: Final[Mapping[str, str]] = {new: old for old, new in SCENARIO_ALIASES.items()}

SCALE_ALIASES: Final[Mapping[str, str]] = {"spatial": "site-mean"}
PUBLISHED_SCALE: Final[Mapping[str, str]] = {"site-mean": "spatial"}


def canonical_column(name: str) -> str:
    """Return the schema's spelling of a column name found in a file, or the name itself if it is not known."""
    if name in VARIABLES or name in (SITE, TIME, DOMAIN, QC, Y_TRUE, Y_PRED):
        return name
    folded = name.strip().casefold()
    for known in (*VARIABLES, SITE, TIME, DOMAIN, QC, Y_TRUE, Y_PRED):
        if known.casefold() == folded:
            return known
    return COLUMN_ALIASES.get(folded, name)


def is_site_id(text: str) -> bool:
    """Whether ``text`` can name a site (:data:`SITE_ID_RULE`)."""
    return re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}", text) is not None


def pft_column(igbp: str) -> str:
    """Name of the one-hot column of an IGBP class, such as ``PFT_ENF``."""
    return PFT_PREFIX + igbp


def ordered_igbp(classes: Iterable[str]) -> tuple[str, ...]:
    """The given classes without repeats, in the schema's order."""
    present = set(classes)
    return tuple(name for name in IGBP if name in present)


def feature_names(covariates: Iterable[str], igbp_classes: Iterable[str]) -> tuple[str, ...]:
    """Columns of ``X``: the covariates in schema order, then one ``PFT_*`` column per class seen, in fixed order."""
    held = set(covariates)
    hourly = tuple(name for name in COVARIATES if name in held)
    return hourly + tuple(pft_column(name) for name in ordered_igbp(igbp_classes))
