"""What must not share a table: results on different test sets, runs the columns cannot tell apart, a run twice."""

from __future__ import annotations

import warnings
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxtrapolation.errors import DataError, EvaluationError, FluxtrapolationWarning
from fluxtrapolation.evaluation import Identity, Predictions, Scores, evaluate, pivot, skill, summarise
from fluxtrapolation.evaluation.comparable import need_same_domains

SITES = ("AA-S1", "AA-S2", "AA-S3")
ONE, TWO = "1" * 64, "2" * 64


def table(sites: tuple[str, ...] = SITES, *, noise: float = 1.0, days: int = 30) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    time = pl.datetime_range(datetime(2019, 1, 1), datetime(2019, 1, days, 23), "1h", eager=True)
    true = rng.normal(size=len(time) * len(sites)) + 3
    return pl.DataFrame(
        {
            "site_id": np.repeat(sites, len(time)),
            "time": pl.concat([time] * len(sites)),
            "y_true": true,
            "y_pred": true + noise * rng.normal(size=len(true)),
        }
    )


def predictions(model: str, *, sites: tuple[str, ...] = SITES, noise: float = 1.0, **who: object) -> Predictions:
    given = {"scenario": "draw", "target": "GPP", "selection": "mean", "scenario_hash": ONE, "store_hash": ONE} | who
    return Predictions.from_frame(table(sites, noise=noise), Identity(model=model, **given))


def scores(model: str, **more: object) -> Scores:
    return evaluate(predictions(model, **more))


def bare(model: str, sites: tuple[str, ...] = SITES, **more: object) -> Scores:
    return evaluate(table(sites), model=model, selection="mean", scenario="draw", target="GPP", **more)


def test_hashes_are_columns_of_the_scores(tmp_path: Path) -> None:
    found = Scores.concat([scores("lr", scenario_hash=ONE, store_hash=TWO), bare("mine")])
    assert found.frame.columns[-2:] == ["scenario_hash", "store_hash"]
    lr, mine = found.where(model="lr").frame, found.where(model="mine").frame
    assert set(lr["scenario_hash"]) == {ONE} and set(lr["store_hash"]) == {TWO}
    assert mine["scenario_hash"].null_count() == mine["store_hash"].null_count() == mine.height
    for name in ("s.parquet", "s.csv"):
        assert Scores.read(found.write(tmp_path / name)).frame.equals(found.frame)
    assert not {"scenario_hash", "store_hash"} & set(found.metrics)
    assert not {"scenario_hash", "store_hash"} & set(found.published().columns)


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_older_scores_without_hashes_are_read(tmp_path: Path, ending: str) -> None:
    frame = scores("lr").frame.drop("scenario_hash", "store_hash")
    file = tmp_path / f"old.{ending}"
    frame.write_parquet(file) if ending == "parquet" else frame.write_csv(file)
    again = Scores.read(file)
    assert again.frame["store_hash"].dtype == pl.String
    assert again.frame["store_hash"].null_count() == again.frame.height
    assert pivot(again).height == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("scenario_hash", r"GPP draw stands for 2 different scenarios: 11111111 \(lr\), 22222222 \(xgb\).*Rename one"),
        ("store_hash", r"GPP draw was predicted on 2 different stores: 11111111 \(lr\), 22222222 \(xgb\).*same store"),
    ],
)
def test_one_name_for_two_test_sets_is_refused(name: str, message: str) -> None:
    mixed = Scores.concat([scores("lr"), scores("xgb", **{name: TWO})])  # may be kept together
    for compare in (summarise, skill, pivot):
        with pytest.raises(EvaluationError, match=message):
            compare(mixed)
    with pytest.raises(EvaluationError, match=message):
        pivot(mixed.frame, baseline=None)
    assert set(summarise(mixed, by=[name])[name]) == {ONE, TWO}
    assert skill(mixed.where(model="xgb"), baseline="xgb").overall.height == 1


def test_other_scenarios_and_targets_may_have_other_hashes() -> None:
    parts = [
        scores(model, scenario=name, scenario_hash=key) for name, key in (("a", ONE), ("b", TWO)) for model in "lx"
    ]
    parts.append(scores("l", target="ET", scenario="a", store_hash=TWO))
    assert summarise(Scores.concat(parts))["scenario"].unique().sort().to_list() == ["a", "b"]


