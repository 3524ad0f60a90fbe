"""Composition, path patching and pruning: exact on circuits by construction, and against full matrices and long ways round."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
import torch

from core.ablation import subjects
from core.ablation.ablator import Ablator
from core.ablation.cached import ablate, prune
from core.ablation.outcomes import Pruning
from core.ablation.pruning import scores_without
from core.ablation.subjects import ablator_for
from core.attention.cached import score_heads
from core.attention.cells import induction_cells
from core.behaviour import Losses
from core.circuits.cached import circuit
from core.circuits.circuit import KINDS, heads_to_prune
from core.circuits.composition import Factors, all_compositions, baseline, composition, compositions, writer
from core.circuits.path_patching import path_patch
from core.circuits.tables import composition_rows
from core.circuits.words import circuit_sentence, composition_sentence, pruning_sentence
from core.cli import main
from core.commands.circuit import text
from core.errors import BadInput, Withheld
from core.figures.base.style import Look
from core.figures.circuits.circuit import _free_place, circuit_graph, describe_circuit
from core.figures.circuits.composition import composition_maps, describe_composition
from core.heads import Head
from core.models.built_in.circuit_spec import expected_prefix_matching, standard_spec
from core.models.built_in.construction import build
from core.numbers import signed, signed_interval
from core.probes.probe import ProbeOptions
from core.probes.repeated import repeated_probe
from core.settings.request import Request
from core.settings.subject import bind
from core.sharing.facts import circuit_facts
from core.stats import Number
from core.transformer.passes.fused import fused_body
from core.transformer.passes.hooks import run_body
from core.transformer.passes.readout import logits_from
from core.transformer.passes.weights import query_and_key, reads
from tests.helpers.architectures import ARCHITECTURES, N_HEADS, make_pair
from tests.helpers.planted import random_spec
from tests.zoo.build import save
from tests.zoo.rows import ROWS

BETA = 10.0
SPEC = standard_spec()
[PREVIOUS] = [Head(head.layer, head.head) for head in SPEC.of_kind("previous_token")]
[INDUCTION] = [Head(head.layer, head.head) for head in SPEC.of_kind("induction")]
REQUEST = Request("by-construction", length=16, sequences=3)


@pytest.fixture(autouse=True)
def no_ablators():
    """None is left that a test before has made."""
    subjects._ablators.clear()


def ablator_of(model, length=12, sequences=3, seed=5):
    probe = repeated_probe(model.vocabulary, ProbeOptions(length, sequences, seed))
    reference = repeated_probe(model.vocabulary, ProbeOptions(length, 4, seed + 99)).tokens
    return Ablator(model, probe.tokens, reference), probe


def full_composition(model, sender, receiver, kind):
    """The definition, with whole `d_model x d_model` matrices."""
    written, value = (factors.left @ factors.right for factors in (writer(model, sender), writer(model, receiver)))
    read = value
    if kind != "v":
        query, key = (reads(model, receiver[0], matrix).double() for matrix in query_and_key(model, *receiver))
        read = key @ query.T if kind == "k" else query @ key.T
    sizes = torch.linalg.matrix_norm(written) * torch.linalg.matrix_norm(read)
    return float(torch.linalg.matrix_norm(written @ read) / sizes)


@pytest.mark.parametrize(
    "drops,reach,said",
    [
        ([0.01], 0.01, "The only edge does not carry the circuit by itself: cutting it costs 0.01 of"),
        ([0.01], 0.05, "The only edge is not shown to carry the circuit by itself: cutting it costs 0.01 of"),
        ([0.02, 0.01], 0.01, "None of the 2 edges carries the circuit by itself: cutting the strongest costs 0.02 of"),
        ([0.02, 0.01], 0.035, "None of the 2 edges is shown to carry the circuit by itself: cutting the strongest costs 0.02"),
        ([0.5, 0.01], 0.1, " finds its keys through "),
        ([0.5, 0.01], 0.1, " 1 of 2 edges costs more than 0.05 of prefix matching."),
        ([0.5, 0.2], 0.1, " 2 of 2 edges cost more than 0.05 of prefix matching."),
        ([0.5, 0.2], 0.2, " 2 of 2 edges cost more than 0.05 of prefix matching, 1 of them surely."),
        ([0.5, 0.2], 0.9, "seems to find its keys through "),
        ([0.5, 0.2], 0.9, " 2 of 2 edges cost more than 0.05 of prefix matching, none of them surely."),
        ([0.5, 0.01], 0.9, " 1 of 2 edges costs more than 0.05 of prefix matching, not surely."),
        # One sequence gives no interval.
        ([0.5], math.nan, "seems to find its keys through "),
        ([0.01], math.nan, "The only edge is not shown to carry the circuit"),
    ],
)
def test_edges_are_told_as_one_or_several_and_as_sure_as_their_intervals_are(drops, reach, said):
    found = circuit(bind(REQUEST))
    first = found.edges[0]
    edges = tuple(replace(first, patched=first.clean - drop, low=drop - reach, high=drop + reach) for drop in drops)
    count = 1 if math.isnan(reach) else found.n_sequences
    told = circuit_sentence(SimpleNamespace(induction=found.induction, edges=edges, n_sequences=count))
    assert said in told and ("More sequences would tell." in told) == ("seems" in told)


@pytest.mark.parametrize(
    "change,reach,lost,said",
    [
        (9.0, 0.5, 0.6, "collapses"),
        (0.2, 0.1, 0.6, "collapses"),
        (9.0, 9.0, 0.0, "seems to collapse"),
        (0.2, 0.1, 0.0, "goes on"),
        (0.2, 9.0, 0.0, "seems to go on"),
        (0.2, math.nan, 0.0, "seems to go on"),
    ],
)
def test_a_circuit_goes_on_or_not_as_surely_as_the_sequences_say(change, reach, lost, said):
    request = bind(REQUEST)
    found, scores = circuit(request), score_heads(request)
    head, after = found.previous[0], found.induction
    before = scores.sequences("induction")
    without = before - lost * np.isin(np.arange(before.shape[0]), [place.layer for place in after])[:, None, None]
    number = Number(change, change - reach, change + reach)
    clean, pruned = Losses(9.0, 0.5, math.log(12), 8.0), Losses(9.0, 0.5 + change, math.log(12))
    pruning = Pruning(head, "mean", clean, pruned, number, (before, without))
    told = pruning_sentence([pruning], scores, after)
    assert f"**Without {head.name} the circuit {said}.**" in told
    assert ("More sequences would tell." in told) == said.startswith("seems")


@pytest.mark.parametrize("left,said", [(0.0, "collapses"), (0.25, "goes on")])
def test_a_weak_circuit_collapses_where_all_of_its_matching_is_lost(left, said):
    """Heads are called from a contrast of .2 on, and .3 cannot be lost of .28."""
    request = bind(REQUEST)
    found, scores = circuit(request), score_heads(request)
    before = np.full_like(scores.sequences("induction"), 0.28)
    clean = Losses(9.0, 0.5, math.log(12), 4.5)
    pruning = Pruning(
        found.previous[0],
        "mean",
        clean,
        Losses(9.0, 0.6, math.log(12)),
        Number(0.1, 0.05, 0.15),
        (before, before * left / 0.28),
    )
    assert f"the circuit {said}.**" in pruning_sentence([pruning], scores, found.induction)


def test_hand_picked_heads_without_an_edge_are_told_where_they_lie(capsys):
    none = circuit(REQUEST, "zero", previous=(INDUCTION,), induction=(PREVIOUS,))
    said = f"{INDUCTION.name} lies in no layer before that of {PREVIOUS.name}: there is no edge."
    assert circuit_sentence(none) == said
    facts = circuit_facts(bind(REQUEST), none, score_heads(REQUEST).behaviour)
    assert said in text(facts)
    some = circuit(REQUEST, "zero", previous=(PREVIOUS, INDUCTION), induction=(INDUCTION,))
    told = text(circuit_facts(bind(REQUEST), some, score_heads(REQUEST).behaviour))
    assert f"{INDUCTION.name} is in no layer before an induction head: without an edge." in told and " -> " in told


def test_a_drop_below_zero_is_written_with_one_kind_of_minus():
    found = circuit(bind(REQUEST))
    edge = replace(found.edges[0], patched=found.edges[0].clean + 0.01, low=-0.04, high=0.02)
    told = circuit_sentence(SimpleNamespace(induction=found.induction, edges=(edge,), n_sequences=4))
    assert "costs −0.01 of prefix matching" in told and "-0" not in told
    nothing = replace(edge, patched=edge.clean + 0.003)
    assert "costs 0.00 of" in circuit_sentence(SimpleNamespace(induction=found.induction, edges=(nothing,), n_sequences=4))


def test_the_constructed_circuit_composes_through_keys_alone():
    """The previous-token head's output fills what the induction head's keys read but for the BOS row: 1 / sqrt(V + 1/4)."""
    model = build(SPEC)
    k, q, v = compositions(model, INDUCTION)[0]
    random = baseline(SPEC.d_model, SPEC.d_head)
    assert float(k[PREVIOUS]) == pytest.approx(1 / math.sqrt(SPEC.d_vocab + 0.25), rel=1e-6)
    assert float(k[PREVIOUS]) > 2 * random
    assert float(q[PREVIOUS]) == float(v[PREVIOUS]) == 0.0
    others = [head for head in range(SPEC.n_heads) if head != PREVIOUS[1]]
    assert (k[0, others] == 0).all() and k[1].isnan().all()


def test_the_wrong_way_round_finds_nothing():
    """Reading `W_QK` where `W_QK^T` is meant gives the circuit's edge no K-composition: the mistake shows."""
    model = build(SPEC)
    query, key = query_and_key(model, *INDUCTION)
    right, wrong = Factors(key.double(), query.T.double()), Factors(query.double(), key.T.double())
    written = writer(model, PREVIOUS)
    assert composition(written, right) > 0.08 and composition(written, wrong) == 0.0


