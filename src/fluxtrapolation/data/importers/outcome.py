"""What an importer has to tell when it is done: towers that failed, were there already, have an odd clock."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Final

from fluxtrapolation.errors import FluxtrapolationWarning, examples

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
