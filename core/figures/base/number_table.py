"""Numbers as tables of the page's own text, which grows with it and can be read aloud; everything in them is escaped.

Streamlit's own tables import pandas first, and a first screen would wait for that.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from core.attention.tables import Row
from core.figures.base.style import Look

_STYLE = """<style>
.numbers { border-collapse: collapse; width: 100%%; color: %(ink)s; font-size: .95rem; line-height: 1.35; }
.numbers th, .numbers td { padding: .22rem .6rem; border: 0; border-bottom: 1px solid %(faint)s; text-align: right;
  vertical-align: baseline; font-weight: 400; }
.numbers td { font-variant-numeric: tabular-nums; white-space: nowrap; }
.numbers thead th { color: %(quiet)s; font-size: .85rem; white-space: nowrap; }
.numbers thead.wide th { white-space: normal; vertical-align: bottom; }
.numbers thead th:first-child { text-align: left; padding-left: 0; }
.numbers th[scope="row"] { text-align: left; padding-left: 0; white-space: nowrap; }
.numbers th[scope="rowgroup"] { text-align: left; padding: .6rem 0 .22rem; font-weight: 700; }
.numbers td.meaning { text-align: left; white-space: normal; color: %(quiet)s; font-size: .85rem; }
.numbers td.value { font-weight: 700; }
</style>"""

# A telephone is narrower than eight columns: then the table scrolls, not the page.
_SCROLLS = '<div style="overflow-x: auto">'


def small_table_html(
    rows: Sequence[Mapping[str, str]], headings: Mapping[str, str], label: str, look: Look, meanings: Mapping[str, str]
) -> str:
    """A table of `rows` by the keys of `headings`; the first column names the row.

    `label` names the table for somebody who cannot see it; `meanings` are shown where a heading of that key is pointed at.
    """
    name, *others = headings
    heads = [f'<th scope="col"{_title(meanings.get(key))}>{html.escape(words)}</th>' for key, words in headings.items()]
    cells = ["".join(f"<td>{html.escape(row[key])}</td>" for key in others) for row in rows]
    lines = [f'<tr><th scope="row">{html.escape(row[name])}</th>{cell}</tr>' for row, cell in zip(rows, cells, strict=True)]
    style, opening = _opened(label, look)
    parts = [
        style,
        _SCROLLS,
        opening,
        '<thead class="wide"><tr>',
        *heads,
        "</tr></thead><tbody>",
        *lines,
    ]
    return "".join([*parts, "</tbody></table></div>"])


def number_table_html(rows: Sequence[Row], columns: Mapping[str, str], label: str, look: Look) -> str:
    """A table in groups: `rows` with keys `group`, `what`, `meaning` and those of `columns` (key to heading).

    Rows of one group follow each other; `label` names the table for somebody who cannot see it.
    """
    headings = "".join(f'<th scope="col">{html.escape(heading)}</th>' for heading in columns.values())
    style, opening = _opened(label, look)
    parts = [style, _SCROLLS, opening, f"<thead><tr><td></td><td></td>{headings}</tr></thead>"]
    for group in dict.fromkeys(str(row["group"]) for row in rows):
        parts.append(f'<tbody><tr><th scope="rowgroup" colspan="{2 + len(columns)}">{html.escape(group)}</th></tr>')
        parts += [_line(row, columns) for row in rows if row["group"] == group]
        parts.append("</tbody>")
    return "".join([*parts, "</table></div>"])


def _opened(label: str, look: Look) -> tuple[str, str]:
    colours = {"ink": look.ink, "faint": look.faint, "quiet": look.quiet}
    return _STYLE % colours, f'<table class="numbers" aria-label="{html.escape(label)}">'


def _title(words: str | None) -> str:
    return "" if words is None else f' title="{html.escape(words)}"'


def _line(row: Row, columns: Mapping[str, str]) -> str:
    cells = "".join(f'<td class="{html.escape(name)}">{html.escape(str(row[name]))}</td>' for name in columns)
    what, meaning = html.escape(str(row["what"])), html.escape(str(row["meaning"]))
    return f'<tr><th scope="row">{what}</th><td class="meaning">{meaning}</td>{cells}</tr>'
