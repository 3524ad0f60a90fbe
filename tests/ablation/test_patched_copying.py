"""Copying by patch-in: brute force with the library's own module, the circuit's exact answers, and what prompts hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from core.ablation.cached_copying import concept_copying, token_copying, words_of
from core.ablation.copying_prompts import CopyingPrompts, copying_prompts, multi_token_words, random_words
from core.ablation.patched_copying import _blocks, patched_copying
from core.errors import BadInput, Withheld
from core.heads import Head
from core.models.built_in.circuit_spec import standard_spec
from core.settings.request import Request
from core.settings.subject import bind
from core.text.uncommon_words import UNCOMMON_WORDS
from core.transformer.tokenizer import ModelTokenizer
from tests.helpers.architectures import N_HEADS, make_pair
from tests.helpers.eager_ablation import logits_without, z_of

SIZES = [2, 3, 4, 2, 3]


def prompts_for(vocabulary, **more) -> CopyingPrompts:
    return copying_prompts(vocabulary, random_words(vocabulary, None, SIZES, 3), length=9, seed=3, **more)


def by_hand(pair, prompts, layer, head, other=False):
    """Loops: each prompt alone, whole passes, the head's z replaced at one position; first and later log-probabilities."""
    changes = []
    count = len(prompts.sizes)
    for index in range(count):
        source = (index - 1) % count if other else index
        clean = z_of(pair.bare, torch.tensor(prompts.clean[source : source + 1]), N_HEADS)
        corrupted = torch.tensor(prompts.corrupted[index : index + 1])
        stand_in = [z.clone() for z in z_of(pair.bare, corrupted, N_HEADS)]
        n_tokens, size = corrupted.shape[1], int(prompts.sizes[index])
        there, from_there = n_tokens - size - 1, n_tokens - int(prompts.sizes[source]) - 1
        stand_in[layer][:, there] = clean[layer][:, from_there]
        runs = []
        for heads in ([], [(layer, head)]):
            logits = logits_without(pair.bare, corrupted, heads, N_HEADS, stand_in)
            cap = getattr(pair.bare.config, "final_logit_softcapping", None)
            logits = cap * torch.tanh(logits / cap) if cap else logits
            log = logits.log_softmax(-1)[0]
            word = corrupted[0, n_tokens - size :].tolist()
            each = [float(log[there + step, token]) for step, token in enumerate(word)]
            runs.append((each[0], sum(each[1:]) / (size - 1)))
        changes.append((runs[1][0] - runs[0][0], runs[1][1] - runs[0][1]))
    return np.array(changes).T


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("name", ["gpt2", "gemma2", "granite", "llama_grouped"])
def test_equals_brute_force(name, whole):
    pair = make_pair(name)
    prompts = prompts_for(pair.loaded.vocabulary)
    found = patched_copying(pair.loaded, prompts, whole=whole)
    for layer, head in ((0, 1), (1, 3), (2, 0)):
        first, later = by_hand(pair, prompts, layer, head)
        np.testing.assert_allclose(found.first[layer, head], first, atol=2e-5)
        np.testing.assert_allclose(found.later[layer, head], later, atol=2e-5)
        first, later = by_hand(pair, prompts, layer, head, other=True)
        np.testing.assert_allclose(found.first_control[layer, head], first, atol=2e-5)
        np.testing.assert_allclose(found.later_control[layer, head], later, atol=2e-5)
    assert np.abs(found.first).max() > 1e-3 and np.abs(found.later).max() > 1e-4


@pytest.mark.parametrize("name", ["gpt2", "llama_grouped"])
def test_only_the_last_tokens_are_run_again_where_that_gives_the_same(name):
    pair = make_pair(name)
    prompts = prompts_for(pair.loaded.vocabulary)
    blocks, first = _blocks(pair.loaded, prompts, "fused", continues=True)
    assert first == prompts.clean.shape[1] - max(SIZES) - 1
    assert blocks.body.final.shape[1] == max(SIZES) + 1


@pytest.mark.usefixtures("empty_store")
def test_in_the_circuit_the_induction_head_copies_tokens_and_no_words():
    places = {head.kind: Head(head.layer, head.head) for head in standard_spec().planted}
    found = token_copying(Request("by-construction"))
    induction = places["induction"]
    # What it does one position earlier is of no use later: the circuit copies token by token.
    assert (found.first[induction] > 4).all() and np.abs(found.later[induction]).max() < 1e-3
    # Another prompt's output names another token, and so makes the right one less likely.
    assert (found.first_control[induction] < 0).all()
    others = [head for kind, head in places.items() if kind != "induction"]
    assert max(np.abs(found.first[head]).max() for head in others) < 0.1
    # Of the whole gain nothing is left: the right token is as good as certain.
    subject = bind("by-construction")
    vocabulary = subject.identity.vocabulary
    prompts = copying_prompts(vocabulary, random_words(vocabulary, None, [2] * 4, 0))
    model = subject.load()
    _, first = _blocks(model, prompts, "fused", continues=False)
    assert first == 0 and patched_copying(model, prompts).first[induction].min() > 4


