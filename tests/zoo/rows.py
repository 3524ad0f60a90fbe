"""The rows of the zoo: every causal architecture that the model library builds, variants, and models to be refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from tests.zoo.peculiar import LINEAR, PECULIAR


@dataclass(frozen=True)
class Row:
    """One model: `changes` over the family's tiny settings; `maker` is the library's class that builds it."""

    name: str
    model_type: str
    changes: dict[str, Any] = field(default_factory=dict)
    maker: str = "AutoModelForCausalLM"


def _variant(name: str, model_type: str, /, maker: str = "AutoModelForCausalLM", **changes: Any) -> Row:
    return Row(name, model_type, PECULIAR.get(model_type, {}) | changes, maker)


FAMILIES = tuple(_variant(model_type, model_type) for model_type in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
VARIANTS = (
    _variant("mistral-window-16", "mistral", sliding_window=16),
    _variant("mistral-window-4", "mistral", sliding_window=4),
    _variant("qwen2-window-9", "qwen2", use_sliding_window=True, sliding_window=9, max_window_layers=1),
    _variant("gemma3-window-4", "gemma3_text", sliding_window=4),
    _variant("gemma3-bidirectional", "gemma3_text", use_bidirectional_attention=True),
    _variant("gemma2-soft-caps", "gemma2", attn_logit_softcapping=2.0, final_logit_softcapping=3.0),
    _variant("gemma2-scalar", "gemma2", query_pre_attn_scalar=24),
    _variant("gpt-oss-window-4", "gpt_oss", sliding_window=4),
    _variant("llama-multi-query", "llama", num_key_value_heads=1),
    _variant("llama-all-heads", "llama", num_key_value_heads=4, attention_bias=True, mlp_bias=True),
    _variant("llama-wide-heads", "llama", head_dim=24),
    _variant("llama-tied", "llama", tie_word_embeddings=True),
    # Other angles beyond 16 tokens: between a probe's first half and the whole of it.
    _variant(
        "llama-long-rotary",
        "llama",
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0 + 0.1 * place for place in range(8)],
            "long_factor": [2.0 + place for place in range(8)],
            "original_max_position_embeddings": 16,
        },
    ),
    _variant("llama-scaled-rotary", "llama", rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}),
    _variant("gpt2-unscaled", "gpt2", scale_attn_weights=False),
    _variant("gpt2-inverse-layer", "gpt2", scale_attn_by_inverse_layer_idx=True),
    _variant("gpt2-upcast", "gpt2", reorder_and_upcast_attn=True, scale_attn_by_inverse_layer_idx=True),
    _variant("gpt2-untied", "gpt2", tie_word_embeddings=False),
    _variant("gpt-bigcode-all-heads", "gpt_bigcode", multi_query=False),
    _variant("gpt-neox-sequential", "gpt_neox", use_parallel_residual=False),
    _variant("opt-post-norm", "opt", do_layer_norm_before=False, word_embed_proj_dim=32),
    _variant("opt-projected", "opt", word_embed_proj_dim=32),
    _variant("opt-no-bias", "opt", enable_bias=False, layer_norm_elementwise_affine=False),
    _variant("opt-no-final-norm", "opt", _remove_final_layer_norm=True),
    _variant("falcon-new-decoder", "falcon", new_decoder_architecture=True, num_kv_heads=2),
    _variant("falcon-one-norm", "falcon", new_decoder_architecture=True, num_kv_heads=2, num_ln_in_parallel_attn=1),
    _variant("falcon-sequential", "falcon", parallel_attn=False, multi_query=False, bias=True),
    _variant("falcon-alibi", "falcon", alibi=True, multi_query=False, new_decoder_architecture=False),
    _variant("bloom-post-norm-stream", "bloom", apply_residual_connection_post_layernorm=True),
    _variant("granite-issue", "granite", residual_multiplier=0.22, logits_scaling=8.0, embedding_multiplier=12.0,
             attention_multiplier=0.015625),
    _variant("cohere-issue", "cohere", logit_scale=0.0625),
    _variant("cohere-query-key-norm", "cohere", use_qk_norm=True),
    _variant("deepseek-v3-issue", "deepseek_v3", v_head_dim=16),
    _variant("deepseek-v3-full-query", "deepseek_v3", q_lora_rank=None),
    _variant("phi-partial-rotary", "phi", partial_rotary_factor=0.25, qk_layernorm=True),
    _variant("stablelm-parallel", "stablelm", use_parallel_residual=True, qk_layernorm=True, use_qkv_bias=True),
    _variant("smollm3-no-positions", "smollm3", no_rope_layers=[1, 0, 1]),
    _variant("lfm2-issue", "lfm2"),
    _variant("qwen3-5-one-attention", "qwen3_5_text", layer_types=[*LINEAR[:1] * 3, "full_attention"]),
    _variant("jamba-no-attention", "jamba", attn_layer_period=8, attn_layer_offset=7),
    _variant("xlm-causal", "xlm", causal=True),
    _variant("bert-not-decoder", "bert", is_decoder=False),
    _variant("bert-masked", "bert", "AutoModelForMaskedLM", is_decoder=False),
    _variant("roberta-masked", "roberta", "AutoModelForMaskedLM", is_decoder=False),
    _variant("distilbert-masked", "distilbert", "AutoModelForMaskedLM"),
    _variant("modernbert-masked", "modernbert", "AutoModelForMaskedLM"),
    _variant("t5", "t5", "AutoModelForSeq2SeqLM"),
    _variant("bart-whole", "bart", "AutoModelForSeq2SeqLM", is_decoder=False),
    _variant("vit", "vit", "AutoModelForImageClassification"),
)  # fmt: skip
ROWS = {row.name: row for row in (*FAMILIES, *VARIANTS)}
