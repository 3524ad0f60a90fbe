"""SmolLM2-135M: the known answers of a real language model, fp32, length 50, with a BOS."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.ablation.ablator import Ablator
from core.ablation.baselines import baseline_sets
from core.attention.score_pass import measure_first, measure_heads
from core.behaviour import behaviour_of
from core.heads import Head, heads_above
from core.models.load import load_model
from core.probes.layout import Layout
from core.probes.losses import losses_of
from core.probes.probe import ProbeOptions
from core.probes.repeated import repeated_probe

pytestmark = pytest.mark.real_model
REPORT_RANGE = (1000, 10_000)
# Induction heads and previous-token heads: (layer, head) to (tokens 1000..9999, whole vocabulary).
INDUCTION = {
    (18, 6): (0.91, 0.895),
    (17, 3): (0.81, 0.76),
    (17, 4): (0.76, 0.725),
    (17, 5): (0.68, 0.65),
    (18, 7): (0.61, 0.60),
    (23, 2): (0.50, 0.50),
}
PREVIOUS = {(16, 0): (0.90, 0.885), (11, 1): (0.83, 0.86), (2, 1): (0.73, 0.735)}
TOLERANCE = 0.04


@pytest.fixture(scope="module")
def model():
    return load_model("smollm2-135m")


def measured(model, token_range, seeds):
    """Scores and losses averaged over seeds, 8 sequences each: one draw alone moves a score by some hundredths."""
    found = [
        measure_first(model, repeated_probe(model.vocabulary, ProbeOptions(50, 8, seed, "always", token_range)))
        for seed in seeds
    ]
    scores = {name: np.mean([one.mean(name) for one in found], axis=0) for name in ("induction", "previous_token", "contrast")}
    return scores, np.mean([[one.losses().first_copy, one.losses().second_copy] for one in found], axis=0)


@pytest.mark.parametrize("column,token_range,first,second", [(0, REPORT_RANGE, 12.8, 2.0), (1, None, 14.2, 3.05)])
def test_the_known_heads_and_losses(model, column, token_range, first, second):
    scores, losses = measured(model, token_range, (0, 1, 2))
    assert losses[0] == pytest.approx(first, abs=0.3) and losses[1] == pytest.approx(second, abs=0.3)
    for place, known in INDUCTION.items():
        assert scores["induction"][place] == pytest.approx(known[column], abs=TOLERANCE), place
        assert scores["contrast"][place] == pytest.approx(scores["induction"][place], abs=0.03)
    for place, known in PREVIOUS.items():
        assert scores["previous_token"][place] == pytest.approx(known[column], abs=TOLERANCE), place
    top = heads_above(scores["induction"], 0.0)[:5]
    assert set(top) == set(list(INDUCTION)[:5])
    assert set(heads_above(scores["previous_token"], 0.0)[:3]) == set(PREVIOUS)


def test_scores_equal_the_librarys_eager_attention(model):
    """The model library alone, loaded from the same folder: nothing of the project's in the way."""
    from transformers import AutoModelForCausalLM

    from core.models.paths import models_root

    probe = repeated_probe(model.vocabulary, ProbeOptions(50, 2, 1, "always"))
    own = measure_heads(model, probe)
    library = AutoModelForCausalLM.from_pretrained(
        models_root() / "smollm2-135m", attn_implementation="eager", dtype=torch.float32, local_files_only=True
    ).eval()
    with torch.no_grad():
        patterns = torch.stack(library(torch.from_numpy(probe.tokens.copy()), output_attentions=True).attentions).numpy()
    queries = np.arange(51, 101)
    expected = patterns[..., queries, queries - 49].mean(-1).transpose(0, 2, 1)
    worst = float(np.abs(own.per_sequence["induction"] - expected).max())
    print(f"worst disagreement with eager attention, smollm2-135m: {worst:.2e}")
    assert worst < 1e-5


