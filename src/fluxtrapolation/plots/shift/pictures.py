"""The figures of the page: small enough to be read on a telephone, each with a caption that says how to read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from fluxtrapolation.errors import FluxtrapolationError
from fluxtrapolation.plots import labels, style
from fluxtrapolation.plots.maps import EXTENT_NAMES, EXTENTS, ROLE_NAMES, role_counts
from fluxtrapolation.plots.report.svg import Shapes, inline_svg
from fluxtrapolation.plots.shift.acf import acf_panels
from fluxtrapolation.plots.shift.calibration import SPLIT_LOOKS, classifier_calibration
from fluxtrapolation.plots.shift.common import SPLIT_NAMES, TEST, TRAIN, splits_in, with_split
from fluxtrapolation.plots.shift.conditional import conditional_shift
from fluxtrapolation.plots.shift.difficulty import difficulty_curve
from fluxtrapolation.plots.shift.dissimilarity import (
    ALL_TOWERS,
    CLOCK_WORDS,
    error_by_dissimilarity,
    has_clock,
    tower_points,
)
from fluxtrapolation.plots.shift.figures import given, has, with_places
from fluxtrapolation.plots.shift.histograms import covariate_histograms
from fluxtrapolation.plots.shift.importance import covariate_importance
from fluxtrapolation.plots.shift.maps import as_split_sites, dissimilarity_map, index_steps, map_towers, parts_map
from fluxtrapolation.plots.shift.nearest import KIND_LOOKS, SPACE_NAMES, nearest_distances
from fluxtrapolation.plots.shift.slices import conditional_slices

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDE: Final = (3.8, 2.45)  # inches of a picture of one panel
_ZOOM: Final = {"europe": 3.0, "north-america": 4.1}
_ZOOM_FROM: Final = 8
"""A region gets its own map when at least this many towers stand in it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure as markup, with a caption of its own where it needs one."""

    svg: Any
    caption: str = ""
    wide: bool = False
    aspect: float = 1.0


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a legend: words, shape (area, outline, line, thin, dot, diamond, ring), colour, dashes of a line."""

    words: str
    shape: str
    colour: str
    dash: str = ""


