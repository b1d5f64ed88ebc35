"""Downloads that are verified, resumable and isolated from one another: ``data fetch`` and what other doors need of it.

:func:`fetch_files` is the downloader: a list of files into a folder. :func:`fetch_towers` puts a registry before it and
the importer behind it.

Which library
-------------
The transport is ``urllib.request`` of the standard library, with some 250 lines around it (:mod:`.transport`).

- pooch brings a registry and hashes, but neither HTTP range resumption, nor several mirrors, nor one failure that stops
  no other; hashing is one line of :mod:`hashlib`. All of what is hard here would have been beside it.
- httpx and requests bring connection pools, and httpx HTTP/2. A handful of connections that each move megabytes gain
  little by them, and each adds four or more packages, so that ``data fetch`` would need an extra.
- The standard library honours proxies from the environment, verifies TLS by default, follows redirects, and hands out
  what the socket gives without a copy. What it lacks, a separate read timeout and an end to every connection at
  once, is a few lines.
"""

from __future__ import annotations

from fluxtrapolation.data.fetch.errand import FetchReport, fetch_towers
from fluxtrapolation.data.fetch.files import FetchFile, FetchResult, Limits
from fluxtrapolation.data.fetch.pool import fetch_files
from fluxtrapolation.data.fetch.registry import Registry, RegistryFile, read_registry

__all__ = [
    "FetchFile",
    "FetchReport",
    "FetchResult",
    "Limits",
    "Registry",
    "RegistryFile",
    "fetch_files",
    "fetch_towers",
    "read_registry",
]
