"""Ablation against brute force written independently, the exact answers of the circuit, and the traps others fall into."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from transformer_lens.model_bridge.sources.native.model import NativeModel

import core.ablation.ablator
import core.transformer.passes.batching
import core.transformer.passes.fused
import core.transformer.passes.hooks
import core.transformer.passes.readout
from core.ablation.ablator import Ablator, derangement
from core.attention.score_pass import measure_heads
from core.errors import BadInput, ModelUnavailable
from core.heads import Head, HeadSet, all_but, head_set
from core.models.built_in.circuit_spec import standard_spec
from core.models.built_in.construction import build
from core.probes.layout import Layout
from core.probes.losses import losses_of
from core.probes.probe import ProbeOptions
from core.probes.repeated import repeated_probe
from core.settings.modes import MODES
from core.transformer.anatomy import run_module
from core.transformer.flops import flops_of_layer, flops_of_readout
from core.transformer.passes.blocks import Blocks
from core.transformer.passes.fused import Agreement, can_fuse
from core.transformer.passes.hooks import attached, can_resume, z_hook
from tests.helpers.architectures import ARCHITECTURES, Pair, make_pair

OUTPUT_PROJECTIONS = ("o_proj", "c_proj", "dense", "out_proj", "o")


# Families whose attention cannot be replaced have no fast way.
NOT_FUSED = ("bloom_alibi", "mpt_alibi", "gptj")
FUSED = tuple(name for name in ARCHITECTURES if name not in NOT_FUSED)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def pair(request) -> Pair:
    return make_pair(request.param)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_who_takes_the_fast_way(name):
    model = make_pair(name).loaded
    assert can_fuse(model, 6) == (name in FUSED)
    assert Ablator(model, np.array([[1, 2, 3, 1, 2, 3]])).engine == ("fused" if name in FUSED else "hooks")


def output_projections(bare: torch.nn.Module) -> list[torch.nn.Module]:
    """Each layer's `W_O`, found by name inside the library's own attention modules."""
    found = []
    for name, module in bare.named_modules():
        parts = name.split(".")
        in_attention = any(part in ("attn", "attention", "self_attn", "self_attention") for part in parts[:-1])
        if in_attention and parts[-1] in OUTPUT_PROJECTIONS and (len(parts) < 3 or parts[-2] != "mlp"):
            found.append(module)
    return found


def brute_force(pair: Pair, tokens: torch.Tensor, heads, stand_in=None) -> np.ndarray:
    """Token losses with `heads` replaced in the input of the library's own output projection; whole logits, whole passes.

    stand_in: `[n_layers][rows, tokens, n_heads, d_head]`, or None for zero.
    """
    projections = output_projections(pair.bare)
    assert len(projections) == pair.loaded.card.n_layers
    handles = []
    for layer, projection in enumerate(projections):
        mine = [head for where, head in heads if where == layer]

        def edit(module, inputs, mine=mine, layer=layer):
            flat = inputs[0].clone()
            width = flat.shape[-1] // pair.loaded.card.n_heads
            for head in mine:
                part = slice(head * width, (head + 1) * width)
                flat[..., part] = 0 if stand_in is None else stand_in[layer][:, :, head]
            return (flat, *inputs[1:])

        handles.append(projection.register_forward_pre_hook(edit))
    try:
        with torch.no_grad():
            output = pair.bare(tokens)
            logits = output if isinstance(pair.bare, NativeModel) else output.logits
    finally:
        for handle in handles:
            handle.remove()
    losses = -logits.double().log_softmax(-1)[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
    return losses.numpy()


def library_z(pair: Pair, tokens: torch.Tensor) -> list[torch.Tensor]:
    """The inputs of the library's own output projections, split by head."""
    seen: list[torch.Tensor] = []
    handles = [
        p.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0])) for p in output_projections(pair.bare)
    ]
    with torch.no_grad():
        pair.bare(tokens)
    for handle in handles:
        handle.remove()
    return [z.view(*z.shape[:2], pair.loaded.card.n_heads, -1) for z in seen]


