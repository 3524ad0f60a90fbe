"""What heads can be called, and the rule for heads that do not match; matching ones are called by their role."""

from __future__ import annotations

from typing import Literal

from core.settings.experiment import EFFECT_FLOOR
from core.stats import Number

Label = Literal[
    "induction",
    "anti-induction",
    "matching, no effect",
    "undecided",
    "positional impostor",
    "previous token",
    "duplicate token",
    "sink",
    "none",
]
# The score that a label is about, where it is not induction.
OWN_SCORES: dict[Label, str] = {"previous token": "previous_token", "duplicate token": "duplicate_token", "sink": "sink"}
# The labels of heads that are called: they match, whatever they do with it.
MATCHING: tuple[Label, ...] = ("induction", "anti-induction", "matching, no effect", "undecided")
# How far above chance a score must be.
IMPOSTOR_FLOOR = 0.2
# Of what an impostor scores above chance, surely less than this share goes with the copy.
_OWED_TO_THE_COPY = 0.5
OTHER_LABEL_FLOORS: dict[Label, float] = {"previous token": 0.4, "duplicate token": 0.4, "sink": 0.6}


def label_without_match(above_chance: dict[str, float], contrast: Number, floor: float = EFFECT_FLOOR) -> Label:
    """The label of a head that does not match.

    above_chance: its induction, previous-token, duplicate-token and sink scores, each less its chance level. A floor that is
    raised makes no impostor of a head whose score goes with the copy, and neither does a contrast that only misses the floor:
    an impostor's contrast surely is less than half of what it scores above chance.
    """
    above = above_chance["induction"]
    misses = not contrast.low > min(floor, IMPOSTOR_FLOOR)
    if above > IMPOSTOR_FLOOR and misses and contrast.high < _OWED_TO_THE_COPY * above:
        return "positional impostor"
    margins = {label: above_chance[OWN_SCORES[label]] - needed for label, needed in OTHER_LABEL_FLOORS.items()}
    label = max(margins, key=lambda name: margins[name])
    return label if margins[label] > 0 else "none"
