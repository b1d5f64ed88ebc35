"""``fluxtrapolation doctor``: what this machine has and what is missing."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import typer

from fluxtrapolation import __version__
from fluxtrapolation.cli.console import emit_json, emit_table, say
from fluxtrapolation.cli.options import JsonFlag

# By extra: the name to install (or its stand-in), and the module it brings.
_NEEDED = {
    "core": {
        "numpy": "numpy",
        "polars": "polars",
        "pydantic": "pydantic",
        "PyYAML": "yaml",
        "typer": "typer",
        "rich": "rich",
    },
    "models": {"scikit-learn": "sklearn", "scipy": "scipy", "optuna": "optuna", "skops": "skops"},
    "trees": {"xgboost-cpu|xgboost": "xgboost", "lightgbm": "lightgbm"},
    "deep": {"torch": "torch", "safetensors": "safetensors"},
    "catboost": {"catboost": "catboost"},
    "cluster": {"distributed": "distributed"},
    "satellite": {"h5netcdf": "h5netcdf"},
    "zarr": {"zarr": "zarr", "fsspec": "fsspec", "aiohttp": "aiohttp"},
    "timezones": {"tzfpy": "tzfpy", "tzdata": "tzdata"},
    "plots": {"matplotlib": "matplotlib", "Jinja2": "jinja2"},
}


def doctor(
    json: JsonFlag = False,
) -> None:
    """Report the environment: versions, extras, cores, memory, disk. Exit code 1 if the core is incomplete.

    Every library is imported, so one that is installed but broken is found.
    """
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
    found = {
        extra: {name.split("|")[0]: _found(name, names[name]) for name in names} for extra, names in _NEEDED.items()
    }
    libraries = {extra: {name: version for name, (version, _) in held.items()} for extra, held in found.items()}
    missing = {extra: [name for name, v in found.items() if v is None] for extra, found in libraries.items()}
    advice = [
        f"{', '.join(names)} missing: pip install '"
        + ("fluxtrapolation'" if extra == "core" else f"fluxtrapolation[{extra}]'")
        for extra, names in missing.items()
        if names
    ]
    broken = [(name, why) for held in found.values() for name, (_, why) in held.items() if why]
    advice += [f"{name} is installed but cannot be imported: {why}. Install it again." for name, why in broken]
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
        "ok": not missing["core"] and not any(name in _NEEDED["core"] for name, _ in broken),
    }


def _found(names: str, module: str) -> tuple[str | None, str | None]:
    """The version of an installed library, and why it cannot be imported, if it cannot."""
    held = _version(names)
    if held is None:
        return None, None
    try:
        importlib.import_module(module)
    except Exception as error:  # noqa: BLE001 (whatever a broken library raises is what is to be told)
        return held, f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
    return held, None


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
