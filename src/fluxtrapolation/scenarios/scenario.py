"""The Scenario: a pinned membership of train, validation and test, kept in a file, never in a seed."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fluxtrapolation.errors import FluxtrapolationWarning, ScenarioError, did_you_mean, examples
from fluxtrapolation.schema import SCENARIO_ALIASES

SCENARIO_VERSION = 1
PINNED = Path(__file__).parent / "pinned"

PartName = Literal["train", "validation", "test"]
DomainKind = Literal["site", "site-year"]

PART_NAMES: tuple[PartName, ...] = ("train", "validation", "test")


NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"


class Years(BaseModel):
    """A closed range of calendar years (local standard time); an open end is None."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    first: int | None = Field(default=None, ge=1900, le=2200)
    last: int | None = Field(default=None, ge=1900, le=2200)

    @model_validator(mode="after")
    def _ordered(self) -> Years:
        if self.first is not None and self.last is not None and self.first > self.last:
            raise ValueError(f"first year {self.first} lies after last year {self.last}")
        return self

    @classmethod
    def parse(cls, text: str) -> Years:
        """Read ``2008``, ``:2007``, ``2009:`` or ``2009:2012`` (both ends included).

        Raises
        ------
        ScenarioError
            If the text is none of these.
        """
        first, colon, last = text.strip().partition(":")
        try:
            if not colon:
                return cls(first=int(first), last=int(first))
            if not (first or last):
                raise ValueError
            return cls(first=int(first) if first else None, last=int(last) if last else None)
        except (ValueError, ValidationError):
            raise ScenarioError(
                f"Cannot read the years {text!r}. Write one year (2008), an open range (:2007, 2009:) or a range "
                "(2009:2012, both ends included)."
            ) from None

    def overlaps(self, other: Years) -> bool:
        low = max(self.first or -(10**6), other.first or -(10**6))
        high = min(self.last or 10**6, other.last or 10**6)
        return low <= high

    def __str__(self) -> str:
        if self.first == self.last:
            return str(self.first)
        return f"{'' if self.first is None else self.first}:{'' if self.last is None else self.last}"


class YearSplit(BaseModel):
    """The years of each part; they must not overlap."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    train: Years
    validation: Years
    test: Years

    @model_validator(mode="after")
    def _disjoint(self) -> YearSplit:
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
            if parts[one].overlaps(parts[other]):
                raise ValueError(f"{one} years {parts[one]} overlap {other} years {parts[other]}")
        return self


class Scenario(BaseModel):
    """Which towers (or years) are train, validation and test, and what one domain is.

    Parameters
    ----------
    name : str
        Short name; also the label in predictions and scores.
    kind : {'sites', 'years'}
        Whether whole towers are held out, or later years of the same towers.
    domain : {'site', 'site-year'}
        The unit over which errors are summarised.
    train : tuple of str or None
        Train towers; None means every tower of the store that is in no other part.
    validation, test : tuple of str
        Held-out towers, for ``kind='sites'``.
    sites, years
        Listed towers and the years of each part, for ``kind='years'``.
    rule, source : str
        How the membership came about and who published it.
    published_id : str or None
        Name on the published board.
    made_from : dict
        Store hash, seed and options, for designed scenarios.
    difficulty : dict
        The difficulty card: how far the test is from the train in the store it was designed for.

    Notes
    -----
    A scenario file holds ``sha256``, the hash of all the rest; a file edited by hand without it is refused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    format: Literal["fluxtrapolation-scenario"] = "fluxtrapolation-scenario"
    version: int = SCENARIO_VERSION
    name: str = Field(pattern=NAME_PATTERN)
    published_id: str | None = None
    kind: Literal["sites", "years"]
    domain: DomainKind
    rule: str
    source: str
    train: tuple[str, ...] | None = None
    validation: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    sites: tuple[str, ...] = ()
    years: YearSplit | None = None
    made_from: dict[str, Any] = Field(default_factory=dict)
    difficulty: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Scenario:
        if self.kind == "years":
            if self.years is None or not self.sites:
                raise ValueError("a scenario of kind 'years' needs 'sites' and 'years'")
            if self.test or self.validation or self.train is not None:
                raise ValueError("a scenario of kind 'years' lists 'sites', not parts")
        else:
            if not self.test or not self.validation:
                raise ValueError("a scenario of kind 'sites' needs 'validation' and 'test'")
            if self.years is not None or self.sites:
                raise ValueError("a scenario of kind 'sites' has no 'years' and no 'sites'")
        seen: dict[str, str] = {}
        for part in ("train", "validation", "test", "sites"):
            for site in getattr(self, part) or ():
                if site in seen:
                    raise ValueError(f"site {site} is listed in {seen[site]} and again in {part}")
                seen[site] = part
        return self

    @property
    def sha256(self) -> str:
        """Identity of the scenario: a hash over everything its file says."""
        return hashlib.sha256(json.dumps(self._body(), sort_keys=True).encode()).hexdigest()

    @property
    def listed_sites(self) -> tuple[str, ...]:
        """Every tower named in the file, ascending."""
        return tuple(sorted({*self.sites, *(self.train or ()), *self.validation, *self.test}))

    def _body(self) -> dict[str, Any]:
        # What is empty is not written, so that a field added later does not move the hash of older files.
        return {key: value for key, value in self.model_dump(mode="json").items() if value not in (None, [], {})}

    def to_yaml(self) -> str:
        """The scenario as the text of its file."""
        return yaml.safe_dump(
            {**self._body(), "sha256": self.sha256},
            sort_keys=False,
            allow_unicode=True,
            width=100,
            default_flow_style=None,
        )

    def write(self, path: str | Path) -> Path:
        """Write the scenario file atomically and return its path."""
        from fluxtrapolation.files import write_bytes_atomic

        out = Path(path)
        write_bytes_atomic(out, self.to_yaml().encode())
        return out

    def apply(
        self, site_ids: Iterable[str], *, strict: bool = False, parts: Sequence[PartName] = PART_NAMES
    ) -> Membership:
        """Match the scenario with the towers a store holds.

        Parameters
        ----------
        site_ids : iterable of str
            Towers of the store.
        strict : bool, default False
            Refuse when any listed tower is absent, instead of warning.
        parts : sequence of str
            Parts that must not be empty.

        Returns
        -------
        Membership

        Raises
        ------
        ScenarioError
            If listed towers are absent under ``strict``, or a part would be empty.
        """
        held = set(site_ids)
        absent = [site for site in self.listed_sites if site not in held]
        if absent:
            counts = ", ".join(
                f"{sum(site not in held for site in part)} of {len(part)} {label}"
                for label, part in (
                    ("test", self.test),
                    ("validation", self.validation),
                    ("train", self.train or ()),
                )
                if part and any(site not in held for site in part)
            )
            which = f"{counts} sites; " if self.kind == "sites" else ""
            message = (
                f"Scenario '{self.name}': the store lacks {len(absent)} of {len(self.listed_sites)} listed sites "
                f"({which}for example {examples(absent)})."
            )
            if strict:
                raise ScenarioError(f"{message} Import them, or drop --strict to go on with the sites there are.")
            warnings.warn(message, FluxtrapolationWarning, stacklevel=2)
        if self.kind == "years":
            listed = tuple(site for site in self.sites if site in held)
            if not listed:
                raise ScenarioError(f"Scenario '{self.name}': none of its {len(self.sites)} sites is in the store.")
            return Membership(self, listed, listed, listed, tuple(absent))
        heldout = {*self.validation, *self.test}
        train = tuple(sorted(held - heldout)) if self.train is None else tuple(s for s in self.train if s in held)
        validation = tuple(site for site in self.validation if site in held)
        test = tuple(site for site in self.test if site in held)
        for label, part in (("train", train), ("validation", validation), ("test", test)):
            if not part and label in parts:
                raise ScenarioError(
                    f"Scenario '{self.name}' has no {label} sites in this store. Import more sites, or design a "
                    "scenario for it: fluxtrapolation scenario design --store ... --rule random --out mine.yaml"
                )
        return Membership(self, train, validation, test, tuple(absent))


