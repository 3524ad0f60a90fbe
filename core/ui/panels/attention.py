"""The parts of the attention page: one head's numbers, its pattern, every head's, and the loss of each token."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import numpy as np
import streamlit as st
from jaxtyping import Float

from core.attention.cached import ScoreRequest
from core.attention.patterns import (
    RowPatterns,
    grid_limit,
    head_pattern,
    head_pattern_key,
    row_patterns,
    row_patterns_key,
    stored_head_pattern,
    stored_row_patterns,
)
from core.attention.rows import TokenRow
from core.attention.scores import ALL_SCORES, HeadScores, head_name, heads_above
from core.attention.tables import csv_text
from core.figures.attention.pattern import attention_figure, attention_table
from core.figures.attention.token_loss import token_loss_html, token_loss_table
from core.settings.view import measured_on, score_command
from core.ui.components.circuitsvis_frame import MAX_TOKENS, circuitsvis_pattern
from core.ui.components.figure_panel import Source, figure_panel
from core.ui.components.head_grid import head_grid
from core.ui.components.row_picker import KINDS, RowChoice
from core.ui.frame.page import Page
from core.ui.frame.sentences import plain
from core.ui.frame.state import pick_head
from core.ui.frame.waiting import result_of


@dataclass(frozen=True)
class Looked:
    """What the page looks at: one head's exact pattern on one row, the texts of its tokens, and whence the numbers."""

    head: tuple[int, int]
    row: TokenRow
    pattern: Float[np.ndarray, "tokens tokens"]
    tokens: list[str]
    kind: str
    source: Source

    @property
    def name(self) -> str:
        """The head's name."""
        return head_name(*self.head)


def patterns_of(request: ScoreRequest, row: TokenRow) -> RowPatterns:
    """Every head's pattern: a stored one at once, otherwise waits on screen, and this run of the page ends here."""
    stored = stored_row_patterns(request, row)
    if stored is not None:
        return stored
    key = f"patterns {row_patterns_key(request, row)}"
    return result_of(key, lambda progress: row_patterns(request, row, progress), "Reading the attention of every head")


def pattern_of(
    request: ScoreRequest, row: TokenRow, patterns: RowPatterns, head: tuple[int, int]
) -> Float[np.ndarray, "tokens tokens"]:
    """One head's pattern: one at hand at once, otherwise waits on screen, and this run of the page ends here."""
    if patterns.quantised is not None:
        return patterns.head(*head)
    stored = stored_head_pattern(request, row, *head)
    if stored is not None:
        return stored
    key = f"pattern {head_pattern_key(request, row, *head)}"
    return result_of(
        key, lambda progress: head_pattern(request, row, *head, progress), f"Reading the attention of {head_name(*head)}"
    )


def look_at(
    page: Page,
    scores: HeadScores,
    row: TokenRow,
    choice: RowChoice,
    patterns: RowPatterns,
    pattern: Float[np.ndarray, "tokens tokens"],
    head: tuple[int, int],
) -> Looked:
    """Everything that the panels show, and the file that holds every number of it."""
    view, card = page.view, page.identity.card
    measured = f"the typed text, {row.n_tokens} tokens"
    if choice.kind != "text":
        probe = measured_on(view.request.probe(page.identity), page.identity)
        measured = f"sequence {choice.sequence} ({KINDS[choice.kind]}) of: {probe}"
    numbers = {
        "model": card.name,
        "measured_on": measured,
        "head": head_name(*head),
        "scores": {name: float(scores.mean(name)[head]) for name in scores.names},
        "ids": row.ids,
        "pattern": pattern.astype(np.float64).round(5).tolist(),
        "token_loss": [None, *patterns.token_loss[1:].astype(np.float64).round(5).tolist()],
    }
    source = Source(measured, score_command(view), json.dumps(numbers), f"headscope-{card.name.replace('/', '--')}")
    tokens = [page.identity.token_text(i) for i in row.ids]
    return Looked(head, row, pattern, tokens, choice.kind, source)


