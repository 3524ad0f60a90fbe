"""From a request to verdicts on every head: evidence over several lengths, gathered once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from core.attention.cached import ScoreRequest, run_key
from core.attention.scores import SCORE_VERSION, HeadScores
from core.errors import BadInput
from core.models.load import model_identity
from core.probes.repeated import Probe, longest_length, repeated_probe
from core.runtime.cache import kept
from core.runtime.jobs import current_control
from core.runtime.store import Stored
from core.transformer.card import ModelIdentity
from core.verdicts.judge import (
    DEFAULT_LENGTHS,
    EFFECT_FLOOR,
    MATCHING,
    SEQUENCES_PER_LENGTH,
    Evidence,
    Verdict,
    contrast_intervals,
    contrast_q_values,
    relabel,
)

if TYPE_CHECKING:
    from core.transformer.loaded import LoadedModel

VERDICT_VERSION = 1
MAX_LENGTHS = 8
MIN_SEQUENCES = 64


@dataclass(frozen=True)
class Calls:
    """Verdicts on every head of a model, and on what they rest.

    behaviour: "absent" means that the second copy is not predicted better than `ln L` at any of the lengths; the labels
    are then not to be trusted.
    """

    verdicts: tuple[Verdict, ...]
    behaviour: Literal["present", "absent"]
    lengths: tuple[int, ...]
    sequences: int
    floor: float

    @property
    def called(self) -> tuple[Verdict, ...]:
        """Heads that match, whatever they do with it: strongest contrast first."""
        return tuple(sorted((v for v in self.verdicts if v.label in MATCHING), key=lambda v: -v.contrast))


def call_heads(
    request: ScoreRequest, lengths: Sequence[int] | None = None, floor: float = EFFECT_FLOOR, *, per_length: int | None = None
) -> Calls:
    """Judge every head on at least 64 sequences over several lengths (25, 50 and 100, less those that do not fit).

    A new floor costs nothing. Raises BadInput for lengths or a floor that cannot be used.
    """
    if not 0 <= floor < 1:
        raise BadInput(f"The effect floor must be from 0 up to, not including, 1, not {floor}.")
    identity = model_identity(request.model)
    probes = _probes(request, identity, lengths, per_length)
    key = run_key(
        "verdict",
        identity,
        request,
        probes=[probe.digest() for probe in probes],
        verdict_version=VERDICT_VERSION,
        score_version=SCORE_VERSION,
    )

    def compute() -> Stored:
        from core.models.load import load_model

        model = load_model(request.model, device=request.device, dtype=request.dtype, progress=current_control().progress)
        evidence, present = gather_evidence(model, probes)
        low, high = contrast_intervals(evidence.contrast)
        arrays = {name: getattr(evidence, name) for name in Evidence.__dataclass_fields__}
        arrays |= {"q": contrast_q_values(evidence.contrast), "low": low, "high": high, "present": np.array(present)}
        return Stored(arrays, {})

    arrays = kept(key, compute)
    evidence = Evidence(**{name: arrays[name] for name in Evidence.__dataclass_fields__})
    return Calls(
        verdicts=relabel(evidence, arrays["q"], arrays["low"], arrays["high"], floor),
        behaviour="present" if bool(arrays["present"]) else "absent",
        lengths=tuple(probe.length for probe in probes),
        sequences=sum(probe.n_sequences for probe in probes),
        floor=floor,
    )


def gather_evidence(model: LoadedModel, probes: Sequence[Probe]) -> tuple[Evidence, bool]:
    """Scores of all probes together, what each head copies and adds, and whether the behaviour is present on any length.

    Raises BadInput where a probe has no control: without one there is no contrast.
    """
    from core.attention.score_pass import measure_heads
    from core.verdicts.copying import direct_logit_attribution, eigenvalue_copying, logit_copying

    control = current_control()
    measured: list[HeadScores] = []
    for done, probe in enumerate(probes):
        control.checkpoint()
        control.progress(done / (len(probes) + 1), f"measuring at length {probe.length}")
        if probe.control is None:
            raise BadInput("These tokens leave too few others for a control, so no head can be called on them.")
        measured.append(measure_heads(model, probe))
    control.checkpoint()
    control.progress(len(probes) / (len(probes) + 1), "reading what each head copies")
    middle = probes[len(probes) // 2]

    def together(name: str) -> np.ndarray:
        return np.concatenate([scores.sequences(name) for scores in measured], axis=-1).astype(np.float64)

    evidence = Evidence(
        contrast=together("contrast"),
        induction=together("induction").mean(-1),
        previous_token=together("previous_token").mean(-1),
        duplicate_token=together("duplicate_token").mean(-1),
        sink=together("sink").mean(-1),
        copying=eigenvalue_copying(model),
        logit_copying=logit_copying(model),
        attribution=direct_logit_attribution(model, middle),
    )
    return evidence, any(scores.losses().behaviour == "present" for scores in measured)


def _probes(
    request: ScoreRequest, identity: ModelIdentity, lengths: Sequence[int] | None, per_length: int | None
) -> tuple[Probe, ...]:
    if request.tokens is not None:
        return (request.probe(identity),)
    fitting = [n for n in DEFAULT_LENGTHS if n <= _longest(request, identity)] if lengths is None else list(lengths)
    fitting = fitting or [_longest(request, identity)]
    if len(fitting) > MAX_LENGTHS:
        raise BadInput(f"At most {MAX_LENGTHS} lengths can be judged together, not {len(fitting)}.")
    each = per_length or max(SEQUENCES_PER_LENGTH, -(-MIN_SEQUENCES // len(fitting)))
    # One seed for each length: the same draw at two lengths would share its first tokens.
    return tuple(
        repeated_probe(
            identity.vocabulary, replace(request.options, length=length, sequences=each, seed=request.options.seed + index)
        )
        for index, length in enumerate(fitting)
    )


def _longest(request: ScoreRequest, identity: ModelIdentity) -> int:
    from core.probes.repeated import candidate_ids

    ids = candidate_ids(identity.vocabulary, request.options.token_range)
    return min(longest_length(identity.vocabulary, request.options.bos), len(ids))
