"""``fluxtrapolation scenario``: list, show and design scenarios."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from fluxtrapolation.cli.console import emit_json, emit_path, emit_table, out, say
from fluxtrapolation.cli.options import JsonFlag, outside_stores

app = typer.Typer(no_args_is_help=True, help="Which towers and years are train, validation and test.")


class RuleName(StrEnum):
    years = "years"
    random = "random"
    temperature = "temperature"


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
    """Show a scenario: its rule, source and membership."""
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


@app.command()
def design(
    store: Annotated[Path, typer.Option("--store", help="Folder of the store.", show_default=False)],
    rule: Annotated[RuleName, typer.Option("--rule", help="See above.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", help="Scenario file to write (.yaml).", show_default=False, callback=outside_stores)
    ],
    n_test: Annotated[int, typer.Option("--n-test", help="Test towers (random, temperature).")] = 40,
    n_validation: Annotated[int, typer.Option("--n-validation", help="Validation towers (random, temperature).")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the draw.")] = 1,
    train_years: Annotated[
        str | None, typer.Option("--train-years", metavar=":2007", help="For the rule years.")
    ] = None,
    validation_years: Annotated[
        str | None, typer.Option("--validation-years", metavar="2008", help="For the rule years.")
    ] = None,
    test_years: Annotated[str | None, typer.Option("--test-years", metavar="2009:", help="For the rule years.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the scenario. Default: that of the file.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    json: JsonFlag = False,
) -> None:
    """Make a new scenario for a store by a rule, and pin it in a file.

    years: later years of the same towers. random: towers at random. temperature: the warmest towers by mean TA.
    """
    from fluxtrapolation.data.store import Store
    from fluxtrapolation.errors import ScenarioError
    from fluxtrapolation.scenarios import DesignOptions
    from fluxtrapolation.scenarios import design as make
    from fluxtrapolation.scenarios.scenario import scenario_names
    from fluxtrapolation.schema import SCENARIO_ALIASES

    if out.exists() and not overwrite:
        raise ScenarioError(
            f"{out} exists. A scenario is pinned: choose another --out, or replace it with --overwrite."
        )
    label = name or out.stem
    if label in (*scenario_names(), *SCENARIO_ALIASES):
        raise ScenarioError(f"{label!r} is the name of a published scenario. Choose another --out or --name.")
    scenario = make(
        Store(store),
        rule.value,
        name=label,
        options=DesignOptions(
            n_test=n_test,
            n_validation=n_validation,
            seed=seed,
            train_years=train_years,
            validation_years=validation_years,
            test_years=test_years,
        ),
    )
    scenario.write(out)
    if json:
        emit_json({"path": str(out), **_facts(scenario)})
        return
    say(scenario.rule)
    left = scenario.made_from.get("left_out")
    if left:
        say(f"{len(left)} towers have no measured hour in the train years and are left out: {', '.join(left)}")
    emit_path(out)


def _facts(scenario: Any) -> dict[str, Any]:
    return {**scenario.model_dump(mode="json"), "sha256": scenario.sha256}
