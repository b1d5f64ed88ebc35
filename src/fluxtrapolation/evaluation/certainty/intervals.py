"""How certain a summary over domains is, had other sites been held out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import polars as pl

from fluxtrapolation.errors import EvaluationError, did_you_mean
from fluxtrapolation.evaluation.certainty.bootstrap import (
    DRAWS,
    LEVEL,
    MOST_LOST,
    SiteBootstrap,
    Statistic,
    check_options,
    two_sided,
)
from fluxtrapolation.evaluation.certainty.clusters import CELL, Cell, cells_of, effective_size
from fluxtrapolation.evaluation.certainty.special import order_below
from fluxtrapolation.evaluation.comparable import need_one_run, need_one_test_set
from fluxtrapolation.evaluation.metrics import get_metric
from fluxtrapolation.evaluation.scores import Scores, as_scores
from fluxtrapolation.evaluation.statistics import Floats, Integers
from fluxtrapolation.evaluation.summary import need_worst
from fluxtrapolation.schema import BOARD_SCALES

Method = Literal["recommended", "percentile"]
METHODS: Final = ("recommended", "percentile")
TAIL_SITES: Final = 10
"""Sites that the worst share must hold before the bootstrap can say how uncertain its mean is."""
WIDEST: Final = 15.0
"""Standard errors beyond which an end of the studentised bootstrap says only that the tail is too heavy for one."""
_AN: Final = {"lower": "a lower", "upper": "an upper"}


@dataclass(frozen=True)
class Interval:
    """Ends of an interval (NaN: the sites set no bound), how it was made, and a note where an end lacks."""

    low: float
    high: float
    method: str
    note: str = ""


def intervals(
    scores: Scores | pl.DataFrame,
    *,
    summary: str = "median",
    scales: Sequence[str] | None = BOARD_SCALES,
    metric: str = "rmse",
    by: Sequence[str] = (),
    method: Method = "recommended",
    level: float = LEVEL,
    draws: int = DRAWS,
    seed: int = 0,
) -> pl.DataFrame:
    """Summaries over domains with intervals: what would other held-out sites of the same kind have given?

    ``recommended`` takes the method that keeps its promise for the summary:

    - median and any ``qNN``: the two order statistics between which the quantile lies with the wanted probability,
      interpolated (Hutson 1999, doi:10.1080/02664769922458); with several domains a site, at the effective number of
      domains (Korn and Graubard 1998). In simulations with log-normal and heavier-tailed errors a nominal 95 % covers
      94 to 96 % for the median and the 90th percentile of 40 and of 126 sites, 93 to 96 % of 340 site-years of them.
      Where the sites cannot bound a quantile (the 90th percentile needs 36 of them above) an end is null.
    - mean, and ``cvarNN`` where the tail holds at least ten sites: the studentised bootstrap over sites (bootstrap-t,
      Efron and Tibshirani 1993, section 12.5); covers 91 to 96 %, least where the tail is heaviest. With a smaller
      tail ``cvarNN`` has the lower end of its quantile and no upper end.
    - ``worst``: none. A sample says nothing of how much worse the next site can be.

    ``percentile`` is the published interval: percentiles of the summary under 1000 draws of sites with replacement. A
    nominal 95 % covers 92 to 95 % for a median, but about 91 % for the 90th percentile of 40 sites (84 to 86 % of 32,
    94 % of 126, 92 to 94 % of 340 site-years) and 70 to 77 % for cvar10 of 40 sites: too short where it matters most.

    ``benchmarks/coverage.py`` prints all these numbers.

    Parameters
    ----------
    scores : Scores or their table
    summary, scales, metric, by
        As in :func:`fluxtrapolation.evaluation.summarise`. Several seeds of a run are averaged (``value``, ``low`` and
        ``high`` are means over seeds), unless ``by`` names ``seed``.
    method : {"recommended", "percentile"}
    level : float
        Nominal coverage.
    draws, seed : int
        Of the bootstrap; order statistics need neither.

    Returns
    -------
    polars.DataFrame
        ``target, scenario, scale, model, selection``, the columns of ``by``, ``value, low, high`` (in the unit of the
        metric; null: no bound), ``n_domains, n_sites, n_null, n_seeds, seed_sd`` (standard deviation of the value
        between seeds, not part of the interval), ``method, note``.

    Raises
    ------
    EvaluationError
        As :func:`fluxtrapolation.evaluation.summarise`; on an unknown method, level or number of draws.
    """
    known = as_scores(scores)
    _, cells = cut(known, scales=scales, metric=metric, by=by)
    return interval_table(
        cells,
        names=tuple(dict.fromkeys(("model", "selection", *by))),
        metric=metric,
        summary=summary,
        method=method,
        level=level,
        draws=draws,
        seed=seed,
    )


def cut(
    known: Scores,
    *,
    scales: Sequence[str] | None,
    metric: str,
    by: Sequence[str] = (),
    extra: Sequence[str] = (),
) -> tuple[pl.DataFrame, list[Cell]]:
    """The rows of the scales, checked, and cut into cells.

    Raises
    ------
    EvaluationError
        When the scores lack the metric or a column of ``by``, mix test sets, or hold a domain of one run twice.
    """
    get_metric(metric)
    table, runs = known.frame, known.meta.get("runs", [])
    if metric not in table.columns:
        raise EvaluationError(f"The scores hold no {metric}. Evaluate with metrics=[..., '{metric}'].")
    unknown = [name for name in by if name not in table.columns]
    if unknown:
        raise EvaluationError(f"The scores have no column '{unknown[0]}' to group by.")
    if scales is not None:
        table = table.filter(pl.col("scale").is_in(list(scales)))
    if table.is_empty():
        raise EvaluationError("There are no scores at the scales asked for.")
    infinite = table.filter(pl.col(metric).is_infinite())
    if infinite.height:
        row = infinite.row(0, named=True)
        raise EvaluationError(
            f"{infinite.height} of {table.height} values of {metric} are infinite, such as {row['domain']} at scale "
            f"{row['scale']}. Undefined values must be null."
        )
    names = list(dict.fromkeys(("model", "selection", *by)))
    need_one_test_set(table, runs, by=by)
    need_one_run(table, list(dict.fromkeys([*CELL, *names, "seed"])), runs)
    return table, cells_of(table, metric=metric, runs=names, extra=extra)


def interval_table(
    cells: Sequence[Cell],
    *,
    names: Sequence[str],
    metric: str,
    summary: str,
    method: str,
    level: float,
    draws: int,
    seed: int,
    extra: Sequence[str] = (),
) -> pl.DataFrame:
    """One row per cell and run; see :func:`intervals`."""
    check_options(level, draws, seed)
    if method not in METHODS:
        raise EvaluationError(
            f"There is no method '{method}'.{did_you_mean(method, METHODS)} Choose from {', '.join(METHODS)}."
        )
    statistic = Statistic.of(summary, higher_is_better=get_metric(metric).higher_is_better)
    need_worst(summary, metric)
    rows: list[dict[str, Any]] = []
    drawn = _Draws(cells, draws=draws, seed=seed)
    for cell in cells:
        found = [_of_row(cell, row, statistic, method, level, drawn) for row in range(len(cell.values))]
        values = np.asarray([value for value, _, _, _ in found])
        ends = cell.averaged(np.asarray([[one.low, one.high] for _, one, _, _ in found]))
        sizes = np.asarray([[domains, sites] for _, _, domains, sites in found])
        means, deviations = cell.averaged(values), cell.spread(values)
        for run, name in enumerate(cell.runs):
            mine = np.flatnonzero(cell.replicates == run)
            told = [found[one][1] for one in mine]
            rows.append(
                {
                    **dict(zip((*CELL, *extra), cell.key, strict=True)),
                    **dict(zip(names, name, strict=True)),
                    "value": means[run],
                    "low": ends[run, 0],
                    "high": ends[run, 1],
                    "n_domains": int(sizes[mine, 0].min()),
                    "n_sites": int(sizes[mine, 1].min()),
                    "n_null": int(cell.n_null[mine].max()),
                    "n_seeds": len(mine),
                    "seed_sd": deviations[run],
                    "method": next((one.method for one in told if one.method), None),
                    "note": next((one.note for one in told if one.note), None),
                }
            )
    numbers = dict.fromkeys(("value", "low", "high", "seed_sd"), pl.Float64)
    texts = dict.fromkeys((*CELL, "model", "selection", "method", "note"), pl.String)
    frame = pl.DataFrame(rows, infer_schema_length=None, schema_overrides={**numbers, **texts})
    return frame.with_columns(pl.col(list(numbers)).fill_nan(None))


def _of_row(
    cell: Cell, row: int, statistic: Statistic, method: str, level: float, drawn: _Draws
) -> tuple[float, Interval, int, int]:
    """Value, interval, number of domains and of sites of one row of a cell."""
    values, sites = cell.flat(row)
    n_sites = len(np.unique(sites))
    if len(values) == 0:
        return float("nan"), Interval(float("nan"), float("nan"), "", "no domain has a value"), 0, 0
    value = statistic.of_values(values)
    if method == "percentile":
        low, high = two_sided(drawn.of(cell, row, statistic), level)
        found = Interval(low, high, "percentile bootstrap", "" if np.isfinite(low) else "too few sites for an interval")
    elif statistic.kind == "worst":
        found = Interval(float("nan"), float("nan"), "", "a maximum over sites has no interval")
    elif statistic.kind == "quantile":
        found = of_quantile(values, sites, statistic.share, level)
    else:
        found = _studentised(cell, row, statistic, level, drawn, n_sites)
    return value, found, len(values), n_sites


def of_quantile(values: Floats, sites: Integers, share: float, level: float) -> Interval:
    """Interval of the ``share``-quantile from two interpolated order statistics.

    Parameters
    ----------
    values, sites : ndarray
        Shape (n,), values and the site number of each.
    share, level : float
    """
    n = len(values)
    if share in (0.0, 1.0):
        return Interval(float("nan"), float("nan"), "", "an extreme over sites has no interval")
    size = effective_size(values, sites, share)
    ordered = np.sort(values)
    low, high = (order_below(round(size, 6), share, confidence) for confidence in ((1 + level) / 2, (1 - level) / 2))
    # Beyond the outermost of so many independent domains nothing bounds the quantile; short of them the first does.
    ends = [
        _at(ordered, min(low, size) / (size + 1) * (n + 1)) if low >= 1 else float("nan"),
        _at(ordered, max(high, 1.0) / (size + 1) * (n + 1)) if high <= size else float("nan"),
    ]
    lacking = [name for name, end in zip(("lower", "upper"), ends, strict=True) if np.isnan(end)]
    note = f"too few sites for {' and '.join(_AN[name] for name in lacking)} end"
    return Interval(ends[0], ends[1], "order statistics", note if lacking else "")


def _at(ordered: Floats, place: float) -> float:
    """The value at a fractional place, 1 the smallest; NaN outside."""
    if place < 1 or place > len(ordered):
        return float("nan")
    low = min(int(place), len(ordered) - 1)
    return float(ordered[low - 1] + (place - low) * (ordered[low] - ordered[low - 1])) if low else float(ordered[0])


def _studentised(cell: Cell, row: int, statistic: Statistic, level: float, drawn: _Draws, n_sites: int) -> Interval:
    """Bootstrap-t of a mean, or of the mean of the worst share where it holds enough sites."""
    values, sites = cell.flat(row)
    lacking = Interval(float("nan"), float("nan"), "", "too few sites for an interval")
    if statistic.kind == "tail" and statistic.share * n_sites < TAIL_SITES:
        edge = statistic.share if statistic.low_is_worst else 1 - statistic.share
        bound = of_quantile(values, sites, edge, level)
        few = f"the worst {statistic.share:.0%} are fewer than {TAIL_SITES} sites: bounded on one side only"
        if statistic.low_is_worst:
            return Interval(float("nan"), bound.high, "order statistics", few)
        return Interval(bound.low, float("nan"), "order statistics", few)
    if n_sites < TAIL_SITES:
        return lacking
    estimate, error = _with_error(cell.values[row][None], statistic)
    of_draws, errors = drawn.with_errors(cell, row, statistic)
    usable = errors > 1e-12 * np.abs(of_draws)
    if error[0] <= 0 or usable.mean() < 1 - MOST_LOST:
        return lacking
    t = (of_draws[usable] - estimate[0]) / errors[usable]
    low, high = np.quantile(t, [(1 - level) / 2, (1 + level) / 2])
    ends = [float(estimate[0] - one * error[0]) if abs(one) <= WIDEST else float("nan") for one in (high, low)]
    heavy = [_AN[name] for name, end in zip(("lower", "upper"), ends, strict=True) if np.isnan(end)]
    note = f"the tail is too heavy for {' and '.join(heavy)} end" if heavy else ""
    return Interval(ends[0], ends[1], "bootstrap-t", note)


def _with_error(values: Floats, statistic: Statistic) -> tuple[Floats, Floats]:
    """Mean, or mean of the worst share, and its standard error with sites as units.

    The error is that of the mean of the influences: of the values themselves, or of what they exceed the edge of the
    tail by, over its share.

    Parameters
    ----------
    values : ndarray
        Shape (B, P, Y): draw, drawn site, its domains; NaN is nothing.

    Returns
    -------
    (ndarray, ndarray)
        Shape (B,).
    """
    sign = -1.0 if statistic.low_is_worst and statistic.kind == "tail" else 1.0
    values = sign * values
    held = np.isfinite(values)
    count = held.sum(axis=(1, 2))
    sites = held.any(axis=2).sum(axis=1)
    if statistic.kind == "mean":
        influence = np.where(held, values, 0.0)
        estimate = influence.sum(axis=(1, 2)) / count
        influence = np.where(held, values - estimate[:, None, None], 0.0)
    else:
        flat = np.sort(values.reshape(len(values), -1), axis=1)
        upward = Statistic("tail", statistic.share)
        estimate = upward.of_sorted(flat, count)
        in_tail = np.ceil(statistic.share * count).astype(np.int64)
        edge = flat[np.arange(len(flat)), np.maximum(count - in_tail, 0)]
        over = np.where(held, np.maximum(values - edge[:, None, None], 0.0), 0.0) / statistic.share
        influence = np.where(held, over - (over.sum(axis=(1, 2)) / count)[:, None, None], 0.0)
    of_sites = influence.sum(axis=2)
    error = np.sqrt(sites / np.maximum(sites - 1, 1) * (of_sites**2).sum(axis=1)) / count
    return sign * estimate, error


class _Draws:
    """The bootstrap of every (target, scenario), made when it is first asked for."""

    def __init__(self, cells: Iterable[Cell], *, draws: int, seed: int) -> None:
        self._draws, self._seed = draws, seed
        self._sites: dict[tuple[str | None, ...], set[str]] = {}
        for cell in cells:
            self._sites.setdefault(self._place(cell), set()).update(cell.sites)
        self._known: dict[tuple[str | None, ...], SiteBootstrap] = {}

    @staticmethod
    def _place(cell: Cell) -> tuple[str | None, ...]:
        return (cell.key[0], cell.key[1], *cell.key[3:])

    def _bootstrap(self, cell: Cell) -> SiteBootstrap:
        place = self._place(cell)
        if place not in self._known:
            sites = self._sites[place]
            self._known[place] = SiteBootstrap(sites, draws=self._draws, seed=self._seed, smooth=False)
        return self._known[place]

    def of(self, cell: Cell, row: int, statistic: Statistic) -> Floats:
        """The statistic in every draw, shape (B,)."""
        alone = Cell(cell.key, (cell.runs[cell.replicates[row]],), np.zeros(1, np.int64),
                     cell.values[row : row + 1], cell.sites, cell.n_null[row : row + 1])  # fmt: skip
        return np.asarray(self._bootstrap(cell).of_rows(alone, statistic, positive=False)[0])

    def with_errors(self, cell: Cell, row: int, statistic: Statistic) -> tuple[Floats, Floats]:
        """The statistic and its standard error in every draw, shape (B,) each."""
        rows = self._bootstrap(cell).indices(cell.sites)
        nothing = np.full((1, cell.values.shape[2]), np.nan)
        table = np.concatenate([cell.values[row], nothing])
        parts = [_with_error(table[rows[first : first + 125]], statistic) for first in range(0, len(rows), 125)]
        return np.concatenate([one for one, _ in parts]), np.concatenate([one for _, one in parts])
