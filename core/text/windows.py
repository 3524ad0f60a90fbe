"""Windows of a text: equally long rows of the model's own tokens, a seeded sample, none of them overlapping."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Int

from core.errors import BadInput
from core.numbers import counted, share
from core.probes.given import checked_ids
from core.probes.vocabulary import BosPolicy, check_ids, use_bos
from core.runtime.jobs import current_control
from core.settings.text_choice import (
    DEFAULT_WINDOW_LENGTH,
    DEFAULT_WINDOWS,
    MAX_WINDOW_LENGTH,
    MAX_WINDOWS,
    MIN_WINDOW_LENGTH,
    MIN_WINDOWS,
)
from core.text.corpus import Corpus
from core.transformer.card import ModelIdentity

# So many more windows than are asked for are cut before the sample is drawn: else one document could make up most of it.
POOL = 4
# Above this share of unknown words nothing is claimed.
MOST_UNKNOWN = 0.5
# A document is tokenized a piece at a time: some tokenizers take more than linear time for one huge line.
PIECE = 20_000


@dataclass(frozen=True)
class WindowOptions:
    """How many windows, of how many tokens of text (a BOS comes in front of them), drawn by which seed, with which BOS."""

    windows: int = DEFAULT_WINDOWS
    length: int = DEFAULT_WINDOW_LENGTH
    seed: int = 0
    bos: BosPolicy = "auto"


class ShorterThanAWindow(BadInput):
    """A text of which no document has the tokens of a window."""


@dataclass(frozen=True, eq=False)
class TextWindows:
    """Windows as ids, used as they are.

    b: 1 where each begins with a BOS. uncounted: ids of which two are never one word that comes back.
    unknown_share: how much of the text is outside the vocabulary. warnings: sentences for the person who asked.
    """

    tokens: Int[np.ndarray, "windows tokens"]
    b: int
    source: str
    uncounted: frozenset[int] = frozenset()
    unknown_share: float = 0.0
    warnings: tuple[str, ...] = ()
    seed: int | None = None

    @property
    def n_windows(self) -> int:
        """How many there are."""
        return len(self.tokens)

    @property
    def length(self) -> int:
        """Tokens of text in each, the BOS left out."""
        return int(self.tokens.shape[1]) - self.b

    @cached_property
    def digest(self) -> str:
        """What identifies the ids and how they are read."""
        uncounted = np.intersect1d(self.tokens, list(self.uncounted)).astype(int).tolist()
        about = f"{self.tokens.shape} {self.b} {uncounted}".encode()
        return hashlib.sha256(about + np.ascontiguousarray(self.tokens, dtype="<i8").tobytes()).hexdigest()


def windows_of(identity: ModelIdentity, corpus: Corpus, options: WindowOptions = WindowOptions()) -> TextWindows:
    """A seeded sample of `corpus` in windows, tokenized once by the model's own tokenizer.

    The ends of documents that fill no window are left out. Raises BadInput, with one sentence, for options out of range, a
    model without a tokenizer, a text shorter than a window, and one whose tokens are mostly unknown.
    """
    _check(identity, options)
    tokenizer, vocabulary = identity.tokenizer, identity.vocabulary
    if tokenizer is None:
        raise BadInput(f"{identity.no_tokenizer}, so it reads no text: give windows as ids instead.")
    has_bos = use_bos(vocabulary, options.bos)
    random = np.random.default_rng(options.seed)
    unknown = tokenizer.unknown_id
    pool: list[list[int]] = []
    longest = longest_piece = read = strange = 0
    order = random.permutation(len(corpus.documents))
    for place in order:
        current_control().checkpoint()
        so_far = read
        for piece in _pieces(corpus.documents[place]):
            ids = tokenizer.encode(piece, special_tokens=False)
            read, strange, longest_piece = (
                read + len(ids),
                strange + ids.count(-1 if unknown is None else unknown),
                max(longest_piece, len(ids)),
            )
            pool += [ids[at : at + options.length] for at in range(0, len(ids) - options.length + 1, options.length)]
        longest = max(longest, read - so_far)
        if len(pool) >= POOL * options.windows:
            break
    unread = strange / max(1, read)
    if read and unread > MOST_UNKNOWN:
        raise BadInput(
            f"{share(unread)} of the tokens of {corpus.name} are words that {identity.card.name} does not know, so no number "
            "is claimed: choose a text in its own words, such as `words` for the bundled models."
        )
    if not pool:
        raise ShorterThanAWindow(_too_short(corpus, longest, longest_piece, options.length))
    for ids in pool:
        check_ids(ids, vocabulary)
    picked = [pool[place] for place in random.permutation(len(pool))[: options.windows]]
    front = [vocabulary.bos_token_id] if has_bos else []
    return TextWindows(
        np.array([front + ids for ids in picked], dtype=np.int64),
        int(has_bos),
        corpus.name,
        identity.uncounted,
        unread,
        _warnings(corpus, len(picked), options.windows, unread),
        options.seed,
    )


def fitting_windows_of(identity: ModelIdentity, corpus: Corpus, options: WindowOptions) -> TextWindows:
    """`windows_of`, half as long as asked, and half of that, where no document of the text is so long; a warning says so."""
    length = options.length
    while True:
        try:
            found = windows_of(identity, corpus, replace(options, length=length))
        except ShorterThanAWindow:
            length //= 2
            if length < MIN_WINDOW_LENGTH:
                raise
            continue
        if length == options.length:
            return found
        inside = f" in a piece of at most {PIECE:,} characters" if max(map(len, corpus.documents)) > PIECE else ""
        said = f"No document of {corpus.name} has {options.length} tokens{inside}, so windows are of {length}."
        return replace(found, warnings=(*found.warnings, said))


def given_windows(identity: ModelIdentity, rows: Sequence[Sequence[int]]) -> TextWindows:
    """Windows from ids, used as they are; a BOS is in front where every row begins with the model's.

    Raises BadInput for rows that differ in length or ids that the model lacks.
    """
    tokens = checked_ids(identity.vocabulary, rows)
    if tokens.shape[1] < MIN_WINDOW_LENGTH:
        raise BadInput(f"Windows of {tokens.shape[1]} tokens are too short: give at least {MIN_WINDOW_LENGTH}.")
    bos = identity.vocabulary.bos_token_id
    b = int(bos is not None and bool((tokens[:, 0] == bos).all()))
    return TextWindows(tokens, b, "given tokens", identity.uncounted)


def _check(identity: ModelIdentity, options: WindowOptions) -> None:
    if not MIN_WINDOWS <= options.windows <= MAX_WINDOWS:
        raise BadInput(f"The number of windows must be from {MIN_WINDOWS} to {MAX_WINDOWS}, not {options.windows}.")
    longest = min(MAX_WINDOW_LENGTH, identity.vocabulary.n_ctx - int(use_bos(identity.vocabulary, options.bos)))
    if not MIN_WINDOW_LENGTH <= options.length <= longest:
        raise BadInput(
            f"A window must have {MIN_WINDOW_LENGTH} to {longest} tokens for {identity.card.name}, not {options.length}."
        )


def _too_short(corpus: Corpus, longest: int, longest_piece: int, wanted: int) -> str:
    """Why no window of `wanted` tokens could be cut, and what would be right. All lengths are in tokens."""
    has = f"its longest document has {counted(longest, 'token')}"
    if longest > longest_piece:
        has += f", read in pieces of at most {PIECE:,} characters, of which the longest has {longest_piece}"
    less = f", or a window of at most {longest_piece} tokens" if longest_piece >= MIN_WINDOW_LENGTH else ""
    least = "" if less else f"; the shortest window takes {MIN_WINDOW_LENGTH}"
    cannot = f"{corpus.name} is shorter than a window" if longest < wanted else f"No piece of {corpus.name} fills a window"
    return f"{cannot}: {has}, and a window takes {wanted}. Give more text{less}{least}."


def _pieces(document: str) -> list[str]:
    """The document in pieces of bounded length, cut behind a space where there is one."""
    found, start = [], 0
    while start < len(document):
        stop = min(len(document), start + PIECE)
        if stop < len(document):
            space = max(document.rfind(mark, start + PIECE // 2, stop) for mark in " \n\t")
            stop = space if space > 0 else stop
        found.append(document[start:stop])
        start = stop
    return found


def _warnings(corpus: Corpus, found: int, wanted: int, unread: float) -> tuple[str, ...]:
    said = []
    if found < wanted:
        said.append(f"{corpus.name} has only {counted(found, 'window')} of this length, not {wanted}.")
    if unread > 0.1:
        said.append(
            f"{share(unread)} of the text's tokens are not in this model's vocabulary; they are never taken for repeats."
        )
    return (*corpus.warnings, *said)
