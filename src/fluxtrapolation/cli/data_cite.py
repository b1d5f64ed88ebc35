"""``fluxtrapolation data cite``: what a paper that uses a store needs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from fluxtrapolation.cli.console import emit_json, emit_path, out, say
from fluxtrapolation.cli.options import JsonFlag, outside_stores


class CiteFormat(StrEnum):
    bibtex = "bibtex"
    text = "text"
    csl_json = "csl-json"


def cite(
    store: Annotated[Path, typer.Argument(help="Folder of the store.", show_default=False)],
    format: Annotated[
        CiteFormat, typer.Option("--format", help="bibtex and text say all; csl-json has the references only.")
    ] = CiteFormat.bibtex,
    out_: Annotated[
        Path | None, typer.Option("--out", help="File to write. Default: standard output.", callback=outside_stores)
    ] = None,
    dois: Annotated[
        Path | None, typer.Option("--dois", help="CSV with site_id,doi: DOIs of towers that are not known here.")
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Write what a paper needs: references, towers by FLUXNET ID, licences, acknowledgements.

    Sources with their DOI, the benchmark, this software, and the DOI of every tower that is known to have one. What is
    not known is said.
    """
    from fluxtrapolation.data.cite import cite_store, read_dois, render
    from fluxtrapolation.files import write_bytes_atomic

    citation = cite_store(store, dois=None if dois is None else read_dois(dois))
    text = render(citation, format.value)
    if out_ is not None:
        write_bytes_atomic(out_, text.encode())
    for caution in citation.cautions:
        say(f"note: {caution}")
    if json:
        emit_json({**citation.as_dict(), "path": None if out_ is None else str(out_)})
    elif out_ is not None:
        emit_path(out_)
    else:
        out.print(text, markup=False, soft_wrap=True, end="")
