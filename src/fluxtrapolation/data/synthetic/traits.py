"""What no covariate tells of a tower: the traits of its vegetation, soil, management and instruments.

Each trait is the mean of its IGBP class times a chance of its own, drawn once per tower. They make the fluxes at equal
weather differ between towers, P(Y|X), as real towers' do.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np


@dataclass(frozen=True, slots=True)
class PlantType:
    """Means of an IGBP class.

    Attributes
    ----------
    amax : float
        Canopy assimilation at light saturation and full leaf, umol m-2 s-1.
    lai_max : float
        Leaf area index at its peak, m2 m-2.
    lai_min : float
        Share of the leaf area that stays all year.
    root_mm : float
        Plant-available water in the root zone at field capacity, mm.
    height : float
        Canopy height, m.
    g1 : float
        Slope of stomatal conductance, kPa^0.5 (Medlyn et al. 2011; Lin et al. 2015).
    albedo : float
        Of the closed canopy.
    """

    amax: float
    lai_max: float
    lai_min: float
    root_mm: float
    height: float
    g1: float
    albedo: float


# Round figures in the order of published ones, not copies of a table: ranking of Amax among the classes after the light
# responses of Falge et al. (2002), all scaled by one factor so that the simulated GPP has the spread of real towers
# (docs/synthetic.md; at the optimum without stress, hence above fits to field data); leaf area after Asner et al.
# (2003); water after the rooting depths of Jackson et al. (1996); g1 after Lin et al. (2015); albedo after Cescatti et
# al. (2012).
PLANT_TYPES: Final = MappingProxyType(
    {
        "ENF": PlantType(53.0, 4.2, 0.80, 150.0, 20.0, 2.6, 0.09),
        "EBF": PlantType(59.0, 4.8, 0.85, 220.0, 25.0, 3.6, 0.12),
        "DNF": PlantType(43.0, 3.4, 0.15, 110.0, 15.0, 2.6, 0.11),
        "DBF": PlantType(69.0, 5.0, 0.10, 170.0, 20.0, 4.2, 0.14),
        "MF": PlantType(59.0, 4.6, 0.45, 160.0, 20.0, 3.4, 0.12),
        "CSH": PlantType(30.0, 2.2, 0.55, 90.0, 1.5, 3.2, 0.15),
        "OSH": PlantType(18.0, 1.2, 0.40, 80.0, 0.8, 3.2, 0.19),
        "WSA": PlantType(33.0, 1.9, 0.45, 120.0, 8.0, 3.4, 0.15),
        "SAV": PlantType(28.0, 1.6, 0.30, 110.0, 5.0, 3.4, 0.17),
        "GRA": PlantType(46.0, 3.0, 0.20, 85.0, 0.4, 4.4, 0.20),
        "WET": PlantType(33.0, 2.8, 0.25, 120.0, 0.8, 4.2, 0.14),
        "CRO": PlantType(73.0, 4.6, 0.05, 120.0, 0.9, 4.6, 0.19),
        "URB": PlantType(20.0, 1.4, 0.25, 70.0, 6.0, 3.5, 0.15),
        "CVM": PlantType(53.0, 3.4, 0.20, 110.0, 2.0, 4.2, 0.17),
        "SNO": PlantType(3.0, 0.3, 0.20, 40.0, 0.1, 4.0, 0.30),
        "BSV": PlantType(7.0, 0.4, 0.20, 50.0, 0.2, 3.5, 0.25),
        "WAT": PlantType(8.0, 1.0, 0.20, 150.0, 0.3, 4.0, 0.08),
    }
)

CROPS: Final = ("winter cereal", "summer row crop", "oilseed")
"""Kinds of crop year; a cropland tower changes among them."""


@dataclass(frozen=True, slots=True)
class Traits:
    """The hidden traits of one tower (units as in :class:`PlantType` where the name is the same).

    Attributes
    ----------
    quantum_yield : float
        Initial slope of the light response, mol CO2 per mol absorbed photons.
    vpd_half : float
        Leuning's (1995) D0: vapour pressure deficit that halves assimilation, hPa.
    topt_shift : float
        Optimum temperature less that expected from the growth climate, K.
    water_threshold : float
        Relative soil moisture below which assimilation is limited.
    activation : float
        E0 of Lloyd and Taylor (1994), K.
    autotrophic : float
        Respiration at 15 degC per unit of recent assimilation.
    imbalance : float
        Heterotrophic respiration over that which would balance the carbon of the site.
    energy_closure : float
        Measured over true evapotranspiration (Wilson et al. 2002: energy balance closes to 0.8).
    groundwater, irrigated, managed, c4 : bool
        Roots reach the water table; the crop is irrigated; the grass is mown; the plants are C4.
    green_bias, water_bias, lst_bias : float
        What the satellite sees beside the tower's footprint: factor on greenness, shift of NDWI, shift of LST (K).
    year_sd : float
        Standard deviation of the yearly anomaly of capacity (logarithm).
    rotation : float
        Chance that the crop changes from year to year.
    """

    amax: float
    lai_max: float
    lai_min: float
    root_mm: float
    height: float
    g1: float
    albedo: float
    quantum_yield: float
    vpd_half: float
    topt_shift: float
    water_threshold: float
    activation: float
    autotrophic: float
    imbalance: float
    energy_closure: float
    groundwater: bool
    irrigated: bool
    managed: bool
    c4: bool
    green_bias: float
    water_bias: float
    lst_bias: float
    year_sd: float
    rotation: float


def draw_traits(igbp: str, *, aridity: float, mat: float, rng: np.random.Generator) -> Traits:
    """Draw the hidden traits of one tower.

    Parameters
    ----------
    igbp : str
    aridity : float
        Precipitation over potential evaporation; sparse leaves where it is low.
    mat : float
        Mean annual temperature, degC; low capacity where it is cold.
    rng : numpy.random.Generator
    """
    kind = PLANT_TYPES[igbp]
    z = rng.normal(size=18)
    chance = rng.random(5)
    groundwater = igbp == "WET" or igbp == "WAT" or (igbp in ("CRO", "GRA", "DBF") and chance[0] < 0.15)
    irrigated = igbp == "CRO" and chance[1] < (0.65 if aridity < 0.6 else 0.1)
    c4 = (igbp in ("GRA", "SAV", "WSA") and mat > 14.0 and chance[2] < 0.5) or (igbp == "CRO" and chance[2] < 0.2)
    wet = 1.0 if groundwater or irrigated else float(np.clip(0.5 + 0.6 * aridity, 0.5, 1.0))
    warm = float(np.clip(0.60 + 0.05 * (mat + 4.0), 0.5, 1.0))
    vigour = 0.34 * z[0]
    return Traits(
        amax=kind.amax * warm * float(np.exp(vigour)) * (1.2 if c4 else 1.0),
        lai_max=kind.lai_max * wet * warm * float(np.exp(0.5 * vigour + 0.15 * z[1])),
        lai_min=float(np.clip(kind.lai_min * np.exp(0.15 * z[2]), 0.02, 0.95)),
        root_mm=kind.root_mm * float(np.exp(0.35 * z[3])),
        height=kind.height * float(np.exp(0.3 * z[4])),
        g1=kind.g1 * float(np.exp(0.25 * z[5])) * (0.5 if c4 else 1.0),
        albedo=float(np.clip(kind.albedo + 0.015 * z[6], 0.05, 0.4)),
        quantum_yield=0.05 * float(np.exp(0.18 * z[7])),
        vpd_half=16.0 * float(np.exp(0.3 * z[8])) * (1.5 if c4 else 1.0),
        topt_shift=2.5 * float(z[9]) + (4.0 if c4 else 0.0),
        water_threshold=float(np.clip(0.5 + 0.12 * z[10], 0.2, 0.8)),
        activation=float(np.clip(165.0 + 40.0 * z[11], 80.0, 300.0)),
        autotrophic=float(np.clip(0.45 + 0.06 * z[12], 0.25, 0.6)),
        imbalance=float(np.exp(-0.36 + 0.52 * z[13])),
        energy_closure=float(np.clip(0.84 + 0.08 * z[14], 0.6, 1.05)),
        groundwater=groundwater,
        irrigated=irrigated,
        managed=igbp == "GRA" and aridity > 0.7 and mat > 3.0 and bool(chance[3] < 0.6),
        c4=c4,
        green_bias=float(np.exp(0.14 * z[15])),
        water_bias=0.04 * float(z[16]),
        lst_bias=0.8 * float(z[17]),
        year_sd=0.28 if igbp in ("CRO", "GRA", "OSH", "SAV") else 0.19,
        rotation=0.75 if igbp in ("CRO", "CVM") else 0.0,
    )
