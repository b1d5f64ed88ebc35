"""References as a paper needs them: BibTeX, plain text, CSL-JSON."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

from fluxtrapolation import __version__

DOI_PATTERN: Final = re.compile(r"10\.\d{4,9}/[^\s\"<>;,{}]+")

_LATEX: Final = {
    "\\": r"\textbackslash{}",
    # BibTeX counts braces even behind a backslash: an escaped one would end the field.
    "{": r"\textbraceleft{}",
    "}": r"\textbraceright{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_BIBTEX_TYPES: Final = {"article": "article", "preprint": "misc", "dataset": "misc", "software": "misc"}
_CSL_TYPES: Final = {"article": "article-journal", "preprint": "article", "dataset": "dataset", "software": "software"}


@dataclass(frozen=True, slots=True)
class Reference:
    """One thing to cite.

    Attributes
    ----------
    key : str
        Stable key, the same in every paper.
    kind : {'article', 'preprint', 'dataset', 'software'}
    title : str
    authors : tuple of str
        ``Family, Given``, or one name that is no person's, such as a group's.
    others : bool
        Whether there are more authors than those named.
    year : int or None
    doi : str or None
        Without ``https://doi.org/``.
    eprint : str or None
        arXiv number.
    more : tuple of pairs
        Further BibTeX fields: journal, volume, number, publisher, version, note.
    """

    key: str
    kind: Literal["article", "preprint", "dataset", "software"]
    title: str
    authors: tuple[str, ...] = ()
    others: bool = False
    year: int | None = None
    doi: str | None = None
    eprint: str | None = None
    more: tuple[tuple[str, str], ...] = ()

    @property
    def link(self) -> str | None:
        """Address under which it is found."""
        if self.doi is not None:
            return f"https://doi.org/{_verbatim(self.doi)}"
        return None if self.eprint is None else f"https://arxiv.org/abs/{self.eprint}"


SOFTWARE: Final = Reference(
    key="fluxtrapolation-software",
    kind="software",
    title="fluxtrapolation",
    authors=("The fluxtrapolation developers",),
    year=2026,
    more=(("version", __version__), ("note", "Computer software, licence BSD-3-Clause")),
)
"""This package, as in ``CITATION.cff``."""

BENCHMARK: Final = Reference(
    key="fries2026fluxtrapolation",
    kind="preprint",
    title="FLUXtrapolation: A benchmark on extrapolating ecosystem fluxes",
    authors=("Fries", "Nelson", "Jung", "Reichstein", "Peters"),
    year=2026,
    eprint="2605.19812",
)

FLUXNET2015: Final = Reference(
    key="pastorello2020fluxnet2015",
    kind="article",
    title="The FLUXNET2015 dataset and the ONEFlux processing pipeline for eddy covariance data",
    authors=("Pastorello, Gilberto", "Trotta, Carlo", "Canfora, Eleonora"),
    others=True,
    year=2020,
    doi="10.1038/s41597-020-0534-3",
    more=(("journal", "Scientific Data"), ("volume", "7"), ("number", "225")),
)

WARM_WINTER: Final = Reference(
    key="warmwinter2022",
    kind="dataset",
    title=(
        "Warm Winter 2020 ecosystem eddy covariance flux product for 73 stations in FLUXNET-Archive format, "
        "release 2022-1"
    ),
    authors=("Warm Winter 2020 Team", "ICOS Ecosystem Thematic Centre"),
    year=2022,
    doi="10.18160/2G60-ZHAK",
    more=(("publisher", "ICOS Carbon Portal"),),
)
"""As the ICOS Carbon Portal's own metadata name it; the year is that of the release."""

DROUGHT_DOI: Final = "10.18160/YVR0-4898"
"""Drought-2018 ecosystem eddy covariance flux product for 52 stations, ICOS Carbon Portal."""

KNOWN: Final = {str(reference.doi).casefold(): reference for reference in (FLUXNET2015, WARM_WINTER)}
"""References of which more is known than a source says, by DOI in small letters."""


def find_dois(text: str | None) -> list[str]:
    """Every DOI in a text, in order, without repeats."""
    found = (match.rstrip(".)]'") for match in DOI_PATTERN.findall(text or ""))
    return list(dict.fromkeys(found))


def latex(text: str) -> str:
    """A text for a BibTeX field: LaTeX's special characters escaped, braces balanced, one line."""
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))


def to_bibtex(reference: Reference) -> str:
    """One BibTeX entry. ``doi`` and ``url`` stay as they are: styles print them verbatim."""
    fields: dict[str, str] = {}
    if reference.authors:
        names = [_bibtex_name(name) for name in reference.authors]
        fields["author"] = " and ".join([*names, *(["others"] if reference.others else [])])
    fields["title"] = f"{{{latex(reference.title)}}}"  # double braces keep the capitals
    if reference.year is not None:
        fields["year"] = str(reference.year)
    fields |= {name: latex(value) for name, value in reference.more}
    if reference.eprint is not None:
        fields |= {"eprint": reference.eprint, "archivePrefix": "arXiv"}
    if reference.doi is not None:
        fields["doi"] = _verbatim(reference.doi)
    if reference.link is not None:
        fields["url"] = reference.link
    body = ",\n".join(f"  {name} = {{{value}}}" for name, value in fields.items())
    return f"@{_BIBTEX_TYPES[reference.kind]}{{{reference.key},\n{body}\n}}"


def to_text(reference: Reference) -> str:
    """One line of a reference list."""
    more = dict(reference.more)
    names = "; ".join(reference.authors) + (" et al." if reference.others else "")
    year = None if reference.year is None else f"({reference.year})"
    head = " ".join(part for part in (names, year) if part)
    journal = " ".join(part for part in (more.get("journal"), more.get("volume")) if part)
    place = ", ".join(part for part in (journal, more.get("number")) if part)
    version = f"version {more['version']}" if "version" in more else None
    note = more.get("note")
    parts = [head, reference.title, place, more.get("publisher"), version, note, reference.link]
    return ". ".join(part.rstrip(".") for part in parts if part)


def to_csl(reference: Reference) -> dict[str, Any]:
    """One item of CSL-JSON, as Zotero and pandoc read it."""
    more = dict(reference.more)
    item: dict[str, Any] = {"id": reference.key, "type": _CSL_TYPES[reference.kind], "title": reference.title}
    if reference.authors:
        item["author"] = [_csl_name(name) for name in reference.authors]
        if reference.others:
            item["author"].append({"literal": "others"})
    if reference.year is not None:
        item["issued"] = {"date-parts": [[reference.year]]}
    names = {"journal": "container-title", "volume": "volume", "number": "number"}
    item |= {names.get(name, name): value for name, value in more.items()}
    if reference.eprint is not None:
        item |= {"archive": "arXiv", "number": f"arXiv:{reference.eprint}"}
    if reference.doi is not None:
        item["DOI"] = reference.doi
    if reference.link is not None:
        item["URL"] = reference.link
    return item


def _bibtex_name(name: str) -> str:
    family, comma, given = name.partition(", ")
    if comma:
        return f"{latex(family)}, {latex(given)}"
    return f"{{{latex(name)}}}" if " " in name else latex(name)


def _csl_name(name: str) -> dict[str, str]:
    family, comma, given = name.partition(", ")
    if comma:
        return {"family": family, "given": given}
    return {"literal": name} if " " in name else {"family": name}


def _verbatim(text: str) -> str:
    """A DOI or address without characters that would end a BibTeX field or a link."""
    return quote(text, safe="/:?=&%#()[]+,;@!$'*~_.-")
