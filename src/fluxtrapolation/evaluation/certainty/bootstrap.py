"""Site-cluster bootstrap: sites are drawn with replacement, and a drawn site brings all its domains.

The same drawn sites serve all models, scales and scenarios of a target, so differences between models are paired. The
smoothed version moves every drawn site a little, by the scaled difference of two other sites; errors on the logarithmic
scale. Without it, a quantile of few sites can only take the values of those sites.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation.certainty.clusters import Cell
from fluxtrapolation.evaluation.statistics import Floats, Integers

DRAWS: Final = 1000
LEVEL: Final = 0.95
MOST_LOST: Final = 0.05
"""Share of draws that may be without a value, because none of their sites has one."""
FEWEST_SITES: Final = 6
"""With fewer sites no difference is certain at 95 %: 2^(1 - 5) is above 0.05."""
_PIECE: Final = 125
"""Draws worked on at once, so that they stay in the processor's cache."""
_QUANTILE: Final = re.compile(r"q(\d{1,2}(?:\.\d+)?|100)$")
_TAIL: Final = re.compile(r"cvar(\d{1,2}(?:\.\d+)?|100)$")


def check_options(level: float, draws: int, seed: int = 0) -> None:
    """Refuse a level, a number of draws or a seed that makes no interval.

    Raises
    ------
    EvaluationError
    """
    if not 0.0 < level < 1.0:
        raise EvaluationError(f"The level is {level}; it must lie between 0 and 1, such as 0.95.")
    if isinstance(draws, bool) or int(draws) != draws or draws < 100:
        raise EvaluationError(f"draws is {draws}; at least 100 draws are needed, 1000 are usual.")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise EvaluationError(f"The seed is {seed!r}; it must be a whole number of at least 0.")


def check_summary(summary: str) -> str | None:
    """Refuse to compare or rank by ``worst``; a caution on ``cvarNN``.

    Returns
    -------
    str or None
        What must be told beside the intervals.

    Raises
    ------
    EvaluationError
        On ``worst``: the largest error of a sample says nothing of the next site.
    """
    kind = Statistic.of(summary).kind
    if kind == "worst":
        raise EvaluationError(
            "Models cannot be told apart by their worst site: the largest error of a sample says nothing of the next "
            "site. Take q90, or median."
        )
    if kind == "tail":
        return (
            f"by {summary} a nominal 95 % interval holds the truth in 87 to 97 % of simulations only, least with heavy "
            "tails; q90 and median keep the promise"
        )
    return None


@dataclass(frozen=True)
class Statistic:
    """A summary over domains as a function of sorted values.

    Parameters
    ----------
    kind : {"quantile", "mean", "tail", "worst"}
        ``tail`` is the mean of the worst share (cvar).
    share : float
        Of the domains, 0 to 1.
    low_is_worst : bool
        Whether the metric improves upward.
    """

    kind: str
    share: float
    low_is_worst: bool = False

    @classmethod
    def of(cls, summary: str, *, higher_is_better: bool = False) -> Statistic:
        """The statistic that a summary's name stands for.

        Raises
        ------
        EvaluationError
            When the name is unknown.
        """
        from fluxtrapolation.evaluation.summary import get_summary

        get_summary(summary)
        if summary == "median":
            return cls("quantile", 0.5, higher_is_better)
        if found := _QUANTILE.match(summary):
            return cls("quantile", float(found[1]) / 100, higher_is_better)
        if found := _TAIL.match(summary):
            return cls("tail", float(found[1]) / 100, higher_is_better)
        return cls(summary, 1.0, higher_is_better)

    def of_sorted(self, ordered: Floats, count: Integers, inverse: Callable[[Floats], Floats] | None = None) -> Floats:
        """The statistic of every row, shape (B, n) to (B,).

        Parameters
        ----------
        ordered : ndarray
            Shape (B, n), ascending, NaN last.
        count : ndarray
            Shape (B,), number of values in each row; 0 gives NaN.
        inverse : callable, optional
            Increasing function that gives the values back where ``ordered`` holds a transform of them.
        """
        back = (lambda values: values) if inverse is None else inverse
        row, last = np.arange(len(ordered)), np.maximum(count - 1, 0)
        if self.kind == "quantile":
            place = last * self.share
            low = np.floor(place).astype(np.int64)
            first, second = back(ordered[row, low]), back(ordered[row, np.minimum(low + 1, last)])
            out = first + (place - low) * (second - first)
        elif self.kind == "worst":
            out = back(ordered[row, 0 if self.low_is_worst else last])
        else:
            weight = self._weights(ordered.shape[1], count)
            out = np.where(weight > 0, back(ordered), 0.0)
            out = (out * weight).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-300)
        return np.where(count > 0, out, np.nan)

    def _weights(self, width: int, count: Integers) -> Floats:
        """Weight of every place in the mean: 1 in the worst share, a fraction at its edge, 0 elsewhere."""
        place = np.arange(width)[None, :]
        last = count[:, None] - 1
        share = 1.0 if self.kind == "mean" else self.share
        rank = place if self.low_is_worst else last - place
        weight = np.clip(share * count[:, None] - rank, 0.0, 1.0)
        return np.where(place <= last, weight, 0.0)

    def of_values(self, values: Floats) -> float:
        """The statistic of values of shape (n,)."""
        ordered = np.sort(values)[None, :]
        return float(self.of_sorted(ordered, np.asarray([len(values)]))[0])


