"""The seven steps, as data: what is asked, where it is found, and which measurement has the answer."""

from __future__ import annotations

from functools import partial

from core.heads import Head
from core.settings.experiment import Experiment
from core.settings.request import Request
from core.settings.text_choice import TextChoice
from core.settings.view import View
from core.tour.evidence import (
    FIRST_THRESHOLD,
    SECOND_THRESHOLD,
    ablation_that_fools,
    highest_contrast,
    joins_below,
    label_of,
    needed_previous_token_head,
    on_text_alone,
    p_beside_others,
)
from core.tour.step import Step

_PLANTED, _TRAINED, _SMALL = Request("by-construction"), Request("mixture"), Request("two-layer")
_PREVIOUS, _WEAK, _CLAIMED = Head(0, 2), Head(1, 5), Head(1, 2)
_TEXT = TextChoice()
# The stories in the words of the planted model are short.
_SHORT_TEXT = TextChoice(length=64)

STEPS: tuple[Step, ...] = (
    Step(
        title="A score is not a claim",
        page="Heads",
        minutes=7,
        task="Two heads of this model have an induction score near 1. Which head has the highest *contrast*?",
        view=View(_PLANTED),
        kind="head",
        hints=(
            "The map shows the induction score. What is shown is chosen under *Score*, in the sidebar, which » opens on a "
            "telephone.",
            "Choose *Contrast*. Of the two bright heads one loses its colour: the answer is the other one.",
        ),
        measure=highest_contrast,
    ),
    Step(
        title="What a threshold buys",
        page="Sweep",
        minutes=7,
        task=f"The threshold goes down from {FIRST_THRESHOLD:.2f} to {SECOND_THRESHOLD:.2f}. Which one head joins those that "
        "are taken away?",
        view=View(_TRAINED, threshold=FIRST_THRESHOLD, experiment=Experiment(first=SECOND_THRESHOLD, second=FIRST_THRESHOLD)),
        kind="head",
        hints=(
            "Every threshold has a row in the table on this page, with the heads that it takes away.",
            f"Compare the row of {FIRST_THRESHOLD:.2f} with that of {SECOND_THRESHOLD:.2f}: one name is new.",
        ),
        measure=joins_below,
    ),
    Step(
        title="Looking and mattering",
        page="Causal map",
        minutes=7,
        task="Two heads of layer 0 look at the token just before: L0H1 and L0H2. Which one does the model need for the second "
        "copy?",
        view=View(_SMALL, score="previous_token"),
        kind="head",
        hints=(
            "The map shows by how much the loss on the second copy rises when a head is taken away alone.",
            "One of the two costs more than 4 nats, the other next to nothing.",
        ),
        measure=needed_previous_token_head,
    ),
    Step(
        title="An ablation that fools you",
        page="Ablation",
        minutes=8,
        task="The head that you have just found is taken away here. There are four ways to do that. Which one says that the "
        "head is not needed, though it is?",
        view=View(_SMALL, experiment=Experiment(mode="zero", source="picked", heads=(_PREVIOUS,))),
        kind="choice",
        hints=(
            "Go through *What stands in for a head that is taken away*, and read the loss on the second copy each time.",
            "Three of them cost more than 4 nats. The fourth holds every head's looking as it was.",
        ),
        measure=partial(ablation_that_fools, head=_PREVIOUS),
        choices={"zero": "Zero", "mean": "Mean", "resample": "Resample", "pattern": "Pattern"},
    ),
    Step(
        title="A cost and its baseline",
        page="Ablation",
        minutes=7,
        task="One head is taken away here, and the loss rises a little. What is p, beside other sets of one head?",
        view=View(_TRAINED, experiment=Experiment(source="picked", heads=(_WEAK,))),
        kind="number",
        hints=(
            "The sentence that begins with *Taking this head away* comes once other heads have been taken away, too.",
            "It ends with p. Two digits are enough.",
        ),
        measure=partial(p_beside_others, head=_WEAK),
    ),
    Step(
        title="Random tokens and text",
        page="Text",
        minutes=7,
        task="Four heads of this model match on random tokens. One more matches on text alone: which?",
        view=View(_TRAINED, text=_TEXT),
        kind="head",
        hints=(
            "The sentences at the top of the page sort the heads: on text too, random only, text only.",
            "In the picture it stands far to the left, with nearly nothing on random tokens, but not at the bottom.",
        ),
        measure=partial(on_text_alone, text=_TEXT),
    ),
    Step(
        title="Somebody's claim",
        page="Head card",
        minutes=7,
        task="“L1H2 does induction: its score is 1.00.” The number is right. Open the head's card: what is this head? "
        "Two numbers beside its score show it.",
        view=View(_PLANTED, head=_CLAIMED, text=_SHORT_TEXT),
        kind="choice",
        hints=(
            "Look at the contrast beside the score, and at how the score moves with the length.",
            "It scores 1.00 at one length only. What would a head do that always looks the same distance back?",
        ),
        measure=partial(label_of, head=_CLAIMED),
        choices={
            "induction": "An induction head",
            "positional impostor": "A positional impostor: it looks a fixed distance back",
            "previous token": "A previous-token head",
            "sink": "A sink: it rests on the first token",
        },
    ),
)
MINUTES = sum(step.minutes for step in STEPS)
