"""``data cite``: valid BibTeX, every source, every tower; what is not known is said, never made up."""

from __future__ import annotations

import csv
import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fluxtrapolation import __version__
from fluxtrapolation.cli.main import run
from fluxtrapolation.data.cite import Citation, cite_store, fluxnet2015_dois, read_dois, render, site_dois
from fluxtrapolation.data.cite_products import AMERIFLUX_POLICY, AMERIFLUX_THANKS, FLUXNET2015_THANKS, FLUXNET_THANKS
from fluxtrapolation.data.combine import merge_stores, subset_store
from fluxtrapolation.data.importers.csv_tower import UNSTATED
from fluxtrapolation.data.manifest import Source
from fluxtrapolation.data.references import (
    BENCHMARK,
    FLUXNET2015,
    SOFTWARE,
    WARM_WINTER,
    Reference,
    find_dois,
    latex,
    to_bibtex,
)
from fluxtrapolation.data.sites import load_sites
from fluxtrapolation.data.store import Store
from fluxtrapolation.data.synthetic import write_world
from fluxtrapolation.data.writer import StoreWriter
from fluxtrapolation.errors import DataError
from tiny import tiny_frame, tiny_record

ROOT = Path(__file__).resolve().parents[2]


def parse_bibtex(text: str) -> dict[str, dict[str, str]]:
    """Read BibTeX as BibTeX does: all outside entries is skipped up to the next @, braces are counted in values."""
    entries: dict[str, dict[str, str]] = {}
    at = text.find("@")
    while at != -1:
        head = re.compile(r"@(\w+)\{([A-Za-z0-9_.:-]+),\s*").match(text, at)
        assert head is not None, f"no entry at {text[at : at + 60]!r}"
        kind, key, here = head[1], head[2], head.end()
        assert key not in entries, f"the key {key} is there twice"
        fields: dict[str, str] = {"": kind}
        while text[here] != "}":
            name = re.compile(r"(\w+)\s*=\s*\{").match(text, here)
            assert name is not None, f"no field at {text[here : here + 60]!r}"
            depth, end = 1, name.end()
            while depth:
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                end += 1
            assert name[1] not in fields, f"{key} has {name[1]} twice"
            fields[name[1]] = text[name.end() : end - 1]
            rest = re.compile(r"\s*,?\s*").match(text, end)
            assert rest is not None
            here = rest.end()
        entries[key] = fields
        at = text.find("@", here)
    return entries


def unescaped(text: str) -> str:
    """LaTeX's special characters that stand bare in a value."""
    for written in (r"\textbackslash{}", r"\textbraceleft{}", r"\textbraceright{}", r"\textasciitilde{}"):
        text = text.replace(written, "")
    text = text.replace(r"\textasciicircum{}", "")
    return "".join(re.findall(r"(?<!\\)[&%$#_~^]", text))


def source(name: str, *, kind: str = "table", **more: object) -> Source:
    facts = {"location": "here", "retrieved": datetime(2026, 1, 2, tzinfo=UTC), "package_version": "0", **more}
    return Source(name=name, kind=kind, **facts)  # type: ignore[arg-type]


def made(path: Path, one: Source, sites: dict[str, dict[str, object]], *, doi: str | None = None) -> Store:
    with StoreWriter(path, targets=("GPP",), covariates=("TA",), source=one) as writer:
        for site, facts in sites.items():
            first = str(facts.pop("first", "2005-01-01"))
            record = tiny_record(site).model_copy(update={"source": one.name, **facts})
            writer.add(record, tiny_frame(site, first, 48), doi=doi)
    return Store(path)


@pytest.fixture
def towers(tmp_path: Path) -> Store:
    """Three towers of FLUXNET2015, one without a known DOI."""
    one = source("FLUXNET2015", kind="fluxnet2015-zarr", licence="CC-BY-4.0", doi=FLUXNET2015.doi, citation="P. (2020)")
    sites: dict[str, dict[str, object]] = {
        "DE-Tha": {"name": "Tharandt", "licence": "CC-BY-4.0"},
        "US-Ton": {"name": "Tonzi Ranch", "licence": "CC-BY-4.0"},
        "AA-One": {"licence": "CC-BY-4.0"},
    }
    return made(tmp_path / "towers", one, sites)


