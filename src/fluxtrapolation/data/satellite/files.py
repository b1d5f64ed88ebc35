"""Which satellite files are meant, and what each of them is."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from fluxtrapolation.data.reading import near_name, reading
from fluxtrapolation.data.satellite.composites import SatelliteFile
from fluxtrapolation.errors import DataError, examples

_NETCDF: Final = (".nc", ".nc4", ".netcdf", ".h5")
_TABLES: Final = (".csv", ".parquet", ".pq")


def find_files(given: Iterable[str | Path]) -> list[Path]:
    """Files, the files of folders, and what a pattern such as ``'eo/*.nc'`` matches, without repeats.

    Raises
    ------
    DataError
        If something is not there, or nothing is left.
    """
    found: list[Path] = []
    for one in given:
        path = Path(one)
        with reading(path):
            if path.is_dir():
                inside = sorted(
                    p for p in path.iterdir() if p.suffix.casefold() in (*_NETCDF, *_TABLES) and p.is_file()
                )
                inside = [p for p in inside if not p.name.startswith(".")]
                if not inside:
                    raise DataError(f"{path} holds no NetCDF, CSV or Parquet file. Check the path.")
                found += inside
            elif path.exists():
                found.append(path)
            else:
                matched = sorted(Path(p) for p in glob.glob(str(one)))  # noqa: PTH207 (a pattern may be absolute)
                if not matched:
                    raise DataError(f"There is no file {one}.{near_name(path)} Check the path.")
                found += matched
    if not found:
        raise DataError("No satellite file was given. Give files or folders with --from.")
    return list(dict.fromkeys(found))


def open_files(
    paths: Sequence[Path], *, period: int | None, only_observed: bool = False
) -> tuple[list[SatelliteFile], dict[str, str]]:
    """Open every file; second: those that cannot be read, with the reason. One of them never stops the others."""
    from fluxtrapolation.data.satellite.netcdf import open_netcdf
    from fluxtrapolation.data.satellite.tidy import open_tidy

    opened: list[SatelliteFile] = []
    failures: dict[str, str] = {}
    for path in paths:
        kind = path.suffix.casefold()
        try:
            if kind in _NETCDF:
                opened.append(open_netcdf(path, period=period, only_observed=only_observed))
            elif kind in _TABLES and only_observed:
                raise DataError(
                    f"{path} is a table, which has no gap-fill flags: --only-observed is for NetCDF files of "
                    "FluxnetEO. Leave filled values out of the table itself."
                )
            elif kind in _TABLES:
                opened.append(open_tidy(path, period=period))
            else:
                raise DataError(f"{path} is neither NetCDF (.nc) nor a table (.csv, .parquet), going by its name.")
        except DataError as error:
            failures[str(path)] = str(error)
    if not opened:
        raise DataError("\n".join(failures.values()))
    return opened, failures


def one_file_a_site(files: Sequence[SatelliteFile]) -> dict[str, list[SatelliteFile]]:
    """Site to the files that speak of it."""
    by_site: dict[str, list[SatelliteFile]] = {}
    for file in files:
        for site in file.sites:
            by_site.setdefault(site, []).append(file)
    return by_site


def said_twice(covariate: str, site: str, files: Sequence[SatelliteFile]) -> DataError:
    """The error of a covariate that two files give for one site."""
    names = short_names(file.path for file in files)
    return DataError(
        f"Site {site}: {covariate} stands in {len(files)} files ({examples(names.values())}). Give only one of them."
    )


def short_names(paths: Iterable[Path]) -> dict[Path, str]:
    """A path to the end of it that no other path shares: its name, with as many folders before it as that takes."""
    given = list(paths)
    parts = {path: path.resolve().parts for path in given}
    names = {path: path.name for path in given}
    for count in range(2, max(map(len, parts.values()), default=0) + 1):
        held = Counter(names.values())
        shared = [path for path in given if held[names[path]] > 1]
        if not shared:
            break
        names |= {path: "/".join(parts[path][-count:]) for path in shared}
    return names
