"""What a store says of itself: the manifest, the site records and the sources, as validated models."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fluxtrapolation.errors import DataError, SchemaVersionError, did_you_mean
from fluxtrapolation.schema import STORE_SCHEMA_VERSION

MANIFEST_NAME = "manifest.json"
SITE_TABLE_NAME = "sites.parquet"
STORE_FORMAT = "fluxtrapolation-store"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SiteRecord(_Strict):
    """The facts of one tower: one row of the site table.

    ``utc_offset_h`` is local standard time minus true UTC; ``first_hour`` and ``last_hour`` are STARTs of hours in
    local standard time; ``measured_hours`` counts rows with ``qc_mask == 1``.
    """

    site_id: str
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
    """A site's record with its file, and notes on everything that was inferred or left out."""

    record: SiteRecord
    file: str
    sha256: str
    bytes: int
    notes: tuple[str, ...] = ()


class Source(_Strict):
    """Where the data of a store come from and how they were read."""

    name: str
    kind: Literal["synthetic", "benchmark-csv", "fluxnet2015-zarr", "fluxnet", "merge", "table"]
    location: str
    licence: str | None = None
    citation: str | None = None
    doi: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    retrieved: datetime
    package_version: str

    def fingerprint(self) -> str:
        """Identity of the source and its options, without the time of reading."""
        facts = self.model_dump(mode="json", exclude={"retrieved"})
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


class FileEntry(_Strict):
    """A file of the store beside the site files."""

    file: str
    sha256: str
    bytes: int


class Manifest(_Strict):
    """The store's table of contents; the only authority on which sites it holds."""

    format: Literal["fluxtrapolation-store"] = "fluxtrapolation-store"
    schema_version: int = STORE_SCHEMA_VERSION
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
        """Identity of the store's content: a sha256 over schema, site records and file hashes, not over dates."""
        content = {
            "schema_version": self.schema_version,
            "resolution": self.resolution,
            "targets": self.targets,
            "covariates": self.covariates,
            "sites": {
                name: [entry.sha256, entry.record.model_dump(mode="json")] for name, entry in sorted(self.sites.items())
            },
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _checksum(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def utc_now() -> datetime:
    """The present moment in UTC, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest with its own checksum, under a temporary name first."""
    from fluxtrapolation.files import write_bytes_atomic

    body = manifest.model_dump(mode="json")
    text = json.dumps({**body, "sha256": _checksum(body)}, indent=1)
    write_bytes_atomic(folder / MANIFEST_NAME, text.encode())


def read_manifest(folder: Path) -> tuple[Manifest, bool]:
    """Read a store's manifest.

    Returns
    -------
    manifest : Manifest
    intact : bool
        Whether the manifest's own checksum agrees.

    Raises
    ------
    DataError
        If the folder or manifest is missing or malformed.
    SchemaVersionError
        If a newer version of the package wrote it.
    """
    path = folder / MANIFEST_NAME
    if not folder.exists():
        parent = folder.parent
        near = did_you_mean(folder.name, [p.name for p in parent.iterdir()]) if parent.is_dir() else ""
        raise DataError(f"There is no store at {folder}: the folder does not exist.{near} Check the path.")
    if not path.is_file():
        raise DataError(
            f"{folder} is not a store: it has no {MANIFEST_NAME}. "
            f"Make one with 'fluxtrapolation data import {folder} --out towers/' or 'data synth --out world/'."
        )
    try:
        body = json.loads(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path} is damaged: it is not JSON ({error}). Restore it or import the store again.") from None
    if not isinstance(body, dict) or body.get("format") != STORE_FORMAT:
        raise DataError(f"{path} is not the manifest of a store. Point to a folder made by 'fluxtrapolation data'.")
    version = body.get("schema_version")
    if isinstance(version, int) and version > STORE_SCHEMA_VERSION:
        raise SchemaVersionError(
            f"The store {folder} has schema version {version}; this package (schema version {STORE_SCHEMA_VERSION}) "
            "is too old to read it. Upgrade fluxtrapolation."
        )
    checksum = body.pop("sha256", None)
    try:
        manifest = Manifest.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"{path} is malformed: {error.error_count()} problems, first at "
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}. Restore it or import the store again."
        ) from None
    return manifest, checksum == _checksum(body)
