"""Rotation contrast, specificity and value-weighted matching against brute force, and against heads that only look right."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.attention.head_scores import HeadScores, OtherHalves
from core.attention.reduce import FusedReducer, PatternReducer
from core.attention.rotated import SuccessorReader, successor_name
from core.attention.score_pass import measure_first, measure_heads, measure_other_halves
from core.attention.scores import SPECIFICITY_OFFSETS, SUCCESSOR_SHIFTS
from core.attention.words import withheld_sentence
from core.errors import BadInput
from core.models.built_in.circuit_spec import standard_spec
from core.models.load import load_model
from core.probes.layout import Layout
from core.probes.probe import Probe, ProbeOptions
from core.probes.repeated import repeated_probe
from core.transformer.passes.fused_attention import FusedAttention
from tests.helpers.architectures import Pair, make_pair
from tests.helpers.rivals import HEAD, LAYER, duplicate_gated, smearing

ENGINES = ("fused", "hooks")


def brute_force_successor(
    rotated: np.ndarray, control: np.ndarray, probe: Probe, shift: int = 0, *, wrap: bool = False, place: int = 1
) -> np.ndarray:
    """Science section 1 from token identities: for each second-half query its token is looked up in the first copy.

    Patterns are `[n_layers, sequences, n_heads, query, key]`; gives `[n_layers, n_heads, sequences]`. `place`: how far after
    the earlier copy, 1 for the successor. `wrap`: counts the last token of `r`, too, as followed by its first.
    """
    b, length = probe.bos_tokens, probe.length
    layers, sequences, heads = rotated.shape[:3]
    found = np.zeros((layers, heads, sequences))
    for row in range(sequences):
        tokens, cells = probe.rotated[row].tolist(), []
        for q in range(b + length, b + 2 * length):
            earlier = tokens.index(tokens[q], b)
            if earlier == b + length - 1 and not wrap:
                continue
            key = (b if earlier == b + length - 1 else earlier + place) + shift
            cells.append((q, key))
        for layer in range(layers):
            for head in range(heads):
                values = [
                    rotated[layer, row, head, q, key] - control[layer, row, head, q, key] if 0 <= key <= q else 0.0
                    for q, key in cells
                ]
                found[layer, head, row] = np.mean(values)
    return found


def eager(pair: Pair, tokens: np.ndarray) -> np.ndarray:
    _, patterns = pair.eager(torch.from_numpy(tokens.copy()))
    return np.stack([pattern.double().numpy() for pattern in patterns])


@pytest.mark.parametrize("name", ["llama_grouped", "gpt2", "native_solu", "bloom_alibi"])
@pytest.mark.parametrize("length,bos", [(13, "always"), (4, "never"), (5, "always")])
def test_the_rotation_contrast_at_every_offset_equals_the_librarys_eager_attention(name, length, bos):
    pair = make_pair(name)
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length, 3, 2, bos))
    rotated, control = eager(pair, probe.rotated), eager(pair, probe.control)
    at = {shift: brute_force_successor(rotated, control, probe, shift) for shift in SUCCESSOR_SHIFTS}
    for engine in ENGINES if name != "bloom_alibi" else ("hooks",):
        scores = measure_heads(pair.loaded, probe, engine=engine)
        assert np.abs(scores.sequences("rotation_contrast") - at[0]).max() < 1e-5
        for place, offset in enumerate(SPECIFICITY_OFFSETS):
            assert np.abs(scores.specificity_by_offset[place] - (at[0] - at[offset])).max() < 1e-5, offset
        least = np.min([(at[0] - at[offset]).mean(-1) for offset in SPECIFICITY_OFFSETS], axis=0)
        assert np.abs(scores.mean("specificity") - least).max() < 1e-5
        # The interval of a head's specificity is over the sequences of one offset, whose mean it is.
        assert scores.sequences("specificity").shape == (3, 4, 3)


def values_of(pair: Pair, tokens: np.ndarray) -> np.ndarray:
    """The length of each query head's value at each key, `[n_layers, batch, n_heads, key]`, from the module's own outputs."""
    found: list[torch.Tensor] = []
    n_heads, shared = pair.loaded.card.n_heads, pair.loaded.card.n_key_value_heads

    def keep(module, inputs, output):
        value = output[..., -output.shape[-1] // 3 :] if pair.name == "gpt2" else output
        value = value.view(*value.shape[:2], shared, -1).transpose(1, 2)
        found.append(value.repeat_interleave(n_heads // shared, dim=1).norm(dim=-1))

    ends = {"gpt2": "attn.c_attn", "llama_grouped": "self_attn.v_proj"}.get(pair.name, "attn.v")
    handles = [module.register_forward_hook(keep) for name, module in pair.bare.named_modules() if name.endswith(ends)]
    pair.eager(torch.from_numpy(tokens.copy()))
    for handle in handles:
        handle.remove()
    return torch.stack(found).double().numpy()


@pytest.mark.parametrize("name", ["llama_grouped", "gpt2", "native_solu", "native_grouped"])
@pytest.mark.parametrize("bos", ["always", "never"])
def test_value_weighted_matching_equals_brute_force(name, bos):
    pair = make_pair(name)
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(9, 2, 0, bos))
    patterns, norms = eager(pair, probe.tokens), values_of(pair, probe.tokens)
    assert norms.shape == (3, 2, 4, probe.n_tokens) and norms.std() > 0.05
    expected = np.zeros((3, 4, 2))
    for layer in range(3):
        for head in range(4):
            for row in range(2):
                shares = []
                for q in range(9 + probe.bos_tokens, probe.n_tokens):
                    brought = [patterns[layer, row, head, q, k] * norms[layer, row, head, k] for k in range(q + 1)]
                    shares.append(brought[q - 8] / sum(brought))
                expected[layer, head, row] = np.mean(shares)
    assert np.abs(measure_heads(pair.loaded, probe, engine="fused").sequences("value_weighted") - expected).max() < 1e-5
    # By patterns, with the values' lengths, the same; without them nothing is claimed.
    reduce = PatternReducer(probe.layout, control=False)
    for layer in range(3):
        pattern = torch.from_numpy(patterns[layer])
        given = reduce(pattern, torch.from_numpy(norms[layer]))["value_weighted"].numpy()
        assert np.abs(given.T - expected[layer]).max() < 1e-6
        assert reduce(pattern)["value_weighted"].isnan().all()
    withheld = measure_heads(pair.loaded, probe, engine="hooks")
    assert "value_weighted" not in withheld.names and np.isnan(withheld.mean("value_weighted")).all()
    assert "withheld" in withheld_sentence(withheld, "value_weighted")


def test_the_value_of_every_key_counts():
    """The plain matching score, or the weight of the wrong key, would not pass the test above."""
    pair = make_pair("llama_grouped")
    scores = measure_heads(pair.loaded, repeated_probe(pair.loaded.vocabulary, ProbeOptions(9, 2)))
    assert np.abs(scores.mean("value_weighted") - scores.mean("induction")).max() > 0.01


def test_whole_rows_of_fused_attention_are_those_of_the_pattern():
    """Longer than a block of queries, and with a sink that takes some attention: entropy is of the row divided by its sum."""
    layout, random = Layout(80, 1), torch.Generator().manual_seed(1)
    query, key, value = (torch.randn(2, 3, layout.n_tokens, 8, generator=random) for _ in range(3))
    scores = 0.9 * query @ key.transpose(-1, -2)
    scores.masked_fill_(torch.ones_like(scores[0, 0], dtype=torch.bool).triu(1), -torch.inf)
    for sink in (0.0, 5.0):
        log_sum_exp = torch.logaddexp(scores.logsumexp(-1), torch.tensor(sink).log())
        pattern = (scores - log_sum_exp[..., None]).exp()
        fused = FusedReducer(layout, control=False)(FusedAttention(query, key, value, value, log_sum_exp, 0.9))
        whole = PatternReducer(layout, control=False)(pattern, value.norm(dim=-1))
        for name in ("entropy", "value_weighted"):
            torch.testing.assert_close(fused[name], whole[name], atol=2e-6, rtol=0)
        rows = pattern[:, :, 1:].double() / pattern[:, :, 1:].double().sum(-1, keepdim=True)
        entropy = torch.special.entr(rows).sum(-1) / torch.arange(2, layout.n_tokens + 1).log()
        torch.testing.assert_close(whole["entropy"].double(), entropy.mean(-1), atol=1e-6, rtol=0)


def closed_form(probe: Probe, beta: float) -> np.ndarray:
    """The rotation contrast of the circuit's induction head, by sequence: one key at beta, a BOS at beta/2, others at 0."""
    found = []
    for k in probe.rotation.tolist():
        queries = np.array([51 + i for i in range(50) if (i + k) % 50 != 49], dtype=float)
        matching = np.exp(beta) / (np.exp(beta) + np.exp(beta / 2) + queries - 1)
        found.append(np.mean(matching - 1 / (np.exp(beta / 2) + queries)))
    return np.array(found)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_circuit_by_construction_is_exact(engine):
    model = load_model("by-construction")
    probe = repeated_probe(model.vocabulary, ProbeOptions(50, 4, 3))
    scores = measure_heads(model, probe, engine=engine)
    [head], [impostor] = standard_spec().of_kind("induction"), standard_spec().of_kind("positional")
    exact = closed_form(probe, head.strength)
    assert np.abs(scores.sequences("rotation_contrast")[head.layer, head.head] - exact).max() < 1e-5
    assert scores.mean("specificity")[head.layer, head.head] > 0.97
    assert abs(scores.mean("rotation_contrast")[impostor.layer, impostor.head]) < 1e-6
    assert (scores.mean("rotation_contrast") > 0.05).sum() == 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_duplicate_gated_fixed_offset_passes_the_contrast_and_not_the_rotation(engine):
    model = duplicate_gated(20)
    scores = measure_heads(model, repeated_probe(model.vocabulary, ProbeOptions(20, 8)), engine=engine)
    assert scores.mean("contrast")[LAYER, HEAD] > 0.98
    assert abs(scores.mean("rotation_contrast")[LAYER, HEAD]) < 0.01


