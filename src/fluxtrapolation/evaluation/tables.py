"""A pivot as CSV, Markdown, LaTeX (booktabs) or HTML; cells coloured by their distance to the column's best."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

import polars as pl

from fluxtrapolation.errors import EvaluationError
from fluxtrapolation.files import write_bytes_atomic

BEST_COLOUR: Final = (126, 186, 181)
"""Colour of the best cell of a column, sRGB: a muted teal, readable under black text and for the colour-blind."""
WHITE_AT: Final = 1.2
"""Ratio to the column's best at which a cell is white."""
SUFFIXES: Final = (".csv", ".md", ".tex", ".html")
_TEXT: Final = ("model", "selection", "val_strategy", "stratum", "note")


def cell_colours(pivot: pl.DataFrame) -> dict[str, list[str | None]]:
    """Colours of all error cells, as ``RRGGBB``; None for white or empty.

    The best (smallest) value of a column has the full colour; it fades linearly to white at 1.2 times the best.
    """
    colours: dict[str, list[str | None]] = {}
    for name in pivot.columns:
        if "/" not in name or pivot[name].dtype != pl.Float64:
            continue  # only the errors of cells are better the smaller
        values = pivot[name].to_list()
        known = [value for value in values if value is not None]
        best = min(known, default=0.0)
        colours[name] = [_colour(value, best) for value in values]
    return colours


def _colour(value: float | None, best: float) -> str | None:
    if value is None or best <= 0:
        return None
    strength = 1 - (value / best - 1) / (WHITE_AT - 1)
    if strength <= 0:
        return None
    return "".join(f"{round(255 - (255 - part) * strength):02X}" for part in BEST_COLOUR)


@dataclass(frozen=True)
class Ends:
    """Lower and upper ends of the numbers of a pivot: tables of its shape, null where there is no bound."""

    low: pl.DataFrame
    high: pl.DataFrame

    def of(self, name: str, row: int) -> tuple[float | None, float | None] | None:
        """The ends of one number; None for text."""
        if self.low[name].dtype != pl.Float64:
            return None
        return self.low[name][row], self.high[name][row]

    def beside(self, pivot: pl.DataFrame) -> pl.DataFrame:
        """The pivot with the columns ``{name}_low`` and ``{name}_high`` after every column of numbers."""
        columns: list[pl.Series] = []
        for name in pivot.columns:
            columns.append(pivot[name])
            if pivot[name].dtype == pl.Float64:
                columns += [self.low[name].alias(f"{name}_low"), self.high[name].alias(f"{name}_high")]
        return pl.DataFrame(columns)


def render(pivot: pl.DataFrame, kind: str, *, caption: str = "", digits: int = 3, ends: Ends | None = None) -> str:
    """The table as text.

    Parameters
    ----------
    pivot : polars.DataFrame
        From :func:`fluxtrapolation.evaluation.pivot`.
    kind : {"csv", "md", "tex", "html"}
        CSV has full precision; the others ``digits`` significant digits. LaTeX needs ``\\usepackage{booktabs}`` and
        ``\\usepackage[table]{xcolor}``.
    caption : str
    digits : int
    ends : Ends, optional
        Intervals, shown as ``1.23 [1.10, 1.41]``, with a dash where there is no bound; in CSV as columns of their own.
    """
    renderers: dict[str, Callable[[], str]] = {
        "csv": lambda: (pivot if ends is None else ends.beside(pivot)).write_csv(),
        "md": lambda: _markdown(pivot, caption, digits, ends),
        "tex": lambda: _latex(pivot, caption, digits, ends),
        "html": lambda: _html(pivot, caption, digits, ends),
    }
    if kind not in renderers:
        raise EvaluationError(f"A table cannot be made as '{kind}'; choose from {', '.join(renderers)}.")
    return renderers[kind]()


def write_table(
    pivot: pl.DataFrame, path: str | Path, *, caption: str = "", digits: int = 3, ends: Ends | None = None
) -> Path:
    """Write the table in the format that the file's ending names, under a temporary name first."""
    file = Path(path)
    kind = file.suffix.lower()
    if kind not in SUFFIXES:
        raise EvaluationError(f"{file} must end in one of {', '.join(SUFFIXES)}.")
    text = render(pivot, kind[1:], caption=caption, digits=digits, ends=ends)
    if kind == ".html":
        text = _PAGE.format(title=escape(caption or "Scores"), body=text)
    write_bytes_atomic(file, text.encode())
    return file


def _number(value: object, name: str, digits: int) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if not isinstance(value, float):
        return str(value)
    if name == "skill_score":
        return f"{value + 0.0:.{digits}f}".replace("-0." + "0" * digits, "0." + "0" * digits)
    return significant(value, digits)


