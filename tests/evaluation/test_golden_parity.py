"""Agreement with the published implementation, case by case: outside data read in place, one small case kept here."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.errors import EvaluationError, FluxtrapolationWarning
from fluxtrapolation.evaluation import Identity, Predictions, evaluate

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "golden_08h"
ANOMALIES = ("anom", "iav")
COMPARED = ("mse", "rmse", "mae", "nse", "r2_score", "bias", "relative_mae", "relative_bias")
CASES = (
    "01_complete_site_env",
    "02_site_year_env",
    "03_gaps_site_env",
    "04_nan_ytrue",
    "05_constant_ytrue",
    "08a_unsorted",
    "08c_mixed_iso",
    "08d_iso_Z",
    "08g_duplicate_rows",
    "08h_one_row_per_day",
    "09_time_split_single_year",
    "10d_null_env",
    "11_float32_pred",
)
SAME_AS = {"08c_mixed_iso": "08a_unsorted", "10d_null_env": "08a_unsorted"}
"""Cases that the reference spoils and we do not: they equal the clean one."""


def published_scores(folder: Path, **options: object) -> pl.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FluxtrapolationWarning)
        found = evaluate(
            Predictions.read(folder / "predictions.parquet"),
            target="GPP",
            scenario="golden",
            model="ref",
            domain_column="env",
            **options,
        )
    return found.published()


def reference(folder: Path) -> pl.DataFrame:
    return pl.read_csv(folder / "metrics_reference.csv", infer_schema_length=None)


def compare(found: pl.DataFrame, wanted: pl.DataFrame, *, rtol: float) -> None:
    keys = ["target", "setting", "model", "scale", "env", "n_samples"]
    assert found.columns == wanted.columns
    assert found.select(keys).rows() == wanted.select(keys).rows()
    for name in COMPARED:
        pair = wanted.select("scale", "env", pl.col(name).alias("wanted")).with_columns(found[name].alias("found"))
        if name in ("nse", "r2_score"):
            # Where y_true is constant up to rounding the reference prints |nse| > 1e9; ours are null.
            noise = wanted["nse"].abs().fill_null(0) > 1e9
            assert pair.filter(noise)["found"].null_count() == noise.sum()
            pair = pair.filter(~noise)
        if name == "bias":
            centred = pair.filter(pl.col("scale").is_in(ANOMALIES))
            np.testing.assert_allclose(
                centred["found"].fill_null(0), centred["wanted"].fill_null(0), atol=1e-12, rtol=1
            )
        if name in ("bias", "relative_mae", "relative_bias"):
            pair = pair.filter(~pl.col("scale").is_in(ANOMALIES))
        assert pair["found"].is_null().to_list() == pair["wanted"].is_null().to_list(), name
        np.testing.assert_allclose(
            pair["found"].drop_nulls(), pair["wanted"].drop_nulls(), rtol=rtol, atol=0, err_msg=name
        )


@pytest.mark.real
@pytest.mark.parametrize("case", CASES)
def test_case(shared: Path, case: str) -> None:
    golden = shared / "golden" / "evaluation"
    wanted = reference(golden / SAME_AS.get(case, case))
    compare(published_scores(golden / case), wanted, rtol=1e-5 if case.startswith("11") else 1e-9)


def test_every_case_is_tested(shared: Path) -> None:
    held = {place.name for place in (shared / "golden" / "evaluation").iterdir()}
    assert held == {*CASES, "10c_inf"}


@pytest.mark.real
def test_infinite_values_are_refused(shared: Path) -> None:
    with pytest.raises(EvaluationError, match=r"2 rows hold infinite values \(first: .*y_pred inf"):
        published_scores(shared / "golden" / "evaluation" / "10c_inf")


@pytest.mark.real
def test_duplicates_are_reported(shared: Path) -> None:
    table = Predictions.read(shared / "golden" / "evaluation" / "08g_duplicate_rows" / "predictions.parquet")
    with pytest.warns(FluxtrapolationWarning, match="15782 rows repeat a \\(site, time\\) pair"):
        evaluate(table)


@pytest.mark.real
def test_derived_site_years_equal_supplied_ones(shared: Path) -> None:
    folder = shared / "golden" / "evaluation" / "09_time_split_single_year"
    table = Predictions.read(folder / "predictions.parquet")
    blanked = table.frame.with_columns(pl.lit("one domain").alias("domain"))
    who = Identity(scenario="time-split", target="GPP", model="ref", selection="mean")
    derived = evaluate(Predictions.from_frame(blanked, who)).published().with_columns(pl.lit("golden").alias("setting"))
    compare(derived, reference(folder), rtol=1e-9)


@pytest.mark.real
@pytest.mark.parametrize("case", ["03_gaps_site_env", "09_time_split_single_year"])
def test_intermediate_tables(shared: Path, case: str) -> None:
    """The aggregated series themselves, not only their metrics."""
    from fluxtrapolation.evaluation.accumulate import Accumulator
    from fluxtrapolation.evaluation.layout import choose_layout
    from fluxtrapolation.evaluation.reader import Reader
    from fluxtrapolation.evaluation.scales import AGGREGATED, ANOMALIES, PUBLISHED_THRESHOLDS, daily_table

    folder = shared / "golden" / "evaluation" / case
    table = Predictions.read(folder / "predictions.parquet")
    layout = choose_layout(table, "site", None) if case.startswith("03") else choose_layout(table, "site-year", None)
    reader = Reader(table, layout, measured_only=False, allow_missing=False)
    gathered = Accumulator(yearly=layout.yearly)
    for block in reader.blocks():
        gathered.add(block)
    days, shift = gathered.finish().days, gathered.finish().shift
    for scale, (function, by_site) in AGGREGATED.items():
        by_year = layout.yearly and not by_site
        key = days.site * 10_000 + (days.part if by_year else 0)
        _, group = np.unique(key, return_inverse=True)
        d = daily_table(days, group, int(group.max()) + 1, shift, paired=False, least=12)
        found = function(d, PUBLISHED_THRESHOLDS)
        wanted = pl.read_parquet(folder / f"agg_{'spatial' if scale == 'site-mean' else scale}.parquet")
        assert len(found.true) == wanted.height, scale
        back_true, back_pred = (
            (0.0, 0.0) if scale in ANOMALIES else (d.shift.true[found.group], d.shift.pred[found.group])
        )
        np.testing.assert_allclose(
            np.sort(found.true + back_true), np.sort(wanted["y_true"].fill_null(np.nan)), rtol=1e-9, atol=1e-12
        )
        np.testing.assert_allclose(
            np.sort(found.pred + back_pred), np.sort(wanted["y_pred"].fill_null(np.nan)), rtol=1e-9, atol=1e-12
        )


def test_small_case_kept_here() -> None:
    compare(published_scores(FIXTURE), reference(FIXTURE), rtol=1e-9)


def test_daily_resolution_has_no_hourly_scale() -> None:
    table = Predictions.read(FIXTURE / "predictions.parquet")
    who = Identity(scenario="spatial", target="GPP", model="ref", selection="mean", resolution="daily")
    scores = evaluate(Predictions.from_frame(table.frame, who))
    wanted = reference(FIXTURE).filter(pl.col("scale") != "hourly").with_columns(setting=pl.lit("spatial-easy40"))
    compare(scores.published(), wanted, rtol=1e-9)
