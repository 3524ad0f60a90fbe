"""A head pruned in a model that nothing was asked of before: what is tried once for each model is tried on the whole model."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.ablation.ablator import Ablator
from core.ablation.pruning import scores_without
from core.attention.head_scores import HeadScores
from core.heads import Head
from core.probes.probe import ProbeOptions
from core.probes.repeated import repeated_probe
from core.settings.modes import Mode
from core.transformer.loaded import LoadedModel
from core.transformer.passes.hooks import attached, can_resume, hooks_attached, run_body, untouched, z_hook
from core.transformer.passes.readout import check_readout, logit_multiplier
from tests.helpers.architectures import make_pair

# One whose logits are multiplied, and one whose logits are capped, among them.
FAMILIES = ("native_attention_only", "llama_grouped", "granite", "gemma2")


def pruned(model: LoadedModel, mode: Mode) -> HeadScores:
    """Longer than what is tried once."""
    probe = repeated_probe(model.vocabulary, ProbeOptions(12, 2, 3))
    reference = repeated_probe(model.vocabulary, ProbeOptions(12, 4, 77)).tokens
    return scores_without(Ablator(model, probe.tokens, reference, seed=0), probe, Head(1, 0), mode)


@pytest.mark.parametrize("mode", ["zero", "mean"])
@pytest.mark.parametrize("name", FAMILIES)
def test_the_first_thing_asked_of_a_model_may_be_pruning(name: str, mode: Mode) -> None:
    fresh, known = make_pair(name).loaded, make_pair(name).loaded
    check_readout(known)
    can_resume(known)
    first, second = pruned(fresh, mode), pruned(known, mode)
    assert np.array_equal(first.token_loss, second.token_loss, equal_nan=True)
    assert logit_multiplier(fresh) == logit_multiplier(known)


def test_inside_untouched_what_is_attached_does_nothing_and_afterwards_it_does() -> None:
    model = make_pair("llama_grouped").loaded
    tokens = torch.arange(1, 13)[None]
    clean = run_body(model, tokens).final
    with attached(model, [(z_hook(1), torch.zeros_like)]):
        changed = run_body(model, tokens).final
        with untouched():
            assert not hooks_attached()
            assert torch.equal(run_body(model, tokens).final, clean)
            # What is attached inside acts.
            with attached(model, [(z_hook(1), torch.zeros_like)]):
                assert hooks_attached() and torch.equal(run_body(model, tokens).final, changed)
        assert hooks_attached() and torch.equal(run_body(model, tokens).final, changed)
    assert not torch.equal(changed, clean)
