"""One vocabulary for numbers that leave: a page's download and a command's output are the same object.

Every function gives JSON values but for arrays and NaN, which `as_json` turns into lists and null. Matrices are
`[layer][head]`; heads are named `L5H7`; losses, effects and costs are nats.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

import numpy as np
from jaxtyping import Float

from core.ablation.outcomes import Ablation, Baselines, CausalMap, Pruning, TotalEffect
from core.ablation.sweep import Sweep, SweepRow
from core.attention.head_scores import HeadScores
from core.attention.patterns import RowPatterns
from core.attention.rows import TokenRow
from core.attention.scores import ALL_SCORES, PLACEBO_SHIFTS
from core.attention.sensitivity import Sensitivity
from core.attention.tables import spread_rows
from core.attention.words import withheld_reasons
from core.behaviour import Behaviour, Losses
from core.circuits.circuit import KINDS, Circuit
from core.circuits.tables import edge_facts
from core.circuits.words import withheld_sentence
from core.errors import ModelUnavailable
from core.heads import Head, HeadSet, every_head, named, names
from core.quantities.cached import Asked, reading_head, text_windows_of
from core.quantities.comparison import Comparison
from core.quantities.table import reads_of_a_head
from core.quantities.tables import comparison_facts
from core.quantities.words import sentences as comparison_sentences
from core.runtime.versions import HEADSCOPE
from core.settings.modes import Mode
from core.settings.subject import Subject
from core.settings.view import RowChoice
from core.text.paragraph import unread, why_left_out
from core.text.words import windows_words
from core.transformer.card import ModelIdentity
from core.transformer.checks import Conformance
from core.verdicts.conformance import conformance
from core.verdicts.judge import Verdict
from core.verdicts.judgement import Judgement
from core.verdicts.nominees import Nominee, with_their_effects
from core.verdicts.roles import DELTA
from core.verdicts.words import effects_words, nominee_sentence, ordered, sentence, stability_words

Facts = dict[str, Any]


def envelope(subject: Subject, *, length: int | None = None) -> Facts:
    """What stands around every object: who wrote it and when, the model, its digest and what was checked of it, the probe.

    length: at which the model was checked, where that is not the length of the subject's probe.
    Raises ModelUnavailable where a check fails that every number rests on.
    """
    checked = conformance(subject if length is None else subject.at(length=length))
    if checked.refused:
        raise ModelUnavailable(checked.refused)
    return _envelope(subject, checked)


def _envelope(subject: Subject, checked: Conformance) -> Facts:
    return {
        "headscope": HEADSCOPE,
        "date": date.today().isoformat(),
        "model": model_facts(subject.identity),
        "conformance": {
            "length": checked.length,
            "passed": checked.passed,
            "withheld": list(checked.withheld),
            "remarks": list(checked.remarks),
        },
        "probe": probe_facts(subject),
    }


def model_facts(identity: ModelIdentity) -> Facts:
    """Whose numbers: sizes, origin, and the digest of the weights."""
    card = identity.card
    return {
        "name": card.name,
        "title": card.title,
        "family": card.family,
        "n_layers": card.n_layers,
        "n_heads": card.n_heads,
        "n_key_value_heads": card.n_key_value_heads,
        "d_model": card.d_model,
        "d_head": card.d_head,
        "d_vocab": card.d_vocab,
        "n_ctx": card.n_ctx,
        "n_params": card.n_params,
        "source": card.source,
        "weights_digest": identity.weights_digest,
    }


def probe_facts(subject: Subject) -> Facts:
    """What was measured on."""
    probe, given = subject.probe, subject.request.tokens is not None
    return {
        "length": probe.length,
        "sequences": probe.n_sequences,
        "seed": None if given else probe.options.seed,
        "bos": probe.options.bos,
        "has_bos": probe.has_bos,
        "n_tokens": probe.n_tokens,
        "token_range": None if given else list(probe.token_range),
        "warnings": list(probe.warnings),
        "dtype": subject.dtype,
        "device": subject.device,
    }


def conformance_facts(subject: Subject, found: Conformance) -> Facts:
    """Every check of the model at the length used, and what is withheld."""
    return _envelope(subject, found) | {
        "length": found.length,
        "checks": [asdict(check) for check in found.checks],
        "withheld": list(found.withheld),
        "remarks": list(found.remarks),
    }


def loss_facts(losses: Losses) -> Facts:
    """Both copies' losses, the gain, and what knowing only which tokens occur would give."""
    return {
        "first_copy": losses.first_copy,
        "second_copy": losses.second_copy,
        "gain": losses.gain,
        "ln_length": losses.ln_length,
    }


