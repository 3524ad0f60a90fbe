"""The parts of the tour page: where it begins, the open step with its hints and its answer, what is left."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import streamlit as st

from core.errors import BadInput
from core.settings.cost import expected_seconds
from core.settings.tour_progress import TourProgress
from core.tour.check import MAX_ANSWER, check_answer, found_for, subject_of
from core.tour.step import Found, Step
from core.tour.steps import MINUTES, STEPS
from core.ui.frame.lesson import set_done, set_progress
from core.ui.frame.navigation import REPORT, TEACHER, VERDICTS, page_named
from core.ui.frame.page import Page
from core.ui.frame.sentences import verbatim
from core.ui.frame.state import held_radio
from core.ui.frame.visitors import may_teach
from core.ui.frame.waiting import await_result, job_key

_TRIED = "tour_tried"
_ASKS = {"head": "Your answer: a head, such as L1H0", "number": "Your answer: a number, such as 0.05", "choice": "Your answer"}
# Passes over the probe that the longest of the steps takes, the one on text.
_PASSES = 200.0


def beginning(progress: TourProgress) -> None:
    """What the tour is, and its seven titles; for whoever has not begun."""
    st.markdown(
        f"Seven tasks through the pages, about {MINUTES} minutes. Each has an answer that is checked against what is measured, "
        "and tells what a number is worth: its control, its baseline, its limits. It needs no network and nothing that you "
        "know already; how far you are is in the address, so a copied link is a bookmark."
    )
    with st.container(gap="xsmall"):
        for number, step in enumerate(STEPS, start=1):
            mark = ":material/check_circle:" if number in progress.done else ":material/circle:"
            st.markdown(f"{mark} **{number}. {step.title}** · {step.page}, {step.minutes} minutes")
    st.button(
        "Go on" if progress.done else "Begin",
        icon=":material/play_arrow:",
        on_click=set_progress,
        args=(replace(progress, step=_next_open(progress)),),
    )


def how_far(progress: TourProgress) -> None:
    """How much is done, and the steps to choose from."""
    left = sum(step.minutes for number, step in enumerate(STEPS, start=1) if number not in progress.done)
    which = f" ({', '.join(map(str, progress.done))})" if progress.done else ""
    said = f"{len(progress.done)} of {len(STEPS)} done{which}" + (f", about {left} minutes left" if left else "")
    st.markdown(f"**{said}.**")
    # The same words whatever is done: a choice whose words change loses its mark in the browser.
    held_radio("Step", range(1, len(STEPS) + 1), "step")


def open_step(page: Page) -> None:
    """The task, the page it is done on, hints, and the answer."""
    progress = page.view.tour
    number, step = progress.step, STEPS[progress.step - 1]
    st.subheader(f"{number}. {step.title}", anchor=False)
    st.markdown(step.task)
    where = page_named(step.page)
    where.link(f"**Open {step.page} for this task**", replace(step.view, tour=progress))
    st.caption(verbatim(f"With the model {step.view.request.model}; about {step.minutes} minutes. The task comes along."))
    done = number in progress.done
    if not done:
        for which, hint in zip(("A hint", "Another hint"), step.hints, strict=True):
            with st.expander(which, icon=":material/lightbulb:", key=f"{which}-{number}"):
                st.markdown(hint)
        _answer_form(number, step)
    found = _found(step)
    if found is None:
        return
    if done:
        _learnt(step, found)
        _way_on(progress)
        return
    tried: str | None = st.session_state.get(_TRIED, {}).get(number)
    if tried is not None and _told(step, tried, found):
        set_done(progress.with_done(number))
        st.rerun()


def last_lines(progress: TourProgress) -> None:
    """A fresh beginning, and for whoever may, the teacher's page."""
    if progress.done:
        st.button("Begin again: forget what is done", type="tertiary", icon=":material/restart_alt:", on_click=_forget)
    if may_teach():
        TEACHER.link("The teacher's page")


def _answer_form(number: int, step: Step) -> None:
    key = f"answer-{number}"
    with st.form(f"form-{number}", border=False):
        if step.kind == "choice":
            st.radio(_ASKS[step.kind], list(step.choices), key=key, index=None, format_func=step.choices.__getitem__)
        else:
            st.text_input(_ASKS[step.kind], key=key, max_chars=MAX_ANSWER, width=320)
        st.form_submit_button("Check", on_click=_try, args=(number, key))


def _try(number: int, key: str) -> None:
    st.session_state.setdefault(_TRIED, {})[number] = str(st.session_state.get(key) or "")


def _found(step: Step) -> Found | None:
    """What the answer is held against; measured while the task is being read, where nobody has done so yet."""
    subject = subject_of(step)
    return await_result(
        job_key(subject, "tour", step.title),
        partial(found_for, step),
        "Measuring what answers are checked against",
        background=True,
        seconds=partial(expected_seconds, subject, _PASSES),
    )


def _told(step: Step, tried: str, found: Found) -> bool:
    """Say whether an answer is right; whether it is."""
    try:
        checked = check_answer(step, tried, found)
    except BadInput as error:
        st.warning(verbatim(str(error)), icon=":material/edit:")
        return False
    if not checked.right:
        st.info(verbatim(checked.sentence), icon=":material/replay:")
    return checked.right


def _learnt(step: Step, found: Found) -> None:
    answer = step.choices.get(found.right, found.right)
    st.success(verbatim(f"{answer}. {check_answer(step, found.right, found).sentence}"), icon=":material/check_circle:")
    st.markdown(f"**What this teaches.** {verbatim(found.teaches)}")


def _way_on(progress: TourProgress) -> None:
    if len(progress.done) < len(STEPS):
        following = _next_open(progress)
        st.button(
            f"Next: {following}. {STEPS[following - 1].title}",
            icon=":material/arrow_forward:",
            on_click=set_progress,
            args=(replace(progress, step=following),),
        )
        return
    st.markdown("**That was the tour.** You can check a claim about a head now: yours, or somebody else's.")
    VERDICTS.link("Verdicts on a model of your own")
    REPORT.link("The report that started this")


def _next_open(progress: TourProgress) -> int:
    """The first step after the open one that is not done, from the beginning again where there is none."""
    numbers = [*range(progress.step + 1, len(STEPS) + 1), *range(1, len(STEPS) + 1)]
    return next((number for number in numbers if number not in progress.done), 1)


def _forget() -> None:
    st.session_state.pop(_TRIED, None)
    set_progress(TourProgress())
