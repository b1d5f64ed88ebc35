"""``fluxtrapolation evaluate`` and ``table``."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxtrapolation.cli.console import emit_json, emit_path, err, say
from fluxtrapolation.cli.options import (
    JsonFlag,
    Protocol,
    ProtocolOption,
    ScalesOption,
    ScenariosOption,
    chosen,
    chosen_scales,
    outside_stores,
)
from fluxtrapolation.errors import EvaluationError, MissingColumnError, did_you_mean, examples

if TYPE_CHECKING:
    from fluxtrapolation.evaluation import Predictions


class Columns(StrEnum):
    own = "own"
    published = "published"


class DomainKind(StrEnum):
    site = "site"
    site_year = "site-year"


def evaluate(
    files: Annotated[
        list[Path], typer.Argument(help="Predictions (.parquet, .csv), or run folders.", show_default=False)
    ],
    out: Annotated[
        Path,
        typer.Option("--out", help="Scores to write (.parquet or .csv).", show_default=False, callback=outside_stores),
    ],
    protocol: ProtocolOption = Protocol.paper,
    store: Annotated[
        Path | None, typer.Option("--store", help="Gives qc_mask to tables that lack it (protocol measured).")
    ] = None,
    columns: Annotated[
        Columns, typer.Option("--columns", help="published: the columns and labels of the public board (CSV).")
    ] = Columns.own,
    metrics: Annotated[
        str,
        typer.Option(
            "--metrics", help="published (the eight of the board), all, or names with commas between: rmse,kge."
        ),
    ] = "published",
    truth: Annotated[
        Path | None,
        typer.Option("--truth", help="The test set (.parquet, .csv with site_id, time): refuse files that lack hours."),
    ] = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Treat hours without a prediction as missing on both sides.")
    ] = False,
    domain_column: Annotated[
        str | None, typer.Option("--domain-column", help="Bare tables: the column whose labels are the domains.")
    ] = None,
    domain: Annotated[
        DomainKind | None, typer.Option("--domain", help="Bare tables: derive the domain from site and time.")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", help="Bare tables: label.")] = None,
    model: Annotated[str | None, typer.Option("--model", help="Bare tables: label.")] = None,
    selection: Annotated[
        str | None,
        typer.Option("--selection", help="Folders: take only mean, max or discrepancy. Bare tables: label."),
    ] = None,
    scenario: Annotated[str | None, typer.Option("--scenario", help="Bare tables: label, free text.")] = None,
    json: JsonFlag = False,
) -> None:
    """Score predictions on eight temporal scales, one row per scale and domain.

    Reads our Parquet (identity inside), the published CSV (identity in its name) and bare tables with
    site_id, time, y_true, y_pred. A folder stands for all predictions in it, or those of one --selection.
    """
    from fluxtrapolation.evaluation import Predictions, Scores
    from fluxtrapolation.evaluation import evaluate as score
    from fluxtrapolation.evaluation.comparable import DISTINGUISHING, RUN, need_one_run
    from fluxtrapolation.evaluation.metrics import choose_metrics

    # The board's columns come first and are always there; what is asked for besides follows them.
    wanted = choose_metrics(["published", metrics] if columns is Columns.published else metrics)
    if out.suffix.lower() not in (".parquet", ".csv"):
        raise EvaluationError(f"--out {out} must end in .parquet or .csv.")
    labels: dict[str, Any] = {"target": target, "model": model, "selection": selection, "scenario": scenario}
    found = _expand(files, selection)
    parts = []
    test_set = None if truth is None else _read_table(truth)
    bare = 0
    for number, file in enumerate(found, start=1):
        if len(found) > 1:
            err.print(f"[{number}/{len(found)}] {file}", markup=False, soft_wrap=True)
        predictions = Predictions.read(file)
        if protocol is Protocol.measured:
            predictions = _with_qc(predictions, store)
        bare += predictions.identity is None
        # Labels are for bare tables. Beside other files, one with its own identity keeps it.
        named: dict[str, Any] = labels if predictions.identity is None or len(found) == 1 else {}
        part = score(
            predictions,
            protocol=protocol.value,
            domain=domain.value if domain else None,
            domain_column=domain_column,
            allow_missing=allow_missing,
            metrics=wanted,
            truth=test_set,
            **named,
        )
        for run in part.meta["runs"]:
            run["where"] = str(file)  # in run folders all files have the same name
        parts.append(part)
    given = [f"--{name}" for name, value in labels.items() if value is not None and name != "selection"]
    if given and not bare and len(found) > 1:
        raise EvaluationError(
            f"{', '.join(given)} label bare tables, but all {len(found)} files carry their own identity. "
            "Leave them out."
        )
    scores = Scores.concat(parts)
    need_one_run(scores.frame, [*RUN, "scale", *DISTINGUISHING], scores.meta["runs"])
    for run in scores.meta["runs"]:
        if run.get("hours_left_out"):
            say(f"note: {run['where']}: {run['hours_left_out']:,} hours without a prediction are left out.")
    medians = _medians(scores) if json and "rmse" in wanted else []
    path = scores.write(out, columns=columns.value)
    if json:
        emit_json(
            {
                "path": str(path),
                "files": [str(file) for file in found],
                "protocol": protocol.value,
                "rows": len(scores),
                "hours_left_out": sum(run.get("hours_left_out") or 0 for run in scores.meta["runs"]),
                "median_rmse": medians,
            }
        )
    else:
        emit_path(path)


def table(
    scores: Annotated[
        list[Path],
        typer.Argument(help="Scores (.parquet, .csv), published metric files, or folders.", show_default=False),
    ],
    target: Annotated[str, typer.Option("--target", help="GPP, NEE or ET.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            "--out", help="Table to write: .csv, .md, .tex or .html.", show_default=False, callback=outside_stores
        ),
    ],
    summary: Annotated[str, typer.Option("--summary", help="median, q90 or cvar10 over domains.")] = "median",
    baseline: Annotated[str, typer.Option("--baseline", help="Model of skill 0; 'none' for no skill.")] = "lr",
    metric: Annotated[str, typer.Option("--metric", help="Metric in the cells.")] = "rmse",
    scales: ScalesOption = None,
    scenarios: ScenariosOption = None,
    intervals: Annotated[
        bool, typer.Option("--intervals", help="95 % intervals over sites beside every number.")
    ] = False,
    by: Annotated[
        str | None,
        typer.Option("--by", help="A row per stratum: igbp, latitude, network, temperature. Needs --store or --sites."),
    ] = None,
    store: Annotated[Path | None, typer.Option("--store", help="Store whose site table --by reads.")] = None,
    sites: Annotated[
        Path | None, typer.Option("--sites", help="Site table for --by: .csv or .parquet with site_id.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Make the board's table of one target: a row per model, a column per scenario and scale, skill score first.

    `--summary cdf` writes the whole distribution instead: every domain's value and the share of domains at or below it.
    """
    from fluxtrapolation.evaluation import Ends, Scores, pivot, pivot_intervals, write_table

    held = chosen(Scores.read(*scores), scenarios)
    shown = chosen_scales(scales)
    if store is not None and sites is not None:
        raise EvaluationError("--store and --sites both give a site table for --by. Give one of them.")
    if intervals and summary == "cdf":
        raise EvaluationError("--intervals goes with a summary such as median, not with cdf.")
    if summary == "cdf" or by is not None:
        _tidy(held, target, out, summary=summary, metric=metric, intervals=intervals, by=by, sites=store or sites,
              scales=shown, json=json)  # fmt: skip
        return
    against = None if baseline == "none" else baseline
    wide = pivot(held, target=target, baseline=against, summary=summary, metric=metric, scales=shown)
    ends = None
    if intervals:
        low, high = pivot_intervals(
            held, wide, target=target, baseline=against, summary=summary, metric=metric, scales=shown
        )
        ends = Ends(low, high)
        _tell_open_ends(wide, ends)
    caption = f"{target}: {summary} of {metric} over domains" + (f"; skill score against {against}" if against else "")
    path = write_table(wide, out, caption=caption + ("; 95 % intervals over sites" if ends else ""), ends=ends)
    if "note" in wide.columns:
        told: dict[str, list[str]] = {}
        for row in wide.filter(wide["note"].is_not_null()).iter_rows(named=True):
            name = f"{row['model']} ({row['selection']})" if row["selection"] else str(row["model"] or "unnamed")
            told.setdefault(row["note"], []).append(name)
        for note, names in told.items():
            say(f"note: {'' if len(names) == wide.height else examples(names) + ': '}{note}")
    if json:
        rows = wide if ends is None else ends.beside(wide)
        emit_json({"path": str(path), "summary": summary, "rows": rows.to_dicts()})
    else:
        emit_path(path)


