"""What changed between two stores: archives are released again, and scores must not move unnoticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl

from fluxtrapolation.data.diff_rows import ColumnChange, FlagChange, RowChanges, compare_rows
from fluxtrapolation.data.folder import changed_file
from fluxtrapolation.data.jobs import default_jobs
from fluxtrapolation.data.manifest import SiteEntry
from fluxtrapolation.data.reading import reading
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, did_you_mean, examples
from fluxtrapolation.files import atomic_path, sha256_of
from fluxtrapolation.schema import COVARIATES, QC, TARGETS, TIME

Progress = Callable[[str, int, int], None]
Kind = Literal["same", "rewritten", "changed", "added", "removed", "unreadable"]

FACTS: Final = (
    "name",
    "lat",
    "lon",
    "igbp",
    "network",
    "mat_c",
    "map_mm",
    "utc_offset_h",
    "native_step_min",
    "licence",
    "source",
    "first_hour",
    "last_hour",
)
"""Facts of a tower that are compared. Counts of rows and of measured rows follow from the rows."""

TABLE_SCHEMA: Final[dict[str, Any]] = {
    "site_id": pl.String,
    "change": pl.String,
    "item": pl.String,
    "compared": pl.Int64,
    "changed": pl.Int64,
    "appeared": pl.Int64,
    "vanished": pl.Int64,
    "largest": pl.Float64,
    "median": pl.Float64,
    "first": pl.Datetime("us"),
    "in_a": pl.String,
    "in_b": pl.String,
}


@dataclass(frozen=True, slots=True)
class SiteChange:
    """What changed at one tower.

    Attributes
    ----------
    site : str
    kind : str
        ``same``; ``rewritten``: other bytes, same values; ``changed``; ``added``: only in B; ``removed``: only in A;
        ``unreadable``: a file is missing, damaged, or not what its manifest says.
    rows : tuple of int
        Rows in A and in B, 0 where the tower is not there.
    facts : mapping
        Name of each fact that differs: its value in A and in B.
    values : RowChanges or None
        What differs in the rows.
    problem : str or None
        Why the tower could not be compared.
    """

    site: str
    kind: Kind
    rows: tuple[int, int]
    facts: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    values: RowChanges | None = None
    problem: str | None = None


@dataclass(frozen=True)
class StoreDiff:
    """What changed from store A to store B.

    Attributes
    ----------
    a, b : Path
    step : str
        What one row is: ``hours`` or ``days``.
    facts : mapping
        What differs of the stores as a whole, targets and covariates.
    sites : tuple of SiteChange
        Every tower that was looked at, in order of the ids.
    tolerance : float
        Absolute changes up to this counted as none.
    """

    a: Path
    b: Path
    step: str
    facts: Mapping[str, tuple[Any, Any]]
    sites: tuple[SiteChange, ...]
    tolerance: float

    @property
    def same(self) -> bool:
        """Whether nothing differs but the bytes of files that hold the same values."""
        return not self.facts and all(change.kind in ("same", "rewritten") for change in self.sites)

    @property
    def problems(self) -> tuple[str, ...]:
        """Why towers could not be compared."""
        return tuple(change.problem for change in self.sites if change.problem is not None)

    @cached_property
    def counts(self) -> dict[Kind, int]:
        """Number of towers of each kind."""
        kinds: tuple[Kind, ...] = ("same", "rewritten", "changed", "added", "removed", "unreadable")
        return {kind: sum(change.kind == kind for change in self.sites) for kind in kinds}

    def sentences(self) -> Iterator[str]:
        """One sentence for each thing that changed, as a person would say it."""
        for name, (before, after) in self.facts.items():
            yield f"{name}: {_listed(before)} in A, {_listed(after)} in B"
        for change in self.sites:
            yield from _site_sentences(change, self.step)

    def table(self) -> pl.DataFrame:
        """One row for each thing that changed; the columns are those of ``TABLE_SCHEMA``."""
        rows = [
            {"change": "store", "item": name, "in_a": _listed(before), "in_b": _listed(after)}
            for name, (before, after) in self.facts.items()
        ]
        rows += [{"site_id": change.site, **row} for change in self.sites for row in _table_rows(change)]
        return pl.DataFrame([{name: row.get(name) for name in TABLE_SCHEMA} for row in rows], schema=TABLE_SCHEMA)

    def as_dict(self) -> dict[str, Any]:
        """The same for machines: plain values, times in ISO form; towers that are the same are only counted."""
        return {
            "a": str(self.a),
            "b": str(self.b),
            "same": self.same,
            "tolerance": self.tolerance,
            "counts": self.counts,
            "facts": {name: list(pair) for name, pair in self.facts.items()},
            "sites": [_plain(asdict(change)) for change in self.sites if change.kind != "same"],
        }


def diff_stores(
    a: Store | str | Path,
    b: Store | str | Path,
    *,
    tolerance: float = 0.0,
    sites: Sequence[str] | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> StoreDiff:
    """Compare two stores, tower by tower.

    Every file is hashed; files with the same content are not read. In memory is one tower of each store (times
    ``jobs``). How data are cited, when they were read and notes are not compared.

    Parameters
    ----------
    a, b : Store or path
        Before and after.
    tolerance : float, default 0
        Absolute changes of a value up to this count as none, in the unit of each column.
    sites : sequence of str, optional
        Only these towers.
    jobs : int, optional
        Towers compared at once; default 2.
    progress : callable, optional
        Called with (site, done, total).

    Returns
    -------
    StoreDiff
        A tower whose file is damaged stands there as ``unreadable``, with the reason; the others are compared.

    Raises
    ------
    DataError
        If a store cannot be opened, one is hourly and the other daily, or neither has a tower asked for.
    """
    if not tolerance >= 0.0:
        raise DataError(
            f"The tolerance {tolerance} is not 0 or more. Give it in the unit of the values, such as 0.001."
        )
    before, after = Store.of(a), Store.of(b)
    if before.resolution != after.resolution:
        raise DataError(
            f"{before.path} is {before.resolution} and {after.path} is {after.resolution}: their rows cannot be "
            "compared. Give two stores of one resolution."
        )
    chosen = _choose(before, after, sites)
    columns = [name for name in (*COVARIATES, *TARGETS) if name in _columns(before) and name in _columns(after)]
    found: list[SiteChange] = []
    with ThreadPoolExecutor(jobs or default_jobs(2)) as pool:
        work = pool.map(lambda site: _site_change(before, after, site, columns, tolerance), chosen)
        for done, change in enumerate(work, start=1):
            found.append(change)
            if progress is not None:
                progress(change.site, done, len(chosen))
    pairs = {name: (list(getattr(before, name)), list(getattr(after, name))) for name in ("targets", "covariates")}
    return StoreDiff(
        a=before.path,
        b=after.path,
        step="hours" if before.resolution == "hourly" else "days",
        facts={name: pair for name, pair in pairs.items() if pair[0] != pair[1]},
        sites=tuple(found),
        tolerance=tolerance,
    )


def write_diff_table(diff: StoreDiff, out: str | Path) -> Path:
    """Write :meth:`StoreDiff.table` as CSV or Parquet, whole or not at all.

    Raises
    ------
    DataError
        If the name ends in neither ``.csv`` nor ``.parquet``, or cannot be written.
    """
    path = Path(out)
    if path.suffix.lower() not in (".csv", ".parquet"):
        raise DataError(f"{path} is neither .csv nor .parquet. Name the table changes.csv or changes.parquet.")
    with atomic_path(path) as temporary:
        if path.suffix.lower() == ".csv":
            diff.table().write_csv(temporary, datetime_format="%Y-%m-%d %H:%M:%S")
        else:
            diff.table().write_parquet(temporary)
    return path


def _columns(store: Store) -> tuple[str, ...]:
    return (*store.covariates, *store.targets)


def _choose(a: Store, b: Store, sites: Sequence[str] | None) -> tuple[str, ...]:
    held = sorted({*a.site_ids, *b.site_ids})
    if sites is None:
        return tuple(held)
    missing = [site for site in sites if site not in held]
    if missing:
        raise DataError(
            f"{len(missing)} of the sites asked for are in neither store: {examples(missing)}."
            f"{did_you_mean(missing[0], held)}"
        )
    return tuple(sorted(set(sites)))


def _site_change(a: Store, b: Store, site: str, columns: Sequence[str], tolerance: float) -> SiteChange:
    before, after = a.manifest.sites.get(site), b.manifest.sites.get(site)
    rows = (before.record.hours if before else 0, after.record.hours if after else 0)
    if before is None or after is None:
        return SiteChange(site, "removed" if after is None else "added", rows)
    facts = {
        name: (getattr(before.record, name), getattr(after.record, name))
        for name in FACTS
        if getattr(before.record, name) != getattr(after.record, name)
    }
    try:
        _check_files(a, b, before, after)
        if before.sha256 == after.sha256:
            return SiteChange(site, "changed" if facts else "same", rows, facts)
        wanted = [TIME, *columns, QC]
        values = compare_rows(a.read_site(site, wanted), b.read_site(site, wanted), columns, tolerance=tolerance)
    except DataError as error:
        return SiteChange(site, "unreadable", rows, facts, problem=f"Site {site}: {error}")
    return SiteChange(site, "changed" if facts or values else "rewritten", rows, facts, values if values else None)


def _check_files(a: Store, b: Store, before: SiteEntry, after: SiteEntry) -> None:
    """Raise unless both files are what their manifests say; two names of one file are hashed once."""
    first, second = a.path / before.file, b.path / after.file
    for path in (first, second):
        if not path.is_file():
            raise DataError(f"{path} is missing. Import the site again, or restore the file from a copy.")
    with reading(first):
        twice = first.samefile(second) and before.sha256 == after.sha256
    for path, entry in ((first, before),) if twice else ((first, before), (second, after)):
        with reading(path):
            if sha256_of(path) != entry.sha256:
                raise DataError(changed_file(path))


def _site_sentences(change: SiteChange, step: str) -> Iterator[str]:
    site = change.site
    if change.problem is not None:
        yield change.problem
    elif change.kind == "added":
        yield f"{site}: only in B ({change.rows[1]:,} {step})"
    elif change.kind == "removed":
        yield f"{site}: only in A ({change.rows[0]:,} {step})"
    for name, (before, after) in change.facts.items():
        yield f"{site}: {name} is {_word(before)} in A and {_word(after)} in B"
    if change.values is None:
        return
    for count, first, where in (
        (change.values.added, change.values.first_added, "B"),
        (change.values.removed, change.values.first_removed, "A"),
    ):
        if count:
            yield f"{site}: {count:,} {step} only in {where}, from {_word(first)}"
    for one in change.values.columns:
        yield f"{site}: {_column_sentence(one, step)}"
    if change.values.flags is not None:
        yield f"{site}: {_flag_sentence(change.values.flags, step)}"


def _column_sentence(one: ColumnChange, step: str) -> str:
    said = [] if one.largest is None else [f"max {one.largest:.3g}, median {one.median:.3g}"]
    said += [f"{count:,} {word}" for count, word in ((one.appeared, "new"), (one.vanished, "gone")) if count]
    count = f"{one.changed:,} of {one.compared:,} {step}"
    return f"{one.column} differs at {count} ({'; '.join(said)}), from {_word(one.first)}"


def _flag_sentence(flags: FlagChange, step: str) -> str:
    return (
        f"{QC} differs at {flags.to_measured + flags.to_filled:,} of {flags.compared:,} {step} ({flags.to_measured:,} "
        f"became measured, {flags.to_filled:,} filled), from {_word(flags.first)}"
    )


def _table_rows(change: SiteChange) -> Iterator[dict[str, Any]]:
    if change.kind in ("added", "removed"):
        yield {"change": f"site {change.kind}", "in_a": str(change.rows[0]), "in_b": str(change.rows[1])}
    if change.problem is not None:
        yield {"change": "unreadable", "item": change.problem}
    for name, (before, after) in change.facts.items():
        yield {"change": "fact", "item": name, "in_a": _word(before), "in_b": _word(after)}
    values = change.values
    if values is None:
        return
    if values.added:
        yield {"change": "rows added", "changed": values.added, "first": values.first_added}
    if values.removed:
        yield {"change": "rows removed", "changed": values.removed, "first": values.first_removed}
    for one in values.columns:
        facts = asdict(one)
        yield {"change": "values", "item": facts.pop("column"), **facts}
    if values.flags is not None:
        flags = values.flags
        counts = {"became measured": flags.to_measured, "became filled": flags.to_filled}
        for word, count in counts.items():
            if count:
                yield {"change": word, "item": QC, "compared": flags.compared, "changed": count, "first": flags.first}


def _word(value: Any) -> str:
    if value is None:
        return "not known"
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _plain(value: Any) -> Any:
    """Times as ISO text, tuples as lists, infinities (no number in JSON) as text, all the way down."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, float) and abs(value) == float("inf") else value
