"""Metrics beyond the published ones: exact on hard series, null with a reason where undefined, opt-in everywhere."""

from __future__ import annotations

import inspect
import math
from datetime import datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from evaluation_oracle import METRICS, quantile
from typer.testing import CliRunner

from fluxtrapolation.cli.main import app
from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.evaluation import Predictions, evaluate, get_metric, metric, metric_names
from fluxtrapolation.evaluation.metrics import _REGISTRY, PUBLISHED, choose_metrics
from fluxtrapolation.evaluation.pairs import make_pairs
from fluxtrapolation.evaluation.statistics import Shift

HOURS = 24 * 90
OPT_IN = METRICS[len(PUBLISHED) :]


def table(true: np.ndarray, pred: np.ndarray, site: str = "AA-S1") -> pl.DataFrame:
    time = pl.datetime_range(datetime(2019, 1, 1), datetime(2021, 1, 1), "1h", eager=True)[: len(true)]
    return pl.DataFrame({"site_id": [site] * len(true), "time": time, "y_true": true, "y_pred": pred})


def hourly(true: np.ndarray, pred: np.ndarray) -> dict[str, object]:
    return evaluate(table(true, pred), scales=["hourly"], metrics="all").frame.row(0, named=True)


def test_the_registry_tells_the_two_kinds_apart() -> None:
    assert metric_names("published") == PUBLISHED
    assert metric_names("opt-in")[: len(OPT_IN)] == OPT_IN
    assert metric_names() == metric_names("published") + metric_names("opt-in")
    assert [name for name in metric_names() if get_metric(name).published] == list(PUBLISHED)
    with pytest.raises(EvaluationError, match="no kind of metrics 'mine'"):
        metric_names("mine")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", METRICS)
def test_every_docstring_says_what_the_number_is(name: str) -> None:
    one = get_metric(name)
    text = " ".join((inspect.getdoc(one.function) or "").split())
    assert "est " in text or "sign of bias" in text or "published sign" in text
    assert f"est {one.best:g}" in text
    for need in one.needs:
        reason = {"two_pairs": "single_pair", "mean_true": "zero_mean"}.get(need, "zero_variance")
        assert f"``{reason}``" in text
    if one.unit == "target" and name not in ("rmse", "mae"):
        assert "nit of the target" in text


