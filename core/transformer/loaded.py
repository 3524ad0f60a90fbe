"""A model in memory, whatever it was loaded from, behind one small face."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from core.errors import BadInput
from core.heads import Head, missing_head
from core.probes.vocabulary import Vocabulary
from core.runtime.pass_lock import PassLock
from core.transformer.anatomy import Anatomy
from core.transformer.card import ModelCard, ModelIdentity


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model ready to run: its identity, the model library's own module with eager attention, and where its parts are.

    `bare` is the same module, sharing every weight, with its attention replaced by one that is fast and can be watched; None
    where the module's attention cannot be replaced. `given` is the module as it was handed over, with the attention that it had
    then; None for one from a file.

    `lock` is held for every forward pass, because hooks sit on the shared module: two people may look at the same
    model at once.
    """

    identity: ModelIdentity
    module: Any
    anatomy: Anatomy
    bare: Any = None
    given: Any = None
    lock: PassLock = field(default_factory=PassLock, repr=False)

    @property
    def card(self) -> ModelCard:
        """The model's sizes and origin."""
        return self.identity.card

    @property
    def vocabulary(self) -> Vocabulary:
        """What a probe must know of this model's tokens."""
        return self.identity.vocabulary

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        found: torch.device = next(self.module.parameters()).device
        return found

    @property
    def dtype(self) -> torch.dtype:
        """The weights' number format."""
        found: torch.dtype = next(self.module.parameters()).dtype
        return found

    def check_heads(self, heads: Iterable[tuple[int, int]]) -> None:
        """Raises BadInput for the first that there is not: a layer without attention has none."""
        for layer, head in sorted(set(heads)):
            if head >= self.anatomy.heads_in(layer):
                raise BadInput(missing_head(Head(layer, head), self.card.name))

    def blocks(self, module: nn.Module) -> list[nn.Module]:
        """Every layer of the eager module or of the fast one, first to last."""
        return [module.get_submodule(name) for name in self.anatomy.blocks]
