"""What one domain is, decided before any row is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fluxtrapolation.errors import EvaluationError, MissingColumnError, did_you_mean
from fluxtrapolation.evaluation.predictions import Predictions
from fluxtrapolation.schema import DOMAIN, SCENARIOS, SITE, canonical_column

PUBLISHED_KINDS: Final = (*SCENARIOS, "spatial-redraw")
"""Scenarios whose domains are known by name."""


@dataclass(frozen=True)
class Layout:
    """How rows are grouped into domains.

    Parameters
    ----------
    label : str, optional
        Column whose labels are the domains; None where they follow from site and time.
    yearly : bool
        Whether a domain is a site-year.
    has_site : bool
        Whether the table has a ``site_id``, by which the multi-year scales group.
    """

    label: str | None
    yearly: bool
    has_site: bool

    @property
    def name(self) -> str:
        """For the metadata of the scores."""
        if self.label is not None:
            return f"column {self.label}"
        return "site-year" if self.yearly else "site"


def choose_layout(table: Predictions, domain: str | None, domain_column: str | None) -> Layout:
    """Derive the domains from the identity, or take what the user says about a bare table.

    Raises
    ------
    EvaluationError, MissingColumnError
        When the wishes contradict the identity or each other, or a column is missing.
    """
    if domain not in (None, "site", "site-year"):
        raise EvaluationError(
            f"domain is '{domain}'; it must be 'site' or 'site-year'. To use a column of labels give domain_column."
        )
    if domain is not None and domain_column is not None:
        raise EvaluationError("Give either domain or domain_column, not both.")
    if table.identity is not None:
        return _of_identity(table, domain, domain_column)
    has_site = SITE in table.columns
    if domain is not None:
        if not has_site:
            raise MissingColumnError(
                f"{table.where} has no column '{SITE}', which domain='{domain}' needs; it has "
                f"{', '.join(table.columns)}. Give domain_column instead."
            )
        return Layout(None, domain == "site-year", True)
    if domain_column is not None:
        return Layout(_label_column(table, domain_column), False, has_site)
    if DOMAIN in table.columns:
        return Layout(DOMAIN, False, has_site)
    return Layout(None, False, True)


def _of_identity(table: Predictions, domain: str | None, domain_column: str | None) -> Layout:
    identity = table.identity
    if identity is None:  # the caller has asked already
        raise EvaluationError(f"{table.where} has no identity.")
    if domain_column is not None:
        raise EvaluationError(
            f"{table.where} carries an identity (scenario '{identity.scenario}'): its domains follow from scenario, "
            "site and time, and a column of labels is not trusted. Leave out domain_column."
        )
    undecided = identity.domain_kind is None and identity.scenario not in PUBLISHED_KINDS
    kind = domain if domain is not None and undecided else identity.domains
    if domain is not None and domain != kind:
        raise EvaluationError(
            f"{table.where} belongs to the scenario '{identity.scenario}', where a domain is a {kind}; "
            f"domain='{domain}' contradicts it. Leave it out."
        )
    if SITE not in table.columns:
        raise MissingColumnError(
            f"{table.where} carries an identity but no column '{SITE}' to derive the domains from."
        )
    return Layout(None, kind == "site-year", True)


def _label_column(table: Predictions, name: str) -> str:
    for one in (name, canonical_column(name)):
        if one in table.columns:
            return one
    raise MissingColumnError(
        f"{table.where} has no column '{name}'.{did_you_mean(name, table.columns)} It has {', '.join(table.columns)}."
    )
