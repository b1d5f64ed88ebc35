"""A folder of ``{site}.csv`` files before any of them is read: which files, which columns, which are no tables."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fluxtrapolation.data.importers.csv_fetched import read_fetched
from fluxtrapolation.data.importers.csv_header import Header, read_header
from fluxtrapolation.data.importers.csv_problem import Problem, problems_of
from fluxtrapolation.data.importers.csv_sources import Sources, read_sources
from fluxtrapolation.data.importers.csv_table import PLACES
from fluxtrapolation.data.importers.csv_tower import TowerReader
from fluxtrapolation.data.importers.fluxnet_leftovers import PACKED, UNFINISHED
from fluxtrapolation.data.reading import reading
from fluxtrapolation.data.sites import SiteFacts, load_sites, read_sites_table
from fluxtrapolation.errors import DataError, FluxtrapolationWarning, did_you_mean, examples
from fluxtrapolation.schema import COVARIATES, PFT_PREFIX, QC, SITE, TARGETS, TIME

if TYPE_CHECKING:
    from fluxtrapolation.data.fetch.lock import Pin

_NOT_READ: Final = (*PACKED, *UNFINISHED, ".zip", ".xlsx", ".xls")
_ORDINARY: Final = (TIME, "year", QC, SITE, *PLACES, *TARGETS, *COVARIATES)


@dataclass(frozen=True, slots=True)
class FolderPlan:
    """What a folder holds.

    Attributes
    ----------
    files : mapping of str to Path
        Site id to file, in alphabetical order; all of them.
    headers : mapping of str to Header
        The columns of those that begin as a table.
    problems : tuple of Problem
        Why the others do not.
    told : Sources or None
        ``SOURCES.json``.
    given : mapping of str to SiteFacts
        The user's site table.
    fetched : mapping of str to Pin
        What the lock file of ``data fetch`` says of the files.
    """

    files: Mapping[str, Path]
    headers: Mapping[str, Header]
    problems: tuple[Problem, ...]
    told: Sources | None
    given: Mapping[str, SiteFacts]
    fetched: Mapping[str, Pin]

    def held(self) -> tuple[list[str], list[str], dict[str, str]]:
        """Targets and covariates of the store: those that most files hold. Third: those left out, and who has them.

        A file that lacks one of the store's columns fails by itself.
        """
        total = len(self.headers)
        counts = Counter(name for header in self.headers.values() for name in header.names)
        taken = {name for name in (*TARGETS, *COVARIATES) if counts[name] > total / 2}
        left_out = {
            name: f"{counts[name]} of {total} files"
            for name in (*TARGETS, *COVARIATES)
            if counts[name] and name not in taken
        }
        for kind, known in (("target", TARGETS), ("covariate", COVARIATES)):
            if not taken.intersection(known):
                listed = examples((f"{name} (in {count})" for name, count in left_out.items()), 12)
                raise DataError(
                    f"No {kind} ({examples(known, 4)}) is in more than half of the files"
                    f"{f': {listed}' if listed else ''}. Are these benchmark files?"
                )
        return [n for n in TARGETS if n in taken], [n for n in COVARIATES if n in taken], left_out

    def reader(self, targets: list[str], covariates: list[str], left_out: Mapping[str, str]) -> TowerReader:
        """What reads the files one by one."""
        return TowerReader(
            self.headers, targets, covariates, left_out, self.given, load_sites(), self.told, self.fetched
        )

    def tell_columns(self, targets: list[str], covariates: list[str], left_out: Mapping[str, str]) -> None:
        """Warn of columns that are left out: those of some files only, and those that the schema does not know."""
        if left_out:
            listed = examples((f"{name} (in {count})" for name, count in left_out.items()), 12)
            warnings.warn(
                f"Columns that no more than half of the files have are left out: {listed}.",
                FluxtrapolationWarning,
                stacklevel=4,
            )
        extra = Counter(
            name
            for header in self.headers.values()
            for name in header.names
            if name not in _ORDINARY and not name.startswith(PFT_PREFIX)
        )
        if extra:
            listed = examples((f"{name or '(no name)'} (in {count})" for name, count in sorted(extra.items())), 5)
            absent = [name for name in (*TARGETS, *COVARIATES) if name not in (*targets, *covariates)]
            meant = did_you_mean(next(iter(sorted(extra))), absent)
            warnings.warn(
                f"{len(extra)} columns are no part of the benchmark and are left out: {listed}.{meant}",
                FluxtrapolationWarning,
                stacklevel=4,
            )


def open_folder(folder: Path, *, sites: Sequence[str] | None, sites_table: str | Path | None) -> FolderPlan:
    """Find the files of a folder and read their headers.

    Raises
    ------
    DataError
        If the folder is missing or holds no CSV file, or a site asked for has none.
    """
    files, problems = _site_files(folder, sites)
    headers: dict[str, Header] = {}
    for site, path in files.items():
        if any(problem.site == site for problem in problems):
            continue
        try:
            headers[site] = read_header(path)
        except DataError as error:
            problems += problems_of(error, site)
    given = {} if sites_table is None else read_sites_table(sites_table)
    told, fetched = read_sources(folder), read_fetched(folder, files)
    return FolderPlan(files, headers, tuple(problems), told, given, fetched)


def _site_files(folder: Path, sites: Sequence[str] | None) -> tuple[dict[str, Path], list[Problem]]:
    with reading(folder):
        if folder.is_symlink() and not folder.exists():
            raise DataError(f"{folder} is a link that leads to nothing, or in a circle. Check the path.")
        if not folder.exists():
            raise DataError(f"There is no folder {folder}. Check the path.")
        if not folder.is_dir():
            raise DataError(f"{folder} is a file; give the folder that holds one {{site}}.csv per tower.")
        # Hidden files are other programs' (macOS writes ._DE-Hai.csv beside every file on foreign disks).
        entries = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    tables = [path for path in entries if path.suffix.casefold() == ".csv"]
    packed = [path.name for path in entries if path.suffix.casefold() in _NOT_READ]
    if not tables:
        also = f" It holds {examples(packed)}: unpack them." if packed else ""
        raise DataError(f"{folder} holds no .csv file. Give the folder with one {{site}}.csv per tower.{also}")
    if packed:
        counted = f"1 file of {folder} is" if len(packed) == 1 else f"{len(packed)} files of {folder} are"
        warnings.warn(
            f"{counted} not read: {examples(packed)}. "
            "Unpack what is packed, save workbooks as CSV, finish the downloads.",
            FluxtrapolationWarning,
            stacklevel=5,
        )
    files, problems = _one_a_site(tables)
    if sites is None:
        return files, problems
    if not sites:
        raise DataError("No site was asked for. Leave the sites out to import all.")
    missing = [site for site in sites if site not in files]
    if missing:
        raise DataError(
            f"{folder} has no file for {len(missing)} of the sites asked for: {examples(missing)}."
            f"{did_you_mean(missing[0], files)}"
        )
    chosen = {site: files[site] for site in sites}
    return chosen, [problem for problem in problems if problem.site in chosen]


def _one_a_site(tables: Sequence[Path]) -> tuple[dict[str, Path], list[Problem]]:
    """Site id to file; sites with two files, which many systems could not tell apart, are told."""
    files = {path.stem: path for path in tables}
    same: dict[str, list[Path]] = {}
    for path in tables:
        same.setdefault(path.stem.casefold(), []).append(path)
    problems = [
        Problem(
            site,
            "several files of this tower differ only in upper and lower case",
            "Keep the right one, named as the site is.",
            example=", ".join(path.name for path in paths),
            count=len(paths),
        )
        for paths in same.values()
        if len(paths) > 1
        for site in sorted({path.stem for path in paths})
    ]
    return files, problems
