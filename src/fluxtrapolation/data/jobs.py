"""How many towers are worked on at once, unless the user says."""

from __future__ import annotations

import os


def default_jobs(most: int = 4) -> int:
    """The processors this process may use, at most ``most``."""
    affinity = getattr(os, "sched_getaffinity", None)
    usable = len(affinity(0)) if affinity is not None else os.cpu_count() or 1
    return max(1, min(most, usable))
