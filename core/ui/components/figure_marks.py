"""Draws a figure's marks over it, in the browser: what moves with the threshold is sent without the figure.

Two components: one draws, and is sent once; the other says what, in a few hundred bytes.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from core.figures.base.marks import Marks

_FOLDER = Path(__file__).parent
_layer = st.components.v2.component(
    "headscope_figure_marks_layer", js=(_FOLDER / "figure_marks_layer.js").read_text(encoding="utf-8")
)
_marks = st.components.v2.component("headscope_figure_marks", js=(_FOLDER / "figure_marks.js").read_text(encoding="utf-8"))


def figure_marks(panel: str, marks: Marks) -> None:
    """Draw `marks` over the figure in the container whose key is `panel`; call it inside that container."""
    _layer(data={"panel": panel}, key=f"{panel}-marks-layer", height=1)
    # A tuple: in a list Streamlit looks for a data frame, and imports pandas for that before the first picture is there.
    _marks(data={"panel": panel, "said": marks.said, "marks": marks.marks}, key=f"{panel}-marks", height=1)