class TestBibtex:
    def test_what_a_paper_needs(self, towers: Store) -> None:
        text = render(cite_store(towers))
        entries = parse_bibtex(text)
        assert list(entries) == [
            "pastorello2020fluxnet2015",
            "fries2026fluxtrapolation",
            "fluxtrapolation-software",
            "site-DE-Tha",
            "site-US-Ton",
        ]
        paper = entries["pastorello2020fluxnet2015"]
        assert paper[""] == "article"
        assert paper["doi"] == "10.1038/s41597-020-0534-3"
        assert paper["year"] == "2020"
        assert paper["author"].startswith("Pastorello, Gilberto and Trotta, Carlo and Canfora, Eleonora and others")
        assert entries["fries2026fluxtrapolation"]["eprint"] == "2605.19812"
        assert entries["fluxtrapolation-software"]["version"] == __version__
        assert entries["site-DE-Tha"]["doi"] == "10.18140/FLX/1440152"
        assert "Tharandt" in entries["site-DE-Tha"]["title"]
        for site in ("DE-Tha", "US-Ton", "AA-One"):
            assert re.search(rf"^% {site} ", text, re.MULTILINE)
        assert "% CC-BY-4.0: 3 towers" in text
        assert "This work used eddy covariance data acquired and shared by the FLUXNET" in text
        assert "No DOI of its own is known of 1 of 3 towers (AA-One)" in " ".join(text.replace("%", "").split())

    def test_keys_are_the_same_whatever_else_is_in_the_store(self, towers: Store, tmp_path: Path) -> None:
        other = made(tmp_path / "b", source("My towers", citation="Me (2021)"), {"BB-Two": {}})
        merged = merge_stores([other, towers], tmp_path / "m")
        apart = {*parse_bibtex(render(cite_store(towers))), *parse_bibtex(render(cite_store(other)))}
        assert set(parse_bibtex(render(cite_store(merged)))) == apart

    def test_an_at_sign_in_a_remark_begins_no_entry(self, tmp_path: Path) -> None:
        store = made(tmp_path / "a", source("Ours", licence="ask me@here.org, {all}"), {"AA-One": {"name": "@misc{x"}})
        entries = parse_bibtex(render(cite_store(store)))
        assert set(entries) == {"ours", "fries2026fluxtrapolation", "fluxtrapolation-software"}

    @given(st.text(max_size=60))
    def test_any_text_becomes_a_balanced_escaped_value(self, text: str) -> None:
        entry = to_bibtex(Reference(key="k", kind="dataset", title=text, doi="10.1234/a_b", more=(("note", text),)))
        (fields,) = parse_bibtex(entry).values()
        assert fields["doi"] == "10.1234/a_b"  # verbatim: a link
        assert unescaped(fields["note"]) == ""
        assert fields["title"] == f"{{{fields['note']}}}"

    def test_escapes(self) -> None:
        assert latex("50 % of A&B_c #1 {x} ~^\\ $") == (
            r"50 \% of A\&B\_c \#1 \textbraceleft{}x\textbraceright{} "
            r"\textasciitilde{}\textasciicircum{}\textbackslash{} \$"
        )
        assert latex("Jiří Dušek\n\t x") == "Jiří Dušek x"


