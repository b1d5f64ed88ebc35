"""File names and labels of the published benchmark: the one place where a file name is parsed."""

from __future__ import annotations

import re
from typing import NamedTuple

from fluxtrapolation.schema import SCENARIO_ALIASES

_PREDICTIONS = re.compile(r"^(?P<stem>.+_val_[^_]+)_predictions\.csv$")
_STEM = re.compile(r"^(?P<scenario>[^_]+)_(?P<target>[^_]+)_(?P<model>.+)_val_(?P<selection>[^_]+)$")
SITE_YEAR = r"^\('(.+)', (\d{4})\)$"
"""A site-year as the published tables print it: ``('AU-ASM', 2019)``."""


class PublishedName(NamedTuple):
    """What a published file name says: scenario (our name), target, model, selection."""

    scenario: str
    target: str
    model: str
    selection: str


def parse_stem(stem: str) -> PublishedName | None:
    """Read ``{scenario id}_{target}_{model}_val_{selection}``; None for any other name."""
    found = _STEM.match(stem)
    if found is None:
        return None
    scenario, target, model, selection = found.group("scenario", "target", "model", "selection")
    return PublishedName(SCENARIO_ALIASES.get(scenario, scenario), target, model, selection)


def parse_predictions_name(name: str) -> PublishedName | None:
    """Read ``{scenario id}_{target}_{model}_val_{selection}_predictions.csv``; None for any other name."""
    found = _PREDICTIONS.match(name)
    return None if found is None else parse_stem(found.group("stem"))


def published_site_year(site: str, year: int) -> str:
    """The published label of a site-year: ``('AU-ASM', 2019)``."""
    return f"('{site}', {year})"