def heads_named(*places: tuple[int, int]) -> HeadSet:
    return tuple(Head(*place) for place in places)


SETS = [
    heads_named((0, 1)),
    heads_named((1, 0), (1, 3)),
    heads_named((0, 2), (2, 2)),
    heads_named((2, 0), (2, 1), (2, 2), (2, 3)),
    (),
]


ENGINES = [(name, engine) for engine, names in (("hooks", ARCHITECTURES), ("fused", FUSED)) for name in names]


@pytest.fixture(scope="module", params=ENGINES, ids="-".join)
def material(request):
    name, engine = request.param
    pair = make_pair(name)
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=11, sequences=3))
    reference = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=11, sequences=5, seed=99)).tokens
    ablator = Ablator(pair.loaded, probe.tokens, reference, engine=engine)
    return pair, torch.from_numpy(probe.tokens.copy()), ablator, reference


@pytest.mark.parametrize("mode", ["zero", "mean", "resample"])
def test_equals_brute_force_on_the_librarys_own_projection(material, mode):
    pair, tokens, ablator, reference = material
    stand_in = None
    if mode == "mean":
        stand_in = [z.mean(0, keepdim=True) for z in library_z(pair, torch.from_numpy(reference.copy()))]
    if mode == "resample":
        order = torch.from_numpy(derangement(3, 0))
        stand_in = [z[order] for z in library_z(pair, tokens)]
    measured = ablator.token_loss(SETS, mode)
    worst = 0.0
    for heads, ours in zip(SETS, measured, strict=True):
        worst = max(worst, float(np.abs(ours[:, 1:] - brute_force(pair, tokens, heads, stand_in)).max()))
    print(f"worst disagreement with brute force, {pair.name}, {mode}: {worst:.2e}")
    assert worst < 2e-5
    assert np.isnan(measured[:, :, 0]).all()


@contextmanager
def patterns_held(patterns: list[torch.Tensor]) -> Iterator[None]:
    """Inside, each attention's softmax gives the pattern of its layer, whatever its scores are.

    All of the library's eager code makes its patterns by this one function, before it uses them.
    """
    softmax = torch.nn.functional.softmax
    waiting: list[torch.Tensor] = []

    def held(scores: torch.Tensor, *arguments, **keywords) -> torch.Tensor:
        own = softmax(scores, *arguments, **keywords)
        if scores.ndim != 4:
            # The softmax of an activation function.
            return own
        if not waiting:
            waiting.extend(patterns)
        clean = waiting.pop(0)
        assert own.shape == clean.shape
        return clean.to(own.dtype)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, "softmax", held)
        yield
    assert not waiting, "a pass has one pattern a layer"


def test_pattern_preserving_equals_brute_force(material):
    """The library's own eager module with every pattern held at its clean value, whole passes, heads zeroed before `W_O`."""
    pair, tokens, ablator, _ = material
    measured = ablator.token_loss(SETS, "pattern")
    assert np.allclose(measured[-1], ablator.clean, equal_nan=True)
    # In the last layer no pattern comes after the ablated heads, so freezing them changes nothing.
    assert np.allclose(measured[3], ablator.token_loss([SETS[3]], "zero")[0], atol=1e-5, equal_nan=True)
    _, clean = pair.eager(tokens)
    worst, moved = 0.0, 0.0
    for heads, ours in zip(SETS, measured, strict=True):
        with patterns_held(clean):
            expected = brute_force(pair, tokens, heads)
        worst = max(worst, float(np.abs(ours[:, 1:] - expected).max()))
        moved = max(moved, float(np.abs(expected - brute_force(pair, tokens, heads)).max()))
    print(f"worst disagreement with brute force, {pair.name}, pattern: {worst:.2e}")
    assert worst < 2e-5
    assert moved > 1e-3, "holding the patterns must change something, or this test could not see it"


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_who_can_hold_patterns(name):
    """Every architecture but the one that shows its pattern only after use, and has no fast way round that."""
    pair = make_pair(name)
    ablator = Ablator(pair.loaded, np.array([[1, 2, 3, 1, 2, 3]]))
    assert np.isfinite(ablator.token_loss(SETS, "pattern")[..., 1:]).all()


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_no_number_depends_on_how_many_sequences_there_are(name):
    """As many as heads, as groups, as tokens: what a block is called with may be as long as they are many by accident."""
    model = make_pair(name).loaded
    rows = np.random.default_rng(0).integers(1, 40, (7, 7))
    sets = [(Head(1, 2),), (Head(2, 0), Head(2, 3))]
    alone = np.concatenate([Ablator(model, rows[place : place + 1]).token_loss(sets, "zero") for place in range(len(rows))], 1)
    for count in (2, 3, 4, 7):
        together = Ablator(model, rows[:count]).token_loss(sets, "zero")
        np.testing.assert_allclose(together[..., 1:], alone[:, :count, 1:], atol=2e-4)


