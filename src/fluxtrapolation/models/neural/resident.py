"""Train rows on the device, and the order in which they are read: plain or proportionate batches, domain blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Blocks(NamedTuple):
    """As many rows from each of a few sampled domains; a statistic by domain is then a plain mean over an axis."""

    X: Tensor
    """Shape (domains, rows, features)."""
    y: Tensor
    """Shape (domains, rows)."""
    domain: Tensor
    """Shape (domains,): codes of the sampled domains, each once."""


class Resident:
    """Scaled rows as float32 tensors on one device.

    Parameters
    ----------
    X : ndarray of float32, shape (n, features)
    y : ndarray of float32, shape (n,)
    domains : ndarray of int, shape (n,), or None
        Any integer codes; they are made compact.
    device : torch.device
    """

    def __init__(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float32],
        domains: NDArray[np.integer] | None,
        device: torch.device,
    ) -> None:
        self.X = torch.from_numpy(X).to(device)
        self.y = torch.from_numpy(y).to(device)
        self.device = device
        self.n_domains = 0
        if domains is None:
            return
        labels, codes = np.unique(domains, return_inverse=True)
        self.n_domains = len(labels)
        self.labels = labels
        self._codes = codes.astype(np.uint16 if len(labels) < 2**16 else np.int64)
        self.domain = torch.from_numpy(codes.astype(np.int64)).to(device)
        counts = np.bincount(codes, minlength=len(labels))
        self._by_domain = np.argsort(self._codes, kind="stable")
        self._count, self._begin = counts, np.cumsum(counts) - counts
        self._deck = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.y)

    def batches(self, size: int, generator: np.random.Generator, *, proportionate: bool) -> Iterator[Tensor]:
        """Row numbers of the batches of one epoch, each row once; a last batch of one row is left out.

        In proportionate batches each domain has its share of the rows of the epoch, give or take one row.
        """
        order = self.proportionate_order(generator) if proportionate else generator.permutation(len(self))
        rows = torch.from_numpy(order).to(self.device)
        for begin in range(0, len(rows), size):
            if begin and len(rows) - begin < 2:
                return
            yield rows[begin : begin + size]

    def proportionate_order(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """A random order in which every stretch holds each domain in its share; linear time in the rows.

        The rows of a domain are shuffled and spread evenly over the epoch, from a random start. The two sorts are
        stable sorts of 16-bit codes, which numpy does by counting.
        """
        n = len(self)
        shuffled = generator.permutation(n)
        grouped = shuffled[np.argsort(self._codes[shuffled], kind="stable")]
        codes = self._codes[grouped]
        rank = np.arange(n) - self._begin[codes]
        position = (rank + generator.random(self.n_domains)[codes]) / self._count[codes]
        cells = min(n, 2**16)
        cell = np.minimum(position * cells, cells - 1).astype(np.uint16)
        # Rows of one cell come from different domains, in the order of the codes: mixed by a second shuffle.
        mixed = generator.permutation(n)
        return np.asarray(grouped[mixed[np.argsort(cell[mixed], kind="stable")]])

    def blocks(self, n_domains: int, n_rows: int, generator: np.random.Generator) -> Blocks:
        """Draw domains and rows of each (see :meth:`block_rows`) and gather them."""
        rows, domain = self.block_rows(n_domains, n_rows, generator)
        flat = rows.flatten()
        return Blocks(
            self.X.index_select(0, flat).view(*rows.shape, -1), self.y.index_select(0, flat).view(rows.shape), domain
        )

    def block_rows(self, n_domains: int, n_rows: int, generator: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Draw ``n_domains`` domains without, and ``n_rows`` rows of each with replacement.

        Domains are dealt from a shuffled deck, so each has its turn before any comes again; and a draw takes the same
        time with 10 and with 1000 domains.

        Returns
        -------
        rows : Tensor of int64, shape (domains, rows)
        domain : Tensor of int64, shape (domains,)
            Codes of the domains.
        """
        k = min(n_domains, self.n_domains)
        if len(self._deck) < k:
            self._deck = generator.permutation(self.n_domains)
        chosen, self._deck = self._deck[:k], self._deck[k:]
        within = (generator.random((k, n_rows)) * self._count[chosen, None]).astype(np.int64)
        rows = torch.from_numpy(self._by_domain[self._begin[chosen, None] + within]).to(self.device)
        return rows, torch.from_numpy(chosen).to(self.device)
