"""Heads that look alike: against numpy's correlation of the library's own patterns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import transformers

from core.heads import Head
from core.models.in_memory import adopt
from core.text.likeness import pattern_likeness


def test_likeness_is_the_correlation_of_patterns_without_the_first_token() -> None:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        num_hidden_layers=2,
        num_attention_heads=4,
        hidden_size=32,
        intermediate_size=48,
        vocab_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    tokens = np.random.default_rng(0).integers(0, 64, size=(3, 20))
    with torch.no_grad():
        patterns = model(torch.from_numpy(tokens), output_attentions=True, use_cache=False).attentions
    cells = [(q, k) for q in range(20) for k in range(1, q + 1)]
    flat = np.array([[[p[row, head, q, k] for row in range(3) for q, k in cells] for head in range(4)] for p in patterns])
    expected = np.corrcoef(flat.reshape(8, -1))[5].reshape(2, 4)
    assert np.allclose(pattern_likeness(adopt(model), tokens, Head(1, 1)), expected, atol=1e-5)
    assert expected[1, 1] == pytest.approx(1, abs=1e-14) and np.abs(expected - 1).max() > 0.1
