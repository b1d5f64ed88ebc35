"""New scenarios by rule, for any store. A rule is applied once and its result is pinned in a file."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import polars as pl

from fluxtrapolation import __version__
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import ScenarioError, did_you_mean, examples
from fluxtrapolation.scenarios.scenario import NAME_PATTERN, Scenario, Years, YearSplit
from fluxtrapolation.schema import QC, TIME

Rule = Literal["years", "random", "temperature"]


@dataclass(frozen=True)
class DesignOptions:
    """What a rule needs: numbers of held-out towers and a seed, or the years of each part."""

    n_test: int = 40
    n_validation: int = 20
    seed: int = 1
    train_years: str | None = None
    validation_years: str | None = None
    test_years: str | None = None


def design(store: Store, rule: str, *, name: str, options: DesignOptions | None = None) -> Scenario:
    """Make a scenario for ``store`` by a rule.

    Rules
    -----
    years
        Train, validation and test are calendar years (local standard time) of the same towers. Listed are the towers
        with measured hours in the train years, so the test is new years and never new towers.
    random
        ``n_test`` and ``n_validation`` towers drawn without replacement.
    temperature
        The ``n_test`` warmest towers by mean air temperature over their hours in the store; ``n_validation`` towers
        drawn from the rest.

    Towers without a single measured hour are never held out.

    Raises
    ------
    ScenarioError
        If the rule is unknown, its options are missing, or the store has too few towers.
    """
    if rule not in _RULES:
        raise ScenarioError(f"There is no rule {rule!r}.{did_you_mean(rule, _RULES)} Known: {', '.join(_RULES)}.")
    if not re.fullmatch(NAME_PATTERN, name):
        raise ScenarioError(
            f"{name!r} cannot be the name of a scenario: it becomes part of folder names. "
            "Use letters, digits, '.', '_' and '-' (--name, or another name for the file)."
        )
    given = options or DesignOptions()
    if given.seed < 0:
        raise ScenarioError(f"The seed must not be negative ({given.seed}).")
    return _RULES[rule](store, name, given)


def _made_from(store: Store, rule: str, **options: Any) -> dict[str, Any]:
    return {
        "rule": rule,
        "store_hash": store.data_hash,
        "store": ", ".join(source.name for source in store.manifest.sources),
        "package_version": __version__,
        **options,
    }


def _source(store: Store) -> str:
    return f"designed by fluxtrapolation {__version__} for the store of {len(store.site_ids)} towers described below"


def _by_years(store: Store, name: str, options: DesignOptions) -> Scenario:
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
    train, validation, test = parts.values()
    for one, other in (
        ("--train-years", "--validation-years"),
        ("--train-years", "--test-years"),
        ("--validation-years", "--test-years"),
    ):
        if parts[one].overlaps(parts[other]):
            raise ScenarioError(f"{one} {parts[one]} and {other} {parts[other]} overlap. Parts may share no year.")
    measured = {
        site: store.read_site(site, [TIME, QC]).filter(pl.col(QC) == 1)[TIME].dt.year().unique()
        for site in store.site_ids
    }

    def within(site: str, years: Years) -> bool:
        return measured[site].is_between(years.first or -9999, years.last or 9999).any()

    listed = [site for site in store.site_ids if within(site, train)]
    left_out = [site for site in store.site_ids if site not in set(listed)]
    if not listed:
        raise ScenarioError(
            f"No tower of the store has a measured {_rows(store)[:-1]} in the train years {train}. The store spans "
            f"{store.info()['first'][:4]} to {store.info()['last'][:4]}: choose other years."
        )
    for flag, years in (("--validation-years", validation), ("--test-years", test)):
        if not any(within(site, years) for site in listed):
            raise ScenarioError(
                f"None of the {len(listed)} towers with measured {_rows(store)} in the train years has one in "
                f"{flag} {years}. "
                f"The store spans {store.info()['first'][:4]} to {store.info()['last'][:4]}: choose other years."
            )
    return Scenario(
        name=name,
        kind="years",
        domain="site-year",
        rule=(
            f"years: train {train}, validation {validation}, test {test} (local standard time) "
            f"at the {len(listed)} towers with measured {_rows(store)} in the train years; one domain is a tower in "
            "one year (a tower at the multi-year scales)"
        ),
        source=_source(store),
        sites=tuple(listed),
        years=YearSplit(train=train, validation=validation, test=test),
        made_from=_made_from(store, "years", left_out=left_out),
    )


def _rows(store: Store) -> str:
    """What a row of the store is."""
    return "days" if store.resolution == "daily" else "hours"


def _eligible(store: Store, options: DesignOptions) -> list[str]:
    if options.n_test < 1 or options.n_validation < 1:
        raise ScenarioError(
            f"--n-test and --n-validation must be at least 1 (given {options.n_test} and {options.n_validation})."
        )
    eligible = [site for site in store.site_ids if store.record(site).measured_hours > 0]
    wanted = options.n_test + options.n_validation
    if wanted >= len(eligible):
        raise ScenarioError(
            f"{options.n_test} test and {options.n_validation} validation towers leave none of the store's "
            f"{len(eligible)} towers with measured {_rows(store)} for training. Choose smaller --n-test and "
            "--n-validation."
        )
    return eligible


def _held_out(store: Store, name: str, rule: str, text: str, test: list[str], options: DesignOptions) -> Scenario:
    rest = [site for site in _eligible(store, options) if site not in set(test)]
    # A stream of its own: the validation towers do not depend on how the test towers were found.
    generator = np.random.default_rng([options.seed, 2])
    validation = generator.permutation(rest)[: options.n_validation].tolist()
    never = [site for site in store.site_ids if store.record(site).measured_hours == 0]
    taken = {*test, *validation}
    return Scenario(
        name=name,
        kind="sites",
        domain="site",
        rule=text,
        source=_source(store),
        train=tuple(site for site in store.site_ids if site not in taken),
        validation=tuple(sorted(validation)),
        test=tuple(sorted(test)),
        made_from=_made_from(
            store,
            rule,
            n_test=options.n_test,
            n_validation=options.n_validation,
            seed=options.seed,
            **({"never_held_out": never} if never else {}),
        ),
    )


def _at_random(store: Store, name: str, options: DesignOptions) -> Scenario:
    eligible = _eligible(store, options)
    test = np.random.default_rng([options.seed, 1]).permutation(eligible)[: options.n_test].tolist()
    text = (
        f"random: {options.n_test} test and {options.n_validation} validation towers drawn from the "
        f"{len(eligible)} towers with measured {_rows(store)} (seed {options.seed}); one domain is a tower"
    )
    return _held_out(store, name, "random", text, test, options)


def _by_temperature(store: Store, name: str, options: DesignOptions) -> Scenario:
    if "TA" not in store.covariates:
        raise ScenarioError(f"The rule 'temperature' needs TA; the store holds {examples(store.covariates, 12)}.")
    eligible = _eligible(store, options)
    mean = {site: float(store.read_site(site, ["TA"])["TA"].cast(pl.Float64).mean()) for site in eligible}  # type: ignore[arg-type]
    test = sorted(eligible, key=lambda site: (-mean[site], site))[: options.n_test]
    text = (
        f"temperature: the {options.n_test} warmest towers by mean TA over their {_rows(store)} in the store are the "
        f"test (coldest of them {min(mean[s] for s in test):.1f} degC); {options.n_validation} validation towers drawn "
        f"from the rest (seed {options.seed}); one domain is a tower"
    )
    return _held_out(store, name, "temperature", text, test, options)


_RULES: dict[str, Callable[[Store, str, DesignOptions], Scenario]] = {
    "years": _by_years,
    "random": _at_random,
    "temperature": _by_temperature,
}


def rule_names() -> tuple[str, ...]:
    """Names of the rules."""
    return tuple(_RULES)
