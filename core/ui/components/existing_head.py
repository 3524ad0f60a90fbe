"""A picked head that its layer turns out not to have, once scores say which there are."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from core.attention.head_scores import HeadScores
from core.heads import missing_head
from core.ui.frame.page import Page
from core.ui.frame.sentences import verbatim


def with_an_existing_head(page: Page, scores: HeadScores) -> Page:
    """`page`, without its picked head where there is no such head, which is said; the next run takes it out of the controls."""
    head = page.view.head
    if head is None or scores.exists[head]:
        return page
    st.warning(verbatim(f"{missing_head(head, page.name)} No head is picked."), icon=":material/edit:")
    return replace(page, view=replace(page.view, head=None))
