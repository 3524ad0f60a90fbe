"""The first tokens of some sequences, gone through once: what attention needs of them when others that begin so are run.

In a causal model nothing that comes later changes what the first tokens are to attention: their keys and values in every layer.
Sequences that begin alike need only what is new gone through again, which is half of a probe's other halves. Whether that holds
for a model is not taken from its name: `agreement` tries it, at the length that is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

Shared = Float[Tensor, "batch n_key_value_heads tokens _d_head"]


@dataclass
class Prefix:
    """Keys and values of the first `n_tokens` of some sequences, for each layer in the order in which it attends."""

    n_tokens: int
    layers: list[tuple[Shared, Shared]] = field(default_factory=list)

    def keep(self, key: Shared, value: Shared) -> None:
        """Keep one more layer's; copies, so that the rest of the pass, or its graph, is not kept with them."""
        key, value = (part[:, :, : self.n_tokens].detach().clone() for part in (key, value))
        self.layers.append((key, value))

    def join(self, parts: Sequence[Prefix]) -> None:
        """Take what was kept of the sequences in several parts."""
        layers = zip(*(part.layers for part in parts), strict=True)
        self.layers = [tuple(torch.cat(each) for each in zip(*layer, strict=True)) for layer in layers]  # type: ignore[misc]

    def of(self, rows: slice) -> Prefix:
        """The same of some of the sequences."""
        return Prefix(self.n_tokens, [(key[rows], value[rows]) for key, value in self.layers])

    @property
    def bytes_per_token(self) -> int:
        """What is kept of each token of one sequence, in all layers together."""
        sequences = len(self.layers[0][0])
        return sum(part.nbytes for layer in self.layers for part in layer) // (sequences * self.n_tokens)


_kept: ContextVar[Prefix | None] = ContextVar("_kept", default=None)
_continued: ContextVar[Iterator[tuple[Shared, Shared]] | None] = ContextVar("_continued", default=None)


@contextmanager
def remembering(prefix: Prefix | None) -> Iterator[None]:
    """The pass made inside leaves its first tokens in `prefix`; None keeps nothing."""
    token = _kept.set(prefix)
    try:
        yield
    finally:
        _kept.reset(token)


@contextmanager
def continuing(prefix: Prefix | None) -> Iterator[None]:
    """The pass made inside goes on where `prefix` ends; None is a pass from the first token on."""
    token = _continued.set(None if prefix is None else iter(prefix.layers))
    try:
        yield
    finally:
        _continued.reset(token)


def kept_by() -> Prefix | None:
    """Where this pass leaves its first tokens."""
    return _kept.get()


def next_of_prefix() -> tuple[Shared, Shared] | None:
    """Keys and values of the first tokens in the layer that attends now; None in a pass from the first token on.

    Raises RuntimeError where more layers attend than did before.
    """
    layers = _continued.get()
    if layers is None:
        return None
    found = next(layers, None)
    if found is None:
        raise RuntimeError("more layers attend than did over the first tokens")
    return found
