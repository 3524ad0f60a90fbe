"""What work will take, said before it begins; and what is too much for a page that others share.

Estimates are of arithmetic alone: right to a factor of two or three, which is enough to put short work first and to refuse what
would hold everybody up for hours.
"""

from __future__ import annotations

import os

from core.errors import BadInput
from core.runtime.speed import flops_per_second
from core.settings.subject import Subject
from core.transformer.flops import flops_of_pass

# Passes that taking one set of heads away costs: on the average from the middle of the model on.
PASSES_OF_ONE_SET = 0.6
# A circuit's paths, and the lengths, seeds and BOS of a sensitivity, as many as there usually are.
PASSES_OF_A_CIRCUIT = 20.0
PASSES_OF_SENSITIVITY = 30.0
PASSES_OF_BRIEF_SENSITIVITY = 15.0
MOST_MINUTES = "HEADSCOPE_MOST_MINUTES"
DEFAULT_MOST_MINUTES = 30.0
_LONGEST_MINUTES = 1e8


def expected_seconds(subject: Subject, passes: float) -> float:
    """How long `passes` passes over all sequences of the subject's probe take here."""
    probe = subject.request
    rows = probe.sequences if probe.tokens is None else len(probe.tokens)
    return passes * rows * flops_of_pass(subject.card, 2 * probe.length + 1) / flops_per_second(subject.device)


def layers_again(n_layers: int, first: int) -> float:
    """What a run without a head of layer `first` costs beside others: the layers from there on, and its end that is read."""
    return 1.0 + n_layers - first


def check_cost(seconds: float) -> None:
    """Raises BadInput, with how long it would take, for work that a shared page does not begin."""
    most = most_minutes()
    if seconds > 60 * most:
        raise BadInput(
            f"This would take about {spoken(seconds)} here, and a page that others share computes for at most "
            f"{spoken(60 * most)}: ask for fewer or shorter sequences, or run the command on a machine of your own."
        )


def most_minutes() -> float:
    """The bound, in minutes: `HEADSCOPE_MOST_MINUTES`, or the default where that is no positive number."""
    try:
        found = float(os.environ.get(MOST_MINUTES, ""))
    except ValueError:
        return DEFAULT_MOST_MINUTES
    # `inf` is a bound, too, and is said in days.
    return min(found, _LONGEST_MINUTES) if found > 0 else DEFAULT_MOST_MINUTES


def spoken(seconds: float) -> str:
    """A time as a person says it: seconds, minutes, hours or days, one figure."""
    for unit, size in (("day", 86400.0), ("hour", 3600.0), ("minute", 60.0), ("second", 1.0)):
        if seconds >= 1.5 * size or unit == "second":
            count = max(1, round(seconds / size))
            return f"{count:,} {unit}" + ("" if count == 1 else "s")
    raise AssertionError("seconds are the last unit")
