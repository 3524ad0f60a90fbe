"""How much arithmetic a pass is, from a model's sizes alone. Imports no torch."""

from __future__ import annotations

from core.transformer.card import ModelCard


def flops_of_pass(card: ModelCard, n_tokens: int) -> float:
    """Floating-point operations of one sequence of `n_tokens` through the whole model, half of its tokens unembedded."""
    return card.n_layers * flops_of_layer(card, n_tokens) + flops_of_readout(card, n_tokens) / 2


def flops_of_layer(card: ModelCard, n_tokens: int) -> float:
    """Floating-point operations of one sequence of `n_tokens` through a layer, on the average.

    Each weight is used once for each token; attention is causal, so half of all pairs count.
    """
    body = max(card.n_params - card.d_vocab * card.d_model, 4 * card.n_layers * card.d_model**2)
    return 2.0 * body / card.n_layers * n_tokens + 2 * card.d_model * n_tokens**2


def flops_of_readout(card: ModelCard, n_tokens: int) -> float:
    """Floating-point operations of unembedding `n_tokens`."""
    return 2.0 * card.d_vocab * card.d_model * n_tokens