@pytest.mark.parametrize("engine", ENGINES)
def test_a_smearing_head_is_not_specific(engine):
    """Half on the successor: it passes both contrasts, and its neighbour gets as much."""
    model = smearing()
    scores = measure_heads(model, repeated_probe(model.vocabulary, ProbeOptions(20, 8)), engine=engine)
    assert scores.mean("contrast")[LAYER, HEAD] > 0.4 and scores.mean("rotation_contrast")[LAYER, HEAD] > 0.4
    assert abs(scores.mean("specificity")[LAYER, HEAD]) < 0.03
    assert scores.specificity_by_offset.mean(-1)[SPECIFICITY_OFFSETS.index(1), LAYER, HEAD] > 0.4


# Mutations: a head that always looks at the successor of the earlier copy, and the usual ways to miss it.


def perfect(probe: Probe) -> np.ndarray:
    """Patterns `[1, sequences, 1, query, key]` on rotated sequences: one-hot on what came after the token's last copy."""
    n = probe.n_tokens
    patterns = np.zeros((1, probe.n_sequences, 1, n, n))
    for row in range(probe.n_sequences):
        tokens = probe.rotated[row].tolist()
        for q in range(n):
            earlier = [p for p in range(q) if tokens[p] == tokens[q]]
            patterns[0, row, 0, q, earlier[-1] + 1 if earlier else 0] = 1.0
    return patterns


