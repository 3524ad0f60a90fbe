"""From a subject to verdicts on every head: evidence over several lengths, gathered once and kept.

Kept apart, so that a new floor measures nothing again but what heads do that now match: where heads look; the model's gain and
what heads write; the total effect of each head by itself; copying, which is a fact of the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float

from core.ablation.cached_map import estimates_by_sequence
from core.ablation.screening import ALWAYS_EXACT_LAYERS, largest_by_gradient
from core.ablation.subjects import ABLATION_VERSION, reference_tokens
from core.attention.cached import check_existing, first_scores
from core.attention.scores import table_digest
from core.behaviour import State, strongest
from core.errors import BadInput, Withheld
from core.heads import Head, HeadSet
from core.plain import finite, shown
from core.probes.probe import Probe
from core.runtime.cache import cached
from core.runtime.jobs import current_control
from core.runtime.lru import Lru
from core.runtime.made_once import made_once
from core.runtime.store import Stored, default_store
from core.settings.cost import expected_seconds
from core.settings.experiment import EFFECT_FLOOR
from core.settings.modes import MODES, Mode
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.stats import UNKNOWN, Number, estimate
from core.text.cached import natural_scores, text_key
from core.text.windows import TextWindows
from core.verdicts.evidence import Effects, Evidence
from core.verdicts.judge import judge_heads
from core.verdicts.judgement import Judgement
from core.verdicts.matching import contrast_q_values, matching
from core.verdicts.nominees import Nominee, nominated, unexplained
from core.verdicts.on_text import OnText, on_text
from core.verdicts.plan import Plan, lengths_of, plan_for, probes_of
from core.verdicts.roles import Shares, shares_of_gain
from core.verdicts.stability import stability

if TYPE_CHECKING:
    from core.ablation.reference import ReferenceMeans
    from core.attention.fresh_outputs import FreshOutputs, MeanZ
    from core.verdicts.gather import Bench

VERDICT_VERSION = 8
COPYING_VERSION = 1


def judge(
    asked: Subject | Request | str,
    lengths: Sequence[int] | None = None,
    floor: float = EFFECT_FLOOR,
    *,
    per_length: int | None = None,
    mode: Mode = "mean",
) -> Judgement:
    """Judge every head on at least 64 sequences over several lengths (25, 50 and 100, less those that do not fit).

    mode: what stands in for a head that is taken away. A new floor costs nothing but the effects of heads that now match.

    >>> from core import judge
    >>> [(verdict.name, verdict.label) for verdict in judge("by-construction", [20], per_length=16).called]
    [('L1H3', 'induction')]

    Raises BadInput for lengths, a floor or a mode that cannot be used.
    """
    floor = _checked_floor(floor)
    if mode not in MODES:
        raise BadInput(f"The ablation mode must be one of {', '.join(MODES)}, not {mode!r}.")
    subject = bind(asked)
    plan = plan_for(subject, lengths, per_length)
    bench, control = _Bench(subject, plan), current_control()
    with control.part(0, _STAGES, "measuring where heads look"):
        seen = _seen(subject, plan)
    with control.part(1, _STAGES, "reading what heads write"):
        writing = _writing(bench)
        copying = _copying(subject)
    matches = matching(seen.evidence, seen.q).above(floor)
    with control.part(2, _STAGES, "taking matching heads away"):
        total = _total_effects(bench, tuple(Head(*map(int, head)) for head in np.argwhere(matches)), mode)
    # All that it rests on is at hand now; what it comes to is asked for at every drawing of a page.
    key = (_seen_key(subject, probes_of(plan.picking)), bench.key("judgement", mode=mode, floor=floor))
    return _judgements.get_or_make(key, lambda: _judgement(plan, seen, writing, copying, total, floor, mode))


# What the three stages of a verdict take beside each other, where a dozen heads match.
_STAGES = (13.0, 3.0, 4.0)
_judgements: Lru[tuple[str, str], Judgement] = Lru(32)
# By the key of what they were read with: only the latest, for they are as large as a sequence's activations.
_outputs: Lru[str, FreshOutputs] = Lru(1)


def _judgement(
    plan: Plan,
    seen: _Seen,
    writing: _Writing,
    copying: Float[np.ndarray, "n_layers n_heads"],
    total: Float[np.ndarray, "n_layers n_heads sequences"],
    floor: float,
    mode: Mode,
) -> Judgement:
    effects = Effects(total, writing.direct, writing.gain, _effect_lengths(plan), writing.withheld)
    behaviour = strongest(list(seen.behaviours))
    return Judgement(
        verdicts=judge_heads(seen.evidence, effects, behaviour, floor, q=seen.q, copying=copying),
        behaviour=behaviour,
        behaviours=seen.behaviours,
        lengths=plan.lengths,
        sequences=seen.evidence.n_sequences,
        floor=floor,
        gain=shares_of_gain(effects, behaviour).gain,
        mode=mode,
        effect_sequences=len(effects.lengths),
        picked_on_the_same=plan.picked_on_the_same,
        stability=stability(seen.evidence, seen.q, floor),
        withheld=writing.withheld,
    )


def nominees(
    asked: Subject | Request | str,
    lengths: Sequence[int] | None = None,
    floor: float = EFFECT_FLOOR,
    *,
    per_length: int | None = None,
    mode: Mode = "mean",
) -> tuple[Nominee, ...]:
    """Heads that matter and that no label explains, where the behaviour is present; raises as `judge`.

    Every head without a label is taken away in models of up to 6 layers; in larger ones those among the 11 % whose effect a
    gradient estimates as largest.
    """
    subject = bind(asked)
    judged = judge(subject, lengths, floor, per_length=per_length, mode=mode)
    if judged.behaviour != "present":
        return ()
    plan = plan_for(subject, lengths, per_length)
    heads = unexplained(judged.verdicts)
    if subject.card.n_layers > ALWAYS_EXACT_LAYERS:
        # At the middle length.
        screened = set(largest_by_gradient(estimates_by_sequence(plan.judging[len(plan.judging) // 2], mode)))
        heads = tuple(head for head in heads if head in screened)
    return nominated(_shares(_Bench(subject, plan), heads, mode, judged.behaviour), heads)


def total_effect_of(asked: Subject | Request | str, head: Head, floor: float = EFFECT_FLOOR, *, mode: Mode = "mean") -> Number:
    """What the right token loses without `head`, as a share of the gain, whether it matches or not; raises as `judge`.

    Unknown where the behaviour is not present: then there is no gain to have a share of.
    """
    subject = bind(asked)
    check_existing(subject, head)
    judged, plan = judge(subject, floor=floor, mode=mode), plan_for(subject)
    if judged.behaviour != "present":
        return UNKNOWN
    shares = _shares(_Bench(subject, plan), (head,), mode, judged.behaviour)
    return estimate(shares.total[head]) if shares.any else UNKNOWN


def matching_heads(asked: Subject | Request | str, floor: float = EFFECT_FLOOR) -> Bool[np.ndarray, "n_layers n_heads"]:
    """Which heads match on random tokens, without asking what they do; raises as `judge`."""
    floor, subject = _checked_floor(floor), bind(asked)
    seen = _seen(subject, plan_for(subject))
    return matching(seen.evidence, seen.q).above(floor)


def _checked_floor(floor: float) -> float:
    found = finite(floor)
    if found is None or not 0 <= found < 1:
        raise BadInput(f"The contrast floor must be a number from 0 up to, not including, 1, not {shown(floor)}.")
    return found


def judged_on_text(asked: Subject | Request | str, windows: TextWindows, floor: float = EFFECT_FLOOR) -> OnText:
    """Heads on random tokens beside the same heads on windows of a text; raises as `judge` and `natural_scores`."""
    subject, control = bind(asked), current_control()
    with control.part(0, 2, "reading windows of text"):
        found = natural_scores(subject, windows)
    with control.part(1, 2, "measuring where heads look on random tokens"):
        matches = matching_heads(subject, floor)
        random = first_scores(subject).mean("induction")
    return on_text(matches, random, found)


def copied_on_text(subject: Subject, windows: TextWindows, head: Head, kind: int) -> Float[np.ndarray, " edges"]:
    """What `head` adds to the logit of the token that it attends to, for each of its strongest edges of a kind, in logits.

    Raises Withheld, with the reason, where the parts do not add up to the logit; and as `natural_scores`.
    """
    check_existing(subject, head)
    edges = natural_scores(subject, windows).edges
    there = edges.strength[head][kind] > 0
    places = [getattr(edges, name)[head][kind][there] for name in ("window", "query", "key")]

    def compute() -> Stored:
        from core.verdicts.copied import effects_on_attended

        return Stored({"logits": effects_on_attended(subject.load(windows.tokens.shape[1]), windows.tokens, head, *places)}, {})

    key = text_key(subject, "copied", windows, head=head.name, kind_of_edge=kind, verdict_version=VERDICT_VERSION)
    return cached(key, compute).arrays["logits"]


def verdict_seconds(subject: Subject) -> float:
    """How long a verdict is expected to take here, by the arithmetic of its passes. Raises as `plan_for`."""
    plan = plan_for(subject)
    picking = sum(expected_seconds(part, 3.0) for part in plan.picking)
    return picking + sum(expected_seconds(part, 8.0) for part in plan.judging)


@dataclass(frozen=True)
class _Seen:
    evidence: Evidence
    q: Float[np.ndarray, "n_layers n_heads"]
    behaviours: tuple[State | None, ...]


@dataclass(frozen=True)
class _Writing:
    gain: Float[np.ndarray, " sequences"]
    direct: Float[np.ndarray, "n_layers n_heads sequences"]
    withheld: str


def _seen(subject: Subject, plan: Plan) -> _Seen:
    probes = probes_of(plan.picking)
    key = _seen_key(subject, probes)

    def compute() -> Stored:
        from core.attention.fresh_outputs import FreshOutputs
        from core.verdicts.gather import gather_evidence

        outputs = FreshOutputs(max(probe.n_tokens for probe in probes)) if plan.references else None
        evidence, states = gather_evidence(subject.load(*lengths_of(probes)), probes, plan.ranges, outputs)
        # What stands in for a head that is taken away is asked for next.
        if outputs is not None:
            _outputs.put(key, outputs)
        arrays = {field.name: getattr(evidence, field.name) for field in fields(Evidence)}
        return Stored(arrays | {"q": contrast_q_values(evidence.contrast)}, {"behaviours": list(states)})

    stored = cached(key, compute)
    evidence = Evidence(**{field.name: stored.arrays[field.name] for field in fields(Evidence)})
    return _Seen(evidence, stored.arrays["q"], tuple(stored.meta["behaviours"]))


class _Bench:
    """What heads are judged on, with the model in place only once something must be measured."""

    def __init__(self, subject: Subject, plan: Plan) -> None:
        self.subject, self.plan = subject, plan

    @made_once
    def ready(self) -> Bench:
        """Over the loaded model."""
        from core.verdicts.gather import Bench

        references = [reference_tokens(judged) for judged in self.plan.judging]
        probes = probes_of(self.plan.judging)
        return Bench(self.subject.load(*lengths_of(probes)), probes, references, self._longest())

    def _longest(self) -> ReferenceMeans | None:
        """The means over sequences that heads were picked on, where there are enough; None for others."""
        if not self.plan.references:
            return None
        from core.ablation.reference import ReferenceMeans
        from core.verdicts.gather import gather_outputs

        probes = probes_of(self.plan.references)
        model = self.subject.load(*lengths_of(probes))
        key = _seen_key(self.subject, probes_of(self.plan.picking))
        rows = np.concatenate([probe.control for probe in probes if probe.control is not None])

        def at_hand() -> dict[int, MeanZ]:
            return _outputs.get_or_make(key, lambda: gather_outputs(model, probes)).means()

        return ReferenceMeans(model, rows, at_hand=at_hand)

    def key(self, kind: str, **parts: object) -> str:
        """The content key of something measured on it."""
        digests = [probe.digest for probe in probes_of(self.plan.judging)]
        means = [probe.digest for probe in probes_of(self.plan.references)]
        return self.subject.model_key(
            kind, probes=digests, means=means, ablation_version=ABLATION_VERSION, verdict_version=VERDICT_VERSION, **parts
        )


def _seen_key(subject: Subject, probes: Sequence[Probe]) -> str:
    digests = [probe.digest for probe in probes]
    return subject.model_key("verdict", probes=digests, verdict_version=VERDICT_VERSION, table=table_digest())


def _writing(bench: _Bench) -> _Writing:
    def compute() -> Stored:
        from core.verdicts.gather import gather_writing

        gain, direct, withheld = gather_writing(bench.ready)
        return Stored({"gain": gain, "direct": direct}, {"withheld": withheld})

    stored = cached(bench.key("verdict-writing"), compute)
    return _Writing(stored.arrays["gain"], stored.arrays["direct"], stored.meta["withheld"])


def _copying(subject: Subject) -> Float[np.ndarray, "n_layers n_heads"]:
    """By the weights; NaN where they cannot be read."""

    def compute() -> Stored:
        from core.verdicts.copying import eigenvalue_copying

        try:
            return Stored({"copying": eigenvalue_copying(subject.load(unchecked=True))}, {})
        except Withheld:
            return Stored({"copying": np.full((subject.card.n_layers, subject.card.n_heads), np.nan)}, {})

    # Read on the tokens that are not special, each behind a BOS.
    tokens = {"bos": subject.identity.bos_token_id, "special_ids": sorted(subject.identity.special_ids)}
    return cached(subject.model_key("copying", copying_version=COPYING_VERSION, **tokens), compute).arrays["copying"]


def _total_effects(bench: _Bench, heads: HeadSet, mode: Mode) -> Float[np.ndarray, "n_layers n_heads sequences"]:
    """Of each of `heads`, in logits; NaN for all others. Those not at hand are measured together, and kept one by one."""
    card = bench.subject.card
    found = np.full((card.n_layers, card.n_heads, len(_effect_lengths(bench.plan))), np.nan)
    keys = {head: bench.key("total-effect", mode=mode, head=head.name) for head in heads}
    computed: dict[Head, Stored] = {}

    def compute(head: Head) -> Stored:
        if head not in computed:
            from core.verdicts.gather import gather_total_effects

            missing = tuple(other for other in heads if default_store().get(keys[other]) is None)
            effects = gather_total_effects(bench.ready, missing, mode)
            computed.update({other: Stored({"total": row}, {}) for other, row in zip(missing, effects, strict=True)})
        return computed[head]

    for head, key in keys.items():
        found[head] = cached(key, partial(compute, head)).arrays["total"]
    return found


def _shares(bench: _Bench, heads: HeadSet, mode: Mode, behaviour: State | None) -> Shares:
    """What `heads` do, as shares of the gain, whatever their label; NaN for all others."""
    writing = _writing(bench)
    total, lengths = _total_effects(bench, heads, mode), _effect_lengths(bench.plan)
    return shares_of_gain(Effects(total, writing.direct, writing.gain, lengths, writing.withheld), behaviour)


def _effect_lengths(plan: Plan) -> np.ndarray:
    return np.concatenate([np.full(probe.n_sequences, probe.length) for probe in probes_of(plan.judging)])
