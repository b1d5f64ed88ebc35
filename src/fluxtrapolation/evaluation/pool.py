"""Groups the days and hourly moments into domains and into sites, and turns each scale into rows of scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl

from fluxtrapolation.evaluation.accumulate import Accumulator, Days
from fluxtrapolation.evaluation.layout import Layout
from fluxtrapolation.evaluation.metrics import compute
from fluxtrapolation.evaluation.scales import (
    AGGREGATED,
    ANOMALIES,
    Daily,
    Thresholds,
    daily_table,
    is_daily,
    why_empty,
)
from fluxtrapolation.evaluation.statistics import Integers, Moments, Shift, merge, moments, run_starts

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


class Pool:
    """What one pass has gathered, ready to be asked for any scale.

    Parameters
    ----------
    gathered : Accumulator
    layout : Layout
    sites, labels : list of str
        Names of the numbers in the accumulator.
    thresholds : Thresholds
    paired : bool
        Protocol ``measured``: values are used or dropped in pairs.
    resolution : str, optional
        What the identity says; ``daily`` leaves out the hourly scale.
    """

    def __init__(
        self,
        gathered: Accumulator,
        layout: Layout,
        sites: Sequence[str | None],
        labels: Sequence[str | None],
        thresholds: Thresholds,
        *,
        paired: bool,
        resolution: str | None,
    ) -> None:
        days, hourly, site, part, shift = gathered.finish()
        self._layout, self._thresholds, self._paired = layout, thresholds, paired
        self._sites, self._labels = sites, labels
        self._pooled = layout.label is not None and layout.has_site
        own = self._domain_keys(site, part)
        self._domains = Groups(*own)
        self._site_groups = Groups(site, np.zeros_like(site))
        self._owner = dict(zip(part.tolist(), site.tolist(), strict=True)) if self._pooled else {}
        self._shared = {one for one in self._owner if len(np.unique(site[part == one])) > 1}
        number = self._domains.number(*self._domain_keys(days.site, days.part))
        self.rows_are_days = resolution == "daily" or is_daily(days, number)
        self._hourly: Moments | None = None
        if resolution != "daily":
            self._hourly = merge([hourly], [self._domains.number(*own)])[1]
        self._days = self._table(days, number, len(self._domains), shift)
        self._site_days = self._days
        if self._pooled or layout.yearly:
            by_site = self._site_groups.number(days.site, np.zeros_like(days.site))
            self._site_days = self._table(days, by_site, len(self._site_groups), shift)

    def _domain_keys(self, site: Integers, part: Integers) -> tuple[Integers, Integers]:
        return (part, np.zeros_like(part)) if self._pooled else (site, part)

    def _table(self, days: Days, group: Integers, count: int, shift: Shift) -> Daily:
        least = 1 if self.rows_are_days else self._thresholds.hours_per_day
        return daily_table(days, group, count, shift, paired=self._paired, least=least)

    def rows(self, scale: str, names: Sequence[str]) -> pl.DataFrame | None:
        """The scores of one scale, domains ascending; None where the scale does not exist (hourly, of daily rows)."""
        if scale == "hourly":
            if self._hourly is None:
                return None
            every = np.arange(len(self._domains))
            return self._frame(scale, self._hourly, every, ["no_observations"] * len(every), names, by_site=False)
        function, by_site = AGGREGATED[scale]
        table = self._site_days if by_site else self._days
        entries = function(table, self._thresholds)
        starts = run_starts(entries.group)
        present = entries.group[starts]
        shift = table.shift.take(present)
        found = moments(entries.true, entries.pred, starts, shift.without_constants() if scale in ANOMALIES else shift)
        if len(present) < len(table.starts) and (self._paired or scale not in VANISHING):
            found, present = with_absent(found, present, len(table.starts))
        why = why_empty(scale, table, self._thresholds)
        return self._frame(scale, found, present, why, names, by_site=by_site)

    def _frame(
        self, scale: str, m: Moments, group: Integers, why: Sequence[str], names: Sequence[str], *, by_site: bool
    ) -> pl.DataFrame:
        values, notes = compute(m, names)
        reasons: list[str | None] = []
        for row, note in enumerate(notes):
            if m.n[row] == 0:
                note = (why[group[row]] if m.n_true[row] == 0 else "no_pairs",)
            elif scale == "iav" and m.n_samples[row] == 1 and not self._paired:
                # Exactly 0 - 0 under `paper`, for any model.
                note = ("single_year", *note)
            reasons.append(";".join(note) or None)
        label, site, year = self._names(group, by_site=by_site)
        samples = m.n if self._paired else m.n_samples
        return pl.DataFrame(
            [
                pl.Series("scale", [scale] * len(m), dtype=pl.String),
                pl.Series("domain", label, dtype=pl.String),
                pl.Series("site_id", site, dtype=pl.String),
                pl.Series("year", year, dtype=pl.Int32),
                pl.Series("n_samples", samples.astype(np.int64)),
                *(pl.Series(name, value, nan_to_null=True) for name, value in values.items()),
                pl.Series("reason", reasons, dtype=pl.String),
            ]
        ).sort("domain")

    def _names(self, group: Integers, *, by_site: bool) -> tuple[list[str], list[str | None], list[int | None]]:
        """Label, site and year of the given groups."""
        groups = self._site_groups if by_site else self._domains
        first, no_year = groups.first[group].tolist(), [None] * len(group)
        if self._pooled and not by_site:
            owners = [None if one in self._shared else self._sites[self._owner[one]] for one in first]
            return [str(self._labels[one]) for one in first], owners, list(no_year)
        label = [str(self._sites[one]) for one in first]
        if self._layout.label is not None and not self._layout.has_site:
            return label, list(no_year), list(no_year)
        if self._layout.yearly and not by_site:
            year = groups.second[group].tolist()
            return [f"{name} {one}" for name, one in zip(label, year, strict=True)], list(label), year
        return label, list(label), list(no_year)


def with_absent(m: Moments, present: Integers, count: int) -> tuple[Moments, Integers]:
    """Add an empty entry for every group from 0 to ``count`` - 1 that is not present."""
    row = np.full(count, len(m), np.int64)
    row[present] = np.arange(len(m))
    longer = Moments(*(np.append(getattr(m, name), 0.0) for name in Moments.__dataclass_fields__))
    return longer.take(row), np.arange(count)
