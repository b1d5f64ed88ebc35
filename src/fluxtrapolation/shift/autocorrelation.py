"""Autocorrelation of series with gaps, and how many independent values they are worth.

Fluxes of one tower follow one another: the next hour says little that is new. The autocorrelation function (ACF) shows
for how long, and the effective sample size says to how many independent values the series comes. No other measure of
the package uses these numbers; they are for the reader.

With a the mean of the n values that are there, and the sums over the pairs of which both values are there, N_k of them,

    rho_k = [sum (x_t - a)(x_(t+k) - a) / N_k] / [sum (x_t - a)^2 / n]

(averages over valid samples only, doi:10.1186/s13634-024-01108-4). With gaps rho_k is not bound to [-1, 1].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from fluxtrapolation.errors import DataError, MissingColumnError, examples
from fluxtrapolation.scenarios import Part
from fluxtrapolation.schema import SITE, TIME

Float64 = NDArray[np.float64]

STEP_HOURS: Final[Mapping[str, int]] = {"hourly": 1, "daily": 24, "weekly": 168}
LAGS: Final[Mapping[str, int]] = {"hourly": 14 * 24, "daily": 120, "weekly": 104}
"""Lags shown: two weeks of hours, four months of days, two years of weeks."""
MEMORY: Final[Mapping[str, int]] = {"hourly": 366 * 24, "daily": 3 * 366, "weekly": 6 * 53}
"""Lags in which the sum for the effective sample size may end."""
LEAST_SHARE: Final = 0.5
"""Share of a day's or week's hours that must be there."""
LEAST_VALUES: Final = 30
LEAST_PAIRS: Final = 10
ROUNDING: Final = 1e-12
"""Relative spread below which values are the same but for rounding, as means of a constant are."""

TABLE: Final = {
    SITE: pl.String,
    "series": pl.String,
    "scale": pl.String,
    "lag": pl.Int64,
    "acf": pl.Float64,
    "n": pl.Int64,
}
EFFECTIVE: Final = {
    SITE: pl.String,
    "series": pl.String,
    "scale": pl.String,
    "n": pl.Int64,
    "n_effective": pl.Float64,
    "n_effective_plain": pl.Float64,
    "integrated_time": pl.Float64,
    "last_lag": pl.Int64,
    "reason": pl.String,
}


@dataclass(frozen=True, eq=False)
class Autocorrelation:
    """Autocorrelation and effective sample size of the series of each tower.

    Attributes
    ----------
    table : pl.DataFrame
        site_id, series, scale (hourly, daily, weekly), lag (in steps of the scale), acf, n (pairs). Lags with fewer
        than 10 pairs are left out.
    effective : pl.DataFrame
        site_id, series, scale, n (values that are there), n_effective, n_effective_plain, integrated_time (steps),
        last_lag (of the sum), and a reason where there is no value or it needs a word. See :func:`effective_size`.
    record : dict
    """

    table: pl.DataFrame
    effective: pl.DataFrame
    record: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the effective sample sizes, their medians over towers, and the record."""
        middle = (
            self.effective.filter(pl.col("n_effective").is_not_null())
            .group_by("series", "scale", maintain_order=True)
            .agg(
                pl.len().alias("towers"),
                pl.col("n").median(),
                pl.col("n_effective").median(),
                (pl.col("n_effective") / pl.col("n")).median().alias("share"),
            )
        )
        return {
            "effective": self.effective.to_dicts(),
            "median_over_towers": middle.to_dicts(),
            "record": self.record,
        }


