"""The total effect against brute force, in its unit, with an interval that covers; and the mean that stands in for a head."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.ablation.ablator import Ablator, derangement
from core.ablation.cached import ablate, total_effect
from core.ablation.cached_map import causal_map
from core.ablation.outcomes import TotalEffect
from core.ablation.subjects import ablator_for, heads_of, reference_tokens
from core.ablation.total_effect import gain_in_logits, total_effects
from core.ablation.words import total_effect_sentence
from core.errors import BadInput
from core.heads import Head, HeadSet
from core.models.built_in.circuit_spec import standard_spec
from core.probes.given import given_probe
from core.probes.probe import ProbeOptions
from core.probes.repeated import repeated_probe
from core.settings.modes import REFERENCE_SEQUENCES
from core.settings.request import Request
from core.settings.subject import bind
from core.stats import estimate
from tests.helpers.architectures import N_HEADS, make_pair
from tests.helpers.eager_ablation import centred, logits_without, losses, output_projections, uncapped, z_of

# A soft cap, multipliers, biases, grouped queries, a parallel block, no MLP.
ARCHITECTURES = ("gpt2", "gemma2", "granite", "llama_grouped", "phi_parallel", "native_attention_only")
SETS: list[HeadSet] = [(Head(0, 1),), (Head(1, 0), Head(1, 3)), (Head(0, 2), Head(2, 2)), ()]
COVERAGE_DRAWS = 2_000 if os.environ.get("HEADSCOPE_SIMULATIONS") == "full" else 500

pytestmark = pytest.mark.usefixtures("empty_store")


@pytest.fixture(scope="module", params=ARCHITECTURES)
def material(request):
    pair = make_pair(request.param)
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=9, sequences=3))
    reference = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=9, sequences=5, seed=99)).control
    return pair, probe, reference


@pytest.mark.parametrize("mode", ["zero", "mean", "resample"])
def test_equals_brute_force_on_the_librarys_own_module(material, mode):
    pair, probe, reference = material
    tokens, targets = torch.from_numpy(probe.tokens.copy()), probe.layout.second_copy_targets
    stand_in = None
    if mode == "mean":
        stand_in = [z.mean(0, keepdim=True) for z in z_of(pair.bare, torch.from_numpy(reference.copy()), N_HEADS)]
    if mode == "resample":
        order = torch.from_numpy(derangement(3, 0))
        stand_in = [z[order] for z in z_of(pair.bare, tokens, N_HEADS)]
    clean = centred(uncapped(pair.bare, tokens), tokens, targets)
    found = total_effects(Ablator(pair.loaded, probe.tokens, reference), SETS, mode, targets)
    assert found.shape == (len(SETS), 3)
    worst, largest = 0.0, 0.0
    for heads, ours in zip(SETS, found, strict=True):
        without = centred(logits_without(pair.bare, tokens, heads, N_HEADS, stand_in), tokens, targets)
        expected = (clean - without).mean(-1).numpy()
        worst, largest = max(worst, np.abs(ours - expected).max()), max(largest, np.abs(expected).max())
    print(f"worst disagreement with brute force, total effect, {pair.name}, {mode}: {worst:.2e} of {largest:.2f}")
    assert worst < 2e-4 and largest > 0.01 and not found[-1].any()


def test_the_gain_equals_brute_force(material):
    pair, probe, _ = material
    targets = probe.layout.second_copy_targets
    on = [
        centred(uncapped(pair.bare, tokens), tokens, targets).mean(-1)
        for tokens in (torch.from_numpy(probe.tokens.copy()), torch.from_numpy(probe.control.copy()))
    ]
    assert np.abs(gain_in_logits(Ablator(pair.loaded, probe.tokens), probe) - (on[0] - on[1]).numpy()).max() < 2e-4


@pytest.mark.parametrize("dtype,loose", [(torch.float32, 2e-4), (torch.bfloat16, 0.1)])
@pytest.mark.parametrize("never", [-1e6, -1e9, None])
def test_ids_that_the_unembedding_rules_out_take_no_digit_from_the_others(dtype, loose, never):
    """Padding of a vocabulary, as some models have it: beside it the mean over the vocabulary has no digits left."""
    from transformers import AutoModelForCausalLM, GPTJConfig

    torch.manual_seed(0)
    config = GPTJConfig(vocab_size=120, n_positions=64, n_embd=32, n_layer=2, n_head=4, rotary_dim=4, initializer_range=0.3)
    module = AutoModelForCausalLM.from_config(config, dtype=dtype).eval()
    with torch.no_grad():
        module.lm_head.bias.normal_()
        module.lm_head.bias[110:] = torch.finfo(dtype).min if never is None else never
    subject = bind(Request(module, length=12, sequences=3, token_range=(3, 110)))
    found = total_effect(subject, ["L0H1", "L1H2"], "zero")
    with pytest.raises(BadInput, match="can never say token 11"):
        ablate(Request(module, length=4, sequences=2, token_range=(110, 120)), ["L0H1"])
    tokens, targets = torch.from_numpy(subject.probe.tokens.copy()), subject.layout.second_copy_targets
    exact = module.double()
    with torch.no_grad():
        exact.lm_head.bias[110:] = 0
    sets: HeadSet = (Head(0, 1), Head(1, 2))
    clean, without = (
        centred(logits_without(exact, tokens, heads, 4, None), tokens, targets).mean(-1).numpy() for heads in ((), sets)
    )
    assert np.abs(found.logits - (clean - without)).max() < loose < np.abs(clean - without).max()


def test_a_slice_after_the_output_projection_is_another_number(material):
    """The published mistake, for this measure: it must give something else, or the test above could not see it."""
    pair, probe, _ = material
    tokens, targets = torch.from_numpy(probe.tokens.copy()), probe.layout.second_copy_targets
    width = pair.loaded.card.d_model // N_HEADS
    handle = output_projections(pair.bare)[0].register_forward_hook(
        lambda module, inputs, output: output.index_fill(-1, torch.arange(width, 2 * width), 0)
    )
    wrong = centred(uncapped(pair.bare, tokens), tokens, targets)
    handle.remove()
    clean = centred(uncapped(pair.bare, tokens), tokens, targets)
    [right] = total_effects(Ablator(pair.loaded, probe.tokens), [(Head(0, 1),)], "zero", targets)
    assert np.abs(right - (clean - wrong).mean(-1).numpy()).max() > 1e-2


def test_a_soft_cap_is_taken_off_and_what_all_tokens_gain_cancels():
    pair = make_pair("gemma2")
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=9, sequences=3))
    tokens, targets = torch.from_numpy(probe.tokens.copy()), probe.layout.second_copy_targets
    [found] = Ablator(pair.loaded, probe.tokens).centred_logit([()], "zero", targets)
    with torch.no_grad():
        capped = pair.bare(tokens).logits.double()
    before = centred(uncapped(pair.bare, tokens), tokens, targets).numpy()
    assert np.abs(found - before).max() < 2e-4 < np.abs(before - centred(capped, tokens, targets).numpy()).max()
    assert (centred(capped + 7.0, tokens, targets) - centred(capped, tokens, targets)).abs().max() < 1e-9


def test_the_induction_head_of_the_circuit_is_the_whole_gain():
    """By construction nothing else writes the right token: `T` is `G`, but for what the head writes on fresh tokens."""
    subject = bind(Request("by-construction", length=50, sequences=4))
    places = {head.kind: Head(head.layer, head.head) for head in standard_spec().planted}
    found = {kind: total_effect(subject, [place], "zero").in_gains for kind, place in places.items()}
    assert found["induction"].value == pytest.approx(1.0, abs=0.02)
    assert found["previous_token"].value == pytest.approx(1.0, abs=0.05), "through the induction head, whose whole input it is"
    for kind in ("sink", "positional", "duplicate_token"):
        assert found[kind].value == pytest.approx(0.0, abs=1e-4)
    both = total_effect(subject, [places["previous_token"], places["induction"]], "zero")
    assert both.in_gains.value == pytest.approx(1.0, abs=0.02), "one route, not two"


def test_the_interval_covers_what_it_says():
    """Of samples of 8 sequences of a real population of effects, 95 % have an interval that holds the population's mean."""
    subject = bind(Request("two-layer", length=12, sequences=512))
    population = total_effect(subject, [(1, 3)], "zero").logits
    random, mean = np.random.default_rng(0), population.mean()
    covered = 0
    for _ in range(COVERAGE_DRAWS):
        _, low, high = estimate(random.choice(population, 8))
        covered += low <= mean <= high
    print(f"coverage of the total effect's interval: {covered / COVERAGE_DRAWS:.3f} of {COVERAGE_DRAWS} samples of 8")
    # The effects are a little skewed, so not quite 95 % is right; percentiles of 8 values would cover 99 %, a normal's 92 %.
    assert 0.93 <= covered / COVERAGE_DRAWS <= 0.97


