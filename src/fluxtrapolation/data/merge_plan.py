"""Which store gives which tower when stores are merged, and why some do not go together."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from fluxtrapolation.data.manifest import SiteEntry, Source
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, FluxtrapolationWarning, examples

Prefer: TypeAlias = Literal["first", "last", "newest"]

RULES: Final = ("qc", "gpp", "et", "latent_heat")
"""Options of importers that decide what a value or a flag means."""


@dataclass(frozen=True)
class MergePlan:
    """What a merged store is made of.

    Attributes
    ----------
    stores : tuple of Store
    columns : list of str
        Covariates, then targets.
    owner : dict of str to Store
        Which store gives each tower.
    decided : tuple of str
        Towers that two stores hold with other content, decided by preference.
    sources : tuple of Source
        Of all stores, without repeats.
    """

    stores: tuple[Store, ...]
    columns: list[str]
    owner: dict[str, Store]
    decided: tuple[str, ...]
    sources: tuple[Source, ...]

    def warn(self) -> None:
        """Warn of what may be meant, but changes what the store means."""
        for rule in RULES:
            told = {
                str(store.path): values
                for store in self.stores
                if (values := {str(s.options[rule]) for s in store.manifest.sources if s.options.get(rule) is not None})
            }
            if len({value for values in told.values() for value in values}) > 1:
                said = examples(f"{path}: {', '.join(sorted(values))}" for path, values in told.items())
                _note(f"The stores were read with different {rule} ({said}): it now differs from tower to tower.")
        simulated = [
            str(store.path) for store in self.stores if any(s.kind == "synthetic" for s in store.manifest.sources)
        ]
        if 0 < len(simulated) < len(self.stores):
            _note(f"Simulated and measured towers come together: {examples(simulated)} is simulated.")


def plan_merge(stores: Sequence[Store], *, prefer: Prefer | None = None, common_columns: bool = False) -> MergePlan:
    """Decide what a merged store is made of.

    Raises
    ------
    DataError
        If there are fewer than two stores, one is named twice, resolutions or columns differ, or towers are in two
        stores with other content and nothing is preferred.
    """
    _need_several(stores)
    if prefer not in (None, "first", "last", "newest"):
        raise DataError(f"There is no preference {prefer!r}. Known: first, last, newest.")
    kinds = {store.resolution for store in stores}
    if len(kinds) > 1:
        said = examples(f"{store.path} is {store.resolution}" for store in stores)
        raise DataError(f"Hourly and daily stores cannot be merged: {said}. Merge those of one resolution.")
    owner: dict[str, Store] = {}
    conflicts: dict[str, list[Store]] = {}
    for store in stores:
        for site in store.site_ids:
            held = owner.setdefault(site, store)
            if held is not store and _differs(held.manifest.sites[site], store.manifest.sites[site]):
                conflicts.setdefault(site, [held]).append(store)
    if conflicts and prefer is None:
        raise DataError(_refusal(conflicts))
    if prefer is not None:
        owner |= {site: _preferred(site, holders, prefer) for site, holders in conflicts.items()}
    return MergePlan(
        stores=tuple(stores),
        columns=_columns(stores, common_columns),
        owner=owner,
        decided=tuple(sorted(conflicts)),
        sources=tuple(dict_of_sources(stores).values()),
    )


def dict_of_sources(stores: Sequence[Store]) -> dict[str, Source]:
    """The sources of all stores in order, without repeats, by their content."""
    return {source.model_dump_json(): source for store in stores for source in store.manifest.sources}


def _need_several(stores: Sequence[Store]) -> None:
    if len(stores) < 2:
        raise DataError("One store cannot be merged. Give two or more; for a part of one, use 'data subset'.")
    seen: set[Any] = set()
    for store in stores:
        place = store.path.resolve()
        if place in seen:
            raise DataError(f"{store.path} is given twice. Give each store once.")
        seen.add(place)
    empty = [str(store.path) for store in stores if not store.site_ids]
    if empty:
        raise DataError(f"{examples(empty)} holds no tower. Leave it out, or finish its import.")


def _differs(one: SiteEntry, other: SiteEntry) -> bool:
    """Whether two stores say different things of one tower; notes and how it is cited do not count."""
    return one.sha256 != other.sha256 or one.record != other.record


def _refusal(conflicts: dict[str, list[Store]]) -> str:
    def said(site: str, holders: Sequence[Store]) -> str:
        spans = []
        for store in holders:
            record = store.manifest.sites[site].record
            spans.append(f"{store.path} {record.first_hour:%Y-%m-%d} to {record.last_hour:%Y-%m-%d}")
        return f"{site} ({'; '.join(spans)})"

    listed = examples((said(site, holders) for site, holders in sorted(conflicts.items())), 12)
    first = sorted(conflicts)[0]
    one, other = conflicts[first][:2]
    number = f"{len(conflicts)} towers are" if len(conflicts) > 1 else "1 tower is"
    return (
        f"{number} in more than one store with different content: {listed}. Records are not joined. See "
        f"'fluxtrapolation data diff {one.path} {other.path} --sites {first}'; then say whose counts with "
        "--prefer first, last or newest."
    )


def _preferred(site: str, holders: Sequence[Store], prefer: Prefer) -> Store:
    if prefer != "newest":
        return holders[0 if prefer == "first" else -1]
    read = [_read_last(store, site) for store in holders]
    newest = [store for store, when in zip(holders, read, strict=True) if when == max(read)]
    if len(newest) > 1:
        raise DataError(
            f"Site {site}: {examples(store.path for store in newest)} were read at the same moment ({max(read)}): none "
            "is the newest. Use --prefer first or last."
        )
    return newest[0]


def _read_last(store: Store, site: str) -> Any:
    """When a tower was read: by the sources that its record names, else by any that read data from outside."""
    outside = [source for source in store.manifest.sources if source.kind not in ("merge", "subset")]
    own = [source for source in outside if source.covers(store.record(site))]
    return max(source.retrieved for source in own or outside or store.manifest.sources)


def _columns(stores: Sequence[Store], common: bool) -> list[str]:
    held = [(*store.covariates, *store.targets) for store in stores]
    shared = [name for name in held[0] if all(name in names for names in held)]
    partly = sorted({name for names in held for name in names} - set(shared))
    if partly and not common:
        where = {
            name: examples(store.path for store, names in zip(stores, held, strict=True) if name in names)
            for name in partly
        }
        said = examples((f"{name} only in {paths}" for name, paths in where.items()), 12)
        raise DataError(
            f"The stores hold different columns: {said}. Every tower of a store has the same columns: keep the "
            f"{len(shared)} that all have with --common-columns, or import the others again."
        )
    if not shared:
        raise DataError("The stores have no column in common. They cannot be merged.")
    return shared


def _note(message: str) -> None:
    warnings.warn(message, FluxtrapolationWarning, stacklevel=5)
