"""The list of pages: the one place that names them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NoReturn

import streamlit as st

from core.settings.view import View
from core.sharing.address import params_of
from core.ui.frame.state import link_to


@dataclass(frozen=True)
class PageLink:
    """A page: its script, what it is called, its icon, and the question it answers."""

    path: str
    label: str
    icon: str
    question: str

    @property
    def in_address(self) -> str:
        """Its name in an address: what stands after the number of its script; nothing for the first page."""
        return "" if self.path == "app.py" else self.path.partition("_")[2].removesuffix(".py")

    def link(self, label: str | None = None, view: View | None = None) -> None:
        """A link to it that shows the same view, or `view`; under its own name, or `label`."""
        link_to(self.path, label or self.label, self.icon, view)


HOME = PageLink("app.py", "Home", ":material/home:", "what is induction, and does this model do it?")
HEADS = PageLink("pages/1_Heads.py", "Heads", ":material/grid_on:", "which heads do it?")
ATTENTION = PageLink("pages/2_Attention.py", "Attention", ":material/visibility:", "where does a head look?")
ABLATION = PageLink("pages/3_Ablation.py", "Ablation", ":material/content_cut:", "does it matter?")
CAUSAL_MAP = PageLink("pages/4_Causal_map.py", "Causal map", ":material/bolt:", "which heads matter?")
SWEEP = PageLink("pages/5_Sweep.py", "Sweep", ":material/show_chart:", "what does a threshold buy?")
VERDICTS = PageLink("pages/6_Verdicts.py", "Verdicts", ":material/gavel:", "which heads are induction heads?")
CIRCUITS = PageLink("pages/7_Circuits.py", "Circuits", ":material/account_tree:", "which heads work together?")
REPORT = PageLink("pages/8_Report.py", "Report", ":material/article:", "what did the first report find, and what holds?")
SENSITIVITY = PageLink("pages/9_Sensitivity.py", "Sensitivity", ":material/tune:", "how far does a score move?")
HEAD_CARD = PageLink("pages/10_Head_card.py", "Head card", ":material/badge:", "what is this one head?")
TEXT = PageLink("pages/11_Text.py", "Text", ":material/menu_book:", "is it the same head on real text?")
COMPARE = PageLink("pages/12_Compare.py", "Compare", ":material/scatter_plot:", "do two numbers say the same of heads?")
TOUR = PageLink("pages/13_Tour.py", "Tour", ":material/school:", "what can I find out myself, in fifty minutes?")
# No link in the sidebar: it is for one person in a room.
TEACHER = PageLink("pages/14_Teacher.py", "Teacher", ":material/co_present:", "who is here, and how far?")
GROUPS = (
    ("Learn", (TOUR,)),
    ("Look", (HEADS, ATTENTION)),
    ("Remove", (ABLATION, CAUSAL_MAP, SWEEP)),
    ("Conclude", (VERDICTS, HEAD_CARD, CIRCUITS)),
    ("Wider", (TEXT, COMPARE, SENSITIVITY)),
    ("The report", (REPORT,)),
)
PAGES = tuple(page for _, pages in GROUPS for page in pages)


def navigation() -> None:
    """The pages in the sidebar, by what one does there."""
    HOME.link()
    for group, pages in GROUPS:
        with st.container(gap=None):
            st.caption(group)
            for page in pages:
                page.link()


def questions() -> None:
    """Every page by the question it answers."""
    for page in PAGES:
        page.link(f"{page.label}: {page.question}")


def page_named(label: str) -> PageLink:
    """The page of that name."""
    return next(page for page in (HOME, *PAGES) if page.label == label)


def start_the_tour(view: View) -> None:
    """From the first page to the tour, at its first step or where it was left."""
    begun = view.tour.step > 0
    label = "Go on with the tour" if begun else "Start the tour: seven tasks, fifty minutes"
    TOUR.link(label, view if begun else replace(view, tour=replace(view.tour, step=1)))


def see_where_it_looks() -> None:
    """From a picked head to its attention."""
    ATTENTION.link("See where it looks")


def see_real_text() -> None:
    """From what heads do on random tokens to what they do on text."""
    TEXT.link("Is it the same head on real text?")


def open_its_card() -> None:
    """From a picked head to its card."""
    HEAD_CARD.link("Open its card")


def go_to_its_card(view: View) -> NoReturn:
    """Leave for the card of the view's head. Ends this run of the page."""
    st.switch_page(HEAD_CARD.path, query_params=params_of(view))
