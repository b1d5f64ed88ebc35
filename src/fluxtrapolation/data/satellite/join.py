"""Join satellite covariates to a store: a new store, and a table of what was joined where and what was not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import polars as pl

from fluxtrapolation.data.importers.outcome import tell_held
from fluxtrapolation.data.jobs import default_jobs
from fluxtrapolation.data.satellite.composites import SATELLITE, SatelliteFile
from fluxtrapolation.data.satellite.files import find_files, one_file_a_site, open_files
from fluxtrapolation.data.satellite.interpolate import METHODS, Method
from fluxtrapolation.data.satellite.plan import JoinPlan, Settings
from fluxtrapolation.data.satellite.telling import source_of, tell
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError, did_you_mean, examples
from fluxtrapolation.schema import COVARIATES

Lacking = Literal["keep", "drop-sites", "drop-covariates"]
LACKING: Final[tuple[str, ...]] = get_args(Lacking)
DEFAULT_GAP: Final = 32.0
"""Days: two 16-day composites, so that one missing composite does no harm."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Joined:
    """The new store, and what happened.

    Attributes
    ----------
    store : Store
    report : polars.DataFrame
        One row a site and covariate: ``site_id``, ``covariate``, ``joined``, ``composites`` (values in the file),
        ``missing_hours``, ``longest_gap_days``, ``reason`` (why it was not joined, else null).
    """

    store: Store
    report: pl.DataFrame

    @property
    def lacking(self) -> pl.DataFrame:
        """Rows of the report that were not joined."""
        return self.report.filter(~pl.col("joined"))


