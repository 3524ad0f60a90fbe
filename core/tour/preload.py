"""What the pages of the tour show, measured before a room comes, so that thirty people find it there.

The same functions as the pages call, with what a person tries while looking for the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from core.ablation.cached import ablate, patched_in, random_baselines, total_effect
from core.ablation.cached_map import causal_map, single_effects
from core.ablation.cached_sweep import sweep
from core.ablation.cached_text import ablate_on_text, text_baselines
from core.ablation.next_tokens import next_tokens
from core.ablation.subjects import heads_of
from core.ablation.sweep import DEFAULT_GRID
from core.attention.cached import score_heads
from core.attention.rows import text_row
from core.head_card.cached import head_card
from core.runtime.jobs import current_control
from core.settings.modes import MODES
from core.settings.subject import Subject
from core.settings.text_choice import SHOWN_EDGES, TAKEN_AWAY
from core.settings.view import EXAMPLE_TEXT, View
from core.text.cached import chosen_windows_of, likeness
from core.text.paragraph import PARAGRAPH
from core.tour.check import found_for, subject_of
from core.tour.step import Step
from core.tour.steps import STEPS
from core.verdicts.cached import copied_on_text, judged_on_text
from core.verdicts.conformance import conformance


def preload(steps: Sequence[Step] = STEPS) -> None:
    """Measure what the answers are checked against and what each step's page shows; what is there already costs nothing."""
    control = current_control()
    for done, step in enumerate(steps):
        with control.part(done, len(steps), f"step {done + 1} of {len(steps)}: {step.title}"):
            subject = subject_of(step)
            score_heads(subject)
            conformance(subject)
            found_for(step)
            _SHOWN[step.page](subject, step.view)


def _heads(subject: Subject, view: View) -> None:
    """Scores are all that the page shows."""


def _sweep(subject: Subject, view: View) -> None:
    experiment = view.experiment
    sweep(subject, DEFAULT_GRID, experiment.mode, score=view.score)
    sweep(subject, sorted({experiment.first, experiment.second}), experiment.mode, score=view.score)


def _causal_map(subject: Subject, view: View) -> None:
    for mode in MODES:
        causal_map(subject, mode)


def _ablation(subject: Subject, view: View) -> None:
    heads = view.experiment.chosen(())
    others = tuple(head for head in heads_of(subject) if head not in heads)
    patched_in(subject, heads)
    for mode in MODES:
        ablate(subject, heads, mode, text=PARAGRAPH)
        ablate(subject, others, mode, text=None)
        random_baselines(subject, heads, mode)
        total_effect(subject, heads, mode)
        single_effects(subject, heads, mode)


def _text(subject: Subject, view: View) -> None:
    windows = chosen_windows_of(subject, view.text)
    judged = judged_on_text(subject, windows)
    heads, mode, looked_at = judged.lifted(TAKEN_AWAY), view.experiment.mode, judged.foremost
    if heads:
        ablate_on_text(subject, windows, heads, mode)
        text_baselines(subject, windows, heads, mode)
    likeness(subject, windows, looked_at)
    copied_on_text(subject, windows, looked_at, SHOWN_EDGES.index("repeats"))
    next_tokens(subject, text_row(subject.identity, EXAMPLE_TEXT, view.request.bos), heads, mode)


def _head_card(subject: Subject, view: View) -> None:
    head_card(subject, view)


_SHOWN: dict[str, Callable[[Subject, View], None]] = {
    "Heads": _heads,
    "Sweep": _sweep,
    "Causal map": _causal_map,
    "Ablation": _ablation,
    "Text": _text,
    "Head card": _head_card,
}
