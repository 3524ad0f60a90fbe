"""The screen of a larger model's map: who is measured first, nothing twice, and the rest as if there were no screen."""

from __future__ import annotations

import copy
from math import ceil

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config
from transformers.models.gpt2.modeling_gpt2 import GPT2Block

import core.ablation.ablator
from core.ablation import subjects
from core.ablation.cached import ablate
from core.ablation.cached_map import causal_map, estimates_by_sequence, known_causal_map, screen_estimate, screened_map
from core.ablation.effects import Effects
from core.ablation.outcomes import CausalMap
from core.ablation.screening import ALWAYS_EXACT_LAYERS, SCORES_FROM, SHARE_BY_GRADIENT, heads_to_measure
from core.ablation.words import map_sentence
from core.attention.cached import score_heads
from core.errors import BadInput
from core.heads import Head, every_head
from core.runtime.jobs import JobControl, running
from core.settings.request import Request
from core.settings.subject import bind
from core.sharing.facts import as_json, causal_facts

N_LAYERS, N_HEADS = ALWAYS_EXACT_LAYERS + 1, 4


@pytest.fixture(autouse=True)
def nothing_there(empty_store):
    subjects._ablators.clear()


@pytest.fixture(scope="module")
def deep():
    torch.manual_seed(0)
    config = GPT2Config(
        n_layer=N_LAYERS, n_head=N_HEADS, n_embd=32, vocab_size=211, n_positions=96, initializer_range=0.3, bos_token_id=0
    )
    return AutoModelForCausalLM.from_config(copy.deepcopy(config)).eval()


@pytest.fixture
def subject(deep):
    return bind(Request(deep, length=9, sequences=3, bos="never"))


@pytest.fixture
def measured(monkeypatch) -> list[Head]:
    """Every head that was really ablated."""
    found: list[Head] = []
    original = core.ablation.ablator.Ablator.token_loss

    def counting(self, sets, *arguments, **keywords):
        found.extend(head for heads in sets for head in heads)
        return original(self, sets, *arguments, **keywords)

    monkeypatch.setattr(core.ablation.ablator.Ablator, "token_loss", counting)
    return found


class Scores:
    """Scores by name, as `heads_to_measure` reads them."""

    def __init__(self, **matrices: np.ndarray) -> None:
        self.matrices, self.names = matrices, tuple(matrices)

    def mean(self, name: str) -> np.ndarray:
        return self.matrices[name]


def test_the_largest_on_each_sequence_and_those_whose_scores_ask_for_it():
    random = np.random.default_rng(0)
    for _ in range(50):
        estimates = random.normal(size=(9, 5, 3))
        scores = {name: random.random((9, 5)) * 0.5 for name in ("induction", *SCORES_FROM)}
        for array in (estimates, *scores.values()):
            array[4] = np.nan
        size = {head: sum(map(abs, estimates[head])) for head in every_head(9, 5)}
        expected = set()
        real = [head for head in every_head(9, 5) if head.layer != 4]
        for head in sorted(real, key=lambda head: -size[head])[: ceil(SHARE_BY_GRADIENT * len(real))]:
            expected.add(head)
        for head in real:
            if scores["previous_token"][head] > 0.4 or scores["contrast"][head] > 0.1 or scores["duplicate_token"][head] > 0.3:
                expected.add(head)
        first, others = heads_to_measure(estimates, Scores(**scores))
        assert set(first) | set(others) == expected and not set(first) & set(others)
        least = min(size[head] for head in first)
        assert all(size[head] <= least for head in real if head not in first), "the gradient's largest come first"
    # Eleven of a hundred, not ten: rounded up.
    quiet = {name: np.zeros((10, 10)) for name in ("induction", *SCORES_FROM)}
    for rows, expected_number in ((10, 11), (9, 10)):
        first, others = heads_to_measure(random.normal(size=(rows, 10, 2)), Scores(**{k: v[:rows] for k, v in quiet.items()}))
        assert (len(first), others) == (expected_number, ())


