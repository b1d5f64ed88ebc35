"""``fluxtrapolation data diff``: what changed between two stores."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fluxtrapolation.cli.console import SiteProgress, emit_json, emit_path, emit_table, out, say
from fluxtrapolation.cli.options import DONE_IN_PART, JsonFlag, outside_stores
from fluxtrapolation.cli.site_lists import SitesOption, site_list

if TYPE_CHECKING:
    from fluxtrapolation.data.diff import StoreDiff
    from fluxtrapolation.data.store import Store

MAX_SENTENCES: Final = 100


def diff(
    a: Annotated[Path, typer.Argument(help="Store before.", show_default=False)],
    b: Annotated[Path, typer.Argument(help="Store after.", show_default=False)],
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, help="Changes up to this, in the unit of the column, are none.")
    ] = 0.0,
    sites: SitesOption = None,
    jobs: Annotated[int | None, typer.Option("--jobs", min=1, help="Towers compared at once. Default: 2.")] = None,
    out_: Annotated[
        Path | None,
        typer.Option("--out", help="Table of all changes to write (.csv, .parquet).", callback=outside_stores),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Say what changed between two stores: towers, their facts, rows, values, flags.

    Exit code 0: the same values. 1: something differs. 2: a store or a file of it cannot be read; the other towers are
    compared all the same.
    """
    from fluxtrapolation.data.diff import diff_stores, write_diff_table
    from fluxtrapolation.data.store import Store

    before, after = Store(a), Store(b)
    with SiteProgress("comparing") as progress:
        found = diff_stores(before, after, tolerance=tolerance, sites=site_list(sites), jobs=jobs, progress=progress)
    table = None if out_ is None else write_diff_table(found, out_)
    if json:
        emit_json({**found.as_dict(), "table": None if table is None else str(table)})
    else:
        _print(before, after, found)
    for problem in found.problems:
        say(f"error: {problem}")
    if table is not None and not json:
        emit_path(table)
    if found.problems:
        raise typer.Exit(DONE_IN_PART)
    if not found.same:
        raise typer.Exit(1)


def _print(before: Store, after: Store, found: StoreDiff) -> None:
    counts = found.counts

    def row(label: str, name: str) -> tuple[str, object, object]:
        return label, getattr(before, name), getattr(after, name)

    def read(store: Store) -> str:
        moments = [source.retrieved for source in store.manifest.sources]
        return f"{max(moments):%Y-%m-%d %H:%M}" if moments else "-"

    emit_table(
        ["", f"A: {found.a}", f"B: {found.b}"],
        [
            ("towers", str(len(before.site_ids)), str(len(after.site_ids))),
            row("rows", "hours"),
            row("measured", "measured_hours"),
            ("read", read(before), read(after)),
            ("content hash", before.data_hash[:16], after.data_hash[:16]),
        ],
    )
    compared = counts["same"] + counts["rewritten"] + counts["changed"]
    said = [f"{compared:,} tower{'' if compared == 1 else 's'} compared: {counts['changed']:,} with changes"]
    if counts["rewritten"]:
        said.append(f"{counts['rewritten']:,} in other files with the same values")
    for number, words in (
        (counts["removed"], "only in A"),
        (counts["added"], "only in B"),
        (counts["unreadable"], "cannot be read"),
    ):
        if number:
            said.append(f"{number:,} {words}")
    lines = ["", ", ".join(said) + ("." if found.tolerance == 0 else f" (tolerance {found.tolerance:g}).")]
    sentences = [text for text in found.sentences() if text not in found.problems]
    lines += islice(sentences, MAX_SENTENCES)
    if len(sentences) > MAX_SENTENCES:
        lines.append(f"... and {len(sentences) - MAX_SENTENCES:,} more lines: --out changes.csv or --json has them all")
    out.print("\n".join(lines), markup=False, soft_wrap=True)