def behaviour_facts(found: Behaviour) -> Facts:
    """Whether the model does induction on this probe at all, and what that rests on: shares, and losses in nats."""
    numbers = ("state", "e", "low", "rep", "rot", "shuf", "fresh", "top1")
    return {name: getattr(found, name) for name in numbers}


def score_facts(subject: Subject, scores: HeadScores) -> Facts:
    """Every score of every head, chance beside it, and the same at placebo offsets."""
    losses, length = scores.losses(), scores.layout.length
    chance = {name: scores.chance(name) for name in ALL_SCORES}
    ends = {name: scores.interval(name) if name in scores.names else (None, None) for name in ALL_SCORES}
    return envelope(subject) | {
        "loss": loss_facts(losses),
        "behaviour": behaviour_facts(scores.behaviour),
        "scores": {name: scores.mean(name) if name in scores.names else None for name in ALL_SCORES},
        "low": {name: low for name, (low, _) in ends.items()},
        "high": {name: high for name, (_, high) in ends.items()},
        "not_measured": list(scores.later),
        "withheld": withheld_reasons(scores),
        "chance": {name: _of_all(levels) for name, levels in chance.items()},
        "chance_by_layer": chance,
        "control": {"induction": scores.per_sequence["induction_control"].mean(-1) if scores.has_control else None},
        "placebo": {
            "tokens_back": [length - 1 + shift for shift in PLACEBO_SHIFTS],
            "attention": list(scores.placebo.mean(-1)),
        },
        "engine": scores.engine,
    }


def ablation_facts(
    subject: Subject,
    heads: HeadSet,
    mode: Mode,
    result: Ablation | None,
    effect: TotalEffect | None,
    baselines: Baselines | None,
    text: str,
) -> Facts:
    """What a head set costs and gives, beside other sets and on `text`; null for what is not measured yet."""
    facts = envelope(subject) | {"heads": names(heads), "mode": mode}
    facts |= {"total_effect": _total_effect_facts(effect), "baseline": _baseline_facts(baselines, result)}
    if result is None:
        return facts
    return facts | {
        "engine": result.engine,
        "loss": {
            "clean": loss_facts(result.clean_losses) | {"whole": _whole(result.clean)},
            "ablated": loss_facts(result.ablated_losses) | {"whole": _whole(result.ablated)},
        },
        "second_copy_change": result.second_copy_change._asdict(),
        "gain_lost": result.gain_lost,
        "text": None
        if result.text is None
        else dict(zip(("clean", "ablated"), (_whole(loss) for loss in result.text), strict=True))
        | asdict(unread(subject, text)),
        "text_left_out": why_left_out(subject.identity, text),
        "per_position": {"clean": result.clean.mean(0), "ablated": result.ablated.mean(0)},
    }


def causal_facts(
    subject: Subject,
    mode: Mode,
    losses: Losses,
    found: CausalMap | None,
    estimate: Float[np.ndarray, "n_layers n_heads"] | None,
) -> Facts:
    """What removing each head alone changes: measured, with its interval, where `measured` says so, else estimated.

    exists: where layers differ in how many heads they have, some places of a matrix are of none; null before any is measured.
    estimate: the screen's, by gradient; null where every head is measured without one.
    """
    nothing = np.full((subject.card.n_layers, subject.card.n_heads), np.nan)
    effect = nothing if found is None else found.effect
    low, high = (nothing, nothing) if found is None else found.interval
    return envelope(subject) | {
        "mode": mode,
        "effect": np.where(np.isnan(effect), nothing if estimate is None else estimate, effect),
        "low": low,
        "high": high,
        "measured": ~np.isnan(effect),
        "exists": None if found is None else found.there,
        "estimate": estimate,
        "engine": None if found is None else found.engine,
        "loss": loss_facts(losses),
    }


def sweep_facts(
    subject: Subject, mode: Mode, score: str, sweep: Sweep, other_modes: Mapping[Mode, Sweep] | None = None
) -> Facts:
    """What every threshold buys."""
    others = {other: [row.second_copy for row in found.rows] for other, found in (other_modes or {}).items()}
    return envelope(subject) | {
        "mode": mode,
        "score": score,
        "loss": loss_facts(sweep.clean),
        "rows": [sweep_row_facts(row) for row in sweep.rows],
        "knee": sweep.knee,
        "other_modes": others,
    }


