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
from fluxtrapolation.evaluation.intake import (
    KNOWN,
    NAIVE_TIME,
    canonical_names,
    foreign_frame,
    is_parquet,
    naive_time,
    need_columns,
    readable,
)
from fluxtrapolation.evaluation.published import PublishedName, parse_predictions_name
from fluxtrapolation.files import atomic_path
from fluxtrapolation.schema import DOMAIN, QC, SCENARIO_ALIASES, SITE, TIME, Y_PRED, Y_TRUE

IDENTITY_KEY = "fluxtrapolation.identity"
IDENTITY_VERSION = 1
ROW_GROUP = 262_144
"""Rows of one Parquet row group: a few sites, the unit in which files are read back."""

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
        self, data: pl.DataFrame | pl.LazyFrame, identity: Identity | None = None, *, where: str = "The table"
    ):
        self._lazy = data.lazy()
        self.schema = self._lazy.collect_schema()
        self.identity = identity
        self.where = where
        if isinstance(data, pl.DataFrame):
            self.__dict__["frame"] = data

    @cached_property
    def frame(self) -> pl.DataFrame:
        """The whole table in memory."""
        return self._lazy.collect()

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self.schema.names()

    def __len__(self) -> int:
        if "frame" in self.__dict__:
            return self.frame.height
        return int(self._lazy.select(pl.len()).collect().item())

    def __repr__(self) -> str:
        who = self.identity
        name = f"{who.target} {who.scenario} {who.model} {who.selection}".strip() if who else "without identity"
        return f"<Predictions {name}: {len(self)} rows, columns {', '.join(self.columns)}>"

    def batches(self, columns: list[str], rows: int = ROW_GROUP) -> Iterator[pl.DataFrame]:
        """Yield the named columns in pieces of about ``rows`` rows, in the order of the table."""
        if "frame" in self.__dict__:
            yield from self.frame.select(columns).iter_slices(rows)
        elif hasattr(self._lazy, "collect_batches"):
            yield from self._lazy.select(columns).collect_batches(chunk_size=rows, maintain_order=True)
        else:
            yield from self._lazy.select(columns).collect().iter_slices(rows)

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Open predictions: our Parquet, the published CSV, or any Parquet or CSV table.

        The identity comes from the Parquet metadata. For a file named like the published submissions,
        ``{scenario id}_{target}_{model}_val_{selection}_predictions.csv``, it comes from the name; anything else has
        none. Parquet is known by its first bytes too, whatever the file is called; with the schema's column types it is
        opened lazily.

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
            return cls(_shaped(lazy, file.name), identity or _identity_of_name(file), where=file.name)
        return cls(_shaped(_open_csv(file), file.name), _identity_of_name(file), where=file.name)

    @classmethod
    def from_frame(cls, frame: Any, identity: Identity | None = None, *, where: str = "The table") -> Self:
        """Take any table: polars, pandas, a mapping of columns, or an object with ``__arrow_c_stream__``.

        Columns ``time, y_true, y_pred`` and one of ``site_id`` and ``domain``; ``qc_mask`` optional. The aliases of
        the schema are understood (``env`` is ``domain``, ``site`` is ``site_id``).
        """
        return cls(_shaped(foreign_frame(frame), where), identity, where=where)

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
        return cls(_shaped(foreign_frame(arrays), "The arrays"), identity, where="The arrays")

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


def _open_csv(file: Path) -> pl.DataFrame:
    with file.open("rb") as handle:
        start = handle.read(200).lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise EvaluationError(f"{file} is a web page, not a table: the download failed. Fetch it again.")
    try:
        header = pl.read_csv(file, n_rows=0, glob=False)
        names = canonical_names(header.columns, file.name)
        known = {names.get(name, name): name for name in header.columns}
        need_columns(known, (TIME, Y_TRUE, Y_PRED), file.name)
        kinds: dict[str, Any] = {
            known[name]: kind
            for name, kind in ((SITE, pl.String), (DOMAIN, pl.String), (TIME, pl.String), (Y_TRUE, pl.Float64))
            if name in known
        } | {known[Y_PRED]: pl.Float64}
        keep = [name for name in header.columns if names.get(name, name) in KNOWN]
        return pl.read_csv(
            file,
            columns=keep,
            schema_overrides=kinds,
            null_values=["", "NA", "NaN", "nan", "null", "None"],
            glob=False,
        )
    except (pl.exceptions.ComputeError, pl.exceptions.NoDataError) as error:
        reason = readable(str(error).splitlines()[0], limit=200)
        raise EvaluationError(f"{file} cannot be read as a CSV table of predictions: {reason}") from error


def _identity_of_name(file: Path) -> Identity | None:
    name: PublishedName | None = parse_predictions_name(file.name)
    if name is None:
        return None
    return Identity(name.scenario, name.target, name.model, name.selection, notes="identity parsed from the file name")


def _shaped(frame: pl.DataFrame | pl.LazyFrame, where: str) -> pl.DataFrame | pl.LazyFrame:
    """Give a table the schema's names and types; stay lazy when the types are right already."""
    names = canonical_names(frame.collect_schema().names(), where)
    frame = frame.rename(names)
    schema = frame.collect_schema()
    need_columns(schema, (TIME, Y_TRUE, Y_PRED), where)
    if SITE not in schema and DOMAIN not in schema:
        need_columns(schema, (SITE,), where)
    for name in (Y_TRUE, Y_PRED):
        if not schema[name].is_numeric() and schema[name] != pl.Null:
            raise EvaluationError(f"{where}: the column '{name}' holds {schema[name]}, not numbers.")
    casts = [pl.col(name).cast(pl.Float64) for name in (Y_TRUE, Y_PRED) if not schema[name].is_float()]
    text = (pl.String, pl.Categorical, pl.Enum)
    casts += [pl.col(name).cast(pl.String) for name in (SITE, DOMAIN) if name in schema and schema[name] not in text]
    if QC in schema and schema[QC] != pl.Int8:
        casts.append(pl.col(QC).cast(pl.Int8))
    frame = frame.with_columns(casts)
    if schema[TIME] == NAIVE_TIME:
        return frame
    full = frame.collect() if isinstance(frame, pl.LazyFrame) else frame
    return full.with_columns(naive_time(full[TIME], where).alias(TIME))
