"""Causal map, sweep and kept ablations: exact answers, independence, resuming, and what is computed how often."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

import core.ablation.ablator
from core.ablation import subjects
from core.ablation.cached import ablate, ablate_all, random_baselines
from core.ablation.cached_map import causal_map, estimated_map, known_causal_map, single_effects
from core.ablation.cached_sweep import known_sweep, sweep
from core.ablation.outcomes import Ablation, PatchedIn, gain_lost
from core.ablation.sweep import checked_thresholds, knee, sets_by_threshold, threshold_grid
from core.ablation.tables import sweep_rows
from core.ablation.words import patched_in_sentence, sufficiency
from core.attention.cached import score_heads
from core.behaviour import Losses
from core.cli import main
from core.errors import BadInput, JobCancelled
from core.heads import Head
from core.models.built_in.circuit_spec import standard_spec
from core.probes.layout import Layout
from core.probes.losses import losses_of
from core.probes.probe import ProbeOptions
from core.runtime.cache import if_cached
from core.runtime.jobs import JobPool
from core.settings.request import Request
from core.settings.subject import bind
from core.sharing.csv import csv_text

CIRCUIT = Request("by-construction", length=30, sequences=3)
MIXTURE = Request("mixture", length=25, sequences=3)


@pytest.fixture(autouse=True)
def no_ablators(empty_store):
    """Nothing is there that was made before the test."""
    subjects._ablators.clear()


def places() -> dict[str, Head]:
    return {head.kind: Head(head.layer, head.head) for head in standard_spec().planted}


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """How many head sets were really ablated."""
    counted: list[int] = []
    original = core.ablation.ablator.Ablator.token_loss

    def counting(self, sets, *arguments, **keywords):
        counted.append(len(sets))
        return original(self, sets, *arguments, **keywords)

    monkeypatch.setattr(core.ablation.ablator.Ablator, "token_loss", counting)
    return counted


@pytest.mark.parametrize("mode", ["zero", "mean", "resample"])
def test_the_causal_map_of_the_circuit_shows_its_two_heads(mode):
    effect = causal_map(CIRCUIT, mode).effect
    mattering = {tuple(place) for place in np.argwhere(np.abs(effect) > 0.5)}
    assert mattering == {places()["previous_token"], places()["induction"]}
    others = np.abs(
        effect[tuple(zip(*(p for k, p in places().items() if k in ("sink", "positional", "duplicate_token")), strict=True))]
    )
    assert others.max() < 1e-5


def test_a_result_says_which_engine_it_came_from_also_from_the_store(monkeypatch):
    original = core.ablation.ablator.Ablator.__init__

    def slow(self, *arguments, **keywords):
        original(self, *arguments, **{**keywords, "engine": "hooks"})

    heads = [(1, 0)]
    first = ablate(MIXTURE, heads, "mean", text=None)
    bottom = causal_map(MIXTURE, "mean", [0])
    assert first.engine == bottom.engine == "fused"
    monkeypatch.setattr(core.ablation.ablator.Ablator, "__init__", slow)
    subjects._ablators.clear()
    assert ablate(MIXTURE, heads, "mean", text=None).engine == first.engine, "kept, not asked of this session's ablator"
    assert ablate(MIXTURE, [(1, 1)], "mean", text=None).engine == "hooks"
    assert causal_map(MIXTURE, "mean", [0, 1]).engine == known_causal_map(bind(MIXTURE), "mean").engine == "fused and hooks"


def test_a_map_of_some_layers_leaves_the_others_unmeasured_and_is_at_hand_for_the_whole():
    part = causal_map(MIXTURE, "resample", [2, 0])
    assert np.isnan(part.effect[1]).all() and not np.isnan(part.effect[[0, 2]]).any() and not part.complete
    kept = known_causal_map(bind(MIXTURE), "resample")
    assert np.array_equal(kept.effect, part.effect, equal_nan=True)
    assert np.array_equal(causal_map(MIXTURE, "resample").effect[[0, 2]], part.effect[[0, 2]])
    with pytest.raises(BadInput, match="layers 0 to 2"):
        causal_map(MIXTURE, "resample", [3])


def test_the_causal_map_equals_ablating_one_by_one():
    found = causal_map(MIXTURE, "mean")
    clean = score_heads(MIXTURE).losses()
    for layer, head in ((0, 6), (1, 3), (2, 7)):
        alone = ablate(MIXTURE, [(layer, head)], "mean")
        assert found.effect[layer, head] == pytest.approx(alone.ablated_losses.second_copy - clean.second_copy, abs=1e-5)
    assert found.complete


def test_an_interrupted_map_goes_on_where_it_stopped(passes):
    pool = JobPool(workers=1)
    seen = []

    def work(control):
        original = control.partial

        def partial(value):
            seen.append(value)
            original(value)
            if len(seen) == 2:
                raise JobCancelled("stopped")

        control.partial = partial
        return causal_map(MIXTURE, "zero")

    with pytest.raises(JobCancelled):
        pool.submit("map", work).result(60)
    assert not seen[0].complete and np.isnan(seen[0].effect).sum() > np.isnan(seen[1].effect).sum()
    kept = known_causal_map(bind(MIXTURE), "zero")
    assert kept is not None and np.array_equal(np.isnan(kept.effect), np.isnan(seen[1].effect))
    already = sum(passes)
    whole = causal_map(MIXTURE, "zero")
    assert whole.complete and sum(passes) - already == 8
    again = sum(passes)
    assert np.array_equal(causal_map(MIXTURE, "zero").effect, whole.effect) and sum(passes) == again


def test_the_estimate_ranks_heads_like_the_exact_map():
    from scipy.stats import spearmanr

    exact, estimate = (np.abs(found) for found in (causal_map(MIXTURE, "mean").effect, estimated_map(bind(MIXTURE), "mean")))
    # Half of the heads do nothing but by rounding, which has no rank.
    real = exact > 1e-6
    assert 10 <= real.sum() < real.size and spearmanr(exact[real], estimate[real]).statistic > 0.7
    assert estimate[~real].max() < 1e-6


def test_the_estimate_is_the_gradient():
    """First order: for a head whose `z` changes little, estimate and exact effect agree. Resampling among equal sequences
    changes nothing at all, so both are zero."""
    from core.ablation.ablator import Ablator
    from core.ablation.causal import estimated_effects
    from core.probes.repeated import repeated_probe
    from tests.helpers.architectures import make_pair

    pair = make_pair("gpt2")
    probe = repeated_probe(pair.loaded.vocabulary, ProbeOptions(length=10, sequences=2))
    layout = probe.layout
    same = Ablator(pair.loaded, np.repeat(probe.tokens[:1], 2, axis=0))
    assert np.abs(estimated_effects(same, "resample", layout)).max() < 1e-6
    # The directional derivative, by finite differences through the ablator's own pass.
    ablator = Ablator(pair.loaded, probe.tokens)
    estimates = estimated_effects(ablator, "zero", layout)
    for layer, head in ((0, 1), (1, 2), (2, 0)):
        small = 1e-2
        change = _scaled_losses(pair.loaded, probe.tokens, layer, head, 1 - small, layout) - _scaled_losses(
            pair.loaded, probe.tokens, layer, head, 1 + small, layout
        )
        assert estimates[layer, head] == pytest.approx(change / (2 * small), abs=5e-3), "sequence by sequence"


def _scaled_losses(model, tokens, layer, head, factor, layout):
    import torch

    from core.transformer.passes.hooks import run_body, z_hook
    from core.transformer.passes.readout import token_losses

    def scale(z):
        z = z.clone()
        z[:, :, head] *= factor
        return z

    ids = torch.from_numpy(np.array(tokens))
    with torch.no_grad():
        final = run_body(model, ids, [(z_hook(layer), scale)]).final
        return token_losses(model, final, ids).numpy()[:, layout.second_copy_targets].mean(-1)


def test_the_sweep_of_the_circuit(passes):
    thresholds = threshold_grid(0.05, 0.95, 0.05)
    swept = sweep(CIRCUIT, thresholds, "zero", score="contrast", count=5)
    assert {row.heads for row in swept.rows} == {(places()["induction"],)}
    assert all(row.second_copy == pytest.approx(np.log(128), abs=1e-4) for row in swept.rows)
    assert all(row.baseline_high < 0.02 for row in swept.rows)
    assert swept.knee is None
    # Of the seven other heads one is the previous-token head; the six are all there are, so p cannot be below 1 / 7.
    assert all((row.others, row.p, row.smallest_p) == (6, 1 / 7, 1 / 7) for row in swept.rows)
    # One set, its six baselines and the bound: equal sets are computed once.
    assert sum(passes) == 1 + 6 + 1
    before = sum(passes)
    sweep(CIRCUIT, thresholds[::2], "zero", score="contrast", count=5)
    assert sum(passes) == before


def test_an_ablation_has_the_same_bits_alone_and_in_company(monkeypatch, tmp_path):
    """Same key, same bits: whichever of a sweep and a click comes first."""
    sets = [((0, 6), (1, 3)), ((1, 3),), ((1, 3), (2, 7)), ((2, 1),)]
    together = ablate_all(bind(MIXTURE), sets, "mean")
    monkeypatch.setenv("HEADSCOPE_STORE", str(tmp_path / "fresh"))
    for heads, found in zip(sets, together, strict=True):
        alone = ablate(MIXTURE, heads, "mean", text=None)
        assert alone.heads == found.heads == heads
        assert np.array_equal(alone.ablated, found.ablated, equal_nan=True)


def test_single_effects_are_not_computed_where_only_what_is_at_hand_is_wanted(passes):
    heads = (Head(0, 1), Head(2, 2))
    assert if_cached(lambda: single_effects(bind(MIXTURE), heads, "resample")) is None
    assert not passes
    effects = single_effects(bind(MIXTURE), heads, "resample")
    assert if_cached(lambda: single_effects(bind(MIXTURE), heads, "resample")) == pytest.approx(effects)
    assert sum(passes) == 2


def test_resampling_asks_for_rows_that_differ():
    row, other = (0, 5, 6, 7, 5, 6, 7), (0, 9, 8, 7, 9, 8, 7)
    with pytest.raises(BadInput, match="at least 2 different rows"):
        ablate(replace(MIXTURE, length=3, tokens=(row, row)), [(1, 3)], "resample", text=None)
    ablate(replace(MIXTURE, length=3, tokens=(row, other)), [(1, 3)], "resample", text=None)


def test_sweep_rows_follow_the_definition():
    thresholds = (0.1, 0.4, 0.999)
    swept = sweep(MIXTURE, thresholds, "mean", count=4)
    scores = score_heads(MIXTURE)
    assert [row.heads for row in swept.rows] == list(sets_by_threshold(scores.mean("induction"), thresholds))
    clean = scores.losses()
    assert swept.rows[-1].n_heads == 0 and swept.rows[-1].second_copy == pytest.approx(clean.second_copy, abs=1e-5)
    for row in swept.rows[:-1]:
        assert row.gain_lost == pytest.approx((row.second_copy - clean.second_copy) / clean.gain)
        alone = ablate(MIXTURE, row.heads, "mean", text=None)
        rises = np.nanmean((alone.ablated.astype(np.float64) - alone.clean)[:, alone.layout.second_copy_targets], axis=1)
        half = scipy.stats.t.ppf(0.975, len(rises) - 1) * scipy.stats.sem(rises)
        assert row.change == pytest.approx((rises.mean(), rises.mean() - half, rises.mean() + half))
        assert swept.n_sequences == len(rises)
        found = random_baselines(bind(MIXTURE), row.heads, "mean", 4)
        assert row.others == len(found.sets)
        if row.others:
            others = found.second_copy
            assert (row.baseline_low, row.baseline_high) == (others.min(), others.max())
            assert row.p == (1 + (others >= row.second_copy).sum()) / (1 + row.others)
    assert swept.rows[-1].change == pytest.approx((0.0, 0.0, 0.0)), "nothing is taken away"
    assert swept.rows[0].step == pytest.approx(swept.rows[0].second_copy - swept.rows[1].second_copy)


@pytest.mark.parametrize(
    "given",
    [(0.999, 0.1, 0.4), (0.4, 0.1, 0.1, 0.999), np.array([0.4, 0.999, 0.1]), iter([0.4, 0.1, 0.999])],
    ids=["descending", "doubled", "array", "iterator"],
)
def test_the_order_of_thresholds_says_nothing(given):
    in_order = sweep(MIXTURE, (0.1, 0.4, 0.999), "mean", count=0)
    found = sweep(MIXTURE, given, "mean", count=0)
    assert [(row.threshold, row.heads, row.step) for row in found.rows] == [
        (row.threshold, row.heads, row.step) for row in in_order.rows
    ]
    assert found.knee == in_order.knee and all(type(row.threshold) is float for row in found.rows)


def test_what_is_known_of_a_sweep_has_its_order_too():
    swept = sweep(MIXTURE, (0.1, 0.4), "mean", count=0)
    known = known_sweep(bind(MIXTURE), [0.4, 0.1, 0.4], "mean", count=0)
    assert [(row.threshold, row.step) for row in known.rows] == [(row.threshold, row.step) for row in swept.rows]


@pytest.mark.parametrize(
    "thresholds, says",
    [
        *(([one], "Every threshold must be a number from 0 to 1, not") for one in ("a", "0.5", None, -0.1, 1.5, True, (0.5,))),
        *(([0.5, one], "Every threshold must be a number from 0 to 1, not") for one in (np.nan, np.inf, np.float64("nan"))),
        *((given, "Thresholds are given as a list, such as") for given in (None, 0.5, 1)),
        *((given, "A sweep needs at least one threshold") for given in ([], (), np.empty(0))),
        (np.linspace(0, 1, 201), "201 thresholds are more than 200"),
    ],
    ids=repr,
)
def test_thresholds_that_cannot_be_swept_are_one_sentence(thresholds, says):
    for ask in (sweep, known_sweep):
        with pytest.raises(BadInput, match=f"^{re.escape(says)}.*\\.$"):
            ask(bind(MIXTURE), thresholds, "mean")


@pytest.mark.parametrize("wrong", ["5", None, 0.5, True, -1, [5]], ids=repr)
def test_how_many_other_sets_and_their_seed_are_whole_numbers(wrong):
    for ask in (
        lambda **draw: sweep(MIXTURE, [0.5], "mean", **draw),
        lambda **draw: random_baselines(bind(MIXTURE), [(1, 0)], "mean", **draw),
    ):
        with pytest.raises(BadInput, match=r"^The number of baselines must be from 0 to 200, a whole number, not .*\.$"):
            ask(count=wrong)
        with pytest.raises(BadInput, match=r"^The seed of the baselines must be a whole number from 0 on, not .*\.$"):
            ask(count=1, seed=wrong)


def test_as_many_thresholds_as_the_bound_says():
    grid = np.linspace(0, 1, 200)
    assert checked_thresholds([*grid, *grid]) == tuple(grid.tolist())
    assert checked_thresholds([1, 0]) == (0.0, 1.0)


def test_baselines_are_other_sets_with_their_bound_and_kept(passes):
    heads = [(1, 3), (1, 7)]
    subject = bind(MIXTURE)
    found = random_baselines(subject, heads, "mean")
    scores = score_heads(subject)
    for one in found.sets:
        assert len(one) == 2 and not set(one) & set(heads)
        for head in one:
            assert scores.mean("previous_token")[head] <= 0.4 and scores.mean("contrast")[head] <= 0.2
    assert found.token_loss.shape == (len(found.sets), 51) and found.distinct == len(found.sets) >= 39
    one = ablate(MIXTURE, found.sets[0], "mean", text=None)
    assert found.second_copy[0] == pytest.approx(one.ablated_losses.second_copy, abs=1e-5)
    layers = sorted({layer for layer, _ in heads})
    every = ablate(MIXTURE, [(layer, head) for layer in layers for head in range(8)], "mean", text=None)
    assert found.bound == pytest.approx(every.ablated_losses.second_copy, abs=1e-5)
    own = ablate(MIXTURE, heads, "mean", text=None)
    costs = [ablate(MIXTURE, heads, "mean", text=None).ablated_losses.second_copy for heads in found.sets]
    assert found.p(own) == (1 + sum(cost >= own.ablated_losses.second_copy for cost in costs)) / (1 + len(costs))
    assert found.range == pytest.approx((min(costs), max(costs), np.mean(costs)), abs=1e-5)
    before = sum(passes)
    random_baselines(subject, heads, "mean")
    assert sum(passes) == before


def test_a_text_beside_the_ablation():
    result = ablate(MIXTURE, [(1, 3)], "mean", text="the river and the garden, the river and the road")
    assert result.text is not None
    clean, ablated = result.text
    assert clean.shape == ablated.shape and np.isnan(clean[0, 0]) and not np.allclose(clean[0, 1:], ablated[0, 1:])
    nothing = ablate(MIXTURE, [], "mean", text="the river and the garden")
    assert np.array_equal(nothing.text[0], nothing.text[1], equal_nan=True) and nothing.gain_lost == pytest.approx(0, abs=1e-6)


def test_bad_input():
    with pytest.raises(BadInput, match="L9H0"):
        ablate(MIXTURE, [(9, 0)], "mean")
    with pytest.raises(BadInput, match="baselines must be from 0 to 200"):
        random_baselines(bind(MIXTURE), [(1, 0)], "mean", count=10**6)
    with pytest.raises(BadInput, match="score that was measured"):
        sweep(MIXTURE, (0.5,), "mean", score="charm")
    for text in ("", "river"):
        with pytest.raises(BadInput, match="at least two tokens"):
            ablate(MIXTURE, [(1, 0)], "mean", text=text)
    for grid in ((0.5, 0.1, 0.1), (0, 1, 0), (0, 2, 0.1), (-1, 1, 0.1)):
        with pytest.raises(BadInput, match="within 0 to 1"):
            threshold_grid(*grid)
    with pytest.raises(BadInput, match="larger step"):
        threshold_grid(0, 1, 1e-4)


def test_grid_and_knee():
    assert threshold_grid(0.05, 0.95, 0.05) == tuple(round(0.05 * i, 2) for i in range(1, 20))
    assert threshold_grid(0.5, 0.5, 0.1) == (0.5,)
    thresholds = np.round(np.arange(0.1, 1.0, 0.1), 1)
    bent = np.array([9.8, 9.7, 9.6, 9.5, 9.4, 5.0, 2.0, 2.0, 2.0])
    assert knee(thresholds, bent) == 0.5
    assert knee(thresholds, np.full(9, 2.0)) is None
    assert knee(thresholds, np.linspace(9, 1, 9)) is None
    assert gain_lost(6.0, Losses(10.0, 2.0, 4.0)) == 0.5
    assert np.isnan(gain_lost(6.0, Losses(2.0, 2.0, 4.0)))


def test_nothing_is_a_share_of_a_gain_that_is_not_sure():
    """As the total effect is withheld then: a gain of .04 nats that varies by as much made -1148 % of a removal."""
    layout, random = Layout(20, 0), np.random.default_rng(0)

    def measured(gain, spread):
        losses = random.normal(7.0, 0.001, (8, layout.n_tokens))
        losses[:, layout.second_copy_targets] -= random.normal(gain, spread, (8, 1))
        return losses

    for gain, spread, sure in ((3.0, 0.1, True), (0.04, 0.2, False), (-0.5, 0.1, False)):
        clean = measured(gain, spread)
        kept = Ablation((Head(0, 0),), "zero", layout, clean, clean + 0.01)
        assert kept.clean_losses.has_gain == sure and np.isnan(kept.gain_lost) != sure
        assert ("keep" in sufficiency(kept, 2).partition("so there is nothing")[0]) == sure
        seconds = clean[:, layout.second_copy_targets].mean(-1)
        put_in = PatchedIn((Head(0, 0),), clean=seconds, corrupted=seconds + random.normal(gain, spread, 8), patched=seconds)
        assert ("%" in patched_in_sentence(put_in).replace("95 %", "")) == sure
    one = losses_of(measured(0.04, 0.2)[:1] - np.where(np.arange(layout.n_tokens) >= 20, 1.0, 0.0), layout)
    assert one.has_gain, "one sequence has no interval, and its share is shown as before"


def test_the_commands_print_their_contracts(capsys):
    common = ["--model", "by-construction", "--length", "30", "--sequences", "3", "--mode", "zero", "--json"]
    head = "L{}H{}".format(*places()["induction"])

    def run(*words):
        assert main([*words, *common]) == 0
        return json.loads(capsys.readouterr().out)

    ablated = run("ablate", "--heads", head, "--baselines", "3")
    assert ablated["heads"] == [head] and len(ablated["baseline"]["sets"]) == ablated["baseline"]["distinct"] == 6
    assert all(Head.parse(found) is not None for found in ablated["baseline"]["sets"]), "sets of one head each, by name"
    assert {"clean", "ablated"} == set(ablated["loss"]) == set(ablated["per_position"])
    assert ablated["loss"]["ablated"]["second_copy"] == pytest.approx(np.log(128), abs=1e-4)
    assert ablated["per_position"]["clean"][0] is None
    beside = ablated["baseline"]
    assert (beside["p"], beside["smallest_p"]) == (1 / 7, 1 / 7), "p cannot be below that of so few sets"
    assert beside["low"] <= min(beside["second_copy"]) and beside["high"] >= max(beside["second_copy"])
    assert beside["bound"] == pytest.approx(np.log(128), abs=1e-4)
    effect = ablated["total_effect"]
    assert effect["low"] <= effect["value"] <= effect["high"] and effect["value"] == pytest.approx(1, abs=0.02)
    causal = run("causal")
    assert np.all(causal["measured"]) and np.shape(causal["measured"]) == np.shape(causal["effect"]) == (2, 4)
    assert np.all(np.array(causal["low"]) <= causal["effect"]) and np.all(causal["effect"] <= np.array(causal["high"]))
    assert causal["engine"] in ("fused", "hooks") and causal["estimate"] is None
    screened = run("causal", "--screen")
    assert screened["effect"] == causal["effect"], "two layers are always measured whole"
    swept = run("sweep", "--thresholds", "0.4:0.6:0.1", "--baselines", "2")
    assert [row["threshold"] for row in swept["rows"]] == [0.4, 0.5, 0.6] and "knee" in swept
    assert {"n_heads", "heads", "second_copy", "gain_lost", "baseline_low", "baseline_high", "p"} <= set(swept["rows"][0])
    kept = run("ablate", "--threshold", "0.5", "--baselines", "0", "--keep")
    assert len(kept["heads"]) == 8 - 1 and kept["baseline"]["sets"] == [] and kept["baseline"]["p"] is None
    for words in (
        ["ablate"],
        ["ablate", "--heads", "L0H0", "--threshold", "0.5"],
        ["ablate", "--heads", "nine"],
        ["sweep", "--thresholds", "1"],
    ):
        assert main([*words, *common]) == 2
        assert capsys.readouterr().err.startswith("error: ")


def test_a_sweep_without_other_sets_says_why_in_every_form(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", "--model", "two-layer", "--length", "20", "--sequences", "4", "--thresholds", "0.5:0.9:0.4"]
    why = "There are too few other heads for even one set to compare with."
    assert main(words) == 0
    assert f"no p at 0.50, 0.90: {why}" in capsys.readouterr().out
    assert main([*words, "--json"]) == 0
    first, _ = json.loads(capsys.readouterr().out)["rows"]
    assert (first["p"], first["note"]) == (None, why)
    found = sweep(Request("two-layer", length=20, sequences=4), [0.5, 0.9])
    assert sweep_rows(found)[0]["note"] == why and why in csv_text(sweep_rows(found))


def test_the_sweep_command_prints_a_dash_where_there_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "sweep",
        "--model",
        "by-construction",
        "--length",
        "10",
        "--sequences",
        "2",
        "--thresholds",
        "0.5:1:0.5",
        "--baselines",
        "2",
    ]
    assert main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].split()[:2] == ["1.00", "0"] and lines[-1].endswith("  –") and "nan" not in lines[-1]
    assert "p = 0." in lines[-2] or "p = 1." in lines[-2]
    assert re.search(r"\+\d\.\d\d \(\+\d\.\d\d to \+\d\.\d\d\)", lines[-2]), "what it costs, with its interval"