def test_a_slice_of_the_attention_output_is_no_head(material):
    """The published mistake: zero columns after `W_O`. It must give another answer, or these tests could not see it."""
    pair, tokens, ablator, _ = material
    width = 32 // pair.loaded.card.n_heads
    projection = output_projections(pair.bare)[0]
    handle = projection.register_forward_hook(
        lambda module, inputs, output: output.index_fill(-1, torch.arange(width, 2 * width), 0)
    )
    with torch.no_grad():
        output = pair.bare(tokens)
    handle.remove()
    logits = output if isinstance(pair.bare, NativeModel) else output.logits
    wrong = -logits.double().log_softmax(-1)[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0].numpy()
    right = ablator.token_loss([heads_named((0, 1))], "zero")[0][:, 1:]
    assert np.abs(wrong - right).max() > 1e-3


def test_the_architectures_that_resume_do(pair):
    assert can_resume(pair.loaded)


@pytest.mark.parametrize("name", ["llama_grouped", "llama_multi_query", "native_grouped"])
def test_grouped_queries_ablate_query_heads(name):
    """Two query heads that share keys and values are still two: each has its own effect."""
    pair = make_pair(name)
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=9, sequences=2))
    ablator = Ablator(pair.loaded, probe.tokens)
    one, other, both = ablator.token_loss([heads_named((1, 0)), heads_named((1, 1)), heads_named((1, 0), (1, 1))], "zero")
    assert np.nanmax(np.abs(one - other)) > 1e-3
    assert np.nanmax(np.abs(one - both)) > 1e-3


def test_the_value_bias_is_removed_with_the_head():
    """A large `b_V` must not survive, as it would folded into `b_O`: zero equals a model whose head has no `W_O`."""
    pair = make_pair("native_attention_only")
    attention = pair.bare.layers[1].attn
    torch.nn.init.constant_(attention.v.bias, 5.0)
    pair.loaded.module.layers[1].attn.v.bias.copy_(attention.v.bias)
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=9, sequences=2))
    tokens = torch.from_numpy(probe.tokens.copy())
    measured = Ablator(pair.loaded, probe.tokens).token_loss([heads_named((1, 2))], "zero")[0]
    saved = attention.o.weight.clone()
    attention.o.weight[:, 16:24] = 0
    with torch.no_grad():
        expected = -pair.bare(tokens).double().log_softmax(-1)[:, :-1].gather(-1, tokens[:, 1:, None])[..., 0]
    attention.o.weight.copy_(saved)
    assert np.abs(measured[:, 1:] - expected.numpy()).max() < 2e-5


# Shared layers, and the ways that must agree.

MANY = [
    heads_named((0, 1)),
    heads_named((0, 1), (1, 2)),
    heads_named((0, 1), (1, 2), (2, 0)),
    heads_named((1, 2)),
    heads_named((2, 0)),
    heads_named((0, 1), (1, 2), (2, 3)),
    heads_named((0, 1)),
    (),
]
IN_BOTH = [(name, mode) for name in FUSED for mode in MODES]


