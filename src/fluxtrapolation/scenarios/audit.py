"""Leakage between train, validation and test: towers near each other, series held twice, hours that were copied."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from fluxtrapolation.data.sites import load_sites
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import FluxtrapolationWarning, ScenarioError
from fluxtrapolation.scenarios.audit_days import DAYS_SCHEMA, copied_days
from fluxtrapolation.scenarios.audit_places import SAME_PLACE_KM, near_pairs, reach
from fluxtrapolation.scenarios.audit_series import SERIES_SCHEMA, compare_pairs, suspects
from fluxtrapolation.scenarios.neighbours import MIN_SHARED, Place, places_of
from fluxtrapolation.scenarios.scenario import PART_NAMES, PartName, Scenario, load_scenario
from fluxtrapolation.schema import TARGETS

REACH_KM: Final = (1.0, 5.0, 10.0, 50.0)
"""Distances at which towers with a neighbour in another part are counted."""
DUPLICATE_CORRELATION: Final = 0.98
"""Hourly fluxes of two towers that correlate this much are one series; the most alike of FLUXNET2015's towers, two
plots 360 m apart, reach 0.95."""
COPIED_SHARE: Final = 0.01
"""Share of identical values at shared hours, beyond what falls together by chance, from which values count as
copied."""
COPIED_HOURS: Final = 24
SHARED_CORRELATION: Final = 0.9999
"""Covariates of two towers that correlate this much are of one weather station."""


@dataclass(frozen=True)
class Finding:
    """One thing found.

    Attributes
    ----------
    kind : str
        ``same-place``, ``duplicate``, ``copied-flux``, ``copied-flux-days``: grave. ``near``, ``shared-weather``,
        ``copied-weather-days``: to be known.
    grave : bool
        Whether the same fluxes, or the same place, stand in two parts.
    sites : tuple of str
    text : str
    """

    kind: str
    grave: bool
    sites: tuple[str, ...]
    text: str

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "grave": self.grave, "sites": list(self.sites), "text": self.text}


@dataclass(frozen=True)
class Audit:
    """What the parts of a scenario share.

    Attributes
    ----------
    scenario : str
    findings : list of Finding
        Grave ones first.
    near : polars.DataFrame
        Pairs of towers of different parts within ``km``: site_a, part_a, site_b, part_b, distance_km, name_a, name_b,
        igbp_a, igbp_b; nearest first.
    reach : polars.DataFrame
        part, other, km, towers, with_neighbour: how many towers of a part have one of the other part within km.
    series : polars.DataFrame
        Pairs compared at shared hours, a row for each column: site_a, part_a, site_b, part_b, distance_km, column,
        shared, correlation, identical (share of equal values that are not 0), identical_hours, by_chance (that share
        when one of them is moved by a week).
    days : polars.DataFrame
        Whole days with the same 24 values in two parts: site_a, part_a, site_b, part_b, column, days, same_date,
        unmeasured (share of the days that are gap-filled on either side), example_a, example_b.
    record : dict
        Thresholds, store hash, towers of each part, and what could not be looked at.
    """

    scenario: str
    findings: list[Finding]
    near: pl.DataFrame
    reach: pl.DataFrame
    series: pl.DataFrame
    days: pl.DataFrame
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def grave(self) -> list[Finding]:
        """Findings that say the same fluxes or the same place stand in two parts."""
        return [finding for finding in self.findings if finding.grave]

    def to_dict(self) -> dict[str, Any]:
        """``scenario, ok, findings, near, reach, series, days, record``, for JSON."""
        tables = {name: getattr(self, name).to_dicts() for name in ("near", "reach", "series", "days")}
        return {
            "scenario": self.scenario,
            "ok": not self.grave,
            "findings": [finding.to_dict() for finding in self.findings],
            **tables,
            "record": self.record,
        }


def audit(
    store: Store | str | Path | None,
    scenario: Scenario | str | Path,
    *,
    km: float = 50.0,
    thresholds: Sequence[float] = REACH_KM,
) -> Audit:
    """Look for leakage between the parts of a scenario.

    Parameters
    ----------
    store : Store, path or None
        None: distances only, by packaged coordinates. Where the scenario does not list its train towers, they are then
        all other towers of the published lists.
    scenario : Scenario, name or path
    km : float, default 50
        Pairs of towers of different parts within this distance are listed, and their series compared in full.
    thresholds : sequence of float
        Distances, km, at which towers with a neighbour are counted.

    Returns
    -------
    Audit

    Raises
    ------
    ScenarioError
        If a distance is not positive.
    DataError
        If no coordinates of a tower are known.

    Notes
    -----
    Pairs far apart are compared in full where a sketch makes them suspect: daily means of a flux, less the mean of the
    month, that correlate at least 0.9. Whole days are looked up among all days of all towers, whatever their date, so a
    copy under wrong coordinates, or moved by days, is found too; a copy moved by hours is not.
    """
    pinned = load_scenario(scenario)
    for distance in (km, *thresholds):
        if not distance > 0:
            raise ScenarioError(f"Distances must be positive km, not {distance:g} (--km).")
    held = None if store is None else Store.of(store)
    parts = _parts(pinned, held)
    every = {part: places_of(held, sites) for part, sites in parts.items()}
    paired = pinned.kind == "years"
    places = {part: [] for part in every} if paired else every
    near = near_pairs(places, km)
    reached = reach(places, sorted({*thresholds, km}))
    findings = _of_places(near)
    series, days = pl.DataFrame(schema=SERIES_SCHEMA), pl.DataFrame(schema=DAYS_SCHEMA)
    record: dict[str, Any] = {
        "km": km,
        "thresholds_km": list(thresholds),
        "same_place_km": SAME_PLACE_KM,
        "towers": {part: len(sites) for part, sites in parts.items()},
        "coordinates": "packaged table" if held is None else "store",
        "not_looked_at": [],
    }
    if paired:
        record["not_looked_at"].append("distances: by years, every part holds the same towers")
    if held is None:
        record["not_looked_at"].append("series and copied days: they need a store (--store)")
    else:
        record["store_hash"] = held.data_hash
        days = copied_days(held, parts, pinned.years, record)
        if not paired:
            series = _series(held, every, near)
        findings += _of_series(series) + _of_days(days)
    findings.sort(key=lambda finding: not finding.grave)
    return Audit(pinned.name, findings, near, reached, series, days, record)


def _parts(scenario: Scenario, store: Store | None) -> dict[PartName, list[str]]:
    """Towers of each part: those of the store, or of the lists."""
    if store is not None:
        with warnings.catch_warnings():
            # Absent towers leak nothing here; the counts in the record tell how many there are.
            warnings.simplefilter("ignore", FluxtrapolationWarning)
            membership = scenario.apply(store.site_ids)
        return {part: list(getattr(membership, part)) for part in PART_NAMES}
    if scenario.kind == "years":
        return {part: list(scenario.sites) for part in PART_NAMES}
    taken = {*scenario.test, *scenario.validation}
    published = sorted(site for site, facts in load_sites().items() if facts.in_benchmark and site not in taken)
    train = list(scenario.train) if scenario.train is not None else published
    return {"train": train, "validation": list(scenario.validation), "test": list(scenario.test)}


def _series(store: Store, places: dict[PartName, list[Place]], near: pl.DataFrame) -> pl.DataFrame:
    part_of = {place.site_id: part for part, listed in places.items() for place in listed}
    pairs = [(row["site_a"], row["site_b"]) for row in near.iter_rows(named=True)]
    known = {frozenset(pair) for pair in pairs}
    pairs += [pair for pair in suspects(store, part_of) if frozenset(pair) not in known]
    return compare_pairs(store, pairs, part_of)


def _of_places(near: pl.DataFrame) -> list[Finding]:
    found = []
    for row in near.iter_rows(named=True):
        same = row["distance_km"] <= SAME_PLACE_KM
        what = "may be one tower, or stand over one stand" if same else "are neighbours"
        text = (
            f"{row['site_a']} ({row['name_a'] or '?'}, {row['igbp_a']}, {row['part_a']}) and {row['site_b']} "
            f"({row['name_b'] or '?'}, {row['igbp_b']}, {row['part_b']}) {what}: {row['distance_km']:.2f} km"
        )
        found.append(Finding("same-place" if same else "near", same, (row["site_a"], row["site_b"]), text))
    return found


def _of_series(series: pl.DataFrame) -> list[Finding]:
    found = []
    for row in series.iter_rows(named=True):
        flux = row["column"] in TARGETS
        share, chance = row["identical"], row["by_chance"]
        copied = row["identical_hours"] >= COPIED_HOURS and share - chance >= COPIED_SHARE and share >= 2 * chance
        r = row["correlation"]
        alike = r is not None and row["shared"] >= MIN_SHARED
        pair = f"{row['site_a']} ({row['part_a']}) and {row['site_b']} ({row['part_b']})"
        where = f"{row['column']} of {pair}, {row['distance_km']:,.1f} km apart"
        sites = (row["site_a"], row["site_b"])
        if flux and alike and r >= DUPLICATE_CORRELATION:
            found.append(
                Finding("duplicate", True, sites, f"{where}, correlates {r:.4f} over {row['shared']:,} shared rows")
            )
        if copied:
            told = (
                f"{where}: {row['identical_hours']:,} of {row['shared']:,} shared rows hold the same value "
                f"({row['identical']:.1%} of those that are not 0)"
            )
            found.append(Finding("copied-flux" if flux else "shared-weather", flux, sites, told))
        elif not flux and alike and r >= SHARED_CORRELATION:
            found.append(Finding("shared-weather", False, sites, f"{where}, correlates {r:.5f}: one weather station"))
    return found


def _of_days(days: pl.DataFrame) -> list[Finding]:
    found = []
    for row in days.iter_rows(named=True):
        flux = row["column"] in TARGETS
        # Near towers that share a weather station are told by their shared hours.
        if not flux and row["same_date"] and row["site_a"] != row["site_b"]:
            continue
        count = row["days"]
        those = "day" if count == 1 else "days"
        text = (
            f"{count} {those} of {row['column']} at {row['site_a']} ({row['part_a']}) also at {row['site_b']} "
            f"({row['part_b']}), for example {row['example_a']} and {row['example_b']}; {row['unmeasured']:.0%} of "
            "them gap-filled"
        )
        kind = "copied-flux-days" if flux else "copied-weather-days"
        found.append(Finding(kind, flux, tuple(dict.fromkeys((row["site_a"], row["site_b"]))), text))
    return found
