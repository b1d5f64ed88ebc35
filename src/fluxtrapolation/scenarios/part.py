"""Rows of a split: the Part, and the Split of three parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from fluxtrapolation.errors import DataError, examples
from fluxtrapolation.scenarios.scenario import DomainKind, PartName, Scenario

if TYPE_CHECKING:
    from fluxtrapolation.scenarios.windows import Windows

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Part:
    """Rows of one part of a split.

    Attributes
    ----------
    X : ndarray of float32, shape (n, features), C order
        Covariates, then one-hot plant functional types; columns in ``feature_names``.
    y : ndarray of float32, shape (n,)
        The target in the schema's unit; NaN where it is missing (test rows, and rows outside ``mask``).
    qc : ndarray of int8, shape (n,)
        1 where the targets were measured or well filled.
    mask : ndarray of bool, shape (n,) or None
        Only in a split made for sequences, whose parts hold every hour: the rows that count in training
        (``qc == 1`` and every target of the store present), or in test all rows.
    time : ndarray of datetime64[s], shape (n,)
        START of the hour, local standard time.
    site_codes, domain_codes : ndarray of int32, shape (n,)
        Indices into ``sites`` and ``domains``.
    sites, domains : tuple of str
        Labels, ascending by site. A site-year domain reads ``AU-ASM 2019``.
    """

    name: PartName
    target: str
    scenario: str
    domain_kind: DomainKind
    feature_names: tuple[str, ...]
    X: Float32
    y: Float32
    qc: NDArray[np.int8]
    time: NDArray[np.datetime64]
    site_codes: NDArray[np.int32]
    sites: tuple[str, ...]
    domain_codes: NDArray[np.int32]
    domains: tuple[str, ...]
    mask: NDArray[np.bool_] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.y)

    def __repr__(self) -> str:
        return (
            f"Part({self.name}: {len(self):,} rows, {len(self.feature_names)} features, "
            f"{len(self.sites)} sites, {len(self.domains)} domains)"
        )

    @property
    def site(self) -> NDArray[np.str_]:
        """Site id of every row, shape (n,); made anew at each call (``site_codes`` is the compact form)."""
        return np.asarray(self.sites, dtype=np.str_)[self.site_codes]

    @property
    def domain(self) -> NDArray[np.str_]:
        """Domain label of every row, shape (n,); made anew at each call (``domain_codes`` is the compact form)."""
        return np.asarray(self.domains, dtype=np.str_)[self.domain_codes]

    def take(self, rows: NDArray[Any]) -> Part:
        """The part restricted to ``rows`` (indices or a boolean mask); sites and domains without rows are dropped."""
        site_codes, sites = compact(self.site_codes[rows], self.sites)
        domain_codes, domains = compact(self.domain_codes[rows], self.domains)
        return replace(
            self,
            X=np.ascontiguousarray(self.X[rows]),
            y=self.y[rows],
            qc=self.qc[rows],
            time=self.time[rows],
            site_codes=site_codes,
            sites=sites,
            domain_codes=domain_codes,
            domains=domains,
            mask=None if self.mask is None else self.mask[rows],
        )

    def subsample(self, max_rows: int, *, seed: int) -> Part:
        """At most ``max_rows`` rows, each site keeping its share, in the same order.

        Parameters
        ----------
        max_rows : int
        seed : int
            Seed of the draw; each site draws from its own stream, so its rows do not depend on the other sites.

        Returns
        -------
        Part
            ``self`` if it is small enough already.
        """
        if max_rows < 1:
            raise DataError(f"max_rows must be at least 1, not {max_rows}.")
        if seed < 0:
            raise DataError(f"The seed must not be negative ({seed}).")
        if len(self) <= max_rows:
            return self
        counts = np.bincount(self.site_codes, minlength=len(self.sites))
        quota = shares(counts, max_rows)
        order = np.argsort(self.site_codes, kind="stable")
        ends = np.cumsum(counts)
        kept = []
        for code, site in enumerate(self.sites):
            if quota[code] == 0:
                continue
            rows = order[ends[code] - counts[code] : ends[code]]
            kept.append(site_stream(site, seed).choice(rows, size=quota[code], replace=False, shuffle=False))
        return self.take(np.sort(np.concatenate(kept)))

    def windows(self, *, length: int = 720, warmup: int = 168, stride: int | None = None) -> Windows:
        """Windows over the hours of this part, for sequence models; see :class:`Windows`.

        Parameters
        ----------
        length, warmup : int
            Hours in a window, and hours at its start that only give context.
        stride : int, optional
            Step between windows. Defaults to ``warmup`` in train (published: 168) and to ``length - warmup`` elsewhere
            (552), where every hour is scored exactly once.
        """
        from fluxtrapolation.scenarios.windows import Windows

        return Windows.over(self, length=length, warmup=warmup, stride=stride)

    def to_frame(self, y_pred: ArrayLike | None = None) -> pl.DataFrame:
        """The rows as a predictions table: site_id, time, domain, y_true, (y_pred,) qc_mask.

        Labels are polars Enums. ``y_true`` is null where the target is missing.
        """
        columns: dict[str, Any] = {
            "site_id": enum_series(self.site_codes, self.sites),
            "time": pl.Series(self.time.astype("datetime64[us]")),
            "domain": enum_series(self.domain_codes, self.domains),
            "y_true": pl.Series(self.y).fill_nan(None),
        }
        if y_pred is not None:
            values = np.asarray(y_pred)
            if values.shape != self.y.shape:
                raise DataError(
                    f"The predictions have shape {values.shape}; the {self.name} part has {len(self):,} rows. "
                    "Give one prediction per row of X."
                )
            columns["y_pred"] = pl.Series(values)
        columns["qc_mask"] = pl.Series(self.qc)
        return pl.DataFrame(columns)


@dataclass(frozen=True, eq=False)
class Split:
    """Three parts of one store under one scenario, for one target.

    Attributes
    ----------
    train, validation, test : Part
    scenario : Scenario
    target : str
    absent : tuple of str
        Listed towers the store lacks.
    without_rows : dict
        By part, towers that are in the store but gave no row (only where whole towers are held out).
    """

    scenario: Scenario
    target: str
    train: Part
    validation: Part
    test: Part
    feature_names: tuple[str, ...]
    absent: tuple[str, ...]
    store_hash: str
    without_rows: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Split({self.scenario.name}, {self.target}: {self.train!r}, {self.validation!r}, {self.test!r})"

    @property
    def parts(self) -> tuple[Part, Part, Part]:
        return self.train, self.validation, self.test


def site_stream(site: str, seed: int) -> np.random.Generator:
    """The random stream of one site, so that its draws do not depend on the other sites."""
    return np.random.default_rng([seed, int.from_bytes(site.encode(), "big")])


def shares(counts: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Divide ``total`` among groups in proportion to ``counts`` (largest remainder)."""
    exact = counts * (total / counts.sum())
    quota = np.floor(exact).astype(np.int64)
    rest = total - int(quota.sum())
    quota[np.argsort(quota - exact, kind="stable")[:rest]] += 1
    return np.asarray(np.minimum(quota, counts))


def unique_codes(key: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Distinct keys, ascending, and the index of each row's key among them; linear time for small key ranges."""
    seen = np.zeros(size, dtype=np.bool_)
    seen[key] = True
    present = np.flatnonzero(seen)
    position = np.cumsum(seen, dtype=np.int64) - 1
    return present, position[key].astype(np.int32)


def compact(codes: NDArray[np.int32], labels: tuple[str, ...]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """The codes numbered anew over the labels that occur, and those labels."""
    present, compacted = unique_codes(codes.astype(np.int64), len(labels))
    return compacted, tuple(labels[i] for i in present.tolist())


def enum_series(codes: NDArray[np.int32], labels: Sequence[str]) -> pl.Series:
    """Codes and labels as a polars Enum series, without making one string per row."""
    if len(set(labels)) != len(labels):
        raise DataError(f"Labels repeat: {examples(sorted({x for x in labels if list(labels).count(x) > 1}))}.")
    return pl.Series(codes.astype(np.uint32)).cat.to(pl.Enum(list(labels)))
