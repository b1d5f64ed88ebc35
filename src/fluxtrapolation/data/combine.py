"""Stores made from stores: a part of one, several put together. Values stay as they are, bit by bit."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl

from fluxtrapolation import __version__
from fluxtrapolation.data.choose import Years, choose_columns, choose_sites
from fluxtrapolation.data.folder import changed_file
from fluxtrapolation.data.importers.outcome import TowersNotReadWarning, named, tell_held
from fluxtrapolation.data.manifest import SiteEntry, Source, utc_now
from fluxtrapolation.data.merge_plan import MergePlan, Prefer, plan_merge
from fluxtrapolation.data.reading import reading
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError, FluxtrapolationError, FluxtrapolationWarning, examples
from fluxtrapolation.files import sha256_of
from fluxtrapolation.schema import COVARIATES, QC, TARGETS, TIME

Progress = Callable[[str, int, int], None]

PREFER: Final[tuple[Prefer, ...]] = ("first", "last", "newest")


def subset_store(
    store: Store | str | Path,
    out: str | Path,
    *,
    sites: Sequence[str] | None = None,
    igbp: Sequence[str] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    years: Years | None = None,
    columns: Sequence[str] | None = None,
    because: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    link: bool = False,
    progress: Progress | None = None,
) -> Store:
    """Make a store of some towers, years or columns of another.

    A tower of which every row and column is taken has the very same file. All conditions must hold at once.

    Parameters
    ----------
    store : Store or path
        Stays as it is.
    out : path
        Folder of the new store. Interrupted, the same call goes on where it stopped.
    sites : sequence of str, optional
        Only these towers.
    igbp : sequence of str, optional
        Only towers of these classes.
    bbox : tuple of float, optional
        West, south, east, north in degrees, borders included; west greater than east crosses the date line.
    years : tuple of int or None, optional
        First and last calendar year (local standard time), both included; None is open.
    columns : sequence of str, optional
        Covariates and targets to keep; ``time`` and ``qc_mask`` always are.
    because : mapping, optional
        More to keep in the provenance, such as the scenario that chose the towers.
    overwrite : bool, default False
        Replace the store that is at ``out``, once the new one is finished.
    link : bool, default False
        Give unchanged files a second name instead of copying them, where the file system can.
    progress : callable, optional
        Called with (site, done, total).

    Returns
    -------
    Store
        With every tower that could be taken; the others stand in ``manifest.failures``.

    Raises
    ------
    DataError
        If nothing is left, something asked for does not exist, or ``out`` is the store itself or holds another.

    Warns
    -----
    FluxtrapolationWarning
        If towers could not be taken or were there already.
    """
    origin = Store.of(store)
    _need_other_place(out, [origin])
    chosen = choose_sites(origin, sites=sites, igbp=igbp, bbox=bbox, years=years)
    kept = choose_columns(origin, columns)
    asked: dict[str, Any] = {
        "data_hash": origin.data_hash,
        "towers": f"{len(chosen)} of {len(origin.site_ids)}",
        "sites": None if sites is None else sorted(set(sites)),
        "igbp": None if igbp is None else sorted(set(igbp)),
        "bbox": None if bbox is None else list(bbox),
        "years": None if years is None else ":".join("" if year is None else str(year) for year in years),
        "columns": None if columns is None else kept,
        **(because or {}),
    }
    writer = StoreWriter(
        out,
        targets=[name for name in TARGETS if name in kept],
        covariates=[name for name in COVARIATES if name in kept],
        source=_provenance("subset", f"part of the store {origin.path.name}", str(origin.path.resolve()), asked),
        origins=origin.manifest.sources,
        resolution=origin.manifest.resolution,
        overwrite=overwrite,
    )
    whole = kept == [*origin.covariates, *origin.targets]

    def take(site: str) -> bool:
        entry = origin.manifest.sites[site]
        if not (whole and _inside(entry, years)):
            return _cut(writer, origin, entry, kept, years)
        writer.adopt(entry, origin.file_of(site), link=link)
        return True

    return _take_all(writer, chosen, take, progress)


def merge_stores(
    stores: Sequence[Store | str | Path],
    out: str | Path,
    *,
    prefer: Prefer | None = None,
    common_columns: bool = False,
    overwrite: bool = False,
    link: bool = False,
    progress: Progress | None = None,
) -> Store:
    """Put several stores together in a new one.

    Parameters
    ----------
    stores : sequence of Store or path
        Two or more, of one resolution; they stay as they are.
    out : path
        Folder of the new store. Interrupted, the same call goes on where it stopped.
    prefer : {'first', 'last', 'newest'}, optional
        Whose tower counts where two stores hold the same one with other content; ``newest``: of the store whose data
        were read last. Without it such towers are refused. Records of one tower are never joined.
    common_columns : bool, default False
        Keep the covariates and targets that all stores have, where they differ; without it that is refused.
    overwrite, link, progress
        See :func:`subset_store`.

    Returns
    -------
    Store
        Its sources are those of all stores and one that says what was merged, with the stores' hashes.

    Raises
    ------
    DataError
        If the stores do not go together; the message lists the towers or columns in question.

    Warns
    -----
    FluxtrapolationWarning
        If towers could not be taken or were there already, the stores were read with different options, or simulated
        and measured towers come together.
    """
    opened = [Store.of(store) for store in stores]
    _need_other_place(out, opened)
    plan = plan_merge(opened, prefer=prefer, common_columns=common_columns)
    plan.warn()
    writer = StoreWriter(
        out,
        targets=[name for name in TARGETS if name in plan.columns],
        covariates=[name for name in COVARIATES if name in plan.columns],
        source=_merge_provenance(plan, prefer),
        origins=plan.sources,
        resolution=opened[0].manifest.resolution,
        overwrite=overwrite,
    )

    def take(site: str) -> bool:
        origin = plan.owner[site]
        entry = origin.manifest.sites[site]
        if plan.columns != [*origin.covariates, *origin.targets]:
            return _cut(writer, origin, entry, plan.columns, None)
        writer.adopt(entry, origin.file_of(site), link=link)
        return True

    return _take_all(writer, sorted(plan.owner), take, progress)


def _merge_provenance(plan: MergePlan, prefer: Prefer | None) -> Source:
    options: dict[str, Any] = {
        "stores": [
            {
                "path": str(store.path.resolve()),
                "data_hash": store.data_hash,
                "towers": sum(owner is store for owner in plan.owner.values()),
            }
            for store in plan.stores
        ],
        "prefer": prefer,
        "decided": {site: str(plan.owner[site].path.resolve()) for site in plan.decided},
        "columns": plan.columns,
    }
    paths = "; ".join(str(store.path.resolve()) for store in plan.stores)
    return _provenance("merge", f"merged from {len(plan.stores)} stores", paths, options)


def _provenance(kind: Literal["subset", "merge"], name: str, location: str, options: Mapping[str, Any]) -> Source:
    return Source(
        name=name,
        kind=kind,
        location=location,
        options={key: value for key, value in options.items() if value not in (None, {})},
        retrieved=utc_now(),
        package_version=__version__,
    )


def _need_other_place(out: str | Path, stores: Sequence[Store]) -> None:
    """Refuse an ``out`` that is one of the stores, lies in one, or holds one."""
    place = Path(out).resolve()
    for store in stores:
        held = store.path.resolve()
        if place == held or held in place.parents or place in held.parents:
            word = "is the store itself" if place == held else "and the store lie one within the other"
            raise DataError(f"{out} {word} ({store.path}). Choose another --out beside it.")


def _inside(entry: SiteEntry, years: Years | None) -> bool:
    """Whether no row of a tower lies outside the years."""
    first, last = years or (None, None)
    record = entry.record
    return (first is None or record.first_hour.year >= first) and (last is None or record.last_hour.year <= last)


def _cut(writer: StoreWriter, origin: Store, entry: SiteEntry, columns: Sequence[str], years: Years | None) -> bool:
    """Write the rows and columns of one tower that are kept; False where no row is. The file is proved before."""
    record = entry.record
    path = origin.file_of(record.site_id)
    with reading(path):
        if sha256_of(path) != entry.sha256:
            raise DataError(changed_file(path))
    frame = origin.read_site(record.site_id, [TIME, *columns, QC])
    first, last = years or (None, None)
    kept = frame.filter(
        pl.lit(True) if first is None else pl.col(TIME).dt.year() >= first,
        pl.lit(True) if last is None else pl.col(TIME).dt.year() <= last,
    )
    if not kept.height:
        return False
    notes = list(entry.notes)
    if kept.height < frame.height:
        notes.append(f"{kept.height:,} of {frame.height:,} rows kept: the years {first or ''}:{last or ''}")
    # check=False: these values passed once, and must come through unchanged.
    writer.add(record, kept, notes=notes, check=False, source_sha256=entry.source_sha256, doi=entry.doi)
    return True


def _take_all(
    writer: StoreWriter, sites: Sequence[str], take: Callable[[str], bool], progress: Progress | None
) -> Store:
    """Take tower after tower; one that cannot be taken does not stop the others."""
    failures: dict[str, str] = {}
    empty: list[str] = []
    with closing(writer):
        writer.forget_failures()
        held = writer.done
        todo = [site for site in sites if site not in held]
        for done, site in enumerate(todo, start=len(sites) - len(todo) + 1):
            try:
                if not take(site):
                    empty.append(site)
            except FluxtrapolationError as error:
                if isinstance(error.__cause__, OSError):
                    raise  # the disk, not the tower: nothing more can be written
                failures[site] = named(site, str(error))
            if progress is not None:
                progress(site, done, len(sites))
        if not writer.done:
            writer.discard()
            raise DataError("\n".join(failures.values()) or _nothing_left(empty))
        for site, reason in failures.items():
            writer.fail(site, reason)
        store = writer.finish()
    tell_held(len(sites) - len(todo), "the same command was given before")
    if empty:
        warnings.warn(_nothing_left(empty), FluxtrapolationWarning, stacklevel=3)
    if failures:
        warnings.warn(
            f"{len(failures)} of {len(sites)} towers could not be taken over: {examples(failures.values())} "
            "The same command tries them again.",
            TowersNotReadWarning,
            stacklevel=3,
        )
    return store


def _nothing_left(sites: Sequence[str]) -> str:
    number = f"{len(sites)} towers have" if len(sites) > 1 else "1 tower has"
    return f"{number} no row in the years asked for, only a gap in the record, and are left out: {examples(sites)}."