@pytest.mark.parametrize("seed", range(8))
def test_planted_circuits(seed):
    """Heads at random places: the previous-token head is the only one that composes with any matching head."""
    spec, truth = random_spec(seed)
    model = build(spec)
    [previous] = [Head(*place) for place, label in truth.items() if label == "previous token"]
    ablator, probe = ablator_of(model, length=16)
    matching = [
        Head(*place) for place, label in truth.items() if label in ("induction", "anti-induction", "matching, non-copying")
    ]
    layers = sorted({head.layer for head in matching})
    found = path_patch(ablator, probe.layout, [previous], layers, "zero")
    for place in matching:
        k, q, v = (values.nan_to_num() for values in compositions(model, place)[0])
        assert int(k.argmax()) == previous[0] * spec.n_heads + previous[1]
        assert (k > 0).sum() == 1 and q[previous] == v[previous] == 0
        assert (found.clean[place] - found.patched[0][place] > 0.5 * found.clean[place]).all(), "on every sequence"


# Norms of queries and keys, or attention that shows neither: no matrix of these kinds to speak of.
NO_MATRICES = {"qwen3": "kq", "bloom_alibi": KINDS, "mpt_alibi": KINDS, "gptj": KINDS}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_small_products_give_the_full_matrices_norms(name):
    """Grouped queries, centring and gains included: by definition, with `d_model x d_model` matrices."""
    model = make_pair(name).loaded
    receiver = Head(2, 3)
    [found], withheld = all_compositions(model, [receiver])
    assert (withheld or "").startswith(f"Nothing is said of the weights of {name}: its" if name in NO_MATRICES else "")
    for kind, values in zip(KINDS, found, strict=True):
        if kind in NO_MATRICES.get(name, ()):
            assert values.isnan().all()
            continue
        for sender in (Head(0, 0), Head(1, 2), Head(1, N_HEADS - 1)):
            assert float(values[sender]) == pytest.approx(full_composition(model, sender, receiver, kind), rel=1e-6)
    assert found[:, 2].isnan().all()


