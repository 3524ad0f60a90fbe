"""Ablation on text: the library's own module with slices set by hand, repeats counted by loops, halves kept apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from core.ablation.cached_text import MOST_JUDGED, ablate_on_text, text_baselines
from core.ablation.on_text import TextAblation, TextOutcome, mean_where, other_targets
from core.ablation.text_words import against_sets_sentence, change_sentence, in_context_sentence
from core.errors import BadInput
from core.figures.text.lags import describe_lags
from core.heads import Head
from core.settings.request import Request
from core.settings.subject import bind
from core.sharing.facts import as_json
from core.sharing.text_facts import _baseline_facts
from core.stats import UNKNOWN, Number
from core.text.cached import natural_scores
from core.text.natural_scores import LAGS, LIFT_FLOOR
from core.text.windows import TextWindows


@pytest.fixture(scope="module")
def llama() -> Any:
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        hidden_size=64,
        intermediate_size=96,
        vocab_size=64,
        max_position_embeddings=128,
        initializer_range=0.3,
    )
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()


def windows(count: int) -> TextWindows:
    rows = np.random.default_rng(0).integers(1, 12, size=(count, 24))
    rows[:, 0] = 0
    return TextWindows(rows.astype(np.int64), 1, "given tokens")


def losses_without(model: Any, tokens: np.ndarray, reference: np.ndarray, heads: list[Head], mode: str) -> np.ndarray:
    """The library's own losses, the heads' slices of the output projection's input set by hand."""
    inputs: dict[int, torch.Tensor] = {}

    def run(rows: np.ndarray, hook: Any) -> torch.Tensor:
        handles = [
            layer.self_attn.o_proj.register_forward_pre_hook(lambda module, given, place=place: hook(place, given[0]))
            for place, layer in enumerate(model.model.layers)
        ]
        with torch.no_grad():
            logits = model(torch.from_numpy(rows)).logits
        for handle in handles:
            handle.remove()
        return logits

    run(reference, lambda place, given: inputs.update({place: given.mean((0, 1))}))

    def without(place: int, given: torch.Tensor) -> tuple[torch.Tensor]:
        changed = given.clone()
        for head in heads:
            if head.layer == place:
                part = slice(16 * head.head, 16 * head.head + 16)
                changed[..., part] = 0 if mode == "zero" else inputs[place][part]
        return (changed,)

    logits = run(tokens, without)[:, :-1].double()
    right = torch.from_numpy(tokens[:, 1:])
    return torch.nn.functional.cross_entropy(logits.transpose(1, 2), right, reduction="none").numpy()


@pytest.mark.parametrize("mode", ["zero", "mean"])
def test_losses_equal_the_librarys_own_with_slices_set_by_hand(llama: Any, mode: Any) -> None:
    text, heads = windows(10), [Head(1, 2), Head(2, 0)]
    found = ablate_on_text(bind(Request(llama)), text, heads, mode)
    judged, reference = text.tokens[1::2], text.tokens[0::2]
    for outcome, lost in ((found.clean, []), (found.ablated, heads)):
        expected = losses_without(llama, judged, reference, lost, mode)
        assert np.allclose(outcome.token_loss[:, 1:], expected, atol=1e-4)
    # Losing the heads changes something, or the test could not fail.
    assert np.abs(found.clean.token_loss - found.ablated.token_loss)[:, 1:].max() > 0.01
    for which in ("repeat", "other"):
        changes = []
        for row, before, after in zip(judged.tolist(), found.clean.token_loss, found.ablated.token_loss, strict=True):
            seen = [t for t in range(2, 24) if (row[t - 1], row[t]) in [(row[p], row[p + 1]) for p in range(1, t - 1)]]
            some = seen if which == "repeat" else [t for t in range(2, 24) if t not in seen]
            changes += [np.mean([after[t] - before[t] for t in some])] if some else []
        assert found.change(which).value == pytest.approx(np.mean(changes), abs=1e-5)


def test_a_set_is_measured_on_the_half_that_heads_are_not_chosen_on(llama: Any) -> None:
    text, subject = windows(60), bind(Request(llama))
    found = ablate_on_text(subject, text, [Head(0, 0)], "zero")
    assert found.clean.token_loss.shape == (MOST_JUDGED, 24)
    clean = natural_scores(subject, text).judged_half.token_loss[:MOST_JUDGED]
    assert np.allclose(found.clean.token_loss[:, 1:], clean[:, 1:], atol=1e-5)
    for mode in ("resample", "pattern"):
        other = ablate_on_text(subject, windows(10), [Head(1, 2)], mode)
        assert not np.allclose(other.ablated.token_loss[:, 1:], other.clean.token_loss[:, 1:], atol=1e-3)


def test_bad_input_is_one_sentence(llama: Any) -> None:
    subject = bind(Request(llama))
    with pytest.raises(BadInput, match="There is no head L9H0"):
        ablate_on_text(subject, windows(10), [Head(9, 0)], "zero")
    with pytest.raises(BadInput, match="There are 3 windows of given tokens; at least 4"):
        ablate_on_text(subject, windows(3), [Head(0, 0)], "zero")
    for count in (1000, -1, "5", 0.5):
        with pytest.raises(BadInput, match="baselines must be from 0 to 200, a whole number"):
            text_baselines(subject, windows(10), [Head(0, 0)], "zero", count)


