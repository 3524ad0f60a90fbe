"""Numbers as tables of the page's own text, which grows with it and can be read aloud; everything in them is escaped.

Streamlit's own tables import pandas first, and a first screen would wait for that.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from core.attention.tables import Row
from core.figures.base.style import Look

_STYLE = """<style>
.numbers { border-collapse: collapse; width: 100%%; color: %(ink)s; font-size: .95rem; line-height: 1.3; }
.numbers th, .numbers td { padding: .12rem .6rem; border: 0; border-bottom: 1px solid %(faint)s; text-align: right;
  vertical-align: baseline; font-weight: 400; }
.numbers td { font-variant-numeric: tabular-nums; white-space: nowrap; }
.numbers thead th { color: %(quiet)s; font-size: .85rem; white-space: nowrap; }
.numbers thead.wide th { white-space: normal; vertical-align: bottom; }
.numbers thead th:first-child, .numbers thead th.meaning { text-align: left; }
.numbers thead th:first-child { padding-left: 0; }
.numbers th[scope="row"] { text-align: left; padding-left: 0; white-space: nowrap; }
.numbers th[scope="rowgroup"] { text-align: left; padding: .5rem 0 .16rem; font-weight: 700; }
.numbers td.meaning { text-align: left; white-space: normal; color: %(quiet)s; font-size: .85rem; }
.numbers td.value { font-weight: 700; }
/* Beside a picture a name and its numbers may have no room on one line: then they break, and every column is in sight. */
.numbers.small :is(td, th[scope="row"]) { white-space: normal; }
.numbers.small td.interval { white-space: nowrap; }
.numbers.small :is(th, td):last-child { padding-right: 0; }
.numbers.small :is(th, td) { padding-left: .3rem; padding-right: .3rem; }
.numbers.small :is(th, td):first-child { padding-left: 0; }
/* Large letters leave the words no room beside numbers that do not break. */
.numbers.large :is(td.interval, td.control, th[scope="row"]) { white-space: normal; }
.numbers.large td.meaning { min-width: 13em; }
/* A telephone is too narrow for names, meanings and numbers side by side: the numbers of a row stand below its words. */
@media (max-width: 640px) {
.numbers.grouped, .numbers.grouped :is(thead, tbody) { display: block; }
.numbers.grouped tr { display: grid; grid-template-columns: 3fr 5fr 5fr 3fr 4fr; border-bottom: 1px solid %(faint)s; }
.numbers.grouped :is(th, td) { border: 0; padding: .1rem .1rem .1rem 0; font-size: .8rem; }
.numbers.grouped th[scope="row"] { grid-column: 1 / 3; font-size: .95rem; white-space: normal; }
.numbers.grouped td.meaning { grid-column: 3 / 6; }
.numbers.grouped thead th:first-child { grid-column: 1 / 3; }
.numbers.grouped thead th.meaning { grid-column: 3 / 6; }
.numbers.grouped th[scope="rowgroup"] { grid-column: 1 / 6; }
}
</style>"""

# A telephone is narrower than eight columns: then the table scrolls, not the page; by keyboard, too.
_SCROLLS = '<div style="overflow-x: auto" tabindex="0" role="region" aria-label="%s">'


def small_table_html(
    rows: Sequence[Mapping[str, str]], headings: Mapping[str, str], label: str, look: Look, meanings: Mapping[str, str]
) -> str:
    """A table of `rows` by the keys of `headings`; the first column names the row.

    `label` names the table for somebody who cannot see it; `meanings` are shown where a heading of that key is pointed at.
    """
    name, *others = headings
    heads = [f'<th scope="col"{_title(meanings.get(key))}>{html.escape(words)}</th>' for key, words in headings.items()]
    cells = ["".join(f'<td class="{html.escape(key)}">{html.escape(row[key])}</td>' for key in others) for row in rows]
    lines = [f'<tr><th scope="row">{html.escape(row[name])}</th>{cell}</tr>' for row, cell in zip(rows, cells, strict=True)]
    style, opening = _opened(label, look, "numbers small")
    parts = [
        style,
        _SCROLLS % html.escape(label),
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
    headings = "".join(f'<th role="columnheader" scope="col">{html.escape(heading)}</th>' for heading in columns.values())
    style, opening = _opened(label, look, "numbers grouped large" if look.large and not look.narrow else "numbers grouped")
    first = '<th role="columnheader" scope="col">number</th><th role="columnheader" scope="col" class="meaning">what it is</th>'
    # The roles are what the elements are anyway; laid out anew on a telephone, browsers forget it.
    head = f'<thead role="rowgroup"><tr role="row">{first}{headings}</tr></thead>'
    parts = [style, _SCROLLS % html.escape(label), opening, head]
    for group in dict.fromkeys(str(row["group"]) for row in rows):
        title = f'<th role="rowheader" scope="rowgroup" colspan="{2 + len(columns)}">{html.escape(group)}</th>'
        parts.append(f'<tbody role="rowgroup"><tr role="row">{title}</tr>')
        parts += [_line(row, columns) for row in rows if row["group"] == group]
        parts.append("</tbody>")
    return "".join([*parts, "</table></div>"])


def _opened(label: str, look: Look, kind: str) -> tuple[str, str]:
    colours = {"ink": look.ink, "faint": look.faint, "quiet": look.quiet}
    return _STYLE % colours, f'<table class="{kind}" role="table" aria-label="{html.escape(label)}">'


def _title(words: str | None) -> str:
    return "" if words is None else f' title="{html.escape(words)}"'


def _line(row: Row, columns: Mapping[str, str]) -> str:
    cells = "".join(f'<td role="cell" class="{html.escape(name)}">{html.escape(str(row[name]))}</td>' for name in columns)
    what, meaning = html.escape(str(row["what"])), html.escape(str(row["meaning"]))
    return (
        f'<tr role="row"><th role="rowheader" scope="row">{what}</th><td role="cell" class="meaning">{meaning}</td>{cells}</tr>'
    )
