"""Towers of different parts that stand near each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations, permutations
from typing import Any, Final

import numpy as np
import polars as pl

from fluxtrapolation.scenarios.neighbours import Place, distance_matrix
from fluxtrapolation.scenarios.scenario import PartName

SAME_PLACE_KM: Final = 0.25
"""Two ids within this distance may be one tower under two names, or two towers over one stand."""

NEAR_SCHEMA: Final[dict[str, Any]] = {
    "site_a": pl.String,
    "part_a": pl.String,
    "site_b": pl.String,
    "part_b": pl.String,
    "distance_km": pl.Float64,
    "name_a": pl.String,
    "name_b": pl.String,
    "igbp_a": pl.String,
    "igbp_b": pl.String,
}
REACH_SCHEMA: Final[dict[str, Any]] = {
    "part": pl.String,
    "other": pl.String,
    "km": pl.Float64,
    "towers": pl.Int64,
    "with_neighbour": pl.Int64,
}


def near_pairs(places: Mapping[PartName, Sequence[Place]], km: float) -> pl.DataFrame:
    """Pairs of towers of different parts within ``km``, nearest first; the held-out tower is ``site_a``."""
    rows = []
    for other, part in combinations(places, 2):  # train, validation, test
        a, b = places[part], places[other]
        matrix = distance_matrix(a, b)
        for i, j in zip(*np.nonzero(matrix <= km), strict=True):
            one, two = a[i], b[j]
            row = (one.site_id, part, two.site_id, other, round(float(matrix[i, j]), 4))
            rows.append((*row, one.name, two.name, one.igbp, two.igbp))
    rows.sort(key=lambda row: (row[4], row[0], row[2]))
    return pl.DataFrame(rows, schema=NEAR_SCHEMA, orient="row")


def reach(places: Mapping[PartName, Sequence[Place]], thresholds: Sequence[float]) -> pl.DataFrame:
    """How many towers of each part have a tower of another part within each distance."""
    rows = []
    for part, other in permutations(places, 2):
        if not places[part] or not places[other]:
            continue
        nearest = distance_matrix(places[part], places[other]).min(axis=1)
        rows += [(part, other, float(km), len(nearest), int((nearest <= km).sum())) for km in thresholds]
    return pl.DataFrame(rows, schema=REACH_SCHEMA, orient="row")
