"""What the numbers say, in plain words."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from fluxtrapolation.plots import labels
from fluxtrapolation.plots.report.board import Board
from fluxtrapolation.plots.tables import Series

_SAME: Final = 0.02
"""Skills closer than this are called the same."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A large number with a line of words below it."""

    number: str
    words: str


@dataclass(frozen=True, slots=True)
class Headline:
    """Large numbers, sentences, and the model they speak of (None where there is none)."""

    tiles: tuple[Tile, ...]
    sentences: tuple[str, ...]
    best: Series | None


def headline(board: Board) -> Headline:
    """Say which model is best, how its skill changes with distance from the training data, and what the tail does."""
    best = best_series(board)
    if best is None:
        return Headline((), (_nothing(board),), None)
    if not board.has_baseline:
        return Headline((), tuple(_without_baseline(board, best)), best)
    if len({series.model for series in board.series}) == 1:
        only = board.series[0].model
        words = (
            f"Only one model, {only}, has been scored, and it is the baseline itself: its skill is 0 by definition. "
            "Train a second model to compare.",
        )
        return Headline((), (*words, *_errors(board, best)), best)
    sentences = [
        _winner(board, best),
        *certainty(board, best),
        *_by_scenario(board, best),
        *_tail(board, best),
        *_errors(board, best),
    ]
    return Headline(tuple(_tiles(board, best)), tuple(sentences), best)


def mean_skill(board: Board, series: Series, summary: str = "median") -> float | None:
    """Mean over targets of the skill in the fair cells; None where the model lacks one of them."""
    scores = [board.fair_skill(summary, series, target=target) for target in board.targets]
    scores = [score for score, target in zip(scores, board.targets, strict=True) if board.fair_cells(target)]
    known = [score for score in scores if score is not None]
    return fmean(known) if scores and len(known) == len(scores) else None


def best_series(board: Board) -> Series | None:
    """The model with the highest mean skill at the median; without skills the one that is best in most cells."""
    scored = [(score, series) for series in board.series if (score := mean_skill(board, series)) is not None]
    if scored:
        return max(scored, key=lambda pair: (pair[0], pair[1].model != board.baseline, pair[1].selection == "mean"))[1]
    wins: Counter[Series] = Counter()
    for target in board.targets:
        wins.update(board.wins(target))
    return max(sorted(wins), key=lambda series: wins[series]) if wins else None


def _cells(board: Board) -> str:
    count = sum(len(board.keys(target)) for target in board.targets)
    fair = sum(len(board.fair_cells(target)) for target in board.targets) if board.has_baseline else count
    if fair and fair < count:
        return f"the {fair} of {count} cells in which every model has a skill"
    return f"{count} cell{'s' if count != 1 else ''}"


def _winner(board: Board, best: Series) -> str:
    score = mean_skill(board, best)
    models = len({series.model for series in board.series})
    if score is None:
        return f"No model has a number in all {_cells(board)}, so no overall skill score is given."
    if best.model == board.baseline:
        return f"None of the {models - 1} other model(s) beats the baseline {board.baseline} over {_cells(board)}."
    each = labels.join_words(
        " ".join(
            part
            for part in (
                target if len(board.targets) > 1 else "skill",
                labels.number(board.fair_skill("median", best, target=target), 2),
                _between(board, best, target),
            )
            if part
        )
        for target in board.targets
    )
    rest = f" ({each})" if len(board.targets) > 1 or "[" in each else ""
    lead = (
        f"Of {models} models, {best.label} {'is best' if clear_winner(board, best) else 'has the highest mean skill'}."
    )
    if score <= 0:
        return (
            f"{lead} Yet its skill against {board.baseline} is {labels.number(score, 2)}: no better than the baseline."
        )
    return (
        f"{lead} For the median tower its error is {labels.percent(score)} below that of the baseline "
        f"{board.baseline}, averaged over {_cells(board)}{rest}."
    )


def _between(board: Board, series: Series, target: str) -> str:
    """Interval of a skill score in brackets; empty where it is not known, or the score is not over all cells."""
    standing = board.uncertainty.standing("median", target, series)
    if standing is None or not board.complete:
        return ""
    text = labels.interval(standing.low, standing.high, 2)
    return f"[{text}]" if text else ""


