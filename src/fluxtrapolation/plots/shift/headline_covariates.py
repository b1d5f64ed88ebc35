"""Whether P(X) is shifted, in sentences: from the domain classifier and from the distances that need none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import polars as pl

from fluxtrapolation.plots import labels
from fluxtrapolation.plots.shift import cells

SURE: Final = 0.05
"""p-value up to which a shift is called shown."""
DISTANCE: Final = "energy"
"""The distance that decides with the classifier; the others look at the same and only stand in the table."""


def p_words(value: Any) -> str:
    """``p = 0.010`` or ``p < 0.001``."""
    text = cells.chance(value)
    text = text.replace(" ", "\u00a0")
    return f"p\u00a0{text}" if text.startswith("<") else f"p\u00a0=\u00a0{text}"


def of_covariates(covariate: Mapping[str, Any], distances: pl.DataFrame | None = None) -> tuple[str, ...]:
    """The answer: classifier and distance by site first, then what the split by row adds.

    Parameters
    ----------
    covariate : mapping
        ``CovariateShift.to_dict()``.
    distances : polars.DataFrame, optional
        ``measure, value, exchanged, p_value, unit``, where the mapping has no ``distances``.
    """
    site, row = covariate.get("by_site") or {}, covariate.get("by_row") or {}
    record = covariate.get("record") or {}
    unit = str(record.get("unit") or "tower")
    distance = _distance(covariate.get("distances") or ([] if distances is None else distances.to_dicts()))
    said = _by_site(site, distance, unit, record.get("permutations"))
    if row.get("auc") is None:
        said.append(f"Split by row it cannot be estimated: {row.get('reason') or 'no reason given'}.")
        return tuple(said)
    text = f"Split by row, as published, the AUC is {cells.spread(row['auc'], row.get('auc_sd'))}."
    if site.get("auc") is not None and row["auc"] - site["auc"] > 2 * (site.get("auc_sd") or 0.0):
        text += (
            " Rows of one tower then stand on both sides of the split, so the classifier can recognise towers: what "
            f"it gains, {labels.number(row['auc'] - site['auc'], 3)}, is no evidence of a shift."
        )
    else:
        text += " Rows of one tower are not independent, so its p-value says little; read the one by site."
    return (*said, text)


def _distance(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The energy distance, if it has a p-value."""
    for row in rows:
        if row.get("measure") == DISTANCE and row.get("p_value") is not None:
            return row
    return None


def _by_site(site: Mapping[str, Any], distance: Mapping[str, Any] | None, unit: str, draws: Any) -> list[str]:
    classifier = _classifier(site, unit, draws)
    p = site.get("p_value") if site.get("auc") is not None else None
    if distance is None:
        return [f"{_verdict(p)}{classifier}."]
    far = (
        f"the energy distance of their covariates is {labels.significant(float(distance['value']), 3)}"
        f"{_exchanged(distance)}, {p_words(distance['p_value'])} (labels of whole {distance.get('unit') or unit}s "
        "exchanged)"
    )
    if p is None:
        return [f"{_verdict(distance['p_value'])}{far}.", f"{_verdict(p, again=True)}{classifier}."]
    shown = _shown(p, distance["p_value"])
    by_classifier, by_distance = p <= SURE, distance["p_value"] <= SURE
    if by_classifier == by_distance:
        return [f"{'Yes' if shown else 'Not shown'}: {classifier}.", f"Without a classifier {far}."]
    lead = "Yes" if shown else "Open"
    allowed = (
        "the smaller p-value holds even when doubled for having asked twice"
        if shown
        else "of two tests one falls below 0.05 by chance up to twice as often as one alone, so this decides nothing"
    )
    if by_distance:
        return [
            f"{lead}, by distances, though the classifier does not show it: {far}; {allowed}.",
            f"The classifier: {classifier}. The distances have more power: they look at all {unit}s at once, while the "
            f"classifier learns from one half of the {unit}s to tell the other half.",
        ]
    return [
        f"{lead}, by the classifier, though the distances do not show it: {classifier}; {allowed}.",
        f"Without a classifier {far}. A classifier finds a change of how covariates go together, or in few of them, "
        "that a distance over all of them can miss.",
    ]


def _shown(one: float, two: float) -> bool:
    """Two tests of one hypothesis at the level of one (Simes 1986, Biometrika 73, 751): both small, or one by half."""
    return max(one, two) <= SURE or min(one, two) <= SURE / 2


def _verdict(p: float | None, *, again: bool = False) -> str:
    if p is None:
        return "The classifier: " if again else ""
    return "Yes: " if p <= SURE else "Not shown: "


def _exchanged(distance: Mapping[str, Any]) -> str:
    usual = distance.get("exchanged")
    return "" if usual is None else f", where exchanged labels give {labels.significant(float(usual), 3)} on average"


def _classifier(site: Mapping[str, Any], unit: str, draws: Any) -> str:
    """What the classifier by site says, without the dot."""
    auc = site.get("auc")
    if auc is None:
        return f"It cannot be estimated between towers: {site.get('reason') or 'no reason given'}"
    told = cells.spread(auc, site.get("auc_sd"))
    p = site.get("p_value")
    about = f"at towers it has not seen, a classifier tells test rows from train rows with an AUC of {told}"
    about += " (mean ± standard deviation over repeats; 0.5 is guessing, 1 is certainty)"
    if p is None:
        return f"Not decided: {about}, but there is no p-value. {site.get('p_note') or ''}".rstrip(" .")
    chance = f"a test that exchanges the labels of whole {unit}s gives {p_words(p)}"
    if isinstance(draws, int) and p * (draws + 1) < 1.5:
        chance += f", the smallest that {draws} exchanges can give"
    seen, usual = site.get("permutation_auc"), site.get("exchanged_auc")
    if seen is not None and usual is not None:
        chance += f" (by a smaller classifier; its AUC is {labels.number(seen, 3)}, with labels exchanged "
        chance += f"{labels.number(usual, 3)} on average)"
    return f"{about}; {chance}"
