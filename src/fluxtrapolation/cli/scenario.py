"""``fluxtrapolation scenario``: list, show, design and audit scenarios."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fluxtrapolation.cli.console import emit_json, emit_table, out, say
from fluxtrapolation.cli.options import JsonFlag
from fluxtrapolation.cli.scenario_audit import audit
from fluxtrapolation.cli.scenario_design import design

app = typer.Typer(no_args_is_help=True, help="Which towers and years are train, validation and test.")


@app.command("list")
def list_(json: JsonFlag = False) -> None:
    """List the packaged scenarios."""
    from fluxtrapolation.scenarios import load_scenario, scenario_names

    found = [load_scenario(name) for name in scenario_names()]
    if json:
        emit_json([_facts(scenario) for scenario in found])
        return
    rows = [
        (s.name, s.published_id, len(s.validation) or None, len(s.test) or len(s.sites), s.domain, s.sha256[:12])
        for s in found
    ]
    emit_table(["scenario", "published id", "validation sites", "test sites", "domain", "sha256"], rows)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="Name, published id, or path of a scenario file.", show_default=False)],
    store: Annotated[Path | None, typer.Option("--store", help="Also say how it applies to this store.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse if the store lacks a listed site.")] = False,
    json: JsonFlag = False,
) -> None:
    """Show a scenario: its rule, source, membership and, where it was designed with one, its difficulty card."""
    from fluxtrapolation.scenarios import load_scenario

    scenario = load_scenario(name)
    facts = _facts(scenario)
    if store is not None:
        from fluxtrapolation.data.store import Store

        membership = scenario.apply(Store(store).site_ids, strict=strict)
        facts["in_store"] = {
            "train": len(membership.train),
            "validation": len(membership.validation),
            "test": len(membership.test),
            "absent": list(membership.absent),
        }
    if json:
        emit_json(facts)
        return
    out.print(scenario.to_yaml(), markup=False, soft_wrap=True, end="")
    if store is not None:
        held = facts["in_store"]
        say(
            f"In {store}: {held['train']} train, {held['validation']} validation, {held['test']} test towers; "
            f"{len(held['absent'])} listed towers absent."
        )


app.command("design")(design)
app.command("audit")(audit)


def _facts(scenario: Any) -> dict[str, Any]:
    return {**scenario.model_dump(mode="json"), "sha256": scenario.sha256}
