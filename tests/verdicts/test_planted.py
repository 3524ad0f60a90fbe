"""Verdicts against planted truth, and on models that cannot do induction."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from core.models.built_in.construction import build
from core.models.load import load_model
from core.verdicts.labels import MATCHING
from tests.helpers.architectures import make_pair
from tests.helpers.judging import judged, probes_for
from tests.helpers.planted import random_spec

# The simulations take minutes at their full size, and a smaller one finds the same mistakes: a label that goes wrong does so in
# many models. So the tests make fewer models, and whoever reports rates (the benchmarks) asks for all of them.
FULL = os.environ.get("HEADSCOPE_SIMULATIONS") == "full"
PLANTED_MODELS = 200 if FULL else 24
RUNS_WITHOUT_INDUCTION = {
    kind: runs if FULL else runs // 6 for kind, runs in {"random weights": 120, "one-layer": 90, "bigram": 90}.items()
}
# One run judges all heads of a model; with q < .05 and a floor of .2, no more than this share of runs may call any head.
FALSE_ALARM_RATE = 0.05


def test_planted_truth() -> None:
    """Heads planted at random places and strengths: precision and recall of every label over all models."""
    right, given, planted = Counter[str](), Counter[str](), Counter[str]()
    for seed in range(PLANTED_MODELS):
        spec, truth = random_spec(seed)
        model = build(spec)
        for verdict in judged(model, probes_for(model, seed, each=22), probes_for(model, seed + 1_000, each=8)):
            true = truth.get(verdict.head, "none")
            given[verdict.label] += 1
            planted[true] += 1
            right[verdict.label] += verdict.label == true
    for label in sorted(planted):
        precision, recall = right[label] / max(1, given[label]), right[label] / planted[label]
        print(f"planted truth, {label}: precision {precision:.3f}, recall {recall:.3f}, {planted[label]} planted")
        assert recall == precision == 1, label
    assert planted["induction"] >= PLANTED_MODELS and planted["positional impostor"] > PLANTED_MODELS / 4
    assert min(planted["anti-induction"], planted["matching, no effect"], planted["duplicate token"], planted["sink"]) > 3


@pytest.mark.parametrize("kind,runs", RUNS_WITHOUT_INDUCTION.items(), ids=list(RUNS_WITHOUT_INDUCTION))
def test_no_false_alarms(kind: str, runs: int) -> None:
    """Models with no induction at all: the share of runs in which any head is called."""
    alarms = 0
    trained = None if kind == "random weights" else load_model(kind)
    for seed in range(runs):
        model = trained or make_pair("native_attention_only", seed=seed).loaded
        verdicts = judged(model, probes_for(model, 1_000 * seed, each=22), probes_for(model, 1_000 * seed + 10, (12,), 8))
        alarms += any(verdict.label in MATCHING for verdict in verdicts)
    print(f"false alarms, {kind}: {alarms} of {runs} runs")
    assert alarms <= FALSE_ALARM_RATE * runs
