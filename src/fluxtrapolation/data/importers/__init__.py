"""Importers: foreign files into a store. One module per format; this one finds out which it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fluxtrapolation.data.importers.fluxnet_leftovers import benchmark_files, packed_hint
from fluxtrapolation.data.importers.fluxnet_names import EXAMPLE
from fluxtrapolation.data.reading import reading
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, examples

__all__ = ["FORMATS", "benchmark_files", "detect_format", "import_towers"]

FORMATS = ("benchmark-csv", "fluxnet2015-zarr", "fluxnet")


def detect_format(source: str) -> str:
    """Say which format a folder, file or URL has.

    Raises
    ------
    DataError
        If nothing is there, or it is none of the known formats, or two of them.
    """
    if source.startswith(("http://", "https://")):
        if source.rstrip("/").endswith(".zarr"):
            return "fluxnet2015-zarr"
        raise DataError(f"{source} is not the address of a Zarr store (.zarr). Say what it is with --format.")
    path = Path(source)
    with reading(path):
        return _format_of(path)


def _format_of(path: Path) -> str:
    from fluxtrapolation.data.importers.fluxnet_inventory import looks_like_fluxnet

    source = str(path)
    if not path.exists():
        raise DataError(f"{source} does not exist. Check the path.")
    if path.is_dir() and any((path / name).exists() for name in (".zmetadata", ".zgroup", "zarr.json")):
        return "fluxnet2015-zarr"
    if looks_like_fluxnet(path):
        others = benchmark_files(path)
        if others:
            raise DataError(
                f"{source} holds both FLUXNET files and {len(others)} benchmark CSV files ({examples(others)}). Say "
                "which are to be read with --format fluxnet or --format benchmark-csv, or put them into two folders."
            )
        return "fluxnet"
    if path.is_dir():
        if any(path.glob("*.csv")):
            return "benchmark-csv"
        raise DataError(
            f"{source} holds neither a Zarr store nor CSV files nor FLUXNET archives."
            f"{packed_hint(sorted(path.iterdir()))} Check the path, or say --format."
        )
    raise DataError(
        f"{source} is a file, and not named as FLUXNET archives are ({EXAMPLE}); give the folder that holds one "
        f"{{site}}.csv per tower, or a Zarr store.{packed_hint([path])}"
    )


def import_towers(
    source: str | Path,
    out: str | Path,
    *,
    format: str = "auto",
    sites: Sequence[str] | None = None,
    sites_table: str | Path | None = None,
    qc: str = "good",
    gpp: str = "nt",
    et: str = "mds",
    latent_heat: str = "2.45",
    resolution: str | None = None,
    qc_fraction: float | None = None,
    overwrite: bool = False,
    jobs: int | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Store:
    """Read towers of any known format into a store; see the importers for details.

    ``et``, ``latent_heat``, ``resolution`` and ``qc_fraction`` are for FLUXNET archives
    (:class:`~fluxtrapolation.data.importers.fluxnet_columns.Options`).

    Raises
    ------
    DataError
        If the source is missing, unknown, an option has no meaning for its format, or no tower can be read.
    """
    text = str(source)
    kind = detect_format(text) if format == "auto" else format
    if kind not in FORMATS:
        raise DataError(f"There is no format {kind!r}. Known: {', '.join(FORMATS)}.")
    if kind != "fluxnet" and (et, latent_heat, resolution, qc_fraction) != ("mds", "2.45", None, None):
        raise DataError(
            f"--et, --latent-heat, --resolution and --qc-fraction are for FLUXNET archives; {text} is {kind}. "
            "Leave them out."
        )
    shared: dict[str, Any] = {
        "sites": sites,
        "sites_table": sites_table,
        "overwrite": overwrite,
        "jobs": jobs,
        "progress": progress,
    }
    if kind == "benchmark-csv":
        from fluxtrapolation.data.importers.benchmark_csv import import_benchmark_csv

        if (qc, gpp) != ("good", "nt"):
            raise DataError(
                "Benchmark files hold a ready qc_mask and one GPP: --qc and --gpp have no meaning for them. "
                "Leave them out."
            )
        return import_benchmark_csv(text, out, **shared)
    if kind == "fluxnet2015-zarr":
        from fluxtrapolation.data.importers.fluxnet2015_zarr import import_fluxnet2015_zarr

        choices: dict[str, Any] = {"qc": qc, "gpp": gpp}
        return import_fluxnet2015_zarr(text, out, **choices, **shared)
    from fluxtrapolation.data.importers.fluxnet_archive import import_fluxnet
    from fluxtrapolation.data.importers.fluxnet_columns import QC_FRACTION, Options

    if text.startswith(("http://", "https://")):
        raise DataError(f"FLUXNET archives are read from disk. Download {text} first.")
    named: dict[str, Any] = {"qc": qc, "gpp": gpp, "et": et, "latent_heat": latent_heat}
    options = Options(**named, qc_fraction=QC_FRACTION if qc_fraction is None else qc_fraction)
    asked: Any = resolution
    return import_fluxnet(text, out, options=options, resolution=asked, **shared)
