"""The words of the field on screen: those of a page below it, all of them on Home and in the tour; folded."""

from __future__ import annotations

import streamlit as st

from core.glossary import MET_ON, TERMS, Term
from core.ui.frame.sentences import verbatim


def words_of_page(title: str) -> None:
    """What the words that are first met on this page mean."""
    if title in MET_ON:
        _folded("Words on this page", [TERMS[word] for word in MET_ON[title]])


def glossary() -> None:
    """Every word, and the paper that it is from."""
    _folded("Words: what they mean, and the papers they are from", sorted(TERMS.values(), key=lambda term: term.word.lower()))


def _folded(label: str, terms: list[Term]) -> None:
    with st.expander(label, icon=":material/dictionary:", key="words"):
        for term in terms:
            # An address as text: nothing here leads out of the machine.
            paper = "" if term.paper is None else f" *({verbatim(f'{term.paper.authors}, {term.paper.address}')})*"
            st.markdown(f"**{verbatim(term.word)}**: {verbatim(term.meaning)}{paper}")
