"""A citation as sections of plain lines, for a page of text and for the remarks of a BibTeX file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Final

from fluxtrapolation import __version__
from fluxtrapolation.data.references import to_text

if TYPE_CHECKING:
    from fluxtrapolation.data.cite import Citation, SiteCredit

WIDTH: Final = 78


def sections(citation: Citation) -> Iterator[tuple[str, list[str]]]:
    """Title and lines of every section but the references; empty ones are left out."""
    about = [f"store {citation.store}, content hash {citation.data_hash[:16]}, fluxtrapolation {__version__}"]
    if citation.synthetic:
        about.append(
            "Every tower of this store is simulated. Its values are no measurements: say so, and cite the software."
        )
    yield "What to cite", _wrapped(about)
    for title, lines in (
        ("To find out before you publish", citation.cautions),
        ("Licences", citation.licences),
        ("Acknowledge", citation.acknowledge),
    ):
        if lines:
            yield title, _wrapped(lines)
    if citation.sites:
        yield f"Towers used ({len(citation.sites)}), by FLUXNET ID", [_site_line(site) for site in citation.sites]


def to_page(citation: Citation) -> str:
    """A page of plain text: the sections, then the references."""
    parts = [(title, lines) for title, lines in sections(citation)]
    parts.append(("References", _wrapped(to_text(one) for one in citation.references)))
    return "\n\n".join("\n".join((title, *(f"  {line}" for line in lines))) for title, lines in parts) + "\n"


def _site_line(site: SiteCredit) -> str:
    years = str(site.first_year) if site.first_year == site.last_year else f"{site.first_year}-{site.last_year}"
    name = site.name or ""
    doi = "" if site.doi is None else f"https://doi.org/{site.doi}"
    return f"{site.site_id:<8}{years:<11}{name[:24]:<26}{doi}".rstrip()


def _wrapped(lines: Iterable[str]) -> list[str]:
    """Lines of at most ``WIDTH`` characters; what follows a line's first is indented. Addresses are not broken."""
    found: list[str] = []
    for line in lines:
        found += textwrap.wrap(line, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return found