class TestSources:
    def test_software_and_benchmark_are_as_in_the_citation_file(self) -> None:
        facts = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
        assert SOFTWARE.title == facts["title"]
        assert SOFTWARE.authors == tuple(one["name"] for one in facts["authors"])
        assert dict(SOFTWARE.more)["version"] == facts["version"]
        assert SOFTWARE.year == facts["date-released"].year
        benchmark, data = facts["references"]
        assert BENCHMARK.title == benchmark["title"]
        assert BENCHMARK.authors == tuple(one["family-names"] for one in benchmark["authors"])
        assert f"arXiv:{BENCHMARK.eprint}" == benchmark["identifiers"][0]["value"]
        assert (FLUXNET2015.title, FLUXNET2015.doi, FLUXNET2015.year) == (data["title"], data["doi"], data["year"])

    def test_a_simulated_world_cites_only_the_software(self, tmp_path: Path) -> None:
        world = write_world(tmp_path / "w", sites=2, years=(2018, 2018))
        citation = cite_store(world)
        assert citation.synthetic and citation.sites == () and citation.acknowledge == ()
        assert list(parse_bibtex(render(citation))) == ["fluxtrapolation-software"]
        assert "Its values are no measurements" in " ".join(render(citation, "text").split())
        part = subset_store(world, tmp_path / "p", sites=[world.site_ids[0]])
        assert cite_store(part).synthetic

    def test_simulated_towers_among_others(self, towers: Store, tmp_path: Path) -> None:
        world = made(tmp_path / "w", source("world", kind="synthetic"), {"DE-Hai": {}})
        with pytest.warns(UserWarning, match="Simulated and measured"):
            citation = cite_store(merge_stores([towers, world], tmp_path / "m"))
        assert not citation.synthetic
        assert [site.site_id for site in citation.sites] == ["AA-One", "DE-Tha", "US-Ton"]
        assert "site-DE-Hai" not in {one.key for one in citation.references}  # real id, simulated values
        assert any("Some towers are simulated" in caution for caution in citation.cautions)

    def test_an_unstated_source_is_not_made_up(self, tmp_path: Path) -> None:
        store = made(tmp_path / "a", source(UNSTATED, kind="benchmark-csv", citation="format"), {"DE-Tha": {}})
        citation = cite_store(store)
        assert [one.key for one in citation.references] == ["fries2026fluxtrapolation", "fluxtrapolation-software"]
        assert any("is not stated: ask whoever gave them" in caution for caution in citation.cautions)
        assert citation.licences == ("not stated: DE-Tha; ask the providers before you publish or share",)

    def test_several_dois_in_one_source(self, tmp_path: Path) -> None:
        joined = source("FLUXNET2015; Mine", doi=f"{FLUXNET2015.doi}; 10.5281/zenodo.123", citation="x; Me (2019)")
        citation = cite_store(made(tmp_path / "a", joined, {"AA-One": {"source": "Mine"}}))
        first, second = citation.references[:2]
        assert first == FLUXNET2015
        assert (second.title, second.doi, second.key) == ("Mine", "10.5281/zenodo.123", "mine2019")

    def test_two_sources_of_one_name_have_two_keys(self, tmp_path: Path) -> None:
        a = made(tmp_path / "a", source("Towers", doi="10.1234/a"), {"AA-One": {}})
        b = made(tmp_path / "b", source("Towers", doi="10.1234/b"), {"BB-Two": {}})
        entries = parse_bibtex(render(cite_store(merge_stores([a, b], tmp_path / "m"))))
        assert {fields["doi"] for fields in entries.values() if "doi" in fields} == {"10.1234/a", "10.1234/b"}

    def test_covariates_of_another_source_are_cited_and_licensed_too(self, towers: Store, tmp_path: Path) -> None:
        modis = source("MOD13A1", doi="10.5067/MODIS/MOD13A1.061", licence="public domain")
        columns = {"targets": towers.targets, "covariates": towers.covariates}
        with StoreWriter(tmp_path / "j", **columns, source=modis, origins=towers.manifest.sources) as writer:
            for record, frame in towers.iter_sites():
                writer.add(record, frame)
        citation = cite_store(tmp_path / "j")
        assert [one.doi for one in citation.references[:2]] == [FLUXNET2015.doi, "10.5067/MODIS/MOD13A1.061"]
        assert citation.licences[1] == "public domain: MOD13A1; read its conditions"

    def test_ameriflux_is_thanked(self, tmp_path: Path) -> None:
        store = made(tmp_path / "a", source("AmeriFlux FLUXNET", doi="10.17190/AMF/1"), {"US-Ha1": {}})
        citation = cite_store(store)
        assert citation.acknowledge == (AMERIFLUX_THANKS,)
        assert "Funding for the AmeriFlux data service was provided" in AMERIFLUX_THANKS
        assert any("Legacy Data Policy" in one and AMERIFLUX_POLICY in one for one in citation.cautions)

    def test_the_fluxnet_product_is_thanked(self, tmp_path: Path) -> None:
        """AMF_US-Ha1_FLUXNET_...: the network's sentence and the product's."""
        sites: dict[str, dict[str, object]] = {"US-Ha1": {"network": "AmeriFlux"}, "DE-Tha": {"network": "ICOS"}}
        citation = cite_store(made(tmp_path / "a", source("FLUXNET", kind="fluxnet"), sites))
        assert citation.acknowledge == (AMERIFLUX_THANKS, FLUXNET_THANKS)
        assert any("DATA_POLICY_LICENSE_AND_INSTRUCTIONS" in one for one in citation.cautions)
        only = cite_store(made(tmp_path / "b", source("FLUXNET", kind="fluxnet"), {"DE-Tha": {"network": "ICOS"}}))
        assert only.acknowledge == (FLUXNET_THANKS,)

    def test_warm_winter_is_not_fluxnet2015(self, tmp_path: Path) -> None:
        """Its files bear the name; what is cited follows the name of each tower's file, else the record's last year."""
        files = {
            "AU-Ade": "FLX_AU-Ade_FLUXNET2015_FULLSET_HH_2007-2009_1-3.csv",
            "CH-Cha": "FLX_CH-Cha_FLUXNET2015_FULLSET_HH_2005-2020_beta-3.csv",
            "BE-Bra": "FLX_BE-Bra_FLUXNET2015_FULLSET_HH_1996-2018_beta-3.csv",
        }

        def citation(folder: str, *sites: str, **facts: Any) -> Citation:
            one = source("FLUXNET2015", kind="fluxnet", **facts)
            with StoreWriter(tmp_path / folder, targets=("GPP",), covariates=("TA",), source=one) as writer:
                for site in sites:
                    record = tiny_record(site).model_copy(update={"source": "FLUXNET2015"})
                    writer.add(record, tiny_frame(site, "2007-01-01", 48), notes=[f"read from {files[site]}"])
            return cite_store(tmp_path / folder)

        winter = citation("winter", "CH-Cha")
        assert winter.references[0] == WARM_WINTER and FLUXNET2015 not in winter.references
        assert winter.acknowledge == () and winter.sites[0].source == "Warm Winter 2020"
        assert winter.sites[0].doi is None  # that of FLUXNET2015 is another record
        assert not any("No citation is known" in one for one in winter.cautions)
        text = " ".join(render(winter, "text").split())
        assert "Warm Winter 2020 Team; ICOS Ecosystem Thematic Centre (2022)" in text
        assert "ICOS Carbon Portal. https://doi.org/10.18160/2G60-ZHAK" in text

        both = citation("both", "AU-Ade", "CH-Cha", doi=FLUXNET2015.doi, citation="Pastorello")
        assert both.references[:2] == (FLUXNET2015, WARM_WINTER)
        assert both.acknowledge == (FLUXNET2015_THANKS,)

        drought = citation("drought", "BE-Bra")
        assert {FLUXNET2015, WARM_WINTER}.isdisjoint(drought.references)
        (told,) = (one for one in drought.cautions if "later release" in one)
        assert "1 towers (BE-Bra)" in told and "YVR0-4898" in told and "2G60-ZHAK" in told

    def test_the_last_year_tells_where_no_file_is_named(self, tmp_path: Path) -> None:
        for first, found in (("2014-12-01", FLUXNET2015), ("2020-05-01", WARM_WINTER)):
            store = made(tmp_path / first, source("FLUXNET2015", kind="fluxnet"), {"DE-Tha": {"first": first}})
            assert cite_store(store).references[0] == found


