"""What is known of a model without loading its weights. Imports no torch, so that a first screen need not wait for it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from core.probes.vocabulary import Vocabulary

if TYPE_CHECKING:
    from core.transformer.tokenizer import ModelTokenizer

Source = Literal["bundled", "pypi", "hub", "local", "memory"]


@dataclass(frozen=True)
class ModelCard:
    """A model's sizes and origin. `n_params` counts weights; `n_ctx` is in tokens."""

    name: str
    family: str
    n_layers: int
    n_heads: int
    d_model: int
    d_head: int
    d_vocab: int
    n_ctx: int
    n_params: int
    source: Source
    title: str = ""
    description: str = ""
    n_key_value_heads: int = 0
    positional: str = "learned"
    has_mlp: bool = True

    def __post_init__(self) -> None:
        if min(self.n_layers, self.n_heads, self.d_model, self.d_vocab) < 1:
            raise ValueError(f"a model card needs positive sizes: {self}")
        if not self.n_key_value_heads:
            object.__setattr__(self, "n_key_value_heads", self.n_heads)


@dataclass(frozen=True, eq=False)
class ModelIdentity:
    """Everything that a result's key, a probe and a page need of a model: no weights, no torch.

    `weights_digest` is a sha256 of the weights and the configuration themselves, not of the name they came under.
    """

    card: ModelCard
    weights_digest: str
    tokenizer: ModelTokenizer | None = None
    bos_token_id: int | None = None
    prepends_bos: bool = False
    special_ids: frozenset[int] = frozenset()

    @property
    def vocabulary(self) -> Vocabulary:
        """What a probe must know of this model's tokens."""
        return Vocabulary(
            size=self.card.d_vocab,
            special_ids=self.special_ids,
            bos_token_id=self.bos_token_id,
            prepends_bos=self.prepends_bos,
            n_ctx=self.card.n_ctx,
        )

    @property
    def uncounted(self) -> frozenset[int]:
        """Ids of which two are never one word that comes back: special tokens, and what stands for every unknown word."""
        unknown = None if self.tokenizer is None else self.tokenizer.unknown_id
        return self.special_ids | {token for token in (self.bos_token_id, unknown) if token is not None}

    @property
    def tokenizer_digest(self) -> str:
        """What identifies how it reads a text, which its weights do not tell; empty without a tokenizer."""
        return "" if self.tokenizer is None else self.tokenizer.digest

    @property
    def reading(self) -> str:
        """What identifies how text becomes ids here, and which of them are words: none of it is told by the weights."""
        special = hashlib.sha256(repr(sorted(self.special_ids)).encode()).hexdigest()
        return f"{self.tokenizer_digest} {self.bos_token_id} {self.prepends_bos} {special}"

    @property
    def no_tokenizer(self) -> str:
        """How a sentence begins that says what a model without a tokenizer cannot do."""
        return f"{self.card.name} came without a tokenizer (of a folder tokenizer.json is read)"

    def token_text(self, token_id: int) -> str:
        """The token's text, unescaped; the id itself where the model came without a tokenizer."""
        return str(token_id) if self.tokenizer is None else self.tokenizer.text(token_id)
