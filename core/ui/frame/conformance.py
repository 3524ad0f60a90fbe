"""Whether the chosen model was checked against its own module, on every page: what is withheld, and why."""

from __future__ import annotations

from functools import partial

from streamlit.delta_generator import DeltaGenerator

from core.runtime.cache import if_cached
from core.settings.subject import Subject
from core.transformer.checks import conformance_sentence
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import await_result, job_key
from core.verdicts.conformance import conformance


def conformance_badge(subject: Subject, place: DeltaGenerator) -> None:
    """Write into `place` what was found, where it is known: nothing is computed for it."""
    found = if_cached(partial(conformance, subject))
    if found is None:
        place.caption(":material/pending: Not yet checked against the model's own module at this length.")
        return
    icon = ":material/verified:" if found.passed else ":material/rule:"
    place.caption(f"{icon} {verbatim(conformance_sentence(found))}")


def check_model(subject: Subject, place: DeltaGenerator) -> None:
    """Check the model, where that was not done at this length: last on a page, for its numbers come first."""
    work, doing = partial(conformance, subject), "Checking the model against its own module"
    if await_result(job_key(subject, "conformance"), work, doing, background=True) is not None:
        # Again: it may have become known since the badge was drawn.
        conformance_badge(subject, place)
