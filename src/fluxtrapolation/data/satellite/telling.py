"""What a join has to tell, and the provenance record it leaves."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import polars as pl

from fluxtrapolation import __version__
from fluxtrapolation.data.manifest import Source, utc_now
from fluxtrapolation.data.satellite.composites import SatelliteFile
from fluxtrapolation.data.satellite.files import short_names
from fluxtrapolation.data.satellite.plan import NO_VALUE, Guess, Settings
from fluxtrapolation.data.store import Store
from fluxtrapolation.errors import FluxtrapolationWarning, examples
from fluxtrapolation.files import sha256_of


def tell(
    store: Store,
    files: Sequence[SatelliteFile],
    unread: Mapping[str, str],
    report: pl.DataFrame,
    wanted: Sequence[str],
    guessed: Collection[Guess] = (),
) -> None:
    """Warn of files not read, empty variables, periods guessed, sites not in the store, towers that lack covariates."""

    def warn(message: str) -> None:
        warnings.warn(message, FluxtrapolationWarning, stacklevel=4)

    if unread:
        warn(f"{len(unread)} of {len(unread) + len(files)} files could not be read: {examples(unread.values())}")
    empty = report.filter(pl.col("reason") == NO_VALUE)
    told = [f"{name} ({examples(empty.filter(pl.col('covariate') == name)['site_id'])})" for name in wanted]
    told = [words for words in told if not words.endswith("()")]
    if told:
        warn(f"Variables without a single value are taken as absent: {', '.join(told)}.")
    _tell_guesses(guessed, warn)
    unused = sorted({name for file in files for name in file.unused})
    if unused:
        warn(f"{len(unused)} variables are no covariates of the schema and are not used: {examples(unused, 5)}.")
    strangers = sorted({site for file in files for site in file.sites} - set(store.site_ids))
    if strangers:
        warn(f"{len(strangers)} sites of the files are not in the store: {examples(strangers)}.")
    lost = report.filter(~pl.col("joined"), pl.col("reason") != NO_VALUE)
    for name in wanted:
        sites = lost.filter(pl.col("covariate") == name)
        if sites.height:
            row = sites.row(0, named=True)
            warn(
                f"{sites.height} of {len(store.site_ids)} towers lack {name} (first: {row['site_id']}: "
                f"{row['reason']})."
            )


def _tell_guesses(guessed: Collection[Guess], warn: Callable[[str], None]) -> None:
    """Two 16-day products shifted by 8 days look like one of 8 days: the user must know what was taken."""
    for days in sorted({guess.days for guess in guessed}):
        series = sorted((guess.covariate, guess.site) for guess in guessed if guess.days == days)
        names = dict.fromkeys(covariate for covariate, _ in series)
        warn(
            f"{', '.join(names)}: periods of {days} days were guessed from the step between the dates at "
            f"{len({site for _, site in series})} towers (first: {series[0][1]}). Say --period DAYS, above all where "
            "products are mixed: 16-day composites of Terra and Aqua together come every 8 days, and with 8 days "
            "'causal' would look ahead."
        )


def source_of(
    base: Store,
    files: Sequence[SatelliteFile],
    settings: Settings,
    period: int | None,
    joined: Sequence[str],
    lacking: str,
    *,
    name: str | None,
    licence: str | None,
    citation: str | None,
    only_observed: bool = False,
) -> Source:
    def said(values: Iterable[str | None]) -> str | None:
        return "; ".join(dict.fromkeys(value for value in values if value)) or None

    # The hash of the first store is an option too: where that store has changed, an earlier join is not continued.
    parents = sorted({str(file.path.resolve().parent) for file in files})
    return Source(
        name=name or "satellite covariates, product not stated",
        kind="table",
        location="; ".join(parents),
        licence=licence or said(file.licence for file in files),
        citation=citation or said(file.citation for file in files),
        options={
            "data_hash": base.data_hash,
            "covariates": ", ".join(joined),
            "interpolate": settings.method,
            "max_gap_days": settings.max_gap,
            "period_days": period,
            "lacking": lacking,
            "dates": "local calendar days",
            # Only where it is asked for: stores joined before there was this option stay the same.
            **({"only_observed": True} if only_observed else {}),
            "files": {name: sha256_of(path) for path, name in short_names(file.path for file in files).items()},
        },
        retrieved=utc_now(),
        package_version=__version__,
    )
