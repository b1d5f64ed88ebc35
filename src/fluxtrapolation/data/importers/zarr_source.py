"""Reading a FLUXNET2015 Zarr store, on disk or by URL, one tower and one variable at a time."""

from __future__ import annotations

import json
import time as clock
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import numpy as np

from fluxtrapolation.data.importers.hourly import STEP_MIN, Packed
from fluxtrapolation.data.importers.zarr_framed import framed_store_class, is_blosc
from fluxtrapolation.data.reading import near_name, reading
from fluxtrapolation.errors import DataError, MissingColumnError, UnitError, did_you_mean

T = TypeVar("T")

ATTEMPTS: Final = 3
TIMEOUT_S: Final = 60
PACKED_MISSING: Final = 65535
UNITS: Final[Mapping[str, tuple[str, ...]]] = {
    "ta": ("degC", "deg C", "degrees_celsius", "Celsius"),
    "sw_in": ("W m-2", "W/m2", "W m^-2"),
    "vpd": ("hPa", "mbar"),
    "nee": ("umolCO2 m-2 s-1", "umol m-2 s-1", "umol CO2 m-2 s-1"),
    "gpp_nt": ("umolCO2 m-2 s-1", "umol m-2 s-1", "umol CO2 m-2 s-1"),
    "gpp_dt": ("umolCO2 m-2 s-1", "umol m-2 s-1", "umol CO2 m-2 s-1"),
}
_METADATA: Final[tuple[tuple[str, Literal[2, 3]], ...]] = ((".zmetadata", 2), (".zgroup", 2), ("zarr.json", 3))
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """The regular half-hourly axis: ``first`` is the END stamp of step 0 in the store's own UTC."""

    first: np.datetime64
    steps: int


def _moment(text: str) -> np.datetime64:
    """A moment such as ``1991-01-01 06:00:00``, whole minutes; NaT if it cannot be read."""
    try:
        return np.datetime64(text.strip().replace(" ", "T").removesuffix("Z"), "m")
    except ValueError:
        return np.datetime64("NaT", "m")