@pytest.mark.parametrize("bos", ["always", "never"])
def test_a_perfect_head_scores_one_and_the_usual_mistakes_do_not(bos):
    vocabulary = load_model("by-construction").vocabulary
    probe = repeated_probe(vocabulary, ProbeOptions(20, 3, 0, bos))
    patterns = perfect(probe)
    nothing = np.zeros_like(patterns)
    read = SuccessorReader(probe.layout, probe.rotation).of_pattern(torch.from_numpy(patterns[0]))
    assert np.allclose(read[successor_name(0)], 1.0)
    assert all(np.allclose(read[successor_name(offset)], 0.0) for offset in SPECIFICITY_OFFSETS)
    assert np.allclose(brute_force_successor(patterns, nothing, probe), 1.0)
    # The offset L, which is the earlier copy itself; the wrap counted; the cells of `r + r`; the whole diagonal of them.
    assert np.allclose(brute_force_successor(patterns, nothing, probe, place=0), 0.0)
    assert np.allclose(brute_force_successor(patterns, nothing, probe, wrap=True), 19 / 20)
    assert patterns.diagonal(offset=-19, axis1=-2, axis2=-1).mean() < 0.06
    other = SuccessorReader(probe.layout, (probe.rotation % 10) + 5).of_pattern(torch.from_numpy(patterns[0]))
    assert float(other[successor_name(0)].max()) == 0.0


def test_keys_that_a_query_cannot_see_get_nothing():
    """Read off fused attention a later key would be any number: the softmax never saw it."""
    layout, rotation = Layout(4, 0), np.array([2])
    query, key = torch.ones(1, 1, 8, 1), torch.zeros(1, 1, 8, 1)
    key[0, 0, 6] = 200.0
    attention = FusedAttention(query, key, key, query, torch.zeros(1, 1, 8), 1.0)
    reader = SuccessorReader(layout, rotation)
    for read in (reader.of_fused(attention), reader.of_pattern(torch.ones(1, 1, 8, 8).tril())):
        # Second half 4..7 is r[2] r[3] r[0] r[1]: successors r[3], -, r[1], r[2] at 3, 1, 2; three on from 3 is unseen by 4.
        assert read[successor_name(3)].item() == pytest.approx(2 / 3)
        # Three back from 1 and from 2 is before the first token.
        assert read[successor_name(-3)].item() == pytest.approx(1 / 3)


