"""The second copy's targets read off the end of a pass: each one's loss, and whether the model ranks it first."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.transformer.loaded import LoadedModel
from core.transformer.passes.readout import Ids, Logits, cross_entropies, over_targets


def losses_and_hits(
    model: LoadedModel,
    final: Float[Tensor, "batch tokens d_model"],
    tokens: Int[Tensor, "batch tokens"],
    targets: Int[Tensor, " targets"],
) -> tuple[Float[Tensor, "batch targets"], Float[Tensor, "batch targets"]]:
    """Cross-entropy in nats of the tokens at `targets`, and 1 where no other token has a logit as high, else 0.

    Both of the same logits. Raises ModelUnavailable as `token_losses`.
    """

    def read(logits: Logits, right: Ids) -> Float[Tensor, "positions 2"]:
        losses, own = cross_entropies(logits, right), logits.gather(-1, right[:, None])
        # A tie is no hit, so that logits that are all the same hit nothing. To count those as high would take longer than the
        # loss itself.
        others = logits.scatter_(-1, right[:, None], -torch.inf).amax(-1, keepdim=True)
        return torch.cat([losses[:, None], (own > others).to(losses)], dim=-1)

    losses, hits = over_targets(model, final, tokens, targets, read).unbind(-1)
    return losses, hits
