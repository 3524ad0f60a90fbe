"""Repeated random tokens: `[BOS] + r + r`, beside `[BOS] + r + r'` with fresh tokens `r'`, and `r` again in other orders.

A head that looks at a *position* scores the same on fresh tokens; only one that looks for an *earlier copy* scores differently.
Ids are made here and used as they are: they are never decoded and tokenized again, which would add a second BOS.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Int

from core.errors import BadInput
from core.probes.halves import other_orders
from core.probes.probe import Probe, ProbeOptions, check_counts
from core.probes.vocabulary import Vocabulary, candidate_ids, longest_length, use_bos


@lru_cache(maxsize=4)
def repeated_probe(vocabulary: Vocabulary, options: ProbeOptions) -> Probe:
    """Draw `[BOS] + r + r`, its control `[BOS] + r + r'`, and the same with `r` shuffled and rotated.

    Tokens of `r` are drawn without replacement, so that each has exactly one earlier copy. The control's `r'` is drawn
    from what `r` left over when the range is large enough (twice the length), so that no token of it was seen before.
    One seed gives the same ids on every machine. Drawn once for everybody who asks: a probe cannot be written to.

    Raises BadInput for a length that does not fit the context, a range too small for distinct tokens, or counts out of range.
    """
    check_counts(options)
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
    orders = other_orders(r, options.seed)
    return Probe(
        tokens=np.concatenate([front, r, r], axis=1),
        length=options.length,
        has_bos=has_bos,
        options=options,
        control=np.concatenate([front, r, r_fresh], axis=1),
        shuffled=None if orders is None else np.concatenate([front, r, orders.shuffled], axis=1),
        rotated=None if orders is None else np.concatenate([front, r, orders.rotated], axis=1),
        rotation=None if orders is None else orders.rotation,
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