def test_only_the_published_ones_are_computed_unless_asked() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(size=HOURS)
    frame = table(true, true + 1)
    assert evaluate(frame).metrics == PUBLISHED
    assert evaluate(frame, metrics="published, kge").metrics == (*PUBLISHED, "kge")
    assert evaluate(frame, metrics=["kge", "rmse", "kge"]).metrics == ("kge", "rmse")
    assert evaluate(frame, metrics="all").metrics == metric_names()
    published = evaluate(frame, metrics="all").published().columns
    assert published[6:] == [*PUBLISHED, *OPT_IN]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("rsme", "no metric 'rsme'. Did you mean 'rmse'"),
        ("kgee", "Did you mean 'kge'"),
        ("publishd", "Did you mean 'published'"),
        ("", "No metric is asked for"),
        ([], "No metric is asked for"),
    ],
)
def test_unknown_metrics_are_refused(wanted: object, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        choose_metrics(wanted)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("offset_true", "offset_pred", "noise"),
    [(1e6, 1e6, 1e-2), (-1e6, 3e5, 1e-2), (0.0, 1e6, 1.0), (5.0, 5.0, 1e-7), (1e6, 1e6 + 50, 1e-4)],
)
def test_against_rationals(offset_true: float, offset_pred: float, noise: float) -> None:
    """1e6 plus noise of 1e-2, a bias that dwarfs the rest of the error, an error that is dwarfed by the signal."""
    rng = np.random.default_rng(5)
    true = offset_true + rng.normal(scale=1e-2, size=HOURS)
    pred = offset_pred + (true - offset_true) + rng.normal(scale=noise, size=HOURS)
    row = hourly(true, pred)
    t, p = [Fraction(float(one)) for one in true], [Fraction(float(one)) for one in pred]
    n = len(t)
    mean_t, mean_p = sum(t) / n, sum(p) / n
    error = [one - other for one, other in zip(t, p, strict=True)]
    mean_e = sum(error) / n
    var_t, var_p = sum((one - mean_t) ** 2 for one in t) / n, sum((one - mean_p) ** 2 for one in p) / n
    var_e = sum((one - mean_e) ** 2 for one in error) / n
    cov = sum((one - mean_t) * (other - mean_p) for one, other in zip(t, p, strict=True)) / n
    reach = sum((abs(other - mean_t) + abs(one - mean_t)) ** 2 for one, other in zip(t, p, strict=True))
    r = float(cov) / math.sqrt(float(var_t)) / math.sqrt(float(var_p))
    wanted = {
        "centred_rmse": math.sqrt(var_e),
        "correlation": r,
        "variance_ratio": float(var_p / var_t),
        "variability_ratio": math.sqrt(var_p / var_t),
        "willmott_d": float(1 - sum(one**2 for one in error) / reach),
        "q05_error": float(quantile(t, 5) - quantile(p, 5)),
        "q95_error": float(quantile(t, 95) - quantile(p, 95)),
        "median_absolute_error": float(quantile([abs(one) for one in error], 50)),
        "q90_absolute_error": float(quantile([abs(one) for one in error], 90)),
    }
    if offset_true:
        beta = wanted["mean_ratio"] = float(mean_p / mean_t)
        alpha = wanted["variability_ratio"]
        # Near 1 each part is known to rounding of 1, not of its distance from it.
        assert row["kge"] == pytest.approx(1 - math.hypot(r - 1, alpha - 1, beta - 1), rel=1e-9, abs=1e-14)
    for name, value in wanted.items():
        assert row[name] == pytest.approx(value, rel=1e-8 if name == "willmott_d" else 1e-9), name


def test_a_perfect_prediction_has_the_best_values() -> None:
    true = 3 + np.random.default_rng(1).normal(size=HOURS)
    row = hourly(true, true)
    for name in OPT_IN:
        assert row[name] == pytest.approx(get_metric(name).best, abs=1e-12), name


def test_the_sign_of_quantile_errors_is_observed_minus_predicted() -> None:
    true = 3 + np.random.default_rng(1).normal(size=HOURS)
    row = hourly(true, true + 2)
    assert row["q05_error"] == pytest.approx(row["bias"], rel=1e-12)
    assert row["q95_error"] == pytest.approx(-2, rel=1e-12)
    flat = hourly(true, true.mean() + (true - true.mean()) / 2)
    assert flat["q05_error"] < 0 < flat["q95_error"]
    assert flat["variability_ratio"] == pytest.approx(0.5)
    assert flat["variance_ratio"] == pytest.approx(0.25)


