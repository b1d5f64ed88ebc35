"""Writing a store: each site at once or not at all, resumable after any interruption."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Literal

import polars as pl

from fluxtrapolation.data.checks import check_frame, check_site_facts
from fluxtrapolation.data.manifest import (
    MANIFEST_NAME,
    SITE_TABLE_NAME,
    FileEntry,
    Manifest,
    SiteEntry,
    SiteRecord,
    Source,
    read_manifest,
    utc_now,
    write_manifest,
)
from fluxtrapolation.data.store import Store, site_table, store_schema
from fluxtrapolation.errors import DataError
from fluxtrapolation.files import write_bytes_atomic
from fluxtrapolation.schema import COVARIATES, QC, TARGETS, TIME

COMPRESSION: Literal["zstd"] = "zstd"
COMPRESSION_LEVEL = 1


class StoreWriter:
    """Write a store site by site.

    A site enters the manifest only after its file stands under its final name, so a writer killed at any moment
    leaves a store that opens and lacks the half-written site. Opening a writer with the same source and options on an
    unfinished store continues it; :attr:`done` names the sites to skip.

    Parameters
    ----------
    path : path-like
        Folder of the store, made if need be.
    targets, covariates : sequence of str
        What every site file holds.
    source : Source
        Where the data come from, with all options that shape them.
    resolution : {'hourly', 'daily'}
    overwrite : bool, default False
        Replace a store that was made from another source or with other options.

    Raises
    ------
    DataError
        If the folder holds something else, or a store of another source.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        targets: Sequence[str],
        covariates: Sequence[str],
        source: Source,
        resolution: Literal["hourly", "daily"] = "hourly",
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self._lock = Lock()
        fresh = Manifest(
            package_version=source.package_version,
            created=utc_now(),
            resolution=resolution,
            targets=tuple(name for name in TARGETS if name in targets),
            covariates=tuple(name for name in COVARIATES if name in covariates),
            sources=(source,),
        )
        self.manifest = self._open(fresh, overwrite=overwrite)
        self._schema = store_schema(self.manifest.targets, self.manifest.covariates)

    def _open(self, fresh: Manifest, *, overwrite: bool) -> Manifest:
        if self.path.is_file():
            raise DataError(f"{self.path} is a file; a store is a folder. Choose another --out.")
        if (self.path / MANIFEST_NAME).exists():
            if overwrite:
                self._remove_old_files()
            else:
                held, _ = read_manifest(self.path)
                same = (
                    [s.fingerprint() for s in held.sources] == [s.fingerprint() for s in fresh.sources]
                    and held.targets == fresh.targets
                    and held.covariates == fresh.covariates
                )
                if not same:
                    raise DataError(
                        f"{self.path} already holds a store made from {held.sources[0].location} with other options "
                        f"({len(held.sites)} sites). Choose another --out, or replace it with --overwrite."
                    )
                return held
        elif self.path.is_dir() and any(self.path.iterdir()):
            raise DataError(f"{self.path} is not empty and not a store. Choose another --out.")
        self.path.mkdir(parents=True, exist_ok=True)
        write_manifest(self.path, fresh)
        return fresh

    def _remove_old_files(self) -> None:
        (self.path / MANIFEST_NAME).unlink()
        for old in (self.path / "sites").glob("*.parquet"):
            old.unlink()

    @property
    def done(self) -> frozenset[str]:
        """Sites that stand in the store already."""
        return frozenset(self.manifest.sites)

    @property
    def complete(self) -> bool:
        """Whether an earlier run finished this store."""
        return self.manifest.complete

    def add(self, record: SiteRecord, frame: pl.DataFrame, *, notes: Sequence[str] = (), check: bool = True) -> None:
        """Write one site. Safe to call from several threads.

        Parameters
        ----------
        record : SiteRecord
            Its ``first_hour``, ``last_hour``, ``hours`` and ``measured_hours`` are counted from ``frame``.
        frame : polars.DataFrame
            ``time``, the store's covariates and targets, ``qc_mask``; any order of columns.
        notes : sequence of str
            What was inferred or left out at this site; kept in the manifest.
        check : bool, default True
            Refuse impossible values (see :mod:`fluxtrapolation.data.checks`).

        Raises
        ------
        DataError
            If the table does not satisfy the schema, or the disk is full; the site is then absent.
        """
        site = record.site_id
        check_site_facts(site, record.lat, record.lon, record.igbp)
        missing = [name for name in self._schema if name not in frame.columns]
        if missing:
            raise DataError(f"Site {site}: column {missing[0]} is missing ({len(missing)} in all). Add it.")
        table = frame.select(pl.col(name).cast(dtype) for name, dtype in self._schema.items())
        # NaN is a value to polars, null is not: the store knows null only.
        table = table.with_columns(pl.col(name).fill_nan(None) for name in self.manifest.targets)
        if check:
            check_frame(
                table,
                site=site,
                targets=self.manifest.targets,
                covariates=self.manifest.covariates,
                step="hour" if self.manifest.resolution == "hourly" else "day",
            )
        full = record.model_copy(
            update={
                "first_hour": table[TIME][0],
                "last_hour": table[TIME][-1],
                "hours": table.height,
                "measured_hours": int((table[QC] == 1).sum()),
            }
        )
        buffer = io.BytesIO()
        table.write_parquet(
            buffer,
            compression=COMPRESSION,
            compression_level=COMPRESSION_LEVEL,
            metadata={"fluxtrapolation.site": full.model_dump_json()},
        )
        content = buffer.getvalue()
        name = f"sites/{site}.parquet"
        write_bytes_atomic(self.path / name, content)
        entry = SiteEntry(
            record=full,
            file=name,
            sha256=hashlib.sha256(content).hexdigest(),
            bytes=len(content),
            notes=tuple(notes),
        )

        def with_site(manifest: Manifest) -> dict[str, Any]:
            failures = {k: v for k, v in manifest.failures.items() if k != site}
            return {"sites": {**manifest.sites, site: entry}, "failures": failures}

        self._update(with_site)

    def fail(self, site: str, reason: str) -> None:
        """Record that a site could not be read, and why; the others go on."""
        self._update(lambda manifest: {"failures": {**manifest.failures, site: reason}})

    def discard(self) -> None:
        """Take the store away again if no site was written, so that a failed import leaves nothing behind."""
        if self.manifest.sites:
            return
        (self.path / MANIFEST_NAME).unlink(missing_ok=True)
        for folder in (self.path / "sites", self.path):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def finish(self) -> Store:
        """Write the site table, mark the store complete and open it."""
        with self._lock:
            table = site_table(entry.record for entry in self.manifest.sites.values())
            buffer = io.BytesIO()
            table.write_parquet(buffer, compression=COMPRESSION)
            content = buffer.getvalue()
            write_bytes_atomic(self.path / SITE_TABLE_NAME, content)
            entry = FileEntry(file=SITE_TABLE_NAME, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
            self.manifest = self.manifest.model_copy(update={"site_table": entry, "complete": True})
            write_manifest(self.path, self.manifest)
            for leftover in self.path.glob("**/.*.tmp"):
                leftover.unlink(missing_ok=True)
        return Store(self.path)

    def _update(self, change: Callable[[Manifest], dict[str, Any]]) -> None:
        with self._lock:
            self.manifest = self.manifest.model_copy(update=change(self.manifest))
            write_manifest(self.path, self.manifest)

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