def test_prompts_share_their_second_half_and_nothing_of_the_first():
    pair = make_pair("gpt2")
    vocabulary = pair.loaded.vocabulary
    words = random_words(vocabulary, None, SIZES, 1)
    for bos in ("never", "always"):
        prompts = copying_prompts(vocabulary, words, length=9, bos=bos, seed=1)
        b = int(bos == "always")
        for clean, corrupted, word in zip(prompts.clean, prompts.corrupted, words, strict=True):
            first, second, other = clean[b : b + 9], clean[b + 9 :], corrupted[b : b + 9]
            assert (first == second).all() and (corrupted[b + 9 :] == second).all()
            assert tuple(second[-len(word) :]) == word and len(set(first)) == 9
            assert not set(other) & set(second) and len(set(other)) == 9
        assert prompts.places.tolist() == [b + 18 - size - 1 for size in SIZES]
    again = copying_prompts(vocabulary, words, length=9, bos="always", seed=1)
    assert again.digest == prompts.digest
    assert copying_prompts(vocabulary, words, length=9, bos="always", seed=2).digest != prompts.digest


def test_too_few_tokens_are_one_sentence():
    vocabulary = make_pair("gpt2").loaded.vocabulary
    with pytest.raises(BadInput, match="wider token range"):
        copying_prompts(vocabulary, [(5, 6)], token_range=(4, 12))
    with pytest.raises(BadInput, match="of at least 6, and this model's context has room for two of 5: it") as error:
        copying_prompts(replace(vocabulary, n_ctx=10), [(5, 6, 7, 8)], bos="never")
    assert "token range" not in str(error.value)


def trained(text: str) -> ModelTokenizer:
    """A byte-level tokenizer that has learned a few merges of `text` and no more."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=290, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    backend.train_from_iterator([text], trainer)
    return ModelTokenizer(backend)


def test_words_are_those_that_the_tokenizer_writes_as_several_tokens_where_they_stand():
    text = "A banana, the cabana; the theme of the 4th bandanas: thé café naïve. the banana ban_dana x2y thereat, banal canals!"
    tokenizer = trained("the the the the banana banana banana cabana theme there therefore " * 9)
    found = multi_token_words(tokenizer, text)
    assert len(set(found)) == len(found) > 1
    for word in found:
        said = tokenizer.backend.decode(list(word)).strip()
        assert 2 <= len(word) <= 4 and len(said) >= 4 and said.isalpha() and said in text
    # Brute force: every word of letters alone, with the space before it, in text order; a lone space is no part of it.
    [space] = tokenizer.encode(" ")
    alone = [
        tokenizer.encode(f" {word}") for word in ("banana", "cabana", "theme", "bandanas", "café", "thereat", "banal", "canals")
    ]
    pieces = [tuple(ids[1:] if ids[0] == space else ids) for ids in alone]
    assert found == tuple(ids for ids in pieces if 2 <= len(ids) <= 4 and len(set(ids)) == len(ids))
    whole = {tuple(tokenizer.encode(" banana")), tuple(tokenizer.encode(" the"))}
    assert all(len(word) == 1 for word in whole) and not whole & set(found), "what is one token is no word of several"
    special = frozenset({found[0][0]})
    assert all(not special & set(word) for word in multi_token_words(tokenizer, text, special))
    assert multi_token_words(tokenizer, "") == ()


@pytest.mark.usefixtures("empty_store")
def test_a_model_that_knows_every_word_whole_has_no_concept_copying():
    subject = bind("two-layer")
    with pytest.raises(Withheld, match="it takes 8: give a text with rarer words"):
        concept_copying(subject)
    with pytest.raises(Withheld, match="give a text"):
        words_of(subject, "")


@pytest.mark.real_model
def test_smollm2_writes_uncommon_words_as_several_tokens():
    subject = bind("smollm2-135m")
    words = words_of(subject, UNCOMMON_WORDS)
    text = subject.identity.token_text
    assert len(words) == 32 and all(2 <= len(word) <= 4 for word in words)
    assert all("".join(map(text, word)).strip() in UNCOMMON_WORDS for word in words)
