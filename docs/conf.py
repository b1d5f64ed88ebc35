"""Sphinx configuration: MyST pages, the version from the package, the command line reference from the program."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import fluxtrapolation

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

project = "fluxtrapolation"
author = "The fluxtrapolation developers"
project_copyright = f"2026, {author}"
version = release = fluxtrapolation.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "cli_reference"]
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_ext", "img"]
smartquotes = False  # two hyphens are an option

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_custom_sections = [("Rules", "notes_style"), ("Files", "notes_style")]
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"fluxtrapolation {release}"
html_copy_source = False


def leave_out_what_is_not_there(app: Any, page: str, source: list[str]) -> None:  # noqa: ARG001
    """Drop globs of the table of contents that match nothing yet: results come and go with the runs that made them."""
    if page == "index":
        for pattern in ("synthetic*", "results/*"):
            if not any(HERE.glob(f"{pattern}.md")):
                source[0] = source[0].replace(f"{pattern}\n", "")


def setup(app: Any) -> None:
    """Connect the function above."""
    app.connect("source-read", leave_out_what_is_not_there)
