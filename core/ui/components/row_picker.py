"""Which tokens the attention page looks at: a sequence of the probe, its control, or a typed text; kept in the address."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from core.attention.rows import MAX_TEXT_CHARACTERS, TokenRow, probe_row, text_row
from core.ui.frame.page import Page
from core.ui.frame.state import went_through_history

KINDS = {"repeated": "repeated sequence", "control": "its control", "text": "your own text"}
# Words that the bundled models know, too.
EXAMPLE = "quick brown fox jump over lake quick brown fox jump over lake"
_CHOICE = "row_choice"


@dataclass(frozen=True)
class RowChoice:
    """What is looked at: the kind of row, which sequence of the probe, and the typed text."""

    kind: str = "repeated"
    sequence: int = 0
    text: str = EXAMPLE


def pick_row(page: Page) -> tuple[TokenRow, RowChoice]:
    """Draw the controls, keep the address with them, and return the chosen row.

    Raises BadInput for a text or sequence that cannot be looked at; the controls are on screen by then.
    """
    _restore(page.view.options.sequences)
    left, right = (st.container(), st.container()) if page.look.large else st.columns(2, gap="large")
    left.radio("Look at", list(KINDS), key="row", format_func=KINDS.__getitem__, horizontal=True)
    if st.session_state["row"] == "text":
        right.text_area("Text", key="text", max_chars=MAX_TEXT_CHARACTERS, height=80)
    else:
        _pick_sequence(right, page.view.options.sequences)
    kept = st.session_state[_CHOICE]
    choice = RowChoice(
        st.session_state["row"], st.session_state.get("sequence", kept.sequence), st.session_state.get("text", kept.text)
    )
    st.session_state[_CHOICE] = choice
    _write_address(choice)
    if choice.kind == "text":
        return text_row(page.identity, choice.text, page.view.options.bos), choice
    return probe_row(page.view.request, choice.sequence, control=choice.kind == "control"), choice


def _pick_sequence(place: st.delta_generator.DeltaGenerator, sequences: int) -> None:
    place.number_input(
        "Sequence",
        0,
        sequences - 1,
        step=1,
        key="sequence",
        width=220,
        help="Scores are means over all sequences; a pattern belongs to one of them.",
    )


def _restore(sequences: int) -> None:
    """Fill the controls: from the address at a session's start and after back or forward, else from the session."""
    fresh = _CHOICE not in st.session_state or went_through_history()
    choice = choice_from(st.query_params.to_dict()) if fresh else st.session_state[_CHOICE]
    st.session_state[_CHOICE] = choice
    # Streamlit forgets the controls of a page that is left, and those that were not drawn in the last run.
    for name, value in (("row", choice.kind), ("sequence", choice.sequence), ("text", choice.text)):
        if fresh or name not in st.session_state:
            st.session_state[name] = value
    st.session_state["sequence"] = min(st.session_state["sequence"], sequences - 1)


def choice_from(params: dict[str, str]) -> RowChoice:
    """What an address asks to look at; what cannot be used is left at its default."""
    kind, sequence = params.get("row", ""), params.get("sequence", "")
    return RowChoice(
        kind if kind in KINDS else RowChoice.kind,
        int(sequence) if sequence.isascii() and sequence.isdecimal() and len(sequence) < 6 else RowChoice.sequence,
        params.get("text", RowChoice.text)[:MAX_TEXT_CHARACTERS],
    )


def params_of_choice(choice: RowChoice) -> dict[str, str]:
    """The address's parameters for `choice`; what is at its default, or not looked at, is left out."""
    if choice.kind == "text":
        return {"row": "text"} | ({"text": choice.text} if choice.text != EXAMPLE else {})
    row = {"row": choice.kind} if choice.kind != RowChoice.kind else {}
    return row | ({"sequence": str(choice.sequence)} if choice.sequence else {})


def _write_address(choice: RowChoice) -> None:
    wanted = params_of_choice(choice)
    present = st.query_params.to_dict()
    for name in ("row", "sequence", "text"):
        if name in present and name not in wanted:
            del st.query_params[name]
    changed = {name: value for name, value in wanted.items() if present.get(name) != value}
    if changed:
        st.query_params.update(changed)