def test_losses_of_the_four_halves_are_the_librarys_own():
    """By sequence, over the second copy's targets; the wrap target counts on no rotated sequence."""
    pair = make_pair("llama_grouped")
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(12, 4, 1, "always"))
    scores = measure_heads(pair.loaded, probe)

    def losses(tokens: np.ndarray, *, wrap: bool = True) -> list[float]:
        logits, _ = pair.eager(torch.from_numpy(tokens.copy()))
        log_p, found = logits.double().log_softmax(-1), []
        for row in range(4):
            first = tokens[row, 1]
            targets = [t for t in range(14, 25) if wrap or tokens[row, t] != first]
            found.append(np.mean([-float(log_p[row, t - 1, tokens[row, t]]) for t in targets]))
        return found

    assert np.allclose(scores.fresh_loss, losses(probe.control), atol=2e-5)
    assert np.allclose(scores.other.shuf_loss, losses(probe.shuffled), atol=2e-5)
    assert np.allclose(scores.other.rot_loss, losses(probe.rotated, wrap=False), atol=2e-5)
    assert np.abs(np.array(losses(probe.rotated)) - losses(probe.rotated, wrap=False)).max() > 0.01
    logits, _ = pair.eager(torch.from_numpy(probe.tokens.copy()))
    hits = logits.argmax(-1)[:, 13:24].numpy() == probe.tokens[:, 14:25]
    assert np.allclose(scores.top1, hits.mean(-1))
    behaviour = scores.behaviour
    assert behaviour.rep == pytest.approx(np.mean(losses(probe.tokens)), abs=2e-5)


def test_the_first_step_has_no_state_and_the_second_completes_it():
    model = load_model("two-layer")
    probe = repeated_probe(model.vocabulary, ProbeOptions(20, 4))
    first = measure_first(model, probe)
    assert "rotation_contrast" not in first.names and np.isnan(first.mean("rotation_contrast")).all()
    assert first.behaviour.state is None and not np.isnan(first.behaviour.fresh)
    whole = first.completed(measure_other_halves(model, probe))
    assert {"rotation_contrast", "specificity"} <= set(whole.names) and whole.behaviour.state == "present"
    again = measure_heads(model, probe)
    # The first half is gone through once, or once in each step: the same numbers up to rounding.
    assert np.abs(again.sequences("rotation_contrast") - whole.sequences("rotation_contrast")).max() < 1e-6
    for ask in (whole.sequences, whole.mean, whole.interval, whole.chance):
        for name in ("nothing", None, ["induction"]):
            with pytest.raises(BadInput, match=r"^There is no score .*: there are induction, previous_token, .*\.$"):
                ask(name)


def test_a_probe_without_other_orders_withholds_what_needs_them():
    model = load_model("two-layer")
    scores = measure_heads(model, repeated_probe(model.vocabulary, ProbeOptions(3, 4)))
    assert scores.other is None and scores.behaviour.state is None
    assert "takes 4" in withheld_sentence(scores, "specificity")
    assert scores.names == ("induction", "previous_token", "duplicate_token", "current_token", "sink", "entropy",
                            "value_weighted", "contrast")  # fmt: skip


def test_a_layer_without_attention_stays_empty():
    """NaN goes through every score, and no other head's number changes."""
    model = load_model("two-layer")
    scores = measure_heads(model, repeated_probe(model.vocabulary, ProbeOptions(20, 4)))

    def emptied(array: np.ndarray, axis: int) -> np.ndarray:
        array = array.copy()
        array[(slice(None),) * axis + (0,)] = np.nan
        return array

    assert scores.other is not None
    hybrid = HeadScores(
        {name: emptied(values, 0) for name, values in scores.per_sequence.items()},
        emptied(scores.placebo, 1),
        scores.token_loss,
        scores.layout,
        top1=scores.top1,
        fresh_loss=scores.fresh_loss,
        rotated_control=emptied(scores.rotated_control, 1),
        other=OtherHalves(scores.other.shuf_loss, scores.other.rot_loss, emptied(scores.other.rotated, 1)),
    )
    assert hybrid.names == scores.names and hybrid.behaviour == scores.behaviour
    for name in scores.names:
        assert np.isnan(hybrid.mean(name)[0]).all()
        assert np.array_equal(hybrid.mean(name)[1], scores.mean(name)[1], equal_nan=True), name
