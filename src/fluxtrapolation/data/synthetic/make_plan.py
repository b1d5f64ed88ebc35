"""How ``plan.csv`` was made: years of every tower, and the order in which worlds take them.

Run once, by hand, when the published lists change::

    python -m fluxtrapolation.data.synthetic.make_plan SCENARIOS.json

Input: the published memberships (lists of tower ids). Only the counts that the benchmark publishes are matched: rows,
towers, site-years and towers with one year of each test set. The years of a single tower are invented.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fluxtrapolation.data.sites import load_sites
from fluxtrapolation.data.synthetic.climate import invented_site

FIRST, LAST = 2015, 2022
PUBLISHED_SITES = 207
# Of the temporal test set: towers with rows in that year (126 towers, 340 site-years). Records run on without a hole,
# so 126 - 112 = 14 towers have one test year, as published.
_TEMPORAL_REACH = {2019: 126, 2020: 112, 2021: 63, 2022: 39}
# (site-years, leap years among them, towers with one year): 24 h * (365 * years + leap years) gives the published rows.
_TARGETS = {"spatial": (190, 54, 6), "temperature": (169, 47, 8)}
SMALL = 60
_STEPS = 200_000
# Least numbers of the small world's towers in each published list.
_SMALL_SHARES = {
    "spatial_test": 12,
    "spatial_validation": 8,
    "temperature_test": 12,
    "temperature_validation": 8,
    "temporal": 42,
}

Years = NDArray[np.int64]


def _memberships(lists: Mapping[str, Mapping[str, Sequence[str]]]) -> dict[str, set[str]]:
    return {
        "temporal": set(lists["temporal"]["sites"]),
        "spatial_test": set(lists["spatial"]["test"]),
        "spatial_validation": set(lists["spatial"]["validation"]),
        "temperature_test": set(lists["temperature"]["test"]),
        "temperature_validation": set(lists["temperature"]["validation"]),
        "redraw_test": set(lists["spatial-redraw"]["test"]),
    }


def _counts(first: Years, last: Years, rows: NDArray[np.bool_]) -> tuple[int, int, int]:
    length = (last - first + 1)[rows]
    leap = sum(((first <= year) & (last >= year))[rows].sum() for year in (2016, 2020))
    return int(length.sum()), int(leap), int((length == 1).sum())


def _misfit(first: Years, last: Years, groups: Mapping[str, NDArray[np.bool_]]) -> float:
    total = 0.0
    for name, rows in groups.items():
        for have, want in zip(_counts(first, last, rows), _TARGETS[name], strict=True):
            total += abs(have - want)
    return total


def draw_spans(ids: Sequence[str], members: Mapping[str, set[str]], seed: int = 7) -> tuple[Years, Years]:
    """First and last year of every tower, by annealing until every published count is met exactly.

    Towers of the temporal list hold 2018; the other known towers do not, so they lie wholly before or after it.
    Invented towers, and known ones outside the test lists, are long, so that the world comes near 10 million rows.
    """
    rng = np.random.default_rng(seed)
    n = len(ids)
    temporal = np.array([site in members["temporal"] for site in ids])
    groups = {name: np.array([site in members[f"{name}_test"] for site in ids]) for name in _TARGETS}
    tested = np.logical_or.reduce(list(groups.values()))
    invented = np.array([site.startswith("XX-") for site in ids])

    reach = rng.permutation(np.flatnonzero(temporal))
    last = np.full(n, LAST)
    last[temporal] = 2018
    for year, count in _TEMPORAL_REACH.items():
        last[reach[:count]] = year
    first = np.where(invented, FIRST, np.where(temporal, rng.choice([2015, 2016, 2017], n, p=[0.8, 0.1, 0.1]), 2019))
    free = np.flatnonzero(tested)
    misfit = _misfit(first, last, groups)
    for step in range(_STEPS):
        if misfit == 0.0:
            return first, last
        old_first, old_last = first.copy(), last.copy()
        i = int(rng.choice(free))
        if temporal[i] and rng.random() < 0.5:
            j = int(rng.choice(reach))
            last[i], last[j] = last[j], last[i]  # keeps the number of towers that reach each year
        elif temporal[i]:
            first[i] = rng.integers(FIRST, 2019)
        else:
            low, high = (2019, LAST) if rng.random() < 0.7 else (FIRST, 2017)
            first[i] = rng.integers(low, high + 1)
            last[i] = rng.integers(first[i], high + 1)
        new = _misfit(first, last, groups)
        if new <= misfit or rng.random() < np.exp((misfit - new) / (3.0 * (1.0 - step / _STEPS))):
            misfit = new
        else:
            first, last = old_first, old_last
    raise RuntimeError(f"no spans found (misfit {misfit}); try another seed")


def draw_order(ids: Sequence[str], igbp: Sequence[str], members: Mapping[str, set[str]], seed: int = 7) -> list[int]:
    """A fixed well-mixed order: any first N towers hold every list and every IGBP class in fair shares.

    Greedy: the next tower is the one that best makes up what the lists and classes lack against their share.
    """
    rng = np.random.default_rng(seed)
    known = [i for i, site in enumerate(ids) if not site.startswith("XX-")]
    rows: dict[str, NDArray[np.float64]] = {}
    share: dict[str, float] = {}
    for name, sites in members.items():
        rows[name] = np.array([site in sites for site in ids], dtype=float)
        held = float(rows[name].sum()) / len(known)
        share[name] = max(held, _SMALL_SHARES.get(name, 0) / SMALL)
    for kind in sorted(set(igbp)):
        rows[kind] = np.array([value == kind for value in igbp], dtype=float)
        share[kind] = float(rows[kind][known].sum()) / len(known)
    table = np.column_stack(list(rows.values()))
    want = np.array([share[name] for name in rows])
    weight = np.array([1.0 if name in members else 0.5 for name in rows])
    left = set(known)
    chosen: list[int] = []
    held_now = np.zeros(len(rows))
    noise = rng.random(len(ids)) * 0.02
    while left:
        lack = want * (len(chosen) + 1) - held_now
        best = max(left, key=lambda i: float((weight * lack) @ table[i]) - 0.15 * table[i].sum() + noise[i])
        chosen.append(best)
        held_now += table[best]
        left.remove(best)
    return chosen + [i for i, site in enumerate(ids) if site.startswith("XX-")]


def make_plan(lists: Mapping[str, Mapping[str, Sequence[str]]]) -> str:
    """The text of ``plan.csv``: ``site_id, first_year, last_year`` in the order in which worlds take towers."""
    members = _memberships(lists)
    facts = load_sites()
    ids = sorted(set().union(*members.values()))
    igbp = [facts[site].igbp for site in ids]
    for number in range(1, PUBLISHED_SITES - len(ids) + 1):
        tower = invented_site(number)
        ids.append(tower.site_id)
        igbp.append(tower.igbp)
    first, last = draw_spans(ids, members)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["site_id", "first_year", "last_year"])
    writer.writerows([ids[i], first[i], last[i]] for i in draw_order(ids, igbp, members))
    return out.getvalue()


if __name__ == "__main__":
    Path(__file__).with_name("plan.csv").write_text(make_plan(json.loads(Path(sys.argv[1]).read_text())))
