"""Second pictures and long tables: behind their title until somebody opens it, and drawn up only then."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

TABLE = ":material/table:"


def is_open(key: str) -> bool:
    """Whether somebody has opened the fold `key` of this page, known before it is drawn."""
    return bool(st.session_state.get(f"fold-{key}"))


def folded(title: str, key: str, show: Callable[[], None], icon: str = ":material/insert_chart:") -> None:
    """A line with `title` that opens and shows what `show` draws; `key` is the fold's own on its page."""
    fold = st.expander(title, key=f"fold-{key}", on_change="rerun", icon=icon)
    if fold.open:
        with fold:
            show()
