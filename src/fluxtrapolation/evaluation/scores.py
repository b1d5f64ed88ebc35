"""Scores: one tidy table of metrics, from which every summary, table and figure follows."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, Literal, Self

import polars as pl

from fluxtrapolation.errors import EvaluationError, MissingColumnError, SchemaVersionError, examples
from fluxtrapolation.evaluation.comparable import HASHES, RUN, need_one_published_run, telling_apart
from fluxtrapolation.evaluation.intake import is_parquet, readable
from fluxtrapolation.evaluation.metrics import PUBLISHED
from fluxtrapolation.evaluation.predictions import Identity
from fluxtrapolation.evaluation.published import SITE_YEAR, parse_stem
from fluxtrapolation.evaluation.scales import PUBLISHED_THRESHOLDS
from fluxtrapolation.files import atomic_path
from fluxtrapolation.schema import (
    PUBLISHED_SCALE,
    PUBLISHED_SCENARIO,
    SCALE_ALIASES,
    SCALES,
    SCENARIO_ALIASES,
    SCENARIOS,
)

SCORES_KEY: Final = "fluxtrapolation.scores"
SCORES_VERSION: Final = 1
_BEFORE: Final[dict[str, Any]] = {
    **dict.fromkeys(RUN, pl.String),
    "scale": pl.String,
    "domain": pl.String,
    "site_id": pl.String,
    "year": pl.Int32,
    "n_samples": pl.Int64,
}
_AFTER: Final[dict[str, Any]] = {
    "reason": pl.String,
    "protocol": pl.String,
    "thresholds": pl.String,
    "profile": pl.String,
    "max_rows": pl.Int64,
    "seed": pl.Int64,
    **dict.fromkeys(HASHES, pl.String),
}
_PUBLISHED_NAMES: Final = {"scenario": "setting", "domain": "env"}

Columns = Literal["own", "published"]


class Scores:
    """Metrics of one or more runs, one row per (target, scenario, model, selection, scale, domain).

    Columns of ``frame``: ``target, scenario, model, selection, scale, domain, site_id, year, n_samples``, the metrics,
    ``reason, protocol, thresholds, profile, max_rows, seed, scenario_hash, store_hash``. ``domain`` is a site, a
    site-year as ``AU-ASM 2019`` (then ``year`` is set), or a label of the user's own column. Undefined metrics are
    null; ``reason`` says why, more than one separated by semicolons. The hashes say which test set was scored; they
    are null for bare tables and published files.

    Parameters
    ----------
    frame : polars.DataFrame
        As above; missing columns of the runs are added as null.
    meta : mapping, optional
        ``package_version`` and, under ``runs``, what is known of every run.

    Raises
    ------
    EvaluationError
        When rows of different protocols or thresholds are together.
    """

    def __init__(self, frame: pl.DataFrame, meta: dict[str, Any] | None = None):
        missing = [name for name in ("scale", "domain", "n_samples") if name not in frame.columns]
        if missing:
            raise MissingColumnError(f"The scores lack the columns {', '.join(missing)}; they have {frame.columns}.")
        middle = [name for name in frame.columns if name not in _BEFORE and name not in _AFTER]
        typed = [
            (pl.col(name).cast(kind) if name in frame.columns else pl.lit(None, dtype=kind)).alias(name)
            for name, kind in {**_BEFORE, **_AFTER}.items()
        ]
        self.frame = frame.with_columns(typed).select(*_BEFORE, *middle, *_AFTER)
        self.meta: dict[str, Any] = {"package_version": package_version(), "runs": []} if meta is None else meta
        _one_protocol(self.frame)

    @classmethod
    def of_run(cls, frame: pl.DataFrame, who: Identity, *, protocol: str, thresholds: str, how: dict[str, Any]) -> Self:
        """Scores of one run: its rows, with the names of the run put before them."""
        named = frame.with_columns(
            *(pl.lit(getattr(who, name) or None, dtype=pl.String).alias(name) for name in RUN),
            pl.lit(protocol).alias("protocol"),
            pl.lit(thresholds).alias("thresholds"),
            pl.lit(who.profile or None, dtype=pl.String).alias("profile"),
            pl.lit(who.max_rows, dtype=pl.Int64).alias("max_rows"),
            pl.lit(who.seed, dtype=pl.Int64).alias("seed"),
            *(pl.lit(getattr(who, name) or None, dtype=pl.String).alias(name) for name in HASHES),
        )
        run = {**dataclasses.asdict(who), **how, "protocol": protocol, "thresholds": thresholds}
        return cls(named, {"package_version": package_version(), "runs": [run]})

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the metrics in the table."""
        return tuple(name for name in self.frame.columns if name not in _BEFORE and name not in _AFTER)

    @property
    def protocol(self) -> str | None:
        """``paper`` or ``measured``; None for an empty table."""
        return self.frame["protocol"][0] if self.frame.height else None

    def __len__(self) -> int:
        return self.frame.height

    def overview(self) -> pl.DataFrame:
        """RMSE by run and scale: ``target, scenario, model, selection, scale, domains, median, q90``.

        Median and 90th percentile (linear interpolation) over the domains with a value, in the target's unit; null
        where no domain has one. Empty where the scores hold no RMSE. Where runs of one name differ in profile, seed,
        scenario or store, those columns come after ``scale``.
        """
        if "rmse" not in self.frame.columns:
            return pl.DataFrame()
        return self.frame.group_by([*RUN, "scale", *telling_apart(self.frame)], maintain_order=True).agg(
            pl.col("rmse").count().cast(pl.Int64).alias("domains"),
            pl.col("rmse").median().alias("median"),
            pl.col("rmse").quantile(0.9, "linear").alias("q90"),
        )

    def __repr__(self) -> str:
        runs = self.frame.select(RUN).unique().height
        head = f"<Scores, protocol {self.protocol}: {runs} runs, {self.frame.height} rows (.frame); RMSE by scale:>"
        table = self.overview()
        empty = [name for name in RUN if name in table.columns and table[name].null_count() == table.height]
        with pl.Config(tbl_rows=24, tbl_hide_dataframe_shape=True, tbl_hide_column_data_types=True):
            return f"{head}\n{table.drop(empty) if table.height else self.frame}"

    @classmethod
    def concat(cls, parts: Iterable[Scores]) -> Self:
        """One table of several.

        Raises
        ------
        EvaluationError
            When there is none, or their protocols or thresholds differ.
        """
        every = list(parts)
        if not every:
            raise EvaluationError("There are no scores to put together.")
        runs = [run for part in every for run in part.meta.get("runs", [])]
        frame = pl.concat([part.frame for part in every], how="diagonal")
        return cls(frame, {"package_version": package_version(), "runs": runs})

    def where(self, **wanted: str | int | Sequence[str] | None) -> Scores:
        """The rows with the given values: ``scores.where(target="GPP", model=["lr", "xgb"])``."""
        frame = self.frame
        for name, value in wanted.items():
            if name not in frame.columns:
                raise MissingColumnError(f"The scores have no column '{name}'; they have {', '.join(frame.columns)}.")
            several = not isinstance(value, str | int) and value is not None
            column = pl.col(name)
            frame = frame.filter(column.is_in(list(value)) if several else column.eq_missing(value))  # type: ignore[arg-type]
        return Scores(frame, self.meta)

    def published(self) -> pl.DataFrame:
        """The table with the published columns and labels.

        ``target,setting,model,scale,env,n_samples,mse,...``, scenarios by their published ids, ``spatial`` for the
        site mean, a site-year as ``('AU-ASM', 2019)``.

        Raises
        ------
        EvaluationError
            When a (target, scenario, model) has several selections, profiles or seeds: these columns do not hold them.
        """
        need_one_published_run(self.frame)
        year = pl.col("year")
        label = pl.when(year.is_not_null()).then(pl.format("('{}', {})", "site_id", year)).otherwise(pl.col("domain"))
        return self.frame.select(
            "target",
            pl.col("scenario").replace(PUBLISHED_SCENARIO).alias("setting"),
            "model",
            pl.col("scale").replace(PUBLISHED_SCALE),
            label.alias("env"),
            "n_samples",
            *self.metrics,
        )

    def write(self, path: str | Path, *, columns: Columns = "own") -> Path:
        """Write Parquet (with all metadata) or CSV, under a temporary name first.

        Parameters
        ----------
        path : path
            Ends in ``.parquet`` or ``.csv``.
        columns : {"own", "published"}
            ``published`` writes the columns of the public board (see :meth:`published`); CSV only.
        """
        file = Path(path)
        kind = file.suffix.lower()
        if columns not in ("own", "published"):
            raise EvaluationError(f"columns is '{columns}'; choose 'own' or 'published'.")
        if kind not in (".parquet", ".csv"):
            raise EvaluationError(f"{file} must end in .parquet or .csv.")
        if columns == "published" and kind != ".csv":
            raise EvaluationError(f"The published columns are written as CSV; {file.name} must end in .csv.")
        if columns == "published" and self.protocol not in (None, "paper"):
            raise EvaluationError(
                f"The published columns do not say the protocol; scores of '{self.protocol}' would pass for 'paper'. "
                "Write them with columns='own'."
            )
        with atomic_path(file) as temporary:
            if kind == ".csv":
                (self.published() if columns == "published" else self.frame).write_csv(temporary)
            else:
                runs = [
                    {key: value for key, value in run.items() if key != "file"} for run in self.meta.get("runs", [])
                ]
                text = json.dumps({"version": SCORES_VERSION, **self.meta, "runs": runs}, default=str)
                buffer = io.BytesIO()  # written by Python, whose errors on a full disk are plain
                self.frame.write_parquet(buffer, metadata={SCORES_KEY: text})
                temporary.write_bytes(buffer.getbuffer())
        return file

    @classmethod
    def read(cls, *paths: str | Path) -> Self:
        """Read scores of ours (Parquet, CSV) and published metric files; folders are searched recursively.

        A published file is ``{scenario id}_{target}_{model}_val_{selection}.csv``: the selection is read from the
        name, because the file does not hold it.

        Raises
        ------
        EvaluationError
            When a file is no table of scores, or a folder holds none.
        """
        parts = [part for path in paths for part in _read_place(Path(path))]
        if len(parts) == 1:
            return cls(parts[0].frame, parts[0].meta)
        return cls.concat(parts)


