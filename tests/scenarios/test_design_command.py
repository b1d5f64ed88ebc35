"""``scenario design`` on the command line: several files at once, the card, and what is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fluxtrapolation.cli.main import run
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import ModelError
from fluxtrapolation.scenarios import load_scenario


def words(store: Store, out: Path, *more: object) -> list[str]:
    size = ("--n-test", 1, "--n-validation", 1)
    return [*map(str, ("scenario", "design", "--store", store.path, *size, "--out", out, *more))]


def test_draws_are_all_written_or_none(tiny_store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plan = words(tiny_store, tmp_path / "d.yaml", "--rule", "random", "--draws", 3, "--no-card", "--n-test", 2)
    (tmp_path / "d-2.yaml").write_text("mine")
    assert run(plan) == 2
    assert "1 of the 3 files" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["d-2.yaml"]
    assert run([*plan, "--overwrite"]) == 0
    shown = capfd.readouterr()
    assert shown.out.splitlines()[-1] == str(tmp_path / "d-3.yaml")
    assert "part" in shown.out and "Closest train and test towers" in shown.err
    made = [load_scenario(tmp_path / f"d-{i}.yaml") for i in (1, 2, 3)]
    assert [one.made_from["seed"] for one in made] == [1, 2, 3]
    assert not any(one.difficulty for one in made)


def test_family_as_json(tiny_store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plan = words(tiny_store, tmp_path / "f.yaml", "--rule", "latitude", "--family", 2, "--no-card", "--json")
    assert run(plan) == 0
    told = json.loads(capfd.readouterr().out)["scenarios"]
    assert [Path(one["path"]).name for one in told] == ["f-1.yaml", "f-2.yaml"]
    gaps = [one["made_from"]["gap"]["towards_extreme"] for one in told]
    assert gaps[1] > gaps[0] > 0
    assert told[0]["sha256"] == load_scenario(tmp_path / "f-1.yaml").sha256
    assert run([*words(tiny_store, tmp_path / "g.yaml", "--rule", "latitude"), "--family", "2", "--draws", "2"]) == 2
    assert "do not go together" in capfd.readouterr().err


@pytest.mark.parametrize("works", [True, False])
def test_the_card_is_pinned_and_shown(
    tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], works: bool
) -> None:
    asked: list[Any] = []

    def difficulty(store: Store, scenario: object, *, seed: int) -> dict[str, Any]:
        asked.append((store.path, seed))
        if not works:
            raise ModelError("no scikit-learn here")
        return {"auc": {"by_site": 0.75}}

    card = ModuleType("fluxtrapolation.shift.card")
    card.difficulty = difficulty  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fluxtrapolation.shift.card", card)
    out = tmp_path / "c.yaml"
    assert run(words(tiny_store, out, "--rule", "temperature", "--seed", 4)) == 0
    assert asked == [(tiny_store.path, 4)]
    shown = capfd.readouterr().err
    made = load_scenario(out)
    if works:
        assert made.difficulty == {"auc": {"by_site": 0.75}} and "by_site: 0.75" in shown
    else:
        assert made.difficulty == {"cannot_be_estimated": "no scikit-learn here"}
        assert "note: no difficulty card: no scikit-learn here" in shown
    assert run(["scenario", "show", str(out)]) == 0
    assert "difficulty" in capfd.readouterr().out


def test_an_empty_card_does_not_move_the_hash() -> None:
    assert load_scenario("spatial").difficulty == {}
    assert "difficulty" not in load_scenario("spatial").to_yaml()


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--rule", "biome", "--classes", "GRAS"), "Did you mean 'GRA'"),
        (("--rule", "continent", "--continents", "Asien"), "Did you mean 'asia'"),
        (("--rule", "aridity"), "map_mm"),
        (("--rule", "temperature", "--extreme", "hot"), "is warm or cold, not 'hot'"),
        (("--rule", "random", "--min-distance", "1e6"), "takes all 4 train towers away"),
        (("--rule", "temperature", "--family", "9"), "The family is too large"),
    ],
)
def test_bad_usage_gives_2_and_writes_nothing(
    tiny_store: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str], more: tuple[str, ...], says: str
) -> None:
    assert run(words(tiny_store, tmp_path / "x.yaml", *more, "--no-card")) == 2
    assert says in capfd.readouterr().err
    assert list(tmp_path.iterdir()) == []