class FluxnetZarr:
    """A FLUXNET2015 Zarr store (version 2; version 3 is read as well).

    Parameters
    ----------
    source : str
        Folder or URL (``https://...``).

    Attributes
    ----------
    source : str
    sites : tuple of str
        In the order of the store, which is not sorted.
    axis : TimeAxis

    Raises
    ------
    DataError
        If there is no such store, it cannot be reached, or it is something else.
    """

    def __init__(self, source: str | Path) -> None:
        self.source = str(source)
        self.remote = "://" in self.source
        self._framed: set[str] = set()
        self._group = self._open()
        self._arrays: dict[str, Any] = {}
        self.sites = self._read_sites()
        self.axis = self._read_axis()
        self._position = {site: index for index, site in enumerate(self.sites)}

    def need(self, name: str) -> None:
        """Raise unless the store holds a variable over sites and time, in a unit that is understood."""
        array = self._array(name)
        if sorted(self._dims(array)) != ["site", "time"]:
            raise DataError(
                f"{self.source}: {name} lies over {', '.join(self._dims(array)) or 'unnamed dimensions'}; "
                "expected site and time. This is not a FLUXNET2015 Zarr store."
            )
        expected = {"site": len(self.sites), "time": self.axis.steps}
        shape = dict(zip(self._dims(array), array.shape, strict=True))
        if shape != expected:
            raise DataError(f"{self.source}: {name} has the shape {shape}, the coordinates say {expected}.")
        unit = str(array.attrs.get("units", "")).strip()
        if unit and name in UNITS and unit not in UNITS[name]:
            raise UnitError(
                f"{self.source}: {name} is in {unit!r}, expected {UNITS[name][0]!r}. Convert it or correct its units."
            )

    def read(self, site: str, name: str) -> Packed:
        """One variable of one tower over the whole axis.

        Raises
        ------
        DataError
            If a chunk is damaged or cannot be fetched.
        """
        array = self._array(name)
        where = self._position[site]
        index = tuple(where if dim == "site" else slice(None) for dim in self._dims(array))
        stored = np.asarray(self._fetch(lambda: array[index], f"{name} of {site}"))
        attrs = array.attrs
        if stored.dtype.kind == "f":
            valid = np.isfinite(stored)
        else:
            marker = attrs.get("_FillValue", attrs.get("missing_value", array.fill_value))
            valid = stored != (PACKED_MISSING if marker is None else marker)
        return Packed(stored, float(attrs.get("scale_factor", 1.0)), float(attrs.get("add_offset", 0.0)), valid)

    def absent_chunks(self, site: str, name: str, variable: Packed, span: tuple[int, int]) -> list[str]:
        """Chunks that hold nothing inside ``span`` because the store does not have them.

        Zarr reads an absent chunk as missing values, so an incomplete copy looks like a tower without data. Only
        chunks without any value are asked for.
        """
        array = self._array(name)
        dims = self._dims(array)
        length = array.chunks[dims.index("time")]
        row = self._position[site] // array.chunks[dims.index("site")]
        absent = []
        for number in range(span[0] // length, span[1] // length + 1):
            if variable.valid[number * length : (number + 1) * length].any():
                continue
            key = array.metadata.encode_chunk_key(tuple(row if dim == "site" else number for dim in dims))
            if not self._exists(f"{name}/{key}"):
                absent.append(f"{name}/{key}")
        return absent

    # -- opening ---------------------------------------------------------------------------------------------------

    def _open(self) -> Any:
        try:
            import zarr
            from zarr.storage import FsspecStore, LocalStore
        except ImportError:
            raise DataError(
                "Reading Zarr needs a library that is not installed. Run: pip install 'fluxtrapolation[zarr]'."
            ) from None
        metadata = self._metadata()
        if metadata is None:
            raise DataError(
                f"{self.source} is not a Zarr store: it has none of .zmetadata, .zgroup and zarr.json. "
                "Give the folder or address that ends in .zarr."
            )
        store: Any
        if not self.remote:
            store = LocalStore(self.source, read_only=True)
        else:
            store = FsspecStore.from_url(self.source, storage_options=self._storage_options(), read_only=True)
        store = framed_store_class()(store, self._framed)
        try:
            return self._fetch(lambda: zarr.open_group(store, mode="r", zarr_format=metadata), "the metadata")
        except (KeyError, TypeError, FileNotFoundError) as error:
            raise DataError(f"{self.source} has damaged Zarr metadata ({error!r}). Fetch or copy it again.") from None

    def _metadata(self) -> Literal[2, 3] | None:
        """Zarr version of the store, or None; raises when the address answers with something else."""
        if not self.remote:
            folder = Path(self.source)
            with reading(folder):
                if not folder.exists():
                    raise DataError(f"There is no Zarr store at {folder}.{near_name(folder)} Check the path.")
                if folder.is_file():
                    raise DataError(f"{folder} is a file; a Zarr store is a folder. Unpack it and give the folder.")
        for name, version in _METADATA:
            content = self._content(name)
            if content is None:
                continue
            if content.lstrip()[:1] == b"<":
                raise DataError(
                    f"{self.source}/{name} is a web page, not Zarr metadata. The address is wrong or asks for a login."
                )
            try:
                json.loads(content)
            except ValueError as error:
                raise DataError(f"{self.source}/{name} is damaged: it is not JSON ({error}). Copy it again.") from None
            return version
        return None

    def _content(self, name: str) -> bytes | None:
        if not self.remote:
            path = Path(self.source) / name
            with reading(path):
                return path.read_bytes() if path.is_file() else None
        try:
            return bytes(self._fetch(lambda: self._filesystem().cat_file(self._url(name)), name))
        except FileNotFoundError:
            return None

    def _exists(self, name: str) -> bool:
        if not self.remote:
            return (Path(self.source) / name).is_file()
        return bool(self._fetch(lambda: self._filesystem().exists(self._url(name)), name))

    def _url(self, name: str) -> str:
        return f"{self.source.rstrip('/')}/{name}"

    def _filesystem(self) -> Any:
        import fsspec

        return fsspec.core.url_to_fs(self.source, **self._storage_options())[0]

    def _storage_options(self) -> dict[str, Any]:
        if not self.source.startswith(("http://", "https://")):
            return {}
        import aiohttp

        from fluxtrapolation import __version__

        return {
            "client_kwargs": {
                "timeout": aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_S, sock_read=TIMEOUT_S),
                "headers": {"User-Agent": f"fluxtrapolation/{__version__}"},
                "trust_env": True,  # proxies
            }
        }

    def _fetch(self, action: Callable[[], T], what: str) -> T:
        """Do it, a few times if the network fails; say plainly why it cannot be done."""
        network: tuple[type[Exception], ...] = (OSError, TimeoutError)
        if self.remote:
            from aiohttp import ClientError

            network = (OSError, TimeoutError, ClientError)
        attempt = 1
        while True:
            try:
                return action()
            except FileNotFoundError:
                raise
            except network as error:
                if not self.remote or attempt == ATTEMPTS:
                    tries = f" after {ATTEMPTS} attempts" if self.remote else ""
                    raise DataError(
                        f"{what} cannot be read from {self.source}{tries} ({str(error) or type(error).__name__}). "
                        "Check the address and the connection, then run the same command again."
                    ) from None
            except (RuntimeError, ValueError) as error:
                # What the decompressors raise on a chunk that is cut off, overwritten or not a chunk at all.
                raise DataError(
                    f"{what} is damaged in {self.source} ({error}). Copy or fetch its chunk again, then run the same "
                    "command again."
                ) from None
            clock.sleep(0.3 * 2**attempt)
            attempt += 1

    # -- coordinates -----------------------------------------------------------------------------------------------

    def _array(self, name: str) -> Any:
        if name not in self._arrays:
            try:
                self._arrays[name] = self._fetch(lambda: self._group[name], name)
            except (KeyError, FileNotFoundError):
                held = self._held()
                raise MissingColumnError(
                    f"The Zarr store {self.source} has no variable {name}.{did_you_mean(name, held)} "
                    f"It holds: {', '.join(held) or 'nothing that it lists'}."
                ) from None
            if is_blosc(self._arrays[name]):
                self._framed.add(name)
        return self._arrays[name]

    def _held(self) -> list[str]:
        # A web server lists no folders: without consolidated metadata a remote store cannot say what it holds.
        if self.remote and self._group.metadata.consolidated_metadata is None:
            return []
        return sorted(self._group.array_keys())

    @staticmethod
    def _dims(array: Any) -> list[str]:
        named = getattr(array.metadata, "dimension_names", None) or array.attrs.get("_ARRAY_DIMENSIONS", [])
        return [str(name) for name in named]

    def _read_sites(self) -> tuple[str, ...]:
        array = self._array("site")
        values = np.asarray(self._fetch(lambda: array[:], "the list of sites"))
        sites = tuple(v.decode() if isinstance(v, bytes) else str(v).strip() for v in values.tolist())
        twice = sorted({site for site in sites if sites.count(site) > 1})
        if twice:
            raise DataError(f"{self.source} lists {len(twice)} sites more than once, e.g. {twice[0]}.")
        if not sites:
            raise DataError(f"{self.source} lists no sites.")
        return sites

    def _read_axis(self) -> TimeAxis:
        array = self._array("time")
        stored = np.asarray(self._fetch(lambda: array[:], "the time axis")).astype(np.int64)
        unit, _, epoch = str(array.attrs.get("units", "")).partition(" since ")
        seconds = _SECONDS.get(unit.strip().rstrip("s"))
        start = _moment(epoch)
        if seconds is None or np.isnat(start) or stored.size < 2:
            raise DataError(
                f"{self.source}: the time axis cannot be read (units {array.attrs.get('units')!r}, {stored.size} "
                "steps). Expected such as 'minutes since 1991-01-01 06:00:00'."
            )
        minutes = stored * seconds // 60
        steps = np.diff(minutes)
        if (steps != STEP_MIN).any():
            position = int((steps != STEP_MIN).argmax())
            raise DataError(
                f"{self.source}: the time axis is not half-hourly throughout: {int((steps != STEP_MIN).sum()):,} steps "
                f"differ from {STEP_MIN} min (first: {steps[position]} min after step {position}). "
                "This is not a FLUXNET2015 Zarr store."
            )
        return TimeAxis(first=start + np.timedelta64(int(minutes[0]), "m"), steps=stored.size)
