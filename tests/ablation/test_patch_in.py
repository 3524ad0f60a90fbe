"""Patching in: the circuit's exact answers, and brute force with the library's own module."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.ablation.cached import patched_in
from core.ablation.patch_in import patched_losses, without_earlier_copy
from core.ablation.words import patched_in_sentence
from core.heads import Head, HeadSet
from core.models.built_in.circuit_spec import standard_spec
from core.probes.probe import ProbeOptions
from core.probes.repeated import repeated_probe
from core.settings.request import Request
from core.settings.subject import bind
from tests.helpers.architectures import N_HEADS, make_pair
from tests.helpers.eager_ablation import logits_without, losses, z_of

pytestmark = pytest.mark.usefixtures("empty_store")
SETS: list[HeadSet] = [(Head(1, 2),), (Head(0, 1), Head(2, 3))]


@pytest.mark.parametrize("name", ["gpt2", "gemma2", "granite", "llama_grouped"])
def test_equals_brute_force(name):
    pair = make_pair(name)
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=9, sequences=3))
    corrupted = torch.from_numpy(without_earlier_copy(probe).copy())
    clean = z_of(pair.bare, torch.from_numpy(probe.tokens.copy()), N_HEADS)
    targets = probe.layout.second_copy_targets - 1
    for heads in SETS:
        before, after = patched_losses(pair.loaded, probe, heads)
        # The soft cap belongs to the loss: these logits are before it.
        cap = getattr(getattr(pair.bare, "config", None), "final_logit_softcapping", None)

        def loss(stand_in: list[torch.Tensor], heads: HeadSet, cap: float | None = cap) -> np.ndarray:
            logits = logits_without(pair.bare, corrupted, heads, N_HEADS, stand_in)
            logits = cap * torch.tanh(logits / cap) if cap else logits
            return losses(logits, corrupted)[:, targets].mean(-1).numpy()

        assert np.abs(before - loss(clean, ())).max() < 2e-5
        assert np.abs(after - loss(clean, heads)).max() < 2e-5
        assert np.abs(after - before).max() > 1e-3


def test_the_second_half_is_the_same_and_the_first_has_nothing_of_it():
    probe = bind(Request("two-layer", length=20, sequences=3)).probe
    corrupted = without_earlier_copy(probe)
    assert np.array_equal(corrupted[:, 21:], probe.tokens[:, 21:]) and np.array_equal(corrupted[:, 0], probe.tokens[:, 0])
    for row in corrupted:
        assert not set(row[1:21]) & set(row[21:])


def test_in_the_circuit_the_induction_head_is_enough_and_no_other_is():
    subject = bind(Request("by-construction", length=30, sequences=3))
    places = {head.kind: Head(head.layer, head.head) for head in standard_spec().planted}
    induction = patched_in(subject, [places["induction"]])
    assert induction.possible.low > 4 and induction.raised.value == pytest.approx(induction.possible.value, rel=0.02)
    said = patched_in_sentence(induction)
    assert ": 100 %." in said or ": 99 %." in said
    for kind in ("sink", "positional", "duplicate_token"):
        assert abs(patched_in(subject, [places[kind]]).raised.value) < 1e-3
    # What it finds in the first half is what stands there now: by itself it is needed, not enough.
    assert patched_in(subject, [places["previous_token"]]).raised.value < 0.1
