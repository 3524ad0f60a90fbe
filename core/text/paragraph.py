"""Ordinary text, for specificity: an ablation that hurts induction should leave it mostly alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from core.errors import BadInput
from core.probes.vocabulary import check_ids
from core.settings.subject import Subject
from core.transformer.card import ModelIdentity

MAX_TEXT_TOKENS = 512
# Written for HeadScope. Everyday words, little repetition of phrases, so that induction has little to do in it.
PARAGRAPH = (
    "The old house stood near the river at the edge of the village. In the morning a young girl walked along the road with "
    "her brother and a small brown dog. They carried bread, cheese and a bottle of milk for their grandfather, who worked in "
    "the garden behind the school. Rain had fallen during the night, and the stones were still wet. A man on a horse passed "
    "them slowly and lifted his hat. Nobody spoke until they reached the bridge, where the water ran fast and cold below."
)


@dataclass(frozen=True)
class Unread:
    """How many of a text's `tokens`, those that are measured, a model does not know; a BOS is none of them."""

    unknown: int
    tokens: int


def measured_text(typed: str) -> str:
    """The text that is measured where a person typed `typed`: the built-in one where that is nothing."""
    return typed or PARAGRAPH


def why_left_out(identity: ModelIdentity, text: str) -> str:
    """Why nothing is measured on `text`, as a sentence; empty where something is.

    The built-in paragraph, which nobody asked for, is left out where it cannot be read; a typed one is refused.
    """
    if identity.tokenizer is None:
        return f"{identity.no_tokenizer}, so no text can be measured on it."
    if text != PARAGRAPH:
        return ""
    ids = identity.tokenizer.encode(text, special_tokens=False)
    if len(ids) < 2:
        return "This model's tokenizer makes a single token of the built-in text, so nothing is measured on it: type another."
    if max(ids) >= identity.card.d_vocab:
        return (
            f"This model's tokenizer gives the id {max(ids)} in the built-in text, and the model's ids go to "
            f"{identity.card.d_vocab - 1}, so nothing is measured on it: type another."
        )
    return ""


def text_tokens(subject: Subject, text: str) -> Int[np.ndarray, "1 tokens"]:
    """The ids of `text` by the model's own tokenizer, cut to what fits; a BOS in front as the probe has one.

    Raises BadInput for a model without a tokenizer, a text of fewer than two tokens, or of tokens that the model does not have.
    """
    identity = subject.identity
    if identity.tokenizer is None:
        raise BadInput(f"{identity.no_tokenizer}, so text cannot be measured on it.")
    ids = identity.tokenizer.encode(text, special_tokens=False)
    if len(ids) < 2:
        raise BadInput("The text must be at least two tokens long.")
    check_ids(ids, identity.vocabulary)
    return np.asarray([_front(subject) + _that_fit(subject, ids)], dtype=np.int64)


def unread(subject: Subject, text: str) -> Unread:
    """How much of `text` this model cannot read, as far as it is measured; nothing of nothing without a tokenizer."""
    tokenizer = subject.identity.tokenizer
    if tokenizer is None:
        return Unread(0, 0)
    ids, unknown = _that_fit(subject, tokenizer.encode(text, special_tokens=False)), tokenizer.unknown_id
    return Unread(0 if unknown is None else ids.count(unknown), len(ids))


def _front(subject: Subject) -> list[int]:
    """The BOS before a text, as the probe has one."""
    bos = subject.identity.bos_token_id
    return [bos] if subject.probe.has_bos and bos is not None else []


def _that_fit(subject: Subject, ids: list[int]) -> list[int]:
    """The first of a text's ids, as many as have room behind its BOS."""
    return ids[: min(MAX_TEXT_TOKENS, subject.identity.card.n_ctx) - len(_front(subject))]
