"""The oracle's direct and total effects, in logits: the right token's logit less the vocabulary's mean, before any soft cap."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from tests.zoo.build import quiet
from tests.zoo.frozen import Recording
from tests.zoo.oracle import Oracle
from tests.zoo.watching import hooked, is_linear

_CAPS = ("final_logit_softcapping", "logits_soft_cap", "output_logit_soft_cap", "logit_softcapping", "final_logit_soft_cap")
# By how much half a head may write something other than half of what the whole head writes, as a share.
CROOKED = 1e-3


class Writing:
    """What heads of an `Oracle`'s model write."""

    def __init__(self, oracle: Oracle) -> None:
        self.oracle = oracle

    def total(self, heads: list[tuple[int, int]]) -> float:
        """The mean over second-copy targets: clean, less `heads` zeroed."""
        with self.oracle.zeroed(heads):
            ablated = self._centred(self._logits())
        return float((self._centred(self._logits()) - ablated).mean())

    def direct(self, layer: int) -> np.ndarray | None:
        """`[n_heads]`; None where what a head writes reaches the logits by no linear path."""
        output = self.oracle.outputs.get(layer)
        if output is None:
            return None
        with quiet(), torch.no_grad():
            recording = Recording(self.oracle.model, self._logits, {output, *self._ending})
            clean = self._centred(recording.replay(self._logits))
            found = []
            for head in range(self.oracle.n_heads):
                whole, half = ((clean - self._without(recording, layer, head, share)).mean() for share in (1.0, 0.5))
                if abs(2 * half - whole) > CROOKED * max(1.0, abs(float(whole))):
                    return None
                found.append(float(whole))
        return np.array(found)

    def _without(self, recording: Recording, layer: int, head: int, share: float) -> Tensor:
        with self.oracle.zeroed([(layer, head)], share):
            return self._centred(recording.replay(self._logits))

    def _logits(self) -> Tensor:
        with quiet(), torch.no_grad():
            found: Tensor = self.oracle.model(torch.from_numpy(self.oracle.tokens), use_cache=False).logits
        return found

    def _centred(self, logits: Tensor) -> Tensor:
        cap = next((cap for name in _CAPS if (cap := getattr(self.oracle.inner, name, None))), None)
        logits = logits.double() if cap is None else cap * torch.atanh(logits.double() / cap)
        start = self.oracle.length + self.oracle.b
        here = logits[:, start:-1]
        wanted = torch.from_numpy(self.oracle.tokens[:, start + 1 :])
        return here.gather(-1, wanted[..., None])[..., 0] - here.mean(-1)

    @cached_property
    def _ending(self) -> set[nn.Module]:
        """Linear maps that run after the last numbered module: they lead to the logits."""
        names = {module: name for name, module in self.oracle.model.named_modules()}
        order: list[nn.Module] = []
        with hooked(list(names), after=lambda module, args, result: order.append(module)):
            self._logits()
        last = max(index for index, module in enumerate(order) if any(part.isdigit() for part in names[module].split(".")))
        return {module for module in order[last:] if is_linear(module)}
