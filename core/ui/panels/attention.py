"""The parts of the attention page: one head's numbers, its pattern, every head's, and the loss of each token."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
import streamlit as st
from jaxtyping import Float

from core.attention.cached import head_pattern, row_patterns
from core.attention.head_scores import HeadScores
from core.attention.patterns import RowPatterns, grid_limit
from core.attention.rows import TokenRow
from core.attention.scores import ALL_SCORES
from core.figures.attention.pattern import attention_figure, attention_table
from core.figures.attention.token_loss import token_loss_html, token_loss_table
from core.figures.base.memo import drawn
from core.heads import Head
from core.settings.provenance import measured_on
from core.settings.view import RowKind
from core.sharing.commands import attention_command
from core.sharing.csv import csv_text
from core.sharing.facts import attention_facts
from core.ui.components.circuitsvis_frame import MAX_TOKENS, circuitsvis_pattern
from core.ui.components.figure_panel import Source, figure_panel
from core.ui.components.head_grid import head_grid
from core.ui.components.readable_table import readable_table
from core.ui.components.row_picker import KINDS
from core.ui.frame.page import Page
from core.ui.frame.sentences import verbatim
from core.ui.frame.state import pick_head
from core.ui.frame.waiting import await_result, job_key


@dataclass(frozen=True)
class Looked:
    """What the page looks at: one head's exact pattern on one row, the texts of its tokens, and whence the numbers.

    window: how many tokens its layer sees, 0 for all.
    """

    head: Head
    row: TokenRow
    pattern: Float[np.ndarray, "tokens tokens"]
    tokens: list[str]
    kind: RowKind
    source: Source
    window: int

    @property
    def name(self) -> str:
        """The head's name."""
        return self.head.name


def patterns_of(page: Page, row: TokenRow) -> RowPatterns:
    """Every head's pattern: cached ones at once, otherwise waits on screen, and this run of the page ends here."""
    key = job_key(page.subject, "patterns", *row.ids)
    found = await_result(key, partial(row_patterns, page.subject, row), "Reading the attention of every head")
    if found is None:
        st.stop()
    return found


def pattern_of(page: Page, row: TokenRow, patterns: RowPatterns, head: Head) -> Float[np.ndarray, "tokens tokens"]:
    """One head's pattern: one that is there at once, otherwise waits on screen, and this run of the page ends here."""
    if patterns.quantised is not None:
        return patterns.head(head)
    key = job_key(page.subject, "pattern", head.name, *row.ids)
    work = partial(head_pattern, page.subject, row, head)
    found = await_result(key, work, f"Reading the attention of {head.name}")
    if found is None:
        st.stop()
    return found


def look_at(
    page: Page, row: TokenRow, patterns: RowPatterns, pattern: Float[np.ndarray, "tokens tokens"], head: Head
) -> Looked:
    """Everything that the panels show, and the file that holds every number of it."""
    choice = page.view.row
    measured = f"the typed text, {row.n_tokens} tokens"
    if choice.kind != "text":
        measured = f"sequence {choice.sequence} ({KINDS[choice.kind]}) of: {measured_on(page.subject)}"
    facts = partial(attention_facts, page.subject, head, choice, row, pattern, patterns)
    source = Source(measured, attention_command(page.view, head, choice), facts, f"{page.stem}-attention")
    tokens = [page.subject.identity.token_text(i) for i in row.ids]
    return Looked(head, row, pattern, tokens, choice.kind, source, patterns.window(head))


