"""Probes from ids that a person gave, used as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from core.errors import BadInput
from core.numbers import is_or_are
from core.plain import whole
from core.probes.halves import other_orders
from core.probes.probe import MAX_SEQUENCES, Probe, ProbeOptions
from core.probes.vocabulary import BosPolicy, Vocabulary, candidate_ids


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
    orders = other_orders(r, options.seed)
    return Probe(
        tokens=tokens,
        length=length,
        has_bos=bool(front),
        options=options,
        control=_given_control(vocabulary, tokens, length, front),
        shuffled=None if orders is None else np.concatenate([tokens[:, :-length], orders.shuffled], axis=1),
        rotated=None if orders is None else np.concatenate([tokens[:, :-length], orders.rotated], axis=1),
        rotation=None if orders is None else orders.rotation,
        token_range=(0, vocabulary.size),
        warnings=_repeated_rows(tokens),
    )


def _repeated_rows(tokens: Int[np.ndarray, "sequences tokens"]) -> tuple[str, ...]:
    """What to know of rows that are given more than once."""
    different = len(np.unique(tokens, axis=0))
    if different == len(tokens):
        return ()
    return (
        f"Of {len(tokens)} rows {different} {is_or_are(different)} different: intervals and p take every row for one of its "
        "own, so they say more than there is.",
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


def plain_rows(rows: object) -> tuple[tuple[int, ...], ...]:
    """Rows of ids as plain numbers, from lists, tuples, or arrays of numpy or torch.

    Raises BadInput for what are no rows, and for ids that are no whole numbers.
    """
    listed = _listed(rows)
    found = [] if listed is None else [_listed(row) for row in listed]
    full = [row for row in found if row]
    if not found or len(full) < len(found):
        raise BadInput("Tokens must be a JSON list of equally long, non-empty lists of ids, such as [[0, 5, 9, 5, 9]].")
    plain = [[whole(one) for one in row] for row in full]
    if any(one is None for row in plain for one in row):
        raise BadInput("Token ids must be whole numbers.")
    return tuple(tuple(one for one in row if one is not None) for row in plain)


def _listed(given: Any) -> Sequence[object] | None:
    """A list or tuple as it is, an array as lists, None for all else."""
    values = given.tolist() if hasattr(given, "tolist") else given
    return values if isinstance(values, (list, tuple)) else None


def checked_ids(vocabulary: Vocabulary, given: Sequence[Sequence[int]]) -> Int[np.ndarray, "sequences tokens"]:
    """Rows of ids as an array, after checking that they are whole numbers, equally long, in range and fit the context."""
    rows = plain_rows(given)
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
