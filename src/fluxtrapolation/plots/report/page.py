"""Gather numbers and figures, fill the template, write one HTML file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import polars as pl

from fluxtrapolation import schema
from fluxtrapolation.errors import FluxtrapolationError
from fluxtrapolation.evaluation.scores import Scores
from fluxtrapolation.files import write_bytes_atomic
from fluxtrapolation.plots import labels, style, tables
from fluxtrapolation.plots.maps import EXTENT_NAMES
from fluxtrapolation.plots.report.board import SUMMARIES, Board
from fluxtrapolation.plots.report.figures import Figures
from fluxtrapolation.plots.report.headline import headline
from fluxtrapolation.plots.report.interactive import NOTICE, menu
from fluxtrapolation.plots.report.towers import TowerFigures
from fluxtrapolation.plots.uncertainty import Uncertainty, uncertainty_of

PAGE_NAME: Final = "index.html"
_KNOWN_META: Final = ("commands", "versions", "hashes", "created", "notes")
_RUN_NUMBERS: Final = ("train_rows", "validation_rows", "test_rows", "max_rows")
_RUN_SHOWN: Final = (*tables.RUN_COLUMNS, *_RUN_NUMBERS, "profile", "seconds", "config", "configuration", "reason")


@dataclass(frozen=True, slots=True)
class RunRow:
    """One line of the table of runs."""

    target: str
    scenario: str
    model: str
    profile: str
    numbers: tuple[str, ...]
    seconds: str
    config: str


def write_report(
    out_dir: str | Path,
    *,
    title: str,
    scores: Scores | pl.DataFrame,
    split_sites: pl.DataFrame | None = None,
    seasonal: pl.DataFrame | None = None,
    site_means: pl.DataFrame | None = None,
    runs: pl.DataFrame | None = None,
    meta: Mapping[str, Any] | None = None,
    baseline: str = "lr",
    draws: int | None = None,
    uncertainty: Uncertainty | None = None,
) -> Path:
    """Write ``index.html`` into ``out_dir``: one page that needs no other file and no network.

    Tables and pictures stand in the page itself. A browser with JavaScript puts interactive charts in the place of the
    pictures, from a library that the page carries.

    Parameters
    ----------
    out_dir : path-like
        Made if absent. The page is written whole or not at all.
    title : str
        Heading of the page.
    scores : Scores or its table
        Tidy scores: ``target, scenario, model, selection, scale, domain, rmse``; also read where present:
        ``reason, protocol, profile, max_rows, seed``. RMSE in the unit of the target (schema).
    split_sites : polars.DataFrame, optional
        ``scenario, site_id, lat, lon (degrees), igbp, role`` with role train, validation or test; a tower may have
        several rows. Without it the page has no maps.
    seasonal : polars.DataFrame, optional
        ``target, scenario, model, selection, site_id, doy|month|doy_or_month, observed, predicted``.
    site_means : polars.DataFrame, optional
        ``target, scenario, model, selection, site_id, year, y_true, y_pred``: mean observed and predicted value of
        every test domain, in the unit of the target.
    runs : polars.DataFrame, optional
        ``target, scenario, model, selection`` and any of ``profile, train_rows, validation_rows, test_rows, max_rows,
        seconds, config`` (text, JSON or struct), ``reason`` (of a failed run);
        further columns are shown as configuration.
    meta : mapping, optional
        ``commands`` (list of str), ``versions`` and ``hashes`` (mappings), ``created`` (str), ``notes`` (list of str);
        anything else is listed as a fact.
    baseline : str
        Model of skill 0. Where it has no scores the page says so and shows no skill.
    draws : int, optional
        Bootstrap draws behind the ranks, at least 1000; enough for the number of models by default. 0 leaves intervals
        and ranks out.
    uncertainty : Uncertainty, optional
        Intervals and ranks made elsewhere; computed from the scores by default.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    MissingColumnError
        A table lacks a column.
    EvaluationError
        No scores, two protocols in one table, or towers without coordinates.
    DataError
        The page cannot be written.
    """
    scores = tables.check_scores(scores)
    if uncertainty is None:
        uncertainty = _uncertainty(scores, baseline, draws)
    board = Board(scores, baseline=baseline, uncertainty=uncertainty)
    summary = headline(board)
    figures = Figures(board, best=summary.best, split_sites=split_sites, seasonal=seasonal, site_means=site_means)
    context = {
        "title": title,
        "headline": summary,
        "failed": _failed(runs),
        "runs": _runs(runs),
        "meta": _meta(meta or {}),
        "counts": _counts(scores, board, split_sites),
        **_of_board(board),
        **_of_figures(figures),
    }
    context["charts"] = figures.charts.payload()  # after all figures are drawn
    context["shapes"] = figures.shapes.markup()
    context["notice"] = NOTICE
    html = _environment().get_template("page.html.j2").render(context)
    path = Path(out_dir) / PAGE_NAME
    write_bytes_atomic(path, html.encode("utf-8"))
    return path


def _of_board(board: Board) -> dict[str, Any]:
    """Numbers and words of the page that follow from the board."""
    return {
        "board": board,
        "baseline": board.baseline,
        "protocol": tables.protocol_of(board.scores),
        "profiles": _profiles(board.scores),
        "summaries": [(key, labels.SUMMARY_NAMES[key], board.blocks(key)) for key in SUMMARIES],
        "missing": board.missing(),
        "left_out": board.left_out(),
        "ranked": bool(board.uncertainty.standings),
        "unknown": board.uncertainty.reasons(),
        "level": labels.percent(board.uncertainty.level),
        "scale_meaning": [
            (labels.SCALE_NAMES[s], s, labels.SCALE_MEANING[s]) for s in board.scales if s in labels.SCALE_MEANING
        ],
        "scenario_meaning": labels.SCENARIO_MEANING,
        "name_width": max(len(s.model) + (0 if _one_selection(board) else len(s.selection)) for s in board.series) + 3,
        "one_selection": _one_selection(board),
        "units": [(t, labels.target_name(t), labels.target_unit(t)) for t in board.targets],
    }


def _of_figures(figures: Figures) -> dict[str, Any]:
    """Figures of the page and the menus of its interactive charts."""
    board, towers = figures.board, TowerFigures(figures)
    return {
        "heatmaps": figures.heatmaps(),
        "cdfs": figures.cdfs(),
        "by_scale": figures.by_scale(),
        "maps": figures.maps(),
        "scatters": towers.scatters(),
        "error_maps": towers.maps(),
        "cycles": figures.cycles(),
        "legend": figures.legend(),
        "tower_scale": labels.SCALE_NAMES.get(board.scales[0], board.scales[0]) if board.scales else "",
        "map_baseline": towers.baseline,
        "all_models": towers.model_menu(with_baseline=True),
        "other_models": towers.model_menu(with_baseline=False),
        "regions": menu(list(EXTENT_NAMES.values()), EXTENT_NAMES["world"]),
    }


def _uncertainty(scores: pl.DataFrame, baseline: str, draws: int | None) -> Uncertainty:
    """Intervals and ranks of the scores; none for ``draws`` = 0."""
    if draws == 0:
        return Uncertainty()
    models = scores["model"].unique().to_list()
    known = baseline if baseline in models and len(models) > 1 else None
    return uncertainty_of(scores, summaries=SUMMARIES, baseline=known, draws=draws)


def _environment() -> Any:
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise FluxtrapolationError(
            "The report needs jinja2 and matplotlib: pip install 'fluxtrapolation[plots]'."
        ) from error
    folder = resources.files("fluxtrapolation.plots.report")
    loader = jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text("utf-8"))
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["count"] = labels.count
    environment.filters["number"] = labels.number
    environment.filters["slug"] = slug
    environment.filters["breakable"] = _breakable
    environment.globals["SCALE_SHORT"] = labels.SCALE_SHORT
    environment.globals["SCALE_NAMES"] = labels.SCALE_NAMES
    environment.globals["SELECTION_MEANING"] = labels.SELECTION_MEANING
    environment.globals["DASH"] = labels.DASH
    return environment


def _breakable(text: str) -> Any:
    """An interval that may go on in a new line after its dash, in a cell too narrow for it."""
    from markupsafe import Markup, escape

    return Markup("–<wbr>").join(escape(part) for part in text.split("–"))


def slug(text: str) -> str:
    """A name fit for an HTML id."""
    return re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-") or "x"


def _one_selection(board: Board) -> str:
    """The selection all models share, or an empty text."""
    found = {series.selection for series in board.series}
    return found.pop() if len(found) == 1 else ""


def _profiles(scores: pl.DataFrame) -> list[str]:
    """Profiles in the scores, each with its limit of train rows where one was set; by model where they differ."""
    known = scores.select("profile", "max_rows", "model").drop_nulls("profile").unique(maintain_order=True)
    found = known.group_by("profile", "max_rows").agg(pl.col("model").unique().sort()).sort("profile", "max_rows")
    texts = []
    for profile, rows, models in found.iter_rows():
        text = f"{profile} (at most {labels.count(int(rows))} train rows)" if rows is not None else str(profile)
        texts.append(f"{text}: {', '.join(models)}" if found.height > 1 else text)
    return texts


def _counts(scores: pl.DataFrame, board: Board, split_sites: pl.DataFrame | None) -> dict[str, Any]:
    towers = None
    if split_sites is not None and "site_id" in split_sites.columns:
        towers = split_sites["site_id"].n_unique()
    domains = {
        scenario: scores.filter(pl.col("scenario") == scenario, pl.col("scale") == (board.scales or ("",))[0])[
            "domain"
        ].n_unique()
        for scenario in board.scenarios
    }
    return {"towers": towers, "domains": domains, "models": len({series.model for series in board.series})}


def _config_text(value: object) -> str:
    """Configuration as ``key = value`` pairs, from a mapping, a JSON object or plain text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return str(value)
    if isinstance(value, Mapping):
        pairs = [f"{key} = {_short(item)}" for key, item in value.items() if item is not None]
        return ", ".join(pairs) or labels.DASH
    return labels.DASH if value is None else str(value)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else str(value)


