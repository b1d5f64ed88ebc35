"""Options that several commands share, so that they read and behave the same everywhere."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from fluxtrapolation.evaluation import Scores


class Protocol(StrEnum):
    paper = "paper"
    measured = "measured"


class QcRule(StrEnum):
    good = "good"
    measured = "measured"


class Partitioning(StrEnum):
    nt = "nt"
    dt = "dt"


DONE_IN_PART: Final = 2
"""Exit code of a command that did a part of what was asked and told why not the rest: as for bad input."""


def outside_stores(path: Path | None) -> Path | None:
    """Callback of options that name what a command writes: it must not lie in a store.

    Raises
    ------
    DataError
        If it is a store, or lies in one.
    """
    if path is not None:
        from fluxtrapolation.files import need_outside_stores

        need_outside_stores(path)
    return path


JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]
ProtocolOption = Annotated[
    Protocol, typer.Option("--protocol", help="paper: every row, as published. measured: qc_mask == 1 only.")
]
ScalesOption = Annotated[
    str | None,
    typer.Option("--scales", help="Which temporal scales, with commas between. Default: the six of the board."),
]
ScenariosOption = Annotated[
    str | None, typer.Option("--scenarios", help="Which scenarios, with commas between. Default: all in the scores.")
]


def chosen(scores: Scores, scenarios: str | None) -> Scores:
    """The scores of the scenarios asked for.

    Raises
    ------
    EvaluationError
        When the scores hold none of one of them.
    """
    from fluxtrapolation.errors import EvaluationError, did_you_mean, examples

    if scenarios is None:
        return scores
    wanted = [word.strip() for word in scenarios.split(",") if word.strip()]
    held = [str(one) for one in scores.frame["scenario"].drop_nulls().unique().sort()]
    for one in wanted:
        if one not in held:
            near = did_you_mean(one, held)
            raise EvaluationError(
                f"There are no scores of the scenario '{one}'.{near} The scores hold {examples(held)}."
            )
    return scores.where(scenario=wanted)


def chosen_scales(scales: str | None) -> tuple[str, ...]:
    """The scales asked for, those of the board unless any are.

    Raises
    ------
    EvaluationError
        On an unknown scale.
    """
    from fluxtrapolation.evaluation.evaluate import check_scales
    from fluxtrapolation.schema import BOARD_SCALES, SCALES

    if scales is None:
        return BOARD_SCALES
    if scales.strip() == "all":
        return SCALES
    return check_scales([word.strip() for word in scales.split(",") if word.strip()])
