"""Random models of real shapes: timing needs no trained weights, and no network."""

from __future__ import annotations

from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PretrainedConfig

from core.probes.layout import Layout
from core.transformer.card import ModelCard, ModelIdentity
from core.transformer.loaded import LoadedModel
from core.transformer.wrap import wrap

SHAPES: dict[str, PretrainedConfig] = {
    "SmolLM2-135M shape": LlamaConfig(
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        hidden_size=576,
        intermediate_size=1536,
        vocab_size=49152,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    ),
    "GPT-2 small shape": GPT2Config(n_positions=4096),
}


def random_model(shape: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> LoadedModel:
    """A loaded model of `shape` with random weights."""
    return model_of(SHAPES[shape], shape, device, dtype)


def repeated_tokens(model: LoadedModel, rows: int, layout: Layout) -> Int[Tensor, "rows tokens"]:
    """`[BOS, r, r]` of random ids."""
    generator = torch.Generator().manual_seed(0)
    r = torch.randint(1, model.card.d_vocab, (rows, layout.length), generator=generator)
    return torch.cat([torch.zeros(rows, 1, dtype=torch.long), r, r], dim=1)


def model_of(config: PretrainedConfig, shape: str, device: str = "cpu", dtype: torch.dtype = torch.float32) -> LoadedModel:
    """A loaded model of a config with random weights."""
    torch.manual_seed(0)
    module = AutoModelForCausalLM.from_config(config, attn_implementation="eager").to(device=device, dtype=dtype).eval()
    module.requires_grad_(False)
    card = ModelCard(
        name=shape,
        family="random",
        n_layers=config.num_hidden_layers,
        n_heads=config.num_attention_heads,
        d_model=config.hidden_size,
        d_head=config.hidden_size // config.num_attention_heads,
        d_vocab=config.vocab_size,
        n_ctx=config.max_position_embeddings,
        n_params=sum(parameter.numel() for parameter in module.parameters()),
        source="local",
    )
    identity = ModelIdentity(card, weights_digest=shape, bos_token_id=0, special_ids=frozenset({0}))
    return wrap(module, identity)


def twelve_by_twelve_folder(folder: Path) -> None:
    """Write a random model of 12 layers by 12 heads, as narrow as it can be, in the Hugging Face format."""
    torch.manual_seed(0)
    config = GPT2Config(n_layer=12, n_head=12, n_embd=48, vocab_size=512, n_positions=256, bos_token_id=0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
