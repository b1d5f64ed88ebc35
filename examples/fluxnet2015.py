"""Real towers end to end: import FLUXNET2015, design scenarios, sweep all models, score, and write the results page.

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
from statistics import median
from typing import Any

import polars as pl
import yaml

from fluxtrapolation.cli.main import run
from fluxtrapolation.data.store import Store
from fluxtrapolation.evaluation import Scores, pivot, rank, render, skill
from fluxtrapolation.files import write_bytes_atomic
from fluxtrapolation.runs import find_runs
from fluxtrapolation.runs.folder import RunFolder
from fluxtrapolation.scenarios import load_scenario
from fluxtrapolation.schema import VARIABLES

TARGETS = ("GPP", "NEE")
DRAWS = ("random-1", "random-2", "random-3")
BOARD = ("later", "random-1", "warm")
"""The scenarios of the board; the other draws tell how much one draw is worth."""
SCENARIOS = ("later", *DRAWS, "warm")
FAST = ("constant", "lr", "ridge", "robust-lr", "xgb", "xgb-conservative", "xgb-balanced", "lightgbm", "catboost")
DEEP = ("mlp", "gdro", "coral", "mmd", "mmd-median", "vrex", "irm", "dann", "lstm")
SLOW = ("tabm", "maxrm-mse", "maxrm-regret")
"""One configuration each, and a limit on its time."""
MEMBERS = ("xgb", "mlp", "lstm")
"""Runs that the ensemble averages."""
BY_HAND = "<!-- Below: written by hand, kept when the page is made again. -->"
HELD_OUT = ("--n-test", "24", "--n-validation", "12")


def plans(out: Path, max_rows: int) -> dict[str, dict[str, Any]]:
    """The two sweeps: all models on the board's scenarios, and the fast ones on the other draws."""
    common = {
        "store": f"{out}/towers",
        "targets": list(TARGETS),
        "profile": "quick",
        "configurations": 2,
        "max_rows": max_rows,
        "out": f"{out}/runs",
    }
    slow = [{"name": name, "configurations": 1, "time_limit": 400} for name in SLOW]
    files = [f"{out}/scenarios/{name}.yaml" for name in SCENARIOS]
    board = [file for name, file in zip(SCENARIOS, files, strict=True) if name in BOARD]
    return {
        "board": common | {"scenarios": board, "models": [*FAST, *DEEP, *slow]},
        "draws": common | {"scenarios": [file for file in files if file not in board], "models": list(FAST)},
    }