def head_numbers(scores: HeadScores, head: tuple[int, int]) -> None:
    """Every score of the head with its chance level beside it."""
    rows = [
        {
            "score": ALL_SCORES[name].title,
            "value": float(scores.mean(name)[head]),
            "chance": ALL_SCORES[name].chance(scores.layout),
        }
        for name in scores.names
    ]
    numbers = {name: st.column_config.NumberColumn(format="%.2f") for name in ("value", "chance")}
    st.dataframe(rows, hide_index=True, height="content", column_config=numbers)


def stripe_sentence(looked: Looked) -> str:
    """What the orange cells are on this row, and how much of the head's attention is there."""
    value, chance = looked.row.mean_on_cells(looked.pattern), looked.row.chance_on_cells()
    if value is None or chance is None:
        return "No token of this text comes back, so there is no cell where an induction head would look."
    meaning = {
        "repeated": "Orange: the token after the earlier copy of the current one, where an induction head looks.",
        "control": "Orange: the same cells as on the repeated sequence. The second half is fresh tokens here, so a head "
        "that still looks there follows positions, not tokens.",
        "text": "Orange: for each token that occurred before, the tokens that came after it then.",
    }[looked.kind]
    return f"{meaning} On this row {looked.name} gives an orange cell {value:.2f} on average; chance is {chance:.2f}."


def circuitsvis_panel(page: Page, looked: Looked) -> bool:
    """The head's pattern by CircuitsVis, or why it is not shown; whether it is."""
    if looked.row.n_tokens > MAX_TOKENS:
        st.info(
            f"CircuitsVis draws up to {MAX_TOKENS} tokens; this row has {looked.row.n_tokens}, which would take it many "
            "seconds and leave no token readable. The heat map below shows the whole pattern.",
            icon=":material/info:",
        )
        return False
    label = f"Attention pattern of {looked.name} on {looked.row.n_tokens} tokens. The table below the heat map has the numbers."
    circuitsvis_pattern(looked.tokens, looked.pattern, looked.row.cells, dark=page.look.dark, label=label)
    st.caption("Hover over a cell: where the token of the row (Dest) looks (Src), and how much (Val).")
    return True


def grid_panel(page: Page, patterns: RowPatterns, scores: HeadScores, looked: Looked) -> None:
    """Every head's pattern, to pick one from, or why it is not shown."""
    if patterns.quantised is None:
        st.info(
            f"All heads of {plain(page.identity.card.name)} are shown together up to {grid_limit(page.identity.card)} tokens; "
            f"this row has {patterns.n_tokens}. Pick a head in the sidebar.",
            icon=":material/info:",
        )
        return
    view = page.view
    values = scores.mean(view.score)
    head_grid(
        patterns.coarse(),
        values,
        title=ALL_SCORES[view.score].title,
        picked=looked.head,
        ringed=heads_above(values, view.threshold),
        on_pick=lambda layer, head: pick_head((layer, head)),
        key="grid",
    )


def heat_map_panel(page: Page, looked: Looked) -> None:
    """The same pattern as a figure that can be saved, with the table behind it and every weight as a file."""
    figure_panel(
        attention_figure(looked.tokens, looked.pattern, looked.row.cells, page.look),
        key="pattern",
        alt=f"Heat map of the attention of {looked.name}: rows are queries, columns keys. {stripe_sentence(looked)}",
        rows=attention_table(looked.tokens, looked.pattern, looked.row.cells),
        source=looked.source,
        on_pick=None,
    )


def loss_panel(page: Page, patterns: RowPatterns, looked: Looked) -> None:
    """Each token's loss coloured on the text, with the table behind it."""
    uniform = math.log(page.identity.card.d_vocab)
    layout = looked.row.layout
    st.html(token_loss_html(looked.tokens, patterns.token_loss, uniform, page.look, layout))
    rows = token_loss_table(looked.tokens, patterns.token_loss, layout)
    left, right = st.columns([3, 1], vertical_alignment="top")
    with left.expander("Table behind this picture", icon=":material/table:"):
        st.dataframe(rows, hide_index=True, height=380)
    right.download_button(
        "Losses as CSV",
        csv_text(rows),
        f"{looked.source.stem}-losses.csv",
        "text/csv",
        on_click="ignore",
        width="stretch",
        icon=":material/download:",
    )