def test_the_files_behind_two_test_sets_are_named(tmp_path: Path) -> None:
    files = [
        scores(model, scenario_hash=key).write(tmp_path / f"{model}.{ending}")
        for model, key, ending in (("lr", ONE, "parquet"), ("xgb", TWO, "csv"))
    ]
    with pytest.raises(EvaluationError, match=r"\(lr, from \S*lr\.parquet.*\(xgb, from \S*xgb\.csv\)"):
        pivot(Scores.read(*files))


def test_the_same_model_on_two_test_sets_is_not_pooled_when_shown() -> None:
    mixed = Scores.concat([scores("lr"), scores("lr", noise=3.0, store_hash=TWO)])
    shown = mixed.overview().filter(pl.col("scale") == "hourly")
    assert shown["store_hash"].to_list() == [ONE, TWO]
    assert shown["domains"].to_list() == [3, 3]
    assert "store_hash" not in scores("lr").overview().columns


def test_a_bare_table_must_have_the_domains_of_the_baseline() -> None:
    assert skill(Scores.concat([scores("lr"), bare("mine")])).overall.height == 2
    short = Scores.concat([scores("lr"), bare("mine", SITES[:2])])
    message = r"GPP draw: mine mean has 2 domains at scale hourly, the baseline 3: 1 only the baseline has \(AA-S3\)\."
    for compare in (skill, pivot):
        with pytest.raises(EvaluationError, match=message):
            compare(short)
    assert summarise(short).height and pivot(short, baseline=None).height == 2  # nothing is compared with anything
    other = Scores.concat([bare("lr"), bare("mine", ("AA-S1", "AA-S2", "ZZ-S9"))])
    with pytest.raises(EvaluationError, match=r"1 only the baseline has \(AA-S3\); 1 only mine has \(ZZ-S9\)"):
        skill(other)
    yearly = Scores.concat([scores("lr", domain_kind="site-year"), bare("mine")])
    with pytest.raises(EvaluationError, match="--domain site or site-year"):
        skill(yearly)


def test_published_labels_of_site_years_are_the_same_domains() -> None:
    labels = pl.format("('{}', {})", "site_id", pl.col("time").dt.year())
    mine = evaluate(
        table().with_columns(labels.alias("env")), model="mine", selection="mean", scenario="draw", target="GPP"
    )
    assert "('AA-S1', 2019)" in mine.frame["domain"].to_list()
    assert skill(Scores.concat([scores("lr", domain_kind="site-year"), mine])).overall.height == 2


def test_the_finest_scale_both_have_is_compared() -> None:
    daily = bare("mine").frame.filter(pl.col("scale") != "hourly")
    skill(pl.concat([scores("lr").frame, daily]))
    with pytest.raises(EvaluationError, match="at scale daily"):
        skill(pl.concat([scores("lr").frame, daily.filter(pl.col("domain") != "AA-S1")]))


@given(
    ours=st.sets(st.sampled_from("abcdef"), min_size=1),
    theirs=st.sets(st.sampled_from("abcdef"), min_size=1),
)
def test_domains_differ_or_they_do_not(ours: set[str], theirs: set[str]) -> None:
    def rows(model: str, domains: set[str]) -> pl.DataFrame:
        names = {"target": "GPP", "scenario": None, "model": model, "selection": None, "scale": "hourly"}
        return pl.DataFrame({"domain": sorted(domains), "n_samples": 24}).with_columns(
            pl.lit(value, pl.String).alias(name) for name, value in names.items()
        )

    base = rows("lr", theirs)
    both = pl.concat([rows("mine", ours), base])
    if ours == theirs:
        need_same_domains(both, base)
    else:
        with pytest.raises(EvaluationError, match="Skill compares errors on the same domains"):
            need_same_domains(both, base)


