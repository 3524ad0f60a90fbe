"""What a family needs beyond small sizes: layers of each of its kinds, and settings that its own checks ask for."""

from __future__ import annotations

from typing import Any

SLIDING = ["sliding_attention", "full_attention", "sliding_attention"]
FULL_FIRST = ["full_attention", "sliding_attention", "full_attention"]
LINEAR = ["linear_attention", "full_attention"] * 2
DELTA = {"num_hidden_layers": 4, "layer_types": LINEAR}
QWEN4_EXP = {
    "num_hidden_layers": 4, "layer_types": ["linear_attention", "indexed_attention"] * 2, "indexer_n_heads": 2,
    "indexer_kv_heads": 1, "indexer_head_dim": 16, "indexer_budget": 64, "indexer_compress_ratio": 4, "hc_lowrank": 16,
}  # fmt: skip

PECULIAR: dict[str, dict[str, Any]] = {
    **{
        family: {"layer_types": SLIDING}
        for family in ("afmoe", "cohere2", "cohere2_moe", "exaone4", "exaone_moe", "gemma3_text")
    },
    **{family: {"layer_types": SLIDING} for family in ("kolibri1", "ministral", "olmo3")},
    **{family: {"layer_types": FULL_FIRST} for family in ("cwm", "granite_swa", "granitemoe_swa", "modernbert-decoder")},
    **{family: DELTA for family in ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "olmo_hybrid", "bailing_hybrid")},
    "kimi_linear": DELTA,
    "lfm2": {"num_hidden_layers": 4, "layer_types": ["conv", "full_attention"] * 2},
    "lfm2_moe": {"num_hidden_layers": 4, "layer_types": ["conv", "full_attention"] * 2},
    "bamba": {"num_hidden_layers": 4, "attn_layer_indices": [1, 3]},
    "granitemoehybrid": {
        **DELTA,
        "attention_multiplier": 0.2,
        "residual_multiplier": 0.6,
        "embedding_multiplier": 3.0,
        "logits_scaling": 4.0,
    },
    "jamba": {"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1},
    "recurrent_gemma": {"num_hidden_layers": 4, "block_types": ["recurrent", "attention"]},
    "mistral": {"sliding_window": None},
    "mamba2": {"num_heads": 8, "head_dim": 16, "n_groups": 1},
    "gpt_neo": {"attention_types": [[["global", "local"], 1], [["global"], 1]], "window_size": 16},
    "xglm": {"num_layers": 3, "attention_heads": 4},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"attention_hidden_size": 128, "num_hidden_layers": 6, "attn_layer_period": 2, "attn_layer_offset": 1},
    "zamba2": {"num_hidden_layers": 4, "layers_block_type": ["linear_attention", "hybrid"] * 2},
    "zaya": {"num_experts_per_tok": 1},
    "gemma3n_text": {
        "num_hidden_layers": 4,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
        "num_kv_shared_layers": 2,
    },
    "dots3_note_text": {"sliding_window": 16, "per_layer_config": {}, "num_key_value_heads": 4},
    "reformer": {
        "attn_layers": ["local", "lsh", "local"],
        "axial_pos_shape": [8, 16],
        "axial_pos_embds_dim": [16, 48],
        "num_hashes": 1,
        "hash_seed": 0,
    },
    "granite": {
        "attention_multiplier": 0.2,
        "residual_multiplier": 0.6,
        "embedding_multiplier": 3.0,
        "logits_scaling": 4.0,
    },
    "cohere": {"logit_scale": 0.25},
    "cohere_compass_text": {
        "layer_types": SLIDING,
        "rope_parameters": {
            "full_attention": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2]},
        },
    },
    # Its own attention reads a setting that its own configuration leaves out.
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000.0},
        "ffn_config": {"hidden_size": 64, "ffn_hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "longcat_flash": {"head_dim": 8},
    "mpt": {"attn_config": {"attn_pdrop": 0}},
    "roc_bert": {"pronunciation_vocab_size": 40, "pronunciation_embed_dim": 16, "shape_vocab_size": 40, "shape_embed_dim": 16},
    "distilbert": {"dim": 64, "hidden_dim": 96},
    "llama4_text": {"layer_types": ["chunked_attention", "full_attention", "chunked_attention"]},
    "laguna": {"layer_types": FULL_FIRST},
    "lfm3": {"num_hidden_layers": 4, "layer_types": ["conv", "full_attention", "conv", "sliding_attention"]},
    "mellum": {"layer_types": FULL_FIRST},
    "flint": {"layer_types": FULL_FIRST},
    **{
        family: {"num_hidden_layers": 4, "layer_types": ["hybrid_sliding", "hybrid"] * 2}
        for family in ("inkling_text", "inkling2_text")
    },
    "qwen4_exp_text": QWEN4_EXP,
    "qwen4_exp": {"text_config": QWEN4_EXP},
    "deepseek_v4": {
        "num_hidden_layers": 4,
        "layer_types": ["heavily_compressed_attention", "compressed_sparse_attention", "sliding_attention"][:1] * 2
        + ["compressed_sparse_attention"] * 2,
    },
    "beam": {"num_hidden_layers": 4, "layer_types": ["sliding_attention", "full_attention"] * 2},
    "qwen3_5": {"text_config": DELTA},
    "qwen3_5_moe": {"text_config": DELTA},
}