class SiteBootstrap:
    """Draws of sites, the same for every cell that is asked for.

    Parameters
    ----------
    sites : sequence of str
        All sites of the cells.
    draws : int
        Number B of draws.
    seed : int
    smooth : bool
        Whether drawn sites are moved: by half of n^(-1/5) of the spread between sites, with the spread as a whole kept
        (Silverman and Young 1987, doi:10.1093/biomet/74.3.469).
    """

    def __init__(self, sites: Iterable[str], *, draws: int, seed: int, smooth: bool) -> None:
        self._sites = tuple(sorted(set(sites)))
        self._number = {site: number for number, site in enumerate(self._sites)}
        self._seed, self.draws, self._smooth = seed, int(draws), smooth
        kind: Any = np.int16 if len(self._sites) < 32_000 else np.int32
        count = len(self._sites)
        self._index = _generator(seed, self._sites).integers(0, count, (self.draws, count), dtype=kind)
        self._known: dict[tuple[str, ...], _Drawn] = {}

    def of(self, cell: Cell, statistic: Statistic, *, positive: bool) -> Floats:
        """The statistic in every draw, for every run of a cell (mean over its replicates).

        Parameters
        ----------
        positive : bool
            Whether the metric is an error, 0 or more: moved on the logarithmic scale.

        Returns
        -------
        ndarray
            Shape (K, B). NaN where a draw holds no site of the cell with a value.
        """
        return cell.averaged(self.of_rows(cell, statistic, positive=positive))

    def of_rows(self, cell: Cell, statistic: Statistic, *, positive: bool) -> Floats:
        """As :meth:`of`, for every row of the cell's values, shape (V, B)."""
        drawn = self._drawn(cell.sites)
        out = np.empty((len(cell.values), self.draws))
        for row, values in enumerate(cell.values):
            table = _Table.of(values, log=positive and self._smooth, smooth=self._smooth)
            for first in range(0, self.draws, _PIECE):
                piece = slice(first, first + _PIECE)
                out[row, piece] = table.statistic(drawn, piece, statistic)
        return out

    def indices(self, sites: Sequence[str]) -> npt.NDArray[Any]:
        """Rows drawn among ``sites`` in every draw, shape (B, P); the number of sites marks nothing."""
        return self._drawn(tuple(sites)).rows

    def _drawn(self, sites: tuple[str, ...]) -> _Drawn:
        if sites not in self._known:
            self._known[sites] = self._choose(sites)
        return self._known[sites]

    def _choose(self, sites: tuple[str, ...]) -> _Drawn:
        where = np.full(len(self._sites), len(sites), self._index.dtype)
        where[[self._number[site] for site in sites]] = np.arange(len(sites))
        rows = where[self._index]
        absent = rows == len(sites)
        if absent.any():  # those that are there first, then only as many columns as the fullest draw needs
            order = np.argsort(absent, axis=1, kind="stable")[:, : int((~absent).sum(axis=1).max())]
            rows = np.take_along_axis(rows, order, axis=1)
        one = other = None
        if self._smooth:
            generator = _generator(self._seed, sites, "moved")
            one, other = generator.integers(0, len(sites), (2, *rows.shape), dtype=rows.dtype)
        return _Drawn(rows, one, other)


@dataclass(frozen=True)
class _Drawn:
    """Rows of a cell in every draw, shape (B, P), and the two sites whose difference moves each."""

    rows: npt.NDArray[Any]
    one: npt.NDArray[Any] | None
    other: npt.NDArray[Any] | None


