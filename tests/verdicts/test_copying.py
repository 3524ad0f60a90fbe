"""Copying, by the effective embedding: against the whole matrix, on models whose answer is known."""

from __future__ import annotations

import pytest
import torch

from core.models.built_in.circuit_spec import CircuitSpec, PlantedHead, standard_spec
from core.models.built_in.construction import build
from core.verdicts import copying
from core.verdicts.copying import effective_embeddings, eigenvalue_copying, sampled_tokens
from tests.helpers.architectures import N_HEADS, make_pair


def test_copying_of_the_circuit_is_one_and_of_nothing_zero() -> None:
    scores = eigenvalue_copying(build())
    [head] = standard_spec().of_kind("induction")
    assert scores[head.layer, head.head] == pytest.approx(1.0, abs=1e-6)
    scores[head.layer, head.head] = 0
    assert abs(scores).max() < 1e-6


def test_a_head_that_suppresses_is_minus_one() -> None:
    spec = CircuitSpec((PlantedHead(0, 0, "previous_token", 60.0), PlantedHead(1, 2, "induction", 10.0, copying=-0.4)))
    assert eigenvalue_copying(build(spec))[1, 2] == pytest.approx(-1.0, abs=1e-6)


def test_what_a_later_head_reads_is_what_the_first_block_made_of_the_token() -> None:
    pair = make_pair("gpt2", seed=3)
    tokens = torch.arange(5, 25)
    first, later = effective_embeddings(pair.loaded, tokens)
    front = pair.loaded.identity.bos_token_id
    rows = torch.stack([torch.tensor(([] if front is None else [front]) + [int(token)]) for token in tokens])
    with torch.no_grad():
        embedded = pair.bare.transformer.wte(rows) + pair.bare.transformer.wpe(torch.arange(rows.shape[1]))
        block = pair.bare.transformer.h[0](embedded)
        block = block[0] if isinstance(block, tuple) else block
    for found, expected in ((first, embedded[:, -1]), (later, block[:, -1])):
        torch.testing.assert_close(found, expected - expected.mean(0), atol=1e-5, rtol=1e-4)
    assert (first - later).abs().max() > 0.1


@pytest.mark.parametrize("name", ["llama_grouped", "gpt2", "native_attention_only", "llama_multi_query"])
def test_eigenvalue_copying_equals_the_whole_matrix(name: str) -> None:
    """Eigenvalues of the `tokens x tokens` product itself, with the norms' gains and centring applied as matrices."""
    pair = make_pair(name)
    bare, d_model, d_head = pair.bare, 32, pair.loaded.card.d_head
    measured = eigenvalue_copying(pair.loaded)
    tokens = torch.from_numpy(sampled_tokens(pair.loaded))
    _, embedded = effective_embeddings(pair.loaded, tokens)
    layer, head = 1, 2
    if name.startswith("llama"):
        block = bare.model.layers[layer]
        group = head // (N_HEADS // pair.loaded.card.n_key_value_heads)
        w_v = block.self_attn.v_proj.weight[group * d_head : (group + 1) * d_head].T
        w_o = block.self_attn.o_proj.weight[:, head * d_head : (head + 1) * d_head].T
        centre, g1, g2 = torch.eye(d_model), block.input_layernorm.weight, bare.model.norm.weight
        w_u = bare.lm_head.weight.T
    elif name == "gpt2":
        block = bare.transformer.h[layer]
        w_v = block.attn.c_attn.weight[:, 2 * d_model + head * d_head : 2 * d_model + (head + 1) * d_head]
        w_o = block.attn.c_proj.weight[head * d_head : (head + 1) * d_head]
        centre = torch.eye(d_model) - 1 / d_model
        g1, g2, w_u = block.ln_1.weight, bare.transformer.ln_f.weight, bare.lm_head.weight.T
    else:
        block = bare.layers[layer]
        w_v = block.attn.v.weight[head * d_head : (head + 1) * d_head].T
        w_o = block.attn.o.weight[:, head * d_head : (head + 1) * d_head].T
        centre = torch.eye(d_model) - 1 / d_model
        g1, g2, w_u = block.ln1.weight, bare.ln_out.weight, bare.head.weight.T
    whole = (embedded @ centre @ torch.diag(g1) @ w_v @ w_o @ centre @ torch.diag(g2) @ w_u[:, tokens]).detach().double()
    eigenvalues = torch.linalg.eigvals(whole)
    assert measured[layer, head] == pytest.approx(float(eigenvalues.real.sum() / eigenvalues.abs().sum()), abs=1e-3)


def test_a_sample_of_tokens_says_the_same_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build()
    monkeypatch.setattr(copying, "SAMPLED_TOKENS", 40)
    [head] = standard_spec().of_kind("induction")
    assert len(sampled_tokens(model)) == 40 and eigenvalue_copying(model)[head.layer, head.head] > 0.99
