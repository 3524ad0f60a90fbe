"""Means that stand in for heads: only as deep as is asked, and a longer reference only where it serves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import transformers

from core.ablation.ablator import Ablator
from core.ablation.reference import ReferenceMeans
from core.ablation.total_effect import gain_in_logits, total_effects
from core.heads import Head
from core.models.in_memory import adopt
from core.probes.probe import Probe, ProbeOptions
from core.probes.repeated import repeated_probe
from core.transformer.passes.hooks import run_body, z_hook
from core.verdicts.gather import Bench, gather_total_effects
from tests.helpers.architectures import ARCHITECTURES, N_LAYERS, make_pair


def fresh(vocabulary: Any, length: int, rows: int = 9) -> np.ndarray:
    found = repeated_probe(vocabulary, ProbeOptions(length, rows, 5)).control
    assert found is not None
    return found


def brute_force(pair: Any, tokens: np.ndarray, layer: int) -> torch.Tensor:
    seen: list[torch.Tensor] = []
    with torch.no_grad():
        run_body(pair.loaded, torch.from_numpy(tokens.copy()), [(z_hook(layer), seen.append)])
    return seen[0].double().mean(0)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_means_of_each_position_equal_brute_force_and_shorter_rows_are_served(name: str) -> None:
    pair = make_pair(name)
    long = fresh(pair.loaded.vocabulary, 14)
    means = ReferenceMeans(pair.loaded, long)
    assert means.serves(21) and means.serves(29) and not means.serves(30)
    for layer in range(N_LAYERS):
        found = means.up_to(layer, 21)[layer]
        assert found.shape[:2] == (1, 21)
        assert (found[0] - brute_force(pair, long[:, :21], layer)).abs().max() < 1e-5


def test_a_pass_ends_where_nothing_more_is_asked_and_there_is_no_third(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make_pair("llama_grouped")
    depths: list[int | None] = []
    run = run_body

    def counted(*given: Any, until: int | None = None, **more: Any) -> Any:
        depths.append(until)
        return run(*given, until=until, **more)

    means = ReferenceMeans(pair.loaded, fresh(pair.loaded.vocabulary, 9))
    monkeypatch.setattr("core.ablation.reference.run_body", counted)
    assert sorted(means.up_to(0)) == [0] == sorted(means.up_to(0))
    assert depths == [1]
    assert sorted(means.up_to(1)) == [0, 1, 2] == sorted(means.up_to(2))
    assert depths == [1, None]


def test_an_ablator_asks_no_deeper_than_the_heads_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = make_pair("gpt2")
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(9, 2))
    asked: list[int] = []
    up_to = ReferenceMeans.up_to
    monkeypatch.setattr(
        ReferenceMeans, "up_to", lambda self, layer, n_tokens=None: asked.append(layer) or up_to(self, layer, n_tokens)
    )
    Ablator(pair.loaded, probe.tokens, fresh(pair.loaded.vocabulary, 9)).token_loss([(Head(0, 1),), (Head(1, 2),)], "mean")
    assert max(asked) == 1


def long_rope() -> Any:
    """Angles that depend on how long the whole sequence is: other factors beyond 24 tokens."""
    half = 8
    config = transformers.Phi3Config(
        num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, hidden_size=64, intermediate_size=96, vocab_size=256,
        max_position_embeddings=128, original_max_position_embeddings=24, initializer_range=0.2, pad_token_id=0,
        rope_scaling={
            "rope_type": "longrope", "type": "longrope", "short_factor": [1.0] * half, "long_factor": [8.0] * half,
            "original_max_position_embeddings": 24,
        },
    )  # fmt: skip
    torch.manual_seed(0)
    return adopt(transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval())


def test_where_angles_depend_on_the_length_a_longer_reference_does_not_serve() -> None:
    model = long_rope()
    means = ReferenceMeans(model, fresh(model.vocabulary, 20))
    assert means.serves(36) and not means.serves(20)
    probes = [repeated_probe(model.vocabulary, ProbeOptions(length, 4, 3)) for length in (8, 20)]
    references = [fresh(model.vocabulary, length) for length in (8, 20)]
    bench = Bench(model, probes, references)
    found = gather_total_effects(bench, (Head(1, 0),), "mean")
    own = [
        total_effects(Ablator(model, probe.tokens, rows), [(Head(1, 0),)], "mean", probe.layout.second_copy_targets)
        for probe, rows in zip(probes, references, strict=True)
    ]
    assert np.abs(found - np.concatenate(own, -1)).max() < 1e-5


def test_rows_of_the_longest_stand_in_at_every_length() -> None:
    """What is shared is the longest reference's first tokens, and not those of a reference that was drawn for the length."""
    pair = make_pair("gpt2")
    probes = [repeated_probe(pair.loaded.vocabulary, ProbeOptions(length, 4, 3)) for length in (6, 12)]
    references = [fresh(pair.loaded.vocabulary, length) for length in (6, 12)]
    found = gather_total_effects(Bench(pair.loaded, probes, references), (Head(1, 2),), "mean")
    ablator = Ablator(pair.loaded, probes[0].tokens, references[1][:, : probes[0].n_tokens])
    expected = total_effects(ablator, [(Head(1, 2),)], "mean", probes[0].layout.second_copy_targets)
    assert np.abs(found[:, :4] - expected).max() < 1e-5


@pytest.mark.parametrize("name", ["gpt2", "llama_grouped", "gemma2", "bloom_alibi", "native_solu"])
def test_the_gain_is_the_same_with_the_first_half_kept(name: str) -> None:
    pair = make_pair(name)
    probe: Probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(11, 3))
    kept, anew = (gain_in_logits(Ablator(pair.loaded, probe.tokens, keep_first_half=keep), probe) for keep in (True, False))
    assert np.abs(kept - anew).max() < 1e-5 * max(1.0, float(np.abs(anew).max()))