def test_units_are_withheld_where_the_model_gains_nothing_and_said_to_be():
    nothing = bind(Request("bigram", length=12, sequences=6))
    found = total_effect(nothing, [(0, 0)], "mean")
    assert np.isnan(found.in_gains).all() and np.isfinite(found.in_logits).all()
    assert "withheld" in total_effect_sentence(found) and "not surely above zero" in total_effect_sentence(found)
    one = TotalEffect((Head(0, 0),), "zero", np.array([1.0]), np.array([4.0]))
    assert np.isnan(one.in_gains).all() and "one sequence has no interval" in total_effect_sentence(one)
    without = TotalEffect((Head(0, 0),), "zero", np.array([1.0, 2.0]), None)
    assert np.isnan(without.in_gains).all() and "no fresh second half" in total_effect_sentence(without)
    sure = TotalEffect((Head(0, 0), Head(1, 0)), "zero", np.array([1.0, 2.0, 3.0]), np.array([8.0, 9.0, 10.0]))
    low, high = 2 - 4.302652729911275 / np.sqrt(3), 2 + 4.302652729911275 / np.sqrt(3)
    assert sure.in_gains == pytest.approx((2 / 9, low / 9, high / 9))
    assert "these 2 heads" in total_effect_sentence(sure) and "**0.22 of what" in total_effect_sentence(sure)
    helped = total_effect_sentence(replace(sure, logits=-sure.logits))
    assert "logit gains **0.22 of what" in helped and "2.00 of 9.00 logits" in helped and "−0.22" not in helped


