"""Whether the model does induction on this probe at all, which is said before anything about its heads."""

from __future__ import annotations

import math
from functools import partial

import streamlit as st

from core.attention.cached import scores_and_behaviour
from core.attention.head_scores import HeadScores
from core.attention.words import behaviour_sentence, losses_sentence, set_remark
from core.behaviour import PRESENT_ABOVE, WEAK_ABOVE, Behaviour
from core.numbers import NOTHING, share
from core.settings.cost import expected_seconds
from core.settings.subject import Subject
from core.ui.frame.sentences import verbatim
from core.ui.frame.waiting import await_result, job_key

_DOING = "Checking the behaviour on the same tokens in two other orders"


def behaviour_banner(subject: Subject) -> None:
    """A banner where the behaviour is not present, or not known; nothing where it is.

    The page below does not wait for it: while it is measured, its progress stands here.
    """
    scores = _whole_scores(subject)
    if scores is not None:
        warn_of(scores.behaviour)


def warn_of(found: Behaviour) -> None:
    """The banner of a behaviour that is measured."""
    said = verbatim(behaviour_sentence(found))
    if found.state is None:
        st.info(said, icon=":material/info:")
    elif found.unsure:
        answer = "Not shown yet." if found.state == "absent" else "At least in part."
        st.warning(f"**{answer}** {said} Until then trust no label without its effect.", icon=":material/warning:")
    elif found.state == "absent":
        st.warning(
            f"**No: this model does not do induction on this probe.** {said} The scores of its heads are what they are, but do "
            "not call any of them an induction head.",
            icon=":material/warning:",
        )
    elif found.state == "weak":
        st.warning(
            f"**This model hardly does induction on this probe.** {said} Heads may do it in part: trust no label without its "
            "effect.",
            icon=":material/warning:",
        )


def behaviour_line(scores: HeadScores) -> str:
    """The behaviour's losses in one line, to stand above the scores of heads; a dash for what is not measured yet."""
    return f"{losses_sentence(scores.behaviour)} {set_remark(scores.losses())}"


def behaviour_numbers(subject: Subject, scores: HeadScores) -> None:
    """Yes or no, the numbers that decide, and the four losses under them."""
    whole = _whole_scores(subject)
    found = (whole or scores).behaviour
    if whole is not None:
        warn_of(found)
    if found.state == "present":
        st.success(f"**Yes.** {verbatim(behaviour_sentence(found))}", icon=":material/check_circle:")
    size, low, top1 = st.columns(3)
    size.metric(
        "Better by",
        share(found.e),
        help="How much better repeated and rotated tokens are predicted than shuffled and fresh ones: the smallest of the four "
        "differences, as a share of the loss without a copy.",
        border=True,
        height="stretch",
    )
    low.metric(
        "Lower end of the interval",
        share(found.low, PRESENT_ABOVE, WEAK_ABOVE),
        help="Of the 95 % interval of that number over sequences. This decides.",
        border=True,
        height="stretch",
    )
    top1.metric(
        "Ranked first",
        share(found.top1),
        help="Of the tokens of the second copy, the share that the model thinks the likeliest.",
        border=True,
        height="stretch",
    )
    losses = {
        "repeated": (found.rep, "The first copy again. Looking back gives every token away."),
        "rotated": (found.rot, "The first copy again, begun at another token: every distance is another one."),
        "shuffled": (found.shuf, "The tokens of the first copy in another order: which tokens occur is all there is to know."),
        "fresh": (found.fresh, "Other tokens, which nothing can predict."),
    }
    for column, (name, (loss, why)) in zip(st.columns(4), losses.items(), strict=True):
        said = NOTHING if math.isnan(loss) else f"{loss:.2f} nats"
        column.metric(f"Loss, {name}", said, help=f"Mean loss on the second half. {why} Lower is better.", border=True)
    st.caption(verbatim(set_remark(scores.losses())))


def _whole_scores(subject: Subject) -> HeadScores | None:
    """Both steps of the scores; None, with progress in this place, while the second is not there."""
    work = partial(scores_and_behaviour, subject)
    return await_result(
        job_key(subject, "behaviour"), work, _DOING, background=True, seconds=partial(expected_seconds, subject, 3.5)
    )
