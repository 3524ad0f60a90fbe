"""Models by construction: exact weights for a `CircuitSpec`, as a native model that goes through the same code as any other."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from core.models.built_in.circuit_spec import BOS_ID, LOGIT_SCALE, CircuitSpec, PlantedHead, standard_spec
from core.models.built_in.word_tokenizer import UNK_ID, build_tokenizer, word_list
from core.transformer.card import ModelCard, ModelIdentity
from core.transformer.tokenizer import ModelTokenizer

if TYPE_CHECKING:
    from core.transformer.loaded import LoadedModel

NAME = "by-construction"


def identity(spec: CircuitSpec | None = None) -> ModelIdentity:
    """Who the model is, without building it."""
    spec = spec or standard_spec()
    blocks = 4 * spec.n_layers * spec.n_heads * spec.d_head * spec.d_model
    card = ModelCard(
        name=NAME,
        family="bundled",
        title="Circuit by construction",
        description=(
            "Two layers whose every weight was set by hand: one previous-token head, one induction head, and three heads "
            "that only look like it. Its scores are known exactly."
        ),
        n_layers=spec.n_layers,
        n_heads=spec.n_heads,
        d_model=spec.d_model,
        d_head=spec.d_head,
        d_vocab=spec.d_vocab,
        n_ctx=spec.n_ctx,
        n_params=blocks + spec.d_model * (2 * spec.d_vocab + spec.n_ctx),
        source="bundled",
        positional="learned",
        has_mlp=False,
    )
    words = word_list()[: spec.d_vocab - 2]
    return ModelIdentity(
        card=card,
        weights_digest=spec.digest(),
        tokenizer=ModelTokenizer(build_tokenizer(words)) if len(words) == spec.d_vocab - 2 else None,
        bos_token_id=BOS_ID,
        prepends_bos=True,
        special_ids=frozenset({BOS_ID, UNK_ID}),
    )


def build(spec: CircuitSpec | None = None, *, device: str = "cpu", dtype: str = "float32") -> LoadedModel:
    """The model for `spec` (the standard circuit by default), on `device`, in number format `dtype`."""
    import torch
    from transformer_lens.config import TransformerBridgeConfig
    from transformer_lens.model_bridge.sources.native.model import NativeModel

    from core.transformer.wrap import NATIVE, wrap

    spec = spec or standard_spec()
    config = TransformerBridgeConfig(
        d_model=spec.d_model,
        d_head=spec.d_head,
        n_layers=spec.n_layers,
        n_heads=spec.n_heads,
        n_ctx=spec.n_ctx,
        d_vocab=spec.d_vocab,
        attn_only=True,
        normalization_type=None,
        positional_embedding_type="standard",
        init_weights=False,
        architecture=NATIVE,
    )
    module = NativeModel(config)
    layers: Any = module.layers
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        _write_embeddings(module, spec)
        for head in spec.planted:
            _plant(layers[head.layer].attn, head, spec)
    module = module.to(device=device, dtype=getattr(torch, dtype)).eval().requires_grad_(False)
    return wrap(module, identity(spec))


@lru_cache
def _starts(d_vocab: int, n_ctx: int) -> dict[str, int]:
    """Where each block of the residual stream begins."""
    return {"tok": 0, "pos": d_vocab, "prev": d_vocab + n_ctx, "out": 2 * d_vocab + n_ctx, "const": 3 * d_vocab + n_ctx}


def _write_embeddings(module: Any, spec: CircuitSpec) -> None:
    import torch

    at = _starts(spec.d_vocab, spec.n_ctx)
    tokens, positions = torch.arange(spec.d_vocab), torch.arange(spec.n_ctx)
    module.tok_embed.weight[tokens, at["tok"] + tokens] = 1.0
    module.pos.weight[positions, at["pos"] + positions] = 1.0
    module.pos.weight[:, at["const"]] = 1.0
    module.head.weight[tokens, at["out"] + tokens] = LOGIT_SCALE


def _plant(attention: Any, planted: PlantedHead, spec: CircuitSpec) -> None:
    """Write one head's W_Q, W_K, W_V and W_O."""
    import torch

    at = _starts(spec.d_vocab, spec.n_ctx)
    rows = slice(planted.head * spec.d_head, (planted.head + 1) * spec.d_head)
    query, key, value = (module.weight[rows] for module in (attention.q, attention.k, attention.v))
    output = attention.o.weight[:, rows]
    tokens, positions = torch.arange(spec.d_vocab), torch.arange(spec.n_ctx)
    # The model divides scores by sqrt(d_head); the strength is what must remain.
    strength = planted.strength * math.sqrt(spec.d_head)
    if planted.kind in ("previous_token", "positional"):
        offset = 1 if planted.kind == "previous_token" else planted.offset
        query[positions[: spec.n_ctx - offset], at["pos"] + positions[offset:]] = strength
        key[positions, at["pos"] + positions] = 1.0
    elif planted.kind == "induction":
        query[tokens, at["tok"] + tokens] = strength
        key[tokens, at["prev"] + tokens] = 1.0
        # The BOS at half strength, so that a query with no earlier copy rests there: one more row, read off `const`.
        query[spec.d_vocab, at["const"]] = strength / 2
        key[spec.d_vocab, at["tok"] + BOS_ID] = 1.0
    elif planted.kind == "duplicate_token":
        query[tokens, at["tok"] + tokens] = strength
        key[tokens, at["tok"] + tokens] = 1.0
        # Every query also matches its own token; the same strength against its own position cancels that.
        query[spec.d_vocab + positions, at["pos"] + positions] = -strength
        key[spec.d_vocab + positions, at["pos"] + positions] = 1.0
    else:
        query[0, at["const"]] = strength
        key[0, at["pos"]] = 1.0
    writes = 1.0 if planted.kind == "previous_token" else planted.copying
    if writes:
        target = at["prev"] if planted.kind == "previous_token" else at["out"]
        value[tokens, at["tok"] + tokens] = 1.0
        output[target + tokens, tokens] = writes