def own_matrices(pair, head):
    """`W_Q`, `W_K`, `W_V` and `W_O` of a head from the library's own parameters; the norm before is in the first three."""
    layer, index = head
    if pair.name == "gpt2":
        block = pair.bare.transformer.h[layer]
        d_model, size = len(block.ln_1.weight), len(block.ln_1.weight) // N_HEADS
        centred = torch.eye(d_model).double() - 1 / d_model
        read = centred * block.ln_1.weight.double()
        here = slice(index * size, (index + 1) * size)
        parts = [read @ part[:, here] for part in block.attn.c_attn.weight.double().split(d_model, dim=1)]
        return *parts, block.attn.c_proj.weight.double()[here]
    block = pair.bare.model.layers[layer]
    attention, gain = block.self_attn, block.input_layernorm.weight.double()
    if pair.name == "gemma2":
        gain = 1 + gain
    size = attention.head_dim
    groups = attention.k_proj.out_features // size
    here = slice(index * size, (index + 1) * size)
    shared = index * groups // N_HEADS
    there = slice(shared * size, (shared + 1) * size)
    query, key, value = (
        gain[:, None] * projection.weight.double()[rows].T
        for projection, rows in ((attention.q_proj, here), (attention.k_proj, there), (attention.v_proj, there))
    )
    return query, key, value, attention.o_proj.weight.double().T[here]


@pytest.mark.parametrize("name", ["gpt2", "llama_grouped", "llama_multi_query", "gemma2"])
def test_compositions_are_of_the_librarys_own_parameters(name):
    """Nothing of ours but the number itself: gains, centring and which keys a query head shares are read from the module."""
    pair = make_pair(name)
    receiver = Head(2, 3)
    query, key, value, output = own_matrices(pair, receiver)
    read = {"k": key @ query.T, "q": query @ key.T, "v": value @ output}
    found, _ = compositions(pair.loaded, receiver)
    norm = torch.linalg.matrix_norm
    for sender in (Head(0, 0), Head(1, 2), Head(1, N_HEADS - 1)):
        _, _, value, output = own_matrices(pair, sender)
        written = value @ output
        for kind, values in zip(KINDS, found, strict=True):
            expected = norm(written @ read[kind]) / (norm(written) * norm(read[kind]))
            assert float(values[sender]) == pytest.approx(float(expected), rel=1e-5), (sender, kind)


def test_a_layer_whose_weights_cannot_be_read_leaves_the_others_as_they_are(monkeypatch):
    """A norm of an unknown kind, as it is met after values and outputs were read."""
    model, receiver, why = make_pair("llama_grouped").loaded, Head(2, 3), "Its norm is of no known kind."
    whole, _ = all_compositions(model, [receiver])

    def refused(model, layer, matrix):
        if layer == 0:
            raise Withheld(why)
        return reads(model, layer, matrix)

    monkeypatch.setattr("core.circuits.composition.reads", refused)
    found, reason = all_compositions(model, [receiver])
    assert reason == why and found[0, :, 0].isnan().all()
    assert torch.equal(found[0, :, 1], whole[0, :, 1]) and not found[0, :, 1].isnan().any()


