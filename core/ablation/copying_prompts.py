"""Prompts for copying by patch-in: `[BOS] + r + w + r + w`, and `[BOS] + r' + r + w`, whose first half is of other tokens.

`w` is what is copied: some random tokens, or a word that the tokenizer writes as several. Both halves are `length` tokens long.
References: Feucht et al. 2025 (The dual-route model of induction), section 2.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from core.errors import BadInput
from core.probes.vocabulary import BosPolicy, Vocabulary, candidate_ids, longest_length, use_bos
from core.transformer.tokenizer import ModelTokenizer

LENGTH = 30
PROMPTS = 32
# A name of more pieces is spelt, not known.
MOST_TOKENS = 4
# So few words say little of words.
LEAST_WORDS = 8
_MAX_CHARACTERS = 500_000
_LEAST_LETTERS = 4
_WORD = re.compile(r"(?<!\w)[^\W\d_]+(?!\w)")
Word = tuple[int, ...]


@dataclass(frozen=True)
class CopyingPrompts:
    """What is run. sizes: of how many tokens, at the end of each prompt, is the `w` of that prompt."""

    clean: Int[np.ndarray, "prompts tokens"]
    corrupted: Int[np.ndarray, "prompts tokens"]
    sizes: Int[np.ndarray, " prompts"]

    @property
    def places(self) -> Int[np.ndarray, " prompts"]:
        """Where heads are patched: the last token before `w` comes again."""
        found: Int[np.ndarray, " prompts"] = self.clean.shape[1] - self.sizes - 1
        return found

    @property
    def digest(self) -> str:
        """A content key."""
        parts = (self.clean, self.corrupted, self.sizes)
        return hashlib.sha256(b"".join(np.ascontiguousarray(part, dtype=np.int64).tobytes() for part in parts)).hexdigest()


def multi_token_words(tokenizer: ModelTokenizer, text: str, special_ids: frozenset[int] = frozenset()) -> tuple[Word, ...]:
    """The words of `text` that the tokenizer writes as 2 to `MOST_TOKENS` tokens, as it writes them there; each once, in order.

    A word is letters alone, with no digit or underscore beside them. One whose tokens hold anything but itself and the space
    before it is left out.
    """
    text = text[:_MAX_CHARACTERS]
    ids, spans = tokenizer.encode_with_places(text)
    found: dict[str, Word] = {}
    place = 0
    for match in _WORD.finditer(text):
        begin, end = match.span()
        while place < len(spans) and spans[place][1] <= begin:
            place += 1
        here = place
        while here < len(spans) and spans[here][0] < end:
            here += 1
        word = tuple(ids[place:here])
        alone = len(word) > 0 and text[spans[place][0] : spans[here - 1][1]].strip() == match[0]
        known = alone and 2 <= len(word) <= MOST_TOKENS and not special_ids.intersection(word)
        # A token twice in a word would be a copy inside it.
        if known and len(match[0]) >= _LEAST_LETTERS and len(set(word)) == len(word):
            found.setdefault(match[0], word)
    return tuple(dict.fromkeys(found.values()))


def random_words(
    vocabulary: Vocabulary, token_range: tuple[int, int] | None, sizes: Sequence[int], seed: int
) -> tuple[Word, ...]:
    """As many "words" of random distinct tokens, of these sizes: what a head can copy only token by token."""
    ids, random = candidate_ids(vocabulary, token_range), np.random.default_rng([seed, 1])
    return tuple(tuple(random.permutation(ids)[:size].tolist()) for size in sizes)


def copying_prompts(
    vocabulary: Vocabulary,
    words: Sequence[Word],
    *,
    bos: BosPolicy = "auto",
    token_range: tuple[int, int] | None = None,
    length: int = LENGTH,
    seed: int = 0,
) -> CopyingPrompts:
    """A prompt for each of `words`; all other tokens are drawn, each once, and none is of the word.

    length: of a half, or what fits. Raises BadInput where the context has no room for two halves with a word, or too few tokens
    are left for them.
    """
    has_bos = use_bos(vocabulary, bos)
    ids = candidate_ids(vocabulary, token_range)
    size, room = max(map(len, words)), longest_length(vocabulary, bos)
    if room < size + 2:
        raise BadInput(
            f"Copying a word of {size} tokens takes two halves of at least {size + 2}, and this model's context has room for "
            f"two of {room}: it cannot be measured here."
        )
    length = min(length, room, (len(ids) - size) // 2)
    if length < size + 2:
        raise BadInput(f"A word of {size} tokens needs room for {2 * (size + 2)} different ones: choose a wider token range.")
    random = np.random.default_rng([seed, 2])
    front = [vocabulary.bos_token_id] if has_bos else []
    clean, corrupted = [], []
    for word in words:
        others = random.permutation(np.setdiff1d(ids, word))
        half = [*others[: length - len(word)], *word]
        clean.append([*front, *half, *half])
        corrupted.append([*front, *others[length : 2 * length], *half])
    sizes = np.array([len(word) for word in words], dtype=np.int64)
    return CopyingPrompts(np.array(clean, dtype=np.int64), np.array(corrupted, dtype=np.int64), sizes)
