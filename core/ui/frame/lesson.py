"""A window's part in a lesson: the open task on every page, what the teacher shows, a fresh beginning.

What the teacher shows comes as a line with a button, not as a jump: a person may be in the middle of a word, and nothing of
theirs is taken away. Windows ask for it every few seconds, and only where there may be a lesson: in the tour, too, for the
teacher may come last.
"""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from core.runtime.teacher_key import given_key
from core.settings.tour_progress import TourProgress
from core.settings.view import View
from core.tour.room import Shown, Visit, the_room
from core.tour.steps import STEPS
from core.ui.frame.navigation import HOME, TEACHER, TOUR
from core.ui.frame.presence import viewer
from core.ui.frame.sentences import verbatim
from core.ui.frame.state import change_view, link_to, note_poll, set_control, show_view

_BEGINNING = "lesson_beginning"
_ANSWERED = "answered_shown"
_POLL_SECONDS = 3.0


def begin_anew_if_asked() -> None:
    """Forget this window's progress where the teacher has begun the lesson anew. Call it before the controls are read."""
    now, state = the_room().beginning, st.session_state
    # A window that has just come keeps what its link says.
    if state.setdefault(_BEGINNING, now) != now:
        state[_BEGINNING] = now
        change_view(lambda view: replace(view, tour=TourProgress()))


def set_progress(progress: TourProgress) -> None:
    """Set how far this window is in the tour. For callbacks, as `set_control`."""
    set_control("step", progress.step)
    set_done(progress)


def set_done(progress: TourProgress) -> None:
    """Set which steps are done; the open one stays, whose control may be drawn already."""
    set_control("done", ",".join(map(str, progress.done)))


def take_part(title: str, view: View) -> None:
    """Tell the room where this window is, and show what the teacher shows and the open task, above the page itself."""
    room = the_room()
    if title == TEACHER.label:
        room.leave(viewer())
        return
    room.note(viewer(), Visit(title, view.tour))
    if room.open or given_key() or view.tour.under_way:
        # In a place of its own: a poll that overtakes the page takes the fragment's unsent parts out of it.
        with st.container():
            _what_the_teacher_shows(title, view)
    if _is_done_on(title, view.tour):
        _open_task(view.tour)


def answer_at_the_end(title: str, view: View) -> None:
    """Below a page on which an open task is done, the way to its answer again: what answers it may be far from the top."""
    progress = view.tour
    if _is_done_on(title, progress) and progress.step not in progress.done:
        TOUR.link(f"Answer task {progress.step}")


def not_for_me(shown: Shown) -> None:
    """This window has seen what the teacher shows, and is not told again."""
    st.session_state[_ANSWERED] = shown.number


def _what_the_teacher_shows(title: str, view: View) -> None:
    """The line with its way there, drawn by the page itself: what polls only asks whether there is something new."""
    shown = _new_to_me()
    if shown is not None and title == shown.label and view == replace(shown.view, tour=view.tour):
        not_for_me(shown)
        shown = None
    # In a place of its own: a poll that overtakes the page takes the fragment's unsent parts out of it.
    with st.container():
        # What this run has seen at its start: it may have been begun anew since.
        _ask_again(None if shown is None else shown.number, st.session_state[_BEGINNING])
    if shown is None:
        return
    there = replace(shown.view, tour=replace(view.tour, step=shown.view.tour.step or view.tour.step))
    with st.container(border=True, gap="xsmall", key="teacher-shows"):
        st.markdown(f":material/co_present: **The teacher shows {verbatim(shown.label)}.** Your place in the tour is kept.")
        with st.container(horizontal=True, vertical_alignment="center"):
            if title == shown.label:
                st.button("Go there", icon=":material/arrow_forward:", on_click=show_view, args=(there,))
            else:
                link_to(shown.path, "Go there", ":material/arrow_forward:", there)
            st.button("Stay here", type="tertiary", on_click=not_for_me, args=(shown,))


@st.fragment(run_every=_POLL_SECONDS)
def _ask_again(number: int | None, beginning: int) -> None:
    """The page runs again where something else is shown than it has told, or the lesson was begun anew."""
    shown = _new_to_me()
    if (None if shown is None else shown.number, the_room().beginning) != (number, beginning):
        note_poll()
        st.rerun()


def _new_to_me() -> Shown | None:
    """What the teacher shows, unless this window has answered it."""
    shown = the_room().shown
    return None if shown is None or st.session_state.get(_ANSWERED, 0) >= shown.number else shown


def _is_done_on(title: str, progress: TourProgress) -> bool:
    """Whether a page is one on which tasks are done, and one is open."""
    return progress.step > 0 and title not in (TOUR.label, TEACHER.label, HOME.label)


def _open_task(progress: TourProgress) -> None:
    step = STEPS[progress.step - 1]
    done = progress.step in progress.done
    with st.container(border=True, gap="xsmall", key="open-task"):
        mark = ":material/check_circle: " if done else ""
        st.markdown(f"{mark}**Task {progress.step} of {len(STEPS)}.** {step.task}")
        with st.container(horizontal=True, vertical_alignment="center"):
            TOUR.link("Back to the tour" if done else "Answer it")
            st.button("Leave the tour", type="tertiary", on_click=set_progress, args=(replace(progress, step=0),))
