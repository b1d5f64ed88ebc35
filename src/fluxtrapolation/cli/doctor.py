"""``fluxtrapolation doctor``: what this machine has and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer

from fluxtrapolation import __version__
from fluxtrapolation.cli.console import emit_json, emit_table, say

_NEEDED = {
    "core": ("numpy", "polars", "pydantic", "PyYAML", "typer", "rich"),
    "models": ("scikit-learn", "scipy", "optuna"),
    "trees": ("xgboost-cpu|xgboost",),
    "zarr": ("zarr", "fsspec"),
    "timezones": ("tzfpy", "tzdata"),
    "plots": ("matplotlib", "Jinja2"),
}


def doctor(
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")
    ] = False,
) -> None:
    """Report the environment: versions, extras, cores, memory, disk. Exit code 1 if the core is incomplete."""
    facts = environment_facts()
    if json:
        emit_json(facts)
    else:
        rows: list[tuple[str, object]] = [(key, facts[key]) for key in ("fluxtrapolation", "python", "platform")]
        rows += [
            ("cores", str(facts["cores"])),
            ("memory", f"{facts['memory_gb']} GB" if facts["memory_gb"] else "unknown"),
            ("free disk here", f"{facts['free_disk_gb']} GB"),
        ]
        for extra, libraries in facts["libraries"].items():
            rows.append((extra, ", ".join(f"{name} {found or 'MISSING'}" for name, found in libraries.items())))
        emit_table(["environment", ""], rows)
        for line in facts["advice"]:
            say(line)
    if not facts["ok"]:
        raise typer.Exit(1)


def environment_facts() -> dict[str, Any]:
    """Everything the command prints."""
    libraries = {extra: {name.split("|")[0]: _version(name) for name in names} for extra, names in _NEEDED.items()}
    missing = {extra: [name for name, v in found.items() if v is None] for extra, found in libraries.items()}
    advice = [
        f"{', '.join(names)} missing: pip install '"
        + ("fluxtrapolation'" if extra == "core" else f"fluxtrapolation[{extra}]'")
        for extra, names in missing.items()
        if names
    ]
    return {
        "fluxtrapolation": __version__,
        "python": sys.version.split()[0],
        "executable": sys.executable,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "memory_gb": _memory_gb(),
        "free_disk_gb": round(shutil.disk_usage(Path.cwd()).free / 1e9, 1),
        "libraries": libraries,
        "advice": advice,
        "ok": not missing["core"],
    }


def _version(names: str) -> str | None:
    for name in names.split("|"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError, AttributeError):
        return None
