"""How many sequences go through a model at once: by the memory that is free, asked before anything is allocated.

Both budgets, of memory and of arithmetic, are fixed where memory allows it, so the same request is cut into the same passes,
and gives the same bits, on every run; only on a machine that is short of memory are the passes smaller. A pass is a step of
work: on two cores it takes a fraction of a second.
"""

from __future__ import annotations

from core.errors import ModelUnavailable
from core.transformer.flops import flops_of_pass
from core.transformer.loaded import LoadedModel
from core.transformer.memory import free_bytes, gigabytes

# What one pass may take where there is plenty, in bytes.
WORKING_MEMORY = 1 << 30
# What one pass may take in floating-point operations: some 400 tokens of a model of a hundred million weights, beyond which a
# processor is not faster for each of them; with 200 it is a seventh slower, with 100 a third.
CPU_FLOPS_PER_PASS = 1e11
GPU_FLOPS_PER_PASS = 2e13
# How many times that a pass may take which makes way between its blocks, so that none of its steps is longer: what comes after
# a probe's first half is few tokens a sequence.
TIMES_MAKING_WAY = 3
# Rows beyond this many tokens make no matrix product faster, and cost memory.
CPU_TOKENS_PER_PASS = 2048
GPU_TOKENS_PER_PASS = 1 << 16
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


def rows_per_pass(model: LoadedModel, n_tokens: int, *, patterns: bool = True, kept: int = 0, makes_way: bool = False) -> int:
    """How many sequences one pass takes, by memory and by time.

    kept: what each leaves behind for other passes, in bytes. makes_way: whether its steps are blocks, as for `run_body`.

    Raises as `rows_in_memory`.
    """
    budget = GPU_FLOPS_PER_PASS if model.device.type == "cuda" else CPU_FLOPS_PER_PASS
    if makes_way:
        budget *= min(TIMES_MAKING_WAY, model.card.n_layers)
    by_time = max(1, int(budget / flops_of_pass(model.card, n_tokens)))
    return min(by_time, rows_in_memory(model, n_tokens, patterns=patterns, kept=kept))


def even_passes(count: int, most: int) -> list[slice]:
    """Which of `count` sequences go through together, `most` at a time: no pass much smaller than the others.

    A last sequence by itself takes half as long again as one among many.
    """
    passes = -(-count // most)
    return [slice(count * place // passes, count * (place + 1) // passes) for place in range(passes)]


def rows_in_memory(model: LoadedModel, n_tokens: int, *, patterns: bool = True, kept: int = 0) -> int:
    """How many sequences fit in one pass, or in one layer of it.

    Raises ModelUnavailable, with both numbers, if not even one fits.
    """
    one, free = bytes_per_row(model, n_tokens, patterns=patterns) + kept, free_bytes(str(model.device))
    if one > free:
        raise ModelUnavailable(
            f"A sequence of {n_tokens} tokens needs about {gigabytes(one)} of memory in {model.card.name}, but only "
            f"{gigabytes(free)} is free: choose a shorter one."
        )
    return max(1, min(WORKING_MEMORY, int(free * SHARE_OF_FREE)) // one)


def tokens_per_pass(model: LoadedModel) -> int:
    """How many tokens of runs side by side one layer takes at once: more would make it no faster."""
    return GPU_TOKENS_PER_PASS if model.device.type == "cuda" else CPU_TOKENS_PER_PASS


def runs_side_by_side(model: LoadedModel, sequences: int, n_tokens: int, *, patterns: bool) -> int:
    """How many runs of so many sequences go through a layer at once; raises as `rows_in_memory`."""
    by_speed = tokens_per_pass(model) // (sequences * n_tokens)
    return max(1, min(by_speed, rows_in_memory(model, n_tokens, patterns=patterns) // sequences))
