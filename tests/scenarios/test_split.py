"""The split: rules of the benchmark on rows, domains and features; windows over the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fluxtrapolation.data.manifest import Source, utc_now
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError, FluxtrapolationWarning, MissingColumnError, ScenarioError
from fluxtrapolation.scenarios import DesignOptions, Scenario, design, make_split, site_roles
from fluxtrapolation.scenarios.part import shares
from fluxtrapolation.scenarios.windows import blocks
from tiny import tiny_frame, tiny_record, write_tiny_store


@pytest.fixture(scope="module")
def scenario(tiny_store: Store) -> Scenario:
    return design(tiny_store, "random", name="r", options=DesignOptions(n_test=2, n_validation=1))


def _rows(store: Store, sites: tuple[str, ...], usable: bool) -> pl.DataFrame:
    frame = store.scan(sorted(sites)).collect()
    if usable:
        frame = frame.filter((pl.col("qc_mask") == 1) & pl.col("GPP").is_not_null() & pl.col("NEE").is_not_null())
    return frame


def test_rows_follow_the_rules(tiny_store: Store, scenario: Scenario) -> None:
    split = make_split(tiny_store, scenario, target="NEE")
    for part, sites in (
        (split.train, scenario.train),
        (split.validation, scenario.validation),
        (split.test, scenario.test),
    ):
        expected = _rows(tiny_store, sites or (), part.name != "test")
        assert len(part) == expected.height
        assert part.site.tolist() == expected["site_id"].to_list()
        assert (part.time == expected["time"].to_numpy().astype("datetime64[s]")).all()
        np.testing.assert_array_equal(part.y, expected["NEE"].to_numpy())
        np.testing.assert_array_equal(part.X[:, :3], expected.select("TA", "VPD", "SW_IN").to_numpy())
        assert part.domains == part.sites == tuple(sorted(sites or ()))
        assert part.X.dtype == np.float32
        assert part.X.flags.c_contiguous
    assert (split.train.qc == 1).all()
    assert np.isfinite(split.train.y).all()
    # every test row is kept, gap-filled and missing ones too
    assert (split.test.qc == 0).any()
    assert np.isnan(split.test.y).any()


def test_features_are_what_is_there(tiny_store: Store, scenario: Scenario) -> None:
    split = make_split(tiny_store, scenario, target="GPP")
    assert split.feature_names == ("TA", "VPD", "SW_IN", "PFT_ENF", "PFT_DBF", "PFT_GRA")
    for part in split.parts:
        assert (part.X[:, 3:].sum(axis=1) == 1).all()
        for site in part.sites:
            column = split.feature_names.index(f"PFT_{tiny_store.record(site).igbp}")
            assert (part.X[part.site == site, column] == 1).all()


def test_an_unusable_target_drops_the_row_for_all_targets(tmp_path: Path) -> None:
    source = Source(name="t", kind="table", location="here", retrieved=utc_now(), package_version="0")
    with StoreWriter(
        tmp_path / "s", targets=["GPP", "NEE"], covariates=["TA", "VPD", "SW_IN"], source=source
    ) as writer:
        for site in ("AA-One", "BB-Two", "CC-Thr"):
            frame = tiny_frame(site, hours=240, measured=1.0)
            lost = pl.when(pl.int_range(pl.len()).is_in([5, 50])).then(None).otherwise("GPP").alias("GPP")
            writer.add(tiny_record(site), frame.with_columns(lost))
    store = Store(tmp_path / "s")
    pinned = design(store, "random", name="r", options=DesignOptions(1, 1))
    split = make_split(store, pinned, target="NEE")
    assert (len(split.train), len(split.validation), len(split.test)) == (238, 238, 240)
    np.testing.assert_array_equal(split.train.y, make_split(store, pinned, target="NEE").train.y)
    expected = _rows(store, pinned.train or (), True)["NEE"].to_numpy()
    np.testing.assert_array_equal(split.train.y, expected)


def test_rows_move_together_when_several_sites_use_less_room(tmp_path: Path) -> None:
    """Closing the gaps in place must not overwrite rows that are still to be moved."""
    source = Source(name="t", kind="table", location="here", retrieved=utc_now(), package_version="0")
    sites = [f"S{i}-Abc" for i in range(7)]
    with StoreWriter(tmp_path / "s", targets=["GPP"], covariates=["TA", "VPD", "SW_IN"], source=source) as writer:
        for i, site in enumerate(sites):
            frame = tiny_frame(site, hours=500 + 37 * i, measured=1.0, targets=["GPP"])
            lost = pl.when(pl.int_range(pl.len()) % (11 + i) == 0).then(None).otherwise("GPP").alias("GPP")
            writer.add(tiny_record(site), frame.with_columns(lost))
    store = Store(tmp_path / "s")
    pinned = design(store, "random", name="r", options=DesignOptions(1, 1))
    train = make_split(store, pinned, target="GPP").train
    expected = store.scan(list(pinned.train or ())).collect().filter(pl.col("GPP").is_not_null())
    np.testing.assert_array_equal(train.y, expected["GPP"].to_numpy())
    np.testing.assert_array_equal(train.X[:, 0], expected["TA"].to_numpy())
    assert train.site.tolist() == expected["site_id"].to_list()


def test_years_split_by_local_year_with_site_year_domains(tmp_path: Path) -> None:
    store = write_tiny_store(tmp_path / "s", first="2006-06-01", hours=24 * 1300)
    options = DesignOptions(train_years=":2007", validation_years="2008", test_years="2009:")
    split = make_split(store, design(store, "years", name="later", options=options), target="GPP")
    year = {part.name: part.time.astype("datetime64[Y]").astype(int) + 1970 for part in split.parts}
    assert year["train"].max() == 2007
    assert set(year["validation"]) == {2008}
    assert year["test"].min() == 2009
    frame = store.scan().collect().filter(pl.col("time").dt.year() >= 2009)
    assert len(split.test) == frame.height
    labels = (frame["site_id"] + " " + frame["time"].dt.year().cast(pl.String)).to_list()
    assert split.test.domain.tolist() == labels
    assert split.train.domains == tuple(f"{s} {y}" for s in store.site_ids for y in (2006, 2007))
    roles = site_roles(store, split.scenario)
    assert roles.group_by("role").len().sort("role").rows() == [("test", 6), ("train", 6), ("validation", 6)]


def test_empty_parts_and_missing_targets_are_refused(tmp_path: Path, tiny_store: Store, scenario: Scenario) -> None:
    long = write_tiny_store(tmp_path / "long", tiny_store.site_ids, first="2015-01-01", hours=24 * 2000)
    options = DesignOptions(train_years="2015", validation_years="2016", test_years="2020:")
    later = design(long, "years", name="later", options=options)
    with pytest.raises(ScenarioError, match=r"no test rows.*2020:"):
        make_split(tiny_store, later, target="GPP")
    with pytest.raises(MissingColumnError, match=r"has no ET.*GPP, NEE"):
        make_split(tiny_store, scenario, target="ET")


def test_towers_without_usable_hours_are_told(tmp_path: Path) -> None:
    source = Source(name="t", kind="table", location="here", retrieved=utc_now(), package_version="0")
    sites = ("AA-One", "BB-Two", "CC-Thr", "DD-Fou", "EE-Fiv")
    with StoreWriter(tmp_path / "s", targets=["GPP"], covariates=["TA", "VPD", "SW_IN"], source=source) as writer:
        for site in sites:
            frame = tiny_frame(site, hours=240, targets=["GPP"])
            empty = frame.with_columns(GPP=pl.lit(None, dtype=pl.Float64), qc_mask=pl.lit(0))
            writer.add(tiny_record(site), empty if site in ("BB-Two", "DD-Fou") else frame)
    store = Store(tmp_path / "s")
    pinned = Scenario(
        name="x", kind="sites", domain="site", rule="r", source="s", validation=("AA-One", "BB-Two"), test=("CC-Thr",)
    )
    with pytest.warns(FluxtrapolationWarning) as told:
        split = make_split(store, pinned, target="GPP")
    messages = [str(warning.message) for warning in told]
    assert any("1 of 2 validation towers have no usable hours (BB-Two)" in message for message in messages)
    assert split.without_rows == {"train": ("DD-Fou",), "validation": ("BB-Two",)}
    unseen = pinned.model_copy(update={"validation": ("AA-One",), "test": ("BB-Two", "DD-Fou")})
    with pytest.raises(ScenarioError, match="not one test hour has an observation of GPP"):
        make_split(store, unseen, target="GPP", parts=("test",))
    with pytest.raises(ScenarioError, match="no part 'tst'"):
        make_split(store, pinned, target="GPP", parts=("tst",))  # type: ignore[arg-type]


def test_strict(tiny_store: Store, scenario: Scenario) -> None:
    other = scenario.model_copy(update={"test": (*scenario.test, "ZZ-Abs")})
    with pytest.warns(FluxtrapolationWarning, match="lacks 1 of 7"):
        make_split(tiny_store, other, target="GPP")
    with pytest.raises(ScenarioError, match="lacks 1 of 7"):
        make_split(tiny_store, other, target="GPP", strict=True)


def test_only_the_parts_asked_for_are_read(tiny_store: Store, scenario: Scenario) -> None:
    split = make_split(tiny_store, scenario, target="GPP", parts=("train",))
    assert len(split.train) > 0
    assert len(split.test) == len(split.validation) == 0


def test_subsample_is_stratified_seeded_and_stable(tiny_store: Store, scenario: Scenario) -> None:
    train = make_split(tiny_store, scenario, target="GPP").train
    part = train.subsample(1000, seed=4)
    assert len(part) == 1000
    share = np.bincount(part.site_codes) / 1000
    full = np.bincount(train.site_codes) / len(train)
    assert np.abs(share - full).max() < 1 / 1000 + 1e-12
    again = train.subsample(1000, seed=4)
    np.testing.assert_array_equal(part.X, again.X)
    assert not np.array_equal(part.time, train.subsample(1000, seed=5).time)
    # rows stay whole and in order
    key = {(s, t): y for s, t, y in zip(train.site, train.time, train.y, strict=True)}
    assert all(key[s, t] == y for s, t, y in zip(part.site, part.time, part.y, strict=True))
    assert (np.diff(part.site_codes) >= 0).all()
    assert train.subsample(10**9, seed=0) is train
    with pytest.raises(DataError, match="at least 1"):
        train.subsample(0, seed=0)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20).filter(lambda c: sum(c) > 0), st.data())
def test_shares_add_up(counts: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(1, sum(counts)))
    quota = shares(np.asarray(counts), total)
    assert quota.sum() == total
    assert (quota <= counts).all()
    assert (np.abs(quota - np.asarray(counts) * total / sum(counts)) < 1).all()


def test_frame_for_predictions(tiny_store: Store, scenario: Scenario) -> None:
    test = make_split(tiny_store, scenario, target="GPP").test
    frame = test.to_frame(np.zeros(len(test), np.float32))
    assert frame.columns == ["site_id", "time", "domain", "y_true", "y_pred", "qc_mask"]
    assert frame["y_true"].null_count() == int(np.isnan(test.y).sum()) > 0
    assert frame["site_id"].cast(pl.String).to_list() == test.site.tolist()
    with pytest.raises(DataError, match="one prediction per row"):
        test.to_frame(np.zeros(3))


# windows ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gappy(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Towers with missing hours, so that blocks of many lengths exist."""
    source = Source(name="t", kind="table", location="here", retrieved=utc_now(), package_version="0")
    path = tmp_path_factory.mktemp("gappy") / "s"
    with StoreWriter(path, targets=["GPP", "NEE"], covariates=["TA", "VPD", "SW_IN"], source=source) as writer:
        for i, site in enumerate(("AA-One", "BB-Two", "CC-Thr", "DD-Fou")):
            frame = tiny_frame(site, hours=5000)
            cut = pl.int_range(pl.len())
            gone = cut.is_in([100 + i, 900, 901, 3000, 3167 + i, 4999 - i])
            writer.add(tiny_record(site), frame.filter(~gone))
    return Store(path)


