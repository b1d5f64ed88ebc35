"""One small tree of errors. Each message says what, where, how many, one example and the fix.

The command line prints any :class:`FluxtrapolationError` without a traceback and exits with code 2.
"""

from __future__ import annotations

from collections.abc import Iterable


class FluxtrapolationError(Exception):
    """Base of every error the package raises on bad input or bad usage."""


class DataError(FluxtrapolationError):
    """A file, folder or table that cannot be used as it is."""


class UnitError(DataError):
    """Values whose range shows another unit than the schema's."""


class SchemaVersionError(DataError):
    """A store or file written by a newer version of the package."""


class MissingColumnError(DataError):
    """A target or covariate that is not there; the message lists what exists."""


class ScenarioError(FluxtrapolationError):
    """A scenario that does not exist, is malformed, or does not fit the store."""


class ModelError(FluxtrapolationError):
    """A model that does not exist, lacks its library, or refuses its input."""


class RunError(FluxtrapolationError):
    """A run folder that cannot be used or continued."""


class EvaluationError(FluxtrapolationError):
    """Predictions or scores that cannot be evaluated as they are."""


class SubmissionError(FluxtrapolationError):
    """A submission that breaks one or more rules of the board."""


class FluxtrapolationWarning(UserWarning):
    """Something the user should know but that does not stop the work."""


def examples(items: Iterable[object], limit: int = 3) -> str:
    """Join at most ``limit`` items for a message, saying how many more there are."""
    rows = [str(item) for item in items]
    shown = ", ".join(rows[:limit])
    return shown if len(rows) <= limit else f"{shown} and {len(rows) - limit} more"


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest known name, else an empty string."""
    from difflib import get_close_matches

    options = list(known)
    folded = {option.casefold(): option for option in options}
    close = get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    return f" Did you mean '{folded[close[0]]}'?" if close else ""
