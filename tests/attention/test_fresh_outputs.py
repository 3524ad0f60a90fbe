"""Heads' mean outputs over fresh sequences, picked up from passes that are made anyway: against brute force, and to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from core.attention.fresh_outputs import FreshOutputs
from core.attention.score_pass import measure_fresh_outputs, measure_heads
from core.probes.probe import Probe, ProbeOptions
from core.probes.repeated import repeated_probe
from core.transformer.loaded import LoadedModel
from core.transformer.passes import batching
from core.transformer.passes.fused import Engine
from tests.helpers.architectures import ARCHITECTURES, make_pair


def two_probes(model: LoadedModel) -> list[Probe]:
    return [repeated_probe(model.vocabulary, ProbeOptions(9, rows, seed)) for rows, seed in ((5, 1), (3, 2))]


def brute_force(pair: Any, tokens: np.ndarray) -> dict[int, torch.Tensor]:
    """What goes into each output projection of the model library's own module, averaged over sequences."""
    found: dict[int, torch.Tensor] = {}
    for layer, part in pair.loaded.anatomy.attention.items():

        def keep(module: Any, given: Any, layer: int = layer, heads: int = part.n_heads) -> None:
            found[layer] = given[0].unflatten(-1, (heads, -1)).double().mean(0)

        handle = pair.loaded.module.get_submodule(part.projection).register_forward_pre_hook(keep)
        try:
            with torch.no_grad():
                pair.loaded.module(input_ids=torch.from_numpy(tokens.copy()), use_cache=False)
        finally:
            handle.remove()
    return found


@pytest.mark.parametrize("engine", [None, "hooks"])
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_means_are_of_the_controls_and_no_score_moves(name: str, engine: Engine | None) -> None:
    pair = make_pair(name)
    probes = two_probes(pair.loaded)
    outputs = FreshOutputs(probes[0].n_tokens)
    for probe in probes:
        plain = measure_heads(pair.loaded, probe, engine=engine)
        beside = measure_heads(pair.loaded, probe, engine=engine, outputs=outputs)
        assert np.array_equal(plain.token_loss, beside.token_loss, equal_nan=True)
        assert all(np.array_equal(plain.sequences(score), beside.sequences(score), equal_nan=True) for score in plain.names)
    wanted = brute_force(pair, np.concatenate([probe.control for probe in probes if probe.control is not None]))
    means = outputs.means()
    assert sorted(means) == sorted(wanted)
    for layer, mean in means.items():
        assert mean.shape == (1, *wanted[layer].shape)
        assert (mean[0] - wanted[layer]).abs().max() < 1e-5 * wanted[layer].abs().max().clamp_min(1)


@pytest.mark.parametrize("name", ["gpt2", "llama_grouped", "gemma2"])
def test_passes_of_their_own_leave_the_same_to_the_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two sequences a pass: batches are cut alike.
    monkeypatch.setattr(batching, "rows_in_memory", lambda *_, **__: 2)
    pair = make_pair(name)
    by_the_way, alone = FreshOutputs(19), FreshOutputs(19)
    for probe in two_probes(pair.loaded):
        assert probe.n_tokens == 19
        measure_heads(pair.loaded, probe, whole_rows=False, outputs=by_the_way)
        measure_fresh_outputs(pair.loaded, probe, alone)
    first, second = by_the_way.means(), alone.means()
    assert sorted(first) == sorted(second) and all(torch.equal(first[layer], second[layer]) for layer in first)
