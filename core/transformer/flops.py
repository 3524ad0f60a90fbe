"""How much arithmetic a pass is, from a model's sizes alone. Imports no torch."""

from __future__ import annotations

from core.transformer.card import ModelCard


def flops_of_pass(card: ModelCard, n_tokens: int) -> float:
    """Floating-point operations of one sequence of `n_tokens` through the whole model, half of its tokens unembedded.

    Each weight is used once for each token; attention is causal, so half of all pairs count.
    """
    unembedding = card.d_vocab * card.d_model
    body = max(card.n_params - unembedding, 4 * card.n_layers * card.d_model**2)
    attention = 2 * card.n_layers * card.d_model * n_tokens**2
    return 2.0 * body * n_tokens + attention + unembedding * n_tokens
