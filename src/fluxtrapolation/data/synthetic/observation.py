"""What instruments make of the truth: satellite covariates, gaps, gap-filling and noise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.data.synthetic.fluxes import TrueFluxes, absorbed_share
from fluxtrapolation.data.synthetic.phenology import LandState
from fluxtrapolation.data.synthetic.recursion import red_noise, smooth
from fluxtrapolation.data.synthetic.traits import Traits
from fluxtrapolation.data.synthetic.weather import HOURS, Array, Weather, to_hours
from fluxtrapolation.schema import LATENT_HEAT_OF_VAPORISATION

_MM_PER_WATT: Final = 3600.0 / LATENT_HEAT_OF_VAPORISATION
_LAPLACE: Final = float(np.sqrt(0.5))
"""Scale of a Laplace variable of unit standard deviation."""


def satellite(weather: Weather, land: LandState, traits: Traits, rng: np.random.Generator) -> dict[str, Array]:
    """Gap-free satellite covariates, one value a day on each of its hours, float32, shape (n,).

    ``EVI`` and ``NIRv`` rise with absorbed light (Huete et al. 2002; Badgley et al. 2017), ``NDWI_SWIR2`` with leaf
    water and the wet top of the soil (Gao 1996); snow lowers the first two and raises the last. They are smoothed over
    about a week as composites are, see a pixel rather than the footprint (the tower's biases), and carry noise. ``LST``
    by day exceeds the air by what the sun brings and evaporation does not take; by night it lies below under clear sky.
    """
    days = land.lai.size
    snow = np.minimum(land.snow / 10.0, 1.0)
    green = absorbed_share(land.lai) * np.float32(traits.green_bias)
    tall = 0.6 if traits.height > 8.0 else 0.85
    noise = [red_noise(rng, days, 0.8) for _ in range(3)]
    evi = (0.09 + 0.62 * tall * green + 0.012 * noise[0]) * (1.0 - 0.45 * snow)
    nirv = (0.025 + 0.36 * tall * green**1.2 + 0.008 * noise[1]) * (1.0 - 0.5 * snow)
    ndwi = -0.05 + 0.5 * green * (0.6 + 0.4 * land.soil_water) + 0.12 * land.top_water + traits.water_bias
    ndwi = ndwi * (1.0 - snow) + 0.6 * snow + 0.02 * noise[2]
    out = {"EVI": smooth(evi, 5.0), "NIRv": smooth(nirv, 5.0), "NDWI_SWIR2": smooth(ndwi, 5.0)}

    cloud = weather.cloud.reshape(days, HOURS).mean(axis=1)
    heated = 0.028 * weather.sw_day * (1.0 - 0.55 * green) * (1.0 - 0.5 * land.soil_water) * (1.0 - 0.7 * snow)
    lst = {
        "LST_Day": weather.tmax - 1.0 + heated + traits.lst_bias + 1.0 * red_noise(rng, days, 0.3),
        "LST_Night": weather.tmin - 1.8 * (1.0 - cloud) + 0.5 * traits.lst_bias + 0.8 * red_noise(rng, days, 0.3),
    }
    # A composite of some days cannot follow each cloud.
    out |= {name: smooth(values, 1.5) for name, values in lst.items()}
    return {name: np.repeat(np.asarray(values, dtype=np.float32), HOURS) for name, values in out.items()}


# Standard deviation of a half-hour's random error of the CO2 flux F, umol m-2 s-1, as intercept and slope on |F|, for
# F > 0 and for F < 0: the linear fits of Richardson et al. (2006) for forests and for a grassland.
_NEE_ERROR: Final = {"forest": ((0.62, 0.63), (1.42, 0.19)), "grassland": ((0.38, 0.30), (0.47, 0.12))}


@dataclass(frozen=True, slots=True)
class Observed:
    """Targets as a store holds them, float32, shape (n,), with the flag ``qc`` (int8): 1 measured, 0 gap-filled."""

    gpp: Array
    nee: Array
    et: Array
    qc: NDArray[np.int8]


def gaps(weather: Weather, potential: Array, rng: np.random.Generator) -> NDArray[np.int8]:
    """Draw the flag: outages of days to weeks, single bad hours (more in rain), and calm nights.

    Calm nights fall to the u* filter: at night the chance to be dropped rises as the wind sinks (Papale et al. 2006).
    """
    n = weather.ta.size
    dark = potential <= 0.0
    outage = red_noise(rng, n, 0.992) > np.float32(rng.normal(1.15, 0.25))
    chance = np.where(
        dark, 0.05 + 0.8 / (1.0 + np.exp(np.minimum((weather.wind - np.float32(2.3)) / 0.35, 30.0))), 0.05
    )
    chance = chance + 0.5 * np.repeat(np.minimum(weather.precipitation / 15.0, 0.7), HOURS)
    lost = outage | (rng.random(n, dtype=np.float32) < chance)
    return np.asarray(~lost, dtype=np.int8)


def _laplace(rng: np.random.Generator, n: int) -> Array:
    """Laplace noise of unit standard deviation."""
    sign = np.where(rng.random(n, dtype=np.float32) < 0.5, np.float32(-_LAPLACE), np.float32(_LAPLACE))
    return np.asarray(sign * rng.standard_exponential(n, dtype=np.float32))


def observe(truth: TrueFluxes, traits: Traits, qc: NDArray[np.int8], rng: np.random.Generator) -> Observed:
    """Measure the true fluxes where ``qc`` is 1 and fill the other hours.

    Measured: the truth plus Laplace noise whose standard deviation grows with the flux, from the forest and grassland
    fits of Richardson et al. (2006), divided by sqrt(2) for the mean of two half-hours. Evapotranspiration also misses
    a share of the energy (the tower's closure). Filled: a smooth estimate, the truth times a slow error plus a slow
    offset, as marginal distribution sampling gives (Reichstein et al. 2005). GPP is a *partitioned* product, as in the
    real data: modelled respiration less NEE, hence with NEE's noise, negative at times, and scattered about 0 at night.
    """
    n = qc.size
    tall = traits.height > 3.0
    measured = qc == 1
    half = np.float32(np.sqrt(0.5))
    closure = traits.energy_closure * np.exp(0.20 * red_noise(rng, n // HOURS, 0.97))
    nee, le = truth.nee, truth.et * to_hours(closure) * np.float32(1.0 / _MM_PER_WATT)
    (up0, up), (down0, down) = _NEE_ERROR["forest" if tall else "grassland"]
    sd_nee = half * np.where(nee > 0, up0 + up * nee, down0 - down * nee).astype(np.float32)
    # A dead winter's flux is measured more precisely than the fit's intercept.
    sd_nee *= np.minimum(1.0, 0.25 + (truth.gpp + truth.reco) / np.float32(4.0))
    sd_le = half * (np.float32(12.0 if tall else 8.0) + np.float32(0.20) * np.abs(le))
    sd_le *= np.minimum(1.0, 0.2 + np.abs(le) / np.float32(40.0))

    slow = red_noise(rng, n, 0.985)
    filled_nee = nee * (1.0 + np.float32(0.12) * slow) + np.float32(0.35) * sd_nee * red_noise(rng, n, 0.95)
    filled_le = le * (1.0 + np.float32(0.15) * red_noise(rng, n, 0.985))
    seen_nee = np.where(measured, nee + sd_nee * _laplace(rng, n), filled_nee)
    seen_le = np.where(measured, le + sd_le * _laplace(rng, n), filled_le)
    partitioned = truth.reco * (1.0 + np.float32(0.22) * red_noise(rng, n, 0.97))
    return Observed(
        gpp=np.asarray(partitioned - seen_nee, dtype=np.float32),
        nee=np.asarray(seen_nee, dtype=np.float32),
        et=np.asarray(seen_le * np.float32(_MM_PER_WATT), dtype=np.float32),
        qc=qc,
    )
