"""Which tokens the attention page looks at: a sequence of the probe, its control, or a typed text."""

from __future__ import annotations

import streamlit as st

from core.attention.rows import TokenRow, probe_row, text_row
from core.settings.view import EXAMPLE_TEXT, MAX_TEXT_CHARACTERS, ROW_KINDS, RowKind
from core.ui.frame.page import Page
from core.ui.frame.state import held, held_radio

KINDS: dict[RowKind, str] = {"repeated": "repeated sequence", "control": "its control", "text": "your own text"}


def pick_row(page: Page) -> TokenRow:
    """Draw the controls and return the chosen row.

    Raises BadInput for a text or sequence that cannot be looked at; the controls are on screen by then.
    """
    left, right = (st.container(), st.container()) if page.look.large else st.columns(2, gap="large")
    with left:
        held_radio("Look at", ROW_KINDS, "row", KINDS.__getitem__)
    choice = page.view.row
    if choice.kind == "text":
        right.text_area("Text", held("text"), key="text", max_chars=MAX_TEXT_CHARACTERS, height=80, placeholder=EXAMPLE_TEXT)
        return text_row(page.subject.identity, choice.text or EXAMPLE_TEXT, page.view.request.bos)
    right.number_input(
        "Sequence",
        0,
        page.view.request.sequences - 1,
        held("sequence"),
        step=1,
        key="sequence",
        width=220,
        help="Scores are means over all sequences; a pattern belongs to one of them.",
    )
    return probe_row(page.subject, choice.sequence, control=choice.kind == "control")