@pytest.mark.parametrize(
    ("true", "pred", "null", "reason"),
    [
        (
            "constant",
            "noise",
            {"correlation", "variability_ratio", "variance_ratio", "kge", "willmott_d", "nse", "r2_score"},
            "zero_variance",
        ),
        ("noise", "constant", {"correlation", "kge", "r2_score"}, "zero_variance"),
        ("balanced", "noise", {"mean_ratio", "kge", "relative_mae", "relative_bias"}, "zero_mean"),
    ],
)
def test_what_is_undefined_is_null_with_a_reason(true: str, pred: str, null: set[str], reason: str) -> None:
    rng = np.random.default_rng(2)
    made = {
        "constant": np.full(HOURS, 1 / 3),
        "noise": 4 + rng.normal(size=HOURS),
        "balanced": np.tile([1.25, -1.25], HOURS // 2),
    }
    row = hourly(made[true], made[pred])
    assert {name for name in metric_names() if row[name] is None} == null
    assert row["reason"] == reason


def test_one_pair_has_no_centred_error() -> None:
    rng = np.random.default_rng(3)
    true = 4 + rng.normal(size=HOURS)
    row = evaluate(table(true, true + 1), scales=["site-mean"], metrics=["centred_rmse", "q05_error", "rmse"]).frame
    assert row["centred_rmse"].to_list() == [None]
    assert row["reason"].to_list() == ["single_pair"]
    assert row["q05_error"].item() == pytest.approx(-1)


def test_missing_observations_leave_their_pairs_out() -> None:
    rng = np.random.default_rng(4)
    true = 4 + rng.normal(size=HOURS)
    pred = true + rng.normal(size=HOURS)
    holes = np.where(rng.random(HOURS) < 0.3, np.nan, true)
    kept = np.isfinite(holes)
    row = hourly(holes, pred)
    assert row["q95_error"] == pytest.approx(np.quantile(true[kept], 0.95) - np.quantile(pred[kept], 0.95))
    assert row["median_absolute_error"] == pytest.approx(np.median(np.abs(true - pred)[kept]))
    blind = hourly(np.full(HOURS, np.nan), pred)
    assert all(blind[name] is None for name in metric_names())
    assert blind["reason"] == "no_observations"


@pytest.mark.parametrize("q", [0.0, 0.05, 0.5, 0.9, 1.0])
def test_quantiles_are_those_of_numpy(q: float) -> None:
    rng = np.random.default_rng(6)
    group = np.sort(rng.integers(0, 9, 200))
    group = group[group != 4]
    values = rng.normal(size=len(group))
    nothing = np.zeros(9)
    pairs, present = make_pairs(values, values, group, Shift(nothing, nothing, nothing, nothing))
    assert present.tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    found = pairs.quantile(pairs.sorted_true, q)
    np.testing.assert_allclose(found, [np.quantile(values[group == one], q) for one in present], rtol=1e-13)
    assert len(pairs) == 8
    np.testing.assert_allclose(pairs.mean(pairs.true), [values[group == one].mean() for one in present], rtol=1e-12)


def test_a_metric_of_pairs_of_ones_own() -> None:
    @metric("largest_error", unit="target", best=0.0, takes="pairs")
    def largest_error(pairs):
        return pairs.quantile(pairs.sorted_size, 1.0)

    try:
        rng = np.random.default_rng(7)
        true = rng.normal(size=HOURS)
        pred = true + rng.normal(size=HOURS)
        both = pl.concat([table(true, pred), table(true, pred + 100, "AA-S2")])
        frame = evaluate(both, metrics=["largest_error"]).frame.filter(pl.col("scale") == "hourly")
        wanted = [np.abs(true - pred).max(), np.abs(true - pred - 100).max()]
        assert frame["largest_error"].to_list() == pytest.approx(wanted, rel=1e-12)
        with pytest.raises(EvaluationError, match="takes 'rows'"):
            metric("lucky", unit="1", best=0.0, takes="rows")
    finally:
        _REGISTRY.pop("largest_error")


def test_the_command(tmp_path: Path) -> None:
    true = np.random.default_rng(8).normal(size=HOURS)
    file = Predictions.from_frame(table(true, true + 1)).write(tmp_path / "p.parquet")
    run = CliRunner()

    def columns(*options: str) -> list[str]:
        out = tmp_path / "s.csv"
        done = run.invoke(app, ["evaluate", str(file), "--out", str(out), *options])
        assert done.exit_code == 0, done.output
        return out.read_text().splitlines()[0].split(",")

    own = columns("--metrics", "rmse,kge")
    assert own[own.index("n_samples") + 1 : own.index("reason")] == ["rmse", "kge"]
    assert set(METRICS) <= set(columns("--metrics", "all"))
    names = ("--target", "GPP", "--model", "m", "--scenario", "s", "--columns", "published")
    assert columns(*names)[6:] == list(PUBLISHED)
    assert columns("--metrics", "kge", *names)[6:] == [*PUBLISHED, "kge"]
    assert columns("--metrics", "kge", "--json")
    wrong = ["evaluate", str(file), "--out", str(tmp_path / "x.csv"), "--metrics", "rsme"]
    with pytest.raises(EvaluationError, match=r"no metric 'rsme'\. Did you mean 'rmse'"):
        run.invoke(app, wrong, catch_exceptions=False)
    assert not (tmp_path / "x.csv").exists()