def test_without_matrices_of_queries_and_keys_only_their_composition_is_withheld(tmp_path, monkeypatch, capsys, empty_store):
    """Gemma 3 norms them: its paths are cut and its values compose all the same, and every form says what is not there."""
    monkeypatch.setenv("HEADSCOPE_MODELS", str(tmp_path))
    name = save(ROWS["gemma3_text"], tmp_path).name
    heads = {"previous": (Head(0, 1),), "induction": (Head(2, 3),)}
    subject = bind(Request(name, length=12, sequences=2))
    found = circuit(subject, "zero", **heads)
    [edge] = found.edges
    assert math.isnan(edge.k_composition) and math.isnan(edge.q_composition) and edge.rank is None
    assert edge.v_composition > 0 and 0 < edge.clean < 1 and edge.patched != edge.clean
    asked = ["circuit", "--model", name, "--length", "12", "--sequences", "2", "--mode", "zero"]
    asked += ["--previous", "L0H1", "--induction", "L2H3"]
    assert main([*asked, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["composition_withheld"].endswith("its queries and keys are no linear maps of what its attention reads.")
    assert result["edges"][0]["k_composition"] is None and result["edges"][0]["rank"] is None
    assert main(asked) == 0
    assert "K-composition withheld" in capsys.readouterr().out
    said = composition_sentence(found, Head(2, 3))
    assert "its values from" in said and "keys" not in said
    scores, look = score_heads(subject), Look()
    [line] = [trace for trace in circuit_graph(found, scores, None, look).data if trace.name == "edge"]
    assert line.line.dash == "solid", "dotted says that it is not above random, which nobody knows"
    assert "K-composition withheld" in describe_circuit(found) and "K: withheld; Q: withheld; V: L" in describe_composition(
        found, Head(2, 3)
    )
    hovers = str(composition_maps(found, Head(2, 3), look).to_dict()) + str(circuit_graph(found, scores, None, look).to_dict())
    assert "K-composition withheld" in hovers and "nan" not in hovers.replace("nan, ", "").replace("nan]", "").lower()


def test_grouped_queries_use_their_groups_keys():
    pair = make_pair("llama_grouped")
    keys = pair.bare.model.layers[1].self_attn.k_proj.weight.T.unflatten(1, (2, -1))[:, 1]
    found = [query_and_key(pair.loaded, 1, head)[1] for head in range(N_HEADS)]
    assert [int(torch.allclose(key, keys, atol=1e-5)) for key in found] == [0, 0, 1, 1]


def test_the_baseline_is_what_random_matrices_have():
    assert baseline(64, 16) == baseline(64, 16) != baseline(64, 16, seed=1)
    assert baseline(64, 16) == pytest.approx(1 / math.sqrt(64), rel=0.1)


@pytest.mark.parametrize("has_bos", [True, False])
def test_cutting_the_constructed_path_leaves_what_the_bos_leaves(has_bos):
    """Without its predecessor's mark every key but the BOS scores 0: `A = 1 / (e^(beta/2) + q)`."""
    model = build(SPEC)
    probe = repeated_probe(model.vocabulary, ProbeOptions(16, 3, bos="always" if has_bos else "never"))
    ablator, layout = Ablator(model, probe.tokens), probe.layout
    found = path_patch(ablator, layout, [PREVIOUS], [1], "zero")
    b = int(has_bos)
    queries = np.arange(16 + b, 32 + b)
    left = (1 / (b * math.exp(BETA / 2) + queries + 1 - b)).mean()
    assert found.clean[INDUCTION].tolist() == pytest.approx([expected_prefix_matching(16, b, BETA)] * 3, abs=1e-5)
    assert found.patched[0][INDUCTION].tolist() == pytest.approx([left] * 3, abs=1e-5)
    others = [head for head in range(SPEC.n_heads) if head != INDUCTION[1]]
    assert torch.allclose(found.patched[0][1, others], found.clean[1, others], atol=1e-6)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_path_patching_against_the_long_way_round(name):
    """By hand on the library's own parts: what the sender's projection writes, and a softmax of clean queries and cut keys."""
    pair = make_pair(name)
    ablator, probe = ablator_of(pair.loaded)
    sender, layer = Head(0, 2), 2
    for mode in ("zero", "mean"):
        if name in CANNOT_BE_CUT:
            with pytest.raises(BadInput, match=f"Path patching is not possible for {name}"):
                path_patch(ablator, probe.layout, [sender], [1, layer], mode)
            continue
        found = path_patch(ablator, probe.layout, [sender], [1, layer], mode)
        patched = long_way_round(pair, ablator, sender, layer, mode, probe.layout)
        assert torch.allclose(found.patched[0][layer], patched, atol=2e-5)
        assert (found.patched[0][layer] - found.clean[layer]).abs().max() > 1e-4
        assert found.patched[0][0].isnan().all()


# Their attention cannot be replaced by one that shows its keys.
CANNOT_BE_CUT = ("bloom_alibi", "mpt_alibi", "gptj")


def long_way_round(pair, ablator, sender, layer, mode, layout):
    """The change of the residual stream from the library's own modules; queries and keys of layer `layer`; a plain softmax."""
    model, tokens = ablator.model, ablator.tokens
    stand_in = ablator.stand_in(mode, sender[0])
    part = model.anatomy.attention[sender[0]]
    projection, block = pair.bare.get_submodule(part.projection), pair.bare.get_submodule(model.anatomy.blocks[layer])
    given, inputs = [], []
    handles = [
        projection.register_forward_pre_hook(lambda m, i: given.append(i[0])),
        block.register_forward_pre_hook(lambda m, i, k: inputs.append(i[0] if i else k["hidden_states"]), with_kwargs=True),
    ]
    pair.eager(tokens)
    for handle in handles:
        handle.remove()
    changed = given[0].clone()
    lost = slice(sender[1] * part.d_head, (sender[1] + 1) * part.d_head)
    changed[..., lost] = 0 if stand_in is None else stand_in[:, :, sender[1]]
    with torch.no_grad():
        before, after = projection(given[0]), projection(changed)
        if pair.name == "gemma2":
            norm = pair.bare.model.layers[0].post_attention_layernorm
            before, after = norm(before), norm(after)
    change = (after - before) * (0.6 if pair.name == "granite" else 1.0)
    clean, cut = (shown(model, tokens, layer, more) for more in (0, change))
    scores = clean.query @ cut.key.transpose(-1, -2) * clean.scale
    if pair.name == "gemma2":
        scores = torch.tanh(scores / 50.0) * 50.0
    later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
    pattern = scores.masked_fill(later, float("-inf")).softmax(-1)
    queries, keys = induction_cells(layout)
    return pattern[:, :, queries, keys].mean(2).T


def shown(model, tokens, layer, change):
    """A layer's queries and keys in a whole pass in which its input is changed."""
    seen = []

    def moved(module, arguments, keywords):
        if arguments:
            return (arguments[0] + change, *arguments[1:]), keywords
        return arguments, keywords | {"hidden_states": keywords["hidden_states"] + change}

    handle = model.blocks(model.bare)[layer].register_forward_pre_hook(moved, with_kwargs=True)
    try:
        fused_body(model, tokens, lambda attention: seen.append(attention))
    finally:
        handle.remove()
    return seen[layer]


def test_a_receivers_block_is_run_no_further_than_its_attention():
    """All that is read there are its keys; and the clean pass is the ablator's own."""
    model = make_pair("llama_grouped").loaded
    ablator, probe = ablator_of(model)
    assert ablator.engine == "fused"
    run: list[int] = []
    parts = [(layer, model.bare.get_submodule(f"{block}.mlp")) for layer, block in enumerate(model.anatomy.blocks)]
    handles = [part.register_forward_hook(lambda *_, layer=layer: run.append(layer)) for layer, part in parts]
    path_patch(ablator, probe.layout, [Head(0, 1), Head(0, 2)], [1, 2], "zero")
    for handle in handles:
        handle.remove()
    # Whole blocks are run for what a sender writes, clean and replaced.
    assert run == [0] * 4


def test_several_receivers_have_what_each_has_alone():
    model = make_pair("llama_grouped").loaded
    receivers = [Head(2, 3), Head(1, 0), Head(0, 1)]
    together, _ = all_compositions(model, receivers)
    for found, receiver in zip(together, receivers, strict=True):
        assert torch.equal(found.nan_to_num(-1), compositions(model, receiver)[0].nan_to_num(-1))
    assert together[2].isnan().all() and all_compositions(model, [])[0].shape == (0, 3, 3, N_HEADS)


def test_hooks_are_gone_afterwards():
    model = make_pair("native_attention_only").loaded
    ablator, probe = ablator_of(model)
    before = logits_from(model, run_body(model, ablator.tokens).final)
    path_patch(ablator, probe.layout, [Head(0, 1)], [1, 2], "mean")
    scores_without(ablator, probe, Head(0, 1), "mean")
    assert torch.equal(before, logits_from(model, run_body(model, ablator.tokens).final))
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in (*model.module.modules(), *model.bare.modules()))


@pytest.mark.parametrize("mode", ["zero", "mean"])
def test_pruning_the_constructed_circuit(mode):
    """Without the previous-token head nothing matches and the gain is gone; without the induction head all else stays."""
    scores = score_heads(REQUEST)
    collapsed = prune(bind(REQUEST), PREVIOUS, mode)
    assert collapsed.before[INDUCTION] == pytest.approx(expected_prefix_matching(16, 1, BETA), abs=1e-5)
    assert collapsed.after[INDUCTION] < 0.1
    assert collapsed.gain_lost > 0.85 and collapsed.pruned.second_copy > math.log(16)
    unaffected = prune(bind(REQUEST), INDUCTION, mode)
    np.testing.assert_allclose(unaffected.after, scores.mean("induction"), atol=1e-6)
    # It writes all that the unembedding reads: without it, nothing (zero) says the same of every token.
    assert unaffected.pruned.second_copy > math.log(16)
    if mode == "zero":
        assert unaffected.pruned.second_copy == pytest.approx(math.log(SPEC.d_vocab), abs=1e-5)
    untouched = prune(bind(REQUEST), Head(0, 3 if PREVIOUS.head != 3 else 2), mode)
    assert untouched.pruned.second_copy == pytest.approx(untouched.clean.second_copy, abs=1e-4)


def test_pruning_to_zero_is_exact():
    left = (1 / (math.exp(BETA / 2) + np.arange(17, 33))).mean()
    assert prune(bind(REQUEST), PREVIOUS, "zero").after[INDUCTION] == pytest.approx(left, abs=1e-5)


def test_pruning_costs_what_ablating_costs():
    request = Request("two-layer", length=12, sequences=3)
    for mode in ("zero", "mean"):
        ablated = ablate(request, [(0, 2)], mode, text=None)
        assert prune(bind(request), Head(0, 2), mode).pruned.second_copy == pytest.approx(
            ablated.ablated_losses.second_copy, abs=1e-4
        )


def by_hand(values):
    """The 95 % interval of a mean, from another library's Student t."""
    return scipy.stats.t.interval(0.95, len(values) - 1, np.mean(values), scipy.stats.sem(values))


def test_what_an_edge_costs_has_the_interval_of_its_sequences():
    """Each sequence alone gives the same as all together, and so do their differences by hand."""
    request = Request("two-layer", length=20, sequences=5)
    found = circuit(request, "zero")
    edge = found.edges[0]
    rows = bind(request).probe.tokens
    ends = {"previous": (edge.previous,), "induction": (edge.induction,)}
    given = [circuit(Request("two-layer", length=20, tokens=(tuple(row.tolist()),)), "zero", **ends) for row in rows]
    alone = [one.edges[0] for one in given]
    assert all(math.isnan(one.low) and math.isnan(one.high) for one in alone)
    assert "one sequence gives no interval" in circuit_sentence(given[0])
    assert edge.drop == pytest.approx(np.mean([one.drop for one in alone]), abs=1e-5)
    assert (edge.low, edge.high) == pytest.approx(by_hand([one.drop for one in alone]), abs=1e-5)
    assert f"95 % interval of the loss {edge.low:.2f} to {edge.high:.2f}, 5 sequences" in circuit_sentence(found)


def test_what_pruning_costs_has_the_interval_of_its_sequences():
    request = Request("two-layer", length=20, sequences=5)
    found, scores = prune(bind(request), Head(0, 2)), score_heads(request)
    without = scores_without(ablator_for(bind(request)), bind(request).probe, Head(0, 2), "mean")
    there = bind(request).layout.second_copy_targets
    change = (without.token_loss.astype(float) - scores.token_loss)[:, there].mean(1)
    assert found.change == pytest.approx((change.mean(), *by_hand(change)), abs=1e-4)
    heads = (Head(1, 0), Head(1, 3))
    lost = np.mean([(scores.sequences("induction") - without.sequences("induction"))[head] for head in heads], axis=0)
    assert found.lost(heads) == pytest.approx((lost.mean(), *by_hand(lost)), abs=1e-5)
    assert found.lost(heads[:1])[1:] == pytest.approx([ends[heads[0]] for ends in found.lost_interval], abs=1e-6)
    said = pruning_sentence([found], scores, heads)
    assert f"{signed(change.mean())} nats ({signed_interval(*by_hand(change))})" in said and "over 5 sequences" in said


def test_a_path_whose_cut_raises_prefix_matching_is_written_with_its_sign():
    found, scores = circuit(REQUEST, "zero"), score_heads(REQUEST)
    raised = replace(found, clean=found.clean / 2, patched=np.broadcast_to(found.clean / 2 + 0.25, found.patched.shape))
    written = [note.text for note in circuit_graph(raised, scores, None, Look()).layout.annotations]
    assert raised.edges[0].drop == pytest.approx(-0.25) and "<b>+0.25</b>" in written


def test_the_kept_circuit_is_the_measured_one():
    found = circuit(REQUEST, "zero")
    assert (found.previous, found.induction) == ((PREVIOUS,), (INDUCTION,))
    [edge] = found.edges
    assert edge.rank == 1 and edge.earlier == 4 and edge.drop > 0.9 and edge.q_composition == edge.v_composition == 0
    assert circuit(REQUEST, "zero").edges == found.edges
    assert circuit(REQUEST, previous=(INDUCTION,), induction=(INDUCTION,)).edges == ()


def test_every_earlier_head_is_compared_with_random_matrices():
    found = circuit(REQUEST)
    rows = composition_rows(found, INDUCTION)
    assert rows[0]["earlier"] == PREVIOUS.name and len(rows) == 4
    measured = compositions(build(SPEC), INDUCTION)[0].numpy()
    for row in rows:
        head = (0, int(row["earlier"][3:]))
        for kind, values in zip(KINDS, measured, strict=True):
            assert row[f"{kind}_composition"] == pytest.approx(values[head], abs=1e-9)
            assert row[f"{kind}_above_random"] == pytest.approx(values[head] - found.baseline, abs=1e-9)
    assert [row["previous_token_head"] for row in rows] == [True, False, False, False]
    said = composition_sentence(found, INDUCTION)
    assert f"its keys from {PREVIOUS.name} (+" in said and "its queries from none; its values from none" in said


@pytest.mark.parametrize("look", [Look(), Look(dark=True, large=True)])
def test_the_composition_maps_show_what_the_rows_say(look):
    found = circuit(REQUEST)
    figure = composition_maps(found, INDUCTION, look)
    maps = [trace for trace in figure.data if trace.type == "heatmap"]
    assert [trace.name for trace in maps] == list(KINDS)
    by_head = {row["earlier"]: row for row in composition_rows(found, INDUCTION)}
    for trace in maps:
        shown = {Head(0, head).name: trace.z[0][head] for head in range(4)}
        assert shown == pytest.approx({name: row[f"{trace.name}_above_random"] for name, row in by_head.items()})
    # Two lines round the previous-token head in each of the three maps.
    frames = [shape for shape in figure.layout.shapes if shape.x0 < PREVIOUS[1] < shape.x1]
    assert len(frames) == len(figure.layout.shapes) == 6
    assert figure.layout.coloraxis.cmin == -figure.layout.coloraxis.cmax
    assert f"K: {PREVIOUS.name} +" in describe_composition(found, INDUCTION)


def test_the_wider_edge_is_the_one_that_costs_more():
    heads = (Head(0, 0), Head(0, 1), Head(0, 2))
    found = circuit(REQUEST, previous=heads, induction=(INDUCTION,))
    # The one that costs nothing gets the largest K-composition: it must stay thin all the same.
    composition = found.composition.copy()
    composition[0][KINDS.index("k")][0, 0] = 0.9
    figure = circuit_graph(replace(found, composition=composition), score_heads(REQUEST), None, Look())
    drawn = {trace.y[0]: trace.line.width for trace in figure.data if trace.name == "edge"}
    widths = [drawn[height] for height in sorted(drawn, reverse=True)]
    drops = {edge.previous: edge.drop for edge in found.edges}
    assert widths.index(max(widths)) == max(range(3), key=lambda i: drops[heads[i]]) == PREVIOUS[1]
    assert widths[0] < max(widths) / 4


def test_numbers_on_crossing_edges_do_not_cover_each_other():
    found = circuit(Request("two-layer", length=20, sequences=2))
    figure = circuit_graph(found, score_heads(Request("two-layer", length=20, sequences=2)), None, Look())
    written = [(note.x, note.y) for note in figure.layout.annotations if note.bgcolor]
    assert len(written) >= 4
    for i, (x, y) in enumerate(written):
        assert all(abs(x - u) > 0.09 or abs(y - v) > 0.14 for u, v in written[:i])


def test_every_edge_that_costs_something_has_its_number_and_none_has_it_where_another_stands():
    request = Request("two-layer", length=20, sequences=2)
    found, scores = circuit(request), score_heads(request)
    wide, narrow = (circuit_graph(found, scores, None, Look(narrow=each)) for each in (False, True))
    numbers = [[note.text for note in figure.layout.annotations if note.bgcolor] for figure in (wide, narrow)]
    assert numbers[0] == [f"<b>−{edge.drop:.2f}</b>" for edge in found.edges if edge.drop >= 0.05]
    assert len(numbers[0]) > 4 and set(numbers[1]) < set(numbers[0])
    # With more edges than have room, the rest is left out: two numbers on one place would be none.
    crowd = [_free_place(0.5, 0.5, taken, 2, Look()) for taken in ([], [(i / 50, 0.5) for i in range(51)])]
    assert crowd == [(0.5, 0.5), None]


def test_a_picked_heads_frame_leaves_its_name_free():
    """A blank stands between a name and its mark, on the left behind the name and on the right before it."""
    found = circuit(REQUEST)
    figure = circuit_graph(found, score_heads(REQUEST), INDUCTION, Look())
    sides = {trace.textposition: trace.text for trace in figure.data if trace.name == "heads" and trace.text}
    assert all(text.endswith("\u00a0\u00a0") for text in sides["middle left"])
    assert all(text.startswith("\u00a0\u00a0<b>L") for text in sides["middle right"])


def test_a_model_without_called_heads_has_no_edges():
    found = circuit(Request("one-layer", length=12, sequences=2))
    assert found.induction == () and found.edges == ()


def test_the_heads_beside_a_pruned_one_have_the_nearest_score():
    scores = score_heads(REQUEST)
    found = heads_to_prune(scores, circuit(REQUEST).edges, None, (INDUCTION,))
    assert found[0] == PREVIOUS and len(set(found)) == 3 and INDUCTION not in found
    assert heads_to_prune(scores, (), Head(0, 1), (INDUCTION,))[0] == (0, 1)


def test_ends_by_name_are_the_same_heads_in_the_order_given():
    found = circuit(REQUEST, "zero", previous=["L0H1", PREVIOUS.name], induction=INDUCTION.name)
    assert (found.previous, found.induction) == ((Head(0, 1), PREVIOUS), (INDUCTION,))
    with pytest.raises(BadInput, match="^A head is given by its name"):
        circuit(REQUEST, "zero", previous=[(0.5, 1)], induction=(INDUCTION,))


def test_modes_that_make_no_sense_here_are_refused():
    for ask in (
        lambda: circuit(REQUEST, "pattern"),
        lambda: prune(bind(REQUEST), PREVIOUS, "resample"),
        lambda: prune(bind(REQUEST), Head(9, 0)),
    ):
        with pytest.raises(BadInput):
            ask()


def test_an_architecture_whose_keys_cannot_be_changed_is_refused():
    model = make_pair("gptj").loaded
    ablator, probe = ablator_of(model)
    with pytest.raises(BadInput, match="Path patching is not possible for gptj"):
        path_patch(ablator, probe.layout, [Head(0, 1)], [1], "zero")
    # With no head to cut there is nothing that it cannot do, and what needs no path, as compositions, can be had.
    nothing = path_patch(ablator, probe.layout, [], [1], "zero")
    assert nothing.clean.isnan().all() and len(nothing.patched) == 0


def test_the_command_keeps_its_contract(capsys):
    shared = ["circuit", "--model", "by-construction", "--length", "16", "--sequences", "2", "--json"]
    assert main(shared) == 0
    result = json.loads(capsys.readouterr().out)
    [edge] = result["edges"]
    assert {"previous", "induction", "k_composition", "rank", "random_composition", "path_patch_drop"} <= set(edge)
    assert (edge["previous"], edge["induction"]) == (PREVIOUS.name, INDUCTION.name)
    [composed] = result["composition"]
    assert composed["k"][PREVIOUS[0]][PREVIOUS[1]] == edge["k_composition"] and composed["induction"] == edge["induction"]
    assert composed["q"][1] == [None] * 4
    assert main([*shared, "--prune", PREVIOUS.name]) == 0
    pruned = json.loads(capsys.readouterr().out)
    [found] = pruned["prunings"]
    assert {"head", "loss", "gain_lost", "prefix_matching"} <= set(found) and found["head"] == PREVIOUS.name
    assert len(found["prefix_matching"]) == 8 and set(found["prefix_matching"][0]) == {"head", "before", "after"}
    assert main([*shared, "--prune", f"L0H3,{PREVIOUS.name}"]) == 0
    beside, again = json.loads(capsys.readouterr().out)["prunings"]
    assert beside["head"] == "L0H3" and again == found, "each is taken away alone"
    assert main([*shared, "--prune", "L7H0"]) == 2
    assert main([*shared, "--mode", "pattern"]) == 2


def test_the_command_says_what_pruning_costs_with_intervals_and_why_there_is_no_edge(capsys):
    def told(*words):
        assert main(["circuit", *words]) == 0
        return capsys.readouterr().out

    assert "No head is shown to be an induction head here" in told("--model", "one-layer", "--length", "20", "--sequences", "2")
    small = ("--model", "two-layer", "--length", "20")
    pruned = told(*small, "--sequences", "3", "--prune", "L0H2")
    first, *others = pruned.splitlines()[1:]
    assert re.search(r"nats, \+\d\.\d\d nats \(95 % interval \+.* over 3 sequences\), gain lost: \d\d %; first copy", first)
    assert all("(lost: 95 % interval " in line for line in others)
    alone = told(*small, "--sequences", "1", "--prune", "L0H2")
    assert alone.count("one sequence gives no interval") == len(alone.splitlines()) - 1
    assert told(*small, "--sequences", "1").count("one sequence gives no interval") == 8


def test_the_command_leaves_out_heads_that_there_are_not():
    """A layer without attention has none, so the first row is of the second layer."""
    rows = [("L1H0", 0.9, 0.2), ("L1H1", 0.8, 0.8)]
    loss = {"first_copy": 4.0, "second_copy": 4.0}
    found = {
        "head": "L1H1",
        "loss": {"clean": loss, "ablated": loss},
        "second_copy_change": {"value": 0.0, "low": math.nan, "high": math.nan},
        "gain_lost": math.nan,
        "prefix_matching": [{"head": head, "before": before, "after": after} for head, before, after in rows],
        "prefix_matching_lost": {"low": [[math.nan] * 2, [0.6, -0.1]], "high": [[math.nan] * 2, [0.8, 0.1]]},
    }
    said = text({"model": {"name": "tiny"}, "mode": "mean", "probe": {"sequences": 2}, "prunings": [found]})
    assert "L0H0" not in said and "nan" not in said and "gain lost: no sure gain" in said
    assert "L1H0: prefix matching 0.90 -> 0.20 (lost: 95 % interval 0.60 to 0.80)" in said