def _sequence_split(store: Store, **options: str):  # type: ignore[no-untyped-def]
    made = (
        design(store, "years", name="y", options=DesignOptions(**options))  # type: ignore[arg-type]
        if options
        else design(store, "random", name="r", options=DesignOptions(1, 1))
    )
    return make_split(store, made, target="GPP", sequences=True), make_split(store, made, target="GPP")


def test_windows_come_from_the_same_rows(gappy: Store) -> None:
    sequences, flat = _sequence_split(gappy)
    for name in ("train", "validation"):
        long, short = getattr(sequences, name), getattr(flat, name)
        assert len(long) > len(short)
        np.testing.assert_array_equal(long.X[long.mask], short.X)
        np.testing.assert_array_equal(long.y[long.mask], short.y)
        np.testing.assert_array_equal(long.time[long.mask], short.time)
    np.testing.assert_array_equal(sequences.test.X, flat.test.X)
    with pytest.raises(DataError, match="sequences=True"):
        flat.train.windows()


def test_evaluation_windows_cover_every_hour_once(gappy: Store) -> None:
    sequences, _ = _sequence_split(gappy)
    for part in (sequences.validation, sequences.test):
        windows = part.windows()
        assert windows.stride == 552
        seen = np.zeros(len(part), dtype=int)
        context = np.full(len(part), -1)
        for i in range(len(windows)):
            batch = windows.batch([i])
            inside = batch.rows[0] >= 0
            rows = batch.rows[0][inside]
            assert (np.diff(rows) == 1).all()
            assert (np.diff(part.time[rows]) == np.timedelta64(3600, "s")).all()
            assert len(set(part.site_codes[rows])) == 1
            tiled = inside & (np.arange(720) >= windows.score_from[i])
            seen[batch.rows[0][tiled]] += 1
            context[batch.rows[0][tiled]] = np.flatnonzero(tiled)
        assert (seen == 1).all()
        position = np.concatenate([np.arange(e - b) for b, e in blocks(part)])
        # all but the first hours of a block have the whole warm-up before them
        assert (context[position >= 168] >= 168).all()
        np.testing.assert_array_equal(context[position < 168], position[position < 168])