def _runs(runs: pl.DataFrame | None) -> dict[str, Any]:
    """The table of runs: which number columns it has, and its rows."""
    if runs is None or runs.is_empty():
        return {"columns": (), "rows": []}
    tables.require(runs, tables.RUN_COLUMNS, "runs")
    columns = tuple(name for name in _RUN_NUMBERS if name in runs.columns and runs[name].null_count() < runs.height)
    extra = [name for name in runs.columns if name not in _RUN_SHOWN]
    order = {name: place for place, name in enumerate((*schema.TARGETS, *schema.SCENARIOS))}
    rows = []
    for row in runs.iter_rows(named=True):
        series = tables.Series(str(row["model"]), str(row["selection"] or ""))
        config = row.get("config", row.get("configuration"))
        more = {name: row[name] for name in extra if row[name] is not None}
        text = "; ".join(part for part in (_config_text(config), _config_text(more) if more else "") if part)
        rows.append(
            RunRow(
                str(row["target"]),
                str(row["scenario"]),
                series.label,
                str(row.get("profile") or labels.DASH),
                tuple(labels.count(None if row[name] is None else int(row[name])) for name in columns),
                labels.duration(row.get("seconds")),
                text,
            )
        )
    rows.sort(key=lambda r: (order.get(r.target, 99), r.target, order.get(r.scenario, 99), r.scenario, r.model))
    return {"columns": tuple(name.replace("_", " ") for name in columns), "rows": rows}


