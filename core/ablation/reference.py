"""What stands in for a head in mode `mean`: its mean `z` over reference sequences, gone through only as deep as is asked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.runtime.jobs import current_control
from core.runtime.made_once import made_once
from core.transformer.loaded import LoadedModel
from core.transformer.passes.batching import even_passes, rows_per_pass
from core.transformer.passes.fused import Engine, way_of
from core.transformer.passes.hooks import Hook, run_body, z_hook
from core.transformer.passes.trials import closeness

MeanZ = Float[Tensor, "1 tokens_or_1 n_heads d_head"]


class ReferenceMeans:
    """Each layer's mean `z` over some sequences, for each position or over all of them."""

    def __init__(
        self,
        model: LoadedModel,
        tokens: Int[np.ndarray, "sequences tokens"],
        *,
        over_positions: bool = False,
        engine: Engine | None = None,
        at_hand: Callable[[], dict[int, MeanZ]] | None = None,
    ) -> None:
        """engine: which module is run; by default the fast one where it was found to agree with the eager one.

        at_hand: gives the means of all layers where other passes over these sequences leave them.
        """
        self.tokens = torch.from_numpy(np.array(tokens))
        self._model, self._over_positions = model, over_positions
        way = way_of(model, self.tokens.shape[1], engine)
        self._module = model.bare if way.engine == "fused" else model.module
        self._patterns = way.patterns
        self._at_hand = at_hand
        self._means: dict[int, MeanZ] = {}

    def up_to(self, layer: int, n_tokens: int | None = None) -> dict[int, MeanZ]:
        """The means of all layers up to `layer` at least, for the first `n_tokens` positions.

        A pass ends at the last layer that is asked for; who asks again for a deeper one is given all, so that there is no third
        pass. Raises ModelUnavailable if memory does not suffice.
        """
        if layer not in self._means and layer in self._model.anatomy.attention:
            self._means = self._measured(self._model.card.n_layers - 1 if self._means else layer)
        if self._over_positions or n_tokens is None:
            return dict(self._means)
        return {place: mean[:, :n_tokens] for place, mean in self._means.items()}

    def serves(self, n_tokens: int) -> bool:
        """Whether the first tokens of these sequences come to what sequences of `n_tokens` would: not taken on trust.

        Some families choose their positions' angles by how long the whole sequence is.
        """
        if self._over_positions or n_tokens >= self.tokens.shape[1]:
            return n_tokens == self.tokens.shape[1]
        whole, short = self._first_row[:, :n_tokens], self._end(self.tokens[:1, :n_tokens])
        return torch.allclose(whole, short, atol=closeness(self._model, whole), rtol=0, equal_nan=True)

    @made_once
    def _first_row(self) -> Float[Tensor, "1 tokens d_unembedded"]:
        return self._end(self.tokens[:1])

    @torch.no_grad()
    def _end(self, rows: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens d_unembedded"]:
        return run_body(self._model, rows, module=self._module).final.float()

    def _measured(self, last: int) -> dict[int, MeanZ]:
        if self._at_hand is not None:
            return self._at_hand()
        axes = (0, 1) if self._over_positions else (0,)
        total: dict[int, Tensor] = {}

        def adding(layer: int) -> Hook:
            def add(z: Tensor) -> None:
                part = z.float().sum(axes, keepdim=True)
                total[layer] = total[layer] + part if layer in total else part

            return z_hook(layer), add

        hooks = [adding(layer) for layer in self._model.anatomy.attention if layer <= last]
        until = last + 1 if last + 1 < self._model.card.n_layers else None
        with torch.no_grad():
            step = rows_per_pass(self._model, self.tokens.shape[1], patterns=self._patterns, makes_way=True)
            for rows in even_passes(len(self.tokens), step):
                current_control().checkpoint()
                run_body(self._model, self.tokens[rows], hooks, module=self._module, until=until, makes_way=True)
        count = self.tokens.numel() if self._over_positions else len(self.tokens)
        return {layer: part / count for layer, part in total.items()}
