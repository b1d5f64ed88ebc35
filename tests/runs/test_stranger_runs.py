"""A run folder from a stranger: nothing it names is imported or executed unless the user says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fluxtrapolation.cli.main import run as command
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import FluxtrapolationError, ModelError, RunError
from fluxtrapolation.files import sha256_of
from fluxtrapolation.runs import TrainOptions, predict_run, train
from fluxtrapolation.scenarios import DesignOptions, design


@pytest.fixture
def stranger(tiny_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A finished run whose run.json can be made to name a file; the file leaves a mark when it is executed."""
    scenario = design(tiny_store, "random", name="draw", options=DesignOptions(n_test=2, n_validation=2))
    options = TrainOptions(profile="quick", max_rows=500, jobs=1)
    [result] = train(
        tiny_store, scenarios=[scenario], targets=["GPP"], models=["lr"], out=tmp_path / "runs", options=options
    )
    file = result.path / "his.py"
    file.write_text("open('it-ran', 'w').close()\nfrom fluxtrapolation.models.linear import LinearRegression as Base\n")
    file.write_text(file.read_text() + "class His(Base):\n    name = 'his'\n")
    monkeypatch.chdir(tmp_path)

    def naming(**changes: Any) -> Path:
        state = json.loads((result.path / "run.json").read_text())
        state["config"] |= changes
        (result.path / "run.json").write_text(json.dumps(state))
        return Path(result.path)

    naming.file = file  # type: ignore[attr-defined]
    return naming


def predicted(run: Path, store: Store, **more: Any) -> Path:
    return predict_run(run, store=store, out="p.parquet", **more)


def test_a_file_is_run_only_when_trusted(stranger: Any, tiny_store: Store, tmp_path: Path) -> None:
    source = f"{stranger.file}:His"
    run = stranger(model="his", model_source=source, model_sha256=sha256_of(stranger.file))
    with pytest.raises(RunError, match=r"his of the run .* is not a registered one.*his\.py:His.*--trust-model"):
        predicted(run, tiny_store)
    words = ["predict", str(run), "--store", str(tiny_store.path), "--out", "p.parquet"]
    assert command(words) == 2
    assert command(["report", str(run.parent), "--out", "report"]) == 0
    assert not (tmp_path / "it-ran").exists()
    assert command([*words, "--trust-model"]) == 0
    assert (tmp_path / "it-ran").exists()


@pytest.mark.parametrize(
    ("changes", "trust", "error"),
    [
        ({"model": "his", "model_source": "{file}:His", "model_sha256": "0" * 64}, True, ModelError),
        ({"model": "his", "model_source": "{file}:His"}, True, RunError),
        ({"model": "his", "model_source": "{file}:His"}, False, RunError),
        ({"model": "{file}:His"}, True, ModelError),
        ({"model": "{file}:His"}, False, ModelError),
        ({"model": "his", "model_source": "his.His"}, False, RunError),
        ({"model": "his", "model_source": "his.His", "model_sha256": "0" * 64}, True, RunError),
    ],
)
def test_what_run_json_says_is_not_believed(
    changes: dict[str, str],
    trust: bool,
    error: type[FluxtrapolationError],
    stranger: Any,
    tiny_store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No hash, a wrong one, a file in place of a name, a module in the folder."""
    monkeypatch.syspath_prepend(stranger.file.parent)
    run = stranger(**{key: value.format(file=stranger.file) for key, value in changes.items()})
    with pytest.raises(error):
        predicted(run, tiny_store, trust_model=trust)
    assert not (tmp_path / "it-ran").exists()


def test_a_registered_model_needs_no_trust(stranger: Any, tiny_store: Store) -> None:
    assert predicted(stranger(model_source="his.His"), tiny_store).is_file()  # a plug-in's origin is not followed
