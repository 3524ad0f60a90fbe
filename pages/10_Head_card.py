"""Head card: everything about one head on one screen, to cite when somebody asks what it is."""

import streamlit as st

from core.head_card.cached import known_head_card
from core.settings.provenance import measured_on
from core.ui.components.behaviour import behaviour_banner, behaviour_line
from core.ui.components.existing_head import with_an_existing_head
from core.ui.frame.page import Page, run_page
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import scores_of
from core.ui.panels.head_card import (
    card_source,
    choose_in_map,
    edges_panel,
    gathered,
    links,
    movement_panel,
    numbers,
    patterns_panel,
    picker,
    places_for,
    removal_panel,
    sentence,
    title_of,
    tools,
)


def head_card(page: Page) -> None:
    """The page's body."""
    scores = scores_of(page.subject, page.view.score)
    page = with_an_existing_head(page, scores)
    title = st.empty()
    behaviour_banner(page.subject)
    if page.view.head is None:
        title.title(f"A head of {verbatim(page.name)}")
        st.markdown("Which head is the card about? Click one in the map, or choose it by name.")
        picker(page, scores)
        choose_in_map(page, scores)
        return
    places = places_for(page)
    card = gathered(page, known_head_card(page.subject, page.view, scores), places)
    source = card_source(page, card)
    title.title(title_of(page, card))
    with places["sentence"]:
        sentence(card)
    with places["tools"]:
        tools(page, card, source)
    with places["numbers"]:
        numbers(page, card)
    with places["patterns"]:
        patterns_panel(page, card, source)
    with places["costs"]:
        removal_panel(page, card, source)
    with places["edges"]:
        edges_panel(page, card, source)
    with places["movement"]:
        movement_panel(page, card, source)
    links()
    st.caption(f"{behaviour_line(scores)} {verbatim(f'Measured on {measured_on(page.subject)}.')}")


run_page("Head card", head_card)
