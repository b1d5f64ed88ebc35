"""Shift of the designed scenarios of the real towers: measure each, and write the results page.

    python examples/fluxnet2015.py fluxnet2015.zarr --out work/
    python examples/shift_results.py work/ --page docs/results/shift.md

The first command makes the store, the scenarios and the runs; see there. Every number of the page comes from the files
``shift.json`` that the commands below write; the published figures beside them are those of Fries et al. (2026).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fluxtrapolation import __version__
from fluxtrapolation.cli.main import run
from fluxtrapolation.data.store import Store
from fluxtrapolation.files import write_bytes_atomic

SCENARIOS = ("later", "random-1", "warm")
TARGETS = ("GPP", "NEE")
MODELS = ("xgb", "lr", "mlp")
"""Runs whose errors are told along the dissimilarity index; the first gives its weights."""
LIKE = {"later": "temporal", "random-1": "spatial", "warm": "temperature"}
"""The published scenario of the same kind."""
PUBLISHED_X = {"temporal": (0.737, 0.524), "spatial": (0.861, 0.769), "temperature": (0.986, 0.938)}
PUBLISHED_Y = {
    ("temporal", "GPP"): (13.5, 10.7, 12.0),
    ("spatial", "GPP"): (16.6, 6.2, 11.2),
    ("temperature", "GPP"): (2.4, 14.0, 8.0),
    ("temporal", "NEE"): (9.1, 6.1, 7.7),
    ("spatial", "NEE"): (9.2, 1.5, 4.7),
    ("temperature", "NEE"): (3.2, 10.5, 7.0),
}
"""AUC and balanced accuracy; RMSE increase in percent, fit on train, at train, test and shared covariates. Other towers
and years than here: for orientation."""
MARGINALS = ("train", "test", "shared")
BY_HAND = "<!-- Below: written by hand, kept when the page is made again. -->"
DASH = "–"

Found = dict[tuple[str, str, str], dict[str, Any]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path, help="folder made by examples/fluxnet2015.py")
    parser.add_argument("--page", type=Path, default=None, help="results page to write (.md)")
    parser.add_argument("--again", action="store_true", help="measure anew what is there already")
    options = parser.parse_args()
    found: Found = {}
    commands = []
    for scenario in SCENARIOS:
        for target in TARGETS:
            for protocol in ("paper", "measured"):
                out = options.work / "shift" / f"{scenario}_{target}_{protocol}"
                words = command(options.work, scenario, target, protocol, out)
                commands.append(words)
                if options.again or not (out / "shift.json").is_file():
                    sys.stderr.write(f"\n$ fluxtrapolation {' '.join(words)}\n")
                    code = run(words)
                    if code != 0:
                        return code
                found[scenario, target, protocol] = json.loads((out / "shift.json").read_text())
    if options.page is not None:
        kept = by_hand(options.page)
        text = page(options.work, found, commands)
        write_bytes_atomic(options.page, (text + kept).encode())
        print(options.page)
    return 0


def command(work: Path, scenario: str, target: str, protocol: str, out: Path) -> list[str]:
    """The command, as a user would type it."""
    runs = [work / "runs" / f"{scenario}_{target}_{model}" for model in MODELS]
    return [
        *("shift", "--store", str(work / "towers"), "--scenario", str(work / "scenarios" / f"{scenario}.yaml")),
        *("--target", target, "--protocol", protocol),
        *(word for one in runs if one.is_dir() for word in ("--run", str(one))),
        *("--out", str(out)),
    ]


def by_hand(path: Path) -> str:
    """What a person wrote at the end of an earlier page: kept, since no command can make it."""
    text = path.read_text() if path.is_file() else ""
    return "\n" + text[text.index(BY_HAND) :] if BY_HAND in text else f"\n{BY_HAND}\n"


def page(work: Path, found: Found, commands: Sequence[Sequence[str]]) -> str:
    """The results page, from the measures."""
    store = Store(work / "towers")
    head = f"""# Shift on the real towers

The covariates and the fluxes of {len(store.site_ids)} FLUXNET2015 towers, {store.hours:,} hours; the three scenarios of
[the benchmark on these towers](fluxnet2015.md): `later` (later years of the same towers), `random-1` (towers drawn by
lot) and `warm` (the warmest towers). What each number means stands in
[How far is the test from the train?](../shift.md). Made by one command from the store, the
scenarios and the runs there, with fluxtrapolation {__version__} on
{os.cpu_count()} cores ({platform.machine()}), in {sum_seconds(found) / 60:.0f} min of measuring:

