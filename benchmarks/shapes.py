"""Random models of real shapes: timing needs no trained weights, and no network."""

from __future__ import annotations

import torch
from transformer_lens.model_bridge.sources import build_bridge_from_module
from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_config_from_hf
from transformer_lens.model_bridge.sources._hf_format import determine_architecture_from_hf_config
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, PretrainedConfig

from core.models.bare import bare_twin
from core.models.card import ModelCard, ModelIdentity
from core.models.loaded import LoadedModel

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
    config = SHAPES[shape]
    torch.manual_seed(0)
    module = AutoModelForCausalLM.from_config(config, attn_implementation="eager").to(device=device, dtype=dtype).eval()
    module.requires_grad_(False)
    bare = bare_twin(module)
    architecture = determine_architecture_from_hf_config(config)
    tl_config = build_bridge_config_from_hf(config, architecture, shape, dtype)
    bridge = build_bridge_from_module(module, architecture=architecture, tl_config=tl_config, tokenizer=None, model_name=shape)
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
    return LoadedModel(ModelIdentity(card, weights_digest=shape, bos_token_id=0, special_ids=frozenset({0})), bridge, bare)
