"""The benchmark's own files: one ``{site}.csv`` per tower (BENCHMARK, section 1), in and out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation import __version__
from fluxtrapolation.data.checks import check_site_facts
from fluxtrapolation.data.manifest import SiteRecord, Source, utc_now
from fluxtrapolation.data.sites import SiteFacts, load_sites, merge_facts, read_sites_table
from fluxtrapolation.data.solar import potential_radiation
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError, FluxtrapolationError, MissingColumnError, examples
from fluxtrapolation.files import atomic_path, sha256_of
from fluxtrapolation.schema import (
    COVARIATES,
    IGBP,
    PFT_PREFIX,
    QC,
    TARGETS,
    TIME,
    canonical_column,
    pft_column,
)

Progress = Callable[[str, int, int], None]
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
_TRUE = ("true", "1", "1.0", "t", "yes")
_FALSE = ("false", "0", "0.0", "f", "no", "")


def import_benchmark_csv(
    source: str | Path,
    out: str | Path,
    *,
    sites: Sequence[str] | None = None,
    sites_table: str | Path | None = None,
    overwrite: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Store:
    """Read a folder of ``{site}.csv`` files into a store.

    Parameters
    ----------
    source : path
        Folder with one file per tower; the file's name is the site id.
    out : path
        Folder of the store.
    sites : sequence of str, optional
        Only these towers.
    sites_table : path, optional
        Coordinates, IGBP and names; its gaps are filled from the packaged table. ``tower_lat``, ``tower_lon`` and the
        ``PFT_*`` columns of a file win over both.
    overwrite : bool
        Replace a store made otherwise.
    jobs : int, optional
        Files read at once; defaults to the number of cores, at most 4.
    progress : callable, optional
        Called with (site, done, total).

    Returns
    -------
    Store
        With every readable tower. Towers that could not be read stand in ``manifest.failures`` with the reason.

    Raises
    ------
    DataError
        If the folder is missing, holds no CSV file, or no tower could be read.
    """
    folder = Path(source)
    files = _site_files(folder, sites)
    table: Mapping[str, SiteFacts] = load_sites()
    if sites_table is not None:
        table = merge_facts(read_sites_table(sites_table), table)
    headers: dict[str, list[str]] = {}
    failures: dict[str, str] = {}
    for site, path in files.items():
        try:
            headers[site] = _header(path)
        except DataError as error:
            failures[site] = str(error)
    if not headers:
        raise DataError("\n".join(failures.values()))
    targets, covariates = _held(headers)
    writer = StoreWriter(
        out,
        targets=targets,
        covariates=covariates,
        source=Source(
            name="FLUXtrapolation benchmark files",
            kind="benchmark-csv",
            location=str(folder.resolve()),
            citation=(
                "Fries, Nelson, Jung, Reichstein, Peters (2026). FLUXtrapolation: A benchmark on extrapolating "
                "ecosystem fluxes. arXiv 2605.19812."
            ),
            options={
                "time": "taken as it is; utc_offset_h estimated from SW_IN_POT_hourly",
                "sites_table_sha256": None if sites_table is None else sha256_of(Path(sites_table)),
            },
            retrieved=utc_now(),
            package_version=__version__,
        ),
        overwrite=overwrite,
    )
    todo = [site for site in headers if site not in writer.done]

    def one(site: str) -> None:
        try:
            record, frame, notes = _read_site(files[site], site, headers[site], targets, covariates, table.get(site))
            writer.add(record, frame, notes=notes)
        except FluxtrapolationError as error:
            if "disk is full" in str(error):
                raise
            failures[site] = str(error)

    done = len(headers) - len(todo)
    with ThreadPoolExecutor(jobs or min(os.cpu_count() or 1, 4)) as pool:
        for site, _ in zip(todo, pool.map(one, todo), strict=True):
            done += 1
            if progress is not None:
                progress(site, done, len(files))
    if not writer.done:
        writer.discard()
        raise DataError("\n".join(failures.values()))
    for site, reason in failures.items():
        writer.fail(site, reason)
    return writer.finish()


def export_benchmark_csv(
    store: Store, out: str | Path, *, sites: Sequence[str] | None = None, progress: Progress | None = None
) -> Path:
    """Write a store as benchmark files, one ``{site}.csv`` per tower; reading them back gives equal values.

    Columns: ``time``, covariates, targets, ``PFT_*`` (True/False) for the classes of the store, ``year``, ``qc_mask``,
    ``tower_lat``, ``tower_lon``. A missing target is an empty field.
    """
    folder = Path(out)
    names = store.site_ids if sites is None else tuple(sites)
    for done, (record, frame) in enumerate(store.iter_sites(names), start=1):
        table = frame.with_columns(
            *(pl.lit(name == record.igbp).alias(pft_column(name)) for name in store.igbp_classes),
            pl.col(TIME).dt.year().alias("year"),
            pl.lit(record.lat).alias("tower_lat"),
            pl.lit(record.lon).alias("tower_lon"),
        )
        flags = [pft_column(name) for name in store.igbp_classes]
        table = table.with_columns(
            pl.when(pl.col(name)).then(pl.lit("True")).otherwise(pl.lit("False")).alias(name) for name in flags
        ).select(TIME, *store.covariates, *store.targets, *flags, "year", QC, "tower_lat", "tower_lon")
        with atomic_path(folder / f"{record.site_id}.csv") as temporary:
            table.write_csv(temporary, datetime_format=TIME_FORMAT)
        if progress is not None:
            progress(record.site_id, done, len(names))
    return folder


def estimate_utc_offset(
    time: NDArray[np.datetime64], radiation: NDArray[np.floating], *, lat: float, lon: float
) -> tuple[float, float]:
    """UTC offset at which computed potential radiation fits best.

    Parameters
    ----------
    time : ndarray of datetime64, shape (n,)
        START of each hour as stamped in the file.
    radiation : ndarray, shape (n,)
        Potential radiation given there, W m-2.
    lat, lon : float

    Returns
    -------
    offset_h : float
        Stamped time minus true UTC in hours, a multiple of 0.25.
    rmse : float
        What remains at that offset, W m-2.
    """
    step = max(1, len(time) // 1500)
    # An odd step, so that a sample of a long series meets every hour of the day.
    rows = slice(None, None, step + (step % 2 == 0) if step > 1 else 1)
    stamps, given = time[rows], np.asarray(radiation[rows], dtype=np.float64)

    def misfit(offset: float) -> float:
        utc = stamps.astype("datetime64[s]") - np.timedelta64(round(offset * 3600), "s")
        return float(np.sqrt(np.mean((potential_radiation(utc, lat=lat, lon=lon) - given) ** 2)))

    # The whole grid, since offsets a day apart differ only by the sun's daily drift.
    rmse, offset = min((misfit(o), o) for o in np.arange(-12.0, 14.25, 0.25))
    return float(offset), rmse


def _site_files(folder: Path, sites: Sequence[str] | None) -> dict[str, Path]:
    if not folder.exists():
        raise DataError(f"There is no folder {folder}. Check the path.")
    if not folder.is_dir():
        raise DataError(f"{folder} is a file; give the folder that holds one {{site}}.csv per tower.")
    files = {path.stem: path for path in sorted(folder.glob("*.csv"))}
    if not files:
        raise DataError(f"{folder} holds no .csv file. Give the folder with one {{site}}.csv per tower.")
    if sites is None:
        return files
    missing = [site for site in sites if site not in files]
    if missing:
        raise DataError(f"{folder} has no file for {len(missing)} of the sites asked for: {examples(missing)}.")
    return {site: files[site] for site in sites}


def _header(path: Path) -> list[str]:
    with path.open("rb") as handle:
        start = handle.read(1 << 16)
    if not start.strip():
        raise DataError(f"Site {path.stem}: {path.name} is empty. Fetch it again.")
    if start.lstrip()[:1] == b"<":
        raise DataError(f"Site {path.stem}: {path.name} is a web page (HTML), not a table. Fetch it again.")
    try:
        line = start.splitlines()[0].decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"Site {path.stem}: {path.name} is not text in UTF-8. Is it a CSV file?") from None
    names = [canonical_column(name.strip().strip('"')) for name in line.split(",")]
    needed = [name for name in (TIME, QC) if name not in names]
    if needed:
        raise DataError(
            f"Site {path.stem}: {path.name} has no column {needed[0]} (it has {examples(names, 5)}). "
            "Benchmark files have time, qc_mask, targets and covariates."
        )
    if len(set(names)) < len(names):
        twice = [name for name in names if names.count(name) > 1]
        raise DataError(f"Site {path.stem}: {path.name} has the column {twice[0]} twice. Keep one of them.")
    return names


def _held(headers: dict[str, list[str]]) -> tuple[list[str], list[str]]:
    """Targets and covariates of the store: those that most files hold; a file that lacks one fails by itself."""
    half = len(headers) / 2
    targets = [name for name in TARGETS if sum(name in names for names in headers.values()) > half]
    covariates = [name for name in COVARIATES if sum(name in names for names in headers.values()) > half]
    if not targets or not covariates:
        raise DataError(
            f"The files hold no {'target' if not targets else 'covariate'} "
            f"({examples(TARGETS if not targets else COVARIATES, 4)}). Are these benchmark files?"
        )
    return targets, covariates


def _read_site(
    path: Path, site: str, names: list[str], targets: list[str], covariates: list[str], known: SiteFacts | None
) -> tuple[SiteRecord, pl.DataFrame, list[str]]:
    missing = [name for name in (*covariates, *targets) if name not in names]
    if missing:
        raise MissingColumnError(
            f"Site {site}: column {missing[0]} is missing, which most other files have ({len(missing)} in all). "
            "Fetch the file again or leave the site out with --sites."
        )
    flags = [name for name in names if name.startswith(PFT_PREFIX)]
    places: list[str] = [name for name in ("tower_lat", "tower_lon") if name in names]
    numbers = [*covariates, *targets, QC]
    try:
        frame = pl.read_csv(
            path,
            has_header=False,
            skip_rows=1,
            new_columns=names,
            infer_schema=False,
            null_values=["", "NaN", "nan", "NA"],
            truncate_ragged_lines=False,
        ).select(TIME, *numbers, *flags, *places)
    except pl.exceptions.PolarsError as error:
        if "empty CSV" in str(error):
            raise DataError(f"Site {site}: {path.name} has a header but no rows. Fetch it again.") from None
        raise DataError(
            f"Site {site}: {path.name} is not a regular table ({str(error).splitlines()[0]}). Fetch it again."
        ) from None
    frame = _parse(frame, numbers, places, site=site)
    notes: list[str] = []
    lat, lon, igbp = _facts(frame, flags, places, known, site, notes)
    record_time = frame[TIME].to_numpy().astype("datetime64[s]")
    offset = round(lon / 15.0)
    if "SW_IN_POT_hourly" in covariates and frame["SW_IN_POT_hourly"].null_count() == 0:
        radiation = frame["SW_IN_POT_hourly"].to_numpy()
        estimate, rmse = estimate_utc_offset(record_time, radiation, lat=lat, lon=lon)
        offset_h = estimate
        notes.append(f"utc_offset_h {estimate:g} estimated from SW_IN_POT_hourly (rmse {rmse:.1f} W m-2)")
    else:
        offset_h = float(offset)
        notes.append(f"utc_offset_h {offset_h:g} taken from the longitude: the file has no SW_IN_POT_hourly")
    record = SiteRecord(
        site_id=site,
        name=known.name if known else None,
        lat=lat,
        lon=lon,
        igbp=igbp,
        network=known.network if known else None,
        mat_c=known.mat_c if known else None,
        map_mm=known.map_mm if known else None,
        utc_offset_h=offset_h,
        native_step_min=60,
        first_hour=frame[TIME][0],
        last_hour=frame[TIME][-1],
        hours=frame.height,
        measured_hours=0,
        licence=None,
        source="FLUXtrapolation benchmark files",
    )
    return record, frame.select(TIME, *numbers), notes


def _parse(frame: pl.DataFrame, numbers: list[str], places: list[str], *, site: str) -> pl.DataFrame:
    time = frame[TIME].str.to_datetime(TIME_FORMAT, strict=False, time_unit="us")
    if time.null_count():
        bad = frame.filter(time.is_null())[TIME]
        raise DataError(
            f"Site {site}: {len(bad):,} of {frame.height:,} times cannot be read (first: {bad[0]!r}). "
            "Write them as 2018-06-01 13:00:00."
        )
    out = frame.with_columns(
        pl.col([n for n in numbers if n != QC] + places).str.strip_chars().cast(pl.Float64, strict=False),
        # "1", "1.0" and "True" all mean measured
        pl.col(QC)
        .str.strip_chars()
        .str.to_lowercase()
        .replace({"true": "1", "false": "0"})
        .cast(pl.Float64, strict=False),
        time.alias(TIME),
    )
    for name in [*numbers, *places]:
        lost = frame[name].is_not_null() & out[name].is_null()
        if lost.any():
            row = int(lost.arg_max() or 0)
            raise DataError(
                f"Site {site}: {int(lost.sum()):,} values of {name} are not numbers "
                f"(first: {frame[name][row]!r} at {out[TIME][row]}). Correct the file."
            )
    if QC in numbers:
        off = out.filter(~pl.col(QC).is_in([0.0, 1.0]).fill_null(False))
        if off.height:
            raise DataError(
                f"Site {site}: {off.height:,} values of {QC} are neither 0 nor 1 "
                f"(first: {off[QC][0]} at {off[TIME][0]}). Correct the file."
            )
    return out


def _facts(
    frame: pl.DataFrame, flags: list[str], places: list[str], known: SiteFacts | None, site: str, notes: list[str]
) -> tuple[float, float, str]:
    lat = float(frame["tower_lat"][0]) if "tower_lat" in places and frame["tower_lat"][0] is not None else None
    lon = float(frame["tower_lon"][0]) if "tower_lon" in places and frame["tower_lon"][0] is not None else None
    if known is not None:
        lat = known.lat if lat is None else lat
        lon = known.lon if lon is None else lon
    igbp = _igbp(frame, flags, site)
    if igbp is None and known is not None:
        igbp = known.igbp
        notes.append("igbp taken from the site table: the file marks no PFT column")
    check_site_facts(site, lat, lon, igbp)
    return float(lat or 0.0), float(lon or 0.0), str(igbp)


def _igbp(frame: pl.DataFrame, flags: list[str], site: str) -> str | None:
    """The one class whose column is true; columns may be constant, and their booleans spelled in any way."""
    found = []
    for flag in flags:
        text = frame[flag].fill_null("").str.strip_chars().str.to_lowercase().unique()
        unknown = [value for value in text if value not in (*_TRUE, *_FALSE)]
        if unknown:
            raise DataError(f"Site {site}: column {flag} holds {unknown[0]!r}, which is neither true nor false.")
        values = {value in _TRUE for value in text}
        if values == {True, False}:
            raise DataError(f"Site {site}: column {flag} changes within the file. A tower has one IGBP class.")
        if values == {True}:
            found.append(flag.removeprefix(PFT_PREFIX))
    if len(found) > 1:
        raise DataError(f"Site {site}: {len(found)} IGBP classes are marked ({', '.join(found)}). A tower has one.")
    if found and found[0] not in IGBP:
        check_site_facts(site, 0.0, 0.0, found[0])
    return found[0] if found else None