def _tell_open_ends(wide: Any, ends: Any) -> None:
    """Say how many numbers have no interval, or one that is open at an end."""
    cells = [name for name in wide.columns if "/" in name]
    pairs = [ends.of(name, row) for name in cells for row in range(wide.height) if wide[name][row] is not None]
    none = sum(pair == (None, None) for pair in pairs)
    half = sum(pair is not None and (pair[0] is None) != (pair[1] is None) for pair in pairs)
    if none or half:
        say(
            f"note: of {len(pairs)} cells {none} have no interval and {half} are open at one end (a dash): too few "
            "sites to bound them."
        )


def _tidy(
    scores: Any,
    target: str,
    out: Path,
    *,
    summary: str,
    metric: str,
    intervals: bool,
    by: str | None,
    sites: Path | None,
    scales: tuple[str, ...],
    json: bool,
) -> None:
    """Write a table with a row per domain (cdf) or per stratum."""
    from fluxtrapolation.evaluation import cdf, strata, write_table

    part = scores.where(target=target)
    if not len(part):
        known = scores.frame["target"].drop_nulls().unique().sort().to_list()
        raise EvaluationError(
            f"There are no scores of '{target}'.{did_you_mean(target, known)} The scores hold {examples(known)}."
        )
    if by is None:
        table = cdf(part, metric=metric, scales=scales)
        caption = f"{target}: distribution of {metric} over domains"
    elif summary == "cdf":
        raise EvaluationError("--by goes with a summary such as median, not with cdf.")
    else:
        if sites is None:
            raise EvaluationError(f"--by {by} needs a site table: give --store towers/ or --sites sites.csv.")
        table = strata(part, _read_sites(sites), by=by, summary=summary, metric=metric, scales=scales)
        if not intervals:
            table = table.drop("low", "high", "method", "note")
        caption = f"{target}: {summary} of {metric} by {by}"
    path = write_table(table, out, caption=caption)
    if json:
        emit_json({"path": str(path), "summary": summary, "rows": table.to_dicts()})
    else:
        emit_path(path)


