"""Windows for sequence models: views over the hours of a part, never all materialised at once."""

from __future__ import annotations

from dataclasses import dataclass
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

    def __len__(self) -> int:
        return len(self.start)

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
