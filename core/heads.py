"""Heads by name and by rank: `L5H7` is head 7 of layer 5, both counted from 0. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from core.errors import BadInput
from core.plain import shown, whole

_NAME = re.compile(r"L(\d{1,6})H(\d{1,6})", flags=re.ASCII | re.IGNORECASE)


class Head(NamedTuple):
    """One attention head; as an index it picks the head's place in a matrix `[layer][head]`."""

    layer: int
    head: int

    @property
    def name(self) -> str:
        """`L5H7`."""
        return f"L{self.layer}H{self.head}"

    @staticmethod
    def parse(text: str) -> Head | None:
        """The head that `text` names, in upper or lower case; None for anything else."""
        match = _NAME.fullmatch(text.strip())
        return Head(int(match[1]), int(match[2])) if match else None


HeadSet = tuple[Head, ...]
# How a person may give a head: by its name (and several by theirs: `L1H0,L1H2`), or as layer and head.
HeadLike = str | Sequence[int]


def parse_heads(text: str) -> HeadSet:
    """`L1H0,L1H2` (commas or spaces between) as heads, in the order given.

    Raises BadInput for a word that names no head.
    """
    found = []
    for word in re.split(r"[\s,;]+", text.strip(",; \t\r\n")):
        head = Head.parse(word)
        if head is None:
            raise BadInput(f"Heads are named like L5H7,L6H0; {word!r} is not.")
        found.append(head)
    return tuple(found)


def named(heads: Iterable[Sequence[int]]) -> str:
    """`L1H0,L1H2`, as an address and the command line write a set."""
    return ",".join(names(heads))


def listed(heads: Sequence[Sequence[int]], most: int) -> str:
    """`L1H0, L1H2 and more`: the first `most` of them, for a sentence."""
    return ", ".join(names(heads[:most])) + (" and more" if len(heads) > most else "")


def names(heads: Iterable[Sequence[int]]) -> list[str]:
    """The name of each head."""
    return [Head(*head).name for head in heads]


def head_set(heads: Iterable[HeadLike], n_layers: int, n_heads: int) -> HeadSet:
    """`heads` without doubles, in layer order; raises BadInput as `given_heads`."""
    return tuple(sorted(given_heads(heads, n_layers, n_heads)))


def given_heads(heads: Iterable[HeadLike], n_layers: int, n_heads: int) -> HeadSet:
    """`heads` without doubles, in the order given.

    Raises BadInput for a word that names no head, for what is neither names nor pairs of whole numbers, and for a head that the
    model does not have.
    """
    wanted = tuple(dict.fromkeys(head for given in _each(heads) for head in _heads(given)))
    for head in wanted:
        check_head(head, n_layers, n_heads)
    return wanted


def _each(heads: Iterable[HeadLike]) -> Iterable[HeadLike]:
    if isinstance(heads, str):
        return (heads,)
    try:
        return tuple(heads)
    except TypeError:
        raise BadInput(f"Heads are given as a list, such as ['L5H7', (6, 0)], not as {shown(heads)}.") from None


def _heads(given: HeadLike) -> HeadSet:
    return parse_heads(given) if isinstance(given, str) else (_pair(given),)


def _pair(given: Sequence[int]) -> Head:
    try:
        layer, head = map(whole, given)
    except (TypeError, ValueError):
        layer = head = None
    # A set of two numbers does not say which of them is the layer.
    if layer is None or head is None or isinstance(given, AbstractSet):
        raise BadInput(
            f"A head is given by its name, such as 'L5H7', or as its layer and head, such as (5, 7), not as {shown(given)}."
        )
    return Head(layer, head)


def check_head(head: Head, n_layers: int, n_heads: int) -> None:
    """Raises BadInput for a head that the model does not have."""
    if not (0 <= head.layer < n_layers and 0 <= head.head < n_heads):
        raise BadInput(
            f"There is no head {head.name}: this model has layers 0 to {n_layers - 1} with heads 0 to {n_heads - 1}."
        )


def missing_head(head: Head, model: str) -> str:
    """The sentence for a head that the layer of a model does not have, though others have as many."""
    return f"There is no head {head.name}: that layer of {model} has no such head."


def every_head(n_layers: int, n_heads: int) -> HeadSet:
    """All heads, layer by layer."""
    return tuple(Head(layer, head) for layer in range(n_layers) for head in range(n_heads))


def all_but(heads: HeadSet, n_layers: int, n_heads: int) -> HeadSet:
    """Every other head: ablating these asks whether `heads` are sufficient."""
    spared = set(heads)
    return tuple(head for head in every_head(n_layers, n_heads) if head not in spared)


def heads_above(scores: Float[np.ndarray, "n_layers n_heads"], threshold: float) -> HeadSet:
    """Heads whose score is strictly above `threshold`, highest first; ties by layer and head. NaN is above nothing."""
    found = [Head(int(layer), int(head)) for layer, head in np.argwhere(scores > threshold)]
    return tuple(sorted(found, key=lambda head: (-scores[head], head)))


def ranked(scores: Float[np.ndarray, "n_layers n_heads"]) -> HeadSet:
    """Every head that has a score, the highest first; ties by layer and head. Where there is no such head it is NaN."""
    found = [head for head in every_head(*scores.shape) if not np.isnan(scores[head])]
    return tuple(sorted(found, key=lambda head: (-scores[head], head)))