def package_version() -> str:
    """Version of the installed package."""
    try:
        return version("fluxtrapolation")
    except PackageNotFoundError:
        return "unknown"


def as_scores(scores: Scores | pl.DataFrame) -> Scores:
    """Scores of scores, or of their bare table."""
    return scores if isinstance(scores, Scores) else Scores(scores)


def _one_protocol(frame: pl.DataFrame) -> None:
    for name in ("protocol", "thresholds"):
        kinds = frame.filter(pl.col(name).is_not_null())[name].unique().sort().to_list()
        if len(kinds) > 1:
            raise EvaluationError(
                f"Scores with different {name.rstrip('s')}s must not share a table: {', '.join(kinds)}. Evaluate all "
                "predictions the same way, or keep the tables apart."
            )


def _read_place(place: Path) -> list[Scores]:
    if not place.exists():
        raise EvaluationError(f"{place} does not exist. Give a file or folder of scores.")
    if place.is_file():
        found = _read_file(place, must=True)
        return [] if found is None else [found]
    files = sorted(file for kind in ("*.csv", "*.parquet") for file in place.rglob(kind))
    parts = [part for file in files if (part := _read_file(file, must=False)) is not None]
    if not parts:
        raise EvaluationError(
            f"The folder {place} holds no scores: {len(files)} CSV and Parquet files, none with the columns scale, "
            "env or domain, and n_samples."
        )
    return parts


