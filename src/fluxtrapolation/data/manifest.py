"""What a store says of itself: the manifest, the site records and the sources, as validated models."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from fluxtrapolation.data.checks import check_site_id
from fluxtrapolation.data.journal import read_journal
from fluxtrapolation.data.reading import near_name, reading
from fluxtrapolation.errors import DataError, FluxtrapolationWarning, SchemaVersionError
from fluxtrapolation.files import MANIFEST_NAME as MANIFEST_NAME  # named here for all who read stores
from fluxtrapolation.files import STORE_FORMAT as STORE_FORMAT
from fluxtrapolation.schema import STORE_SCHEMA_VERSION

SITE_TABLE_NAME = "sites.parquet"
FETCHED = "fetched_"
"""How the keys of a source's options begin that say when and from where its files were fetched."""
CONTENT_VERSION = 1
"""Version of the rows and site records, part of a store's identity."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _inside(file: str) -> str:
    """A path below the store's folder, written with forward slashes."""
    if (
        not file
        or file.startswith("/")
        or any(part in ("", ".", "..") for part in file.split("/"))
        or set(file) & {"\\", ":"}
    ):
        raise ValueError(f"{file!r} is no path inside the store")
    return file


InnerPath = Annotated[str, AfterValidator(_inside)]


class SiteRecord(_Strict):
    """The facts of one tower: one row of the site table.

    ``utc_offset_h`` is local standard time minus true UTC; ``first_hour`` and ``last_hour`` are STARTs of hours in
    local standard time; ``measured_hours`` counts rows with ``qc_mask == 1``.
    """

    site_id: Annotated[str, AfterValidator(check_site_id)]
    name: str | None = None
    lat: float
    lon: float
    igbp: str
    network: str | None = None
    mat_c: float | None = None
    map_mm: float | None = None
    utc_offset_h: float
    native_step_min: int = 60
    licence: str | None = None
    source: str
    # Counted from the rows by the writer, whatever is given here.
    first_hour: datetime = datetime.min
    last_hour: datetime = datetime.min
    hours: int = 0
    measured_hours: int = 0


class SiteEntry(_Strict):
    """A site's record with its file, and notes on everything that was inferred or left out.

    ``source_sha256`` is the hash of the one file the site was read from, where there is one. ``doi`` is the DOI under
    which the site's own data are published, without ``https://doi.org/``; layout 2 (see :func:`layout_of`).
    """

    record: SiteRecord
    file: InnerPath
    sha256: str
    bytes: int
    notes: tuple[str, ...] = ()
    source_sha256: str | None = None
    doi: str | None = None


class Source(_Strict):
    """Where the data of a store come from and how they were read."""

    name: str
    kind: Literal["synthetic", "benchmark-csv", "fluxnet2015-zarr", "fluxnet", "merge", "table", "subset"]
    location: str
    licence: str | None = None
    citation: str | None = None
    doi: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    retrieved: datetime
    package_version: str

    def identity(self) -> dict[str, Any]:
        """Which data these are and how they were read: not when, with which version, or how they are cited."""
        facts = self.model_dump(mode="json", include={"kind", "name", "location", "options"})
        # What 'data fetch' wrote down grows as more towers come; it is no option.
        options = {key: value for key, value in facts.pop("options").items() if not key.startswith(FETCHED)}
        return {**options, **facts}

    def covers(self, record: SiteRecord) -> bool:
        """Whether a tower's record names this source, one of those that its name joins, or a host of its files."""
        hosts = str(self.options.get(f"{FETCHED}from") or "").split(", ")
        return record.source == self.name or record.source in (*re.split(r"[,;] ", self.name), *hosts)


class FileEntry(_Strict):
    """A file of the store beside the site files."""

    file: InnerPath
    sha256: str
    bytes: int


