"""What lies beside FLUXNET files and is not read: told in one notice, with what to do about it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fluxtrapolation.data.importers.fluxnet_names import EXAMPLE, SITE, parse_name, table_site
from fluxtrapolation.data.reading import plain_text
from fluxtrapolation.errors import DataError, FluxtrapolationWarning, examples
from fluxtrapolation.schema import QC, TIME

PACKED: Final = (".gz", ".tgz", ".tar", ".bz2", ".xz", ".zst", ".7z", ".rar")
UNFINISHED: Final = (".part", ".crdownload", ".download", ".tmp")
REASON: Final = ".reason.txt"
"""End of the note that ``data fetch`` puts beside a file it rejected."""
_FETCH: Final = ("fetch.lock.json", ".part.json")
_KINDS: Final = {
    "rejected": ("rejected by 'data fetch'", f"Why files were rejected stands in NAME{REASON} beside them."),
    "packed": ("packed otherwise than as zip", "Unpack the packed ones (gunzip NAME.csv.gz, tar -xf NAME.tar.gz)."),
    "unfinished": ("unfinished downloads", "Finish the downloads."),
    "benchmark": ("benchmark CSV files", "Read benchmark files with --format benchmark-csv into another store."),
    "table": ("tables of other names", f"FLUXNET tables are read if they are named as {EXAMPLE}."),
    "zip": ("archives without any FLUXNET file", ""),
    "alone": ("FLUXNET files of towers without a half-hourly, hourly or daily one", "Fetch their FULLSET archives."),
    "other": ("of other kinds", ""),
    "link": ("links to folders", "Give a linked or deep folder itself as SOURCE."),
    "deep": ("folders too far below", "Give a linked or deep folder itself as SOURCE."),
    "closed": ("folders that may not be read", "Make the closed folders readable."),
}
"""What is said of each kind, and the fix; in the order in which they are told."""
_FOLDERS: Final = ("link", "deep", "closed")


@dataclass(slots=True)
class Leftovers:
    """Files and folders that were passed over, by kind; names as they are shown."""

    held: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, path: Path) -> None:
        """Note one that is passed over."""
        self.held.setdefault(kind, []).append(plain_text(path.name))

    def add_file(self, path: Path) -> None:
        """Note a file, its kind after its name or, of a table, its header."""
        suffix = path.suffix.casefold()
        if suffix in PACKED:
            self.add("packed", path)
        elif suffix in UNFINISHED:
            self.add("unfinished", path)
        elif suffix == ".zip":
            self.add("zip", path)
        elif suffix == ".csv":
            self.add("benchmark" if is_benchmark(path) else "table", path)
        else:
            self.add("other", path)

    def tell(self, source: Path) -> None:
        """Warn of all of them at once; nothing where there are none."""
        if not self.held:
            return
        folders = sum(len(self.held.get(kind, ())) for kind in _FOLDERS)
        files = sum(map(len, self.held.values())) - folders
        counted = [f"{n} {what}{'' if n == 1 else 's'}" for n, what in ((files, "file"), (folders, "folder")) if n]
        told = [(kind, self.held[kind]) for kind in _KINDS if kind in self.held]
        kinds = "; ".join(f"{_KINDS[kind][0]}: {len(names)} ({examples(names, 2)})" for kind, names in told)
        fixes = " ".join(dict.fromkeys(_KINDS[kind][1] for kind, _ in told if _KINDS[kind][1]))
        one = files + folders == 1
        warnings.warn(
            f"{' and '.join(counted)} of {source} {'is' if one else 'are'} passed over: {kinds}. {fixes}".rstrip(),
            FluxtrapolationWarning,
            stacklevel=3,
        )


def kept_by_fetch(name: str, beside: Collection[str]) -> bool:
    """Whether a file is one of those that ``data fetch`` keeps beside its downloads, of no matter to an importer."""
    if name.endswith(REASON):
        return name.removesuffix(REASON) in beside
    return name.endswith(_FETCH)


def packed_hint(files: Iterable[Path]) -> str:
    """A sentence on files that must be unpacked first, with a blank before it; empty where there are none."""
    packed = [plain_text(path.name) for path in files if path.suffix.casefold() in PACKED]
    if not packed:
        return ""
    are = "is packed otherwise than as zip" if len(packed) == 1 else "are packed otherwise than as zip"
    return f" {examples(packed)} {are}: unpack it first (gunzip NAME.csv.gz, tar -xf NAME.tar.gz)."


def benchmark_files(folder: Path) -> list[str]:
    """Names of the CSV files of a folder that are towers of the benchmark, not FLUXNET files.

    They are named as a site is, or their header says so; other tables beside FLUXNET files (site lists, variable
    lists) are none.
    """
    if not folder.is_dir():
        return []
    tables: Sequence[Path] = sorted(path for path in folder.glob("*.csv") if not path.name.startswith("."))
    return [path.name for path in tables if is_benchmark(path)]


def is_benchmark(path: Path) -> bool:
    """Whether a CSV file is a tower of the benchmark, after its name or its header."""
    from fluxtrapolation.data.importers.csv_header import read_header

    if parse_name(path.name) is not None or table_site(path.name) is not None:
        return False
    if re.fullmatch(SITE, path.stem):
        return True
    try:
        return {TIME, QC} <= set(read_header(path).names)
    except DataError:
        return False
