"""How often intervals hold the truth: simulations of site errors with known quantiles, means and skill.

    python benchmarks/coverage.py [--simulations 2000] [--draws 500] [--only quantiles,means,skill,rank] [--json]

Errors are made as the real ones are: on the logarithmic scale a standard deviation of 0.5 (hourly to seasonal RMSE of
real models) to 1.2 (site means), a correlation of 0.3 to 0.95 between models at the same sites, 0.6 between scales, and
with site-years 20 to 60 % of the variance within sites. Families: ``log-normal 0.5`` and ``1.0``; ``log-t3``, with
heavier tails on both sides; ``half-normal``, the absolute value of a centred error, as site means and anomalies of one
year have, with its long left tail on the logarithmic scale. The figures are shares of simulations in which the interval
holds the true value; their standard error is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fluxtrapolation.evaluation.certainty.board import draw_board
from fluxtrapolation.evaluation.certainty.bootstrap import Statistic, holm, p_value, two_sided
from fluxtrapolation.evaluation.certainty.clusters import Cell
from fluxtrapolation.evaluation.certainty.intervals import interval_table

Floats = npt.NDArray[np.float64]
LEVEL = 0.95
FAMILIES = ("log-normal 0.5", "log-normal 1.0", "log-t3", "half-normal")
YEARS = np.array([1] * 14 + [4] * 30 + [3] * 42 + [2] * 40)
"""Test years of the 126 sites of ``temporal``: 340 site-years."""
SPREAD = np.array([0.5, 0.55, 0.63, 0.5, 0.9, 1.2])
"""Standard deviation of log errors over sites: hourly, weekly, seasonal, anom, iav, site-mean."""
SHARED = np.array([0.6, 0.6, 0.5, 0.95, 0.6, 0.3])
"""Correlation of two models' log errors at the same sites."""
WITHIN = np.array([0.2, 0.25, 0.0, 0.0, 0.0, 0.6])
"""Share of the variance within a site, between its years."""


def standard(rng: np.random.Generator, family: str, shape: tuple[int, ...]) -> Floats:
    """Log errors of unit size of a family."""
    if family == "log-t3":
        return rng.standard_t(3, shape) / np.sqrt(3)
    return rng.standard_normal(shape)


def errors_of(rng: np.random.Generator, family: str, sites: int, years: Floats | None, within: float) -> Floats:
    """Errors of shape (S, Y); NaN beyond a site's years."""
    width = 1 if years is None else int(years.max())
    own = standard(rng, family, (sites, 1))
    noise = rng.standard_normal((sites, width))
    mixed = np.sqrt(1 - within) * own + np.sqrt(within) * noise
    if family == "half-normal":
        values = np.abs(mixed)
    else:
        values = np.exp({"log-normal 0.5": 0.5, "log-normal 1.0": 1.0, "log-t3": 0.6}[family] * mixed)
    if years is not None:
        values[np.arange(width)[None] >= years[:, None]] = np.nan
    return values


def truth_of(family: str, within: float, statistic: Statistic, seed: int = 7) -> float:
    """The statistic of the population, from four million values."""
    rng = np.random.default_rng(seed)
    return statistic.of_values(errors_of(rng, family, 4_000_000, None, within).ravel())


def one_cell(values: Floats) -> Cell:
    """A cell of one run."""
    names = tuple(f"S{number:03d}" for number in range(len(values)))
    return Cell(("GPP", "made", "hourly"), (("m", None),), np.zeros(1, np.int64), values[None], names, np.zeros(1))


def shapes() -> Iterator[tuple[str, int, npt.NDArray[Any] | None, float]]:
    """Sites, years and within-site share of the test sets: 32, 40, 126 sites; 340 site-years of 126 sites."""
    for sites in (32, 40, 126):
        yield f"{sites} sites", sites, None, 0.0
    for within in (0.2, 0.6):
        yield f"340 site-years of 126, {within:.0%} within", 126, YEARS, within


