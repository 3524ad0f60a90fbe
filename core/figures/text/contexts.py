"""What a head looks at, drawn on the text itself: source, destination and strength of its edges; everything escaped."""

from __future__ import annotations

import html
from collections.abc import Sequence

from core.attention.tables import Row
from core.figures.base.pattern_colours import mixed, pattern_colours, readable_on
from core.figures.base.style import Look
from core.figures.base.token_text import visible_token
from core.numbers import signed

_STYLE = """<style>
.contexts { font-family: monospace; font-size: .9em; line-height: 1.7; }
.contexts ol { margin: 0; padding: 0; list-style: none; }
.contexts li { padding: .2rem 0; border-bottom: 1px solid var(--context-line); overflow-wrap: anywhere; }
.contexts b.strength { display: inline-block; min-width: 3.2em; }
.contexts .copied { display: inline-block; min-width: 3.6em; }
.contexts .key, .contexts .query { padding: 1px 4px; border-radius: 3px; border: 2px solid; font-weight: 700; }
.contexts .query { border-style: dashed; }
</style>"""


def contexts_html(rows: Sequence[Row], label: str, look: Look, copied: Sequence[float] = ()) -> str:
    """A line an edge: its strength, then the text around both ends. Filled: where it looks; dashed: from where.

    copied: what the head adds to the logit of the token it looks at, by row; none while that is not known.
    """
    colours = pattern_colours(look.dark)
    shown = [f"{signed(value, 1)}" for value in copied] or [""] * len(rows)
    lines = "".join(_line(row, said, colours.none, colours.stripe) for row, said in zip(rows, shown, strict=True))
    opening = f'<div class="contexts" style="--context-line:{look.faint};color:{look.ink}">'
    return f'{_STYLE}{opening}<ol aria-label="{html.escape(label)}">{lines}</ol></div>'


def _line(row: Row, copied: str, none: str, full: str) -> str:
    shade = mixed(none, full, float(row["strength"]))
    parts = []
    for text, part in row["context"]:
        shown = html.escape(text if part == "gap" else visible_token(text))
        if part == "key":
            shown = (
                f'<span class="key" title="it looks here" style="background:{shade};color:{readable_on(shade)}">{shown}</span>'
            )
        elif part == "query":
            shown = f'<span class="query" title="from here">{shown}</span>'
        parts.append(shown)
    adds = f'<span class="copied" title="logits that it adds to that token">{copied}</span> ' if copied else ""
    return f'<li><b class="strength">{row["strength"]:.2f}</b> {adds}{" ".join(parts)}</li>'