def sweep_row_facts(row: SweepRow) -> Facts:
    """One threshold."""
    return {
        "threshold": row.threshold,
        "n_heads": row.n_heads,
        "heads": names(row.heads),
        "second_copy": row.second_copy,
        "second_copy_change": row.change._asdict(),
        "gain_lost": row.gain_lost,
        "baseline_mean": row.baseline_mean,
        "baseline_low": row.baseline_low,
        "baseline_high": row.baseline_high,
        "p": row.p,
        "smallest_p": row.smallest_p,
        "note": row.note,
        "step": row.step,
    }


def call_facts(subject: Subject, judged: Judgement, found: Sequence[Nominee] | None) -> Facts:
    """Every verdict with what it rests on, called heads first; `found`: heads that matter and do not match, None while unknown.

    Effects, and `delta`, are shares of the model's gain, which is in logits.
    """
    return envelope(subject, length=None if subject.request.tokens is not None else max(judged.lengths)) | {
        "probe": _judged_probe_facts(subject, judged),
        "behaviour": {"state": judged.behaviour, "states": list(judged.behaviours)},
        "lengths": judged.lengths,
        "sequences": judged.sequences,
        "floor": judged.floor,
        "mode": judged.mode,
        "effect_sequences": judged.effect_sequences,
        "gain": judged.gain._asdict(),
        "delta": DELTA,
        "stability": {
            "sequences": judged.stability.resampled._asdict(),
            "lengths": judged.stability.lengths,
            "token_ranges": judged.stability.token_ranges or None,
        },
        "withheld": {"direct_effect": judged.withheld} if judged.withheld else {},
        "heads": [verdict_facts(verdict, judged) for verdict in ordered(with_their_effects(judged, found or ()))],
        "unexplained": None if found is None else [nominee_facts(nominee) for nominee in found],
        "sentences": [said for said in (effects_words(judged), stability_words(judged)) if said],
    }


def verdict_facts(verdict: Verdict, judged: Judgement) -> Facts:
    """One head's label and the numbers that gave it."""
    looks = {
        name: getattr(verdict, name)._asdict() | {"chance": verdict.chance[name]}
        for name in ("induction", "previous_token", "duplicate_token", "sink")
    }
    return {
        "head": verdict.name,
        "label": verdict.label,
        "role_route": verdict.role_route,
        "induction": looks.pop("induction"),
        "contrast": verdict.contrast._asdict(),
        "rotation_contrast": verdict.rotation_contrast._asdict(),
        "specificity": verdict.specificity._asdict(),
        "q": verdict.q,
        "total_effect": verdict.total_effect._asdict(),
        "role_q": verdict.role_q,
        "direct_effect": verdict.direct_effect._asdict(),
        # Of the weights, not of sequences: there is nothing to have an interval over.
        "copying": {"value": verdict.copying, "low": None, "high": None},
        **looks,
        "sentence": sentence(verdict, judged),
    }


def nominee_facts(nominee: Nominee) -> Facts:
    """One head that matters and that no label explains."""
    return {
        "head": nominee.name,
        "total_effect": nominee.total_effect._asdict(),
        "p": nominee.p,
        "q": nominee.q,
        "sentence": nominee_sentence(nominee),
    }


def _judged_probe_facts(subject: Subject, judged: Judgement) -> Facts:
    """As `probe_facts`, of the several lengths that heads are judged on."""
    request, given = subject.request, subject.request.tokens is not None
    return {
        "lengths": judged.lengths,
        "sequences": judged.sequences,
        "seed": None if given else request.seed,
        "bos": request.bos,
        "has_bos": subject.probe.has_bos,
        "token_range": None if given else list(subject.probe.token_range),
        "dtype": subject.dtype,
        "device": subject.device,
    }


def circuit_facts(subject: Subject, found: Circuit, behaviour: Behaviour) -> Facts:
    """Which previous-token heads feed which induction heads, and every earlier head's composition."""
    return envelope(subject) | {
        "behaviour": behaviour_facts(behaviour),
        "mode": found.mode,
        "previous_token_heads": names(found.previous),
        "induction_heads": names(found.induction),
        "rotary_ignored": subject.card.positional == "rotary",
        "composition_withheld": withheld_sentence(found) or None,
        "edges": [edge_facts(edge) for edge in found.edges],
        "composition": [
            {"induction": head.name, "random": found.baseline} | dict(zip(KINDS, composed, strict=True))
            for head, composed in zip(found.induction, found.composition, strict=True)
        ],
    }


