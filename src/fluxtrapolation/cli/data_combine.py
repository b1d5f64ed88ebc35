"""``fluxtrapolation data subset`` and ``data merge``: stores made from stores."""

from __future__ import annotations

import warnings
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fluxtrapolation.cli.console import SiteProgress, emit_json, emit_path, say
from fluxtrapolation.cli.options import DONE_IN_PART, JsonFlag
from fluxtrapolation.cli.site_lists import SitesOption, site_list, words
from fluxtrapolation.errors import DataError, examples

if TYPE_CHECKING:
    from fluxtrapolation.data.choose import Box, Years
    from fluxtrapolation.data.store import Store
    from fluxtrapolation.scenarios.scenario import Scenario

Out = Annotated[Path, typer.Option("--out", help="Folder of the store to write.", show_default=False)]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace the store that is there, once the new one is finished.")
]
Link = Annotated[
    bool, typer.Option("--link", help="Share unchanged files with the old store (hard links) instead of copying them.")
]


class PreferStore(StrEnum):
    first = "first"
    last = "last"
    newest = "newest"


def subset(
    store: Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)],
    out: Out,
    sites: SitesOption = None,
    igbp: Annotated[str | None, typer.Option("--igbp", metavar="ENF,DBF", help="Only these IGBP classes.")] = None,
    bbox: Annotated[
        str | None,
        typer.Option("--bbox", metavar="W,S,E,N", help="Only towers in this box, degrees; W above E crosses 180."),
    ] = None,
    years: Annotated[
        str | None, typer.Option("--years", metavar="2010:2014", help="Only these years, both ends included; or 2010:")
    ] = None,
    scenario: Annotated[
        str | None, typer.Option("--scenario", metavar="NAME|FILE", help="Only the towers that a scenario uses.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option("--columns", metavar="TA,GPP", help="Only these covariates and targets.")
    ] = None,
    link: Link = False,
    overwrite: Overwrite = False,
    json: JsonFlag = False,
) -> None:
    """Make a store of some towers, years or columns of another.

    Values stay as they are, bit by bit; a tower that is taken whole keeps its very file. Interrupted, the same command
    goes on where it stopped. Conditions must all hold.
    """
    from fluxtrapolation.data.combine import subset_store
    from fluxtrapolation.data.importers.outcome import TowersNotReadWarning
    from fluxtrapolation.data.store import Store

    opened = Store(store)
    chosen = site_list(sites)
    because: dict[str, Any] = {}
    if scenario is not None:
        listed, because = _of_scenario(scenario, opened)
        chosen = listed if chosen is None else _both(chosen, listed, scenario, opened)
    with SiteProgress("taking") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", TowersNotReadWarning)  # told below, every one
        made = subset_store(
            opened,
            out,
            sites=chosen,
            igbp=None if igbp is None else words(igbp),
            bbox=_box(bbox),
            years=_years(years),
            columns=None if columns is None else words(columns),
            because=because,
            overwrite=overwrite,
            link=link,
            progress=progress,
        )
    _tell(made, json=json)


def merge(
    stores: Annotated[list[Path], typer.Argument(help="Folders of the stores, two or more.", show_default=False)],
    out: Out,
    prefer: Annotated[
        PreferStore | None,
        typer.Option("--prefer", help="Whose tower counts where two stores hold it; newest: read last."),
    ] = None,
    common_columns: Annotated[
        bool, typer.Option("--common-columns", help="Keep only the columns that all stores have.")
    ] = False,
    link: Link = False,
    overwrite: Overwrite = False,
    json: JsonFlag = False,
) -> None:
    """Put stores together in a new one.

    A tower that two stores hold with other content is refused, with a list, unless --prefer says whose counts; the
    records of one tower are never joined. The sources of all are kept.
    """
    from fluxtrapolation.data.combine import merge_stores
    from fluxtrapolation.data.importers.outcome import TowersNotReadWarning

    with SiteProgress("merging") as progress, warnings.catch_warnings():
        warnings.simplefilter("ignore", TowersNotReadWarning)
        made = merge_stores(
            stores,
            out,
            prefer=None if prefer is None else prefer.value,
            common_columns=common_columns,
            overwrite=overwrite,
            link=link,
            progress=progress,
        )
    _tell(made, json=json)


def _of_scenario(name: str, store: Store) -> tuple[list[str], dict[str, Any]]:
    """Towers of the store that a scenario uses, and what the provenance says of it."""
    from fluxtrapolation.scenarios import load_scenario

    scenario: Scenario = load_scenario(name)
    member = scenario.apply(store.site_ids, parts=())
    used = sorted({*member.train, *member.validation, *member.test})
    if not used:
        raise DataError(
            f"Scenario '{scenario.name}' uses no tower of {store.path}. See 'scenario show {name} --store'."
        )
    return used, {"scenario": scenario.name, "scenario_sha256": scenario.sha256}


def _both(chosen: list[str], listed: list[str], scenario: str, store: Store) -> list[str]:
    store.need_sites(chosen)
    both = [site for site in chosen if site in set(listed)]
    if not both:
        raise DataError(
            f"None of the sites {examples(chosen)} is in the scenario {scenario}. Leave one of the two out."
        )
    return both


def _box(text: str | None) -> Box | None:
    if text is None:
        return None
    try:
        west, south, east, north = (float(edge) for edge in text.split(","))
    except ValueError:
        raise DataError(f"Cannot read the box {text!r}. Write west,south,east,north: --bbox=-10,35,30,70") from None
    return west, south, east, north


def _years(text: str | None) -> Years | None:
    if text is None:
        return None
    from fluxtrapolation.scenarios.scenario import Years as YearRange

    span = YearRange.parse(text)
    return span.first, span.last


def _tell(store: Store, *, json: bool) -> None:
    """Say what was made; towers that could not be taken make exit code 2."""
    failures = store.manifest.failures
    for reason in failures.values():
        say(f"error: {reason}")
    if failures:
        total = len({*failures, *store.site_ids})
        say(f"{len(failures)} of {total} towers could not be taken over; the same command tries them again.")
    if json:
        emit_json(store.info())
    else:
        step = "hours" if store.resolution == "hourly" else "days"
        say(f"{len(store.site_ids)} towers, {store.hours:,} {step}, targets {', '.join(store.targets) or 'none'}")
        emit_path(store.path)
    if failures:
        raise typer.Exit(DONE_IN_PART)