@dataclass(frozen=True)
class _Table:
    """Values of one run and a last row of nothing, shape (S + 1, Y); what each site moves others by, shape (S,)."""

    values: Floats
    count: Integers
    moves: Floats | None
    inverse: Callable[[Floats], Floats] | None

    @classmethod
    def of(cls, values: Floats, *, log: bool, smooth: bool) -> _Table:
        held = np.isfinite(values)
        count = np.append(held.sum(axis=1), 0)
        shown = values
        if log:
            with np.errstate(divide="ignore"):
                shown = np.log(values)  # an error of exactly 0 stays exactly 0
        shown, moves = _shrunk(shown) if smooth else (shown, None)
        nothing = np.full((1, values.shape[1]), np.nan)
        return cls(np.concatenate([shown, nothing]), count, moves, np.exp if log else None)

    def statistic(self, drawn: _Drawn, piece: slice, statistic: Statistic) -> Floats:
        rows = drawn.rows[piece]
        values = self.values[rows]
        if self.moves is not None and drawn.one is not None and drawn.other is not None:
            values += (self.moves[drawn.one[piece]] - self.moves[drawn.other[piece]])[:, :, None]
        values = values.reshape(len(rows), -1)
        values.sort(axis=1)
        return statistic.of_sorted(values, self.count[rows].sum(axis=1), self.inverse)


def _shrunk(values: Floats) -> tuple[Floats, Floats | None]:
    """Values drawn towards their mean by as much as moving them widens them, and the moves of the sites."""
    finite = np.isfinite(values)
    total = int(finite.sum())
    sites = np.asarray(finite.any(axis=1))
    if total < 2 or sites.sum() < 2:
        return values, None
    centre = values[finite].mean()
    away = np.where(finite, values - centre, 0.0)
    spread = float((away**2).sum() / total)
    of_site = away.sum(axis=1) / np.maximum(finite.sum(axis=1), 1)
    of_site[sites] -= of_site[sites].mean()
    between = float((of_site**2).sum() / sites.sum())
    if spread <= 0 or between <= 0:
        return values, None
    width = 0.5 * float(sites.sum()) ** -0.2
    factor = np.sqrt(spread / (spread + width**2 * between))
    # Sites without a value move nothing; the others make up for it.
    moves = of_site * (width * factor * np.sqrt(len(sites) / sites.sum() / 2.0))
    return np.asarray(centre + factor * (values - centre)), np.asarray(moves)


def _generator(seed: int, sites: Sequence[str], purpose: str = "drawn") -> np.random.Generator:
    """A generator that depends on the seed and the names of the sites, not on the order of anything."""
    return np.random.default_rng([seed, zlib.crc32("\n".join((purpose, *sites)).encode())])


def two_sided(draws: Floats, level: float) -> tuple[float, float]:
    """Percentile interval of the draws, infinite ones included; NaN where one in twenty has no value, or an end is
    infinite."""
    held = np.sort(draws[~np.isnan(draws)])
    if held.size == 0 or held.size < (1 - MOST_LOST) * draws.size:
        return float("nan"), float("nan")
    ends = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        place = (held.size - 1) * share
        low = held[int(place)]
        high = held[min(int(place) + 1, held.size - 1)]
        end = low if low == high else low + (place - int(place)) * (high - low)
        ends.append(float(end) if np.isfinite(end) else float("nan"))
    return ends[0], ends[1]


def p_value(differences: Floats, *, effect: float | None = None, sites: int | None = None) -> float:
    """Two-sided bootstrap p-value of a difference of 0; NaN where no draw has a value.

    Twice the smaller share of draws on either side of 0 (Efron and Tibshirani 1993, section 15.4: the level at which
    the percentile interval just holds 0), at least 2 / (B + 1).

    Parameters
    ----------
    differences : ndarray
        Shape (B,), in every draw.
    effect : float, optional
        The difference as it is. Where it is 0, or the majority of draws lies on its other side, the summary of the
        sites at hand sits on a jump between two kinds of sites, and p is 1: nothing is certain.
    sites : int, optional
        Number of sites: p is then at least 2^(1 - sites), the p-value of a sign test when all of them agree. Drawing
        three sites again and again looks certain far too often.
    """
    held = np.asarray(differences[~np.isnan(differences)])
    if held.size == 0:
        return float("nan")
    above = share_above(held)
    if effect is not None and not (effect > 0 and above > 0.5) and not (effect < 0 and above < 0.5):
        return 1.0
    side = min(int((held <= 0).sum()), int((held >= 0).sum()))
    least = 0.0 if sites is None else 2.0 ** (1 - sites)
    return min(1.0, max(2 * (side + 1) / (held.size + 1), least))


def share_above(differences: Floats) -> float:
    """Share of draws above 0, a draw of exactly 0 half; NaN where none has a value."""
    held = np.asarray(differences[~np.isnan(differences)])
    return float(((held > 0).sum() + 0.5 * (held == 0).sum()) / held.size) if held.size else float("nan")


def holm(p: Floats) -> Floats:
    """p-values corrected for their number by the step-down method of Holm (1979); NaN stay out of the count."""
    out = np.full(len(p), np.nan)
    held = np.flatnonzero(np.isfinite(p))
    order = held[np.argsort(p[held], kind="stable")]
    factors = len(order) - np.arange(len(order))
    out[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return out