def steps(source: str, out: Path) -> list[list[str]]:
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
        ["sweep", f"{out}/board.yaml"],
        ["sweep", f"{out}/draws.yaml"],
        *(
            ["ensemble", *(f"{out}/runs/{name}_{target}_{model}" for model in MEMBERS), "--out", f"{out}/runs"]
            for name in BOARD
            for target in TARGETS
        ),
        ["report", f"{out}/runs", "--out", f"{out}/report", "--title", "FLUXNET2015: extrapolating GPP and NEE"],
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", help="the FLUXNET2015 Zarr: folder or address")
    parser.add_argument("--out", type=Path, default=Path("fluxnet2015"), help="folder of all that is made")
    parser.add_argument("--max-rows", type=int, default=100_000, help="train rows of each run, stratified by site")
    parser.add_argument("--page", type=Path, default=None, help="results page to write (.md)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name, plan in plans(options.out, options.max_rows).items():
        write_bytes_atomic(options.out / f"{name}.yaml", yaml.safe_dump(plan, sort_keys=False).encode())
    timed: list[tuple[list[str], float]] = []
    for step in steps(options.source, options.out):
        sys.stderr.write(f"\n$ fluxtrapolation {' '.join(step)}\n")
        begin = time.perf_counter()
        code = run(step)
        # Runs that failed are listed on the page; the others are there.
        if code != 0 and not (code == 2 and step[0] == "sweep" and (options.out / "runs").is_dir()):
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
    scores = Scores.read(out / "report" / "scores.parquet").where(selection="mean")
    parts = [_head(out, timed), "## Sizes\n\n" + _sizes(out)]
    for target in TARGETS:
        mine = scores.where(target=target)
        board = mine.where(scenario=list(BOARD))
        for summary, words in (("median", "median"), ("q90", "90th percentile")):
            found = rank(board, summary=summary)
            cells = pivot(board, summary=summary).drop("selection")
            parts.append(
                f"## {target}: {words} over held-out domains\n\n"
                + _ranking(found.table)
                + f"\n\nRMSE ({VARIABLES[target].unit}):\n\n"
                + render(cells, "md").strip()
            )
        parts.append(f"### {target}: how much the draw moves the skill\n\n" + _spread(mine))
    parts += ["## Costs\n\n" + _costs(out), "## Notes of the runs\n\n" + _notes(out)]
    return "\n\n".join(parts) + "\n"


def _head(out: Path, timed: Sequence[tuple[list[str], float]]) -> str:
    info = Store(out / "towers").info()
    options = info["sources"][0]["options"]
    shown = "\n".join(f"fluxtrapolation {_generic(step, out)}" for step, _ in timed)
    spent: dict[str, float] = {}
    for step, taken in timed:
        spent[_name(step)] = spent.get(_name(step), 0.0) + taken
    seconds = "\n".join(f"| `{name}` | {taken:,.1f} |" for name, taken in spent.items())
    sweeps = "\n\n".join(
        f"`{name}.yaml`:\n\n```yaml\n{(out / f'{name}.yaml').read_text().replace(str(out), 'work').strip()}\n```"
        for name in ("board", "draws")
    )
    source = info["sources"][0]
    night = "night" if options["gpp"] == "nt" else "day"
    return f"""# FLUXNET2015: all models on real towers

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

{sweeps}

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
        mine = [s for s in states if s.config.scenario == name and s.config.target == TARGETS[0]]
        r = next((s.rows for s in mine if s.config.model == "lr"), None)
        if r is None:
            raise SystemExit(f"the run of lr on {name} is not complete")
        digest = load_scenario(out / "scenarios" / f"{name}.yaml").sha256[:12]
        rows.append(
            f"| {name} | {r.train:,} | {r.train_available:,} | {r.validation:,} | {r.test:,} "
            f"| {r.test_domains} | `{digest}` |"
        )
    limit = states[0].config.max_rows
    return "\n".join(rows) + f"\n\nAt most {limit:,} train rows in every run, stratified by site; all rows at test."


def _ranking(table: pl.DataFrame) -> str:
    """Skill against lr with 95 % intervals over sites, rank intervals, and the group tied with the best."""
    rows = [
        "| rank | model | skill | 95 % interval | rank interval | tied with the best |",
        "|---:|---|---:|---|---|---|",
    ]
    for row in table.iter_rows(named=True):
        if row["rank"] is None:
            rows.append(f"| - | {row['model']} | - | - | - | {row['note']} |")
            continue
        interval = "-" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
        ranks = f"{row['rank_low']} to {row['rank_high']}"
        tied = "yes" if row["tied_with_best"] else ""
        rows.append(f"| {row['rank']} | {row['model']} | {row['skill_score']:.3f} | {interval} | {ranks} | {tied} |")
    return "\n".join(rows)


def _spread(scores: Scores) -> str:
    """Skill of the fast families in each of the three random draws."""
    rows = [
        "| model | median: " + " | ".join(DRAWS) + " | range | q90: " + " | ".join(DRAWS) + " | range |",
        "|---|" + "---:|" * (2 * len(DRAWS) + 2),
    ]
    fast = scores.where(scenario=list(DRAWS), model=list(FAST))
    cells = {name: skill(fast, summary=name).cells for name in ("median", "q90")}
    for model in FAST:
        if model == "lr":
            continue
        shown = []
        for frame in cells.values():
            mine = frame.filter(pl.col("model") == model)
            each = [mine.filter(pl.col("scenario") == draw)["skill"].mean() for draw in DRAWS]
            known = [float(value) for value in each if isinstance(value, float)]
            shown += [f"{value:.3f}" for value in known] + [f"{max(known) - min(known):.3f}"]
        rows.append(f"| {model} | {' | '.join(shown)} |")
    return "\n".join(rows)


def _costs(out: Path) -> str:
    """Time and memory of each model over its runs, and what failed."""
    rows = [
        "| model | runs | configurations | train rows | fit s, median (longest) | peak GB | predict s | failed |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    found: dict[str, list[RunFolder]] = {}
    for folder in find_runs(out / "runs"):
        found.setdefault(folder.state().config.model, []).append(folder)
    order = [*FAST, *DEEP, *SLOW, "ensemble"]
    for model in sorted(found, key=order.index):
        states = [folder.state() for folder in found[model]]
        trials = [trial for folder in found[model] for trial in folder.trials().values()]
        good = [trial for trial in trials if trial.status == "ok"]
        failed = len(trials) - len(good) + sum(state.status != "complete" for state in states)
        seconds = sorted(trial.fit_seconds for trial in good)
        memory = max((trial.peak_memory_mb or 0.0 for trial in good), default=0.0) / 1000
        predict = sorted(state.seconds["predict"] for state in states if "predict" in state.seconds)
        used = sorted({trial.train_rows for trial in good})
        rows.append(
            f"| {model} | {len(states)} | {max(state.config.n_configurations for state in states)} "
            f"| {' to '.join(f'{n:,}' for n in dict.fromkeys((used[0], used[-1]))) if used else '-'} "
            f"| {f'{median(seconds):.1f} ({seconds[-1]:.1f})' if seconds else '-'} "
            f"| {f'{memory:.2f}' if memory else '-'} "
            f"| {f'{median(predict):.1f}' if predict else '-'} | {failed or ''} |"
        )
    text = (
        "Peak memory is the whole process's during a trial, arrays of the split included; seconds are those of the "
        f"clock, on a machine of {_cores()} cores; other work on it makes them longer."
    )
    return "\n".join(rows) + f"\n\n{text}"


def _notes(out: Path) -> str:
    """What runs say of themselves, each once."""
    said: dict[str, list[str]] = {}
    for folder in find_runs(out / "runs"):
        for note in folder.state().notes:
            said.setdefault(note, []).append(folder.name)
    if not said:
        return "None."
    lines = []
    for note, names in said.items():
        models = dict.fromkeys(name.split("_", 2)[2] for name in names)
        lines.append(f"- {', '.join(models)} ({len(names)} runs): {note}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
