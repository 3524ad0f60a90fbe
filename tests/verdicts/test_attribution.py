"""What heads write, read off a clean pass that serves for gain and total effects too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.ablation.ablator import Ablator
from core.ablation.total_effect import gain_in_logits, total_effects
from core.errors import Withheld
from core.heads import Head
from core.probes.probe import ProbeOptions
from core.probes.repeated import repeated_probe
from core.transformer.passes.hooks import run_body
from core.transformer.passes.readout import centred_logits
from core.verdicts.attribution import DirectEffects, attributed
from tests.helpers.architectures import make_pair

FAMILIES = ("gpt2", "llama_grouped", "gemma2", "native_solu")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_clean_pass_that_is_read_off_stays_as_it_is_to_the_bit(name: str) -> None:
    model = make_pair(name).loaded
    probe = repeated_probe(model.vocabulary, ProbeOptions(11, 5))
    targets = probe.layout.second_copy_targets
    effects = DirectEffects(model, targets)
    alone, followed = (Ablator(model, probe.tokens, keep_first_half=True, through=through) for through in (None, effects))
    assert effects.found.shape == (model.card.n_layers, model.card.n_heads, 5)
    bodies = [ablator._blocks.body for ablator in (alone, followed)]
    for one, two in zip(*([body.final, *body.inputs] for body in bodies), strict=True):
        assert torch.equal(one, two) and not two.requires_grad
    assert np.array_equal(gain_in_logits(alone, probe), gain_in_logits(followed, probe))
    heads = [(Head(1, 0),)]
    assert np.array_equal(total_effects(alone, heads, "zero", targets), total_effects(followed, heads, "zero", targets))
    places = [part for module in (model.module, model.bare) for part in module.modules()]
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in places), "no hook stays behind"


@pytest.mark.parametrize("name", FAMILIES)
def test_it_is_what_the_model_librarys_own_module_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the way in which the clean pass is made, and in however many parts."""
    model = make_pair(name).loaded
    probe = repeated_probe(model.vocabulary, ProbeOptions(11, 5))
    targets = probe.layout.second_copy_targets
    effects = DirectEffects(model, targets)
    monkeypatch.setattr("core.transformer.passes.blocks.rows_per_pass", lambda *given, **more: 2)
    Ablator(model, probe.tokens, through=effects)
    expected, _ = attributed(model, torch.from_numpy(probe.tokens.copy()), torch.from_numpy(targets))
    for layer, added in expected.items():
        worst = np.abs(effects.found[layer, : added.shape[1]] - added.T.numpy()).max()
        assert worst < 1e-5 * max(1.0, float(added.abs().max())), f"layer {layer}"


def test_a_pass_that_cannot_be_followed_is_made_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_pair("llama_grouped").loaded
    probe = repeated_probe(model.vocabulary, ProbeOptions(11, 3))
    plain = Ablator(model, probe.tokens, keep_first_half=True)

    def half_way(*_: object) -> None:
        raise ValueError("a part that takes no gradients")

    monkeypatch.setattr("core.verdicts.attribution._leaf", half_way)
    effects = DirectEffects(model, probe.layout.second_copy_targets)
    followed = Ablator(model, probe.tokens, keep_first_half=True, through=effects)
    assert torch.equal(plain._blocks.body.final, followed._blocks.body.final)
    assert np.array_equal(gain_in_logits(plain, probe), gain_in_logits(followed, probe)), "nothing was kept twice"
    with pytest.raises(Withheld, match="cannot be followed"):
        _ = effects.found


def test_the_mean_logit_follows_weights_that_were_changed() -> None:
    model = make_pair("gpt2").loaded
    probe = repeated_probe(model.vocabulary, ProbeOptions(11, 3))
    tokens, targets = torch.from_numpy(probe.tokens.copy()), torch.from_numpy(probe.layout.second_copy_targets)
    with torch.no_grad():
        final = run_body(model, tokens).final
        before = centred_logits(model, final, tokens, targets)
        weight = model.module.get_submodule(model.anatomy.unembedding).weight
        weight[7] += 1.0
        try:
            after = centred_logits(model, final, tokens, targets)
        finally:
            weight[7] -= 1.0
    moved = final[:, targets - 1].sum(-1) * ((tokens[:, targets] == 7).float() - 1 / model.card.d_vocab)
    torch.testing.assert_close(after - before, moved, atol=1e-4, rtol=0)
