"""The exit codes that the page on the command line promises, usage errors without traceback included."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fluxtrapolation.cli import doctor
from fluxtrapolation.cli.main import run


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("data synth", "Missing option '--out'"),
        ("trian", "Did you mean 'train'"),
        ("data synth --out x --sites 0", "Invalid value for '--sites'"),
        ("data synth --out x --yeers 2015:2016", "No such option: --yeers"),
        ("evaluate a.csv --out b.csv --protocol papper", "Invalid value for '--protocol'"),
        ("data info nowhere", "There is no store at nowhere"),
    ],
)
def test_bad_usage_and_bad_input_give_2(words: str, says: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(words.split()) == 2
    shown = capfd.readouterr()
    assert says in shown.err.replace("\n", " ")
    assert "Traceback" not in shown.err
    assert shown.out == ""


def test_done_gives_0(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capfd.readouterr().out.startswith("fluxtrapolation ")


def test_a_failed_check_gives_1(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {**doctor.environment_facts(), "ok": False}
    monkeypatch.setattr(doctor, "environment_facts", lambda: facts)
    assert run(["doctor", "--json"]) == 1


def test_interrupted_gives_130(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(doctor, "environment_facts", interrupted)
    assert run(["doctor"]) == 130
    assert "what is finished is kept" in capfd.readouterr().err


def test_starts_without_click(tmp_path: Path) -> None:
    """Newer versions of typer carry a copy of click and do not install it."""
    code = (
        "import sys; sys.modules['click'] = None\n"
        "from fluxtrapolation.cli.main import run\n"
        "sys.exit(run(['doctor', '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] is True
