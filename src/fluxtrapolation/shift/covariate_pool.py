"""Train and test rows side by side, with the tower and the unit of chance of every row."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.errors import DataError, examples
from fluxtrapolation.schema import PFT_PREFIX, VARIABLES
from fluxtrapolation.shift.sampling import Rows

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
UnitKind = Literal["tower", "tower-year"]

PFT: Final = "PFT"
"""The one-hot columns of the plant functional type, told as one covariate."""

PARALLEL_ROWS: Final = 20_000
"""Rows from which on work is spread over processes."""
MEMORY: Final = 8 << 30
"""Bytes that these processes may take together, beside the rows themselves."""

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Covariate:
    """A covariate and its columns of ``X``: one, or all one-hot columns of the plant functional type."""

    name: str
    columns: tuple[int, ...]

    @property
    def unit(self) -> str:
        """Unit in the store; empty if the schema does not know the covariate."""
        known = VARIABLES.get(self.name)
        return "class" if self.name == PFT else known.unit if known else ""


@dataclass(frozen=True, eq=False)
class Pool:
    """Rows of both parts, one below the other.

    Attributes
    ----------
    X : ndarray of float32, shape (n, features)
    test : ndarray of bool, shape (n,)
        Whether a row is a test row.
    unit, tower : ndarray of int64, shape (n,)
        Codes into ``units`` and ``towers``.
    unit_test : ndarray of bool, shape (units,)
        The side of each unit.
    unit_tower : ndarray of int64, shape (units,)
    kind : {'tower', 'tower-year'}
        What exchanges its label by chance: towers, or, where towers stand on both sides, the years within a tower.
    covariates : tuple of Covariate
        Those that vary.
    constant : tuple of str
        Those that do not.
    """

    X: Float32
    test: Bools
    unit: Ints
    tower: Ints
    units: tuple[str, ...]
    towers: tuple[str, ...]
    unit_test: Bools
    unit_tower: Ints
    kind: UnitKind
    feature_names: tuple[str, ...]
    covariates: tuple[Covariate, ...]
    constant: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.test)

    @classmethod
    def of(cls, rows: Rows) -> Pool:
        """Put the rows of both parts together.

        Raises
        ------
        DataError
            If a covariate holds NaN or infinity, or if no covariate varies.
        """
        parts = (rows.train, rows.test)
        names = parts[0].feature_names
        X = np.concatenate([part.X for part in parts])
        groups = covariate_groups(names)
        _refuse_holes(X, groups)
        towers = tuple(sorted(set(parts[0].sites) | set(parts[1].sites)))
        index = {site: code for code, site in enumerate(towers)}
        tower = np.concatenate([np.array([index[s] for s in part.sites], np.int64)[part.site_codes] for part in parts])
        test = np.repeat([False, True], [len(part) for part in parts])
        kind: UnitKind = "tower-year" if rows.paired else "tower"
        year = np.zeros(len(tower), np.int64)
        if kind == "tower-year":
            time = np.concatenate([part.time for part in parts])
            year = time.astype("datetime64[Y]").astype(np.int64) + 1970
        # The side is part of the key: a tower-year with hours on both sides (no published scenario has one) is two.
        first = int(year.min())
        span = int(year.max()) - first + 1
        key = (tower * span + (year - first)) * 2 + test
        found, unit = np.unique(key, return_inverse=True)
        unit_tower = found // 2 // span
        labels = [towers[t] for t in unit_tower.tolist()]
        if kind == "tower-year":
            labels = [f"{site} {first + k // 2 % span}" for site, k in zip(labels, found.tolist(), strict=True)]
        varying = tuple(c for c in groups if any(np.ptp(X[:, i]) > 0 for i in c.columns))
        if not varying:
            raise DataError(
                f"Not one of the {len(groups)} covariates varies ({examples(c.name for c in groups)}): there is no "
                "shift of P(X) to measure. Give a store with covariates, or more towers or hours."
            )
        return cls(
            X=X,
            test=test,
            unit=unit.astype(np.int64).ravel(),
            tower=tower,
            units=tuple(labels),
            towers=towers,
            unit_test=(found % 2).astype(np.bool_),
            unit_tower=unit_tower,
            kind=kind,
            feature_names=names,
            covariates=varying,
            constant=tuple(c.name for c in groups if c not in varying),
        )

    @property
    def fit_bytes(self) -> int:
        """About what a process takes that fits one half and tells the other: each is copied, and again in 64 bits."""
        return 3 * self.X.nbytes

    def unit_rows(self) -> Ints:
        """Rows of each unit, shape (units,)."""
        return np.bincount(self.unit, minlength=len(self.units))

    def towers_of(self, *, test: bool) -> int:
        """Towers with rows on one side."""
        return len(np.unique(self.unit_tower[self.unit_test == test]))

    def balanced(self, max_rows: int, *, least: int, rng: np.random.Generator) -> Ints:
        """Indices of about ``max_rows`` rows, the same number from each unit (all of a smaller one), ascending by unit.

        At least ``least`` of each unit, even if that makes more than ``max_rows``.
        """
        each = max(least, max_rows // len(self.units))
        order = np.lexsort((rng.random(len(self)), self.unit))
        counts = self.unit_rows()
        place = np.arange(len(self)) - np.repeat(np.cumsum(counts) - counts, counts)
        return order[place < each]


def covariate_groups(feature_names: Sequence[str]) -> tuple[Covariate, ...]:
    """The covariates behind the columns of ``X``: one each, and all ``PFT_*`` columns as one."""
    single = [Covariate(n, (i,)) for i, n in enumerate(feature_names) if not n.startswith(PFT_PREFIX)]
    pft = tuple(i for i, n in enumerate(feature_names) if n.startswith(PFT_PREFIX))
    return (*single, Covariate(PFT, pft)) if pft else tuple(single)


def _refuse_holes(X: Float32, groups: Sequence[Covariate]) -> None:
    for covariate in groups:
        for column in covariate.columns:
            bad = ~np.isfinite(X[:, column])
            if bad.any():
                raise DataError(
                    f"Covariate {covariate.name} is NaN or infinite in {int(bad.sum()):,} of {len(X):,} rows (first: "
                    f"row {int(bad.argmax()):,} of train and test together). Fill or drop these rows first."
                )


def seeded(seed: int, *path: int) -> np.random.Generator:
    """The random stream of one job, the same whatever runs beside it."""
    return np.random.default_rng(np.random.SeedSequence([seed, *path]))


def side_by_side(work: Callable[[Task], Result], tasks: Sequence[Task], *, rows: int, each: int = 0) -> list[Result]:
    """Results of ``work`` in order: in one process per core, each with one thread; or here, where ``rows`` are few.

    Threads of boosting lose more on small samples by waiting for one another than they gain, on a busy machine a
    hundredfold. And two fits in threads of one process would disturb each other's warning filters (scikit-learn resets
    and restores those of the process). Where a task takes ``each`` bytes, no more processes than :data:`MEMORY` holds.
    """
    processes = processes_for(len(tasks), rows, each)
    if processes == 1:
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

        with threadpool_limits(limits=1, user_api="openmp"):
            return [work(task) for task in tasks]
    import joblib

    with joblib.parallel_config(backend="loky", inner_max_num_threads=1):
        found: list[Result] = joblib.Parallel(n_jobs=processes)(joblib.delayed(work)(task) for task in tasks)
    return found


def processes_for(tasks: int, rows: int, each: int) -> int:
    """Processes for tasks on so many rows that take ``each`` bytes."""
    if rows < PARALLEL_ROWS:
        return 1
    return max(1, min(cores(), tasks, MEMORY // max(each, 1)))


def cores() -> int:
    """Cores this process may use, at most 8."""
    affinity = getattr(os, "sched_getaffinity", None)
    return min(len(affinity(0)) if affinity else os.cpu_count() or 1, 8)
