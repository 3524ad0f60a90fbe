"""From a subject to its circuit: which heads, and what each edge between them is worth; computed once for everybody."""

from __future__ import annotations

from collections.abc import Sequence

from core.ablation.subjects import ablation_key, ablator_for, check_pruning_mode
from core.attention.cached import existing_heads, scores_and_behaviour
from core.circuits.circuit import PREVIOUS_TOKEN_FLOOR, Circuit
from core.heads import HeadLike, HeadSet, given_heads, heads_above, named
from core.runtime.cache import cached
from core.runtime.jobs import current_control
from core.runtime.store import Stored
from core.settings.experiment import EFFECT_FLOOR
from core.settings.modes import Mode
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.verdicts.cached import judge

CIRCUIT_VERSION = 6
MOST_HEADS = 8


def induction_heads(subject: Subject, floor: float = EFFECT_FLOOR) -> HeadSet:
    """The heads labelled induction at a floor, the strongest first: one that only matches is none of them."""
    return tuple(verdict.head for verdict in judge(subject, floor=floor).called if verdict.label == "induction")


def circuit_heads(subject: Subject, floor: float = EFFECT_FLOOR) -> tuple[HeadSet, HeadSet]:
    """Previous-token heads (score above .4) and induction heads at a floor, at most 8 each, the strongest first."""
    called = induction_heads(subject, floor)[:MOST_HEADS]
    scores = scores_and_behaviour(subject).mean("previous_token")
    previous = [head for head in heads_above(scores, PREVIOUS_TOKEN_FLOOR) if head not in called]
    return tuple(previous[:MOST_HEADS]), called


def circuit(
    asked: Subject | Request | str,
    mode: Mode = "mean",
    *,
    previous: Sequence[HeadLike] | None = None,
    induction: Sequence[HeadLike] | None = None,
    floor: float = EFFECT_FLOOR,
) -> Circuit:
    """The edges between `previous` and `induction`, by default those of `circuit_heads` at `floor`.

    Each edge in two independent ways: K-composition of the weights (Elhage et al. 2021), and the prefix matching that is lost
    when the induction head's keys are read without the previous-token head (path patching; Wang et al. 2022).

    >>> from core import Head, Request, circuit
    >>> asked = Request("by-construction", length=20)
    >>> [edge] = circuit(asked, "zero", previous=(Head(0, 2),), induction=(Head(1, 3),)).edges
    >>> edge.rank, round(edge.clean - edge.patched, 2)
    (1, 0.99)

    Raises BadInput for a mode other than zero and mean, for heads the model does not have, or if it cannot be patched.
    """
    check_pruning_mode(mode)
    subject = bind(asked)
    usual = circuit_heads(subject, floor) if previous is None or induction is None else ((), ())
    sizes = subject.card.n_layers, subject.card.n_heads
    writing, reading = (
        default if asked_for is None else given_heads(asked_for, *sizes)
        for asked_for, default in zip((previous, induction), usual, strict=True)
    )
    key = ablation_key(
        subject, "circuit", mode, circuit_version=CIRCUIT_VERSION, previous=named(writing), induction=named(reading)
    )

    def compute() -> Stored:
        import numpy as np

        from core.circuits.composition import all_compositions, baseline, usual_shape
        from core.circuits.path_patching import path_patch

        control = current_control()
        ablator = ablator_for(subject)
        ablator.model.check_heads((*writing, *reading))
        with control.part(0, 2, "reading weights"):
            composition, withheld = all_compositions(ablator.model, reading)
        with control.part(1, 2):
            layers = sorted({head.layer for head in reading})
            patch = path_patch(ablator, subject.layout, writing, layers, mode)
        return Stored(
            {
                "composition": composition.numpy(),
                "baseline": np.array(baseline(*usual_shape(ablator.model))),
                "clean": patch.clean.numpy(),
                "patched": patch.patched.numpy(),
            },
            {"withheld": withheld},
        )

    stored = cached(key, compute)
    arrays = stored.arrays
    return Circuit(
        writing,
        reading,
        mode,
        withheld=stored.meta["withheld"],
        composition=arrays["composition"],
        baseline=float(arrays["baseline"]),
        clean=arrays["clean"],
        patched=arrays["patched"],
        exists=existing_heads(subject),
    )
