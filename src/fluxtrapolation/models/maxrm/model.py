"""The registered models: an ordinary forest, its leaf values chosen anew for the worst train domain."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.errors import ModelError
from fluxtrapolation.models.base import FluxModel
from fluxtrapolation.models.maxrm.dual import Solution, solve
from fluxtrapolation.models.maxrm.grow import Growth, grow_batches, own_risks
from fluxtrapolation.models.maxrm.joint import solve_jointly
from fluxtrapolation.models.maxrm.rows import stratified
from fluxtrapolation.models.maxrm.table import Floats, leaf_table
from fluxtrapolation.models.maxrm.trees import (
    in_threads,
    leaf_nodes,
    leaf_of_rows,
    load_trees,
    mean_prediction,
    save_trees,
)


class MaxRM(FluxModel):
    """A random forest whose leaf values minimise the worst train domain's risk, tree by tree.

    scikit-learn grows ``RandomForestRegressor(n_estimators, min_samples_leaf, max_features, random_state=seed)``. Then
    every tree gets the leaf values that minimise ``max_d R_d(v)``, with ``R_d`` the mean squared error of the tree over
    all rows of train domain d that are used (in the tree's bootstrap sample or not), less the domain's baseline.

    Parameters
    ----------
    n_estimators : int
        Trees.
    min_samples_leaf : int
        Fewest rows in a leaf when the trees grow.
    max_features : float
        Share of the features tried at a split.
    joint : bool
        Then choose the leaf values of all trees together, so that the forest's worst risk cannot rise. Holds the leaf
        of every row in every tree, int32: 0.8 GB for 1000 trees on 200,000 rows.
    joint_ridge : float
        What it costs, in that, to move a row's value in a tree: times the mean squared move.
    joint_steps : int
        Most evaluations in that.
    tolerance : float
        Relative duality gap at which a tree's leaf values are good enough.
    own_estimators : int
        Trees of each domain's own forest (risk ``regret``); never more than ``n_estimators``.
    max_rows : int or None
        Most train rows used, each domain keeping its share. Tables and trees grow with the rows: 1000 trees with leaves
        of 5 take some 3 GB at the default.
    n_jobs : int
        Threads; 0 means all.

    Attributes
    ----------
    trees_ : list
        The trees, as scikit-learn's ``Tree`` objects with the new values.

    Source: Freni, Fries, Kühne, Reichstein and Peters (2025), arXiv:2512.10445; the leaf values by our own dual method.
    """

    risk: ClassVar[str] = "mse"

    def __init__(
        self,
        n_estimators: int = 100,
        min_samples_leaf: int = 10,
        max_features: float = 1.0,
        joint: bool = False,
        joint_ridge: float = 10.0,
        joint_steps: int = 300,
        tolerance: float = 1e-4,
        own_estimators: int = 100,
        max_rows: int | None = 200_000,
        n_jobs: int = 0,
    ) -> None:
        self.n_estimators = n_estimators
        self.min_samples_leaf = min_samples_leaf
        self.max_features = max_features
        self.joint = joint
        self.joint_ridge = joint_ridge
        self.joint_steps = joint_steps
        self.tolerance = tolerance
        self.own_estimators = own_estimators
        self.max_rows = max_rows
        self.n_jobs = n_jobs

    def _fit(
        self,
        X: NDArray[np.float32],
        y: NDArray[np.float32],
        *,
        domains: NDArray[Any] | None,
        validation: tuple[NDArray[np.float32], NDArray[np.float32]] | None,  # noqa: ARG002
        seed: int,
        time_limit: float | None,
    ) -> None:
        begin = time.monotonic()
        if domains is None:
            raise ModelError(
                f"{self.name} minimises the worst train domain's risk, so it must know the domain of each train row. "
                "Call fit(X, y, domains=...); for a forest without domains use scikit-learn's RandomForestRegressor."
            )
        self._check_parameters()
        code = np.unique(domains, return_inverse=True)[1]
        rows = stratified(code, self.max_rows, seed=seed, model=self.name)
        data = _Rows(X if rows is None else X[rows], (y if rows is None else y[rows]).astype(np.float64))
        data.domain = code if rows is None else code[rows]
        data.n_domains = int(code.max()) + 1
        single = data.n_domains == 1
        clock = _Clock(begin, time_limit)
        notes = []
        if rows is not None:
            notes.append(f"{len(data.y):,} of {len(y):,} train rows used (max_rows of the model itself)")
        growth = Growth(self.min_samples_leaf, self.max_features, seed, self.n_jobs)
        report: dict[str, Any] = {
            "risk": self.risk,
            "rows": len(data.y),
            "rows_given": len(y),
            "max_rows": self.max_rows,
            "domains": data.n_domains,
        }
        data.baseline = np.zeros(data.n_domains)
        if self.risk == "regret" and not single:
            notes += self._subtract_own_risks(growth, data, clock, report)
        self._grow_and_choose(growth, data, clock, report, choose=not single)
        if single:
            notes.append("all train rows are of one domain: this is an ordinary forest")
        elif self.joint:
            self._choose_jointly(data, clock, report)
        notes += _warnings(report, self.n_estimators)
        report["seconds_growing"], report["seconds_leaf_values"] = clock.growing, clock.choosing
        self.report_, self.notes_ = report, tuple(notes)

    def _check_parameters(self) -> None:
        least = {"n_estimators": 1, "min_samples_leaf": 1, "own_estimators": 1}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ModelError(f"{self.name}: {name} must be at least {value}, not {getattr(self, name)}.")
        for name in ("joint_ridge", "tolerance", "max_features"):
            if not getattr(self, name) > 0:
                raise ModelError(f"{self.name}: {name} must be positive, not {getattr(self, name):g}.")
        if self.max_rows is not None and self.max_rows < 1:
            raise ModelError(f"{self.name}: max_rows must be at least 1 or None, not {self.max_rows}.")

    def _subtract_own_risks(self, growth: Growth, data: _Rows, clock: _Clock, report: dict[str, Any]) -> list[str]:
        begin = time.monotonic()
        own = own_risks(
            growth,
            data.X,
            data.y,
            data.domain,
            data.n_domains,
            n_estimators=min(self.own_estimators, self.n_estimators),
            until=clock.share(0.3),
        )
        lost = np.isnan(own.risk)
        if lost.all():
            raise ModelError(
                f"{self.name}: each of the {len(lost)} train domains has a single row, so none has an out-of-bag risk. "
                "Give domains of many rows, such as towers, or use maxrm-mse."
            )
        # A domain without a baseline has no regret: it takes no part in the maximum, and the others are numbered anew.
        data.domain = np.where(lost, -1, np.cumsum(~lost) - 1)[data.domain]
        data.baseline = own.risk[~lost]
        data.n_domains = len(data.baseline)
        report |= {
            "own_trees": own.trees,
            "own_risk_median": float(np.median(data.baseline)),
            "own_risk_max": float(data.baseline.max()),
            "domains_with_own_mean": int((own.of_mean & ~lost).sum()),
            "domains_left_out": int(lost.sum()),
            "seconds_own_forests": time.monotonic() - begin,
        }
        notes = []
        if report["domains_with_own_mean"]:
            notes.append(
                f"{report['domains_with_own_mean']} train domains have fewer than {2 * self.min_samples_leaf} rows: "
                "their regret is against the mean of their other rows, not a forest"
            )
        if lost.any():
            notes.append(f"{int(lost.sum())} train domains of a single row take no part in the worst regret")
        return notes

    def _grow_and_choose(
        self, growth: Growth, data: _Rows, clock: _Clock, report: dict[str, Any], *, choose: bool
    ) -> None:
        self.trees_: list[Any] = []
        data.plain, data.chosen = np.zeros(len(data.y)), np.zeros(len(data.y))
        solutions: list[Solution] = []
        until = clock.share(0.6 if self.joint else 1.0)
        for batch in _timed(grow_batches(growth, data.X, data.y, self.n_estimators, until=until), clock):
            begin = time.monotonic()
            if choose:
                jobs = [(tree, data, self.tolerance) for tree in batch]
                for tree, found in zip(batch, in_threads(self.n_jobs, _choose, jobs), strict=True):
                    data.plain += found.plain
                    data.chosen += found.chosen
                    tree.value[found.nodes, 0, 0] = found.solution.values
                    solutions.append(found.solution)
            self.trees_ += batch
            clock.choosing += time.monotonic() - begin
        count = len(self.trees_)
        report["n_trees"] = count
        report["leaves_per_tree"] = float(np.mean([tree.n_leaves for tree in self.trees_]))
        if not solutions:
            return
        gaps = np.array([solution.gap for solution in solutions])
        data.plain /= count
        data.chosen /= count
        report |= {
            "gap_max": float(gaps.max()),
            "gap_median": float(np.median(gaps)),
            "steps_median": float(np.median([solution.steps for solution in solutions])),
            "converged_share": float(np.mean([solution.converged for solution in solutions])),
            "tree_worst_risk_median": float(np.median([solution.primal for solution in solutions])),
            "worst_risk_plain": data.worst_risk(data.plain),
            "worst_risk": data.worst_risk(data.chosen),
        }

    def _choose_jointly(self, data: _Rows, clock: _Clock, report: dict[str, Any]) -> None:
        begin = time.monotonic()
        leaves = list(in_threads(self.n_jobs, leaf_of_rows, [(tree, data.X) for tree in self.trees_]))
        solution = solve_jointly(
            leaves,
            data.chosen,
            data.y,
            data.domain,
            data.baseline,
            ridge=self.joint_ridge,
            tolerance=10 * self.tolerance,
            max_steps=self.joint_steps,
            n_jobs=self.n_jobs,
            until=clock.share(1.0),
        )
        for tree, leaf, change in zip(self.trees_, leaves, solution.changes, strict=True):
            nodes = leaf_nodes(tree)
            tree.value[nodes, 0, 0] += change
            data.chosen += change[leaf] / len(self.trees_)
        report |= {
            "worst_risk_by_tree": report["worst_risk"],
            "worst_risk": data.worst_risk(data.chosen),
            "joint_gap": solution.gap if np.isfinite(solution.gap) else None,
            "joint_steps": solution.steps,
            "joint_converged": solution.converged,
            "seconds_joint": time.monotonic() - begin,
        }

    def _predict(self, X: NDArray[np.float32]) -> NDArray[Any]:
        return mean_prediction(self.trees_, X, n_jobs=self.n_jobs)

    def _save(self, folder: Path) -> None:
        save_trees(folder / "trees.npz", self.trees_)

    def _load(self, folder: Path) -> None:
        self.trees_ = load_trees(folder / "trees.npz", self.n_features_in_)


class MaxRMMse(MaxRM):
    """MaxRM with the mean squared error as the risk."""

    name = "maxrm-mse"
    risk = "mse"


class MaxRMRegret(MaxRM):
    """MaxRM with the regret: the mean squared error less the out-of-bag one of the domain's own forest."""

    name = "maxrm-regret"
    risk = "regret"


@dataclass
class _Rows:
    """The train rows that are used, and what is known of them while the forest is made."""

    X: NDArray[np.float32]
    y: Floats
    domain: NDArray[np.intp] = field(default_factory=lambda: np.empty(0, dtype=np.intp))
    """Domain of each row; -1 where the domain takes no part in the maximum."""
    n_domains: int = 0
    baseline: Floats = field(default_factory=lambda: np.empty(0))
    plain: Floats = field(default_factory=lambda: np.empty(0))
    """Prediction of the forest with scikit-learn's values."""
    chosen: Floats = field(default_factory=lambda: np.empty(0))
    """Prediction with the new ones."""

    def worst_risk(self, predicted: Floats) -> float:
        """The worst domain's risk of a prediction of these rows."""
        counted = self.domain >= 0
        error = (self.y - predicted)[counted]
        domain = self.domain[counted]
        mean = np.bincount(domain, error * error, self.n_domains) / np.bincount(domain, minlength=self.n_domains)
        return float((mean - self.baseline).max())


@dataclass
class _Clock:
    """When the fit began, when it must end, and where the seconds went."""

    begin: float
    limit: float | None
    growing: float = 0.0
    choosing: float = 0.0

    def share(self, part: float) -> float | None:
        """The moment at which this part of the time is gone; None without a limit."""
        return None if self.limit is None else self.begin + part * self.limit


def _timed(batches: Iterator[list[Any]], clock: _Clock) -> Iterator[list[Any]]:
    while True:
        begin = time.monotonic()
        batch = next(batches, None)
        clock.growing += time.monotonic() - begin
        if batch is None:
            return
        yield batch


@dataclass(frozen=True)
class _Chosen:
    """The new leaf values of one tree."""

    nodes: NDArray[np.intp]
    solution: Solution
    plain: Floats
    chosen: Floats


def _choose(tree: Any, data: _Rows, tolerance: float) -> _Chosen:
    """Choose the leaf values of one tree; scikit-learn's values stay where nothing better is found."""
    nodes = leaf_nodes(tree)
    leaf = leaf_of_rows(tree, data.X)
    plain = tree.value[nodes, 0, 0]
    table = leaf_table(leaf, data.domain, data.y, n_leaves=len(nodes), n_domains=data.n_domains, baseline=data.baseline)
    solution = solve(table, tolerance=tolerance, fallback=plain)
    return _Chosen(nodes, solution, plain[leaf], solution.values[leaf])


def _warnings(report: dict[str, Any], n_estimators: int) -> list[str]:
    """What a reader of the scores must know of the fit."""
    notes = []
    if report["n_trees"] < n_estimators:
        notes.append(f"the time limit ended the fit at {report['n_trees']:,} of {n_estimators:,} trees")
    if report.get("converged_share", 1.0) < 1.0:
        notes.append(
            f"{1 - report['converged_share']:.1%} of the trees did not reach the duality gap asked for; "
            f"the largest is {report['gap_max']:.1e}"
        )
    if report.get("worst_risk", 0.0) > report.get("worst_risk_plain", 0.0):
        notes.append("the forest's worst train risk is above the plain forest's: only single trees are guaranteed")
    return notes
