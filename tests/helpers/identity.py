"""A model of which only the sizes matter: 3 layers of 4 heads, 100 tokens of which two are special, a BOS, a context of 64."""

from __future__ import annotations

from core.transformer.card import ModelCard, ModelIdentity

TINY = ModelIdentity(
    ModelCard("tiny", "test", 3, 4, 8, 2, 100, 64, 1000, "bundled"),
    "0" * 64,
    bos_token_id=0,
    prepends_bos=True,
    special_ids=frozenset({0, 1}),
)
