"""How many sequences go through a model at once: by the memory that is free, asked before anything is allocated.

The budget is fixed where memory allows it, so the same request is cut into the same passes, and gives the same bits, on
every run; only on a machine that is short of memory are the passes smaller.
"""

from __future__ import annotations

from core.errors import ModelUnavailable
from core.transformer.loaded import LoadedModel
from core.transformer.memory import free_bytes, gigabytes

# What one pass may take where there is plenty, in bytes.
WORKING_MEMORY = 1 << 30
# Of the memory that is free, what one pass may take: other people's passes need some, too.
SHARE_OF_FREE = 0.5


def bytes_per_row(model: LoadedModel, n_tokens: int, *, patterns: bool) -> int:
    """What one sequence of `n_tokens` needs while it goes through a layer, in bytes.

    The layer's activations (the residual stream, queries, keys, values and outputs, and the hidden layer of the MLP with
    what its activation function makes on the way) and, with `patterns`, scores and pattern, a few times over. Held to what
    a pass really takes by the benchmark of memory.
    """
    activations = 4 * 24 * n_tokens * model.card.d_model
    return activations + (4 * 4 * model.card.n_heads * n_tokens**2 if patterns else 0)


def rows_per_pass(model: LoadedModel, n_tokens: int, *, patterns: bool = True, kept: int = 0) -> int:
    """How many sequences one pass takes. kept: what each leaves behind for other passes, in bytes.

    Raises ModelUnavailable, with both numbers, if not even one fits.
    """
    one, free = bytes_per_row(model, n_tokens, patterns=patterns) + kept, free_bytes(str(model.device))
    if one > free:
        raise ModelUnavailable(
            f"A sequence of {n_tokens} tokens needs about {gigabytes(one)} of memory in {model.card.name}, but only "
            f"{gigabytes(free)} is free: choose a shorter one."
        )
    return max(1, min(WORKING_MEMORY, int(free * SHARE_OF_FREE)) // one)
