"""What a set of towers looks like in numbers: the same measures for real and for synthetic towers.

The bands that the synthetic world must keep (``docs/synthetic.md``) are set on these measures, taken from real towers.
Everything works on a :class:`~fluxtrapolation.data.store.Store`, so real and simulated numbers come from one code.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.errors import DataError
from fluxtrapolation.schema import COVARIATES, QC, SOLAR_COVARIATES, TIME, ordered_igbp

if TYPE_CHECKING:
    from fluxtrapolation.data.store import Store

Floats = NDArray[np.float64]

OPEN_FEATURES = ("TA", "VPD", "SW_IN", *SOLAR_COVARIATES)
"""Covariates that FLUXNET2015's open Zarr edition has too (it has no satellite data)."""

_HARMONICS = 4
_YEAR_DAYS = 365.25


def correlation_at(x: Floats, lag: int) -> float:
    """Autocorrelation of ``x`` (shape (n,), NaN = missing) at ``lag`` steps, over pairs with both finite."""
    early, late = x[:-lag], x[lag:]
    both = np.isfinite(early) & np.isfinite(late)
    if both.sum() < 100 or early[both].std() == 0 or late[both].std() == 0:
        return float("nan")
    return float(np.corrcoef(early[both], late[both])[0, 1])


def climatology(day: Floats, x: Floats) -> Floats:
    """Smooth seasonal cycle: least-squares mean and four harmonics of the year, evaluated at every ``day``.

    Parameters
    ----------
    day : ndarray, shape (n,)
        Day counted from any origin.
    x : ndarray, shape (n,)
        Daily values, NaN = missing.
    """
    angle = 2.0 * np.pi * day[:, None] / _YEAR_DAYS * np.arange(1, _HARMONICS + 1)
    design = np.concatenate([np.ones((len(day), 1)), np.cos(angle), np.sin(angle)], axis=1)
    held = np.isfinite(x)
    weights, *_ = np.linalg.lstsq(design[held], x[held], rcond=None)
    return np.asarray(design @ weights)


