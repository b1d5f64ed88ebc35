"""First-order recursions without a loop over hours."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BLOCK = 64


def filter_first_order(x: ArrayLike, memory: float, start: float = 0.0) -> NDArray[np.float32]:
    """``y[t] = memory * y[t - 1] + x[t]`` with ``y[-1] = start``.

    Within blocks of 64 steps the sums are doubled in reach six times (Hillis and Steele 1986), in the same order on
    every machine; only the value handed from block to block is carried by a loop.

    Parameters
    ----------
    x : array_like, shape (n,)
    memory : float
        Between 0 and 1.
    start : float, default 0.0

    Returns
    -------
    ndarray of float32, shape (n,)
    """
    values = np.asarray(x, dtype=np.float32)
    n = values.size
    blocks = -(-n // _BLOCK)
    padded = np.zeros(blocks * _BLOCK, dtype=np.float32)
    padded[:n] = values
    inside = padded.reshape(blocks, _BLOCK)
    reach = 1
    while reach < _BLOCK:
        # After this pass each value holds the decayed sum over the last 2 * reach steps of its block.
        inside[:, reach:] = inside[:, reach:] + np.float32(memory**reach) * inside[:, :-reach]
        reach *= 2
    handed = np.empty(blocks)
    last = inside[:, -1].tolist()
    decay = memory**_BLOCK
    carry = start
    for block in range(blocks):
        handed[block] = carry
        carry = last[block] + decay * carry
    inside += (handed[:, None] * memory ** np.arange(1, _BLOCK + 1)).astype(np.float32)
    return np.asarray(inside.reshape(-1)[:n], dtype=np.float32)


def smooth(x: ArrayLike, steps: float, start: float | None = None) -> NDArray[np.float32]:
    """Exponential mean of ``x`` with a memory of ``steps`` steps, from ``start`` (default: the mean of ``x``)."""
    values = np.asarray(x, dtype=np.float32)
    memory = float(np.exp(-1.0 / steps))
    begin = float(values.mean()) if start is None else start
    return filter_first_order(values * np.float32(1.0 - memory), memory, begin)


def red_noise(rng: np.random.Generator, n: int, memory: float) -> NDArray[np.float32]:
    """Stationary first-order autoregressive noise of unit variance, lag-one correlation ``memory``."""
    white = rng.standard_normal(n, dtype=np.float32)
    scale = np.float32(np.sqrt(1.0 - memory * memory))
    return filter_first_order(white * scale, memory, float(rng.standard_normal()))
