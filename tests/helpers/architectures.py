"""Small random models of many architectures, as bare library modules and as loaded models around the same weights."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import cache

import torch
from torch import nn
from transformer_lens.config import TransformerBridgeConfig
from transformer_lens.model_bridge.sources.native.init import initialize_native_model
from transformer_lens.model_bridge.sources.native.model import NativeModel
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    Gemma2Config,
    GPT2Config,
    GPTJConfig,
    GPTNeoXConfig,
    GraniteConfig,
    LlamaConfig,
    MptConfig,
    OPTConfig,
    PhiConfig,
    PretrainedConfig,
    Qwen3Config,
)

from core.transformer.card import ModelCard, ModelIdentity
from core.transformer.loaded import LoadedModel
from core.transformer.wrap import wrap

D_VOCAB = 211
N_LAYERS = 3
N_HEADS = 4
N_CTX = 96
_LLAMA = dict(
    num_hidden_layers=N_LAYERS,
    num_attention_heads=N_HEADS,
    hidden_size=32,
    intermediate_size=48,
    vocab_size=D_VOCAB,
    max_position_embeddings=N_CTX,
    initializer_range=0.3,
)
_GPT = dict(n_layer=N_LAYERS, n_head=N_HEADS, n_embd=32, vocab_size=D_VOCAB, n_positions=N_CTX, initializer_range=0.3)

LIBRARY_CONFIGS: dict[str, PretrainedConfig] = {
    "gpt2": GPT2Config(**_GPT),
    "gpt_neox": GPTNeoXConfig(**_LLAMA),
    "gpt_neox_sequential": GPTNeoXConfig(**_LLAMA, use_parallel_residual=False),
    "llama_grouped": LlamaConfig(**_LLAMA, num_key_value_heads=2),
    "llama_multi_query": LlamaConfig(**_LLAMA, num_key_value_heads=1),
    # Scales of its own for the scores, the stream and the logits.
    "granite": GraniteConfig(
        **_LLAMA,
        num_key_value_heads=2,
        attention_multiplier=0.2,
        residual_multiplier=0.6,
        embedding_multiplier=3.0,
        logits_scaling=4.0,
        architectures=["GraniteForCausalLM"],
    ),
    "gemma2": Gemma2Config(**_LLAMA, num_key_value_heads=2, head_dim=16),
    "qwen3": Qwen3Config(**_LLAMA, num_key_value_heads=2, head_dim=16),
    "phi_parallel": PhiConfig(**_LLAMA),
    "bloom_alibi": BloomConfig(n_layer=N_LAYERS, n_head=N_HEADS, hidden_size=32, vocab_size=D_VOCAB, initializer_range=0.3),
    "mpt_alibi": MptConfig(
        n_layers=N_LAYERS, n_heads=N_HEADS, d_model=32, vocab_size=D_VOCAB, max_seq_len=N_CTX, initializer_range=0.3
    ),
    "gptj": GPTJConfig(**_GPT, rotary_dim=4),
    "opt": OPTConfig(
        num_hidden_layers=N_LAYERS,
        num_attention_heads=N_HEADS,
        hidden_size=32,
        ffn_dim=48,
        word_embed_proj_dim=32,
        vocab_size=D_VOCAB,
        max_position_embeddings=N_CTX,
        init_std=0.3,
    ),
}
NATIVE_SETTINGS: dict[str, dict[str, object]] = {
    "native_attention_only": {"attn_only": True, "positional_embedding_type": "rotary", "normalization_type": "LN"},
    "native_solu": {"act_fn": "solu_ln", "positional_embedding_type": "standard", "normalization_type": "LN"},
    "native_grouped": {
        "act_fn": "gelu",
        "positional_embedding_type": "rotary",
        "normalization_type": "RMS",
        "n_key_value_heads": 2,
    },
}
KEY_VALUE_HEADS = {"llama_grouped": 2, "llama_multi_query": 1, "granite": 2, "gemma2": 2, "qwen3": 2, "native_grouped": 2}
ARCHITECTURES = (*LIBRARY_CONFIGS, *NATIVE_SETTINGS)


@dataclass(frozen=True)
class Pair:
    """One set of weights twice: `bare`, the library's own module, and `loaded`, what HeadScope runs."""

    name: str
    bare: nn.Module
    loaded: LoadedModel

    def eager(self, tokens: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits, and each layer's attention weights `[batch, n_heads, query, key]`, by the library's own eager code."""
        with torch.no_grad():
            if isinstance(self.bare, NativeModel):
                patterns: list[torch.Tensor] = []
                handles = [
                    layer.attn.register_forward_hook(lambda module, inputs, output: patterns.append(output[1]))
                    for layer in self.bare.layers
                ]
                logits = self.bare(tokens)
                for handle in handles:
                    handle.remove()
                return logits, patterns
            output = self.bare(tokens, output_attentions=True, use_cache=False)
            return output.logits, list(output.attentions)


def make_pair(name: str, *, seed: int = 0, dtype: torch.dtype = torch.float32) -> Pair:
    """A random model of architecture `name`, biases included, and its loaded twin."""
    if name in LIBRARY_CONFIGS:
        config = copy.deepcopy(LIBRARY_CONFIGS[name])
        d_head = getattr(config, "head_dim", None) or 32 // N_HEADS
    else:
        d_head = _native_config(name, seed).d_head
    bare = copy.deepcopy(_random_module(name, seed)).to(dtype).eval().requires_grad_(False)
    wrapped = copy.deepcopy(bare)
    card = ModelCard(
        name=name,
        family="random",
        n_layers=N_LAYERS,
        n_heads=N_HEADS,
        d_model=32,
        d_head=d_head,
        d_vocab=D_VOCAB,
        n_ctx=N_CTX,
        n_params=sum(p.numel() for p in bare.parameters()),
        source="local",
        n_key_value_heads=KEY_VALUE_HEADS.get(name, N_HEADS),
    )
    identity = ModelIdentity(
        card=card, weights_digest=f"{name}-{seed}-{dtype}", bos_token_id=0, prepends_bos=True, special_ids=frozenset({0})
    )
    return Pair(name=name, bare=bare, loaded=wrap(wrapped, identity))


@cache
def _random_module(name: str, seed: int) -> nn.Module:
    """The model itself, drawn once: work that an earlier test left behind may draw from the same random numbers meanwhile."""
    torch.manual_seed(seed)
    if name in LIBRARY_CONFIGS:
        module = AutoModelForCausalLM.from_config(copy.deepcopy(LIBRARY_CONFIGS[name]), attn_implementation="eager")
    else:
        tl_config = _native_config(name, seed)
        module = NativeModel(tl_config)
        initialize_native_model(module, tl_config)
    for parameter_name, parameter in module.named_parameters():
        # Biases start at zero everywhere; a mistake with them would not show.
        if parameter_name.endswith("bias"):
            torch.nn.init.normal_(parameter, std=0.3)
    return module


def _native_config(name: str, seed: int) -> TransformerBridgeConfig:
    return TransformerBridgeConfig(
        d_model=32, d_head=8, n_layers=N_LAYERS, n_heads=N_HEADS, n_ctx=N_CTX, d_vocab=D_VOCAB, d_mlp=48,
        architecture="TransformerLensNative", initializer_range=0.3, seed=seed, **NATIVE_SETTINGS[name],
    )  # fmt: skip
