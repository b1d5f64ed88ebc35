"""Groups what was gathered of some sites into domains and into sites, and gives each scale of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from fluxtrapolation.evaluation.days import Days, Gathered
from fluxtrapolation.evaluation.layout import Layout
from fluxtrapolation.evaluation.pairs import Pairs, make_pairs
from fluxtrapolation.evaluation.registry import compute, of_pairs
from fluxtrapolation.evaluation.scales import (
    AGGREGATED,
    ANOMALIES,
    Daily,
    Entries,
    Thresholds,
    daily_table,
    is_daily,
    why_empty,
)
from fluxtrapolation.evaluation.statistics import Floats, Integers, Moments, Shift, merge, moments, run_starts

VANISHING: Final = ("seasonal", "iav", "site-mean")
"""Scales at which, under ``paper``, a domain without any valid day has no row."""


class Groups:
    """Groups numbered 0 to K - 1, each one pair of keys (a number and, for site-years, a year)."""

    def __init__(self, first: Integers, second: Integers) -> None:
        pairs = np.unique(np.stack([first, second]), axis=1)
        self.first, self.second = pairs[0], pairs[1]
        self._width = int(self.second.max()) + 1
        self._key = self.first * self._width + self.second

    def __len__(self) -> int:
        return len(self.first)

    def number(self, first: Integers, second: Integers) -> Integers:
        """Number of the group of each row."""
        return np.searchsorted(self._key, first * self._width + second).astype(np.int64)


@dataclass(frozen=True)
class ScaleRows:
    """One scale of some domains, shape (K,): all that is needed for their rows of scores.

    Parameters
    ----------
    moments : Moments
    label, site, year : list
        Domain, its site and, for site-years, its year.
    why : list of str
        Why there is no value where there is none, for those domains; empty text for others.
    values : dict of ndarray
        Metrics that take pairs.
    """

    moments: Moments
    label: list[str]
    site: list[str | None]
    year: list[int | None]
    why: list[str]
    values: dict[str, Floats]


class Pool:
    """What was gathered of some sites, ready to be asked for any scale.

    Parameters
    ----------
    gathered : Gathered
    layout : Layout
    sites, labels : list of str
        Names of the numbers in the whole table.
    thresholds : Thresholds
    paired : bool
        Protocol ``measured``: values are used or dropped in pairs.
    """

    def __init__(
        self,
        gathered: Gathered,
        layout: Layout,
        sites: Sequence[str | None],
        labels: Sequence[str | None],
        thresholds: Thresholds,
        *,
        paired: bool,
    ) -> None:
        self._gathered, self._layout, self._thresholds, self._paired = gathered, layout, thresholds, paired
        self._sites, self._labels = sites, labels
        self._pooled = layout.label is not None and layout.has_site
        site, part = gathered.site, gathered.part
        self._domains = Groups(*self._domain_keys(site, part))
        self._site_groups = Groups(site, np.zeros_like(site))
        self._owner = dict(zip(part.tolist(), site.tolist(), strict=True)) if self._pooled else {}
        parts, sites_of_part = np.unique(part, return_counts=True)
        self._shared = set(parts[sites_of_part > 1].tolist()) if self._pooled else set()
        days = gathered.days
        self._number = self._domains.number(*self._domain_keys(days.site, days.part))
        self._tables: dict[tuple[bool, bool], Daily] = {}

    @property
    def several_rows_a_day(self) -> bool:
        """Whether some (domain, date) has more than one row: then the table is not daily already."""
        days = self._gathered.days
        return bool(days.rows.max() > 1) or not is_daily(days, self._number)

    def _domain_keys(self, site: Integers, part: Integers) -> tuple[Integers, Integers]:
        return (part, np.zeros_like(part)) if self._pooled else (site, part)

    def _table(self, *, by_site: bool, rows_are_days: bool) -> Daily:
        """The table of days of every domain or of every site."""
        by_site = by_site and (self._pooled or self._layout.yearly)
        key = by_site, rows_are_days
        if key not in self._tables:
            days: Days = self._gathered.days
            groups = self._site_groups if by_site else self._domains
            number = groups.number(days.site, np.zeros_like(days.site)) if by_site else self._number
            least = 1 if rows_are_days else self._thresholds.hours_per_day
            self._tables[key] = daily_table(
                days, number, len(groups), self._gathered.shift, paired=self._paired, least=least
            )
        return self._tables[key]

    def hourly(self, metrics: Sequence[str]) -> ScaleRows:
        """The hours themselves.

        Parameters
        ----------
        metrics : sequence of str
            Those of the metrics asked for that take pairs.
        """
        gathered, count = self._gathered, len(self._domains)
        own = self._domains.number(*self._domain_keys(gathered.site, gathered.part))
        of_group = self._shift_of_domains(own)
        found = merge([gathered.hourly.moved(of_group.take(own))], [own])[1]
        values = of_groups(*self._hourly_pairs(of_group), count, metrics) if metrics else {}
        why = np.where(found.n_true == 0, "no_observations", "no_pairs")
        return self._named(found, np.arange(count), why.tolist(), values, by_site=False)

    def _shift_of_domains(self, own: Integers) -> Shift:
        """Constants of every domain, those of its first site; ``own`` is the domain of every (site, part)."""
        first = np.unique(own, return_index=True)[1]
        return self._gathered.shift.take(self._gathered.site[first])

    def _hourly_pairs(self, of_group: Shift) -> tuple[Pairs, Integers]:
        """Pairs of the rows, sorted by domain."""
        rows = self._gathered.rows
        if rows is None:
            raise ValueError("the rows were not kept")
        group = self._domains.number(*self._domain_keys(rows.site, rows.part))
        order = np.argsort(group, kind="stable")
        length = rows.length[order]
        first = (np.cumsum(rows.length) - rows.length)[order]
        place = np.repeat(first - (np.cumsum(length) - length), length) + np.arange(length.sum())
        number = np.repeat(group[order], length)
        true, pred = rows.true[place], rows.pred[place]
        return make_pairs(true - of_group.true[number], pred - of_group.pred[number], number, of_group, true - pred)

    def aggregated(self, scale: str, metrics: Sequence[str], *, rows_are_days: bool) -> ScaleRows:
        """A scale above the hour.

        Parameters
        ----------
        scale : str
        metrics : sequence of str
            Those of the metrics asked for that take pairs.
        rows_are_days : bool
            Whether the whole table is daily already.
        """
        table, entries, shift = self._entries(scale, rows_are_days=rows_are_days)
        starts = run_starts(entries.group)
        present = entries.group[starts]
        count = len(table.starts)
        found = moments(entries.true, entries.pred, starts, shift.take(present))
        values = {}
        if metrics:
            values = of_groups(*make_pairs(entries.true, entries.pred, entries.group, shift), count, metrics)
        if len(present) < count and (self._paired or scale not in VANISHING):
            found, present = with_absent(found, present, count)
        why = np.full(len(present), "", object)
        blind, unpaired = found.n_true == 0, (found.n == 0) & (found.n_true > 0)
        why[blind] = why_empty(scale, table, self._thresholds, present[blind])
        why[unpaired] = "no_pairs"
        if scale == "iav" and not self._paired:
            # Exactly 0 - 0 under `paper`, for any model.
            why[(found.n > 0) & (found.n_samples == 1)] = "single_year"
        return self._named(found, present, why.tolist(), values, by_site=AGGREGATED[scale][1])

    def _entries(self, scale: str, *, rows_are_days: bool) -> tuple[Daily, Entries, Shift]:
        """The table of days, the value pairs of a scale, and what is subtracted from them, per group."""
        function, by_site = AGGREGATED[scale]
        table = self._table(by_site=by_site, rows_are_days=rows_are_days)
        shift = table.shift.without_constants() if scale in ANOMALIES else table.shift
        return table, function(table, self._thresholds), shift

    def values(self, scale: str, *, rows_are_days: bool) -> pl.DataFrame:
        """The value pairs of a scale above the hour: ``domain, site_id, year, step, y_true, y_pred``."""
        _, entries, shift = self._entries(scale, rows_are_days=rows_are_days)
        groups = np.arange(len(shift.true))
        label, site, year = self._names(groups, by_site=AGGREGATED[scale][1])
        own = entries.group
        return pl.DataFrame(
            [
                pl.Series("domain", label, dtype=pl.String).gather(own),
                pl.Series("site_id", site, dtype=pl.String).gather(own),
                pl.Series("year", year, dtype=pl.Int32).gather(own),
                pl.Series("step", entries.step),
                pl.Series("y_true", entries.true + shift.true[own], nan_to_null=True),
                pl.Series("y_pred", entries.pred + shift.pred[own], nan_to_null=True),
            ]
        )

    def _named(
        self, m: Moments, group: Integers, why: list[str], values: dict[str, Floats], *, by_site: bool
    ) -> ScaleRows:
        label, site, year = self._names(group, by_site=by_site)
        return ScaleRows(m, label, site, year, why, {name: value[group] for name, value in values.items()})

    def _names(self, group: Integers, *, by_site: bool) -> tuple[list[str], list[str | None], list[int | None]]:
        """Label, site and year of the given groups."""
        groups = self._site_groups if by_site else self._domains
        first, no_year = groups.first[group].tolist(), [None] * len(group)
        if self._pooled and not by_site:
            owners = [None if one in self._shared else self._site_name(self._owner[one]) for one in first]
            return [str(self._labels[one]) for one in first], owners, list(no_year)
        label = [str(self._site_name(one)) for one in first]
        if self._layout.label is not None and not self._layout.has_site:
            return label, list(no_year), list(no_year)
        if self._layout.yearly and not by_site:
            year = groups.second[group].tolist()
            return [f"{name} {one}" for name, one in zip(label, year, strict=True)], list(label), year
        return label, list(label), list(no_year)

    def _site_name(self, number: int) -> str | None:
        return self._sites[self._gathered.first + number]


def score_frame(scale: str, rows: ScaleRows, names: Sequence[str], *, paired: bool) -> pl.DataFrame:
    """Scores of one scale of some domains: ``scale, domain, site_id, year, n_samples``, the metrics, ``reason``."""
    m = rows.moments
    values, notes = compute(m, names, rows.values)
    reasons = []
    for row, (one, note) in enumerate(zip(rows.why, notes, strict=True)):
        # Where there is no pair the scale knows why, else the metrics; a single year is worth telling besides.
        told = (one,) if m.n[row] == 0 else (one, *note) if one == "single_year" else note
        reasons.append(";".join(told) or None)
    samples = m.n if paired else m.n_samples
    return pl.DataFrame(
        [
            pl.Series("scale", [scale], dtype=pl.String).new_from_index(0, len(m)),
            pl.Series("domain", rows.label, dtype=pl.String),
            pl.Series("site_id", rows.site, dtype=pl.String),
            pl.Series("year", rows.year, dtype=pl.Int32),
            pl.Series("n_samples", samples.astype(np.int64)),
            *(pl.Series(name, value, nan_to_null=True) for name, value in values.items()),
            pl.Series("reason", reasons, dtype=pl.String),
        ]
    )


def of_groups(pairs: Pairs, present: Integers, count: int, metrics: Sequence[str]) -> dict[str, Floats]:
    """Metrics that take pairs, for groups 0 to ``count`` - 1; NaN where a group has no pair."""
    out = {}
    for name, found in of_pairs(pairs, metrics).items():
        out[name] = np.full(count, np.nan)
        out[name][present] = found
    return out


def with_absent(m: Moments, present: Integers, count: int) -> tuple[Moments, Integers]:
    """Add an empty entry for every group from 0 to ``count`` - 1 that is not present."""
    row = np.full(count, len(m), np.int64)
    row[present] = np.arange(len(m))
    longer = Moments(*(np.append(getattr(m, name), 0.0) for name in Moments.__dataclass_fields__))
    return longer.take(row), np.arange(count)
