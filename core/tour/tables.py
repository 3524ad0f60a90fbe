"""The steps as rows, for sheets and for JSON."""

from __future__ import annotations

from typing import Any

from core.runtime.versions import HEADSCOPE
from core.sharing.address import params_of
from core.tour.check import check_answer, found_for
from core.tour.step import Step
from core.tour.steps import MINUTES, STEPS


def step_facts(number: int, step: Step, *, answers: bool) -> dict[str, Any]:
    """One step; with `answers` also its answer, why it is the one, and what it teaches, from the measured numbers.

    Raises ModelUnavailable where the step's model cannot be found.
    """
    facts: dict[str, Any] = {
        "step": number,
        "title": step.title,
        "page": step.page,
        "minutes": step.minutes,
        "model": step.view.request.model,
        "task": plain(step.task),
        "kind": step.kind,
        "choices": dict(step.choices),
        "hints": [plain(hint) for hint in step.hints],
        "address": params_of(step.view),
    }
    if not answers:
        return facts
    found = found_for(step)
    return facts | {"answer": found.right, "reason": check_answer(step, found.right, found).sentence, "teaches": found.teaches}


def tour_facts(*, answers: bool = False) -> dict[str, Any]:
    """Every step. Raises as `step_facts`."""
    steps = [step_facts(number, step, answers=answers) for number, step in enumerate(STEPS, start=1)]
    return {"headscope": HEADSCOPE, "minutes": MINUTES, "steps": steps}


def plain(sentence: str) -> str:
    """A sentence without the signs that make words slanted on the screen."""
    return sentence.replace("*", "")