def autocorrelation(
    part: Part,
    y_pred: ArrayLike | None = None,
    *,
    measured: bool = True,
    anomalies: bool = True,
    scales: Sequence[str] = ("hourly", "daily", "weekly"),
) -> Autocorrelation:
    """Autocorrelation of a part's target, and of the residuals of predictions, tower by tower.

    Parameters
    ----------
    part : Part
    y_pred : array_like, shape (n,), optional
        Predictions of the part's rows; adds the series ``residual`` (observed minus predicted).
    measured : bool
        Only rows with ``qc == 1``: what was filled from its neighbours repeats them. False takes every observation.
    anomalies : bool
        Add ``<target> anomaly``: the target less its tower's mean of the same month and hour of day. The cycles of day
        and year make the plain hourly ACF swing below zero within half a day, where the sum for the effective sample
        size ends, so that the plain hourly figure counts far too many values.
    scales : sequence of str

    Returns
    -------
    Autocorrelation

    Raises
    ------
    DataError
        If the predictions do not fit, or a scale is not known.
    """
    values = part.y.astype(np.float64)
    kept = np.isfinite(values) & ((part.qc == 1) if measured else True)
    series = {part.target: np.where(kept, values, np.nan)}
    if anomalies:
        series[f"{part.target} anomaly"] = _anomaly(series[part.target], part.time, part.site_codes)
    if y_pred is not None:
        predicted = np.asarray(y_pred, dtype=np.float64)
        if predicted.shape != values.shape:
            raise DataError(
                f"The predictions have shape {predicted.shape}; the {part.name} part has {len(part):,} rows. Give one "
                "prediction per row."
            )
        series["residual"] = np.where(kept & np.isfinite(predicted), values - predicted, np.nan)
    frame = pl.DataFrame({SITE: part.site, TIME: pl.Series(part.time.astype("datetime64[us]")), **series})
    found = autocorrelation_of(
        frame, list(series), scales=scales, resolution=part.provenance.get("resolution", "hourly")
    )
    record = {"part": part.name, "target": part.target, "scenario": part.scenario, "measured": measured}
    return Autocorrelation(found.table, found.effective, found.record | record)


