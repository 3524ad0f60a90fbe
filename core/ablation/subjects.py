"""What every ablation of a subject starts from: which heads there are, what stands in for them, its key and its ablator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Int

from core.attention.cached import existing_heads
from core.attention.scores import table_digest
from core.errors import BadInput
from core.heads import Head, HeadLike, HeadSet, head_set
from core.probes.probe import ProbeOptions
from core.probes.repeated import repeated_probe
from core.runtime.lru import Lru
from core.settings.modes import MODES, REFERENCE_SEQUENCES, Mode
from core.settings.subject import Subject

if TYPE_CHECKING:
    from core.ablation.ablator import Ablator

ABLATION_VERSION = 6
# Far from any seed a person types, so that reference sequences are never the probe's own.
REFERENCE_SEED_SHIFT = 1_000_003
ABLATORS_KEPT = 2
# What can stand in for a single head whose effect on other heads is asked. `resample` has no partner for a probe that is
# measured in parts, and holding patterns still would hide the very thing that is asked.
PRUNING_MODES: tuple[Mode, ...] = ("zero", "mean")
_ablators: Lru[tuple[str, int], Ablator] = Lru(ABLATORS_KEPT)


def checked_heads(subject: Subject, heads: Sequence[HeadLike]) -> HeadSet:
    """`heads` without doubles, in order; raises BadInput for one that the model does not have."""
    return head_set(heads, subject.card.n_layers, subject.card.n_heads)


def heads_of(subject: Subject) -> HeadSet:
    """The heads that there are, layer by layer: a layer without attention has none, and its scores are NaN."""
    return tuple(Head(int(layer), int(head)) for layer, head in np.argwhere(existing_heads(subject)))


def check_mode(subject: Subject, mode: Mode) -> None:
    """Raises BadInput for a mode that there is not, or that this probe cannot have."""
    if mode not in MODES:
        raise BadInput(f"The ablation mode must be one of {', '.join(MODES)}, not {mode!r}.")
    if mode == "resample" and subject.probe.n_sequences < 2:
        raise BadInput("Resample ablation needs at least 2 sequences: a head's output must come from another one.")
    if mode == "resample" and subject.request.tokens is not None and len(set(subject.request.tokens)) < 2:
        raise BadInput("Resample ablation needs at least 2 different rows: from an equal one a head's output is its own.")


def check_pruning_mode(mode: Mode) -> None:
    """Raises BadInput for a mode that single heads are not pruned or cut with."""
    if mode not in PRUNING_MODES:
        raise BadInput(f"Here a head is replaced by zero or by its mean, not {mode!r}.")


def pruning_mode(mode: Mode) -> Mode:
    """`mode` where single heads are pruned or cut with it, else the mean."""
    return mode if mode in PRUNING_MODES else "mean"


def ablation_key(subject: Subject, kind: str, mode: str, **parts: object) -> str:
    """The content key of something that needs an ablator: its version and the score table are in it."""
    # The ids of a probe that was drawn tell which others its reference is drawn from; those that a person gave do not.
    given = {} if subject.request.tokens is None else {"vocabulary": sorted(subject.identity.vocabulary.special_ids)}
    return subject.key(kind, mode=mode, ablation_version=ABLATION_VERSION, table=table_digest(), **given, **parts)


def ablator_for(subject: Subject) -> Ablator:
    """An ablator for this model and probe; the last few stay, for a person tries one head set after another."""

    def make() -> Ablator:
        from core.ablation.ablator import Ablator

        return Ablator(subject.load(), subject.probe.tokens, reference_tokens(subject), seed=subject.probe.options.seed)

    # A named model whose weights were changed in memory was read anew.
    return _ablators.get_or_make((ablation_key(subject, "ablator", ""), id(subject.placed())), make)


def reference_tokens(subject: Subject) -> Int[np.ndarray, "reference tokens"]:
    """Fresh sequences `[BOS] + r + r'` of the same length, range and BOS, whose mean stands in for a head's output.

    Never repeated ones: what a head does on every repeated sequence would be in their mean, and would not be taken away.
    Ids that a person gave may have any id in front: it stands in front here, too, and is not drawn.
    """
    probe, vocabulary = subject.probe, subject.identity.vocabulary
    front = probe.tokens[:, : probe.bos_tokens]
    if subject.request.tokens is not None:
        vocabulary = replace(vocabulary, special_ids=vocabulary.special_ids | set(front.flatten().tolist()))
    fresh = repeated_probe(
        vocabulary,
        ProbeOptions(
            length=probe.length,
            sequences=REFERENCE_SEQUENCES,
            seed=probe.options.seed + REFERENCE_SEED_SHIFT,
            bos="never",
            token_range=probe.options.token_range,
        ),
    ).control
    assert fresh is not None
    return np.concatenate([np.resize(front, (REFERENCE_SEQUENCES, probe.bos_tokens)), fresh], axis=1)