def _read_file(file: Path, *, must: bool) -> Scores | None:
    """Scores of a file; None for another table, unless it ``must`` hold scores."""
    parquet = file.suffix.lower() == ".parquet" or is_parquet(file)
    try:
        table = pl.scan_parquet(file, glob=False) if parquet else pl.read_csv(file, n_rows=0, glob=False)
        names = table.collect_schema()
    except (pl.exceptions.ComputeError, pl.exceptions.NoDataError, OSError) as error:
        reason = readable(str(error).splitlines()[0], limit=200)
        raise EvaluationError(f"{file} cannot be read as a table of scores: {reason}") from error
    if "scale" not in names or "n_samples" not in names or not ({"env", "domain"} & set(names)):
        if must:
            raise EvaluationError(
                f"{file} holds no scores: it lacks the columns scale, n_samples and env or domain; it has "
                f"{examples((readable(name) for name in names), limit=8)}."
            )
        return None
    if parquet:
        return _of_file(_read_parquet(file), file)
    frame = pl.read_csv(file, schema_overrides=_csv_types(list(names)), null_values=["", "NaN", "nan"], glob=False)
    return _of_file(_of_published(frame, file) if "env" in names else Scores(frame), file)


def _of_file(scores: Scores, file: Path) -> Scores:
    """Remember with every run the file it was read from, so that a message can name it; it is not written again."""
    known = scores.meta.get("runs") or scores.frame.select(*RUN, *HASHES).unique(maintain_order=True).to_dicts()
    return Scores(scores.frame, {**scores.meta, "runs": [{**run, "file": str(file)} for run in known]})


