"""Writing a store: each site at once or not at all, resumable after any interruption."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Literal

import polars as pl

from fluxtrapolation.data.checks import check_frame, check_site_facts, conform
from fluxtrapolation.data.folder import (
    SITES_FOLDER,
    FolderLock,
    beside,
    clear_leftovers,
    copy_file,
    exchange,
    remove,
    settle,
    writing,
)
from fluxtrapolation.data.journal import Journal
from fluxtrapolation.data.manifest import (
    MANIFEST_NAME,
    SITE_TABLE_NAME,
    Change,
    FileEntry,
    Manifest,
    Opened,
    SiteEntry,
    SiteRecord,
    Source,
    differences,
    has_file,
    open_manifest,
    utc_now,
    warn_if_changed,
    write_manifest,
)
from fluxtrapolation.data.store import Store, site_table, store_schema
from fluxtrapolation.errors import DataError, FluxtrapolationWarning, examples
from fluxtrapolation.files import need_outside_stores, write_bytes_atomic
from fluxtrapolation.schema import COVARIATES, QC, TARGETS, TIME

COMPRESSION: Literal["zstd"] = "zstd"
COMPRESSION_LEVEL = 1


class StoreWriter:
    """Write a store site by site.

    A site enters the journal beside the manifest only after its file stands under its final name, so a writer killed at
    any moment leaves a store that opens and lacks the half-written site; :meth:`finish`, or the next writer, brings the
    journal into the manifest. Opening a writer with the same source and options on an unfinished store continues it;
    :attr:`done` names the sites to skip. One writer at a time: the folder is locked until :meth:`finish` or
    :meth:`close`.

    Parameters
    ----------
    path : path-like
        Folder of the store, made if need be.
    targets, covariates : sequence of str
        What every site file holds.
    source : Source
        Where the data come from, with all options that shape them.
    origins : sequence of Source
        Sources that these data go back to, where ``source`` made them from another store; kept before it.
    resolution : {'hourly', 'daily'}
    overwrite : bool, default False
        Replace the store that is there. The new one is made beside it (``.NAME.new``) and takes its place in
        :meth:`finish`; until then the old one stays as it is.

    Raises
    ------
    DataError
        If the folder holds something else or a store of another source, cannot be written, or another writer is at
        work there.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        targets: Sequence[str],
        covariates: Sequence[str],
        source: Source,
        origins: Sequence[Source] = (),
        resolution: Literal["hourly", "daily"] = "hourly",
        overwrite: bool = False,
    ) -> None:
        self.path = Path(path)
        self._lock = Lock()
        self._closed = False
        self._journal: Journal | None = None
        fresh = Manifest(
            package_version=source.package_version,
            created=utc_now(),
            resolution=resolution,
            targets=tuple(name for name in TARGETS if name in targets),
            covariates=tuple(name for name in COVARIATES if name in covariates),
            sources=(*origins, source),
        )
        self._schema = store_schema(fresh.targets, fresh.covariates)
        with writing(self.path):
            self._folder = self._place()
            self._folder_lock = FolderLock(self._folder)
            self._folder_lock.acquire()
            try:
                self.manifest = self._open(fresh, overwrite=overwrite)
            except BaseException:
                self.close()
                raise

    def _place(self) -> Path:
        """Where the store lies, links followed; made if need be."""
        folder = self.path.resolve()
        if folder.is_file():
            raise DataError(f"{self.path} is a file; a store is a folder. Choose another --out.")
        need_outside_stores(folder.parent, given=self.path)
        settle(folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _open(self, fresh: Manifest, *, overwrite: bool) -> Manifest:
        """The manifest to go on with, in ``self._folder``: the store itself, or its successor when overwriting."""
        held: Opened | None = None
        if not (self._folder / MANIFEST_NAME).exists():
            clear_leftovers(self._folder)
        elif overwrite:
            self._folder = beside(self._folder, "new")
            held = self._successor(fresh)
        else:
            held = self._same_store(fresh)
        manifest = fresh if held is None else self._without_lost(held.manifest)
        if held is None or held.journaled or held.checksum is None or manifest is not held.manifest:
            self._save(manifest)
        else:
            self._journal = Journal(self._folder, held.checksum)
        return manifest

    def _without_lost(self, held: Manifest) -> Manifest:
        """The manifest without towers whose files were removed or cut, so that they are read again."""
        lost = sorted(site for site, entry in held.sites.items() if not has_file(self._folder, entry))
        if not lost:
            return held
        warnings.warn(
            f"{self.path} has lost the files of {len(lost)} of its {len(held.sites)} towers: {examples(lost)}. Those "
            "that this run was asked for are read again; the others are no longer in the store.",
            FluxtrapolationWarning,
            stacklevel=5,
        )
        kept = {site: entry for site, entry in held.sites.items() if site not in set(lost)}
        return held.model_copy(update={"sites": kept, "complete": False})

    def _save(self, manifest: Manifest) -> None:
        """Write the manifest whole; the journal begins anew."""
        checksum = write_manifest(self._folder, manifest)
        if self._journal is not None:
            self._journal.close()
        self._journal = Journal(self._folder, checksum)
        self._journal.remove()

    def _same_store(self, fresh: Manifest) -> Opened:
        opened = open_manifest(self._folder)
        held = opened.manifest
        warn_if_changed(self.path, opened.intact)
        differ = differences(held, fresh)
        if differ:
            raise DataError(
                f"{self.path} already holds a store of {len(held.sites)} sites made with other options: "
                f"{examples(differ)}. Choose another --out, or replace it with --overwrite."
            )
        return opened

    def _successor(self, fresh: Manifest) -> Opened | None:
        """Manifest of an interrupted overwriting that can be continued; else the way is cleared for a new one."""
        try:
            opened = open_manifest(self._folder)
            if not differences(opened.manifest, fresh):
                return opened
        except DataError:
            pass
        remove(self._folder)
        self._folder.mkdir()
        return None

    def close(self) -> None:
        """Let another writer come. What was added stays; :meth:`finish` does this as well."""
        with self._lock:
            if self._journal is not None and self._journal.begun and not self._closed:
                with (
                    suppress(DataError),
                    writing(self.path),
                ):  # a full disk has been told; the journal says what was done
                    self._save(self.manifest)
                self._journal.close()
            self._closed = True
        self._folder_lock.release()

    @property
    def done(self) -> frozenset[str]:
        """Sites that stand in the store already."""
        return frozenset(self.manifest.sites)

    @property
    def complete(self) -> bool:
        """Whether an earlier run finished this store, and nothing was added since."""
        return self.manifest.complete and self._folder == self.path.resolve()

    def add(
        self,
        record: SiteRecord,
        frame: pl.DataFrame,
        *,
        notes: Sequence[str] = (),
        check: bool = True,
        source_sha256: str | None = None,
        doi: str | None = None,
    ) -> None:
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
        source_sha256 : str, optional
            Hash of the file the site was read from.
        doi : str, optional
            DOI of the site's own data, without ``https://doi.org/``.

        Raises
        ------
        DataError
            If the table does not satisfy the schema, or the disk is full; the site is then absent.
        """
        site = record.site_id
        check_site_facts(site, record.lat, record.lon, record.igbp)
        table = conform(frame, self._schema, site=site)
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
        name = f"{SITES_FOLDER}/{site}.parquet"
        self._withdraw(site)
        write_bytes_atomic(self._folder / name, content)
        entry = SiteEntry(
            record=full,
            file=name,
            sha256=hashlib.sha256(content).hexdigest(),
            bytes=len(content),
            notes=tuple(notes),
            source_sha256=source_sha256,
            doi=doi,
        )
        self._note(Change(sites={site: entry}))

    def adopt(self, entry: SiteEntry, path: Path, *, link: bool = False) -> None:
        """Take a site over from another store of the same columns, its file byte for byte.

        Parameters
        ----------
        entry : SiteEntry
            What the other store says of the site.
        path : Path
            The site's file there.
        link : bool, default False
            Link the file instead of copying it, where the system can.

        Raises
        ------
        DataError
            If the file is missing or not what ``entry`` says, or the disk is full; the site is then absent.
        """
        name = f"{SITES_FOLDER}/{entry.record.site_id}.parquet"
        self._withdraw(entry.record.site_id)
        copy_file(path, self._folder / name, sha256=entry.sha256, link=link)
        # To wait for the disk takes longer than to copy a small file once more, after a power failure.
        self._note(Change(sites={entry.record.site_id: entry.model_copy(update={"file": name})}), sync=False)

    def fail(self, site: str, reason: str) -> None:
        """Record that a site could not be read, and why; the others go on."""
        self._note(Change(failures={site: reason}))

    def forget_failures(self) -> None:
        """Start with a clean slate: what failed in an earlier import is told again only if it fails again."""
        if self.manifest.failures:
            self._note(Change(forget_failures=True))

    def discard(self) -> None:
        """Take the store away again if no site was written, so that a failed import leaves nothing behind."""
        if not self.manifest.sites:
            if self._journal is not None:
                self._journal.remove()
            (self._folder / MANIFEST_NAME).unlink(missing_ok=True)
        self.close()
        for folder in (self._folder / SITES_FOLDER, self._folder):
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()

    def finish(self) -> Store:
        """Write the site table, mark the store complete, put it in its place, open it, let go of the folder."""
        with self._lock, writing(self.path):
            table = site_table(entry.record for entry in self.manifest.sites.values())
            buffer = io.BytesIO()
            table.write_parquet(buffer, compression=COMPRESSION)
            content = buffer.getvalue()
            write_bytes_atomic(self._folder / SITE_TABLE_NAME, content)
            entry = FileEntry(file=SITE_TABLE_NAME, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
            # In the order of their names, whatever order several threads, or an interrupted run, wrote them in.
            ordered = {
                "sites": dict(sorted(self.manifest.sites.items())),
                "failures": dict(sorted(self.manifest.failures.items())),
            }
            self.manifest = self.manifest.model_copy(update={**ordered, "site_table": entry, "complete": True})
            self._save(self.manifest)
            # The folder is locked: temporary files are those of writers that were killed.
            for folder in (self._folder, self._folder / SITES_FOLDER):
                for leftover in folder.glob(".*.tmp"):
                    leftover.unlink(missing_ok=True)
            place = self.path.resolve()
            if self._folder != place:
                exchange(place, self._folder)
                self._folder = place
        self.close()
        return Store(self.path)

    def _withdraw(self, site: str) -> None:
        """Before a tower's file is replaced: whoever opens the store after a kill in between does not see the tower.

        The manifest in memory keeps it: if the new file cannot be written, the old one is there still.
        """
        with self._lock:
            if site not in self.manifest.sites or self._closed or self._journal is None:
                return
            with writing(self.path):
                self._journal.append(Change(withdrawn=(site,)).model_dump(mode="json", exclude_defaults=True))
            self.manifest = self.manifest.model_copy(update={"complete": False})

    def _note(self, change: Change, *, sync: bool = True) -> None:
        """Write a change into the journal, then into the manifest that is held in memory."""
        with self._lock:
            if self._closed or self._journal is None:
                raise DataError(f"The writer of {self.path} is finished. Open another one to add sites.")
            with writing(self.path):
                self._journal.append(change.model_dump(mode="json", exclude_defaults=True), sync=sync)
            self.manifest = change.apply(self.manifest)

    def __enter__(self) -> StoreWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self.close()
