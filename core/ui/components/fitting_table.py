"""A table of a few rows that is all in sight, on a telephone too."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from core.attention.tables import Row
from core.figures.base.style import Look


def fitting_table(rows: Sequence[Row], look: Look) -> None:
    """`rows` below each other; on a telephone beside each other, as their many columns would lie beyond its edge.

    The first column names the row, each by another name.
    """
    if look.narrow and rows:
        name, *others = rows[0]
        rows = [{name: other} | {str(row[name]): row[other] for row in rows} for other in others]
    st.table(rows, border="horizontal", hide_index=True)