def test_an_induction_head_costs_repeats_and_spares_the_rest_beside_other_sets() -> None:
    subject = bind("by-construction")
    random = np.random.default_rng(1)
    rows = np.stack([np.concatenate([[0], random.permutation(np.arange(1, 100))[:60]]) for _ in range(16)])
    rows[:, 40:50] = rows[:, 5:15]
    text = TextWindows(rows, 1, "given tokens")
    found = ablate_on_text(subject, text, ["L1H3"], "zero")
    # By construction it writes what followed the copy, confidently: a token that is no repeat is better off without it.
    assert found.change("repeat").low > 3 and found.change("other").high < 0
    before, after = found.at_lag(1)
    assert before.value > 0.8 and after.value < 0.1
    beside = text_baselines(subject, text, ["L1H3"], "zero")
    assert beside.p("repeat", found.change("repeat").value) == beside.smallest_p
    lift = natural_scores(subject, text).lift.value
    assert all(not lift[head] > LIFT_FLOOR for heads in beside.sets for head in heads)
    for said in (change_sentence(found), against_sets_sentence(found, beside), in_context_sentence(found, beside)):
        assert said.endswith(".") and "nan" not in said
    assert change_sentence(found).startswith("Without this head the loss of a repeat token changes by +")
    some = replace(found, repeat=found.repeat & (np.arange(len(found.repeat)) < 2)[:, None])
    assert change_sentence(some).endswith(
        "over 8 windows of the half that heads are judged on, 2 of which have a repeat token."
    )
    one = replace(found, repeat=found.repeat & (np.arange(len(found.repeat)) < 1)[:, None])
    assert "(one window gives no interval) nats, that of" in change_sentence(one) and ", 1 of which has a" in change_sentence(
        one
    )
    assert change_sentence(found).endswith("over 8 windows of the half that heads are judged on.")
    nothing = text_baselines(subject, text, ["L1H3"], "zero", 0)
    assert nothing.sets == () and "No other head sets" in against_sets_sentence(found, nothing)


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_where_no_token_comes_back_there_is_no_p_and_the_sentence_says_so() -> None:
    """A number that is not there was beaten by no other set, and had the smallest p of all."""
    subject = bind("by-construction")
    rows = np.stack([np.random.default_rng(seed).permutation(np.arange(2, 42)) for seed in range(8)])
    text = TextWindows(np.concatenate([np.zeros((8, 1), np.int64), rows], 1), 1, "given tokens")
    found = ablate_on_text(subject, text, ["L1H3"], "zero")
    beside = text_baselines(subject, text, ["L1H3"], "zero")
    facts = as_json(_baseline_facts(found, beside))
    for which in ("repeat", "successor"):
        assert facts[which] == dict.fromkeys(("observed", "low", "high", "mean", "p"))
    assert 0 < facts["other"]["p"] <= 1 and 0 < facts["in_context"]["p"] <= 1
    told = [change_sentence(found), against_sets_sentence(found, beside), in_context_sentence(found, beside)]
    none = "no token comes back with the one before it in a window."
    assert told[0].endswith(f"over 4 windows of the half that heads are judged on; {none}")
    assert " on all tokens " in told[1] and told[1].count("(p = ") == 1
    assert told[1].endswith(f"On repeat tokens there is none: {none}")
    assert told[2].endswith("; no token comes back after another one, so none comes after an earlier copy.")
    told.append(describe_lags({lag: found.at_lag(lag)[0] for lag in LAGS}, {lag: found.at_lag(lag)[1] for lag in LAGS}))
    assert all("–" not in said and "nan" not in said for said in told)
    some = describe_lags({-10: UNKNOWN, 1: Number(0.5, 0.4, 0.6)}, {-10: UNKNOWN, 1: Number(0.25, 0.2, 0.3)})
    assert some.endswith("highest at lag 1, 0.50; without these heads 0.25 there.")


def test_the_change_in_context_is_what_its_ends_make_as_they_are_written() -> None:
    """Told as +0.37 and +0.41 they would be said to be +0.05 apart."""
    before, after = (np.full((2, 9), start, np.float32) for start in (1.0, 1.0))
    before[:, -2:], after[:, -2:] = 1.366, 1.413
    outcomes = [TextOutcome(values, np.full((2, 21), 0.5, np.float32)) for values in (before, after)]
    found = TextAblation((), "zero", *outcomes, np.zeros((2, 9), bool), 1)
    said = in_context_sentence(found, None)
    assert "goes from +0.366 to +0.413 nats (change +0.047 (" in said, said
    assert said.endswith("has a probability of 0.50 (0.50 to 0.50) before and 0.50 (0.50 to 0.50) after."), said


def test_masks_leave_out_what_nothing_predicts() -> None:
    repeat = np.zeros((2, 5), bool)
    repeat[0, 4] = True
    assert other_targets(repeat, 1).tolist() == [[False, False, True, True, False], [False, False, True, True, True]]
    values = np.array([[np.nan, 1, 2, 3, 4], [np.nan, 5, 6, 7, 8]], np.float32)
    assert mean_where(values, repeat).tolist() == [4.0]
    outcome = TextOutcome(values, np.full((2, 21), np.nan, np.float32))
    found = TextAblation((), "zero", outcome, TextOutcome(values + 1, outcome.lags), repeat, 1)
    assert found.change("other").value == 1.0 and np.isnan(found.at_lag(1)[0].value)
    # A token comes back in one window, and a bigram in another.
    assert len(found.loss("repeat", True)) == 1 and found.windows_with_lags == 0
    outcome.lags[1, 10] = 0.5
    assert found.windows_with_lags == 1