@dataclass(frozen=True)
class Membership:
    """A scenario matched with a store: the towers of each part that are there, and those that are not."""

    scenario: Scenario
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    absent: tuple[str, ...]

    def years(self, part: PartName) -> Years | None:
        """The years of a part, or None where all years count."""
        return None if self.scenario.years is None else getattr(self.scenario.years, part)


def scenario_names() -> tuple[str, ...]:
    """Names of the packaged scenarios, the three of the board first."""
    order = ("temporal", "spatial", "temperature")
    names = {path.stem for path in PINNED.glob("*.yaml")}
    return tuple(sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name)))


def load_scenario(name: str | Path | Scenario) -> Scenario:
    """Load a scenario by name, published id, or path of a scenario file.

    Raises
    ------
    ScenarioError
        If there is no such scenario, or its file is malformed or was changed by hand.
    """
    if isinstance(name, Scenario):
        return name
    text = str(name)
    known = scenario_names()
    canonical = SCENARIO_ALIASES.get(text, text)
    if canonical in known:
        return _read(PINNED / f"{canonical}.yaml")
    path = Path(text)
    if path.suffix.lower() in (".yaml", ".yml", ".json") or path.exists():
        return _read(path)
    raise ScenarioError(
        f"There is no scenario {text!r}.{did_you_mean(text, [*known, *SCENARIO_ALIASES])} "
        f"Known: {', '.join(known)}; or give the path of a scenario file (.yaml)."
    )


def _read(path: Path) -> Scenario:
    if not path.is_file():
        raise ScenarioError(f"There is no scenario file {path}. Check the path, or make one with 'scenario design'.")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path} cannot be read ({error}). Is it a scenario file?") from None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        body = yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise ScenarioError(f"{path} is not YAML ({str(error).splitlines()[0]}). Is it a scenario file?") from None
    if not isinstance(body, dict) or body.get("format") != "fluxtrapolation-scenario":
        raise ScenarioError(f"{path} is not a scenario file: it lacks 'format: fluxtrapolation-scenario'.")
    if isinstance(body.get("version"), int) and body["version"] > SCENARIO_VERSION:
        raise ScenarioError(f"{path} has version {body['version']}, newer than this package. Upgrade fluxtrapolation.")
    stated = body.pop("sha256", None)
    try:
        scenario = Scenario.model_validate(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        near = did_you_mean(where, Scenario.model_fields) if first["type"] == "extra_forbidden" else ""
        raise ScenarioError(
            f"{path} is malformed: {error.error_count()} problems, first at {where}: {first['msg']}.{near}"
        ) from None
    if stated != scenario.sha256:
        raise ScenarioError(
            f"{path} does not match its sha256: it was changed after it was written. A scenario is pinned: design a "
            f"new one under a new name, or set 'sha256: {scenario.sha256}' if the change is meant."
        )
    return scenario
