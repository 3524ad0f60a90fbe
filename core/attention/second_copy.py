"""The second copy's targets read off the end of a pass: each one's loss, and whether the model ranks it first."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.transformer.loaded import LoadedModel
from core.transformer.passes.readout import LOGITS_AT_ONCE, logits_from


def losses_and_hits(
    model: LoadedModel,
    final: Float[Tensor, "batch tokens d_model"],
    tokens: Int[Tensor, "batch tokens"],
    targets: Int[Tensor, " targets"],
) -> tuple[Float[Tensor, "batch targets"], Float[Tensor, "batch targets"]]:
    """Cross-entropy in nats of the tokens at `targets`, and 1 where no other token has a logit as high, else 0.

    Both of the same logits, some positions at a time; for models whose readout was checked (`token_losses` does).
    """
    flat = final[:, (targets - 1).to(final.device)].flatten(0, 1)
    wanted = tokens[:, targets.to(tokens.device)].flatten().to(final.device)
    step = max(1, LOGITS_AT_ONCE // model.card.d_vocab)
    losses, hits = [], []
    for at in range(0, len(flat), step):
        logits, right = logits_from(model, flat[at : at + step]), wanted[at : at + step]
        losses.append(torch.nn.functional.cross_entropy(logits, right, reduction="none"))
        own = logits.gather(-1, right[:, None])
        # A tie is no hit, so that logits that are all the same hit nothing.
        hits.append(((logits >= own).sum(-1) == 1).float())
    return torch.cat(losses).view(len(tokens), -1), torch.cat(hits).view(len(tokens), -1)
