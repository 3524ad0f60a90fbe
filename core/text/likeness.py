"""Which heads look alike: the correlation of two heads' patterns on the same text, two passes and no pattern kept."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.heads import Head
from core.runtime.jobs import current_control
from core.transformer.loaded import LoadedModel
from core.transformer.passes.hooks import Hook, pattern_hook, run_body


@torch.no_grad()
def pattern_likeness(
    model: LoadedModel, tokens: Int[np.ndarray, "windows tokens"], head: Head
) -> Float[np.ndarray, "n_layers n_heads"]:
    """Pearson's correlation over all cells that a query can see, those of the first key left out.

    NaN where a pattern does not vary.
    """
    n_tokens = tokens.shape[1]
    inside = torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril()
    # Most heads rest on the first token: it would make all of them alike.
    inside[:, 0] = False
    inside = inside.to(model.device)
    layers = list(model.anatomy.attention)
    shape = (model.card.n_layers, model.card.n_heads)
    sums = {name: np.zeros(shape) for name in ("x", "xx", "xy")}
    own = {"y": 0.0, "yy": 0.0}
    exists, count = np.zeros(shape, bool), 0
    for row in torch.from_numpy(np.array(tokens)).split(1):
        current_control().checkpoint()
        kept: list[Tensor] = []

        def keep(pattern: Tensor, kept: list[Tensor] = kept) -> None:
            kept.append(pattern[0, head.head][inside].double())

        run_body(model, row, [(pattern_hook(head.layer), keep)])
        [picked] = kept
        count += len(picked)
        own["y"] += float(picked.sum())
        own["yy"] += float(picked @ picked)

        def hook(layer: int, picked: Tensor = picked) -> Hook:
            def add(pattern: Tensor) -> None:
                cells = pattern[0][:, inside].double()
                at = (layer, slice(0, len(cells)))
                exists[at] = True
                sums["x"][at] += cells.sum(-1).cpu().numpy()
                sums["xx"][at] += (cells * cells).sum(-1).cpu().numpy()
                sums["xy"][at] += (cells @ picked).cpu().numpy()

            return pattern_hook(layer), add

        run_body(model, row, [hook(layer) for layer in layers])
    shared = sums["xy"] - sums["x"] * own["y"] / count
    spread = (sums["xx"] - sums["x"] ** 2 / count) * (own["yy"] - own["y"] ** 2 / count)
    with np.errstate(invalid="ignore", divide="ignore"):
        found = shared / np.sqrt(spread)
    return np.where(exists & (spread > 1e-12), found, np.nan)
