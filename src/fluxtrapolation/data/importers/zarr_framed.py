"""A Zarr store whose Blosc chunks are measured before they are unpacked.

Blosc trusts its input: given a chunk that was cut off it reads on past the end of the buffer and may return numbers.
The header of a chunk says how many bytes it has (bytes 12 to 15, little-endian; Blosc chunk format), so that a
truncated download is caught here with certainty.
"""

from __future__ import annotations

from functools import cache
from typing import Any

_HEADER = 16


def framing_problem(content: bytes | memoryview) -> str | None:
    """Say how a Blosc chunk's length disagrees with its own header, or None."""
    held = len(content)
    if held < _HEADER:
        return f"{held} bytes, too short for a chunk"
    stated = int.from_bytes(content[12:16], "little")
    return None if stated == held else f"{held:,} bytes where its header says {stated:,}"


def is_blosc(array: Any) -> bool:
    """Whether an array's chunks are Blosc frames as they lie in the store."""
    compressors: list[Any] = list(array.compressors or ())
    return bool(compressors) and type(compressors[-1]).__name__.lower().startswith("blosc")


@cache
def framed_store_class() -> Any:
    """The store class (made late: its base lives in zarr). Its attribute ``framed`` names the arrays to measure."""
    from zarr.storage import WrapperStore

    base: Any = WrapperStore

    class FramedStore(base):  # type: ignore[misc]
        def __init__(self, store: Any, framed: set[str] | None = None) -> None:
            super().__init__(store)
            self.framed: set[str] = set() if framed is None else framed

        def _with_store(self, store: Any) -> Any:
            return type(self)(store, self.framed)

        async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
            found = await super().get(key, prototype, byte_range)
            name, _, last = key.partition("/")
            if found is None or byte_range is not None or name not in self.framed or last.startswith((".z", "zarr.")):
                return found
            problem = framing_problem(found.to_bytes())
            if problem is not None:
                raise ValueError(f"chunk {key} has {problem}")
            return found

    return FramedStore