def _read_sites(place: Path) -> Any:
    """The site table of a store, or of a file."""
    if place.is_dir():
        from fluxtrapolation.data.store import Store

        return Store(place).sites
    return _read_table(place)


def _read_table(place: Path) -> Any:
    """A table with the column site_id, from CSV or Parquet."""
    import polars as pl

    if not place.is_file():
        raise EvaluationError(f"{place} is no file. Give a .csv or .parquet with the column site_id.")
    kind = place.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise EvaluationError(f"{place} must end in .csv or .parquet.")
    try:
        return pl.read_csv(place, glob=False) if kind == ".csv" else pl.read_parquet(place, glob=False)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise EvaluationError(f"{place} cannot be read: {reason}") from error


def _expand(files: list[Path], selection: str | None) -> list[Path]:
    """Files as they are; a folder stands for the predictions in it, or those of one selection."""
    found: list[Path] = []
    for file in files:
        if file.is_dir():
            inside = sorted(file.rglob("predictions-*.parquet")) or sorted(file.rglob("*_predictions.csv"))
            if not inside:
                raise EvaluationError(
                    f"{file} holds no predictions (predictions-*.parquet or *_predictions.csv). Give files."
                )
            found += inside if selection is None else _selected(inside, selection, file)
        else:
            found.append(file)
    seen: dict[Path, Path] = {}
    for file in found:
        before = seen.setdefault(file.resolve(), file)
        if before is not file:
            also = f", also as {before}" if str(before) != str(file) else ""
            raise EvaluationError(f"{file} is given twice{also}. Give each file once, alone or by its folder.")
    return found


def _selected(files: list[Path], selection: str, folder: Path) -> list[Path]:
    """The predictions of one selection, by file name; a name that tells no selection stays, and takes the label."""
    from fluxtrapolation.evaluation.published import parse_predictions_name

    named: dict[Path, str | None] = {}
    for file in files:
        published = parse_predictions_name(file.name)
        own = file.stem.removeprefix("predictions-") if file.suffix == ".parquet" else None
        named[file] = published.selection if published else own
    chosen = [file for file, name in named.items() if name in (None, selection)]
    if not chosen:
        known = sorted({name for name in named.values() if name})
        raise EvaluationError(
            f"{folder} holds no predictions of the selection '{selection}'.{did_you_mean(selection, known)} It holds "
            f"{examples(known)}."
        )
    kept = {file.parent for file in chosen}
    without = list(dict.fromkeys(str(file.parent) for file in files if file.parent not in kept))
    if without:
        say(f"note: {len(without)} run(s) have no predictions of the selection '{selection}': {examples(without)}")
    return chosen


def _with_qc(predictions: Predictions, store: Path | None) -> Predictions:
    """Give a bare table its qc_mask from a store, by site and hour."""
    import polars as pl

    from fluxtrapolation.evaluation import Predictions
    from fluxtrapolation.schema import QC, SITE, TIME

    if QC in predictions.columns:
        return predictions
    if store is None:
        raise MissingColumnError(
            f"{predictions.where} has no {QC}, which the protocol 'measured' needs. Give the store with --store."
        )
    if SITE not in predictions.columns:
        raise MissingColumnError(f"{predictions.where} has no {SITE}, so no {QC} can be found for it in {store}.")
    from fluxtrapolation.data.store import Store

    frame = predictions.frame.with_columns(pl.col(SITE).cast(pl.String))
    flags = Store(store).scan(frame[SITE].unique().sort().to_list(), [TIME, QC]).collect()
    joined = frame.join(flags, on=[SITE, TIME], how="left", maintain_order="left")
    lost = joined.filter(pl.col(QC).is_null())
    if lost.height:
        raise EvaluationError(
            f"{predictions.where}: {lost.height:,} of {joined.height:,} hours are not in the store {store} "
            f"(first: {lost[SITE][0]} {lost[TIME][0]}). Give the store these predictions were made for."
        )
    return Predictions(joined, predictions.identity, where=predictions.where)


def _medians(scores: Any) -> list[dict[str, Any]]:
    from fluxtrapolation.evaluation import summarise
    from fluxtrapolation.evaluation.comparable import HASHES, telling_apart
    from fluxtrapolation.schema import SCALES

    # One line per run, also where only the seed or the store tells two apart; nothing is compared here.
    apart = list(dict.fromkeys((*telling_apart(scores.frame), *HASHES)))
    return list(summarise(scores, summary="median", scales=SCALES, by=apart).to_dicts())
