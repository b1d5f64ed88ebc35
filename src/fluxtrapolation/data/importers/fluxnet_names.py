"""Names of FLUXNET archives and their files, of every hub, read by one pattern.

``HUB_SITE_PRODUCT[_CONTENT][_STEP][_REST].csv`` for a file; without ``_STEP`` and with ``.zip`` for an archive:

    FLX_AU-Ade_FLUXNET2015_FULLSET_HH_2007-2009_1-3.csv         FLUXNET2015
    FLX_CH-Cha_FLUXNET2015_FULLSET_HH_2005-2020_beta-3.csv      Warm Winter 2020
    AMF_US-Ha1_FLUXNET_FULLSET_HR_1991-2020_3-5.csv             AmeriFlux FLUXNET
    EUF_CH-Oe2_FLUXNET_FLUXMET_HH_2004-2024_v1.3_r1.csv         FLUXNET of 2025 and later, any hub
    ICOSETC_BE-Bra_FLUXNET_HH_L2.csv                            ICOS level 2
    AMF_US-Ha1_FLUXNET_1991-2020_v1.2_r2.zip                    an archive

Metadata tables (BIF, BADM, SITEINFO) have their own pattern, :data:`TABLE_PATTERN`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

HUB: Final = r"(?P<hub>[A-Z][A-Z0-9]{1,11})"
SITE: Final = r"(?P<site>[A-Z]{2}-[A-Za-z0-9]{2,6})"
CONTENTS: Final = ("FULLSET", "FLUXMET", "SUBSET")
"""Contents that hold fluxes and weather, the fuller first; FLUXMET is the FULLSET of 2025 and later."""

NAME_PATTERN: Final = re.compile(
    rf"{HUB}_{SITE}_(?P<product>FLUXNET(?:20\d\d)?)"
    r"(?:_(?P<content>[A-Z][A-Z0-9]{3,}(?=[_.])))?"  # FULLSET, SUBSET, FLUXMET; also ERA5, AUXMETEO, BIF ...
    r"(?:_(?P<step>HH|HR|DD|WW|MM|YY))?"
    r"(?:_(?P<rest>[^\x00-\x1f\x7f-\x9f]+?))?"  # years, version, release, and whatever a browser added
    r"\.(?P<kind>csv|zip)",
    re.IGNORECASE,
)
"""The pattern; it must match a whole file name. Hubs seen: FLX, AMF, ICOSETC, EUF, TERN, JPF, KOF, and any other."""

ARCHIVE_PATTERN: Final = re.compile(rf"{HUB}_{SITE}_ARCHIVE(?:_(?P<rest>[^\x00-\x1f\x7f-\x9f]+?))?\.zip", re.IGNORECASE)
"""ICOS packs its files as ``ICOSETC_BE-Bra_ARCHIVE_L2.zip``."""

TABLE_PATTERN: Final = re.compile(
    rf"{HUB}_(?P<site>[A-Z]{{2}}-[A-Za-z0-9]{{2,6}})_(?:FLUXNET(?:20\d\d)?_)?(?P<table>BIF|BADM|SITEINFO)"
    r"(?:_(?P<rest>[^\x00-\x1f\x7f-\x9f]+?))?\.(?P<kind>csv|xlsx?)",
    re.IGNORECASE,
)
"""Metadata tables; the sites ``AA-Flx`` and ``AA-Net`` stand for a whole network."""

EXAMPLE: Final = "FLX_AU-Ade_FLUXNET2015_FULLSET_HH_2007-2009_1-3.csv"
FLUXNET2015_LAST_YEAR: Final = 2014
Resolution = Literal["hourly", "daily"]


@dataclass(frozen=True, slots=True)
class FluxnetName:
    """What a file name says.

    Attributes
    ----------
    hub, site, product : str
        Such as ``AMF``, ``US-Ha1``, ``FLUXNET``.
    content : str
        FULLSET, FLUXMET, SUBSET, another word for files without fluxes, or empty.
    step : str
        HH, HR, DD, WW, MM, YY, or empty for an archive.
    years : tuple of int, or None
    version : str
        As written, such as ``1-3`` or ``v1.2_r1``; may be empty.
    archive : bool
        Whether it is a zip file.
    """

    hub: str
    site: str
    product: str
    content: str
    step: str
    years: tuple[int, int] | None
    version: str
    archive: bool

    @property
    def resolution(self) -> Resolution | None:
        """Which rows the file holds, None where it is no file of fluxes by the hour or day."""
        if self.archive or self.content not in (*CONTENTS, ""):
            return None
        by_step: dict[str, Resolution] = {"HH": "hourly", "HR": "hourly", "DD": "daily"}
        return by_step.get(self.step)

    @property
    def is_fluxnet2015(self) -> bool:
        """Whether it is of FLUXNET2015 itself; Warm Winter 2020 bears the name as well, beyond 2014 or as a beta."""
        late = self.years is not None and self.years[1] > FLUXNET2015_LAST_YEAR
        return self.product == "FLUXNET2015" and not late and "beta" not in self.version.casefold()

    @property
    def newness(self) -> tuple[int, int, tuple[int, ...], int, int]:
        """Sorts files of one site, the newest highest: see :func:`version_rule`."""
        numbers = tuple(int(n) for n in re.findall(r"\d+", self.version))
        product = 0 if self.product[len("FLUXNET") :] else 1
        fuller = -CONTENTS.index(self.content) if self.content in CONTENTS else -1
        return product, _style(self.version), numbers, self.years[1] if self.years else 0, fuller


def version_rule() -> str:
    """How the newest of several files of one site is found."""
    return (
        "FLUXNET before FLUXNET2015, then v1.3_r1 before L2, beta-3 and 1-4, then the higher version, the later last "
        "year, FULLSET before SUBSET"
    )


def _style(version: str) -> int:
    """Numbers of different kinds of versions cannot be compared: newer kinds are higher."""
    for rank, pattern in ((4, r"v\d"), (3, r"L\d"), (2, r"beta"), (1, r"\d+-\d+")):
        if re.match(pattern, version, re.IGNORECASE):
            return rank
    return 0


def parse_name(file: str) -> FluxnetName | None:
    """What the name of a file or zip member says (folders before it do not count); None if it is no such name."""
    base = re.split(r"[/\\]", file)[-1]
    found = NAME_PATTERN.fullmatch(base)
    if found is None:
        return _icos_archive(base)
    years, version = _rest(found["rest"] or "")
    return FluxnetName(
        hub=found["hub"].upper(),
        site=_site(found["site"]),
        product=found["product"].upper(),
        content=(found["content"] or "").upper(),
        step=(found["step"] or "").upper(),
        years=years,
        version=version,
        archive=found["kind"].lower() == "zip",
    )


def _icos_archive(base: str) -> FluxnetName | None:
    found = ARCHIVE_PATTERN.fullmatch(base)
    if found is None:
        return None
    return FluxnetName(found["hub"].upper(), _site(found["site"]), "FLUXNET", "", "", None, found["rest"] or "", True)


def table_site(file: str) -> str | None:
    """The site of a metadata table, after its name; ``*`` for one of a whole network; None if it is no such table."""
    found = TABLE_PATTERN.fullmatch(re.split(r"[/\\]", file)[-1])
    if found is None:
        return None
    return "*" if found["site"].upper().startswith("AA-") else _site(found["site"])


def _site(text: str) -> str:
    """``us-ha1`` cannot be told from ``US-HA1``: only the country is set in capitals."""
    return text[:2].upper() + text[2:]


def _rest(text: str) -> tuple[tuple[int, int] | None, str]:
    """Years and version at the end of a name."""
    found = re.match(r"((?:19|20)\d\d)-((?:19|20)\d\d)(?:_(.*))?$", text)
    if found is None:
        return None, text
    return (int(found[1]), int(found[2])), found[3] or ""