@pytest.fixture(scope="module")
def many(model):
    """Sequences at length 25, to draw samples from."""
    return measure_heads(model, repeated_probe(model.vocabulary, ProbeOptions(25, 32, 5, "always")))


@pytest.mark.parametrize("length", [10, 50])
def test_it_does_induction_at_every_length(model, length):
    found = measure_heads(model, repeated_probe(model.vocabulary, ProbeOptions(length, 8, 1, "always"))).behaviour
    print(length, found)
    assert found.state == "present"
    if length == 50:
        # Four halves, science section 9.
        assert (found.rep, found.rot, found.shuf, found.fresh) == pytest.approx((3.0, 3.7, 13.0, 13.4), abs=0.7)


@pytest.mark.parametrize("sequences,least", [(4, 0.85), (8, 0.95), (16, 0.95)])
def test_few_sequences_are_enough_to_call_it(many, sequences, least):
    """The share of samples that are called present, the rest weak."""
    behaviour, random = many.behaviour, np.random.default_rng(0)
    assert behaviour.state == "present" and many.other is not None
    rep = many.token_loss[:, many.layout.second_copy_targets].mean(-1)
    states = []
    for _ in range(400):
        some = random.choice(32, sequences, replace=False)
        halves = (rep[some], many.other.rot_loss[some], many.other.shuf_loss[some], many.fresh_loss[some])
        states.append(behaviour_of(*halves, many.top1[some], 25).state)
    share = np.mean(np.array(states) == "present")
    print(f"{sequences} sequences: {share:.1%} present")
    assert share >= least and set(states) <= {"present", "weak"}


def test_use_is_told_from_rest(model, many):
    """Much of L18H7's attention rests on the first token, whose value is small (science section 1: .62 to .90)."""
    head = (18, 7)
    assert many.mean("value_weighted")[head] > many.mean("induction")[head] + 0.15


@pytest.fixture(scope="module")
def ablator(model):
    options = ProbeOptions(50, 4, 0, "always", REPORT_RANGE)
    reference = repeated_probe(model.vocabulary, ProbeOptions(50, 8, 77, "always", REPORT_RANGE)).tokens
    probe = repeated_probe(model.vocabulary, options)
    return Ablator(model, probe.tokens, reference), measure_heads(model, probe)


def second_copy(token_loss: np.ndarray) -> float:
    return losses_of(token_loss, Layout(50, 1)).second_copy


def test_one_previous_token_head_carries_the_circuit_and_its_equals_do_not(ablator):
    """L16H0 breaks it; L11H1 and L2H1, whose previous-token scores are as high, do nothing: attention is not effect."""
    ablation, _ = ablator
    clean = second_copy(ablation.clean)
    for mode, known in (("mean", 7.2), ("zero", 7.7), ("resample", 8.9)):
        carrier, one, other = (
            second_copy(loss) for loss in ablation.token_loss([(Head(16, 0),), (Head(11, 1),), (Head(2, 1),)], mode)
        )
        assert carrier == pytest.approx(known, abs=1.2), mode
        assert abs(one - clean) < 0.3 and abs(other - clean) < 0.3, mode


def test_attention_is_not_effect(ablator):
    ablation, _ = ablator
    clean = second_copy(ablation.clean)
    strong, weak = (second_copy(loss) - clean for loss in ablation.token_loss([(Head(18, 6),), (Head(17, 4),)], "zero"))
    assert strong > 0.8 and abs(weak) < 0.25


def test_five_heads_beside_random_ones(ablator):
    ablation, scores = ablator
    heads = tuple(sorted(heads_above(scores.mean("induction"), 0.6)))
    assert 4 <= len(heads) <= 6
    baselines = baseline_sets(heads, 30, 9, count=4).sets
    own, *random = (second_copy(loss) for loss in ablation.token_loss([heads, *baselines], "mean"))
    assert own == pytest.approx(9.5, abs=1.2)
    assert max(random) < 4.0