def test_training_windows(gappy: Store) -> None:
    sequences, _ = _sequence_split(gappy)
    train = sequences.train
    windows = train.windows()
    assert windows.stride == 168
    assert (windows.score_from == 168).all()
    ends = dict(blocks(train))
    edges = np.asarray(sorted(ends))
    for start, size in zip(windows.start, windows.size, strict=True):
        begin = edges[np.searchsorted(edges, start, side="right") - 1]
        assert start + size <= ends[begin]
        assert size == min(720, ends[begin] - begin)
    # every hour with a full warm-up before it is scored by some window
    covered = np.zeros(len(train), dtype=bool)
    for begin in range(0, len(windows), 16):
        batch = windows.batch(slice(begin, begin + 16))
        assert batch.X.shape[1:] == (720, len(train.feature_names))
        assert not batch.X[batch.rows < 0].any()
        assert not (batch.scored & (batch.rows < 0)).any()
        covered[batch.rows[batch.scored]] = True
        np.testing.assert_array_equal(batch.y[batch.scored], train.y[batch.rows[batch.scored]])
    position = np.concatenate([np.arange(e - b) for b, e in blocks(train)])
    assert (covered == ((position >= 168) & train.mask)).all()


def test_windows_never_cross_a_split_border(tmp_path: Path) -> None:
    store = write_tiny_store(tmp_path / "s", ("AA-One", "BB-Two"), first="2006-06-01", hours=24 * 1300)
    sequences, _ = _sequence_split(store, train_years=":2007", validation_years="2008", test_years="2009:")
    for part, years in ((sequences.train, {2006, 2007}), (sequences.validation, {2008}), (sequences.test, {2009})):
        windows = part.windows()
        assert len(windows) > 0
        rows = windows.batch(slice(None)).rows
        assert set((part.time[rows[rows >= 0]].astype("datetime64[Y]").astype(int) + 1970).tolist()) == years


