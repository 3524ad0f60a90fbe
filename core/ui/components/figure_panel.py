"""A figure with everything that belongs to it: alt text, what it was measured on, the table behind it, downloads.

Pictures are drawn and saved in the browser: no picture leaves the machine, and the server needs no browser of its own.
The table and the files are drawn up when they are opened: most are not, and a slider's every move would send them again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import streamlit as st

from core.attention.tables import Row
from core.figures.base.overlay import Overlay
from core.figures.base.pattern_colours import saved_pattern_colours
from core.figures.base.style import saved_colours
from core.sharing.csv import csv_text
from core.sharing.facts import Facts, json_text
from core.ui.components.figure_clicks import OnPick, fresh_chart, tell_click, tell_pick
from core.ui.components.figure_overlay import figure_overlay
from core.ui.components.readable_table import readable_table
from core.ui.frame.sentences import verbatim
from core.ui.frame.state import pick_head
from core.ui.frame.theme import current_look

_FOLDER = Path(__file__).parent
_image_buttons = st.components.v2.component(
    "headscope_figure_image",
    html=(_FOLDER / "figure_image.html").read_text(encoding="utf-8"),
    css=(_FOLDER / "figure_image.css").read_text(encoding="utf-8"),
    js=(_FOLDER / "figure_image.js").read_text(encoding="utf-8"),
)
# Scales are fixed, so there is nothing to zoom: the full screen stays. The camera, which draws what is saved, is hidden:
# pictures are saved with their words and in light colours, by the buttons that set both.
FIGURE_CONFIG = {
    "displayModeBar": True,
    "modeBarButtonsToRemove": ["zoom", "pan", "select", "lasso", "zoomIn", "zoomOut", "autoScale", "resetScale"],
}


Rows = list[Row] | Callable[[], list[Row]]


@dataclass(frozen=True)
class Source:
    """What stands behind the figures of a page: how the numbers came about, the command that prints the same, all of them.

    facts: makes the object that is downloaded, when somebody asks for it. stem: how names of downloaded files begin.
    """

    measured_on: str
    command: str
    facts: Callable[[], Facts]
    stem: str

    def json_text(self) -> str:
        """Every number as JSON."""
        return json_text(self.facts())


def figure_panel(
    figure: go.Figure,
    *,
    key: str,
    alt: str,
    rows: Rows,
    source: Source,
    overlay: Overlay | None = None,
    on_pick: OnPick | None = pick_head,
    click_again: bool = False,
    compact: bool = False,
) -> None:
    """Show `figure` under `key`, unique on its page, with its description, table and downloads.

    rows: the table behind the picture, or what makes it.
    overlay: what moves while the figure stays, drawn over it.
    compact: for a page of many small figures: everything that belongs to this one is behind one button.
    on_pick: called with the head whose marker was clicked, before the page runs again; None where a click means nothing.
    click_again: whether a second click on the same head means something, too.
    """
    filename = f"{source.stem}-{key}"
    with st.container(key=f"panel-{key}"):
        chart = fresh_chart(key) if click_again else key
        selecting: dict[str, Any] = {}
        if on_pick is not None:
            tell = partial(tell_click, key, chart, on_pick) if click_again else partial(tell_pick, chart, on_pick)
            selecting = {"on_select": tell, "selection_mode": "points"}
        config = {**FIGURE_CONFIG, "toImageButtonOptions": {"format": "png", "filename": filename, "scale": 2}}
        with st.container(gap=None):
            st.plotly_chart(figure, key=chart, theme=None, config=config, alt=alt, **selecting)
            if overlay is not None:
                figure_overlay(f"panel-{key}", overlay)
        measured = verbatim(f"Measured on {source.measured_on}.")
        if compact:
            files = st.popover("Table and files", icon=":material/table:", key=f"{key}-files", on_change="rerun")
            if files.open:
                with files:
                    readable_table(rows_of(rows))
                    st.caption(measured)
                    _downloads(key, filename, alt, rows, source)
            return
        st.caption(measured)
        with st.container(horizontal=True, vertical_alignment="top", key=f"behind-{key}"):
            table = st.expander("Table behind this picture", icon=":material/table:", key=f"{key}-table", on_change="rerun")
            if table.open:
                with table:
                    readable_table(rows_of(rows))
            files = st.popover("Download", icon=":material/download:", key=f"{key}-files", on_change="rerun")
            if files.open:
                with files:
                    _downloads(key, filename, alt, rows, source)


def is_looked_into(key: str) -> bool:
    """Whether the table or the downloads of the panel `key` are open, known before it is drawn."""
    return any(st.session_state.get(f"{key}-{part}") for part in ("table", "files"))


def _downloads(key: str, filename: str, alt: str, rows: Rows, source: Source) -> None:
    said = [alt, f"Measured on {source.measured_on}.", source.command]
    look = current_look()
    colours = {"colours": saved_colours(look), "patterns": saved_pattern_colours(look.dark)}
    _image_buttons(data={"panel": f"panel-{key}", "filename": filename, "said": said, **colours}, key=f"{key}-image")
    st.download_button(
        "Table as CSV",
        lambda: csv_text(rows_of(rows)),
        f"{filename}.csv",
        "text/csv",
        key=f"{key}-csv",
        on_click="ignore",
        width="stretch",
    )
    st.download_button(
        "All numbers as JSON",
        source.json_text,
        f"{source.stem}.json",
        "application/json",
        key=f"{key}-json",
        on_click="ignore",
        width="stretch",
    )
    st.caption("The same numbers without a browser:")
    st.code(source.command, language=None, wrap_lines=True)


def rows_of(rows: Rows) -> list[Row]:
    """The rows, made now if they are not made yet."""
    return rows() if callable(rows) else rows