def significant(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits; empty for none."""
    if value is None:
        return ""
    shown = f"{value:#.{digits}g}"
    return shown.rstrip(".") if "e" not in shown else f"{value:.{digits - 1}e}"


def _rows(pivot: pl.DataFrame, digits: int, ends: Ends | None = None) -> list[list[str]]:
    return [
        [_shown(value, name, digits, ends, number) for name, value in zip(pivot.columns, row, strict=True)]
        for number, row in enumerate(pivot.iter_rows())
    ]


def _shown(value: object, name: str, digits: int, ends: Ends | None, row: int) -> str:
    """A value, with its interval where there is one."""
    text = _number(value, name, digits)
    pair = ends.of(name, row) if ends is not None and text and isinstance(value, float) else None
    if pair is None or (pair == (None, None) and "/" not in name):
        return text
    low, high = (_number(end, name, digits) or "–" for end in pair)
    return f"{text} [{low}, {high}]"


def _texts(pivot: pl.DataFrame) -> set[str]:
    """Columns that are no numbers."""
    return {name for name in pivot.columns if name in _TEXT or not pivot[name].dtype.is_numeric()}


def _markdown(pivot: pl.DataFrame, caption: str, digits: int, ends: Ends | None) -> str:
    def line(cells: list[str]) -> str:
        return "| " + " | ".join(re.sub(r"([|<>*`])", r"\\\1", cell) for cell in cells) + " |"

    texts = _texts(pivot)
    rule = line([":---" if name in texts else "---:" for name in pivot.columns])
    lines = [line(list(pivot.columns)), rule, *(line(row) for row in _rows(pivot, digits, ends))]
    return (f"{caption}\n\n" if caption else "") + "\n".join(lines) + "\n"


_TEX_SPECIAL: Final = {
    "\\": r"\textbackslash{}",
    **{one: "\\" + one for one in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "–": "--",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "°": r"$^\circ$",
}


def _tex(text: str) -> str:
    return "".join(_TEX_SPECIAL.get(letter, letter) for letter in text)


def _latex(pivot: pl.DataFrame, caption: str, digits: int, ends: Ends | None) -> str:
    colours = cell_colours(pivot)
    texts = _texts(pivot)
    top, bottom, rules = _heads(pivot.columns)
    body = []
    for number, row in enumerate(_rows(pivot, digits, ends)):
        cells = []
        for name, text in zip(pivot.columns, row, strict=True):
            colour = colours[name][number] if name in colours else None
            cells.append((f"\\cellcolor[HTML]{{{colour}}}" if colour else "") + _tex(text))
        # After a line break LaTeX would read an opening bracket as an option of it.
        body.append(
            " & ".join(cells).replace("[", "{[}", 1) + r" \\"
            if cells[0].startswith("[")
            else " & ".join(cells) + r" \\"
        )
    head = " & ".join(f"\\multicolumn{{{span}}}{{c}}{{{_tex(text)}}}" if span > 1 else _tex(text) for text, span in top)
    middle = " ".join(f"\\cmidrule(lr){{{first}-{last}}}" for first, last in rules)
    lines = [
        f"\\begin{{tabular}}{{{''.join('l' if name in texts else 'r' for name in pivot.columns)}}}",
        r"\toprule",
        *([head + r" \\", middle] if any(text for text, _ in top) else []),
        " & ".join(_tex(text) for text in bottom) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
    ]
    lines.insert(0, r"% needs \usepackage{booktabs} and \usepackage[table]{xcolor}")
    if caption:
        lines = [r"\begin{table}", r"\centering", f"\\caption{{{_tex(caption)}}}", *lines, r"\end{table}"]
    return "\n".join(line for line in lines if line) + "\n"


def _heads(columns: list[str]) -> tuple[list[tuple[str, int]], list[str], list[tuple[int, int]]]:
    """Two lines of head: scenarios over their scales. Returns the upper with spans, the lower, the ruled columns."""
    top: list[tuple[str, int]] = []
    bottom, rules = [], []
    for name in columns:
        scenario, slash, scale = name.rpartition("/")
        bottom.append(scale if slash else name.replace("_", " "))
        if slash and top and top[-1][0] == scenario:
            top[-1] = (scenario, top[-1][1] + 1)
        else:
            top.append((scenario, 1))
    place = 1
    for text, span in top:
        if text:
            rules.append((place, place + span - 1))
        place += span
    return top, bottom, rules


def _html(pivot: pl.DataFrame, caption: str, digits: int, ends: Ends | None) -> str:
    colours = cell_colours(pivot)
    texts = _texts(pivot)
    top, bottom, _ = _heads(pivot.columns)
    first = "".join(
        f'<th scope="colgroup" colspan="{span}">{escape(text)}</th>' if text else "<td></td>" for text, span in top
    )
    second = "".join(
        f'<th scope="col" class="{"text" if name in texts else "number"}">{escape(text)}</th>'
        for name, text in zip(pivot.columns, bottom, strict=True)
    )
    body = []
    for number, row in enumerate(_rows(pivot, digits, ends)):
        cells = []
        for name, text in zip(pivot.columns, row, strict=True):
            colour = colours[name][number] if name in colours else None
            style = f' style="background:#{colour}"' if colour else ""
            full = pivot[name][number]
            title = f' title="{full!r}"' if isinstance(full, float) else ""
            if name == "model":
                cells.append(f'<th scope="row">{escape(text)}</th>')
            else:
                kind = ' class="text"' if name in texts else ""
                cells.append(f"<td{kind}{style}{title}>{escape(text)}</td>")
        body.append("<tr>" + "".join(cells) + "</tr>")
    head = f"<caption>{escape(caption)}</caption>\n" if caption else ""
    return (
        f'<table class="scores">\n{head}<thead>\n<tr>{first}</tr>\n<tr>{second}</tr>\n</thead>\n<tbody>\n'
        + "\n".join(body)
        + "\n</tbody>\n</table>\n"
    )


_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #1a1a1a; background: #fff; }}
.wide {{ overflow-x: auto; }}
table.scores {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
table.scores caption {{ text-align: left; padding-bottom: .6rem; }}
table.scores th, table.scores td {{ padding: .25rem .6rem; text-align: right; white-space: nowrap; }}
table.scores th[scope=row], table.scores .text {{ text-align: left; }}
table.scores th[scope=colgroup] {{ text-align: center; border-bottom: 1px solid #999; }}
table.scores thead tr:last-child > * {{ border-bottom: 1px solid #333; }}
</style>
</head>
<body>
<div class="wide">
{body}</div>
</body>
</html>
"""
