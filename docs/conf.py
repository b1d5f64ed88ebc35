"""Sphinx configuration: MyST pages, the version from the package, the command line reference from the program itself."""

from __future__ import annotations

import sys
from pathlib import Path

import fluxtrapolation

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "fluxtrapolation"
author = "The fluxtrapolation developers"
project_copyright = f"2026, {author}"
version = release = fluxtrapolation.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "cli_reference"]
myst_enable_extensions = ["deflist", "colon_fence"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "_ext", "img"]
# Pages of other origin appear when they exist: results of runs, the description of the simulator.
suppress_warnings = ["toc.empty_glob"]

autodoc_typehints = "none"
autodoc_member_order = "bysource"
napoleon_numpy_docstring = True
napoleon_google_docstring = False
napoleon_custom_sections = [("Rules", "notes_style"), ("Files", "notes_style")]
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"fluxtrapolation {release}"
html_copy_source = False
