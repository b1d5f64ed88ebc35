"""FLUXNET files made for tests: a small header of our own, or the genuine one filled with given numbers."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from fluxtrapolation.data.solar import potential_radiation

LAT, LON, OFFSET = 50.96, 13.57, 1.0
"""DE-Tha, near enough."""
SMALL_HEADER = (
    "TIMESTAMP_START",
    "TIMESTAMP_END",
    "TA_F",
    "TA_F_QC",
    "SW_IN_POT",
    "SW_IN_F",
    "SW_IN_F_QC",
    "VPD_F",
    "VPD_F_QC",
    "P_F",
    "LE_F_MDS",
    "LE_F_MDS_QC",
    "LE_CORR",
    "NEE_VUT_REF",
    "NEE_VUT_REF_QC",
    "RECO_NT_VUT_REF",
    "GPP_NT_VUT_REF",
    "GPP_DT_VUT_REF",
)
HH = "FLX_DE-Tha_FLUXNET2015_FULLSET_HH_2010-2010_1-4.csv"
DD = "FLX_DE-Tha_FLUXNET2015_FULLSET_DD_2010-2010_1-4.csv"

Table = dict[str, NDArray[Any]]


def stamps(time: NDArray[np.datetime64], *, daily: bool = False) -> list[str]:
    """Moments as FLUXNET writes them."""
    text = np.datetime_as_string(time.astype("datetime64[m]"))
    return [t[:10].replace("-", "") + ("" if daily else t[11:].replace(":", "")) for t in text]


def weather(
    *,
    start: str = "2010-01-01",
    days: int = 365,
    step: int = 30,
    lat: float = LAT,
    lon: float = LON,
    offset: float = OFFSET,
    seed: int = 1,
) -> tuple[NDArray[np.datetime64], Table]:
    """Steps of a plausible tower: times (START, local standard) and columns by their FLUXNET names."""
    rng = np.random.default_rng(seed)
    time = np.datetime64(start, "m") + np.arange(days * 1440 // step) * np.timedelta64(step, "m")
    utc = time.astype("datetime64[s]") - np.timedelta64(round(offset * 3600), "s")
    potential = potential_radiation(utc, lat=lat, lon=lon, hours=step / 60)
    cloud = np.repeat(rng.uniform(0.3, 0.75, days), 1440 // step)
    light = potential * cloud
    season = np.repeat(potential.reshape(days, -1).mean(axis=1) / 450.0, 1440 // step)
    ta = -3 + 22 * season + light / 120 + rng.normal(0, 0.5, time.size)
    vpd = np.maximum(0.05, 0.35 * 6.11 * np.exp(17.6 * ta / (ta + 243)) * (0.3 + light / 700))
    gpp = 25 * season * light / (light + 300) + rng.normal(0, 0.4, time.size)
    nee = 2.0 + 3 * season - gpp + rng.normal(0, 0.4, time.size)
    latent = 0.35 * light * season + rng.normal(3, 2, time.size)
    flag = rng.choice([0, 1, 2, 3], time.size, p=[0.5, 0.3, 0.15, 0.05])
    columns: Table = {
        "TA_F": ta,
        "SW_IN_POT": potential,
        "SW_IN_F": light,
        "VPD_F": vpd,
        "LE_F_MDS": latent,
        "LE_F_MDS_QC": rng.choice([0, 1, 2], time.size, p=[0.6, 0.3, 0.1]),
        "LE_CORR": latent * 1.2,
        "NEE_VUT_REF": nee,
        "NEE_VUT_REF_QC": flag,
        "GPP_NT_VUT_REF": gpp,
        "GPP_DT_VUT_REF": np.maximum(gpp, 0.0),
    }
    return time, {name: np.round(values, 3) for name, values in columns.items()}


def as_csv(
    time: NDArray[np.datetime64],
    columns: Mapping[str, NDArray[Any]],
    *,
    header: Sequence[str] = SMALL_HEADER,
    step: int = 30,
) -> str:
    """A half-hourly or hourly file: every column of ``header`` that is not given is -9999, as is NaN."""
    end = time + np.timedelta64(step, "m")
    table: dict[str, Any] = {"TIMESTAMP_START": stamps(time), "TIMESTAMP_END": stamps(end)}
    return _csv(table, columns, header, len(time))


def as_daily_csv(
    days: NDArray[np.datetime64], columns: Mapping[str, NDArray[Any]], header: Sequence[str] = SMALL_HEADER
) -> str:
    """A daily file."""
    names = ["TIMESTAMP", *(name for name in header if not name.startswith("TIMESTAMP"))]
    return _csv({"TIMESTAMP": stamps(days, daily=True)}, columns, names, len(days))


def _csv(table: dict[str, Any], columns: Mapping[str, NDArray[Any]], header: Sequence[str], rows: int) -> str:
    frame = pl.DataFrame(table)
    for name in header:
        if name not in table:
            values = columns.get(name)
            column = pl.lit(-9999) if values is None else pl.Series(np.asarray(values)).fill_nan(-9999.0)
            frame = frame.with_columns(column.alias(name))
    assert frame.height == rows
    return frame.select(header).write_csv()


def daily_means(time: NDArray[np.datetime64], columns: Mapping[str, NDArray[Any]]) -> tuple[NDArray[Any], Table]:
    """Days of a table of steps in the units and flags of daily files."""
    per_day = int((time.astype("datetime64[D]") == time[0].astype("datetime64[D]")).sum())
    days = time[::per_day].astype("datetime64[D]")
    out: Table = {}
    for name, values in columns.items():
        table = np.asarray(values, dtype=np.float64).reshape(-1, per_day)
        if name.endswith("_QC"):
            out[name] = (table <= 1).mean(axis=1)
        else:
            carbon = name.startswith(("NEE", "GPP", "RECO"))
            out[name] = table.mean(axis=1) * (12.011e-6 * 86400 if carbon else 1.0)
    return days, out


def bif(site: str, rows: Sequence[tuple[str, str, str, str]] | None = None, **facts: object) -> str:
    """A BIF table: facts by variable, or rows of (group id, group, variable, value)."""
    if rows is None:
        rows = [(str(number), f"GRP_{name}", name, str(value)) for number, (name, value) in enumerate(facts.items(), 1)]
    lines = ["SITE_ID,GROUP_ID,VARIABLE_GROUP,VARIABLE,DATAVALUE"]
    return "\n".join([*lines, *(f"{site},{a},{b},{c},{d}" for a, b, c, d in rows)]) + "\n"


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Loose files."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def write_zip(path: Path, files: Mapping[str, str | bytes]) -> Path:
    """A zip archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    path.write_bytes(buffer.getvalue())
    return path