class Pictures:
    """Draws the figures of one page.

    Parameters
    ----------
    tables : mapping of polars.DataFrame
    target : str
    threshold, prior, reference, reference_label, shift_label
        As in :func:`fluxtrapolation.plots.shift.save_figures`.
    """

    def __init__(
        self,
        tables: Mapping[str, pl.DataFrame],
        *,
        target: str,
        threshold: float | None = None,
        prior: float | None = None,
        reference: pl.DataFrame | None = None,
        reference_label: str = "published",
        shift_label: str | None = None,
    ) -> None:
        self.tables = tables
        self.target = target
        self.threshold = threshold
        self.prior = prior
        self.reference = reference
        self.reference_label = reference_label
        self.shift_label = shift_label
        self.shapes = Shapes()
        self._drawn = 0

    def _picture(self, draw: Callable[[], Figure], words: str, *, caption: str = "", wide: bool = False) -> Picture:
        try:
            from markupsafe import Markup

            figure = draw()
        except ModuleNotFoundError as error:
            raise FluxtrapolationError(
                f"Figures need {error.name}, which is not installed: pip install 'fluxtrapolation[plots]'."
            ) from error
        self._drawn += 1
        width, height = figure.get_size_inches()
        svg = Markup(inline_svg(figure, f"shift{self._drawn}", words, self.shapes))
        return Picture(svg, caption, wide, float(width / height))

    def all(self) -> dict[str, list[Picture]]:
        """Pictures by name; an empty list where a table is absent."""
        return {
            "histograms": self.histograms(),
            "importance": self.importance(),
            "calibration": self.calibration(),
            "conditional": self.conditional(),
            "slices": self.slices(),
            "dissimilarity": self.dissimilarity(),
            "nearest": self.nearest(),
            "index_maps": self.index_maps(),
            "part_maps": self.part_maps(),
            "acf": self.acf(),
            "difficulty": self.difficulty(),
        }

    def histograms(self) -> list[Picture]:
        """One per covariate."""
        table = given(self.tables, "histograms")
        if table is None:
            return []
        draw = partial(
            covariate_histograms, table, univariate=given(self.tables, "univariate"), panel=(3.2, 1.95), legend=False
        )
        return [
            self._picture(partial(draw, covariates=[name]), f"Distribution of {name} in train and in test")
            for name in table["covariate"].unique(maintain_order=True).to_list()
        ]

    def importance(self) -> list[Picture]:
        """Bars of the drop in AUC."""
        table = given(self.tables, "importance")
        if table is None or not has(table, "auc_drop"):
            return []
        words = "AUC lost by the domain classifier when each covariate is shuffled"
        return [self._picture(partial(covariate_importance, table, width=4.4), words)]

    def calibration(self) -> list[Picture]:
        """Reliability by row and by site."""
        table = given(self.tables, "calibration")
        if table is None:
            return []
        words = "Observed share of test rows against the probability that the domain classifier gave"
        draw = partial(classifier_calibration, table, prior=self.prior, width=3.7, legend=False)
        return [self._picture(draw, words)]

    def conditional(self) -> list[Picture]:
        """One per way of splitting."""
        table = given(self.tables, "conditional")
        if table is None:
            return []
        draw = partial(
            conditional_shift,
            table,
            reference=self.reference,
            reference_label=self.reference_label,
            panel_width=3.4,
            notes=False,
        )
        return [
            self._picture(
                partial(draw, splits=[split]),
                f"RMSE increase at equal covariates, {SPLIT_NAMES.get(split, split)}, by marginal and side of the fit",
            )
            for split in splits_in(with_split(table))
        ]

    def slices(self) -> list[Picture]:
        """One per covariate."""
        table = given(self.tables, "slices")
        if table is None:
            return []
        draw = partial(conditional_slices, table, target=self.target, panel=(1.8, 1.9), legend=False)
        return [
            self._picture(
                partial(draw, covariates=[name]), f"Mean {self.target} by {name} in train and test, raw and reweighted"
            )
            for name in table["covariate"].unique(maintain_order=True).to_list()
        ]

    def dissimilarity(self) -> list[Picture]:
        """Hours in bins, and towers."""
        curve, sites = given(self.tables, "error_curve"), given(self.tables, "sites")
        draw = partial(error_by_dissimilarity, target=self.target, threshold=self.threshold, panel=_WIDE, legend=False)
        found = []
        if curve is not None:
            found.append(self._picture(partial(draw, curve), "RMSE of the test hours by their dissimilarity index"))
        if sites is not None and has(sites, "index_median", "rmse"):
            towers = tower_points(sites, self._one_model())
            if towers.height:
                named = sites.with_columns(pl.lit(self._one_model()).alias("model"))
                table = sites if "model" in sites.columns else named
                words = "RMSE of each test tower against its median dissimilarity index"
                found.append(self._picture(partial(draw, None, table), words))
        return found

    def _one_model(self) -> str:
        """The model of the towers' errors, where the curve has but one."""
        curve = given(self.tables, "error_curve")
        known = [] if curve is None else curve["model"].unique().to_list()
        return str(known[0]) if len(known) == 1 else ALL_TOWERS

    def nearest(self) -> list[Picture]:
        """One per space."""
        table = given(self.tables, "nearest")
        if table is None:
            return []
        draw = partial(nearest_distances, table, panel=_WIDE, legend=False)
        return [
            self._picture(
                partial(draw, spaces=[space]),
                f"Share of points by distance to the nearest training point, {SPACE_NAMES.get(space, (space,))[0]}",
            )
            for space in table["space"].unique(maintain_order=True).to_list()
        ]

    def index_maps(self) -> list[Picture]:
        """Dissimilarity of the test towers: the world, and regions where many stand."""
        table = with_places(self.tables, "index_median")
        if table is None:
            return []
        draw = partial(dissimilarity_map, table, threshold=self.threshold, legend=False)
        return self._maps(draw, map_towers(table)[1], "Test towers by their median dissimilarity index")

    def part_maps(self) -> list[Picture]:
        """Towers by part."""
        table = with_places(self.tables, "part")
        return [] if table is None else self._maps(partial(parts_map, table, legend=False), table, "Towers by part")

    def _maps(self, draw: Callable[..., Figure], towers: pl.DataFrame, words: str) -> list[Picture]:
        found = []
        for extent, name in EXTENT_NAMES.items():
            west, east, south, north = EXTENTS[extent]
            near = towers.filter(pl.col("lon").is_between(west, east), pl.col("lat").is_between(south, north))
            if extent != "world" and near.height < _ZOOM_FROM:
                continue
            whole = extent == "world"
            found.append(
                self._picture(
                    partial(draw, extent=extent, width=_ZOOM.get(extent, 7.2)),
                    f"{words}: {name}",
                    caption="" if whole else name,
                    wide=whole,
                )
            )
        return found

    def acf(self) -> list[Picture]:
        """One per series and scale."""
        table = given(self.tables, "acf")
        if table is None:
            return []
        found = []
        for series in table["series"].unique(maintain_order=True).to_list():
            held = table.filter(pl.col("series") == series)
            found += [
                self._picture(
                    partial(acf_panels, table, series=[series], scales=[scale], panel=(3.2, 1.9)),
                    f"Autocorrelation of {series}, {scale} values, by lag",
                )
                for scale in labels.ordered_scales(held["scale"].unique().to_list())
            ]
        return found

    def difficulty(self) -> list[Picture]:
        """Error against shift over a family of scenarios."""
        table = given(self.tables, "family")
        if table is None:
            return []
        return [
            self._picture(
                partial(
                    difficulty_curve,
                    table.filter(pl.col("summary") == summary),
                    target=self.target,
                    panel=_WIDE,
                    legend=False,
                    label=self.shift_label,
                ),
                f"{labels.SUMMARY_NAMES.get(summary, summary)} of RMSE over towers against the shift of the scenario",
            )
            for summary in table["summary"].unique(maintain_order=True).to_list()
        ]

    def keys(self) -> dict[str, list[Key]]:
        """Legends of the page, by the name of their pictures."""
        nearest, sites = given(self.tables, "nearest"), with_places(self.tables, "index_median")
        kinds = set() if nearest is None else set(nearest["kind"].to_list())
        return {
            "parts": [Key("train", "area", TRAIN), Key("test", "outline", TEST)],
            "lines": [
                Key("train", "line", TRAIN),
                Key("test", "line", TEST, "6 2.5"),
                Key("too few towers", "line", TEST, "1.5 2.5"),
            ],
            "splits": [
                Key(SPLIT_NAMES[split], "line", _ink(colour), "6 3" if line == "--" else "")
                for split, (colour, _, line) in SPLIT_LOOKS.items()
            ]
            + [Key("as predicted", "line", "var(--rule)")],
            "nearest": [
                Key(words, "line", colour, {"test": "6 2.5", "domain": "2 2"}.get(kind, ""))
                for kind, (words, colour, _) in KIND_LOOKS.items()
                if kind in kinds
            ],
            "models": _model_keys(given(self.tables, "error_curve"), given(self.tables, "sites")) + self._clock_key(),
            "family": _model_keys(given(self.tables, "family")),
            "index": [] if sites is None else _index_keys(sites, self.threshold),
            "roles": self._role_keys(),
        }

    def _clock_key(self) -> list[Key]:
        known = has_clock(given(self.tables, "error_curve"))
        return [Key(CLOCK_WORDS, "thin", "var(--muted)", "2.4 2")] if known else []

    def _role_keys(self) -> list[Key]:
        table = with_places(self.tables, "part")
        if table is None:
            return []
        counts = role_counts(as_split_sites(table), "shift")
        return [
            Key(
                f"{ROLE_NAMES[role]} ({n})",
                "diamond" if style.ROLE_STYLE[role][1] == "D" else "dot",
                style.ROLE_STYLE[role][0],
            )
            for role, n in counts.items()
        ]


def _ink(colour: str) -> str:
    """A colour of the house as the page's own, which follows its dark mode."""
    return {
        style.MUTED: "var(--muted)",
        style.INK: "var(--ink)",
        style.MODEL_STYLE["lr"].colour: "var(--grey-line)",
    }.get(colour, colour)


def _model_keys(*tables: pl.DataFrame | None) -> list[Key]:
    held = [table for table in tables if table is not None and "model" in table.columns]
    names: Sequence[str] = list(
        dict.fromkeys(str(name) for table in held for name in table["model"].unique(maintain_order=True))
    )
    looks = style.model_styles(names)
    return [
        Key(name, "line", _ink(looks[name].colour), " ".join(f"{part * 1.6:g}" for part in looks[name].dash))
        for name in names
    ]


def _index_keys(sites: pl.DataFrame, threshold: float | None) -> list[Key]:
    trained, marked = map_towers(sites)
    steps = index_steps(marked, threshold)
    dots = [Key(f"{step.label} ({step.towers})", "ring", step.colour) for step in steps]
    return [*dots, *([Key(f"train ({trained.height})", "dot", TRAIN)] if trained.height else [])]