class Manifest(_Strict):
    """The store's table of contents; the only authority on which sites it holds."""

    format: Literal["fluxtrapolation-store"] = "fluxtrapolation-store"
    schema_version: int = CONTENT_VERSION
    package_version: str
    created: datetime
    complete: bool = False
    resolution: Literal["hourly", "daily"] = "hourly"
    targets: tuple[str, ...]
    covariates: tuple[str, ...]
    sources: tuple[Source, ...]
    sites: dict[str, SiteEntry] = Field(default_factory=dict)
    failures: dict[str, str] = Field(default_factory=dict)
    site_table: FileEntry | None = None

    def data_hash(self) -> str:
        """Identity of the store's content: a sha256 over schema, site records and file hashes, not over dates.

        Nor over what only tells how to cite them: a store keeps its identity when its DOIs become known.
        """
        content = {
            "schema_version": CONTENT_VERSION,
            "resolution": self.resolution,
            "targets": self.targets,
            "covariates": self.covariates,
            "sites": {
                name: [entry.sha256, entry.record.model_dump(mode="json")] for name, entry in sorted(self.sites.items())
            },
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Change(_Strict):
    """What a line of the journal adds to a manifest.

    ``sites`` replace those of their name and end their failure; ``forget_failures`` comes before ``failures``. A tower
    is ``withdrawn`` before its file is replaced: killed in between, the store must not say of the new file what was
    true of the old one.
    """

    withdrawn: tuple[str, ...] = ()
    sites: dict[str, SiteEntry] = Field(default_factory=dict)
    failures: dict[str, str] = Field(default_factory=dict)
    forget_failures: bool = False

    def apply(self, manifest: Manifest) -> Manifest:
        """The manifest with the change, unfinished; its tables of sites and failures are changed in place."""
        if self.forget_failures:
            manifest.failures.clear()
        for site in self.withdrawn:
            manifest.sites.pop(site, None)
        for site in self.sites:
            manifest.failures.pop(site, None)
        manifest.sites.update(self.sites)
        manifest.failures.update(self.failures)
        # Whoever changes a finished store makes it unfinished, until it is finished again.
        return manifest.model_copy(update={"complete": False})


def differences(held: Manifest, asked: Manifest) -> list[str]:
    """What keeps a store from being continued: one phrase for each option or column list that differs."""

    def facts(manifest: Manifest) -> dict[str, Any]:
        identity: dict[str, Any] = {}
        for source in manifest.sources:
            identity |= source.identity()
        columns = {"targets": ", ".join(manifest.targets), "covariates": ", ".join(manifest.covariates)}
        return {**identity, **columns, "resolution": manifest.resolution}

    there, here = facts(held), facts(asked)
    names = [name for name in {**there, **here} if there.get(name) != here.get(name)]
    return [f"{name} is {there.get(name)!r} there and {here.get(name)!r} now" for name in names]


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def utc_now() -> datetime:
    """The present moment in UTC, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def layout_of(manifest: Manifest) -> int:
    """The lowest layout version that can say what a manifest says, so that older packages read what they can.

    1: the first. 2: sites with a ``doi``, sources of the kind ``subset``.
    """
    newer = any(entry.doi for entry in manifest.sites.values()) or any(one.kind == "subset" for one in manifest.sources)
    return 2 if newer else 1


def as_body(manifest: Manifest) -> dict[str, Any]:
    """What is written of a manifest: its content under the lowest version; in version 1 without what that lacks."""
    body = manifest.model_dump(mode="json")
    body["schema_version"] = layout_of(manifest)
    if body["schema_version"] == 1:
        for site in body["sites"].values():
            del site["doi"]
    return body


def write_manifest(folder: Path, manifest: Manifest) -> str:
    """Write the manifest with its own checksum, under a temporary name first; a journal there counts no longer.

    Returns
    -------
    str
        The checksum, by which a journal names its manifest.
    """
    from fluxtrapolation.files import write_bytes_atomic

    body = as_body(manifest)
    checksum = _checksum(body)
    text = json.dumps({**body, "sha256": checksum}, indent=1)
    write_bytes_atomic(folder / MANIFEST_NAME, text.encode())
    return checksum


@dataclass(frozen=True, slots=True)
class Opened:
    """A manifest as it was read.

    Attributes
    ----------
    manifest : Manifest
        With what the journal of a running or killed import adds to it.
    intact : bool
        Whether the manifest's own checksum agrees.
    checksum : str or None
        The one that stands in it.
    journaled : bool
        Whether there was a journal of this very manifest.
    """

    manifest: Manifest
    intact: bool
    checksum: str | None
    journaled: bool


def read_manifest(folder: Path) -> tuple[Manifest, bool]:
    """Read a store's manifest: it, and whether it is intact. See :func:`open_manifest`."""
    opened = open_manifest(folder)
    return opened.manifest, opened.intact


def open_manifest(folder: Path) -> Opened:
    """Read a store's manifest, with what the journal of a running or killed import adds to it.

    Raises
    ------
    DataError
        If the folder or manifest is missing or malformed.
    SchemaVersionError
        If a newer version of the package wrote it.
    """
    path = folder / MANIFEST_NAME
    with reading(folder):
        if not folder.exists():
            raise DataError(
                f"There is no store at {folder}: the folder does not exist.{near_name(folder)} Check the path."
            )
        there = path.is_file()
    if not there:
        raise DataError(
            f"{folder} is not a store: it has no {MANIFEST_NAME}. "
            f"Make one with 'fluxtrapolation data import {folder} --out towers/' or 'data synth --out world/'."
        )
    # The journal before the manifest: if the import ends in between, the manifest has it all and the journal is past.
    belongs_to, lines = read_journal(folder)
    with reading(path):
        content = path.read_bytes()
    try:
        body = json.loads(content)
    except ValueError as error:
        raise DataError(f"{path} is damaged: it is not JSON ({error}). Restore it or import the store again.") from None
    if not isinstance(body, dict) or body.get("format") != STORE_FORMAT:
        raise DataError(f"{path} is not the manifest of a store. Point to a folder made by 'fluxtrapolation data'.")
    _check_version(body.get("schema_version"), folder)
    checksum = body.pop("sha256", None)
    try:
        manifest = Manifest.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"{path} is malformed: {error.error_count()} problems, first at "
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}. Restore it or import the store again."
        ) from None
    except DataError as error:
        raise DataError(f"{path} is malformed: {error} Restore it or import the store again.") from None
    intact = checksum == _checksum(body)
    if checksum is None or belongs_to != checksum:
        return Opened(manifest, intact, checksum, journaled=False)
    return Opened(_with_journal(folder, manifest, lines), intact, checksum, journaled=True)


