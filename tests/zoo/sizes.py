"""Tiny sizes under every family's own names: what makes any configuration of the model library small enough for a test."""

from __future__ import annotations

import dataclasses
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedConfig

D_VOCAB = 256
D_MODEL = 64
N_LAYERS = 3
N_HEADS = 4
N_CTX = 128
WINDOW = 16


def _each(value: Any, *names: str) -> dict[str, Any]:
    return dict.fromkeys(names, value)


SIZES: dict[str, Any] = {
    **_each(D_VOCAB, "vocab_size", "decoder_vocab_size", "vocab_size_per_layer_input", "audio_vocab_size"),
    **_each(D_MODEL, "hidden_size", "n_embd", "d_model", "emb_dim", "embedding_dim", "word_embed_proj_dim", "lru_width"),
    # An embedding of a width of its own, where the family has one.
    **_each(32, "embedding_size", "input_embedding_size", "hidden_size_per_layer_input"),
    **_each(D_MODEL, "attention_hidden_size", "output_embedding_size", "backbone_hidden_size"),
    **_each(N_LAYERS, "num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_blocks", "num_decoder_layers"),
    **_each(N_LAYERS, "decoder_layers", "encoder_layers", "num_encoder_layers", "depth"),
    **_each(N_HEADS, "num_attention_heads", "n_head", "n_heads", "num_heads", "num_decoder_attention_heads", "attention_heads"),
    **_each(N_HEADS, "decoder_attention_heads", "encoder_attention_heads", "num_encoder_attention_heads"),
    **_each(N_HEADS, "swa_num_attention_heads"),
    **_each(2, "num_key_value_heads", "num_kv_heads", "swa_num_key_value_heads"),
    **_each(96, "intermediate_size", "n_inner", "dff", "ffn_dim", "d_inner", "dim_ff", "feed_forward_size", "mlp_hidden_size"),
    **_each(96, "decoder_ffn_dim", "encoder_ffn_dim", "intermediate_size_mlp", "dense_intermediate_size", "ffn_hidden_size"),
    **_each(96, "prefix_dense_intermediate_size"),
    **_each(32, "moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"),
    **_each(32, "moe_shared_expert_intermediate_size", "shared_experts_intermediate_size", "shared_intermediate_size"),
    **_each(4, "num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"),
    **_each(2, "num_experts_per_tok", "moe_topk", "moe_k", "top_k_experts"),
    **_each(1, "n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "n_group", "topk_group"),
    **_each(1, "first_k_dense_replace", "num_dense_layers"),
    **_each(N_CTX, "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "context_length", "max_target_positions"),
    **_each(16, "head_dim", "swa_head_dim", "dim_head", "kv_channels", "attention_head_size", "d_kv", "d_head"),
    "rotary_dim": 8,
    # Latent attention: the sizes of its parts, so that a mistake between any two of them shows.
    **{"q_lora_rank": 24, "kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 12},
    **{"index_head_dim": 16, "index_n_heads": 2, "index_topk": 64},
    # State-space and linear layers of hybrids.
    **{"mamba_d_state": 8, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_n_groups": 1},
    **{"state_size": 8, "mamba_dt_rank": 4, "time_step_rank": 4, "mamba_chunk_size": 16, "chunk_size": 16, "mamba_d_ssm": 128},
    **{"ssm_state_size": 8, "mamba_num_heads": 8, "mamba_head_dim": 16, "n_groups": 1, "mamba_ngroups": 1, "n_mamba_heads": 2},
    **{"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 16},
    **{"linear_head_dim": 16, "linear_num_heads": 4},
    # Drawn wide, so that patterns are sharp.
    **_each(0.2, "initializer_range", "init_std", "embedding_initializer_range", "embed_init_std"),
    # Nothing random in a forward pass.
    **_each(0.0, "attention_dropout", "hidden_dropout_prob", "attention_probs_dropout_prob", "dropout", "resid_pdrop"),
    **_each(0.0, "activation_dropout", "embd_pdrop", "attn_pdrop", "hidden_dropout", "layerdrop", "emb_pdrop", "dropout_p"),
    **_each(0.0, "decoder_layerdrop", "encoder_layerdrop", "resid_dropout", "embed_dropout", "embedding_dropout"),
    **_each(0.0, "residual_dropout"),
}
# Only where the family has a window by itself.
WINDOWS = ("sliding_window", "attention_window_size", "local_attention", "sliding_window_size", "attention_chunk_size")


def tiny_settings(family: type[PreTrainedConfig]) -> dict[str, Any]:
    """Those of `SIZES` that the family's configuration knows, with its parts', causal where it may be either."""
    known = {field.name: field.default for field in dataclasses.fields(family)}
    settings = {name: value for name, value in SIZES.items() if name in known}
    settings |= {name: WINDOW for name in WINDOWS if isinstance(known.get(name), int) and known[name]}
    for name, token in (("bos_token_id", 1), ("eos_token_id", 2), ("pad_token_id", 0)):
        default = known.get(name)
        if isinstance(default, list) or (isinstance(default, int) and not 0 <= default < D_VOCAB):
            settings[name] = token
    if "num_key_value_heads" in known and "kv_lora_rank" in known:
        settings["num_key_value_heads"] = N_HEADS
    if "is_decoder" in known:
        settings["is_decoder"] = True
    return settings | _parts(family)


def _parts(family: type[PreTrainedConfig]) -> dict[str, Any]:
    """The settings of the configurations inside a configuration: its text model's, its vision model's."""
    names = [name for name in getattr(family, "sub_configs", {}) if name.endswith("_config")]
    if not names:
        return {}
    whole = family()
    parts = {name: getattr(whole, name, None) for name in names}
    return {
        name: {"model_type": part.model_type} | tiny_settings(type(part)) for name, part in parts.items() if part is not None
    }


def family_of(model_type: str) -> type[PreTrainedConfig]:
    """The configuration class of a model type."""
    found: type[PreTrainedConfig] = CONFIG_MAPPING[model_type]
    return found


def merged(settings: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """`settings` with `changes` over them, inside the configurations of its parts, too."""
    inside = {
        name: merged(settings[name], value)
        for name, value in changes.items()
        if isinstance(value, dict) and isinstance(settings.get(name), dict) and name == "text_config"
    }
    return settings | changes | inside
