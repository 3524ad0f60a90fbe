"""From a subject to verdicts on every head: evidence over several lengths, gathered once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.attention.head_scores import HeadScores
from core.attention.scores import table_digest
from core.errors import BadInput
from core.probes.probe import Probe
from core.probes.vocabulary import candidate_ids, longest_length
from core.runtime.cache import cached
from core.runtime.jobs import current_control
from core.runtime.store import Stored
from core.settings.experiment import EFFECT_FLOOR
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.verdicts.evidence import Evidence
from core.verdicts.judge import judge_heads
from core.verdicts.judgement import Judgement
from core.verdicts.significance import contrast_intervals, contrast_q_values

if TYPE_CHECKING:
    from core.transformer.loaded import LoadedModel

VERDICT_VERSION = 2
DEFAULT_LENGTHS = (25, 50, 100)
SEQUENCES_PER_LENGTH = 24
MAX_LENGTHS = 8
MIN_SEQUENCES = 64


def judge(
    asked: Subject | Request | str,
    lengths: Sequence[int] | None = None,
    floor: float = EFFECT_FLOOR,
    *,
    per_length: int | None = None,
) -> Judgement:
    """Judge every head on at least 64 sequences over several lengths (25, 50 and 100, less those that do not fit).

    A new floor costs nothing.

    >>> from core import judge
    >>> [(verdict.name, verdict.label) for verdict in judge("by-construction", [20], per_length=16).called]
    [('L1H3', 'induction')]

    Raises BadInput for lengths or a floor that cannot be used.
    """
    if not 0 <= floor < 1:
        raise BadInput(f"The effect floor must be from 0 up to, not including, 1, not {floor}.")
    subject = bind(asked)
    probes = _probes(subject, lengths, per_length)

    def compute() -> Stored:
        evidence, present = gather_evidence(subject.load(), probes)
        low, high = contrast_intervals(evidence.contrast)
        arrays = {name: getattr(evidence, name) for name in Evidence.__dataclass_fields__}
        arrays |= {"q": contrast_q_values(evidence.contrast), "low": low, "high": high, "present": np.array(present)}
        return Stored(arrays, {})

    digests = [probe.digest for probe in probes]
    key = subject.model_key("verdict", probes=digests, verdict_version=VERDICT_VERSION, table=table_digest())
    arrays = cached(key, compute).arrays
    evidence = Evidence(**{name: arrays[name] for name in Evidence.__dataclass_fields__})
    return Judgement(
        verdicts=judge_heads(evidence, arrays["q"], arrays["low"], arrays["high"], floor),
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
    from core.verdicts.attribution import direct_effect
    from core.verdicts.copying import eigenvalue_copying, logit_copying

    control = current_control()
    measured: list[HeadScores] = []
    for done, probe in enumerate(probes):
        if probe.control is None:
            raise BadInput("These tokens leave too few others for a control, so no head can be called on them.")
        with control.part(done, len(probes) + 1, f"measuring at length {probe.length}"):
            measured.append(measure_heads(model, probe))
    middle = probes[len(probes) // 2]

    def together(name: str) -> np.ndarray:
        return np.concatenate([scores.sequences(name) for scores in measured], axis=-1).astype(np.float64)

    with control.part(len(probes), len(probes) + 1, "reading what each head copies"):
        evidence = Evidence(
            contrast=together("contrast"),
            induction=together("induction").mean(-1),
            previous_token=together("previous_token").mean(-1),
            duplicate_token=together("duplicate_token").mean(-1),
            sink=together("sink").mean(-1),
            copying=eigenvalue_copying(model),
            logit_copying=logit_copying(model),
            attribution=direct_effect(model, middle).mean(-1),
        )
    return evidence, any(scores.losses().behaviour == "present" for scores in measured)


def _probes(subject: Subject, lengths: Sequence[int] | None, per_length: int | None) -> tuple[Probe, ...]:
    request = subject.request
    if request.tokens is not None:
        return (subject.probe,)
    fitting = [n for n in DEFAULT_LENGTHS if n <= _longest(subject)] if lengths is None else list(lengths)
    fitting = fitting or [_longest(subject)]
    if len(fitting) > MAX_LENGTHS:
        raise BadInput(f"At most {MAX_LENGTHS} lengths can be judged together, not {len(fitting)}.")
    each = per_length or max(SEQUENCES_PER_LENGTH, -(-MIN_SEQUENCES // len(fitting)))
    # One seed for each length: the same draw at two lengths would share its first tokens.
    return tuple(
        subject.at(length=length, sequences=each, seed=request.seed + index).probe for index, length in enumerate(fitting)
    )


def _longest(subject: Subject) -> int:
    vocabulary, request = subject.identity.vocabulary, subject.request
    return min(longest_length(vocabulary, request.bos), len(candidate_ids(vocabulary, request.token_range)))
