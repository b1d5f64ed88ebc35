"""The front door: composes the rooms. ``import fluxtrapolation as ft`` gives these names, loaded on first use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from fluxtrapolation.evaluation import Comparison, Predictions, Ranking, Scores

if TYPE_CHECKING:
    from fluxtrapolation.data.store import Store
    from fluxtrapolation.models import FluxModel
    from fluxtrapolation.scenarios import Part, Scenario, Split

__all__ = ["Predictions", "Scores", "compare", "evaluate", "model", "open_store", "rank", "scenario", "split"]


def open_store(path: str | Path) -> Store:
    """Open a store; see :class:`fluxtrapolation.data.store.Store`."""
    from fluxtrapolation.data.store import Store

    return Store(path)


def scenario(name: str | Path) -> Scenario:
    """Load a scenario by name, published id or file; see :func:`fluxtrapolation.scenarios.load_scenario`."""
    from fluxtrapolation.scenarios import load_scenario

    return load_scenario(name)


def split(store: Store | str | Path, scenario: Scenario | str | Path, *, target: str, **options: Any) -> Split:
    """Apply a scenario to a store for one target; see :func:`fluxtrapolation.scenarios.make_split`."""
    from fluxtrapolation.scenarios import make_split

    return make_split(store, scenario, target=target, **options)


def model(name: str, **params: Any) -> FluxModel:
    """Make a registered model, unfitted; ``fluxtrapolation models`` lists them."""
    from fluxtrapolation.models import model_spec

    return model_spec(name).build(**params)


def evaluate(
    rows: Part | Predictions | str | Path | Any,
    y_pred: ArrayLike | Predictions | str | Path | None = None,
    *,
    model: str = "",
    selection: str = "",
    **options: Any,
) -> Scores:
    """Score predictions on all temporal scales.

    Parameters
    ----------
    rows : Part, Predictions, path, or any table
        A part of a split (then give ``y_pred``), a file of predictions, or a table with
        ``site_id, time, y_true, y_pred``.
    y_pred : array_like of shape (n,), Predictions or path, optional
        Predictions for the rows of a part, in the target's unit; or a table of them, which must hold every row of it.
    model, selection : str, optional
        Labels in the scores.
    **options
        ``protocol`` ('paper' or 'measured') and the rest of :func:`fluxtrapolation.evaluation.evaluate`.

    Returns
    -------
    Scores
        One row per (scale, domain).

    Raises
    ------
    EvaluationError
        If predictions are missing, infinite or do not fit the rows.
    """
    from fluxtrapolation.errors import EvaluationError
    from fluxtrapolation.evaluation import Identity
    from fluxtrapolation.evaluation import evaluate as score
    from fluxtrapolation.scenarios import Part

    if isinstance(rows, Part):
        if y_pred is None:
            raise EvaluationError("Give the predictions too: ft.evaluate(split.test, model.predict(split.test.X)).")
        if isinstance(y_pred, Predictions | str | Path):
            table = y_pred if isinstance(y_pred, Predictions) else Predictions.read(y_pred)
            return score(table, truth=rows, model=model or None, selection=selection or None, **options)
        who = Identity(
            scenario=rows.scenario,
            target=rows.target,
            model=model,
            selection=selection,
            domain_kind=rows.domain_kind,
            resolution=rows.provenance.get("resolution", "hourly"),
            store_hash=rows.provenance.get("store_hash", ""),
            scenario_hash=rows.provenance.get("scenario_hash", ""),
        )
        return score(Predictions(rows.to_frame(y_pred), who, where=f"The {rows.name} part"), **options)
    if y_pred is not None:
        raise EvaluationError("y_pred goes with a part of a split; a table or file holds its own column y_pred.")
    table = Predictions.read(rows) if isinstance(rows, str | Path) else rows
    return score(table, model=model or None, selection=selection or None, **options)


def compare(a: Scores | str | Path | Any, b: Scores | str | Path | Any, **options: Any) -> Comparison:
    """Compare two models on the same held-out sites; see :func:`fluxtrapolation.evaluation.compare`.

    Parameters
    ----------
    a, b : Scores, their table, or path
        ``ft.compare(scores, scores, model_a="xgb", model_b="lr")`` where one table holds both.
    **options
        ``summary``, ``metric``, ``level``, ``draws``, ``seed`` and the rest.

    Returns
    -------
    Comparison
        ``.overall`` and ``.cells``; printed, it says who is better and how sure that is.
    """
    from fluxtrapolation.evaluation import compare as compare_models

    return compare_models(a, b, **options)


def rank(scores: Scores | str | Path | Any, **options: Any) -> Ranking:
    """Rank models by skill, with intervals; see :func:`fluxtrapolation.evaluation.rank`.

    Parameters
    ----------
    scores : Scores, their table, or path of a file or folder
    **options
        ``target``, ``summary``, ``baseline``, ``metric``, ``level``, ``draws``, ``seed`` and the rest.

    Returns
    -------
    Ranking
        ``.table`` and ``.pairs``.
    """
    from fluxtrapolation.evaluation import rank as rank_models

    return rank_models(Scores.read(scores) if isinstance(scores, str | Path) else scores, **options)