def _by_day(frame: pl.DataFrame, name: str) -> tuple[NDArray[np.datetime64], Floats]:
    """Values as (days, 24), NaN where an hour is absent."""
    hour = frame[TIME].to_numpy().astype("datetime64[h]")
    first = hour[0].astype("datetime64[D]")
    position = (hour - first.astype("datetime64[h]")).astype(np.int64)
    days = int(position[-1]) // 24 + 1
    grid = np.full(days * 24, np.nan)
    grid[position] = frame[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return first + np.arange(days), grid.reshape(days, 24)


def series_measures(frame: pl.DataFrame, name: str) -> dict[str, float]:
    """Describe one variable of one tower.

    Parameters
    ----------
    frame : polars.DataFrame
        One tower's hours: ``time`` and ``name``.
    name : str

    Returns
    -------
    dict
        ``mean``, ``sd``, ``q99``; ``acf_1h``, ``acf_24h``, ``acf_168h`` of the hours; ``acf_1d``, ``acf_7d`` of daily
        anomalies from the smooth seasonal cycle; ``var_hourly`` (within the day), ``var_seasonal``, ``var_anom``
        (daily means about the seasonal cycle) and ``var_iav`` (yearly means, years with 300 days) in squared units;
        ``diurnal``: range of the mean day in the month with the largest one; ``seasonal``: range of the smooth cycle;
        ``peak_month`` (1 to 12) of the smooth cycle.
    """
    days, grid = _by_day(frame, name)
    flat = grid.reshape(-1)
    complete = np.asarray(np.isfinite(grid).all(axis=1))
    if complete.sum() < 300:
        return {}
    daily = grid.mean(axis=1)  # NaN unless the day is complete
    number = days.astype(np.int64).astype(np.float64)
    smooth = climatology(number, daily)
    anomaly = daily - smooth
    month = days.astype("datetime64[M]").astype(np.int64) % 12 + 1
    ranges = []
    for m in range(1, 13):
        rows = grid[(month == m) & complete]
        if len(rows) >= 10:
            ranges.append(float(np.ptp(rows.mean(axis=0))))
    year = days.astype("datetime64[Y]")
    yearly = [daily[(year == y) & complete].mean() for y in np.unique(year) if ((year == y) & complete).sum() >= 300]
    cycle_day = np.arange(365.0) + number[0]
    cycle = climatology(np.concatenate([number, cycle_day]), np.concatenate([daily, np.full(365, np.nan)]))[-365:]
    peak_day = days[0] + int(np.argmax(cycle))
    return {
        "mean": float(np.nanmean(flat)),
        "sd": float(np.nanstd(flat)),
        "q99": float(np.nanquantile(flat, 0.99)),
        "acf_1h": correlation_at(flat, 1),
        "acf_24h": correlation_at(flat, 24),
        "acf_168h": correlation_at(flat, 168),
        "acf_1d": correlation_at(anomaly, 1),
        "acf_7d": correlation_at(anomaly, 7),
        "var_hourly": float(np.mean((grid[complete] - daily[complete, None]) ** 2)),
        "var_seasonal": float(np.var(smooth[complete])),
        "var_anom": float(np.nanvar(anomaly)),
        "var_iav": float(np.var(yearly, ddof=1)) if len(yearly) >= 2 else float("nan"),
        "diurnal": max(ranges, default=float("nan")),
        "seasonal": float(np.ptp(cycle)),
        "peak_month": float(peak_day.astype("datetime64[M]").astype(np.int64) % 12 + 1),
    }


def site_measures(frame: pl.DataFrame, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """:func:`series_measures` of several variables of one tower; for GPP also ``night_mean`` and ``night_sd``."""
    result = {name: series_measures(frame, name) for name in names}
    if "GPP" in names and "SW_IN_POT_hourly" in frame.columns:
        night = frame.filter((pl.col("SW_IN_POT_hourly") <= 0) & pl.col("GPP").is_not_null())["GPP"].to_numpy()
        if night.size >= 100 and result["GPP"]:
            result["GPP"] |= {"night_mean": float(night.mean()), "night_sd": float(night.std())}
    return result


def measure_store(store: Store, names: Sequence[str], sites: Sequence[str] | None = None) -> pl.DataFrame:
    """Measures of every tower and variable of a store.

    Returns
    -------
    polars.DataFrame
        Columns ``site_id, variable, measure, value``; towers with fewer than 300 complete days are left out.
    """
    rows = []
    for record, frame in store.iter_sites(sites, [TIME, "SW_IN_POT_hourly", *names]):
        for name, values in site_measures(frame, names).items():
            rows += [(record.site_id, name, key, value) for key, value in values.items()]
    return pl.DataFrame(rows, schema=["site_id", "variable", "measure", "value"], orient="row")


def summarise(measures: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Median over towers of every measure, and what only a set of towers has.

    Added per variable: ``between_sd`` (sd of tower means), ``between_rel`` (the same over the median sd) and the
    shares of variance ``share_hourly``, ``share_anom``, ``share_seasonal``, ``share_iav``, ``share_site`` (means over
    towers, and the variance of tower means; they sum to 1 but for ``iav``, a part of ``anom``), ``q90_sd``.
    """
    result: dict[str, dict[str, float]] = {}
    for (name,), part in measures.group_by(["variable"], maintain_order=True):
        wide = part.pivot(on="measure", index="site_id", values="value")
        held = {c: wide[c].fill_null(float("nan")).to_numpy() for c in wide.columns if c != "site_id"}
        out = {key: float(np.nanmedian(values)) for key, values in held.items()}
        out["between_sd"] = float(np.nanstd(held["mean"]))
        out["between_rel"] = out["between_sd"] / out["sd"]
        out["q90_sd"] = float(np.nanquantile(held["sd"], 0.9))
        scales = {key: float(np.nanmean(held[f"var_{key}"])) for key in ("hourly", "anom", "seasonal", "iav")}
        total = scales["hourly"] + scales["anom"] + scales["seasonal"] + out["between_sd"] ** 2
        out |= {f"share_{key}": value / total for key, value in scales.items()}
        out["share_site"] = out["between_sd"] ** 2 / total
        result[str(name)] = out
    return result


@dataclass(frozen=True, slots=True)
class BaselineErrors:
    """Errors of two baselines on held-out towers, relative to the spread of the target there.

    Attributes
    ----------
    lr, xgb : float
        Median over held-out towers of RMSE (hourly, all rows) over the median of their standard deviations.
    own : float
        The same for boosted trees fit on other rows of the held-out towers themselves.
    ratio : float
        ``xgb / lr``: what non-linearity is worth.
    shift : float
        ``xgb / own``: what not having seen the tower costs.
    """

    lr: float
    xgb: float
    own: float

    @property
    def ratio(self) -> float:
        return self.xgb / self.lr

    @property
    def shift(self) -> float:
        return self.xgb / self.own


def _rows(
    store: Store, sites: Sequence[str], target: str, features: Sequence[str], per_site: int, *, good: bool, seed: int
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """At most ``per_site`` random rows of each tower: X with one-hot IGBP, y, tower number."""
    rng = np.random.default_rng(seed)
    classes = ordered_igbp(store.igbp_classes)
    xs, ys, numbers = [], [], []
    for number, site in enumerate(sites):
        frame = store.read_site(site, [*features, target, QC]).drop_nulls()
        if good:
            frame = frame.filter(pl.col(QC) == 1)
        if frame.height > per_site:
            frame = frame[np.sort(rng.choice(frame.height, per_site, replace=False))]
        x = frame.select(features).to_numpy().astype(np.float64)
        hot = np.zeros((len(x), len(classes)))
        hot[:, classes.index(store.record(site).igbp)] = 1.0
        xs.append(np.hstack([x, hot]))
        ys.append(frame[target].to_numpy().astype(np.float64))
        numbers.append(np.full(len(x), number))
    return np.concatenate(xs), np.concatenate(ys), np.concatenate(numbers)


def _median_rmse(error: Floats, number: NDArray[np.int64]) -> float:
    return float(np.median([np.sqrt(np.mean(error[number == k] ** 2)) for k in np.unique(number)]))


def baseline_errors(
    store: Store,
    target: str,
    features: Sequence[str] | None = None,
    *,
    n_test: int = 20,
    train_rows: int = 200_000,
    trees: int = 200,
    draws: int = 3,
    seed: int = 1,
    threads: int = 2,
) -> BaselineErrors:
    """Fit least squares and boosted trees on some towers and test them on ``n_test`` others, at random.

    Parameters
    ----------
    store : Store
    target : str
    features : sequence of str, optional
        Hourly covariates (IGBP is added as one-hot); defaults to :data:`OPEN_FEATURES`.
    n_test, draws : int
        Held-out towers, and how many random draws of them are averaged.
    train_rows : int
        Rows to fit on (``qc_mask == 1``), as many from each tower.
    trees : int
        Boosted trees: depth 7, learning rate 0.1, subsample 0.8.

    Raises
    ------
    DataError
        If the store has too few towers.
    """
    import xgboost

    names = tuple(features or OPEN_FEATURES)
    names = tuple(name for name in COVARIATES if name in names)
    if len(store.site_ids) < n_test + 5:
        raise DataError(f"{store.path} has {len(store.site_ids)} towers: too few to hold out {n_test}. Use fewer.")
    setting = {
        "max_depth": 7,
        "learning_rate": 0.1,
        "subsample": 0.8,
        "tree_method": "hist",
        "nthread": threads,
        "seed": seed,
    }
    results = []
    for draw in range(draws):
        order = np.random.default_rng([seed, draw]).permutation(len(store.site_ids))
        test = [store.site_ids[i] for i in order[:n_test]]
        train = [store.site_ids[i] for i in order[n_test:]]
        per_site = train_rows // len(train)
        x, y, _ = _rows(store, train, target, names, per_site, good=True, seed=draw)
        x_own, y_own, own_number = _rows(store, test, target, names, train_rows // n_test, good=True, seed=draw + 100)
        x_test, y_test, number = _rows(store, test, target, names, 6000, good=False, seed=draw + 200)
        spread = float(np.median([y_test[number == k].std() for k in np.unique(number)]))
        weights, *_ = np.linalg.lstsq(np.hstack([x, np.ones((len(x), 1))]), y, rcond=None)
        linear = np.hstack([x_test, np.ones((len(x_test), 1))]) @ weights
        held_out = xgboost.DMatrix(x_test)
        boosted = xgboost.train(setting, xgboost.DMatrix(x, label=y), trees).predict(held_out)
        # What a model reaches that has seen the towers: the tower's number is one more feature.
        with_number = xgboost.DMatrix(np.column_stack([x_own, own_number]), label=y_own)
        own = xgboost.train(setting, with_number, trees).predict(xgboost.DMatrix(np.column_stack([x_test, number])))
        results.append([_median_rmse(p - y_test, number) / spread for p in (linear, boosted, own)])
    lr, xgb, own_error = np.mean(results, axis=0)
    return BaselineErrors(float(lr), float(xgb), float(own_error))