def test_tokens_that_leave_no_others_have_no_gain():
    pair = make_pair("native_solu")
    rows = [[*range(1, 47), 47, *range(1, 47), 47]]
    probe = given_probe(pair.loaded.vocabulary, rows, 47)
    from dataclasses import replace

    with pytest.raises(BadInput, match="no gain to measure effects in"):
        gain_in_logits(Ablator(pair.loaded, probe.tokens), replace(probe, control=None))


# What stands in for a head in mode `mean`.


def test_the_reference_is_fresh_sequences_of_the_probes_own_kind():
    subject = bind(Request("two-layer", length=20, sequences=3, token_range=(5, 200)))
    rows, probe = reference_tokens(subject), subject.probe
    assert rows.shape == (REFERENCE_SEQUENCES, probe.n_tokens) == (32, 41)
    assert (rows[:, 0] == probe.tokens[0, 0]).all(), "the BOS in front"
    for row in rows[:, 1:].tolist():
        assert not set(row[:20]) & set(row[20:]) and len(set(row)) == 40, "nothing of the first half comes again"
        assert all(5 <= token < 200 for token in row)
    assert not {tuple(row) for row in rows[:, 1:21].tolist()} & {tuple(row) for row in probe.tokens[:, 1:21].tolist()}


def test_mean_ablation_of_a_bundled_model_equals_brute_force_over_these_rows():
    subject = bind(Request("mixture", length=12, sequences=3))
    bare, n_heads = subject.load().bare, subject.card.n_heads
    tokens = torch.from_numpy(subject.probe.tokens.copy())
    stand_in = [z.mean(0, keepdim=True) for z in z_of(bare, torch.from_numpy(reference_tokens(subject).copy()), n_heads)]
    for heads in ([(1, 3)], [(0, 1), (2, 2)]):
        expected = losses(logits_without(bare, tokens, heads, n_heads, stand_in), tokens).numpy()
        found = ablate(subject, heads, "mean", text=None)
        assert np.abs(found.ablated[:, 1:] - expected).max() < 2e-5


