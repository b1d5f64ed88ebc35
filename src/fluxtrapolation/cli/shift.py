"""``fluxtrapolation shift``: how far the test is from the train, and where a model extrapolates."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from fluxtrapolation.cli.console import SiteProgress, emit_json, emit_path, emit_table, err, say
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
    _need_folder(out)
    with _Progress("measuring") as progress:
        found = measure(
            split, models=[one for one, _ in judged], options=options, store=opened, domain=places, tell=progress
        )
    command = _command(store, scenario, target, run or [], options, domain, out)
    page = write_shift(found, out, split=split, command=command, judged=judged)
    if json:
        emit_json({"path": str(page), **found.to_dict()})
        return
    _summary(found)
    emit_path(page)


class _Progress(SiteProgress):
    """Progress over the steps of the measurement; where there is no terminal, a line for each step that names it."""

    def __call__(self, site: str, done: int, total: int) -> None:
        if err.is_terminal:
            super().__call__(site, done, total)
        else:
            say(f"measuring, step {done + 1} of {total}: {site}")


def _need_folder(out: Path) -> None:
    """Refuse a place that cannot become the folder of the page, before minutes of work.

    Raises
    ------
    DataError
        If a file is in the way.
    """
    from fluxtrapolation.errors import DataError

    for place in (*reversed(out.absolute().parents), out, out / "tables", out / "figures"):
        if place.exists() and not place.is_dir():
            raise DataError(f"--out {out}: {place} is a file, where a folder is needed. Choose another --out.")


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """A hidden folder in ``out`` whose files take their places together when all are written, the page last.

    A run that fails or is interrupted leaves what stood there before. Figures of an earlier run that this one has not
    drawn are removed; no other file is.

    Raises
    ------
    DataError
        If ``out`` cannot be written.
    """
    from fluxtrapolation.data.folder import writing
    from fluxtrapolation.plots.shift.figures import FIGURES, FORMATS
    from fluxtrapolation.plots.shift.page import PAGE_NAME

    with writing(out):
        stage = out / f".shift.{os.getpid()}.tmp"
        stage.mkdir(parents=True, exist_ok=True)
        try:
            yield stage
            made = sorted(path.relative_to(stage) for path in stage.rglob("*") if path.is_file())
            known = {Path("figures", f"{name}.{ending}") for name in FIGURES for ending in FORMATS}
            for stale in known.difference(made):
                (out / stale).unlink(missing_ok=True)
            for name in sorted(made, key=lambda name: name == Path(PAGE_NAME)):
                (out / name).parent.mkdir(exist_ok=True)
                (stage / name).replace(out / name)
        finally:
            shutil.rmtree(stage, ignore_errors=True)


def write_shift(
    found: ShiftReport, out: Path, *, split: Split, command: str, judged: Sequence[tuple[Judged, str | None]] = ()
) -> Path:
    """Write the page, shift.json, tables/ and figures/ of measures of shift, all or nothing; returns the page.

    Parameters
    ----------
    found : ShiftReport
    out : Path
        Folder; what an earlier call wrote there is replaced.
    split : Split
        What was measured.
    command : str
        For the page.
    judged : sequence of (Judged, str or None)
        The models, each with the reason why its importances cannot be read.

    Raises
    ------
    DataError
        If the folder cannot be written.
    """
    with _staged(out) as stage:
        page = _write(found, stage, split=split, meta=_meta(found.record, split, command, judged))
    return out / page.name


def _write(found: ShiftReport, out: Path, *, split: Split, meta: Mapping[str, Any]) -> Path:
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
    write_bytes_atomic(out / "shift.json", json.dumps(whole, indent=1, allow_nan=False).encode())
    shown = {name: table for name, table in found.tables.items() if name in TABLES}
    threshold = None if found.applicability is None else found.applicability.threshold
    prior = len(split.test) / (len(split.train) + len(split.test))
    save_figures(out / "figures", shown, target=split.target, threshold=threshold, prior=prior)
    return write_shift_page(
        out,
        title=f"Shift of {split.scenario.name}, {split.target}",
        covariate=whole["covariate"],
        conditional=whole["conditional"],
        tables=shown,
        applicability=whole["applicability"],
        meta=meta,
    )


def _meta(
    record: Mapping[str, Any], split: Split, command: str, judged: Sequence[tuple[Judged, str | None]]
) -> dict[str, Any]:
    from fluxtrapolation.data.manifest import utc_now

    notes = []
    if record["own_model"]:
        notes.append(
            "No run was given: the model is boosted trees, fitted on the spot on at most 100,000 train rows. Give a "
            "trained run with --run to judge that."
        )
    elif judged and judged[0][1] is not None:
        notes.append(
            "All covariates weigh the same in the dissimilarity index, because the first run, "
            f"{judged[0][0].name}, gives no importances: {judged[0][1]}."
        )
    elif len(record["models"]) > 1:
        notes.append(
            f"The dissimilarity index takes its weights from {record['models'][0]}, the first run; the errors of all "
            "models are told along it."
        )
    notes += [f"Cannot be told, {name}: {reason}" for name, reason in record["reasons"].items()]
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


def _judged(runs: Sequence[Path], split: Split) -> list[tuple[Judged, str | None]]:
    """What the runs predict, each with the reason why its importances cannot be read, or None.

    Raises
    ------
    RunError
        If a run is given twice, is not complete, or is of something else.
    """
    from fluxtrapolation.errors import RunError
    from fluxtrapolation.runs.on_test import run_on_test
    from fluxtrapolation.shift.measure import Judged

    places = [path.resolve() for path in runs]
    for path, place in zip(runs, places, strict=True):
        if places.count(place) > 1:
            raise RunError(f"The run {path} is given {places.count(place)} times. Give each run once.")
    read = [(path, run_on_test(path, split)) for path in runs]
    names = [one.name for _, one in read]
    found = [
        # Runs of one model with different seeds or searches are told apart by their folders.
        (Judged(one.name if names.count(one.name) == 1 else str(path), one.y_pred, one.model), one.note)
        for path, one in read
    ]
    if found and found[0][1] is not None:
        other = " Give another run first to take the weights from it." if any(note is None for _, note in found) else ""
        say(f"note: {runs[0]}: {found[0][1]}, so all covariates weigh the same in the dissimilarity index.{other}")
    return found


def _domain(store: Store, split: Split) -> Domain:
    """Rows of another store, as places where predictions are wanted: an equal share of each tower's."""
    import numpy as np

    from fluxtrapolation.errors import DataError, MissingColumnError, examples
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
        frame = store.read_site(site, hourly)[::step].fill_nan(None).drop_nulls()
        block = np.zeros((frame.height, len(split.feature_names)), dtype=np.float32)
        for column, name in enumerate(split.feature_names):
            if name in hourly:
                block[:, column] = frame[name].to_numpy()
            elif name == pft_column(record.igbp):
                block[:, column] = 1.0
        blocks.append(block)
    X = np.concatenate(blocks)
    if not len(X):
        raise DataError(f"The store {store.path} has no hour with all {len(hourly)} covariates of the scenario.")
    unseen = sorted({igbp for igbp in store.igbp_classes if pft_column(igbp) not in split.feature_names})
    if unseen:
        say(
            f"note: {store.path}: {len(unseen)} plant functional types are unknown to the scenario's store: "
            f"{examples(unseen)}. Towers of theirs count as of no type."
        )
    return Domain(X, lat, lon)


def _summary(found: ShiftReport) -> None:
    """The first numbers, for the person at the terminal."""
    rows: list[tuple[object, ...]] = []
    for name, split in (("by row", found.covariate.by_row), ("by site", found.covariate.by_site)):
        rows.append((f"P(X), {name}: AUC", split.auc.text(), _p(split.p_value)))
        rows.append((f"P(X), {name}: balanced accuracy", split.balanced_accuracy.text(), None))
    for row in found.covariate.distances.filter(found.covariate.distances["measure"] == "energy").to_dicts():
        usual = "" if row["exchanged"] is None else f" (labels exchanged: {row['exchanged']:.3g})"
        rows.append(("P(X), by site: energy distance", f"{row['value']:.3g}{usual}", _p(row["p_value"])))
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
    outside = f"cannot be told: {found.reasons['applicability']}" if applied is None else f"{applied.outside_share:.1%}"
    rows.append(("Test rows outside the area of applicability", outside, None))
    emit_table(["measure", "value", "p"], rows)


def _p(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def _command(
    store: Path, scenario: str, target: str, runs: Sequence[Path], options: Any, domain: Path | None, out: Path
) -> str:
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
    return shlex.join([*words, "--out", str(out)])
