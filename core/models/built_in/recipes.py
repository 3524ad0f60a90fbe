"""What every bundled model is and what it is trained on: architecture, rows of tokens, optimiser, seed.

A recipe is complete: training it again with the same library versions gives the same model.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from core.models.built_in.word_tokenizer import BOS_ID, vocab_size

FIRST_WORD_ID = 2


@dataclass(frozen=True)
class Rows:
    """A mixture of row kinds; the weights are relative shares of the batch.

    Kinds:
        repeat: `BOS, r, r, ...`; each row has its own period, tokens of `r` without replacement.
        bigram: text from fixed random tables; a word's successor depends on the last word or, with `bigram_skip` probability,
            on the one before it, so that previous-token heads are worth having outside induction, too.
        embedded: bigram text in which a phrase of distinct words comes back once, after a random gap.
        offset: the token at `i` equals the one at `i - offset` unless noise replaced it, all from a few words a row.
            The few words make the match of the last token ambiguous: only the position tells which one to copy, so
            a head that always looks the same distance back is worth having.
    """

    repeat: float = 1.0
    bigram: float = 0.0
    embedded: float = 0.0
    offset: float = 0.0
    period: tuple[int, int] = (6, 32)
    phrase: tuple[int, int] = (6, 20)
    offset_distance: int = 25
    offset_noise: float = 0.1
    offset_words: int = 8
    bigram_successors: int = 6
    bigram_skip: float = 0.0
    bigram_seed: int = 7


@dataclass(frozen=True)
class Batches:
    """Rows of one length, in tokens without the BOS; `share` is how often a step uses them, beginning at `from_step`.

    Short rows are cheap and enough to form the circuit; long rows, which come later, stretch it to long repeats.
    """

    length: int
    rows: int
    share: float = 1.0
    from_step: int = 0


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a bundled model's weights, and the words that introduce it."""

    name: str
    title: str
    description: str
    seed: int
    n_layers: int
    n_heads: int
    d_head: int = 16
    d_model: int = 64
    d_mlp: int = 256
    n_ctx: int = 256
    act_fn: str | None = None
    rotary_base: int = 10000
    embed_scale: float = 3.0
    mlp_out_std: float | None = None
    rows: Rows = field(default_factory=Rows)
    batches: tuple[Batches, ...] = (Batches(48, 48),)
    steps: int = 1000
    learning_rate: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup_steps: int = 50
    decay_steps: int = 200
    clip_norm: float = 1.0
    head_penalty: float = 0.0
    head_penalty_from_step: int = 0
    snapshot_every: int = 25
    checkpoints: int = 14

    def config(self) -> dict[str, Any]:
        """The keyword arguments of `TransformerBridgeConfig` that rebuild the architecture; JSON-able."""
        return {
            "architecture": "TransformerLensNative",
            "model_name": self.name,
            "n_layers": self.n_layers,
            "n_heads": self.n_heads,
            "d_head": self.d_head,
            "d_model": self.d_model,
            "d_mlp": self.d_mlp,
            "n_ctx": self.n_ctx,
            "d_vocab": vocab_size(),
            "attn_only": self.act_fn is None,
            "act_fn": self.act_fn or "relu",
            "normalization_type": "LN",
            "positional_embedding_type": "rotary",
            "rotary_base": self.rotary_base,
            "tokenizer_prepends_bos": True,
            "seed": self.seed,
        }

    def as_json(self) -> dict[str, Any]:
        """All hyperparameters, for the record beside the weights."""
        return asdict(self)


@lru_cache(maxsize=4)
def bigram_table(rows: Rows, d_vocab: int) -> tuple[Int[Tensor, "d_vocab k"], Float[Tensor, " k"]]:
    """The fixed random bigram table: each word's possible successors, and their probabilities by rank.

    Fixed by `rows.bigram_seed` alone, so that models with different seeds speak the same "language".
    """
    generator = torch.Generator().manual_seed(rows.bigram_seed)
    words = d_vocab - FIRST_WORD_ID
    order = torch.rand(d_vocab, words, generator=generator).argsort(-1)
    ranks = torch.arange(1, rows.bigram_successors + 1, dtype=torch.float32)
    return order[:, : rows.bigram_successors] + FIRST_WORD_ID, (1 / ranks) / (1 / ranks).sum()


def distinct_words(batch: int, count: int, d_vocab: int, generator: torch.Generator) -> Int[Tensor, "batch count"]:
    """`count` word ids a row, without replacement, special ids left out."""
    words = d_vocab - FIRST_WORD_ID
    return torch.rand(batch, words, generator=generator).argsort(-1)[:, :count] + FIRST_WORD_ID


def draw_rows(
    rows: Rows, batch: int, length: int, d_vocab: int, generator: torch.Generator
) -> Int[Tensor, "batch length_plus_bos"]:
    """One training batch: a BOS, then `length` tokens of a kind drawn for each row by the mixture's weights."""
    makers = {"repeat": _repeat, "bigram": _bigram, "embedded": _embedded, "offset": _offset}
    weights = torch.tensor([float(getattr(rows, kind)) for kind in makers])
    kinds = torch.multinomial(weights, batch, replacement=True, generator=generator)
    parts = []
    for index, make in enumerate(makers.values()):
        count = int((kinds == index).sum())
        if count:
            parts.append(make(rows, count, length, d_vocab, generator))
    bos = torch.full((batch, 1), BOS_ID)
    return torch.cat([bos, torch.cat(parts)], dim=1)