class TestSiteDois:
    def test_the_packaged_list(self) -> None:
        dois = fluxnet2015_dois()
        assert len(dois) == 200
        assert len(set(dois.values())) == 200
        assert all(re.fullmatch(r"10\.18140/FLX/1440\d{3}", doi) for doi in dois.values())
        assert set(dois) <= set(load_sites())
        assert (dois["FI-Hyy"], dois["CH-Lae"], dois["AT-Neu"]) == tuple(
            f"10.18140/FLX/1440{number}" for number in (158, 134, 121)
        )

    def test_what_the_store_says_goes_first_and_later_products_are_not_fluxnet2015(self, tmp_path: Path) -> None:
        one = source("FLUXNET2015")
        assert site_dois(made(tmp_path / "a", one, {"DE-Tha": {}}, doi="10.1/own")) == {"DE-Tha": "10.1/own"}
        assert site_dois(made(tmp_path / "b", one, {"DE-Tha": {"first": "2020-01-01"}})) == {}
        assert site_dois(made(tmp_path / "c", source("FLUXNET"), {"DE-Tha": {}})) == {}

    def test_given_ones(self, towers: Store, tmp_path: Path) -> None:
        table = tmp_path / "dois.csv"
        rows = "site_id,doi\nAA-One,https://doi.org/10.5281/zenodo.7\nUS-Ton,10.17190/AMF/1\nDE-Tha,\n"
        table.write_text(rows, "utf-8-sig")
        known = read_dois(table)
        assert known == {"AA-One": "10.5281/zenodo.7", "US-Ton": "10.17190/AMF/1"}
        citation = cite_store(towers, dois=known)
        assert {site.site_id: site.doi for site in citation.sites}["US-Ton"] == "10.17190/AMF/1"
        assert citation.cautions == ()

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            ("", "no table of DOIs"),
            ("site,doi\nx,y\n", "no table of DOIs"),
            ("site_id,doi\nAA-One,none\nBB-Two,10.5281/zenodo.7\n", r"1 cells are no DOI \(row 2: 'none'\)"),
        ],
    )
    def test_bad_tables(self, tmp_path: Path, content: str, says: str) -> None:
        (tmp_path / "d.csv").write_text(content)
        with pytest.raises(DataError, match=says):
            read_dois(tmp_path / "d.csv")

    def test_find_dois(self) -> None:
        text = (
            "See https://doi.org/10.1038/s41597-020-0534-3. And (10.18140/FLX/1440152), doi:10.1038/s41597-020-0534-3"
        )
        assert find_dois(text) == ["10.1038/s41597-020-0534-3", "10.18140/FLX/1440152"]
        assert find_dois(None) == []


