"""``SOURCES.json`` beside exported CSV files: what their columns cannot say of the towers and their sources."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from fluxtrapolation.data.manifest import SiteRecord, Source
from fluxtrapolation.data.reading import reading
from fluxtrapolation.errors import DataError
from fluxtrapolation.files import write_bytes_atomic

SOURCES_NAME: Final = "SOURCES.json"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Origin(_Strict):
    """A source of the exported store: what must be cited."""

    name: str
    licence: str | None = None
    citation: str | None = None
    doi: str | None = None


class TowerFacts(_Strict):
    """Facts of one tower that its CSV file does not hold."""

    name: str | None = None
    network: str | None = None
    mat_c: float | None = None
    map_mm: float | None = None
    utc_offset_h: float
    native_step_min: int
    licence: str | None = None
    source: str


class Sources(_Strict):
    """The content of ``SOURCES.json``."""

    format: Literal["fluxtrapolation-csv-sources"] = "fluxtrapolation-csv-sources"
    version: Literal[1] = 1
    sources: tuple[Origin, ...]
    sites: dict[str, TowerFacts]


def read_sources(folder: Path) -> Sources | None:
    """Read ``SOURCES.json`` of a folder, None if it has none.

    Raises
    ------
    DataError
        If the file is damaged or of another kind.
    """
    path = folder / SOURCES_NAME
    with reading(path):
        if not path.exists():
            return None
        content = path.read_bytes()
    try:
        return Sources.model_validate(json.loads(content))
    except ValueError as error:
        told = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise DataError(
            f"{path} is not what 'data export' writes ({told}). Export again, or remove it: licence and citation are "
            "then not known."
        ) from None


def write_sources(folder: Path, sources: Iterable[Source], records: Iterable[SiteRecord]) -> None:
    """Write ``SOURCES.json``; towers that an earlier export left in the folder keep their facts and sources."""
    origins = [Origin(**source.model_dump(include=set(Origin.model_fields))) for source in sources]
    sites = {r.site_id: TowerFacts(**r.model_dump(include=set(TowerFacts.model_fields))) for r in records}
    earlier = read_sources(folder)
    kept = {} if earlier is None else {name: facts for name, facts in earlier.sites.items() if name not in sites}
    if earlier is not None and kept:
        origins = [*(origin for origin in earlier.sources if origin not in origins), *origins]
    content = Sources(sources=tuple(origins), sites=dict(sorted({**kept, **sites}.items())))
    write_bytes_atomic(folder / SOURCES_NAME, json.dumps(content.model_dump(mode="json"), indent=1).encode())
