"""The most memory a process held during one piece of work, where Linux tells it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_CLEAR: Final = Path("/proc/self/clear_refs")
_STATUS: Final = Path("/proc/self/status")
_RESET_PEAK: Final = "5"


class PeakMemory:
    """Measures from its making on.

    Writing 5 to ``/proc/self/clear_refs`` sets the peak ("high water mark") to what is resident now. Where that is not
    allowed, or on another system, nothing is known.
    """

    def __init__(self) -> None:
        try:
            _CLEAR.write_text(_RESET_PEAK)
            self._known = True
        except OSError:
            self._known = False

    def megabytes(self) -> float | None:
        """Most resident memory since then, 10^6 bytes; None where the system does not tell."""
        if not self._known:
            return None
        try:
            found = re.search(r"^VmHWM:\s*(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
        except OSError:
            return None
        return round(int(found[1]) * 1024 / 1e6, 1) if found else None