class TestFormats:
    def test_text(self, towers: Store) -> None:
        page = render(cite_store(towers), "text")
        assert all(len(line) <= 80 or "https://" in line for line in page.splitlines())
        assert "Scientific Data 7, 225. https://doi.org/10.1038/s41597-020-0534-3" in " ".join(page.split())
        assert re.search(r"^  DE-Tha  2005 +Tharandt +https://doi\.org/10\.18140/FLX/1440152$", page, re.MULTILINE)
        for title in ("What to cite", "Licences", "Acknowledge", "Towers used (3), by FLUXNET ID", "References"):
            assert f"\n{title}\n" in f"\n{page}"

    def test_csl_json(self, towers: Store) -> None:
        items = json.loads(render(cite_store(towers), "csl-json"))
        paper = items[0]
        assert paper["type"] == "article-journal" and paper["DOI"] == FLUXNET2015.doi
        assert paper["author"][0] == {"family": "Pastorello", "given": "Gilberto"}
        assert paper["issued"] == {"date-parts": [[2020]]}
        assert len({item["id"] for item in items}) == len(items) == 5

    def test_command(self, towers: Store, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "cite.bib"
        assert run(["data", "cite", str(towers.path), "--out", str(out)]) == 0
        shown = capfd.readouterr()
        assert shown.out == f"{out}\n"
        assert "note: No DOI of its own is known of 1 of 3 towers" in shown.err
        assert "site-DE-Tha" in parse_bibtex(out.read_text("utf-8"))
        assert run(["data", "cite", str(towers.path)]) == 0
        assert capfd.readouterr().out == out.read_text("utf-8")
        assert run(["data", "cite", str(towers.path), "--json"]) == 0
        facts = json.loads(capfd.readouterr().out)
        assert [site["site_id"] for site in facts["sites"]] == ["AA-One", "DE-Tha", "US-Ton"]
        assert facts["synthetic"] is False
        assert run(["data", "cite", str(towers.path), "--format", "ris"]) == 2
        assert run(["data", "cite", str(tmp_path / "nowhere")]) == 2
        (tmp_path / "file").write_text("")
        assert run(["data", "cite", str(towers.path), "--out", str(tmp_path / "file" / "x.bib")]) == 2
        assert "cannot be written" in capfd.readouterr().err


def test_the_list_of_dois_is_sorted_and_plain() -> None:
    path = ROOT / "src/fluxtrapolation/data/resources/fluxnet2015_dois.csv"
    rows = list(csv.reader(path.read_text("ascii").splitlines()))
    assert rows[0] == ["site_id", "doi"]
    assert [row[0] for row in rows[1:]] == sorted(row[0] for row in rows[1:])
