"""What a head copies on text: for each edge, what it adds itself to the logit of the token that it attends to.

The head's direct effect at the query, on the attended token's logit over the mean token's, before any soft cap, in logits
(Elhage et al. 2021): above zero where looking at a token makes it likelier to come next.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int

from core.heads import Head
from core.runtime.jobs import current_control
from core.transformer.loaded import LoadedModel
from core.verdicts.attribution import attributed


def effects_on_attended(
    model: LoadedModel,
    tokens: Int[np.ndarray, "windows tokens"],
    head: Head,
    window: Int[np.ndarray, " edges"],
    query: Int[np.ndarray, " edges"],
    key: Int[np.ndarray, " edges"],
) -> Float[np.ndarray, " edges"]:
    """The direct effect of each edge's head output, in logits; raises Withheld where the parts do not add up to the logit."""
    found = []
    for row, at, source in zip(window.tolist(), query.tolist(), key.tolist(), strict=True):
        current_control().checkpoint()
        ids = tokens[row]
        # Put where the next token would stand, the attended token is the one that is asked about; nothing before sees it.
        asked = torch.from_numpy(np.append(ids[: at + 1], ids[source]))[None]
        by_layer, _ = attributed(model, asked, torch.tensor([at + 1]))
        found.append(float(by_layer[head.layer][0, head.head]))
    return np.array(found)
