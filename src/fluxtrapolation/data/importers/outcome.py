"""What an importer has to tell when it is done: towers that failed, were there already, have an odd clock."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from fluxtrapolation.errors import DataError, FluxtrapolationWarning, examples
from fluxtrapolation.schema import TIME

if TYPE_CHECKING:
    from fluxtrapolation.data.store import Store

LOUD_LAG_MIN: Final = 60.0
"""Minutes between measured and potential radiation that deserve a warning, not only a note."""


class TowersNotReadWarning(FluxtrapolationWarning):
    """Some towers could not be read; every reason stands in ``manifest.failures``."""


def named(site: str, reason: str) -> str:
    """The reason of a failure, beginning with the site."""
    return reason if reason.startswith(f"Site {site}") else f"Site {site}: {reason}"


def tell_failures(failures: Mapping[str, str], total: int) -> None:
    """Warn of towers that could not be read."""
    if failures:
        warnings.warn(
            f"{len(failures)} of {total} towers could not be imported: "
            f"{examples(reason.rstrip('.') for _, reason in sorted(failures.items()))}. "
            "The reasons are kept in the manifest; the same command tries them again.",
            TowersNotReadWarning,
            stacklevel=3,
        )


def tell_held(count: int, why: str) -> None:
    """Warn that towers of an earlier run were left as they are."""
    if count:
        warnings.warn(
            f"{count} {'tower was' if count == 1 else 'towers were'} already in the store and not read again ({why}).",
            FluxtrapolationWarning,
            stacklevel=3,
        )


def tell_lags(lags: Mapping[str, float]) -> None:
    """Warn of towers whose SW_IN is an hour or more off the sun; ``lags`` in minutes, positive: late."""
    loud = {site: lag for site, lag in sorted(lags.items()) if abs(lag) > LOUD_LAG_MIN}
    if loud:
        said = examples(f"{site} ({abs(lag):.0f} min {'late' if lag > 0 else 'early'})" for site, lag in loud.items())
        warnings.warn(
            f"SW_IN is more than {LOUD_LAG_MIN:.0f} min off potential radiation at {len(loud)} towers: {said}. "
            "Their clock or utc_offset_h may be wrong; nothing was corrected.",
            FluxtrapolationWarning,
            stacklevel=3,
        )


def tell_twins(store: Store) -> None:
    """Warn of towers that hold the very same weather and fluxes under several names, as copied or misnamed files do."""
    twins = same_values(store)
    if twins:
        warnings.warn(
            f"{sum(map(len, twins))} towers hold the same values under different names: "
            f"{examples(' = '.join(group) for group in twins)}. Were files copied or misnamed? A test tower would then "
            "be known from training. Remove the wrong ones and import again with --overwrite.",
            FluxtrapolationWarning,
            stacklevel=3,
        )


def same_values(store: Store) -> list[tuple[str, ...]]:
    """Groups of towers of which every row has the same time, TA, VPD, SW_IN and targets.

    Only towers that agree in their first and last row, both counts of rows and TA are read whole: a store without such
    towers costs next to nothing.
    """
    values = [name for name in ("VPD", "SW_IN", *store.targets) if name in (*store.covariates, *store.targets)]
    records = {site: store.record(site) for site in store.site_ids}
    groups = _equal(
        [tuple(records)], lambda site: (records[site].first_hour, records[site].last_hour, records[site].hours)
    )
    groups = _equal(groups, lambda site: records[site].measured_hours)
    groups = (
        _equal(groups, lambda site: _fingerprint(store, site, [TIME, "TA"])) if "TA" in store.covariates else groups
    )
    return _equal(groups, lambda site: _fingerprint(store, site, values))


def _equal(groups: Sequence[tuple[str, ...]], key: Callable[[str], object]) -> list[tuple[str, ...]]:
    """The groups taken apart where ``key`` differs; single towers are no group."""
    found: list[tuple[str, ...]] = []
    for group in groups:
        alike: dict[object, list[str]] = {}
        for site in group:
            alike.setdefault(key(site), []).append(site)
        found += [tuple(sites) for sites in alike.values() if len(sites) > 1]
    return found


def _fingerprint(store: Store, site: str, columns: Sequence[str]) -> str:
    digest = hashlib.sha256()
    try:
        frame = store.read_site(site, columns)
    except DataError:  # damaged since an earlier import: 'data verify' tells; the import itself is done
        return site
    for column in frame.iter_columns():
        digest.update(column.to_physical().to_numpy().tobytes())
    return digest.hexdigest()
