"""What a paper that uses a store must cite, list and acknowledge."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final, Literal

from fluxtrapolation.data.cite_products import (
    Product,
    acknowledgements,
    policies,
    product_of,
    product_references,
    products_of,
    unclear_towers,
)
from fluxtrapolation.data.manifest import SiteRecord, Source
from fluxtrapolation.data.reading import reading
from fluxtrapolation.data.references import (
    BENCHMARK,
    KNOWN,
    SOFTWARE,
    Reference,
    find_dois,
    to_bibtex,
    to_csl,
    to_text,
)
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import DataError, examples

Format = Literal["bibtex", "text", "csl-json"]
FORMATS: Final[tuple[Format, ...]] = ("bibtex", "text", "csl-json")
LICENCES: Final[Mapping[str, str]] = {
    "CC-BY-4.0": "credit the providers (the references here), link https://creativecommons.org/licenses/by/4.0/, and "
    "say what you changed",
    "CC0-1.0": "no condition",
}


@dataclass(frozen=True, slots=True)
class SiteCredit:
    """One tower of a citation: what the data policies ask to be listed."""

    site_id: str
    name: str | None
    source: str
    licence: str | None
    first_year: int
    last_year: int
    doi: str | None


@dataclass(frozen=True)
class Citation:
    """All that a paper needs.

    Attributes
    ----------
    store, data_hash : str
        Folder and identity of the store.
    synthetic : bool
        Whether every tower is simulated.
    references : tuple of Reference
        Sources, benchmark, software, then towers with a DOI of their own.
    sites : tuple of SiteCredit
        Every tower that is no simulated one.
    licences : tuple of str
        One line each.
    acknowledge : tuple of str
        Sentences for the acknowledgements.
    cautions : tuple of str
        What is not known and must be found out before publication.
    """

    store: str
    data_hash: str
    synthetic: bool
    references: tuple[Reference, ...]
    sites: tuple[SiteCredit, ...]
    licences: tuple[str, ...]
    acknowledge: tuple[str, ...]
    cautions: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The same for machines; references as CSL-JSON."""
        return {
            "store": self.store,
            "data_hash": self.data_hash,
            "synthetic": self.synthetic,
            "references": [to_csl(one) for one in self.references],
            "sites": [{name: getattr(site, name) for name in SiteCredit.__slots__} for site in self.sites],
            "licences": list(self.licences),
            "acknowledge": list(self.acknowledge),
            "cautions": list(self.cautions),
        }


def cite_store(store: Store | str | Path, *, dois: Mapping[str, str] | None = None) -> Citation:
    """Collect what a paper that uses a store must cite.

    Parameters
    ----------
    store : Store or path
    dois : mapping, optional
        DOIs of towers by site id; they go before those that the store or the package knows.
    """
    opened = Store.of(store)
    sources = [one for one in opened.manifest.sources if one.kind not in ("merge", "subset")]
    simulated = {one.name for one in sources if one.kind == "synthetic"}
    synthetic = bool(sources) and all(one.kind == "synthetic" for one in sources)
    given = products_of(opened.manifest)
    known = site_dois(opened) | dict(dois or {})
    records = [entry.record for _, entry in sorted(opened.manifest.sites.items())]
    real = [] if synthetic else [record for record in records if record.source not in simulated]
    sites = tuple(_credit(record, known.get(record.site_id), given.get(record.site_id)) for record in real)
    products = {record.site_id: given[record.site_id] for record in real if record.site_id in given}
    found: list[Reference] = []
    for source in sources:
        if source.kind != "synthetic":
            found += [*_references_of(source), *product_references(source, real, products)]
    found += [SOFTWARE] if synthetic else [BENCHMARK, SOFTWARE]
    return Citation(
        store=str(opened.path),
        data_hash=opened.data_hash,
        synthetic=synthetic,
        references=_unique([*found, *(_site_reference(site) for site in sites if site.doi is not None)]),
        sites=sites,
        licences=tuple(_licence_lines(sources, records)),
        acknowledge=tuple(acknowledgements(sources, real, products)),
        cautions=(
            *unclear_towers(products),
            *policies(sources, real),
            *_cautions(sources, sites, products, simulated if not synthetic else set()),
        ),
    )


