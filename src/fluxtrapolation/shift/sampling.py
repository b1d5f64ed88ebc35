"""Which rows the measures of shift look at: all, or a share of each tower that keeps the train:test ratio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np

from fluxtrapolation.errors import DataError, ScenarioError
from fluxtrapolation.scenarios import Part, Split

Protocol = Literal["paper", "measured"]

MAX_ROWS: Final = 200_000
"""Train and test rows together that a measure looks at unless told otherwise."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Train and test rows of a split for a measure of shift.

    Attributes
    ----------
    train, test : Part
        Finite ``y`` throughout if made with ``need_target``. Codes of sites and domains are those of each part; compare
        towers of both parts by name.
    protocol : {'paper', 'measured'}
        ``paper`` keeps every test row, gap-filled hours included; ``measured`` those with ``qc == 1``, as in train.
    record : dict
        How the rows were chosen, for JSON: protocol, seed, max_rows, rows before and after of each part, and the test
        rows without a target that were left out.
    """

    train: Part
    test: Part
    protocol: Protocol
    record: dict[str, Any]

    @property
    def paired(self) -> bool:
        """Whether towers stand in both parts (a scenario by years): units of chance are then tower-years."""
        return bool(set(self.train.sites) & set(self.test.sites))


def choose_rows(
    split: Split,
    *,
    max_rows: int | None = MAX_ROWS,
    seed: int = 0,
    protocol: Protocol = "paper",
    need_target: bool = False,
) -> Rows:
    """Rows for the measures of shift.

    Each tower keeps the same share of its rows (to rounding), in both parts, so that the ratio of train to test and the
    weight of each tower are those of all rows: balanced accuracy and the cuts of common support depend on that ratio.

    Parameters
    ----------
    split : Split
        Not one made for sequences.
    max_rows : int or None
        Train and test rows together; None for all rows.
    seed : int
    protocol : {'paper', 'measured'}
    need_target : bool
        Leave out test rows whose target is missing (counted in ``record``).

    Raises
    ------
    ScenarioError
        If a part has no row.
    DataError
        If ``max_rows`` is too small to hold a row of each part, or the split was made for sequences.
    """
    train, test = split.train, split.test
    if train.mask is not None:
        raise DataError("This split was made for sequences. Measures of shift need one made without sequences=True.")
    if protocol not in ("paper", "measured"):
        raise DataError(f"There is no protocol {protocol!r}. Known: paper, measured.")
    record: dict[str, Any] = {"protocol": protocol, "seed": seed, "max_rows": max_rows}
    if protocol == "measured":
        test = test.take(test.qc == 1)
    lacking = 0
    if need_target:
        there = np.isfinite(test.y)
        lacking = int((~there).sum())
        test = test if lacking == 0 else test.take(there)
    for part in (train, test):
        if len(part) == 0:
            raise ScenarioError(
                f"Scenario '{split.scenario.name}': the {part.name} part has no row"
                f"{' with the target' if need_target else ''} under protocol {protocol}; its shift cannot be measured. "
                "Choose another scenario, target or protocol."
            )
    record |= {"train_rows": len(train), "test_rows": len(test), "test_rows_without_target": lacking}
    total = len(train) + len(test)
    if max_rows is not None and total > max_rows:
        wanted = [round(max_rows * len(part) / total) for part in (train, test)]
        if min(wanted) < 1:
            raise DataError(
                f"max_rows={max_rows:,} leaves no row of one part ({len(train):,} train and {len(test):,} test rows). "
                "Raise it."
            )
        train, test = train.subsample(wanted[0], seed=seed), test.subsample(wanted[1], seed=seed + 1)
    record |= {"train_rows_used": len(train), "test_rows_used": len(test)}
    return Rows(train, test, protocol, record)
