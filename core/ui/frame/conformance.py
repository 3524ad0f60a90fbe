"""Whether the chosen model was checked against its own module, on every page: what is withheld, and why."""

from __future__ import annotations

from functools import partial

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core.runtime.cache import if_cached
from core.settings.cost import expected_seconds
from core.settings.subject import Subject
from core.transformer.checks import Conformance, conformance_sentence
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import await_result, job_key
from core.verdicts.conformance import conformance


def known_check(subject: Subject) -> Conformance | None:
    """What was found, where it is known: nothing is computed for it."""
    return if_cached(partial(conformance, subject))


def conformance_badge(found: Conformance | None) -> DeltaGenerator | None:
    """Say what was found, where it is known. Else the place where `check_model` is to say it."""
    place = st.empty()
    if found is None:
        place.caption(":material/pending: Not yet checked against the model's own module at this length.")
        return place
    _say(found, place)
    return None


def check_model(subject: Subject, place: DeltaGenerator) -> None:
    """Check the model, where that was not done at this length: last on a page, for its numbers come first."""
    doing = "Checking the model against its own module"

    def seconds() -> float:
        """Some passes over one row."""
        return expected_seconds(subject.at(sequences=1), 8.0) if subject.request.tokens is None else 1.0

    work = partial(conformance, subject)
    found = await_result(job_key(subject, "conformance"), work, doing, background=True, seconds=seconds)
    if found is not None:
        if found.refused:
            # Again, and without the numbers.
            st.rerun()
        _say(found, place)


def _say(found: Conformance, place: DeltaGenerator) -> None:
    icon = ":material/verified:" if found.passed else ":material/rule:"
    place.caption(f"{icon} {verbatim(conformance_sentence(found))}")
