"""On which sequences heads are called: several lengths, both halves of the ids, and others for what heads do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from core.behaviour import LEAST_LENGTH
from core.errors import BadInput
from core.plain import shown, whole
from core.probes.probe import Probe, ProbeOptions
from core.probes.repeated import repeated_probe
from core.probes.vocabulary import Vocabulary, candidate_ids, longest_length
from core.settings.modes import REFERENCE_SEQUENCES
from core.settings.subject import Subject

DEFAULT_LENGTHS = (25, 50, 100)
# On the average.
SEQUENCES_PER_LENGTH = 24
MAX_LENGTHS = 8
MIN_SEQUENCES = 64
# What heads do is measured on fewer: every matching head costs passes of its own.
EFFECT_SEQUENCES_PER_LENGTH = 8
MIN_EFFECT_SEQUENCES = 24
# Far from any seed a person types, and from that of ablation's reference: heads are not judged on what they were picked on.
EFFECT_SEED_SHIFT = 2_000_003
# Given rows are divided between picking and judging where both then have this many.
MIN_GIVEN_HALF = 8
WHOLE_RANGE = -1


@dataclass(frozen=True)
class Plan:
    """The subjects whose probes heads are picked on, from which part of the ids each draws, and those they are judged on.

    ranges: 0 and 1 are the lower and the upper half, -1 all of them.
    """

    picking: tuple[Subject, ...]
    ranges: tuple[int, ...]
    judging: tuple[Subject, ...]

    @property
    def picked_on_the_same(self) -> bool:
        """Whether there were too few given rows to judge on others."""
        return self.picking[0].request.tokens is not None and self.picking[0].request.tokens == self.judging[0].request.tokens

    @property
    def references(self) -> tuple[Subject, ...]:
        """Those whose fresh halves stand in for heads that are taken away: of the longest length, where they are enough."""
        longest = max(subject.request.length for subject in self.picking)
        found = tuple(subject for subject in self.picking if subject.request.length == longest)
        drawn = all(subject.request.tokens is None for subject in found)
        return found if drawn and sum(subject.request.sequences for subject in found) >= REFERENCE_SEQUENCES else ()

    @property
    def lengths(self) -> tuple[int, ...]:
        """The lengths, each once, in the order asked for."""
        return tuple(dict.fromkeys(subject.request.length for subject in self.picking))


def plan_for(subject: Subject, lengths: Sequence[int] | None = None, per_length: int | None = None) -> Plan:
    """What to measure; given tokens are used as they are.

    Raises BadInput for lengths that do not fit the model, that are too short to call a head on, or too many.
    """
    if subject.request.tokens is not None:
        return _given(subject)
    wanted = _lengths(subject, lengths)
    counts = _counts(wanted, per_length)
    judged = max(EFFECT_SEQUENCES_PER_LENGTH, -(-MIN_EFFECT_SEQUENCES // len(wanted)))
    halves = _halves(subject, max(wanted)) if min(counts) > 1 else None
    picking, ranges, judging = [], [], []
    # One seed for each length and half: the same draw at two lengths would share its first tokens.
    for index, (length, each) in enumerate(zip(wanted, counts, strict=True)):
        seed = subject.request.seed + index
        parts = [(WHOLE_RANGE, each, seed, subject.request.token_range)]
        if halves is not None:
            lower, upper = halves
            parts = [(0, each - each // 2, seed, lower), (1, each // 2, seed + len(wanted), upper)]
        for part, count, drawn, ids in parts:
            picking.append(subject.at(length=length, sequences=count, seed=drawn, token_range=ids))
            ranges.append(part)
        judging.append(subject.at(length=length, sequences=judged, seed=seed + EFFECT_SEED_SHIFT))
    return Plan(tuple(picking), tuple(ranges), tuple(judging))


def probes_of(subjects: Sequence[Subject]) -> tuple[Probe, ...]:
    """Their probes, drawn once for everybody who asks for all of them."""
    if not subjects:
        return ()
    first = subjects[0]
    if first.request.tokens is not None:
        return tuple(subject.probe for subject in subjects)
    return _drawn(first.identity.vocabulary, tuple(subject.request.options for subject in subjects))


def lengths_of(probes: Sequence[Probe]) -> list[int]:
    """How many tokens their sequences have."""
    return [probe.n_tokens for probe in probes]


@lru_cache(maxsize=8)
def _drawn(vocabulary: Vocabulary, options: tuple[ProbeOptions, ...]) -> tuple[Probe, ...]:
    return tuple(repeated_probe(vocabulary, wanted) for wanted in options)


def _given(subject: Subject) -> Plan:
    rows = subject.request.tokens
    assert rows is not None
    _check_length(subject.request.length)
    if len(rows) < 2 * MIN_GIVEN_HALF:
        return Plan((subject,), (WHOLE_RANGE,), (subject,))
    return Plan((subject.at(tokens=rows[::2]),), (WHOLE_RANGE,), (subject.at(tokens=rows[1::2]),))


def _lengths(subject: Subject, lengths: Sequence[int] | None) -> list[int]:
    longest = _longest(subject)
    wanted = [n for n in DEFAULT_LENGTHS if n <= longest] if lengths is None else list(dict.fromkeys(_whole(lengths)))
    wanted = wanted or [longest]
    if len(wanted) > MAX_LENGTHS:
        raise BadInput(f"At most {MAX_LENGTHS} lengths can be judged together, not {len(wanted)}.")
    for length in wanted:
        _check_length(length)
    return wanted


def _whole(lengths: Sequence[int]) -> list[int]:
    try:
        numbers = list(map(whole, lengths))
    except TypeError:
        numbers = [None]
    found = [number for number in numbers if number is not None]
    if len(found) < len(numbers):
        raise BadInput(f"Lengths are given as a list of whole numbers, such as [25, 50, 100], not as {shown(lengths)}.")
    return found


def _counts(wanted: Sequence[int], per_length: int | None) -> list[int]:
    """How many sequences of each length: of the longest enough for a mean that stands in for heads, too."""
    if per_length is not None:
        each = whole(per_length)
        if each is None or each < 1:
            raise BadInput(f"The sequences of each length must be a whole number above 0, or None, not {shown(per_length)}.")
        return [each] * len(wanted)
    total = max(SEQUENCES_PER_LENGTH * len(wanted), MIN_SEQUENCES)
    longest = max(REFERENCE_SEQUENCES, -(-total // len(wanted)))
    others = -(-(total - longest) // max(1, len(wanted) - 1))
    return [longest if length == max(wanted) else others for length in wanted]


def _check_length(length: int) -> None:
    if length < LEAST_LENGTH:
        raise BadInput(
            f"No head is called at length {length}: so few tokens have no other order to tell a position from a copy. "
            f"The shortest length is {LEAST_LENGTH}."
        )


def _longest(subject: Subject) -> int:
    vocabulary, request = subject.identity.vocabulary, subject.request
    return min(longest_length(vocabulary, request.bos), len(candidate_ids(vocabulary, request.token_range)))


def _halves(subject: Subject, longest: int) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The lower and the upper half of the ids to draw from, where both hold a copy and a control of the longest length."""
    ids = candidate_ids(subject.identity.vocabulary, subject.request.token_range)
    middle = len(ids) // 2
    if middle < 2 * longest:
        return None
    return (int(ids[0]), int(ids[middle])), (int(ids[middle]), int(ids[-1]) + 1)
