"""Going on from the first half: the same numbers as the whole pass, and where it is not the same it is not done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from core.attention.score_pass import measure_first, measure_heads, measure_other_halves
from core.attention.scores import SCORES
from core.models.in_memory import adopt
from core.probes.probe import ProbeOptions
from core.probes.repeated import repeated_probe
from core.transformer.passes import fused
from core.transformer.passes.fused import Agreement, agreement, first_half, fused_body
from core.transformer.passes.fused_attention import Seen
from core.transformer.passes.prefix import Prefix
from tests.helpers.architectures import ARCHITECTURES, D_VOCAB, make_pair

CONTINUE = (
    "gpt2", "gpt_neox", "gpt_neox_sequential", "llama_grouped", "llama_multi_query", "granite", "qwen3", "phi_parallel", 
    "opt", "native_attention_only", "native_solu", "native_grouped",
)  # fmt: skip
SMALL: dict[str, Any] = dict(
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    hidden_size=64,
    intermediate_size=96,
    vocab_size=256,
    max_position_embeddings=128,
    initializer_range=0.2,
)
CANNOT: dict[str, Callable[[], Any]] = {
    "a window that reaches back into the first half": lambda: transformers.MistralConfig(**SMALL, sliding_window=16),
    "a window as long as the second half": lambda: transformers.MistralConfig(**SMALL, sliding_window=12),
    "angles chosen by how long the sequence is": lambda: transformers.LlamaConfig(
        **SMALL,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "short_factor": [1.0 + 0.1 * place for place in range(8)],
            "long_factor": [2.0 + place for place in range(8)],
            "original_max_position_embeddings": 16,
        },
    ),
    "a state carried by convolutions": lambda: transformers.Lfm2Config(**SMALL, layer_types=["conv", "full_attention"] * 2),
}


def ids(rows: int, tokens: int, most: int = D_VOCAB) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(rows * tokens).integers(1, most, (rows, tokens)))


def seen_in(model: Any, tokens: torch.Tensor, **how: Any) -> tuple[torch.Tensor, list[Any]]:
    attentions: list[Seen] = []
    end = fused_body(model, tokens, attentions.append, **how)
    return end, attentions


@pytest.mark.parametrize("name", CONTINUE)
def test_second_halves_after_a_first_half_are_as_in_the_whole_pass(name: str) -> None:
    model = make_pair(name).loaded

    @settings(max_examples=6, deadline=None)
    @given(length=st.integers(2, 40), bos=st.integers(0, 1), rows=st.integers(1, 3))
    def same(length: int, bos: int, rows: int) -> None:
        tokens = ids(rows, bos + 2 * length)
        first = first_half(tokens.shape[1])
        assert first == bos + length
        prefix = Prefix(first)
        whole, wanted = seen_in(model, tokens, keep=prefix)
        end, found = seen_in(model, tokens[:, first:], after=prefix)
        assert (end - whole[:, first:]).abs().max() < 1e-5 * float(whole.abs().max())
        cells = torch.tril_indices(first + length, first + length)
        queries, keys = cells[:, cells[0] >= first]
        for one, two in zip(wanted, found, strict=True):
            assert (one.cells(queries, keys) - two.cells(queries, keys)).abs().max() < 1e-5
            assert torch.isnan(two.cells(torch.tensor([0]), torch.tensor([0]))).all()
            assert torch.isnan(two.log_sum_exp[:, :, :first]).all() and torch.isnan(two.output[:, :, :first]).all()

    same()


def test_which_models_may_do_it() -> None:
    may = {name for name in ARCHITECTURES if agreement(make_pair(name).loaded, 25).continues}
    assert may == set(CONTINUE)


@pytest.mark.parametrize("kind", CANNOT)
def test_what_a_first_half_does_not_hold_is_run_whole(kind: str) -> None:
    torch.manual_seed(0)
    config = CANNOT[kind]()
    model = adopt(transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval())
    found = agreement(model, 25)
    assert not found.continues
    probe = repeated_probe(model.vocabulary, ProbeOptions(12, 4))
    ours, eager = (measure_heads(model, probe, engine=engine) for engine in (None, "hooks"))
    for name in ("induction", "contrast", "rotation_contrast"):
        one, two = ours.sequences(name), eager.sequences(name)
        assert np.nanmax(np.abs(one - two)) < 1e-5 and np.array_equal(np.isnan(one), np.isnan(two))
    assert np.abs(ours.other.rot_loss - eager.other.rot_loss).max() < 1e-4


@pytest.mark.parametrize("mistake", ["places from 0 again", "the first layer's keys for every layer", "a token is left out"])
def test_a_mistake_is_seen_and_the_whole_pass_is_made(mistake: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_pair("llama_grouped").loaded
    right = fused.fused_body

    def wrong(model: Any, tokens: torch.Tensor, see: Any, *, after: Prefix | None = None, **more: Any) -> Any:
        if after is not None:
            layers = after.layers
            if mistake == "places from 0 again":
                after = Prefix(0, layers)
            elif mistake == "a token is left out":
                after = Prefix(after.n_tokens, [(key[:, :, 1:], value[:, :, 1:]) for key, value in layers])
            else:
                after = Prefix(after.n_tokens, [layers[0]] * len(layers))
        return right(model, tokens, see, after=after, **more)

    monkeypatch.setattr(fused, "fused_body", wrong)
    assert agreement(model, 25) == Agreement(True, agreement(model, 25).worst)
    monkeypatch.undo()
    assert agreement(make_pair("llama_grouped").loaded, 25).continues


def test_more_layers_than_before_are_no_continuation() -> None:
    model = make_pair("gpt2").loaded
    prefix = Prefix(5)
    seen_in(model, ids(2, 10), keep=prefix)
    prefix.layers.pop()
    with pytest.raises(RuntimeError, match="more layers"):
        seen_in(model, ids(2, 5), after=prefix)


def test_four_halves_cost_five_half_passes_and_two_steps_six(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_pair("llama_grouped").loaded
    probe = repeated_probe(model.vocabulary, ProbeOptions(20, 8))
    agreement(model, probe.n_tokens)
    gone_through: list[int] = []
    run = fused_body

    def counted(model: Any, tokens: torch.Tensor, *given: Any, **more: Any) -> torch.Tensor:
        gone_through.append(tokens.numel())
        return run(model, tokens, *given, **more)

    monkeypatch.setattr("core.attention.half_passes.fused_body", counted)
    whole = measure_heads(model, probe)
    assert sum(gone_through) == 8 * (probe.n_tokens + 3 * 20)
    gone_through.clear()
    steps = measure_first(model, probe)
    assert sum(gone_through) == 8 * (probe.n_tokens + 20)
    gone_through.clear()
    steps = steps.completed(measure_other_halves(model, probe))
    assert sum(gone_through) == 8 * (first_half(probe.n_tokens) + 2 * 20)
    for name in ("induction", "contrast", "rotation_contrast", "specificity"):
        assert np.abs(whole.sequences(name) - steps.sequences(name)).max() < 1e-6


def test_without_whole_rows_the_rest_is_the_same_and_what_is_left_out_is_no_number() -> None:
    model = make_pair("gpt2").loaded
    probe = repeated_probe(model.vocabulary, ProbeOptions(12, 4))
    for engine in ("fused", "hooks"):
        every = measure_heads(model, probe, engine=engine)
        some = measure_heads(model, probe, engine=engine, whole_rows=False)
        for name in SCORES:
            if name in ("entropy", "value_weighted"):
                assert np.isnan(some.sequences(name)).all()
            else:
                assert np.array_equal(some.sequences(name), every.sequences(name))
        assert np.array_equal(some.token_loss[:, 14:], every.token_loss[:, 14:]) and np.isnan(some.token_loss[:, :14]).all()
        assert some.behaviour == every.behaviour


def test_rows_of_a_prefix_and_what_it_takes() -> None:
    model = make_pair("llama_grouped").loaded
    prefix = Prefix(6)
    tokens = ids(4, 12)
    whole, _ = seen_in(model, tokens, keep=prefix)
    end, _ = seen_in(model, tokens[1:3, 6:], after=prefix.of(slice(1, 3)))
    assert (end - whole[1:3, 6:]).abs().max() < 1e-5
    # Three layers' keys and values of two shared heads, 8 numbers of 4 bytes each.
    assert prefix.bytes_per_token == 3 * 2 * 2 * 8 * 4 == agreement(model, 12).kept_bytes