def rivals(board: Board, best: Series) -> dict[str, list[Series]]:
    """For every target whose ties are known: the models that cannot be told from the best of that target.

    The model ``best`` itself is left out; an empty list is a target in which it is alone at the top. Where ``best`` is
    not tied with the best of a target the list holds those that are.
    """
    known = {target: board.uncertainty.tied("median", target) for target in board.targets}
    return {target: [one for one in tied if one.model != best.model] for target, tied in known.items() if tied}


def clear_winner(board: Board, best: Series) -> bool:
    """Whether ``best`` is alone at the top for every target, as far as the choice of towers goes."""
    found = rivals(board, best)
    return len(found) == len(board.targets) and not any(found.values())


def certainty(board: Board, best: Series) -> list[str]:
    """Who is tied with the best, for which targets; or why that cannot be said."""
    if len({series.model for series in board.series}) < 2:
        return []
    found = rivals(board, best)
    if not found:
        notes = sorted({standing.note.rstrip(".") for standing in board.uncertainty.standings.values()} - {""})
        return [f"Whether other models are as good cannot be said from these towers: {notes[0]}."] if notes else []
    level = labels.percent(board.uncertainty.level)
    if clear_winner(board, best):
        return [
            f"No other model is tied with it: the differences are larger than the choice of towers explains ({level})."
        ]
    groups: dict[tuple[bool, tuple[str, ...]], list[str]] = {}
    for target, others in found.items():
        ahead = best not in board.uncertainty.tied("median", target)
        names = tuple(dict.fromkeys(one.label for one in others))
        groups.setdefault((ahead, names), []).append(target)
    parts = []
    for (ahead, names), targets in groups.items():
        where = f"for {labels.join_words(targets)}" if len(board.targets) > 1 else ""
        who = labels.join_words(names)
        if ahead:
            said = f"{who} {'is' if len(names) == 1 else 'are'} ahead of it"
        else:
            said = f"it is tied with {who}" if names else "it is alone at the top"
        parts.append(f"{said} {where}".rstrip())
    words = "; ".join(parts)
    return [
        f"That does not make it a clear winner. As far as the choice of towers goes ({level}), {words}. Models that "
        "are tied cannot be told apart by these towers."
    ]


def _scenario_skills(board: Board, best: Series, summary: str = "median") -> list[tuple[str, float]]:
    found = []
    for scenario in board.scenarios:
        held = [target for target in board.targets if scenario in board.scenarios_of(target)]
        skills = [board.fair_skill(summary, best, target=target, scenario=scenario) for target in held]
        known = [value for value in skills if value is not None]
        if known and len(known) == len(skills):
            found.append((scenario, fmean(known)))
    return found


def _ends(values: list[tuple[str, float]]) -> tuple[tuple[str, float], tuple[str, float]]:
    """The two scenarios to compare: temporal and temperature where both are there, else the highest and the lowest."""
    named = dict(values)
    if "temporal" in named and "temperature" in named:
        return ("temporal", named["temporal"]), ("temperature", named["temperature"])
    ranked = sorted(values, key=lambda pair: -pair[1])
    return ranked[0], ranked[-1]


def _by_scenario(board: Board, best: Series) -> list[str]:
    skills = _scenario_skills(board, best)
    if len(skills) < 2 or best.model == board.baseline:
        return []
    (first, start), (last, end) = _ends(skills)
    listed = labels.join_words(
        f"{labels.number(value, 2)} in {name}"
        + (f" ({labels.SCENARIO_MEANING[name]})" if name in labels.SCENARIO_MEANING else "")
        for name, value in skills
    )
    if abs(start - end) < _SAME:
        change = f"is about the same in {first} and {last}"
    elif (first, last) == ("temporal", "temperature"):
        change = f"{'falls' if end < start else 'rises'} from {first} to {last}"
    else:
        change = f"is highest in {first} and lowest in {last}"
    return [f"Its skill {change}: {listed}."]


