"""Predictions: one table of observed and predicted values, and who made it."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from fluxtrapolation.errors import EvaluationError, SchemaVersionError, examples
from fluxtrapolation.evaluation.intake import KNOWN, canonical_names, foreign_frame, is_parquet, need_columns
from fluxtrapolation.evaluation.published import PublishedName, parse_predictions_name
from fluxtrapolation.evaluation.sources import (
    CsvSource,
    FrameSource,
    ParquetSource,
    QuerySource,
    Source,
    is_compressed,
    one_ahead,
    read_csv,
    unreadable,
)
from fluxtrapolation.evaluation.times import NAIVE_TIME, TimeReader, naive_time
from fluxtrapolation.files import atomic_path
from fluxtrapolation.schema import DOMAIN, QC, SCENARIO_ALIASES, SITE, TIME, Y_PRED, Y_TRUE

IDENTITY_KEY = "fluxtrapolation.identity"
IDENTITY_VERSION = 1
ROW_GROUP = 262_144
"""Rows of one Parquet row group: a few sites, the unit in which files are read back."""
LARGE_CSV = 32 * 2**20
"""Bytes above which a CSV file is not held in memory but read anew for every pass over its rows."""

DomainKind = Literal["site", "site-year"]


@dataclass(frozen=True)
class Identity:
    """Who made a table of predictions. Kept in the Parquet metadata, never parsed out of a file name of ours.

    Parameters
    ----------
    scenario, target, model, selection : str
        Published scenario ids are turned into ours (``TA40`` into ``temperature``). ``selection`` is the validation
        summary by which the configuration was chosen: mean, max or discrepancy.
    seed, max_rows : int, optional
        Seed of the training, and the row limit of a quick run (None: all rows).
    profile, resolution : str
        ``paper`` or ``quick``; ``hourly`` or ``daily``.
    domain_kind : {"site", "site-year"}, optional
        What one test domain is. None: a site-year in the scenario ``temporal``, a site in any other.
    store_hash, scenario_hash, package_version : str
        What it was made from.
    config : mapping
        Hyper-parameters of the chosen configuration.
    notes : str
        Free text.
    """

    scenario: str = ""
    target: str = ""
    model: str = ""
    selection: str = ""
    seed: int | None = None
    profile: str = ""
    resolution: str = "hourly"
    package_version: str = ""
    store_hash: str = ""
    scenario_hash: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    max_rows: int | None = None
    notes: str = ""
    domain_kind: DomainKind | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "scenario", SCENARIO_ALIASES.get(self.scenario, self.scenario))
        object.__setattr__(self, "config", dict(self.config))
        if self.domain_kind not in (None, "site", "site-year"):
            raise EvaluationError(f"domain_kind is '{self.domain_kind}'; it must be 'site' or 'site-year'.")

    @property
    def domains(self) -> DomainKind:
        """What one test domain is: the given ``domain_kind``, else by the scenario's name."""
        if self.domain_kind is not None:
            return self.domain_kind
        return "site-year" if self.scenario == "temporal" else "site"

    def to_json(self) -> str:
        """The identity as one line of JSON."""
        return json.dumps({"version": IDENTITY_VERSION, **dataclasses.asdict(self)}, default=str)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        EvaluationError, SchemaVersionError
            When the text is no identity, or was written by a newer version of the package.
        """
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise EvaluationError(f"The identity of the predictions is not JSON ({error}): {text[:80]!r}") from error
        if not isinstance(found, dict):
            raise EvaluationError(f"The identity of the predictions is no mapping: {text[:80]!r}")
        version = found.pop("version", IDENTITY_VERSION)
        if not isinstance(version, int) or version > IDENTITY_VERSION:
            raise SchemaVersionError(
                f"The predictions were written in version {version} of their format; this package reads up to "
                f"{IDENTITY_VERSION}. Update fluxtrapolation."
            )
        known = {one.name for one in dataclasses.fields(cls)}
        strange = sorted(set(found) - known)
        if strange:
            raise EvaluationError(f"The identity of the predictions has unknown entries: {examples(strange)}.")
        return cls(**found)


class Predictions:
    """Observed and predicted values by site and time.

    Make one with :meth:`read`, :meth:`from_frame` or :meth:`from_arrays`.

    Parameters
    ----------
    data : polars.DataFrame or polars.LazyFrame
        Columns ``site_id`` (String), ``time`` (``Datetime("us")``, local standard time, start of the hour),
        ``y_true``, ``y_pred`` (Float32 or Float64, unit of the target), optionally ``domain`` and ``qc_mask``
        (1 = measured). A lazy frame is read when needed and, by ``evaluate``, a few sites at a time.
    identity : Identity, optional
        Who made them. With an identity the domains are derived from scenario, site and time.
    where : str
        What to call the table in messages.
    """

    def __init__(
        self, data: pl.DataFrame | pl.LazyFrame | Source, identity: Identity | None = None, *, where: str = "The table"
    ):
        self._source: Source
        if isinstance(data, pl.DataFrame):
            self._source = FrameSource(data)
        else:
            self._source = QuerySource(data) if isinstance(data, pl.LazyFrame) else data
        held = self._source.schema
        self._naive = held.get(TIME) == NAIVE_TIME
        self.schema = held if self._naive or TIME not in held else pl.Schema({**held, TIME: NAIVE_TIME})
        self.identity = identity
        self.where = where

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The whole table in memory."""
        full = self._source.collect()
        if not self._naive and TIME in full.columns:
            full = full.with_columns(naive_time(full[TIME], self.where).alias(TIME))
        self._source, self._naive = FrameSource(full), True
        return full

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self.schema.names()

    def __len__(self) -> int:
        return self._source.count()

    def __repr__(self) -> str:
        who = self.identity
        name = f"{who.target} {who.scenario} {who.model} {who.selection}".strip() if who else "without identity"
        return f"<Predictions {name}: {len(self)} rows, columns {', '.join(self.columns)}>"

    def batches(self, columns: list[str], rows: int = ROW_GROUP) -> Iterator[pl.DataFrame]:
        """Yield the named columns in pieces of about ``rows`` rows, in the order of the table.

        A file is read piece by piece, the next one while the last one is used; ``time`` comes as ``Datetime("us")``.

        Raises
        ------
        EvaluationError
            When the file cannot be read, or, after the last good piece, when times are missing, unreadable or in
            mixed zones: with their number in the whole table.
        """
        pieces = self._timed(columns, rows)
        yield from pieces if isinstance(self._source, FrameSource) else one_ahead(pieces)

    def _timed(self, columns: list[str], rows: int) -> Iterator[pl.DataFrame]:
        reader = TimeReader(self.where)
        for piece in self._source.pieces(columns, rows):
            if TIME not in columns:
                yield piece
                continue
            found = reader.read(piece[TIME])
            # After a bad piece the others are only counted.
            if reader.good:
                yield piece if self._naive else piece.with_columns(found.alias(TIME))
        reader.refuse_bad_times()

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Open predictions: our Parquet, the published CSV, or any Parquet or CSV table.

        The identity comes from the Parquet metadata. For a file named like the published submissions,
        ``{scenario id}_{target}_{model}_val_{selection}_predictions.csv``, it comes from the name; anything else has
        none. Parquet is known by its first bytes too, whatever the file is called. Parquet and large CSV files are
        opened lazily: their rows are read, and checked, when they are needed.

        Raises
        ------
        EvaluationError, MissingColumnError
            When the file is absent, empty, no table, or lacks ``y_true``, ``y_pred`` or ``time``.
        """
        file = Path(path)
        if not file.is_file():
            what = "is a folder, not a file" if file.is_dir() else "does not exist"
            raise EvaluationError(f"{file} {what}. Give a Parquet or CSV file of predictions.")
        if file.stat().st_size == 0:
            raise EvaluationError(f"{file} is empty.")
        if file.suffix.lower() in (".parquet", ".pq") or is_parquet(file):
            lazy, identity = _open_parquet(file)
            source = ParquetSource(file, _typed(lazy, file.name))
            return cls(source, identity or _identity_of_name(file), where=file.name)
        return cls(_open_csv(file), _identity_of_name(file), where=file.name)

    @classmethod
    def from_frame(cls, frame: Any, identity: Identity | None = None, *, where: str = "The table") -> Self:
        """Take any table: polars, pandas, a mapping of columns, or an object with ``__arrow_c_stream__``.

        Columns ``time, y_true, y_pred`` and one of ``site_id`` and ``domain``; ``qc_mask`` optional. The aliases of
        the schema are understood (``env`` is ``domain``, ``site`` is ``site_id``).
        """
        return cls(_in_memory(foreign_frame(frame), where), identity, where=where)

    @classmethod
    def from_arrays(
        cls,
        *,
        site: npt.ArrayLike,
        time: npt.ArrayLike,
        y_true: npt.ArrayLike,
        y_pred: npt.ArrayLike,
        domain: npt.ArrayLike | None = None,
        qc_mask: npt.ArrayLike | None = None,
        identity: Identity | None = None,
    ) -> Self:
        """Make predictions from one-dimensional arrays of equal length.

        Raises
        ------
        EvaluationError
            When the arrays are not one-dimensional or differ in length.
        """
        given = {SITE: site, TIME: time, DOMAIN: domain, Y_TRUE: y_true, Y_PRED: y_pred, QC: qc_mask}
        arrays = {
            name: values if isinstance(values, pl.Series) else np.asarray(values)
            for name, values in given.items()
            if values is not None
        }
        shapes = {name: values.shape for name, values in arrays.items()}
        if any(len(shape) != 1 for shape in shapes.values()) or len(set(shapes.values())) > 1:
            listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
            raise EvaluationError(f"The arrays must be one-dimensional and of equal length; they are {listed}.")
        return cls(_in_memory(foreign_frame(arrays), "The arrays"), identity, where="The arrays")

    def write(self, path: str | Path) -> Path:
        """Write Parquet (zstd) with the identity in its metadata, under a temporary name first."""
        file = Path(path)
        metadata = {} if self.identity is None else {IDENTITY_KEY: self.identity.to_json()}
        with atomic_path(file) as temporary:
            buffer = io.BytesIO()  # written by Python, whose errors on a full disk are plain
            self.frame.write_parquet(buffer, row_group_size=ROW_GROUP, metadata=metadata)
            temporary.write_bytes(buffer.getbuffer())
        return file


def _open_parquet(file: Path) -> tuple[pl.LazyFrame, Identity | None]:
    try:
        metadata = pl.read_parquet_metadata(file)
        lazy = pl.scan_parquet(file, glob=False)
        lazy.collect_schema()
    except (pl.exceptions.ComputeError, OSError) as error:
        raise EvaluationError(f"{file} is not a Parquet file that can be read ({error}).") from error
    text = metadata.get(IDENTITY_KEY)
    return lazy, None if text is None else Identity.from_json(text)


def _open_csv(file: Path) -> pl.DataFrame | CsvSource:
    with file.open("rb") as handle:
        header = handle.readline(2**20)
        start = (header + handle.read(200))[:200].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise EvaluationError(f"{file} is a web page, not a table: the download failed. Fetch it again.")
    try:
        columns = pl.read_csv(file, n_rows=0, glob=False).columns
        names = canonical_names(columns, file.name)
        known = {names.get(name, name): name for name in columns if names.get(name, name) in KNOWN}
        need_columns([names.get(name, name) for name in columns], (TIME, Y_TRUE, Y_PRED), file.name)
        kinds: dict[str, Any] = {
            known[name]: pl.Float64 if name in (Y_TRUE, Y_PRED) else pl.String for name in known if name != QC
        }
        large = file.stat().st_size > LARGE_CSV and not is_compressed(start) and header.count(b'"') % 2 == 0
        if not large:
            return _in_memory(read_csv(file, list(known.values()), kinds), file.name)
    except pl.exceptions.PolarsError as error:
        raise EvaluationError(unreadable(file, "CSV", error)) from error
    if QC in known:
        kinds[known[QC]] = pl.Float64
    source = CsvSource(file, header, known, kinds)
    _need_shape(source.schema, file.name)
    return source


def _identity_of_name(file: Path) -> Identity | None:
    name: PublishedName | None = parse_predictions_name(file.name)
    if name is None:
        return None
    return Identity(name.scenario, name.target, name.model, name.selection, notes="identity parsed from the file name")


def _in_memory(frame: pl.DataFrame, where: str) -> pl.DataFrame:
    """Give a frame the schema's names and types."""
    typed = _typed(frame.lazy(), where).collect()
    if typed.schema[TIME] == NAIVE_TIME:
        return typed
    return typed.with_columns(naive_time(typed[TIME], where).alias(TIME))


