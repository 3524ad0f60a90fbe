"""Head sets and ablation modes, as plain data. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from core.errors import BadInput

Mode = Literal["zero", "mean", "resample", "pattern"]
MODES: tuple[Mode, ...] = ("zero", "mean", "resample", "pattern")
Head = tuple[int, int]
HeadSet = tuple[Head, ...]


def head_set(heads: Iterable[Head], n_layers: int, n_heads: int) -> HeadSet:
    """`heads` without doubles, in order.

    Raises BadInput for a head that the model does not have.
    """
    wanted = tuple(sorted({(int(layer), int(head)) for layer, head in heads}))
    for layer, head in wanted:
        if not (0 <= layer < n_layers and 0 <= head < n_heads):
            raise BadInput(
                f"There is no head L{layer}H{head}: this model has layers 0 to {n_layers - 1} with heads 0 to {n_heads - 1}."
            )
    return wanted


def all_but(heads: HeadSet, n_layers: int, n_heads: int) -> HeadSet:
    """Every other head: ablating these asks whether `heads` are sufficient."""
    kept = set(heads)
    return tuple((layer, head) for layer in range(n_layers) for head in range(n_heads) if (layer, head) not in kept)
