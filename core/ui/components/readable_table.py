"""A table on screen: headings in words, a dash where there is nothing. Files keep the names that programs read."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import streamlit as st

from core.attention.scores import ALL_SCORES
from core.attention.tables import Row
from core.circuits.circuit import KINDS
from core.numbers import NOTHING
from core.settings.modes import MODES
from core.text.measures import TITLES

_ENDS = {"low": "95 % interval, from", "high": "95 % interval, to"}
_HEADINGS = {
    "second_copy": "second-copy loss (nats)",
    "change": "rise (nats)",
    "change_low": "95 % interval, from",
    "change_high": "95 % interval, to",
    "step": "step (nats)",
    "baseline_mean": "other heads, average (nats)",
    "baseline_low": "other heads, lowest (nats)",
    "baseline_high": "other heads, highest (nats)",
    "names": "which heads",
    "note": "how other heads were found",
    "effect": "effect (nats)",
    "how": "how it is known",
    **_ENDS,
    "path_patch_drop": "drop in prefix matching",
    "rank": "rank of K-composition",
    "clean": "prefix matching, untouched",
    "patched": "prefix matching, patched",
    "random_composition": "composition of random matrices",
    "above_random": "K-composition above random",
    "x_rank": "rank across",
    "y_rank": "rank up",
    "judged_lift": "lift, judged half",
    "judged_low": "95 % interval, from",
    "judged_high": "95 % interval, to",
    "lift_low": "95 % interval, all windows, from",
    "lift_high": "95 % interval, all windows, to",
    "random_induction": "induction on random tokens",
    "change in loss": "change in loss (nats)",
}
_HEADINGS |= {f"{kind}_composition": f"{kind.upper()}-composition" for kind in KINDS}
_HEADINGS |= {f"{kind}_above_random": f"{kind.upper()}-composition above random" for kind in KINDS}
_HEADINGS |= {mode: f"second-copy loss, {mode} ablation (nats)" for mode in MODES}
# What a head's name says already.
_IN_ITS_NAME = ("layer", "head")
# Numbers from 0 to 1, and beyond, that the pages write in hundredths.
_SHARES = {"gain_lost"}
_MOST_ROWS, _HEIGHT, LABEL_WIDTH = 10, 380, 150


def readable_table(rows: Sequence[Row]) -> None:
    """`rows` as a table that scrolls where there are many; a column is called by what its name means."""
    said = _IN_ITS_NAME if rows and {"name", *_IN_ITS_NAME} <= rows[0].keys() else ()
    rows = [{name: value for name, value in row.items() if name not in said} for row in rows]
    shown = [{name: _shown(name, value) for name, value in row.items()} for row in rows]
    columns = {name: st.column_config.Column(heading(name, rows)) for name in (rows[0] if rows else ())}
    if "label" in columns:
        # The one column that a table is opened for is never cut.
        columns["label"] = st.column_config.TextColumn(heading("label", rows), width=LABEL_WIDTH)
    for name in columns.keys() & _SHARES:
        columns[name] = st.column_config.NumberColumn(heading(name, rows), format="%.0f %%")
    st.dataframe(
        shown,
        hide_index=True,
        height="content" if len(shown) <= _MOST_ROWS else _HEIGHT,
        column_config=columns,
        placeholder=NOTHING,
    )


def heading(name: str, rows: Sequence[Row]) -> str:
    """What the column `name` of `rows` is called on screen."""
    if name == "name":
        return "head"
    if name in TITLES and "natural_induction" in rows[0]:
        return f"{TITLES[name]}, all windows"
    # `induction` is also what a head's role is called, and then the column names heads.
    if name in ALL_SCORES and not isinstance(rows[0][name], str):
        return ALL_SCORES[name].title
    score, _, end = name.rpartition("_")
    if score in ALL_SCORES and end in _ENDS:
        return f"{ALL_SCORES[score].title}, {_ENDS[end]}"
    return _HEADINGS.get(name, name.replace("_", " "))


def _shown(name: str, value: Any) -> Any:
    if value == "" or (isinstance(value, float) and math.isnan(value)):
        return None
    if not isinstance(value, float):
        return value
    # What rounding leaves of nothing would be a dozen digits wide; the files have them all.
    return round(100 * value if name in _SHARES else value, 6) + 0.0
