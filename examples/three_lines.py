"""Three lines to a score, on a world simulated for the purpose: ``python examples/three_lines.py [STORE]``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import fluxtrapolation as ft


def main() -> None:
    """Score boosted trees on the warm towers of a store; without one, of ten simulated towers."""
    with tempfile.TemporaryDirectory() as folder:
        if len(sys.argv) > 1:
            towers = Path(sys.argv[1])
        else:
            from fluxtrapolation.data.synthetic import write_world

            towers = Path(folder) / "towers"
            write_world(towers, sites=10, years=(2017, 2019))

        split = ft.split(towers, "temperature", target="GPP")
        model = ft.model("xgb").fit(split.train.X, split.train.y, eval_set=split.validation, seed=0)
        scores = ft.evaluate(split.test, model.predict(split.test.X))
        print(scores)


if __name__ == "__main__":
    main()