def pruning_facts(subject: Subject, prunings: Sequence[Pruning]) -> Facts:
    """Each head taken away alone: losses, and every other head's prefix matching before and after."""
    return envelope(subject) | {
        "mode": prunings[0].mode if prunings else None,
        "prunings": [
            {
                "head": found.head.name,
                "loss": {"clean": loss_facts(found.clean), "ablated": loss_facts(found.pruned)},
                "second_copy_change": found.change._asdict(),
                "gain_lost": found.gain_lost,
                "prefix_matching": [
                    {"head": head.name, "before": float(found.before[head]), "after": float(found.after[head])}
                    for head in every_head(*found.before.shape)
                    if not np.isnan(found.before[head])
                ],
                "prefix_matching_lost": dict(zip(("low", "high"), found.lost_interval, strict=True)),
            }
            for found in prunings
        ],
    }


def sensitivity_facts(subject: Subject, found: Sensitivity, heads: Sequence[Head], threshold: float) -> Facts:
    """How one score of some heads moves with length, seed and BOS, and which heads are above a threshold throughout."""
    always, sometimes = found.steady(threshold)
    return envelope(subject) | {
        "score": found.score,
        "threshold": threshold,
        "sequences": found.sequences,
        "above_always": names(always),
        "above_sometimes": names(sometimes),
        "settings": spread_rows(found, heads, threshold),
    }


def compare_facts(asked: Asked, found: Comparison) -> Facts:
    """Two quantities of every head, and what they have in common; imported numbers by the digest of what was given."""
    imported, axes = asked.imported, [axis for axis in (found.x, found.y, found.colour) if axis is not None]
    # The one that was taken where none was named, too.
    reader = reading_head(asked) if any(reads_of_a_head(axis.name) for axis in axes) else asked.reader
    return (
        envelope(asked.subject)
        | {
            "mode": asked.mode,
            "floor": asked.floor,
            "text": windows_words(text_windows_of(asked)) if any(axis.quantity.source == "text" for axis in axes) else None,
            "reader": None if reader is None else reader.name,
            "imported": None
            if imported is None
            else {"title": imported.title, "n_heads": imported.n_heads, "digest": imported.digest},
        }
        | comparison_facts(found)
        | {"sentences": comparison_sentences(found)}
    )


def _of_all(levels: Float[np.ndarray, " n_layers"]) -> float | None:
    """What all layers have in common; None where some see less than others."""
    return float(levels[0]) if (levels == levels[0]).all() else None


def attention_facts(
    subject: Subject,
    head: Head,
    choice: RowChoice,
    row: TokenRow,
    pattern: Float[np.ndarray, "tokens tokens"],
    patterns: RowPatterns,
) -> Facts:
    """One head's pattern on one row of tokens (rows are queries), and each token's loss; the first has none."""
    return envelope(subject) | {
        "head": head.name,
        "row": {
            "kind": choice.kind,
            "sequence": None if choice.kind == "text" else choice.sequence,
            "ids": row.ids,
            "tokens": [subject.identity.token_text(i) for i in row.ids],
            "on_stripe": row.mean_on_cells(pattern),
            "chance_on_stripe": row.chance_on_cells(patterns.window(head)),
        },
        "pattern": pattern.astype(np.float64).round(5),
        "token_loss": patterns.token_loss.astype(np.float64).round(5),
    }


def as_json(value: Any) -> Any:
    """`value` with arrays as lists, heads by name, and what JSON cannot say (NaN) as null."""
    if isinstance(value, Head):
        return value.name
    if isinstance(value, Mapping):
        return {str(name): as_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if hasattr(value, "tolist"):
        return as_json(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def json_text(facts: Facts) -> str:
    """Facts as one JSON object, to be read by people, too."""
    return json.dumps(as_json(facts), indent=1, allow_nan=False)


def _total_effect_facts(effect: TotalEffect | None) -> Facts | None:
    """In units of the model's gain, null where that is none; both in logits beside it."""
    if effect is None:
        return None
    logits = {"logits": effect.in_logits._asdict(), "gain_in_logits": effect.unit._asdict()}
    return effect.in_gains._asdict() | logits


def _baseline_facts(baselines: Baselines | None, result: Ablation | None) -> Facts | None:
    if baselines is None:
        return None
    low, high, mean = baselines.range
    return {
        "sets": [named(found) for found in baselines.sets],
        "distinct": baselines.distinct,
        "second_copy": baselines.second_copy,
        "mean": mean,
        "low": low,
        "high": high,
        "p": None if result is None else baselines.p(result),
        "smallest_p": baselines.smallest_p,
        "bound": baselines.bound,
        "note": baselines.note,
    }


def _whole(token_loss: Float[np.ndarray, "sequences tokens"]) -> float:
    """The mean over every token that something predicts."""
    return float(np.nanmean(token_loss, dtype=np.float64))