def test_what_raises_one_loss_and_lowers_another_is_measured_first():
    """By the mean over sequences it would be nothing."""
    estimates = np.full((9, 5, 2), 0.1)
    estimates[1, 4] = 3.0, -3.0
    quiet = Scores(**{name: np.zeros((9, 5)) for name in SCORES_FROM})
    assert Head(1, 4) in heads_to_measure(estimates, quiet)[0]


def test_a_screen_measures_its_heads_and_nothing_else(subject, measured):
    found = screened_map(subject, "zero")
    first, others = heads_to_measure(estimates_by_sequence(subject, "zero"), score_heads(subject))
    heads = sorted((*first, *others))
    assert 0 < len(heads) < N_LAYERS * N_HEADS and sorted(measured) == heads
    assert {Head(*map(int, place)) for place in np.argwhere(found.measured)} == set(heads) and not found.complete
    for head in heads[:3]:
        alone = ablate(subject, [head], "zero", text=None)
        expected = alone.ablated_losses.second_copy - alone.clean_losses.second_copy
        assert found.effect[head] == pytest.approx(expected, abs=1e-5)
    known = known_causal_map(subject, "zero")
    assert np.array_equal(known.effect, found.effect, equal_nan=True)
    assert not any(known.knows(head) for head in heads), "a part of a layer, chosen by what it does, is no comparison"


def test_the_whole_map_takes_the_screen_s_heads_from_it_and_none_twice(subject, measured):
    whole = causal_map(subject, "zero")
    assert sorted(measured) == sorted(every_head(N_LAYERS, N_HEADS)) and whole.complete
    screened = screened_map(subject, "zero")
    assert np.array_equal(whole.losses[screened.measured], screened.losses[screened.measured])
    assert len(measured) == N_LAYERS * N_HEADS, "and neither of them again"


def test_some_layers_are_measured_without_a_screen(subject, measured):
    part = causal_map(subject, "zero", [2, 5])
    assert sorted(measured) == [head for head in every_head(N_LAYERS, N_HEADS) if head.layer in (2, 5)]
    assert np.isfinite(part.effect[[2, 5]]).all() and np.isnan(part.effect[[0, 1, 3, 4, 6]]).all()


def test_the_gradients_heads_are_shown_before_those_with_a_score_are_measured(subject, measured, monkeypatch):
    """And a map that is interrupted between the two is shown as far as it came, and goes on from there."""
    monkeypatch.setitem(SCORES_FROM, "previous_token", 0.0)
    first, others = heads_to_measure(estimates_by_sequence(subject, "zero"), score_heads(subject))
    assert first and others
    shown: list[CausalMap] = []

    class Watcher(JobControl):
        def partial(self, value: CausalMap) -> None:
            shown.append(value)
            if len(shown) == 1:
                raise KeyboardInterrupt

    with running(Watcher()), pytest.raises(KeyboardInterrupt):
        causal_map(subject, "zero")
    assert sorted(measured) == list(first)
    known = known_causal_map(subject, "zero")
    assert np.array_equal(known.measured, shown[0].measured) and known.measured.sum() == len(first)
    with running(Watcher()):
        assert causal_map(subject, "zero").complete
    assert [int(each.measured.sum()) for each in shown[1:3]] == [len(first), len(first) + len(others)]
    assert sorted(measured) == sorted(every_head(N_LAYERS, N_HEADS)), "none twice"


def test_up_to_six_layers_nothing_is_estimated(measured):
    small = bind(Request("mixture", length=12, sequences=2))
    assert screen_estimate(small, "mean") is None
    assert screened_map(small, "mean").complete and len(measured) == 3 * 8


def test_facts_say_which_cells_are_measured_and_give_only_those_an_interval(subject):
    estimate, found = screen_estimate(subject, "zero"), screened_map(subject, "zero")
    facts = as_json(causal_facts(subject, "zero", score_heads(subject).losses(), found, estimate))
    for head in every_head(N_LAYERS, N_HEADS):
        effect, low, high, is_measured = (facts[name][head.layer][head.head] for name in ("effect", "low", "high", "measured"))
        assert is_measured == bool(found.measured[head])
        if is_measured:
            assert low < effect < high and effect == pytest.approx(found.effect[head])
        else:
            assert low is high is None and effect == pytest.approx(estimate[head])


