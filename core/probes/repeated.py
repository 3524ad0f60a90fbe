"""Probes: the token sequences that every score, loss and ablation is measured on (science: repeated random tokens).

A probe is `[BOS] + r + r`; its control is `[BOS] + r + r'` with fresh tokens `r'` at the same positions, so that a head
that looks at a *position* scores the same on both and only a head that looks for the *earlier copy* scores differently.
Ids are made here and used as they are: they are never decoded and tokenized again, which would add a second BOS.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Int

from core.errors import BadInput

BosPolicy = Literal["auto", "always", "never"]
BOS_POLICIES: tuple[BosPolicy, ...] = ("auto", "always", "never")
MAX_SEQUENCES = 1024
MAX_LENGTH = 8192


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


@dataclass(frozen=True)
class ProbeOptions:
    """What a person chooses about a probe. `token_range` is half-open; `None` means the whole vocabulary."""

    length: int = 50
    sequences: int = 4
    seed: int = 0
    bos: BosPolicy = "auto"
    token_range: tuple[int, int] | None = None


@dataclass(frozen=True)
class Probe:
    """Repeated sequences, and their controls when there are any.

    tokens: `[sequences, b + 2 * length]`, `b` = 1 with a BOS, else 0.
    control: the same shape with a fresh second half, or `None` where the tokens were given by hand.
    """

    tokens: Int[np.ndarray, "sequences tokens"]
    length: int
    has_bos: bool
    options: ProbeOptions
    control: Int[np.ndarray, "sequences tokens"] | None = None
    token_range: tuple[int, int] = (0, 0)
    warnings: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.tokens.ndim != 2 or self.tokens.shape[1] != self.bos_tokens + 2 * self.length:
            raise ValueError(f"a probe of length {self.length} cannot have tokens of shape {self.tokens.shape}")
        if self.control is not None and self.control.shape != self.tokens.shape:
            raise ValueError(f"control shape {self.control.shape} differs from the probe's {self.tokens.shape}")
        for array in (self.tokens, self.control):
            if array is not None:
                array.setflags(write=False)

    @property
    def bos_tokens(self) -> int:
        """Tokens in front of the first copy: 1 with a BOS, else 0 (`b` in the definitions)."""
        return int(self.has_bos)

    @property
    def n_tokens(self) -> int:
        """Tokens in each sequence, BOS included."""
        return int(self.tokens.shape[1])

    @property
    def n_sequences(self) -> int:
        """How many sequences the probe has."""
        return int(self.tokens.shape[0])

    def digest(self) -> str:
        """A content key: sha256 over the ids, the length and the control."""
        hasher = hashlib.sha256(f"{self.length}:{self.has_bos}:{self.tokens.shape}".encode())
        hasher.update(np.ascontiguousarray(self.tokens, dtype=np.int64).tobytes())
        if self.control is not None:
            hasher.update(np.ascontiguousarray(self.control, dtype=np.int64).tobytes())
        return hasher.hexdigest()


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


@lru_cache(maxsize=4)
def repeated_probe(vocabulary: Vocabulary, options: ProbeOptions) -> Probe:
    """Draw `[BOS] + r + r` and its control `[BOS] + r + r'`.

    Tokens of `r` are drawn without replacement, so that each has exactly one earlier copy. The control's `r'` is drawn
    from what `r` left over when the range is large enough (twice the length), so that no token of it was seen before.
    One seed gives the same ids on every machine. Drawn once for everybody who asks: a probe cannot be written to.

    Raises BadInput for a length that does not fit the context, a range too small for distinct tokens, or counts out of range.
    """
    _check_counts(options)
    has_bos = use_bos(vocabulary, options.bos)
    b = int(has_bos)
    if b + 2 * options.length > vocabulary.n_ctx:
        raise BadInput(
            f"Length {options.length} needs {b + 2 * options.length} tokens, more than this model's context of "
            f"{vocabulary.n_ctx}: the longest length that fits is {longest_length(vocabulary, options.bos)}."
        )
    ids = candidate_ids(vocabulary, options.token_range)
    if options.length > len(ids):
        raise BadInput(
            f"Length {options.length} needs {options.length} different tokens, but the range holds only {len(ids)}: "
            f"choose a length of at most {len(ids)} or a wider token range."
        )
    random = np.random.default_rng(options.seed)
    warnings: list[str] = []
    if 2 * options.length > len(ids):
        warnings.append(
            f"The range holds {len(ids)} tokens, fewer than two different copies need, so the control's second half "
            "is a fresh draw that shares tokens with its first half (never at the induction offset)."
        )
    first, fresh = [], []
    for _ in range(options.sequences):
        drawn = random.permutation(ids)
        first.append(drawn[: options.length])
        rest = drawn[options.length : 2 * options.length]
        fresh.append(rest if len(rest) == options.length else _fresh_second_half(random, drawn[: options.length], ids))
    r, r_fresh = np.stack(first), np.stack(fresh)
    front = np.full((options.sequences, b), vocabulary.bos_token_id if has_bos else 0, dtype=np.int64)
    return Probe(
        tokens=np.concatenate([front, r, r], axis=1),
        length=options.length,
        has_bos=has_bos,
        options=options,
        control=np.concatenate([front, r, r_fresh], axis=1),
        token_range=options.token_range or (0, vocabulary.size),
        warnings=tuple(warnings),
    )


def _fresh_second_half(
    random: np.random.Generator, r: Int[np.ndarray, " length"], ids: Int[np.ndarray, " candidates"]
) -> Int[np.ndarray, " length"]:
    """A second draw for a small vocabulary, in which no token stands where its first copy would make induction right.

    Position `i` of the second half must not hold `r[i]`; swapping with a neighbour removes such a coincidence.
    """
    drawn = random.permutation(ids)[: len(r)]
    for i in np.flatnonzero(drawn == r):
        for j in random.permutation(len(r)):
            if drawn[j] != r[i] and drawn[i] != r[j]:
                drawn[i], drawn[j] = drawn[j], drawn[i]
                break
    return drawn


def given_probe(vocabulary: Vocabulary, rows: Sequence[Sequence[int]], length: int) -> Probe:
    """A probe from explicit ids, used as they are: equally long rows, `n - 2 * length` (none or one) ids in front are the BOS.

    Raises BadInput if rows differ in length, an id is out of range, the length does not fit, or a row's halves differ.
    """
    tokens = checked_ids(vocabulary, rows)
    front = tokens.shape[1] - 2 * length
    if length < 2 or front not in (0, 1):
        raise BadInput(
            f"Rows of {tokens.shape[1]} ids do not fit length {length}: with length L each row must hold 2L ids, "
            "or 2L + 1 with a BOS in front, and L must be at least 2."
        )
    r, second = tokens[:, front : front + length], tokens[:, front + length :]
    if not np.array_equal(r, second):
        row = int(np.flatnonzero((r != second).any(axis=1))[0])
        raise BadInput(f"Row {row} is not a sequence twice: its ids {front}..{front + length - 1} must be repeated after it.")
    bos: BosPolicy = "always" if front else "never"
    options = ProbeOptions(length=length, sequences=tokens.shape[0], seed=0, bos=bos)
    return Probe(
        tokens=tokens,
        length=length,
        has_bos=bool(front),
        options=options,
        control=_given_control(vocabulary, tokens, length, front),
        token_range=(0, vocabulary.size),
    )


def _given_control(
    vocabulary: Vocabulary, tokens: Int[np.ndarray, "sequences tokens"], length: int, front: int
) -> Int[np.ndarray, "sequences tokens"] | None:
    """Controls for given ids: a fresh second half from the tokens the row does not use, or None if there are too few."""
    ids = candidate_ids(vocabulary, None)
    control = tokens.copy()
    random = np.random.default_rng(0)
    for row in control:
        unused = np.setdiff1d(ids, row)
        if len(unused) < length:
            return None
        row[front + length :] = random.choice(unused, size=length, replace=False)
    return control


def checked_ids(vocabulary: Vocabulary, rows: Sequence[Sequence[int]]) -> Int[np.ndarray, "sequences tokens"]:
    """Rows of ids as an array, after checking that they are whole numbers, equally long, in range and fit the context."""
    if not isinstance(rows, (list, tuple)) or not rows or not all(isinstance(row, (list, tuple)) and row for row in rows):
        raise BadInput("Tokens must be a JSON list of equally long, non-empty lists of ids, such as [[0, 5, 9, 5, 9]].")
    if any(not isinstance(i, int) or isinstance(i, bool) for row in rows for i in row):
        raise BadInput("Token ids must be whole numbers.")
    if len({len(row) for row in rows}) != 1:
        raise BadInput("The rows of tokens must be equally long.")
    if len(rows) > MAX_SEQUENCES:
        raise BadInput(f"At most {MAX_SEQUENCES} rows of tokens can be measured at once, not {len(rows)}.")
    low, high = min(min(row) for row in rows), max(max(row) for row in rows)
    if low < 0 or high >= vocabulary.size:
        raise BadInput(
            f"Token id {low if low < 0 else high} is out of range: this model's ids go from 0 to {vocabulary.size - 1}."
        )
    if len(rows[0]) > vocabulary.n_ctx:
        raise BadInput(f"Rows of {len(rows[0])} tokens do not fit this model's context of {vocabulary.n_ctx}.")
    return np.asarray(rows, dtype=np.int64)


def _check_counts(options: ProbeOptions) -> None:
    if not 2 <= options.length <= MAX_LENGTH:
        raise BadInput(f"The sequence length must be from 2 to {MAX_LENGTH}, not {options.length}.")
    if not 1 <= options.sequences <= MAX_SEQUENCES:
        raise BadInput(f"The number of sequences must be from 1 to {MAX_SEQUENCES}, not {options.sequences}.")
    if not 0 <= options.seed < 2**63:
        raise BadInput(f"The seed must be a whole number from 0 to 2**63 - 1, not {options.seed}.")
