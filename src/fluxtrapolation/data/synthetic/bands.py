"""What real towers measure, and the bands that the synthetic world must keep.

The real numbers come from 120 towers of FLUXNET2015 (hourly means, 7.4 million hours) by
:mod:`~fluxtrapolation.data.synthetic.measures`, and for evapotranspiration from six daily FLUXNET2015 files and the
benchmark's published results. They were measured before the simulator was written. The tolerances are uniform by kind
of measure, but for the daily memory of evapotranspiration, where the world falls short; ``docs/synthetic.md``
shows both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from fluxtrapolation.data.sites import SiteFacts, load_sites


@dataclass(frozen=True, slots=True)
class Band:
    """An accepted range for one measure of one variable.

    Attributes
    ----------
    variable, measure : str
        As in :func:`~fluxtrapolation.data.synthetic.measures.summarise`, or an error of a baseline.
    real : str
        The real number or range, as text.
    low, high : float
        Accepted, inclusive.
    """

    variable: str
    measure: str
    real: str
    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies in the band; NaN does not."""
        return self.low <= value <= self.high


# Tolerances: of amplitudes 25 %, of correlations by lag, of shares of variance a factor, of relative errors 0.12.
_RELATIVE: Final = {"sd": 0.25, "q99": 0.25, "diurnal": 0.25, "seasonal": 0.25, "between_rel": 0.35, "night_sd": 0.35}
_ABSOLUTE: Final = {
    "acf_1h": 0.03,
    "acf_24h": 0.06,
    "acf_168h": 0.10,
    "acf_1d": 0.12,
    "acf_7d": 0.15,
    "share_hourly": 0.08,
    "lr": 0.12,
    "xgb": 0.12,
    "own": 0.12,
    "ratio": 0.12,
}
_FACTOR: Final = {"share_anom": 1.6, "share_seasonal": 1.6, "share_site": 2.0, "share_iav": 2.5}

# Median over 120 towers (shares: means), FLUXNET2015 half-hours averaged to hours, all rows.
REAL_TOWERS: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "GPP": {
            "sd": 5.855,
            "q99": 23.30,
            "diurnal": 17.79,
            "seasonal": 6.295,
            "between_rel": 0.334,
            "night_sd": 1.141,
            "acf_1h": 0.922,
            "acf_24h": 0.894,
            "acf_168h": 0.853,
            "acf_1d": 0.734,
            "acf_7d": 0.536,
            "share_hourly": 0.685,
            "share_anom": 0.0769,
            "share_seasonal": 0.1546,
            "share_site": 0.0839,
            "share_iav": 0.0147,
        },
        "NEE": {
            "sd": 5.182,
            "q99": 6.679,
            "diurnal": 16.68,
            "seasonal": 2.892,
            "between_rel": 0.203,
            "acf_1h": 0.898,
            "acf_24h": 0.863,
            "acf_168h": 0.813,
            "acf_1d": 0.645,
            "acf_7d": 0.408,
            "share_hourly": 0.842,
            "share_anom": 0.0677,
            "share_seasonal": 0.0576,
            "share_site": 0.0327,
            "share_iav": 0.0119,
        },
        "TA": {
            "sd": 8.47,
            "diurnal": 9.71,
            "seasonal": 19.21,
            "between_rel": 0.993,
            "acf_1h": 0.992,
            "acf_24h": 0.922,
            "acf_168h": 0.814,
            "acf_1d": 0.752,
            "acf_7d": 0.132,
        },
        "VPD": {
            "sd": 4.837,
            "q99": 22.15,
            "diurnal": 13.07,
            "seasonal": 7.542,
            "between_rel": 0.834,
            "acf_1h": 0.969,
            "acf_24h": 0.773,
            "acf_168h": 0.597,
            "acf_1d": 0.622,
            "acf_7d": 0.104,
        },
        "SW_IN": {
            "sd": 247.2,
            "q99": 892.5,
            "diurnal": 762.9,
            "seasonal": 218.6,
            "between_rel": 0.167,
            "acf_1h": 0.935,
            "acf_24h": 0.858,
            "acf_168h": 0.822,
            "acf_1d": 0.328,
            "acf_7d": 0.016,
        },
    }
)

# Baselines on 20 towers held out at random from the 120, features TA, VPD, SW_IN, potential radiation, IGBP.
REAL_ERRORS: Final[Mapping[str, Mapping[str, float]]] = MappingProxyType(
    {
        "GPP": {"lr": 0.791, "xgb": 0.658, "own": 0.439, "ratio": 0.833},
        "NEE": {"lr": 0.820, "xgb": 0.658, "own": 0.455, "ratio": 0.803},
    }
)

# All 13 covariates: median RMSE over domains of the published lr and xgb over the median standard deviation, least and
# largest of the three scenarios; widened by 0.10.
PUBLISHED_ERRORS: Final = (
    Band("GPP", "lr", "0.65 to 0.91", 0.55, 1.01),
    Band("GPP", "xgb", "0.39 to 0.59", 0.29, 0.69),
    Band("NEE", "lr", "0.68 to 0.99", 0.58, 1.09),
    Band("NEE", "xgb", "0.44 to 0.63", 0.34, 0.73),
    Band("ET", "lr", "0.68 to 0.69", 0.58, 0.79),
    Band("ET", "xgb", "0.46 to 0.53", 0.36, 0.63),
)

# Hourly spread: published, the three scenarios. Daily memory: six daily FLUXNET2015 files, range widened by 0.15. The
# synthetic acf_7d lies below the real range (a known difference), so only its sign and order are asked for.
EVAPOTRANSPIRATION: Final = (
    Band("ET", "sd", "0.087 to 0.108", 0.065, 0.135),
    Band("ET", "acf_1d", "0.70 to 0.81", 0.55, 0.96),
    Band("ET", "acf_7d", "0.43 to 0.65", 0.15, 0.80),
)


def _band(variable: str, measure: str, real: float) -> Band:
    if measure in _RELATIVE:
        width = _RELATIVE[measure] * real
        low, high = real - width, real + width
    elif measure in _ABSOLUTE:
        low, high = real - _ABSOLUTE[measure], real + _ABSOLUTE[measure]
    else:
        low, high = real / _FACTOR[measure], real * _FACTOR[measure]
    return Band(variable, measure, f"{real:.4g}", low, high)


def measure_bands() -> tuple[Band, ...]:
    """Bands on the measures of every variable."""
    real = tuple(_band(name, key, value) for name, part in REAL_TOWERS.items() for key, value in part.items())
    return (*real, *EVAPOTRANSPIRATION)


def error_bands() -> tuple[Band, ...]:
    """Bands on the errors of the baselines with the covariates that FLUXNET2015's open edition has."""
    return tuple(_band(name, key, value) for name, part in REAL_ERRORS.items() for key, value in part.items())


def twin_facts() -> tuple[SiteFacts, ...]:
    """The 120 towers behind the real numbers: simulated at their coordinates they are the fair comparison."""
    return tuple(facts for _, facts in sorted(load_sites().items()) if facts.utc_offset_store_h is not None)
