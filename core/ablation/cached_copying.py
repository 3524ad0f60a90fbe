"""From a subject to copying by patch-in: of random tokens and of words of several tokens; each computed once for everybody."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import fields

import numpy as np

from core.ablation.copying_prompts import (
    LEAST_WORDS,
    LENGTH,
    MOST_TOKENS,
    PROMPTS,
    CopyingPrompts,
    Word,
    copying_prompts,
    multi_token_words,
    random_words,
)
from core.ablation.outcomes import PatchedCopying
from core.errors import BadInput, Withheld
from core.runtime.cache import cached
from core.runtime.jobs import share_of
from core.runtime.lru import Lru
from core.runtime.speed import flops_per_second
from core.runtime.store import Stored
from core.settings.request import Request
from core.settings.subject import Subject, bind
from core.text.uncommon_words import UNCOMMON_WORDS
from core.transformer.flops import flops_of_pass
from core.transformer.tokenizer import ModelTokenizer

PATCHED_COPYING_VERSION = 2
_words: Lru[tuple[ModelTokenizer, frozenset[int], bytes], tuple[Word, ...]] = Lru(8)
# Of how many tokens is what is copied where it is no word: one to be read at once, one after it.
_RANDOM_SIZE = 2


def token_copying(asked: Subject | Request | str) -> PatchedCopying:
    """How much likelier each head, patched in alone, makes the next of some random tokens; changes of log-probability, nats.

    `first` is token copying (Feucht et al. 2025). `later` says whether the head also gives the token after that, which nothing
    that copies token by token can. Raises BadInput where the model has too few tokens, Withheld where no head can be patched.
    """
    subject = bind(asked)
    seed, token_range = subject.request.seed, subject.request.token_range
    words = random_words(subject.identity.vocabulary, token_range, [_RANDOM_SIZE] * PROMPTS, seed)
    return _patched(subject, _prompts(subject, words), "random tokens")


def concept_copying(asked: Subject | Request | str, text: str = UNCOMMON_WORDS) -> PatchedCopying:
    """How much likelier each head, patched in alone before a word, makes the word's later tokens; log-probability, nats.

    `later` is concept copying (Feucht et al. 2025). text: its words of several tokens to the model's tokenizer.
    Raises as `token_copying`, and Withheld for a model without a tokenizer, or with one that knows too many words whole.
    """
    subject = bind(asked)
    return _patched(subject, _prompts(subject, words_of(subject, text)), "words of several tokens")


def words_of(subject: Subject, text: str) -> tuple[Word, ...]:
    """The words that are copied: those of `text` that are several tokens, a sample of them where they are many.

    Raises Withheld as `concept_copying`.
    """
    identity = subject.identity
    if identity.tokenizer is None:
        raise Withheld(f"{identity.no_tokenizer}, so what its words are is not known.")
    tokenizer, special_ids = identity.tokenizer, identity.special_ids
    # Asked at every drawing of a page, and a long text takes a third of a second.
    key = (tokenizer, special_ids, hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    written = _words.get_or_make(key, lambda: multi_token_words(tokenizer, text, special_ids))
    words = tuple(word for word in written if max(word) < identity.vocabulary.size)
    if len(words) < LEAST_WORDS:
        raise Withheld(
            f"Only {len(words)} words of this text are 2 to {MOST_TOKENS} tokens to the tokenizer of {identity.card.name}; it "
            f"takes {LEAST_WORDS}: give a text with rarer words."
        )
    chosen = np.random.default_rng([subject.request.seed, 3]).permutation(len(words))[:PROMPTS]
    return tuple(words[index] for index in chosen)


def copying_seconds(subject: Subject) -> float:
    """How long one of the two is expected to take here: the last tokens of all prompts again for each head and its control."""
    card = subject.card
    runs = 2 * card.n_heads * card.n_layers / 2
    flops = PROMPTS * (runs * flops_of_pass(card, MOST_TOKENS + 1) + 3 * flops_of_pass(card, 2 * LENGTH + 1))
    return flops / flops_per_second(subject.device)


def _prompts(subject: Subject, words: Sequence[Word]) -> CopyingPrompts:
    request = subject.request
    if request.tokens is not None:
        raise BadInput("Copying by patch-in draws its own tokens: leave the given ones out.")
    return copying_prompts(
        subject.identity.vocabulary, words, bos=request.bos, token_range=request.token_range, seed=request.seed
    )


def _patched(subject: Subject, prompts: CopyingPrompts, what: str) -> PatchedCopying:
    def compute() -> Stored:
        from core.ablation.patched_copying import patched_copying

        found = patched_copying(subject.load(prompts.clean.shape[1]), prompts, share_of(f"putting single heads in, {what}"))
        return Stored({field.name: getattr(found, field.name) for field in fields(found)}, {})

    key = subject.model_key("patched-copying", prompts=prompts.digest, patched_copying_version=PATCHED_COPYING_VERSION)
    return PatchedCopying(**cached(key, compute).arrays)
