"""How often the measures of shift err on worlds whose answer is known.

    python examples/shift_power.py --worlds 40 --jobs 2 --page docs/results/shift-power.md

Every world is drawn anew: covariates shifted, concept shifted, both, none; towers with traits of their own or without;
the test at other towers or in later years of the same. The by-site decisions should say "shift" where there is one,
and at about the nominal rate where there is none. The published row-wise protocol is measured beside them.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from shift_worlds import KINDS, Judged, World, judge

LEVEL = 0.05
PX_CASE = "other towers, with traits"


@dataclass(frozen=True)
class Case:
    name: str
    world: World


def cases(kinds: tuple[str, ...] = KINDS) -> list[Case]:
    made = [Case("other towers, with traits", World(kind, traits=True)) for kind in kinds] + [
        Case("other towers, no traits", World(kind, traits=False)) for kind in kinds
    ]
    made += [Case("later years, with traits", World(kind, years=True)) for kind in kinds]
    made += [
        Case("few towers (15 and 10), with traits", World(kind, train_towers=15, test_towers=10)) for kind in kinds
    ]
    return made


def one(job: tuple[World, int, int, int, bool]) -> Judged:
    world, seed, repeats, row_repeats, px = job
    with threadpool_limits(limits=1):
        return judge(world, seed, repeats=repeats, row_repeats=row_repeats, px=px)


def rate(hits: int, n: int) -> str:
    """A share with the counts it comes from."""
    return f"{hits}/{n} ({hits / n:.0%})" if n else "-"


def site_cells(judged: list[Judged], marginal: str) -> list[str]:
    """Share called larger or smaller, share without a decision, the median increase."""
    told = [found.site[marginal] for found in judged]
    decided = [one for one in told if one.p_value is not None]
    hits = sum(one.decision in ("larger", "smaller") for one in decided)
    up = sum(one.decision == "larger" for one in decided)
    middle = f"{np.median([one.pooled for one in decided]):+.0%}" if decided else "-"
    return [rate(hits, len(decided)), rate(up, len(decided)), f"{len(told) - len(decided)}", middle]


def row_cells(judged: list[Judged]) -> list[str]:
    """The published number at the shared marginal: mean over worlds, its sd over repeats, share above two sd."""
    told = [found.row["shared"].rmse_increase for found in judged]
    kept = [one for one in told if one.mean is not None and one.sd is not None]
    if not kept:
        return ["-", "-", "-"]
    above = sum(one.mean > 2 * one.sd for one in kept)
    return [
        f"{np.mean([one.mean for one in kept]):+.1%}",
        f"{np.mean([one.sd for one in kept]):.1%}",
        rate(above, len(kept)),
    ]


def imbalance(judged: list[Judged], marginal: str) -> str:
    told = [found.site[marginal].imbalance for found in judged]
    kept = [value for value in told if value is not None]
    return f"{np.mean(kept):.2f}" if kept else "-"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def most(n: int) -> int:
    """The 95 % point of the number of errors of an exact test."""
    from scipy.stats import binom

    return int(binom.ppf(0.95, n, LEVEL))


def draws(case: Case, worlds: int) -> int:
    """Worlds of a case: half as many where only power is asked."""
    return worlds if case.world.kind in ("none", "covariate") else max(worlds // 2, 1)


def report(found: dict[int, list[Judged]], chosen: list[Case], *, worlds: int, repeats: int) -> str:
    main, others, rows = [], [], []
    more = max(worlds // 2, 1)
    for i, case in enumerate(chosen):
        judged, label = found[i], [case.name, case.world.kind]
        p = [one.px for one in judged if one.px is not None]
        px_cell = rate(sum(value < LEVEL for value in p), len(p)) if p else "not run"
        main.append([*label, *site_cells(judged, "shared"), px_cell])
        rows.append([*label, *row_cells(judged)])
        others.append(
            [*label, *(cell for name in ("train", "test") for cell in site_cells(judged, name)[:1])]
            + [imbalance(judged, name) for name in ("train", "test", "shared")]
        )
    return "\n\n".join(
        [
            f"{worlds} worlds per line without a change of P(Y|X), {more} with one; {repeats} repeats by site, "
            f"regressor fitted on train, level {LEVEL:.0%}. An exact test at that level would err in up to "
            f"{most(worlds)} of {worlds} worlds nineteen times out of twenty.",
            "**By site, shared marginal**",
            table(
                [
                    "world",
                    "shift",
                    "P(Y\\|X) told apart",
                    "told larger",
                    "no decision",
                    "median increase",
                    "P(X) found",
                ],
                main,
            ),
            "**The published protocol by row, shared marginal**",
            table(["world", "shift", "increase, mean of worlds", "sd over repeats", "above two sd"], rows),
            "**By site, the other marginals, and how well the weights balance the sides**",
            table(
                [
                    *("world", "shift", "told apart, train marginal", "told apart, test marginal"),
                    *("imbalance train", "imbalance test", "imbalance shared"),
                ],
                others,
            ),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Power and false-positive rates of the measures of shift.")
    parser.add_argument("--worlds", type=int, default=40)
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--row-repeats", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--px", action="store_true", help=f"also the by-site test of P(X), in '{PX_CASE}' (slow)")
    parser.add_argument("--page", type=Path, help="write the tables between the markers of this page")
    asked = parser.parse_args()
    begun = time.perf_counter()
    chosen = cases()
    jobs = [
        (case.world, asked.seed + i, asked.repeats, asked.row_repeats, asked.px and case.name == PX_CASE)
        for case in chosen
        for i in range(draws(case, asked.worlds))
    ]
    with ProcessPoolExecutor(asked.jobs) as pool:
        judged = list(pool.map(one, jobs, chunksize=2))
    each = iter(judged)
    found = {i: [next(each) for _ in range(draws(case, asked.worlds))] for i, case in enumerate(chosen)}
    text = report(found, chosen, worlds=asked.worlds, repeats=asked.repeats)
    print(text)
    print(f"\n{len(jobs)} worlds in {time.perf_counter() - begun:.0f} s", file=sys.stderr)
    if asked.page:
        page = asked.page.read_text(encoding="utf-8")
        start, end = "<!-- tables -->", "<!-- end of tables -->"
        before, after = page.split(start)[0], page.split(end)[1]
        asked.page.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
