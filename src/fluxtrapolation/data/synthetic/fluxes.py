"""Carbon and water fluxes of one tower, hour by hour, free of measurement noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from fluxtrapolation.data.synthetic.climate import Climate
from fluxtrapolation.data.synthetic.phenology import LandState
from fluxtrapolation.data.synthetic.recursion import smooth
from fluxtrapolation.data.synthetic.traits import Traits
from fluxtrapolation.data.synthetic.weather import HOURS, Array, Weather, saturation_pressure, to_hours
from fluxtrapolation.schema import LATENT_HEAT_OF_VAPORISATION

PHOTONS_PER_JOULE: Final = 2.06
"""Photosynthetic photons per shortwave energy, umol J-1 (45 % of the energy, 4.57 umol J-1; Meek et al. 1984)."""
LLOYD_TAYLOR_T0: Final = -46.02
"""Pole of the respiration function, degC (227.13 K; Lloyd and Taylor 1994)."""
COLDEST_RESPIRING: Final = -40.0
"""Temperatures below are clamped here: the real minimum, -52.9 degC, lies beyond the pole."""
REFERENCE_C: Final = 15.0
CO2_PPM: Final = 410.0
PSYCHROMETRIC: Final = 0.66
"""hPa K-1 at sea level."""
PRIESTLEY_TAYLOR: Final = 1.26
STEFAN_BOLTZMANN: Final = 5.67e-8
_AIR_HEAT: Final = 1.2 * 1005.0
"""Density times heat capacity of air, J m-3 K-1."""


@dataclass(frozen=True, slots=True)
class TrueFluxes:
    """Noise-free fluxes and net radiation, float32, shape (n,): umol m-2 s-1, mm h-1 and W m-2."""

    gpp: Array
    reco: Array
    et: Array
    net_radiation: Array

    @property
    def nee(self) -> Array:
        """Respiration less assimilation, umol m-2 s-1."""
        return np.asarray(self.reco - self.gpp)


def lloyd_taylor(ta: Array, activation: float) -> Array:
    """Temperature response of respiration, 1 at 15 degC (Lloyd and Taylor 1994, eq. 11).

    ``exp(E0 (1 / (Tref - T0) - 1 / (T - T0)))`` with ``T0 = -46.02`` degC; ``T`` is clamped at -40 degC, short of the
    pole.

    Parameters
    ----------
    ta : ndarray
        degC.
    activation : float
        E0, K.
    """
    t = np.maximum(ta, np.float32(COLDEST_RESPIRING))
    reference = 1.0 / (REFERENCE_C - LLOYD_TAYLOR_T0)
    return np.asarray(
        np.exp(np.float32(activation) * (np.float32(reference) - 1.0 / (t - np.float32(LLOYD_TAYLOR_T0))))
    )


def absorbed_share(lai: Array) -> Array:
    """Share of light a canopy absorbs, Beer's law with k = 0.5 (Monsi and Saeki 1953)."""
    return np.asarray(1.0 - np.exp(np.float32(-0.5) * lai), dtype=np.float32)


def water_limit(soil_water: Array, traits: Traits) -> Array:
    """Limit of assimilation by soil water: 0 when dry, 1 above the tower's threshold (Feddes et al. 1978)."""
    return np.asarray(np.clip(soil_water / np.float32(traits.water_threshold), 0.0, 1.0), dtype=np.float32)


