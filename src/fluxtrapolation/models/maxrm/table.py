"""What the worst domain's risk of one tree depends on: counts, means and within-cell spread per (domain, leaf)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class LeafTable:
    """Risk of every domain as a function of the leaf values ``v`` of one tree, sparse in (domain, leaf).

    ``R_d(v) = offset_d + sum_l share_dl (v_l - mean_dl)^2``, with ``share_dl`` the share of domain d's rows that lie in
    leaf l. Only cells with rows are held; they are sorted by leaf. Means are kept relative to their leaf's own mean
    (``centre``), so nothing is lost to a target far from zero.

    Attributes
    ----------
    leaf, domain : ndarray of int32, shape (cells,)
    share, mean : ndarray of float64, shape (cells,)
    ends : ndarray of int32, shape (leaves + 1,)
        Leaf l holds the cells ``ends[l]:ends[l + 1]``.
    centre : ndarray of float64, shape (leaves,)
        Mean of each leaf over all rows: the plain value.
    offset : ndarray of float64, shape (domains,)
        Mean squared deviation of a domain's rows from their cell means, less its baseline.
    baseline : ndarray of float64, shape (domains,)
        What is subtracted from each domain's mean squared error: 0 for the risk ``mse``.
    """

    leaf: NDArray[np.int32]
    domain: NDArray[np.int32]
    share: Floats
    mean: Floats
    ends: NDArray[np.int32]
    centre: Floats
    offset: Floats
    baseline: Floats

    @property
    def n_domains(self) -> int:
        return len(self.offset)

    @property
    def n_leaves(self) -> int:
        return len(self.centre)

    def risk(self, values: Floats) -> Floats:
        """Risk of each domain, shape (domains,), with the leaf values ``values``, shape (leaves,)."""
        deviation = (values - self.centre)[self.leaf] - self.mean
        return self.offset + np.bincount(self.domain, self.share * deviation * deviation, self.n_domains)


def leaf_table(
    leaf: NDArray[Any],
    domain: NDArray[Any],
    y: Floats,
    *,
    n_leaves: int,
    n_domains: int,
    baseline: Floats | None = None,
    counted: NDArray[np.bool_] | None = None,
) -> LeafTable:
    """Collect the table of one tree in one pass over the rows.

    Parameters
    ----------
    leaf : ndarray of int, shape (rows,)
        Leaf of each row, 0 to ``n_leaves - 1``; every leaf has a row.
    domain : ndarray of int, shape (rows,)
        Domain of each row, 0 to ``n_domains - 1``; -1 for a row whose domain has no part in the maximum.
    y : ndarray of float64, shape (rows,)
        Target.
    baseline : ndarray of float64, shape (domains,), optional
        Subtracted from each domain's mean squared error.
    counted : ndarray of bool, shape (rows,), optional
        ``domain >= 0``, if it is at hand.

    Notes
    -----
    Sums of squares are taken of deviations from the leaf's mean, so they do not cancel.
    """
    centre = np.bincount(leaf, y, n_leaves) / np.bincount(leaf, minlength=n_leaves)
    deviation = y - centre[leaf]
    counted = domain >= 0 if counted is None else counted
    if not counted.all():
        leaf, domain, deviation = leaf[counted], domain[counted], deviation[counted]
    code, cell = np.unique(leaf.astype(np.int64) * n_domains + domain, return_inverse=True)
    cell_leaf, cell_domain = np.divmod(code, n_domains)
    count = np.bincount(cell)
    rows = np.bincount(domain, minlength=n_domains)
    share = count / rows[cell_domain]
    mean = np.bincount(cell, deviation) / count
    around_leaf = np.bincount(domain, deviation * deviation, n_domains) / rows
    between = np.bincount(cell_domain, share * mean * mean, n_domains)
    subtracted = np.zeros(n_domains) if baseline is None else baseline
    return LeafTable(
        leaf=cell_leaf.astype(np.int32),
        domain=cell_domain.astype(np.int32),
        share=share,
        mean=mean,
        ends=np.searchsorted(cell_leaf, np.arange(n_leaves + 1)).astype(np.int32),
        centre=centre,
        offset=np.maximum(around_leaf - between, 0.0) - subtracted,
        baseline=subtracted,
    )