def _failed(runs: pl.DataFrame | None) -> list[tuple[str, str, str, str]]:
    """Runs that carry a reason: target, scenario, model, reason."""
    if runs is None or "reason" not in runs.columns:
        return []
    return [
        (
            str(row["target"]),
            str(row["scenario"]),
            tables.Series(str(row["model"]), str(row["selection"] or "")).label,
            str(row["reason"]),
        )
        for row in runs.filter(pl.col("reason").is_not_null()).iter_rows(named=True)
    ]


def _pairs(value: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A nested mapping as flat (name, text) pairs."""
    if isinstance(value, Mapping):
        return [
            pair for key, item in value.items() for pair in _pairs(item, f"{prefix} {key}".strip().replace("_", " "))
        ]
    if isinstance(value, str) or not isinstance(value, Iterable):
        if isinstance(value, int) and not isinstance(value, bool):
            return [(prefix, labels.count(value) if value >= 10_000 else str(value))]
        return [(prefix, labels.DASH if value is None else str(value))]
    return [(prefix, ", ".join(str(item) for item in value))]


def _lines(value: Any) -> list[str]:
    if value is None:
        return []
    return value.splitlines() if isinstance(value, str) else [str(item) for item in value]


def _meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    facts = [
        pair for key, value in meta.items() if key not in _KNOWN_META for pair in _pairs(value, key.replace("_", " "))
    ]
    return {
        "commands": _lines(meta.get("commands")),
        "notes": _lines(meta.get("notes")),
        "versions": _pairs(meta.get("versions") or {}),
        "hashes": _pairs(meta.get("hashes") or {}),
        "created": meta.get("created"),
        "facts": facts,
        "colours": {"good": style.GOOD, "bad": style.BAD},
    }
