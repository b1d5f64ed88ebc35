"""The Split: a scenario applied to a store for one target, as arrays or as windows, from the same rows."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.data.manifest import SiteRecord
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, FluxtrapolationWarning, ScenarioError, examples
from fluxtrapolation.scenarios.part import Float32, Part, Split, unique_codes
from fluxtrapolation.scenarios.scenario import (
    PART_NAMES,
    Membership,
    PartName,
    Scenario,
    Years,
    load_scenario,
)
from fluxtrapolation.schema import PFT_PREFIX, QC, TIME, pft_column


def make_split(
    store: Store | str | Path,
    scenario: Scenario | str | Path,
    *,
    target: str,
    sequences: bool = False,
    strict: bool = False,
    parts: Sequence[PartName] = PART_NAMES,
    features: Sequence[str] | None = None,
    jobs: int | None = None,
) -> Split:
    """Apply a scenario to a store.

    Train and validation keep the rows with ``qc_mask == 1`` and no target of the store missing; test keeps every row
    (BENCHMARK, section 2). With ``sequences`` every part keeps every hour, and ``mask`` marks the same rows.

    Parameters
    ----------
    store : Store or path
    scenario : Scenario, name or path
    target : str
        ``GPP``, ``NEE`` or ``ET``, if the store holds it.
    sequences : bool, default False
        Keep all hours, for :meth:`Part.windows`.
    strict : bool, default False
        Refuse when the store lacks a listed site.
    parts : sequence of str
        Read only these; the others come back empty.
    features : sequence of str, optional
        Columns of ``X``, for a model trained elsewhere; defaults to ``store.features``.
    jobs : int, optional
        Threads; defaults to the number of cores.

    Returns
    -------
    Split

    Raises
    ------
    MissingColumnError
        If the store lacks the target or a feature.
    ScenarioError
        If a part would be empty.
    """
    opened = Store.of(store)
    opened.need_target(target)
    pinned = load_scenario(scenario)
    unknown = [name for name in parts if name not in PART_NAMES]
    if unknown:
        raise ScenarioError(f"There is no part {unknown[0]!r}. Known: {', '.join(PART_NAMES)}.")
    membership = pinned.apply(opened.site_ids, strict=strict, parts=parts)
    names = tuple(features) if features is not None else opened.features
    reader = _Reader(opened, membership, target, names, sequences, jobs or min(os.cpu_count() or 1, 8))
    made: dict[PartName, Part] = {name: reader.part(name, read=name in parts) for name in PART_NAMES}
    for name in parts:
        if len(made[name]) == 0:
            raise ScenarioError(
                f"Scenario '{pinned.name}' has no {name} rows in {opened.path}: its sites hold no "
                f"{'usable ' if name != 'test' else ''}hours"
                f"{f' in the years {membership.years(name)}' if membership.years(name) else ''}. "
                "Choose other years or another rule."
            )
    without_rows = _without_rows(membership, made, parts)
    for part, sites in without_rows.items():
        warnings.warn(
            f"Scenario '{pinned.name}': {len(sites)} of {len(getattr(membership, part))} {part} towers have no usable "
            f"hours ({examples(sites)}).",
            FluxtrapolationWarning,
            stacklevel=2,
        )
    if "test" in parts and np.isnan(made["test"].y).all():
        raise ScenarioError(
            f"Scenario '{pinned.name}': not one test hour has an observation of {target}, so nothing could be scored. "
            "Choose other test towers or years."
        )
    return Split(
        scenario=pinned,
        target=target,
        train=made["train"],
        validation=made["validation"],
        test=made["test"],
        feature_names=names,
        absent=membership.absent,
        store_hash=opened.data_hash,
        without_rows=without_rows,
    )


def _without_rows(
    membership: Membership, made: dict[PartName, Part], parts: Sequence[PartName]
) -> dict[str, tuple[str, ...]]:
    """Towers of each part that gave no row. Under a scenario by years that is ordinary, and not told."""
    if membership.scenario.kind == "years":
        return {}
    lost = {name: tuple(s for s in getattr(membership, name) if s not in set(made[name].sites)) for name in parts}
    return {name: sites for name, sites in lost.items() if sites}


class _CovariateMissing(Exception):  # noqa: N818 (told as a DataError, once all such towers are counted)
    """A row that a part keeps has no value of a covariate."""


class _Reader:
    """Fills the arrays of a part, site by site, without a second copy of the data."""

    def __init__(
        self,
        store: Store,
        membership: Membership,
        target: str,
        features: tuple[str, ...],
        sequences: bool,
        jobs: int,
    ) -> None:
        self.store, self.membership, self.target = store, membership, target
        self.features, self.sequences, self.jobs = features, sequences, jobs
        self.hourly = [name for name in features if not name.startswith(PFT_PREFIX)]
        self.hourly_at = [i for i, name in enumerate(features) if not name.startswith(PFT_PREFIX)]
        self.pft_at = {name: i for i, name in enumerate(features) if name.startswith(PFT_PREFIX)}

    def part(self, name: PartName, *, read: bool) -> Part:
        sites = tuple(sorted(getattr(self.membership, name))) if read else ()
        years = self.membership.years(name)
        keep_all = self.sequences or name == "test"
        room = [_capacity(self.store.record(site), years, keep_all) for site in sites]
        offsets = np.concatenate([[0], np.cumsum(room)]).astype(np.int64)
        total = int(offsets[-1])
        block = _Block(
            X=np.empty((total, len(self.features)), dtype=np.float32),
            y=np.empty(total, dtype=np.float32),
            qc=np.empty(total, dtype=np.int8),
            time=np.empty(total, dtype="datetime64[s]"),
            mask=np.empty(total, dtype=np.bool_) if self.sequences else None,
        )
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                rows = list(
                    pool.map(
                        lambda i: self._fill(block, sites[i], int(offsets[i]), int(offsets[i + 1]), name, years),
                        range(len(sites)),
                    )
                )
            except _CovariateMissing:
                pool.shutdown(cancel_futures=True)
                raise DataError(self._lacking()) from None
        counts = np.asarray(rows, dtype=np.int64)
        block.close_gaps(offsets, counts)
        present = [i for i, n in enumerate(rows) if n]
        labels = tuple(sites[i] for i in present)
        site_codes = np.repeat(np.arange(len(present), dtype=np.int32), counts[present])
        domain_codes, domains = self._domains(site_codes, labels, block.time)
        return Part(
            name=name,
            target=self.target,
            scenario=self.membership.scenario.name,
            domain_kind=self.membership.scenario.domain,
            feature_names=self.features,
            X=block.X,
            y=block.y,
            qc=block.qc,
            time=block.time,
            site_codes=site_codes,
            sites=labels,
            domain_codes=domain_codes,
            domains=domains,
            mask=block.mask,
            provenance={
                "scenario_hash": self.membership.scenario.sha256,
                "store_hash": self.store.data_hash,
                "resolution": self.store.resolution,
            },
        )

    def _fill(self, block: _Block, site: str, start: int, end: int, name: PartName, years: Years | None) -> int:
        if start == end:
            return 0
        frame = self.store.read_site(site, [TIME, *self.hourly, *self.store.targets, QC])
        if years is not None:
            year = pl.col(TIME).dt.year()
            frame = frame.filter(year.is_between(years.first or -(10**4), years.last or 10**4))
        usable = (pl.col(QC) == 1) & pl.all_horizontal(pl.col(t).is_not_null() for t in self.store.targets)
        if self.sequences:
            mask = frame.select(usable).to_series().to_numpy() if name != "test" else np.ones(frame.height, np.bool_)
        elif name != "test":
            frame = frame.filter(usable)
        n = frame.height
        if n > end - start:
            raise DataError(
                f"Site {site} holds {n:,} rows where the manifest allows {end - start:,}: the store was changed. "
                f"Run 'fluxtrapolation data verify {self.store.path}'."
            )
        rows = slice(start, start + n)
        for column, name_ in zip(self.hourly_at, self.hourly, strict=True):
            series = frame[name_]
            if series.null_count():
                raise _CovariateMissing
            block.X[rows, column] = series.to_numpy()
        for column in self.pft_at.values():
            block.X[rows, column] = 0.0
        at = self.pft_at.get(pft_column(self.store.record(site).igbp))
        if at is not None:
            block.X[rows, at] = 1.0
        block.y[rows] = frame[self.target].to_numpy()
        block.qc[rows] = frame[QC].to_numpy()
        block.time[rows] = frame[TIME].to_numpy()
        if block.mask is not None:
            block.mask[rows] = mask
        return n

    def _lacking(self) -> str:
        """What to say where towers lack covariates: which, how many, one example, and the ways out."""
        sites = sorted({site for part in PART_NAMES for site in getattr(self.membership, part)})
        counts = {site: lacking_hours(self.store, site, self.hourly) for site in sites}
        told, bad = [], {site for site, found in counts.items() if found}
        for name in self.hourly:
            lost = {site: found[name] for site, found in counts.items() if name in found}
            if lost:
                site = min(lost)
                told.append(
                    f"{name} at {len(lost)} (for example {site}, in {lost[site]:,} of "
                    f"{self.store.record(site).hours:,} {'days' if self.store.resolution == 'daily' else 'hours'})"
                )
        whole = [name for name in self.hourly if not any(name in found for found in counts.values())]
        kept = ",".join([*whole, *self.store.targets])
        path = self.store.path
        return (
            f"{len(bad)} of the {len(sites)} towers of the scenario lack a covariate: {'; '.join(told)}. Train "
            f"without these covariates: 'fluxtrapolation data subset {path} --columns {kept} --out NEW' (in Python: "
            "features=). Or without these towers: 'fluxtrapolation data covariates ... --lacking drop-sites', where "
            f"it was joined, or 'fluxtrapolation data subset {path} --sites @FILE --out NEW'."
        )

    def _domains(
        self, site_codes: NDArray[np.int32], sites: tuple[str, ...], time: NDArray[np.datetime64]
    ) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        if self.membership.scenario.domain == "site":
            return site_codes, sites
        if len(time) == 0:
            return site_codes, ()
        year = time.astype("datetime64[Y]").astype(np.int32) + np.int32(1970)
        low = int(year.min())
        span = int(year.max()) - low + 1
        key = site_codes.astype(np.int64) * span + (year - low)
        present, codes = unique_codes(key, len(sites) * span)
        labels = tuple(f"{sites[k // span]} {low + k % span}" for k in present.tolist())
        return codes, labels


def lacking_hours(store: Store, site: str, covariates: Sequence[str]) -> dict[str, int]:
    """Covariates that a tower lacks, with the number of rows without a value."""
    nulls = store.read_site(site, covariates).null_count().row(0)
    return {name: count for name, count in zip(covariates, nulls, strict=True) if count}


@dataclass
class _Block:
    X: Float32
    y: Float32
    qc: NDArray[np.int8]
    time: NDArray[np.datetime64]
    mask: NDArray[np.bool_] | None

    def close_gaps(self, offsets: NDArray[np.int64], counts: NDArray[np.int64]) -> None:
        """Move rows together where a site used less room than it was given, in place."""
        names = [n for n in ("X", "y", "qc", "time", "mask") if getattr(self, n) is not None]
        end = 0
        for start, n in zip(offsets[:-1].tolist(), counts.tolist(), strict=True):
            if start != end:
                # The target lies before the source, so copying forwards in pieces no longer than the shift is safe.
                shift = start - end
                for a in range(0, n, shift):
                    b = min(a + shift, n)
                    for name in names:
                        array = getattr(self, name)
                        array[end + a : end + b] = array[start + a : start + b]
            end += n
        for name in names:
            setattr(self, name, getattr(self, name)[:end])


def _capacity(record: SiteRecord, years: Years | None, keep_all: bool) -> int:
    """An upper bound on the rows a site gives to a part, from the site record alone."""
    room = record.hours if keep_all else record.measured_hours
    if years is None:
        return room
    first, last = record.first_hour.year, record.last_hour.year
    low, high = max(first, years.first or first), min(last, years.last or last)
    if low > high:
        return 0
    begin = max(np.datetime64(record.first_hour, "h"), np.datetime64(f"{low:04d}-01-01", "h"))
    end = min(np.datetime64(record.last_hour, "h") + 1, np.datetime64(f"{high + 1:04d}-01-01", "h"))
    return min(room, int((end - begin).astype(np.int64)))


def most_rows(store: Store, scenario: Scenario, part: PartName) -> int:
    """How many rows a part has at most, from the manifest alone; for plans and estimates."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FluxtrapolationWarning)
        membership = scenario.apply(store.site_ids, parts=(part,))
    years = membership.years(part)
    return sum(_capacity(store.record(site), years, part == "test") for site in getattr(membership, part))


def site_roles(store: Store, scenario: Scenario) -> pl.DataFrame:
    """Every tower of the store with its role: site_id, name, lat, lon, igbp, role (one row per tower and part).

    ``role`` is train, validation, test, or 'unused'; under a scenario by years a tower has a row for each part in
    which it has hours.
    """
    membership = scenario.apply(store.site_ids)
    rows = []
    for site in store.site_ids:
        record = store.record(site)
        roles: list[str] = [
            part
            for part in PART_NAMES
            if site in getattr(membership, part) and _capacity(record, membership.years(part), True) > 0
        ]
        rows += [(site, record.name, record.lat, record.lon, record.igbp, role) for role in roles or ["unused"]]
    return pl.DataFrame(
        rows,
        schema={
            "site_id": pl.String,
            "name": pl.String,
            "lat": pl.Float64,
            "lon": pl.Float64,
            "igbp": pl.String,
            "role": pl.String,
        },
        orient="row",
    )
