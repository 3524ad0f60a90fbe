"""The exact causal map beside one hooked forward for each head, and the gradient estimate beside a bare forward."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.shapes import random_model
from benchmarks.timing import medians
from core.ablation import AblationBench
from core.causal import estimated_effects, layer_losses
from core.forward import z_hook
from core.models.loaded import LoadedModel
from core.scores import Layout

SHAPE = "GPT-2 small shape"
LENGTH = 50
SEQUENCES = 4
# A few layers stand for all: the first, the middle and the last.
LAYERS = (0, 6, 11)


def main() -> None:
    """Print the ratios."""
    model = random_model(SHAPE)
    layout = Layout(LENGTH, 1)
    r = np.random.default_rng(0).integers(1, model.card.d_vocab, (SEQUENCES, LENGTH))
    tokens = np.concatenate([np.zeros((SEQUENCES, 1), np.int64), r, r], axis=1)
    bench = AblationBench(model, tokens)
    ids = torch.from_numpy(tokens)
    candidates = {"forward": lambda: _forward(model, ids), "estimate": lambda: estimated_effects(bench, "zero", layout)}
    candidates |= {f"map {layer}": lambda layer=layer: layer_losses(bench, layer, "zero", layout) for layer in LAYERS}
    found = medians(candidates, repeats=2)
    loop = len(LAYERS) * model.card.n_heads * found["forward"]
    shared = sum(found[f"map {layer}"] for layer in LAYERS)
    print(
        f"{SHAPE}, {SEQUENCES} x {2 * LENGTH + 1} tokens: "
        f"exact map {loop / shared:.2f} x faster than one hooked forward a head "
        f"(goal 1.7): {'pass' if loop / shared >= 1.7 else 'fail'}"
    )
    ratio = found["estimate"] / found["forward"]
    print(f"gradient estimate: {ratio:.2f} forwards for all heads (goal 4): {'pass' if ratio <= 4 else 'fail'}")


@torch.no_grad()
def _forward(model: LoadedModel, ids: torch.Tensor) -> torch.Tensor:
    """What a tutorial does for one head: a whole hooked pass."""

    def zero(z: torch.Tensor, hook: object) -> torch.Tensor:
        z[:, :, 0] = 0
        return z

    return model.bridge.run_with_hooks(ids, return_type="logits", fwd_hooks=[(z_hook(0), zero)])


if __name__ == "__main__":
    main()
