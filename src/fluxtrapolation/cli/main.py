"""The command line: ``fluxtrapolation ...``. Each command imports what it needs when it runs."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from fluxtrapolation import __version__
from fluxtrapolation.cli import data, ensemble, evaluate, rank, report, scenario, shift, sweep, train
from fluxtrapolation.cli.console import ReaderGone, say, warnings_as_notes
from fluxtrapolation.cli.doctor import doctor
from fluxtrapolation.errors import FluxtrapolationError

app = typer.Typer(
    name="fluxtrapolation",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Extrapolating ecosystem fluxes: from towers to a scored table.

    A first round, offline, on simulated towers:

    `fluxtrapolation data synth --out world/`

    `fluxtrapolation train --store world/ --scenario temperature --target GPP --model lr --model xgb --profile quick
    --out runs/`

    `fluxtrapolation report runs/ --out report/`

    Exit codes: 0 done, 1 the check failed, 2 bad input or usage (also: done in part), 130 interrupted (what is finished
    is kept).
    """,
)
app.add_typer(data.app, name="data")
app.add_typer(scenario.app, name="scenario")
app.command("train")(train.train)
app.command("predict")(train.predict)
app.command("sweep")(sweep.sweep)
app.command("ensemble")(ensemble.ensemble)
app.command("evaluate")(evaluate.evaluate)
app.command("table")(evaluate.table)
app.command("compare")(rank.compare)
app.command("rank")(rank.rank)
app.command("report")(report.report)
app.command("shift")(shift.shift)
app.command("models")(train.models)
app.command("doctor")(doctor)


# typer's own base of usage errors: some versions of typer use click, newer ones carry a copy of it.
_UsageProblem: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
_INTERRUPTED = 130


def _version(value: bool) -> None:
    if value:
        typer.echo(f"fluxtrapolation {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    if sys.stdout is None:  # closed by the caller: there is nobody to answer
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 (stays open as long as the program)
    try:
        with warnings_as_notes():
            result = app(args=arguments, standalone_mode=False)
        if result == _INTERRUPTED:  # how newer versions of typer tell it
            say("interrupted; what is finished is kept")
        return result if isinstance(result, int) else 0
    except FluxtrapolationError as error:
        say(f"error: {error}")
        return 2
    except (typer.Abort, KeyboardInterrupt):
        say("interrupted; what is finished is kept")
        return _INTERRUPTED
    except _UsageProblem as error:
        error.show()
        return 2
    except ReaderGone:
        # Nothing more to say to it; and nothing to flush when the program ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        say(f"error: {error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return 2


if __name__ == "__main__":
    main()
