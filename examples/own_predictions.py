"""Score predictions that were made elsewhere. Nothing but the core of the package is needed, and no pandas.

    python examples/own_predictions.py

Here the observations are a made-up seasonal and daily cycle at four towers over three years, and the model knows it
but is too high by 1 at one tower, and too smooth within the day at all of them.
"""

from __future__ import annotations

import numpy as np

import fluxtrapolation as ft
from fluxtrapolation.evaluation import summarise


def main() -> None:
    """Make a table of observed and predicted GPP, score it under both protocols, print what differs."""
    table = predictions(("AA-Hig", "BB-Goo", "CC-Goo", "DD-Goo"))
    paper = ft.evaluate(table, target="GPP", scenario="my towers", model="mine")
    measured = ft.evaluate(table, target="GPP", scenario="my towers", model="mine", protocol="measured")
    for scores in (paper, measured):
        print(f"protocol {scores.protocol}: RMSE over towers, umol m-2 s-1")
        print(f"{'scale':>10} {'median':>8} {'worst':>8} {'towers':>7}")
        median = summarise(scores, summary="median", scales=None)
        worst = summarise(scores, summary="worst", scales=None)
        for one, other in zip(median.iter_rows(named=True), worst.iter_rows(named=True), strict=True):
            print(f"{one['scale']:>10} {one['value']:8.3f} {other['value']:8.3f} {one['n_domains']:7}")
        print()


def predictions(sites: tuple[str, ...]) -> dict[str, np.ndarray]:
    """A table of ``site_id, time, y_true, y_pred, qc_mask``: any frame or mapping with these columns will do."""
    time = np.arange("2018-01-01", "2021-01-01", dtype="datetime64[h]")
    hours = np.arange(len(time))
    season = 0.5 - 0.5 * np.cos(2 * np.pi * hours / 24 / 365.25)
    light = np.maximum(0.0, np.sin((hours % 24 - 6) / 12 * np.pi))
    observed = 30 * season * light
    predicted = 30 * season * (0.8 * light + 0.2 * light[:24].mean())
    random = np.random.default_rng(0)
    columns: dict[str, list[np.ndarray]] = {"site_id": [], "time": [], "y_true": [], "y_pred": [], "qc_mask": []}
    for site in sites:
        columns["site_id"].append(np.full(len(time), site))
        columns["time"].append(time)
        columns["y_true"].append(observed + random.normal(0, 1, len(time)))
        columns["y_pred"].append(predicted + (1.0 if site.endswith("Hig") else 0.0))
        columns["qc_mask"].append((random.random(len(time)) < 0.7).astype(np.int8))
    return {name: np.concatenate(parts) for name, parts in columns.items()}


if __name__ == "__main__":
    main()