def assimilation(
    weather: Weather, land: LandState, traits: Traits, climate: Climate, capacity: Array, potential: Array
) -> Array:
    """Gross primary production, umol m-2 s-1.

    Rectangular hyperbola of absorbed photons Q (Michaelis and Menten form; Falge et al. 2002)::

        GPP = a Q P / (a Q + P),   P = Amax * c * fT * fS * fW * fD,   a = a0 (1 + 0.35 cloud)

    ``c`` leaf share and capacity of the year, ``fT`` a peak at the optimum temperature (June et al. 2004, width 17 K)
    that follows the growth climate (Kattge and Knorr 2007), ``fS`` the delayed spring recovery of Mäkelä et al.
    (2004, 8 days), ``fW`` soil water, ``fD = 1 / (1 + VPD / D0)`` (Leuning 1995); ``a`` is larger in diffuse light
    (Gu et al. 2002).

    Parameters
    ----------
    capacity : ndarray, shape (days,)
        Slow and yearly anomalies of capacity about 1.
    potential : ndarray, shape (n,)
        Potential radiation: no assimilation without it.
    """
    cover = absorbed_share(land.lai)
    growth = climate.mat + 0.75 * climate.half_range
    optimum = np.float32(12.0 + 0.55 * growth + traits.topt_shift)
    recovery = np.clip((smooth(weather.tmean, 8.0) + 3.0) / np.float32(max(6.0, 0.55 * growth + 3.0)), 0.0, 1.0)
    full = float(1.0 - np.exp(-0.5 * max(traits.lai_max, 0.3)))
    daily = capacity * land.crop_capacity * (cover / np.float32(full)) * recovery * water_limit(land.soil_water, traits)
    peak = np.exp(-(((weather.ta - optimum) / np.float32(17.0)) ** 2))
    saturated = np.float32(traits.amax) * to_hours(daily) * peak / (1.0 + weather.vpd / np.float32(traits.vpd_half))
    yield_ = np.float32(traits.quantum_yield) * (1.0 + np.float32(0.35) * weather.cloud)
    drive = yield_ * np.float32(PHOTONS_PER_JOULE) * weather.sw_in * to_hours(cover)
    gpp = drive * saturated / np.maximum(drive + saturated, np.float32(1e-6))
    return np.asarray(np.where(potential > 0, gpp, 0.0), dtype=np.float32)


def respiration(weather: Weather, land: LandState, traits: Traits, gpp: Array, anomaly: Array) -> Array:
    """Ecosystem respiration, umol m-2 s-1: Lloyd and Taylor (1994) with moisture and recent assimilation.

    ``R = (H m(W) + k G) exp(E0 (1 / (Tref - T0) - 1 / (T - T0)))``: ``G`` assimilation of the last 12 days (after
    Migliavacca et al. 2011), ``m`` a moisture optimum; ``T`` between air and damped soil temperature. The heterotrophic
    base ``H`` returns the carbon left over, times the tower's imbalance: the site is near equilibrium, not at it.

    Parameters
    ----------
    anomaly : ndarray, shape (days,)
        Slow and yearly anomalies of the heterotrophic base about 1.
    """
    soil = smooth(weather.ta, 30.0)
    temperature = np.float32(0.45) * weather.ta + np.float32(0.55) * soil
    # Under snow the ground stays near freezing.
    blanket = to_hours(np.minimum(land.snow / 40.0, 1.0))
    temperature = np.where(temperature < -1.0, -1.0 * blanket + temperature * (1.0 - blanket), temperature)
    response = lloyd_taylor(np.asarray(temperature, dtype=np.float32), traits.activation)
    wet = 0.5 * (land.soil_water + land.top_water)
    optimum = 0.45 if traits.groundwater else 0.65
    moisture = np.clip(1.0 - 1.5 * (wet - optimum) ** 2, 0.0, 1.0) * np.minimum(1.0, 0.15 + wet / 0.35)
    recent = smooth(gpp.reshape(-1, HOURS).mean(axis=1), 12.0)
    autotrophic = np.float32(traits.autotrophic) * to_hours(recent) * response
    base = to_hours(moisture * anomaly) * response
    left_over = max(float(gpp.mean()) - float(autotrophic.mean()), 0.15)
    scale = traits.imbalance * left_over / max(float(base.mean()), 1e-3)
    return np.asarray(autotrophic + np.float32(scale) * base, dtype=np.float32)