@pytest.mark.parametrize("name,mode", IN_BOTH)
def test_both_engines_agree_in_every_mode(name, mode):
    pair = make_pair(name)
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=11, sequences=3))
    both = [Ablator(pair.loaded, probe.tokens, probe.tokens[::-1], engine=engine) for engine in ("fused", "hooks")]
    fused, hooked = (ablator.token_loss(MANY, mode) for ablator in both)
    assert np.nanmax(np.abs(fused - hooked)) < 2e-5
    assert np.nanmax(np.abs(fused[0] - fused[1])) > 1e-3


@pytest.mark.parametrize("name", ["llama_grouped", "gemma2"])
def test_sets_side_by_side_equal_sets_alone(name, monkeypatch):
    pair = make_pair(name)
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=11, sequences=3))
    ablator = Ablator(pair.loaded, probe.tokens)
    together = ablator.token_loss(MANY, "resample")
    alone = np.stack([ablator.token_loss([heads], "resample")[0] for heads in MANY])
    assert np.nanmax(np.abs(together - alone)) < 1e-5
    monkeypatch.setattr(core.ablation.ablator, "WAITING_STREAMS", 1)
    assert np.nanmax(np.abs(ablator.token_loss(MANY, "resample") - alone)) < 1e-5
    monkeypatch.setattr(core.transformer.passes.batching, "CPU_TOKENS_PER_PASS", 1)
    small = Ablator(pair.loaded, probe.tokens)
    assert np.nanmax(np.abs(small.token_loss(MANY, "resample") - alone)) < 1e-5


def test_layers_in_which_sets_agree_are_run_once(monkeypatch):
    pair = make_pair("gpt2")
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=11, sequences=2))
    ablator = Ablator(pair.loaded, probe.tokens)
    rows: list[tuple[int, int]] = []
    run = Blocks.run

    def counting(self, layer, hidden, edit=None):
        rows.append((layer, len(hidden) // 2))
        return run(self, layer, hidden, edit)

    monkeypatch.setattr(Blocks, "run", counting)
    ablator.token_loss(MANY, "zero")
    # Layer 0: without L0H1. Layer 1: that, with and without L1H2, and L1H2 alone. Layer 2: each distinct set.
    assert rows == [(0, 1), (1, 3), (2, 6)]
    rows.clear()
    ablator.token_loss([heads_named((2, head)) for head in range(4)], "zero")
    assert rows == [(2, 4)]


def test_only_the_wanted_targets_are_read(monkeypatch):
    pair = make_pair("gpt2")
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=11, sequences=2))
    ablator = Ablator(pair.loaded, probe.tokens)
    targets = probe.layout.second_copy_targets
    whole = ablator.token_loss(MANY, "zero")
    unembedded: list[int] = []
    original = core.transformer.passes.readout.logits_from

    def counting(model, final, **more):
        unembedded.append(len(final))
        return original(model, final, **more)

    monkeypatch.setattr(core.transformer.passes.readout, "logits_from", counting)
    some = ablator.token_loss(MANY, "zero", targets=targets)
    assert np.allclose(some, whole[..., targets], atol=1e-6)
    assert sum(unembedded) == 6 * 2 * len(targets)


def test_what_is_done_counts_every_run_of_a_layer_and_every_reading_of_an_end(monkeypatch):
    """Reading 49,000 words off 144 ends took minutes, all of them at 100 %."""
    pair = make_pair("gpt2")
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=11, sequences=2))
    ablator = Ablator(pair.loaded, probe.tokens)
    happened: list[float | str] = []
    original = core.ablation.ablator.token_losses

    def reading(*arguments):
        happened.append("read")
        return original(*arguments)

    assert ablator.clean.size, "made before, so that it is not counted"
    monkeypatch.setattr(core.ablation.ablator, "token_losses", reading)
    ablator.token_loss(MANY, "zero", happened.append, apart=True)
    # Ready; layers 0, 1 and 2 run once, three and six times; six ends read.
    layer, end = flops_of_layer(pair.loaded.card, 23), flops_of_readout(pair.loaded.card, 23)
    whole = 10 * layer + 6 * end
    shares = [share for share in happened if share != "read"]
    layers = [0, layer, 4 * layer, 10 * layer]
    assert shares == pytest.approx([part / whole for part in (*layers, *(10 * layer + n * end for n in range(1, 7)))])
    assert happened[4:] == [part for share in shares[4:] for part in ("read", share)], "told once it is read"


