"""Waiting for shared work: a cached result at once, otherwise a job with progress, time left and a way to cancel.

However many sessions ask for the same thing, it is computed once; cancelling takes back one session's interest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from core.attention.cached import first_scores, known_scores, scores_and_behaviour, scores_having
from core.attention.head_scores import HeadScores
from core.attention.scores import OF_WHOLE_ROWS, SECOND_STEP
from core.numbers import share
from core.runtime.cache import if_cached
from core.runtime.jobs import Job, default_pool
from core.runtime.store import default_store
from core.runtime.workers import workers_for, workers_warning
from core.settings.cost import check_cost, expected_seconds, spoken
from core.settings.subject import Subject
from core.transformer.device import best_device
from core.ui.frame.presence import person, present, viewer
from core.ui.frame.state import note_poll

T = TypeVar("T")
_ASKED = "asked_for"
_CANCELLED = "cancelled"
# What stands before a job's key in the keys of its buttons.
_BUTTONS = ("start", "again", "cancel")
# Work shorter than this shows no progress bar, which would only flicker.
_PATIENCE_SECONDS = 0.6
_POLL_SECONDS = 0.5


def job_key(subject: Subject, kind: str, *parts: object) -> str:
    """The key of a job about a subject: equal parts must mean equal results."""
    return " ".join([kind, subject.digest, *map(str, parts)])


def scores_of(subject: Subject, name: str = "induction") -> HeadScores:
    """As `awaited_scores`, but this run of the page ends here while the scores are not there yet."""
    scores = awaited_scores(subject, name)
    if scores is None:
        st.stop()
    return scores


def awaited_scores(subject: Subject, name: str = "induction") -> HeadScores | None:
    """The scores of every head: cached ones at once; otherwise None, with progress shown in this place.

    All that are there; what only a later step gives is waited for where the score `name` is of it, for a first picture
    of the others does not need it. Raises BadInput or ModelUnavailable with one clear sentence.
    """
    once = "this happens once for these settings"
    known = known_scores(subject, name)
    if known is not None:
        return known
    if name in SECOND_STEP:
        work, seconds = partial(scores_and_behaviour, subject), partial(expected_seconds, subject, 3.5)
        doing = f"Measuring every head in other orders of the tokens, too; {once}"
        return await_result(job_key(subject, "behaviour"), work, doing, seconds=seconds)
    if name in OF_WHOLE_ROWS:
        work, seconds = partial(scores_having, subject, name), partial(expected_seconds, subject, 3.5)
        doing = f"Measuring whole rows of attention, for entropy and value-weighted matching; {once}"
        return await_result(job_key(subject, "whole rows"), work, doing, seconds=seconds)
    work, seconds = partial(first_scores, subject), partial(expected_seconds, subject, 1.8)
    return await_result(job_key(subject, "scores"), work, f"Measuring every head; {once}", seconds=seconds)


def await_result(
    key: str,
    work: Callable[[], T],
    doing: str,
    *,
    background: bool = False,
    live: bool = False,
    seconds: Callable[[], float] | None = None,
) -> T | None:
    """What `work` returns: at once if all that it takes is cached, else as a job that everybody who asks for `key` shares.

    None while it is not there; meanwhile its progress is shown in this place, unless another part of the page shows it, and
    when it is finished the page runs again.

    Args:
        key: says what is computed; equal keys must mean equal results (`job_key`).
        work: the work; it reports its progress to the job that it runs in. Its result is not None.
        doing: what is being done, shown above the progress bar.
        background: make way for other people's short work.
        live: the page also runs again when the job has a new partial result to show.
        seconds: how long it is expected to take here (`expected_seconds`), asked only when it must be begun: short work goes
            first, and what would hold everybody up is not begun.

    Raises:
        HeadScopeError: what the work raised for the person to read, or BadInput for what would take too long.
    """
    known = if_cached(work)
    if known is not None:
        return known
    return await_job(key, work, doing, background=background, live=live, seconds=seconds)


def await_job(
    key: str,
    work: Callable[[], T],
    doing: str,
    *,
    background: bool = False,
    live: bool = False,
    seconds: Callable[[], float] | None = None,
) -> T | None:
    """As `await_result`, for work whose result is in no cache."""
    if _is_shown(key):
        return None
    asked, cancelled = _keys(_ASKED), _keys(_CANCELLED)
    if key in cancelled:
        st.info("You cancelled this computation.", icon=":material/info:")
        st.button("Start again", key=f"start {key}", on_click=cancelled.discard, args=(key,), icon=":material/refresh:")
        return None
    job = default_pool().get(key) if key in asked else None
    if job is not None and job.finished and job.error is not None:
        # Not started again by itself: work that fails would be repeated for ever.
        st.button("Try again", key=f"again {key}", on_click=asked.discard, args=(key,), icon=":material/refresh:")
        raise job.error
    if job is None:
        expected = math.inf if seconds is None else seconds()
        if expected < math.inf:
            check_cost(expected)
        job = _begun(key, work, background, expected)
        default_pool().watch_presence(present)
        asked.add(key)
    try:
        result: T | None = job.result(timeout=0 if background else _PATIENCE_SECONDS)
    except TimeoutError:
        # In a place of its own: a poll that overtakes the page takes the fragment's unsent parts out of it, and a browser
        # cannot place what comes after a gap.
        with st.container():
            _watch(job, key, doing, job.partial_value, live)
        return None
    asked.discard(key)
    return result


def _is_shown(key: str) -> bool:
    """Whether another part of the page waits for the same work and has its progress: a job has its buttons once a page."""
    context = get_script_run_ctx()
    return context is not None and any(f"{word} {key}" in context.shared.widget_user_keys_this_run for word in _BUTTONS)


def _begun(key: str, work: Callable[[], T], background: bool, seconds: float) -> Job[T]:
    """The job, here or on the workers that long work is sent to where there are any."""
    workers = workers_for(seconds, best_device)
    if workers is None:
        return default_pool().submit(key, lambda control: work(), viewer(), background, person=person(), seconds=seconds)
    sent = partial(workers.run, work)
    return default_pool().submit(key, sent, viewer(), background, person=person(), seconds=seconds, turns=workers.turns)


def server_warnings() -> list[str]:
    """One sentence each: when results cannot be kept on disk, and when workers cannot be used."""
    return [warning for warning in (default_store().warning, workers_warning()) if warning is not None]


@st.fragment(run_every=_POLL_SECONDS)
def _watch(job: Job[T], key: str, doing: str, shown: object, live: bool) -> None:
    """Poll the job; when it is finished, or if `live` has a partial result other than `shown`, the whole page runs again."""
    if job.finished or key in _keys(_CANCELLED) or (live and job.partial_value is not shown):
        note_poll()
        st.rerun()
    st.markdown(doing)
    st.progress(job.fraction, text=_how_far(job))
    st.button("Cancel", key=f"cancel {key}", on_click=_cancel, args=(job, key), icon=":material/close:")


def _cancel(job: Job[T], key: str) -> None:
    job.cancel(viewer())
    _keys(_ASKED).discard(key)
    _keys(_CANCELLED).add(key)


def _keys(name: str) -> set[str]:
    found: set[str] = st.session_state.setdefault(name, set())
    return found


def _how_far(job: Job[T]) -> str:
    if job.state == "queued":
        ahead = default_pool().place(job)
        return "waiting for other work here" + ("; next in line" if ahead == 0 else f"; {ahead} in line before it")
    left = job.eta_seconds
    # What is under way is not all done, however little is left.
    done = share(min(job.fraction, 0.99))
    message = job.message or "starting"
    if job.in_line:
        return message + (f": {done}" if job.fraction else "") + ", while other work goes first"
    # A load says its own steps, and of the whole nothing is done yet.
    return message + (f": {done}" if job.fraction else "") + ("" if left is None else f", about {spoken(left)} left")
