"""Numbers as one aligned table in groups: what each is, in words, then its value, interval, control, chance and place."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from core.figures.style import Look
from core.tables import Row

_STYLE = """<style>
.numbers { border-collapse: collapse; width: 100%%; color: %(ink)s; font-size: .95rem; line-height: 1.35; }
.numbers th, .numbers td { padding: .22rem .6rem; border: 0; border-bottom: 1px solid %(faint)s; text-align: right;
  vertical-align: baseline; font-weight: 400; }
.numbers td { font-variant-numeric: tabular-nums; white-space: nowrap; }
.numbers thead th { color: %(quiet)s; font-size: .85rem; white-space: nowrap; }
.numbers th[scope="row"] { text-align: left; padding-left: 0; white-space: nowrap; }
.numbers th[scope="rowgroup"] { text-align: left; padding: .6rem 0 .22rem; font-weight: 700; }
.numbers td.meaning { text-align: left; white-space: normal; color: %(quiet)s; font-size: .85rem; }
.numbers td.value { font-weight: 700; }
</style>"""


def number_table_html(rows: Sequence[Row], columns: Mapping[str, str], label: str, look: Look) -> str:
    """An HTML table of `rows` with keys `group`, `what`, `meaning` and those of `columns` (key to heading); all escaped.

    Rows of one group follow each other; `label` names the table for somebody who cannot see it.
    """
    colours = {"ink": look.ink, "faint": look.faint, "quiet": "#aab2c3" if look.dark else "#5a6275"}
    headings = "".join(f'<th scope="col">{html.escape(heading)}</th>' for heading in columns.values())
    parts = [_STYLE % colours, f'<table class="numbers" aria-label="{html.escape(label)}">']
    parts.append(f"<thead><tr><td></td><td></td>{headings}</tr></thead>")
    for group in dict.fromkeys(str(row["group"]) for row in rows):
        parts.append(f'<tbody><tr><th scope="rowgroup" colspan="{2 + len(columns)}">{html.escape(group)}</th></tr>')
        parts += [_line(row, columns) for row in rows if row["group"] == group]
        parts.append("</tbody>")
    return "".join([*parts, "</table>"])


def _line(row: Row, columns: Mapping[str, str]) -> str:
    cells = "".join(f'<td class="{html.escape(name)}">{html.escape(str(row[name]))}</td>' for name in columns)
    what, meaning = html.escape(str(row["what"])), html.escape(str(row["meaning"]))
    return f'<tr><th scope="row">{what}</th><td class="meaning">{meaning}</td>{cells}</tr>'