def test_a_daily_store_has_no_windows_and_its_scenarios_speak_of_days(tmp_path: Path) -> None:
    source = Source(name="d", kind="table", location="tests", retrieved=utc_now(), package_version="0", options={})
    covariates = ["TA", "VPD", "SW_IN"]
    made = {"targets": ("GPP", "NEE"), "covariates": covariates, "source": source, "resolution": "daily"}
    with StoreWriter(tmp_path / "s", **made) as writer:
        for site in ("AA-One", "BB-Two", "CC-Thr"):
            days = tiny_frame(site, hours=24 * 800).gather_every(24)
            writer.add(tiny_record(site), days)
    store = Store(tmp_path / "s")
    options = DesignOptions(n_test=1, n_validation=1)
    for rule in ("random", "temperature"):
        said = design(store, rule, name="d", options=options).rule
        assert "days" in said and "hour" not in said
    with pytest.raises(ScenarioError, match="3 towers with measured days for training"):
        design(store, "random", name="d", options=DesignOptions(n_test=2, n_validation=1))
    split = make_split(store, design(store, "random", name="d", options=options), target="NEE", sequences=True)
    for part in (split.train, split.validation, split.test.take(np.arange(300))):
        with pytest.raises(DataError, match="store holds days, and windows are runs of consecutive hours"):
            part.windows(length=30, warmup=7)


def test_impossible_windows_are_refused(gappy: Store) -> None:
    sequences, _ = _sequence_split(gappy)
    with pytest.raises(DataError, match="not possible"):
        sequences.train.windows(length=100, warmup=100)
    with pytest.raises(DataError, match="scored once"):
        sequences.test.windows(stride=100)


@settings(max_examples=30, deadline=None)
@given(length=st.integers(2, 50), data=st.data())
def test_tiling_holds_for_any_size(gappy: Store, length: int, data: st.DataObject) -> None:
    warmup = data.draw(st.integers(0, length - 1))
    part = _cached_test_part(gappy)
    windows = part.windows(length=length, warmup=warmup)
    seen = np.zeros(len(part), dtype=int)
    for start, size, first in zip(windows.start, windows.size, windows.score_from, strict=True):
        seen[start + first : start + size] += 1
    assert (seen == 1).all()


_CACHE: dict[str, object] = {}


def _cached_test_part(store: Store):  # type: ignore[no-untyped-def]
    if "part" not in _CACHE:
        _CACHE["part"] = _sequence_split(store)[0].test
    return _CACHE["part"]
