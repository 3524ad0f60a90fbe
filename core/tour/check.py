"""Whether an answer is right, in one sentence with its numbers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from core.errors import BadInput
from core.heads import Head, check_head
from core.settings.subject import Subject, bind
from core.tour.step import Found, Step

MAX_ANSWER = 40


@dataclass(frozen=True)
class Checked:
    """Whether an answer is right, and one sentence that says why."""

    right: bool
    sentence: str


def subject_of(step: Step) -> Subject:
    """What the step is about. Raises ModelUnavailable where its model cannot be found."""
    return bind(step.view.request)


def found_for(step: Step) -> Found:
    """What the numbers say of the step's question; measured where they are not at hand."""
    return step.measure(subject_of(step))


def check_answer(step: Step, typed: str, found: Found | None = None) -> Checked:
    """Hold what a person typed against the numbers; `found` where they are at hand.

    >>> from core.tour.steps import STEPS
    >>> check_answer(STEPS[0], "l1h2").right
    False

    Raises BadInput with one sentence for what is no answer: no head's name, a head that the model does not have, no number.
    """
    answer = read_answer(step, typed)
    found = found_for(step) if found is None else found
    right = answer == found.right
    return Checked(right, f"{'Right' if right else 'Not that one'}: {found.reason(answer)}.")


def read_answer(step: Step, typed: str) -> str:
    """The answer as it is compared: a head's name, two digits, a choice. Raises BadInput as `check_answer`."""
    text = typed.strip()
    if not text:
        raise BadInput("There is no answer yet: " + _wanted(step))
    if step.kind == "head":
        head = Head.parse(text)
        if head is None:
            raise BadInput(f"{_shown(text)} names no head: {_wanted(step)}")
        card = subject_of(step).card
        check_head(head, card.n_layers, card.n_heads)
        return head.name
    if step.kind == "number":
        number = _number(text)
        if not 0 <= number <= 1:
            raise BadInput(f"{_shown(text)} is no p: {_wanted(step)}")
        return f"{number:.2f}"
    choice = text.lower()
    if choice not in step.choices:
        raise BadInput(f"{_shown(text)} is not among the answers: {_wanted(step)}")
    return choice


def _wanted(step: Step) -> str:
    if step.kind == "head":
        return "type a head such as L1H0, which is head 0 of layer 1."
    if step.kind == "number":
        return "type a number from 0 to 1, such as 0.05."
    return f"choose one of {', '.join(step.choices)}."


def _number(text: str) -> float:
    """A number with a point or a comma, alone or as pages print it, `p = 0.05`; NaN for anything else."""
    bare = re.sub(r"^p\s*[=:]?\s*", "", text, flags=re.IGNORECASE)
    try:
        return float(bare.replace(",", ".", 1)) if len(text) <= MAX_ANSWER and text.isascii() else math.nan
    except ValueError:
        return math.nan


def _shown(text: str) -> str:
    return repr(text if len(text) <= MAX_ANSWER else text[:MAX_ANSWER] + "…")
