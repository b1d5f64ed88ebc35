"""Conditional shift: how much the error grows where train and test have the same covariates."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

import polars as pl

from fluxtrapolation.plots import style
from fluxtrapolation.plots.shift.common import (
    MARGINALS,
    SPLIT_NAMES,
    TEST,
    TRAIN,
    checked,
    notes_height,
    say_below,
    splits_in,
    with_split,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CONDITIONAL_COLUMNS: Final = ("split", "fit_on", "marginal", "rmse_increase")
REFERENCE_COLUMNS: Final = ("fit_on", "marginal", "rmse_increase")
FITS: Final = ("train", "test")
MARGINAL_NAMES: Final = {"train": "train's covariates", "shared": "shared covariates", "test": "test's covariates"}
_LOOKS: Final = {"train": (TRAIN, "o"), "test": (TEST, "s")}
_GROUP_GAP: Final = 0.9


class Bar(NamedTuple):
    """One number of the figure, in per cent, with the ends of its bar and what the bar is; or why there is none."""

    split: str
    fit_on: str
    marginal: str
    value: float | None
    low: float | None
    high: float | None
    kind: str
    reason: str


def conditional_shift(
    conditional: pl.DataFrame,
    *,
    splits: Sequence[str] | None = None,
    reference: pl.DataFrame | None = None,
    reference_label: str = "published",
    panel_width: float = 3.7,
    notes: bool = True,
) -> Figure:
    """RMSE increase at equal covariates, in per cent: rows are marginals by the side the regressor was fit on.

    Above zero the relation of flux and covariates differs between train and test. What cannot be estimated says so,
    with a letter; the reasons stand below.

    Parameters
    ----------
    conditional : polars.DataFrame
        ``split`` (row or site), ``fit_on`` (train or test), ``marginal`` (train, shared or test), ``rmse_increase``
        (a share: 0.1 is 10 %) and, where there are some, ``pooled, low, high`` (the same with the errors of all
        repeats pooled by tower, and its interval: drawn instead), ``sd`` (over repeats), ``reason``.
    splits : sequence of str, optional
        Panels from left to right; all by default.
    reference : polars.DataFrame, optional
        ``fit_on, marginal, rmse_increase`` and, where it belongs to one way of splitting, ``split`` (by row without):
        numbers to compare with, drawn as diamonds.
    reference_label : str
        What they are, for the legend.
    panel_width : float
        Inches.
    notes : bool
        Write what marks and bars are, and the reasons, below the panels.

    Raises
    ------
    MissingColumnError, EvaluationError
        Columns are missing, there is no row, or an unknown split is asked for.
    """
    bars = conditional_bars(conditional)
    held = {bar.split for bar in bars}
    shown = [name for name in (splits or splits_in(_by_split(conditional))) if name in held]
    marks = _reference(reference)
    letters, limits = reason_letters(bars), _limits(bars, marks)  # of all panels, so that they can be compared
    bars = [bar for bar in bars if bar.split in shown]
    width = panel_width * len(shown) + 0.5
    said = _notes(bars, letters, reference_label if marks else "") if notes else []
    from matplotlib.figure import Figure

    with style.house_style():
        foot = notes_height(said, width)
        figure = Figure(figsize=(width, 2.45 + foot), layout="constrained")
        axes = figure.subplots(1, len(shown), squeeze=False, sharex=True, sharey=True).ravel()
        for ax, split in zip(axes, shown, strict=True):
            ax.set_xlim(limits)
            _panel(ax, [bar for bar in bars if bar.split == split], letters)
            for fit_on, marginal, value in marks.get(split, ()):
                ax.plot(
                    100 * value,
                    height_of(fit_on, marginal) + 0.22,
                    marker="D",
                    markersize=4.4,
                    linestyle="none",
                    markerfacecolor=style.PAPER,
                    markeredgecolor=style.INK,
                    markeredgewidth=1.0,
                    zorder=5,
                    label="_mark",
                )
            ax.set_title(SPLIT_NAMES.get(split, split))
            ax.set_xlabel("RMSE increase at equal covariates (%)")
        _label_rows(axes[0])
        say_below(figure, said, width=width)
    return figure


def _by_split(conditional: pl.DataFrame) -> pl.DataFrame:
    return with_split(checked(conditional, CONDITIONAL_COLUMNS, "conditional"))


def conditional_bars(conditional: pl.DataFrame) -> list[Bar]:
    """Numbers of the table in per cent, with the bar that says how sure each is."""
    table = checked(
        _by_split(conditional), CONDITIONAL_COLUMNS, "conditional", ("rmse_increase", "sd", "pooled", "low", "high")
    )
    found = []
    for row in table.iter_rows(named=True):
        value, sd = row["rmse_increase"], row.get("sd")
        if row.get("pooled") is not None and row.get("low") is not None:
            value = row["pooled"]  # the interval is that of the errors pooled over repeats
        low, high, kind = row.get("low"), row.get("high"), "interval"
        if low is None and high is None and value is not None and sd is not None:
            low, high, kind = value - sd, value + sd, "sd"
        kind = kind if low is not None or high is not None else ""
        low, value, high = (None if one is None else 100 * float(one) for one in (low, value, high))
        reason = str(row.get("reason") or ("" if value is not None else "no reason given"))
        found.append(Bar(row["split"], str(row["fit_on"]), str(row["marginal"]), value, low, high, kind, reason))
    return found


def reason_letters(bars: Sequence[Bar]) -> dict[str, str]:
    """A letter for every reason why a number is missing."""
    reasons = dict.fromkeys(bar.reason for bar in bars if bar.value is None)
    return {reason: string.ascii_lowercase[place % 26] for place, reason in enumerate(reasons)}


def height_of(fit_on: str, marginal: str) -> float:
    """Height of a row; downwards."""
    return FITS.index(fit_on) * (len(MARGINALS) + _GROUP_GAP) + MARGINALS.index(marginal)


def _panel(ax: Axes, bars: Sequence[Bar], letters: dict[str, str]) -> None:
    ax.axvline(0, color=style.MUTED, linewidth=0.9, zorder=1)
    for bar in bars:
        y = height_of(bar.fit_on, bar.marginal)
        colour, marker = _LOOKS[bar.fit_on]
        if bar.value is None:
            _say_missing(ax, y, letters[bar.reason])
            continue
        if bar.kind:
            low, high = (bar.value if end is None else end for end in (bar.low, bar.high))
            wide = 2.4 if bar.kind == "interval" else 0.9
            ends = "" if bar.kind == "interval" else "|"
            ax.plot([low, high], [y, y], color=colour, linewidth=wide, marker=ends, solid_capstyle="butt", label="_bar")
        ax.plot(bar.value, y, marker=marker, markersize=6, color=colour, linestyle="none", zorder=4, label="_value")
    ax.set_ylim(height_of("test", "test") + 0.7, -1.0)
    ax.grid(visible=False, axis="y")
    ax.locator_params(axis="x", nbins=6)


def _say_missing(ax: Axes, y: float, letter: str) -> None:
    """In the place of a number: beside the line of zero, where there is more room."""
    left, right = ax.get_xlim()
    rightwards = -left <= right
    ax.annotate(
        f"cannot be estimated ({letter})",
        (0, y),
        xytext=(6 if rightwards else -6, 0),
        textcoords="offset points",
        ha="left" if rightwards else "right",
        va="center",
        fontsize=7.5,
        color=style.MUTED,
        bbox={"facecolor": style.PAPER, "edgecolor": "none", "pad": 1.0},
        zorder=4,
    )


def _limits(bars: Sequence[Bar], marks: Mapping[str, Sequence[tuple[str, str, float]]]) -> tuple[float, float]:
    """Ends of the axis in per cent: all bars, marks and zero."""
    ends = [end for bar in bars for end in (bar.low, bar.value, bar.high) if end is not None]
    ends += [100 * value for found in marks.values() for *_, value in found]
    if not ends:
        return -5.0, 20.0  # nothing tells the size of the axis
    low, high = min(0.0, *ends), max(0.0, *ends)
    room = 0.06 * (high - low) or 1.0
    return low - room, high + room


def _label_rows(ax: Axes) -> None:
    rows = [(fit_on, marginal) for fit_on in FITS for marginal in MARGINALS]
    ax.set_yticks([height_of(*row) for row in rows], [MARGINAL_NAMES[marginal] for _, marginal in rows])
    for fit_on in FITS:
        ax.annotate(
            f"fit on {fit_on}",
            (0, height_of(fit_on, "train")),
            xycoords=("axes fraction", "data"),
            xytext=(-4, 12),
            textcoords="offset points",
            ha="right",
            va="center",
            fontsize=7.5,
            weight="bold",
            color=style.INK,
            annotation_clip=False,
        )


def _reference(reference: pl.DataFrame | None) -> dict[str, list[tuple[str, str, float]]]:
    """Numbers to compare with, by way of splitting."""
    if reference is None or reference.is_empty():
        return {}
    table = checked(reference, REFERENCE_COLUMNS, "reference", ("rmse_increase",))
    table = with_split(table) if "split" in table.columns else table.with_columns(pl.lit("row").alias("split"))
    found: dict[str, list[tuple[str, str, float]]] = {}
    for row in table.drop_nulls("rmse_increase").iter_rows(named=True):
        if row["fit_on"] in FITS and row["marginal"] in MARGINALS:
            found.setdefault(row["split"], []).append((row["fit_on"], row["marginal"], row["rmse_increase"]))
    return found


def _notes(bars: Sequence[Bar], letters: dict[str, str], reference_label: str) -> list[str]:
    kinds = {bar.kind for bar in bars}
    said = [f"◇ {reference_label}"] if reference_label else []
    if "interval" in kinds:
        said.append("Thick bars: 95 % intervals, unit of chance tower.")
    if "sd" in kinds:
        said.append("Thin bars: 1 sd over repeats, which says nothing of other towers.")
    missing = {bar.reason for bar in bars if bar.value is None}
    return said + [f"({letter}) {reason}" for reason, letter in letters.items() if reason in missing]
