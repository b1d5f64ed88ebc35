"""Make ``vega-bundle.min.js``, the chart library that report pages carry: Vega, Vega-Lite and Vega-Embed in one script.

Run by hand when the library is to be renewed (``python tools/bundle_vega.py``); the result is committed. It needs
``vl-convert-python`` (extra ``test``), which holds the libraries; nothing is fetched. Reports need the result only.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import vl_convert

FOLDER: Final = Path(__file__).resolve().parents[1] / "src" / "fluxtrapolation" / "plots" / "resources"
NAME: Final = "vega-bundle.min.js"
ENTRY: Final = "window.vegaEmbed = vegaEmbed;"
VEGA_LITE: Final = "6.4"

HEADER: Final = """\
/*! Vega {vega}, Vega-Lite {lite}, Vega-Embed {embed}, bundled by vl-convert {convert} (tools/bundle_vega.py).
 * BSD-3-Clause, (c) University of Washington Interactive Data Lab and contributors.
 * With parts of D3, TopoJSON and others; all licences: LICENSE-vega.txt beside this file. */
"""


def bundle() -> str:
    """The script: a header that names versions and licence, and the libraries; sets ``window.vegaEmbed``.

    Raises
    ------
    ValueError
        When the script could not stand inside an HTML page, or is no classic script.
    """
    script = vl_convert.javascript_bundle(ENTRY, vl_version=VEGA_LITE).strip()
    for unwanted in ("</script", "<!--", "\nimport ", "\nexport "):
        if unwanted in script.lower():
            raise ValueError(f"the bundle holds {unwanted.strip()!r}: it would break the page that carries it")
    header = HEADER.format(
        vega=vl_convert.get_vega_version(),
        lite=VEGA_LITE,
        embed=vl_convert.get_vega_embed_version(),
        convert=vl_convert.__version__,
    )
    # In a function of its own, so that none of its many short names becomes a name of the page.
    return f"{header}(() => {{\n{script}\n}})();\n"


def main() -> int:
    path = FOLDER / NAME
    path.write_text(bundle(), encoding="utf-8")
    sys.stdout.write(f"{path}: {path.stat().st_size / 1000:.0f} kB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