def _with_journal(folder: Path, manifest: Manifest, lines: Sequence[dict[str, Any]]) -> Manifest:
    """The manifest with the towers of the journal whose files are there, whole."""
    for line in lines:
        try:
            change = Change.model_validate(line)
        except (ValidationError, DataError):
            continue  # of another version: the tower is read again
        present = {site: entry for site, entry in change.sites.items() if has_file(folder, entry)}
        manifest = change.model_copy(update={"sites": present}).apply(manifest)
    return manifest


def has_file(folder: Path, entry: SiteEntry) -> bool:
    """Whether a tower's file is there and has its size.

    After a power failure its line in the journal may be on the disk, and the file not.
    """
    try:
        return (folder / entry.file).stat().st_size == entry.bytes
    except OSError:
        return False


def _check_version(version: object, folder: Path) -> None:
    """Refuse a newer schema, however its number is written, and what is no number at all."""
    try:
        number = float(version) if isinstance(version, int | float | str) else None
    except ValueError:
        number = None
    if number is not None and number > STORE_SCHEMA_VERSION:
        raise SchemaVersionError(
            f"The store {folder} has schema version {version}; this package (schema version {STORE_SCHEMA_VERSION}) "
            "is too old to read it. Upgrade fluxtrapolation."
        )
    if type(version) is not int or version < 1:
        raise DataError(
            f"{folder / MANIFEST_NAME} is malformed: schema_version is {version!r}, not a whole number from 1. "
            "Restore it or import the store again."
        )


def warn_if_changed(folder: Path, intact: bool) -> None:
    """Warn that a manifest was changed after it was written."""
    if not intact:
        warnings.warn(
            f"{folder / MANIFEST_NAME} was changed after it was written: it does not match its own checksum. "
            f"Run 'fluxtrapolation data verify {folder}'.",
            FluxtrapolationWarning,
            stacklevel=4,
        )
