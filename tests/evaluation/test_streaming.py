"""Sites are finished as their rows end; scores do not depend on it, whatever the order of the rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from unittest.mock import patch

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxtrapolation.errors import EvaluationError, FluxtrapolationWarning
from fluxtrapolation.evaluation import Identity, Predictions, evaluate
from fluxtrapolation.evaluation import stream as stream_module
from fluxtrapolation.evaluation.accumulate import Accumulator
from fluxtrapolation.evaluation.reader import Reader

WHOLE = 10**9


@contextmanager
def setting(*, finish_above: int, rows: int) -> Iterator[dict[str, int]]:
    """Finish sites above so many days, read so many rows at a time; count what happens."""
    seen = {"finished": 0, "passes": 0, "most": 0}
    batches, take, add, blocks = Predictions.batches, Accumulator.take_closed, Accumulator.add, Reader.blocks

    def taking(self: Accumulator) -> object:
        taken = take(self)
        seen["finished"] += taken is not None
        return taken

    def adding(self: Accumulator, block: object) -> bool:
        added = add(self, block)
        seen["most"] = max(seen["most"], self.pending)
        return added

    def passing(self: Reader) -> Iterator[object]:
        seen["passes"] += 1
        return blocks(self)

    with (
        patch.object(stream_module, "FINISH_ABOVE", finish_above),
        patch.object(Predictions, "batches", lambda self, columns: batches(self, columns, rows=rows)),
        patch.object(Accumulator, "take_closed", taking),
        patch.object(Accumulator, "add", adding),
        patch.object(Reader, "blocks", passing),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore", FluxtrapolationWarning)
        yield seen


def site_rows(
    site: str, days: int, *, hours: int = 24, seed: int = 0, first: datetime = datetime(2019, 1, 1)
) -> pl.DataFrame:
    rng = np.random.default_rng([seed, *site.encode()])
    time = [first + timedelta(days=day, hours=hour) for day in range(days) for hour in range(hours)]
    true = rng.normal(size=len(time)) + 4
    return pl.DataFrame(
        {
            "site_id": [site] * len(time),
            "time": pl.Series(time, dtype=pl.Datetime("us")),
            "y_true": pl.Series(np.where(rng.random(len(time)) < 0.05, np.nan, true)).fill_nan(None),
            "y_pred": true + rng.normal(size=len(time)),
            "qc_mask": pl.Series(rng.random(len(time)) < 0.8).cast(pl.Int8),
        }
    )


def many(count: int = 6, days: int = 40, **options: int) -> list[pl.DataFrame]:
    # Names do not ascend with the rows.
    return [site_rows(f"S{(number * 5) % 7}", days + number, **options) for number in range(count)]


def labelled(frame: pl.DataFrame, label: pl.Expr) -> pl.DataFrame:
    return frame.with_columns(label.alias("domain"))


SITE_YEAR = pl.format("('{}', {})", "site_id", pl.col("time").dt.year())
NIGHT = pl.concat_str("site_id", pl.when(pl.col("time").dt.hour() < 12).then(pl.lit(" n")).otherwise(pl.lit(" d")))
LAYOUTS: dict[str, Callable[[], pl.DataFrame]] = {
    "sites": lambda: pl.concat(many()),
    "one site": lambda: many(1)[0],
    "a site comes back at the very end": lambda: pl.concat([*(parts := many()), parts[0].head(1)]),
    "a site is in two pieces": lambda: pl.concat([(parts := many())[0].head(500), *parts[1:], parts[0].tail(-500)]),
    "shuffled": lambda: pl.concat(many()).sample(fraction=1.0, shuffle=True, seed=1),
    "time by time": lambda: pl.concat(many()).sort("time", maintain_order=True),
    "times fall": lambda: pl.concat([part.reverse() for part in many()]),
    "one row a day, then hours": lambda: pl.concat([site_rows("A", 400, hours=1), *many()]),
    "one row a day, hours at last": lambda: pl.concat([*many(days=200, hours=1), site_rows("Z", 2)]),
    "one row a day": lambda: pl.concat(many(days=300, hours=1)),
    "one row a day, two at last": lambda: pl.concat([*many(days=300, hours=1), site_rows("Z", 1, hours=2)]),
    "duplicates": lambda: pl.concat([pl.concat([part, part.sample(9, seed=1)]) for part in many()]),
    "labels of site-years": lambda: labelled(pl.concat(many(days=400)), SITE_YEAR),
    "labels within a day": lambda: labelled(pl.concat(many()), NIGHT),
    "one label": lambda: labelled(pl.concat(many()), pl.lit("GRA")),
    "a label comes back": lambda: labelled(
        pl.concat(many()), pl.when(pl.col("site_id").is_in(["S0", "S4"])).then(pl.lit("x")).otherwise("site_id")
    ),
    "missing labels": lambda: labelled(
        pl.concat(many()), pl.when(pl.col("time").dt.day() > 3).then(pl.col("site_id"))
    ),
    "missing labels at last": lambda: labelled(
        pl.concat(many()).with_row_index(), pl.when(pl.col("index") < 5000).then(pl.col("site_id"))
    ).drop("index"),
    "labels without sites": lambda: labelled(pl.concat(many()), pl.col("site_id")).drop("site_id"),
}  # fmt: skip
COMES_BACK = (
    *("a site comes back at the very end", "a site is in two pieces", "a label comes back"),
    *("missing labels", "missing labels at last"),
)


def close(one: pl.DataFrame, other: pl.DataFrame) -> None:
    """The same rows, and values but for rounding."""
    keys = ["scale", "domain", "site_id", "year", "n_samples", "reason"]
    assert one.select(keys).equals(other.select(keys))
    for name in one.columns:
        if one[name].dtype == pl.Float64:
            assert one[name].is_null().equals(other[name].is_null())
            np.testing.assert_allclose(one[name].drop_nulls(), other[name].drop_nulls(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("protocol", ["paper", "measured"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_finishing_sites_changes_nothing(layout: str, protocol: str) -> None:
    table = LAYOUTS[layout]()
    with setting(finish_above=WHOLE, rows=700) as seen:
        gathered = evaluate(table, protocol=protocol, metrics="all")
    assert seen["finished"] == 0
    with setting(finish_above=1, rows=700) as seen:
        streamed = evaluate(table, protocol=protocol, metrics="all")
    assert streamed.frame.equals(gathered.frame)
    assert streamed.meta == gathered.meta
    assert seen["passes"] == (2 if layout in COMES_BACK else 1)
    whole = {"one site", "shuffled", "time by time", "one label"}
    assert (seen["finished"] == 0) == (layout in whole)


@pytest.mark.parametrize("domain", ["site", "site-year"])
def test_site_years_are_finished_too(domain: str) -> None:
    table = pl.concat(many(days=420))
    with setting(finish_above=WHOLE, rows=5000):
        gathered = evaluate(table, domain=domain)
    with setting(finish_above=1, rows=5000) as seen:
        assert evaluate(table, domain=domain).frame.equals(gathered.frame)
    assert seen["finished"] > 3


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(layout=st.sampled_from(sorted(LAYOUTS)), rows=st.integers(50, 6000), above=st.sampled_from((1, 60, WHOLE)))
def test_pieces_of_any_size(layout: str, rows: int, above: int) -> None:
    table = LAYOUTS[layout]()
    with setting(finish_above=WHOLE, rows=WHOLE):
        whole = evaluate(table, metrics="all").frame
    with setting(finish_above=above, rows=rows):
        close(evaluate(table, metrics="all").frame, whole)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(layout=st.sampled_from(sorted(LAYOUTS)), seed=st.integers(0, 2**32 - 1), blocks=st.integers(2, 400))
def test_rows_in_any_order(layout: str, seed: int, blocks: int) -> None:
    """Whole rows, or stretches of them, change places."""
    table = LAYOUTS[layout]()
    with setting(finish_above=WHOLE, rows=WHOLE):
        whole = evaluate(table, metrics="all").frame
    order = np.random.default_rng(seed).permutation(blocks)
    stretches = np.array_split(np.arange(table.height), blocks)
    moved = table[np.concatenate([stretches[one] for one in order])]
    with setting(finish_above=1, rows=900):
        close(evaluate(moved, metrics="all").frame, whole)


def test_what_is_held_does_not_grow_with_the_sites(tmp_path: Path) -> None:
    most = []
    for count in (10, 40):
        path = tmp_path / f"{count}.parquet"
        Predictions.from_frame(pl.concat([site_rows(f"S{one:03d}", 30) for one in range(count)])).write(path)
        with setting(finish_above=100, rows=1000) as seen:
            evaluate(Predictions.read(path))
        assert seen["finished"] >= count // 5
        most.append(seen["most"])
    assert max(most) < 200


def test_daily_rows_of_an_identity_are_known_at_once() -> None:
    who = Identity(scenario="spatial", target="GPP", model="lr", selection="mean", resolution="daily")
    table = Predictions.from_frame(pl.concat(many(days=300, hours=1)), who)
    calls = []

    def counting(self: object, scale: str, metrics: object, *, rows_are_days: bool) -> object:
        calls.append(rows_are_days)
        return aggregated(self, scale, metrics, rows_are_days=rows_are_days)

    aggregated = stream_module.Pool.aggregated
    with patch.object(stream_module.Pool, "aggregated", counting), setting(finish_above=1, rows=500):
        assert "hourly" not in set(evaluate(table).frame["scale"])
    assert set(calls) == {True}
    calls.clear()
    with patch.object(stream_module.Pool, "aggregated", counting), setting(finish_above=1, rows=500):
        assert evaluate(pl.concat(many())).meta["runs"][0]["rows_are_days"] is False
    assert set(calls) == {False}


def test_faults_are_counted_once_when_the_pass_starts_anew() -> None:
    parts = many()
    spoiled = parts[1].with_columns(
        pl.when(pl.col("time") < datetime(2019, 1, 1, 5)).then(None).otherwise(pl.col("y_pred")).alias("y_pred")
    )
    table = pl.concat([parts[0], spoiled, *parts[2:], parts[0].head(3)])
    with (
        setting(finish_above=1, rows=700) as seen,
        pytest.raises(EvaluationError, match=r": 5 predictions are missing"),
    ):
        evaluate(table)
    assert seen["passes"] == 2
    with setting(finish_above=1, rows=700):
        scores = evaluate(table, allow_missing=True)
    run = scores.meta["runs"][0]
    assert (run["hours_left_out"], run["rows"]) == (5, table.height - 5)


@pytest.mark.parametrize("layout", ["duplicates", "a site comes back at the very end", "times fall"])
def test_duplicates_are_counted_over_all_pieces(layout: str) -> None:
    table = LAYOUTS[layout]()
    counts = table.group_by("site_id", "time").len().filter(pl.col("len") > 1).sort("site_id", "time")
    batches = Predictions.batches
    with (
        patch.object(stream_module, "FINISH_ABOVE", 1),
        patch.object(Predictions, "batches", lambda self, columns: batches(self, columns, rows=333)),
        warnings.catch_warnings(record=True) as told,
    ):
        warnings.simplefilter("always")
        evaluate(table)
    if counts.height == 0:
        assert not told
        return
    extra = counts["len"].sum() - counts.height
    site, time, _ = counts.row(0)
    assert [str(one.message) for one in told] == [
        f"The table: {extra} rows repeat a (site, time) pair, {counts.height} pairs in all, such as ({site}, {time}). "
        "Each row counts. Drop the repeats if they are a mistake."
    ]
    assert told[0].filename == __file__
