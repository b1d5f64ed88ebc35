"""What the parts of scenarios share, and what neighbours in train are worth: writes the results page on leakage.

    python examples/leakage.py towers/ --scenarios random-1.yaml warm.yaml later.yaml --page docs/results/leakage.md

The store is that of examples/fluxnet2015.py, and the scenarios are those designed there. Every number of the page comes
from the audits and models run here; nothing is typed in.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import FluxtrapolationWarning
from fluxtrapolation.files import write_bytes_atomic
from fluxtrapolation.models import model_spec
from fluxtrapolation.scenarios import (
    Audit,
    DesignOptions,
    Part,
    Scenario,
    Split,
    audit,
    design,
    load_scenario,
    make_split,
)
from fluxtrapolation.scenarios.neighbours import NEIGHBOUR_CORRELATION, NEIGHBOUR_KM, distance_matrix, places_of
from fluxtrapolation.schema import VARIABLES

PUBLISHED = ("spatial", "spatial-redraw", "temperature", "temporal")
NEAR_KM = 10.0
"""Towers this near to each other form a group, from which the scenario of twins takes one as test."""
DRAWS = 2000
BY_HAND = "<!-- Below: written by hand, kept when the page is made again. -->"


def twins(store: Store, name: str, *, seed: int, n_validation: int = 10) -> Scenario:
    """A scenario whose test towers all have a neighbour in train: one tower of each group of near towers."""
    sites = list(store.site_ids)
    matrix = distance_matrix(places_of(store, sites), places_of(store, sites))
    label = np.arange(len(sites))
    for i, j in zip(*np.nonzero(np.triu(matrix <= NEAR_KM, 1)), strict=True):
        label[label == label[j]] = label[i]
    generator = np.random.default_rng(seed)
    groups = [np.flatnonzero(label == one) for one in np.unique(label)]
    test = sorted(sites[int(generator.choice(group))] for group in groups if len(group) > 1)
    alone = [sites[int(group[0])] for group in groups if len(group) == 1]
    validation = sorted(generator.permutation(alone)[:n_validation].tolist())
    taken = {*test, *validation}
    return Scenario(
        name=name,
        kind="sites",
        domain="site",
        rule=f"one tower drawn of each group of towers within {NEAR_KM:g} km (seed {seed}); validation from the others",
        source="examples/leakage.py",
        train=tuple(site for site in sites if site not in taken),
        validation=tuple(validation),
        test=tuple(test),
        made_from={"store_hash": store.data_hash, "seed": seed},
    )


def neighbours_of(store: Store, scenario: Scenario) -> dict[str, list[str]]:
    """Train towers that the option --exclude-neighbours would leave out, for each test tower with any."""
    from fluxtrapolation.scenarios.neighbours import Weather

    weather = Weather(store)
    train = list(scenario.train or ())
    matrix = distance_matrix(places_of(store, scenario.test), places_of(store, train))
    found: dict[str, list[str]] = {}
    for i, site in enumerate(scenario.test):
        for j in np.flatnonzero(matrix[i] <= NEIGHBOUR_KM):
            like = weather.likeness(site, train[j]).correlation
            if like is None or like >= NEIGHBOUR_CORRELATION:
                found.setdefault(site, []).append(train[j])
    return found


def without(part: Part, sites: set[str]) -> Part:
    """A part less the rows of some towers."""
    lost = np.array([site in sites for site in part.sites])
    return part.take(~lost[part.site_codes])


def errors(split: Split, train: Part, affected: Sequence[str], *, seed: int, max_rows: int) -> dict[str, float]:
    """RMSE of xgb at each affected test tower, over all its hours with a flux."""
    used = train.subsample(max_rows, seed=seed)
    model = model_spec("xgb").build()
    model.fit(used.X, used.y, domains=used.site, eval_set=split.validation, feature_names=used.feature_names, seed=seed)
    told = {}
    for site in affected:
        mine = split.test.take(split.test.site_codes == split.test.sites.index(site))
        there = np.isfinite(mine.y)
        if there.any():
            told[site] = float(np.sqrt(np.mean((model.predict(mine.X[there]) - mine.y[there]) ** 2)))
    return told


def compare(store: Store, scenario: Scenario, target: str, *, seeds: int, max_rows: int) -> pl.DataFrame:
    """RMSE of each affected test tower: trained on all, without neighbours, and without as many others.

    Returns
    -------
    polars.DataFrame
        site, seed, full, excluded, control.
    """
    near = neighbours_of(store, scenario)
    leave = {site for listed in near.values() for site in listed}
    split = make_split(store, scenario, target=target)
    held = [site for site in split.test.sites if site in near]
    rows = []
    for seed in range(seeds):
        others = sorted(set(split.train.sites) - leave)
        drawn = set(np.random.default_rng([seed, 7]).permutation(others)[: len(leave)].tolist())
        variants = {"full": set(), "excluded": leave, "control": drawn}
        found = {
            name: errors(split, without(split.train, lost), held, seed=seed, max_rows=max_rows)
            for name, lost in variants.items()
        }
        rows += [(site, seed, *(found[name][site] for name in variants)) for site in found["full"]]
        sys.stderr.write(f"{scenario.name} {target} seed {seed}: done\n")
    return pl.DataFrame(rows, schema=["site", "seed", "full", "excluded", "control"], orient="row")


def interval(values: np.ndarray[Any, Any], *, seed: int = 0) -> tuple[float, float, float]:
    """Mean over towers with the percentile bootstrap's 95 % interval, towers drawn with replacement."""
    drawn = np.random.default_rng(seed).integers(len(values), size=(DRAWS, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


def effect(table: pl.DataFrame, unit: str) -> list[str]:
    """Rows of the page: mean RMSE of each variant, and the changes against all train towers."""
    by_site = table.group_by("site").agg(pl.col("full", "excluded", "control").mean()).sort("site")
    full, excluded, control = (by_site[name].to_numpy() for name in ("full", "excluded", "control"))

    def told(change: np.ndarray[Any, Any]) -> str:
        mean, low, high = interval(100 * change)
        return f"{mean:+.1f} % ({low:+.1f} to {high:+.1f})"

    return [
        str(by_site.height),
        *(f"{values.mean():.3f}" for values in (full, excluded, control)),
        *(told(values / full - 1) for values in (excluded, control)),
        told((excluded - control) / full),
        f"{int((excluded > control).sum())} of {by_site.height}",
        unit,
    ]


def reach_table(audits: Sequence[Audit]) -> str:
    """How many held-out towers have a neighbour, by scenario and distance."""
    found = [one for one in audits if one.reach.height]
    steps = sorted({float(km) for one in found for km in one.reach["km"]})
    rows = [
        "| scenario | towers of | near a tower of | towers | " + " | ".join(f"<= {km:g} km" for km in steps) + " |",
        "|---|---|---|---:|" + "---:|" * len(steps),
    ]
    for one in found:
        for part, other in (("test", "train"), ("test", "validation"), ("validation", "train")):
            mine = one.reach.filter((pl.col("part") == part) & (pl.col("other") == other)).sort("km")
            counts = " | ".join(str(n) for n in mine["with_neighbour"])
            rows.append(f"| {one.scenario} | {part} | {other} | {mine['towers'][0]} | {counts} |")
    return "\n".join(rows)


def near_table(one: Audit, km: float) -> str:
    """Test towers near a train tower, each with its nearest and how many there are."""
    at = (pl.col("part_a") == "test") & (pl.col("part_b") == "train") & (pl.col("distance_km") <= km)
    near = one.near.filter(at).with_columns(pl.len().over("site_a").alias("count"))
    rows = ["| test tower | nearest train tower | km | train towers so near |", "|---|---|---:|---:|"]
    rows += [
        f"| {row['site_a']} ({row['name_a']}, {row['igbp_a']}) | {row['site_b']} ({row['name_b']}, {row['igbp_b']}) "
        f"| {row['distance_km']:.2f} | {row['count']} |"
        for row in near.unique("site_a", keep="first", maintain_order=True).iter_rows(named=True)
    ]
    return "\n".join(rows) if len(rows) > 2 else f"No test tower has a train tower within {km:g} km."


def finding_list(one: Audit) -> str:
    """Grave findings in full, and notes counted."""
    lines = [f"- **{finding.kind}**: {finding.text}" for finding in one.grave]
    weather = [finding for finding in one.findings if finding.kind == "shared-weather"]
    if weather:
        pairs = sorted({" and ".join(finding.sites) for finding in weather})
        lines.append(f"- shared-weather (note): {len(weather)} columns of {len(pairs)} pairs: {', '.join(pairs)}")
    days = [finding for finding in one.findings if finding.kind == "copied-weather-days"]
    lines += [f"- copied-weather-days (note): {finding.text}" for finding in days]
    return "\n".join(lines) or "Nothing."


def page(store: Store, files: Sequence[Path], *, seeds: int, max_rows: int) -> str:
    """The results page."""
    published = [audit(None, name) for name in PUBLISHED]
    scenarios = [load_scenario(file) for file in files]
    designed = [audit(store, one) for one in scenarios]
    pair = twins(store, "twins", seed=1)
    training = [one for one in scenarios if one.kind == "sites" and neighbours_of(store, one)] + [pair]
    info = store.info()
    parts = [
        f"""# Leakage: what train, validation and test share

{info["sites"]} towers of FLUXNET2015, {info["rows"]:,} hours (content hash `{info["data_hash"][:16]}`), and the
published scenarios by packaged coordinates. This page is written by one command:

```bash
python examples/leakage.py towers/ --scenarios random-1.yaml warm.yaml later.yaml --page docs/results/leakage.md
```

What the words mean, and the thresholds: [Scenarios and splits](../scenarios.md#audit-what-the-parts-share).""",
        "## Published scenarios: towers near each other\n\n"
        f"Train are the {published[0].record['towers']['train']} other towers that the published lists name. Held-out\n"
        "towers with at least one tower of the other part within a distance:\n\n" + reach_table(published),
        *(
            f"### {one.scenario}: test towers within {NEAR_KM:g} km of train\n\n{near_table(one, NEAR_KM)}"
            for one in published
            if one.near.height
        ),
        "### Two ids at one place\n\n"
        + "\n".join(f"**{one.scenario}**\n\n{finding_list(one)}\n" for one in published if one.near.height).strip(),
        "## The designed scenarios on the store\n\n" + reach_table(designed),
        *(f"### {one.scenario}\n\n{finding_list(one)}" for one in designed),
        "## What neighbours in train are worth\n\n" + _effects(store, training, seeds=seeds, max_rows=max_rows),
        _guard(store),
    ]
    return "\n\n".join(parts) + "\n"


def _effects(store: Store, scenarios: Sequence[Scenario], *, seeds: int, max_rows: int) -> str:
    rows = [
        "| scenario | flux | left out | affected test towers | RMSE, all | RMSE, no neighbours | RMSE, control "
        "| no neighbours against all | control against all | no neighbours less control | towers worse than control "
        "| unit |",
        "|---|---|---:|" + "---:|" * 8 + "---|",
    ]
    for scenario in scenarios:
        near = neighbours_of(store, scenario)
        leave = {site for listed in near.values() for site in listed}
        for target in store.targets:
            table = compare(store, scenario, target, seeds=seeds, max_rows=max_rows)
            shown = " | ".join(effect(table, VARIABLES[target].unit))
            rows.append(f"| {scenario.name} | {target} | {len(leave)} of {len(scenario.train or ())} | {shown} |")
    return f"""Model xgb with its default settings and early stopping on validation, at most {max_rows:,} train rows
(stratified by tower), {seeds} seeds of rows, model and control. *No neighbours* leaves out every train tower within
{NEIGHBOUR_KM:g} km of a test tower whose weather correlates at least {NEIGHBOUR_CORRELATION:g}, or shares too few hours
to say; *control* leaves out as many other train towers, drawn anew with each seed. RMSE over the hours of a tower,
gap-filled ones too, mean over seeds and then over the affected test towers: those with a neighbour in train. Changes
are per tower, relative to its RMSE with all train towers; in brackets the 95 % interval of their mean, towers drawn
with replacement ({DRAWS:,} draws). `twins` is made for this page: of every group of towers within {NEAR_KM:g} km of
each other one is the test.

""" + "\n".join(rows)


def _guard(store: Store) -> str:
    """What the option --exclude-neighbours costs a random draw."""
    rows = ["| draw | train towers | left out as neighbours | left |", "|---|---:|---:|---:|"]
    for seed in (1, 2, 3):
        options = DesignOptions(n_test=24, n_validation=12, seed=seed, exclude_neighbours=True)
        made = design(store, "random", name="draw", options=options)
        lost = len(made.made_from["excluded"])
        kept = len(made.train or ())
        rows.append(f"| seed {seed} | {kept + lost} | {lost} | {kept} |")
    return (
        "## What leaving neighbours out costs\n\n`scenario design --rule random --n-test 24 --n-validation 12 "
        "--exclude-neighbours` on this store\nleaves out neighbours of test and validation towers:\n\n"
        + "\n".join(rows)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, help="the store of examples/fluxnet2015.py")
    parser.add_argument("--scenarios", type=Path, nargs="+", required=True, help="scenario files designed for it")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--max-rows", type=int, default=100_000)
    parser.add_argument("--page", type=Path, required=True, help="results page to write (.md)")
    options = parser.parse_args()
    warnings.simplefilter("ignore", FluxtrapolationWarning)  # towers that published lists name and the store lacks
    text = page(Store(options.store), options.scenarios, seeds=options.seeds, max_rows=options.max_rows)
    write_bytes_atomic(options.page, (text + by_hand(options.page)).encode())
    print(options.page)
    return 0


def by_hand(path: Path) -> str:
    """What a person wrote at the end of an earlier page: kept, since no command can make it."""
    text = path.read_text() if path.is_file() else ""
    return "\n" + text[text.index(BY_HAND) :] if BY_HAND in text else f"\n{BY_HAND}\n"


if __name__ == "__main__":
    sys.exit(main())