def _typed(frame: pl.LazyFrame, where: str) -> pl.LazyFrame:
    """Give a table the schema's names, and types that can be reckoned with; the times stay as they are."""
    frame = frame.rename(canonical_names(frame.collect_schema().names(), where))
    schema = frame.collect_schema()
    _need_shape(schema, where)
    for name in (Y_TRUE, Y_PRED):
        if not schema[name].is_numeric() and schema[name] != pl.Null:
            raise EvaluationError(f"{where}: the column '{name}' holds {schema[name]}, not numbers.")
    casts = [pl.col(name).cast(pl.Float64) for name in (Y_TRUE, Y_PRED) if not schema[name].is_float()]
    text = (pl.String, pl.Categorical, pl.Enum)
    casts += [pl.col(name).cast(pl.String) for name in (SITE, DOMAIN) if name in schema and schema[name] not in text]
    if QC in schema and not schema[QC].is_numeric():
        # What is no number becomes null, and is refused as a flag that is neither 0 nor 1 when flags are needed.
        casts.append(pl.col(QC).cast(pl.Int8 if schema[QC] == pl.Boolean else pl.Float64, strict=False))
    return frame.with_columns(casts)


def _need_shape(schema: pl.Schema, where: str) -> None:
    need_columns(schema, (TIME, Y_TRUE, Y_PRED), where)
    if SITE not in schema and DOMAIN not in schema:
        need_columns(schema, (SITE,), where)
