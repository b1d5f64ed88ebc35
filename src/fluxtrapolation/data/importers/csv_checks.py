"""Does a tower's table make sense? Every check tells all it finds; none changes a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import polars as pl

from fluxtrapolation.data.checks import (
    LEAST,
    SMALL_ROWS,
    missing_problems,
    range_problems,
    summer_time,
    time_problem,
    too_small,
    unit_problem,
)
from fluxtrapolation.data.importers.csv_problem import Problem
from fluxtrapolation.data.importers.fluxnet_columns import MAX_NEE_WITH_GPP, correlation
from fluxtrapolation.schema import TIME, VARIABLES

_BY_DAY: Final = 200.0
"""W m-2 of SW_IN from which an hour counts as day."""
_ENOUGH: Final = 24 * 20


def table_problems(frame: pl.DataFrame, numbers: Sequence[str], targets: Sequence[str], *, site: str) -> list[Problem]:
    """What is wrong with the rows: time axis, missing covariates, units, ranges, swapped columns.

    Parameters
    ----------
    frame : DataFrame
        ``time`` and the covariates and targets of ``numbers``, float64, missing: null.
    numbers, targets : sequence of str
        Covariates and targets; which of them are targets (those may be missing).
    site : str
    """
    where = f"Site {site}"
    problems = time_problems(frame, site=site)
    facts = _facts(frame, numbers)
    lacking = [name for name in numbers if name not in targets and facts[name].missing]
    problems += [Problem.from_text(text, site) for text in missing_problems(frame, lacking, where=where)]
    unit = unit_problem(frame, where=where)
    kelvin = None
    if unit is not None:
        problems.append(Problem.from_text(unit, site))
        kelvin = problems[-1].what.split(" ")[0]
    for name in numbers:
        if facts[name].outside and name != kelvin:
            (text,) = range_problems(frame, [name], where=where)
            problem = Problem.from_text(text, site)
            hint = _unit_hint(frame, name)
            problems.append(problem if hint is None else replace(problem, fix=hint))
        elif (small := _too_small(frame, name)) is not None:
            problems.append(Problem(site, small[0], small[1], example=small[2]))
    return problems + _swapped(frame, site)


class _Facts:
    """Whether a column has missing values, and values out of range."""

    __slots__ = ("missing", "outside")

    def __init__(self, missing: bool, outside: bool) -> None:
        self.missing, self.outside = missing, outside


def _facts(frame: pl.DataFrame, names: Sequence[str]) -> dict[str, _Facts]:
    """One pass over all columns, so that the slow, telling checks run on the bad ones only."""
    low = frame.select(pl.col(name).min() for name in names).row(0)
    high = frame.select(pl.col(name).max() for name in names).row(0)
    nulls = frame.select(pl.col(name).null_count() + pl.col(name).is_nan().sum() for name in names).row(0)
    found = {}
    for name, least, most, missing in zip(names, low, high, nulls, strict=True):
        variable = VARIABLES[name]
        outside = least is not None and (least < variable.low or most > variable.high)
        found[name] = _Facts(bool(missing), outside)
    return found


def _unit_hint(frame: pl.DataFrame, name: str) -> str | None:
    """What to do about values out of range if a wrong unit explains most of them."""
    values = frame[name].drop_nulls().drop_nans()
    values = values.filter(values.abs() < 9990.0) if (values == -9999.0).any() else values
    typical = values.abs().quantile(0.9) or 0.0
    variable = VARIABLES[name]
    if name == "ET" and typical > 5.0:
        return "This looks like latent heat in W m-2: ET = LE * 3600 / 2.45e6 mm h-1. Convert it and import again."
    if variable.unit == "1" and typical > 100.0:
        return f"{name} looks like integers times 10000: divide it by 10000 and import again."
    if name in ("GPP", "NEE") and typical > variable.high:
        return f"{name} looks like nmol m-2 s-1: divide it by 1000 and import again."
    if name.startswith("SW_IN") and typical > variable.high:
        return (
            f"{name} looks like J m-2 or mW m-2: divide it (by 3600 for J per hour, by 1000 for mW) and import again."
        )
    if name == "TA" and typical > 300.0:
        return "Are the columns swapped? TA is in degC. Correct the header or the file."
    return None


def _too_small(frame: pl.DataFrame, name: str) -> tuple[str, str, str] | None:
    """What, fix and example for values a thousand times too small, or None."""
    if name not in LEAST or frame.height < SMALL_ROWS:
        return None
    names = [name, *(other for other in ("SW_IN_POT_hourly",) if name == "SW_IN" and other in frame.columns)]
    some = frame.select(pl.col(names).cast(pl.Float64)).gather_every(max(1, frame.height // 5000))
    found = too_small(name, some[name].to_numpy(), potential=some[names[1]].to_numpy() if names[1:] else None)
    if found is None:
        return None
    least, high, _ = found
    return (
        f"{name} is too small for {least.unit}",
        f"Is it in another unit? Then {least.fix} and import again.",
        f"99 % of its values are below {high:.2g}; at least {least.value:g} is expected",
    )


def _swapped(frame: pl.DataFrame, site: str) -> list[Problem]:
    """Columns that say the opposite of their names."""
    if frame.height < _ENOUGH or "SW_IN" not in frame.columns:
        return []
    problems = []
    names = [name for name in ("GPP", "NEE", "SW_IN_POT_hourly", "LST_Day", "LST_Night") if name in frame.columns]
    means = frame.filter(pl.col("SW_IN") > _BY_DAY).select(pl.len().alias("n"), pl.col(names).mean()).row(0, named=True)
    gpp, nee = means.get("GPP"), means.get("NEE")
    if means["n"] >= 200 and gpp is not None and nee is not None and gpp < -1.0 and nee > 1.0:
        problems.append(
            Problem(
                site,
                "GPP and NEE look swapped, or have the other sign",
                "GPP is positive by day, NEE negative (uptake): correct the header or the signs.",
                example=f"mean by day: GPP {gpp:.2f}, NEE {nee:.2f}",
            )
        )
    elif gpp is not None and nee is not None:
        both = frame.select("NEE", "GPP").fill_nan(None).drop_nulls()
        along = correlation(*both.cast(pl.Float64).to_numpy().T) if both.height >= _ENOUGH else 0.0
        if along > MAX_NEE_WITH_GPP:
            problems.append(
                Problem(
                    site,
                    "NEE rises with GPP: its sign is turned, as of NEP",
                    "Uptake by plants is negative NEE: turn its sign and import again.",
                    example=f"correlation {along:.2f}; mean by day: GPP {gpp:.2f}, NEE {nee:.2f}",
                )
            )
    if "SW_IN_POT_hourly" in names:
        bright = frame.filter(pl.col("SW_IN_POT_hourly") > 50.0).select("SW_IN", "SW_IN_POT_hourly").sum()
        total, potential = bright.row(0) if frame.height else (0.0, 0.0)
        if total is not None and potential and total > 1.1 * potential:
            problems.append(
                Problem(
                    site,
                    f"SW_IN is {total / potential:.2g} times potential radiation, more than the sun gives",
                    "Are SW_IN and SW_IN_POT_hourly swapped, or is SW_IN a photon flux (umol m-2 s-1: divide by 2.1)? "
                    "Correct the file.",
                )
            )
    if "LST_Day" in names and "LST_Night" in names:
        day, night = (frame[name].mean() for name in ("LST_Day", "LST_Night"))
        if isinstance(day, float) and isinstance(night, float) and day < night - 0.5:
            problems.append(
                Problem(
                    site,
                    "LST_Day is colder than LST_Night",
                    "Are the two columns swapped? Nothing was changed.",
                    example=f"means {day:.1f} and {night:.1f} degC",
                    level="note",
                )
            )
    return problems


def time_problems(frame: pl.DataFrame, *, site: str) -> list[Problem]:
    """Repeated, unordered or half hours; summer time; how many hours are missing (a note)."""
    text = time_problem(frame, where=f"Site {site}")
    summer = summer_time(frame[TIME].to_numpy())
    if summer is not None:
        return [
            Problem(
                site,
                "time looks like wall-clock time with summer time (DST): on Sundays in spring and autumn hours are "
                "left out or appear more than once",
                "Write local standard time all year.",
                example=f"first: {str(summer.first)[:16].replace('T', ' ')}",
                count=summer.jumps,
            )
        ]
    if text is not None:
        return [Problem.from_text(text, site)]
    return []


def gap_note(frame: pl.DataFrame) -> str | None:
    """Say how many hours are missing between the first and the last, or None. Gaps are allowed."""
    step = frame[TIME].diff().dt.total_hours()
    at = (step > 1).arg_max()
    missing = int((step - 1).sum() or 0)
    if not missing or at is None:
        return None
    holes = int((step > 1).sum())
    return f"{missing:,} hours are missing in {holes:,} gaps (first: after {frame[TIME][at - 1]}); left as they are"
