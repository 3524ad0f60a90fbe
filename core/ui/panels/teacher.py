"""The parts of the teacher's page: what to give out, who is here, what is computed, sheets, a fresh beginning."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from functools import partial
from urllib.parse import urlencode

import streamlit as st

from core.figures.base.number_table import small_table_html
from core.models.load import loaded_names, max_models
from core.numbers import counted, share, short_count
from core.runtime.jobs import Job, default_pool
from core.runtime.reachable import address_for_others, is_loopback
from core.settings.cost import most_minutes, spoken
from core.settings.tour_progress import TourProgress
from core.settings.view import View
from core.sharing.address import params_of
from core.tour.room import Visit, the_room
from core.tour.steps import STEPS
from core.transformer.memory import available_bytes, gigabytes, taken_bytes
from core.ui.components.square_code import square_code
from core.ui.frame.lesson import not_for_me
from core.ui.frame.navigation import HOME, PAGES, TEACHER, TOUR, PageLink
from core.ui.frame.page import Page
from core.ui.frame.presence import present
from core.ui.frame.sentences import verbatim
from core.ui.frame.visitors import unlock

_WHICH = "given_page"
_LOOK_SECONDS = 3.0
_MOST_JOBS = 12
# The digest in a job's key is for programs.
_DIGEST = re.compile(r"\s[0-9a-f]{16,}.*")


def locked() -> None:
    """For whoever may not: how it is opened."""
    st.info(
        "This page is for whoever gives the lesson. The server printed an address with a key when it was started: open that "
        "address, or type the key.",
        icon=":material/lock:",
    )
    with st.form("unlock", border=False):
        said = st.text_input("Key", type="password", max_chars=200, width=320)
        if st.form_submit_button("Open"):
            if unlock(said):
                st.rerun()
            st.warning("That is not the key.", icon=":material/lock:")


def give_out(page: Page) -> None:
    """The address of a page at the present view, as a square and as text; the same view shown to everybody."""
    pages = {link.label: link for link in (TOUR, HOME, *(each for each in PAGES if each is not TOUR))}
    left, right = st.columns([2, 3], gap="large")
    with right:
        chosen = pages[st.selectbox("Page", list(pages), key=_WHICH, help="At the settings in the sidebar, the present view.")]
        view = _for_others(chosen, page.view)
        address = _address(chosen, view)
        st.code(address, language=None, wrap_lines=True)
        if is_loopback(address.partition("://")[2].rpartition(":")[0]):
            st.warning(
                "This server listens to this machine alone, so nobody else can open that: start it with `make workshop`.",
                icon=":material/wifi_off:",
            )
        _show_to_all(chosen, view)
    with left:
        square_code(address)


def _show_to_all(chosen: PageLink, view: View) -> None:
    room = the_room()
    shown = room.shown
    with st.container(horizontal=True):
        st.button(
            "Show this to everybody",
            icon=":material/co_present:",
            on_click=_show,
            args=(chosen.path, chosen.label, view),
            help="Every window gets a line with a button that leads there. Nobody is moved while typing.",
        )
        if shown is not None:
            st.button("Take it back", icon=":material/close:", on_click=room.show_nothing)
    if shown is not None:
        st.caption(f":material/co_present: Shown to everybody now: {verbatim(shown.label)}.")


def _show(path: str, label: str, view: View) -> None:
    not_for_me(the_room().show(path, label, view))


@st.fragment(run_every=_LOOK_SECONDS)
def who_is_here(page: Page) -> None:
    """How many windows are open and how far each is; no names, for none are asked."""
    visits = the_room().visits(present)
    finished = sum(visit.progress.finished for visit in visits)
    under_way = sum(visit.progress.under_way for visit in visits)
    st.markdown(f"**{counted(len(visits), 'window')} open: {under_way} under way in the tour, {finished} finished.**")
    if not visits:
        st.caption("Nobody is here yet: give out the address below. Whoever opens it is counted here within seconds.")
        return
    done = Counter(number for visit in visits for number in visit.progress.done)
    at = Counter(visit.progress.step for visit in visits)
    rows = [
        {"step": f"{number}. {step.title}", "done": str(done[number]), "here": str(at[number])}
        for number, step in enumerate(STEPS, start=1)
    ]
    headings = {"step": "step", "done": "windows that have it", "here": "windows at it"}
    st.html(small_table_html(rows, headings, "How far the room is", page.look, {}))
    with st.expander("Window by window", icon=":material/table:", key="windows"):
        rows = [_visit_row(number, visit) for number, visit in enumerate(visits, start=1)]
        headings = {"window": "window", "page": "page", "step": "step", "done": "done"}
        st.html(small_table_html(rows, headings, "Every window", page.look, {}))


@st.fragment(run_every=_LOOK_SECONDS)
def what_is_computed(page: Page) -> None:
    """What is computed and what waits, whose bounds hold, and how much memory is left."""
    jobs = default_pool().unfinished()
    running = [job for job in jobs if job.state == "running"]
    waiting = sorted((job for job in jobs if job.state == "queued"), key=default_pool().place)
    st.markdown(f"**{len(running)} computed now, {len(waiting)} waiting.**")
    if jobs:
        rows = [_job_row(job) for job in (*running, *waiting)][:_MOST_JOBS]
        headings = {"what": "what", "state": "state", "people": "people who want it"}
        st.html(small_table_html(rows, headings, "What is computed and what waits", page.look, {}))
        if len(jobs) > _MOST_JOBS:
            st.caption(f"And {len(jobs) - _MOST_JOBS} more.")
    models = ", ".join(loaded_names()) or "none"
    st.markdown(
        f"**Memory**: this server takes {gigabytes(taken_bytes())}, the machine has {gigabytes(available_bytes())} left. "
        f"Models in memory (at most {max_models()}): {verbatim(models)}."
    )
    st.markdown(
        f"**Bounds**: one person has at most {counted(default_pool().per_person, 'computation')} in line, further ones wait "
        f"for these; none is begun that would take more than {spoken(60 * most_minutes())}, and whoever asks for one is told "
        "so. What several ask for is computed once."
    )


def sheets(address: str) -> None:
    """The tasks and the answers to print."""
    from core.documents.tour_sheet import tour_sheet

    with st.container(horizontal=True):
        for label, answers in (("Sheet with the tasks", False), ("Sheet with the answers", True)):
            st.download_button(
                label,
                partial(tour_sheet, answers=answers, address="" if answers else address),
                f"headscope-tour{'-answers' if answers else ''}.pdf",
                "application/pdf",
                icon=":material/print:",
                on_click="ignore",
            )


def fresh_beginning() -> None:
    """Forget everybody's progress, after a question."""
    with st.popover("Begin the lesson anew", icon=":material/restart_alt:"):
        st.markdown("Every open window forgets how far it is in the tour, and nothing is shown to everybody any more.")
        st.button("Forget everybody's progress", on_click=the_room().begin_anew)
        st.caption("A link that was copied before keeps the progress it was copied with.")


def tour_address() -> str:
    """Where the room finds the tour."""
    return _address(TOUR, _for_others(TOUR, View()))


def _for_others(link: PageLink, view: View) -> View:
    """The view without the teacher's own progress; the tour at its first step unless another is open."""
    step = max(1, view.tour.step) if link is TOUR else 0
    return replace(view, tour=TourProgress(step))


def _address(link: PageLink, view: View) -> str:
    seen = (st.context.url or "").removesuffix(TEACHER.in_address)
    base = address_for_others(st.get_option("server.address"), st.get_option("server.port"), seen)
    said = urlencode(params_of(view))
    return f"{base}/{link.in_address}" + (f"?{said}" if said else "")


def _visit_row(number: int, visit: Visit) -> dict[str, str]:
    progress = visit.progress
    done = ", ".join(map(str, progress.done)) or "none"
    return {"window": str(number), "page": visit.page, "step": str(progress.step or "–"), "done": done}


def _job_row(job: Job[object]) -> dict[str, str]:
    place = default_pool().place(job)
    state = f"{share(job.fraction)} done" if job.state == "running" else f"waits, {short_count(place)} before it"
    return {"what": _DIGEST.sub("", job.key), "state": state, "people": str(len(job.people))}
