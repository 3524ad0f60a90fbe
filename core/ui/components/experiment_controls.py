"""The controls of what is taken away: how, which heads, and what it is compared with."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from core.ablation.words import MODE_MEANINGS
from core.glossary import help_on
from core.heads import Head
from core.settings.experiment import MAX_FLOOR, MAX_PARAGRAPH, SOURCES
from core.settings.modes import MODES, Mode
from core.text.paragraph import PARAGRAPH
from core.ui.frame.page import Page
from core.ui.frame.state import change_experiment, held, held_radio

_SOURCE_LABELS = {"threshold": "above the threshold", "picked": "picked by hand", "both": "both"}
_CURVE_LABELS = {"one": "this mode", "all": "all four modes"}


def mode_control(page: Page, meanings: Mapping[Mode, str] = MODE_MEANINGS) -> None:
    """What stands in for a head that is taken away, and what that means."""
    held_radio("What stands in for a head that is taken away", MODES, "mode", str.capitalize)
    st.caption(meanings[page.view.experiment.mode])


def head_set_controls() -> None:
    """Where the head set comes from, and the names of heads that are picked by hand."""
    held_radio("Which heads", SOURCES, "set", _SOURCE_LABELS.__getitem__)
    st.text_input(
        "Heads picked by hand",
        held("heads"),
        key="heads",
        placeholder="L1H0, L1H2",
        disabled=held("set") == "threshold",
        help="Names between commas; or click heads on the map, which adds a head to the set or takes it out.",
    )


def toggle_head(head: Head, above: tuple[Head, ...]) -> None:
    """Add a clicked head to the set, or take it out. For callbacks."""
    change_experiment(lambda experiment: experiment.toggled(head, above))


def paragraph_control() -> None:
    """The text that specificity is measured on."""
    st.text_area(
        "The text",
        held("paragraph"),
        key="paragraph",
        max_chars=MAX_PARAGRAPH,
        placeholder=PARAGRAPH,
        height=120,
        help="Ordinary text with little repetition. Taking induction heads away should leave it mostly alone. "
        "While nothing is typed, it is the text that is shown here in grey.",
    )


def floor_control() -> None:
    """From how many nats on a head matters."""
    st.number_input(
        "A head matters from (nats)",
        0.0,
        MAX_FLOOR,
        held("floor"),
        step=0.05,
        key="floor",
        help=f"Smaller changes of the loss, up or down, count as nothing. Changing this computes nothing. {help_on('nats')}",
    )


def curves_control() -> None:
    """One mode's curve, or all of them."""
    held_radio("Curves", tuple(_CURVE_LABELS), "curves", _CURVE_LABELS.__getitem__)


def comparison_controls() -> None:
    """The two thresholds that are compared."""
    left, right = st.columns(2)
    for place, label, key in ((left, "First threshold", "first"), (right, "Second threshold", "second")):
        place.number_input(label, 0.0, 1.0, held(key), step=0.05, key=key)