```bash
python examples/shift_results.py work/ --page docs/results/shift.md
```

Each row is one command such as `fluxtrapolation {generic(commands[0], work)}`.
Published figures are those of Fries et al. (2026, arXiv:2605.19812) for the scenario of the same kind. They are of
other towers, other years and more covariates (satellite), and stand here for orientation only."""
    return (
        "\n\n".join(
            [
                head,
                "## P(X): can train and test be told apart?\n\n" + covariates(found),
                "### Without a classifier\n\n" + distances(found),
                "### Which covariates carry it\n\n" + carriers(found),
                *(
                    f"## P(Y|X), {target}: is the flux another at the same covariates?\n\n" + conditional(found, target)
                    for target in TARGETS
                ),
                "## What the error is made of\n\n" + decomposition(found),
                "## Applicability: does dissimilarity tell where a model errs?\n\n" + applicability(found),
                "## How many independent values there are\n\n" + effective(found),
            ]
        )
        + "\n"
    )


def sum_seconds(found: Found) -> float:
    """Seconds of all measuring."""
    return float(sum(sum(one["record"]["seconds"].values()) for one in found.values()))


def generic(words: Sequence[str], work: Path) -> str:
    """A command with the folder named work."""
    return " ".join(word.replace(str(work), "work") for word in words)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float | None, pattern: str = "{:.3f}") -> str:
    return DASH if value is None else pattern.format(value)


def spread(of: dict[str, Any], name: str) -> str:
    sd = of.get(f"{name}_sd")
    return number(of[name]) + (f" ± {sd:.3f}" if sd is not None else "")


def covariates(found: Found) -> str:
    """AUC and balanced accuracy by row and by site, beside the published ones."""
    rows = []
    for scenario in SCENARIOS:
        for protocol in ("paper", "measured"):
            of = found[scenario, "GPP", protocol]["covariate"]
            row, site = of["by_row"], of["by_site"]
            auc, accuracy = PUBLISHED_X[LIKE[scenario]]
            rows.append(
                (
                    scenario,
                    protocol,
                    spread(row, "auc"),
                    spread(row, "balanced_accuracy"),
                    f"{auc} / {accuracy} ({LIKE[scenario]})" if protocol == "paper" else "",
                    spread(site, "auc"),
                    spread(site, "balanced_accuracy"),
                    number(site["p_value"]),
                )
            )
    return table(
        (
            *("scenario", "protocol", "AUC by row", "balanced accuracy by row", "published, by row"),
            *("AUC by site", "balanced accuracy by site", "p by site"),
        ),
        rows,
    )


def distances(found: Found) -> str:
    """Distances between the parts, with their permutation tests."""
    rows = []
    for scenario in SCENARIOS:
        for protocol in ("paper", "measured"):
            rows += [
                (
                    scenario,
                    protocol,
                    str(of["measure"]).replace("_", " "),
                    *(number(of[name]) for name in ("value", "exchanged", "p_value")),
                    str(of["unit"]),
                )
                for of in found[scenario, "GPP", protocol]["covariate"]["distances"]
            ]
    return table(("scenario", "protocol", "distance", "value", "expected by chance", "p", "unit of chance"), rows)


def carriers(found: Found) -> str:
    """The covariates whose shuffling costs most AUC."""
    rows = []
    for scenario in SCENARIOS:
        of = [
            one for one in found[scenario, "GPP", "measured"]["covariate"]["importance"] if one["auc_drop"] is not None
        ]
        best = sorted(of, key=lambda one: -one["auc_drop"])[:4]
        rows.append((scenario, ", ".join(f"{one['covariate']} {one['auc_drop']:.3f}" for one in best)))
    return table(("scenario", "fall of the AUC by site when shuffled (protocol measured)"), rows)


def cell(of: dict[str, Any]) -> str:
    if of["rmse_increase"] is None:
        return f"cannot be estimated ({of['reason']})"
    sd = f" ± {100 * of['rmse_increase_sd']:.1f}" if of["rmse_increase_sd"] is not None else ""
    return f"{100 * of['rmse_increase']:.1f}{sd} %"


def interval(of: dict[str, Any]) -> str:
    if of.get("pooled") is None:
        return cell(of)
    if of.get("low") is None or of.get("high") is None:
        return f"{100 * of['pooled']:.1f} % (no interval)"
    return f"{100 * of['pooled']:.1f} % [{100 * of['low']:.1f}, {100 * of['high']:.1f}], p {number(of['p_value'])}"


def conditional(found: Found, target: str) -> str:
    """RMSE increase at equal covariates, as published and by site."""
    rows = []
    for scenario in SCENARIOS:
        for protocol in ("paper", "measured"):
            of = found[scenario, target, protocol]["conditional"]
            published = PUBLISHED_Y[LIKE[scenario], target]
            for fit_on in ("train", "test"):
                row, site = of[f"fit_on_{fit_on}"], of["by_site"][f"fit_on_{fit_on}"]
                told = " / ".join(f"{one}" for one in published) + " %"
                rows.append(
                    (
                        scenario,
                        protocol,
                        fit_on,
                        *(cell(row[name]) for name in MARGINALS),
                        told if fit_on == "train" and protocol == "paper" else "",
                        interval(site["shared"]),
                        number(site["shared"]["towers_test"], "{:.0f}"),
                    )
                )
    return table(
        (
            *("scenario", "protocol", "fitted on", "by row: train", "by row: test", "by row: shared"),
            *("published: train / test / shared", "by site: shared [95 %]", "effective test towers"),
        ),
        rows,
    )


def decomposition(found: Found) -> str:
    """Shares of the squared error of the first model."""
    rows = []
    for scenario in SCENARIOS:
        for target in TARGETS:
            for model, of in found[scenario, target, "measured"]["decomposition"].items():
                one = of["overall"]["site"]
                rows.append(
                    (
                        *(scenario, target, model, number(one["mse"] ** 0.5, "{:.2f}")),
                        *(number(100 * one[f"{name}_share"], "{:.0f} %") for name in ("offset", "slope", "rest")),
                    )
                )
    return "Protocol `measured`, every tower alike. RMSE in umol m-2 s-1, hourly.\n\n" + table(
        ("scenario", "target", "model", "RMSE", "offset of each tower", "slope of each tower", "the rest"), rows
    )


def applicability(found: Found) -> str:
    """Rows outside, and what the index tells of the errors."""
    rows = []
    for scenario in SCENARIOS:
        for target in TARGETS:
            of = found[scenario, target, "measured"]["applicability"]
            for model in dict.fromkeys(one["model"] for one in of["summary"]):
                told = {one["measure"]: one for one in of["summary"] if one["model"] == model}
                rows.append(
                    (
                        *(scenario, target, f"{100 * of['outside_share']:.1f} %", model),
                        *(summary(told.get(name)) for name in SUMMARY_SHOWN),
                    )
                )
    return table(("scenario", "target", "test hours outside", "model", *SUMMARY_SHOWN.values()), rows)


SUMMARY_SHOWN = {
    "spearman": "rank correlation with the tower's RMSE [90 %]",
    "auc_worst": "AUC for the worst tenth of towers",
    "rmse_outside_minus_inside": "RMSE outside less inside",
    "rmse_outside_minus_inside_same_clock": "the same at equal month and hour",
}
"""Measures of the summary that are shown, with their headings."""


def summary(of: dict[str, Any] | None) -> str:
    if of is None or of["value"] is None:
        return DASH if of is None else f"{DASH} ({of['reason']})"
    bounds = f" [{of['low']:.2f}, {of['high']:.2f}]" if of["low"] is not None else ""
    return f"{of['value']:.2f}{bounds}" + (f", p {of['p_value']:.3f}" if of["p_value"] is not None else "")


def effective(found: Found) -> str:
    """Medians over towers."""
    rows = []
    for scenario in SCENARIOS:
        for target in TARGETS:
            of = found[scenario, target, "measured"]["autocorrelation"]
            rows += [
                (
                    *(scenario, target, str(one["series"]), str(one["scale"])),
                    *(f"{one['n']:,.0f}", f"{one['n_effective']:,.0f}", str(one["towers"])),
                )
                for one in of["median_over_towers"]
            ]
    return "Measured test hours; medians over towers. `residual` is of the first model.\n\n" + table(
        ("scenario", "target", "series", "scale", "values", "effective values", "towers"), rows
    )


if __name__ == "__main__":
    sys.exit(main())
