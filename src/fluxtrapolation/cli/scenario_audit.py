"""``fluxtrapolation scenario audit``: leakage between the parts of a scenario."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fluxtrapolation.cli.console import emit_json, emit_path, emit_table, say
from fluxtrapolation.cli.options import JsonFlag, outside_stores

if TYPE_CHECKING:
    from fluxtrapolation.scenarios.audit import Audit

_SHOWN = 30


def audit(
    name: Annotated[str, typer.Argument(help="Name, published id, or path of a scenario file.", show_default=False)],
    store: Annotated[
        Path | None, typer.Option("--store", help="Also compare series. Without: distances by packaged coordinates.")
    ] = None,
    km: Annotated[float, typer.Option("--km", help="Towers within this distance are neighbours, km.")] = 50.0,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Write all that was found (.json).", show_default=False, callback=outside_stores),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Look for leakage between train, validation and test.

    Neighbouring towers, series held twice, and hours or days that were copied. Exit code 1 if something grave is found:
    two ids within 250 m of each other in different parts, or the same fluxes in two parts. Neighbours further apart and
    shared weather stations are told and give 0.
    """
    from fluxtrapolation.scenarios import audit as look

    found = look(store, name, km=km)
    if out is not None:
        _write(out, found)
    if json:
        emit_json(found.to_dict() if out is None else {"path": str(out), **found.to_dict()})
    else:
        _tell(found)
        if out is not None:
            emit_path(out)
    if found.grave:
        raise typer.Exit(1)


def _write(out: Path, found: Audit) -> None:
    import json

    from fluxtrapolation.files import write_bytes_atomic

    write_bytes_atomic(out, json.dumps(found.to_dict(), indent=1, allow_nan=False).encode())


def _tell(found: Audit) -> None:
    record = found.record
    towers = ", ".join(f"{count} {part}" for part, count in record["towers"].items())
    say(f"{found.scenario}: {towers} towers, by the coordinates of the {record['coordinates']}.")
    for line in record["not_looked_at"]:
        say(f"not looked at: {line}")
    if found.reach.height:
        rows = [tuple(row) for row in found.reach.filter(found.reach["part"] != "train").iter_rows()]
        emit_table(["part", "near to", "within km", "towers", "with a neighbour"], rows)
    if found.near.height:
        shown = found.near.head(_SHOWN)
        emit_table(
            ["tower", "part", "tower", "part", "km", "name", "name"],
            [tuple(row[:7]) for row in shown.iter_rows()],
            title=f"Pairs within {record['km']:g} km: {found.near.height}"
            + (f", the nearest {_SHOWN}" if found.near.height > _SHOWN else ""),
        )
    told = [finding for finding in found.findings if finding.kind != "near"]
    for finding in told:
        say(f"{'GRAVE' if finding.grave else 'note'} {finding.kind}: {finding.text}")
    neighbours = sum(finding.kind == "near" for finding in found.findings)
    say(f"{len(found.grave)} grave findings, {len(told) - len(found.grave)} notes, {neighbours} pairs of neighbours.")
