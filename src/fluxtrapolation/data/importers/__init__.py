"""Importers: foreign files into a store. One module per format; this one finds out which it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fluxtrapolation.data.reading import reading
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError

FORMATS = ("benchmark-csv", "fluxnet2015-zarr", "fluxnet")


def detect_format(source: str) -> str:
    """Say which format a folder, file or URL has.

    Raises
    ------
    DataError
        If nothing is there, or it is none of the known formats.
    """
    if source.startswith(("http://", "https://")):
        if source.rstrip("/").endswith(".zarr"):
            return "fluxnet2015-zarr"
        raise DataError(f"{source} is not the address of a Zarr store (.zarr). Say what it is with --format.")
    path = Path(source)
    with reading(path):
        return _format_of(path)


def _format_of(path: Path) -> str:
    source = str(path)
    if not path.exists():
        raise DataError(f"{source} does not exist. Check the path.")
    if path.is_dir():
        if any((path / name).exists() for name in (".zmetadata", ".zgroup", "zarr.json")):
            return "fluxnet2015-zarr"
        if any(path.glob("FLX_*")) or any(path.glob("*_FLUXNET*")):
            return "fluxnet"
        if any(path.glob("*.csv")):
            return "benchmark-csv"
        raise DataError(f"{source} holds neither a Zarr store nor CSV files. Check the path, or say --format.")
    if path.name.startswith("FLX_") or "_FLUXNET" in path.name:
        return "fluxnet"
    raise DataError(f"{source} is a file; give the folder that holds one {{site}}.csv per tower, or a Zarr store.")


def import_towers(
    source: str | Path,
    out: str | Path,
    *,
    format: str = "auto",
    sites: Sequence[str] | None = None,
    sites_table: str | Path | None = None,
    qc: str = "good",
    gpp: str = "nt",
    overwrite: bool = False,
    jobs: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Store:
    """Read towers of any known format into a store; see the importers for details.

    Raises
    ------
    DataError
        If the source is missing, unknown, or no tower can be read.
    """
    text = str(source)
    kind = detect_format(text) if format == "auto" else format
    if kind == "benchmark-csv":
        from fluxtrapolation.data.importers.benchmark_csv import import_benchmark_csv

        if (qc, gpp) != ("good", "nt"):
            raise DataError(
                "Benchmark files hold a ready qc_mask and one GPP: --qc and --gpp have no meaning for them. "
                "Leave them out."
            )
        return import_benchmark_csv(
            text, out, sites=sites, sites_table=sites_table, overwrite=overwrite, jobs=jobs, progress=progress
        )
    if kind == "fluxnet2015-zarr":
        from fluxtrapolation.data.importers.fluxnet2015_zarr import import_fluxnet2015_zarr

        return import_fluxnet2015_zarr(
            text,
            out,
            sites=sites,
            sites_table=sites_table,
            qc="measured" if qc == "measured" else "good",
            gpp="dt" if gpp == "dt" else "nt",
            overwrite=overwrite,
            jobs=jobs,
            progress=progress,
        )
    if kind == "fluxnet":
        raise DataError(
            f"{text} looks like a FLUXNET archive; this version reads benchmark CSV folders and the FLUXNET2015 Zarr. "
            "FLUXNET archives come with the next version."
        )
    raise DataError(f"There is no format {kind!r}. Known: {', '.join(FORMATS)}.")
