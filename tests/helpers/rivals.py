"""Models by construction with a head that only looks like an induction head, each in one way."""

from __future__ import annotations

import math
from typing import Any

import torch

from core.models.built_in.circuit_spec import BOS_ID, CircuitSpec, PlantedHead
from core.models.built_in.construction import build
from core.models.built_in.word_tokenizer import UNK_ID
from core.transformer.loaded import LoadedModel

STRENGTH = 24.0
# Where the rival is.
LAYER, HEAD = 1, 0


def duplicate_gated(length: int) -> LoadedModel:
    """Looks, and copies from, `length - 1` back, but only where the current token came before: else it rests on the BOS.

    A head of the first layer finds the earlier copy and writes a flag; without one it rests on the BOS and writes none.
    """
    spec = CircuitSpec((), n_heads=2)
    model = build(spec)
    at = _blocks(spec)
    flag = at["prev"] + UNK_ID
    tokens, positions = torch.arange(spec.d_vocab), torch.arange(spec.n_ctx)
    scale = STRENGTH * math.sqrt(spec.d_head)
    with torch.no_grad():
        query, key, value, output = _weights(model, 0, 0, spec)
        _match_earlier_copy(query, key, spec, scale)
        query[BOS_ID, at["const"]] = scale / 2
        value[0, tokens[tokens != BOS_ID]] = 1.0
        output[flag, 0] = 1.0
        query, key, value, output = _weights(model, LAYER, HEAD, spec)
        back = length - 1
        query[positions[: spec.n_ctx - back], at["pos"] + positions[back:]] = scale
        key[positions, at["pos"] + positions] = 1.0
        query[spec.n_ctx, at["const"]], query[spec.n_ctx, flag] = 1.5 * scale, -1.5 * scale
        key[spec.n_ctx, at["tok"] + BOS_ID] = 1.0
        _copy(value, output, spec)
    return model


def smearing() -> LoadedModel:
    """Looks at the earlier copy of the current token and at its successor alike, and copies from both."""
    spec = CircuitSpec((PlantedHead(0, 0, "previous_token", strength=60.0),), n_heads=2)
    model = build(spec)
    tokens = torch.arange(spec.d_vocab)
    with torch.no_grad():
        query, key, value, output = _weights(model, LAYER, HEAD, spec)
        _match_earlier_copy(query, key, spec, STRENGTH * math.sqrt(spec.d_head))
        key[tokens, _blocks(spec)["prev"] + tokens] = 1.0
        _copy(value, output, spec)
    return model


def _match_earlier_copy(query: torch.Tensor, key: torch.Tensor, spec: CircuitSpec, scale: float) -> None:
    at, tokens, positions = _blocks(spec), torch.arange(spec.d_vocab), torch.arange(spec.n_ctx)
    query[tokens, at["tok"] + tokens] = scale
    key[tokens, at["tok"] + tokens] = 1.0
    # Not the current token itself.
    query[spec.d_vocab + positions, at["pos"] + positions] = -scale
    key[spec.d_vocab + positions, at["pos"] + positions] = 1.0


def _copy(value: torch.Tensor, output: torch.Tensor, spec: CircuitSpec) -> None:
    at, tokens = _blocks(spec), torch.arange(spec.d_vocab)
    value[tokens, at["tok"] + tokens] = 1.0
    output[at["out"] + tokens, tokens] = 1.0


def _blocks(spec: CircuitSpec) -> dict[str, int]:
    """Where each block of the residual stream begins: `tok | pos | prev | out | const`."""
    v, n = spec.d_vocab, spec.n_ctx
    return {"tok": 0, "pos": v, "prev": v + n, "out": 2 * v + n, "const": 3 * v + n}


def _weights(model: LoadedModel, layer: int, head: int, spec: CircuitSpec) -> tuple[torch.Tensor, ...]:
    """A head's own rows of W_Q, W_K, W_V and columns of W_O, to be written into."""
    bare: Any = model.bare
    attention = bare.layers[layer].attn
    rows = slice(head * spec.d_head, (head + 1) * spec.d_head)
    return attention.q.weight[rows], attention.k.weight[rows], attention.v.weight[rows], attention.o.weight[:, rows]
