"""The rule ``years``: later years of the same towers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import ScenarioError
from fluxtrapolation.scenarios.design_options import DesignOptions, rows_word
from fluxtrapolation.scenarios.scenario import Scenario, Years, YearSplit
from fluxtrapolation.schema import QC, TIME


def by_years(
    store: Store, name: str, options: DesignOptions, *, made_from: Callable[..., dict[str, Any]], source: str
) -> Scenario:
    """Train, validation and test are years of the towers with measured rows in the train years.

    Raises
    ------
    ScenarioError
        If years are missing, overlap, or hold no measured row.
    """
    parts = _years(options)
    train, validation, test = parts.values()
    counts = {
        site: store.read_site(site, [TIME, QC])
        .group_by(pl.col(TIME).dt.year().alias("year"))
        .agg(pl.len().alias("rows"), (pl.col(QC) == 1).sum().alias("measured"))
        for site in store.site_ids
    }

    def within(site: str, years: Years) -> pl.DataFrame:
        return counts[site].filter(pl.col("year").is_between(years.first or -9999, years.last or 9999))

    def measured(site: str, years: Years) -> bool:
        return int(within(site, years)["measured"].sum()) > 0

    listed = [site for site in store.site_ids if measured(site, train)]
    left_out = [site for site in store.site_ids if site not in set(listed)]
    span = f"The store spans {store.info()['first'][:4]} to {store.info()['last'][:4]}: choose other years."
    if not listed:
        raise ScenarioError(
            f"No tower of the store has a measured {rows_word(store)[:-1]} in the train years {train}. {span}"
        )
    for flag, years in (("--validation-years", validation), ("--test-years", test)):
        if not any(measured(site, years) for site in listed):
            raise ScenarioError(
                f"None of the {len(listed)} towers with measured {rows_word(store)} in the train years has one in "
                f"{flag} {years}. {span}"
            )
    sizes = {}
    for part, years in (("train", train), ("validation", validation), ("test", test)):
        tables = [within(site, years) for site in listed]
        sizes[part] = {
            "towers": sum(table.height > 0 for table in tables),
            rows_word(store): sum(int(table["rows"].sum()) for table in tables),
            "measured": sum(int(table["measured"].sum()) for table in tables),
        }
    return Scenario(
        name=name,
        kind="years",
        domain="site-year",
        rule=(
            f"years: train {train}, validation {validation}, test {test} (local standard time) "
            f"at the {len(listed)} towers with measured {rows_word(store)} in the train years; one domain is a tower "
            "in one year (a tower at the multi-year scales)"
        ),
        source=source,
        sites=tuple(listed),
        years=YearSplit(train=train, validation=validation, test=test),
        made_from=made_from(left_out=left_out, sizes=sizes),
    )


def _years(options: DesignOptions) -> dict[str, Years]:
    given = {
        "--train-years": options.train_years,
        "--validation-years": options.validation_years,
        "--test-years": options.test_years,
    }
    missing = [flag for flag, text in given.items() if not text]
    if missing:
        raise ScenarioError(
            f"The rule 'years' needs {', '.join(missing)}; for example --train-years :2007 --validation-years 2008 "
            "--test-years 2009:"
        )
    parts = {flag: Years.parse(str(text)) for flag, text in given.items()}
    for one, other in (
        ("--train-years", "--validation-years"),
        ("--train-years", "--test-years"),
        ("--validation-years", "--test-years"),
    ):
        if parts[one].overlaps(parts[other]):
            raise ScenarioError(f"{one} {parts[one]} and {other} {parts[other]} overlap. Parts may share no year.")
    return parts
