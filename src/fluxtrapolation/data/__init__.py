"""Towers: the store, its writer, importers, solar geometry, the simulated world."""

from fluxtrapolation.data.manifest import SiteRecord, Source
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter

__all__ = ["SiteRecord", "Source", "Store", "StoreWriter"]
