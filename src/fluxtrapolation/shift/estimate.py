"""A number with its spread over repeats, or the reason why there is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Estimate:
    """Mean and spread of a measure over repeats, or why it cannot be estimated.

    Attributes
    ----------
    mean : float or None
        None where it cannot be estimated; ``reason`` then says why. Never NaN.
    sd : float or None
        Standard deviation over repeats (``ddof=1``); None for fewer than two.
    n : int
        Repeats that gave a value.
    reason : str or None
        Why there is no value; or, where some repeats gave none, why they did not.
    """

    mean: float | None
    sd: float | None = None
    n: int = 0
    reason: str | None = None

    @classmethod
    def over(cls, values: Sequence[float | None], *, reason: str | None = None) -> Estimate:
        """Summarise repeats; None and NaN are repeats without a value, for which ``reason`` is given."""
        kept = [float(value) for value in values if value is not None and math.isfinite(value)]
        if not kept:
            return cls(None, None, 0, reason or "no repeat gave a value")
        spread = float(np.std(kept, ddof=1)) if len(kept) > 1 else None
        return cls(float(np.mean(kept)), spread, len(kept), reason if len(kept) < len(values) else None)

    @classmethod
    def cannot(cls, reason: str) -> Estimate:
        """A measure that cannot be estimated."""
        return cls(None, None, 0, reason)

    def to_dict(self) -> dict[str, Any]:
        """``mean, sd, n, reason``, for JSON."""
        return {"mean": self.mean, "sd": self.sd, "n": self.n, "reason": self.reason}

    def text(self, pattern: str = "{:.3f}") -> str:
        """For people: ``0.861 ± 0.004``, or ``cannot be estimated: why``."""
        if self.mean is None:
            return f"cannot be estimated: {self.reason}"
        told = pattern.format(self.mean)
        return told if self.sd is None else f"{told} ± {pattern.format(self.sd)}"
