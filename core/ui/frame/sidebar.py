"""The sidebar that every page has: where to go, whose scores on what, which score, the threshold, the picked head."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import streamlit as st
from jaxtyping import Bool
from streamlit.delta_generator import DeltaGenerator

from core.attention.cached import existing_heads
from core.attention.scores import ALL_SCORES
from core.attention.words import sizes_words
from core.errors import HeadScopeError
from core.figures.base.style import Look
from core.heads import every_head, names
from core.probes.probe import MAX_LENGTH, MAX_SEQUENCES
from core.probes.vocabulary import BOS_POLICIES
from core.runtime.cache import if_cached
from core.settings.subject import Subject, bind
from core.settings.view import THRESHOLD_SLIDER, View
from core.sharing.address import MAX_SEED
from core.transformer.card import ModelIdentity
from core.ui.frame.conformance import conformance_badge, known_check
from core.ui.frame.model_picker import pick_model
from core.ui.frame.navigation import navigation
from core.ui.frame.sentences import verbatim
from core.ui.frame.state import current_view, fitted_view, held, held_place, without_a_missing_head, write_address
from core.ui.frame.theme import LARGE_TEXT, current_look

Exists = Bool[np.ndarray, "n_layers n_heads"]
_BOS_LABELS = {"auto": "as its tokenizer does", "always": "always", "never": "never"}


@dataclass(frozen=True)
class Page:
    """What a page's body is given: the view, what it is about, how figures look, and where a check is still to be told.

    refusal: why no number is shown, where a check that is known says so.
    """

    view: View
    subject: Subject
    look: Look
    badge: DeltaGenerator | None = None
    refusal: str = ""

    @property
    def name(self) -> str:
        """The model's name."""
        return self.subject.card.name

    @property
    def stem(self) -> str:
        """How names of downloaded files begin."""
        return f"headscope-{self.name.replace('/', '--')}"


def draw_sidebar() -> Page | None:
    """Draw the sidebar and make the address agree with it; None where the chosen model's files must be read at length first.

    Raises ModelUnavailable, after drawing everything, if nothing is known of the chosen model.
    """
    view = current_view()
    subject: Subject | None = None
    problem: HeadScopeError | None = None
    try:
        found = if_cached(partial(bind, view.request))
        if found is not None:
            view = fitted_view(view, found.identity)
            subject = replace(found, request=view.request)
            view = without_a_missing_head(view, subject)
    except HeadScopeError as error:
        problem = error
    identity = None if subject is None else subject.identity
    with st.sidebar:
        st.markdown("**HeadScope**")
        exists = None if subject is None else _known_heads(subject)
        pick_model(view.request.model, "" if exists is None or exists.all() else sizes_words(exists, "×"))
        if identity is not None and identity.card.name != view.request.model:
            # An address may be written by hand: capitals, an alias.
            st.caption(verbatim(f"“{view.request.model}” is taken to mean {identity.card.name}."))
        _threshold_controls(view, identity, exists)
        _probe_controls(identity)
        checked = None if subject is None else known_check(subject)
        badge = None if subject is None else conformance_badge(checked)
        st.toggle(
            "Large text",
            bool(st.session_state.get(LARGE_TEXT, False)),
            key=LARGE_TEXT,
            persist_state="session",
            help="For a projector: larger text everywhere.",
        )
        navigation()
    write_address(view)
    if problem is not None:
        raise problem
    refusal = "" if checked is None else checked.refused
    return None if subject is None else Page(view, subject, current_look(), badge, refusal)


def _known_heads(subject: Subject) -> Exists | None:
    """Which heads there are, as far as that is measured; what is wrong with the probe is the page's to say."""
    try:
        return if_cached(partial(existing_heads, subject))
    except HeadScopeError:
        return None


def _threshold_controls(view: View, identity: ModelIdentity | None, exists: Exists | None) -> None:
    st.selectbox(
        "Score",
        list(ALL_SCORES),
        held_place("score", list(ALL_SCORES)),
        key="score",
        format_func=lambda name: ALL_SCORES[name].title,
        help=f"{ALL_SCORES[view.score].title}: {ALL_SCORES[view.score].meaning}.",
    )
    st.slider(
        THRESHOLD_SLIDER,
        0.0,
        1.0,
        held("threshold"),
        step=0.01,
        key="threshold",
        help="Heads whose score is above this line are ringed and counted. Moving it computes nothing again.",
    )
    heads = _head_options(view, identity, exists)
    st.selectbox(
        "Picked head",
        heads,
        held_place("head", heads),
        key="head",
        format_func=lambda name: name or "none",
        help="Click a head in a picture, or choose it here: L5H7 is head 7 of layer 5, both counted from 0.",
    )


def _head_options(view: View, identity: ModelIdentity | None, exists: Exists | None) -> list[str]:
    if identity is None:
        return ["", *([view.head.name] if view.head else [])]
    heads = every_head(identity.card.n_layers, identity.card.n_heads)
    return ["", *names(heads if exists is None else [head for head in heads if exists[head]])]


def _probe_controls(identity: ModelIdentity | None) -> None:
    with st.expander("What it is measured on", expanded=True):
        left, right = st.columns(2)
        left.number_input(
            "Length",
            2,
            MAX_LENGTH,
            held("length"),
            step=1,
            key="length",
            help="Random tokens in a sequence, before it is repeated.",
        )
        right.number_input(
            "Sequences", 1, MAX_SEQUENCES, held("sequences"), step=1, key="sequences", help="How many random sequences."
        )
        left.number_input(
            "Seed", 0, MAX_SEED, held("seed"), step=1, key="seed", help="Another seed draws other random sequences."
        )
        right.text_input(
            "Token ids",
            held("tokens"),
            key="tokens",
            placeholder="all",
            help="The ids that tokens are drawn from, as 1000:10000 (the second is left out). Empty: the whole "
            "vocabulary. Special tokens are never drawn.",
        )
        st.selectbox(
            "Start with a BOS token",
            list(BOS_POLICIES),
            held_place("bos", BOS_POLICIES),
            key="bos",
            format_func=_BOS_LABELS.__getitem__,
            help="BOS is the special token that some models expect at the beginning of every text.",
        )
        if identity is not None:
            st.caption(verbatim(_bos_sentence(identity)))


def _bos_sentence(identity: ModelIdentity) -> str:
    vocabulary = identity.vocabulary
    if vocabulary.bos_token_id is None:
        return f"{identity.card.name} has no BOS token."
    habit = "puts its BOS in front of a text" if vocabulary.prepends_bos else "puts no BOS in front of a text"
    if identity.tokenizer is None:
        return f"{identity.card.name} comes without a tokenizer that can be read (tokenizer.json); by its settings it {habit}."
    return f"The tokenizer of {identity.card.name} {habit} ({identity.token_text(vocabulary.bos_token_id)})."
