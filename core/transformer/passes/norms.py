"""A norm as it acts, found by what it does to a few vectors, whatever its module calls its parts."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

# Large enough that what a norm adds under its root is nothing beside it.
LARGE = 1e4


@dataclass(frozen=True)
class Norm:
    """`(x - mean x if centred) / scale(x) * gain + bias`; `scale` depends on the position alone."""

    centred: bool
    gain: Float[Tensor, " d_model"]
    bias: Float[Tensor, " d_model"]

    def linear(self, x: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """What is linear in the norm: everything but scale and bias."""
        moved = x - x.mean(-1, keepdim=True) if self.centred else x
        return moved * self.gain

    def frozen(self, x: Float[Tensor, "... d_model"], output: Float[Tensor, "... d_model"]) -> Float[Tensor, "... d_model"]:
        """The norm of `x`, which is `output`, as a linear map of `x`: its scale held at what it is."""
        moved = self.linear(x)
        with torch.no_grad():
            size = (moved * moved).sum(-1, keepdim=True)
            inverse = ((output - self.bias) * moved).sum(-1, keepdim=True) / size.clamp_min(1e-30)
        return moved * inverse + self.bias


@torch.no_grad()
def norm_as_it_acts(module: nn.Module, d_model: int, device: torch.device) -> Norm:
    """`module` as a `Norm`; ValueError where it is something else, found by trying it on random vectors."""
    exact = copy.deepcopy(module).float()
    for part in exact.modules():
        part._forward_hooks.clear()
        part._forward_pre_hooks.clear()
    random = torch.Generator().manual_seed(0)
    x = torch.randn(4, 1, d_model, generator=random).to(device) * 3
    flat, alternating = torch.full((1, 1, d_model), LARGE, device=device), torch.ones(1, 1, d_model, device=device) * LARGE
    alternating[..., 1::2] *= -1
    bias = exact(torch.zeros(1, 1, d_model, device=device))[0, 0]
    centred = bool((exact(flat)[0, 0] - bias).abs().max() < 1e-3 * max(1.0, float(exact(x).abs().max())))
    if centred and d_model % 2:
        alternating[..., -1] = 0.0
    probe = alternating if centred else flat
    gain = exact(probe)[0, 0] - bias
    gain = gain * alternating[0, 0].sign() if centred else gain
    if centred and d_model % 2:
        raise ValueError("an odd width cannot be probed")
    found = Norm(centred, gain, bias)
    output = exact(x)
    if not torch.allclose(found.frozen(x, output), output, atol=1e-4 * float(output.abs().max()), rtol=0):
        raise ValueError("this module is not a norm of a kind that is known")
    return found
