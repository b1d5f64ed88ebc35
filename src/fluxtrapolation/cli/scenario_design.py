"""``fluxtrapolation scenario design``: new scenarios by rule, one, several draws, or a family."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxtrapolation.cli.console import emit_json, emit_path, emit_table, say
from fluxtrapolation.cli.options import JsonFlag, outside_stores

if TYPE_CHECKING:
    from fluxtrapolation.data.store import Store
    from fluxtrapolation.scenarios import DesignOptions, Scenario


class RuleName(StrEnum):
    years = "years"
    random = "random"
    temperature = "temperature"
    aridity = "aridity"
    latitude = "latitude"
    biome = "biome"
    continent = "continent"
    cluster = "cluster"


class ValidationRule(StrEnum):
    random = "random"
    same_rule = "same-rule"


class Moving(StrEnum):
    train = "train"
    test = "test"


def design(
    store: Annotated[Path, typer.Option("--store", help="Folder of the store.", show_default=False)],
    rule: Annotated[RuleName, typer.Option("--rule", help="See above.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", help="Scenario file to write (.yaml).", show_default=False, callback=outside_stores)
    ],
    n_test: Annotated[int, typer.Option("--n-test", help="Test towers (not for years).")] = 40,
    n_validation: Annotated[int, typer.Option("--n-validation", help="Validation towers (not for years).")] = 20,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the draw.")] = 1,
    validation: Annotated[
        ValidationRule, typer.Option("--validation", help="Draw the validation towers, or choose them by the rule too.")
    ] = ValidationRule.random,
    extreme: Annotated[
        str | None,
        typer.Option(
            "--extreme",
            metavar="END",
            help="Which end is the test: warm (default) or cold; dry or wet; poleward or equatorward; or high, low.",
        ),
    ] = None,
    classes: Annotated[
        str | None, typer.Option("--classes", metavar="CRO,GRA", help="For biome: IGBP classes. Default: drawn.")
    ] = None,
    continents: Annotated[
        str | None, typer.Option("--continents", metavar="asia,africa", help="For continent. Default: drawn.")
    ] = None,
    clusters: Annotated[int | None, typer.Option("--clusters", help="For cluster: number of clusters.")] = None,
    min_distance: Annotated[
        float | None,
        typer.Option("--min-distance", metavar="KM", help="Leave out train towers nearer to a held-out one."),
    ] = None,
    exclude_neighbours: Annotated[
        bool,
        typer.Option(
            "--exclude-neighbours",
            help="Leave out train towers within 50 km of a held-out one whose weather correlates at least 0.8.",
        ),
    ] = False,
    draws: Annotated[
        int | None, typer.Option("--draws", min=1, help="Draw so often, with the seeds SEED, SEED + 1, ...")
    ] = None,
    family: Annotated[
        int | None,
        typer.Option("--family", min=2, help="So many scenarios of rising difficulty along the rule's axis."),
    ] = None,
    family_moves: Annotated[
        Moving, typer.Option("--family-moves", help="What moves along a family; the other part stays the same.")
    ] = Moving.train,
    train_years: Annotated[
        str | None, typer.Option("--train-years", metavar=":2007", help="For the rule years.")
    ] = None,
    validation_years: Annotated[
        str | None, typer.Option("--validation-years", metavar="2008", help="For the rule years.")
    ] = None,
    test_years: Annotated[str | None, typer.Option("--test-years", metavar="2009:", help="For the rule years.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the scenario. Default: that of the file.")] = None,
    no_card: Annotated[bool, typer.Option("--no-card", help="Skip the difficulty card, which takes a while.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    json: JsonFlag = False,
) -> None:
    """Make a new scenario for a store by a rule, and pin it in a file.

    years: later years of the same towers. random: towers at random. temperature: the warmest towers by mean TA.
    aridity: the driest by de Martonne's index. latitude: the furthest from the equator. biome: whole IGBP classes.
    continent: whole continents. cluster: whole clusters of climate.

    With --draws and --family, files get -1, -2, ... before their ending; all are written or none.
    """
    from fluxtrapolation.data.store import Store
    from fluxtrapolation.errors import ScenarioError
    from fluxtrapolation.scenarios import DesignOptions

    if draws is not None and family is not None:
        raise ScenarioError("--draws and --family do not go together: a family is not drawn again. Give one of them.")
    paths = _paths(out, draws or family)
    label = name or out.stem
    _check_free(paths, label, overwrite=overwrite)
    options = DesignOptions(
        n_test=n_test,
        n_validation=n_validation,
        seed=seed,
        train_years=train_years,
        validation_years=validation_years,
        test_years=test_years,
        validation=validation.value,
        extreme=extreme,
        classes=_words(classes),
        continents=_words(continents),
        clusters=clusters,
        min_distance=min_distance,
        exclude_neighbours=exclude_neighbours,
    )
    towers = Store(store)
    made = _make(towers, rule.value, label, options, draws=draws, family=family, moves=family_moves.value)
    if not no_card:
        made = [_with_card(towers, one, seed) for one in made]
    _write(made, paths)
    if json:
        facts = [
            {"path": str(path), **one.model_dump(mode="json"), "sha256": one.sha256}
            for path, one in zip(paths, made, strict=True)
        ]
        emit_json({"scenarios": facts} if draws or family else facts[0])
        return
    for one, path in zip(made, paths, strict=True):
        _tell(one)
        emit_path(path)


def _make(
    store: Store,
    rule: str,
    label: str,
    options: DesignOptions,
    *,
    draws: int | None,
    family: int | None,
    moves: Any,
) -> list[Scenario]:
    from fluxtrapolation.scenarios import design as design_one
    from fluxtrapolation.scenarios import design_draws, design_family

    if family:
        return design_family(store, rule, name=label, members=family, moves=moves, options=options)
    if draws:
        return design_draws(store, rule, name=label, draws=draws, options=options)
    return [design_one(store, rule, name=label, options=options)]


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _paths(out: Path, several: int | None) -> list[Path]:
    """The files to write: ``out``, or ``out`` with -1, -2, ... before its ending."""
    if several is None:
        return [out]
    return [out.with_name(f"{out.stem}-{i + 1}{out.suffix}") for i in range(several)]


def _check_free(paths: Sequence[Path], label: str, *, overwrite: bool) -> None:
    """Refuse published names and files that exist, before any work is done."""
    from fluxtrapolation.errors import ScenarioError, examples
    from fluxtrapolation.scenarios import scenario_names
    from fluxtrapolation.schema import SCENARIO_ALIASES

    there = [path for path in paths if path.exists()]
    if there and not overwrite:
        told = str(there[0]) if len(paths) == 1 else f"{len(there)} of the {len(paths)} files ({examples(there)})"
        raise ScenarioError(
            f"{told} exist{'s' if len(paths) == 1 else ''}. A scenario is pinned: choose another --out, or replace it "
            "with --overwrite."
        )
    if label in (*scenario_names(), *SCENARIO_ALIASES):
        raise ScenarioError(f"{label!r} is the name of a published scenario. Choose another --out or --name.")


def _with_card(store: Store, scenario: Scenario, seed: int) -> Scenario:
    """The scenario with its difficulty card; where the card cannot be made, with the reason in its place."""
    from fluxtrapolation.errors import FluxtrapolationError
    from fluxtrapolation.shift.card import difficulty

    say(f"{scenario.name}: measuring how far the test is from the train (--no-card skips this)")
    try:
        card: dict[str, Any] = difficulty(store, scenario, seed=seed)
    except FluxtrapolationError as error:
        say(f"note: no difficulty card: {error}")
        card = {"cannot_be_estimated": str(error)}
    return scenario.model_copy(update={"difficulty": card})


def _write(scenarios: Sequence[Scenario], paths: Sequence[Path]) -> None:
    """Write all files or none: each under a temporary name first, renamed when all are there."""
    from fluxtrapolation.files import atomic_path

    with ExitStack() as stack:
        for scenario, path in zip(scenarios, paths, strict=True):
            stack.enter_context(atomic_path(path)).write_bytes(scenario.to_yaml().encode())


def _tell(scenario: Scenario) -> None:
    """Rule, sizes, closest towers, what was left out, and the card."""
    made = scenario.made_from
    say(f"{scenario.name}: {scenario.rule}")
    sizes = made.get("sizes", {})
    if sizes:
        columns = list(next(iter(sizes.values())))
        emit_table(["part", *columns], [(part, *size.values()) for part, size in sizes.items()])
    if scenario.kind == "sites":
        chosen = "by the same rule" if made.get("validation") == "same-rule" else "drawn from the rest"
        say(f"Validation towers: {chosen}.")
    if "closest" in made:
        near = made["closest"]
        say(f"Closest train and test towers: {near['train']} and {near['test']}, {near['km']:,.1f} km.")
    if "gap" in made:
        gap = made["gap"]
        say(
            f"Gap on the axis, mean of test less mean of train towards the extreme: {gap['towards_extreme']:.2f} "
            f"{gap['unit']}."
        )
    left = made.get("left_out")
    if left:
        say(f"{len(left)} towers have no measured hour in the train years and are left out: {', '.join(left)}")
    for key, what in (("left_in_train", "left in train"), ("not_on_axis", "in no part")):
        for reason, sites in made.get(key, {}).items():
            say(f"{len(sites)} towers {reason.replace('_', ' ')}, {what}: {', '.join(sites)}")
    if "excluded" in made:
        say(f"{len(made['excluded'])} towers left out of train:")
        for line in made["excluded"]:
            say(f"  {line}")
    if scenario.difficulty:
        say("Difficulty card:")
        _tell_card(scenario.difficulty, "  ")


def _tell_card(card: dict[str, Any], indent: str) -> None:
    for key, value in card.items():
        if isinstance(value, dict):
            say(f"{indent}{key}:")
            _tell_card(value, indent + "  ")
        else:
            say(f"{indent}{key}: {f'{value:.4g}' if isinstance(value, float) else value}")
