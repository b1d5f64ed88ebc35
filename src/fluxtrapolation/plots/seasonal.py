"""Mean seasonal cycle, observed and predicted, and what lies between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.plots import labels, style, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MONTH_STARTS: Final = (1, 32, 61, 92, 122, 153, 183, 214, 245, 275, 306, 336)
"""First days of the months, as days of a leap year."""
_SMOOTH_DAYS: Final = 15


Array = npt.NDArray[np.float64]


class SiteCycle(NamedTuple):
    """A tower and how far its predicted mean seasonal cycle lies from the observed one (RMSE, target's unit)."""

    site_id: str
    rmse: float


def cycle_errors(
    seasonal: pl.DataFrame, *, target: str, scenario: str, model: str, selection: str = "mean"
) -> list[SiteCycle]:
    """RMSE between the observed and the predicted mean seasonal cycle of every tower, smallest first.

    Every day (or month) of the year counts the same, whatever the number of years behind it. Towers without a finite
    pair are left out.
    """
    tables.require(seasonal, tables.SEASONAL_COLUMNS, "seasonal")
    rows = _rows(seasonal, target, scenario, model, selection)
    error = (pl.col("observed") - pl.col("predicted")).cast(pl.Float64).fill_nan(None)
    found = (
        rows.group_by("site_id").agg((error**2).mean().sqrt().alias("rmse")).drop_nulls("rmse").sort("rmse", "site_id")
    )
    return [SiteCycle(str(site), float(rmse)) for site, rmse in found.iter_rows()]


def seasonal_cycle(
    seasonal: pl.DataFrame,
    *,
    target: str,
    scenario: str,
    model: str,
    site_id: str,
    selection: str = "mean",
    title: str | None = None,
) -> Figure:
    """One tower's mean seasonal cycle, observed and predicted, above its residual (observed minus predicted).

    With days of the year, a 15-day running mean (over the turn of the year) is drawn strong over the faint daily means.

    Parameters
    ----------
    seasonal : polars.DataFrame
        ``target, scenario, model, selection, site_id, doy|month|doy_or_month, observed, predicted``, in the unit of
        the target.
    target, scenario, model, selection, site_id : str
        Which cycle.
    title : str, optional
        The tower's name by default.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, or this tower has no cycle.
    """
    from matplotlib.figure import Figure

    tables.require(seasonal, tables.SEASONAL_COLUMNS, "seasonal")
    column, kind = tables.season_axis(seasonal)
    rows = _rows(seasonal, target, scenario, model, selection).filter(pl.col("site_id") == site_id).sort(column)
    if rows.is_empty():
        raise EvaluationError(f"No seasonal cycle of {model} for {target} at {site_id} in scenario '{scenario}'.")
    when = rows[column].cast(pl.Float64).to_numpy()
    observed = rows["observed"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    predicted = rows["predicted"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    colour = style.model_styles([model])[model].colour
    with style.house_style():
        figure = Figure(figsize=(3.5, 3.0))
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.55, 1.0])
        style.fixed_margins(figure, left=0.62, right=0.06, top=0.24, bottom=0.22, gap=0.12)
        _cycle(above, when, observed, style.OBSERVED, "observed", kind)
        _cycle(above, when, predicted, colour, f"predicted by {labels.shorten(model)}", kind)
        low, high = above.get_ylim()
        above.set_ylim(low, high + 0.2 * (high - low))  # room for the legend above the lines
        above.legend(loc="upper left", ncols=2, fontsize=7.5, handlelength=1.4, borderpad=0.1, columnspacing=1.2)
        above.set_title(title or site_id)
        above.set_ylabel(labels.with_unit(target, target), fontsize=8)
        _residual(below, when, observed - predicted, kind)
        below.set_ylabel("residual", fontsize=8)
        _year_axis(below, kind)
        figure.align_ylabels([above, below])
    return figure


def _rows(seasonal: pl.DataFrame, target: str, scenario: str, model: str, selection: str) -> pl.DataFrame:
    return seasonal.filter(
        pl.col("target") == target,
        pl.col("scenario") == scenario,
        pl.col("model") == model,
        pl.col("selection").fill_null("") == selection,
    )


def running_mean(values: Array, width: int = _SMOOTH_DAYS) -> Array:
    """Centred mean of ``width`` neighbours over the turn of the year; gaps are skipped, a window of gaps stays NaN."""
    half = width // 2
    wrapped = np.concatenate([values[-half:], values, values[:half]]) if half else values
    known = np.isfinite(wrapped)
    kernel = np.ones(2 * half + 1)
    total = np.convolve(np.where(known, wrapped, 0.0), kernel, mode="valid")
    seen = np.convolve(known.astype(np.float64), kernel, mode="valid")
    return np.where(seen > 0, total / np.maximum(seen, 1.0), np.nan)


def _smooth(when: Array, values: Array, kind: str) -> tuple[Array, Array]:
    """Values on every day of the year, smoothed; months as they are."""
    if kind == "month" or when.size < 2 * _SMOOTH_DAYS:
        return when, values
    days = np.arange(1, 367, dtype=np.float64)
    full = np.full(366, np.nan)
    full[when.astype(np.intp) - 1] = values
    smooth = running_mean(full)
    keep = np.unique(np.concatenate([np.arange(0, 366, 3), [365]]))  # every third day is plenty for a smooth line
    return days[keep], smooth[keep]


def _cycle(ax: Axes, when: Array, values: Array, colour: str, label: str, kind: str) -> None:
    x, y = _smooth(when, values, kind)
    if kind == "doy":
        ax.plot(when[::2], values[::2], color=colour, linewidth=0.5, alpha=0.35)
    ax.plot(x, y, color=colour, label=label, marker="o" if kind == "month" else None, markersize=3)


def _residual(ax: Axes, when: Array, residual: Array, kind: str) -> None:
    x, y = _smooth(when, residual, kind)
    ax.fill_between(x, 0, y, where=y >= 0, interpolate=True, color=style.GOOD, alpha=0.55, linewidth=0)
    ax.fill_between(x, 0, y, where=y <= 0, interpolate=True, color=style.BAD, alpha=0.55, linewidth=0)
    ax.axhline(0, color=style.MUTED, linewidth=0.8)
    reach = float(np.nanmax(np.abs(y))) if np.isfinite(y).any() else 1.0
    ax.set_ylim(-1.15 * reach or -1, 1.15 * reach or 1)


def _year_axis(ax: Axes, kind: str) -> None:
    initials = list("JFMAMJJASOND")
    if kind == "month":
        ax.set_xlim(0.5, 12.5)
        ax.set_xticks(range(1, 13), initials)
        return
    ends = (*MONTH_STARTS[1:], 367)
    ax.set_xlim(1, 366)
    ax.set_xticks(MONTH_STARTS, [""] * 12)
    ax.set_xticks([(a + b) / 2 for a, b in zip(MONTH_STARTS, ends, strict=True)], initials, minor=True)