def join_covariates(
    store: Store | str | Path,
    files: Iterable[str | Path],
    out: str | Path,
    *,
    interpolate: Method = "causal",
    max_gap: float = DEFAULT_GAP,
    period: int | None = None,
    covariates: Sequence[str] | None = None,
    lacking: Lacking = "keep",
    only_observed: bool = False,
    replace: bool = False,
    name: str | None = None,
    licence: str | None = None,
    citation: str | None = None,
    overwrite: bool = False,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> Joined:
    """Join satellite covariates to the towers of a store, into a new store.

    Parameters
    ----------
    store : Store or path
    files : iterable of path
        FluxnetEO-style NetCDF, tidy CSV or Parquet, folders of such, or patterns.
    out : path
        Folder of the new store; never that of ``store``.
    interpolate : {'causal', 'linear', 'period'}
        See :func:`fluxtrapolation.data.satellite.interpolate.to_hours`. Dates are local calendar days of the tower.
    max_gap : float, default 32
        Days over which a value is carried. A tower with a longer gap lacks that covariate: nothing is filled.
    period : int, optional
        Length of the composite periods in days; by default the ``days`` column, or the most frequent step of dates,
        which is told where it is more than a day. Needed where products are mixed, or a series has one date only.
    covariates : sequence of str, optional
        Only these; by default all that the files have.
    lacking : {'keep', 'drop-sites', 'drop-covariates'}
        What becomes of towers that lack a covariate: kept with an empty column, left out, or the covariate is left out
        for all towers.
    only_observed : bool, default False
        Of FluxnetEO files take only values that the file itself flags as original ones; those that the product filled
        are missing. A file without such flags is not read.
    replace : bool, default False
        Exchange covariates that the store holds already.
    name, licence, citation : str, optional
        For the provenance record; licence and citation default to what the files say of themselves.
    overwrite, jobs, progress
        As in the importers.

    Returns
    -------
    Joined

    Raises
    ------
    DataError
        If no file can be read, an option is wrong, or nothing could be joined at any tower.

    Warns
    -----
    FluxtrapolationWarning
        If files could not be read, variables are empty, periods were guessed, towers lack covariates, or towers were
        in ``out`` already.
    """
    opened = Store.of(store)
    _check_options(opened, Path(out), interpolate, max_gap, period, lacking)
    sources, unread = open_files(find_files(files), period=period, only_observed=only_observed)
    wanted = _wanted(opened, sources, covariates, replace=replace)
    settings = Settings(interpolate, max_gap)
    by_site = one_file_a_site(sources)
    plan = JoinPlan(opened, by_site, wanted, settings, jobs or default_jobs())
    report = plan.report(progress)
    sites, joined = _chosen(opened, report, wanted, lacking, by_site)
    tell(opened, sources, unread, report, wanted, plan.guessed)
    source = source_of(
        opened,
        sources,
        settings,
        period,
        joined,
        lacking,
        name=name,
        licence=licence,
        citation=citation,
        only_observed=only_observed,
    )
    held = [c for c in COVARIATES if c in joined or (c in opened.covariates and c not in wanted)]
    writer = StoreWriter(
        out,
        targets=opened.targets,
        covariates=held,
        source=source,
        origins=opened.manifest.sources,
        resolution=opened.manifest.resolution,
        overwrite=overwrite,
    )
    with closing(writer):
        there = len(writer.done.intersection(sites))
        plan.write(writer, sites, joined, report, progress)
        made = writer.finish()
    tell_held(there, "the same command was given before")
    return Joined(made, report)


def _check_options(store: Store, out: Path, interpolate: str, max_gap: float, period: int | None, lacking: str) -> None:
    for text, known, flag in ((interpolate, METHODS, "--interpolate"), (lacking, LACKING, "--lacking")):
        if text not in known:
            raise DataError(f"{flag} {text!r} is none of {', '.join(known)}.{did_you_mean(text, known)}")
    if not (np.isfinite(max_gap) and max_gap > 0):
        raise DataError(f"--max-gap is {max_gap:g} days. Give a number above 0.")
    if period is not None and period < 1:
        raise DataError(f"--period is {period} days. Give at least 1.")
    if out.resolve() == store.path.resolve():
        raise DataError(f"{out} is the store itself. Covariates are joined into a new store: choose another --out.")
    if not store.manifest.complete:
        raise DataError(f"The store {store.path} is not complete. Finish its import first.")


def _wanted(
    store: Store, files: Sequence[SatelliteFile], asked: Sequence[str] | None, *, replace: bool
) -> tuple[str, ...]:
    """The covariates to join: those of the files, or those asked for."""
    known = [c for c in asked or () if c not in SATELLITE]
    if known:
        raise DataError(
            f"{known[0]!r} is no satellite covariate.{did_you_mean(known[0], SATELLITE)} Known: {', '.join(SATELLITE)}."
        )
    there = {name for file in files for name in file.covariates}
    wanted = tuple(c for c in SATELLITE if c in there and (asked is None or c in asked))
    if not wanted:
        unused = sorted({name for file in files for name in file.unused})
        raise DataError(
            f"The files have none of the covariates {', '.join(asked or SATELLITE)}"
            f"{f' (they have {examples(unused, 5)})' if unused else ''}. "
            "Variables are named as in FluxnetEO: EVI, NIRv, NDWI_SWIR2, LST_TERRA_Day, LST_TERRA_Night."
        )
    held = [c for c in wanted if c in store.covariates]
    if held and not replace:
        raise DataError(
            f"The store {store.path} holds {', '.join(held)} already. Say --replace to exchange "
            f"{'it' if len(held) == 1 else 'them'}, or choose others with --covariates."
        )
    return wanted


def _chosen(
    store: Store, report: pl.DataFrame, wanted: Sequence[str], lacking: str, sites_of_files: Collection[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sites and covariates of the new store."""
    good = report.filter("joined")
    somewhere = [name for name in wanted if (good["covariate"] == name).any()]
    if lacking == "drop-covariates":
        somewhere = [name for name in wanted if good.filter(pl.col("covariate") == name).height == len(store.site_ids)]
    sites = store.site_ids
    if lacking == "drop-sites":
        # A covariate that no tower has would take all of them along.
        complete = good.filter(pl.col("covariate").is_in(somewhere)).group_by("site_id").len()
        full = set(complete.filter(pl.col("len") == len(somewhere))["site_id"])
        sites = tuple(site for site in sites if site in full)
    if not somewhere or not sites:
        _need_common_sites(store, sites_of_files)
        rows = report.filter(~pl.col("joined"))
        told = (f"{row['site_id']}, {row['covariate']}: {row['reason']}" for row in rows.to_dicts())
        raise DataError(
            f"Nothing could be joined at {'every' if lacking != 'keep' else 'any'} tower of {store.path}: "
            f"{'; '.join(_first(told, 4))}. A longer --max-gap or other files may help."
        )
    return sites, tuple(somewhere)


def _need_common_sites(store: Store, sites_of_files: Collection[str]) -> None:
    """Raise if the files speak of other towers only: no gap is too long then, the names differ."""
    if not set(store.site_ids).intersection(sites_of_files):
        raise DataError(
            f"Nothing could be joined: the files speak of none of the {len(store.site_ids)} towers of {store.path} "
            f"({examples(store.site_ids)}), but of {examples(sorted(sites_of_files))}."
            f"{did_you_mean(min(sites_of_files, default=''), store.site_ids)} Give the files of these towers; site ids "
            "must be those of the store."
        )


def _first(items: Iterable[str], limit: int) -> list[str]:
    rows = list(items)
    return rows if len(rows) <= limit else [*rows[:limit], f"and {len(rows) - limit} more"]
