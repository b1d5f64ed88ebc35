"""Files are read in pieces, the same rows whatever the pieces; what is wrong is counted over the whole file."""

from __future__ import annotations

import gzip
import io
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxtrapolation.errors import EvaluationError, MissingColumnError
from fluxtrapolation.evaluation import Predictions, evaluate
from fluxtrapolation.evaluation import predictions as predictions_module
from fluxtrapolation.evaluation import sources as sources_module
from fluxtrapolation.evaluation.sources import CsvSource, ParquetSource, even, one_ahead, whole_lines
from fluxtrapolation.evaluation.times import TimeReader

PUBLISHED = "time-split_GPP_lr_val_mean_predictions.csv"


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every CSV file is large, and read by few lines."""
    monkeypatch.setattr(predictions_module, "LARGE_CSV", 0)
    monkeypatch.setattr(sources_module, "CSV_CHUNK", 1000)


def frame(days: int = 30) -> pl.DataFrame:
    rng = np.random.default_rng(0)
    time = pl.datetime_range(datetime(2019, 1, 1), datetime(2021, 1, 1), "1h", eager=True)[: days * 24]
    sites = [pl.DataFrame({"site_id": [site] * len(time), "time": time}) for site in ("S1", "S2", "0123")]
    both = pl.concat(sites)
    true = rng.normal(size=both.height)
    return both.with_columns(
        pl.format("('{}', {})", "site_id", pl.col("time").dt.year()).alias("env"),
        y_true=pl.Series(np.where(rng.random(both.height) < 0.1, np.nan, true)).fill_nan(None),
        y_pred=pl.Series(true + 1),
        qc_mask=pl.Series(rng.random(both.height) < 0.5).cast(pl.Int8),
    )


def write(table: pl.DataFrame, path: Path) -> Path:
    table.write_csv(path, datetime_format="%Y-%m-%d %H:%M:%S")
    return path


@pytest.mark.parametrize("name", ["p.csv", PUBLISHED])
@pytest.mark.parametrize("protocol", ["paper", "measured"])
def test_a_large_csv_gives_the_same_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, protocol: str
) -> None:
    path = write(frame(), tmp_path / name)
    held = Predictions.read(path)
    monkeypatch.setattr(predictions_module, "LARGE_CSV", 0)
    monkeypatch.setattr(sources_module, "CSV_CHUNK", 1000)
    lazy = Predictions.read(path)
    assert isinstance(lazy._source, CsvSource)
    assert lazy.identity == held.identity
    assert set(lazy.columns) == {"site_id", "time", "domain", "y_true", "y_pred", "qc_mask"}
    assert lazy.schema["time"] == pl.Datetime("us")
    assert evaluate(lazy, protocol=protocol).frame.equals(evaluate(held, protocol=protocol).frame)
    assert len(lazy) == len(held) == frame().height
    numbers = pl.col("qc_mask").cast(pl.Float64)
    assert lazy.frame.with_columns(numbers).equals(held.frame.select(lazy.columns).with_columns(numbers))


def test_pieces_of_a_csv_are_even(tmp_path: Path, small_chunks: None) -> None:
    path = write(frame(), tmp_path / "p.csv")
    pieces = list(Predictions.read(path).batches(["y_pred", "time"], rows=500))
    assert [piece.height for piece in pieces] == [500, 500, 500, 500, 160]
    assert pieces[0].columns == ["y_pred", "time"]
    assert pl.concat(pieces)["y_pred"].equals(frame()["y_pred"])


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_line_ends(tmp_path: Path, small_chunks: None, ending: str, last: bool, bom: bytes) -> None:
    text = frame().write_csv(datetime_format="%Y-%m-%d %H:%M:%S").replace("\n", ending)
    path = tmp_path / "p.csv"
    path.write_bytes(bom + (text if last else text.rstrip()).encode())
    found = Predictions.read(path).frame
    assert found["y_pred"].equals(frame()["y_pred"])
    assert found["domain"].equals(frame()["env"].alias("domain"))


def test_a_compressed_csv_is_read_as_before(tmp_path: Path, small_chunks: None) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(gzip.compress(frame().write_csv(datetime_format="%Y-%m-%d %H:%M:%S").encode()))
    table = Predictions.read(path)
    assert not isinstance(table._source, CsvSource)
    assert len(table) == frame().height


@settings(deadline=None)
@given(
    fields=st.lists(st.text("a,\n\"'", max_size=6), min_size=1, max_size=40),
    size=st.integers(1, 60),
    last=st.booleans(),
)
def test_chunks_end_where_records_end(fields: list[str], size: int, last: bool) -> None:
    quoted = ['"' + field.replace('"', '""') + '"' for field in fields]
    text = "\n".join(quoted) + "\n" * last
    chunks = list(whole_lines(io.BytesIO(text.encode()).read, max(size, 40), "p.csv"))
    assert b"".join(chunks) == text.encode()
    for chunk in chunks:
        assert chunk.count(b'"') % 2 == 0
    for chunk in chunks[:-1]:
        assert chunk.endswith(b"\n")


def test_an_open_quotation_mark_is_refused() -> None:
    text = io.BytesIO(b'"' + b"1,2\n" * 10_000)
    with pytest.raises(EvaluationError, match=r"p\.csv cannot be read .* a quotation mark is not closed"):
        list(whole_lines(text.read, 100, "p.csv"))


@pytest.mark.parametrize(
    ("row", "change", "message"),
    [
        (700, {"y_pred": "abc"}, r"cannot be read as a CSV table of predictions: could not parse `abc`"),
        (700, {"time": "yesterday"}, r"1 of 2160 times cannot be read, such as 'yesterday'"),
        (700, {"time": ""}, r"1 of 2160 times are missing, first in row 700"),
        (700, {"time": "2019-01-01 00:00:00Z"}, r"mix 2 time zones, such as '2019-01-01 00:00:00', .*Z'"),
        (700, {"y_pred": ""}, r"1 predictions are missing \(first: site_id S1, time 2019-01-30 04:00:00"),
        (700, {"y_pred": "inf"}, r"1 rows hold infinite values"),
        (700, {"site_id": ""}, r"1 rows have no site"),
    ],
)
def test_what_is_wrong_in_a_large_csv(
    tmp_path: Path, small_chunks: None, row: int, change: dict[str, str], message: str
) -> None:
    text = frame().drop("env").write_csv(datetime_format="%Y-%m-%d %H:%M:%S").splitlines()
    header = text[0].split(",")
    for name, value in change.items():
        fields = text[row + 1].split(",")
        fields[header.index(name)] = value
        text[row + 1] = ",".join(fields)
    path = tmp_path / "p.csv"
    path.write_text("\n".join(text))
    with pytest.raises(EvaluationError, match=message):
        evaluate(Predictions.read(path))


def test_a_large_csv_without_its_columns_is_refused_at_once(tmp_path: Path, small_chunks: None) -> None:
    with pytest.raises(MissingColumnError, match="lacks the column y_pred"):
        Predictions.read(write(frame().drop("y_pred"), tmp_path / "p.csv"))
    with pytest.raises(MissingColumnError, match="lacks the column site_id"):
        Predictions.read(write(frame().drop("site_id", "env"), tmp_path / "p.csv"))


@pytest.mark.parametrize("row_group", [100, 777, 10**6])
def test_parquet_is_read_by_slices(tmp_path: Path, row_group: int) -> None:
    path = tmp_path / "p.parquet"
    frame().write_parquet(path, row_group_size=row_group)
    table = Predictions.read(path)
    assert isinstance(table._source, ParquetSource)
    pieces = list(table.batches(["y_pred"], rows=1000))
    assert [piece.height for piece in pieces] == [1000, 1000, 160]
    assert pl.concat(pieces)["y_pred"].equals(frame()["y_pred"])
    assert evaluate(table).frame.equals(evaluate(frame()).frame)


@pytest.mark.parametrize(
    "time",
    [
        pl.col("time").dt.cast_time_unit("ns"),
        pl.col("time").dt.cast_time_unit("ms"),
        pl.col("time").dt.replace_time_zone("UTC"),
        pl.col("time").dt.to_string("%Y-%m-%dT%H:%M:%SZ"),
        pl.col("time").dt.to_string("%Y-%m-%d %H:%M:%S"),
    ],
)
def test_times_of_a_parquet_are_converted_piece_by_piece(tmp_path: Path, time: pl.Expr) -> None:
    path = tmp_path / "p.parquet"
    frame().with_columns(time.alias("time")).write_parquet(path, row_group_size=500)
    table = Predictions.read(path)
    assert isinstance(table._source, ParquetSource)
    assert table.schema["time"] == pl.Datetime("us")
    assert {piece["time"].dtype for piece in table.batches(["time"], rows=300)} == {pl.Datetime("us")}
    assert evaluate(table).frame.equals(evaluate(frame()).frame)
    assert table.frame["time"].equals(frame()["time"])


def test_bad_times_are_counted_over_all_pieces() -> None:
    reader = TimeReader("The table")
    assert reader.read(pl.Series(["2019-01-01 00:00:00", "2019-01-01 01:00:00"])).null_count() == 0
    assert reader.good
    reader.read(pl.Series(["2019-01-01 02:00:00", "soon", None]))
    reader.read(pl.Series(["2019-01-01 02:00:00", "later"]))
    assert not reader.good
    with pytest.raises(EvaluationError, match="2 of 7 times cannot be read, such as 'soon'"):
        reader.refuse_bad_times()
    reader = TimeReader("The table")
    reader.read(pl.Series(["2019-01-01 00:00:00"]))
    reader.read(pl.Series(["2019-01-01", None]))
    reader.read(pl.Series([None, None], dtype=pl.String))
    with pytest.raises(EvaluationError, match="3 of 5 times are missing, first in row 2"):
        reader.refuse_bad_times()


def test_missing_times_of_a_parquet_are_counted_over_the_file(tmp_path: Path) -> None:
    table = frame().with_columns(pl.when(pl.col("time").dt.hour() != 7).then("time").alias("time"))
    table.write_parquet(tmp_path / "p.parquet", row_group_size=500)
    with pytest.raises(EvaluationError, match="90 of 2160 times are missing, first in row 7"):
        evaluate(Predictions.read(tmp_path / "p.parquet"))


def test_a_damaged_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    frame().write_parquet(path, row_group_size=500)
    raw = bytearray(path.read_bytes())
    raw[4:5000] = b"\xff" * 4996
    path.write_bytes(raw)
    table = Predictions.read(path)
    with pytest.raises(EvaluationError, match=r"p\.parquet is not a Parquet file that can be read"):
        evaluate(table)


@pytest.mark.parametrize(
    ("flags", "odd"), [([1.0, 0.0], 0), ([True, False], 0), (["1", "0"], 0), ([0.5, 1.0], 1), (["good", "1"], 1)]
)
def test_flags_of_other_types(flags: list[object], odd: int) -> None:
    table = frame().head(2).with_columns(qc_mask=pl.Series(flags)).drop("env")
    if odd:
        with pytest.raises(EvaluationError, match="1 rows have a qc_mask other than 0 or 1"):
            evaluate(table, protocol="measured")
    else:
        assert evaluate(table, protocol="measured", scales=["hourly"]).frame["n_samples"].to_list() == [1]


@given(heights=st.lists(st.integers(0, 9), max_size=12), rows=st.integers(1, 7))
def test_even_pieces(heights: list[int], rows: int) -> None:
    total = sum(heights)
    ends = np.cumsum(heights)
    whole = pl.DataFrame({"x": np.arange(total)})
    given_pieces = [whole.slice(end - height, height) for end, height in zip(ends, heights, strict=True)]
    pieces = list(even(given_pieces, rows))
    assert [one for piece in pieces for one in piece["x"]] == list(range(total))
    assert all(piece.height == rows for piece in pieces[:-1])
    assert all(0 < piece.height <= rows for piece in pieces)


def test_the_next_item_is_made_while_the_last_is_used() -> None:
    made: list[int] = []
    ready = threading.Event()

    def items() -> Iterator[int]:
        for number in range(3):
            made.append(number)
            if number == 1:
                ready.set()
            yield number

    stream = one_ahead(items())
    assert next(stream) == 0
    assert ready.wait(5)
    assert list(stream) == [1, 2]
    assert made == [0, 1, 2]

    def failing() -> Iterator[int]:
        yield 1
        raise EvaluationError("no more")

    found = []
    with pytest.raises(EvaluationError, match="no more"):
        for one in one_ahead(failing()):
            found.append(one)  # noqa: PERF402
    assert found == [1]
