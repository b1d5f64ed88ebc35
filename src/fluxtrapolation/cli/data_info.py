"""``fluxtrapolation data info``: what a store holds and where it comes from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from fluxtrapolation.cli.console import emit_json, out
from fluxtrapolation.cli.options import JsonFlag

WIDTH: Final = 80
LABEL: Final = 13
MAX_LISTED: Final = 8
"""Items of an option that are printed; --json has them all."""


def info(
    store: Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)],
    json: JsonFlag = False,
) -> None:
    """Say what a store holds and where it comes from.

    Of every source: where from, when and with which version it was read, licence, citation, and the importer's options.
    """
    from fluxtrapolation.data.cite import site_dois
    from fluxtrapolation.data.store import Store

    opened = Store(store)
    facts = {**opened.info(), "dois": site_dois(opened)}
    if json:
        emit_json(facts)
        return
    towers = {
        source.name: [site for site in opened.site_ids if source.covers(opened.record(site))]
        for source in opened.manifest.sources
    }
    out.print("\n".join(info_lines(facts, towers)), markup=False, soft_wrap=True)


def info_lines(facts: Mapping[str, Any], towers: Mapping[str, list[str]]) -> Iterator[str]:
    """The facts of a store as lines of at most 80 characters; paths and addresses are never broken.

    Parameters
    ----------
    facts : mapping
        As :meth:`~fluxtrapolation.data.store.Store.info`, and ``dois``: the DOIs of towers.
    towers : mapping
        The towers of each source, by its name.
    """
    yield from _line("store", facts["path"])
    yield from _line("towers", f"{facts['sites']:,} ({', '.join(facts['igbp'])})")
    yield from _line("resolution", facts["resolution"])
    yield from _line("rows", f"{facts['rows']:,}")
    yield from _line("measured", f"{facts['measured']:,} ({facts['measured'] / max(facts['rows'], 1):.0%})")
    yield from _line("targets", ", ".join(facts["targets"]))
    yield from _line("covariates", ", ".join(facts["covariates"]))
    daily = facts["resolution"] == "daily"
    for end in ("first", "last"):
        yield from _line(f"{end} {'day' if daily else 'hour'}", _moment(facts[end], 10 if daily else 16))
    yield from _line("size", f"{facts['bytes'] / 1e6:,.1f} MB")
    yield from _line("complete", "yes" if facts["complete"] else "no: run the same command again to finish it")
    yield from _line("failed", _counted(facts["failures"]))
    yield from _line("with notes", _counted(facts["notes"]))
    yield from _line("with a DOI", _counted(facts["dois"]))
    yield from _line("content hash", facts["data_hash"][:16])
    for number, source in enumerate(facts["sources"], start=1):
        yield ""
        yield from _source_lines(number, len(facts["sources"]), source, towers.get(source["name"], []), facts["dois"])


def _source_lines(
    number: int, count: int, source: Mapping[str, Any], towers: list[str], dois: Mapping[str, str]
) -> Iterator[str]:
    made = source["kind"] in ("merge", "subset")
    yield from _line(f"source {number}/{count}", source["name"])
    yield from _line("  kind", source["kind"])
    yield from _line("  from", source["location"])
    when = f"{_moment(source['retrieved'])} UTC with fluxtrapolation {source['package_version']}"
    yield from _line("  made" if made else "  read", when)
    if towers:
        own = sum(site in dois for site in towers)
        told = f", {own:,} with a DOI of their own (data cite lists them)" if own else ""
        yield from _line("  towers", f"{len(towers):,} under this name{told}")
    if not made:
        yield from _line("  licence", source["licence"])
        yield from _line("  citation", source["citation"])
    if source["doi"]:
        yield from _line("  doi", "; ".join(f"https://doi.org/{doi}" for doi in source["doi"].split("; ")))
    label = "  options"
    for name, value in source["options"].items():
        several = isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)
        for one in value if several else [value]:
            yield from _line(label, f"{name} = {_option(one)}")
            label = ""


def _line(label: str, value: object) -> Iterator[str]:
    """A label and its value; further lines of the value stand below it."""
    text = "not stated" if value is None or value == "" else str(value)
    lines = textwrap.wrap(text, WIDTH - LABEL, break_long_words=False, break_on_hyphens=False) or [""]
    for i, line in enumerate(lines):
        yield f"{label if i == 0 else '':<{LABEL}}{line}".rstrip()


def _option(value: Any) -> str:
    if isinstance(value, list):
        rest = f" and {len(value) - MAX_LISTED} more" if len(value) > MAX_LISTED else ""
        return ", ".join(_option(one) for one in value[:MAX_LISTED]) + rest
    if isinstance(value, Mapping):
        return _option([f"{key}: {one}" for key, one in value.items()])
    return "none" if value is None else str(value)


def _moment(text: str | None, letters: int = 16) -> str | None:
    """An ISO time up to the minute; with 10 letters, its day."""
    return None if text is None else text.replace("T", " ").removesuffix("Z")[:letters]


def _counted(items: Mapping[str, object]) -> str:
    return f"{len(items):,} (--json lists them)" if items else "0"
