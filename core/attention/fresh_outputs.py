"""Each head's mean output over `[BOS] + r + r'`, picked up from score passes that go through these sequences anyway."""

from __future__ import annotations

from collections import Counter

import torch
from jaxtyping import Float
from torch import Tensor

from core.transformer.passes.blocks import Z
from core.transformer.passes.fused import first_half

MeanZ = Float[Tensor, "1 tokens n_heads d_head"]


class FreshOutputs:
    """Each layer's mean `z` over the controls of probes of `n_tokens`, for each position.

    The first half of a control is that of its probe and is read there, for the control itself may begin after it.
    """

    def __init__(self, n_tokens: int) -> None:
        self.n_tokens = n_tokens
        self._first = first_half(n_tokens)
        self._sums: dict[tuple[int, bool], MeanZ] = {}
        self._sequences: Counter[tuple[int, bool]] = Counter()

    def of_probe(self, layer: int, z: Z) -> None:
        """Take in the first half of some probes."""
        self._add((layer, False), z[:, : self._first])

    def of_control(self, layer: int, z: Z) -> None:
        """Take in what follows it in their controls; `z` may be of that alone."""
        self._add((layer, True), z[:, self._first - self.n_tokens :])

    def means(self) -> dict[int, MeanZ]:
        """By layer."""
        layers = sorted({layer for layer, _ in self._sums})
        return {layer: torch.cat([self._mean((layer, False)), self._mean((layer, True))], dim=1) for layer in layers}

    def _mean(self, place: tuple[int, bool]) -> MeanZ:
        return self._sums[place] / self._sequences[place]

    def _add(self, place: tuple[int, bool], z: Z) -> None:
        part = z.float().sum(0, keepdim=True)
        self._sums[place] = self._sums[place] + part if place in self._sums else part
        self._sequences[place] += len(z)
