"""What the lock file of ``data fetch`` says of the CSV files beside it: where each is from, under which licence."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from fluxtrapolation.data.manifest import FETCHED
from fluxtrapolation.errors import DataError, FluxtrapolationWarning

if TYPE_CHECKING:
    from fluxtrapolation.data.fetch.lock import Pin


def read_fetched(folder: Path, files: Mapping[str, Path]) -> dict[str, Pin]:
    """What the lock file of a folder knows of the files of these sites; nothing where there is none.

    Warns
    -----
    FluxtrapolationWarning
        If there is one that cannot be used.
    """
    from fluxtrapolation.data.fetch.lock import LOCK_FILE, LockFile

    path = folder / LOCK_FILE
    try:
        lock = LockFile(path)
    except DataError as error:
        warnings.warn(f"Source and licence of the fetched files are not known: {error}", FluxtrapolationWarning, 5)
        return {}
    pins = ((site, lock.get(file.name)) for site, file in files.items())
    return {site: pin for site, pin in pins if pin is not None}


def host_of(pin: Pin) -> str:
    """The host that a file was fetched from."""
    return urlsplit(pin.url).hostname or pin.url


def fetched_facts(pins: Mapping[str, Pin]) -> dict[str, Any]:
    """For the options of the source: hosts, and first and last time. They are no part of a store's identity."""
    if not pins:
        return {}
    times = sorted(pin.retrieved for pin in pins.values())
    return {
        f"{FETCHED}from": ", ".join(sorted({host_of(pin) for pin in pins.values()})),
        f"{FETCHED}first": f"{times[0]:%Y-%m-%dT%H:%M:%SZ}",
        f"{FETCHED}last": f"{times[-1]:%Y-%m-%dT%H:%M:%SZ}",
    }
