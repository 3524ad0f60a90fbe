"""The report's own recipe: its probe as far as it fits a model, and how it read patterns and losses.

The recipe (Muhia 2022): 4 random sequences of 100 tokens, ids 1000 to 9999 drawn with replacement, twice, no BOS; a head's
score is the mean of the *whole* diagonal `1 - L` of its pattern; heads strictly above a threshold lose their values; "loss"
is the mean log-probability of the second copy without its first token (targets 101 to 199). Values that are zero at every
position make the head's output `z = A v` zero, so ablating `z` is the same and is what is done here.

The score is read off here, apart from `core.attention.scores`, because its convention differs: the whole diagonal has
entries that are not induction (one without a BOS, two with one), so a perfect head cannot reach 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from core.probes.layout import Layout
from core.probes.vocabulary import BosPolicy, Vocabulary, candidate_ids, longest_length, use_bos
from core.replication.published import REPORT_LENGTH, REPORT_SEQUENCES, REPORT_TOKEN_RANGE
from core.settings.subject import Subject
from core.settings.view import Corrections

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Recipe:
    """The report's probe as far as it fits a model, and one sentence for each thing that had to differ.

    subject: of the drawn tokens, as given ones. token_range, seed: what they were drawn from; half-open.
    """

    subject: Subject
    token_range: tuple[int, int]
    seed: int
    notes: tuple[str, ...]


def report_recipe(subject: Subject, *, bos: bool = False) -> Recipe:
    """The report's probe for the subject's model and seed: shorter, or from other ids, only where the model demands it.

    With and without a BOS the tokens are the same, so the BOS is all that differs. Raises BadInput for a model without
    room for two tokens twice.
    """
    vocabulary = subject.identity.vocabulary
    notes = []
    policy: BosPolicy = "never"
    if bos and vocabulary.bos_token_id is not None:
        policy = "always"
    elif bos:
        notes.append("This model has no BOS token, so there is none in front.")
    token_range = _nearest_range(vocabulary)
    low, high = token_range
    if token_range != REPORT_TOKEN_RANGE:
        notes.append(f"Tokens are drawn from ids {low:,} to {high - 1:,}, not 1,000 to 9,999: the vocabulary has {high:,}.")
    roomiest: BosPolicy = "never" if vocabulary.bos_token_id is None else "always"
    length = min(REPORT_LENGTH, longest_length(vocabulary, roomiest))
    if length < REPORT_LENGTH:
        notes.append(f"Sequences have {length} tokens, not {REPORT_LENGTH}: no more fit this model's context.")
    ids, seed = candidate_ids(vocabulary, token_range), subject.request.seed
    r = np.random.default_rng(seed).choice(ids, size=(REPORT_SEQUENCES, length))
    front = [vocabulary.bos_token_id] if use_bos(vocabulary, policy) and vocabulary.bos_token_id is not None else []
    tokens = tuple((*front, *row, *row) for row in r.tolist())
    drawn = subject.at(length=length, sequences=REPORT_SEQUENCES, bos=policy, tokens=tokens)
    return Recipe(drawn, token_range, seed, tuple(notes))


def _nearest_range(vocabulary: Vocabulary) -> tuple[int, int]:
    """1000 to 9999; as much of it as the vocabulary has, if that is enough for two different copies; else everything."""
    low, high = REPORT_TOKEN_RANGE[0], min(REPORT_TOKEN_RANGE[1], vocabulary.size)
    return (low, high) if high - low >= 2 * REPORT_LENGTH else (0, vocabulary.size)


def whole_diagonal(
    pattern: Float[torch.Tensor, "batch heads tokens tokens"], offset: int
) -> Float[torch.Tensor, "batch heads"]:
    """The report's reading of a pattern: the mean of the diagonal `A[q, q - offset]` over every query that has such a key."""
    return pattern.float().diagonal(offset=-offset, dim1=-2, dim2=-1).mean(-1)


def second_copy_diagonal(
    pattern: Float[torch.Tensor, "batch heads tokens tokens"], length: int
) -> Float[torch.Tensor, "batch heads"]:
    """The corrected reading: of the diagonal `A[q, q - L + 1]`, only the last `L` entries, the second copy's queries."""
    return pattern.float().diagonal(offset=1 - length, dim1=-2, dim2=-1)[..., -length:].mean(-1)


def second_copy_value(
    token_loss: Float[np.ndarray, "... tokens"], layout: Layout, corrections: Corrections
) -> Float[np.ndarray, "..."] | float:
    """The number that the report calls loss, or its correction, of token losses in nats; the mean is over targets."""
    loss: Float[np.ndarray, "..."] | float = token_loss[..., layout.second_copy_targets].mean(-1, dtype=np.float64)
    return loss if corrections.sign else -loss
