"""Which product a tower's file is of, where several bear FLUXNET2015 in their names, and what each asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from fluxtrapolation.data.manifest import Manifest, SiteEntry, SiteRecord, Source
from fluxtrapolation.data.references import DROUGHT_DOI, FLUXNET2015, WARM_WINTER, Reference, find_dois
from fluxtrapolation.errors import examples

Product = Literal["FLUXNET2015", "Warm Winter 2020", "unclear"]
LAST_YEAR: Final = 2014
"""Of FLUXNET2015."""
WINTER_YEARS: Final = (2019, 2020)
"""Last years of files that only Warm Winter 2020 has; Drought-2018 ends in 2018 and is part of it."""
_READ: Final = "read from "

FLUXNET2015_THANKS: Final = (
    "This work used eddy covariance data acquired and shared by the FLUXNET community, including these networks: "
    "AmeriFlux, AfriFlux, AsiaFlux, CarboAfrica, CarboEuropeIP, CarboItaly, CarboMont, ChinaFlux, Fluxnet-Canada, "
    "GreenGrass, ICOS, KoFlux, LBA, NECC, OzFlux-TERN, TCOS-Siberia, and USCCC. The ERA-Interim reanalysis data are "
    "provided by ECMWF and processed by LSCE. The FLUXNET eddy covariance data processing and harmonization was "
    "carried out by the European Fluxes Database Cluster, AmeriFlux Management Project, and Fluxdata project of "
    "FLUXNET, with the support of CDIAC and ICOS Ecosystem Thematic Center, and the OzFlux, ChinaFlux and AsiaFlux "
    "offices."
)
"""The wording that the FLUXNET2015 data policy asks for."""

AMERIFLUX_THANKS: Final = (
    "Funding for the AmeriFlux data service was provided by the U.S. Department of Energy Office of Science."
)
"""The wording of the AmeriFlux CC-BY-4.0 License; the policy is at :data:`AMERIFLUX_POLICY`."""

AMERIFLUX_POLICY: Final = "https://ameriflux.lbl.gov/data/data-policy/"

FLUXNET_THANKS: Final = (
    "FLUXNET data products were produced and harmonized by eddy covariance regional networks and data processing "
    "centers, including AmeriFlux, ChinaFlux, European Fluxes Database, ICOS, JapanFlux, KoFlux, OzFlux, SAEON, and "
    "TERN. These products also include a modified version of ERA5 hourly data provided by the Copernicus Climate "
    "Change Service."
)
"""The wording that the FLUXNET data product asks for (AmeriFlux data policy; the policy file in every archive)."""


def product_of(entry: SiteEntry) -> Product | None:
    """The product of a tower that bears FLUXNET2015 as its source; None of any other.

    Warm Winter 2020 and Drought-2018 name their files like FLUXNET2015
    (``FLX_CH-Cha_FLUXNET2015_FULLSET_HH_2005-2020_beta-3.csv``). The name of the file tells, which the importer keeps
    in the notes of the site; without it the last year of the record.
    """
    if "FLUXNET2015" not in entry.record.source.upper():
        return None
    from fluxtrapolation.data.importers.fluxnet_names import parse_name

    files = (note.removeprefix(_READ) for note in entry.notes if note.startswith(_READ))
    name = next((found for file in files if (found := parse_name(file)) is not None and found.years), None)
    if name is not None and name.is_fluxnet2015:
        return "FLUXNET2015"
    last = name.years[1] if name is not None and name.years else entry.record.last_hour.year
    if name is None and last <= LAST_YEAR:
        return "FLUXNET2015"
    return "Warm Winter 2020" if last in WINTER_YEARS else "unclear"


def products_of(manifest: Manifest) -> dict[str, Product]:
    """Site to product, for the towers that bear FLUXNET2015."""
    found = {site: product_of(entry) for site, entry in manifest.sites.items()}
    return {site: product for site, product in found.items() if product is not None}


def product_references(
    source: Source, records: Iterable[SiteRecord], products: Mapping[str, Product]
) -> list[Reference]:
    """What is to be cited for the towers of a source that bear FLUXNET2015; what the source says itself comes apart."""
    if "FLUXNET2015" not in source.name.upper():
        return []
    held = {products[one.site_id] for one in records if one.site_id in products and source.covers(one)}
    found = []
    if not find_dois(source.doi or source.citation) and (not held or "FLUXNET2015" in held):
        found.append(FLUXNET2015)
    if "Warm Winter 2020" in held:
        found.append(WARM_WINTER)
    return found


def unclear_towers(products: Mapping[str, Product]) -> Iterable[str]:
    """A caution where the product of towers cannot be told."""
    sites = sorted(site for site, product in products.items() if product == "unclear")
    if sites:
        yield (
            f"{len(sites)} towers ({examples(sites)}) bear FLUXNET2015 in their file's name but are of a later "
            f"release: of Drought-2018 (https://doi.org/{DROUGHT_DOI}), Warm Winter 2020 "
            f"(https://doi.org/{WARM_WINTER.doi}) or another one. Cite the one they were downloaded from."
        )


def acknowledgements(
    sources: Sequence[Source], records: Sequence[SiteRecord], products: Mapping[str, Product]
) -> Iterable[str]:
    """Sentences that the data policies ask for."""
    bare = [one for one in sources if one.kind != "synthetic" and not any(one.covers(record) for record in records)]
    if any(products.get(one.site_id) == "FLUXNET2015" for one in records) or any(
        "FLUXNET2015" in one.name.upper() for one in bare
    ):
        yield FLUXNET2015_THANKS
    if _any_ameriflux(sources, records):
        yield AMERIFLUX_THANKS
    if any(_of_fluxnet(sources, one) for one in records):
        yield FLUXNET_THANKS


def policies(sources: Sequence[Source], records: Sequence[SiteRecord]) -> Iterable[str]:
    """Cautions where the acknowledgement alone may not be enough."""
    if _any_ameriflux(sources, records):
        yield (
            "The AmeriFlux sentence is that of the AmeriFlux CC-BY-4.0 License; towers under the AmeriFlux Legacy Data "
            f"Policy ask for other words and for more: {AMERIFLUX_POLICY}."
        )
    if any(_of_fluxnet(sources, one) for one in records):
        yield (
            "Networks ask for acknowledgements of their own: read DATA_POLICY_LICENSE_AND_INSTRUCTIONS in the FLUXNET "
            "archives that have it."
        )


def _any_ameriflux(sources: Sequence[Source], records: Sequence[SiteRecord]) -> bool:
    names = [*(one.name for one in sources if one.kind != "synthetic"), *(one.source for one in records)]
    named = any(re.search(r"\bAmeriFlux\b", name) for name in names)
    return named or any(_of_ameriflux(sources, one) for one in records)


def _of_fluxnet(sources: Iterable[Source], record: SiteRecord) -> bool:
    return record.source == "FLUXNET" and any(one.kind == "fluxnet" and one.covers(record) for one in sources)


def _of_ameriflux(sources: Iterable[Source], record: SiteRecord) -> bool:
    """Whether a tower's archive came from AmeriFlux. Files are named after the product, so its network tells.

    FLUXNET2015 has a wording of its own that names AmeriFlux.
    """
    if "FLUXNET2015" in record.source.upper() or "AmeriFlux" not in (record.network or ""):
        return False
    return any(one.kind == "fluxnet" and one.covers(record) for one in sources)