def render(citation: Citation, format: Format = "bibtex") -> str:
    """A citation as text: ``bibtex``, ``text`` or ``csl-json``.

    In BibTeX what is no entry stands between the entries, where BibTeX reads over it.
    """
    if format == "csl-json":
        return json.dumps(citation.as_dict()["references"], indent=1, ensure_ascii=False) + "\n"
    if format == "text":
        from fluxtrapolation.data.cite_text import to_page

        return to_page(citation)
    if format != "bibtex":
        raise DataError(f"There is no format {format!r}. Known: {', '.join(FORMATS)}.")
    from fluxtrapolation.data.cite_text import sections

    notes = [
        "\n".join(f"% {line}".rstrip() for line in (f"{title}:", *lines)).replace("@", "(at)")  # @ begins an entry
        for title, lines in sections(citation)
    ]
    return "\n\n".join([*notes, *(to_bibtex(one) for one in citation.references)]) + "\n"


def site_dois(store: Store) -> dict[str, str]:
    """DOIs of towers' own data: those the store keeps, and of FLUXNET2015 those of the packaged list.

    Later products bear FLUXNET2015 in their file names as well; see :func:`product_of`.
    """
    found: dict[str, str] = {}
    for site, entry in sorted(store.manifest.sites.items()):
        doi = entry.doi or (fluxnet2015_dois().get(site) if product_of(entry) == "FLUXNET2015" else None)
        if doi is not None:
            found[site] = doi
    return found


@cache
def fluxnet2015_dois() -> Mapping[str, str]:
    """DOIs of the towers of FLUXNET2015, the packaged list; its source stands in ``resources/SOURCES.md``."""
    text = (resources.files("fluxtrapolation.data") / "resources" / "fluxnet2015_dois.csv").read_text(encoding="utf-8")
    return {row["site_id"]: row["doi"] for row in csv.DictReader(io.StringIO(text))}


def read_dois(path: str | Path) -> dict[str, str]:
    """Read a table of DOIs, CSV with the columns ``site_id`` and ``doi``.

    Raises
    ------
    DataError
        If the file cannot be read, lacks a column, or a cell is no DOI; the message names the rows.
    """
    path = Path(path)
    with reading(path):
        content = path.read_bytes()
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV table ({error}). Save it as CSV in UTF-8: site_id,doi.") from None
    if not rows or not {"site_id", "doi"} <= set(rows[0]):
        raise DataError(f"{path} is no table of DOIs. Its first line must be site_id,doi, and one tower a row follow.")
    found: dict[str, str] = {}
    wrong: list[str] = []
    for number, row in enumerate(rows, start=2):
        doi = find_dois(row["doi"])
        if row["site_id"] and len(doi) == 1:
            found[row["site_id"].strip()] = doi[0]
        elif (row["doi"] or "").strip():
            wrong.append(f"row {number}: {row['doi']!r}")
    if wrong:
        raise DataError(
            f"{path}: {len(wrong)} cells are no DOI ({examples(wrong)}). Write them as 10.18140/FLX/1440152."
        )
    return found


def _credit(record: SiteRecord, doi: str | None, product: Product | None) -> SiteCredit:
    return SiteCredit(
        site_id=record.site_id,
        name=record.name,
        source=record.source if product is None or product == "unclear" else product,
        licence=record.licence,
        first_year=record.first_hour.year,
        last_year=record.last_hour.year,
        doi=doi,
    )


def _is_stated(source: Source) -> bool:
    from fluxtrapolation.data.importers.csv_tower import UNSTATED

    return UNSTATED not in source.name


def _references_of(source: Source) -> list[Reference]:
    """The references of one source: known ones by their DOI, others from what it says of itself."""
    dois = find_dois(source.doi) or find_dois(source.citation)
    if not dois and "FLUXNET2015" in source.name.upper():
        return []  # by its towers: see product_references
    if not dois:
        return [_own_reference(source, source.name, None)] if _is_stated(source) else []
    names = source.name.split("; ")
    titles = names if len(names) == len(dois) else [source.name] * len(dois)
    return [
        KNOWN.get(doi.casefold()) or _own_reference(source, title, doi) for doi, title in zip(dois, titles, strict=True)
    ]


