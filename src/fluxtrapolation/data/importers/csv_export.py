"""A store as benchmark files: one ``{site}.csv`` per tower, which the reference loader reads, and so do we."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl

from fluxtrapolation.data.importers.csv_sources import write_sources
from fluxtrapolation.data.importers.csv_table import PLACES, TIME_FORMAT
from fluxtrapolation.data.jobs import default_jobs
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, FluxtrapolationWarning, examples
from fluxtrapolation.files import atomic_path, need_outside_stores
from fluxtrapolation.schema import QC, TIME, pft_column


def export_benchmark_csv(
    store: Store,
    out: str | Path,
    *,
    sites: Sequence[str] | None = None,
    jobs: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Write a store as benchmark files, one ``{site}.csv`` per tower; reading them back gives equal values.

    Columns: ``time``, covariates, targets, ``PFT_*`` (True/False) for the classes of the store, ``year``, ``qc_mask``,
    ``tower_lat``, ``tower_lon``. A missing target is an empty field. Numbers have as many digits as float32 needs to
    come back bit for bit. ``SOURCES.json`` beside them keeps what the columns do not say: sources, licences, names,
    clocks.

    Parameters
    ----------
    store : Store
        Hourly.
    out : path
        Folder, made if need be; each file is written whole or not at all.
    sites : sequence of str, optional
        Only these towers.
    jobs : int, optional
        Towers written at once; defaults to the number of cores, at most 4.
    progress : callable, optional
        Called with (site, done, total).

    Raises
    ------
    DataError
        If the store is daily, a site is not in it, ``out`` is a store or lies in one, or the disk is full.

    Warns
    -----
    FluxtrapolationWarning
        If towers lack a covariate of the store: the format has no word for that, and their column is empty.
    """
    folder = Path(out)
    need_outside_stores(folder)
    if store.resolution != "hourly":
        raise DataError(
            f"{store.path} is a {store.resolution} store; benchmark files are hourly. There is no such format."
        )
    names = store.site_ids if sites is None else tuple(dict.fromkeys(sites))
    if not names:
        raise DataError("No site was asked for. Leave the sites out to export all.")
    store.need_sites(names)
    write_sources(folder, store.manifest.sources, (store.record(site) for site in names))

    def one(site: str) -> list[str]:
        table = _table(store, site)
        with atomic_path(folder / f"{site}.csv") as temporary:
            table.write_csv(temporary, datetime_format=TIME_FORMAT)
        nulls = table.select(pl.col(store.covariates).null_count()).row(0)
        return [f"{site} ({name})" for name, count in zip(store.covariates, nulls, strict=True) if count]

    lacking: list[str] = []
    with ThreadPoolExecutor(jobs or default_jobs()) as pool:
        for done, (site, empty) in enumerate(zip(names, pool.map(one, names), strict=True), start=1):
            lacking += empty
            if progress is not None:
                progress(site, done, len(names))
    if lacking:
        warnings.warn(
            f"{len(lacking)} covariates are missing at single towers; their columns are empty: {examples(lacking)}. "
            "Benchmark files must be complete: no reader will take these towers.",
            FluxtrapolationWarning,
            stacklevel=2,
        )
    return folder


def _table(store: Store, site: str) -> pl.DataFrame:
    """The columns of a benchmark file, in its order."""
    record = store.record(site)
    flags = [pft_column(name) for name in store.igbp_classes]
    return (
        store.read_site(site)
        .with_columns(
            *(pl.lit(str(flag == pft_column(record.igbp))).alias(flag) for flag in flags),
            pl.col(TIME).dt.year().alias("year"),
            *(pl.lit(value).alias(name) for name, value in zip(PLACES, (record.lat, record.lon), strict=True)),
        )
        .select(TIME, *store.covariates, *store.targets, *flags, "year", QC, *PLACES)
    )
