"""What a step of the tour is: a task on a page, the view that it begins with, and what counts as its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from core.settings.subject import Subject
from core.settings.view import View

# How an answer is given: a head's name, a number from 0 to 1, or one of a few.
Kind = Literal["head", "number", "choice"]


@dataclass(frozen=True)
class Found:
    """What the numbers say of a step's question.

    right: the answer, as `core.tour.check.read_answer` gives it. reason: of any answer, why it is right or is not, a clause
    with its numbers that begins with a small letter. teaches: what one learns by it, in sentences with their numbers.
    """

    right: str
    reason: Callable[[str], str]
    teaches: str


@dataclass(frozen=True)
class Step:
    """One step. Its view holds all that a link to the page needs; its answer is not written down but measured.

    page: by its name in the navigation. hints: the first says where to look, the second nearly what is there. choices: of a
    question with a few answers, each with its words. measure: what the numbers say, from results that are kept.
    """

    title: str
    page: str
    minutes: int
    task: str
    view: View
    kind: Kind
    hints: tuple[str, str]
    measure: Callable[[Subject], Found]
    choices: Mapping[str, str] = field(default_factory=dict)