def _own_reference(source: Source, title: str, doi: str | None) -> Reference:
    year = re.search(r"\b(?:19|20)\d\d\b", source.citation or "")
    more = {"note": source.citation} if source.citation else {}
    if doi is None and source.location.startswith(("http://", "https://")):
        more["howpublished"] = source.location
    slug = re.sub(r"[^A-Za-z0-9]+", "-", title).strip("-").lower()[:40]
    return Reference(
        key=f"{slug or 'data'}{year[0] if year else ''}",
        kind="dataset",
        title=title,
        year=int(year[0]) if year else None,
        doi=doi,
        more=tuple(more.items()),
    )


def _site_reference(site: SiteCredit) -> Reference:
    collection = "FLUXNET2015" if "FLUXNET2015" in site.source.upper() else site.source
    one = site.first_year == site.last_year
    span = f"the year {site.first_year} is" if one else f"the years {site.first_year} to {site.last_year} are"
    return Reference(
        key=f"site-{site.site_id}",
        kind="dataset",
        title=" ".join(part for part in (collection, site.site_id, site.name) if part),
        doi=site.doi,
        more=(("note", f"Dataset; {span} used"),),
    )


def _unique(references: Iterable[Reference]) -> tuple[Reference, ...]:
    """Without repeats; two things under one key get the beginning of a hash."""
    found: dict[str, Reference] = {}
    for one in references:
        held = found.get(one.key)
        if held is None:
            found[one.key] = one
        elif held != one:
            mark = hashlib.sha256(to_text(one).encode()).hexdigest()[:6]
            found[f"{one.key}-{mark}"] = Reference(
                **{**{name: getattr(one, name) for name in Reference.__slots__}, "key": f"{one.key}-{mark}"}
            )
    return tuple(found.values())


def _licence_lines(sources: Sequence[Source], records: Sequence[SiteRecord]) -> Iterable[str]:
    """Licences of the towers, then those of sources that brought no tower, such as covariates."""
    by_licence: dict[str | None, list[str]] = {}
    for record in records:
        licence = record.licence or next((one.licence for one in sources if one.licence and one.covers(record)), None)
        by_licence.setdefault(licence, []).append(record.site_id)
    told = {
        licence: f"{len(sites)} towers ({examples(sites)})" if len(sites) > 1 else sites[0]
        for licence, sites in by_licence.items()
    }
    for source in sources:
        if not any(source.covers(record) for record in records):
            told[source.licence] = "; ".join(filter(None, (told.get(source.licence), source.name)))
    for licence, which in told.items():
        if licence is None:
            yield f"not stated: {which}; ask the providers before you publish or share"
        else:
            yield f"{licence}: {which}; {LICENCES.get(licence, 'read its conditions')}"


def _cautions(
    sources: Sequence[Source], sites: Sequence[SiteCredit], products: Mapping[str, Product], simulated: set[str]
) -> Iterable[str]:
    unknown = [source.location for source in sources if source.kind != "synthetic" and not _is_stated(source)]
    if unknown:
        yield f"The source of the files in {examples(unknown)} is not stated: ask whoever gave them whom to cite."
    silent = [
        source.name
        for source in sources
        if source.kind != "synthetic"
        and _is_stated(source)
        and not (source.citation or source.doi)
        and not (products and source.name == "FLUXNET2015")  # cited by its towers
    ]
    if silent:
        yield f"No citation is known of {examples(silent)}: look it up where the data come from."
    without = [site.site_id for site in sites if site.doi is None]
    if without:
        yield (
            f"No DOI of its own is known of {len(without)} of {len(sites)} towers ({examples(without)}): if the data "
            "came with one, give it with --dois; else cite a paper of the tower."
        )
    if simulated:
        yield "Some towers are simulated. Their values are no measurements: say so wherever they are used."