def test_a_model_whose_blocks_cannot_be_run_alone_gets_whole_passes(monkeypatch):
    pair = make_pair("gpt_neox")
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=11, sequences=2))
    expected = Ablator(pair.loaded, probe.tokens).token_loss(MANY, "resample")
    monkeypatch.setattr(core.ablation.ablator, "can_resume", lambda model: False)
    monkeypatch.setattr(core.transformer.passes.fused, "agreement", lambda model, n_tokens: Agreement(False, 0.0))
    ablator = Ablator(pair.loaded, probe.tokens)
    monkeypatch.setattr(Blocks, "run", None)
    assert np.nanmax(np.abs(ablator.token_loss(MANY, "resample") - expected)) < 2e-5
    with pytest.raises(BadInput, match="measure the exact map instead"):
        ablator.effects_by_gradient("zero", np.array([3]))


def test_what_does_not_fit_is_refused_before_anything_is_allocated(monkeypatch):
    pair = make_pair("gpt2")
    monkeypatch.setattr(core.transformer.passes.batching, "free_bytes", lambda device: 1000)
    monkeypatch.setattr(core.transformer.passes.hooks, "run_body", None)
    with pytest.raises(ModelUnavailable, match="23 tokens needs about 0 MB of memory in gpt2, but only 0 MB is free"):
        Ablator(pair.loaded, np.ones((2, 23), np.int64))


# The circuit by construction: four exact answers.


@pytest.fixture(scope="module")
def circuit():
    model = build()
    probe = repeated_probe(model.vocabulary, ProbeOptions(length=50, sequences=4))
    reference = repeated_probe(model.vocabulary, ProbeOptions(length=50, sequences=8, seed=1)).tokens
    spec = standard_spec()
    places = {
        kind: Head(spec.of_kind(kind)[0].layer, spec.of_kind(kind)[0].head) for kind in ("previous_token", "induction", "sink")
    }
    return model, probe, Ablator(model, probe.tokens, reference), places


def second_copy(token_loss: np.ndarray) -> float:
    return losses_of(token_loss, Layout(50, 1)).second_copy


@pytest.mark.parametrize("mode", ["zero", "mean", "resample"])
def test_without_the_previous_token_head_the_circuit_is_at_chance(circuit, mode):
    _, _, ablator, places = circuit
    [ablated] = ablator.token_loss([(places["previous_token"],)], mode)
    assert second_copy(ablator.clean) < 0.01
    assert second_copy(ablated) > np.log(50)


def test_without_the_previous_token_head_nothing_matches(circuit):
    model, probe, _, places = circuit
    layer, head = places["previous_token"]

    def zero(z: torch.Tensor) -> torch.Tensor:
        z = z.clone()
        z[:, :, head] = 0
        return z

    with attached(model, [(z_hook(layer), zero)]):
        scores = measure_heads(model, probe)
    assert scores.mean("induction")[places["induction"]] < 0.02


def test_without_the_induction_head_the_previous_token_head_still_looks_back(circuit):
    model, probe, ablator, places = circuit
    layer, head = places["induction"]
    clean = measure_heads(model, probe)

    def zero(z: torch.Tensor) -> torch.Tensor:
        return z.index_fill(2, torch.tensor([head]), 0)

    with attached(model, [(z_hook(layer), zero)]):
        ablated = measure_heads(model, probe)
    # Under hooks the reference pass measures, without them the fast one: equal up to rounding.
    assert np.abs(ablated.mean("induction") - clean.mean("induction")).max() < 1e-6
    [loss] = ablator.token_loss([(places["induction"],)], "zero")
    assert second_copy(loss) == pytest.approx(np.log(128), abs=1e-4)