def _integers(low: int, high: int, batch: int, generator: torch.Generator) -> Int[Tensor, "batch 1"]:
    return torch.randint(low, max(low, high) + 1, (batch, 1), generator=generator)


def _repeat(rows: Rows, batch: int, length: int, d_vocab: int, generator: torch.Generator) -> Tensor:
    low, high = rows.period
    # A period above half the row would leave no complete second copy to learn from.
    high = min(high, length // 2)
    # Log-uniform: short periods show the circuit its use early in training, long ones make it precise.
    ratio = torch.rand(batch, 1, generator=generator)
    period = (low * ((high + 1) / low) ** ratio).long().clamp(low, high)
    words = distinct_words(batch, max(low, high), d_vocab, generator)
    return words.gather(1, torch.arange(length).expand(batch, -1) % period)


def _bigram(rows: Rows, batch: int, length: int, d_vocab: int, generator: torch.Generator) -> Tensor:
    successors, probabilities = bigram_table(rows, d_vocab)
    # The same table read from another word: what follows two back is what would follow the word `+ words / 2`.
    skipped = successors.roll(d_vocab // 2, dims=0)
    skips = torch.rand(batch, length, generator=generator) < rows.bigram_skip
    ranks = torch.multinomial(probabilities, batch * length, replacement=True, generator=generator).view(batch, length)
    text = torch.empty(batch, length, dtype=torch.long)
    text[:, 0] = distinct_words(batch, 1, d_vocab, generator)[:, 0]
    for i in range(1, length):
        text[:, i] = successors[text[:, i - 1], ranks[:, i]]
        if i > 1:
            text[:, i] = torch.where(skips[:, i], skipped[text[:, i - 2], ranks[:, i]], text[:, i])
    return text


def _embedded(rows: Rows, batch: int, length: int, d_vocab: int, generator: torch.Generator) -> Tensor:
    text = _bigram(rows, batch, length, d_vocab, generator)
    low, high = rows.phrase
    high = min(high, length // 3)
    size = _integers(low, high, batch, generator)
    phrase = distinct_words(batch, max(low, high), d_vocab, generator)
    start = (torch.rand(batch, 1, generator=generator) * (length - 2 * size)).long()
    gap = (torch.rand(batch, 1, generator=generator) * (length - start - 2 * size)).long()
    for first in (start, start + size + gap):
        place = torch.arange(length).expand(batch, -1) - first
        text = torch.where((place >= 0) & (place < size), phrase.gather(1, place.clamp(0, phrase.shape[1] - 1)), text)
    return text


def _offset(rows: Rows, batch: int, length: int, d_vocab: int, generator: torch.Generator) -> Tensor:
    words = distinct_words(batch, rows.offset_words, d_vocab, generator)
    text = words.gather(1, torch.randint(rows.offset_words, (batch, length), generator=generator))
    copied = torch.rand(batch, length, generator=generator) >= rows.offset_noise
    for i in range(rows.offset_distance, length):
        text[:, i] = torch.where(copied[:, i], text[:, i - rows.offset_distance], text[:, i])
    return text


_SHORT = (Batches(48, 48),)
_SHORT_THEN_LONG = (Batches(48, 48, 0.5), Batches(128, 16, 0.3, from_step=500), Batches(208, 8, 0.2, from_step=500))

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="two-layer",
            title="Two layers, attention only",
            description="The smallest model that can do induction: two attention layers trained on repeated words.",
            seed=0,
            n_layers=2,
            n_heads=4,
            rows=Rows(period=(6, 100)),
            batches=_SHORT_THEN_LONG,
        ),
        Recipe(
            name="solu",
            title="Two layers, SoLU",
            description="Two layers with SoLU MLPs, trained on repeated words.",
            seed=0,
            n_layers=2,
            n_heads=4,
            act_fn="solu_ln",
            d_mlp=128,
            # `solu_ln` normalises before the output matrix: at the library's default scale the MLPs swamp the
            # residual stream and induction never forms.
            mlp_out_std=0.01,
            rows=Rows(period=(6, 100)),
            batches=_SHORT_THEN_LONG,
        ),
        Recipe(
            name="one-layer",
            title="One layer (control)",
            description="A control: one attention layer trained on repeated words cannot do induction.",
            seed=0,
            n_layers=1,
            n_heads=4,
            rows=Rows(period=(6, 100)),
            batches=_SHORT_THEN_LONG,
        ),
        Recipe(
            name="mixture",
            title="Three layers, mixed tasks",
            description=(
                "Three attention layers trained on repeated words, made-up text and copies from a fixed distance: "
                "some heads do induction, some look at the previous word, most do neither."
            ),
            seed=0,
            n_layers=3,
            n_heads=8,
            rows=Rows(
                repeat=0.55,
                bigram=0.1,
                embedded=0.2,
                offset=0.15,
                period=(6, 100),
                bigram_skip=0.4,
                offset_words=6,
                offset_noise=0.05,
            ),
            batches=(Batches(48, 48, 0.4), Batches(128, 16, 0.35, from_step=700), Batches(208, 8, 0.25, from_step=700)),
            steps=1500,
            # By step 800 all eight heads of the second layer do induction; from there the penalty makes them compete.
            head_penalty=0.02,
            head_penalty_from_step=800,
            checkpoints=12,
        ),
        Recipe(
            name="bigram",
            title="Bigram text only (control)",
            description="A control: two layers trained on text in which each word depends on the last one only.",
            seed=0,
            n_layers=2,
            n_heads=4,
            rows=Rows(repeat=0.0, bigram=1.0),
            batches=_SHORT,
            steps=400,
        ),
    )
}
