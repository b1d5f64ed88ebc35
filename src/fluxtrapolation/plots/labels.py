"""Words and numbers as they are shown: units, scales, scenarios, order of rows and columns, digits."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Final

from fluxtrapolation import schema

DASH: Final = "—"

SCALE_NAMES: Final = {
    "hourly": "hourly",
    "daily": "daily",
    "weekly": "weekly",
    "monthly": "monthly",
    "seasonal": "seasonal",
    "anom": "anomalies",
    "iav": "year to year",
    "site-mean": "site mean",
}
"""Scale as a word for axes and panel titles."""

SCALE_SHORT: Final = {**SCALE_NAMES, "anom": "anom.", "iav": "IAV", "site-mean": "site"}
"""Scale as a column heading of the board."""

SCALE_MEANING: Final = {
    "hourly": "the hours as they are",
    "daily": "means of days with at least 12 hours",
    "weekly": "means of ISO weeks with at least 4 valid days",
    "monthly": "means of calendar months with at least 15 valid days",
    "seasonal": "the mean seasonal cycle: each day of the year, averaged over at least 2 years",
    "anom": "daily departures from the mean seasonal cycle",
    "iav": "yearly means minus the tower's mean over all years (interannual variability)",
    "site-mean": "one mean per domain: what is left when all variation in time is averaged away",
}

SCENARIO_MEANING: Final = {
    "temporal": "known towers, later years",
    "spatial": "unknown towers, drawn at random",
    "temperature": "unknown towers, all of them warm",
    "spatial-redraw": "unknown towers, drawn at random a second time",
}

SUMMARY_NAMES: Final = {"median": "median", "q90": "90th percentile", "cvar10": "mean of the worst tenth"}

SELECTION_MEANING: Final = {
    "mean": "mean RMSE over the validation domains",
    "max": "largest RMSE among the validation domains",
    "discrepancy": "difference between the largest and the smallest RMSE among the validation domains",
}

_SUPERSCRIPT: Final = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def pretty_unit(unit: str) -> str:
    """``umol m-2 s-1`` as ``µmol m⁻² s⁻¹``; the dimensionless unit ``1`` as an empty string."""
    if unit == "1":
        return ""
    text = re.sub(r"(?<=[a-zA-Z])(-?\d+)", lambda match: match.group(1).translate(_SUPERSCRIPT), unit)
    return text.replace("umol", "µmol").replace("degC", "°C")


def target_unit(target: str) -> str:
    """Unit of a target's RMSE for display; empty for a target the schema does not know."""
    variable = schema.VARIABLES.get(target)
    return pretty_unit(variable.unit) if variable else ""


def target_name(target: str) -> str:
    """Long name of a target, or the name itself."""
    variable = schema.VARIABLES.get(target)
    return variable.long_name if variable else target


def with_unit(text: str, target: str) -> str:
    """``text`` followed by the target's unit in brackets."""
    unit = target_unit(target)
    return f"{text} ({unit})" if unit else text


def _in_order(found: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    present = set(found)
    first = [name for name in known if name in present]
    return (*first, *sorted(present.difference(first)))


def ordered_targets(found: Iterable[str]) -> tuple[str, ...]:
    """Targets in the schema's order, unknown ones after them by name."""
    return _in_order(found, schema.TARGETS)


def ordered_scenarios(found: Iterable[str]) -> tuple[str, ...]:
    """Published scenarios in the board's order, then the others by name."""
    return _in_order(found, (*schema.SCENARIOS, "spatial-redraw"))


def ordered_scales(found: Iterable[str]) -> tuple[str, ...]:
    """Scales from fine to coarse."""
    return _in_order(found, schema.SCALES)


def decimals_for(smallest: float, digits: int = 3) -> int:
    """Decimals that show ``smallest`` with ``digits`` significant digits; at most 6, at least 0."""
    if not math.isfinite(smallest) or smallest == 0:
        return digits - 1
    return min(6, max(0, digits - 1 - math.floor(math.log10(abs(smallest)))))


def number(value: float | None, decimals: int) -> str:
    """A number with a true minus sign, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return DASH
    text = f"{value:.{decimals}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "\u2212")


def significant(value: float | None, digits: int = 3) -> str:
    """A number with about ``digits`` significant digits and no exponent."""
    if value is None or not math.isfinite(value):
        return DASH
    return number(value, decimals_for(value, digits))


def interval(low: float | None, high: float | None, decimals: int) -> str:
    """``1.10–1.41`` (``−0.10 to 0.41``), with a sign of comparison where one end is missing; empty where both are.

    A missing end is an unbounded one: too few towers to say how far it reaches.
    """
    known_low = low is not None and math.isfinite(low)
    known_high = high is not None and math.isfinite(high)
    if known_low and known_high:
        # A dash between numbers reads as a minus sign beside negative ones.
        between = " to " if low is not None and low < 0 else "–"
        return f"{number(low, decimals)}{between}{number(high, decimals)}"
    if known_low:
        return f"≥ {number(low, decimals)}"
    return f"≤ {number(high, decimals)}" if known_high else ""


def count(value: int | None) -> str:
    """A whole number with thin spaces between thousands."""
    return DASH if value is None else f"{value:,}".replace(",", "\u2009")


def percent(value: float) -> str:
    """A share as whole per cent."""
    return number(100.0 * value, 0) + "\u202f%"  # narrow, and never at the end of a line


def duration(seconds: float | None) -> str:
    """Seconds as ``41 s``, ``3 min 20 s`` or ``2 h 05 min``."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def shorten(text: str, most: int = 26) -> str:
    """``text``, cut with an ellipsis where it is longer than ``most`` letters."""
    return text if len(text) <= most else text[: most - 1] + "…"


def join_words(words: Iterable[str]) -> str:
    """``a``, ``a and b`` or ``a, b and c``."""
    items = list(words)
    if len(items) < 2:
        return "".join(items)
    return ", ".join(items[:-1]) + " and " + items[-1]
