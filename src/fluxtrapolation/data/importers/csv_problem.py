"""What is wrong with a benchmark CSV file, as rows of one table: site, what, how many, example, fix."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import polars as pl

from fluxtrapolation.errors import DataError

TABLE_SCHEMA: Final[dict[str, Any]] = {
    "site_id": pl.String,
    "level": pl.String,
    "what": pl.String,
    "count": pl.Int64,
    "example": pl.String,
    "fix": pl.String,
}
_EXAMPLE: Final = re.compile(r" \((?:first: )?(.*)\)$")
_COUNT: Final = re.compile(r"\b(\d[\d,]*) (?:of [\d,]+ )?(?:values|rows|times|hours|lines|places|columns)\b")
_COUNT_OF: Final = re.compile(r"\bin (\d[\d,]*) of [\d,]+ hours\b")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or odd, in one tower's file.

    Attributes
    ----------
    site, what : str
    fix : str
        What to do about it.
    example : str
        The first bad value, row or time, as it stands in the file; empty where there is none.
    count : int or None
        How many values, rows or hours are concerned.
    level : {'error', 'note'}
        A tower with an error is not imported; a note does no harm to the import.
    """

    site: str
    what: str
    fix: str
    example: str = ""
    count: int | None = None
    level: Literal["error", "note"] = "error"

    def __str__(self) -> str:
        return f"Site {self.site}: {self.what}{f' ({self.example})' if self.example else ''}. {self.fix}"

    @classmethod
    def from_text(cls, text: str, site: str) -> Problem:
        """Take the message of a check of :mod:`fluxtrapolation.data.checks` apart: ``what (example). Fix.``"""
        body = text.removeprefix(f"Site {site}: ")
        ends = [body.find(end) for end in ("). ", "; the schema wants ", ". ")]
        cut = min((end for end in ends if end >= 0), default=len(body))
        closing = 1 if body[cut : cut + 3] == "). " else 0
        head, fix = body[: cut + closing], body[cut + closing :].lstrip(".; ")
        found = _EXAMPLE.search(head)
        count = _COUNT_OF.search(head) or _COUNT.search(head)
        return cls(
            site,
            head[: found.start()] if found else head,
            fix[:1].upper() + fix[1:],
            example="" if found is None else head[found.start() + 2 : -1],
            count=None if count is None else int(count[1].replace(",", "")),
        )


class CsvFileError(DataError):
    """A file that cannot be read as a tower; ``problems`` holds every reason."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in problems))


def problems_of(error: DataError, site: str) -> tuple[Problem, ...]:
    """The problems behind any error met while reading a tower."""
    if isinstance(error, CsvFileError):
        return error.problems
    return tuple(Problem.from_text(line, site) for line in str(error).splitlines())


def problem_table(problems: Iterable[Problem]) -> pl.DataFrame:
    """Problems as a table, sorted by site: site_id, level, what, count, example, fix."""
    rows = [(p.site, p.level, p.what, p.count, p.example or None, p.fix) for p in problems]
    return pl.DataFrame(rows, schema=TABLE_SCHEMA, orient="row").sort("site_id", "level", maintain_order=True)
