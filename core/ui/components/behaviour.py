"""Whether the model does induction on this probe at all, which is said before anything about its heads."""

from __future__ import annotations

import streamlit as st

from core.behaviour import Losses


def absent_banner(losses: Losses) -> None:
    """A banner where the behaviour is absent; nothing where it is present."""
    if losses.behaviour == "present":
        return
    st.warning(
        f"**This model does not do induction on this probe.** Its loss on the repeated half is {losses.second_copy:.2f} nats; "
        f"knowing only which tokens are in the text would already give {losses.ln_length:.2f}. The scores of its heads are "
        "what they are, but do not call any of them an induction head.",
        icon=":material/warning:",
    )


def behaviour_line(losses: Losses) -> str:
    """The behaviour in one line, to stand above the scores of heads."""
    return (
        f"Induction is {losses.behaviour}: loss {losses.first_copy:.2f} nats on the first copy, {losses.second_copy:.2f} on "
        f"the second, {losses.ln_length:.2f} to beat (ln L)."
    )


def behaviour_numbers(losses: Losses) -> None:
    """The three numbers that decide, and what they decide."""
    first, second, bound = st.columns(3)
    first.metric(
        "First copy",
        f"{losses.first_copy:.2f} nats",
        help="Mean loss on the first copy: random tokens that nothing can predict. Lower is better.",
        border=True,
        height="stretch",
    )
    second.metric(
        "Second copy",
        f"{losses.second_copy:.2f} nats",
        delta=f"{losses.second_copy - losses.first_copy:+.2f} from the first copy",
        delta_color="inverse",
        help="Mean loss on the second copy, where looking back at the first copy gives every token away.",
        border=True,
        height="stretch",
    )
    bound.metric(
        "To beat: ln L",
        f"{losses.ln_length:.2f} nats",
        help="The loss of a model that only knows which tokens are in the text, not their order.",
        border=True,
        height="stretch",
    )
    if losses.behaviour == "present":
        st.success(
            "**Induction is present:** the second copy is predicted better than by knowing only which tokens occur.",
            icon=":material/check_circle:",
        )
