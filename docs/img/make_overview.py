"""Draw ``overview.svg``, the picture of the README, from finished runs.

Usage: ``python docs/img/make_overview.py RUNS SCENARIO TARGET --title "..."``
"""

from __future__ import annotations

import argparse
from pathlib import Path

from fluxtrapolation.plots import overview, save
from fluxtrapolation.runs.gather import gather


def main() -> None:
    """Gather the runs and write the picture beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, help="folder of runs")
    parser.add_argument("scenario")
    parser.add_argument("target")
    parser.add_argument("--title")
    parser.add_argument("--store", type=Path, help="store of the runs, where it has moved")
    chosen = parser.parse_args()
    found = gather([chosen.runs], store=chosen.store)
    figure = overview(
        found.scores, found.split_sites, target=chosen.target, scenario=chosen.scenario, title=chosen.title
    )
    save(figure, Path(__file__).with_name("overview"), formats=["svg"])


if __name__ == "__main__":
    main()
