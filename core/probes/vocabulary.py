"""What a probe must know of a model's tokens, and which of them it may draw."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int

from core.errors import BadInput

BosPolicy = Literal["auto", "always", "never"]
BOS_POLICIES: tuple[BosPolicy, ...] = ("auto", "always", "never")


@dataclass(frozen=True)
class Vocabulary:
    """What a probe must know of a model's tokens; made by `LoadedModel.vocabulary`.

    `prepends_bos` is what the model's own tokenizer does with a text; `bos="auto"` follows it.
    """

    size: int
    special_ids: frozenset[int] = frozenset()
    bos_token_id: int | None = None
    prepends_bos: bool = False
    n_ctx: int = 1024


def use_bos(vocabulary: Vocabulary, policy: BosPolicy) -> bool:
    """Whether a probe starts with a BOS under `policy`.

    Raises BadInput if the policy is unknown, or asks for a BOS that the model does not have.
    """
    if policy not in BOS_POLICIES:
        raise BadInput(f"The BOS policy must be auto, always or never, not {policy!r}.")
    if policy == "never":
        return False
    if policy == "auto":
        return vocabulary.prepends_bos and vocabulary.bos_token_id is not None
    if vocabulary.bos_token_id is None:
        raise BadInput("This model has no BOS token, so the BOS policy must be auto or never.")
    return True


def check_ids(ids: Sequence[int], vocabulary: Vocabulary) -> None:
    """Raises BadInput where a tokenizer gives an id that the model does not have."""
    if max(ids) >= vocabulary.size:
        raise BadInput(f"The tokenizer gives the id {max(ids)}, but this model's ids go from 0 to {vocabulary.size - 1}.")


def longest_length(vocabulary: Vocabulary, policy: BosPolicy = "auto") -> int:
    """The longest `length` whose two copies and BOS fit the model's context."""
    return max(0, (vocabulary.n_ctx - int(use_bos(vocabulary, policy))) // 2)


def candidate_ids(vocabulary: Vocabulary, token_range: tuple[int, int] | None) -> Int[np.ndarray, " candidates"]:
    """The ids a probe may draw from: the range, less the special tokens.

    Raises BadInput if the range is empty or leaves the vocabulary.
    """
    low, high = token_range if token_range is not None else (0, vocabulary.size)
    if not 0 <= low < high <= vocabulary.size:
        raise BadInput(
            f"The token range {low}:{high} must lie within 0:{vocabulary.size} (this model's vocabulary) and not be empty."
        )
    ids = np.arange(low, high, dtype=np.int64)
    special = np.fromiter((i for i in vocabulary.special_ids if low <= i < high), dtype=np.int64)
    return np.setdiff1d(ids, special, assume_unique=True)