def test_intervals_are_students_over_sequences():
    from scipy.stats import t

    losses = np.random.default_rng(0).normal(size=(2, 3, 6))
    clean = np.random.default_rng(1).normal(size=6)
    low, high = CausalMap("zero", losses, clean).interval
    for head in every_head(2, 3):
        change = losses[head] - clean
        expected = t.interval(0.95, 5, change.mean(), change.std(ddof=1) / np.sqrt(6))
        assert (low[head], high[head]) == pytest.approx(expected)
    assert np.isnan(CausalMap("zero", losses[..., :1], clean[:1]).interval).all()


def test_the_head_that_matters_most_is_the_largest_of_either_sign_and_only_where_it_is_sure():
    """Of heads whose removal helps the least harmful one would otherwise be named."""
    random = np.random.default_rng(4)
    clean = random.normal(2, 0.001, 8)
    shifts = np.array([[-0.14, -0.11, -0.02, 0.01]])
    losses = clean + shifts[..., None] + random.normal(0, 0.001, (1, 4, 8))
    said = map_sentence(CausalMap("zero", losses, clean), 4)
    assert said.startswith("**L0H0 matters most: without it the loss changes by −0.14 nats**"), said
    losses[0, 0] += random.normal(0, 1, 8) - 0.2
    said = map_sentence(CausalMap("zero", losses, clean), 4)
    assert said.startswith("**L0H1 surely matters: without it the loss changes by −0.11 nats**"), said
    unsure = clean + random.normal(0, 1, (1, 4, 8)) * shifts[..., None]
    assert map_sentence(CausalMap("zero", unsure, clean), 4).startswith("**No head surely matters.**")


def test_nothing_is_concluded_before_every_head_is_measured():
    random = np.random.default_rng(2)
    losses = random.normal(2, 0.01, (2, 3, 5))
    losses[1, 2] += 3
    whole = CausalMap("zero", losses, random.normal(2, 0.01, 5))
    assert "**L1H2 matters most: without it the loss changes by +2.99 nats** (95 % interval +2.97 to +3.01" in map_sentence(
        whole, 6
    )
    assert (
        "Intervals wholly above zero: 1 of 6 heads, below: 0; if no head did anything, some 0.3 would be by chance."
        in map_sentence(whole, 6)
    )
    one = map_sentence(CausalMap("zero", whole.losses[..., :1], whole.clean[:1]), 6)
    assert one.endswith("nothing is sure, and what is counted here is of this one sequence.")
    losses[0, 1] = np.nan
    part = CausalMap("zero", losses, whole.clean)
    assert map_sentence(part, 6) == "5 of 6 heads are measured so far. Nothing is concluded before all of them are."
    assert "0 of 6" in map_sentence(None, 6)
    estimate = random.normal(size=(2, 3))
    shown = Effects.of(part, estimate, np.ones((2, 3), bool))
    assert shown.estimated == (Head(0, 1),) and shown.shown[0, 1] == estimate[0, 1] and shown.shown[1, 2] == part.effect[1, 2]
    exists = np.ones((2, 3), bool)
    exists[0, 1] = False
    assert CausalMap("zero", losses, whole.clean, exists=exists).complete, "a head that does not exist is not waited for"


@pytest.mark.parametrize("wrapped", [torch.inference_mode(), torch.no_grad()])
def test_where_no_gradient_flows_there_is_no_estimate_and_the_map_is_exact(deep, wrapped):
    class Kept(GPT2Block):
        forward = wrapped(GPT2Block.forward)

    model = copy.deepcopy(deep)
    for block in model.transformer.h:
        block.__class__ = Kept
    subject = bind(Request(model, length=9, sequences=3, bos="never"))
    with pytest.raises(BadInput, match="No estimate is possible .* measure the exact map instead"):
        estimates_by_sequence(subject, "zero")
    assert screen_estimate(subject, "zero") is None
