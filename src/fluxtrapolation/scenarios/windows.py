"""Windows for sequence models: views over the hours of a part, never all materialised at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.errors import DataError

if TYPE_CHECKING:
    from fluxtrapolation.scenarios.part import Part


class WindowBatch(NamedTuple):
    """Some windows as arrays; hours past the end of a short window are zero and not scored."""

    X: NDArray[np.float32]
    """Shape (windows, length, features)."""
    y: NDArray[np.float32]
    """Shape (windows, length); NaN where the target is missing."""
    scored: NDArray[np.bool_]
    """Shape (windows, length): the hours whose error counts."""
    rows: NDArray[np.int64]
    """Shape (windows, length): row of the part, or -1 past the end."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Where each window begins, how long it is, and from which hour it counts.

    A *block* is a run of consecutive hours of one site (and one split part). No window crosses a block's border. In
    training, windows of ``length`` hours begin every ``stride`` hours and the last one is moved back to end with the
    block; the first ``warmup`` hours give context only. Elsewhere windows advance by ``length - warmup`` and each hour
    is scored exactly once: a block's first window scores all its hours (the first ones have less context than
    ``warmup``), each later one all but its warm-up.

    Attributes
    ----------
    start, size, score_from : ndarray of int64, shape (windows,)
        First row, hours, and offset of the first scored hour of each window.
    """

    part: Part
    length: int
    warmup: int
    stride: int
    start: NDArray[np.int64]
    size: NDArray[np.int64]
    score_from: NDArray[np.int64]

    @classmethod
    def over(cls, part: Part, *, length: int, warmup: int, stride: int | None) -> Windows:
        """Lay windows over every block of ``part``; see the class.

        Raises
        ------
        DataError
            If the store is a daily one, the sizes do not fit together, or ``part`` holds only the measured rows.
        """
        if part.provenance.get("resolution") == "daily":
            raise DataError(
                "This store holds days, and windows are runs of consecutive hours: they are laid over hourly stores "
                "only. Use a model of single rows (X, y), or import the hourly files (--resolution hourly)."
            )
        training = part.name == "train"
        step = stride if stride is not None else (warmup if training else length - warmup)
        if not (0 <= warmup < length and step >= 1):
            raise DataError(f"Windows of {length} h with {warmup} h warm-up and stride {step} h are not possible.")
        if not training and step != length - warmup:
            raise DataError(
                f"Outside training, windows advance by length - warmup = {length - warmup} h, so that every hour is "
                f"scored once; stride {step} h does not."
            )
        if part.mask is None and part.name != "test":
            raise DataError(
                "This split holds only the measured rows, so its hours are not consecutive. "
                "Make it with sequences=True."
            )
        starts: list[NDArray[np.int64]] = []
        sizes: list[NDArray[np.int64]] = []
        froms: list[NDArray[np.int64]] = []
        for begin, end in blocks(part):
            hours = end - begin
            if training and hours <= warmup:
                continue  # nothing in it would count
            if training:
                first = np.arange(0, max(hours - length, 0) + 1, step, dtype=np.int64)
                if hours > length and first[-1] != hours - length:
                    first = np.append(first, hours - length)
                score = np.full(len(first), warmup, dtype=np.int64)
            else:
                first = np.arange(0, max(hours - warmup, 1), step, dtype=np.int64)
                score = np.full(len(first), warmup, dtype=np.int64)
                score[0] = 0
            starts.append(begin + first)
            sizes.append(np.minimum(length, hours - first))
            froms.append(score)
        empty = [np.empty(0, dtype=np.int64)]
        return cls(
            part=part,
            length=length,
            warmup=warmup,
            stride=step,
            start=np.concatenate(starts or empty),
            size=np.concatenate(sizes or empty),
            score_from=np.concatenate(froms or empty),
        )

    @classmethod
    def tiling(cls, part: Part, *, length: int, warmup: int) -> Windows:
        """Windows that score every row of ``part`` exactly once, whatever the part's name; for prediction.

        The rows need not be measured: a part without ``mask`` is tiled within its runs of consecutive hours.
        """
        whole = replace(part, name="test", mask=None)
        return cls.over(whole, length=length, warmup=warmup, stride=None)

    def __len__(self) -> int:
        return len(self.start)

    def scored_rows(self) -> NDArray[np.bool_]:
        """The rows of the part whose error counts in at least one window, shape (n,)."""
        edges = np.zeros(len(self.part) + 1, dtype=np.int64)
        np.add.at(edges, self.start + self.score_from, 1)
        np.add.at(edges, self.start + self.size, -1)
        scored = np.cumsum(edges[:-1]) > 0
        return scored if self.part.mask is None else scored & self.part.mask

    def subsample(self, max_rows: int, *, seed: int) -> Windows:
        """Whole windows drawn site by site until exactly ``max_rows`` rows are scored; each site keeps its share.

        A row that several windows score counts once. In the last window of a site the hours beyond its share stay as
        context but are masked. Hours outside the drawn windows are dropped from the part, whose rows and ``start`` are
        numbered anew.

        Parameters
        ----------
        max_rows : int
        seed : int
            Each site draws from its own stream, as in :meth:`Part.subsample`.

        Returns
        -------
        Windows
            ``self`` if it scores no more than ``max_rows`` rows.
        """
        from fluxtrapolation.scenarios.part import shares, site_stream

        if max_rows < 1:
            raise DataError(f"max_rows must be at least 1, not {max_rows}.")
        available = self.scored_rows()
        if int(available.sum()) <= max_rows:
            return self
        codes = self.part.site_codes
        quota = shares(np.bincount(codes[available], minlength=len(self.part.sites)), max_rows)
        of_site = codes[self.start]
        mask = np.zeros(len(self.part), dtype=np.bool_)
        chosen: list[int] = []
        for code, site in enumerate(self.part.sites):
            order = site_stream(site, seed).permutation(np.flatnonzero(of_site == code))
            chosen += self._draw(order, int(quota[code]), available, mask)
        return self._only(np.sort(np.asarray(chosen, dtype=np.int64)), mask)

    def _draw(
        self, order: NDArray[np.int64], quota: int, available: NDArray[np.bool_], mask: NDArray[np.bool_]
    ) -> list[int]:
        """Take windows in this order until ``quota`` new rows are marked in ``mask``."""
        taken: list[int] = []
        for window in order.tolist():
            if quota == 0:
                break
            begin = int(self.start[window])
            rows = np.arange(begin + int(self.score_from[window]), begin + int(self.size[window]))
            new = rows[available[rows] & ~mask[rows]][:quota]
            if len(new):
                mask[new] = True
                quota -= len(new)
                taken.append(window)
        return taken

    def _only(self, chosen: NDArray[np.int64], mask: NDArray[np.bool_]) -> Windows:
        """Some of the windows, over a part that holds no other hours."""
        start, size = self.start[chosen], self.size[chosen]
        edges = np.zeros(len(self.part) + 1, dtype=np.int64)
        np.add.at(edges, start, 1)
        np.add.at(edges, start + size, -1)
        inside = np.cumsum(edges[:-1]) > 0
        position = np.cumsum(inside) - 1
        return replace(
            self,
            part=replace(self.part, mask=mask).take(np.flatnonzero(inside)),
            start=position[start],
            size=size,
            score_from=self.score_from[chosen],
        )

    def batch(self, which: NDArray[np.int64] | list[int] | slice) -> WindowBatch:
        """Gather some windows into arrays."""
        start, size, score_from = self.start[which], self.size[which], self.score_from[which]
        offset = np.arange(self.length)
        inside = offset[None, :] < size[:, None]
        rows = np.where(inside, start[:, None] + offset[None, :], -1)
        X = self.part.X[rows]
        X[~inside] = 0.0
        y = np.where(inside, self.part.y[rows], np.float32(np.nan))
        scored = inside & (offset[None, :] >= score_from[:, None])
        if self.part.mask is not None:
            scored &= self.part.mask[rows]
        return WindowBatch(X, y, scored, rows)


def blocks(part: Part) -> list[tuple[int, int]]:
    """Runs of consecutive hours of one site: (first row, row after the last)."""
    if len(part) == 0:
        return []
    broken = (np.diff(part.site_codes) != 0) | (np.diff(part.time) != np.timedelta64(3600, "s"))
    edges = np.concatenate([[0], np.flatnonzero(broken) + 1, [len(part)]])
    return list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True))