def interval_coverage(summaries: tuple[str, ...], simulations: int, draws: int, seed: int) -> list[dict[str, Any]]:
    """Coverage of both methods for some summaries."""
    rows = []
    for summary in summaries:
        statistic = Statistic.of(summary)
        for label, sites, years, within in shapes():
            for family in FAMILIES:
                if family == "log-t3" and statistic.kind != "quantile":
                    continue  # the exponential of a t distribution has no mean
                truth = truth_of(family, within, statistic)
                rng = np.random.default_rng([seed, sites, FAMILIES.index(family)])
                held = {"recommended": 0, "percentile": 0}
                open_ends = 0
                for number in range(simulations):
                    cell = one_cell(errors_of(rng, family, sites, years, within))
                    for method in held:
                        if method == "percentile" and number >= max(simulations // 3, 200):
                            continue
                        row = interval_table(
                            [cell], names=("model", "selection"), metric="rmse", summary=summary, method=method,
                            level=LEVEL, draws=draws, seed=number,
                        ).row(0, named=True)  # fmt: skip
                        low = -np.inf if row["low"] is None else row["low"]
                        high = np.inf if row["high"] is None else row["high"]
                        held[method] += low <= truth <= high
                        open_ends += method == "recommended" and not np.isfinite(high)
                rows.append(
                    {
                        "summary": summary,
                        "test set": label,
                        "family": family,
                        "recommended": held["recommended"] / simulations,
                        "percentile": held["percentile"] / min(simulations, max(simulations // 3, 200)),
                        "no upper end": open_ends / simulations,
                    }
                )
                tell(rows[-1])
    return rows


def board(rng: np.random.Generator, family: str, gains: tuple[float, ...], scenarios: str) -> list[Cell]:
    """Cells of a board: models whose errors are exp(-gain) of the first one's at equal sites, six scales."""
    root = np.linalg.cholesky(0.6 + 0.4 * np.eye(6))
    runs = tuple((f"m{number}", None) for number in range(len(gains)))
    cells = []
    for name in scenarios.split("+"):
        sites = 126 if name == "temporal" else 40
        common = standard(rng, family, (sites, 6)) @ root.T
        own = [standard(rng, family, (sites, 6)) @ root.T for _ in gains]
        for scale in range(6):
            within = WITHIN[scale] if name == "temporal" else 0.0
            width = 4 if within else 1
            values = np.empty((len(gains), sites, width))
            for model, gain in enumerate(gains):
                base = np.sqrt(SHARED[scale]) * common[:, scale] + np.sqrt(1 - SHARED[scale]) * own[model][:, scale]
                log = np.sqrt(1 - within) * base[:, None] + np.sqrt(within) * rng.standard_normal((sites, width))
                values[model] = np.exp(SPREAD[scale] * log - gain)
                if family == "half-normal":
                    values[model] = np.abs(log) * np.exp(-gain)
            if within:
                values[:, np.arange(4)[None] >= YEARS[:, None]] = np.nan
            names = tuple(f"{name}{number:03d}" for number in range(sites))
            key = ("GPP", name, str(scale))
            cells.append(Cell(key, runs, np.arange(len(gains)), values, names, np.zeros(len(gains), np.int64)))
    return cells


def skill_draws(cells: list[Cell], statistic: Statistic, draws: int, seed: int, *, smooth: bool) -> Floats:
    """Skill scores of all models against the first, shape (R, B)."""
    drawn = draw_board(cells, statistic, positive=True, draws=draws, seed=seed, smooth=smooth)
    return np.asarray((1 - drawn.draws / drawn.draws[0][None]).mean(axis=1))


def skill_coverage(simulations: int, draws: int, seed: int) -> list[dict[str, Any]]:
    """Coverage of the skill score's interval, smoothed and plain, for a model 26 % better than the baseline."""
    rows = []
    for summary in ("median", "q90", "cvar10"):
        statistic = Statistic.of(summary)
        for scenarios in ("spatial", "temporal", "temporal+spatial+temperature"):
            for family in ("log-normal 0.5", "log-t3", "half-normal"):
                rng = np.random.default_rng([seed, len(scenarios), len(family)])
                held = {True: 0, False: 0}
                width = {True: 0.0, False: 0.0}
                for number in range(simulations):
                    cells = board(rng, family, (0.0, 0.3), scenarios)
                    for smooth in held:
                        low, high = two_sided(skill_draws(cells, statistic, draws, number, smooth=smooth)[1], LEVEL)
                        held[smooth] += low <= 1 - np.exp(-0.3) <= high
                        width[smooth] += (high - low) / simulations
                rows.append(
                    {
                        "summary": summary,
                        "scenarios": scenarios,
                        "family": family,
                        "smoothed": held[True] / simulations,
                        "plain": held[False] / simulations,
                        "width smoothed": width[True],
                        "width plain": width[False],
                    }
                )
                tell(rows[-1])
    return rows


def rank_errors(simulations: int, draws: int, seed: int) -> list[dict[str, Any]]:
    """Five equal models: how often is any pair called different, and one pair alone?"""
    rows = []
    for summary in ("median", "q90"):
        for family in ("log-normal 0.5", "log-t3"):
            rng = np.random.default_rng([seed, len(family)])
            any_wrong = one_wrong = 0
            for number in range(simulations):
                cells = board(rng, family, (0.0,) * 5, "spatial")
                skills = skill_draws(cells, Statistic.of(summary), draws, number, smooth=True)
                pairs = [(a, b) for a in range(5) for b in range(a + 1, 5)]
                p = np.asarray([p_value(skills[a] - skills[b]) for a, b in pairs])
                any_wrong += bool((holm(p) <= 1 - LEVEL).any())
                one_wrong += bool(p[-1] <= 1 - LEVEL)
            rows.append(
                {
                    "summary": summary,
                    "family": family,
                    "any of 10 pairs, Holm": any_wrong / simulations,
                    "one pair": one_wrong / simulations,
                }
            )
            tell(rows[-1])
    return rows


def tell(row: dict[str, Any]) -> None:
    """Progress: one line per row."""
    shown = ", ".join(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values())
    print(shown, file=sys.stderr, flush=True)


def show(rows: list[dict[str, Any]]) -> None:
    """Print a Markdown table."""
    names = list(rows[0])
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))
    for row in rows:
        print(
            "| "
            + " | ".join(f"{row[name]:.3f}" if isinstance(row[name], float) else row[name] for name in names)
            + " |"
        )
    print()


def main() -> None:
    """Run the simulations asked for and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="quantiles,means,skill,rank")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    few = max(options.simulations // 4, 100)
    parts: dict[str, Callable[[], list[dict[str, Any]]]] = {
        "quantiles": lambda: interval_coverage(("median", "q90"), options.simulations, options.draws, options.seed),
        "means": lambda: interval_coverage(("mean", "cvar10"), few, options.draws, options.seed),
        "skill": lambda: skill_coverage(few, options.draws, options.seed),
        "rank": lambda: rank_errors(few, options.draws, options.seed),
    }
    found = {name: parts[name]() for name in options.only.split(",")}
    if options.json:
        print(json.dumps(found))
        return
    for name, rows in found.items():
        size = options.simulations if name == "quantiles" else few
        print(f"**{name}** (nominal {LEVEL}; {size} simulations, standard error {np.sqrt(0.05 * 0.95 / size):.3f})\n")
        show(rows)


if __name__ == "__main__":
    main()