def _csv_types(names: list[str]) -> dict[str, Any]:
    known = {**_BEFORE, **_AFTER, "setting": pl.String, "env": pl.String, "val_strategy": pl.String}
    return {name: known.get(name, pl.Float64) for name in names}


def _read_parquet(file: Path) -> Scores:
    text = pl.read_parquet_metadata(file).get(SCORES_KEY)
    meta = None if text is None else json.loads(text)
    if meta is not None and meta.pop("version", SCORES_VERSION) > SCORES_VERSION:
        raise SchemaVersionError(f"{file} was written by a newer version of the package. Update fluxtrapolation.")
    return Scores(pl.read_parquet(file, glob=False), meta)


def _of_published(frame: pl.DataFrame, file: Path) -> Scores:
    """A published metric file: our names for scenario, scale and site-years, the selection from the file name."""
    name = parse_stem(file.stem)
    frame = frame.rename({old: new for new, old in _PUBLISHED_NAMES.items() if old in frame.columns})
    if "val_strategy" in frame.columns:
        frame = frame.rename({"val_strategy": "selection"})
    for column in RUN:
        if column not in frame.columns:
            frame = frame.with_columns(pl.lit(getattr(name, column, None), dtype=pl.String).alias(column))
    site = pl.col("domain").str.extract(SITE_YEAR, 1)
    year = pl.col("domain").str.extract(SITE_YEAR, 2)
    frame = frame.with_columns(
        pl.col("scenario").replace(SCENARIO_ALIASES),
        pl.col("scale").replace(SCALE_ALIASES),
        pl.coalesce(site, "domain").alias("site_id"),
        year.cast(pl.Int32).alias("year"),
        pl.coalesce(pl.format("{} {}", site, year), "domain").alias("domain"),
        *(pl.col(one).fill_nan(None) for one in PUBLISHED if one in frame.columns),
        pl.lit("paper").alias("protocol"),
        pl.lit(PUBLISHED_THRESHOLDS.short()).alias("thresholds"),
    )
    how = {"where": file.name, "notes": "published metric file", "protocol": "paper"}
    runs = [{**run, **how} for run in frame.select(RUN).unique(maintain_order=True).to_dicts()]
    return Scores(frame, {"package_version": package_version(), "runs": runs})


def board_order() -> list[pl.Expr]:
    """Sort keys for rows of runs: scenarios and scales in the board's order, others after them by name."""
    return [
        pl.col("target"),
        pl.col("scenario").replace_strict(list(SCENARIOS), list(range(len(SCENARIOS))), default=len(SCENARIOS)),
        pl.col("scenario"),
        pl.col("scale").replace_strict(list(SCALES), list(range(len(SCALES))), default=len(SCALES)),
        pl.col("model"),
        pl.col("selection"),
    ]
