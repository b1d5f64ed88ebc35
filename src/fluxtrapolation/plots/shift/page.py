"""The page of shift: gather numbers, sentences and figures, fill the template, write one HTML file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import polars as pl

from fluxtrapolation.errors import EvaluationError, FluxtrapolationError, did_you_mean
from fluxtrapolation.files import write_bytes_atomic
from fluxtrapolation.plots import labels
from fluxtrapolation.plots.shift import cells
from fluxtrapolation.plots.shift.conditional import conditional_bars, reason_letters
from fluxtrapolation.plots.shift.dissimilarity import has_clock
from fluxtrapolation.plots.shift.figures import given
from fluxtrapolation.plots.shift.headline import headline
from fluxtrapolation.plots.shift.pictures import Pictures

PAGE_NAME: Final = "index.html"
TABLES: Final = (
    *("univariate", "histograms", "importance", "calibration", "distances"),
    *("conditional", "slices", "decomposition_sites", "decomposition"),
    *("sites", "error_curve", "nearest", "nearest_summary", "acf", "effective", "family"),
)
"""Tables the page knows."""
_KNOWN_META: Final = ("target", "scenario", "model", "commands", "versions", "hashes", "created", "notes", "records")
ABSENT: Final = {
    "covariate_tables": "Tables of single covariates were not given: they come with fluxtrapolation.shift.covariate().",
    "slices": "Slices were not given: they come with fluxtrapolation.shift.conditional().",
    "decomposition": (
        "What the error is made of needs a model's predictions: give a trained run (--run), or a table from "
        "fluxtrapolation.shift.decompose()."
    ),
    "applicability": (
        "Where a model extrapolates depends on the model: give a trained run (--run), or tables from "
        "fluxtrapolation.shift.applicability()."
    ),
    "nearest": (
        "Distances to the nearest training point were not given: they come with a trained run (--run), or with "
        "fluxtrapolation.shift.distance_distributions()."
    ),
    "acf": "Autocorrelation was not given: it comes with fluxtrapolation.shift.autocorrelation().",
    "family": (
        "A curve of error against shift needs a family of scenarios of rising difficulty: fluxtrapolation scenario "
        "design makes one."
    ),
    "sites": "A map of the towers needs their coordinates: a table of sites with lat and lon.",
}
"""How to get what a section lacks."""


def write_shift_page(
    out: str | Path,
    *,
    title: str,
    covariate: Mapping[str, Any],
    conditional: Mapping[str, Any],
    tables: Mapping[str, pl.DataFrame],
    meta: Mapping[str, Any] | None = None,
    applicability: Mapping[str, Any] | None = None,
    threshold: float | None = None,
    reference: pl.DataFrame | None = None,
    reference_label: str = "published",
    shift_label: str | None = None,
) -> Path:
    """Write one page about the shift of a scenario that needs no other file, no script and no network.

    Parameters
    ----------
    out : path-like
        A file ending in ``.html``, or a folder that gets ``index.html``. Written whole or not at all.
    title : str
        Heading of the page.
    covariate, conditional : mapping
        ``CovariateShift.to_dict()`` and ``ConditionalShift.to_dict()``: numbers or reasons.
    tables : mapping of polars.DataFrame
        Any of :data:`TABLES`; a section whose table is absent or empty says how to get it.
    meta : mapping, optional
        ``target, scenario, model, created`` (str), ``commands, notes`` (list of str), ``versions, hashes, records``
        (mappings; ``records`` of how rows were chosen are added to those of ``covariate`` and ``conditional``);
        anything else is listed as a fact.
    applicability : mapping, optional
        ``Applicability.to_dict()``: threshold, share outside, summary, record.
    threshold : float, optional
        Index at which the area of applicability ends; that of ``applicability`` by default.
    reference : polars.DataFrame, optional
        ``fit_on, marginal, rmse_increase`` (and ``split``): numbers to compare conditional shift with.
    reference_label : str
        What they are.
    shift_label : str, optional
        What measures the shift in the family's curve.

    Returns
    -------
    pathlib.Path
        The page.

    Raises
    ------
    EvaluationError
        A table whose name the page does not know.
    MissingColumnError
        A table lacks a column.
    DataError
        The page cannot be written.
    """
    _refuse_unknown(tables)
    meta = meta or {}
    target = str(meta.get("target") or "the flux")
    if threshold is None and applicability is not None and applicability.get("threshold") is not None:
        threshold = float(applicability["threshold"])
    frame = cells.conditional_frame(conditional, given(tables, "conditional"))
    held = {name: table for name, table in tables.items() if not table.is_empty()}
    held |= {} if frame.is_empty() else {"conditional": frame}
    prior = (covariate.get("by_site") or covariate.get("by_row") or {}).get("test_share")
    pictures = Pictures(
        held,
        target=target,
        threshold=threshold,
        prior=prior,
        reference=reference,
        reference_label=reference_label,
        shift_label=shift_label,
    )
    context: dict[str, Any] = {
        "title": title,
        "target": target,
        "target_words": labels.target_name(target),
        "unit": labels.target_unit(target),
        "headline": headline(
            covariate, conditional, held, target=target, threshold=threshold, applicability=applicability
        ),
        "pictures": pictures.all(),
        "keys": pictures.keys(),
        "grids": _grids(covariate, held, applicability),
        "reasons": _reasons(frame),
        "reference": reference_label if reference is not None and not reference.is_empty() else "",
        "threshold": None if threshold is None else labels.significant(threshold, 3),
        "clock": has_clock(given(held, "error_curve")),
        "absent": ABSENT,
        "meta": _meta(meta, covariate, conditional, applicability),
    }
    context["shapes"] = pictures.shapes.markup()  # after all figures are drawn
    html = _environment().get_template("page.html.j2").render(context)
    path = Path(out)
    path = path if path.suffix == ".html" else path / PAGE_NAME
    write_bytes_atomic(path, html.encode("utf-8"))
    return path


def _refuse_unknown(tables: Mapping[str, pl.DataFrame]) -> None:
    unknown = [name for name in tables if name not in TABLES]
    if unknown:
        raise EvaluationError(
            f"The page of shift has no place for {len(unknown)} table(s), such as '{unknown[0]}'. It knows: "
            f"{', '.join(TABLES)}.{did_you_mean(unknown[0], TABLES)}"
        )


def _grids(
    covariate: Mapping[str, Any], tables: Mapping[str, pl.DataFrame], applicability: Mapping[str, Any] | None
) -> dict[str, cells.Grid]:
    """Tables of the page by name."""
    made: dict[str, cells.Grid | None] = {"classifier": cells.classifier_grid(covariate)}
    for name, build in (
        ("distances", cells.distance_grid),
        ("univariate", cells.univariate_grid),
        ("conditional", cells.conditional_grid),
        ("decomposition", cells.decomposition_grid),
        ("nearest_summary", cells.nearest_grid),
        ("effective", cells.effective_grid),
    ):
        if name in tables:
            made[name] = build(tables[name])
    if "decomposition_sites" in tables:
        made["decomposition_sites"] = cells.towers_grid(
            tables["decomposition_sites"],
            cells.DECOMPOSED,
            "Towers by their error",
            by="mse",
            name="decomposition_sites",
        )
    sites = tables.get("sites")
    if sites is not None and "outside_share" in sites.columns and sites["outside_share"].null_count() < sites.height:
        made["outside"] = cells.towers_grid(
            sites,
            cells.OUTSIDE,
            "Towers by their hours outside the area of applicability",
            by="outside_share",
            name="outside",
        )
    made["summary"] = cells.summary_grid((applicability or {}).get("summary") or ())
    return {name: cells.with_feet(grid) for name, grid in made.items() if grid is not None}


def _reasons(conditional: pl.DataFrame) -> list[tuple[str, str]]:
    """Reasons why cells of conditional shift are missing, each with the cells it concerns."""
    if conditional.is_empty():
        return []
    found: dict[str, list[str]] = {}
    bars = conditional_bars(conditional)
    letters = reason_letters(bars)
    for bar in bars:
        if bar.value is None:
            found.setdefault(f"({letters[bar.reason]}) {bar.reason}", []).append(
                f"by {bar.split}, fit on {bar.fit_on}, {bar.marginal}"
            )
    return [(reason, "; ".join(where)) for reason, where in found.items()]


def _meta(
    meta: Mapping[str, Any],
    covariate: Mapping[str, Any],
    conditional: Mapping[str, Any],
    applicability: Mapping[str, Any] | None,
) -> dict[str, Any]:
    records = {
        "P(X)": covariate.get("record"),
        "P(Y|X)": conditional.get("record"),
        "Applicability": (applicability or {}).get("record"),
        **(meta.get("records") or {}),
    }
    facts = [pair for key, value in meta.items() if key not in _KNOWN_META for pair in cells.flat(value, key)]
    return {
        "scenario": meta.get("scenario"),
        "model": meta.get("model"),
        "created": meta.get("created"),
        "commands": _lines(meta.get("commands")),
        "notes": [*_lines(meta.get("notes")), *_lines((records["Applicability"] or {}).get("notes"))],
        "records": [
            (name, [pair for pair in cells.flat(record) if pair[0] != "notes"])
            for name, record in records.items()
            if record
        ],
        "facts": [
            (name, pairs)
            for name, pairs in (
                ("Facts", facts),
                ("Versions", cells.flat(meta.get("versions") or {})),
                ("Hashes (sha256 unless said otherwise)", cells.flat(meta.get("hashes") or {})),
            )
            if pairs
        ],
    }


def _lines(value: str | Iterable[Any] | None) -> Sequence[str]:
    if value is None:
        return []
    return value.splitlines() if isinstance(value, str) else [str(item) for item in value]


def _environment() -> Any:
    try:
        import jinja2
    except ModuleNotFoundError as error:
        raise FluxtrapolationError(
            "The page of shift needs jinja2 and matplotlib: pip install 'fluxtrapolation[plots]'."
        ) from error
    folders = [resources.files(f"fluxtrapolation.plots.{name}") for name in ("shift", "report")]

    def load(name: str) -> str | None:
        """Own templates first; the style sheet is that of the report."""
        for folder in folders:
            if folder.joinpath(name).is_file():
                return folder.joinpath(name).read_text("utf-8")
        return None

    return jinja2.Environment(
        loader=jinja2.FunctionLoader(load),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