def test_pattern_preserving_is_blind_to_the_previous_token_head(circuit):
    _, _, ablator, places = circuit
    previous, induction = ablator.token_loss([(places["previous_token"],), (places["induction"],)], "pattern")
    assert np.nanmax(np.abs(previous - ablator.clean)) < 1e-5
    assert second_copy(induction) == pytest.approx(np.log(128), abs=1e-4)


def test_sufficiency(circuit):
    _, _, ablator, places = circuit
    keep = head_set([places["previous_token"], places["induction"]], 2, 4)
    [ablated] = ablator.token_loss([all_but(keep, 2, 4)], "zero")
    assert np.nanmax(np.abs(ablated - ablator.clean)) < 1e-5


def test_impostors_have_no_effect(circuit):
    _, _, ablator, places = circuit
    [ablated] = ablator.token_loss([(places["sink"],)], "resample")
    assert np.nanmax(np.abs(ablated - ablator.clean)) < 1e-5


# Hooks, threads, sets.


def hooks_left(model) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.module.modules())


def test_no_hook_stays_whatever_is_raised():
    pair = make_pair("llama_grouped")
    before = hooks_left(pair.loaded)

    def explode(z: torch.Tensor) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), attached(pair.loaded, [(z_hook(0), explode)]):
        run_module(pair.loaded.module, torch.tensor([[1, 2, 3]]))
    with pytest.raises(ValueError, match="unpack"), attached(pair.loaded, [(z_hook(0), explode), ("no such hook", explode)]):
        pass
    assert hooks_left(pair.loaded) == before


@pytest.mark.parametrize("engine", ["fused", "hooks"])
def test_two_people_ablate_one_model_at_once(engine):
    pair = make_pair("gpt2")
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=12, sequences=2))
    ablator = Ablator(pair.loaded, probe.tokens, engine=engine)
    sets = [heads_named((layer, head)) for layer in range(3) for head in range(4)]
    expected = {heads: ablator.token_loss([heads], "zero")[0] for heads in sets}
    wrong: list[object] = []

    def person(offset: int) -> None:
        try:
            mine = Ablator(pair.loaded, probe.tokens, engine=engine)
            for heads in sets[offset:] + sets[:offset]:
                if not np.allclose(mine.token_loss([heads], "zero")[0], expected[heads], atol=1e-5, equal_nan=True):
                    wrong.append(heads)
        except Exception as error:
            wrong.append(error)

    people = [threading.Thread(target=person, args=(i,)) for i in (0, 3, 7)]
    for thread in people:
        thread.start()
    for thread in people:
        thread.join(60)
    assert not wrong and not any(thread.is_alive() for thread in people)


@pytest.mark.parametrize("count", [2, 3, 4, 17])
def test_a_derangement_leaves_nothing_in_place(count):
    for seed in range(20):
        order = derangement(count, seed)
        assert sorted(order) == list(range(count)) and (order != np.arange(count)).all()


def test_resample_needs_two_sequences():
    pair = make_pair("gpt2")
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=5, sequences=1))
    with pytest.raises(BadInput, match="at least 2 sequences"):
        Ablator(pair.loaded, probe.tokens).token_loss([heads_named((0, 0))], "resample")


def test_unknown_heads_and_modes():
    with pytest.raises(BadInput, match="L3H0"):
        head_set([(3, 0)], 3, 4)
    pair = make_pair("gpt2")
    ablator = Ablator(pair.loaded, np.array([[1, 2, 3, 1, 2, 3]]))
    with pytest.raises(BadInput, match="one of zero, mean, resample, pattern"):
        ablator.token_loss([heads_named((0, 0))], "erase")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="reference"):
        ablator.token_loss([heads_named((0, 0))], "mean")
    assert set(MODES) == {"zero", "mean", "resample", "pattern"}
