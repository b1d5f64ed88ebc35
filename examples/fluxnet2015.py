"""Real towers end to end: import FLUXNET2015, design three scenarios, train, score, report, and write the results page.

    python examples/fluxnet2015.py fluxnet2015.zarr --out work/ --page docs/results/fluxnet2015.md

The source is the FLUXNET2015 Zarr (a folder, or its public address). Every number of the page comes from the run
folders and scores made here; nothing is typed in.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from fluxtrapolation.cli.main import run
from fluxtrapolation.data.store import Store
from fluxtrapolation.evaluation import Scores, skill, summarise
from fluxtrapolation.files import write_bytes_atomic
from fluxtrapolation.runs import find_runs
from fluxtrapolation.scenarios import load_scenario
from fluxtrapolation.schema import BOARD_SCALES, VARIABLES

TARGETS = ("GPP", "NEE")
MODELS = ("lr", "xgb")
DRAWS = ("random-1", "random-2", "random-3")
SCENARIOS = ("later", *DRAWS, "warm")
FAMILIES = {"later": "years", "warm": "temperature"} | dict.fromkeys(DRAWS, "random")
BY_HAND = "<!-- Below: written by hand, kept when the page is made again. -->"
HELD_OUT = ("--n-test", "24", "--n-validation", "12")


def steps(source: str, out: Path, profile: str) -> list[list[str]]:
    """The commands, as a user would type them."""
    store, folder = f"{out}/towers", f"{out}/scenarios"
    years = ("--train-years", ":2007", "--validation-years", "2008", "--test-years", "2009:")
    design = ["scenario", "design", "--store", store, "--overwrite"]
    return [
        ["data", "import", source, "--out", store],
        [*design, "--rule", "years", *years, "--out", f"{folder}/later.yaml"],
        *(
            [*design, "--rule", "random", *HELD_OUT, "--seed", name[-1], "--out", f"{folder}/{name}.yaml"]
            for name in DRAWS
        ),
        [*design, "--rule", "temperature", *HELD_OUT, "--out", f"{folder}/warm.yaml"],
        [
            *("train", "--store", store, "--out", f"{out}/runs", "--profile", profile),
            *(word for name in SCENARIOS for word in ("--scenario", f"{folder}/{name}.yaml")),
            *(word for name in TARGETS for word in ("--target", name)),
            *(word for name in MODELS for word in ("--model", name)),
        ],
        ["report", f"{out}/runs", "--out", f"{out}/report", "--title", "FLUXNET2015: extrapolating GPP and NEE"],
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="the FLUXNET2015 Zarr: folder or address")
    parser.add_argument("--out", type=Path, default=Path("fluxnet2015"), help="folder of all that is made")
    parser.add_argument("--profile", default="quick", choices=("quick", "paper"))
    parser.add_argument("--page", type=Path, default=None, help="results page to write (.md)")
    options = parser.parse_args()
    timed: list[tuple[list[str], float]] = []
    for step in steps(options.source, options.out, options.profile):
        sys.stderr.write(f"\n$ fluxtrapolation {' '.join(step)}\n")
        begin = time.perf_counter()
        code = run(step)
        if code != 0:
            return code
        timed.append((step, time.perf_counter() - begin))
    if options.page is not None:
        kept = by_hand(options.page)
        write_bytes_atomic(options.page, (page(options.out, timed) + kept).encode())
        print(options.page)
    return 0


def by_hand(path: Path) -> str:
    """What a person wrote at the end of an earlier page: kept, since no command can make it."""
    text = path.read_text() if path.is_file() else ""
    return "\n" + text[text.index(BY_HAND) :] if BY_HAND in text else f"\n{BY_HAND}\n"


def page(out: Path, timed: Sequence[tuple[list[str], float]]) -> str:
    """The results page, from the store, the run folders and the scores."""
    scores = Scores.read(out / "report" / "scores.parquet")
    values = {name: summarise(scores, summary=name) for name in ("median", "q90")}
    parts = [_head(out, timed), "## Sizes\n\n" + _sizes(out)]
    for target in TARGETS:
        unit = VARIABLES[target].unit
        parts.append(
            f"## {target}: RMSE ({unit})\n\nMedian / 90th percentile over held-out domains.\n\n"
            + _table(values, target)
        )
        parts.append(f"### {target}: skill of xgb against lr\n\n" + _skills(scores, target))
        parts.append(f"### {target}: how much the draw moves the result\n\n" + _spread(values, target))
    parts.append("## Costs\n\n" + _costs(out))
    return "\n\n".join(parts) + "\n"


def _head(out: Path, timed: Sequence[tuple[list[str], float]]) -> str:
    info = Store(out / "towers").info()
    options = info["sources"][0]["options"]
    shown = "\n".join(f"fluxtrapolation {_generic(step, out)}" for step, _ in timed)
    seconds = "\n".join(f"| `{_name(step)}` | {taken:,.1f} |" for step, taken in timed)
    source = info["sources"][0]
    night = "night" if options["gpp"] == "nt" else "day"
    return f"""# FLUXNET2015: real towers, three designed scenarios

{info["sites"]} towers, {info["rows"]:,} hours from {info["first"][:4]} to {info["last"][:4]}.
{info["measured"]:,} of them have `qc_mask` 1 under the rule `{options["qc"]}`: {options["qc_rule"].split("= 1 ")[-1]}.
GPP is from the {night}-time partitioning. Licence {source["licence"]}; {source["citation"]}