def stripe_sentence(looked: Looked) -> str:
    """What the orange cells are on this row, and how much of the head's attention is there."""
    value, chance = looked.row.mean_on_cells(looked.pattern), looked.row.chance_on_cells(looked.window)
    if value is None:
        return "No token of this text comes back after another one, so there is no cell where an induction head would look."
    meaning = {
        "repeated": "Orange: the token after the earlier copy of the current one, where an induction head looks.",
        "control": "Orange: the same cells as on the repeated sequence. The second half is fresh tokens here, so a head "
        "that still looks there follows positions, not tokens.",
        "text": "Orange: for each token that occurred before, the token after each earlier place, where that lies before it.",
    }[looked.kind]
    queries, keys = looked.row.cells
    if looked.kind == "repeated" and (queries - keys == 1).all():
        meaning += " At this length that is also the token just before, so a head that looks there may follow positions."
    beside = "its layer sees only some of the tokens before" if chance is None else f"chance is {chance:.2f}"
    where = "text" if looked.kind == "text" else "sequence"
    return f"On this {where} {looked.name} gives an orange cell {value:.2f} on average; {beside}. {meaning}"


def circuitsvis_panel(page: Page, looked: Looked) -> bool:
    """The head's pattern by CircuitsVis, or why it is not shown; whether it is."""
    if looked.row.n_tokens > MAX_TOKENS:
        st.info(
            f"CircuitsVis draws up to {MAX_TOKENS} tokens; this sequence has {looked.row.n_tokens}, which would take it many "
            "seconds and leave no token readable. The heat map below shows the whole pattern.",
            icon=":material/info:",
        )
        return False
    label = f"Attention pattern of {looked.name} on {looked.row.n_tokens} tokens. The table below the heat map has the numbers."
    circuitsvis_pattern(looked.tokens, looked.pattern, looked.row.cells, dark=page.look.dark, label=label)
    st.caption("Hover over a cell, or tap it: where the token of the row (Dest) looks (Src), and how much (Val).")
    return True


def grid_panel(page: Page, patterns: RowPatterns, scores: HeadScores, looked: Looked) -> None:
    """Every head's pattern, to pick one from, or why it is not shown."""
    if patterns.quantised is None:
        st.info(
            f"All heads of {verbatim(page.subject.card.name)} are shown together up to {grid_limit(page.subject.card)} tokens; "
            f"this sequence has {patterns.n_tokens}. Pick a head in the sidebar.",
            icon=":material/info:",
        )
        return
    view = page.view
    head_grid(
        patterns.coarse(),
        scores.mean(view.score),
        scores.exists,
        title=ALL_SCORES[view.score].title,
        picked=looked.head,
        threshold=view.threshold,
        on_pick=pick_head,
        key="grid",
    )
    st.caption(verbatim(f"Measured on {looked.source.measured_on}."))


def heat_map_panel(page: Page, looked: Looked) -> None:
    """The same pattern as a figure that can be saved, with the table behind it and every weight as a file."""
    figure_panel(
        drawn(attention_figure, looked.tokens, looked.pattern, looked.row.cells, page.look),
        key="pattern",
        alt=f"Heat map of the attention of {looked.name}: rows are queries, columns keys. {stripe_sentence(looked)}",
        rows=partial(attention_table, looked.tokens, looked.pattern, looked.row.cells),
        source=looked.source,
        on_pick=None,
    )
    if page.look.narrow:
        st.caption("The stronger the colour, the more attention, from 0 to 1; orange: where an induction head would look.")


def loss_panel(page: Page, patterns: RowPatterns, looked: Looked) -> None:
    """Each token's loss coloured on the text, with the table behind it."""
    uniform = math.log(page.subject.card.d_vocab)
    layout = looked.row.layout
    st.html(token_loss_html(looked.tokens, patterns.token_loss, uniform, page.look, layout))
    st.caption(verbatim(f"Measured on {looked.source.measured_on}."))
    rows = token_loss_table(looked.tokens, patterns.token_loss, layout)
    left, right = st.columns([3, 1], vertical_alignment="top")
    with left.expander("Table behind this picture", icon=":material/table:"):
        readable_table(rows)
    right.download_button(
        "Losses as CSV",
        csv_text(rows),
        f"{looked.source.stem}-losses.csv",
        "text/csv",
        on_click="ignore",
        width="stretch",
        icon=":material/download:",
    )
