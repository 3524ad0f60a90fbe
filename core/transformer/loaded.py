"""A model in memory, whatever it was loaded from, behind one small face."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import torch

from core.probes.vocabulary import Vocabulary
from core.transformer.card import ModelCard, ModelIdentity


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model ready to run: its identity, and the library's bridge around its weights.

    `bare` is the same module without the bridge, sharing every weight, for passes that need no hooks; None where there is
    none.

    `lock` is held for every forward pass, because hooks sit on the shared module: two people may look at the same
    model at once.
    """

    identity: ModelIdentity
    bridge: Any
    bare: Any = None
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

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
        found: torch.device = next(self.bridge.original_model.parameters()).device
        return found

    @property
    def dtype(self) -> torch.dtype:
        """The weights' number format."""
        found: torch.dtype = next(self.bridge.original_model.parameters()).dtype
        return found
