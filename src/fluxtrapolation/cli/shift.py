"""``fluxtrapolation shift``: how far the test is from the train, and where a model extrapolates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fluxtrapolation.cli.console import SiteProgress, emit_json, emit_path, emit_table, say
from fluxtrapolation.cli.options import JsonFlag, Protocol, ProtocolOption, outside_stores

if TYPE_CHECKING:
    from fluxtrapolation.data.store import Store
    from fluxtrapolation.scenarios import Split
    from fluxtrapolation.shift.distance_distributions import Domain
    from fluxtrapolation.shift.measure import Judged, ShiftReport

_MARGINALS: Final = ("train", "shared", "test")
_DOMAIN_ROWS: Final = 50_000


def shift(
    store: Annotated[Path, typer.Option("--store", help="Folder of the store.", show_default=False)],
    scenario: Annotated[str, typer.Option("--scenario", help="Name or scenario file.", show_default=False)],
    target: Annotated[str, typer.Option("--target", help="GPP, NEE or ET.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the page.", show_default=False, callback=outside_stores)
    ],
    run: Annotated[
        list[Path] | None,
        typer.Option(
            "--run",
            help="Run folder of the same store, scenario and target: where does its model extrapolate, and does that "
            "tell where it errs? May be given more than once. Without it boosted trees are fitted here.",
        ),
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Random divisions of rows and of towers.")] = 10,
    max_rows: Annotated[
        int, typer.Option("--max-rows", min=100, help="Train and test rows together; each tower keeps its share.")
    ] = 200_000,
    all_rows: Annotated[bool, typer.Option("--all-rows", help="Take every row instead.")] = False,
    permutations: Annotated[int, typer.Option("--permutations", min=1, help="For the p-values of P(X).")] = 99,
    domain: Annotated[
        Path | None,
        typer.Option("--domain", help="Store of places where predictions are wanted: are they as far as the test is?"),
    ] = None,
    protocol: ProtocolOption = Protocol.paper,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random draw.")] = 0,
    jobs: Annotated[int, typer.Option("--jobs", min=0, help="Threads of the neighbour search; 0 means all.")] = 0,
    json: JsonFlag = False,
) -> None:
    """Measure the shift of a scenario: P(X), P(Y|X), applicability, autocorrelation; and write a page.

    Each measure is given by row, as published, and by site, with whole towers held out, which is the one to believe.
    What cannot be estimated is told with its reason. Beside the page: shift.json, tables/ (CSV) and figures/.
    """
    import os

    from fluxtrapolation.data.store import Store
    from fluxtrapolation.scenarios import make_split
    from fluxtrapolation.shift.measure import MeasureOptions, measure

    opened = Store(store)
    split = make_split(opened, scenario, target=target)
    places = None if domain is None else _domain(Store(domain), split)
    options = MeasureOptions(
        repeats=repeats,
        max_rows=None if all_rows else max_rows,
        permutations=permutations,
        protocol=protocol.value,
        seed=seed,
        jobs=jobs or min(os.cpu_count() or 1, 8),
    )
    judged = _judged(run or [], split)
    with SiteProgress("measuring") as progress:
        found = measure(split, models=judged, options=options, store=opened, domain=places, tell=progress)
    page = write_shift(found, out, split=split, command=_command(store, scenario, target, run or [], options, domain))
    if json:
        emit_json({"path": str(page), **found.to_dict()})
        return
    _summary(found)
    emit_path(page)


def write_shift(found: ShiftReport, out: Path, *, split: Split, command: str) -> Path:
    """Write the page, shift.json, tables/ and figures/ of measures of shift; returns the page."""
    import json

    from fluxtrapolation.files import atomic_path, write_bytes_atomic
    from fluxtrapolation.plots.shift import save_figures, write_shift_page
    from fluxtrapolation.plots.shift.page import TABLES

    folder = out / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in found.tables.items():
        with atomic_path(folder / f"{name}.csv") as path:
            table.write_csv(path)
    whole = found.to_dict()
    write_bytes_atomic(out / "shift.json", json.dumps(whole, indent=1, default=str, allow_nan=False).encode())
    shown = {name: table for name, table in found.tables.items() if name in TABLES}
    threshold = found.applicability.threshold
    prior = len(split.test) / (len(split.train) + len(split.test))
    save_figures(out / "figures", shown, target=split.target, threshold=threshold, prior=prior)
    return write_shift_page(
        out,
        title=f"Shift of {split.scenario.name}, {split.target}",
        covariate=whole["covariate"],
        conditional=whole["conditional"],
        tables=shown,
        applicability=whole["applicability"],
        meta=_meta(found.record, split, command),
    )


def _meta(record: Mapping[str, Any], split: Split, command: str) -> dict[str, Any]:
    from fluxtrapolation.data.manifest import utc_now

    notes = []
    if record["own_model"]:
        notes.append(
            "No run was given: the model is boosted trees, fitted on the spot on at most 100,000 train rows. Give a "
            "trained run with --run to judge that."
        )
    elif len(record["models"]) > 1:
        notes.append(
            f"The dissimilarity index takes its weights from {record['models'][0]}, the first run; the errors of all "
            "models are told along it."
        )
    return {
        "target": split.target,
        "scenario": split.scenario.name,
        "rule": split.scenario.rule,
        "model": ", ".join(record["models"]),
        "commands": [command],
        "versions": {"fluxtrapolation": record["package_version"]},
        "hashes": {"scenario": record["scenario_hash"], "store": record["store_hash"]},
        "created": str(utc_now()),
        "notes": notes,
        "seconds": round(sum(record["seconds"].values()), 1),
    }


def _judged(runs: Sequence[Path], split: Split) -> list[Judged]:
    from fluxtrapolation.runs.on_test import run_on_test
    from fluxtrapolation.shift.measure import Judged

    found: list[Judged] = []
    for path in runs:
        one = run_on_test(path, split)
        if one.note is not None and not found:
            say(
                f"note: {path}: {one.note}, so all covariates weigh the same in the dissimilarity index. Give another "
                "run first to take the weights from it."
            )
        found.append(Judged(one.name, one.y_pred, one.model))
    return found


def _domain(store: Store, split: Split) -> Domain:
    """Rows of another store, as places where predictions are wanted: an equal share of each tower's."""
    import numpy as np

    from fluxtrapolation.errors import MissingColumnError, examples
    from fluxtrapolation.schema import PFT_PREFIX, pft_column
    from fluxtrapolation.shift.distance_distributions import Domain

    hourly = [name for name in split.feature_names if not name.startswith(PFT_PREFIX)]
    lacking = [name for name in hourly if name not in store.covariates]
    if lacking:
        raise MissingColumnError(
            f"The store {store.path} lacks {len(lacking)} covariates of the scenario: {examples(lacking)}. It holds "
            f"{examples(store.covariates, 12)}."
        )
    step = max(1, -(-store.hours // _DOMAIN_ROWS))
    blocks, lat, lon = [], [], []
    for site in store.site_ids:
        record = store.record(site)
        lat.append(record.lat)
        lon.append(record.lon)
        frame = store.read_site(site, hourly)[::step].drop_nulls()
        block = np.zeros((frame.height, len(split.feature_names)), dtype=np.float32)
        for column, name in enumerate(split.feature_names):
            if name in hourly:
                block[:, column] = frame[name].to_numpy()
            elif name == pft_column(record.igbp):
                block[:, column] = 1.0
        blocks.append(block)
    return Domain(np.concatenate(blocks), lat, lon)


def _summary(found: ShiftReport) -> None:
    """The first numbers, for the person at the terminal."""
    rows: list[tuple[object, ...]] = []
    for name, split in (("by row", found.covariate.by_row), ("by site", found.covariate.by_site)):
        rows.append((f"P(X), {name}: AUC", split.auc.text(), _p(split.p_value)))
        rows.append((f"P(X), {name}: balanced accuracy", split.balanced_accuracy.text(), None))
    for name, unit in (("by row", found.conditional.by_row), ("by site", found.conditional.by_site)):
        for marginal in _MARGINALS:
            cell = unit.fit_on_train.marginal(marginal)
            rows.append(
                (
                    f"P(Y|X), {name}: RMSE increase, {marginal} covariates",
                    cell.rmse_increase.text("{:.1%}"),
                    _p(cell.p_value),
                )
            )
    applied = found.applicability
    rows.append(("Test rows outside the area of applicability", f"{applied.outside_share:.1%}", None))
    emit_table(["measure", "value", "p"], rows)


def _p(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _command(store: Path, scenario: str, target: str, runs: Sequence[Path], options: Any, domain: Path | None) -> str:
    """The command line that makes this page again."""
    import shlex

    from fluxtrapolation.shift.measure import MeasureOptions

    words = ["fluxtrapolation", "shift", "--store", str(store), "--scenario", scenario, "--target", target]
    for path in runs:
        words += ["--run", str(path)]
    usual = MeasureOptions()
    for flag, value, default in (
        ("--repeats", options.repeats, usual.repeats),
        ("--permutations", options.permutations, usual.permutations),
        ("--protocol", options.protocol, usual.protocol),
        ("--seed", options.seed, usual.seed),
    ):
        if value != default:
            words += [flag, str(value)]
    if options.max_rows is None:
        words.append("--all-rows")
    elif options.max_rows != usual.max_rows:
        words += ["--max-rows", str(options.max_rows)]
    if domain is not None:
        words += ["--domain", str(domain)]
    return shlex.join([*words, "--out", "shift/"])
