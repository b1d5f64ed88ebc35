"""The registry: which files there are, where they lie, and what is known of them. A YAML or JSON file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fluxtrapolation.data.checks import check_site_id
from fluxtrapolation.data.fetch.files import FetchFile
from fluxtrapolation.data.fetch.names import check_address, check_file_name, check_sha256
from fluxtrapolation.data.reading import reading
from fluxtrapolation.errors import DataError, did_you_mean, examples

REGISTRY_FORMAT: Final = "fluxtrapolation-registry"
PACKAGED: Final = Path(__file__).parent / "benchmark.yaml"


Address = Annotated[str, AfterValidator(check_address)]
FileName = Annotated[str, AfterValidator(check_file_name)]
Sha256 = Annotated[str, AfterValidator(check_sha256)]
SiteId = Annotated[str, AfterValidator(check_site_id)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RegistryFile(_Strict):
    """One file of a registry. What is not given is not known.

    Attributes
    ----------
    site : str
    name : str
        File name at the publisher's; ``{site}.csv`` by default.
    size : int, optional
        Bytes.
    sha256 : str, optional
    licence, citation, doi : str, optional
        Where they differ from the registry's.
    urls : sequence of str
        Addresses of this one file, tried before the registry's base addresses.
    """

    site: SiteId
    name: FileName = ""
    size: int | None = Field(default=None, ge=1)
    sha256: Sha256 | None = None
    licence: str | None = None
    citation: str | None = None
    doi: str | None = None
    urls: tuple[Address, ...] = ()

    @property
    def local(self) -> str:
        """Its name in the folder: a CSV file is kept under its site's id, which is how the importer knows the site."""
        return f"{self.site}.csv" if self.name.lower().endswith(".csv") else self.name

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        if isinstance(given, str):
            given = {"site": given}
        if isinstance(given, dict) and "site" in given and not given.get("name"):
            given = {**given, "name": f"{given['site']}.csv"}
        return given


class Registry(_Strict):
    """The content of a registry file; see ``docs/doors-fetch.md``.

    ``base_urls`` are tried in order: the file's name is appended, or stands where ``{name}`` or ``{site}`` does.
    """

    format: Literal["fluxtrapolation-registry"] = REGISTRY_FORMAT
    version: Literal[1] = 1
    name: str
    base_urls: tuple[Address, ...] = ()
    licence: str | None = None
    citation: str | None = None
    doi: str | None = None
    note: str | None = None
    files: tuple[RegistryFile, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _consistent(self) -> Registry:
        count = Counter(file.local for file in self.files)
        twice = sorted(name for name, times in count.items() if times > 1)
        if twice:
            raise ValueError(f"{len(twice)} files stand there more than once (first: {twice[0]})")
        lost = [file.name for file in self.files if not (file.urls or self.base_urls)]
        if lost:
            raise ValueError(f"{len(lost)} files have no address (first: {lost[0]}): give base_urls, or urls for each")
        return self

    def chosen(self, sites: Sequence[str] | None) -> tuple[RegistryFile, ...]:
        """The files of ``sites``, all of them for None.

        Raises
        ------
        DataError
            If a site is not in the registry.
        """
        if sites is None:
            return self.files
        known = {file.site for file in self.files}
        missing = [site for site in sites if site not in known]
        if missing:
            raise DataError(
                f"The registry '{self.name}' lists {len(known)} towers, but not {examples(missing)}."
                f"{did_you_mean(missing[0], known)} Correct --sites, or say where the files lie with --url."
            )
        if not sites:
            raise DataError("No site was asked for. Leave the sites out to fetch all.")
        return tuple(file for file in self.files if file.site in sites)

    def order(self, sites: Sequence[str] | None = None) -> list[FetchFile]:
        """What to download, with all addresses of each file."""
        return [
            FetchFile(
                name=file.local,
                urls=(*file.urls, *(_place(base, file) for base in self.base_urls)),
                size=file.size,
                sha256=file.sha256,
                site=file.site,
                licence=file.licence or self.licence,
                citation=file.citation or self.citation,
            )
            for file in self.chosen(sites)
        ]


def _place(base: str, file: RegistryFile) -> str:
    if "{" in base:
        return base.replace("{site}", quote(file.site)).replace("{name}", quote(file.name))
    return f"{base.rstrip('/')}/{quote(file.name)}"


def parse_registry(content: bytes, where: str) -> Registry:
    """Read a registry from the bytes of a YAML or JSON file.

    Raises
    ------
    DataError
        If it is no registry; the message names the field, and the one that was meant.
    """
    if content.lstrip()[:1] == b"<":
        raise DataError(f"{where} is a web page (HTML), not a registry. Check the address.")
    try:
        body = yaml.load(content, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        told = " ".join(str(error).split())
        raise DataError(f"{where} is neither YAML nor JSON ({told}). Correct the registry.") from None
    if not isinstance(body, dict):
        raise DataError(
            f"{where} is no registry: it must hold 'name', 'base_urls' and 'files'. See docs/doors-fetch.md."
        )
    try:
        return Registry.model_validate(body)
    except ValidationError as error:
        raise DataError(f"{where} is no usable registry: {_told(error, body)} Correct the registry.") from None
    except DataError as error:  # a site id that is no file name
        raise DataError(f"{where} is no usable registry: {error}") from None


def _told(error: ValidationError, body: dict[str, Any]) -> str:
    """The first problem in words, with the number of all."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    count = f"{error.error_count()} problems, first at {where or 'the top'}: " if error.error_count() > 1 else ""
    place = f"{where}: " if where and not count else ""
    if first["type"] == "extra_forbidden":
        fields = RegistryFile.model_fields if "files" in first["loc"] else Registry.model_fields
        key = str(first["loc"][-1])
        return f"{count}there is no field '{key}'{f' (at {where})' if where != key else ''}.{did_you_mean(key, fields)}"
    if first["type"] == "missing":
        key = str(first["loc"][-1])
        held = body if len(first["loc"]) == 1 else {}
        near = did_you_mean(key, [str(name) for name in held if name not in Registry.model_fields])
        return f"{count}the field '{key}' is missing{f' (at {where})' if where != key else ''}.{near}"
    return f"{count}{place}{first['msg'].removeprefix('Value error, ')}."


def read_registry(path: str | Path) -> Registry:
    """Read a registry file from disk.

    Raises
    ------
    DataError
        If it cannot be read or is no registry.
    """
    file = Path(path)
    with reading(file):
        if not file.exists():
            raise DataError(f"There is no registry {file}. Check the path.")
        content = file.read_bytes()
    return parse_registry(content, str(file))


def from_template(template: str, sites: Sequence[str]) -> Registry:
    """A registry of nothing but an address with ``{site}`` in it: no sizes, hashes or licence are known.

    Raises
    ------
    DataError
        If the template has no ``{site}`` or is no http or https address.
    """
    if "{site}" not in template:
        raise DataError(f"--url {template} has no {{site}} in it. Write it as https://host/folder/{{site}}.csv.")
    name = template.partition("?")[0].rpartition("/")[2]
    if "{site}" not in name:  # .../download?site={site}: the address says nothing of the file's name
        name = "{site}.csv"
    try:
        return Registry(
            name=f"files at {template}",
            base_urls=(template,),
            files=tuple(RegistryFile(site=site, name=name.replace("{site}", site)) for site in sites),
        )
    except ValidationError as error:
        raise DataError(f"--url: {_told(error, {})} Write it as https://host/folder/{{site}}.csv.") from None