The covariates are what this data set holds: {", ".join(info["covariates"])}, and the plant functional type.
It has no satellite covariates and no ET, so these numbers are **not** comparable with the published board.
Protocol `paper`: every test hour counts, gap-filled ones too.

- **later** (rule `years`): train up to 2007, validation 2008, test from 2009, at the same towers.
- **random-1, -2, -3** (rule `random`): three pinned draws of 24 test and 12 validation towers.
- **warm** (rule `temperature`): the 24 warmest towers are the test.

This page is written by one command, which runs the commands below and fills in what came out:

```bash
python examples/fluxnet2015.py fluxnet2015.zarr --out work --page docs/results/fluxnet2015.md
```

```bash
{shown}
```

Machine: {_cores()} cores, {platform.machine()}, Python {platform.python_version()}.
Store content hash `{info["data_hash"][:16]}`.

| command | seconds |
|---|---:|
{seconds}"""


def _cores() -> int:
    """Cores this process may use, which can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _name(step: Sequence[str]) -> str:
    words = list(step[:2]) if step[0] in ("data", "scenario") else [step[0]]
    return " ".join([*words, Path(step[-1]).stem] if words[0] == "scenario" else words)


def _generic(step: Sequence[str], out: Path) -> str:
    """The command with this machine's folders replaced by plain names."""
    words = list(step)
    if words[:2] == ["data", "import"]:
        words[2] = "fluxnet2015.zarr"
    text = " ".join(f'"{word}"' if " " in word else word for word in words)
    return text.replace(str(out), "work").replace(" --scenario", " \\\n    --scenario")


def _sizes(out: Path) -> str:
    rows = [
        "| scenario | train rows used | available | validation | test | test domains | sha256 |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    states = [run.state() for run in find_runs(out / "runs")]
    for name in SCENARIOS:
        state = next(s for s in states if s.config.scenario == name and s.config.target == TARGETS[0])
        if state.rows is None:
            raise SystemExit(f"the run of {name} is not complete")
        r = state.rows
        digest = load_scenario(out / "scenarios" / f"{name}.yaml").sha256[:12]
        rows.append(
            f"| {name} | {r.train:,} | {r.train_available:,} | {r.validation:,} | {r.test:,} "
            f"| {r.test_domains} | `{digest}` |"
        )
    profile = states[0].config.profile
    limit = states[0].config.max_rows
    text = f"\n\nProfile `{profile}`" + (f": at most {limit:,} train rows, stratified by site." if limit else ".")
    return "\n".join(rows) + text


def _pick(frame: pl.DataFrame, **wanted: str) -> float:
    found = frame.filter(*(pl.col(key) == value for key, value in wanted.items()))["value"]
    return float(found.item()) if found.len() == 1 and found[0] is not None else float("nan")


def _table(values: dict[str, pl.DataFrame], target: str) -> str:
    rows = [f"| scenario | model | {' | '.join(BOARD_SCALES)} |", "|---|---|" + "---:|" * len(BOARD_SCALES)]
    for scenario in SCENARIOS:
        for model in MODELS:
            cells = [
                " / ".join(
                    f"{_pick(values[s], target=target, scenario=scenario, model=model, scale=scale):.3f}"
                    for s in ("median", "q90")
                )
                for scale in BOARD_SCALES
            ]
            rows.append(f"| {scenario} | {model} | {' | '.join(cells)} |")
    return "\n".join(rows)


def _skills(scores: Scores, target: str) -> str:
    rows = ["| summary | " + " | ".join(SCENARIOS) + " | all cells |", "|---|" + "---:|" * (len(SCENARIOS) + 1)]
    for summary in ("median", "q90"):
        found = skill(scores.where(target=target), summary=summary)
        cells = found.cells.filter(pl.col("model") == "xgb")
        each = [cells.filter(pl.col("scenario") == name)["skill"].mean() for name in SCENARIOS]
        overall = found.overall.filter(pl.col("model") == "xgb")["skill_score"][0]
        rows.append(f"| {summary} | " + " | ".join(f"{value:.3f}" for value in each) + f" | {overall:.3f} |")
    return "\n".join(rows)


def _spread(values: dict[str, pl.DataFrame], target: str) -> str:
    """Range over the three draws, beside what the model changes in the mean of the draws."""
    rows = [
        "| summary | scale | lr: three draws | xgb: three draws | range (mean of both) | xgb minus lr |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for summary, frame in values.items():
        for scale in BOARD_SCALES:
            of = {
                model: [_pick(frame, target=target, scenario=draw, model=model, scale=scale) for draw in DRAWS]
                for model in MODELS
            }
            spread = sum(max(v) - min(v) for v in of.values()) / len(MODELS)
            difference = (sum(of["xgb"]) - sum(of["lr"])) / len(DRAWS)
            ranges = " | ".join(f"{min(of[m]):.3f} to {max(of[m]):.3f}" for m in MODELS)
            rows.append(f"| {summary} | {scale} | {ranges} | {spread:.3f} | {difference:+.3f} |")
    return "\n".join(rows)


def _costs(out: Path) -> str:
    rows = [
        "| run | configurations | search s | predict s | validation RMSE (mean) | chosen |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for folder in find_runs(out / "runs"):
        state = folder.state()
        best = folder.trials()[state.selection["mean"]]
        params = (
            ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in best.params.items()) or "-"
        )
        rows.append(
            f"| {folder.name} | {state.config.n_configurations} | {state.seconds['search']:.1f} "
            f"| {state.seconds['predict']:.1f} | {best.strategies['mean']:.3f} | {params} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