def net_radiation(weather: Weather, land: LandState, traits: Traits) -> Array:
    """Net radiation, W m-2: shortwave less albedo (higher under snow), longwave after Allen et al. (1998, eq. 39)."""
    snowy = np.minimum(land.snow / 15.0, 1.0) * (0.42 if traits.height < 2.0 else 0.08)
    albedo = to_hours(traits.albedo + snowy)
    clear_sky = 1.0 - np.float32(0.75) * weather.cloud
    kelvin = weather.ta + np.float32(273.15)
    emitted = np.float32(STEFAN_BOLTZMANN) * kelvin**4
    loss = emitted * (np.float32(0.34) - np.float32(0.14 * 0.316) * np.sqrt(weather.vapour)) * clear_sky
    return np.asarray((1.0 - albedo) * weather.sw_in - loss, dtype=np.float32)


def evapotranspiration(weather: Weather, land: LandState, traits: Traits, gpp: Array, net: Array) -> Array:
    """Evapotranspiration, mm h-1: Penman-Monteith for leaves, Priestley-Taylor for the ground.

    Leaves (Monteith 1965): ``LE = (s A + rho cp D ga) / (s + g (1 + ga / gs))``; the stomata follow assimilation,
    ``gs = g0 + 1.6 (1 + g1 / sqrt(D)) GPP / Ca`` (Medlyn et al. 2011). Ground (Priestley and Taylor 1972; its share of
    the energy by Beer's law) is limited by the top layer's water, and nearly stops under snow. Bounded by 1.15 times
    the available energy plus 25 W m-2 of advection.
    """
    light = np.minimum(weather.sw_in / np.float32(20.0), 1.0)
    open_ground = to_hours(np.exp(np.float32(-0.5) * land.lai))
    stored = net * (np.float32(0.5) - np.float32(0.4) * light) * open_ground
    available = np.maximum(net - stored, 0.0)

    pressure = saturation_pressure(weather.ta)
    slope = np.float32(17.625 * 243.04) * pressure / (weather.ta + np.float32(243.04)) ** 2
    deficit_kpa = np.maximum(weather.vpd * np.float32(0.1), np.float32(0.05))
    molar = 1.6 * (1.0 + np.float32(traits.g1) / np.sqrt(deficit_kpa)) * gpp * np.float32(1.0 / CO2_PPM)
    closed = to_hours(0.004 * land.lai)
    stomata = (molar + closed) * np.float32(0.0245)  # mol m-2 s-1 to m s-1 at 25 degC and 1013 hPa
    # Log law with d = 0.66 h, z0 = 0.1 h, measured 2 m or a quarter of the height above the canopy.
    above = max(2.0, 0.25 * traits.height) + traits.height * 0.34
    drag = (0.41 / np.log(above / (0.1 * traits.height))) ** 2
    air = np.float32(drag) * np.maximum(weather.wind, np.float32(0.3))
    leaf_energy = available * (1.0 - open_ground)
    leaf = (slope * leaf_energy + np.float32(_AIR_HEAT) * weather.vpd * air) / (
        slope + np.float32(PSYCHROMETRIC) * (1.0 + air / stomata)
    )
    snow_free = np.where(land.snow > 2.0, 0.2, 1.0)
    ground = to_hours(land.top_water**1.5 * snow_free) * open_ground * available
    ground *= np.float32(PRIESTLEY_TAYLOR) * slope / (slope + np.float32(PSYCHROMETRIC))
    # Wet leaves after rain evaporate without stomata: the rainy day lifts the leaf term toward the energy limit.
    wet_leaf = to_hours(np.minimum(weather.precipitation / 4.0, 1.0) * 0.2) * leaf_energy
    energy = leaf + ground + wet_leaf
    energy = np.minimum(energy, np.float32(1.15) * available + np.float32(25.0))
    return np.asarray(energy * np.float32(3600.0 / LATENT_HEAT_OF_VAPORISATION), dtype=np.float32)
