"""Which train rows a forest uses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.errors import ModelError


def stratified(code: NDArray[Any], max_rows: int | None, *, seed: int, model: str) -> NDArray[np.intp] | None:
    """At most ``max_rows`` rows, drawn without replacement, each domain keeping its share and at least one row.

    Parameters
    ----------
    code : ndarray of int, shape (rows,)
        Domain of each row, from 0.
    max_rows : int or None
        None: all rows.
    seed : int
    model : str
        Who asks, for messages.

    Returns
    -------
    ndarray of int or None
        Sorted row numbers; None if all rows are used.

    Raises
    ------
    ModelError
        If there are more domains than rows allowed.
    """
    if max_rows is None or len(code) <= max_rows:
        return None
    counts = np.bincount(code)
    if len(counts) > max_rows:
        raise ModelError(f"{model}: {len(counts):,} train domains do not fit into max_rows={max_rows:,} rows.")
    exact = counts * (max_rows / len(code))
    quota = np.maximum(np.floor(exact).astype(np.int64), 1)
    # Rows left over go to the largest remainders; if small domains took too many, the largest domains give them back.
    spare = max_rows - int(quota.sum())
    if spare > 0:
        quota[np.argsort(quota - exact, kind="stable")[:spare]] += 1
    while spare < 0:
        quota[int(np.argmax(quota))] -= 1
        spare += 1
    generator = np.random.default_rng([seed, 0])
    # Rows in random order, then sorted by domain: the first ones of each domain are its draw.
    shuffled = generator.permutation(len(code))
    ordered = shuffled[np.argsort(code[shuffled], kind="stable")]
    place = np.arange(len(code)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(ordered[place < np.repeat(quota, counts)])
