"""The Store: one Parquet file per tower, a site table and a manifest, opened lazily and read column by column."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from fluxtrapolation.data.checks import need_target
from fluxtrapolation.data.manifest import (
    MANIFEST_NAME,
    FileEntry,
    SiteEntry,
    SiteRecord,
    read_manifest,
    warn_if_changed,
)
from fluxtrapolation.errors import DataError, FluxtrapolationWarning, MissingColumnError, did_you_mean, examples
from fluxtrapolation.files import sha256_of
from fluxtrapolation.schema import COVARIATES, QC, SITE, TARGETS, TIME, VARIABLES, feature_names, ordered_igbp

SITE_TABLE_SCHEMA: dict[str, Any] = {
    "site_id": pl.String,
    "name": pl.String,
    "lat": pl.Float64,
    "lon": pl.Float64,
    "igbp": pl.String,
    "network": pl.String,
    "mat_c": pl.Float64,
    "map_mm": pl.Float64,
    "utc_offset_h": pl.Float64,
    "native_step_min": pl.Int32,
    "first_hour": pl.Datetime("us"),
    "last_hour": pl.Datetime("us"),
    "hours": pl.Int64,
    "measured_hours": pl.Int64,
    "licence": pl.String,
    "source": pl.String,
}


def site_table(records: Iterable[SiteRecord]) -> pl.DataFrame:
    """Site records as a table, sorted by site."""
    rows = sorted((record.model_dump() for record in records), key=lambda row: row["site_id"])
    return pl.DataFrame(rows, schema=SITE_TABLE_SCHEMA)


def store_schema(targets: Sequence[str], covariates: Sequence[str]) -> dict[str, Any]:
    """Columns and dtypes of a site file."""
    return {
        TIME: pl.Datetime("us"),
        **{name: pl.Float32 for name in COVARIATES if name in covariates},
        **{name: pl.Float32 for name in TARGETS if name in targets},
        QC: pl.Int8,
    }


def _file_problem(path: Path, entry: FileEntry | SiteEntry) -> str | None:
    """Say how a file differs from what the manifest says of it, or None."""
    try:
        if not path.is_file():
            return "missing"
        if path.stat().st_size != entry.bytes:
            return f"{path.stat().st_size:,} bytes, expected {entry.bytes:,}"
        if sha256_of(path) != entry.sha256:
            return "sha256 differs from the manifest (the content has changed)"
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"
    return None


class Store:
    """Towers on disk.

    Parameters
    ----------
    path : path-like
        Folder made by ``data import`` or ``data synth``.

    Attributes
    ----------
    path : Path
    manifest : Manifest
    targets, covariates : tuple of str
        What this store holds, in schema order. A store may lack targets and covariates.
    sites : polars.DataFrame
        The site table, one row a tower, sorted by ``site_id``.

    Raises
    ------
    DataError
        If the folder is no store.
    SchemaVersionError
        If a newer version of the package wrote it.

    Notes
    -----
    ``time`` is local standard time, START of the hour; ``utc_offset_h`` in the site table is local minus true UTC.
    Values are float32; a missing value is null. Targets have gaps. A covariate has none, but a tower may lack one
    altogether or in part, where a satellite product has no value (``data covariates``) or an archive no such column:
    its notes say so. Opening reads the manifest only.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.manifest, self._manifest_intact = read_manifest(self.path)
        warn_if_changed(self.path, self._manifest_intact)
        if not self.manifest.complete:
            warnings.warn(
                f"The store {self.path} is not complete: its import was interrupted after "
                f"{len(self.manifest.sites)} sites. Run the same command again to finish it.",
                FluxtrapolationWarning,
                stacklevel=2,
            )

    @classmethod
    def of(cls, store: Store | str | Path) -> Store:
        """Return ``store`` itself, or open it if it is a path."""
        return store if isinstance(store, Store) else cls(store)

    def __repr__(self) -> str:
        return f"Store({str(self.path)!r}: {len(self.site_ids)} sites, {self.hours:,} hours, {', '.join(self.targets)})"

    @property
    def targets(self) -> tuple[str, ...]:
        return self.manifest.targets

    @property
    def covariates(self) -> tuple[str, ...]:
        return self.manifest.covariates

    @property
    def resolution(self) -> str:
        return self.manifest.resolution

    @cached_property
    def site_ids(self) -> tuple[str, ...]:
        """Site ids, ascending."""
        return tuple(sorted(self.manifest.sites))

    @cached_property
    def sites(self) -> pl.DataFrame:
        return site_table(entry.record for entry in self.manifest.sites.values())

    @property
    def hours(self) -> int:
        """Number of rows over all sites."""
        return sum(entry.record.hours for entry in self.manifest.sites.values())

    @property
    def measured_hours(self) -> int:
        """Number of rows with ``qc_mask == 1``."""
        return sum(entry.record.measured_hours for entry in self.manifest.sites.values())

    @cached_property
    def igbp_classes(self) -> tuple[str, ...]:
        """IGBP classes seen in the store, in the schema's order."""
        return ordered_igbp(entry.record.igbp for entry in self.manifest.sites.values())

    @property
    def features(self) -> tuple[str, ...]:
        """Columns of ``X`` built from this store: its covariates, then one ``PFT_*`` per class seen."""
        return feature_names(self.covariates, self.igbp_classes)

    @cached_property
    def data_hash(self) -> str:
        """Identity of the content, recorded by scenarios and runs."""
        return self.manifest.data_hash()

    def record(self, site: str) -> SiteRecord:
        """The facts of one tower."""
        self.need_sites([site])
        return self.manifest.sites[site].record

    def need_target(self, target: str) -> None:
        """Raise MissingColumnError, listing what exists, unless the store holds ``target``."""
        need_target(target, self.targets)

    def need_sites(self, sites: Iterable[str]) -> None:
        """Raise DataError, with a suggestion, unless the store holds every one of ``sites``."""
        missing = [site for site in sites if site not in self.manifest.sites]
        if missing:
            raise DataError(
                f"{len(missing)} of the sites asked for are not in the store {self.path}: {examples(missing)}."
                f"{did_you_mean(missing[0], self.site_ids)} See 'fluxtrapolation data info {self.path}'."
            )

    def file_of(self, site: str) -> Path:
        """Path of a site's Parquet file."""
        self.need_sites([site])
        return self.path / self.manifest.sites[site].file

    def read_site(
        self,
        site: str,
        columns: Sequence[str] | None = None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pl.DataFrame:
        """Read one tower, only the columns and hours asked for.

        Parameters
        ----------
        site : str
        columns : sequence of str, optional
            Defaults to every column of the site file.
        start, end : datetime, optional
            Keep ``start <= time < end`` (local standard time).

        Returns
        -------
        polars.DataFrame
            Hourly rows, ascending in time.

        Raises
        ------
        MissingColumnError
            If a column is not in the store; the message lists what exists.
        """
        wanted = self._need_columns(columns)
        path = self.file_of(site)
        if not path.is_file():
            raise DataError(f"The store {self.path} has lost the file of site {site} ({path}). Import the site again.")
        bounded = start is not None or end is not None
        read = list(dict.fromkeys([TIME, *wanted])) if bounded else wanted
        try:
            frame = pl.read_parquet(path, columns=read, use_statistics=False, glob=False)
        except (pl.exceptions.PolarsError, OSError) as error:
            raise DataError(
                f"{path} cannot be read ({str(error).splitlines()[0]}). Run 'fluxtrapolation data verify {self.path}'."
            ) from None
        if start is not None:
            frame = frame.filter(pl.col(TIME) >= start)
        if end is not None:
            frame = frame.filter(pl.col(TIME) < end)
        return frame.select(wanted)

    def scan(
        self,
        sites: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> pl.LazyFrame:
        """A lazy table over many towers, with ``site_id`` first; nothing is read before ``collect``.

        Parameters are those of :meth:`read_site`; ``sites`` defaults to all.
        """
        names = self.site_ids if sites is None else tuple(sites)
        self.need_sites(names)
        wanted = self._need_columns([c for c in columns if c != SITE] if columns else columns)
        frames = []
        for site in names:
            lazy = pl.scan_parquet(self.file_of(site), glob=False)
            if start is not None:
                lazy = lazy.filter(pl.col(TIME) >= start)
            if end is not None:
                lazy = lazy.filter(pl.col(TIME) < end)
            frames.append(lazy.select(pl.lit(site).alias(SITE), *wanted))
        if not frames:
            schema = {SITE: pl.String, **store_schema(self.targets, self.covariates)}
            return pl.LazyFrame(schema={name: schema[name] for name in [SITE, *wanted]})
        return pl.concat(frames)

    def iter_sites(
        self, sites: Sequence[str] | None = None, columns: Sequence[str] | None = None
    ) -> Iterator[tuple[SiteRecord, pl.DataFrame]]:
        """Go through towers one at a time: (record, table)."""
        for site in self.site_ids if sites is None else sites:
            yield self.record(site), self.read_site(site, columns)

    def verify(self) -> list[str]:
        """Check every file against the manifest.

        Returns
        -------
        list of str
            One line per problem, naming the file; empty when the store is intact.
        """
        problems = []
        if not self._manifest_intact:
            problems.append(f"{MANIFEST_NAME}: its content does not match its own checksum")
        extra = [self.manifest.site_table] if self.manifest.site_table else []
        entries: list[FileEntry | SiteEntry] = [*self.manifest.sites.values(), *extra]
        for entry in entries:
            problem = _file_problem(self.path / entry.file, entry)
            if problem is not None:
                problems.append(f"{entry.file}: {problem}")
        listed = {entry.file for entry in self.manifest.sites.values()}
        stray = [p for p in sorted((self.path / "sites").glob("*.parquet")) if f"sites/{p.name}" not in listed]
        problems += [f"sites/{p.name}: not in the manifest (left by an interrupted import?)" for p in stray]
        if not self.manifest.complete:
            problems.append(f"{MANIFEST_NAME}: the import was interrupted; run the same command again to finish it")
        return problems

    def info(self) -> dict[str, Any]:
        """The store in one dictionary, as ``data info --json`` prints it.

        Keys: path, sites, resolution, rows, measured, targets, covariates, igbp, first, last, complete,
        schema_version, data_hash, bytes, failures, notes, sources. ``first`` and ``last`` are ISO times in each tower's
        local standard time.
        """
        records = [entry.record for entry in self.manifest.sites.values()]
        return {
            "path": str(self.path),
            "sites": len(records),
            "resolution": self.resolution,
            "rows": self.hours,
            "measured": self.measured_hours,
            "targets": list(self.targets),
            "covariates": list(self.covariates),
            "igbp": list(self.igbp_classes),
            "first": min(r.first_hour for r in records).isoformat() if records else None,
            "last": max(r.last_hour for r in records).isoformat() if records else None,
            "complete": self.manifest.complete,
            "schema_version": self.manifest.schema_version,
            "data_hash": self.data_hash,
            "bytes": sum(entry.bytes for entry in self.manifest.sites.values()),
            "failures": dict(self.manifest.failures),
            "notes": {name: list(e.notes) for name, e in sorted(self.manifest.sites.items()) if e.notes},
            "sources": [source.model_dump(mode="json") for source in self.manifest.sources],
        }

    def _need_columns(self, columns: Sequence[str] | None) -> list[str]:
        held = list(store_schema(self.targets, self.covariates))
        if columns is None:
            return held
        missing = [name for name in columns if name not in held]
        if missing:
            known = " (a column of the schema, but not of this store)" if missing[0] in VARIABLES else ""
            raise MissingColumnError(
                f"The store {self.path} has no column {missing[0]}{known}.{did_you_mean(missing[0], held)} "
                f"It holds: {', '.join(held)}."
            )
        return list(columns)