def test_the_mean_of_many_rows_is_the_same_when_memory_takes_few(monkeypatch):
    pair = make_pair("gpt2")
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=9, sequences=2))
    reference = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=9, sequences=7, seed=5)).control
    for over_positions in (False, True):
        whole = Ablator(pair.loaded, probe.tokens, reference, mean_over_positions=over_positions)
        expected = whole.token_loss(SETS, "mean")
        parts = Ablator(pair.loaded, probe.tokens, reference, mean_over_positions=over_positions)
        monkeypatch.setattr("core.ablation.ablator.rows_per_pass", lambda *given, **more: 3)
        assert np.nanmax(np.abs(parts.token_loss(SETS, "mean") - expected)) < 1e-5
        monkeypatch.undo()


def test_a_mean_over_repeated_rows_would_hide_what_a_head_does():
    """The published mistake: what a head does on every repeated sequence is in their mean, and stays."""
    subject = bind(Request("by-construction", length=30, sequences=4))
    [place] = [Head(head.layer, head.head) for head in standard_spec().planted if head.kind == "previous_token"]
    targets, fresh = subject.layout.second_copy_targets, ablator_for(subject)
    repeated = Ablator(
        subject.load(),
        subject.probe.tokens,
        repeated_probe(subject.identity.vocabulary, ProbeOptions(length=30, sequences=32, seed=7)).tokens,
    )
    shares = [
        np.ptp([ablator.stand_in("mean", layer).std(1).max().item() for layer in range(2)]) for ablator in (fresh, repeated)
    ]
    assert np.isfinite(shares).all()
    costs = [
        (ablator.token_loss([(place,)], "mean", targets=targets)[0] - ablator.clean[:, targets]).mean()
        for ablator in (fresh, repeated)
    ]
    assert costs[0] >= costs[1] - 1e-3


def test_on_a_text_the_mean_is_the_texts_own():
    subject = bind(Request("two-layer", length=12, sequences=3))
    bare, n_heads = subject.load().bare, subject.card.n_heads
    text = "the quick brown fox jump over the lake and the fox jump over the lake"
    found = ablate(subject, [(0, 2), (1, 3)], "mean", text=text)
    from core.text.paragraph import text_tokens

    tokens = torch.from_numpy(np.array(text_tokens(subject, text)))
    own = [z.mean((0, 1), keepdim=True) for z in z_of(bare, tokens, n_heads)]
    expected = losses(logits_without(bare, tokens, [(0, 2), (1, 3)], n_heads, own), tokens).numpy()
    assert np.abs(found.text[1][:, 1:] - expected).max() < 2e-5
    random = [z.mean((0, 1), keepdim=True) for z in z_of(bare, torch.from_numpy(reference_tokens(subject).copy()), n_heads)]
    other = losses(logits_without(bare, tokens, [(0, 2), (1, 3)], n_heads, random), tokens).numpy()
    assert np.abs(found.text[1][:, 1:] - other).max() > 1e-2, "the mean of random tokens is another one"


def test_heads_of_a_layer_without_attention_are_none(monkeypatch):
    """A hybrid's layers without attention have NaN scores: no head there is kept, drawn, bounded or measured."""
    subject = bind(Request("mixture", length=12, sequences=2))
    exists = np.ones((3, 8), bool)
    exists[1] = False
    for place in ("subjects", "cached_map"):
        monkeypatch.setattr(f"core.ablation.{place}.existing_heads", lambda subject: exists)
    assert {head.layer for head in heads_of(subject)} == {0, 2}
    found = causal_map(subject, "zero")
    assert np.isnan(found.effect[1]).all() and np.isfinite(found.effect[[0, 2]]).all() and found.complete
    assert found.knows(Head(2, 0)) and not found.knows(Head(1, 0))
