"""Every figure of shift whose table is there, as pages and papers want it; and their files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import polars as pl

from fluxtrapolation.plots import style
from fluxtrapolation.plots.shift.acf import acf_panels
from fluxtrapolation.plots.shift.calibration import classifier_calibration
from fluxtrapolation.plots.shift.conditional import conditional_shift
from fluxtrapolation.plots.shift.difficulty import difficulty_curve
from fluxtrapolation.plots.shift.dissimilarity import error_by_dissimilarity
from fluxtrapolation.plots.shift.histograms import covariate_histograms
from fluxtrapolation.plots.shift.importance import covariate_importance
from fluxtrapolation.plots.shift.maps import dissimilarity_map, parts_map
from fluxtrapolation.plots.shift.nearest import nearest_distances
from fluxtrapolation.plots.shift.slices import conditional_slices

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[], "Figure"]
FIGURES: Final = (
    *("histograms", "importance", "calibration", "conditional", "slices", "dissimilarity", "nearest"),
    *("dissimilarity-map", "parts-map", "acf", "difficulty"),
)
"""Names of all figures."""
FORMATS: Final = ("svg", "pdf", "png")


def given(tables: Mapping[str, pl.DataFrame], name: str) -> pl.DataFrame | None:
    """A table that is there and has rows."""
    table = tables.get(name)
    return None if table is None or table.is_empty() else table


def has(table: pl.DataFrame | None, *columns: str) -> bool:
    """Whether a table is there and each of the columns holds a value."""
    return table is not None and all(
        name in table.columns and table[name].null_count() < table.height for name in columns
    )


def with_places(tables: Mapping[str, pl.DataFrame], column: str) -> pl.DataFrame | None:
    """The sites table, where at least one tower has coordinates and a value in the column."""
    sites = given(tables, "sites")
    if sites is None or not has(sites, "lat", "lon", column):
        return None
    return sites if sites.drop_nulls(["lat", "lon", column]).height else None


def paper_figures(
    tables: Mapping[str, pl.DataFrame],
    *,
    target: str,
    threshold: float | None = None,
    prior: float | None = None,
    reference: pl.DataFrame | None = None,
    reference_label: str = "published",
    shift_label: str | None = None,
) -> dict[str, Draw]:
    """Figures by name, each drawn when it is called; those whose table is absent or empty are absent.

    Parameters
    ----------
    tables : mapping of polars.DataFrame
        Names as in :func:`fluxtrapolation.plots.shift.write_shift_page`.
    target : str
    threshold : float, optional
        Index at which the area of applicability ends.
    prior : float, optional
        Share of test rows.
    reference : polars.DataFrame, optional
        Numbers to compare conditional shift with.
    reference_label : str
    shift_label : str, optional
        What measures the shift in the family's curve.
    """
    made: dict[str, Draw] = {}

    def add(name: str, table: pl.DataFrame | None, draw: Callable[[pl.DataFrame], Figure]) -> None:
        if table is not None and not table.is_empty():
            made[name] = lambda: draw(table)

    add("histograms", tables.get("histograms"), lambda t: covariate_histograms(t, univariate=tables.get("univariate")))
    importance = given(tables, "importance")
    add("importance", importance if has(importance, "auc_drop") else None, covariate_importance)
    add("calibration", tables.get("calibration"), lambda t: classifier_calibration(t, prior=prior))
    add(
        "conditional",
        tables.get("conditional"),
        lambda t: conditional_shift(t, reference=reference, reference_label=reference_label),
    )
    add("slices", tables.get("slices"), lambda t: conditional_slices(t, target=target))
    curve, sites = given(tables, "error_curve"), given(tables, "sites")
    towers = sites if has(sites, "index_median", "rmse") else None
    if curve is not None or towers is not None:
        made["dissimilarity"] = lambda: error_by_dissimilarity(curve, towers, target=target, threshold=threshold)
    add("nearest", tables.get("nearest"), nearest_distances)
    add("dissimilarity-map", with_places(tables, "index_median"), lambda t: dissimilarity_map(t, threshold=threshold))
    add("parts-map", with_places(tables, "part"), parts_map)
    add("acf", tables.get("acf"), acf_panels)
    add("difficulty", tables.get("family"), lambda t: difficulty_curve(t, target=target, label=shift_label))
    return made


def save_figures(
    folder: str | Path,
    tables: Mapping[str, pl.DataFrame],
    *,
    target: str,
    threshold: float | None = None,
    prior: float | None = None,
    reference: pl.DataFrame | None = None,
    reference_label: str = "published",
    shift_label: str | None = None,
    formats: Sequence[str] = FORMATS,
) -> list[Path]:
    """Write every figure whose table is there into a folder, for papers.

    Parameters
    ----------
    folder : path-like
        Made if absent.
    tables, target, threshold, prior, reference, reference_label, shift_label
        As in :func:`paper_figures`.
    formats : sequence of str
        Any of svg, pdf and png.

    Returns
    -------
    list of pathlib.Path
        ``histograms.svg``, ``histograms.pdf`` and so on.

    Raises
    ------
    MissingColumnError, EvaluationError
        A table lacks a column or holds nothing to draw.
    DataError
        The folder cannot be written.
    """
    drawn = paper_figures(
        tables,
        target=target,
        threshold=threshold,
        prior=prior,
        reference=reference,
        reference_label=reference_label,
        shift_label=shift_label,
    )
    written: list[Path] = []
    for name, draw in drawn.items():
        written += style.save(draw(), Path(folder) / name, formats=formats)
    return written