def test_other_hours_in_the_same_domains_are_told() -> None:
    names = {"target": "GPP", "scenario": "spatial", "selection": None, "scale": "hourly"}

    def rows(model: str, hours: list[int]) -> pl.DataFrame:
        table = pl.DataFrame({"domain": ["AA-Aaa", "BB-Bbb"], "n_samples": hours, "model": model})
        return table.with_columns(pl.lit(value, pl.String).alias(name) for name, value in names.items())

    base = rows("lr", [24, 48])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        need_same_domains(pl.concat([rows("mine", [24, 48]), base]), base)
    with pytest.warns(
        FluxtrapolationWarning,
        match=r"GPP spatial: mine and the baseline were not .* in 1 of 2 domains, such as BB-Bbb: 47 against 48",
    ):
        need_same_domains(pl.concat([rows("mine", [24, 47]), base]), base)


@pytest.mark.real
def test_published_submissions_have_the_same_domains(shared: Path) -> None:
    """That is why differing domains are an error and no warning."""
    found = Scores.read(shared / "golden" / "leaderboard" / "published")
    need_same_domains(found.frame, found.where(model="lr").frame)
    with pytest.raises(EvaluationError, match=r"xgb mean has 339 domains at scale hourly, the baseline 340"):
        skill(found.frame.filter((pl.col("model") != "xgb") | (pl.col("domain") != "AU-ASM 2019")))


def test_runs_the_published_columns_cannot_tell_apart_are_refused(tmp_path: Path) -> None:
    several = Scores.concat([scores("lr", selection=name) for name in ("max", "mean")])
    with pytest.raises(
        EvaluationError, match=r"GPP draw lr has several runs \(selection max, mean\).*--selection mean"
    ):
        several.write(tmp_path / "p.csv", columns="published")
    assert list(tmp_path.iterdir()) == []
    one = several.where(selection="max").write(tmp_path / "p.csv", columns="published")
    assert pl.read_csv(one).height == len(several) / 2
    for name, values, shown in (("seed", (1, 2), "1, 2"), ("profile", ("paper", "quick"), "paper, quick")):
        mixed = Scores.concat([scores("lr", **{name: value}) for value in values])
        with pytest.raises(EvaluationError, match=rf"\({name} {shown}\).*one file per {name}\."):
            mixed.published()
    with pytest.raises(EvaluationError, match="Give each file once"):
        Scores.concat([scores("lr")] * 2).published()
    # Other models, scenarios and targets may have other selections.
    assert Scores.concat([scores("lr"), scores("xgb", selection="max")]).published().height


def test_a_file_given_twice_is_named(tmp_path: Path) -> None:
    file = scores("lr").write(tmp_path / "lr.parquet")
    copy = scores("lr").write(tmp_path / "copy.csv")
    with pytest.raises(
        EvaluationError, match=r"GPP draw lr mean\. They come from \S*lr\.parquet \(2 times\)\. Give each"
    ):
        pivot(Scores.read(file, file))
    with pytest.raises(EvaluationError, match=r"from \S*lr\.parquet, \S*copy\.csv\. Give each file once"):
        pivot(Scores.read(file, copy))
    again = Scores.read(Scores.read(file).write(tmp_path / "again.parquet"))
    assert [run["file"] for run in again.meta["runs"]] == [str(tmp_path / "again.parquet")]


def test_an_unknown_baseline_has_a_nearest_name() -> None:
    two = Scores.concat([scores("ridge"), scores("xgb")])
    with pytest.raises(
        EvaluationError, match=r"there are ridge \(mean\), xgb \(mean\)\. Did you mean 'ridge'\? Add its"
    ):
        pivot(two, baseline="rigde")
    with pytest.raises(EvaluationError, match=r"baseline zz \(selection mean\) is not among the scores.*\. Add its"):
        pivot(two, baseline="zz")


def full_disk(*_: object, **__: object) -> None:
    raise pl.exceptions.ComputeError("No space left on device (os error 28)")


def test_a_full_disk_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table_, found = predictions("lr"), scores("lr")
    monkeypatch.setattr(pl.DataFrame, "write_parquet", full_disk)
    monkeypatch.setattr(pl.DataFrame, "write_csv", full_disk)
    for write in (
        lambda: table_.write(tmp_path / "p.parquet"),
        lambda: found.write(tmp_path / "s.parquet"),
        lambda: found.write(tmp_path / "s.csv"),
        lambda: found.write(tmp_path / "b.csv", columns="published"),
    ):
        with pytest.raises(DataError, match="The disk is full"):
            write()
    assert list(tmp_path.iterdir()) == []
