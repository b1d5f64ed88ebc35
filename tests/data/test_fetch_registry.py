"""Registries and lock files: what may stand in them, and what is said of what may not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fluxtrapolation.data.fetch import Registry, read_registry
from fluxtrapolation.data.fetch.lock import LockFile, Pin
from fluxtrapolation.data.fetch.names import check_address, check_file_name, check_sha256
from fluxtrapolation.data.fetch.registry import PACKAGED, from_template, parse_registry
from fluxtrapolation.data.manifest import utc_now
from fluxtrapolation.errors import DataError

GOOD = {
    "name": "test",
    "base_urls": ["https://one.example/towers/", "https://two.example/get?site={site}&file={name}"],
    "licence": "CC-BY-4.0",
    "citation": "All of them (2026).",
    "files": [
        "DE-Tha",
        {"site": "FI-Hyy", "name": "hyytiala.csv", "size": 12, "sha256": "SHA256:" + "Ab" * 32, "licence": "CC0"},
        {"site": "AT-Neu", "name": "AT-Neu.zip", "urls": ["https://own.example/x.zip"], "citation": "Neustift (2020)."},
    ],
}


def test_addresses_names_and_facts_of_each_file() -> None:
    tharandt, hyytiala, neustift = parse_registry(json.dumps(GOOD).encode(), "r.json").order()
    assert tharandt.name == "DE-Tha.csv" and tharandt.size is None and tharandt.sha256 is None
    assert tharandt.urls == (
        "https://one.example/towers/DE-Tha.csv",
        "https://two.example/get?site=DE-Tha&file=DE-Tha.csv",
    )
    assert (tharandt.licence, tharandt.citation) == ("CC-BY-4.0", "All of them (2026).")
    # Kept under the site's id, asked for under the publisher's name.
    assert hyytiala.name == "FI-Hyy.csv" and hyytiala.urls[0] == "https://one.example/towers/hyytiala.csv"
    assert hyytiala.sha256 == "ab" * 32 and hyytiala.licence == "CC0"
    assert neustift.name == "AT-Neu.zip"
    assert neustift.urls[0] == "https://own.example/x.zip" and len(neustift.urls) == 3
    assert neustift.citation == "Neustift (2020)."


def test_yaml_and_json_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(GOOD))
    (tmp_path / "r.json").write_text(json.dumps(GOOD))
    assert read_registry(tmp_path / "r.yaml") == read_registry(tmp_path / "r.json")


def test_the_packaged_registry_says_what_is_known_and_no_more() -> None:
    registry = read_registry(PACKAGED)
    assert len(registry.files) == 131
    assert all(file.size is None and file.sha256 is None for file in registry.files)
    assert registry.licence is None and "no sizes, hashes or licence" in str(registry.note)
    (tharandt,) = registry.order(["DE-Tha"])
    assert tharandt.urls[0].startswith("https://") and tharandt.urls[0].endswith("/DE-Tha.csv")


def test_the_packaged_towers_are_those_of_the_temporal_scenario() -> None:
    from fluxtrapolation.scenarios.scenario import PINNED

    listed = yaml.safe_load((PINNED / "temporal.yaml").read_text())["sites"]
    assert sorted(file.site for file in read_registry(PACKAGED).files) == sorted(listed)


BROKEN: dict[str, tuple[object, str]] = {
    "not a table": (["a"], "must hold 'name', 'base_urls' and 'files'"),
    "misspelt": ({**GOOD, "base_url": ["https://x.example"]}, "no field 'base_url'.* Did you mean 'base_urls'"),
    "misspelt in a file": (
        {**GOOD, "files": [{"site": "DE-Tha", "sha265": "0" * 64}]},
        r"no field 'sha265' \(at files\.0\.sha265\).* Did you mean 'sha256'",
    ),
    "no name": ({k: v for k, v in GOOD.items() if k != "name"}, "field 'name' is missing"),
    "no files": ({**GOOD, "files": []}, "files: .*at least 1 item"),
    "no address": ({"name": "x", "files": ["DE-Tha"]}, r"1 files have no address \(first: DE-Tha\.csv\)"),
    "twice": ({**GOOD, "files": ["DE-Tha", "DE-Tha"]}, r"stand there more than once \(first: DE-Tha\.csv\)"),
    "ftp": ({**GOOD, "base_urls": ["ftp://host/x"]}, "no http or https address"),
    "a login": ({**GOOD, "base_urls": ["https://me:secret@host/x"]}, "no user name or password"),
    "place-holder": (
        {**GOOD, "base_urls": ["https://host/{tower}.csv"]},
        r"place-holder \{tower\}; known are \{site\}",
    ),
    "short hash": ({**GOOD, "files": [{"site": "DE-Tha", "sha256": "abc"}]}, "'abc' is no sha256"),
    "size": ({**GOOD, "files": [{"site": "DE-Tha", "size": -1}]}, "files.0.size"),
    "climbs out": ({**GOOD, "files": [{"site": "DE-Tha", "name": "../../x.csv"}]}, "no plain file name"),
    "bad site": ({**GOOD, "files": ["../x"]}, "no usable site id"),
    "newer": ({**GOOD, "version": 2}, "version"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_registries(tmp_path: Path, case: str) -> None:
    content, told = BROKEN[case]
    path = tmp_path / "registry.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(DataError, match=told) as raised:
        read_registry(path)
    assert str(path) in str(raised.value)


def test_what_is_no_registry_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no registry"):
        read_registry(tmp_path / "no.yaml")
    for content, told in (
        (b"<html></html>", r"web page \(HTML\)"),
        (b"a: [1", "neither YAML nor JSON"),
        (b"\x00\xff", "neither YAML nor JSON"),
        (b"!!python/object/apply:os.system ['true']", "neither YAML nor JSON"),
        (b"", "must hold 'name'"),
    ):
        with pytest.raises(DataError, match=told):
            parse_registry(content, "it")


def test_chosen_towers() -> None:
    registry = Registry.model_validate(GOOD)
    assert [file.site for file in registry.order(["FI-Hyy", "DE-Tha"])] == ["DE-Tha", "FI-Hyy"]
    with pytest.raises(DataError, match=r"lists 3 towers, but not DE-Thb\. Did you mean 'DE-Tha'"):
        registry.order(["DE-Thb"])
    with pytest.raises(DataError, match="No site was asked for"):
        registry.order([])


def test_templates() -> None:
    for template, name, url in (
        ("https://h.example/{site}.csv", "DE-Tha.csv", "https://h.example/DE-Tha.csv"),
        ("https://h.example/get?site={site}", "DE-Tha.csv", "https://h.example/get?site=DE-Tha"),
        ("https://h.example/{site}/hourly.csv", "DE-Tha.csv", "https://h.example/DE-Tha/hourly.csv"),
        ("https://h.example/FLX_{site}_2015.zip", "FLX_DE-Tha_2015.zip", "https://h.example/FLX_DE-Tha_2015.zip"),
        ("https://h.example/{site}.csv?x=1", "DE-Tha.csv", "https://h.example/DE-Tha.csv?x=1"),
    ):
        (file,) = from_template(template, ["DE-Tha"]).order()
        assert (file.name, file.urls) == (name, (url,)), template
    with pytest.raises(DataError, match=r"has no \{site\} in it"):
        from_template("https://h.example/all.csv", ["DE-Tha"])
    with pytest.raises(DataError, match="no http or https address"):
        from_template("h.example/{site}.csv", ["DE-Tha"])


@given(st.text(max_size=40))
def test_no_name_leaves_the_folder(text: str) -> None:
    try:
        name = check_file_name(text)
    except ValueError:
        return
    assert (Path("/folder") / name).parent == Path("/folder") and not name.startswith(".")


@pytest.mark.parametrize("bad", ["", "a b", "javascript:1", "http://", "https://h:x/", "https://h/\n", "https://h/{0}"])
def test_no_address(bad: str) -> None:
    with pytest.raises(ValueError):
        check_address(bad)


def test_hashes_in_other_spellings() -> None:
    assert check_sha256(f" sha256:{'AB' * 32} ") == "ab" * 32


# -- the lock file ----------------------------------------------------------------------------------------------------


def some_pin(digit: str = "a") -> Pin:
    return Pin(sha256=digit * 64, size=3, origin="learned", url="https://h.example/x", retrieved=utc_now())


def test_lock_file_is_sorted_one_line_each(tmp_path: Path) -> None:
    lock = LockFile(tmp_path / "fetch.lock.json")
    for name in ("c.csv", "a.csv", "b.csv"):
        lock.pin(name, some_pin(name[0]))
    lock.save()
    lines = (tmp_path / "fetch.lock.json").read_text().splitlines()
    assert [line.split('"')[1] for line in lines if "sha256" in line] == ["a.csv", "b.csv", "c.csv"]
    back = LockFile(tmp_path / "fetch.lock.json")
    assert back.get("b.csv") == lock.get("b.csv") and "d.csv" not in back
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fetch.lock.json"]


def test_pins_survive_a_kill(tmp_path: Path) -> None:
    """Without save(), and with the last line torn."""
    path = tmp_path / "fetch.lock.json"
    first = LockFile(path)
    first.pin("a.csv", some_pin("a"))
    first.save()
    first.pin("b.csv", some_pin("b"))
    first.pin("c.csv", some_pin("c"))
    journal = tmp_path / "fetch.lock.json.new"
    journal.write_bytes(journal.read_bytes()[:-20])
    second = LockFile(path)
    assert "a.csv" in second and second.get("b.csv") == some_pin("b").model_copy(
        update={"retrieved": first.get("b.csv").retrieved}  # type: ignore[union-attr]
    )
    assert "c.csv" not in second
    second.save()
    assert not journal.exists() and "b.csv" in LockFile(path)


def test_a_torn_journal_line_does_not_swallow_the_next(tmp_path: Path) -> None:
    path = tmp_path / "fetch.lock.json"
    (tmp_path / "fetch.lock.json.new").write_bytes(b'"a.csv": {"sha2')
    lock = LockFile(path)
    lock.pin("b.csv", some_pin("b"))
    assert "b.csv" in LockFile(path)


def test_damaged_lock_files(tmp_path: Path) -> None:
    path = tmp_path / "fetch.lock.json"
    good = {"format": "fluxtrapolation-fetch-lock", "version": 1, "files": {}}
    pin = some_pin().model_dump(mode="json")
    for content, told in (
        ("{", "damaged: it is not JSON"),
        ("[]", "no lock file"),
        (json.dumps({**good, "version": 2}), "version"),
        (json.dumps({**good, "files": {"../x": pin}}), "no plain file name"),
        (json.dumps({**good, "files": {"x": {**pin, "sha265": 1}}}), "Did you mean 'sha256'"),
        (json.dumps({**good, "files": {"x": {**pin, "sha256": "1"}}}), "no sha256"),
    ):
        path.write_text(content)
        with pytest.raises(DataError, match=told) as raised:
            LockFile(path)
        assert str(path) in str(raised.value) and "Restore it from a copy" in str(raised.value)


def test_claims(tmp_path: Path) -> None:
    lock = LockFile(tmp_path / "fetch.lock.json")
    assert lock.claim("a.csv", "1" * 64) is None
    assert lock.claim("a.csv", "1" * 64) is None
    assert lock.claim("b.csv", "1" * 64) == "a.csv"
