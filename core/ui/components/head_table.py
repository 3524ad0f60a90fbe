"""Tables of heads on screen: the picked head beside chance, and the heads above the threshold."""

from __future__ import annotations

import math

import streamlit as st

from core.attention.head_scores import HeadScores
from core.attention.scores import ALL_SCORES
from core.attention.tables import Row, rows_above
from core.attention.words import interval_words, withheld_reasons
from core.figures.base.number_table import small_table_html
from core.figures.base.style import Look
from core.heads import Head, ranked
from core.numbers import NOTHING, beside, interval, unsigned
from core.settings.view import View
from core.ui.frame.navigation import open_its_card, see_where_it_looks
from core.ui.frame.sentences import verbatim

# A longer table is no longer seen at once: it gets a grid to scroll and sort in.
_ROWS_SEEN_AT_ONCE = 12
_TABLE_HEIGHT = 420


def picked_head_panel(scores: HeadScores, view: View, look: Look) -> None:
    """Every score of the picked head beside its chance level, and the way to its attention pattern."""
    if view.head is None:
        st.markdown("**No head picked.** Click one in the picture, or choose one in the sidebar.")
        st.caption("A ring marks each head above the threshold; a frame marks the picked one.")
        return
    st.markdown(f"### {view.head.name}: layer {view.head.layer}, head {view.head.head}")
    head_numbers(scores, view.head, look)
    see_where_it_looks()
    open_its_card()


def head_numbers(scores: HeadScores, head: Head, look: Look) -> None:
    """Every score of a head with its interval and its chance level; of one that is withheld, why."""
    ends = {name: scores.interval(name) for name in ALL_SCORES if name not in scores.to_come}
    rows = [
        {
            "score": ALL_SCORES[name].title,
            "value": unsigned(scores.mean(name)[head]),
            "interval": interval(low[head], high[head]),
            "chance": unsigned(scores.chance(name)[head.layer]),
        }
        for name, (low, high) in ends.items()
    ]
    headings = {"score": "score", "value": "value", "interval": "95 % interval", "chance": "chance"}
    st.html(small_table_html(rows, headings, f"Scores of {head.name}", look, {}))
    st.caption(verbatim(" ".join([interval_words(scores.n_sequences), *withheld_reasons(scores).values()])))


def heads_above_table(scores: HeadScores, view: View, look: Look) -> None:
    """The heads above the threshold, highest first, contrast beside the score: as tall however many there are."""
    with st.container(height=_TABLE_HEIGHT, border=False, key="lags-above"):
        _heads_above(scores, view, look)


def _heads_above(scores: HeadScores, view: View, look: Look) -> None:
    rows = rows_above(scores, view.score, view.threshold)
    if not rows:
        values = scores.mean(view.score)
        best = beside(values[ranked(values)[0]], view.threshold)
        st.info(f"No head is above {view.threshold:.2f}; the highest score is {best}.", icon=":material/info:")
        return
    left_out = ("layer", "head", "above_threshold")
    shown = [{name: value for name, value in row.items() if name not in left_out} for row in rows]
    titles = {name: ALL_SCORES[name].title for name in shown[0] if name in ALL_SCORES}
    ends = {f"{view.score}_low": "95 % interval, from", f"{view.score}_high": "to"}
    meanings = {name: ALL_SCORES[name].meaning for name in titles}
    if len(rows) <= _ROWS_SEEN_AT_ONCE:
        # A data grid also keeps its small letters on a projector.
        label = f"Heads above {view.threshold:.2f}"
        written = [_written(row, view) for row in shown]
        headings = {name: titles.get(name, "head") for name in written[0]}
        st.html(small_table_html(written, headings, label, look, meanings))
        return
    st.dataframe(
        shown,
        hide_index=True,
        placeholder=NOTHING,
        height=_TABLE_HEIGHT - 20,
        column_config={"name": st.column_config.TextColumn("head")}
        | {
            name: st.column_config.NumberColumn(title, format="%.2f", help=meanings.get(name))
            for name, title in (titles | ends).items()
        },
    )


def _written(row: Row, view: View) -> dict[str, str]:
    """A row with two digits for numbers, or as many as show that the chosen score is above the threshold.

    The chosen score has its interval with it.
    """
    low, high = (row[f"{view.score}_{end}"] for end in ("low", "high"))
    others = {name: value for name, value in row.items() if not name.endswith(("_low", "_high"))}
    written = {name: value if isinstance(value, str) else unsigned(value) for name, value in others.items()}
    between = "" if math.isnan(low) else f" ({interval(low, high)})"
    return written | {view.score: beside(row[view.score], view.threshold) + between}