def _tail(board: Board, best: Series) -> list[str]:
    middle, tail = mean_skill(board, best), mean_skill(board, best, "q90")
    if middle is None or tail is None or best.model == board.baseline:
        return []
    numbers = f"{labels.number(tail, 2)} at the 90th percentile against {labels.number(middle, 2)} at the median"
    if abs(tail - middle) < _SAME:
        said = f"Hard towers gain as much as ordinary ones: its skill is {numbers}."
    elif tail < middle:
        said = f"Hard towers gain less than ordinary ones: its skill is {numbers}."
    else:
        said = f"Hard towers gain more than ordinary ones: its skill is {numbers}."
    return [said, *_tied_at_the_tail(board, best)]


def _tied_at_the_tail(board: Board, best: Series) -> list[str]:
    """Who cannot be told from the best at the 90th percentile, where that is so."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for target in board.targets:
        tied = board.uncertainty.tied("q90", target)
        others = tuple(dict.fromkeys(one.label for one in tied if one.model != best.model))
        if best in tied and others:
            groups.setdefault(others, []).append(target)
    if not groups:
        return []
    listed = "; ".join(
        labels.join_words(names) + (f" ({labels.join_words(targets)})" if len(board.targets) > 1 else "")
        for names, targets in groups.items()
    )
    return [f"At the 90th percentile these towers do not tell it from {listed}."]


def _errors(board: Board, best: Series) -> list[str]:
    """Absolute errors of the first target at the finest scale, in the two scenarios that differ most."""
    target = board.targets[0]
    scale = board.scales[0] if board.scales else ""
    unit = labels.target_unit(target)
    parts = []
    middles = [
        (scenario, value)
        for scenario in board.scenarios_of(target)
        if (value := board.value("median", target, scenario, best, scale)) is not None
    ]
    for scenario, middle in dict(_ends(middles)).items() if middles else ():
        tail = board.value("q90", target, scenario, best, scale)
        if tail is not None:
            parts.append(
                f"{labels.significant(middle)} at the median tower and more than {labels.significant(tail)} at one "
                f"tower in ten in {scenario}"
            )
    if not parts:
        return []
    name = labels.SCALE_NAMES.get(scale, scale)
    said = f"In absolute terms, the RMSE of {name} {target} ({best.label}) is {'; '.join(parts)}"
    return [f"{said} ({unit})." if unit else f"{said}."]


def _without_baseline(board: Board, best: Series) -> list[str]:
    wins = sum(board.wins(target)[best] for target in board.targets)
    first = (
        f"The baseline {board.baseline} is not among the models, so there are no skill scores; compare errors directly."
    )
    if len(board.series) == 1:
        return [first, *_errors(board, best)]
    return [first, f"{best.label} has the lowest median error in {wins} of {_cells(board)}.", *_errors(board, best)]


def _nothing(board: Board) -> str:
    return f"None of the {_cells(board)} has a number; the reasons are listed below."


def _tiles(board: Board, best: Series) -> list[Tile]:
    score, tail = mean_skill(board, best), mean_skill(board, best, "q90")
    if score is None:
        return []
    tiles = [Tile(best.label, _best_words(board, best))]
    tiles.append(Tile(labels.number(score, 2), f"skill at the median tower; 0 is {board.baseline}, 1 is perfect"))
    if tail is not None:
        tiles.append(Tile(labels.number(tail, 2), "skill at the 90th percentile, the hard towers"))
    skills = _scenario_skills(board, best)
    if len(skills) > 1 and best.model != board.baseline:
        (first, start), (last, end) = _ends(skills)
        tiles.append(Tile(f"{labels.number(start, 2)} → {labels.number(end, 2)}", f"skill from {first} to {last}"))
    return tiles


def _best_words(board: Board, best: Series) -> str:
    models = len({series.model for series in board.series})
    if clear_winner(board, best):
        return f"best of {models} models, by mean skill"
    tied = list(dict.fromkeys(one.label for others in rivals(board, best).values() for one in others))
    more = f"; not told apart from {labels.join_words(tied)}" if tied else ""
    return f"highest mean skill of {models} models{more}"
