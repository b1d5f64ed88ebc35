"""Predictions: identity, files, foreign tables, times."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from fluxtrapolation.errors import EvaluationError, MissingColumnError, SchemaVersionError
from fluxtrapolation.evaluation import Identity, Predictions, evaluate

WHO = Identity(
    scenario="TA40",
    target="GPP",
    model="xgb",
    selection="mean",
    seed=3,
    profile="quick",
    package_version="0.1.0",
    store_hash="ab",
    scenario_hash="cd",
    config={"max_depth": 4, "learning_rate": 0.1},
    max_rows=300_000,
    notes="a note",
    domain_kind="site",
)


def frame(n: int = 4) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "site_id": ["DE-Hai"] * n,
            "time": pl.datetime_range(datetime(2019, 1, 1), datetime(2019, 1, 1, n - 1), "1h", eager=True),
            "y_true": pl.Series(np.arange(n, dtype=float), dtype=pl.Float32),
            "y_pred": pl.Series(np.arange(n, dtype=float) + 1, dtype=pl.Float32),
            "qc_mask": pl.Series([1] * n, dtype=pl.Int8),
        }
    )


def test_parquet_round_trip(tmp_path: Path) -> None:
    path = Predictions.from_frame(frame(), WHO).write(tmp_path / "sub" / "p.parquet")
    assert [one.name for one in path.parent.iterdir()] == ["p.parquet"]
    again = Predictions.read(path)
    assert again.identity == WHO
    assert again.identity.scenario == "temperature"
    assert again.frame.equals(frame())
    assert again.frame.schema == frame().schema
    assert len(again) == 4


def test_a_parquet_without_identity_has_none(tmp_path: Path) -> None:
    frame().write_parquet(tmp_path / "TA40_GPP_xgb_val_mean_predictions.parquet")
    assert Predictions.read(tmp_path / "TA40_GPP_xgb_val_mean_predictions.parquet").identity is None


def test_published_csv_carries_its_identity_in_the_name(tmp_path: Path) -> None:
    path = tmp_path / "time-split_NEE_mmd-median_val_discrepancy_predictions.csv"
    path.write_text(
        "y_true,y_pred,env,site_id,time\n1.5,2.0,\"('DE-Hai', 2019)\",DE-Hai,2019-01-01 00:00:00\n"
        ",2.0,\"('DE-Hai', 2019)\",DE-Hai,2019-01-01 01:00:00\n"
    )
    table = Predictions.read(path)
    who = table.identity
    assert who is not None
    assert (who.scenario, who.target, who.model, who.selection) == ("temporal", "NEE", "mmd-median", "discrepancy")
    assert who.domains == "site-year"
    assert table.frame["y_true"].to_list() == [1.5, None]
    assert table.frame["domain"].to_list() == ["('DE-Hai', 2019)"] * 2
    assert table.frame["time"].dtype == pl.Datetime("us")


@pytest.mark.parametrize("name", ["predictions.csv", "lr_predictions.csv", "a_b_c_val_mean.csv"])
def test_other_csv_names_carry_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("y_true,y_pred,site,time\n1,2,DE-Hai,2019-01-01\n")
    table = Predictions.read(tmp_path / name)
    assert table.identity is None
    assert table.frame["site_id"].to_list() == ["DE-Hai"]


def test_a_site_that_looks_like_nothing_stays_text(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("y_true,y_pred,site_id,time\n1,2,0123,2019-01-01\n")
    assert Predictions.read(tmp_path / "p.csv").frame["site_id"].to_list() == ["0123"]


@pytest.mark.parametrize(
    ("kind", "scenario", "domains"),
    [
        (None, "temporal", "site-year"),
        (None, "time-split", "site-year"),
        (None, "spatial", "site"),
        (None, "later", "site"),
        ("site-year", "later", "site-year"),
        ("site", "temporal", "site"),
    ],
)
def test_domain_kind(kind: str | None, scenario: str, domains: str) -> None:
    assert Identity(scenario=scenario, domain_kind=kind).domains == domains


def test_an_unknown_domain_kind_is_refused() -> None:
    with pytest.raises(EvaluationError, match="'site' or 'site-year'"):
        Identity(domain_kind="year")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("{", EvaluationError, "is not JSON"),
        ("[1]", EvaluationError, "no mapping"),
        ('{"version": 99}', SchemaVersionError, "version 99"),
        ('{"version": 1, "colour": 1}', EvaluationError, "colour"),
    ],
)
def test_a_broken_identity_is_refused(tmp_path: Path, text: str, error: type[Exception], message: str) -> None:
    frame().write_parquet(tmp_path / "p.parquet", metadata={"fluxtrapolation.identity": text})
    with pytest.raises(error, match=message):
        Predictions.read(tmp_path / "p.parquet")


TIMES = [datetime(2019, 1, 1), datetime(2019, 6, 2, 5), datetime(2020, 12, 31, 23, 30)]


@pytest.mark.parametrize(
    "times",
    [
        ["2019-01-01 00:00:00", "2019-06-02 05:00:00", "2020-12-31 23:30:00"],
        ["2019-01-01", "2019-06-02T05:00:00", "2020-12-31 23:30"],
        ["2019-01-01T00:00:00Z", "2019-06-02T05:00:00Z", "2020-12-31T23:30:00Z"],
        ["2019-01-01", "2019-06-02T05:00Z", "2020-12-31 23:30:00.000+00:00"],
        ["2019-01-01 00:00:00.000000000", "2019-06-02 05:00:00,5", "2020-12-31 23:30:00 "],
        ["2019-01-01T00:00:00+01:00", "2019-06-02T05:00:00+01:00", "2020-12-31T23:30:00+01:00"],
    ],
)
def test_times_as_text(times: list[str]) -> None:
    table = Predictions.from_arrays(site=["a"] * 3, time=times, y_true=[1.0] * 3, y_pred=[1.0] * 3)
    found = table.frame["time"].dt.truncate("1m").to_list()
    assert found == TIMES


@pytest.mark.parametrize(
    "times",
    [
        pl.Series(TIMES),
        pl.Series(TIMES).dt.cast_time_unit("ns"),
        pl.Series(TIMES).dt.cast_time_unit("ms"),
        pl.Series(TIMES).dt.replace_time_zone("UTC"),
        np.array(TIMES, dtype="datetime64[ns]"),
        np.array(TIMES, dtype="datetime64[s]"),
        np.array(TIMES, dtype="datetime64[m]"),
    ],
)
def test_times_as_datetimes(times: object) -> None:
    table = Predictions.from_arrays(site=["a"] * 3, time=times, y_true=[1.0] * 3, y_pred=[1.0] * 3)
    assert table.frame["time"].to_list() == TIMES
    assert table.frame["time"].dtype == pl.Datetime("us")


def test_dates_are_midnight() -> None:
    table = Predictions.from_arrays(
        site=["a"], time=np.array(["2019-01-01"], dtype="datetime64[D]"), y_true=[1.0], y_pred=[1.0]
    )
    assert table.frame["time"].to_list() == [datetime(2019, 1, 1)]
    table = Predictions.from_frame({"site": ["a"], "date": [date(2019, 1, 1)], "y_true": [1.0], "y_pred": [1.0]})
    assert table.frame["time"].to_list() == [datetime(2019, 1, 1)]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (["2019-01-01T00:00:00Z", "2019-01-01T01:00:00"], "mix 2 time zones"),
        (["2019-01-01T00:00:00Z", "2019-01-01T01:00:00+01:00"], "mix 2 time zones"),
        (["2019-01-01 00:00:00", "01.02.2019 01:00"], "1 of 2 times cannot be read, such as '01.02.2019 01:00'"),
        (["2019-01-01 00:00:00", "2019-02-30 01:00:00"], "'2019-02-30 01:00:00'"),
        (["2019-01-01 00:00:00", None], "1 of 2 times are missing, first in row 1"),
        (pl.Series(TIMES[:2]).dt.replace_time_zone("Europe/Berlin"), "Europe/Berlin"),
        ([1.0, 2.0], "Float64, not times"),
    ],
)
def test_bad_times_are_refused(times: object, message: str) -> None:
    column = times if isinstance(times, pl.Series) else pl.Series(times)
    with pytest.raises(EvaluationError, match=message):
        Predictions.from_arrays(site=["a"] * 2, time=column, y_true=[1.0] * 2, y_pred=[1.0] * 2)


def test_columns_by_other_names() -> None:
    table = Predictions.from_frame(
        {"SITE": ["a"], "env": ["x"], "TIMESTAMP_START": ["2019-01-01"], "Y_TRUE": [1], "y_pred": [2], "more": [3]}
    )
    assert {"site_id", "domain", "time", "y_true", "y_pred", "more"} == set(table.columns)
    assert table.frame["y_true"].dtype == pl.Float64


def test_an_exact_name_wins_over_an_alias() -> None:
    table = Predictions.from_frame(
        {"site_id": ["a"], "site": ["b"], "time": ["2019-01-01"], "y_true": [1.0], "y_pred": [2.0]}
    )
    assert table.frame["site_id"].to_list() == ["a"]
    with pytest.raises(EvaluationError, match="date, datetime could all be 'time'"):
        Predictions.from_frame({"site": ["a"], "date": ["x"], "datetime": ["x"], "y_true": [1.0], "y_pred": [2.0]})


@pytest.mark.parametrize("drop", ["time", "y_true", "y_pred", "site_id"])
def test_missing_columns_are_named(drop: str) -> None:
    with pytest.raises(MissingColumnError, match=f"lacks the column {drop}; it has "):
        Predictions.from_frame(frame().drop(drop))


def test_text_instead_of_numbers_is_refused() -> None:
    with pytest.raises(EvaluationError, match="'y_pred' holds String"):
        Predictions.from_frame(frame().with_columns(pl.lit("x").alias("y_pred")))


def test_pandas_frames() -> None:
    pandas = pytest.importorskip("pandas")
    plain = frame().to_dict(as_series=False)
    own = pandas.DataFrame(plain).assign(site_id=lambda table: table["site_id"].astype("category"))
    table = Predictions.from_frame(own)
    assert table.frame["time"].to_list() == plain["time"]
    assert table.frame["site_id"].to_list() == plain["site_id"]
    own.loc[1, "site_id"] = None
    own.loc[2, "y_true"] = None
    gaps = Predictions.from_frame(own).frame
    assert gaps["site_id"].to_list() == ["DE-Hai", None, "DE-Hai", "DE-Hai"]
    zoned = own.assign(time=own["time"].dt.tz_localize("UTC"))
    assert Predictions.from_frame(zoned).frame["time"].to_list() == plain["time"]
    nullable = own.convert_dtypes()
    assert evaluate(Predictions.from_frame(nullable.dropna())).frame.height


class Capsule:
    """An object that speaks the Arrow protocol and nothing else."""

    def __init__(self, table: pl.DataFrame) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


def test_arrow_capsules() -> None:
    table = Predictions.from_frame(Capsule(frame()), WHO)
    assert table.frame["y_pred"].to_list() == [1, 2, 3, 4]
    assert evaluate(Capsule(frame())).frame.height > 0


@pytest.mark.parametrize("thing", [3, "predictions.parquet", [1, 2], None])
def test_what_is_no_table_is_refused(thing: object) -> None:
    with pytest.raises(EvaluationError, match="is no table of predictions"):
        Predictions.from_frame(thing)


def test_arrays_of_unequal_length_are_refused() -> None:
    with pytest.raises(EvaluationError, match=r"y_pred \(2,\)"):
        Predictions.from_arrays(site=["a"], time=["2019-01-01"], y_true=[1.0], y_pred=[1.0, 2.0])
    with pytest.raises(EvaluationError, match="one-dimensional"):
        Predictions.from_arrays(site=["a"], time=["2019-01-01"], y_true=[1.0], y_pred=[[1.0]])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.csv", b"", "is empty"),
        ("p.csv", b"<!DOCTYPE html><html></html>", "is a web page"),
        ("p.csv", b"y_true,y_pred,site_id,time\n1,abc,a,2019-01-01\n", "cannot be read as a CSV"),
        ("p.csv", b"a,b\n1,2\n", "lacks the columns time, y_true, y_pred; it has a, b"),
        ("p.parquet", b"", "is empty"),
        ("p.parquet", b"no parquet at all", "is not a Parquet file"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((EvaluationError, MissingColumnError), match=message):
        Predictions.read(tmp_path / name)


@pytest.mark.parametrize("name", ["p.csv", "p.dat", "p", "TA40_ET_lr_val_max_predictions.csv"])
def test_parquet_under_another_name_is_read_as_parquet(tmp_path: Path, name: str) -> None:
    path = Predictions.from_frame(frame(), WHO).write(tmp_path / "p.parquet").rename(tmp_path / name)
    table = Predictions.read(path)
    assert table.identity == WHO
    assert table.frame["y_pred"].to_list() == [1, 2, 3, 4]
    frame().write_parquet(path)
    bare = Predictions.read(path)
    assert bare.frame["y_pred"].to_list() == [1, 2, 3, 4]
    assert (bare.identity.selection if bare.identity else None) == ("max" if name.startswith("TA40") else None)


def test_names_that_cannot_be_printed_are_escaped_and_cut(tmp_path: Path) -> None:
    long = "x" * 500
    (tmp_path / "p.csv").write_bytes(f"a\x00\x1b[31mb,{long},time\n1,2,3\n".encode())
    with pytest.raises(MissingColumnError) as caught:
        Predictions.read(tmp_path / "p.csv")
    message = str(caught.value)
    assert message.isprintable() and len(message) < 250
    assert r"a\x00\x1b[31mb, xxx" in message


def test_absent_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="does not exist"):
        Predictions.read(tmp_path / "absent.parquet")
    with pytest.raises(EvaluationError, match="is a folder"):
        Predictions.read(tmp_path)


def test_files_are_read_piece_by_piece(tmp_path: Path) -> None:
    path = Predictions.from_frame(frame(24), WHO).write(tmp_path / "p.parquet")
    table = Predictions.read(path)
    pieces = list(table.batches(["time"], rows=10))
    assert sum(piece.height for piece in pieces) == 24
    assert pieces[0].columns == ["time"]
