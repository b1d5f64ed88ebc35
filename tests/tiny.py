"""A tiny made-up store for tests: a few towers, a year or so, plausible and seeded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from fluxtrapolation.data.manifest import SiteRecord, Source, utc_now
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter


def tiny_frame(
    site: str,
    first: str = "2015-01-01",
    hours: int = 24 * 400,
    *,
    measured: float = 0.6,
    targets: Sequence[str] = ("GPP", "NEE"),
) -> pl.DataFrame:
    """Plausible hours of one site, seeded by its id; gaps in the flags, a few missing targets among the unmeasured."""
    generator = np.random.default_rng(int.from_bytes(site.encode(), "big"))
    time = np.datetime64(first, "h") + np.arange(hours)
    hour = np.arange(hours) % 24
    day = np.arange(hours) / 24
    sun = np.maximum(0.0, np.sin((hour - 6) / 12 * np.pi))
    season = 0.5 - 0.5 * np.cos(2 * np.pi * day / 365.25)
    ta = 5 + 15 * season + 5 * sun + generator.normal(0, 1, hours)
    sw = 700 * sun * (0.3 + 0.7 * season)
    vpd = np.maximum(0.2, 4 + 8 * sun * season + generator.normal(0, 0.5, hours))
    gpp = 20 * sun * season * (1 + 0.1 * generator.normal()) + generator.normal(0, 1, hours)
    columns = {
        "time": time.astype("datetime64[us]"),
        "TA": ta,
        "VPD": vpd,
        "SW_IN": sw,
        "qc_mask": (generator.random(hours) < measured).astype(np.int8),
    }
    fluxes = {"GPP": gpp, "NEE": 3 + 0.1 * ta - gpp, "ET": 0.02 * gpp}
    frame = pl.DataFrame(columns | {name: fluxes[name] for name in targets})
    lost = pl.Series(generator.random(hours) < 0.02) & (pl.Series(frame["qc_mask"]) == 0)
    return frame.with_columns(pl.when(lost).then(None).otherwise(pl.col(name)).alias(name) for name in targets)


def write_tiny_store(
    path: Path,
    sites: Sequence[str] = ("AA-One", "BB-Two", "CC-Thr", "DD-Fou", "EE-Fiv", "FF-Six"),
    *,
    first: str = "2015-01-01",
    hours: int = 24 * 400,
    targets: Sequence[str] = ("GPP", "NEE"),
) -> Store:
    """A small store of made-up towers."""
    classes = ("GRA", "ENF", "DBF")
    source = Source(
        name="tiny", kind="table", location="tests", retrieved=utc_now(), package_version="0", options={"hours": hours}
    )
    with StoreWriter(path, targets=targets, covariates=["TA", "VPD", "SW_IN"], source=source) as writer:
        for i, site in enumerate(sites):
            writer.add(
                tiny_record(site, igbp=classes[i % 3], lat=10.0 * i), tiny_frame(site, first, hours, targets=targets)
            )
    return Store(path)


def tiny_record(site: str, *, igbp: str = "GRA", lat: float = 50.0, lon: float = 10.0) -> SiteRecord:
    """A site record whose times and counts the writer fills in."""
    some = datetime(2015, 1, 1)
    return SiteRecord(
        site_id=site,
        lat=lat,
        lon=lon,
        igbp=igbp,
        utc_offset_h=1.0,
        first_hour=some,
        last_hour=some,
        hours=0,
        measured_hours=0,
        source="tiny",
    )