def autocorrelation_of(
    frame: pl.DataFrame,
    columns: Sequence[str],
    *,
    scales: Sequence[str] = ("hourly", "daily", "weekly"),
    resolution: str = "hourly",
) -> Autocorrelation:
    """Autocorrelation of columns of a table, tower by tower.

    Parameters
    ----------
    frame : pl.DataFrame
        site_id, time, and the columns; null or NaN where there is no value. Rows may lack: a time that is not there is
        a gap. Days and ISO weeks (Monday to Sunday) are means of the values that are there, if these are at least half
        of the day's or week's.
    columns : sequence of str
    scales : sequence of str
        Of hourly, daily, weekly; finer ones than the resolution are left out.
    resolution : {'hourly', 'daily'}
        Of the rows.

    Raises
    ------
    MissingColumnError, DataError
        If a column is lacking, a scale is not known, or a tower has a time twice.
    """
    lacking = [name for name in (SITE, TIME, *columns) if name not in frame.columns]
    if lacking:
        raise MissingColumnError(f"The table lacks {examples(lacking)}. It has: {examples(frame.columns, 8)}.")
    unknown = [scale for scale in scales if scale not in STEP_HOURS]
    if unknown:
        raise DataError(f"There is no scale {unknown[0]!r}. Known: {', '.join(STEP_HOURS)}.")
    step = STEP_HOURS[resolution]
    wanted = [scale for scale in scales if STEP_HOURS[scale] >= step]
    tables: list[pl.DataFrame] = []
    effective: list[dict[str, Any]] = []
    for (site,), rows in frame.sort(SITE, TIME).group_by([SITE], maintain_order=True):
        at = rows[TIME].to_numpy().astype("datetime64[h]").astype(np.int64) // step
        if (np.diff(at) == 0).any():
            raise DataError(f"{site} has {int((np.diff(at) == 0).sum()):,} times twice. Give one row for each time.")
        for name in columns:
            values = rows[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
            for scale in wanted:
                steps, grid = _grid(at, values, step, STEP_HOURS[scale])
                one = _one(steps, grid, scale)
                label = {SITE: str(site), "series": name, "scale": scale}
                effective.append(label | one[1])
                if one[0] is not None:
                    tables.append(one[0].with_columns(**{key: pl.lit(value) for key, value in label.items()}))
    table = (
        pl.concat(tables).select(pl.col(n).cast(t) for n, t in TABLE.items()) if tables else pl.DataFrame(schema=TABLE)
    )
    record = {"scales": wanted, "least_share": LEAST_SHARE, "least_values": LEAST_VALUES, "resolution": resolution}
    return Autocorrelation(table, pl.DataFrame(effective, schema=EFFECTIVE), record)


def _anomaly(values: Float64, time: NDArray[np.datetime64], codes: NDArray[Any]) -> Float64:
    """Values less their tower's mean of the same month and hour of day."""
    month = time.astype("datetime64[M]").astype(np.int64) % 12
    hour = time.astype("datetime64[h]").astype(np.int64) % 24
    cell = (codes.astype(np.int64) * 12 + month) * 24 + hour
    there = np.isfinite(values)
    size = int(cell.max(initial=0)) + 1
    count = np.bincount(cell[there], minlength=size)
    total = np.bincount(cell[there], values[there], minlength=size)
    return np.asarray(values - (total / np.maximum(count, 1))[cell])


def _grid(at: NDArray[np.int64], values: Float64, step: int, wanted: int) -> tuple[int, Float64]:
    """Values on a grid without holes (NaN in gaps), aggregated to ``wanted`` hours; and fine steps in one of its."""
    ratio = wanted // step
    # 1970-01-01 was a Thursday: weeks begin three days before.
    shift = 72 // step if wanted == 168 else 0
    block = (at + shift) // ratio
    place = block - block[0] if len(block) else block
    size = int(place[-1]) + 1 if len(place) else 0
    there = np.isfinite(values)
    count = np.bincount(place[there], minlength=size)
    total = np.bincount(place[there], values[there], minlength=size)
    enough = count >= max(LEAST_SHARE * ratio, 1)
    return ratio, np.where(enough, total / np.maximum(count, 1), np.nan)


def _one(ratio: int, grid: Float64, scale: str) -> tuple[pl.DataFrame | None, dict[str, Any]]:
    """ACF table and effective size of one series; None where it cannot be estimated."""
    n = int(np.isfinite(grid).sum())
    if n < LEAST_VALUES:
        short = f"{n} values" if ratio == 1 else f"{n} {'days' if scale == 'daily' else 'weeks'} with half their hours"
        return None, _no_size(n, f"{short}; at least {LEAST_VALUES} are needed")
    rho, pairs = acf(grid, max(LAGS[scale], MEMORY[scale]))
    if not np.isfinite(rho[0]):
        return None, _no_size(n, "all values are the same, so there is no correlation")
    lags = np.arange(min(LAGS[scale] + 1, len(rho)))
    told = lags[pairs[lags] >= LEAST_PAIRS]
    table = pl.DataFrame({"lag": told, "acf": rho[told], "n": pairs[told]})
    if pairs[1] < LEAST_PAIRS:  # n is 30 or more, so there is a lag 1
        short = f"{pairs[1]} pairs of neighbouring values; at least {LEAST_PAIRS} are needed to sum over lags"
        return table, _no_size(n, short)
    return table, effective_size(rho, pairs).to_row()


def _no_size(n: int, reason: str) -> dict[str, Any]:
    return {
        "n": n,
        "n_effective": None,
        "n_effective_plain": None,
        "integrated_time": None,
        "last_lag": None,
        "reason": reason,
    }


def acf(values: ArrayLike, max_lag: int) -> tuple[Float64, NDArray[np.int64]]:
    """Autocorrelation of an evenly spaced series with gaps, by fast Fourier transform of values and mask.

    Parameters
    ----------
    values : array_like, shape (n,)
        NaN where there is no value.
    max_lag : int
        Largest lag; no more than n - 1 are given.

    Returns
    -------
    rho : ndarray of float64, shape (lags + 1,)
        NaN where no pair is there, and throughout where the series is empty or constant (to a relative 1e-12).
    pairs : ndarray of int64, shape (lags + 1,)
        Pairs of values of each lag; the first is the number of values.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    x = np.asarray(values, dtype=np.float64)
    there = np.isfinite(x)
    lags = min(max_lag, max(len(x) - 1, 0))
    if not there.any() or np.ptp(x[there]) <= ROUNDING * np.abs(x[there]).max():
        return np.full(lags + 1, np.nan), np.zeros(lags + 1, dtype=np.int64)
    centred = np.where(there, x - x[there].mean(), 0.0)
    centred /= np.abs(centred).max()  # so that rounding is relative to the values
    size = next_fast_len(len(x) + lags, real=True)
    spectrum, mask = rfft(centred, size), rfft(there.astype(np.float64), size)
    products = irfft(spectrum * spectrum.conj(), size)[: lags + 1]
    pairs = irfft(mask * mask.conj(), size)[: lags + 1].round().astype(np.int64)
    variance = products[0] / pairs[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = np.where(pairs > 0, products / pairs / variance, np.nan)
    rho[0] = 1.0
    return rho, pairs


@dataclass(frozen=True, slots=True)
class EffectiveSize:
    """How many independent values a series is worth; see :func:`effective_size`."""

    n: int
    n_effective: float
    n_effective_plain: float
    integrated_time: float
    last_lag: int
    reason: str | None

    def to_row(self) -> dict[str, Any]:
        """As a row of the table."""
        return {name: getattr(self, name) for name in self.__slots__}


def effective_size(rho: ArrayLike, pairs: ArrayLike) -> EffectiveSize:
    """Effective sample size for the mean, from an autocorrelation function.

    The sum over lags ends by Geyer's initial monotone sequence (1992, doi:10.1214/ss/1177011137): pairs of neighbouring
    lags, ``rho_2m + rho_(2m+1)``, are added while they are positive, none counting more than the one before. With

        integrated_time   = 1 + 2 sum rho_k                 n_effective_plain = n / integrated_time
        n_effective       = n / (1 + 2 sum rho_k N_k / n)

    (Bayley and Hammersley 1946, doi:10.2307/2983560). The variance of the mean of the n values that are there is the
    variance of one, over ``n_effective``: gaps leave fewer close pairs (N_k of them), so that the same number of values
    with gaps between them is worth more, which the plain form does not see. Without gaps the two differ only by
    ``N_k = n - k``. Neither may exceed n: negative correlation is not counted as gain.

    Parameters
    ----------
    rho, pairs : array_like, shape (lags + 1,)
        From :func:`acf`.
    """
    correlation, count = np.asarray(rho, dtype=np.float64), np.asarray(pairs, dtype=np.float64)
    n = int(count[0])
    usable = (count >= LEAST_PAIRS) & np.isfinite(correlation)
    end = len(usable) if usable.all() else int(np.argmin(usable))
    end -= end % 2
    if end < 2:
        raise DataError(f"An effective sample size needs lags 0 and 1 with {LEAST_PAIRS} pairs or more.")
    doubles = correlation[:end].reshape(-1, 2).sum(axis=1)
    positive = doubles > 0
    kept = len(positive) if positive.all() else int(np.argmin(positive))
    if kept == 0:  # lag 1 is below -1, which only gaps can do
        return EffectiveSize(n, float(n), float(n), 1.0, 0, "values alternate; counted as independent")
    falling = np.minimum.accumulate(doubles[:kept])
    # Where a pair is cut to the one before, both its lags are cut alike.
    cut = correlation[: 2 * kept] * np.repeat(falling / doubles[:kept], 2)
    time = max(-1.0 + 2.0 * float(cut.sum()), 1.0)
    inflation = max(1.0 + 2.0 * float(cut[1:] @ count[1 : 2 * kept]) / n, 1.0)
    reason = None
    if kept == len(positive):
        reason = f"still correlated at the last lag looked at ({2 * kept - 1}); the figure is an upper limit"
    return EffectiveSize(n, n / inflation, n / time, time, 2 * kept - 1, reason)
