"""A small FLUXNET2015-like Zarr v2 store with towers whose every half-hour is known, written by hand.

The makers go the way of the public store's producer: local records, END stamps, an offset to "UTC" that may be wrong,
nearest-neighbour stretching of hourly towers, uint16 packing. The tests go back.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from fluxtrapolation.data.solar import potential_radiation

FIRST_END = np.datetime64("2001-12-31T06:00", "m")
LAST_END = np.datetime64("2003-01-01T12:00", "m")
STEPS = int((LAST_END - FIRST_END).astype(int) // 30) + 1
MISSING = 65535
CODEC = {"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 2, "blocksize": 0}
PACKING = {  # name: (scale, offset, unit)
    "ta": (0.0015, -52.9, "degC"),
    "sw_in": (0.0205, 0.0, "W m-2"),
    "vpd": (0.0015, 0.0, "hPa"),
    "nee": (0.0025, -93.6, "umolCO2 m-2 s-1"),
    "gpp_nt": (0.0026, -67.7, "umolCO2 m-2 s-1"),
    "gpp_dt": (0.0012, 0.0, "umolCO2 m-2 s-1"),
    "nee_qc": (4.6e-05, 0.0, "-"),
}


@dataclass
class Tower:
    """One tower and its native records of the year 2002; ``records[name]``: packed numbers, one per native step."""

    site: str
    lat: float
    lon: float
    igbp: str
    true_offset_h: float
    store_offset_h: float
    step_min: int = 30
    seed: int = 0
    records: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.records:
            self.records = self._draw()

    @property
    def starts(self) -> np.ndarray:
        """START of each native step, local standard time."""
        count = 365 * 1440 // self.step_min
        return np.datetime64("2002-01-01T00:00", "m") + np.arange(count) * self.step_min

    def _draw(self) -> dict[str, np.ndarray]:
        rng = np.random.default_rng(self.seed)
        start = self.starts
        hours = self.step_min / 60
        utc = start - np.timedelta64(round(self.true_offset_h * 60), "m")
        sun = potential_radiation(utc, lat=self.lat, lon=self.lon, hours=hours)
        cloud = np.repeat(rng.uniform(0.15, 0.8, 365), start.size // 365)
        radiation = sun * cloud
        physical = {
            "ta": 8 + 10 * (sun / 1000) + rng.normal(0, 2, start.size),
            "sw_in": radiation,
            "vpd": 1 + 6 * sun / 1000 + rng.uniform(0, 1, start.size),
            "nee": 2 - radiation / 40 + rng.laplace(0, 1, start.size),
            "gpp_nt": radiation / 40 + rng.normal(0, 0.5, start.size),
            "gpp_dt": radiation / 42,
            "nee_qc": rng.choice([0, 0, 1, 1, 2, 3], start.size).astype(float),
        }
        packed = {}
        for name, values in physical.items():
            scale, offset, _ = PACKING[name]
            packed[name] = np.round((values - offset) / scale).astype(np.uint16)
        return packed

    def on_axis(self, name: str) -> np.ndarray:
        """The store's row: END stamps moved by the store's offset; hourly records repeated 30 minutes later."""
        row = np.full(STEPS, MISSING, dtype=np.uint16)
        end = self.starts + self.step_min - np.timedelta64(round(self.store_offset_h * 60), "m")
        index = ((end - FIRST_END).astype(int)) // 30
        row[index] = self.records[name]
        if self.step_min == 60:
            row[index[:-1] + 1] = self.records[name][:-1]
        return row

    def physical(self, name: str) -> np.ndarray:
        """Decoded native records, NaN where missing, double."""
        scale, offset, _ = PACKING[name]
        stored = self.records[name]
        return np.where(stored == MISSING, np.nan, stored * scale + offset)

    def expected(self, *, limit: float = 1.5, gpp: str = "gpp_nt") -> pl.DataFrame:
        """The hourly table by grouping the native records, an independent way to the same numbers."""
        columns = {"TA": "ta", "VPD": "vpd", "SW_IN": "sw_in", "NEE": "nee", "GPP": gpp, "flag": "nee_qc"}
        frame = pl.DataFrame(
            {"start": self.starts.astype("datetime64[us]"), **{k: self.physical(v) for k, v in columns.items()}}
        ).with_columns(pl.all().exclude("start").fill_nan(None))
        steps = 60 // self.step_min
        means = [
            pl.when(pl.col(n).count() == steps).then(pl.col(n).mean()).cast(pl.Float32).alias(n)
            for n in ("TA", "VPD", "SW_IN", "GPP", "NEE")
        ]
        good = (pl.col("flag").max() < limit) & (pl.col("flag").count() == steps)
        hourly = frame.group_by(pl.col("start").dt.truncate("1h").alias("time"), maintain_order=True).agg(
            *means, good.alias("good")
        )
        both = pl.col("NEE").is_not_null() & pl.col("GPP").is_not_null() & pl.col("good")
        return (
            hourly.with_columns(both.cast(pl.Int8).alias("qc_mask"))
            .drop("good")
            .drop_nulls(["TA", "VPD", "SW_IN"])
            .sort("time")
        )


def towers() -> list[Tower]:
    """Every kind of clock: ordinary, half-hour offsets, hourly, southern summer time, far west."""
    return [
        Tower("ZZ-Ber", 52.5, 13.4, "ENF", 1.0, 1.0, seed=1),  # Berlin
        Tower("ZZ-Dar", -12.5, 131.0, "SAV", 9.5, 9.5, seed=2),  # Darwin: half hour, no summer time
        Tower("ZZ-Ade", -34.6, 138.9, "WSA", 9.5, 10.5, seed=3),  # Adelaide: half hour and summer time
        Tower("ZZ-Tum", -35.7, 148.2, "EBF", 10.0, 11.0, 60, seed=4),  # New South Wales: hourly, summer time
        Tower("ZZ-Chi", 41.2, -96.5, "CRO", -6.0, -6.0, 60, seed=5),  # Nebraska: hourly
        Tower("ZZ-Cal", 38.4, -121.0, "GRA", -8.0, -8.0, seed=6),  # California
        Tower("ZZ-Zac", 74.5, -20.6, "WET", 0.0, -3.0, seed=7),  # north-east Greenland: polar, files in UTC
    ]


def sites_csv(path: Path, made: list[Tower], *, clocks: bool = True) -> Path:
    """A --sites-table for the towers, with or without their time columns."""
    facts: list[dict[str, Any]] = []
    for tower in made:
        row: dict[str, Any] = {"site_id": tower.site, "lat": tower.lat, "lon": tower.lon, "igbp": tower.igbp}
        if clocks:
            row |= {
                "native_step_min": tower.step_min,
                "utc_offset_store_h": tower.store_offset_h,
                "true_utc_offset_h": tower.true_offset_h,
            }
        facts.append(row)
    pl.DataFrame(facts).write_csv(path)
    return path


def write_array(folder: Path, name: str, values: np.ndarray, attrs: dict[str, Any], chunks: tuple[int, ...]) -> None:
    """One Zarr v2 array, one file per chunk."""
    from numcodecs.registry import get_codec

    array = folder / name
    array.mkdir(parents=True, exist_ok=True)
    meta = {
        "zarr_format": 2,
        "shape": list(values.shape),
        "chunks": list(chunks),
        "dtype": values.dtype.str,
        "compressor": CODEC,
        "fill_value": MISSING if values.dtype == np.uint16 else None,
        "filters": None,
        "order": "C",
    }
    (array / ".zarray").write_text(json.dumps(meta))
    (array / ".zattrs").write_text(json.dumps(attrs))
    counts = [-(-size // chunk) for size, chunk in zip(values.shape, chunks, strict=True)]
    codec = get_codec(dict(CODEC))
    for position in np.ndindex(*counts):
        block = np.full(chunks, MISSING if values.dtype == np.uint16 else 0, dtype=values.dtype)
        part = values[tuple(slice(i * c, (i + 1) * c) for i, c in zip(position, chunks, strict=True))]
        block[tuple(slice(0, n) for n in part.shape)] = part
        (array / ".".join(map(str, position))).write_bytes(codec.encode(block))


def consolidate(folder: Path) -> None:
    """Write ``.zmetadata`` from the metadata files that are there."""
    metadata = {
        str(path.relative_to(folder)): json.loads(path.read_text())
        for path in sorted(folder.rglob(".z*"))
        if path.name in (".zarray", ".zattrs", ".zgroup")
    }
    (folder / ".zmetadata").write_text(json.dumps({"zarr_consolidated_format": 1, "metadata": metadata}))


def write_store(folder: Path, made: list[Tower], *, chunk: int = STEPS, shift: float = 0.0) -> Path:
    """The store: rows in the order given, coordinates packed and off by ``shift`` degrees."""
    folder.mkdir(parents=True)
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / ".zattrs").write_text('{"license": "CC-BY-4.0"}')
    dims = {"_ARRAY_DIMENSIONS": ["site", "time"]}
    for name, (scale, offset, unit) in PACKING.items():
        rows = np.stack([tower.on_axis(name) for tower in made])
        attrs = {**dims, "scale_factor": scale, "add_offset": offset, "units": unit}
        write_array(folder, name, rows, attrs, (1, chunk))
    for name, values in (("latitude", [t.lat + shift for t in made]), ("longitude", [t.lon + shift for t in made])):
        packed = np.round((np.array(values) + 180) / 0.0055).astype(np.uint16)
        attrs = {"_ARRAY_DIMENSIONS": ["site"], "scale_factor": 0.0055, "add_offset": -180.0}
        write_array(folder, name, packed, attrs, (1,))
    write_array(
        folder, "site", np.array([t.site for t in made], dtype="<U6"), {"_ARRAY_DIMENSIONS": ["site"]}, (len(made),)
    )
    minutes = (np.arange(STEPS) * 30).astype("<i8")
    unit = "minutes since " + str(FIRST_END).replace("T", " ") + ":00"
    write_array(folder, "time", minutes, {"_ARRAY_DIMENSIONS": ["time"], "units": unit}, (5000,))
    consolidate(folder)
    return folder
